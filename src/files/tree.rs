//! Folders that a program depends on as a whole, with everything below.
//!
//! Their stamp is a digest of all stamps below. As with a file, a second write within one
//! tick of the clock of a file system could leave it as it is, so a stamp that is fresh is
//! accompanied by a digest of what is in the files that were changed last: those that were
//! changed within a tick of the newest. Which those are follows from the stamp alone, so
//! that later they are the same.

use super::scratch::is_scratch;
use super::stamp::{Stamp, content_digest};
use nix::sys::stat::{SFlag, stat};
use std::ffi::OsStr;
use std::fs::DirEntry;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Stamp {
    /// The stamp of what `path` leads to now.
    pub fn of(path: &[u8]) -> Stamp {
        let found = stat(Path::new(OsStr::from_bytes(path)));
        let is_folder = found.is_ok_and(|found| {
            SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
        });
        if is_folder { tree(path) } else { Stamp::of_file(path) }
    }

    /// A digest of the content of what is at `path`, if one is `wanted` anyway or this
    /// stamp of it alone does not settle what it was like.
    pub fn content(&self, path: &[u8], wanted: bool) -> Option<u64> {
        if wanted || self.is_fresh() { self.read(path) } else { None }
    }

    /// A digest of the content of what is at `path`, of which this is the stamp.
    pub fn read(&self, path: &[u8]) -> Option<u64> {
        match *self {
            Stamp::Tree { newest, .. } => {
                let mut hasher = DefaultHasher::new();
                let since = newest.saturating_sub(self.tick().as_nanos() as i64);
                read_tree(path, since, &mut hasher);
                Some(hasher.finish())
            }
            _ => content_digest(path),
        }
    }
}

/// A digest of all that is in a folder and below, by names and content alone: what is written
/// there once more is the same. Of no folder there is none. As slow as to read it all.
pub fn tree_content(folder: &[u8]) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    digest_tree(folder, &mut hasher);
    Path::new(OsStr::from_bytes(folder)).is_dir().then(|| hasher.finish())
}

fn digest_tree(folder: &[u8], hasher: &mut DefaultHasher) {
    for entry in entries(folder) {
        hasher.write(entry.file_name().as_bytes());
        hasher.write_u8(0);
        let path = entry.path();
        let path = path.as_os_str().as_bytes();
        if is_entered(&entry) {
            digest_tree(path, hasher);
            hasher.write_u8(1);
        } else {
            hasher.write_u64(content_digest(path).unwrap_or(0));
        }
    }
}

fn tree(folder: &[u8]) -> Stamp {
    let mut hasher = DefaultHasher::new();
    let mut newest = 0;
    stamp_tree(folder, &mut hasher, &mut newest);
    Stamp::Tree { digest: hasher.finish(), newest }
}

/// What is in a folder, in the order of the names.
fn entries(folder: &[u8]) -> Vec<DirEntry> {
    let Ok(entries) = std::fs::read_dir(OsStr::from_bytes(folder)) else { return Vec::new() };
    let mut entries: Vec<_> =
        entries.flatten().filter(|entry| !is_scratch(entry.file_name().as_bytes())).collect();
    entries.sort_by_key(DirEntry::file_name);
    entries
}

/// Real folders are entered; links to folders are not, as they may lead back.
fn is_entered(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

fn stamp_tree(folder: &[u8], hasher: &mut DefaultHasher, newest: &mut i64) {
    for entry in entries(folder) {
        hasher.write(entry.file_name().as_bytes());
        hasher.write_u8(0);
        let path = entry.path();
        let path = path.as_os_str().as_bytes();
        if is_entered(&entry) {
            stamp_tree(path, hasher, newest);
            // Where it ends: what is beside a folder is not what is in it.
            hasher.write_u8(1);
            continue;
        }
        match Stamp::of_file(path) {
            Stamp::File { device, inode, size, modified, changed } => {
                *newest = changed.max(*newest);
                for word in [device, inode, size, modified as u64, changed as u64] {
                    hasher.write_u64(word);
                }
            }
            Stamp::Special(kind) => hasher.write_u64(kind),
            _ => {}
        }
    }
}

/// Reads the files in a folder that were changed after `since`.
fn read_tree(folder: &[u8], since: i64, hasher: &mut DefaultHasher) {
    for entry in entries(folder) {
        let path = entry.path();
        let path = path.as_os_str().as_bytes();
        if is_entered(&entry) {
            read_tree(path, since, hasher);
        } else if matches!(Stamp::of_file(path), Stamp::File { changed, .. } if changed > since) {
            hasher.write(path);
            hasher.write_u64(content_digest(path).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::path::tests::scratch;
    use super::*;
    use std::fs;

    #[test]
    fn a_folder_is_another_when_anything_in_it_is() {
        let root = scratch("tree-stamps");
        let path = root.as_os_str().as_bytes();
        fs::create_dir(root.join("sub")).unwrap();
        let mut known = Stamp::of(path);
        let mut expect = |same: bool, how: &str| {
            let now = Stamp::of(path);
            assert_eq!(now == known, same, "{how}");
            known = now;
        };
        fs::write(root.join("sub/a"), "1").unwrap();
        expect(false, "a file came");
        fs::rename(root.join("sub/a"), root.join("a")).unwrap();
        expect(false, "it went up");
        fs::write(root.join(".a.swp"), "1").unwrap();
        expect(true, "an editor is at work");
        fs::write(root.join(".env"), "1").unwrap();
        expect(false, "a hidden file came");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_in_the_newest_files_tells_where_stamps_do_not() {
        let root = scratch("tree-contents");
        let path = root.as_os_str().as_bytes();
        fs::write(root.join("a"), "1").unwrap();
        let stamp = Stamp::of(path);
        let content = stamp.content(path, false);
        assert!(content.is_some(), "it is fresh");
        assert_eq!(stamp.read(path), content);
        fs::write(root.join("a"), "2").unwrap();
        assert_ne!(stamp.read(path), content);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn its_content_is_all_that_is_there_whenever_it_came() {
        let root = scratch("tree-everything");
        let path = root.as_os_str().as_bytes();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/a"), "1").unwrap();
        let earlier = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        fs::File::open(root.join("sub/a")).unwrap().set_modified(earlier).unwrap();
        fs::write(root.join("b"), "1").unwrap();
        let content = tree_content(path);
        fs::write(root.join("b"), "1").unwrap();
        assert_eq!(tree_content(path), content, "the same was written again");
        fs::write(root.join("sub/a"), "2").unwrap();
        assert_ne!(tree_content(path), content, "an old file changed");
        fs::write(root.join("sub/a"), "1").unwrap();
        assert_eq!(tree_content(path), content, "and back");
        fs::remove_file(root.join("sub/a")).unwrap();
        assert_ne!(tree_content(path), content, "an old file went");
        fs::remove_dir_all(root).unwrap();
    }
}
