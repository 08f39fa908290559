//! What has happened and is to be decided: the machine, and the events that it is fed.
//!
//! Theory of operation. Whoever notices something feeds an event, which waits. One loop
//! takes them out, one after the other, and performs what the machine answers; nothing
//! is decided inside of feeding, nor while an action is performed. What an action leads
//! to comes before whatever else had happened by then: it belongs to the same moment.

use super::machine::{Action, Delays, Event, Machine, Time};
use std::collections::VecDeque;

/// The machine with its queue.
pub struct Agenda {
    machine: Machine,
    events: VecDeque<Event>,
    /// How many of the first are what the last event led to.
    led_to: usize,
}

impl Agenda {
    /// The program was just started.
    pub fn new(delays: Delays) -> Agenda {
        Agenda { machine: Machine::new(delays), events: VecDeque::new(), led_to: 0 }
    }

    /// Adds an event: behind those that the last one led to, before all others.
    pub fn feed(&mut self, event: Event) {
        self.events.insert(self.led_to, event);
        self.led_to += 1;
    }

    /// Decides about the next event, if there is one.
    pub fn next(&mut self, now: Time) -> Option<(Event, Vec<Action>)> {
        self.led_to = 0;
        let event = self.events.pop_front()?;
        Some((event, self.machine.step(event, now)))
    }

    /// The machine, to be asked.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Changes the delays from now on.
    pub fn set_delays(&mut self, delays: Delays) {
        self.machine.set_delays(delays);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const DELAYS: Delays =
        Delays { restart: Duration::ZERO, ignore: Duration::ZERO, stop: Duration::from_secs(2) };

    #[test]
    fn what_an_action_leads_to_comes_before_what_else_has_happened() {
        let mut agenda = Agenda::new(DELAYS);
        agenda.feed(Event::Ended(0));
        agenda.feed(Event::Changed);
        agenda.feed(Event::Touched);
        assert_eq!(agenda.next(Time::ZERO), Some((Event::Ended(0), vec![Action::Report(0)])));
        assert_eq!(agenda.next(Time::ZERO), Some((Event::Changed, vec![Action::Clear])));
        // `Clear` was performed, and nothing was left to be cleared away.
        agenda.feed(Event::Cleared);
        assert_eq!(agenda.next(Time::ZERO), Some((Event::Cleared, vec![Action::Wake])));
        assert_eq!(agenda.next(Time::ZERO), Some((Event::Touched, vec![])));
        assert_eq!(agenda.next(Time::ZERO), None);
    }

    #[test]
    fn a_wake_that_fails_is_tried_again_without_end_in_one_loop() {
        let mut agenda = Agenda::new(DELAYS);
        agenda.feed(Event::Ended(0));
        agenda.feed(Event::Changed);
        let mut wakes = 0;
        while let Some((_, actions)) = agenda.next(Time::ZERO) {
            for action in actions {
                match action {
                    Action::Clear => agenda.feed(Event::Cleared),
                    Action::Wake if wakes < 100_000 => {
                        wakes += 1;
                        agenda.feed(Event::WakeFailed);
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(wakes, 100_000);
        assert!(agenda.machine().is_waking());
    }
}
