//! Descriptors by number: the program's own, which we only borrow.

use super::cerr;
use nix::errno::Errno;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Facts about an open descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Device and inode, which duplicates of one open file share.
    pub identity: (u64, u64),
    /// The file type bits of the mode (`S_IFREG`, `S_IFIFO`, …; 0: anonymous).
    pub kind: u32,
    /// Size in bytes, for a regular file.
    pub size: i64,
    /// The status flags and the access mode.
    pub flags: i32,
    /// Whether it is closed on exec.
    pub close_on_exec: bool,
}

/// What the kernel says of `descriptor`.
///
/// # Errors
/// `EBADF` when it is not open.
pub fn facts(descriptor: RawFd) -> nix::Result<Facts> {
    let mut found = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel writes one stat structure.
    cerr(unsafe { libc::fstat(descriptor, found.as_mut_ptr()) })?;
    // SAFETY: zeroed bytes are a valid stat, and it was filled.
    let found = unsafe { found.assume_init() };
    // SAFETY: these commands take no pointer.
    let (flags, own) = unsafe {
        (
            cerr(libc::fcntl(descriptor, libc::F_GETFL))?,
            cerr(libc::fcntl(descriptor, libc::F_GETFD))?,
        )
    };
    Ok(Facts {
        identity: (found.st_dev, found.st_ino),
        kind: found.st_mode & libc::S_IFMT,
        size: found.st_size,
        flags,
        close_on_exec: own & libc::FD_CLOEXEC != 0,
    })
}

/// The position of `descriptor`, or `None` when it has none.
pub fn position(descriptor: RawFd) -> Option<i64> {
    // SAFETY: a seek by nothing changes nothing.
    let position = unsafe { libc::lseek(descriptor, 0, libc::SEEK_CUR) };
    (position >= 0).then_some(position)
}

/// Moves `descriptor` to `position`.
///
/// # Errors
/// `ESPIPE` when it has no position.
pub fn seek(descriptor: RawFd, position: i64) -> nix::Result<()> {
    // SAFETY: plain numbers.
    if unsafe { libc::lseek(descriptor, position, libc::SEEK_SET) } < 0 {
        return Err(Errno::last());
    }
    Ok(())
}

/// Cuts the file behind `descriptor` to `size` bytes.
///
/// # Errors
/// `EINVAL` when it is not open for writing.
pub fn truncate(descriptor: RawFd, size: i64) -> nix::Result<()> {
    // SAFETY: plain numbers.
    cerr(unsafe { libc::ftruncate(descriptor, size) }).map(drop)
}

/// Gives `descriptor` an open file description of its own, so that its position
/// is no longer shared with the processes it was cloned from.
///
/// # Errors
/// `ENOENT`, `EACCES` when the file cannot be opened again.
pub fn make_private(descriptor: RawFd, facts: &Facts) -> nix::Result<()> {
    let path = CString::new(format!("/proc/self/fd/{descriptor}")).map_err(|_| Errno::EINVAL)?;
    let created_by = libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_NOCTTY;
    let flags = (facts.flags & !created_by) | libc::O_CLOEXEC;
    // SAFETY: a valid path; the new descriptor is closed below.
    let reopened = cerr(unsafe { libc::open(path.as_ptr(), flags) })?;
    let own = if facts.close_on_exec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: replaces a descriptor that is open by one for the same file;
    // `reopened` is ours to close.
    unsafe {
        let result = cerr(libc::dup3(reopened, descriptor, own)).map(drop);
        libc::close(reopened);
        result
    }
}

/// Whether a socket is listening for connections.
pub fn is_listening(descriptor: RawFd) -> bool {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes one int.
    let result = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    result == 0 && value != 0
}

/// Whether a socket has a peer: a connection somebody at the other end relies on.
pub fn is_connected(descriptor: RawFd) -> bool {
    let mut address = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes.
    unsafe { libc::getpeername(descriptor, address.as_mut_ptr().cast(), &raw mut length) == 0 }
}

/// Whether a descriptor is a terminal.
pub fn is_terminal(descriptor: RawFd) -> bool {
    // SAFETY: takes a plain number.
    unsafe { libc::isatty(descriptor) == 1 }
}

/// A second descriptor for the same open file, closed on exec.
///
/// # Errors
/// `EBADF` when there is no such descriptor.
pub fn duplicate(descriptor: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: takes plain numbers.
    let copy = cerr(unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: just opened, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Closes a descriptor of this process's that nothing in it will use any more.
pub fn close(descriptor: RawFd) {
    // SAFETY: the supervisor, which alone calls this, never returns to the code
    // that believes to own the descriptor.
    unsafe { libc::close(descriptor) };
}

/// Marks a descriptor to be closed on exec, or not.
pub fn set_close_on_exec(descriptor: RawFd, close: bool) {
    // SAFETY: takes a plain number.
    unsafe { libc::fcntl(descriptor, libc::F_SETFD, if close { libc::FD_CLOEXEC } else { 0 }) };
}
