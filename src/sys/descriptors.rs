//! Descriptors by number: the program's own, which we only borrow.

use super::cerr;
use nix::errno::Errno;
use nix::sys::stat::Mode;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Facts about an open descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Device and inode, which duplicates of one open file share.
    pub identity: (u64, u64),
    /// The file type bits of the mode (`S_IFREG`, `S_IFIFO`, …; 0: anonymous).
    pub kind: u32,
    /// The permission bits of the mode.
    pub permissions: u32,
    /// How many names it has.
    pub names: u64,
    /// Size in bytes, for a regular file.
    pub size: i64,
    /// The status flags and the access mode.
    pub flags: i32,
    /// Whether it is closed on exec.
    pub close_on_exec: bool,
}

/// The numbers of the open descriptors of this process.
///
/// # Errors
/// `EMFILE` when there is none left to look with; `ENOMEM`.
pub fn list() -> std::io::Result<Vec<RawFd>> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    // The directory's own descriptor is among them, and closed by the time it is used.
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// As [`list`], without those that are closed by now; none when there is no looking.
pub fn open_numbers() -> Vec<RawFd> {
    let mut numbers = list().unwrap_or_default();
    numbers.retain(|number| identity(*number).is_some());
    numbers
}

/// What the kernel says of `descriptor`.
///
/// # Errors
/// `EBADF` when it is not open.
pub fn facts(descriptor: RawFd) -> nix::Result<Facts> {
    let found = stat_of(descriptor)?;
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
        permissions: found.st_mode & 0o7777,
        // The type differs between architectures.
        #[allow(clippy::useless_conversion)]
        names: found.st_nlink.into(),
        size: found.st_size,
        flags,
        close_on_exec: own & libc::FD_CLOEXEC != 0,
    })
}

/// Device and inode of what `descriptor` is; `None` when it is not open.
pub fn identity(descriptor: RawFd) -> Option<(u64, u64)> {
    let found = stat_of(descriptor).ok()?;
    Some((found.st_dev, found.st_ino))
}

fn stat_of(descriptor: RawFd) -> nix::Result<libc::stat> {
    let mut found = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel writes one stat structure.
    cerr(unsafe { libc::fstat(descriptor, found.as_mut_ptr()) })?;
    // SAFETY: zeroed bytes are a valid stat, and it was filled.
    Ok(unsafe { found.assume_init() })
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
    // SAFETY: a valid path; the new descriptor is closed by `replace`.
    let opened = cerr(unsafe { libc::open(path.as_ptr(), reopening(facts) | libc::O_CLOEXEC) })?;
    // SAFETY: nobody else knows of it.
    replace(descriptor, unsafe { OwnedFd::from_raw_fd(opened) }.as_fd(), facts.close_on_exec)
}

/// The flags to open a file with again: those that outlast an opening.
pub fn reopening(facts: &Facts) -> i32 {
    facts.flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_NOCTTY)
}

/// Makes `descriptor` a duplicate of `source`.
///
/// # Errors
/// `EBADF` when it is out of range.
pub fn replace(descriptor: RawFd, source: BorrowedFd, close_on_exec: bool) -> nix::Result<()> {
    let flags = if close_on_exec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: plain numbers. The caller owns whatever `descriptor` was, or borrows
    // it from a program that goes on to use it as what it was.
    cerr(unsafe { libc::dup3(source.as_raw_fd(), descriptor, flags) }).map(drop)
}

/// As [`replace`], where both are the program's.
///
/// # Errors
/// `EBADF` when `source` is not open.
pub fn unite(descriptor: RawFd, source: RawFd, close_on_exec: bool) -> nix::Result<()> {
    // SAFETY: a descriptor of the program's, which does not run now.
    replace(descriptor, unsafe { BorrowedFd::borrow_raw(source) }, close_on_exec)
}

/// Whether two descriptors of one file share their position, as duplicates do.
///
/// Found by a flag that means nothing for files but is shared like the position.
/// (`kcmp` tells, too, but many containers forbid it.)
pub fn are_duplicates(one: RawFd, other: RawFd) -> bool {
    // SAFETY: these commands take no pointer.
    let flags = |descriptor: RawFd| unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
    // SAFETY: as above.
    let set = |flags: i32| unsafe { libc::fcntl(one, libc::F_SETFL, flags) };
    let (first, second) = (flags(one), flags(other));
    if first == -1 || set(first ^ libc::O_NONBLOCK) == -1 {
        return false;
    }
    let shared = flags(other) != second;
    set(first);
    shared
}

/// The lowest number that no descriptor has, which the next to be opened will get.
///
/// # Errors
/// `EMFILE` when there is none.
pub fn lowest_free() -> nix::Result<RawFd> {
    nix::fcntl::open("/", nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC, Mode::empty())
        .map(|descriptor| descriptor.as_raw_fd())
}

/// Whether a socket is, or is to become, one end of a connection: a stream that
/// does not listen. (Datagrams are whole by themselves.)
pub fn is_connection(descriptor: RawFd) -> bool {
    matches!(option(descriptor, libc::SO_TYPE), Some(libc::SOCK_STREAM | libc::SOCK_SEQPACKET))
        && option(descriptor, libc::SO_ACCEPTCONN) == Some(0)
}

fn option(descriptor: RawFd, name: libc::c_int) -> Option<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes one int.
    let result = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(value)
}

/// Whether somebody may read what is written to a descriptor: not so with a pipe whose
/// other end is closed.
pub fn has_reader(descriptor: RawFd) -> bool {
    let mut state = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd; it does not wait.
    let count = unsafe { libc::poll(&raw mut state, 1, 0) };
    count != 1 || state.revents & libc::POLLERR == 0
}

/// Whether a descriptor is a terminal.
pub fn is_terminal(descriptor: RawFd) -> bool {
    // SAFETY: takes a plain number.
    unsafe { libc::isatty(descriptor) == 1 }
}

/// How many columns a terminal has; `None` where that is not known.
pub fn width(descriptor: RawFd) -> Option<u16> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the kernel writes one winsize structure.
    cerr(unsafe { libc::ioctl(descriptor, libc::TIOCGWINSZ, size.as_mut_ptr()) }).ok()?;
    // SAFETY: zeroed bytes are a valid winsize.
    let size = unsafe { size.assume_init() };
    (size.ws_col > 0).then_some(size.ws_col)
}

/// A second descriptor for the same open file, closed on exec, and none of the
/// standard three.
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
    // SAFETY: the supervisor and the guard, which alone call this, never return to the
    // code that believes to own the descriptor, nor call the interpreter, whose
    // collector might close what has the number by then.
    unsafe { libc::close(descriptor) };
}

/// Marks a descriptor to be closed on exec, or not.
pub fn set_close_on_exec(descriptor: RawFd, close: bool) {
    // SAFETY: takes a plain number.
    unsafe { libc::fcntl(descriptor, libc::F_SETFD, if close { libc::FD_CLOEXEC } else { 0 }) };
}
