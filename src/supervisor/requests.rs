//! Being asked: requests that come over the control socket.

use super::Supervisor;
use super::machine::Event;
use super::timeline::Target;
use crate::files::Stamp;
use crate::wire::control::{CheckpointStatus, Reply, Request, Status};
use crate::wire::record::Index;
use std::os::unix::ffi::OsStringExt;

impl Supervisor {
    pub(super) fn serve(&mut self) {
        let Some(mut server) = self.outlets.take_server() else { return };
        let mut acts = Vec::new();
        server.serve(|request| match request {
            Request::Status { files } => {
                // Who asks may know of what the program has said since the last look.
                let opened = self.take_records();
                self.compare_opened(opened);
                Reply::Status(self.status(files))
            }
            Request::Resume(what) => match self.find(&what) {
                Ok(target) => {
                    acts.push(Ok(target));
                    Reply::Done
                }
                Err(why) => Reply::Refused(why),
            },
            Request::Restart => {
                acts.push(Ok(Target::Start));
                Reply::Done
            }
            Request::Stop => {
                acts.push(Err(()));
                Reply::Done
            }
        });
        self.outlets.give_server(server);
        for act in acts {
            match act {
                Ok(target) => {
                    self.pending.want(target);
                    self.feed(Event::Changed);
                }
                Err(()) => {
                    self.pending.want_end();
                    self.feed(Event::Terminate(libc::SIGTERM));
                }
            }
            self.decide();
        }
    }

    /// The checkpoint that a person means: its number, its label or name, or a
    /// file that resumes from it.
    pub(super) fn find(&self, what: &[u8]) -> Result<Target, String> {
        let checkpoints = self.timeline.checkpoints();
        let number = std::str::from_utf8(what).ok().and_then(|text| text.parse::<Index>().ok());
        if let Some(index) = number.filter(|index| self.timeline.checkpoint(*index).is_some()) {
            return Ok(Target::Checkpoint(index));
        }
        if let Some(known) =
            checkpoints.iter().rfind(|known| known.name == what && known.part.is_none())
        {
            return Ok(Target::Checkpoint(known.index));
        }
        if let Some((target, _)) = self.timeline.target(self.sight.numbers(what)) {
            return Ok(target);
        }
        Err(match (number, checkpoints.last()) {
            (Some(index), Some(last)) if index < last.index => {
                format!("checkpoint {index} is gone")
            }
            (Some(index), Some(last)) => {
                format!("there is no checkpoint {index}, the last is {}", last.index)
            }
            (Some(_), None) => "there is no checkpoint".into(),
            (None, _) => {
                let what = String::from_utf8_lossy(what);
                format!("no checkpoint, label or watched file is called '{what}'")
            }
        })
    }

    pub(super) fn status(&self, files: bool) -> Status {
        let mut status = Status {
            pid: self.birth.guard().as_raw(),
            supervisor: std::process::id() as i32,
            version: crate::wire::version().into(),
            directory: std::env::current_dir().unwrap_or_default().into_os_string().into_vec(),
            command: self.birth.words(),
            state: self.agenda.machine().state().into(),
            program: self.run.program().unwrap_or(0),
            elapsed: self.run.elapsed().as_micros() as u64,
            resumes: self.run.resumes(),
            spare: self.copies.spare_at_hand(),
            polled: self.sight.count_polled() as u64,
            ..Status::default()
        };
        for known in self.timeline.checkpoints() {
            status.checkpoints.push(CheckpointStatus {
                index: known.index,
                pid: known.pid,
                name: known.title().into_owned(),
                explicit: known.worth.explicit,
                at: known.at,
                resumed: known.resumed,
                ..CheckpointStatus::default()
            });
        }
        for path in self.timeline.paths() {
            let name = || self.sight.path(path).to_vec();
            let Some((target, _)) = self.timeline.target([path]) else { continue };
            let known = self.timeline.dependency(path);
            let is_missing = known.is_some_and(|known| known.stamp == Stamp::Absent);
            let is_asked = known.is_some_and(|known| known.asked.is_some());
            status.files += u64::from(!is_missing && !is_asked);
            let at = match target {
                Target::Start => None,
                Target::Checkpoint(index) => {
                    status.checkpoints.iter_mut().find(|known| known.index == index)
                }
            };
            match at {
                Some(checkpoint) if is_asked && files => checkpoint.asked.push(name()),
                _ if is_asked => {}
                Some(checkpoint) => {
                    checkpoint.count += u64::from(!is_missing);
                    match (files, is_missing) {
                        (false, _) => {}
                        (true, false) => checkpoint.files.push(name()),
                        (true, true) => checkpoint.missing.push(name()),
                    }
                }
                None if files && !is_missing => status.restart_files.push(name()),
                None => {}
            }
        }
        for checkpoint in &mut status.checkpoints {
            checkpoint.files.sort();
            checkpoint.missing.sort();
            checkpoint.asked.sort();
            checkpoint.asked.dedup();
        }
        status.restart_files.sort();
        status
    }
}
