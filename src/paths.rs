//! Paths as programs spell them: where a module may be, and in absolute form.

use crate::watch::Stamp;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What separates templates (`package.config`), where paths are as they are on Linux.
pub const SEPARATOR: u8 = b';';

/// What stands for the name in a template.
const MARK: u8 = b'?';

/// The templates in a search path, in order, with where each of them begins.
pub fn templates_of(path: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut next = 0;
    let all = path.split(|byte| *byte == SEPARATOR).map(move |template| {
        let at = next;
        next += template.len() + 1;
        (at, template)
    });
    all.filter(|(_, template)| !template.is_empty())
}

/// Makes `place` the place where a template has a search for `name` look.
pub fn fill(place: &mut Vec<u8>, template: &[u8], name: &[u8]) {
    place.clear();
    for (number, part) in template.split(|byte| *byte == MARK).enumerate() {
        if number > 0 {
            place.extend(name);
        }
        place.extend(part);
    }
}

/// Directories that searches look into and that are not there. What is below one of
/// them is not there either, which one look at it shows for all.
#[derive(Default)]
pub struct Gaps {
    /// With what the last look in this search has shown.
    gaps: Vec<(Vec<u8>, Option<bool>)>,
    /// Directories that are there, and no gaps.
    there: Vec<Vec<u8>>,
}

/// As many are known: a search looks into few directories.
const MOST_GAPS: usize = 16;

impl Gaps {
    /// What is known is of an earlier moment from now on.
    pub fn expire(&mut self) {
        for (_, is_gap) in &mut self.gaps {
            *is_gap = None;
        }
    }

    /// Whether an absolute path is known not to be there, after a look at the gap
    /// that it would be in.
    pub fn swallow(&mut self, path: &[u8]) -> bool {
        let is_below = |gap: &[u8]| path.starts_with(gap) && path.get(gap.len()) == Some(&b'/');
        let gap = self.gaps.iter_mut().find(|(gap, _)| is_below(gap));
        gap.is_some_and(|(gap, is_gap)| *is_gap.get_or_insert_with(|| is_absent(gap)))
    }

    /// Nothing is at this absolute path, where this template led: finds out whether
    /// others will be missed for the same reason.
    pub fn learn(&mut self, path: &[u8], template: &[u8]) {
        // A directory of the module's own would be missed by no other.
        let is_own =
            template.rsplit(|byte| *byte == MARK).next().is_none_or(|end| end.contains(&b'/'));
        let parent = &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
        if is_own || self.there.iter().any(|known| known == parent) {
            return;
        }
        if self.gaps.len().max(self.there.len()) == MOST_GAPS {
            *self = Gaps::default();
        }
        match gap_before(parent) {
            Some(gap) => self.gaps.push((gap.to_vec(), Some(true))),
            None => self.there.push(parent.to_vec()),
        }
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

/// Whether a path has a component that is empty or begins with a dot. Looks at all of
/// it, which the processor can do in large steps.
fn is_odd(path: &[u8]) -> bool {
    let odd = |(one, next): (&u8, &u8)| (*one == b'/') & ((*next == b'/') | (*next == b'.'));
    path.iter().zip(path.iter().skip(1)).fold(false, |found, pair| found | odd(pair))
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

    fn places(name: &[u8], templates: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let mut place = Vec::new();
        let at = |(at, template): (usize, &[u8])| {
            fill(&mut place, template, name);
            (at, place.clone())
        };
        templates_of(templates).map(at).collect()
    }

    #[test]
    fn each_template_is_a_place() {
        let found = places(b"a/b", b";./?.lua;;/x/?/?.lua;/all");
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
        let mut gaps = Gaps::default();
        let at = |path: &str| scratch.join(path).into_os_string().into_vec();
        for path in ["there/a.lua", "none/deep/a.lua", "a.lua"] {
            assert!(!gaps.swallow(&at(path)));
            gaps.learn(&at(path), b"?.lua");
        }
        gaps.learn(&at("there/a/init.lua"), b"there/?/init.lua");
        gaps.learn(b"/no such/a", b"/no such/?");
        assert_eq!((gaps.gaps.len(), gaps.there.len()), (2, 2));
        gaps.expire();
        assert!(gaps.swallow(b"/no such/b/c"));
        assert!(gaps.swallow(&at("none/deep/b.lua")) && gaps.swallow(&at("none/a/init.lua")));
        assert!(!gaps.swallow(&at("there/b.lua")) && !gaps.swallow(&at("nonesuch/a.lua")));
        assert!(!gaps.swallow(&at("none")) && !gaps.swallow(&at("b.lua")));
        std::fs::create_dir(scratch.join("none")).unwrap();
        gaps.expire();
        assert!(!gaps.swallow(&at("none/deep/a.lua")));
        std::fs::remove_dir_all(scratch).unwrap();
    }

    proptest! {
        #[test]
        fn few_gaps_are_known(names in prop::collection::vec("[a-z]{1,3}", 0..100)) {
            let mut gaps = Gaps::default();
            for name in names {
                gaps.learn(format!("/no such/../{name}/m.lua").as_bytes(), b"?.lua");
                gaps.learn(format!("/{name}/m.lua").as_bytes(), b"?.lua");
                prop_assert!(gaps.gaps.len().max(gaps.there.len()) <= MOST_GAPS);
            }
        }
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
            let all = places(name, templates);
            for (number, (at, _)) in all.iter().enumerate() {
                let rest = places(name, &templates[*at..]);
                let later = all[number..].iter().map(|(_, path)| path);
                prop_assert!(rest.iter().map(|(_, path)| path).eq(later));
            }
        }
    }
}
