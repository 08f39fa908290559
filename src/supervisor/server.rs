//! Serving: the supervisor's end of the control socket. Never waits.

use crate::session::address;
use crate::wire::control::{Reply, Request};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Pid, geteuid};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Clients at a time; the one that has been there longest makes room for the next.
const MOST_CLIENTS: usize = 64;

/// The longest request: a path and a little.
const LONGEST_REQUEST: usize = 8192;

/// How long nobody is let in after this process had no descriptor or memory left for a client.
/// The client that waits would wake the supervisor again and again.
const PAUSE: Duration = Duration::from_millis(100);

/// The supervisor's end: listens, reads requests, sends replies; never waits.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket.
    identity: Option<(u64, u64)>,
    connections: Vec<Connection>,
    /// Until when nobody is let in.
    paused: Option<Instant>,
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
        let path = address::make(session.as_raw())?;
        // Under another name until it listens: whoever finds nobody listening takes it
        // for what a killed session has left, and removes it.
        let beginning = path.with_extension("new");
        let _ = std::fs::remove_file(&beginning);
        let listener = UnixListener::bind(&beginning)?;
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(&beginning, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&beginning, &path)?;
        let identity = identity(&path);
        Ok(Server { listener, path, identity, connections: Vec::new(), paused: None })
    }

    /// The descriptors to wait for, and whether for room to write.
    pub fn descriptors(&self) -> impl Iterator<Item = (std::os::fd::BorrowedFd<'_>, bool)> {
        use std::os::fd::AsFd;
        let connections = self
            .connections
            .iter()
            .map(|connection| (connection.stream.as_fd(), connection.reply.is_some()));
        let listener = self.paused.is_none().then(|| (self.listener.as_fd(), false));
        listener.into_iter().chain(connections)
    }

    /// When there is something to do though no descriptor says so.
    pub fn deadline(&self) -> Option<Instant> {
        self.paused
    }

    /// Takes in what has arrived. Each complete request is answered by `answer`.
    pub fn serve(&mut self, mut answer: impl FnMut(Request) -> Reply) {
        self.paused = self.paused.filter(|until| Instant::now() < *until);
        while let Some(stream) = self.accept() {
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

    fn accept(&mut self) -> Option<UnixStream> {
        while self.paused.is_none() {
            match self.listener.accept() {
                Ok((stream, _)) => return Some(stream),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return None,
                    // This client has gone; the next may be there.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => self.paused = Some(Instant::now() + PAUSE),
                },
            }
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Another may have taken its place.
        if identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::Status;

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
