//! Telling of many watched files in one line. The first ones have lines of their own, which the
//! program prints as it opens them; the others are counted.

use super::machine::Time;
use std::time::Duration;

/// How long no file was opened when the others are told of; at once when the program has ended.
/// Twice as long each time, lest a program that opens one after the other gets a line for each.
const PAUSE: Duration = Duration::from_millis(300);

/// What the user was told.
#[derive(Debug)]
pub struct Tally {
    /// How many files there were at the last look, and since when.
    count: u32,
    since: Time,
    /// How many the user knows of.
    told: u32,
    pause: Duration,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { count: 0, since: Time::ZERO, told: 0, pause: PAUSE }
    }
}

impl Tally {
    /// There are so many files, the first `named` of which had lines. Whether that is to be
    /// told now.
    pub fn look(&mut self, count: u32, named: u32, has_ended: bool, now: Time) -> bool {
        if count != self.count {
            (self.count, self.since) = (count, now);
        }
        if count <= named || named == 0 {
            self.told = count;
        }
        let is_due = has_ended || now >= self.since + self.pause;
        let tells = self.told != count && is_due;
        if tells {
            self.told = count;
            self.pause = self.pause.saturating_mul(if has_ended { 1 } else { 2 });
        }
        tells
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Time> {
        (self.told != self.count).then(|| self.since + self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Time {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn many_files_are_told_of_once_it_is_quiet() {
        let mut tally = Tally::default();
        assert!(!tally.look(10, 10, false, ms(0)));
        assert_eq!(tally.deadline(), None);
        assert!(!tally.look(11, 10, false, ms(1)));
        assert!(!tally.look(121, 10, false, ms(200)));
        assert_eq!(tally.deadline(), Some(ms(500)));
        assert!(!tally.look(121, 10, false, ms(499)));
        assert!(tally.look(121, 10, false, ms(500)));
        assert_eq!((tally.look(121, 10, true, ms(900)), tally.deadline()), (false, None));
        assert!(tally.look(122, 10, true, ms(901)));
        assert!(!tally.look(123, 10, false, ms(1000)));
        assert_eq!(tally.deadline(), Some(ms(1600)));
    }

    #[test]
    fn nothing_is_told_of_files_that_have_lines_or_shall_have_none() {
        for named in [0, u32::MAX] {
            let mut tally = Tally::default();
            assert!(!tally.look(121, named, true, ms(900)));
            assert_eq!(tally.deadline(), None);
        }
    }
}
