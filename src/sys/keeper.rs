//! Letting a large process end at once.
//!
//! A process that ends gives its memory back first, page by page, and only then
//! closes its files and reports to its parent: 10 ms for 200 MB in which nobody
//! gets anything done. So a large program gets a *keeper*, a process that shares
//! its memory (`CLONE_VM`) and does nothing. While the keeper lives, the program
//! merely lets go of the memory when it ends; the keeper is ended afterwards and
//! gives it back meanwhile, in nobody's way.

use super::descriptors::open_numbers;
use super::procfs::is_alive;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::ffi::c_void;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// The keeper runs a few system calls and sleeps.
const STACK: usize = 16 * 1024;

/// What the keeper needs. Never freed, as the keeper may be late.
struct Birth {
    supervisor: i32,
    /// 0, then 1 when the keeper is ready, or 2 when it gives up.
    state: AtomicU32,
    /// What to close where the kernel does not close all at once (before Linux 5.9, or
    /// where a sandbox refuses that).
    descriptors: Vec<RawFd>,
}

/// The keeper. It shares the caller's memory, its thread-local storage included,
/// so it calls nothing that allocates, and nothing that can fail once the caller
/// goes on (a failure would set the caller's `errno`).
extern "C" fn keep(birth: *mut c_void) -> libc::c_int {
    // SAFETY: the caller passes a `Birth` that is never freed. All signals are blocked, so
    // nothing else runs in this process and `pause` never returns.
    unsafe {
        let birth = &*birth.cast::<Birth>();
        // It has copies of all the caller's descriptors, and must hold none open.
        if libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) != 0 {
            for descriptor in &birth.descriptors {
                libc::syscall(libc::SYS_close, *descriptor);
            }
        }
        let elsewhere = libc::chdir(c"/".as_ptr()) == 0;
        libc::prctl(libc::PR_SET_PDEATHSIG, Signal::SIGKILL as libc::c_ulong);
        let attended = libc::getppid() == birth.supervisor;
        if !(elsewhere && attended) {
            birth.state.store(2, Ordering::Release);
            libc::_exit(0);
        }
        birth.state.store(1, Ordering::Release);
        loop {
            libc::pause();
        }
    }
}

/// Starts a keeper for this process, as a child of its parent `supervisor`. The
/// kernel stores its pid in `announce` before it runs. Every signal must be
/// blocked.
///
/// # Errors
/// `EAGAIN`, `ENOMEM`; `ESRCH` when the parent, or the keeper, is gone.
pub fn start(announce: &AtomicI32, supervisor: nix::unistd::Pid) -> nix::Result<()> {
    let birth: &'static Birth = Box::leak(Box::new(Birth {
        supervisor: supervisor.as_raw(),
        state: AtomicU32::new(0),
        descriptors: open_numbers(),
    }));
    // The keeper's stack lives as long as the memory it keeps: it is never freed.
    // In words, as the end must be aligned to 16 bytes.
    let stack: &'static mut [u128] = Vec::leak(vec![0; STACK / size_of::<u128>()]);
    let flags = libc::CLONE_VM | libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
    // SAFETY: the stack is the new process's alone, `keep` obeys the rules above,
    // and `birth` is never freed.
    let result = unsafe {
        libc::clone(
            keep,
            stack.as_mut_ptr_range().end.cast(),
            flags,
            std::ptr::from_ref(birth).cast_mut().cast(),
            announce.as_ptr(),
        )
    };
    if result == -1 {
        return Err(Errno::last());
    }
    // Some ten microseconds; should the keeper be killed in them, its state
    // stays 0 while it is a zombie or gone.
    while birth.state.load(Ordering::Acquire) == 0 {
        if !is_alive(result) {
            return Err(Errno::ESRCH);
        }
        std::thread::yield_now();
    }
    if birth.state.load(Ordering::Acquire) == 1 { Ok(()) } else { Err(Errno::ESRCH) }
}
