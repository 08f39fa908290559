//! What the program asks of the file system by C code, as it asks.
//!
//! Theory of operation. The interpreter and its libraries reach `open`, `stat`, `opendir` and the
//! like through import slots, which can be written to (`objects`). Each gets a function
//! of ours (`glibc`: `opens`, `asks`, `lists`, `changes`, `loads`, `runs`) that tells an observer what is about to
//! happen, makes the call, and tells what came of it, if that is wanted. Only the program's one
//! thread is served, and only in the process that is the program (`served`); any other call goes
//! straight through. Our own code and libc reach the originals.
//!
//! What is not seen: programs that are linked statically, raw system calls (but a few by `syscall`), `io_uring`, what libc
//! reads for itself, what constructors of libraries do, `nftw` and `fts`, subprocesses. Code
//! that hands an invalid address to one of these functions is ended by a fault, where it
//! would have had EFAULT. A handler of a signal that comes while the program is in
//! the middle of `malloc`, and opens a file, may find the observer in need of memory.
//!
//! Why no crate: `plthook` is C code, finds slots by name whatever they lead to, and reads
//! `/proc/self/maps` for each object; `plt-rs` reads the tables, but keeps references to them
//! when the object may be gone, knows no versions, and stops at the first slot of a name, of which
//! sqlite has two. Others (`redhook`) are for LD_PRELOAD, or overwrite code.

mod call;
mod found;
#[cfg(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod glibc;
#[cfg(not(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[path = "elsewhere.rs"]
mod glibc;

pub use call::{Act, Call, Folder, Observer, Outcome, Place, Verdict};
pub use glibc::{install, remove, serve_this_process};
