//! Where a session listens.
//!
//! Theory of operation. Each session has a socket in a folder that only its user can
//! enter. It is called after the process that the shell started and the PID namespace
//! that this number belongs to, as containers may share the folder. A folder serves only
//! if the socket's path fits into a socket address. So there are several, and who asks
//! looks into all of them: whoever began the session may have found other ones usable.

use nix::unistd::geteuid;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The longest path of a socket, in bytes (`sun_path`, without the zero at its end).
const LONGEST_SOCKET: usize = 107;

/// The longest name of a socket: two numbers of ten digits, what is between them, and what
/// stands behind them until it listens.
const LONGEST_NAME: usize = 26;

const SUFFIX: &str = ".sock";

/// The folders that sockets may be in: below `$XDG_RUNTIME_DIR`, else a private one in the
/// temporary directory, else in `/tmp`.
fn folders() -> Vec<PathBuf> {
    let private = format!("forkmon-{}", geteuid());
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let mut folders: Vec<PathBuf> = runtime
        .filter(|runtime| runtime.is_absolute())
        .map(|runtime| runtime.join("forkmon"))
        .into_iter()
        .chain([std::env::temp_dir(), "/tmp".into()].map(|temporary| temporary.join(&private)))
        .filter(|folder| folder.as_os_str().len() + 1 + LONGEST_NAME <= LONGEST_SOCKET)
        .collect();
    folders.dedup();
    folders
}

/// Makes a folder for sockets, and returns the path for that of a session.
///
/// # Errors
/// When none can be made, why not the last. When one is there that somebody else could have
/// prepared: others are not looked for then, as it should be known.
pub fn make(session: i32) -> io::Result<PathBuf> {
    let mut result =
        Err(io::Error::other("no folder has a path that is short enough for a socket"));
    for folder in folders() {
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let text = format!("'{}' cannot be made: {error}", folder.display());
                result = Err(io::Error::other(text));
            }
            _ if is_private(&folder) => return Ok(folder.join(name(session))),
            _ => {
                let text = format!("the folder '{}' is not this user's alone", folder.display());
                return Err(io::Error::other(text));
            }
        }
    }
    result
}

/// Whether a folder is one that nobody else could have prepared.
fn is_private(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder).is_ok_and(|found| {
        found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0
    })
}

/// The socket of a session, where there is one; else where it would be.
pub fn find(session: i32) -> PathBuf {
    let mut paths = folders().into_iter().filter(|folder| is_private(folder));
    let name = name(session);
    let first = paths.next().unwrap_or_default().join(&name);
    if first.exists() {
        return first;
    }
    paths.map(|folder| folder.join(&name)).find(|path| path.exists()).unwrap_or(first)
}

/// All sockets, with the session where that is one of this PID namespace.
pub fn list() -> Vec<(Option<i32>, PathBuf)> {
    let entries = folders().into_iter().filter(|folder| is_private(folder));
    let entries = entries.filter_map(|folder| std::fs::read_dir(folder).ok());
    let paths = entries.flat_map(|entries| entries.flatten().map(|entry| entry.path()));
    let namespace = namespace();
    let session = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
        let (of, session) = name.split_once('-')?;
        let is_here = of.parse() == Ok(namespace);
        Some((session.parse().ok().filter(|_| is_here), path))
    };
    paths.filter_map(session).collect()
}

/// Removes what a session that has ended may have left.
pub fn forget(session: i32) {
    let _ = std::fs::remove_file(find(session));
}

fn name(session: i32) -> String {
    format!("{}-{session}{SUFFIX}", namespace())
}

/// The number of this PID namespace; 0 where it is not known.
fn namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_socket_fits() {
        let name = format!("{}-{}.new", u32::MAX, i32::MAX);
        assert!(name.len() <= LONGEST_NAME && name.len() + 1 >= super::name(i32::MAX).len());
        for folder in folders() {
            let path = folder.join(super::name(i32::MAX));
            assert!(path.as_os_str().len() <= LONGEST_SOCKET);
        }
    }
}
