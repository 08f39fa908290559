//! What the program is about to ask of the file system, in plain terms.

use crate::sys::status::{Fields, Status};
use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

/// A path as the program has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// As it is spelled; empty for a descriptor's own file.
    pub path: &'a [u8],
    /// The descriptor of the folder that it begins at, where it is not the working one.
    pub folder: Option<c_int>,
}

/// What the program is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// Open a file.
    Open {
        /// Which.
        place: Place<'a>,
        /// As those of `open`: for reading, for writing, to make it, …
        flags: c_int,
    },
    /// Ask what is there.
    Stat {
        /// Where.
        place: Place<'a>,
        /// What a link leads to, and not the link.
        follow: bool,
        /// What it is told.
        fields: Fields,
    },
    /// Ask whether it may do something.
    Access {
        /// With what.
        place: Place<'a>,
        /// `R_OK`, `W_OK`, `X_OK`, or none of them for whether it is there.
        mode: c_int,
        /// As the user it acts for, and not as the one who started it.
        effective: bool,
    },
    /// Ask where a link points to.
    Link {
        /// Which.
        place: Place<'a>,
    },
    /// Ask for the real path.
    Resolve {
        /// Of what.
        place: Place<'a>,
    },
    /// List a folder.
    List {
        /// Which.
        place: Place<'a>,
    },
    /// Load a library. A name without a slash is looked for by the loader.
    Load {
        /// Which.
        place: Place<'a>,
    },
    /// Have a shell run a command.
    Run {
        /// It is started.
        starts: bool,
        /// It has ended when the call returns.
        ends: bool,
    },
    /// Change something by its path.
    Change {
        /// What.
        place: Place<'a>,
        /// How.
        act: Act,
    },
}

/// How something is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is made; fails where there is something.
    Make,
    /// A file is made, with a name of which the path gives only the beginning: the
    /// template of `mkstemp`.
    MakeSome,
    /// It is removed.
    Remove,
    /// It gets another name.
    MoveAway,
    /// Something else gets its name, whatever is there.
    MoveHere,
    /// It is made longer or shorter.
    Resize,
    /// Its times, owner or permissions are set.
    Mark,
}

/// A folder that is being listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Folder(pub usize);

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Nothing, and why.
    Failed(c_int),
    /// It was done.
    Done,
    /// What is there.
    Status(Status),
    /// Where the link points to, or the real path, or what was made by a template. As much as
    /// the program had room for.
    Target(&'a [u8]),
    /// The folder is open; its names follow.
    Listing(Folder),
}

/// Whether to hear what comes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No.
    Pass,
    /// Yes; of a listing also every name.
    Tell,
}

/// Who hears of the calls.
///
/// It is called in the middle of C code, and on LuaJIT in the middle of a trace: it must not run
/// Lua code, which also cannot raise an error or yield from there. It may clone
/// the process: in the clone, too, the call goes on afterwards. None of what it does is
/// told to it, and the program does not see what it does to `errno`.
pub trait Observer {
    /// The call is about to be made.
    fn before(&self, call: &Call) -> Verdict;

    /// It was made, and this came of it.
    fn after(&self, call: &Call, outcome: &Outcome);

    /// The program got a name from a listing, or heard that there are no more.
    fn name(&self, folder: Folder, name: Option<&[u8]>);

    /// The program begins the listing anew.
    fn rewound(&self, folder: Folder);

    /// It has done with the listing.
    fn closed(&self, folder: Folder);

    /// A library was loaded of which so many slots cannot be written to.
    fn refused(&self, slots: usize);
}

impl<'a> Place<'a> {
    /// A path relative to the working directory. `None` for a null pointer.
    ///
    /// # Safety
    /// Anything but a null pointer is a string that outlives the place.
    pub unsafe fn new(path: *const c_char) -> Option<Place<'a>> {
        // SAFETY: the caller promises.
        unsafe { Place::at(libc::AT_FDCWD, path) }
    }

    /// A path relative to a folder. `None` for a null pointer, and for an empty path,
    /// which means the descriptor itself: that is no question about a path.
    ///
    /// # Safety
    /// As [`Place::new`].
    pub unsafe fn at(folder: c_int, path: *const c_char) -> Option<Place<'a>> {
        if path.is_null() {
            return None;
        }
        // SAFETY: the caller promises.
        let path = unsafe { CStr::from_ptr(path) }.to_bytes();
        let counts = folder != libc::AT_FDCWD && path.first() != Some(&b'/');
        (!path.is_empty()).then_some(Place { path, folder: counts.then_some(folder) })
    }

    /// The folder that the path is relative to, where that is not the working directory.
    pub fn folder_path(&self) -> Option<Vec<u8>> {
        let link = format!("/proc/self/fd/{}", self.folder?);
        std::fs::read_link(link).ok().map(|path| OsString::from(path).into_vec())
    }
}
