//! Paths as programs spell them, in absolute form.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FileStat, stat};
use nix::unistd::{AccessFlags, faccessat, getegid, geteuid, getgid, getuid};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The longest path that the kernel takes, in bytes: PATH_MAX counts the zero at its end.
pub const LONGEST_PATH: usize = libc::PATH_MAX as usize - 1;

/// Whether this process may do that with what is at a path, as the user that it acts for.
pub fn may(path: &Path, access: AccessFlags) -> bool {
    match faccessat(AT_FDCWD, path, access, AtFlags::AT_EACCESS) {
        // The system call that asks so is younger than Linux 5.8, and sandboxes that do not
        // know it refuse it. The older one asks for the user that started the process.
        Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL) => {
            if geteuid() == getuid() && getegid() == getgid() {
                nix::unistd::access(path, access).is_ok()
            } else {
                stat(path).is_ok_and(|found| permits(&found, access))
            }
        }
        result => result.is_ok(),
    }
}

/// What the permissions of a file say of this process, supplementary groups and
/// capabilities but root's left out.
fn permits(found: &FileStat, access: AccessFlags) -> bool {
    let shift = match () {
        () if geteuid().is_root() => return true,
        () if found.st_uid == geteuid().as_raw() => 6,
        () if found.st_gid == getegid().as_raw() => 3,
        () => 0,
    };
    let wanted = access.bits() as u32;
    found.st_mode >> shift & wanted == wanted
}

/// The working directory; `/` if it has none any more.
pub fn working_directory() -> Vec<u8> {
    std::env::current_dir().map_or(b"/".to_vec(), |path| path.into_os_string().into_vec())
}

/// Whether a path is one of a module that was installed: below `share/lua/5.x` or `lib/lua/5.x`,
/// as distributions and LuaRocks have it.
pub fn is_installed(path: &[u8]) -> bool {
    const MIDDLE: &[u8] = b"/lua/5.";
    let middles = path.windows(MIDDLE.len()).enumerate().filter(|(_, part)| *part == MIDDLE);
    middles.map(|(at, _)| (&path[..at], &path[at + MIDDLE.len()..])).any(|(before, after)| {
        let is_below = before.ends_with(b"/share") || before.ends_with(b"/lib");
        is_below && matches!(after, [minor, b'/', ..] if minor.is_ascii_digit())
    })
}

/// The absolute form of a path; see [`absolute_from`].
pub fn absolute(path: &[u8]) -> Vec<u8> {
    let is_relative = path.first() != Some(&b'/');
    let directory = if is_relative { working_directory() } else { Vec::new() };
    absolute_from(&directory, path.to_vec())
}

/// The absolute form of a path: joined to the working directory, without `.` and
/// empty components. `..` is taken back only over what is a directory, and no link to
/// one, so that the result leads where the original did.
pub fn absolute_from(directory: &[u8], path: Vec<u8>) -> Vec<u8> {
    // Most paths are so already.
    if path.first() == Some(&b'/') && !path.ends_with(b"/") && !is_odd(&path) {
        return path;
    }
    let mut out = Vec::with_capacity(directory.len() + path.len() + 1);
    if path.first() != Some(&b'/') && directory != b"/" {
        out.extend(directory);
    }
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." if out.is_empty() || is_directory(&out) => {
                out.truncate(out.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
            }
            name => {
                out.push(b'/');
                out.extend(name);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Whether a path has a component that is empty or begins with a dot. Looks at all of
/// it, which the processor can do in large steps.
fn is_odd(path: &[u8]) -> bool {
    let odd = |(one, next): (&u8, &u8)| (*one == b'/') & ((*next == b'/') | (*next == b'.'));
    path.iter().zip(path.iter().skip(1)).fold(false, |found, pair| found | odd(pair))
}

/// Whether a directory is there itself, and does not end in `..`.
fn is_directory(path: &[u8]) -> bool {
    let metadata = std::fs::symlink_metadata(OsStr::from_bytes(path));
    !path.ends_with(b"/..") && metadata.is_ok_and(|found| found.is_dir())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A directory of our own, by its real path.
    pub fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().canonicalize().unwrap();
        let path = path.join(format!("forkmon-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_is_installed_is_where_modules_are_put() {
        for (path, installed) in [
            ("/usr/share/lua/5.4/pl/path.lua", true),
            ("/home/me/.luarocks/lib/lua/5.1/lfs.so", true),
            ("/home/me/share/lua/main.lua", false),
            ("/home/me/lua/5.4/main.lua", false),
            ("/home/me/share/lua/5.x/main.lua", false),
        ] {
            assert_eq!(is_installed(path.as_bytes()), installed, "{path}");
        }
    }

    #[test]
    fn a_path_is_made_absolute() {
        let scratch = scratch("paths");
        std::fs::create_dir_all(scratch.join("a")).unwrap();
        std::fs::create_dir_all(scratch.join("b")).unwrap();
        std::os::unix::fs::symlink("a", scratch.join("link")).unwrap();
        let within = |path: &str| scratch.join(path).into_os_string().into_vec();
        assert_eq!(absolute(b"/"), b"/");
        assert_eq!(absolute(b"//../a/./b//c/"), b"/a/b/c");
        assert_eq!(absolute(&within("a/../b")), within("b"));
        assert_eq!(absolute(&within("none/../b")), within("none/../b"));
        assert_eq!(absolute(&within("none/../../b")), within("none/../../b"));
        assert_eq!(absolute(&within("link/../b/../..")), within("link/../.."));
        let directory = std::env::current_dir().unwrap();
        assert_eq!(absolute(b"./x"), directory.join("x").into_os_string().into_vec());
        assert_eq!(absolute(b""), directory.into_os_string().into_vec());
        std::fs::remove_dir_all(scratch).unwrap();
    }
}
