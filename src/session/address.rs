//! Where a session listens.
//!
//! Theory of operation. Each session has a socket in a folder that only its user can
//! enter. It is called after the process that the shell started and the PID namespace
//! that this number belongs to, as containers may share the folder. Whoever asks finds it
//! by the same rule, from the same environment.

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

/// The folder for sockets: below `$XDG_RUNTIME_DIR`, else a private one in the temporary
/// folder, else one in `/tmp`. One that is not there, or whose path is too long for the
/// address of a socket, does not serve.
fn folder() -> PathBuf {
    let fits = |folder: &PathBuf| folder.as_os_str().len() + 1 + LONGEST_NAME <= LONGEST_SOCKET;
    let private = format!("forkmon-{}", geteuid());
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime
        .filter(|runtime| runtime.is_absolute() && runtime.is_dir())
        .map(|runtime| runtime.join("forkmon"))
        .filter(fits)
        .or_else(|| Some(std::env::temp_dir().join(&private)).filter(fits))
        .unwrap_or_else(|| Path::new("/tmp").join(&private))
}

/// Makes the folder for sockets, and returns the path for that of a session.
///
/// # Errors
/// When it cannot be made, or is there and somebody else could have prepared it.
pub fn make(session: i32) -> io::Result<PathBuf> {
    let folder = folder();
    let problem =
        |what: &str| Err(io::Error::other(format!("the folder '{}' {what}", folder.display())));
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            problem(&format!("cannot be made: {error}"))
        }
        _ if is_private(&folder) => Ok(folder.join(name(session))),
        _ => problem("is not this user's alone"),
    }
}

/// Whether a folder is one that nobody else could have prepared.
fn is_private(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder).is_ok_and(|found| {
        found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0
    })
}

/// The socket of a session, unless somebody else could have put it there.
pub fn socket(session: i32) -> Option<PathBuf> {
    let folder = folder();
    is_private(&folder).then(|| folder.join(name(session)))
}

/// All sockets, with the session where that is one of this PID namespace.
pub fn list() -> Vec<(Option<i32>, PathBuf)> {
    let folder = folder();
    if !is_private(&folder) {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let namespace = namespace();
    let session = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
        let (of, session) = name.split_once('-')?;
        let is_here = of.parse() == Ok(namespace);
        Some((session.parse().ok().filter(|_| is_here), path))
    };
    entries.flatten().map(|entry| entry.path()).filter_map(session).collect()
}

/// Removes what a session that has ended may have left.
pub fn forget(session: i32) {
    if let Some(socket) = socket(session) {
        let _ = std::fs::remove_file(socket);
    }
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
        let longest = format!("{}-{}.new", u32::MAX, i32::MAX);
        assert!(longest.len() <= LONGEST_NAME && longest.len() + 1 >= name(i32::MAX).len());
        assert!(folder().join(name(i32::MAX)).as_os_str().len() <= LONGEST_SOCKET);
    }
}
