//! The present run: its process, and when it began.

use crate::files::PathId;
use crate::session::own::send;
use crate::sys::process::is_child;
use rustc_hash::FxHashMap;
use std::time::{Duration, Instant};

/// The running program, or the one that ran last.
pub struct Run {
    /// Its process, until that has been reaped.
    program: Option<i32>,
    /// The command was run anew, and has not come to `enable()`.
    is_starting: bool,
    /// When it would have begun had it never been parked.
    began: Instant,
    /// How long it took, once it has ended.
    took: Option<Duration>,
    /// How many resumes there were.
    resumes: u64,
    /// The file that the program is about to tell that it depends on, which could not have a
    /// checkpoint of its own, and why.
    bar: Option<(Vec<u8>, Vec<u8>)>,
    /// The files that could not, and why.
    barred: FxHashMap<PathId, Vec<u8>>,
}

impl Run {
    /// The first.
    pub fn new(program: i32) -> Run {
        Run {
            program: Some(program),
            is_starting: false,
            began: Instant::now(),
            took: None,
            resumes: 0,
            bar: None,
            barred: FxHashMap::default(),
        }
    }

    /// A file could not have a checkpoint of its own, and why.
    pub fn bar(&mut self, path: Vec<u8>, why: Vec<u8>) {
        self.bar = Some((path, why));
    }

    /// The program depends on a file, which has this path.
    pub fn depends(&mut self, id: PathId, path: &[u8]) {
        match self.bar.take_if(|(barred, _)| barred == path) {
            Some((_, why)) => self.barred.insert(id, why),
            None => self.barred.remove(&id),
        };
    }

    /// Why a file could not have a checkpoint of its own.
    pub fn barred(&self, id: PathId) -> Option<&[u8]> {
        self.barred.get(&id).map(Vec::as_slice)
    }

    /// The program's process, if it has not been reaped.
    pub fn program(&self) -> Option<i32> {
        self.program
    }

    /// Whether the command was run anew and has not come to `enable()`.
    pub fn is_starting(&self) -> bool {
        self.is_starting
    }

    /// Whether a command is on its way to `enable()`, which may make files that it reads.
    pub fn is_on_its_way(&self) -> bool {
        self.is_starting && self.program.is_some()
    }

    /// Sends the program a signal, if it is still there: it may have been reaped in
    /// this very turn.
    pub fn signal(&self, signal: i32) {
        if let Some(program) = self.program.filter(|program| is_child(*program)) {
            send(program, signal);
        }
    }

    /// The command is run anew.
    pub fn restart(&mut self) {
        self.is_starting = true;
        self.began = Instant::now();
        self.took = None;
    }

    /// It came to `enable()` so long `ago`: its checkpoints count from there.
    pub fn enabled(&mut self, ago: Duration) {
        self.is_starting = false;
        self.began = Instant::now().checked_sub(ago).unwrap_or(self.began);
    }

    /// This process is the program.
    pub fn is_now(&mut self, program: i32) {
        self.program = Some(program);
    }

    /// It goes on from a checkpoint that was taken `at` so much of its run.
    pub fn resumed(&mut self, at: Duration) {
        self.began = Instant::now() - at;
        self.took = None;
    }

    /// It has ended.
    pub fn ended(&mut self) {
        self.program = None;
        self.took = Some(self.began.elapsed());
    }

    /// How long it has taken so far, or took.
    pub fn elapsed(&self) -> Duration {
        self.took.unwrap_or_else(|| self.began.elapsed())
    }

    /// How many resumes there were.
    pub fn resumes(&self) -> u64 {
        self.resumes
    }

    /// There is one resume more; returns how many there were.
    pub fn count_resume(&mut self) -> u64 {
        self.resumes += 1;
        self.resumes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_barred_until_it_is_read_without_that() {
        let mut run = Run::new(7);
        run.bar(b"/a".into(), b"why".into());
        run.depends(1, b"/b");
        run.depends(2, b"/a");
        assert_eq!((run.barred(1), run.barred(2)), (None, Some(&b"why"[..])));
        run.depends(2, b"/a");
        assert_eq!(run.barred(2), None);
    }

    #[test]
    fn the_time_of_a_resumed_run_includes_what_came_before_its_checkpoint() {
        let mut run = Run::new(7);
        run.ended();
        let took = run.elapsed();
        assert_eq!((run.program(), run.elapsed()), (None, took));
        let at = Duration::from_secs(60);
        run.is_now(8);
        run.resumed(at);
        assert!(run.elapsed() >= at && run.elapsed() < at + at);
        run.restart();
        assert!(run.is_on_its_way() && run.elapsed() < at);
        run.ended();
        assert!(run.is_starting() && !run.is_on_its_way());
        run.restart();
        run.is_now(9);
        run.enabled(at);
        assert!(!run.is_starting() && run.elapsed() >= at && run.elapsed() < at + at);
    }
}
