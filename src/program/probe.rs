//! What a copy-on-write fault costs here and now.
//!
//! After a checkpoint the program pays for each page it writes to first: the
//! kernel copies it. What that takes differs by a factor of five between
//! machines (a virtual one pays more), and on one from one minute to the next.
//! So a few pages are kept for nothing but being written to after a clone, with
//! a look at the clock at each.

use crate::sys::process::page_size;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// How many pages: few, as each checkpoint holds a copy of them.
const PAGES: usize = 9;

/// Pages to be written to. Atomic, so that no write is left out.
pub struct Probe {
    bytes: Vec<AtomicU8>,
    page: usize,
}

impl Default for Probe {
    fn default() -> Self {
        let (mut bytes, page) = (Vec::new(), page_size());
        bytes.resize_with(PAGES * page, AtomicU8::default);
        Probe { bytes, page }
    }
}

impl Probe {
    /// Writes to each page and returns what one took, in the middle. Means what it
    /// says only just after a clone.
    pub fn fault(&self) -> Duration {
        let mut times: Vec<Duration> = self.bytes.chunks(self.page).map(time_write).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }
}

fn time_write(page: &[AtomicU8]) -> Duration {
    let began = Instant::now();
    page[0].fetch_add(1, Ordering::Relaxed);
    began.elapsed()
}
