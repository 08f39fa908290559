//! Where others learn of the session: the event stream, the control socket, the trace.

use super::events::Events;
use super::machine::Time;
use super::server::Server;
use super::tally::Tally;
use super::trace::Trace;
use crate::json::Object;
use crate::report;
use crate::wire::settings::Sink;
use nix::poll::{PollFd, PollFlags};
use nix::unistd::Pid;
use std::os::fd::AsRawFd;
use std::time::Instant;

/// The outlets that there are.
pub struct Outlets {
    sink: Option<Sink>,
    events: Option<Events>,
    server: Option<Server>,
    trace: Option<Trace>,
    tally: Tally,
}

impl Outlets {
    /// Opens the event stream, if one is wanted.
    pub fn new(sink: Option<Sink>) -> Outlets {
        let events = sink.as_ref().and_then(open_events);
        Outlets { sink, events, server: None, trace: None, tally: Tally::default() }
    }

    /// The descriptor that events are written to.
    pub fn number(&self) -> Option<i32> {
        self.events.as_ref().map(|events| events.descriptor().as_raw_fd())
    }

    /// Opens the others.
    pub fn open(&mut self, session: Pid, began: Instant) {
        self.trace = Trace::of_environment(session, began);
        self.server = Server::listen(session)
            .inspect_err(|error| {
                report::warn(&format!("`forkmon status` will not see this session: {error}"));
            })
            .ok();
    }

    /// Events go there from now on. Nothing changes where they do already.
    pub fn set_sink(&mut self, sink: Option<Sink>) {
        if sink != self.sink || self.events.is_none() {
            self.events = sink.as_ref().and_then(open_events);
            self.sink = sink;
        }
    }

    /// Whether somebody asked for events.
    pub fn are_wanted(&self) -> bool {
        self.events.is_some()
    }

    /// Writes an event, if somebody asked for them.
    pub fn emit(&mut self, name: &str, fields: impl FnOnce(Object) -> Object) {
        if let Some(events) = &mut self.events {
            let written = events.write(name, fields);
            self.written(written);
        }
    }

    /// Writes what the reader of events has room for by now.
    pub fn flush(&mut self) {
        if let Some(events) = &mut self.events {
            let flushed = events.flush();
            self.written(flushed);
        }
    }

    fn written(&mut self, result: nix::Result<()>) {
        if let Err(error) = result {
            self.events = None;
            report::warn(&format!("events are no longer written: {}", error.desc()));
        }
    }

    /// Warns the user, and whoever follows the events.
    pub fn warn(&mut self, text: &str) {
        report::warn(text);
        self.emit("warning", |event| event.string("text", text.as_bytes()));
    }

    /// Notes something in the trace, if there is one. `text` may hold several lines.
    pub fn trace(&mut self, what: &str, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace
            && trace.write(what, &text()).is_err()
        {
            self.trace = None;
            report::warn("the trace is no longer written");
        }
    }

    /// Whether to tell how many files are watched, if some of those watched had no lines.
    pub fn counts(&mut self, watched: u32, named: u32, has_ended: bool, now: Time) -> bool {
        self.tally.look(watched, named, has_ended, now)
    }

    /// When to ask that again.
    pub fn count_due(&self) -> Option<Time> {
        self.tally.deadline()
    }

    /// The server of the control socket, to be given back.
    pub fn take_server(&mut self) -> Option<Server> {
        self.server.take()
    }

    /// Gives the server back.
    pub fn give_server(&mut self, server: Server) {
        self.server = Some(server);
    }

    /// Listens no more.
    pub fn close_server(&mut self) {
        self.server = None;
    }

    /// When there is something to do though no descriptor says so.
    pub fn deadline(&self) -> Option<Instant> {
        self.server.as_ref()?.deadline()
    }

    /// What to wait for: clients, and readers of events that are behind.
    pub fn descriptors(&self) -> impl Iterator<Item = PollFd<'_>> {
        let clients = self.server.iter().flat_map(Server::descriptors).map(|(client, writing)| {
            PollFd::new(client, if writing { PollFlags::POLLOUT } else { PollFlags::POLLIN })
        });
        let behind = self.events.iter().filter(|events| events.is_behind());
        clients.chain(behind.map(|events| PollFd::new(events.descriptor(), PollFlags::POLLOUT)))
    }
}

fn open_events(sink: &Sink) -> Option<Events> {
    match Events::open(sink) {
        Ok(events) => Some(events),
        Err(error) => {
            report::warn(&format!("events cannot be written: {error}"));
            None
        }
    }
}
