//! What the supervisor sees of files: which paths are watched, what touched them, and
//! which of them have to be looked at again.

use super::machine::Time;
use super::on_disk::{OnDisk, folder_of, is_held_up, restamp, writes};
use super::timeline::{Dependency, Fits, Part, Timeline};
use super::verdict::{self, Case, Verdict};
use super::words;
use crate::files::answer::Question;
use crate::files::{Degraded, PathId, Stamp, Touch, Watcher, content_digest, prefixes};
use crate::sys::procfs;
use crate::wire::record::Index;
use rustc_hash::FxHashMap;
use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// How often polled files are looked at unless the user says otherwise.
const POLL: Duration = Duration::from_millis(500);

/// How long after the program announced that it would change a file it is looked
/// whether it is through with that, if no event tells; and how often thereafter.
const OWN_FIRST: Duration = Duration::from_millis(100);
const OWN_AGAIN: Duration = Duration::from_millis(200);

/// More processor time than passes between the announcement and the deed. On a busy
/// machine the program may have to wait for it longer than we do.
const OWN_TAKES: Duration = Duration::from_millis(10);

/// How long nothing new was read when files are read for their digests; how many at a time;
/// and how many bytes one may have.
const IDLE: Duration = Duration::from_millis(50);
const READ_AT_ONCE: usize = 64;
const MOST_READ: u64 = 1 << 20;

/// What the program announced that it would do to a file.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    /// Events that are to come of it.
    events: u32,
    /// When to look whether it is through with that.
    check: Time,
    /// The processor time that the program had used when it announced it.
    used: Duration,
}

/// What is asked of a path while it is judged.
#[derive(Clone, Copy)]
pub struct Glance {
    /// What the events tell.
    pub touch: Touch,
    /// Where no byte changed, nothing did.
    pub by_content: bool,
    /// The running program.
    pub program: Option<i32>,
    /// The time.
    pub now: Time,
    /// It has been waited for long enough.
    pub is_due: bool,
}

/// The watched paths, and what is going on there.
pub struct Sight {
    watcher: Watcher,
    /// What was asked of paths, each question with a number of its own.
    asked: FxHashMap<Vec<u8>, Vec<(Question, PathId)>>,
    /// File events that have been read and not been judged.
    touched: FxHashMap<PathId, Touch>,
    /// What the program has begun to depend on in this turn.
    fresh: HashSet<PathId>,
    /// Paths that look as if somebody were in the middle of saving them, and until when
    /// that is waited for.
    held: HashMap<PathId, Time>,
    /// Paths opened within a clock tick of their last save: look once more.
    rechecks: Vec<(Time, PathId)>,
    /// Events to come that the program itself causes.
    own: HashMap<PathId, Own>,
    /// Paths whose content is to be known, when there is time for it; and from when on.
    unread: Vec<PathId>,
    idle: Time,
    next_poll: Time,
    /// What the user has been told of what cannot be watched.
    told: HashSet<std::mem::Discriminant<Degraded>>,
}

impl Sight {
    /// Sees nothing yet. `poll_only`: no events are wanted.
    pub fn new(poll_only: bool) -> Sight {
        Sight {
            watcher: Watcher::new(poll_only),
            asked: FxHashMap::default(),
            touched: FxHashMap::default(),
            fresh: HashSet::new(),
            held: HashMap::new(),
            rechecks: Vec::new(),
            own: HashMap::new(),
            unread: Vec::new(),
            idle: Time::ZERO,
            next_poll: Time::ZERO,
            told: HashSet::new(),
        }
    }

    /// Watches no path but these any more, as another run is to tell what it reads.
    pub fn begin_anew(&mut self, poll_only: bool, kept: impl Iterator<Item = PathId>) {
        self.watcher.begin_anew(poll_only, kept);
        self.asked.clear();
        self.touched.clear();
        self.fresh.clear();
        self.held.clear();
        self.rechecks.clear();
        self.own.clear();
        self.unread.clear();
    }

    /// The path with this number.
    pub fn path(&self, id: PathId) -> &[u8] {
        self.watcher.path(id)
    }

    /// The number of a path that is watched.
    pub fn find(&self, path: &[u8]) -> Option<PathId> {
        self.watcher.find(path)
    }

    /// How many paths are looked at at intervals.
    pub fn count_polled(&self) -> usize {
        self.watcher.polled().count()
    }

    /// What becomes readable when there are file events.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watcher.descriptor()
    }

    /// What polls as an exception, once, when a mount has come or gone.
    pub fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.watcher.mounts()
    }

    /// It has.
    pub fn note_mounts(&mut self) {
        self.watcher.note_mounts();
    }

    /// When a path has to be looked at without an event.
    pub fn deadline(&self) -> Option<Time> {
        let polls = self.watcher.polled().next().is_some().then_some(self.next_poll);
        let held = self.held.values().copied();
        let own = self.own.values().map(|own| own.check);
        let rechecks = self.rechecks.iter().map(|(at, _)| *at);
        let unread = (!self.unread.is_empty()).then_some(self.idle);
        held.chain(own).chain(rechecks).chain(polls).chain(unread).min()
    }

    /// Reads the events of a new turn.
    pub fn begin_turn(&mut self) {
        self.fresh.clear();
        self.read();
    }

    /// Reads the events there are, after all that came before were judged.
    pub fn read(&mut self) {
        debug_assert!(self.touched.is_empty(), "events are judged in the order they come in");
        self.touched = self.watcher.read();
    }

    /// The events that have been read, to be judged now.
    pub fn take_touched(&mut self) -> FxHashMap<PathId, Touch> {
        std::mem::take(&mut self.touched)
    }

    /// Watches a path that the program has seen. Also returns what is there, where no
    /// further look is needed to know.
    pub fn open(
        &mut self,
        path: &[u8],
        was_known: impl Fn(PathId) -> bool,
    ) -> (PathId, Option<Stamp>) {
        let (id, found) = self.watcher.add(path);
        self.fresh.insert(id);
        if !was_known(id) {
            self.own.remove(&id);
        }
        (id, found)
    }

    /// Watches a path that the program has asked this of.
    pub fn ask(
        &mut self,
        path: &[u8],
        question: Question,
        was_known: impl Fn(PathId) -> bool,
    ) -> (PathId, Option<Stamp>) {
        let known = self.questions(path).iter().find(|(known, _)| *known == question);
        let (id, found) = match known {
            Some(&(_, id)) => (id, self.watcher.glance(id)),
            None => {
                let added = self.watcher.add_besides(path, question.reach());
                self.asked.entry(path.to_vec()).or_default().push((question, added.0));
                added
            }
        };
        self.fresh.insert(id);
        if !was_known(id) {
            // What the program is doing to the file by now is its own for who asks later, too.
            match self.watcher.find(path).and_then(|file| self.own.get(&file).copied()) {
                Some(own) => self.own.insert(id, own),
                None => self.own.remove(&id),
            };
        }
        (id, found)
    }

    /// All numbers of a path: as one that is opened, and for each question about it.
    pub fn numbers(&self, path: &[u8]) -> impl Iterator<Item = PathId> {
        let asked = self.questions(path).iter().map(|(_, id)| *id);
        self.find(path).into_iter().chain(asked)
    }

    /// What was asked of a path in this session, and the numbers of that.
    pub fn questions(&self, path: &[u8]) -> &[(Question, PathId)] {
        self.asked.get(path).map_or(&[], Vec::as_slice)
    }

    /// The program is about to change a file.
    ///
    /// `same`: the paths that led to that file. Returns the listings in which it has a name.
    pub fn announce(
        &mut self,
        path: &[u8],
        same: Vec<PathId>,
        program: Option<i32>,
        now: Time,
    ) -> Vec<PathId> {
        let mut listings: HashSet<PathId> = self.listings_with(path).into_iter().collect();
        let mut ids: HashSet<PathId> = same.into_iter().collect();
        for id in self.watcher.leading_to(path) {
            let questions = self.questions(self.watcher.path(id)).iter();
            let is_listing =
                |(question, its): &(Question, PathId)| *its == id && question.is_of_names();
            match questions.clone().any(is_listing) {
                true => listings.insert(id),
                false => ids.insert(id),
            };
        }
        ids.extend(self.questions(path).iter().map(|(_, id)| *id));
        // What is told of the folder besides its names changes, too.
        let around = self.questions(folder_of(path)).iter();
        ids.extend(around.filter(|(question, _)| !question.is_of_names()).map(|(_, id)| *id));
        if !ids.is_empty() || !listings.is_empty() {
            // Who asks for it later is told what the program is doing to it by now.
            ids.insert(self.watcher.add(path).0);
        }
        let used = program.map(procfs::processor_time).unwrap_or_default();
        for id in ids {
            let own = self.own.entry(id).or_default();
            own.events += 1;
            own.check = now + OWN_FIRST;
            own.used = used;
        }
        listings.into_iter().collect()
    }

    /// The listings in which a path is a name.
    pub fn listings_with(&self, path: &[u8]) -> Vec<PathId> {
        let around = self.questions(folder_of(path)).iter();
        around.filter(|(question, _)| question.is_of_names()).map(|(_, id)| *id).collect()
    }

    /// Whether the program has announced that something comes into this folder or goes, and
    /// did not get the processor since: a name that is given only then is told of after.
    pub fn is_being_filled(&self, id: PathId, program: Option<i32>) -> bool {
        let folder = self.path(id);
        self.own.iter().any(|(inside, own)| {
            folder_of(self.path(*inside)) == folder && is_held_up(program, own.used + OWN_TAKES)
        })
    }

    /// Whether the program has announced something that it has not done yet.
    pub fn is_announced(&self, id: PathId) -> bool {
        self.own.contains_key(&id)
    }

    /// One of the things that the program announced is done.
    pub fn one_done(&mut self, id: PathId) {
        if let Some(own) = self.own.get_mut(&id) {
            own.events -= 1;
            if own.events == 0 {
                self.own.remove(&id);
            }
        }
    }

    /// What was announced by a program that has ended, which causes no more events.
    pub fn announced(&self) -> Vec<PathId> {
        self.own.keys().copied().collect()
    }

    /// Nothing more is to come of what was announced.
    pub fn forget_announced(&mut self) {
        self.own.clear();
    }

    /// Waits for somebody who seems to be in the middle of saving. A path that was opened and
    /// asked about is looked at once for all of that.
    pub fn hold(&mut self, id: PathId, until: Time) {
        let others = self.numbers(self.path(id)).filter(|other| *other != id);
        let others = others.filter_map(|other| self.held.get(&other).copied());
        let until = others.chain([until]).min().unwrap_or(until);
        self.held.insert(id, until);
    }

    /// Whether one of these processes has a file open for writing.
    pub fn is_written_by(&self, id: PathId, known: &Dependency, processes: &[i32]) -> bool {
        let files = [known.stamp.identity(), self.stamp(id, known.stamp).identity()];
        let files: Vec<_> = files.into_iter().flatten().collect();
        processes.iter().any(|pid| procfs::writes(*pid, &files))
    }

    /// Nobody has to be waited for.
    pub fn let_go(&mut self, id: PathId) {
        self.held.remove(&id);
    }

    /// The clock tick in which the path had this stamp has to pass.
    pub fn recheck(&mut self, id: PathId, stamp: Stamp, now: Time) {
        self.rechecks.push((now + stamp.tick(), id));
    }

    /// The content of a path is to be known, when nothing new was read for a while.
    pub fn read_later(&mut self, id: PathId, now: Time) {
        self.unread.push(id);
        self.idle = now + IDLE;
    }

    /// Takes in the contents of some of those files that look as they were when the program
    /// read them, if it is time for it.
    pub fn read_some(&mut self, timeline: &mut Timeline, now: Time) {
        if now < self.idle {
            return;
        }
        let some = self.unread.len().saturating_sub(READ_AT_ONCE);
        for id in self.unread.drain(some..) {
            let path = self.watcher.path(id);
            let Some(known) = timeline.dependency_mut(id) else { continue };
            let is_wanted = known.asked.is_none() && known.content.or(known.digest).is_none();
            let is_it = || Stamp::of_file(path) == known.stamp;
            if is_wanted && known.stamp.size().is_some_and(|size| size <= MOST_READ) && is_it() {
                let digest = content_digest(path);
                known.digest = digest.filter(|_| is_it());
            }
        }
    }

    /// Paths that have been waited for long enough: what is there counts.
    pub fn take_held(&mut self, now: Time) -> Vec<PathId> {
        let due = self.held.extract_if(|_, until| *until <= now).map(|(id, _)| id);
        due.inspect(|id| self.watcher.doubt(*id)).collect()
    }

    /// Paths whose clock tick has passed.
    pub fn take_rechecks(&mut self, now: Time) -> Vec<PathId> {
        let (due, later) = self.rechecks.iter().partition(|(at, _)| *at <= now);
        self.rechecks = later;
        due.into_iter().map(|(_, id): (Time, PathId)| id).collect()
    }

    /// The paths that no event will ever be seen for, when it is time to look at them.
    pub fn take_polled(&mut self, now: Time, every: u64) -> Vec<PathId> {
        if now < self.next_poll {
            return Vec::new();
        }
        self.next_poll = now
            + match every {
                0 => POLL,
                milliseconds => Duration::from_millis(milliseconds),
            };
        self.watcher.polled().collect()
    }

    /// What has become of a path; only looks.
    pub fn judge(&self, id: PathId, known: Option<&Dependency>, glance: Glance) -> Verdict {
        let Some(known) = known else { return Verdict::Unknown };
        let path = self.watcher.path(id);
        let stamp = restamp(known.stamp, path);
        let answer = known.asked.as_ref().map(|asked| asked.ask(path));
        let case = Case {
            known,
            stamp,
            answer,
            touch: glance.touch,
            announced: self.own.get(&id).map_or(0, |own| own.events),
            is_fresh: self.fresh.contains(&id),
            held: self.held.get(&id).copied(),
            by_content: glance.by_content,
            now: glance.now,
            is_due: glance.is_due,
        };
        verdict::judge(&case, &OnDisk { path, stamp, program: glance.program })
    }

    /// Whether a path is not what the program saw or was told, as far as its stamp tells.
    pub fn differs(&self, id: PathId, known: &Dependency) -> bool {
        match &known.asked {
            Some(asked) => !asked.is_same(self.watcher.path(id)),
            None => self.stamp(id, known.stamp) != known.stamp,
        }
    }

    /// What a path looks like now, to be compared with `before`.
    pub fn stamp(&self, id: PathId, before: Stamp) -> Stamp {
        restamp(before, self.watcher.path(id))
    }

    /// What is there now is what is known, whatever it was.
    pub fn renew(&self, id: PathId, known: &mut Dependency) {
        (known.stamp, known.content) = (self.stamp(id, known.stamp), None);
        if let Some(asked) = &mut known.asked {
            asked.restate(self.watcher.path(id));
        }
    }

    /// Looks which of these parts of files are what they were. `with_content`: a digest of
    /// the content is wanted in any case.
    pub fn compare_parts(
        &self,
        used: FxHashMap<PathId, Vec<(Index, Part)>>,
        with_content: bool,
    ) -> Fits {
        let mut fits = Fits::default();
        for (id, parts) in used {
            let offsets: Vec<u64> = parts.iter().map(|(_, part)| part.offset).collect();
            let Some(now) = prefixes(self.watcher.path(id), &offsets) else { continue };
            let content = (with_content || now.stamp.is_fresh()).then_some(now.content);
            fits.seen.insert(id, (now.stamp, content));
            for ((index, part), found) in parts.iter().zip(now.found) {
                if found.is_some_and(|found| found.digest == part.digest) {
                    fits.checkpoints.insert(*index);
                }
            }
        }
        fits
    }

    /// What the program has made of a file is what is known of it from now on.
    pub fn restate(&mut self, id: PathId, known: &mut Dependency, stamp: Stamp, now: Time) {
        (known.stamp, known.digest) = (stamp, None);
        self.read_later(id, now);
        let is_coarse = stamp.is_coarse() && stamp.is_fresh();
        if known.content.is_some() || is_coarse {
            known.content = stamp.read(self.watcher.path(id));
        }
        if is_coarse {
            self.recheck(id, stamp, now);
        }
        if let Some(asked) = &mut known.asked {
            asked.restate(self.watcher.path(id));
        }
    }

    /// No event may come of what the program announced: it failed, or a checkpoint
    /// has the file open, too, or nothing is watched. When the program does not
    /// have the file open any more, it is through with it.
    pub fn look_for_own(&mut self, timeline: &mut Timeline, program: Option<i32>, now: Time) {
        let due: Vec<(PathId, Own)> = self
            .own
            .iter()
            .filter(|(_, own)| own.check <= now)
            .map(|(id, own)| (*id, *own))
            .collect();
        for (id, own) in due {
            if is_held_up(program, own.used + OWN_TAKES) {
                self.own.insert(id, Own { check: now + OWN_AGAIN, ..own });
                continue;
            }
            let Some(known) = timeline.dependency_mut(id) else {
                self.own.remove(&id);
                continue;
            };
            let stamp = self.stamp(id, known.stamp);
            let files = [known.stamp.identity(), stamp.identity()].into_iter().flatten();
            let files = files.collect::<Vec<_>>();
            if writes(program, &files) {
                self.own.insert(id, Own { check: now + OWN_AGAIN, ..own });
            } else {
                self.restate(id, known, stamp, now);
                self.own.remove(&id);
            }
        }
    }

    /// What has to be said of what cannot be watched, each once in a session.
    pub fn take_warnings(&mut self) -> Vec<String> {
        let degraded = self.watcher.take_degraded();
        let news = degraded.into_iter().filter(|why| self.told.insert(std::mem::discriminant(why)));
        news.map(words::degraded).collect()
    }
}
