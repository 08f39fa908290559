//! Watching: noticing that something may have happened to a path.
//!
//! Theory of operation. A file is a *path*, not an inode: editors rename over
//! it, version control replaces whole directories, links are turned. So no file
//! is watched; for each path we walk from the root and watch every directory
//! whose entries decide where the path leads: the one that holds the file, the
//! ones that hold symbolic links on the way, and, where the path ends early, the
//! nearest existing one. Plain directories on the way are watched for being
//! moved or removed themselves. An event then *touches* the paths that depend on
//! that name; whether one has changed is for the stamps to say. After a touch
//! the path is walked again, since it may lead elsewhere now. Most paths share
//! their directory with many others, so that is walked once for all of them.
//! Many of these are not there, as modules are looked for in several places:
//! what is below a directory that is not there hangs on that one, and costs
//! neither a walk nor a look.
//!
//! Two kinds of files are watched themselves, besides. What happens to a file is told
//! where the name is that was used for it: to another directory, where it has several
//! names, or where it is a mount of its own, as the single-file volumes of containers
//! are. A mount that comes or goes raises no event at all; `mounts` hears of it.
//!
//! `table` knows which name belongs to which paths, `route` walks, `following` has
//! watched what a walk came by, `watcher` reads the events, `stamp` looks at files; what
//! the kernel does not report (network file systems, limits reached) is polled, and the
//! caller is told so once.

pub mod answer;
mod directories;
mod following;
mod mounts;
pub mod path;
pub mod pattern;
mod prefix;
mod route;
mod scratch;
mod stamp;
mod table;
mod touch;
mod tree;
mod views;
mod watcher;

pub use prefix::{Prefixes, prefixes};
pub use stamp::{Stamp, content_digest, digest};
pub use touch::{Degraded, PathId, Touch};
pub use tree::tree_content;
pub use views::{Views, is_below_views};
pub use watcher::Watcher;
