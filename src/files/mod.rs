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
//! `table` knows which name belongs to which paths, `route` walks, `stamp` looks
//! at files; what the kernel does not report (network file systems, limits
//! reached) is polled, and the caller is told so once.

pub mod answer;
mod directories;
pub mod path;
pub mod pattern;
mod prefix;
mod route;
mod stamp;
mod table;
mod touch;
mod watcher;

pub use prefix::{Prefixes, prefixes};
pub use route::Reach;
pub use stamp::{Stamp, TICK, content_digest, digest};
pub use touch::{Degraded, PathId, Touch};
pub use watcher::Watcher;
