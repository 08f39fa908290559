//! Watching: noticing that something may have happened to a path.
//!
//! Theory of operation. A file is a *path*, not an inode: editors rename over
//! it, version control replaces whole directories, links are turned. So no file
//! is watched; for each path we walk from the root and watch every directory
//! whose entries decide where the path leads: the one that holds the file, the
//! ones that hold symbolic links on the way, and, where the path ends early, the
//! nearest existing one. Plain directories on the way are watched for being
//! moved or removed themselves. An event then *touches* the paths that depend on
//! that name; whether one has changed is for the stamps to say. After a touch
//! the path is walked again, since it may lead elsewhere now. Most paths share
//! their directory with many others, so that is walked once for all of them.
//!
//! `table` knows which name belongs to which paths, `route` walks, `stamp` looks
//! at files; what the kernel does not report (network file systems, limits
//! reached) is polled, and the caller is told so once.

mod route;
mod stamp;
mod table;

pub use stamp::{Stamp, TICK, content_digest, digest};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use nix::errno::Errno;
use route::Place;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use table::Table;

/// A path that was ever watched in this session.
pub type PathId = u32;

/// What happened to a path, as far as the events tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// Somebody closed it after writing, or moved something there: it is whole.
    pub completed: bool,
    /// It was created; more is likely to be written.
    pub created: bool,
    /// It was deleted or moved away.
    pub removed: bool,
}

/// Why paths are polled instead of watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Degraded {
    /// `fs.inotify.max_user_instances` is reached, or there is no inotify.
    NoInstance(Errno),
    /// `fs.inotify.max_user_watches` is reached.
    NoWatches,
    /// The directory is on a file system that reports no changes made elsewhere.
    Remote(PathBuf),
    /// The directory cannot be watched.
    Unwatchable(PathBuf, Errno),
}

/// Who walks: a path, or a directory on behalf of the paths in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Path(PathId),
    Directory(usize),
}

/// A directory, as the paths in it spell it.
struct Directory {
    path: Vec<u8>,
    /// Its watch, if it exists and can be watched.
    wd: Option<WatchDescriptor>,
    poll: bool,
    members: Vec<PathId>,
}

/// A path that is watched.
struct Entry {
    path: Vec<u8>,
    /// The directory whose member it is, by its place in the list.
    home: Option<usize>,
}

/// Watches paths and says which were touched.
pub struct Watcher {
    inotify: Option<Inotify>,
    ids: HashMap<Vec<u8>, PathId>,
    paths: Vec<Entry>,
    homes: HashMap<Vec<u8>, usize>,
    directories: Vec<Directory>,
    table: Table<WatchDescriptor, Subject>,
    /// Directories by their real path, as long as that leads to them.
    watched: HashMap<PathBuf, WatchDescriptor>,
    polled: HashSet<PathId>,
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

/// What makes the place of a directory worth looking at again.
const ITSELF: WatchMask = WatchMask::MOVE_SELF.union(WatchMask::DELETE_SELF);

/// How often a path that leads elsewhere every time is followed before it is
/// polled instead.
const MOST_WALKS: usize = 10;

impl Watcher {
    /// A watcher with one inotify instance, or none when everything is polled.
    pub fn new(poll_only: bool) -> Self {
        let mut watcher = Watcher {
            inotify: None,
            ids: HashMap::new(),
            paths: Vec::new(),
            homes: HashMap::new(),
            directories: Vec::new(),
            table: Table::default(),
            watched: HashMap::new(),
            polled: HashSet::new(),
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
    pub fn add(&mut self, path: &[u8]) -> PathId {
        if let Some(&id) = self.ids.get(path) {
            return id;
        }
        let id = self.paths.len() as PathId;
        self.ids.insert(path.to_vec(), id);
        self.paths.push(Entry { path: path.to_vec(), home: None });
        self.follow(id);
        id
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
    pub fn read(&mut self) -> HashMap<PathId, Touch> {
        let mut subjects: HashMap<Subject, Touch> = HashMap::new();
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
                    };
                    for subject in self.table.touched(&event.wd, name.as_bytes()) {
                        let known = subjects.entry(subject).or_default();
                        known.completed |= touch.completed;
                        known.created |= touch.created;
                        known.removed |= touch.removed;
                    }
                }
            }
        }
        for (wd, ignored) in displaced {
            for subject in self.displace(&wd, ignored) {
                subjects.entry(subject).or_default();
            }
        }
        let mut touched = HashMap::new();
        for (subject, touch) in subjects {
            match subject {
                Subject::Path(id) => {
                    touched.insert(id, touch);
                }
                Subject::Directory(directory) => {
                    self.follow_directory(directory);
                    for &id in &self.directories[directory].members {
                        touched.entry(id).or_default();
                    }
                }
            }
        }
        if overflow {
            for directory in 0..self.directories.len() {
                self.follow_directory(directory);
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

    /// Watches what decides where a path leads.
    fn follow(&mut self, id: PathId) {
        let path = self.path(id);
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (path[..slash].to_vec(), path[slash + 1..].to_vec()),
            None => return self.walk(Subject::Path(id)),
        };
        let home = self.home(parent);
        if self.paths[id as usize].home != Some(home) {
            self.paths[id as usize].home = Some(home);
            self.directories[home].members.push(id);
        }
        self.table.leave(Subject::Path(id));
        if let Some(wd) = &self.directories[home].wd {
            self.table.name(wd.clone(), &name, Subject::Path(id));
        }
        if self.directories[home].poll {
            self.polled.insert(id);
        } else {
            self.polled.remove(&id);
        }
        // Looked at after the watch began, so that no change can come in between.
        if route::leads_on(self.path(id)) {
            self.walk(Subject::Path(id));
        }
    }

    /// The directory of this spelling, which is followed from the first time on.
    fn home(&mut self, path: Vec<u8>) -> usize {
        if let Some(&home) = self.homes.get(&path) {
            return home;
        }
        let home = self.directories.len();
        self.homes.insert(path.clone(), home);
        self.directories.push(Directory { path, wd: None, poll: false, members: Vec::new() });
        self.follow_directory(home);
        home
    }

    fn follow_directory(&mut self, directory: usize) {
        self.walk(Subject::Directory(directory));
    }

    /// Walks from the root, and watches what decides where that leads.
    ///
    /// What happens between the walk and the watches raises no event, so it is
    /// walked again until it leads where it did.
    fn walk(&mut self, subject: Subject) {
        let route = |watcher: &Self| match subject {
            Subject::Path(id) => route::walk(watcher.path(id)),
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
        self.watched.insert(directory.to_path_buf(), wd.clone());
        if mask != ITSELF && route::is_remote(directory) {
            self.degrade(Degraded::Remote(directory.to_path_buf()));
            return Ok(None);
        }
        Ok(Some(wd))
    }

    fn degrade(&mut self, reason: Degraded) {
        self.degraded.push(reason);
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
