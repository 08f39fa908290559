//! Having a shell run commands, and waiting for them.

use super::hook::{done, hooks, opened};
use crate::sys::slots::call::Call;
use libc::FILE;
use std::ffi::{c_char, c_int};

hooks! {
    fn system(command: *const c_char) -> c_int {
        run(!command.is_null(), true) => |result| done(result)
    }
    fn popen(command: *const c_char, mode: *const c_char) -> *mut FILE {
        run(true, false) => |result| opened(result)
    }
    fn pclose(pipe: *mut FILE) -> c_int {
        run(false, true) => |result| done(result)
    }
}

/// Without a command, `system` only tells whether there is a shell.
fn run<'a>(starts: bool, ends: bool) -> Option<Call<'a>> {
    (starts || ends).then_some(Call::Run { starts, ends })
}
