//! What the program tells its supervisor, as bytes.
//!
//! Records are written by our own code, but decoding still trusts nothing: a
//! program can scribble over any memory it has, and the supervisor must not
//! fall over it.

use super::codec::{self, LIST_HEAD, Wire, put_list, wire};
use super::settings::Settings;
use crate::files::Stamp;
use crate::files::answer::{Answer, Question};

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

/// How much of a file the program has used: all that it has done depends on no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// So many bytes.
    pub offset: u64,
    /// The line where the rest begins.
    pub line: u32,
    /// Digest of the bytes before the offset.
    pub digest: u64,
    /// What the file looked like when that was taken.
    pub stamp: Stamp,
    /// Digest of all of it.
    pub content: u64,
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
        /// When its run began, as the monotonic clock has it, in nanoseconds.
        began: u64,
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
        /// How much of the file that it is named for has been used, where more of that is
        /// going to be.
        part: Option<Part>,
    },
    /// The program depends on paths.
    Dependencies {
        /// The checkpoint a change resumes from; `None`: restart from the start.
        checkpoint: Option<Index>,
        /// What it depends on, in order.
        seen: Vec<Seen>,
    },
    /// The program depends on an answer.
    Told {
        /// The checkpoint a change resumes from, as of [`Record::Dependencies`].
        checkpoint: Option<Index>,
        /// Absolute path.
        path: Vec<u8>,
        /// What it asked of it.
        question: Question,
        /// What it was told.
        answer: Answer,
    },
    /// The program itself is about to change a path it depends on.
    Wrote {
        /// Absolute path.
        path: Vec<u8>,
    },
    /// The program has made a file, whose name was given only then.
    Made {
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
    /// The program was resumed where it had used a part of a file, and goes on with the
    /// rest as that is now.
    Anew {
        /// The checkpoint.
        checkpoint: Index,
        /// Absolute path.
        path: Vec<u8>,
        /// What the file looks like.
        stamp: Stamp,
        /// Digest of its content, where the stamp alone does not settle it.
        content: Option<u64>,
    },
    /// The program was resumed where it had used a part of a file, and cannot go on with
    /// the rest of it: it waits to be stopped.
    Unfit {
        /// The checkpoint.
        checkpoint: Index,
        /// Absolute path.
        path: Vec<u8>,
        /// It shall not be tried there again: the part is what it was.
        never: bool,
    },
    /// The program has printed a warning.
    Warned(Vec<u8>),
    /// The program is about to start a subprocess, and to wait for it.
    Awaits,
    /// It waits for none any more.
    Awaited,
    /// No checkpoint could be taken before a file is read, which joins the last one for this
    /// reason. What it depends on is told next.
    Barred {
        /// Absolute path.
        path: Vec<u8>,
        /// A clause for people.
        why: Vec<u8>,
    },
}

/// The tag of the record that is also written path by path.
const DEPENDENCIES: u8 = 3;

wire!(enum Record {
    1 => Running { pid, settings },
    2 => Checkpoint { index, pid, name, at, worth, bare, pages, directory, part },
    DEPENDENCIES => Dependencies { checkpoint, seen },
    4 => Wrote { path },
    5 => Configured(settings),
    6 => Warned(text),
    7 => Outdated { after },
    8 => Started { settings, events, began },
    9 => Told { checkpoint, path, question, answer },
    10 => Anew { checkpoint, path, stamp, content },
    11 => Unfit { checkpoint, path, never },
    12 => Awaits,
    13 => Awaited,
    14 => Made { path },
    15 => Barred { path, why },
});
wire!(struct Part { offset, line, digest, stamp, content });
wire!(struct Worth { explicit, hot, separated });
wire!(struct Directory { path, identity });
wire!(struct Seen { path, content, stamp });
wire!(enum Stamp {
    0 => Absent,
    1 => File { device, inode, size, modified, changed },
    2 => Tree { digest, newest },
    3 => Special(kind),
});

impl Record {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.put(&mut out);
        out
    }

    /// The record that `bytes` stand for, or `None` when they stand for none.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        codec::decode(bytes)
    }
}

/// A [`Record::Dependencies`] that is put together path by path. To be used again, so
/// that a stop point need not ask for memory.
#[derive(Default)]
pub struct Dependencies {
    bytes: Vec<u8>,
    count: u32,
    /// Where in the bytes the count stands.
    count_at: usize,
}

impl Dependencies {
    /// Begins a record.
    pub fn begin(&mut self, checkpoint: Option<Index>) {
        self.count = 0;
        self.bytes.clear();
        self.bytes.push(DEPENDENCIES);
        checkpoint.put(&mut self.bytes);
        self.count_at = self.bytes.len();
        self.count.put(&mut self.bytes);
    }

    /// Adds what [`Seen`] holds.
    pub fn add(&mut self, path: &[u8], stamp: Stamp, content: Option<u64>) {
        self.count += 1;
        self.bytes[self.count_at..][..LIST_HEAD].copy_from_slice(&self.count.to_le_bytes());
        put_list(path, &mut self.bytes);
        content.put(&mut self.bytes);
        stamp.put(&mut self.bytes);
    }

    /// How many paths are in it.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The record as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::answer::tests::{answer, question};
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
            any::<(u64, i64)>().prop_map(|(digest, newest)| Stamp::Tree { digest, newest }),
            any::<u64>().prop_map(Stamp::Special),
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
            max_memory: values.6[0].then_some(values.2),
            stop_timeout: values.4,
            stop_signal: values.5,
            quiet: values.6[0],
            watch_lines: !values.3,
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
                prop::option::of((path(), any::<(u64, u64)>())),
                prop::option::of((any::<(u64, u32, u64, u64)>(), stamp()))
            )
                .prop_map(
                    |(
                        (index, pid, at, pages),
                        name,
                        [explicit, hot, separated, bare],
                        gone,
                        part,
                    )| {
                        Record::Checkpoint {
                            index,
                            pid,
                            name,
                            at,
                            worth: Worth { explicit, hot, separated },
                            bare,
                            pages,
                            directory: gone.map(|(path, identity)| Directory { path, identity }),
                            part: part.map(|((offset, line, digest, content), stamp)| Part {
                                offset,
                                line,
                                digest,
                                stamp,
                                content,
                            }),
                        }
                    }
                ),
            (any::<Option<Index>>(), prop::collection::vec(seen(), 0..10))
                .prop_map(|(checkpoint, seen)| Record::Dependencies { checkpoint, seen }),
            (any::<Option<Index>>(), path(), question(), answer()).prop_map(
                |(checkpoint, path, question, answer)| {
                    Record::Told { checkpoint, path, question, answer }
                }
            ),
            path().prop_map(|path| Record::Wrote { path }),
            (settings(), prop::option::of(path()), any::<u64>())
                .prop_map(|(settings, events, began)| Record::Started { settings, events, began }),
            settings().prop_map(Record::Configured),
            path().prop_map(Record::Warned),
            path().prop_map(|path| Record::Made { path }),
            (path(), path()).prop_map(|(path, why)| Record::Barred { path, why }),
            Just(Record::Awaits),
            Just(Record::Awaited),
            any::<Option<Index>>().prop_map(|after| Record::Outdated { after }),
            (any::<(Index, Option<u64>)>(), path(), stamp()).prop_map(
                |((checkpoint, content), path, stamp)| {
                    Record::Anew { checkpoint, path, stamp, content }
                }
            ),
            (any::<(Index, bool)>(), path())
                .prop_map(|((checkpoint, never), path)| Record::Unfit { checkpoint, path, never }),
        ]
    }

    proptest! {
        #[test]
        fn a_record_survives_the_wire(record in record()) {
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn dependencies_come_to_the_same_path_by_path(
            checkpoint in any::<Option<Index>>(), seen in prop::collection::vec(seen(), 0..10)
        ) {
            let mut record = Dependencies::default();
            record.begin(Some(7));
            record.add(b"what was there before", Stamp::Absent, None);
            record.begin(checkpoint);
            for Seen { path, stamp, content } in &seen {
                record.add(path, *stamp, *content);
            }
            prop_assert_eq!(record.count(), seen.len());
            prop_assert_eq!(record.bytes(), Record::Dependencies { checkpoint, seen }.encode());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::decode(&bytes);
        }
    }
}
