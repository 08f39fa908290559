//! The watcher: one inotify instance, and the paths that hang on it.
//!
//! Many paths share their directory, so that is walked once for all of them, and what
//! is below a directory that is not there hangs on that one.

use super::directories::Directories;
use super::mounts::Mounts;
use super::route::Reach;
use super::stamp::Stamp;
use super::table::Table;
use super::touch::{Degraded, PathId, Touch};
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use nix::errno::Errno;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Who walks: a path, or a directory on behalf of the paths in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Path(PathId),
    Directory(usize),
}

/// A path that is or was watched.
pub(super) struct Entry {
    pub path: Rc<[u8]>,
    pub is_watched: bool,
    /// The directory whose member it is, by its place in the list.
    pub home: Option<usize>,
    /// What matters of a directory that it leads to.
    pub reach: Reach,
    /// It has the number that the path is found by.
    is_first: bool,
}

/// Watches paths and says which were touched.
pub struct Watcher {
    pub(super) inotify: Option<Inotify>,
    pub(super) mounts: Mounts,
    ids: FxHashMap<Rc<[u8]>, PathId>,
    pub(super) paths: Vec<Entry>,
    pub(super) directories: Directories,
    pub(super) table: Table<WatchDescriptor, Subject>,
    /// Directories by their real path, as long as that leads to them.
    pub(super) watched: FxHashMap<PathBuf, WatchDescriptor>,
    /// Files that are watched themselves, for the sake of these paths.
    pub(super) files: FxHashMap<PathId, Vec<WatchDescriptor>>,
    pub(super) polled: FxHashSet<PathId>,
    degraded: Vec<Degraded>,
}

impl Watcher {
    /// A watcher with one inotify instance, or none when everything is polled.
    pub fn new(poll_only: bool) -> Self {
        let mut watcher = Watcher {
            inotify: None,
            mounts: Mounts::default(),
            ids: FxHashMap::default(),
            paths: Vec::new(),
            directories: Directories::default(),
            table: Table::default(),
            watched: FxHashMap::default(),
            files: FxHashMap::default(),
            polled: FxHashSet::default(),
            degraded: Vec::new(),
        };
        if !poll_only {
            match Inotify::init() {
                Ok(inotify) => {
                    watcher.inotify = Some(inotify);
                    watcher.mounts = Mounts::new();
                }
                Err(error) => watcher.degrade(Degraded::NoInstance(errno(&error))),
            }
        }
        watcher
    }

    /// Watches nothing but these any more. A number stays that of its path.
    pub fn begin_anew(&mut self, poll_only: bool, kept: impl Iterator<Item = PathId>) {
        // The first goes before the second comes: there may be room for one only.
        self.inotify = None;
        let (ids, mut paths) = (std::mem::take(&mut self.ids), std::mem::take(&mut self.paths));
        for entry in &mut paths {
            (entry.is_watched, entry.home) = (false, None);
        }
        *self = Watcher { ids, paths, ..Watcher::new(poll_only) };
        for id in kept {
            self.paths[id as usize].is_watched = true;
            self.follow(id);
        }
        // Nobody asks by these numbers any more.
        let nothing: Rc<[u8]> = Rc::from(&b""[..]);
        for entry in self.paths.iter_mut().filter(|entry| !entry.is_watched && !entry.is_first) {
            entry.path = nothing.clone();
        }
    }

    /// The descriptor that becomes readable when there are events.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// The descriptor that polls as an exception when a mount has come or gone. That is
    /// told once: then it is to be [noted](Watcher::note_mounts).
    pub fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.mounts.descriptor()
    }

    /// A mount has come or gone.
    pub fn note_mounts(&mut self) {
        self.mounts.note_change();
    }

    /// Starts watching an absolute path; cheap when it is watched already.
    ///
    /// Also returns what is there, seen after the watch began, where no further
    /// look is needed to know.
    pub fn add(&mut self, path: &[u8]) -> (PathId, Option<Stamp>) {
        if let Some(id) = self.find(path) {
            return (id, self.glance(id));
        }
        if let Some(&id) = self.ids.get(path) {
            self.paths[id as usize].is_watched = true;
            return (id, self.follow(id));
        }
        let path: Rc<[u8]> = path.into();
        let known = self.begin(path.clone(), Reach::Tree, true);
        self.ids.insert(path, known.0);
        known
    }

    /// Starts watching an absolute path for another reason than what is in the file: it
    /// has a number of its own for that. Returns what [`Watcher::add`] does.
    pub fn add_besides(&mut self, path: &[u8], reach: Reach) -> (PathId, Option<Stamp>) {
        self.begin(path.into(), reach, false)
    }

    /// The watched paths that lead to what an absolute path leads to or, if that is a folder,
    /// to what is below: whatever they are spelled like.
    pub fn leading_to(&self, path: &[u8]) -> Vec<PathId> {
        let path = Path::new(OsStr::from_bytes(path));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Vec::new();
        };
        let Ok(parent) = parent.canonicalize() else { return Vec::new() };
        let mut found = FxHashSet::default();
        let mut folders = Vec::new();
        if let Some(wd) = self.watched.get(&parent) {
            for subject in self.table.touched(wd, name.as_bytes()) {
                match subject {
                    Subject::Path(id) => {
                        found.insert(id);
                    }
                    Subject::Directory(directory) => folders.push(directory),
                }
            }
        }
        let real = parent.join(name);
        folders.extend(self.directories.at_or_below(&real));
        while let Some(folder) = folders.pop() {
            found.extend(&self.directories[folder].members);
            folders.extend(&self.directories[folder].below);
        }
        found.into_iter().collect()
    }

    /// What is there, where no further look is needed to know.
    pub fn glance(&self, id: PathId) -> Option<Stamp> {
        let home = self.paths[id as usize].home;
        let absent = home.is_some_and(|home| self.directories[home].is_absent());
        absent.then_some(Stamp::Absent)
    }

    fn begin(&mut self, path: Rc<[u8]>, reach: Reach, is_first: bool) -> (PathId, Option<Stamp>) {
        let id = self.paths.len() as PathId;
        self.paths.push(Entry { path, is_watched: true, home: None, reach, is_first });
        (id, self.follow(id))
    }

    /// The number of a path that is watched.
    pub fn find(&self, path: &[u8]) -> Option<PathId> {
        self.ids.get(path).copied().filter(|id| self.paths[*id as usize].is_watched)
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
        // One close is told by the directory and by the file, where both are watched.
        let mut completed = FxHashSet::default();
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
                } else {
                    let mut touch = touch_of(event.mask);
                    let concerned = match event.name {
                        Some(name) => self.table.touched(&event.wd, name.as_bytes()),
                        None => self.table.members(&event.wd),
                    };
                    for subject in concerned {
                        touch.again =
                            touch.completed && !completed.insert((event.wd.clone(), subject));
                        subjects.entry(subject).or_default().add(touch);
                    }
                }
            }
        }
        for (wd, ignored) in displaced {
            for subject in self.displace(&wd) {
                subjects.entry(subject).or_default().rerouted |= !ignored;
            }
        }
        for point in self.mounts.take_changed() {
            for subject in self.cover(&point) {
                subjects.entry(subject).or_default().rerouted = true;
            }
        }
        let mut touched = FxHashMap::default();
        for (subject, touch) in subjects {
            match subject {
                Subject::Path(id) => touched.entry(id).or_insert_with(Touch::default).add(touch),
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
            for (id, entry) in self.paths.iter().enumerate() {
                if entry.is_watched {
                    touched.entry(id as PathId).or_default();
                }
            }
        }
        for &id in touched.keys() {
            self.follow(id);
        }
        touched
    }

    /// A directory was moved or removed: what was known of paths through it is
    /// void, and so it is for the directories below, which hear nothing of it.
    fn displace(&mut self, wd: &WatchDescriptor) -> Vec<Subject> {
        let mut members = self.table.members(wd);
        let moved: Vec<PathBuf> = self
            .watched
            .iter()
            .filter(|(_, known)| *known == wd)
            .map(|(path, _)| path.clone())
            .collect();
        for root in moved {
            members.extend(self.forget_from(&root));
        }
        self.table.forget(wd);
        members
    }

    /// Makes sure that the directory of a path is the one that is watched: of one that was removed while
    /// somebody is in it, or has it open, the kernel tells only when nobody is any more.
    pub fn doubt(&mut self, id: PathId) {
        let Some(home) = self.paths[id as usize].home else { return };
        let Some(known) = self.directories[home].wd.clone() else { return };
        let Some(inotify) = &self.inotify else { return };
        // The number that a directory has already.
        let mask = WatchMask::DELETE_SELF | WatchMask::MASK_ADD | WatchMask::ONLYDIR;
        if inotify.watches().add(&self.directories[home].real, mask).is_ok_and(|now| now == known) {
            return;
        }
        let concerned = self.displace(&known);
        self.follow_directory(home, &mut Vec::new());
        for subject in concerned {
            match subject {
                Subject::Path(id) => drop(self.follow(id)),
                Subject::Directory(other) => self.follow_directory(other, &mut Vec::new()),
            }
        }
    }

    /// Something else is mounted there now.
    fn cover(&mut self, point: &Path) -> Vec<Subject> {
        let mut members = self.forget_from(point);
        let parent = point.parent().and_then(|parent| self.watched.get(parent));
        if let (Some(wd), Some(name)) = (parent, point.file_name()) {
            members.extend(self.table.touched(wd, name.as_bytes()));
        }
        members
    }

    /// What is known of a directory and those below it is void. Returns who passed there.
    fn forget_from(&mut self, root: &Path) -> Vec<Subject> {
        let mut members = Vec::new();
        let below = self.watched.extract_if(|path, _| path.starts_with(root));
        for stale in below.map(|(_, wd)| wd).collect::<Vec<_>>() {
            members.extend(self.table.members(&stale));
            self.table.forget(&stale);
            if let Some(inotify) = &self.inotify {
                // Gone already when the directory was removed.
                let _ = inotify.watches().remove(stale);
            }
        }
        members
    }

    pub(super) fn degrade(&mut self, reason: Degraded) {
        self.degraded.push(reason);
    }
}

/// What an event tells.
fn touch_of(mask: EventMask) -> Touch {
    Touch {
        completed: mask.intersects(EventMask::CLOSE_WRITE | EventMask::MOVED_TO),
        written: mask.contains(EventMask::MODIFY),
        created: mask.contains(EventMask::CREATE),
        removed: mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM),
        again: false,
        rerouted: false,
    }
}

pub(super) fn errno(error: &io::Error) -> Errno {
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
