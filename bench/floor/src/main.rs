//! The floor: what no tool of this kind can go below, for a heap of a given size.
//!
//! Three processes do what a resume cannot do without, and nothing else. The *supervisor* waits
//! for a line on its standard input; it kills the *program*, reaps it and wakes the *mold*, which
//! holds the heap; the mold clones itself, and the clone, a child of the supervisor, is the new
//! program and writes a line.
//!
//!     floor MEGABYTES

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicI32, Ordering};

/// So large are the pieces of an interpreter's heap as the kernel sees them: pages, one by one.
const PIECE: usize = 4000;

fn main() {
    let megabytes: usize =
        std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("usage: floor MEGABYTES");
    let program = shared_pid();
    block_signals();
    // SAFETY: there is one thread.
    let mold = unsafe { libc::fork() };
    assert!(mold >= 0, "cannot fork");
    if mold == 0 {
        park(megabytes, program);
    }
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        stop(program.load(Ordering::SeqCst));
        // SAFETY: a system call on a child that is not reaped.
        unsafe { libc::kill(mold, libc::SIGUSR1) };
    }
    stop(program.load(Ordering::SeqCst));
    stop(mold);
}

/// Kills a child and waits for its end.
fn stop(child: i32) {
    if child > 0 {
        // SAFETY: system calls on a child that is not reaped.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
    }
}

/// The mold: clones itself whenever it is woken. Each clone writes a line and waits for its end.
fn park(megabytes: usize, program: &AtomicI32) -> ! {
    die_with_parent();
    for _ in 0..megabytes * 1_000_000 / PIECE {
        std::mem::forget(std::hint::black_box(vec![1u8; PIECE]));
    }
    println!("ready");
    loop {
        wait_for_wake();
        let flags = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
        // SAFETY: a fork of a process with one thread; the kernel stores the clone's pid where an
        // integer is shared with the supervisor.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, program.as_ptr(), 0, 0) };
        assert!(pid >= 0, "cannot clone");
        if pid == 0 {
            std::io::stdout().write_all(b"resumed\n").expect("cannot write");
            die_with_parent();
            loop {
                wait_for_wake();
            }
        }
    }
}

/// A zero that all processes share.
fn shared_pid() -> &'static AtomicI32 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, never unmapped, zeroed and large enough for the integer.
    unsafe {
        let address = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
        assert!(address != libc::MAP_FAILED, "no memory");
        &*address.cast()
    }
}

fn wake() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset makes it a set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGUSR1);
        set.assume_init()
    }
}

/// For all three. The end of the standard input ends the session, not a signal, so that nobody
/// is left to be reaped by others.
fn block_signals() {
    let mut set = wake();
    // SAFETY: the set is valid.
    unsafe {
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

fn wait_for_wake() {
    let mut number = 0;
    // SAFETY: set and number are valid.
    unsafe { libc::sigwait(&wake(), &raw mut number) };
}

fn die_with_parent() {
    // SAFETY: a system call without pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}
