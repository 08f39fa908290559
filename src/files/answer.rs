//! What a program was told of a path, and whether it would be told the same now.
//!
//! Theory of operation. A program depends on every answer that it got from the file system. A
//! *question* says exactly what was asked, an *answer* exactly what was given, reduced to
//! what was asked for: of a stat of which only the kind counts, nothing but the kind is kept. Names in a folder
//! and targets of links are kept as digests. A change counts when the same question now has another answer.
//!
//! An answer needs no digest of a content, however coarse the times of a file system are: a program
//! that would be told the same would do the same. For the same reason nothing is lost where
//! answers are only compared at intervals, or after the kernel's queue has
//! overflowed: what was there for a moment in between, and was not told to the program, does not
//! matter to it. What it *reads* then is a matter of stamps, which each file that it opens has besides.
//!
//! What is told of a folder whose names were not read to the end is as much as was read: the first so
//! many, in the order in which the folder gives them. That is what a new start would be told, too.
//! Names that editors put beside files while they work do not count, as in a watched folder.

use super::route::Reach;
use super::scratch::is_scratch;
use super::stamp::digest;
use crate::sys::status::{Fields, Status};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, readlink};
use nix::unistd::{AccessFlags, faccessat};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What was asked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// What is there, and these parts of it.
    Status {
        /// What a link leads to, and not the link.
        follow: bool,
        /// What was asked for.
        fields: Fields,
    },
    /// Whether it may be used so.
    Access {
        /// `R_OK`, `W_OK`, `X_OK`, or none of them for whether it is there.
        mode: u8,
        /// As the user the program acts for, and not as the one who started it.
        effective: bool,
    },
    /// Where the link points to.
    Link,
    /// What its real path is.
    Resolve,
    /// Which names are in the folder.
    Names {
        /// The first so many.
        most: u64,
    },
}

impl Question {
    /// Whether the names in a folder were asked for.
    pub fn is_of_names(&self) -> bool {
        matches!(self, Question::Names { .. })
    }

    /// What of a directory matters to who asks this.
    pub fn reach(&self) -> Reach {
        match self {
            Question::Names { .. } => Reach::Entries,
            Question::Status { fields, .. } if fields.tell_of_entries() => Reach::Entries,
            _ => Reach::Itself,
        }
    }
}

/// What was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// This error: that nothing is there, as a rule.
    Failed(i32),
    /// This is there; what was not asked for is nothing.
    Status(Status),
    /// It may.
    Allowed,
    /// A path of this digest.
    Path(u64),
    /// These names.
    Names(Names),
}

/// A set of names, put together name by name, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Names {
    /// How many.
    pub count: u64,
    /// Of all of them.
    pub digest: u64,
}

/// Every name.
pub const ALL: u64 = u64::MAX;

impl Names {
    /// Adds a name that is not among them. Those of the folder itself and of the one above it, which
    /// every folder has, do not count, nor do those of scratch files.
    pub fn add(&mut self, name: &[u8]) {
        if counts(name) {
            self.count += 1;
            // A sum does not depend on the order. So that sums of different sets differ,
            // each part must look as if it were drawn by chance.
            self.digest = self.digest.wrapping_add(scatter(digest(name)));
        }
    }

    /// Takes out a name that is among them.
    pub fn remove(&mut self, name: &[u8]) {
        if counts(name) {
            self.count = self.count.wrapping_sub(1);
            self.digest = self.digest.wrapping_sub(scatter(digest(name)));
        }
    }

    /// Those in a folder, the first so `many`. Each is shown to `see`, with whether it is
    /// known to be a folder.
    ///
    /// # Errors
    /// Those of opening and reading a folder.
    pub fn list(path: &[u8], many: u64, mut see: impl FnMut(&[u8], bool)) -> nix::Result<Names> {
        let mut names = Names::default();
        for entry in std::fs::read_dir(Path::new(OsStr::from_bytes(path))).map_err(errno)? {
            if names.count == many {
                break;
            }
            let entry = entry.map_err(errno)?;
            let name = entry.file_name();
            names.add(name.as_bytes());
            see(name.as_bytes(), entry.file_type().is_ok_and(|kind| kind.is_dir()));
        }
        Ok(names)
    }
}

/// Whether a name makes a difference to a listing.
fn counts(name: &[u8]) -> bool {
    !matches!(name, b"." | b"..") && !is_scratch(name)
}

/// Has every bit of the result depend on every bit of `word` (the last steps of MurmurHash3).
fn scatter(mut word: u64) -> u64 {
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

impl Answer {
    /// That this is there, of which so much was asked for.
    pub fn status(found: &Status, fields: Fields) -> Answer {
        Answer::Status(found.only(fields))
    }

    /// This path: where a link points to, or a real path.
    pub fn path(path: &[u8]) -> Answer {
        Answer::Path(digest(path))
    }

    /// Asks now. A path that is not absolute begins at the working directory.
    pub fn ask(path: &[u8], question: &Question) -> Answer {
        Answer::find(path, question).unwrap_or_else(|error| Answer::Failed(error as i32))
    }

    /// Whether it says that nothing is there.
    pub fn is_absent(&self) -> bool {
        matches!(*self, Answer::Failed(error) if error == Errno::ENOENT as i32 || error == Errno::ENOTDIR as i32)
    }

    fn find(path: &[u8], question: &Question) -> nix::Result<Answer> {
        let os = OsStr::from_bytes(path);
        match *question {
            Question::Status { follow, fields } => {
                Status::of(path, follow).map(|found| Answer::status(&found, fields))
            }
            Question::Access { mode, effective } => {
                let access = AccessFlags::from_bits_truncate(mode.into());
                let flags = if effective { AtFlags::AT_EACCESS } else { AtFlags::empty() };
                faccessat(AT_FDCWD, os, access, flags).map(|()| Answer::Allowed)
            }
            Question::Link => readlink(os).map(|path| Answer::path(path.as_bytes())),
            Question::Resolve => std::fs::canonicalize(os)
                .map(|path| Answer::path(&path.into_os_string().into_vec()))
                .map_err(errno),
            Question::Names { most } => Names::list(path, most, |_, _| ()).map(Answer::Names),
        }
    }
}

/// A question that a program has asked, with what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it asked.
    pub question: Question,
    /// What it was told; of names, without its own.
    pub answer: Answer,
    /// Names in the folder that it has made or removed itself since: these do not count.
    own: BTreeSet<Vec<u8>>,
}

impl Asked {
    /// It was told this.
    pub fn new(question: Question, answer: Answer) -> Asked {
        Asked { question, answer, own: BTreeSet::new() }
    }

    /// What it would be told of `path` now, its own names left out.
    pub fn ask(&self, path: &[u8]) -> Answer {
        self.without_own(path, Answer::ask(path, &self.question))
    }

    /// Whether it would be told the same of `path` now.
    pub fn is_same(&self, path: &[u8]) -> bool {
        self.ask(path) == self.answer
    }

    /// Whether it may be told this, too, and nothing has changed but by itself.
    pub fn agrees(&self, path: &[u8], told: Answer) -> bool {
        self.without_own(path, told) == self.answer
    }

    /// What the program has made of `path` itself is what it knows.
    pub fn restate(&mut self, path: &[u8]) {
        self.answer = self.ask(path);
    }

    /// The program is about to make or remove a name in the folder at `path`.
    pub fn leave_out(&mut self, path: &[u8], name: &[u8]) {
        if self.own.insert(name.to_vec())
            && let Answer::Names(names) = &mut self.answer
            && is_there(path, name)
        {
            names.remove(name);
        }
    }

    /// Likewise of a name that was given only now: it was not told.
    pub fn leave_out_new(&mut self, name: &[u8]) {
        self.own.insert(name.to_vec());
    }

    fn without_own(&self, path: &[u8], answer: Answer) -> Answer {
        let Answer::Names(mut names) = answer else { return answer };
        self.own.iter().filter(|name| is_there(path, name)).for_each(|name| names.remove(name));
        Answer::Names(names)
    }
}

fn is_there(folder: &[u8], name: &[u8]) -> bool {
    let path = Path::new(OsStr::from_bytes(folder)).join(OsStr::from_bytes(name));
    path.symlink_metadata().is_ok()
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::path::may;
    use super::super::path::tests::scratch;
    use super::*;
    use crate::sys::status::tests::{fields, status};
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    pub fn question() -> impl Strategy<Value = Question> {
        prop_oneof![
            (any::<bool>(), fields())
                .prop_map(|(follow, fields)| Question::Status { follow, fields }),
            (0..8u8, any::<bool>())
                .prop_map(|(mode, effective)| Question::Access { mode, effective }),
            Just(Question::Link),
            Just(Question::Resolve),
            prop_oneof![Just(ALL), 0..5u64].prop_map(|most| Question::Names { most }),
        ]
    }

    pub fn answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            any::<i32>().prop_map(Answer::Failed),
            status().prop_map(Answer::Status),
            Just(Answer::Allowed),
            any::<u64>().prop_map(Answer::Path),
            any::<(u64, u64)>().prop_map(|(count, digest)| Answer::Names(Names { count, digest })),
        ]
    }

    fn names(of: &BTreeSet<Vec<u8>>, backwards: bool) -> Names {
        let mut names = Names::default();
        if backwards {
            of.iter().rev().for_each(|name| names.add(name));
        } else {
            of.iter().for_each(|name| names.add(name));
        }
        names
    }

    /// Short names of few letters, so that many sets are nearly the same.
    fn set() -> impl Strategy<Value = BTreeSet<Vec<u8>>> {
        prop::collection::btree_set(prop::collection::vec(b'a'..b'd', 1..4), 0..20)
    }

    proptest! {
        #[test]
        fn names_differ_when_the_sets_do(one in set(), two in set()) {
            prop_assert_eq!(names(&one, false) == names(&two, true), one == two);
        }

        #[test]
        fn a_name_more_or_another_is_seen(mut one in set(), name in "[a-z]{4,9}", other in "[A-Z]{4}") {
            let before = names(&one, false);
            one.insert(name.clone().into_bytes());
            let with = names(&one, false);
            prop_assert_ne!(before, with);
            one.remove(name.as_bytes());
            one.insert(other.into_bytes());
            let instead = names(&one, false);
            prop_assert_ne!(with, instead);
            prop_assert_eq!(with.count, instead.count);
        }
    }

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    #[derive(Clone, Debug)]
    enum Edit {
        Write(usize, usize),
        Touch(usize, u64),
        Mode(usize, u32),
        Remove(usize),
        Rename(usize, usize),
        Link(usize, usize),
        Folder(usize),
        Within(usize),
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let name = 0..NAMES.len();
        let two = (name.clone(), name.clone());
        prop_oneof![
            (name.clone(), 0..3usize).prop_map(|(name, size)| Edit::Write(name, size)),
            (name.clone(), 1..4u64).prop_map(|(name, time)| Edit::Touch(name, time)),
            (name.clone(), prop::sample::select(&[0o600, 0o644, 0o755][..]))
                .prop_map(|(name, mode)| Edit::Mode(name, mode)),
            name.clone().prop_map(Edit::Remove),
            two.clone().prop_map(|(from, to)| Edit::Rename(from, to)),
            two.prop_map(|(at, to)| Edit::Link(at, to)),
            name.clone().prop_map(Edit::Folder),
            name.prop_map(Edit::Within),
        ]
    }

    fn act(root: &Path, edit: &Edit) {
        let at = |name: &usize| root.join(NAMES[*name]);
        // Many come to nothing, as something else is there.
        let _ = match edit {
            Edit::Write(name, size) => fs::write(at(name), vec![b'x'; *size]),
            Edit::Touch(name, time) => fs::File::open(at(name)).and_then(|file| {
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(*time))
            }),
            Edit::Mode(name, mode) => {
                fs::set_permissions(at(name), fs::Permissions::from_mode(*mode))
            }
            Edit::Remove(name) => {
                fs::remove_file(at(name)).or_else(|_| fs::remove_dir_all(at(name)))
            }
            Edit::Rename(from, to) => fs::rename(at(from), at(to)),
            Edit::Link(place, to) => symlink(NAMES[*to], at(place)),
            Edit::Folder(name) => fs::create_dir(at(name)),
            Edit::Within(name) => fs::write(at(name).join("x"), ""),
        };
    }

    /// All that a program could be told, as it is told it.
    #[derive(Debug, PartialEq)]
    enum Told {
        Status(Option<Status>),
        Access(bool),
        Path(Option<PathBuf>),
        Names(Option<BTreeSet<Vec<u8>>>),
    }

    fn told(path: &Path, question: &Question) -> Told {
        match *question {
            Question::Status { follow, fields } => {
                let found = Status::of(path.as_os_str().as_bytes(), follow);
                Told::Status(found.ok().map(|found| found.only(fields)))
            }
            Question::Access { mode, .. } => {
                Told::Access(may(path, AccessFlags::from_bits_truncate(mode.into())))
            }
            Question::Link => Told::Path(fs::read_link(path).ok()),
            Question::Resolve => Told::Path(fs::canonicalize(path).ok()),
            Question::Names { most } => Told::Names(fs::read_dir(path).ok().map(|entries| {
                let names = entries.flatten().map(|entry| entry.file_name().into_vec());
                names.take(usize::try_from(most).unwrap_or(usize::MAX)).collect()
            })),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn an_answer_is_the_same_when_the_program_would_be_told_the_same(
            before in prop::collection::vec(edit(), 0..8),
            after in prop::collection::vec(edit(), 0..4),
            questions in prop::collection::vec((0..NAMES.len(), question()), 1..8),
        ) {
            let root = scratch("answers");
            before.iter().for_each(|edit| act(&root, edit));
            let place = |name: &usize| root.join(NAMES[*name]);
            let asked: Vec<_> = questions.iter().map(|(name, question)| {
                let path = place(name);
                let answer = Answer::ask(path.as_os_str().as_bytes(), question);
                (path.clone(), question, answer, told(&path, question))
            }).collect();
            after.iter().for_each(|edit| act(&root, edit));
            for (path, question, answer, before) in asked {
                let same = Answer::ask(path.as_os_str().as_bytes(), question) == answer;
                let now = told(&path, question);
                // An error may be another one, which a program can tell as well.
                let failed = matches!(answer, Answer::Failed(_));
                prop_assert!(same == (now == before) || failed && now == before,
                    "{path:?} {question:?} {answer:?}: {before:?}, now {now:?}");
            }
            fs::remove_dir_all(root).unwrap();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(80))]

        #[test]
        fn names_that_the_program_makes_and_removes_do_not_count_and_others_do(
            there in prop::collection::btree_set(0..4usize, 0..4),
            own in prop::collection::vec((0..4usize, any::<bool>()), 0..6),
            other in prop::option::of(0..4usize),
            is_named_late: bool,
        ) {
            let root = scratch("own-names");
            let (folder, at) = (root.as_os_str().as_bytes(), |name: usize| root.join(NAMES[name]));
            there.iter().for_each(|name| fs::write(at(*name), "").unwrap());
            let question = Question::Names { most: ALL };
            let mut asked = Asked::new(question, Answer::ask(folder, &question));
            for (name, is_made) in &own {
                asked.leave_out(folder, NAMES[*name].as_bytes());
                let _ = if *is_made { fs::write(at(*name), "") } else { fs::remove_file(at(*name)) };
                prop_assert!(asked.is_same(folder));
                prop_assert!(asked.agrees(folder, Answer::ask(folder, &question)));
            }
            if is_named_late {
                fs::write(root.join("new"), "").unwrap();
                prop_assert!(!asked.is_same(folder));
                asked.leave_out_new(b"new");
                prop_assert!(asked.is_same(folder));
            }
            if let Some(name) = other.filter(|name| own.iter().all(|(own, _)| own != name)) {
                let is_there = at(name).exists();
                let _ = if is_there { fs::remove_file(at(name)) } else { fs::write(at(name), "") };
                prop_assert!(!asked.is_same(folder));
                asked.restate(folder);
                prop_assert!(asked.is_same(folder));
            }
            fs::remove_dir_all(root).unwrap();
        }
    }

    #[test]
    fn scratch_files_disturb_no_listing() {
        let root = scratch("scratch-names");
        fs::write(root.join("a"), "").unwrap();
        let question = Question::Names { most: ALL };
        let asked = Asked::new(question, Answer::ask(root.as_os_str().as_bytes(), &question));
        for name in [".a.swp", "a~", "4913"] {
            fs::write(root.join(name), "").unwrap();
        }
        assert!(asked.is_same(root.as_os_str().as_bytes()));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_change_counts_for_who_asked_for_it() {
        let root = scratch("asked");
        let file = root.join("file");
        fs::write(&file, "one").unwrap();
        let path = file.as_os_str().as_bytes();
        let ask = |fields| Question::Status { follow: true, fields };
        let questions = [Fields::PRESENCE, Fields::KIND, Fields::SIZE].map(ask);
        let was = questions.map(|question| Answer::ask(path, &question));
        let same = || [0, 1, 2].map(|which| Answer::ask(path, &questions[which]) == was[which]);
        fs::write(&file, "two").unwrap();
        assert_eq!(same(), [true, true, true]);
        fs::write(&file, "three").unwrap();
        assert_eq!(same(), [true, true, false]);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(same(), [true, false, false]);
        fs::remove_dir(&file).unwrap();
        assert_eq!(same(), [false, false, false]);
        fs::write(&file, "six").unwrap();
        assert_eq!(same(), [true, true, true]);
        fs::remove_dir_all(root).unwrap();
    }
}
