//! Placement: does this stop point get a checkpoint, or join the one before?
//!
//! Theory of operation. A file that joins the last checkpoint is re-run from
//! there, together with everything between. That must not be noticed, so an
//! *effect* in between (output, a file written, a subprocess, input consumed)
//! always separates. So does a *hot* file, one that was edited lately: the next
//! edit is likely to be there again. Where neither is the case, a checkpoint is
//! a matter of cost. It has two parts: copying the page tables, which we can
//! time, and the page faults that follow as the program writes to memory it now
//! shares, which we can count. Both grow with the memory in use, so the cost of
//! the next is predicted from those before, per page. Checkpoints that are not
//! forced are taken only while everything spent so far, and this one, stay
//! within `overhead` of the run time. Nothing here touches the system.

use std::time::Duration;

/// What a checkpoint costs per resident page before we know better: copying the
/// page's table entry, and copying the page for one in three of them.
const COST_PER_PAGE: f64 = 250.0;

/// The price of one copy-on-write fault, in nanoseconds.
const FAULT: f64 = 600.0;

/// The least cost of a checkpoint, however small the program.
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
}

/// The memory of the program at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident pages.
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
    spent: Duration,
    cost_per_page: f64,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    taken: Duration,
    cloning: Duration,
    memory: Memory,
}

impl Placement {
    /// A budget of `overhead`, a fraction of the run time. `exact`: every stop
    /// point gets a checkpoint.
    pub fn new(overhead: f64, exact: bool) -> Self {
        Placement {
            overhead,
            exact,
            spent: Duration::ZERO,
            cost_per_page: COST_PER_PAGE,
            last: None,
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

    /// Decides about a stop point. `memory` is only asked for where it matters.
    pub fn decide(&self, stop: Stop, memory: impl FnOnce() -> Memory) -> Decision {
        let Some(last) = self.last else { return Decision::Forced };
        if self.exact || stop.effect || stop.hot {
            return Decision::Forced;
        }
        let budget = stop.elapsed.mul_f64(self.overhead);
        let work = stop.elapsed.saturating_sub(last.taken);
        let affordable = |cost: Duration| self.spent + cost <= budget && cost <= work;
        // Programs mostly grow: what is too dear for the memory of last time is
        // too dear now, and most stop points end here.
        if !affordable(self.predict(last.memory.pages)) {
            return Decision::Join;
        }
        let now = memory();
        let faults = self.aftermath(last, now);
        if affordable(self.predict(now.pages) + faults) {
            Decision::Elective
        } else {
            Decision::Join
        }
    }

    /// A checkpoint was taken: what it cost, and what the one before turned out
    /// to have cost.
    pub fn taken(&mut self, elapsed: Duration, cloning: Duration, memory: Memory) {
        if let Some(last) = self.last {
            let aftermath = self.aftermath(last, memory);
            self.spent += aftermath;
            if last.memory.pages > 0 && !last.cloning.is_zero() {
                let per_page =
                    (last.cloning + aftermath).as_nanos() as f64 / last.memory.pages as f64;
                // The runs between two checkpoints differ: follow them slowly.
                self.cost_per_page = 0.5 * self.cost_per_page + 0.5 * per_page;
            }
        }
        self.spent += cloning;
        self.last = Some(Last { taken: elapsed, cloning, memory });
    }

    /// The program was resumed: nothing was paid, but it shares its memory again.
    pub fn resumed(&mut self, elapsed: Duration, memory: Memory) {
        self.last = Some(Last { taken: elapsed, cloning: Duration::ZERO, memory });
    }

    /// What a checkpoint is expected to cost with so many pages resident.
    fn predict(&self, pages: u64) -> Duration {
        LEAST.max(Duration::from_nanos((self.cost_per_page * pages as f64) as u64))
    }

    /// The cost of the faults since the last checkpoint that it caused: all but
    /// those by which the program grew, and at most one for each page it shared.
    fn aftermath(&self, last: Last, now: Memory) -> Duration {
        let grown = now.pages.saturating_sub(last.memory.pages);
        let faults = now.faults.saturating_sub(last.memory.faults).saturating_sub(grown);
        Duration::from_nanos((faults.min(last.memory.pages) as f64 * FAULT) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stop(milliseconds: u64) -> Stop {
        Stop { elapsed: Duration::from_millis(milliseconds), effect: false, hot: false }
    }

    const SMALL: Memory = Memory { pages: 1000, faults: 0 };

    fn begun() -> Placement {
        let mut placement = Placement::new(0.05, false);
        placement.taken(Duration::ZERO, Duration::from_micros(200), SMALL);
        placement
    }

    #[test]
    fn the_first_stop_point_gets_a_checkpoint() {
        assert_eq!(Placement::new(0.05, false).decide(stop(0), || SMALL), Decision::Forced);
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
        assert_eq!(begun().decide(stop(1000), || large), Decision::Elective);
    }

    #[derive(Clone, Copy, Debug)]
    struct Step {
        work: u64,
        effect: bool,
        hot: bool,
        pages: u64,
        faults: u64,
        cloning: u64,
    }

    fn step() -> impl Strategy<Value = Step> {
        (
            0u64..50_000,
            prop::bool::weighted(0.1),
            prop::bool::weighted(0.05),
            0u64..100_000,
            0u64..60_000,
            1u64..20_000,
        )
            .prop_map(|(work, effect, hot, pages, faults, cloning)| Step {
                work,
                effect,
                hot,
                pages,
                faults,
                cloning,
            })
    }

    proptest! {
        #[test]
        fn an_effect_or_a_hot_file_always_separates(
            steps in prop::collection::vec(step(), 1..200), overhead in 0.001f64..1.0
        ) {
            let mut placement = Placement::new(overhead, false);
            let (mut elapsed, mut faults) = (Duration::ZERO, 0);
            for step in steps {
                elapsed += Duration::from_micros(step.work);
                faults += step.faults;
                let memory = Memory { pages: step.pages, faults };
                let here = Stop { elapsed, effect: step.effect, hot: step.hot };
                let decision = placement.decide(here, || memory);
                prop_assert!(decision != Decision::Join || !step.effect && !step.hot);
                if decision != Decision::Join {
                    placement.taken(elapsed, Duration::from_micros(step.cloning), memory);
                }
            }
        }

        /// The electives never exceed the budget by more than what the last one
        /// cost beyond its prediction, which nobody can know before.
        #[test]
        fn the_total_cost_stays_within_the_budget(
            steps in prop::collection::vec(step(), 1..300), overhead in 0.001f64..1.0
        ) {
            let mut placement = Placement::new(overhead, false);
            placement.taken(Duration::ZERO, Duration::ZERO, Memory::default());
            let (mut elapsed, mut faults) = (Duration::ZERO, 0);
            let (mut spent, mut last_surprise) = (Duration::ZERO, Duration::ZERO);
            for step in steps {
                elapsed += Duration::from_micros(step.work);
                faults += step.faults;
                let memory = Memory { pages: step.pages, faults };
                let here = Stop { elapsed, effect: false, hot: false };
                if placement.decide(here, || memory) == Decision::Elective {
                    let predicted = placement.predict(memory.pages);
                    let before = placement.spent;
                    placement.taken(elapsed, Duration::from_micros(step.cloning), memory);
                    spent = placement.spent;
                    prop_assert!(spent >= before);
                    last_surprise = Duration::from_micros(step.cloning).saturating_sub(predicted);
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
            let mut placement = Placement::new(0.05, true);
            let mut elapsed = Duration::ZERO;
            for step in steps {
                elapsed += Duration::from_micros(step.work);
                let here = Stop { elapsed, effect: step.effect, hot: step.hot };
                prop_assert_eq!(placement.decide(here, || SMALL), Decision::Forced);
                placement.taken(elapsed, Duration::from_micros(step.cloning), SMALL);
            }
        }
    }
}
