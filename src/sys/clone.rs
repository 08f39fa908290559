//! Cloning the process so that the clone is a *sibling*, a child of the supervisor.
//!
//! glibc's `fork` cannot set `CLONE_PARENT`, so the system call is made bare. It
//! thereby skips the `pthread_atfork` handlers, which matters only to programs
//! with threads (declined here), and glibc's own repairs, which are made here:
//! the cached thread id and the list of robust mutexes.

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicI32;

/// Which side of the clone returned.
pub enum Side {
    /// The caller, with the pid of the clone.
    Original(Pid),
    /// The clone.
    Clone,
}

/// The number of threads of this process, or `None` without `/proc`.
pub fn threads() -> Option<u64> {
    // A directory's link count is two and one for each directory in it.
    std::fs::metadata("/proc/self/task").ok().map(|task| task.nlink().saturating_sub(2))
}

/// Both ways of cloning copy only the calling thread: what others hold locked
/// would stay so for ever.
fn require_one_thread() -> nix::Result<()> {
    if threads() == Some(1) { Ok(()) } else { Err(Errno::EDEADLK) }
}

/// Clones this process as a child of its own parent.
///
/// The kernel stores the clone's pid in `announce` before the clone can run, so
/// that whoever shares that memory knows of it even if the caller is killed at
/// once. The clone has all memory copied on write, no pending signals and no
/// parent-death signal. Signals should be blocked, as a handler may otherwise
/// run in the clone.
///
/// # Errors
/// `EDEADLK` with more than one thread; `EAGAIN` when a limit on processes is
/// reached; `ENOMEM`; `ENOSYS` or `EPERM` in a sandbox.
pub fn clone_sibling(announce: &AtomicI32) -> nix::Result<Side> {
    require_one_thread()?;
    let tid_address = tid_address();
    let mut flags = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
    if !tid_address.is_null() {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    let robust = robust_list();
    // The kernel's order of the last two differs by architecture
    // (CONFIG_CLONE_BACKWARDS): x86-64 and s390 have the child's tid first.
    #[cfg(any(target_arch = "x86_64", target_arch = "s390x"))]
    let (fourth, fifth) = (tid_address as usize, 0usize);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "s390x")))]
    let (fourth, fifth) = (0usize, tid_address as usize);
    // SAFETY: without CLONE_VM the clone has its own copy of the stack, so a
    // null stack means "go on here", as fork does. There is one thread, so no
    // lock is left held. The addresses are valid for an int each: `announce`
    // outlives the call, `tid_address` is libc's own.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags as libc::c_ulong,
            0usize,
            announce.as_ptr(),
            fourth,
            fifth,
        )
    };
    match result {
        -1 => Err(Errno::last()),
        0 => {
            if let Some((head, length)) = robust {
                // SAFETY: the same list that libc registered for this thread, at
                // the same address in the copied memory.
                unsafe { libc::syscall(libc::SYS_set_robust_list, head, length) };
            }
            Ok(Side::Clone)
        }
        pid => Ok(Side::Original(Pid::from_raw(pid as libc::pid_t))),
    }
}

/// Forks with libc's own `fork`, which runs the `pthread_atfork` handlers.
///
/// # Errors
/// As [`clone_sibling`].
pub fn fork() -> nix::Result<ForkResult> {
    require_one_thread()?;
    // SAFETY: with one thread no lock can be held by a thread that the child lacks.
    unsafe { nix::unistd::fork() }
}

/// Where libc caches this thread's id, or null when the kernel does not tell
/// (no `CONFIG_CHECKPOINT_RESTORE`): then the cache stays stale in the clone,
/// which only robust and error-checking mutexes would notice.
fn tid_address() -> *mut libc::c_int {
    let mut address: *mut libc::c_int = std::ptr::null_mut();
    // SAFETY: the kernel writes one pointer to `address`.
    let result = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut address) };
    if result == 0 { address } else { std::ptr::null_mut() }
}

/// The robust-mutex list libc registered for this thread; a clone starts without one.
fn robust_list() -> Option<(usize, usize)> {
    let (mut head, mut length) = (0usize, 0usize);
    // SAFETY: the kernel writes one pointer and one size.
    let result =
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
    (result == 0 && head != 0).then_some((head, length))
}
