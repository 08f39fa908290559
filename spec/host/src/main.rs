//! A stand-alone Lua 5.5: the `lua` program, for the specs.
//!
//! No distribution packages Lua 5.5 yet, so the specs bring it along: the library is the
//! one that `mlua` vendors, and this file is the front that its sources leave out. A spec
//! must not be able to tell it from the `lua` of the other versions, so what follows is
//! theirs: options, `LUA_INIT`, the table `arg`, tracebacks, exit statuses, the prompt, and
//! a Ctrl+C that raises "interrupted!" in running code but ends a prompt that waits.
//!
//! `main` is C's own, as Rust's start-up code would ignore SIGPIPE, which no `lua` does.
//! A Lua error is a `longjmp`: no value that needs dropping may be alive where one passes.
//! Only `call` runs code that raises, and errors end there.

#![no_main]
#![allow(non_snake_case, reason = "Lua's own name for a state is L")]
#![allow(unsafe_op_in_unsafe_fn, reason = "nearly every line calls Lua's C API")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::io::{Write, stderr};
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::Relaxed;

use mlua_sys::*;

type State = *mut lua_State;

/// A chunk did not load or did not run to its end; its message has been printed.
struct Failed;

/// The state that SIGINT interrupts.
static RUNNING: AtomicPtr<lua_State> = AtomicPtr::new(null_mut());

/// What messages start with: the name the program was called by, none at the prompt.
static PROGRAM: AtomicPtr<c_char> = AtomicPtr::new(c"lua".as_ptr().cast_mut());

unsafe extern "C" {
    // The streams that Lua's `io` library uses, so that prompts and programs share buffers.
    static stdin: *mut libc::FILE;
    static stdout: *mut libc::FILE;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let arguments: Vec<&'static CStr> =
        (0..argc as usize).map(|i| CStr::from_ptr(*argv.add(i))).collect();
    if let Some(name) = arguments.first() {
        PROGRAM.store(name.as_ptr().cast_mut(), Relaxed);
    }
    let L = luaL_newstate();
    lua_pushcfunction(L, protected_main);
    lua_pushlightuserdata(L, (&raw const arguments).cast_mut().cast());
    let ended_well = lua_pcall(L, 1, 1, 0) == LUA_OK && lua_toboolean(L, -1) != 0;
    lua_close(L);
    if ended_well { libc::EXIT_SUCCESS } else { libc::EXIT_FAILURE }
}

/// The bottom of the stack, a C function as in every `lua`.
unsafe extern "C-unwind" fn protected_main(L: State) -> c_int {
    let arguments = &*lua_touserdata(L, 1).cast::<Vec<&'static CStr>>();
    let ended_well = Options::parse(arguments).and_then(|options| options.carry_out(L)).is_ok();
    lua_pushboolean(L, ended_well.into());
    1
}

struct Options<'a> {
    arguments: &'a [&'static CStr],
    /// Where the script's name is in `arguments`: after the last one if there is none.
    script: usize,
    /// `-e` and `-l` with their values, and `-W`, in their order.
    actions: Vec<(u8, &'static CStr)>,
    interactive: bool,
    version: bool,
    no_environment: bool,
}

impl<'a> Options<'a> {
    fn parse(arguments: &'a [&'static CStr]) -> Result<Self, Failed> {
        let mut options = Options {
            arguments,
            script: 1,
            actions: Vec::new(),
            interactive: false,
            version: false,
            no_environment: false,
        };
        while let Some(argument) = arguments.get(options.script) {
            match argument.to_bytes() {
                b"--" => {
                    options.script += 1;
                    break;
                }
                b"-i" => options.interactive = true,
                b"-v" => options.version = true,
                b"-E" => options.no_environment = true,
                b"-W" => options.actions.push((b'W', c"@on")),
                [b'-', kind @ (b'e' | b'l')] => {
                    options.script += 1;
                    let value = arguments.get(options.script).copied();
                    options.actions.push((*kind, value.ok_or_else(|| usage(argument))?));
                }
                [b'-', kind @ (b'e' | b'l'), ..] => {
                    let value = argument.to_bytes_with_nul();
                    let value = CStr::from_bytes_with_nul(&value[2..]).expect("still ends in NUL");
                    options.actions.push((*kind, value));
                }
                [b'-', _, ..] => return Err(usage(argument)),
                _ => break,
            }
            options.script += 1;
        }
        Ok(options)
    }

    unsafe fn carry_out(&self, L: State) -> Result<(), Failed> {
        if self.no_environment {
            lua_pushboolean(L, 1);
            lua_setfield(L, LUA_REGISTRYINDEX, c"LUA_NOENV".as_ptr());
        }
        luaL_openlibs(L);
        lua_gc(L, LUA_GCGEN);
        self.set_arg(L);
        if self.version || self.interactive {
            print_version();
        }
        if !self.no_environment {
            run_initial_code(L)?;
        }
        for (kind, value) in &self.actions {
            match kind {
                b'e' => run_string(L, value.as_ptr(), c"=(command line)".as_ptr())?,
                b'l' => require(L, value)?,
                _ => lua_warning(L, value.as_ptr(), 0),
            }
        }
        if let Some(&script) = self.arguments.get(self.script) {
            let is_stdin = script == c"-" && self.arguments[self.script - 1] != c"--";
            let file = if is_stdin { null() } else { script.as_ptr() };
            run_file(L, file, &self.arguments[self.script + 1..])?;
        }
        let asked = self.version || self.actions.iter().any(|(kind, _)| *kind == b'e');
        if self.interactive {
            converse(L);
        } else if self.script == self.arguments.len() && !asked {
            if libc::isatty(libc::STDIN_FILENO) == 0 {
                return run_file(L, null(), &[]);
            }
            print_version();
            converse(L);
        }
        Ok(())
    }

    /// The global `arg`: 0 is the script, what precedes it has negative indices.
    unsafe fn set_arg(&self, L: State) {
        let script = if self.script < self.arguments.len() { self.script } else { 0 };
        lua_newtable(L);
        for (i, argument) in self.arguments.iter().enumerate() {
            lua_pushstring(L, argument.as_ptr());
            lua_rawseti(L, -2, i as lua_Integer - script as lua_Integer);
        }
        lua_setglobal(L, c"arg".as_ptr());
    }
}

/// `LUA_INIT_5_5` or else `LUA_INIT`: code, or the name of a file after an `@`.
unsafe fn run_initial_code(L: State) -> Result<(), Failed> {
    for name in [c"LUA_INIT_5_5", c"LUA_INIT"] {
        let value = libc::getenv(name.as_ptr());
        if value.is_null() {
            continue;
        }
        if *value == b'@' as c_char {
            return run_file(L, value.add(1), &[]);
        }
        lua_pushfstring(L, c"=%s".as_ptr(), name.as_ptr());
        return run_string(L, value, lua_tostring(L, -1));
    }
    Ok(())
}

/// `-l NAME` and `-l GLOBAL=NAME`.
unsafe fn require(L: State, value: &CStr) -> Result<(), Failed> {
    let bytes = value.to_bytes();
    let (global, module) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, bytes),
    };
    lua_getglobal(L, c"require".as_ptr());
    lua_pushlstring(L, module.as_ptr().cast(), module.len());
    finish(L, call(L, 1, 1))?;
    lua_pushglobaltable(L);
    lua_pushlstring(L, global.as_ptr().cast(), global.len());
    lua_pushvalue(L, -3);
    lua_settable(L, -3);
    Ok(())
}

unsafe fn run_string(L: State, code: *const c_char, chunk: *const c_char) -> Result<(), Failed> {
    let loaded = luaL_loadbuffer(L, code, libc::strlen(code), chunk);
    finish(L, if loaded == LUA_OK { call(L, 0, 0) } else { loaded })
}

/// Runs a file, standard input if its name is null.
unsafe fn run_file(L: State, name: *const c_char, arguments: &[&CStr]) -> Result<(), Failed> {
    let loaded = luaL_loadfile(L, name);
    if loaded != LUA_OK {
        return finish(L, loaded);
    }
    let count = arguments.len() as c_int;
    luaL_checkstack(L, count, null());
    for argument in arguments {
        lua_pushstring(L, argument.as_ptr());
    }
    finish(L, call(L, count, LUA_MULTRET))
}

/// Calls the function below its arguments; leaves its results, or the message with a traceback.
unsafe fn call(L: State, arguments: c_int, results: c_int) -> c_int {
    let base = lua_gettop(L) - arguments;
    lua_pushcfunction(L, add_traceback);
    lua_insert(L, base);
    RUNNING.store(L, Relaxed);
    on_interrupt(interrupt as *const () as libc::sighandler_t);
    let status = lua_pcall(L, arguments, results, base);
    on_interrupt(libc::SIG_DFL);
    lua_remove(L, base);
    status
}

unsafe extern "C-unwind" fn add_traceback(L: State) -> c_int {
    if lua_tostring(L, 1).is_null() {
        if luaL_callmeta(L, 1, c"__tostring".as_ptr()) != 0 && lua_isstring(L, -1) != 0 {
            return 1;
        }
        lua_pushfstring(L, c"(error object is a %s value)".as_ptr(), luaL_typename(L, 1));
        lua_replace(L, 1);
    }
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    1
}

/// Prints the message of what failed, and takes it from the stack.
unsafe fn finish(L: State, status: c_int) -> Result<(), Failed> {
    if status == LUA_OK {
        return Ok(());
    }
    let message = lua_tostring(L, -1);
    say(if message.is_null() { c"(error message not a string)" } else { CStr::from_ptr(message) });
    lua_pop(L, 1);
    Err(Failed)
}

unsafe fn on_interrupt(handler: libc::sighandler_t) {
    // No SA_RESTART: as in `lua`, Ctrl+C also ends a blocking read.
    let mut action: libc::sigaction = std::mem::zeroed();
    action.sa_sigaction = handler;
    libc::sigaction(libc::SIGINT, &action, null_mut());
}

/// The handler of SIGINT: raises an error where the program is as soon as that is safe, and
/// leaves a second Ctrl+C to the kernel.
unsafe extern "C" fn interrupt(_signal: c_int) {
    on_interrupt(libc::SIG_DFL);
    let everything = LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT;
    lua_sethook(RUNNING.load(Relaxed), Some(raise_interrupted), everything, 1);
}

unsafe extern "C-unwind" fn raise_interrupted(L: State, _: *mut lua_Debug) {
    lua_sethook(L, None, 0, 0);
    luaL_error(L, c"interrupted!".as_ptr());
}

/// The prompt: reads statements and expressions until the input ends.
unsafe fn converse(L: State) {
    PROGRAM.store(null_mut(), Relaxed);
    lua_settop(L, 0);
    while let Some(first) = read_line(c"> ") {
        let status = match load_statement(L, first) {
            LUA_OK => call(L, 0, LUA_MULTRET),
            failed => failed,
        };
        let results = lua_gettop(L);
        if finish(L, status).is_ok() && results > 0 {
            lua_getglobal(L, c"print".as_ptr());
            lua_insert(L, 1);
            let _ = finish(L, call(L, results, 0));
        }
        lua_settop(L, 0);
    }
    libc::puts(c"".as_ptr());
    libc::fflush(stdout);
}

/// Loads the line as an expression, else as a statement that may need more lines.
unsafe fn load_statement(L: State, mut text: Vec<u8>) -> c_int {
    let load =
        |text: &[u8]| luaL_loadbuffer(L, text.as_ptr().cast(), text.len(), c"=stdin".as_ptr());
    if load(&[b"return ", text.as_slice()].concat()) == LUA_OK {
        return LUA_OK;
    }
    loop {
        lua_settop(L, 0);
        let status = load(&text);
        let incomplete = status == LUA_ERRSYNTAX
            && CStr::from_ptr(lua_tostring(L, -1)).to_bytes().ends_with(b"<eof>");
        match incomplete.then(|| read_line(c">> ")).flatten() {
            None => return status,
            Some(line) => {
                text.push(b'\n');
                text.extend(line);
            }
        }
    }
}

unsafe fn read_line(prompt: &CStr) -> Option<Vec<u8>> {
    libc::fputs(prompt.as_ptr(), stdout);
    libc::fflush(stdout);
    let (mut line, mut capacity) = (null_mut(), 0);
    let length = libc::getline(&mut line, &mut capacity, stdin);
    let text = (length >= 0).then(|| {
        let text = CStr::from_ptr(line).to_bytes();
        text.strip_suffix(b"\n").unwrap_or(text).to_vec()
    });
    libc::free(line.cast());
    text
}

fn print_version() {
    // SAFETY: a string that ends in NUL.
    unsafe { libc::puts(c"Lua 5.5".as_ptr()) };
}

fn usage(argument: &CStr) -> Failed {
    let message = [b"unrecognized or incomplete option '", argument.to_bytes(), b"'"].concat();
    say(&CString::new(message).expect("made of strings without NUL"));
    Failed
}

fn say(message: &CStr) {
    let program = PROGRAM.load(Relaxed);
    let mut line = Vec::new();
    if !program.is_null() {
        // SAFETY: the pointer is to an argument of `main` or to a literal.
        line.extend(unsafe { CStr::from_ptr(program) }.to_bytes());
        line.extend(b": ");
    }
    line.extend(message.to_bytes());
    line.push(b'\n');
    // With no standard error there is nobody left to tell.
    let _ = stderr().write_all(&line);
}
