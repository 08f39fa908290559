//! Walking a path the way the kernel does, to learn what it hangs on.

use super::scratch::is_scratch;
use nix::sys::stat::{SFlag, lstat};
use nix::sys::statfs::statfs;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The kernel follows at most this many symbolic links in one path.
const MAX_LINKS: usize = 40;

/// Something that decides where a path leads. Directories are real paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An entry of a directory: a link on the way, the file, or what is missing.
    Name(PathBuf, Vec<u8>),
    /// The file itself, and whether it has other names.
    File(PathBuf, bool),
    /// All entries of a directory, which is itself what the path leads to.
    Every(PathBuf),
    /// A directory on the way, which may be moved or removed.
    Itself(PathBuf),
    /// The directory that a walk for its entries' sake has come to.
    End(PathBuf),
}

/// What of a directory matters to whom a path leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// That it is there.
    Itself,
    /// Its entries.
    Entries,
    /// All that is below it.
    Tree,
}

/// The places that decide where an absolute path leads now.
///
/// A path that cannot be followed to its end (missing, too many links, no
/// permission) yields the places up to there.
pub fn walk(path: &[u8], reach: Reach) -> Vec<Place> {
    let (mut places, end) = walk_through(path);
    if let Some(directory) = end {
        match reach {
            Reach::Itself => {}
            Reach::Entries => places.push(Place::Every(directory)),
            Reach::Tree => tree(&directory, &mut places),
        }
    }
    places
}

/// As [`walk`], for a directory of whose entries only some matter.
pub fn walk_to_directory(path: &[u8]) -> Vec<Place> {
    let (mut places, end) = walk_through(path);
    places.extend(end.map(Place::End));
    places
}

/// The places on the way, and the directory it ends at, if it does.
fn walk_through(path: &[u8]) -> (Vec<Place>, Option<PathBuf>) {
    let mut places = Vec::new();
    let mut here = PathBuf::from("/");
    let mut ahead: VecDeque<OsString> = components(OsStr::from_bytes(path));
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let (kind, links_to) = match lstat(&next) {
            Ok(found) => (SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT, found.st_nlink),
            Err(_) => {
                places.push(Place::Name(here, name.as_bytes().to_vec()));
                return (places, None);
            }
        };
        match kind {
            SFlag::S_IFDIR => {
                places.push(Place::Itself(next.clone()));
                here = next;
            }
            SFlag::S_IFLNK => {
                places.push(Place::Name(here.clone(), name.as_bytes().to_vec()));
                links += 1;
                let Ok(target) = std::fs::read_link(&next) else { return (places, None) };
                if links > MAX_LINKS {
                    return (places, None);
                }
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for component in components(target.as_os_str()).into_iter().rev() {
                    ahead.push_front(component);
                }
            }
            _ => {
                places.push(Place::Name(here, name.as_bytes().to_vec()));
                places.push(Place::File(next, links_to > 1));
                return (places, None);
            }
        }
    }
    (places, Some(here))
}

fn components(path: &OsStr) -> VecDeque<OsString> {
    path.as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| OsStr::from_bytes(name).to_os_string())
        .collect()
}

/// Everything below a directory that a program asked for as a whole.
fn tree(directory: &Path, places: &mut Vec<Place>) {
    places.push(Place::Every(directory.to_path_buf()));
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| !is_scratch(entry.file_name().as_bytes())) {
        match entry.metadata() {
            Ok(found) if found.is_dir() => tree(&entry.path(), places),
            Ok(found) if found.is_file() => {
                places.push(Place::File(entry.path(), found.nlink() > 1));
            }
            _ => {}
        }
    }
}

/// Whether a directory or file lies on a file system where changes made by others
/// (a server, a host, another client) raise no events here.
pub fn is_remote(place: &Path) -> bool {
    // Magic numbers of statfs(2) that libc does not name everywhere.
    const REMOTE: [i64; 12] = [
        0x6969,      // NFS
        0x0102_1997, // 9p (WSL, virtual machines)
        0x6573_5546, // FUSE (sshfs, virtiofs, gocryptfs)
        0x517B,      // SMB
        0xFE53_4D42, // SMB 2
        0xFF53_4D42, // CIFS
        0x5346_414F, // AFS
        0x00C3_6400, // Ceph
        0x7375_7245, // Coda
        0x786F_4256, // VirtualBox shared folders
        0x0BD0_0BD0, // Lustre
        0x0116_1970, // GFS2
    ];
    statfs(place).is_ok_and(|found| {
        #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
        let kind = found.filesystem_type().0 as i64;
        REMOTE.contains(&(kind & 0xFFFF_FFFF))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A directory of our own, by its real path, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("forkmon-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Scratch(path.canonicalize().unwrap())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn named(places: &[Place]) -> Vec<(PathBuf, Vec<u8>)> {
        places
            .iter()
            .filter_map(|place| match place {
                Place::Name(directory, name) => Some((directory.clone(), name.clone())),
                _ => None,
            })
            .collect()
    }

    fn bytes(path: &Path) -> &[u8] {
        path.as_os_str().as_bytes()
    }

    #[test]
    fn a_plain_file_hangs_on_its_directory() {
        let scratch = Scratch::new("plain");
        fs::write(scratch.0.join("a.lua"), "").unwrap();
        let places = walk(bytes(&scratch.0.join("a.lua")), Reach::Tree);
        assert_eq!(named(&places), [(scratch.0.clone(), b"a.lua".to_vec())]);
        assert!(places.contains(&Place::Itself(scratch.0.clone())));
    }

    #[test]
    fn links_count_where_they_stand_and_where_they_lead() {
        let scratch = Scratch::new("links");
        fs::create_dir(scratch.0.join("v1")).unwrap();
        fs::write(scratch.0.join("v1/real.lua"), "").unwrap();
        symlink("v1", scratch.0.join("current")).unwrap();
        symlink("real.lua", scratch.0.join("v1/a.lua")).unwrap();
        let places = walk(bytes(&scratch.0.join("current/a.lua")), Reach::Tree);
        assert_eq!(
            named(&places),
            [
                (scratch.0.clone(), b"current".to_vec()),
                (scratch.0.join("v1"), b"a.lua".to_vec()),
                (scratch.0.join("v1"), b"real.lua".to_vec()),
            ]
        );
    }

    #[test]
    fn what_is_missing_hangs_on_the_nearest_directory() {
        let scratch = Scratch::new("missing");
        let places = walk(bytes(&scratch.0.join("no/such/dir/a.lua")), Reach::Tree);
        assert_eq!(named(&places), [(scratch.0.clone(), b"no".to_vec())]);
    }

    #[test]
    fn a_loop_of_links_ends() {
        let scratch = Scratch::new("loop");
        symlink("b", scratch.0.join("a")).unwrap();
        symlink("a", scratch.0.join("b")).unwrap();
        assert!(!walk(bytes(&scratch.0.join("a/x.lua")), Reach::Tree).is_empty());
    }

    #[test]
    fn a_directory_hangs_on_what_matters_of_it() {
        let scratch = Scratch::new("tree");
        fs::create_dir_all(scratch.0.join("sub/deep")).unwrap();
        fs::create_dir_all(scratch.0.join(".git")).unwrap();
        let places = walk(bytes(&scratch.0), Reach::Tree);
        let every: Vec<_> =
            places.iter().filter(|place| matches!(place, Place::Every(_))).collect();
        assert_eq!(every.len(), 3);
        let without = |reach| -> Vec<Place> {
            let places = walk(bytes(&scratch.0), reach).into_iter();
            places.filter(|place| !matches!(place, Place::Itself(_))).collect()
        };
        assert_eq!(without(Reach::Entries), [Place::Every(scratch.0.clone())]);
        assert_eq!(without(Reach::Itself), []);
    }
}
