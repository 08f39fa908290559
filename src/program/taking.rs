//! Taking a checkpoint, and going on from one.
//!
//! Theory of operation. The clone finds what the program's memory holds at that moment, so
//! that is prepared for it beforehand: in the clone, the checkpoint is there already. Then
//! one of three things has happened. The checkpoint is taken, and the supervisor is told.
//! Or this process is a clone that goes on from it, perhaps much later: what the kernel
//! gives a new process is put right. Or the kernel refused, and what was prepared is
//! taken back.

use super::carried::{Descriptors, Obstacle};
use super::declined::Declined;
use super::effects::Former;
use super::park::{self, Outcome};
use super::place::Place;
use super::{Program, Resume};
use crate::report;
use crate::sys::clone::threads;
use crate::sys::memory::is_set_aside;
use crate::sys::slots;
use crate::sys::stdio;
use crate::wire::record::{Directory, Index, Part, Record, Worth};
use nix::unistd::Pid;
use std::time::Instant;

/// As much of a label as is kept, in bytes.
const LONGEST_NAME: usize = libc::PATH_MAX as usize;

/// A checkpoint that is about to be taken.
struct Prepared {
    index: Index,
    directory: Option<Directory>,
    /// What a refusal takes the program back to.
    place: Place,
    effects: Former,
}

impl Program {
    /// Takes a checkpoint if one can be taken, and says why not.
    pub(super) fn try_to_take(
        &mut self,
        name: &[u8],
        worth: Worth,
        elective: bool,
        part: Option<Part>,
    ) -> (Result<(), Declined>, Option<Resume>) {
        match self.take(name, worth, elective, part) {
            Ok(resume) => (Ok(()), resume),
            Err(declined) => {
                let subject = declined.subject();
                if subject.is_some_and(|subject| self.is_first(subject)) {
                    self.warn(declined.to_string().as_bytes());
                }
                if let Some(why) = declined.bar() {
                    let (path, why) = (name.to_vec(), why.into());
                    self.channel.send(&Record::Barred { path, why });
                }
                (Err(declined), None)
            }
        }
    }

    fn take(
        &mut self,
        name: &[u8],
        worth: Worth,
        elective: bool,
        part: Option<Part>,
    ) -> Result<Option<Resume>, Declined> {
        let begins = Instant::now();
        let descriptors = self.survey()?;
        let prepared = self.prepare();
        let moment = self.budget.moment(begins);
        let ahead = self.budget.copies_ahead(elective);
        let (board, supervisor) = (self.channel.board(), self.channel.supervisor());
        match park::take(&board, supervisor, &descriptors, self.carried.outside(), ahead) {
            Ok(Outcome::Taken(pid)) => {
                let (memory, pages) = self.budget.taken(&moment, ahead);
                self.carried.keep(memory.pages, &board, supervisor);
                let at = moment.elapsed.as_micros() as u64;
                let bare = descriptors.is_bare(self.carried.outside());
                self.say_taken(prepared, pid, name, at, worth, bare, pages, part);
                Ok(None)
            }
            Ok(Outcome::Resumed(letter)) => {
                self.channel.hand_over();
                slots::serve_this_process();
                self.effects.resume();
                let memory = self.budget.resumed(&moment);
                self.carried.resume();
                self.carried.keep(memory.pages, &board, supervisor);
                report::configure(self.settings.quiet, self.settings.colors);
                self.say_running();
                Ok(Some(Resume { letter, label: worth.explicit.then(|| name.to_vec()) }))
            }
            Err(error) => {
                self.place = prepared.place;
                self.effects.take_back(prepared.effects);
                Err(Declined::Clone(error))
            }
        }
    }

    /// Looks whether a clone can carry what this process has.
    fn survey(&self) -> Result<Descriptors, Declined> {
        if !is_set_aside() {
            return Err(Declined::Obstacle(Obstacle::NoMemory));
        }
        match threads() {
            None => return Err(Declined::NoProc),
            Some(1) => {}
            Some(count) => return Err(Declined::Threads(count)),
        }
        // What is buffered would be missing from the sizes and positions of files.
        let _ = stdio::flush_all();
        self.carried.survey(self.writes.emptied()).map_err(Declined::Obstacle)
    }

    /// Makes the state what the clone shall find.
    fn prepare(&mut self) -> Prepared {
        let place = self.place;
        let index = self.place.advance();
        let effects = self.effects.begin();
        Prepared { index, directory: self.place.elsewhere(), place, effects }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one record")]
    fn say_taken(
        &self,
        prepared: Prepared,
        pid: Pid,
        name: &[u8],
        at: u64,
        worth: Worth,
        bare: bool,
        pages: u64,
        part: Option<Part>,
    ) {
        let Prepared { index, directory, .. } = prepared;
        let name = name[..name.len().min(LONGEST_NAME)].to_vec();
        let pid = pid.as_raw();
        self.channel.send(&Record::Checkpoint {
            index,
            pid,
            name,
            at,
            worth,
            bare,
            pages,
            directory,
            part,
        });
    }
}
