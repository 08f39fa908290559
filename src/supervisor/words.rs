//! Sentences for people: the line that tells of a resume (what has happened, and where the
//! program goes on), and what cannot be watched.
//!
//! What decides a resume is named by its absolute path, as the original forkmon does. A
//! second path is shorter where it is in the session's folder.

use crate::files::Degraded;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was saved, or is another.
    Changed,
    /// It was there.
    Removed,
    /// It was looked for in vain.
    Appeared,
}

/// The file that decides where to resume from.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// Its path.
    pub path: &'a [u8],
    /// It is a folder, of which the names are what counts.
    pub is_folder: bool,
    /// What became of it.
    pub change: Change,
    /// How many others have changed, too.
    pub others: usize,
}

/// Where the program goes on.
#[derive(Clone, Copy, Debug)]
pub enum Point<'a> {
    /// At its start.
    Start,
    /// At the checkpoint before this file was opened, or with this label.
    Checkpoint {
        /// What people call it.
        title: &'a [u8],
        /// It was taken for the file of that name.
        of_file: bool,
        /// Why the file that decides it has none of its own.
        barred: Option<&'a [u8]>,
    },
    /// At this line of the file that decides it.
    Line(u32),
}

/// The line, without what all lines begin with.
pub fn resuming(cause: Option<Cause>, point: Point, directory: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    if let Some(cause) = cause {
        line.extend(if cause.is_folder { &b"folder '"[..] } else { b"file '" });
        line.extend(cause.path);
        line.push(b'\'');
        if cause.others > 0 {
            line.extend(format!(" and {} more", cause.others).bytes());
        }
        line.extend(match cause.change {
            Change::Removed if cause.others == 0 => &b" was removed, "[..],
            Change::Appeared if cause.others == 0 => b" is there now, ",
            _ => b" changed, ",
        });
    }
    match point {
        Point::Start => line.extend(b"restarting"),
        Point::Line(number) => line.extend(format!("resuming from line {number}").bytes()),
        Point::Checkpoint { title, .. } if cause.is_some_and(|cause| cause.path == title) => {
            line.extend(b"resuming from it");
        }
        Point::Checkpoint { title, of_file, barred } => {
            line.extend(b"resuming from '");
            line.extend(if of_file { short(title, directory) } else { title });
            line.push(b'\'');
            match barred {
                Some(why) if cause.is_some() => {
                    line.extend([b" (none since: ", why, b")"].concat());
                }
                None if of_file && cause.is_some() => line.extend(b" (shares its checkpoint)"),
                _ => {}
            }
        }
    }
    line.extend(b"..");
    line
}

/// A path as people name it who are in that folder.
fn short<'a>(path: &'a [u8], directory: &[u8]) -> &'a [u8] {
    let below = path.strip_prefix(directory).and_then(|below| below.strip_prefix(b"/"));
    below.filter(|below| !below.is_empty()).unwrap_or(path)
}

/// What cannot be watched, why, and what can be done.
pub fn degraded(reason: Degraded) -> String {
    let limit = |name: &str| {
        std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"))
            .map_or_else(|_| "?".into(), |value| value.trim().to_owned())
    };
    match reason {
        Degraded::NoInstance(error) => format!(
            "no inotify instance could be had ({error}; fs.inotify.max_user_instances = {}): \
             polling the files instead; raise it with `sysctl fs.inotify.max_user_instances=1024`",
            limit("max_user_instances")
        ),
        Degraded::NoWatches => format!(
            "no inotify watches left (fs.inotify.max_user_watches = {}): polling the files \
             instead; raise it with `sysctl fs.inotify.max_user_watches=524288`",
            limit("max_user_watches")
        ),
        Degraded::Remote(directory) => format!(
            "'{}' is on a file system that does not report changes made elsewhere: polling the files",
            directory.display()
        ),
        Degraded::Unwatchable(directory, error) => {
            format!(
                "'{}' cannot be watched ({}): polling the files",
                directory.display(),
                error.desc()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cause: Option<(&str, Change, usize)>, point: Point) -> String {
        let cause = cause.map(|(path, change, others)| Cause {
            path: path.as_bytes(),
            is_folder: false,
            change,
            others,
        });
        String::from_utf8(resuming(cause, point, b"/home/bart")).unwrap()
    }

    fn file(title: &str) -> Point<'_> {
        Point::Checkpoint { title: title.as_bytes(), of_file: true, barred: None }
    }

    #[test]
    fn the_lines_of_the_original_are_kept() {
        let cause = Some(("/home/bart/a.lua", Change::Changed, 0));
        let line = line(cause, file("/home/bart/a.lua"));
        assert_eq!(line, "file '/home/bart/a.lua' changed, resuming from it..");
    }

    #[test]
    fn another_checkpoint_is_named_and_why() {
        let cause = Some(("/home/bart/b.lua", Change::Changed, 0));
        for (title, shown) in [
            ("/home/bart/lib/a.lua", "lib/a.lua"),
            ("/home/bartholomew/a.lua", "/home/bartholomew/a.lua"),
            ("/home/bart/", "/home/bart/"),
        ] {
            let expected = format!(
                "file '/home/bart/b.lua' changed, resuming from '{shown}' (shares its checkpoint).."
            );
            assert_eq!(line(cause, file(title)), expected);
        }
        let point = Point::Checkpoint {
            title: b"/home/bart/lib/a.lua",
            of_file: true,
            barred: Some(b"an event queue is open"),
        };
        let expected = "file '/home/bart/b.lua' changed, resuming from 'lib/a.lua' \
                        (none since: an event queue is open)..";
        assert_eq!(line(cause, point), expected);
        let label = Point::Checkpoint { title: b"/home/bart/x", of_file: false, barred: None };
        let expected = "file '/home/bart/b.lua' changed, resuming from '/home/bart/x'..";
        assert_eq!(line(cause, label), expected);
    }

    #[test]
    fn what_became_of_the_file_is_said_and_of_how_many_more() {
        let told = |change, others| line(Some(("/a", change, others)), Point::Start);
        assert_eq!(told(Change::Changed, 0), "file '/a' changed, restarting..");
        assert_eq!(told(Change::Removed, 0), "file '/a' was removed, restarting..");
        assert_eq!(told(Change::Appeared, 0), "file '/a' is there now, restarting..");
        assert_eq!(told(Change::Removed, 3), "file '/a' and 3 more changed, restarting..");
    }

    #[test]
    fn without_a_file_only_the_place_is_named() {
        assert_eq!(line(None, Point::Start), "restarting..");
        assert_eq!(line(None, file("/home/bart/a.lua")), "resuming from 'a.lua'..");
    }
}
