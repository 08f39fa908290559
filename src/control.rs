//! Control: asking and telling a running supervisor, over a socket.
//!
//! Each session listens at `<pid>.sock` in a folder that only its user can
//! enter. A client sends one request and reads one reply to its end. The
//! protocol is between two copies of this file: it begins with its version, and
//! whoever meets another says so instead of guessing.

use crate::messages::Reader;
use crate::sys::procfs::is_stopped;
use crate::sys::signals::send;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Pid, geteuid};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Changes whenever a request or a reply does.
const PROTOCOL: u8 = 1;

/// How long a client waits for a supervisor that should answer at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a supervisor may take from its first moment until it listens.
const STARTING: Duration = Duration::from_secs(1);

/// Clients at a time; the one that has been there longest makes room for the next.
const MOST_CLIENTS: usize = 64;

/// The longest request: a path and a little.
const LONGEST_REQUEST: usize = 8192;

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
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn put_list(out: &mut Vec<u8>, list: &[Vec<u8>]) {
    out.extend((list.len() as u64).to_le_bytes());
    for item in list {
        put(out, item);
    }
}

impl Request {
    /// The request as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![PROTOCOL];
        match self {
            Request::Status { files } => out.extend([1, u8::from(*files)]),
            Request::Resume(what) => {
                out.push(2);
                put(&mut out, what);
            }
            Request::Restart => out.push(3),
            Request::Stop => out.push(4),
        }
        out
    }

    /// The request that `bytes` stand for, or why they stand for none.
    ///
    /// # Errors
    /// A text for the client.
    pub fn decode(bytes: &[u8]) -> Result<Request, String> {
        let mut input = Reader::new(bytes);
        match input.u8() {
            Some(PROTOCOL) => {}
            _ => return Err(format!("this is forkmon {}, another version than yours", version())),
        }
        let request = match input.u8() {
            Some(1) => input.u8().map(|files| Request::Status { files: files != 0 }),
            Some(2) => input.bytes().map(Request::Resume),
            Some(3) => Some(Request::Restart),
            Some(4) => Some(Request::Stop),
            _ => None,
        };
        request.ok_or_else(|| "the request is not complete".into())
    }
}

impl Reply {
    /// The reply as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![PROTOCOL];
        match self {
            Reply::Done => out.push(1),
            Reply::Refused(why) => {
                out.push(2);
                put(&mut out, why.as_bytes());
            }
            Reply::Status(status) => {
                out.push(3);
                out.extend(status.pid.to_le_bytes());
                for text in [&status.version, &status.directory, &status.command, &status.state] {
                    put(&mut out, text);
                }
                out.extend(status.program.to_le_bytes());
                out.extend(status.supervisor.to_le_bytes());
                out.extend(status.spare.to_le_bytes());
                for number in [status.elapsed, status.resumes, status.files, status.polled] {
                    out.extend(number.to_le_bytes());
                }
                out.extend((status.checkpoints.len() as u64).to_le_bytes());
                for checkpoint in &status.checkpoints {
                    out.extend(checkpoint.index.to_le_bytes());
                    out.extend(checkpoint.pid.to_le_bytes());
                    put(&mut out, &checkpoint.name);
                    out.push(u8::from(checkpoint.explicit));
                    for number in [checkpoint.at, checkpoint.resumed, checkpoint.count] {
                        out.extend(number.to_le_bytes());
                    }
                    put_list(&mut out, &checkpoint.files);
                    put_list(&mut out, &checkpoint.missing);
                }
                put_list(&mut out, &status.restart_files);
            }
        }
        out
    }

    /// The reply that `bytes` stand for, or `None` when they stand for none.
    pub fn decode(bytes: &[u8]) -> Option<Reply> {
        let mut input = Reader::new(bytes);
        if input.u8()? != PROTOCOL {
            return None;
        }
        Some(match input.u8()? {
            1 => Reply::Done,
            2 => Reply::Refused(String::from_utf8_lossy(&input.bytes()?).into_owned()),
            3 => {
                let mut status = Status {
                    pid: input.u32()? as i32,
                    version: input.bytes()?,
                    directory: input.bytes()?,
                    command: input.bytes()?,
                    state: input.bytes()?,
                    program: input.u32()? as i32,
                    supervisor: input.u32()? as i32,
                    spare: input.u32()? as i32,
                    elapsed: input.u64()?,
                    resumes: input.u64()?,
                    files: input.u64()?,
                    polled: input.u64()?,
                    ..Status::default()
                };
                for _ in 0..input.u64()? {
                    status.checkpoints.push(CheckpointStatus {
                        index: input.u32()?,
                        pid: input.u32()? as i32,
                        name: input.bytes()?,
                        explicit: input.u8()? != 0,
                        at: input.u64()?,
                        resumed: input.u64()?,
                        count: input.u64()?,
                        files: input.list()?,
                        missing: input.list()?,
                    });
                }
                status.restart_files = input.list()?;
                Reply::Status(status)
            }
            _ => return None,
        })
    }
}

/// The version of forkmon.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The folder for sockets: below `$XDG_RUNTIME_DIR`, else a private one in the
/// temporary directory.
fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(runtime) if runtime.is_absolute() && runtime.is_dir() => runtime.join("forkmon"),
        _ => std::env::temp_dir().join(format!("forkmon-{}", geteuid())),
    }
}

/// Makes the folder, and refuses one that somebody else could have prepared.
fn private_folder() -> io::Result<PathBuf> {
    let folder = folder();
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::Error::other("the folder for sockets is not ours alone"));
    }
    Ok(folder)
}

/// The supervisor's end: listens, reads requests, sends replies; never waits.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    connections: Vec<Connection>,
}

/// One client.
struct Connection {
    stream: UnixStream,
    request: Vec<u8>,
    reply: Option<Vec<u8>>,
}

impl Server {
    /// Listens for clients of this session.
    ///
    /// # Errors
    /// When the folder cannot be made or is not private, or the socket not bound.
    pub fn listen(session: Pid) -> io::Result<Server> {
        let path = private_folder()?.join(format!("{session}.sock"));
        // Under another name until it listens: whoever finds nobody listening takes it
        // for what a killed session has left, and removes it.
        let beginning = path.with_extension("new");
        let _ = std::fs::remove_file(&beginning);
        let listener = UnixListener::bind(&beginning)?;
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(&beginning, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&beginning, &path)?;
        Ok(Server { listener, path, connections: Vec::new() })
    }

    /// The descriptors to wait for, and whether for room to write.
    pub fn descriptors(&self) -> impl Iterator<Item = (std::os::fd::BorrowedFd<'_>, bool)> {
        use std::os::fd::AsFd;
        let connections = self
            .connections
            .iter()
            .map(|connection| (connection.stream.as_fd(), connection.reply.is_some()));
        std::iter::once((self.listener.as_fd(), false)).chain(connections)
    }

    /// Takes in what has arrived. Each complete request is answered by `answer`.
    pub fn serve(&mut self, mut answer: impl FnMut(Request) -> Reply) {
        while let Ok((stream, _)) = self.listener.accept() {
            let allowed = getsockopt(&stream, PeerCredentials)
                .is_ok_and(|peer| peer.uid() == geteuid().as_raw() || peer.uid() == 0);
            if allowed && stream.set_nonblocking(true).is_ok() {
                if self.connections.len() == MOST_CLIENTS {
                    self.connections.remove(0);
                }
                self.connections.push(Connection { stream, request: Vec::new(), reply: None });
            }
        }
        self.connections.retain_mut(|connection| connection.advance(&mut answer).is_ok());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Connection {
    /// Reads or writes as far as that goes without waiting. An error, or its
    /// end, closes the connection.
    fn advance(&mut self, answer: &mut impl FnMut(Request) -> Reply) -> io::Result<()> {
        if self.reply.is_none() {
            let mut buffer = [0; 1024];
            loop {
                match self.stream.read(&mut buffer) {
                    // The client has said all.
                    Ok(0) => break,
                    Ok(length) => self.request.extend(&buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
                if self.request.len() > LONGEST_REQUEST {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
            let reply = match Request::decode(&self.request) {
                Ok(request) => answer(request),
                Err(why) => Reply::Refused(why),
            };
            self.reply = Some(reply.encode());
        }
        while let Some(reply) = &mut self.reply {
            match self.stream.write(reply) {
                Ok(length) => drop(reply.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if reply.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Removes what a session that has ended may have left.
pub fn forget(session: Pid) {
    let _ = std::fs::remove_file(folder().join(format!("{session}.sock")));
}

/// The sessions of this user, by pid. Sockets whose owner is gone are removed.
pub fn sessions() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir(folder()) else { return Vec::new() };
    let mut pids: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let pid = path.file_name()?.to_str()?.strip_suffix(".sock")?.parse().ok()?;
            match UnixStream::connect(&path) {
                Ok(_) => Some(pid),
                Err(error) => {
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        let _ = std::fs::remove_file(&path);
                    }
                    None
                }
            }
        })
        .collect();
    pids.sort_unstable();
    pids
}

/// Waits for the end of a supervisor that was told to stop; whether it came.
pub fn has_ended(pid: i32) -> bool {
    let path = folder().join(format!("{pid}.sock"));
    let deadline = Instant::now() + PATIENCE;
    // The socket goes last, and at once with a supervisor that is killed.
    while UnixStream::connect(&path).is_ok() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Waits until a supervisor that was told to restart has done so.
pub fn await_restart(pid: i32) {
    let deadline = Instant::now() + PATIENCE;
    let is_busy = |status: &Status| status.state == b"resuming";
    while Path::new(&format!("/proc/{pid}")).exists() && Instant::now() < deadline {
        match ask(pid, &Request::Status { files: false }) {
            Ok(Reply::Status(status)) if !is_busy(&status) => return,
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Why a supervisor did not answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens for that process.
    NoSuchSession,
    /// Somebody else's.
    NotOurs,
    /// Somebody has stopped it (Ctrl+Z).
    Stopped(i32),
    /// It listens and does not answer.
    NoAnswer(io::Error),
    /// It answers in another version's words.
    OtherVersion,
}

impl std::fmt::Display for AskError {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            AskError::NoSuchSession => out.write_str("no forkmon has this PID"),
            AskError::NotOurs => out.write_str("it belongs to another user"),
            AskError::Stopped(pid) => {
                write!(out, "it is stopped; `fg` or `kill -CONT {pid}` has it go on")
            }
            AskError::NoAnswer(error) => write!(out, "it does not answer: {error}"),
            AskError::OtherVersion => {
                write!(out, "it is of another version than this forkmon {}", version())
            }
        }
    }
}

/// Sends a request to the session with this pid and waits for the reply.
///
/// # Errors
/// See [`AskError`].
pub fn ask(pid: i32, request: &Request) -> Result<Reply, AskError> {
    ask_at(&folder().join(format!("{pid}.sock")), pid, request)
}

/// The same for the program's own supervisor, which may still be about to listen.
///
/// # Errors
/// See [`AskError`].
pub fn ask_own(pid: i32, request: &Request) -> Result<Reply, AskError> {
    let deadline = Instant::now() + STARTING;
    loop {
        match ask(pid, request) {
            Err(AskError::NoSuchSession) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            answer => return answer,
        }
    }
}

fn ask_at(path: &Path, pid: i32, request: &Request) -> Result<Reply, AskError> {
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let owner = std::fs::metadata(format!("/proc/{pid}")).map(|process| process.uid());
            if owner.is_ok_and(|uid| uid != geteuid().as_raw()) {
                AskError::NotOurs
            } else {
                AskError::NoSuchSession
            }
        }
        io::ErrorKind::PermissionDenied => AskError::NotOurs,
        _ => AskError::NoAnswer(error),
    })?;
    if is_stopped(pid) {
        if *request != Request::Stop {
            return Err(AskError::Stopped(pid));
        }
        let _ = send(Pid::from_raw(pid), libc::SIGCONT);
    }
    let mut reply = Vec::new();
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.write_all(&request.encode()))
        .and_then(|()| stream.shutdown(std::net::Shutdown::Write))
        .and_then(|()| stream.read_to_end(&mut reply))
        .map_err(AskError::NoAnswer)?;
    if reply.is_empty() {
        return Err(AskError::NotOurs);
    }
    Reply::decode(&reply).ok_or(AskError::OtherVersion)
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
        (any::<(u32, i32, bool, u64, u64, u64)>(), text(), files(), files()).prop_map(
            |((index, pid, explicit, at, resumed, count), name, files, missing)| CheckpointStatus {
                index,
                pid,
                name,
                explicit,
                at,
                resumed,
                count,
                files,
                missing,
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

    #[test]
    fn a_request_that_dribbles_in_and_a_reply_too_long_for_the_socket() {
        let (client, server) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        let mut connection = Connection { stream: server, request: Vec::new(), reply: None };
        let long = Status { command: vec![b'x'; 1 << 20], ..Status::default() };
        let mut answer = |request| {
            assert_eq!(request, Request::Stop);
            Reply::Status(long.clone())
        };
        for byte in Request::Stop.encode() {
            (&client).write_all(&[byte]).unwrap();
            connection.advance(&mut answer).unwrap();
            assert!(connection.reply.is_none());
        }
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let reader = std::thread::spawn(move || {
            let mut reply = Vec::new();
            (&client).read_to_end(&mut reply).unwrap();
            Reply::decode(&reply)
        });
        while connection.advance(&mut answer).is_ok() {
            std::thread::yield_now();
        }
        drop(connection);
        assert_eq!(reader.join().unwrap(), Some(Reply::Status(long)));
    }
}
