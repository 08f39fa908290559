//! The board: shared memory through which the program and its supervisor talk.
//!
//! Theory of operation. The program writes *records* (a checkpoint was taken, a
//! file is a dependency, …) into a ring; the supervisor takes them out. At most
//! one process writes at any time, the running program: its checkpoints are
//! parked and a resumed one only runs after its predecessor is gone. A record
//! becomes visible when the tail moves past it, so a writer killed in the middle
//! leaves nothing behind. The other way goes one letter at a time: the
//! supervisor fills the mail before it wakes a checkpoint. Some words hold pids
//! that the kernel itself writes while it clones, so that no process is ever
//! unknown to the supervisor.
//!
//! The ring costs no system call while the supervisor is awake; when it sleeps,
//! the writer rings the doorbell, a signal that nobody can close.

use crate::sys::shared::shared_memory;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Words in the ring: 512 KiB, some four thousand ordinary records.
const RING_WORDS: usize = 1 << 16;
/// Words in the mail: changed paths beyond 64 KiB are left out of the letter.
const MAIL_WORDS: usize = 1 << 13;
/// Slots for the paths announced so far; beyond, a `watch` line may repeat.
const ANNOUNCED: usize = 1 << 15;
/// Slots for the files edited in this session; beyond, one is not known as hot.
const HOT: usize = 1 << 10;

/// The longest letter, in bytes.
pub const MAIL_BYTES: usize = (MAIL_WORDS - 1) * 8;

shared_memory! {
    /// The memory shared by one supervisor and everything it has cloned.
    pub struct Board {
        /// The process that the shell started, by which people call the session.
        pub session: AtomicI32,
        /// The clone that the running program made last, as the kernel reports it.
        pub newest_clone: AtomicI32,
        /// The program resumed last; 0 while a woken checkpoint is still cloning it.
        pub program: AtomicI32,
        /// The spare that a checkpoint made last; 0 while it is at it, -1 when it could not
        /// or the spare was lost.
        pub spare: AtomicI32,
        /// The checkpoint that is wanted to have a spare; 0 when none is.
        pub spare_of: AtomicI32,
        /// The keeper of the program's memory; 0 when it has none.
        pub keeper: AtomicI32,
        /// Which parked process the wake signal is meant for, and its order, in one
        /// word (see `wire::order::summons`); 0 when none is.
        pub wake: AtomicU64,
        /// How many microseconds of the run must have passed since the last checkpoint for
        /// one to be kept that nothing but its price speaks for.
        pub apart: AtomicU64,
        sleeping: AtomicU32,
        head: AtomicU64,
        tail: AtomicU64,
        ring: [AtomicU64; RING_WORDS],
        mail: [AtomicU64; MAIL_WORDS],
        watched: AtomicU32,
        announced: [AtomicU64; ANNOUNCED],
        hot: [AtomicU64; HOT],
    }
}

/// What became of a record that was offered to the ring.
#[derive(Debug, PartialEq, Eq)]
pub enum Push {
    /// In the ring; the supervisor is awake and will see it.
    Done,
    /// In the ring; the supervisor sleeps and wants its doorbell rung.
    Ring,
    /// No room until the supervisor has taken records out.
    Full,
}

impl Board {
    /// Appends a record. Only the running program may call this.
    pub fn push(&self, record: &[u8]) -> Push {
        let words = 1 + record.len().div_ceil(8);
        assert!(words < RING_WORDS, "a record is bounded by a path's length");
        let tail = self.tail.load(Ordering::Relaxed);
        let used = (tail - self.head.load(Ordering::Acquire)) as usize;
        if used + words > RING_WORDS {
            return Push::Full;
        }
        let at = |offset: usize| &self.ring[(tail as usize + offset) % RING_WORDS];
        at(0).store(record.len() as u64, Ordering::Relaxed);
        for (offset, chunk) in record.chunks(8).enumerate() {
            at(1 + offset).store(word(chunk), Ordering::Relaxed);
        }
        // Sequentially consistent with `sleep`: either the supervisor sees the
        // record before it sleeps, or we see that it sleeps.
        self.tail.store(tail + words as u64, Ordering::SeqCst);
        if self.sleeping.swap(0, Ordering::SeqCst) == 1 { Push::Ring } else { Push::Done }
    }

    /// The oldest record, which stays. Only the supervisor may call this.
    pub fn peek(&self) -> Option<Vec<u8>> {
        let head = self.head.load(Ordering::Relaxed);
        if head == self.tail.load(Ordering::SeqCst) {
            return None;
        }
        let at = |offset: usize| {
            self.ring[(head as usize + offset) % RING_WORDS].load(Ordering::Relaxed)
        };
        // The program's memory may be damaged, and this with it.
        let length = (at(0) as usize).min((RING_WORDS - 1) * 8);
        let words = length.div_ceil(8);
        let mut record = Vec::with_capacity(words * 8);
        for offset in 0..words {
            record.extend_from_slice(&at(1 + offset).to_le_bytes());
        }
        record.truncate(length);
        Some(record)
    }

    /// Takes the oldest record out, which has this length. Only the supervisor may
    /// call this.
    pub fn skip(&self, length: usize) {
        let head = self.head.load(Ordering::Relaxed);
        self.head.store(head + 1 + length.div_ceil(8) as u64, Ordering::Release);
    }

    /// Whether every record has been taken out.
    pub fn is_drained(&self) -> bool {
        self.head.load(Ordering::Acquire) == self.tail.load(Ordering::SeqCst)
    }

    /// Announces that the supervisor is about to sleep. Returns false when a
    /// record has come meanwhile: then it must not.
    pub fn sleep(&self) -> bool {
        self.sleeping.store(1, Ordering::SeqCst);
        if self.is_drained() {
            return true;
        }
        self.sleeping.store(0, Ordering::SeqCst);
        false
    }

    /// Says that the supervisor is awake.
    pub fn awake(&self) {
        self.sleeping.store(0, Ordering::SeqCst);
    }

    /// Leaves a letter for the checkpoint that is about to be woken.
    ///
    /// # Panics
    /// When the letter is longer than [`MAIL_BYTES`].
    pub fn post(&self, letter: &[u8]) {
        assert!(letter.len() <= MAIL_BYTES, "the letter was cut to size");
        self.mail[0].store(letter.len() as u64, Ordering::Relaxed);
        for (slot, chunk) in self.mail[1..].iter().zip(letter.chunks(8)) {
            slot.store(word(chunk), Ordering::Relaxed);
        }
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// Reads the letter.
    pub fn letter(&self) -> Vec<u8> {
        std::sync::atomic::fence(Ordering::SeqCst);
        let length = (self.mail[0].load(Ordering::Relaxed) as usize).min(MAIL_BYTES);
        let mut letter: Vec<u8> = self.mail[1..=length.div_ceil(8)]
            .iter()
            .flat_map(|slot| slot.load(Ordering::Relaxed).to_le_bytes())
            .collect();
        letter.truncate(length);
        letter
    }

    /// Notes that the user has been told of `what`, a path or a warning; false when that
    /// was so already.
    ///
    /// Lives here, not in the program, because a resume forgets what the
    /// program knew, and nobody wants the same lines after every save.
    pub fn announce(&self, what: &[u8]) -> bool {
        insert(&self.announced, what)
    }

    /// One path more is watched of which the user has not been told before; returns how many that
    /// were.
    pub fn count_watched(&self) -> u32 {
        self.watched.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many that were.
    pub fn watched(&self) -> u32 {
        self.watched.load(Ordering::Relaxed)
    }

    /// Notes that the user has edited `path` in this session.
    pub fn heat(&self, path: &[u8]) {
        insert(&self.hot, path);
    }

    /// Whether the user has edited `path` in this session.
    pub fn is_hot(&self, path: &[u8]) -> bool {
        probe(&self.hot, path).any(|(slot, digest)| slot.load(Ordering::Relaxed) == digest)
    }
}

/// The slots of a set where a path may stand, and what stands there for it.
fn probe<'a>(set: &'a [AtomicU64], path: &[u8]) -> impl Iterator<Item = (&'a AtomicU64, u64)> {
    let digest = crate::files::digest(path).max(1);
    (0..32).map(move |step| (&set[(digest as usize).wrapping_add(step) % set.len()], digest))
}

/// Adds a path to a set; false when it was there already.
fn insert(set: &[AtomicU64], path: &[u8]) -> bool {
    for (slot, digest) in probe(set, path) {
        match slot.compare_exchange(0, digest, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(found) if found == digest => return false,
            Err(_) => {}
        }
    }
    true
}

fn word(chunk: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..chunk.len()].copy_from_slice(chunk);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::shared::Shared;
    use proptest::prelude::*;

    fn pop(board: &Board) -> Option<Vec<u8>> {
        let record = board.peek()?;
        board.skip(record.len());
        Some(record)
    }

    proptest! {
        // A board is a mapping that stays until the process ends.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn records_come_out_whole_and_in_order(
            batches in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..60), 1..6)
        ) {
            let (board, _): (Shared<Board>, _) = Shared::new().unwrap();
            for batch in batches {
                let mut accepted = Vec::new();
                for record in batch {
                    if board.push(&record) != Push::Full {
                        accepted.push(record);
                    }
                }
                let taken: Vec<_> = std::iter::from_fn(|| pop(&board)).collect();
                prop_assert_eq!(taken, accepted);
                prop_assert!(board.is_drained());
            }
        }

        #[test]
        fn letters_arrive_as_posted(letter in prop::collection::vec(any::<u8>(), 0..9000)) {
            let (board, _): (Shared<Board>, _) = Shared::new().unwrap();
            board.post(&letter);
            prop_assert_eq!(board.letter(), letter);
        }
    }

    #[test]
    fn a_full_ring_takes_nothing_until_it_is_read() {
        let (board, _): (Shared<Board>, _) = Shared::new().unwrap();
        let record = [7u8; 4096];
        let mut pushed = 0;
        while board.push(&record) != Push::Full {
            pushed += 1;
        }
        assert_eq!(pushed, RING_WORDS / 513);
        assert_eq!(pop(&board).as_deref(), Some(&record[..]));
        assert_eq!(board.push(&record), Push::Done);
    }

    #[test]
    fn the_doorbell_is_asked_for_once_per_sleep() {
        let (board, _): (Shared<Board>, _) = Shared::new().unwrap();
        assert_eq!(board.push(b"a"), Push::Done);
        assert!(!board.sleep(), "a record is waiting");
        pop(&board);
        assert!(board.sleep());
        assert_eq!(board.push(b"b"), Push::Ring);
        assert_eq!(board.push(b"c"), Push::Done);
    }

    #[test]
    fn a_path_is_announced_once() {
        let (board, _): (Shared<Board>, _) = Shared::new().unwrap();
        assert!(board.announce(b"/a"));
        assert!(board.announce(b"/b"));
        assert!(!board.announce(b"/a"));
        assert_eq!((board.count_watched(), board.count_watched(), board.watched()), (1, 2, 2));
        assert!(!board.is_hot(b"/a"));
        board.heat(b"/a");
        assert!(board.is_hot(b"/a") && !board.is_hot(b"/b"));
    }
}
