//! Following: watching what decides where a path leads.

use super::directories::{Directory, split};
use super::route::{self, Place};
use super::stamp::Stamp;
use super::touch::{Degraded, PathId};
use super::watcher::{Subject, Watcher, errno};
use inotify::{WatchDescriptor, WatchMask};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What makes an entry of a directory worth looking at again. A modification
/// time may be set (`touch -c`, `utime`) without the file being opened, and who
/// writes may keep it open for ever.
const NAMES: WatchMask = FILE
    .union(WatchMask::MOVED_TO)
    .union(WatchMask::MOVED_FROM)
    .union(WatchMask::CREATE)
    .union(WatchMask::DELETE);

/// What makes the place of a directory worth looking at again. Its permissions decide
/// who may pass.
const ITSELF: WatchMask =
    WatchMask::MOVE_SELF.union(WatchMask::DELETE_SELF).union(WatchMask::ATTRIB);

/// What makes a file that is watched itself worth looking at again. What becomes of its
/// name, the directory tells.
const FILE: WatchMask = WatchMask::CLOSE_WRITE.union(WatchMask::MODIFY).union(WatchMask::ATTRIB);

/// How often a path that leads elsewhere every time is followed before it is
/// polled instead.
const MOST_WALKS: usize = 10;

impl Watcher {
    /// Watches what decides where a path leads. Returns what is there, unless that
    /// takes another look.
    pub(super) fn follow(&mut self, id: PathId) -> Option<Stamp> {
        let former = self.files.remove(&id).unwrap_or_default();
        let found = self.follow_anew(id);
        for wd in former {
            // Another file is there, or this one has lost its other names.
            if self.table.members(&wd).is_empty()
                && let Some(inotify) = &self.inotify
            {
                self.table.forget(&wd);
                let _ = inotify.watches().remove(wd);
            }
        }
        found
    }

    fn follow_anew(&mut self, id: PathId) -> Option<Stamp> {
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
        let Some((found, has_other_names)) = Stamp::of_entry(&path) else {
            self.walk(Subject::Path(id));
            // A directory in its place tells of its end only when nobody has it open.
            if let Some(wd) = self.directories[home].wd.clone() {
                self.table.name(wd, name, Subject::Path(id));
            }
            return None;
        };
        let real = |directory: &Directory| directory.real.join(OsStr::from_bytes(name));
        let is_mounted =
            self.mounts.has_files() && self.mounts.is_file(&real(&self.directories[home]));
        if !has_other_names && !is_mounted || self.directories[home].poll {
            return Some(found);
        }
        if !self.watch_file(id, &real(&self.directories[home])) {
            self.polled.insert(id);
        }
        // Again, after that watch began.
        Stamp::of_entry(&path).map(|(found, _)| found)
    }

    /// Watches a file itself, given by its real path. Whether events will tell.
    fn watch_file(&mut self, id: PathId, path: &Path) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let is_mounted = self.mounts.is_file(path);
        if is_mounted && route::is_remote(path) {
            self.degrade(Degraded::Remote(path.to_path_buf()));
            return false;
        }
        match inotify.watches().add(path, FILE | WatchMask::MASK_ADD | WatchMask::DONT_FOLLOW) {
            Ok(wd) => {
                self.table.itself(wd.clone(), Subject::Path(id));
                self.files.entry(id).or_default().push(wd);
                true
            }
            Err(error) => match errno(&error) {
                Errno::ENOENT | Errno::ENOTDIR => true,
                Errno::ENOSPC => {
                    self.degrade(Degraded::NoWatches);
                    false
                }
                // We may not read it: what its directory tells has to do, if that tells all.
                _ => !is_mounted,
            },
        }
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
    pub(super) fn follow_directory(&mut self, directory: usize, moved: &mut Vec<usize>) {
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
        Stamp::of_entry(path) == Some((Stamp::Absent, false))
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
                Place::File(path, has_other_names) => {
                    if let Subject::Path(id) = subject
                        && (*has_other_names || self.mounts.is_file(path))
                        && !self.watch_file(id, path)
                    {
                        poll = true;
                    }
                    continue;
                }
            };
            match self.watch(directory, mask) {
                Ok(Some(wd)) => match place {
                    Place::Name(_, name) => self.table.name(wd, name, subject),
                    Place::Every(_) => self.table.every(wd, subject),
                    Place::Itself(_) => self.table.itself(wd, subject),
                    Place::End(directory) => {
                        self.table.entries(&wd);
                        end = Some((wd, directory.clone()));
                    }
                    Place::File(..) => {}
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
            let (wd, real) = end.unzip();
            self.directories[directory].wd = wd;
            self.directories[directory].real = real.unwrap_or_default();
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
}
