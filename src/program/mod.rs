//! The program's side: stop points, dependencies, and what goes on the board.
//!
//! Theory of operation. The hooks call in here just before the program opens a file. What
//! the program knows about the session lives in its own memory, so that a resume takes it
//! back together with everything else: a resumed program has seen exactly the files that
//! had been seen when its checkpoint was taken. At a stop point a file's stamp is taken
//! before the checkpoint, and by that before the file is opened. Who is resumed from that
//! checkpoint takes it anew, as it is resumed because the file is another now.
//!
//! The program is made of parts: the *channel* to the supervisor, its *place* in the
//! timeline, what is *known*, the *answers* it was given, its *writes*, its *effects*, the
//! *budget*, and what is *carried* into a clone. No part knows another.

mod answers;
pub mod asking;
mod budget;
mod carried;
mod channel;
mod child;
mod consumed;
mod declined;
mod effects;
mod known;
mod listings;
mod names;
mod park;
mod place;
mod placement;
mod probe;
pub mod scout;
pub mod script;
pub mod searches;
pub mod start;
mod taking;
mod writes;

use crate::files::Stamp;
use crate::files::path::{LONGEST_PATH, is_installed, working_directory};
use crate::report;
use crate::wire::letter::Letter;
use crate::wire::record::{Index, Record, Worth};
use crate::wire::settings::Settings;
use answers::Answers;
use budget::Budget;
use carried::Carried;
use channel::Channel;
pub use declined::Declined;
use declined::Subject;
use effects::Effects;
use known::Known;
use place::Place;
use placement::Decision;
use scout::{Candidate, Trail};
use searches::Search;
use std::sync::atomic::Ordering;
use std::time::Duration;
pub use writes::Change;
use writes::{Writes, can_succeed};

/// As much of a warning becomes an event, in bytes: it may hold any message of the program.
const LONGEST_WARNING: usize = 2000;

/// What the program was told when it was resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Why and how often.
    pub letter: Letter,
    /// The label of the checkpoint, where the program gave it one.
    pub label: Option<Vec<u8>>,
}

/// What has become of a stop point in the middle of a file.
#[derive(Debug)]
pub enum Consumed {
    /// It cannot be one: the file is not watched.
    Unwatched,
    /// The program just goes on.
    On,
    /// The program was resumed here: the rest of the file is to be read as it is now.
    Resumed(Resume),
}

/// The program under its supervisor.
pub struct Program {
    channel: Channel,
    settings: Settings,
    place: Place,
    known: Known,
    answers: Answers,
    writes: Writes,
    effects: Effects,
    budget: Budget,
    carried: Carried,
}

impl Program {
    /// Whether this process is the program, enabled.
    pub fn is_active(&self) -> bool {
        self.channel.is_open()
    }

    /// The process that the shell started.
    pub fn session(&self) -> i32 {
        self.channel.board().session.load(Ordering::Relaxed)
    }

    /// The processor time the program has used, in all the processes it was.
    pub fn processor_time(&self) -> Duration {
        self.budget.processor_time()
    }

    /// No more checkpoints and records from this timeline.
    pub fn disable(&mut self) {
        self.channel.close();
    }

    /// Takes new options over.
    pub fn configure(&mut self, settings: Settings, overhead: f64, exact: bool) {
        if !self.is_active() {
            return;
        }
        report::configure(settings.quiet, settings.colors);
        self.budget.configure(overhead, exact);
        self.settings = settings;
        self.channel.send(&Record::Configured(self.settings.clone()));
    }

    /// The program will open connections anew when it is resumed.
    pub fn set_reopens(&mut self, reopens: bool) {
        self.carried.set_reopens(reopens);
    }

    /// A stop point: the program is about to open `path`. With `joins` it is none, and
    /// the file belongs to the last checkpoint.
    pub fn visit(&mut self, path: &[u8], joins: bool) -> Option<Resume> {
        if !self.can_watch() || self.known.holds(path) || !self.is_short_enough(path) {
            return None;
        }
        self.interrupt_listings();
        let stamp = Stamp::of_file(path);
        let found = self.known.find(path, stamp)?;
        let path = &found[..];
        if self.known.holds(path) {
            return None;
        }
        let resume = if joins { None } else { self.stop(path, stamp) };
        let stamp = if resume.is_some() { Stamp::of_file(path) } else { stamp };
        self.announce(path, stamp);
        self.note(path, stamp);
        resume
    }

    /// As [`Program::visit`], where it is not known yet whether the file counts: if so, it is passed
    /// to [`Program::opened`], with what is returned besides a resume.
    pub fn stop_to_open(
        &mut self,
        path: &[u8],
        joins: bool,
    ) -> Option<(Option<Resume>, Stamp, Option<Index>)> {
        if !self.can_watch() || self.known.holds(path) || path.len() > LONGEST_PATH {
            return None;
        }
        self.interrupt_listings();
        let stamp = Stamp::of_file(path);
        let found = self.known.find(path, stamp)?;
        let path = &found[..];
        let resume = if joins { None } else { self.stop(path, stamp) };
        let stamp = if resume.is_some() { Stamp::of_file(path) } else { stamp };
        Some((resume, stamp, self.place.current()))
    }

    /// A file that the program has opened counts, which looked so before.
    pub fn opened(&mut self, path: &[u8], stamp: Stamp, checkpoint: Option<Index>) {
        if !self.is_active() {
            return;
        }
        let Some(found) = self.known.find(path, stamp) else { return };
        if !self.known.holds(&found) {
            self.announce(&found, stamp);
            self.known.insert(&found, stamp);
            self.depend(checkpoint, [(&found[..], stamp)]);
        }
    }

    /// A stop point: the program is about to look for a file at these places.
    /// When it is resumed here, the places have to be looked at anew, and what
    /// is found then passed to [`Program::record_search`]. With `joins` it is none.
    pub fn visit_search(&mut self, search: &Search, trail: &Trail, joins: bool) -> Option<Resume> {
        if !self.can_watch() {
            return None;
        }
        let new = self.new_places(search, trail);
        // Named for the file that is found, which is the last.
        let last = new.last()?;
        self.interrupt_listings();
        let resume = if joins { None } else { self.stop(last.path, last.stamp) };
        if resume.is_none() {
            self.record_places(search, trail, &new);
        }
        resume
    }

    /// Makes the places of a search dependencies.
    pub fn record_search(&mut self, search: &Search, trail: &Trail) {
        let new = self.new_places(search, trail);
        self.record_places(search, trail, &new);
    }

    fn new_places<'a>(&mut self, search: &Search, trail: &'a Trail) -> Vec<Candidate<'a>> {
        for place in trail.iter().filter(|place| place.watched) {
            self.is_short_enough(place.path);
        }
        self.known.new_places(search, trail)
    }

    fn record_places(&mut self, search: &Search, trail: &Trail, new: &[Candidate]) {
        for place in new {
            self.announce(place.path, place.stamp);
            self.known.insert_place(place);
        }
        self.depend(self.place.current(), new.iter().map(|place| (place.path, place.stamp)));
        self.known.note_search(search, trail);
    }

    /// The filter is another: what it did not take before, it may take now.
    pub fn forget_searches(&mut self) {
        self.known.forget_searches();
    }

    /// A checkpoint that the program asks for.
    ///
    /// # Errors
    /// See [`Declined`]; the program just goes on.
    pub fn checkpoint(&mut self, label: &[u8]) -> (Result<(), Declined>, Option<Resume>) {
        if !self.is_active() {
            return (Ok(()), None);
        }
        self.interrupt_listings();
        let worth = Worth { explicit: true, separated: self.effects.any(), hot: false };
        self.try_to_take(label, worth, false, None)
    }

    /// Makes a file or a directory a dependency of the present checkpoint. False when
    /// it cannot be one.
    pub fn watch(&mut self, path: &[u8]) -> bool {
        if !self.can_watch() {
            return false;
        }
        if self.known.holds(path) || !self.is_short_enough(path) {
            return self.known.holds(path);
        }
        let stamp = Stamp::of(path);
        let Some(found) = self.known.find(path, stamp) else { return false };
        self.note(&found, stamp);
        true
    }

    /// A subprocess is about to be started.
    pub fn starts_child(&mut self) {
        self.place.start_child();
    }

    /// A subprocess is about to be started, which the program waits for: what that does to
    /// files may be the program's own doing. Waits until the supervisor knows, as with
    /// [`Program::wrote`].
    pub fn awaits_child(&mut self) {
        if self.is_active() && self.place.await_child() {
            self.channel.send(&Record::Awaits);
            self.channel.await_read();
        }
    }

    /// It has ended.
    pub fn has_awaited_child(&mut self) {
        if self.is_active() && self.place.has_awaited_child() {
            self.channel.send(&Record::Awaited);
        }
    }

    /// The last subprocess has read a file: it is a dependency of the checkpoint before that was
    /// started. False when it cannot be one.
    pub fn depends(&mut self, path: &[u8]) -> bool {
        if !self.can_watch() || !self.is_short_enough(path) {
            return false;
        }
        let stamp = Stamp::of_file(path);
        let child = self.place.child();
        let checkpoint = child.map_or(self.place.current(), |child| child.checkpoint);
        let is_sure = child.is_none_or(|child| child.has_read(stamp));
        self.known.insert(path, stamp);
        if is_sure || self.channel.board().is_hot(path) {
            self.depend(checkpoint, [(path, stamp)]);
        } else {
            // What it has read nobody knows. As if it were another, which no file has as its
            // stamp; but once only, as the subprocess may have made it itself.
            self.depend(checkpoint, [(path, Stamp::Special(0))]);
        }
        true
    }

    /// The program is about to change `path` itself, which shall not count as an
    /// edit. Waits until the supervisor knows, where it watches the path: it
    /// must not see the change first. False when the program is going to fail.
    pub fn wrote(&mut self, path: &[u8], change: Change) -> bool {
        if !self.is_active() {
            return true;
        }
        if !can_succeed(path, change) {
            return false;
        }
        // By a name that leads elsewhere in every process, such as `/dev/fd/7`.
        let found = self.known.find(path, Stamp::of_file(path));
        let path = found.as_deref().unwrap_or(path);
        self.interrupt_listings();
        if let Some(before) = self.writes.note(path, change, self.place.current()) {
            self.channel.send(&Record::Outdated { after: before });
            self.place.fall_back(before);
            self.effects.act(false);
        }
        if (self.known.may_concern(path) || self.answers.concern(path)) && self.can_watch() {
            self.channel.send(&Record::Wrote { path: path.to_vec() });
            self.channel.await_read();
        }
        true
    }

    /// The program has made a file, whose name was given only then.
    pub fn made(&mut self, path: &[u8]) {
        if self.is_active() && self.answers.concern(path) {
            self.channel.send(&Record::Made { path: path.to_vec() });
        }
    }

    /// The program is about to open `path` for writing and reading, and thereby
    /// to empty it.
    pub fn empties(&mut self, path: &[u8]) {
        if self.is_active() {
            self.writes.note_emptied(path);
        }
    }

    /// Something happens that others can see and no counter shows.
    /// `from_now_on`: and may happen again at any time.
    pub fn effect(&mut self, from_now_on: bool) {
        self.effects.act(from_now_on);
    }

    /// The program is about to open `path` to read it, be it a file or a device.
    pub fn reads(&mut self, path: &[u8]) {
        if self.is_active() && !self.known.holds(path) {
            self.effects.read(path);
        }
    }

    /// Whether the supervisor finds what this process finds by a path.
    fn can_watch(&mut self) -> bool {
        if !self.is_active() {
            return false;
        }
        let is_shared = self.place.is_shared();
        if !is_shared && self.is_first(Subject::Root) {
            self.warn(
                b"the program has changed its root directory or its mounts (chroot, unshare): \
                  what it opens there is not watched",
            );
        }
        is_shared
    }

    /// Whether a path can be used: what is reached by a relative path may have too
    /// long an absolute one.
    fn is_short_enough(&mut self, path: &[u8]) -> bool {
        let too_long = path.len() > LONGEST_PATH;
        if too_long && self.is_first(Subject::Length) {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let lengths = format!(
                "' is not watched: its absolute path has {} bytes, and no more than {LONGEST_PATH} \
                 can be used (PATH_MAX)",
                path.len()
            );
            self.warn(&[b"'", name, lengths.as_bytes()].concat());
        }
        !too_long
    }

    /// Takes a checkpoint before `path` is opened, or lets it join the last one.
    fn stop(&mut self, path: &[u8], stamp: Stamp) -> Option<Resume> {
        let effect = self.effects.any();
        let hot = self.channel.board().is_hot(path) || self.budget.is_recent(stamp);
        let worth = Worth { explicit: false, hot, separated: effect };
        match self.budget.decide(effect, hot, self.channel.apart()) {
            Decision::Join => None,
            Decision::Forced => self.try_to_take(path, worth, false, None).1,
            Decision::Elective => self.try_to_take(path, worth, true, None).1,
        }
    }

    /// Whether a warning of this is the first in the session: a resume does not undo that.
    fn is_first(&self, subject: Subject) -> bool {
        self.channel.board().announce(subject.key())
    }

    /// Prints a warning, and has it among the events.
    pub fn warn(&self, text: &[u8]) {
        report::warn_bytes(text);
        if self.is_active() {
            let text = text[..text.len().min(LONGEST_WARNING)].to_vec();
            self.channel.send(&Record::Warned(text));
        }
    }

    /// As [`Program::warn`], unless this has been said in this session already.
    pub fn warn_once(&self, text: &[u8]) {
        if self.channel.board().announce(text) {
            self.warn(text);
        }
    }

    /// Tells the user, once, that a file is watched, unless there are many, or it was
    /// installed and is not what the user works in.
    fn announce(&self, path: &[u8], stamp: Stamp) {
        let board = self.channel.board();
        let is_told = || {
            self.settings.watch_lines == u32::MAX
                || !is_installed(path)
                || path.starts_with(&working_directory())
        };
        if stamp != Stamp::Absent
            && is_told()
            && board.announce(path)
            && board.count_watched() <= self.settings.watch_lines
        {
            report::info(&[b"watch '", path, b"'"]);
        }
    }

    fn note(&mut self, path: &[u8], stamp: Stamp) {
        self.known.insert(path, stamp);
        self.depend(self.place.current(), [(path, stamp)]);
    }

    /// Tells the supervisor what paths looked like before they are opened.
    fn depend<'a>(
        &mut self,
        checkpoint: Option<Index>,
        found: impl IntoIterator<Item = (&'a [u8], Stamp)>,
    ) {
        let mut unfinished = Vec::new();
        let (writes, with_content) = (&self.writes, self.settings.content);
        let found = found.into_iter().map(|(path, stamp)| {
            // Read while it is still being written: the rest is the program's doing, too.
            if writes.is_unfinished(path) {
                unfinished.push(path.to_vec());
            }
            (path, stamp, stamp.content(path, with_content))
        });
        self.channel.depend(checkpoint, found);
        for path in unfinished {
            self.channel.send(&Record::Wrote { path });
        }
    }

    fn say_running(&self) {
        let (pid, settings) = (self.channel.program().as_raw(), self.settings.clone());
        self.channel.send(&Record::Running { pid, settings });
    }
}
