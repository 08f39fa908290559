//! Paths as programs spell them: where a module may be, and in absolute form.

use crate::watch::Stamp;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The places where a search for `name` looks, in order, with where in
/// `templates` each of them begins. What `mark` stands for is the name.
pub fn places<'a>(
    name: &'a [u8],
    templates: &'a [u8],
    separator: u8,
    mark: u8,
) -> impl Iterator<Item = (usize, Vec<u8>)> + 'a {
    let mut next = 0;
    let all = templates.split(move |byte| *byte == separator).map(move |template| {
        let at = next;
        next += template.len() + 1;
        (at, template)
    });
    all.filter(|(_, template)| !template.is_empty()).map(move |(at, template)| {
        let mut path = Vec::with_capacity(template.len() + name.len());
        for (number, part) in template.split(|byte| *byte == mark).enumerate() {
            if number > 0 {
                path.extend(name);
            }
            path.extend(part);
        }
        (at, path)
    })
}

/// Directories that templates begin with and that are not there. What is below one
/// of them is not there either, which one look at it shows for all.
#[derive(Default)]
pub struct Gaps(Vec<(Vec<u8>, Option<bool>)>);

impl Gaps {
    /// Looks for the gaps in templates.
    pub fn find(templates: &[u8], separator: u8, mark: u8, directory: &[u8]) -> Gaps {
        let mut gaps = Gaps::default();
        for template in templates.split(|byte| *byte == separator) {
            let fixed = template.split(|byte| *byte == mark).next().unwrap_or_default();
            let Some(end) = fixed.iter().rposition(|byte| *byte == b'/') else { continue };
            let path = absolute_from(directory, fixed[..=end].to_vec());
            if let Some(gap) = gap_before(&path)
                && gaps.0.iter().all(|(known, _)| known != gap)
            {
                gaps.0.push((gap.to_vec(), None));
            }
        }
        gaps
    }

    /// What is known is of an earlier moment from now on.
    pub fn expire(&mut self) {
        for (_, is_gap) in &mut self.0 {
            *is_gap = None;
        }
    }

    /// Whether an absolute path is known not to be there, after a look at the gap
    /// that it would be in.
    pub fn swallow(&mut self, path: &[u8]) -> bool {
        let is_below = |gap: &[u8]| path.starts_with(gap) && path.get(gap.len()) == Some(&b'/');
        let gap = self.0.iter_mut().find(|(gap, _)| is_below(gap));
        gap.is_some_and(|(gap, is_gap)| *is_gap.get_or_insert_with(|| is_absent(gap)))
    }
}

/// The first directory on the way to an absolute path that is not there; the root
/// always is.
fn gap_before(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() || !is_absent(path) {
        return None;
    }
    let parent = &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
    gap_before(parent).or(Some(path))
}

fn is_absent(path: &[u8]) -> bool {
    Stamp::of_readable(path) == (Stamp::Absent, true)
}

/// Whether this process may open what is at a path for reading.
pub fn is_openable(path: &[u8]) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    faccessat(AT_FDCWD, path, AccessFlags::R_OK, AtFlags::AT_EACCESS).is_ok()
}

/// The working directory; `/` if it has none any more.
pub fn working_directory() -> Vec<u8> {
    std::env::current_dir().map_or(b"/".to_vec(), |path| path.into_os_string().into_vec())
}

/// The absolute form of a path; see [`absolute_from`].
pub fn absolute(path: &[u8]) -> Vec<u8> {
    let is_relative = path.first() != Some(&b'/');
    let directory = if is_relative { working_directory() } else { Vec::new() };
    absolute_from(&directory, path.to_vec())
}

/// The absolute form of a path: joined to the working directory, without `.` and
/// empty components. `..` is taken back only over what is no symbolic link, so
/// that the result leads where the original did.
pub fn absolute_from(directory: &[u8], path: Vec<u8>) -> Vec<u8> {
    // Most paths are so already.
    let odd = |pair: &[u8]| matches!(pair, b"//" | b"/.");
    if path.first() == Some(&b'/') && !path.ends_with(b"/") && !path.windows(2).any(odd) {
        return path;
    }
    let mut out = Vec::with_capacity(directory.len() + path.len() + 1);
    if path.first() != Some(&b'/') && directory != b"/" {
        out.extend(directory);
    }
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." if !out.ends_with(b"/..") && !is_link(&out) => {
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

fn is_link(path: &[u8]) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    #[test]
    fn each_template_is_a_place() {
        let found: Vec<_> = places(b"a/b", b";./?.lua;;/x/?/?.lua;/all", b';', b'?').collect();
        let expected: [(usize, &[u8]); 3] =
            [(1, b"./a/b.lua"), (10, b"/x/a/b/a/b.lua"), (21, b"/all")];
        assert_eq!(found, expected.map(|(at, path)| (at, path.to_vec())));
    }

    /// A directory of our own, by its real path.
    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().canonicalize().unwrap();
        let path = path.join(format!("forkmon-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_gap_swallows_what_is_below_until_it_is_closed() {
        let scratch = scratch("gaps");
        std::fs::create_dir(scratch.join("there")).unwrap();
        let directory = scratch.as_os_str().as_bytes();
        let templates = b"there/?.lua;./none/deep/?.lua;none/?/init.lua;/?.lua;?.lua;/no such/?/?";
        let mut gaps = Gaps::find(templates, b';', b'?', directory);
        let swallowed =
            |gaps: &mut Gaps, path: &str| gaps.swallow(scratch.join(path).as_os_str().as_bytes());
        assert_eq!(gaps.0.len(), 2);
        assert!(gaps.swallow(b"/no such/a/a"));
        assert!(swallowed(&mut gaps, "none/deep/a.lua") && swallowed(&mut gaps, "none/a/init.lua"));
        assert!(!swallowed(&mut gaps, "there/a.lua") && !swallowed(&mut gaps, "nonesuch/a.lua"));
        assert!(!swallowed(&mut gaps, "none") && !swallowed(&mut gaps, "a.lua"));
        std::fs::create_dir(scratch.join("none")).unwrap();
        gaps.expire();
        assert!(!swallowed(&mut gaps, "none/deep/a.lua"));
        std::fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn a_path_is_made_absolute() {
        let scratch = scratch("paths");
        std::fs::create_dir_all(scratch.join("a")).unwrap();
        std::os::unix::fs::symlink("a", scratch.join("link")).unwrap();
        let within = |path: &str| scratch.join(path).into_os_string().into_vec();
        assert_eq!(absolute(b"/"), b"/");
        assert_eq!(absolute(b"//../a/./b//c/"), b"/a/b/c");
        assert_eq!(absolute(&within("a/../b")), within("b"));
        assert_eq!(absolute(&within("link/../b/../..")), within("link/../.."));
        let directory = std::env::current_dir().unwrap();
        assert_eq!(absolute(b"./x"), directory.join("x").into_os_string().into_vec());
        assert_eq!(absolute(b""), directory.into_os_string().into_vec());
        std::fs::remove_dir_all(scratch).unwrap();
    }

    proptest! {
        #[test]
        fn a_search_from_a_later_template_on_finds_the_later_places(
            name in "[a/?]{0,3}", templates in "[a;?/]{0,12}"
        ) {
            let (name, templates) = (name.as_bytes(), templates.as_bytes());
            let all: Vec<_> = places(name, templates, b';', b'?').collect();
            for (number, (at, _)) in all.iter().enumerate() {
                let rest = places(name, &templates[*at..], b';', b'?').map(|(_, path)| path);
                let later = all[number..].iter().map(|(_, path)| path.clone());
                prop_assert!(rest.eq(later));
            }
        }
    }
}
