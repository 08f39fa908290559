//! File systems whose files are views of what the kernel or its devices hold. Nobody edits
//! these, and reading one twice seldom gives the same.

use super::stamp::Stamp;
use nix::sys::statfs::statfs;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Whether what is on a device is a view, for those that were asked for. These are few.
#[derive(Default)]
pub struct Views(Vec<(u64, bool)>);

/// Where what is asked of paths has no lasting answer.
const ROOTS: [&[u8]; 3] = [b"/proc", b"/sys", b"/dev"];

/// What is there people do use as folders.
const SHARED: &[u8] = b"/dev/shm";

/// Whether no answer about an absolute path can be a dependency: it is the root of such file
/// systems, or below, by its name.
pub fn is_below_views(path: &[u8]) -> bool {
    let is_in = |root: &[u8]| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    ROOTS.iter().any(|root| is_in(root)) && !is_in(SHARED)
}

/// Paths there lead through links that are others in every process.
const OWN: [&[u8]; 2] = [b"/proc/", b"/dev/fd/"];

/// And so do these.
const STANDARD: [&[u8]; 3] = [b"/dev/stdin", b"/dev/stdout", b"/dev/stderr"];

impl Views {
    /// The path by which the supervisor finds what a program finds at an absolute `path`,
    /// of which this is the stamp. `None` where it is nothing that anybody edits.
    pub fn find<'a>(&mut self, path: &'a [u8], stamp: Stamp) -> Option<Cow<'a, [u8]>> {
        if self.is_view(path, stamp) {
            return None;
        }
        let is_own = OWN.iter().any(|start| path.starts_with(start)) || STANDARD.contains(&path);
        if !is_own {
            return Some(Cow::Borrowed(path));
        }
        let real = std::fs::canonicalize(OsStr::from_bytes(path)).ok()?;
        Some(Cow::Owned(real.into_os_string().into_vec()))
    }

    /// Whether what is at an absolute path, of which this is the stamp, is a view or a
    /// device, or would be one if it were there.
    pub fn is_view(&mut self, path: &[u8], stamp: Stamp) -> bool {
        match stamp {
            Stamp::File { device, .. } => self.is_of_views(device, path),
            Stamp::Absent => path.starts_with(b"/proc/") || path.starts_with(b"/sys/"),
            Stamp::Special(_) => stamp.is_device(),
            Stamp::Tree { .. } => {
                let identity = Stamp::of_file(path).identity();
                identity.is_some_and(|(device, _)| self.is_of_views(device, path))
            }
        }
    }

    fn is_of_views(&mut self, device: u64, path: &[u8]) -> bool {
        if let Some((_, is_view)) = self.0.iter().find(|(known, _)| *known == device) {
            return *is_view;
        }
        let is_view = is_of_views(Path::new(OsStr::from_bytes(path)));
        self.0.push((device, is_view));
        is_view
    }
}

fn is_of_views(path: &Path) -> bool {
    // Magic numbers of statfs(2) that libc does not name everywhere.
    const VIEWS: [i64; 19] = [
        0x9FA0,      // proc
        0x6265_6572, // sysfs
        0x1CD1,      // devpts
        0x0027_E0EB, // cgroup
        0x6367_7270, // cgroup2
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0x6265_6570, // configfs
        0xDE5E_81E4, // efivarfs
        0x6165_676C, // pstore
        0x4249_4E4D, // binfmt_misc
        0x1980_0202, // mqueue
        0xCAFE_4A11, // bpf
        0xF97C_FF8C, // selinuxfs
        0x4341_5D53, // smackfs
        0x6E73_6673, // nsfs
        0x6573_5543, // fusectl
        0x0765_5821, // resctrl
    ];
    statfs(path).is_ok_and(|found| {
        #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
        let kind = found.filesystem_type().0 as i64;
        VIEWS.contains(&(kind & 0xFFFF_FFFF))
    })
}

#[cfg(test)]
mod tests {
    use super::super::path::tests::scratch;
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn answers_about_such_paths_do_not_last() {
        for path in ["/proc", "/proc/self/cwd", "/dev/fd", "/sys/class", "/dev"] {
            assert!(is_below_views(path.as_bytes()), "{path}");
        }
        for path in ["/dev/shm", "/dev/shm/a", "/device", "/home/proc", "/"] {
            assert!(!is_below_views(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn what_nobody_edits_is_not_found() {
        let mut views = Views::default();
        let mut find = |path: &str| {
            let stamp = Stamp::of_file(path.as_bytes());
            views.find(path.as_bytes(), stamp).map(Cow::into_owned)
        };
        for path in ["/proc/self/stat", "/proc/none", "/proc/self", "/sys/none", "/dev/null"] {
            assert_eq!(find(path), None, "{path}");
        }
        let root = scratch("views");
        let file = root.join("a.lua");
        std::fs::write(&file, "").unwrap();
        let expected = file.as_os_str().as_bytes().to_vec();
        assert_eq!(find(file.to_str().unwrap()), Some(expected.clone()));
        // By a link that is another one in every process.
        let opened = std::fs::File::open(&file).unwrap();
        assert_eq!(find(&format!("/proc/self/fd/{}", opened.as_raw_fd())), Some(expected.clone()));
        assert_eq!(find(&format!("/dev/fd/{}", opened.as_raw_fd())), Some(expected));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(find(&format!("/dev/fd/{}", opened.as_raw_fd())), None, "it has no name");
        assert!(find(file.to_str().unwrap()).is_some(), "it may come back");
        std::fs::remove_dir_all(root).unwrap();
    }
}
