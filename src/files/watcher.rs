//! The watcher: one inotify instance, and the paths that hang on it.
//!
//! Many paths share their directory, so that is walked once for all of them, and what
//! is below a directory that is not there hangs on that one.

use super::directories::{Directories, split};
use super::route::{self, Place, Reach};
use super::stamp::Stamp;
use super::table::Table;
use super::touch::{Degraded, PathId, Touch};
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use nix::errno::Errno;
use rustc_hash::{FxHashMap, FxHashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Who walks: a path, or a directory on behalf of the paths in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Path(PathId),
    Directory(usize),
}

/// A path that is watched.
struct Entry {
    path: Rc<[u8]>,
    /// The directory whose member it is, by its place in the list.
    home: Option<usize>,
    /// What matters of a directory that it leads to.
    reach: Reach,
}

/// Watches paths and says which were touched.
pub struct Watcher {
    inotify: Option<Inotify>,
    ids: FxHashMap<Rc<[u8]>, PathId>,
    paths: Vec<Entry>,
    directories: Directories,
    table: Table<WatchDescriptor, Subject>,
    /// Directories by their real path, as long as that leads to them.
    watched: FxHashMap<PathBuf, WatchDescriptor>,
    polled: FxHashSet<PathId>,
    degraded: Vec<Degraded>,
}

/// What makes an entry of a directory worth looking at again. A modification
/// time may be set (`touch -c`, `utime`) without the file being opened.
const NAMES: WatchMask = WatchMask::CLOSE_WRITE
    .union(WatchMask::ATTRIB)
    .union(WatchMask::MOVED_TO)
    .union(WatchMask::MOVED_FROM)
    .union(WatchMask::CREATE)
    .union(WatchMask::DELETE);

/// What makes the place of a directory worth looking at again. Its permissions decide
/// who may pass.
const ITSELF: WatchMask =
    WatchMask::MOVE_SELF.union(WatchMask::DELETE_SELF).union(WatchMask::ATTRIB);

/// How often a path that leads elsewhere every time is followed before it is
/// polled instead.
const MOST_WALKS: usize = 10;

impl Watcher {
    /// A watcher with one inotify instance, or none when everything is polled.
    pub fn new(poll_only: bool) -> Self {
        let mut watcher = Watcher {
            inotify: None,
            ids: FxHashMap::default(),
            paths: Vec::new(),
            directories: Directories::default(),
            table: Table::default(),
            watched: FxHashMap::default(),
            polled: FxHashSet::default(),
            degraded: Vec::new(),
        };
        if !poll_only {
            match Inotify::init() {
                Ok(inotify) => watcher.inotify = Some(inotify),
                Err(error) => watcher.degrade(Degraded::NoInstance(errno(&error))),
            }
        }
        watcher
    }

    /// The descriptor that becomes readable when there are events.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Starts watching an absolute path; cheap when it is watched already.
    ///
    /// Also returns what is there, seen after the watch began, where no further
    /// look is needed to know.
    pub fn add(&mut self, path: &[u8]) -> (PathId, Option<Stamp>) {
        if let Some(&id) = self.ids.get(path) {
            return (id, self.glance(id));
        }
        let path: Rc<[u8]> = path.into();
        let known = self.begin(path.clone(), Reach::Tree);
        self.ids.insert(path, known.0);
        known
    }

    /// Starts watching an absolute path for another reason than what is in the file: it
    /// has a number of its own for that. Returns what [`Watcher::add`] does.
    pub fn add_besides(&mut self, path: &[u8], reach: Reach) -> (PathId, Option<Stamp>) {
        self.begin(path.into(), reach)
    }

    /// What is there, where no further look is needed to know.
    pub fn glance(&self, id: PathId) -> Option<Stamp> {
        let home = self.paths[id as usize].home;
        let absent = home.is_some_and(|home| self.directories[home].is_absent());
        absent.then_some(Stamp::Absent)
    }

    fn begin(&mut self, path: Rc<[u8]>, reach: Reach) -> (PathId, Option<Stamp>) {
        let id = self.paths.len() as PathId;
        self.paths.push(Entry { path, home: None, reach });
        (id, self.follow(id))
    }

    /// The number of a path that was watched in this session.
    pub fn find(&self, path: &[u8]) -> Option<PathId> {
        self.ids.get(path).copied()
    }

    /// The path with this number.
    pub fn path(&self, id: PathId) -> &[u8] {
        &self.paths[id as usize].path
    }

    /// The paths that no event will ever be seen for.
    pub fn polled(&self) -> impl Iterator<Item = PathId> + '_ {
        self.polled.iter().copied()
    }

    /// What has gone wrong since the last call.
    pub fn take_degraded(&mut self) -> Vec<Degraded> {
        std::mem::take(&mut self.degraded)
    }

    /// Reads the events there are; never waits. Touched paths are walked anew.
    pub fn read(&mut self) -> FxHashMap<PathId, Touch> {
        let mut subjects: FxHashMap<Subject, Touch> = FxHashMap::default();
        let mut overflow = false;
        let mut displaced = Vec::new();
        // Aligned for the kernel's structure, large enough for a burst.
        let mut buffer = [0u8; 1 << 15];
        while let Some(inotify) = &mut self.inotify {
            let events = match inotify.read_events(&mut buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    overflow = true;
                } else if event.mask.intersects(
                    EventMask::MOVE_SELF
                        | EventMask::DELETE_SELF
                        | EventMask::UNMOUNT
                        | EventMask::IGNORED,
                ) {
                    displaced.push((event.wd, event.mask.contains(EventMask::IGNORED)));
                } else if let Some(name) = event.name {
                    let touch = Touch {
                        completed: event
                            .mask
                            .intersects(EventMask::CLOSE_WRITE | EventMask::MOVED_TO),
                        created: event.mask.contains(EventMask::CREATE),
                        removed: event.mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM),
                        rerouted: false,
                    };
                    for subject in self.table.touched(&event.wd, name.as_bytes()) {
                        let known = subjects.entry(subject).or_default();
                        known.completed |= touch.completed;
                        known.created |= touch.created;
                        known.removed |= touch.removed;
                    }
                } else {
                    for subject in self.table.members(&event.wd) {
                        subjects.entry(subject).or_default();
                    }
                }
            }
        }
        for (wd, ignored) in displaced {
            for subject in self.displace(&wd, ignored) {
                subjects.entry(subject).or_default().rerouted |= !ignored;
            }
        }
        let mut touched = FxHashMap::default();
        for (subject, touch) in subjects {
            match subject {
                Subject::Path(id) => {
                    let known: &mut Touch = touched.entry(id).or_default();
                    *known = Touch { rerouted: known.rerouted | touch.rerouted, ..touch };
                }
                Subject::Directory(directory) => {
                    let rerouted = touch.rerouted | touch.completed | touch.created | touch.removed;
                    let mut moved = Vec::new();
                    self.follow_directory(directory, &mut moved);
                    for directory in moved {
                        for &id in &self.directories[directory].members {
                            touched.entry(id).or_default().rerouted |= rerouted;
                        }
                    }
                }
            }
        }
        if overflow {
            // What was said of directories that were replaced is lost, too.
            self.watched.clear();
            for directory in 0..self.directories.len() {
                // The others are looked at after the one above them.
                if self.directories[directory].above.is_none() {
                    self.follow_directory(directory, &mut Vec::new());
                }
            }
            for id in 0..self.paths.len() as PathId {
                touched.entry(id).or_default();
            }
        }
        for &id in touched.keys() {
            self.follow(id);
        }
        touched
    }

    /// A directory was moved or removed: what was known of paths through it is
    /// void, and so it is for the directories below, which hear nothing of it.
    fn displace(&mut self, wd: &WatchDescriptor, ignored: bool) -> Vec<Subject> {
        let mut members = self.table.members(wd);
        let moved: Vec<PathBuf> = self
            .watched
            .iter()
            .filter(|(_, known)| *known == wd)
            .map(|(path, _)| path.clone())
            .collect();
        let below: Vec<PathBuf> = self
            .watched
            .keys()
            .filter(|path| moved.iter().any(|root| path.starts_with(root)))
            .cloned()
            .collect();
        for path in below {
            if let Some(stale) = self.watched.remove(&path) {
                members.extend(self.table.members(&stale));
                self.table.forget(&stale);
                if let (Some(inotify), false) = (&self.inotify, ignored && stale == *wd) {
                    // Gone already when the directory was removed.
                    let _ = inotify.watches().remove(stale);
                }
            }
        }
        self.table.forget(wd);
        members
    }

    /// Watches what decides where a path leads. Returns what is there, unless that
    /// takes another look.
    fn follow(&mut self, id: PathId) -> Option<Stamp> {
        let path = self.paths[id as usize].path.clone();
        let Some((parent, name)) = split(&path) else {
            self.walk(Subject::Path(id));
            return None;
        };
        let home = self.home(parent);
        if self.paths[id as usize].home != Some(home) {
            self.paths[id as usize].home = Some(home);
            self.directories[home].members.push(id);
        }
        self.table.leave(Subject::Path(id));
        let directory = &self.directories[home];
        if directory.poll {
            self.polled.insert(id);
        } else {
            self.polled.remove(&id);
        }
        if directory.is_absent() {
            return Some(Stamp::Absent);
        }
        if let Some(wd) = &directory.wd {
            self.table.name(wd.clone(), name, Subject::Path(id));
        }
        // Looked at after the watch began, so that no change can come in between.
        let found = Stamp::of_entry(&path);
        if found.is_none() {
            self.walk(Subject::Path(id));
            // A directory in its place tells of its end only when nobody has it open.
            if let Some(wd) = self.directories[home].wd.clone() {
                self.table.name(wd, name, Subject::Path(id));
            }
        }
        found
    }

    /// The directory of this spelling, which is followed from the first time on.
    fn home(&mut self, path: &[u8]) -> usize {
        let (home, is_new) = self.directories.spelled(path);
        if is_new {
            self.find_directory(home);
        }
        home
    }

    /// Looks anew where a directory is, and those below it. Adds those that are
    /// not where they were to `moved`, or may not be.
    fn follow_directory(&mut self, directory: usize, moved: &mut Vec<usize>) {
        let was_absent = self.directories[directory].is_absent();
        self.find_directory(directory);
        if was_absent && self.directories[directory].is_absent() {
            return;
        }
        moved.push(directory);
        for at in 0..self.directories[directory].below.len() {
            self.follow_directory(self.directories[directory].below[at], moved);
        }
    }

    /// Watches what decides where a directory is.
    fn find_directory(&mut self, directory: usize) {
        if let Some(above) = self.directories[directory].above
            && self.is_absent_below(directory, above)
        {
            (self.directories[directory].wd, self.directories[directory].poll) = (None, false);
        } else {
            self.walk(Subject::Directory(directory));
        }
    }

    /// Whether a directory is not there, if what is known of the one above is
    /// enough to tell. Then it is watched for.
    fn is_absent_below(&mut self, directory: usize, above: usize) -> bool {
        let (subject, known) = (Subject::Directory(directory), &self.directories[above]);
        if known.is_absent() {
            self.table.leave(subject);
            return true;
        }
        let path = &self.directories[directory].path;
        let Some((parent, name)) = split(path) else { return false };
        let (Some(wd), false) = (&known.wd, known.poll) else { return false };
        if parent != known.path || matches!(name, b"" | b"." | b"..") {
            return false;
        }
        self.table.leave(subject);
        self.table.name(wd.clone(), name, subject);
        // Again, after the watch began.
        Stamp::of_entry(path) == Some(Stamp::Absent)
    }

    /// Walks from the root, and watches what decides where that leads.
    ///
    /// What happens between the walk and the watches raises no event, so it is
    /// walked again until it leads where it did.
    fn walk(&mut self, subject: Subject) {
        let route = |watcher: &Self| match subject {
            Subject::Path(id) => route::walk(watcher.path(id), watcher.paths[id as usize].reach),
            Subject::Directory(directory) => {
                route::walk_to_directory(&watcher.directories[directory].path)
            }
        };
        let mut places = route(self);
        for _ in 0..MOST_WALKS {
            self.watch_places(subject, &places);
            let again = route(self);
            if again == places {
                return;
            }
            places = again;
        }
        self.set_polled(subject, true);
    }

    fn set_polled(&mut self, subject: Subject, poll: bool) {
        match subject {
            Subject::Directory(directory) => self.directories[directory].poll = poll,
            Subject::Path(id) if poll => {
                self.polled.insert(id);
            }
            Subject::Path(id) => {
                self.polled.remove(&id);
            }
        }
    }

    /// Watches these places, and no others, for a subject.
    fn watch_places(&mut self, subject: Subject, places: &[Place]) {
        self.table.leave(subject);
        let mut poll = self.inotify.is_none();
        let mut end = None;
        for place in places {
            let (directory, mask) = match place {
                Place::Name(directory, _) | Place::Every(directory) | Place::End(directory) => {
                    (directory, NAMES | ITSELF)
                }
                Place::Itself(directory) => (directory, ITSELF),
            };
            match self.watch(directory, mask) {
                Ok(Some(wd)) => match place {
                    Place::Name(_, name) => self.table.name(wd, name, subject),
                    Place::Every(_) => self.table.every(wd, subject),
                    Place::Itself(_) => self.table.itself(wd, subject),
                    Place::End(_) => {
                        self.table.entries(&wd);
                        end = Some(wd);
                    }
                },
                Ok(None) => poll = true,
                // An ancestor that we may pass but not read: its own move goes
                // unnoticed, which is no reason to poll.
                Err(_) if matches!(place, Place::Itself(_)) => {}
                // It vanished since the walk, which the next one will show.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(Errno::ENOSPC) => {
                    self.degrade(Degraded::NoWatches);
                    poll = true;
                }
                Err(error) => {
                    self.degrade(Degraded::Unwatchable(directory.clone(), error));
                    poll = true;
                }
            }
        }
        if let Subject::Directory(directory) = subject {
            self.directories[directory].wd = end;
        }
        self.set_polled(subject, poll);
    }

    /// Watches a directory, given by its real path. `None`: poll what is in it.
    fn watch(
        &mut self,
        directory: &Path,
        mask: WatchMask,
    ) -> Result<Option<WatchDescriptor>, Errno> {
        let Some(inotify) = &self.inotify else { return Ok(None) };
        if mask == ITSELF
            && let Some(wd) = self.watched.get(directory)
        {
            return Ok(Some(wd.clone()));
        }
        if let Some(wd) = self.watched.get(directory)
            && self.table.has_names(wd)
        {
            return Ok(Some(wd.clone()));
        }
        let wd = inotify
            .watches()
            .add(directory, mask | WatchMask::MASK_ADD | WatchMask::ONLYDIR)
            .map_err(|error| errno(&error))?;
        if let Some(former) = self.watched.insert(directory.to_path_buf(), wd.clone())
            && former != wd
        {
            self.forget_below(directory, former);
        }
        if mask != ITSELF && route::is_remote(directory) {
            self.degrade(Degraded::Remote(directory.to_path_buf()));
            return Ok(None);
        }
        Ok(Some(wd))
    }

    /// Another directory is where `former` was, and what is known of those below is of
    /// that. Once the kernel says that these are watched no more, who passed there
    /// looks anew.
    fn forget_below(&mut self, directory: &Path, former: WatchDescriptor) {
        let is_below = |path: &Path| path != directory && path.starts_with(directory);
        let below = self.watched.extract_if(|path, _| is_below(path)).map(|(_, wd)| wd);
        let stale: Vec<_> = below.chain([former]).collect();
        for wd in stale {
            if let Some(inotify) = &self.inotify {
                // Or it was removed itself, and the kernel has said so.
                let _ = inotify.watches().remove(wd);
            }
        }
    }

    fn degrade(&mut self, reason: Degraded) {
        self.degraded.push(reason);
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Where the files that are looked for may be, shallow and deep.
    const PLACES: [&str; 8] = [
        "m.lua",
        "a/m.lua",
        "a/m/init.lua",
        "a/b/m.lua",
        "a/b/m/init.lua",
        "b/m.lua",
        "l/m.lua",
        "l/b/m.lua",
    ];
    const DIRECTORIES: [&str; 6] = ["a", "b", "a/b", "a/m", "a/b/m", "l"];

    #[derive(Clone, Debug)]
    enum Step {
        Watch(usize),
        Make(usize),
        Write(usize),
        Remove(usize),
        Move(usize, usize),
        Link(usize, usize),
        Read,
    }

    fn step() -> impl Strategy<Value = Step> {
        let (place, directory) = (0..PLACES.len(), 0..DIRECTORIES.len());
        prop_oneof![
            4 => place.clone().prop_map(Step::Watch),
            1 => directory.clone().prop_map(Step::Make),
            3 => place.prop_map(Step::Write),
            2 => directory.clone().prop_map(Step::Remove),
            2 => (directory.clone(), directory.clone()).prop_map(|(from, to)| Step::Move(from, to)),
            1 => (directory.clone(), directory).prop_map(|(from, to)| Step::Link(from, to)),
            2 => Just(Step::Read),
        ]
    }

    fn act(root: &Path, step: &Step) {
        // Many come to nothing, as what they need is not there.
        let directory = |which: &usize| root.join(DIRECTORIES[*which]);
        let _ = match step {
            Step::Make(which) => fs::create_dir(directory(which)),
            Step::Write(which) => {
                let at = root.join(PLACES[*which]);
                let _ = at.parent().map(fs::create_dir_all);
                fs::write(at, "text")
            }
            Step::Remove(which) => {
                let at = directory(which);
                if at.is_symlink() { fs::remove_file(at) } else { fs::remove_dir_all(at) }
            }
            Step::Move(from, to) => fs::rename(directory(from), directory(to)),
            Step::Link(from, to) => symlink(directory(to), directory(from)),
            Step::Watch(_) | Step::Read => Ok(()),
        };
    }

    /// Nothing is read for every step, so that events and what is found by then are of
    /// different moments, as they are in a session.
    fn touches_whatever_changes(steps: &[Step]) -> Result<(), TestCaseError> {
        let root = std::env::temp_dir().canonicalize().unwrap();
        let thread = std::thread::current();
        let root = root.join(format!("forkmon-watch-{}-{:?}", std::process::id(), thread.id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir(&root).unwrap();
        let mut watcher = Watcher::new(false);
        let mut known: FxHashMap<PathId, Stamp> = FxHashMap::default();
        for step in steps.iter().chain([&Step::Read]) {
            act(&root, step);
            match step {
                Step::Watch(which) => {
                    let path = root.join(PLACES[*which]);
                    let path = path.as_os_str().as_bytes();
                    let (id, found) = watcher.add(path);
                    let stamp = Stamp::of_file(path);
                    // What is seen without a look may be of before the events
                    // that are still to be read.
                    let found = found.unwrap_or(stamp);
                    known.entry(id).or_insert(found);
                }
                Step::Read => {
                    for id in watcher.read().into_keys() {
                        known.insert(id, Stamp::of_file(watcher.path(id)));
                    }
                    for (&id, stamp) in &known {
                        let path = watcher.path(id);
                        let now = Stamp::of_file(path);
                        let name = String::from_utf8_lossy(path);
                        prop_assert!(now == *stamp, "{name}: {stamp:?}, now {now:?}");
                    }
                }
                _ => {}
            }
        }
        prop_assert_eq!(watcher.polled().count(), 0);
        fs::remove_dir_all(&root).unwrap();
        Ok(())
    }

    #[test]
    fn a_directory_that_is_replaced_before_its_events_are_read_is_followed() {
        let (inner, outer, moved) = (2, 1, Step::Move(0, 1));
        let replaced = [Step::Write(inner), Step::Watch(inner), moved, Step::Write(inner)];
        // Another file below the new one is watched, and then the first one goes.
        let then = [Step::Watch(outer), Step::Read, Step::Remove(3)];
        touches_whatever_changes(&[&replaced[..], &then[..]].concat()).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn whatever_changes_is_touched(steps in prop::collection::vec(step(), 1..60)) {
            touches_whatever_changes(&steps)?;
        }
    }
}
