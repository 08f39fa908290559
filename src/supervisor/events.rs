//! Events: what happens, as JSON lines, for tools that want to follow.
//!
//! The reader may be slow, or gone. Lines wait in a bounded queue and are
//! written only when the sink takes them at once; when the queue is full the
//! oldest are dropped, and a `lost` line tells how many.

use crate::json::Object;
use crate::sys::descriptors;
use crate::wire::settings::Sink;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

/// How much may wait for a slow reader.
const QUEUE_BYTES: usize = 1 << 20;

/// What one write may be so that a pipe that polls as writable takes it at once.
const ATOMIC: usize = libc::PIPE_BUF;

/// Writes events to a sink.
pub struct Events {
    sink: OwnedFd,
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    /// How much of the first line is written.
    written: usize,
    lost: u64,
}

impl Events {
    /// Opens the sink.
    ///
    /// # Errors
    /// Of opening the path, or `EBADF` for a descriptor that is not open.
    pub fn open(sink: &Sink) -> io::Result<Events> {
        use std::os::unix::ffi::OsStrExt;
        let sink = match sink {
            Sink::Descriptor(number) => descriptors::duplicate(*number)?,
            Sink::Path(path) => {
                let path = std::ffi::OsStr::from_bytes(path);
                let mut options = OpenOptions::new();
                // For reading too: a FIFO can then be opened before its reader.
                let file = options.read(true).append(true).create(true);
                file.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?.into()
            }
        };
        Ok(Events { sink, queue: VecDeque::new(), queued: 0, written: 0, lost: 0 })
    }

    /// Writes one event, or queues it. `Err` when the reader is gone for good.
    ///
    /// # Errors
    /// `EPIPE` and the like.
    pub fn write(&mut self, name: &str, fields: impl FnOnce(Object) -> Object) -> nix::Result<()> {
        let line = line(name, fields);
        self.queued += line.len();
        self.queue.push_back(line);
        // The first line may be half written already: it must stay.
        while self.queued > QUEUE_BYTES && self.queue.len() > 2 {
            let dropped = self.queue.remove(1).map_or(0, |line| line.len());
            self.queued -= dropped;
            self.lost += 1;
        }
        self.flush()
    }

    /// Writes as much as the sink takes now.
    ///
    /// # Errors
    /// As [`Events::write`].
    pub fn flush(&mut self) -> nix::Result<()> {
        loop {
            if self.queue.is_empty() {
                let lost = std::mem::take(&mut self.lost);
                if lost == 0 {
                    return Ok(());
                }
                let line = line("lost", |event| event.plain("count", lost));
                self.queued = line.len();
                self.queue.push_back(line);
            }
            let Some(line) = self.queue.front() else { return Ok(()) };
            let mut ready = [PollFd::new(self.sink.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut ready, PollTimeout::ZERO) {
                Ok(0) | Err(Errno::EINTR) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
            let rest = &line[self.written..];
            match nix::unistd::write(&self.sink, &rest[..rest.len().min(ATOMIC)]) {
                Ok(length) => self.written += length,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.written == line.len() {
                self.queued -= line.len();
                self.written = 0;
                self.queue.pop_front();
            }
        }
    }

    /// The sink, to wait for room in it.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.sink.as_fd()
    }

    /// Whether lines are waiting for the reader.
    pub fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }
}

fn line(name: &str, fields: impl FnOnce(Object) -> Object) -> Vec<u8> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = format!("{}.{:06}", since.as_secs(), since.subsec_micros());
    let object = fields(Object::new().string("event", name.as_bytes()).plain("time", time));
    let mut line = object.finish().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_slow_reader_loses_old_lines_and_is_told() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut events = Events::open(&Sink::Descriptor(writer.as_raw_fd())).unwrap();
        drop(writer);
        let filler = vec![b'x'; 1000];
        for number in 0..3000 {
            events
                .write("filler", |event| event.plain("number", number).string("text", &filler))
                .unwrap();
        }
        assert!(events.is_behind());
        let mut lines = BufReader::new(reader).lines();
        let mut seen = Vec::new();
        loop {
            events.flush().unwrap();
            let line = lines.next().unwrap().unwrap();
            assert!(line.starts_with("{\"event\":") && line.ends_with('}'));
            if line.contains("\"lost\"") {
                seen.push(line);
                break;
            }
            seen.push(line);
        }
        let last = &seen[seen.len() - 2];
        assert!(last.contains("\"number\":2999"), "the newest is never dropped");
        let count = seen.len() - 1;
        assert!(seen[count].contains(&format!("\"count\":{}", 3000 - count)));
    }

    #[test]
    fn a_reader_that_is_gone_is_an_error() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut events = Events::open(&Sink::Descriptor(writer.as_raw_fd())).unwrap();
        drop(reader);
        // The test harness ignores SIGPIPE, as the supervisor blocks it.
        assert_eq!(events.write("exit", |event| event), Err(Errno::EPIPE));
    }
}
