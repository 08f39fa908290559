//! What the program tells its supervisor, as bytes.
//!
//! Records are written by our own code, but decoding still trusts nothing: a
//! program can scribble over any memory it has, and the supervisor must not
//! fall over it.

use super::codec::{Reader, put_option};
use super::settings::Settings;
use crate::files::Stamp;

/// The number of a checkpoint in a timeline; 0 is the state at `enable()`.
pub type Index = u32;

/// What speaks for keeping a checkpoint when there are too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worth {
    /// The program asked for it by name.
    pub explicit: bool,
    /// It was taken for a file that was edited lately.
    pub hot: bool,
    /// Something observable happened between the checkpoint before and this one.
    pub separated: bool,
}

/// What the program saw of a path before it opened it, or looked for it in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Absolute path.
    pub path: Vec<u8>,
    /// What it looked like.
    pub stamp: Stamp,
    /// Digest of its content, where the stamp alone does not settle it.
    pub content: Option<u64>,
}

/// A directory, by its path and as what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Absolute path.
    pub path: Vec<u8>,
    /// Device and inode.
    pub identity: (u64, u64),
}

/// One message from the program.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The program goes on; the first record of every run.
    Running {
        /// Its process.
        pid: i32,
        /// The options in force, which a resume takes back to what they were.
        settings: Settings,
    },
    /// The command, which was run anew, has come to `enable()`; before any other
    /// record of it.
    Started {
        /// The options it gave.
        settings: Settings,
        /// Where it wants events written, as the option has it.
        events: Option<Vec<u8>>,
    },
    /// A checkpoint was taken.
    Checkpoint {
        /// Its place in the timeline.
        index: Index,
        /// The parked process.
        pid: i32,
        /// The label of an explicit checkpoint, or the path it was taken for.
        name: Vec<u8>,
        /// When in the run it was taken, in microseconds.
        at: u64,
        /// Why it is worth keeping.
        worth: Worth,
        /// It keeps nothing open that a later run could want.
        bare: bool,
        /// How many pages of memory it may come to hold on to; 0 when it is to be
        /// kept whatever it holds.
        pages: u64,
        /// Where the program has gone, if that is not where it began.
        directory: Option<Directory>,
    },
    /// The program depends on paths.
    Dependencies {
        /// The checkpoint a change resumes from; `None`: restart from the start.
        checkpoint: Option<Index>,
        /// What it depends on, in order.
        seen: Vec<Seen>,
    },
    /// The program itself is about to change a path it depends on.
    Wrote {
        /// Absolute path.
        path: Vec<u8>,
    },
    /// The options were changed by a second `enable`.
    Configured(Settings),
    /// The program is about to change a file for the second time: checkpoints
    /// from between the two would find it changed.
    Outdated {
        /// The last checkpoint before the first change.
        after: Option<Index>,
    },
    /// The program has printed a warning.
    Warned(Vec<u8>),
}

const RUNNING: u8 = 1;
const CHECKPOINT: u8 = 2;
const DEPENDENCIES: u8 = 3;
const WROTE: u8 = 4;
const CONFIGURED: u8 = 5;
const WARNED: u8 = 6;
const OUTDATED: u8 = 7;
const STARTED: u8 = 8;

impl Record {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        match self {
            Record::Running { pid, settings } => {
                out.push(RUNNING);
                out.extend(pid.to_le_bytes());
                settings.encode(&mut out);
            }
            Record::Started { settings, events } => {
                out.push(STARTED);
                settings.encode(&mut out);
                out.push(u8::from(events.is_some()));
                out.extend(events.iter().flatten());
            }
            Record::Checkpoint { index, pid, name, at, worth, bare, pages, directory } => {
                out.push(CHECKPOINT);
                out.extend(index.to_le_bytes());
                out.extend(pid.to_le_bytes());
                out.extend(at.to_le_bytes());
                out.extend(pages.to_le_bytes());
                out.extend([worth.explicit, worth.hot, worth.separated, *bare].map(u8::from));
                out.push(u8::from(directory.is_some()));
                if let Some(Directory { path, identity: (device, inode) }) = directory {
                    out.extend(device.to_le_bytes());
                    out.extend(inode.to_le_bytes());
                    out.extend((path.len() as u64).to_le_bytes());
                    out.extend(path);
                }
                out.extend(name);
            }
            Record::Dependencies { checkpoint, seen } => {
                let mut dependencies = Dependencies::default();
                dependencies.begin(*checkpoint);
                for Seen { path, stamp, content } in seen {
                    dependencies.add(path, *stamp, *content);
                }
                return dependencies.bytes;
            }
            Record::Wrote { path } => {
                out.push(WROTE);
                out.extend(path);
            }
            Record::Configured(settings) => {
                out.push(CONFIGURED);
                settings.encode(&mut out);
            }
            Record::Outdated { after } => {
                out.push(OUTDATED);
                put_option(&mut out, after.map(u64::from));
            }
            Record::Warned(text) => {
                out.push(WARNED);
                out.extend(text);
            }
        }
        out
    }

    /// The record that `bytes` stand for, or `None` when they stand for none.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        let mut input = Reader::new(bytes);
        let record = match input.u8()? {
            RUNNING => Record::Running {
                pid: input.u32()? as i32,
                settings: Settings::decode(&mut input)?,
            },
            STARTED => Record::Started {
                settings: Settings::decode(&mut input)?,
                events: (input.u8()? != 0).then(|| input.rest()),
            },
            CHECKPOINT => Record::Checkpoint {
                index: input.u32()?,
                pid: input.u32()? as i32,
                at: input.u64()?,
                pages: input.u64()?,
                worth: Worth {
                    explicit: input.u8()? != 0,
                    hot: input.u8()? != 0,
                    separated: input.u8()? != 0,
                },
                bare: input.u8()? != 0,
                directory: match input.u8()? {
                    0 => None,
                    _ => {
                        let identity = (input.u64()?, input.u64()?);
                        Some(Directory { path: input.bytes()?, identity })
                    }
                },
                name: input.rest(),
            },
            DEPENDENCIES => {
                let checkpoint = input.option()?.map(Index::try_from).transpose().ok()?;
                let mut seen = Vec::new();
                while !input.is_empty() {
                    seen.push(Seen::decode(&mut input)?);
                }
                Record::Dependencies { checkpoint, seen }
            }
            WROTE => Record::Wrote { path: input.rest() },
            CONFIGURED => Record::Configured(Settings::decode(&mut input)?),
            WARNED => Record::Warned(input.rest()),
            OUTDATED => {
                Record::Outdated { after: input.option()?.map(Index::try_from).transpose().ok()? }
            }
            _ => return None,
        };
        Some(record)
    }
}

/// A record of dependencies that is put together path by path. To be used again, so
/// that a stop point need not ask for memory.
#[derive(Default)]
pub struct Dependencies {
    bytes: Vec<u8>,
    count: usize,
}

impl Dependencies {
    /// Begins a record.
    pub fn begin(&mut self, checkpoint: Option<Index>) {
        self.count = 0;
        self.bytes.clear();
        self.bytes.push(DEPENDENCIES);
        put_option(&mut self.bytes, checkpoint.map(u64::from));
    }

    /// Adds what [`Seen`] holds.
    pub fn add(&mut self, path: &[u8], stamp: Stamp, content: Option<u64>) {
        self.count += 1;
        let out = &mut self.bytes;
        out.extend((path.len() as u32).to_le_bytes());
        out.extend(path);
        put_option(out, content);
        match stamp {
            Stamp::Absent => out.push(0),
            Stamp::File { device, inode, size, modified, changed } => {
                out.push(1);
                for word in [device, inode, size, modified as u64, changed as u64] {
                    out.extend(word.to_le_bytes());
                }
            }
            Stamp::Tree(digest) => {
                out.push(2);
                out.extend(digest.to_le_bytes());
            }
        }
    }

    /// How many paths are in it.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The record as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Seen {
    fn decode(input: &mut Reader) -> Option<Seen> {
        let length = input.u32()?;
        let path = input.take(length as usize)?.to_vec();
        let content = input.option()?;
        let stamp = match input.u8()? {
            0 => Stamp::Absent,
            1 => Stamp::File {
                device: input.u64()?,
                inode: input.u64()?,
                size: input.u64()?,
                modified: input.u64()? as i64,
                changed: input.u64()? as i64,
            },
            2 => Stamp::Tree(input.u64()?),
            _ => return None,
        };
        Some(Seen { path, stamp, content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..300)
    }

    fn stamp() -> impl Strategy<Value = Stamp> {
        prop_oneof![
            Just(Stamp::Absent),
            any::<(u64, u64, u64, i64, i64)>().prop_map(
                |(device, inode, size, modified, changed)| {
                    Stamp::File { device, inode, size, modified, changed }
                }
            ),
            any::<u64>().prop_map(Stamp::Tree),
        ]
    }

    fn seen() -> impl Strategy<Value = Seen> {
        (path(), stamp(), any::<Option<u64>>()).prop_map(|(path, stamp, content)| Seen {
            path,
            stamp,
            content,
        })
    }

    fn settings() -> impl Strategy<Value = Settings> {
        any::<(u64, u64, u64, u32, u64, i32, [bool; 4])>().prop_map(|values| Settings {
            restart_delay: values.0,
            ignore_delay: values.1,
            poll: values.2,
            max_checkpoints: values.3,
            stop_timeout: values.4,
            stop_signal: values.5,
            quiet: values.6[0],
            colors: values.6[1],
            content: values.6[2],
            clear: values.6[3],
        })
    }

    fn record() -> impl Strategy<Value = Record> {
        prop_oneof![
            (any::<i32>(), settings())
                .prop_map(|(pid, settings)| Record::Running { pid, settings }),
            (
                any::<(Index, i32, u64, u64)>(),
                path(),
                any::<[bool; 4]>(),
                prop::option::of((path(), any::<(u64, u64)>()))
            )
                .prop_map(
                    |((index, pid, at, pages), name, [explicit, hot, separated, bare], gone)| {
                        Record::Checkpoint {
                            index,
                            pid,
                            name,
                            at,
                            worth: Worth { explicit, hot, separated },
                            bare,
                            pages,
                            directory: gone.map(|(path, identity)| Directory { path, identity }),
                        }
                    }
                ),
            (any::<Option<Index>>(), prop::collection::vec(seen(), 0..10))
                .prop_map(|(checkpoint, seen)| Record::Dependencies { checkpoint, seen }),
            path().prop_map(|path| Record::Wrote { path }),
            (settings(), prop::option::of(path()))
                .prop_map(|(settings, events)| Record::Started { settings, events }),
            settings().prop_map(Record::Configured),
            path().prop_map(Record::Warned),
            any::<Option<Index>>().prop_map(|after| Record::Outdated { after }),
        ]
    }

    proptest! {
        #[test]
        fn a_record_survives_the_wire(record in record()) {
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::decode(&bytes);
        }
    }
}
