//! Signals: blocking them, reading them one by one, ending by one.

use super::cerr;
use super::process::{exit_now, own_pid};
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::Pid;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

/// The full signal mask, with the real-time signals that `nix` cannot name.
#[derive(Clone, Copy)]
pub struct Mask(SigSet);

impl Mask {
    /// Blocks every signal and returns the mask that was in force.
    pub fn block_all() -> Mask {
        let mut old = SigSet::empty();
        // The call cannot fail: the operation is valid and so are the pointers.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut old));
        Mask(old)
    }

    /// Puts this mask in force.
    pub fn restore(&self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None);
    }
}

/// Whether one of these signals, which must be blocked, has come.
pub fn is_pending(set: &SigSet) -> bool {
    pending().is_ok_and(|pending| set.iter().any(|signal| pending.contains(signal)))
}

/// The signals that have come while they were blocked.
///
/// # Errors
/// None that is known.
fn pending() -> nix::Result<SigSet> {
    let mut found = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the kernel writes one signal set, of which all bytes are valid.
    unsafe {
        cerr(libc::sigpending(found.as_mut_ptr()))?;
        Ok(SigSet::from_sigset_t_unchecked(found.assume_init()))
    }
}

/// Waits until `signal`, which must be blocked, is sent to this process.
pub fn wait_for(signal: Signal) {
    let mut set = SigSet::empty();
    set.add(signal);
    // EINTR comes after a stop and continue: wait on.
    while set.wait().is_err() {}
}

/// Drops the signals that have come while all were blocked.
pub fn discard_pending() {
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: takes a pending signal, if there is one; no information is asked for.
    let take = || unsafe {
        libc::sigtimedwait(SigSet::all().as_ref(), std::ptr::null_mut(), &raw const none)
    };
    while take() > 0 {}
}

/// Sets the disposition of a signal.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub fn set_disposition(signal: Signal, handler: SigHandler) -> nix::Result<()> {
    debug_assert!(!matches!(handler, SigHandler::Handler(_) | SigHandler::SigAction(_)));
    // SAFETY: only SIG_DFL and SIG_IGN are passed, which run no code.
    unsafe { nix::sys::signal::signal(signal, handler) }.map(drop)
}

/// Whether this process ignores `signal` (as `nohup` and shells arrange for children).
pub fn is_ignored(signal: Signal) -> bool {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null new action the kernel only writes the current one.
    let result =
        unsafe { cerr(libc::sigaction(signal as i32, std::ptr::null(), current.as_mut_ptr())) };
    // SAFETY: zeroed bytes are a valid sigaction, whether written to or not.
    result.is_ok() && unsafe { current.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Takes the default action of `signal` on this process, as if nobody had blocked
/// or handled it. Returns when the action was to stop and somebody continued us,
/// or when the kernel would not stop an orphaned process group.
pub fn take_default(signal: Signal) {
    let _ = set_disposition(signal, SigHandler::SigDfl);
    let mut set = SigSet::empty();
    set.add(signal);
    let _ = kill(own_pid(), signal);
    let mut old = SigSet::empty();
    let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&set), Some(&mut old));
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&old), None);
}

/// Ends this process by a signal, for the shell's sake.
pub fn end_by(signal: i32) -> ! {
    // A core of us helps nobody.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    if let Ok(signal) = Signal::try_from(signal) {
        take_default(signal);
    }
    exit_now(128 + signal)
}

/// Sends a signal by number, real-time ones included.
///
/// # Errors
/// `ESRCH` when the process is gone, `EPERM` when it is somebody else's.
pub fn send(pid: Pid, number: i32) -> nix::Result<()> {
    // SAFETY: `kill` takes plain numbers.
    cerr(unsafe { libc::kill(pid.as_raw(), number) }).map(drop)
}

/// Waits for one of these signals, which must be blocked.
pub fn receive(set: &SigSet) -> Received {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the kernel writes one siginfo.
        let number = unsafe { libc::sigwaitinfo(set.as_ref(), info.as_mut_ptr()) };
        // EINTR comes after a stop and continue.
        if number > 0 {
            // SAFETY: written by the kernel, and zeroed bytes are a valid siginfo; the
            // pid is there for what a process sent, and some number otherwise.
            let (info, sender) = unsafe {
                let info = info.assume_init();
                (info, info.si_pid())
            };
            let from_kernel = info.si_code == libc::SI_KERNEL;
            return Received { number, from_kernel, sender: Pid::from_raw(sender) };
        }
    }
}

/// Room for one siginfo structure read from a signalfd.
const INFO: usize = size_of::<libc::signalfd_siginfo>();

/// One signal that was taken in.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// The signal's number.
    pub number: i32,
    /// Sent by the kernel (the terminal's keys among others), not by a process.
    pub from_kernel: bool,
    /// The sender's pid, when a process sent it.
    pub sender: Pid,
}

/// The next pending signal of a non-blocking signalfd, or `None`.
pub fn read_signal(signals: BorrowedFd) -> Option<Received> {
    let mut buffer = [0u8; INFO];
    loop {
        match nix::unistd::read(signals, &mut buffer) {
            Ok(INFO) => break,
            Err(Errno::EINTR) => {}
            _ => return None,
        }
    }
    // SAFETY: the structure is plain integers and the kernel filled all of it;
    // the byte buffer need not be aligned for an unaligned read.
    let info =
        unsafe { std::ptr::read_unaligned(buffer.as_ptr().cast::<libc::signalfd_siginfo>()) };
    Some(Received {
        number: info.ssi_signo as i32,
        from_kernel: info.ssi_code == libc::SI_KERNEL,
        sender: Pid::from_raw(info.ssi_pid as i32),
    })
}

/// Runs `write` so that a closed pipe is an error and not a signal.
pub fn without_sigpipe(write: impl FnOnce()) {
    let mut pipe = SigSet::empty();
    pipe.add(Signal::SIGPIPE);
    let mut old = SigSet::empty();
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&pipe), Some(&mut old));
    write();
    discard(Signal::SIGPIPE);
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&old), None);
}

/// Takes away a signal that is blocked and pending, if it is.
pub fn discard(signal: Signal) {
    let mut set = SigSet::empty();
    set.add(signal);
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: waits for no time, and asks for no information.
    unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &raw const none) };
}
