//! The calls of a C library, which is built in ways that lead to each kind of slot.

use super::objects::Objects;
use super::*;
use crate::files::path::tests::scratch;
use crate::sys::slots::{Call, Folder, Outcome, Place, Verdict};
use crate::sys::status::Fields;
use std::ffi::{CString, c_char, c_int};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int c_open(const char *path) {
  errno = 77;
  int descriptor = open(path, O_RDONLY);
  if (descriptor == -1) return -errno;
  close(descriptor);
  return errno == 77 ? 0 : 1;
}
int c_create(const char *path) {
  int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL, 0640);
  struct stat found;
  if (descriptor == -1 || fstat(descriptor, &found)) return -errno;
  close(descriptor);
  return found.st_mode & 0777;
}
int c_fopen(const char *path) {
  FILE *file = fopen(path, "r+");
  if (!file) return -errno;
  fclose(file);
  return 0;
}
/* An address among the data. */
int (*const c_table[])(const char *, struct stat *) = {stat, lstat};
int c_stat(const char *path) {
  struct stat found;
  return c_table[0](path, &found) ? -errno : (int)found.st_size;
}
int c_lstat(const char *path) {
  struct stat found;
  return c_table[1](path, &found) ? -errno : (int)found.st_size;
}
int c_statx(const char *path) {
  struct statx found;
  return syscall(SYS_statx, AT_FDCWD, path, 0, STATX_SIZE, &found) ? -errno : (int)found.stx_size;
}
int c_access(const char *path) { return access(path, R_OK) ? -errno : 0; }
int c_readlink(const char *path) {
  char target[100];
  int length = readlink(path, target, sizeof target);
  return length < 0 ? -errno : length;
}
int c_realpath(const char *path) {
  char *real = realpath(path, NULL);
  int length = real ? (int)strlen(real) : -errno;
  free(real);
  return length;
}
int c_list(const char *path) {
  DIR *folder = opendir(path);
  if (!folder) return -errno;
  int count = 0;
  while (readdir(folder)) count++;
  rewinddir(folder);
  readdir(folder);
  closedir(folder);
  return count;
}
static int with_dot(const struct dirent *entry) { return strchr(entry->d_name + 1, '.') != NULL; }
int c_scandir(const char *path) {
  struct dirent **names;
  int count = scandir(path, &names, with_dot, alphasort);
  if (count < 0) return -errno;
  for (int each = 0; each < count; each++) free(names[each]);
  free(names);
  return count;
}
int c_glob(const char *pattern) {
  glob_t found = {0};
  int result = glob(pattern, GLOB_MARK, NULL, &found);
  int count = result ? -result : (int)found.gl_pathc;
  globfree(&found);
  return count;
}
int c_rename(const char *path) {
  char to[500];
  snprintf(to, sizeof to, "%s.moved", path);
  return rename(path, to) ? -errno : 0;
}
int c_unlink(const char *path) { return unlink(path) ? -errno : 0; }
static void *in_thread(void *path) { return (void *)(long)c_access(path); }
int c_thread(const char *path) {
  pthread_t thread;
  void *result;
  pthread_create(&thread, NULL, in_thread, (void *)path);
  pthread_join(thread, &result);
  return (int)(long)result;
}
int c_fork(const char *path) {
  int status;
  pid_t child = vfork();
  if (child == 0) _exit(access(path, R_OK) == 0 ? 3 : 4);
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}
int c_at(const char *path) {
  char folder[500];
  strcpy(folder, path);
  *strrchr(folder, '/') = 0;
  int at = open(folder, O_PATH);
  struct stat found;
  int result = fstatat(at, strrchr(path, '/') + 1, &found, AT_SYMLINK_NOFOLLOW);
  close(at);
  return result ? -errno : (int)found.st_size;
}
int c_found(const char *path) {
  int (*function)(const char *, int) = dlsym(RTLD_DEFAULT, "access");
  return function(path, F_OK) ? -errno : 0;
}
int c_system(const char *path) { return system("exit 3") >> 8 == 3 && path ? 0 : 1; }
int c_popen(const char *path) {
  FILE *pipe = popen("exit 4", "r");
  return pipe && pclose(pipe) >> 8 == 4 && path ? 0 : 1;
}
int c_next(const char *path) { return dlsym(RTLD_NEXT, "access") != NULL && path ? 0 : 1; }
int c_load(const char *path) {
  void *library = dlopen(path, RTLD_NOW);
  if (!library) return -1;
  int (*function)(const char *) = dlsym(library, "c_stat");
  return function(path) > 0 ? 0 : 1;
}
"#;

/// The ways in which functions of libc are called.
const BUILDS: [&[&str]; 4] = [
    &["-Wl,-z,lazy"],
    &["-Wl,-z,now,-z,relro"],
    &["-fno-plt", "-Wl,-z,now,-z,relro"],
    &["-O2", "-D_FORTIFY_SOURCE=2", "-D_FILE_OFFSET_BITS=64"],
];

/// One test at a time: there is one observer.
static ONE: Mutex<()> = Mutex::new(());

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: String) {
        // What the observer does is not seen, nor what becomes of `errno`.
        let _ = fs::metadata("/none");
        let mut info = Objects::default();
        info.look();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn short(place: &Place) -> String {
    let folder = place.folder_path().map(|path| [&path[..], b"/"].concat()).unwrap_or_default();
    let path = String::from_utf8_lossy(&[&folder, place.path].concat()).into_owned();
    let below = path.split_once("/calls").map_or(&path[..], |(_, path)| path);
    below.trim_start_matches('/').to_string()
}

impl Observer for Log {
    fn before(&self, call: &Call) -> Verdict {
        self.add(match call {
            Call::Open { place, flags } => format!("open {} {flags:#o}", short(place)),
            Call::Stat { place, follow, fields } => {
                format!("stat {} {follow} {}", short(place), fields.0)
            }
            Call::Access { place, mode, effective } => {
                format!("access {} {mode} {effective}", short(place))
            }
            Call::Link { place } => format!("link {}", short(place)),
            Call::Resolve { place } => format!("resolve {}", short(place)),
            Call::List { place } => format!("list {}", short(place)),
            Call::Load { place } => format!("load {}", short(place)),
            Call::Change { place, act } => format!("{act:?} {}", short(place)),
            Call::Run { starts, ends } => format!("run {starts} {ends}"),
        });
        Verdict::Tell
    }

    fn after(&self, _: &Call, outcome: &Outcome) {
        self.add(match outcome {
            Outcome::Failed(error) => format!("failed {error}"),
            Outcome::Done => "done".into(),
            Outcome::Status(status) => format!("size {}", status.size),
            Outcome::Target(target) => short(&Place { path: target, folder: None }),
            Outcome::Listing(_) => "listing".into(),
        });
    }

    fn name(&self, _: Folder, name: Option<&[u8]>) {
        self.add(name.map_or("end".into(), |name| format!("+{}", String::from_utf8_lossy(name))));
    }

    fn rewound(&self, _: Folder) {
        self.add("rewound".into());
    }

    fn closed(&self, _: Folder) {
        self.add("closed".into());
    }

    fn refused(&self, slots: usize) {
        self.add(format!("refused {slots}"));
    }
}

/// A folder with a few files, and the library in it, built in one of the ways.
struct Bench {
    folder: PathBuf,
    library: *mut c_void,
    log: Log,
    _one: MutexGuard<'static, ()>,
}

fn build(folder: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let source = folder.join("calls.c");
    fs::write(&source, SOURCE).unwrap();
    let library = folder.join(name);
    let mut compiler = Command::new("cc");
    compiler.args(["-w", "-shared", "-fPIC", "-o"]).arg(&library).args(flags).arg(&source);
    assert!(compiler.status().unwrap().success());
    fs::remove_file(source).unwrap();
    library
}

fn open(path: &Path) -> *mut c_void {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a string; the library has no constructors.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
    assert!(!library.is_null());
    library
}

impl Bench {
    fn new(flags: &[&str]) -> Bench {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = scratch("slots").join("calls");
        fs::create_dir(&folder).unwrap();
        let library = open(&build(folder.parent().unwrap(), "calls.so", flags));
        fs::write(folder.join("a.txt"), "text").unwrap();
        std::os::unix::fs::symlink("a.txt", folder.join("l")).unwrap();
        let log = Log::default();
        Bench { folder, library, log, _one: one }
    }

    fn install(&self) {
        assert_eq!(install(Box::new(self.log.clone())).unwrap().refused, 0);
    }

    fn call(&self, function: &str, path: &str) -> c_int {
        let name = CString::new(function).unwrap();
        let path = self.folder.join(path);
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: the library's functions take a string and return an int.
        unsafe {
            let found = libc::dlsym(self.library, name.as_ptr());
            assert!(!found.is_null());
            let found: unsafe extern "C" fn(*const c_char) -> c_int = std::mem::transmute(found);
            found(path.as_ptr())
        }
    }

    /// Asserts that a function returns what it does without us, and what we hear of.
    #[track_caller]
    fn expect(&self, function: &str, path: &str, result: c_int, heard: &[&str]) {
        assert_eq!(self.call(function, path), result, "{function}");
        assert_eq!(self.log.take(), heard, "{function}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        remove();
        // SAFETY: nothing of it is in use.
        unsafe { libc::dlclose(self.library) };
        let _ = fs::remove_dir_all(self.folder.parent().unwrap());
    }
}

#[test]
fn what_c_code_asks_is_heard_and_answered_as_before() {
    for flags in BUILDS {
        let bench = Bench::new(flags);
        let real = bench.folder.join("a.txt").as_os_str().len() as c_int;
        bench.install();
        bench.expect("c_open", "a.txt", 0, &["open a.txt 0o0", "done"]);
        bench.expect("c_open", "none", -libc::ENOENT, &["open none 0o0", "failed 2"]);
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        bench.expect("c_create", "new", 0o640, &[&format!("open new {flags:#o}"), "done"]);
        bench.expect("c_unlink", "new", 0, &["Remove new", "done"]);
        bench.expect("c_fopen", "a.txt", 0, &["open a.txt 0o2", "done"]);
        let guessed = Fields::GUESSED.0;
        bench.expect("c_stat", "l", 4, &[&format!("stat l true {guessed}"), "size 4"]);
        bench.expect("c_lstat", "l", 5, &[&format!("stat l false {guessed}"), "size 5"]);
        bench.expect("c_statx", "l", 4, &[&format!("stat l true {}", Fields::SIZE.0), "size 4"]);
        bench.expect("c_access", "none", -2, &["access none 4 false", "failed 2"]);
        bench.expect("c_readlink", "l", 5, &["link l", "a.txt"]);
        bench.expect("c_realpath", "l", real, &["resolve l", "a.txt"]);
        bench.expect(
            "c_rename",
            "none",
            -2,
            &["MoveAway none", "MoveHere none.moved", "failed 2", "failed 2"],
        );
        assert_eq!(bench.call("c_at", "a.txt"), 4);
        let at = format!("stat a.txt false {guessed}");
        assert_eq!(bench.log.take()[2..], [&at[..], "size 4"]);
        bench.expect("c_found", "a.txt", 0, &["access a.txt 0 false", "done"]);
        bench.expect("c_next", "a.txt", 0, &[]);
        bench.expect("c_system", "a.txt", 0, &["run true true", "done"]);
        let piped = ["run true false", "done", "run false true", "done"];
        bench.expect("c_popen", "a.txt", 0, &piped);
    }
}

#[test]
fn every_name_of_a_listing_is_heard() {
    for flags in BUILDS {
        let bench = Bench::new(flags);
        bench.install();
        assert_eq!(bench.call("c_list", ""), 4);
        let heard = bench.log.take();
        assert_eq!(heard[..2], ["list ", "listing"]);
        let mut names = heard[2..6].to_vec();
        names.sort();
        assert_eq!(names, ["+.", "+..", "+a.txt", "+l"]);
        assert_eq!(heard[6..8], ["end", "rewound"]);
        assert_eq!(heard[9..], ["closed"]);
        bench.expect("c_list", "none", -2, &["list none", "failed 2"]);

        // The filter takes two of them; the program was shown all.
        assert_eq!(bench.call("c_scandir", ""), 2);
        let heard = bench.log.take();
        assert_eq!(heard[..2], ["list ", "listing"]);
        assert_eq!((heard.len(), &heard[6..]), (8, &["end".into(), "closed".into()][..]));

        for (pattern, count) in [("*.txt", 1), ("*", 2), ("none/*", -libc::GLOB_NOMATCH)] {
            remove();
            assert_eq!(bench.call("c_glob", pattern), count);
            bench.install();
            assert_eq!(bench.call("c_glob", pattern), count);
            let heard = bench.log.take();
            let first = if count < 0 { "list none" } else { "list " };
            assert_eq!(heard[0], first);
            assert_eq!(heard.iter().any(|line| line == "+a.txt"), count > 0, "{heard:?}");
        }
    }
}

#[test]
fn only_the_one_thread_of_the_program_is_heard() {
    let bench = Bench::new(BUILDS[0]);
    bench.install();
    bench.expect("c_thread", "a.txt", 0, &[]);
    bench.expect("c_fork", "a.txt", 3, &[]);
    bench.expect("c_access", "a.txt", 0, &["access a.txt 4 false", "done"]);
}

#[test]
fn a_library_that_is_loaded_later_is_heard() {
    for flags in BUILDS {
        let bench = Bench::new(flags);
        bench.install();
        build(&bench.folder, "later.so", flags);
        assert_eq!(bench.call("c_load", "later.so"), 0);
        let heard = bench.log.take();
        assert_eq!(heard[0], "load later.so");
        assert!(heard[1].starts_with("stat later.so"), "{heard:?}");
    }
}

#[test]
fn after_removing_nothing_is_heard_and_the_slots_lead_where_they_did() {
    for flags in BUILDS {
        let bench = Bench::new(flags);
        bench.install();
        assert_eq!(look(), Found::default());
        bench.call("c_stat", "a.txt");
        assert_ne!(bench.log.take(), [""; 0]);
        remove();
        assert_eq!(bench.call("c_stat", "a.txt"), 4);
        assert_eq!(bench.call("c_open", "a.txt"), 0);
        assert_eq!(bench.log.take(), [""; 0]);
    }
}

/// How the library's parts are mapped.
fn mappings() -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let of_it = maps.lines().filter(|line| line.ends_with("/calls.so"));
    of_it.map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn what_was_sealed_is_sealed_again() {
    let bench = Bench::new(BUILDS[1]);
    let before = mappings();
    bench.install();
    assert_eq!(mappings(), before);
    bench.expect("c_access", "a.txt", 0, &["access a.txt 4 false", "done"]);
    remove();
    assert_eq!(mappings(), before);
}

#[test]
fn a_mode_of_fopen_means_the_flags_that_libc_takes_it_for() {
    let flags = opens::flags_of;
    assert_eq!(flags(b"r"), Some(libc::O_RDONLY));
    assert_eq!(flags(b"rb+"), Some(libc::O_RDWR));
    assert_eq!(flags(b"w+x"), Some(libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_EXCL));
    assert_eq!(flags(b"a"), Some(libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND));
    assert_eq!(flags(b"r,ccs=x+"), Some(libc::O_RDONLY));
    assert_eq!(flags(b""), None);
    assert_eq!(flags(b"q"), None);
}
