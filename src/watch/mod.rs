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
//! the path is walked again, since it may lead elsewhere now.
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

/// Watches paths and says which were touched.
pub struct Watcher {
    inotify: Option<Inotify>,
    ids: HashMap<Vec<u8>, PathId>,
    paths: Vec<Vec<u8>>,
    table: Table<WatchDescriptor>,
    /// Directories by their real path, as long as that leads to them.
    watched: HashMap<PathBuf, WatchDescriptor>,
    polled: HashSet<PathId>,
    degraded: Vec<Degraded>,
}

/// What makes an entry of a directory worth looking at again.
const NAMES: WatchMask = WatchMask::CLOSE_WRITE
    .union(WatchMask::MOVED_TO)
    .union(WatchMask::MOVED_FROM)
    .union(WatchMask::CREATE)
    .union(WatchMask::DELETE);

/// What makes the place of a directory worth looking at again.
const ITSELF: WatchMask = WatchMask::MOVE_SELF.union(WatchMask::DELETE_SELF);

impl Watcher {
    /// A watcher with one inotify instance, or none when everything is polled.
    pub fn new(poll_only: bool) -> Self {
        let mut watcher = Watcher {
            inotify: None,
            ids: HashMap::new(),
            paths: Vec::new(),
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
        self.paths.push(path.to_vec());
        self.follow(id);
        id
    }

    /// The number of a path that was watched in this session.
    pub fn find(&self, path: &[u8]) -> Option<PathId> {
        self.ids.get(path).copied()
    }

    /// The path with this number.
    pub fn path(&self, id: PathId) -> &[u8] {
        &self.paths[id as usize]
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
        let mut touched: HashMap<PathId, Touch> = HashMap::new();
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
                    for id in self.table.touched(&event.wd, name.as_bytes()) {
                        let known = touched.entry(id).or_default();
                        known.completed |= touch.completed;
                        known.created |= touch.created;
                        known.removed |= touch.removed;
                    }
                }
            }
        }
        for (wd, ignored) in displaced {
            for id in self.displace(&wd, ignored) {
                touched.entry(id).or_default();
            }
        }
        if overflow {
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
    fn displace(&mut self, wd: &WatchDescriptor, ignored: bool) -> Vec<PathId> {
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

    /// Walks a path and watches what decides where it leads.
    fn follow(&mut self, id: PathId) {
        let places = route::walk(self.path(id));
        self.table.leave(id);
        let mut poll = self.inotify.is_none();
        for place in places {
            let (directory, mask) = match &place {
                Place::Name(directory, _) | Place::Every(directory) => (directory, NAMES | ITSELF),
                Place::Itself(directory) => (directory, ITSELF),
            };
            match self.watch(directory, mask) {
                Ok(Some(wd)) => match &place {
                    Place::Name(_, name) => self.table.name(wd, name, id),
                    Place::Every(_) => self.table.every(wd, id),
                    Place::Itself(_) => self.table.itself(wd, id),
                },
                Ok(None) => poll = true,
                // An ancestor that we may pass but not read: its own move goes
                // unnoticed, which is no reason to poll.
                Err(_) if matches!(place, Place::Itself(_)) => {}
                // It vanished since the walk; its parent's event comes.
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
        if poll {
            self.polled.insert(id);
        } else {
            self.polled.remove(&id);
        }
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
