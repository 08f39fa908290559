//! The budget: what the program's run has cost so far, and may cost.
//!
//! Here the clocks, the counts and the price of a page fault are read by which
//! [`Placement`], which is pure, decides.

use super::park::MOST_COPIED;
use super::placement::{Decision, Memory, Placement, Stop};
use super::probe::Probe;
use crate::files::Stamp;
use crate::sys::copies;
use crate::sys::process::{own_faults, page_size};
use crate::sys::procfs::own_pages;
use std::time::{Duration, Instant, SystemTime};

/// A file saved this shortly before it is opened is where somebody is at work.
const RECENT: Duration = Duration::from_secs(120);

/// How many files count as hot for that reason alone: a fresh checkout makes all
/// of them recent, which tells nothing.
const MOST_RECENT: u32 = 8;

/// What the run has cost.
pub struct Budget {
    placement: Placement,
    probe: Probe,
    /// When the program would have begun had it never been parked.
    began: Instant,
    /// Processor time used by the processes it was before.
    used: Duration,
    /// Files that were hot only for being recent.
    recent: u32,
}

/// A moment of the run, at which a checkpoint is about to be taken.
#[derive(Clone, Copy)]
pub struct Moment {
    /// When the taking began.
    begins: Instant,
    /// How long the program has run, time parked left out.
    pub elapsed: Duration,
    /// Processor time used so far.
    used: Duration,
}

impl Budget {
    /// Of a run that begins now. `used`: processor time to be counted from the start.
    pub fn new(overhead: f64, exact: bool, used: Duration) -> Budget {
        Budget {
            placement: Placement::new(overhead, exact, copied_ahead()),
            probe: Probe::default(),
            began: Instant::now(),
            used,
            recent: 0,
        }
    }

    /// Other options.
    pub fn configure(&mut self, overhead: f64, exact: bool) {
        self.placement.configure(overhead, exact);
    }

    /// The processor time the program has used, in all the processes it was.
    pub fn processor_time(&self) -> Duration {
        self.used + processor_time()
    }

    /// Whether a file whose stamp is this was saved only just now.
    pub fn is_recent(&mut self, stamp: Stamp) -> bool {
        let recent = self.recent < MOST_RECENT
            && SystemTime::now()
                .checked_sub(RECENT)
                .and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok())
                .is_some_and(|since| stamp.is_newer_than(since.as_nanos() as i64));
        self.recent += u32::from(recent);
        recent
    }

    /// What to do at a stop point. `apart`: how long after the last checkpoint one is kept
    /// that is not forced.
    pub fn decide(&mut self, effect: bool, hot: bool, apart: Duration) -> Decision {
        let stop = Stop { elapsed: self.began.elapsed(), effect, hot, apart };
        self.placement.decide(stop, memory)
    }

    /// Whether a checkpoint that is taken now copies its memory ahead. What is forced may
    /// come often, and each would be copied whole.
    pub fn copies_ahead(&self, elective: bool) -> bool {
        elective && self.placement.copies_ahead(memory().pages)
    }

    /// A checkpoint is about to be taken, of which the taking began then.
    pub fn moment(&self, begins: Instant) -> Moment {
        Moment { begins, elapsed: self.began.elapsed(), used: self.processor_time() }
    }

    /// It was taken. Returns the memory of the program, and the number of pages that the
    /// checkpoint may come to hold: 0 when it is to be kept whatever it holds.
    pub fn taken(&mut self, moment: &Moment, ahead: bool) -> (Memory, u64) {
        // Where every stop point gets a checkpoint, nobody asks for prices.
        let is_exact = self.placement.is_exact();
        let fault = (!is_exact).then(|| self.probe.fault());
        let memory = memory();
        self.placement.taken(moment.elapsed, moment.begins.elapsed(), fault, memory, ahead);
        (memory, if is_exact { 0 } else { memory.pages })
    }

    /// This process is a clone that goes on from that moment. Returns its memory.
    pub fn resumed(&mut self, moment: &Moment) -> Memory {
        self.began = Instant::now() - moment.elapsed;
        self.used = moment.used;
        let memory = memory();
        self.placement.resumed(moment.elapsed, memory);
        memory
    }
}

/// How many pages a clone can copy without the program's having to wait for it.
fn copied_ahead() -> u64 {
    let is_parallel = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    if is_parallel && copies::are_possible() { (MOST_COPIED / page_size()) as u64 } else { 0 }
}

/// The processor time of this process, which begins anew in each clone.
pub fn processor_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}

/// The memory of this process.
fn memory() -> Memory {
    Memory { pages: own_pages(), faults: own_faults() }
}
