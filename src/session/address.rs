//! Where a session listens: a socket that is called after the process that the shell
//! started, in a folder that only its user can enter.

use nix::unistd::{Pid, geteuid};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

/// The folder for sockets: below `$XDG_RUNTIME_DIR`, else a private one in the
/// temporary directory.
pub fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(runtime) if runtime.is_absolute() && runtime.is_dir() => runtime.join("forkmon"),
        _ => std::env::temp_dir().join(format!("forkmon-{}", geteuid())),
    }
}

/// Makes the folder, and refuses one that somebody else could have prepared.
pub fn private_folder() -> io::Result<PathBuf> {
    let folder = folder();
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::Error::other("the folder for sockets is not ours alone"));
    }
    Ok(folder)
}

/// The socket of a session.
pub fn socket(session: i32) -> PathBuf {
    folder().join(format!("{session}.sock"))
}

/// Removes what a session that has ended may have left.
pub fn forget(session: Pid) {
    let _ = std::fs::remove_file(socket(session.as_raw()));
}
