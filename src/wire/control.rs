//! Control: what a client asks of a session, and what the supervisor answers.
//!
//! A client sends one request and reads one reply to its end. The protocol is
//! between two copies of this file: it begins with its version, and whoever meets
//! another says so instead of guessing.

use super::codec::{self, Wire, wire};
use super::version;

/// Changes whenever a request or a reply does.
const PROTOCOL: u8 = 3;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What there is; with the files of each checkpoint, or without.
    Status {
        /// Name every file.
        files: bool,
    },
    /// Resume from a checkpoint: its number, its label, or a file that resumes from it.
    Resume(Vec<u8>),
    /// Run the command anew.
    Restart,
    /// End everything.
    Stop,
}

/// What the supervisor answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It is being done.
    Done,
    /// It cannot be done, and why.
    Refused(String),
    /// What there is.
    Status(Status),
}

/// A running session, as its supervisor sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The process that the shell started.
    pub pid: i32,
    /// The version of forkmon.
    pub version: Vec<u8>,
    /// Its working directory.
    pub directory: Vec<u8>,
    /// The command line, words separated by spaces.
    pub command: Vec<u8>,
    /// `running`, `waiting` (for a change) or `resuming`.
    pub state: Vec<u8>,
    /// The program's process; 0 when there is none.
    pub program: i32,
    /// How long the present run has taken, in microseconds; time parked left out.
    pub elapsed: u64,
    /// Resumes so far.
    pub resumes: u64,
    /// The supervisor's process.
    pub supervisor: i32,
    /// A checkpoint's spare copy; 0 when there is none.
    pub spare: i32,
    /// Files watched, without the places where one is missing.
    pub files: u64,
    /// Files polled, as events of theirs cannot be had.
    pub polled: u64,
    /// The checkpoints, in order.
    pub checkpoints: Vec<CheckpointStatus>,
    /// Files for which only a restart will do, where they were asked for.
    pub restart_files: Vec<Vec<u8>>,
}

/// One checkpoint of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckpointStatus {
    /// Its number.
    pub index: u32,
    /// The parked process.
    pub pid: i32,
    /// The file it was taken for, or its label.
    pub name: Vec<u8>,
    /// The program asked for it by name.
    pub explicit: bool,
    /// When in the run it was taken, in microseconds: what a resume from it saves.
    pub at: u64,
    /// How often it was resumed.
    pub resumed: u64,
    /// How many files resume from it.
    pub count: u64,
    /// These files, where they were asked for.
    pub files: Vec<Vec<u8>>,
    /// Places where a file was looked for and is missing, where they were asked for.
    pub missing: Vec<Vec<u8>>,
    /// Paths of which the program asked something but did not open them, where they were
    /// asked for.
    pub asked: Vec<Vec<u8>>,
}

wire!(enum Request { 1 => Status { files }, 2 => Resume(what), 3 => Restart, 4 => Stop });
wire!(enum Reply { 1 => Done, 2 => Refused(why), 3 => Status(status) });
wire!(struct Status {
    pid, version, directory, command, state, program, elapsed, resumes, supervisor, spare, files,
    polled, checkpoints, restart_files,
});
wire!(struct CheckpointStatus {
    index, pid, name, explicit, at, resumed, count, files, missing, asked,
});

fn framed(message: &impl Wire) -> Vec<u8> {
    let mut out = vec![PROTOCOL];
    message.put(&mut out);
    out
}

impl Request {
    /// The request as bytes.
    pub fn encode(&self) -> Vec<u8> {
        framed(self)
    }

    /// The request that `bytes` stand for, or why they stand for none.
    ///
    /// # Errors
    /// A text for the client.
    pub fn decode(bytes: &[u8]) -> Result<Request, String> {
        let Some(request) = bytes.strip_prefix(&[PROTOCOL]) else {
            return Err(format!("this is forkmon {}, another version than yours", version()));
        };
        codec::decode(request).ok_or_else(|| "the request is not complete".into())
    }
}

impl Reply {
    /// The reply as bytes.
    pub fn encode(&self) -> Vec<u8> {
        framed(self)
    }

    /// The reply that `bytes` stand for, or `None` when they stand for none.
    pub fn decode(bytes: &[u8]) -> Option<Reply> {
        codec::decode(bytes.strip_prefix(&[PROTOCOL])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..40)
    }

    fn checkpoint() -> impl Strategy<Value = CheckpointStatus> {
        let files = || prop::collection::vec(text(), 0..4);
        (any::<(u32, i32, bool, u64, u64, u64)>(), text(), files(), files(), files()).prop_map(
            |((index, pid, explicit, at, resumed, count), name, files, missing, asked)| {
                CheckpointStatus {
                    index,
                    pid,
                    name,
                    explicit,
                    at,
                    resumed,
                    count,
                    files,
                    missing,
                    asked,
                }
            },
        )
    }

    fn status() -> impl Strategy<Value = Status> {
        let lists =
            (prop::collection::vec(checkpoint(), 0..4), prop::collection::vec(text(), 0..4));
        (any::<(i32, i32, i32, i32, [u64; 4])>(), [text(), text(), text(), text()], lists).prop_map(
            |(
                (pid, program, supervisor, spare, [elapsed, resumes, files, polled]),
                texts,
                (checkpoints, restart_files),
            )| {
                let [version, directory, command, state] = texts;
                Status {
                    pid,
                    version,
                    directory,
                    command,
                    state,
                    program,
                    supervisor,
                    spare,
                    elapsed,
                    resumes,
                    files,
                    polled,
                    checkpoints,
                    restart_files,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_reply_survives_the_wire(status in status(), why in ".*") {
            for reply in [Reply::Done, Reply::Refused(why), Reply::Status(status)] {
                prop_assert_eq!(Reply::decode(&reply.encode()), Some(reply));
            }
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reply::decode(&bytes);
            let _ = Request::decode(&bytes);
            let framed: Vec<u8> = [PROTOCOL, 3].into_iter().chain(bytes).collect();
            let _ = Reply::decode(&framed);
        }

        #[test]
        fn a_request_survives_the_wire(what in text(), files in any::<bool>()) {
            for request in
                [Request::Status { files }, Request::Resume(what), Request::Restart, Request::Stop]
            {
                prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
            }
        }
    }

    #[test]
    fn another_version_is_told_so() {
        assert!(Request::decode(&[PROTOCOL + 1, 1, 0]).unwrap_err().contains("another version"));
        assert_eq!(Reply::decode(&[PROTOCOL + 1, 1]), None);
    }
}
