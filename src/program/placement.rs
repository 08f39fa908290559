//! Placement: does this stop point get a checkpoint, or join the one before?
//!
//! Theory of operation. A file that joins the last checkpoint is re-run from
//! there, together with everything between. That must not be noticed, so an
//! *effect* in between (output, a file written, a subprocess, input consumed)
//! always separates. So does a *hot* file, one that was edited lately: the next
//! edit is likely to be there again. Where neither is the case, a checkpoint is
//! a matter of cost. It has two parts: taking it, mostly the page tables, which we can
//! time, and the page faults that follow as the program writes to memory it now
//! shares, which we can count, and whose price is measured. Both grow with the
//! memory in use, so the cost of the next is predicted from those before, per
//! page. A collector that marks what is alive writes to nearly all of it, so every
//! page is taken to be copied until a long stretch has shown otherwise. Checkpoints
//! that are not forced are taken only while everything spent so far, and this one,
//! stay within `overhead` of the run time, and this one within that of the time since
//! the last: what was not spent early on is not spent on two in a row. Nor is one taken
//! that would have to be given up when the next one is, as together they hold more memory
//! than they may (`thinning` of the supervisor). Nothing here touches the system.
//!
//! Such a checkpoint, if it is not large, copies its memory *ahead*, on another
//! processor, so that a page is the program's alone by the time it writes to it: that
//! fault copies nothing.

use std::time::Duration;

/// What taking a checkpoint costs per resident page before we know better, in
/// nanoseconds: copying the page's table entry.
const CLONE: f64 = 100.0;

/// With fewer pages, what taking one costs says nothing of what a page costs.
const MANY: u64 = 1000;

/// The price of one copy-on-write fault before it has been measured.
const FAULT: Duration = Duration::from_nanos(1000);

/// What is left of the price of a fault on a page that was copied ahead: a quarter
/// (0.55 of 2.3 us where it was measured), and some come before the copy is there.
const AHEAD: f64 = 0.5;

/// How much of the run a stretch must be to tell how few pages are written to: a short
/// one tells only which are written to at once.
const LONG: f64 = 0.125;

/// What a checkpoint costs however small the program.
const LEAST: Duration = Duration::from_micros(200);

/// What is known at a stop point without asking the system much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// How long the program has run, time parked left out.
    pub elapsed: Duration,
    /// Something observable happened since the last checkpoint.
    pub effect: bool,
    /// The file about to be opened was edited lately.
    pub hot: bool,
    /// One sooner after the last than this would be given up again for want of memory.
    pub apart: Duration,
}

/// The memory of the program at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident pages that a clone shares.
    pub pages: u64,
    /// Page faults so far.
    pub faults: u64,
}

/// What to do at a stop point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Depend on the last checkpoint.
    Join,
    /// Take one: something forces it.
    Forced,
    /// Take one: it is worth its price.
    Elective,
}

/// The budget of one run.
#[derive(Clone, Debug)]
pub struct Placement {
    overhead: f64,
    exact: bool,
    /// As many pages can be copied ahead.
    ahead: u64,
    spent: Duration,
    /// What taking one costs per page, in nanoseconds.
    clone: f64,
    /// Which part of the pages that are shared is written to before the next one.
    written: f64,
    /// The price of a fault, once it has been measured.
    fault: Option<Duration>,
    last: Option<Last>,
    /// What a checkpoint would have cost at the last look at the memory; zero before.
    declined: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    taken: Duration,
    memory: Memory,
    ahead: bool,
    /// The program took it; it was not resumed from it, which may have copied all
    /// pages by then.
    own: bool,
}

impl Placement {
    /// A budget of `overhead`, a fraction of the run time. `exact`: every stop
    /// point gets a checkpoint. `ahead`: as many pages can be copied ahead.
    pub fn new(overhead: f64, exact: bool, ahead: u64) -> Self {
        Placement {
            overhead,
            exact,
            ahead,
            spent: Duration::ZERO,
            clone: CLONE,
            written: 1.0,
            fault: None,
            last: None,
            declined: Duration::ZERO,
        }
    }

    /// Changes the options, keeping the accounts.
    pub fn configure(&mut self, overhead: f64, exact: bool) {
        self.overhead = overhead;
        self.exact = exact;
    }

    /// Whether every stop point gets a checkpoint.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether a checkpoint that is not forced copies so many pages ahead.
    pub fn copies_ahead(&self, pages: u64) -> bool {
        pages <= self.ahead
    }

    /// Decides about a stop point. `memory` is only asked for where it matters.
    pub fn decide(&mut self, stop: Stop, memory: impl FnOnce() -> Memory) -> Decision {
        let Some(last) = self.last else { return Decision::Forced };
        if self.exact || stop.effect || stop.hot {
            return Decision::Forced;
        }
        let budget = stop.elapsed.mul_f64(self.overhead);
        let work = stop.elapsed.saturating_sub(last.taken);
        if work < stop.apart {
            return Decision::Join;
        }
        let affordable =
            |cost: Duration| self.spent + cost <= budget && cost <= work.mul_f64(self.overhead);
        // Programs mostly grow: what is too dear for the memory of last time is
        // too dear now, and most stop points end here.
        if !affordable(self.predict(last.memory.pages).max(self.declined)) {
            return Decision::Join;
        }
        let now = memory();
        let cost = self.predict(now.pages) + self.aftermath(last, now);
        if affordable(cost) {
            Decision::Elective
        } else {
            self.declined = cost;
            Decision::Join
        }
    }

    /// A checkpoint was taken: what it cost, what the one before turned out to
    /// have cost, what a fault costs now, and whether this one copies ahead.
    pub fn taken(
        &mut self,
        elapsed: Duration,
        taking: Duration,
        fault: Option<Duration>,
        memory: Memory,
        ahead: bool,
    ) {
        if let Some(last) = self.last {
            self.spent += self.aftermath(last, memory);
            self.learn(last, elapsed, memory);
        }
        self.spent += taking;
        // Other programs make a single measurement dear: follow all slowly.
        if memory.pages >= MANY {
            let beyond = taking.saturating_sub(LEAST).as_nanos() as f64;
            let per_page = beyond / memory.pages as f64;
            self.clone = (self.clone + per_page.min(2.0 * self.clone)) / 2.0;
        }
        self.fault = match (self.fault, fault) {
            (Some(known), Some(now)) => Some((known + now) / 2),
            (known, now) => now.or(known),
        };
        self.begin(Last { taken: elapsed, memory, ahead, own: true });
    }

    /// The program was resumed: nothing was paid, but it shares its memory again.
    pub fn resumed(&mut self, elapsed: Duration, memory: Memory) {
        self.begin(Last { taken: elapsed, memory, ahead: false, own: false });
    }

    fn begin(&mut self, last: Last) {
        self.last = Some(last);
        self.declined = Duration::ZERO;
    }

    /// Follows which part of the pages is written to between two checkpoints.
    fn learn(&mut self, last: Last, elapsed: Duration, now: Memory) {
        if last.memory.pages == 0 || !last.own {
            return;
        }
        let written = last.copied(now) as f64 / last.memory.pages as f64;
        let is_long = elapsed.saturating_sub(last.taken) >= elapsed.mul_f64(LONG);
        if is_long || written > self.written {
            self.written = (self.written + written) / 2.0;
        }
    }

    /// What a checkpoint is expected to cost with so many pages resident.
    fn predict(&self, pages: u64) -> Duration {
        let fault = self.price(self.copies_ahead(pages)).as_nanos() as f64;
        let per_page = self.clone + self.written * fault;
        LEAST + Duration::from_nanos((per_page * pages as f64) as u64)
    }

    /// What a fault costs after a checkpoint.
    fn price(&self, ahead: bool) -> Duration {
        self.fault.unwrap_or(FAULT).mul_f64(if ahead { AHEAD } else { 1.0 })
    }

    /// The cost of the faults since the last checkpoint that it caused.
    fn aftermath(&self, last: Last, now: Memory) -> Duration {
        self.price(last.ahead).mul_f64(last.copied(now) as f64)
    }
}

impl Last {
    /// How many pages were copied since: one for each fault but those by which the
    /// program grew, and at most one for each page it shared.
    fn copied(&self, now: Memory) -> u64 {
        let grown = now.pages.saturating_sub(self.memory.pages);
        let faults = now.faults.saturating_sub(self.memory.faults).saturating_sub(grown);
        faults.min(self.memory.pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stop(milliseconds: u64) -> Stop {
        let elapsed = Duration::from_millis(milliseconds);
        Stop { elapsed, effect: false, hot: false, apart: Duration::ZERO }
    }

    const SMALL: Memory = Memory { pages: 1000, faults: 0 };

    fn begun() -> Placement {
        let mut placement = Placement::new(0.05, false, 0);
        placement.taken(Duration::ZERO, Duration::from_micros(200), None, SMALL, false);
        placement
    }

    #[test]
    fn the_first_stop_point_gets_a_checkpoint() {
        assert_eq!(Placement::new(0.05, false, 0).decide(stop(0), || SMALL), Decision::Forced);
    }

    #[test]
    fn little_work_joins_and_much_work_does_not() {
        assert_eq!(begun().decide(stop(1), || unreachable!("too early to ask")), Decision::Join);
        assert_eq!(begun().decide(stop(100), || SMALL), Decision::Elective);
    }

    #[test]
    fn a_heap_that_has_grown_is_priced_as_it_is_now() {
        let large = Memory { pages: 50_000, faults: 50_000 };
        assert_eq!(begun().decide(stop(100), || large), Decision::Join);
        assert_eq!(begun().decide(stop(1200), || large), Decision::Elective);
    }

    #[test]
    fn what_was_too_dear_is_not_asked_about_until_it_can_be_paid() {
        let large = Memory { pages: 50_000, faults: 50_000 };
        let mut placement = begun();
        assert_eq!(placement.decide(stop(100), || large), Decision::Join);
        // A twentieth of the time, less what the first has cost, against 50,000 pages,
        // their table entries and 1000 faults.
        assert_eq!(placement.decide(stop(1070), || unreachable!("not yet")), Decision::Join);
        assert_eq!(placement.decide(stop(1080), || large), Decision::Elective);
        // The memory may have become less in between.
        let mut placement = begun();
        assert_eq!(placement.decide(stop(100), || large), Decision::Join);
        assert_eq!(placement.decide(stop(1080), || SMALL), Decision::Elective);
    }

    #[test]
    fn one_that_would_be_given_up_is_not_taken() {
        let apart = Duration::from_millis(200);
        let at = |milliseconds| Stop { apart, ..stop(milliseconds) };
        assert_eq!(begun().decide(at(199), || unreachable!("too early")), Decision::Join);
        assert_eq!(begun().decide(at(200), || SMALL), Decision::Elective);
        let effect = Stop { effect: true, ..at(1) };
        assert_eq!(begun().decide(effect, || unreachable!()), Decision::Forced);
    }

    #[test]
    fn where_faults_are_dear_a_checkpoint_is_taken_later() {
        let decide = |nanoseconds| {
            let mut placement = Placement::new(0.05, false, 0);
            let fault = Some(Duration::from_nanos(nanoseconds));
            placement.taken(Duration::ZERO, Duration::from_micros(200), fault, SMALL, false);
            // The program has written to all that it shares.
            placement.decide(stop(30), || Memory { pages: 1000, faults: 1000 })
        };
        assert_eq!(decide(100), Decision::Elective);
        assert_eq!(decide(4000), Decision::Join);
    }

    /// What a checkpoint of so many pages is expected to cost after one after which a
    /// tenth of them was written to in so many milliseconds.
    fn cost_after(milliseconds: u64, ahead: u64) -> Duration {
        let mut placement = Placement::new(0.05, false, ahead);
        let fault = Some(Duration::from_nanos(2000));
        let memory = |faults| Memory { pages: 5000, faults };
        let taking = Duration::from_micros(200);
        placement.taken(Duration::from_millis(100), taking, fault, memory(0), false);
        let then = Duration::from_millis(100 + milliseconds);
        placement.taken(then, taking, fault, memory(500), false);
        placement.predict(5000)
    }

    #[test]
    fn a_short_stretch_does_not_tell_how_few_pages_are_written_to() {
        assert!(cost_after(5, 0) > Duration::from_millis(10));
        assert!(cost_after(50, 0) < Duration::from_millis(6));
    }

    #[test]
    fn a_resumed_program_whose_pages_are_its_own_does_not_tell_either() {
        let mut placement = Placement::new(0.05, false, 0);
        let memory = Memory { pages: 5000, faults: 0 };
        placement.resumed(Duration::from_millis(100), memory);
        let before = placement.predict(5000);
        placement.taken(Duration::from_secs(1), Duration::from_micros(700), None, memory, false);
        assert_eq!(placement.predict(5000), before);
    }

    #[test]
    fn one_that_was_held_up_makes_the_next_dearer_by_half_at_most() {
        let mut placement = begun();
        let before = placement.predict(5000);
        let fault = Some(FAULT);
        placement.taken(Duration::from_secs(1), Duration::from_secs(1), fault, SMALL, false);
        assert!(placement.predict(5000) < before * 3 / 2);
        let (mut placement, few) = (begun(), Memory { pages: 100, faults: 0 });
        placement.taken(Duration::from_secs(1), Duration::from_secs(1), fault, few, false);
        assert!(placement.predict(5000) <= before);
    }

    #[test]
    fn what_is_copied_ahead_costs_less() {
        assert!(cost_after(5, 8192) < cost_after(5, 0) * 2 / 3);
        let placement = Placement::new(0.05, false, 8192);
        assert!(placement.copies_ahead(8192) && !placement.copies_ahead(8193));
        assert!(!Placement::new(0.05, false, 0).copies_ahead(1));
    }

    #[derive(Clone, Copy, Debug)]
    struct Step {
        work: u64,
        effect: bool,
        hot: bool,
        pages: u64,
        faults: u64,
        taking: u64,
        fault: u64,
        apart: u64,
    }

    impl Step {
        fn stop(self, elapsed: Duration) -> Stop {
            let apart = Duration::from_micros(self.apart);
            Stop { elapsed, effect: self.effect, hot: self.hot, apart }
        }

        fn taken(self, placement: &mut Placement, elapsed: Duration, memory: Memory) {
            let fault = Duration::from_nanos(self.fault);
            let taking = Duration::from_micros(self.taking);
            let ahead = placement.copies_ahead(memory.pages);
            placement.taken(elapsed, taking, Some(fault), memory, ahead);
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        (
            0u64..50_000,
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.05),
            0u64..100_000,
            0u64..60_000,
            1u64..20_000,
            100u64..5_000,
            prop_oneof![Just(0u64), 0u64..100_000],
        )
            .prop_map(|(work, effect, hot, pages, faults, taking, fault, apart)| Step {
                work,
                effect,
                hot,
                pages,
                faults,
                taking,
                fault,
                apart,
            })
    }

    proptest! {
        #[test]
        fn an_effect_or_a_hot_file_always_separates(
            steps in prop::collection::vec(step(), 1..200), overhead in 0.001f64..1.0,
            ahead in 0u64..20_000
        ) {
            let mut placement = Placement::new(overhead, false, ahead);
            let (mut elapsed, mut faults) = (Duration::ZERO, 0);
            for step in steps {
                elapsed += Duration::from_micros(step.work);
                faults += step.faults;
                let memory = Memory { pages: step.pages, faults };
                let here = step.stop(elapsed);
                let decision = placement.decide(here, || memory);
                prop_assert!(decision != Decision::Join || !step.effect && !step.hot);
                if decision != Decision::Join {
                    step.taken(&mut placement, elapsed, memory);
                }
            }
        }

        /// The electives never exceed the budget by more than what the last one
        /// cost beyond its prediction, which nobody can know before.
        #[test]
        fn the_total_cost_stays_within_the_budget(
            steps in prop::collection::vec(step(), 1..300), overhead in 0.001f64..1.0,
            ahead in 0u64..20_000
        ) {
            let mut placement = Placement::new(overhead, false, ahead);
            placement.taken(Duration::ZERO, Duration::ZERO, None, Memory::default(), false);
            let (mut elapsed, mut faults) = (Duration::ZERO, 0);
            let (mut spent, mut last_surprise) = (Duration::ZERO, Duration::ZERO);
            for step in steps {
                elapsed += Duration::from_micros(step.work);
                faults += step.faults;
                let memory = Memory { pages: step.pages, faults };
                let here = Step { effect: false, hot: false, ..step }.stop(elapsed);
                if placement.decide(here, || memory) == Decision::Elective {
                    let predicted = placement.predict(memory.pages);
                    let before = placement.spent;
                    step.taken(&mut placement, elapsed, memory);
                    spent = placement.spent;
                    prop_assert!(spent >= before);
                    last_surprise = Duration::from_micros(step.taking).saturating_sub(predicted);
                    prop_assert!(
                        spent <= elapsed.mul_f64(overhead) + last_surprise + Duration::from_nanos(1),
                        "{spent:?} of {elapsed:?}"
                    );
                }
            }
            prop_assert!(spent <= elapsed.mul_f64(overhead) + last_surprise + Duration::from_nanos(1));
        }

        #[test]
        fn exact_takes_one_at_every_stop_point(steps in prop::collection::vec(step(), 1..50)) {
            let mut placement = Placement::new(0.05, true, 0);
            let mut elapsed = Duration::ZERO;
            for step in steps {
                elapsed += Duration::from_micros(step.work);
                let here = step.stop(elapsed);
                prop_assert_eq!(placement.decide(here, || SMALL), Decision::Forced);
                placement.taken(elapsed, Duration::from_micros(step.taking), None, SMALL, false);
            }
        }
    }
}
