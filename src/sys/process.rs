//! Process attributes that `nix` leaves unsafe, and leaving without unwinding.

use super::cerr;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::time::ClockId;
use nix::unistd::Pid;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::time::Duration;

/// The pid of this process. Asked of the kernel, as the glibc before 2.25 keeps what it
/// once heard, and clones of this process have others.
pub fn own_pid() -> Pid {
    // SAFETY: takes nothing and cannot fail.
    Pid::from_raw(unsafe { libc::syscall(libc::SYS_getpid) } as i32)
}

/// The monotonic clock, which is the same in all processes.
pub fn monotonic() -> Duration {
    ClockId::CLOCK_MONOTONIC.now().map(Duration::from).unwrap_or_default()
}

/// Ends this process at once: no `atexit`, no flushing of buffers that are
/// copies of another process's.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(status) }
}

/// Ties this process's life to `parent`'s: SIGKILL when the parent ends. Returns
/// as [`hear_of_parent`].
pub fn die_with_parent(parent: Pid) -> bool {
    hear_of_parent(parent, Signal::SIGKILL)
}

/// Has `signal` sent to this process when `parent` ends.
///
/// The kernel forgets the setting in every clone and when credentials change.
/// Returns false when the parent was gone already, as no signal will come then.
pub fn hear_of_parent(parent: Pid, signal: Signal) -> bool {
    // A failure would mean an unknown signal number.
    let _ = nix::sys::prctl::set_pdeathsig(signal);
    nix::unistd::getppid() == parent
}

/// The interval timers, which a clone does not inherit.
#[derive(Clone, Copy)]
pub struct IntervalTimers([libc::itimerval; 3]);

const TIMERS: [libc::c_int; 3] = [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF];

impl IntervalTimers {
    /// The running interval timers (`alarm`, `setitimer`) of this process.
    pub fn read() -> Self {
        // SAFETY: all-zero is a valid itimerval (a stopped timer).
        let mut timers: [libc::itimerval; 3] = unsafe { std::mem::zeroed() };
        for (which, timer) in TIMERS.iter().zip(&mut timers) {
            // SAFETY: the kernel writes one itimerval.
            unsafe { libc::syscall(libc::SYS_getitimer, *which, timer as *mut libc::itimerval) };
        }
        IntervalTimers(timers)
    }

    /// Starts in this process the timers that were running.
    pub fn restore(&self) {
        for (which, timer) in TIMERS.iter().zip(&self.0) {
            if timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0 {
                let none = std::ptr::null_mut::<libc::itimerval>();
                // SAFETY: the kernel reads one itimerval; no old value is asked for.
                unsafe {
                    libc::syscall(
                        libc::SYS_setitimer,
                        *which,
                        timer as *const libc::itimerval,
                        none,
                    )
                };
            }
        }
    }
}

/// Sets (`Some`) or removes (`None`) an environment variable of this process.
///
/// # Errors
/// `EINVAL` for a name that is empty or has a `=`; `ENOMEM`.
pub fn set_environment(name: &CStr, value: Option<&CStr>) -> nix::Result<()> {
    // SAFETY: the process has one thread as far as we are concerned: the Lua
    // program's own C code may race with us only if it has started others.
    let result = unsafe {
        match value {
            Some(value) => libc::setenv(name.as_ptr(), value.as_ptr(), 1),
            None => libc::unsetenv(name.as_ptr()),
        }
    };
    cerr(result).map(drop)
}

/// The directory that absolute paths begin at. Two processes with the same one mean
/// the same by a path: it differs after `chroot`, and among other mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    device: (u32, u32),
    inode: u64,
    /// In each mount namespace another; 0 before Linux 5.8.
    mount: u64,
}

impl Root {
    /// That of this process; `None` where it cannot be looked at.
    pub fn of_this_process() -> Option<Root> {
        let mut found = MaybeUninit::<libc::statx>::zeroed();
        // SAFETY: a valid path, and the kernel writes one statx structure.
        let result = unsafe {
            libc::syscall(
                libc::SYS_statx,
                libc::AT_FDCWD,
                c"/".as_ptr(),
                libc::AT_STATX_DONT_SYNC,
                libc::STATX_INO | libc::STATX_MNT_ID,
                found.as_mut_ptr(),
            )
        };
        // SAFETY: zeroed bytes are a valid statx.
        let found = unsafe { found.assume_init() };
        (result == 0).then_some(Root {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            mount: found.stx_mnt_id,
        })
    }
}

/// What happened to a child, in numbers: `nix` cannot name real-time signals, and
/// says nothing of a child that it has reaped when one has ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It exited, with this status.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
    /// This signal stopped it.
    Stopped(i32),
}

/// Reaps a child that has ended, or tells of one that has stopped; never waits.
/// `None` when there is no more news.
pub fn next_fate() -> Option<(i32, Fate)> {
    fate_of(-1)
}

/// The same of one child, and nothing of the others.
pub fn fate_of(child: i32) -> Option<(i32, Fate)> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one int.
        match unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG | libc::WUNTRACED) } {
            -1 if Errno::last() == Errno::EINTR => {}
            -1 | 0 => return None,
            pid if libc::WIFEXITED(status) => {
                return Some((pid, Fate::Exited(libc::WEXITSTATUS(status))));
            }
            pid if libc::WIFSIGNALED(status) => {
                return Some((pid, Fate::Killed(libc::WTERMSIG(status))));
            }
            pid if libc::WIFSTOPPED(status) => {
                return Some((pid, Fate::Stopped(libc::WSTOPSIG(status))));
            }
            _ => {}
        }
    }
}

/// Whether a process is a child that has not been reaped: only then its number
/// cannot have gone to another.
pub fn is_child(pid: i32) -> bool {
    pid > 0 && end_of(Id::Pid(Pid::from_raw(pid))) != Err(Errno::ECHILD)
}

/// Whether this process has children, those that are not reaped included.
pub fn has_child() -> bool {
    end_of(Id::All) != Err(Errno::ECHILD)
}

/// Whether a child has not ended.
pub fn is_running(pid: i32) -> bool {
    end_of(Id::Pid(Pid::from_raw(pid))) == Ok(WaitStatus::StillAlive)
}

/// The end of a child, which is not reaped thereby; never waits for it.
fn end_of(which: Id) -> nix::Result<WaitStatus> {
    waitid(which, WaitPidFlag::WNOHANG | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
}

/// Gives a process the processor only when nobody else wants it.
pub fn yield_to_all(pid: Pid) {
    // SAFETY: takes plain numbers. A process that is gone needs nothing.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, pid.as_raw() as libc::id_t, 19) };
}

/// Bytes in a page of memory.
pub fn page_size() -> usize {
    // SAFETY: takes a plain number. The kernel tells every process.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Page faults of this process that needed no input.
pub fn own_faults() -> u64 {
    faults(libc::RUSAGE_SELF)
}

/// Page faults of the subprocesses this process has waited for.
pub fn children_faults() -> u64 {
    faults(libc::RUSAGE_CHILDREN)
}

fn faults(who: libc::c_int) -> u64 {
    // SAFETY: all-zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one rusage.
    unsafe { libc::getrusage(who, &raw mut usage) };
    (usage.ru_minflt + usage.ru_majflt) as u64
}
