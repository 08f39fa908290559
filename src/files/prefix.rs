//! The beginnings of a file: what it had up to given offsets, as digests.

use super::stamp::Stamp;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

/// How often a file that is being saved while it is read is read again.
const ATTEMPTS: u32 = 3;

/// What a file was like while it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// Before it was read, and after that.
    pub stamp: Stamp,
    /// For each offset, a digest of all bytes before it, and the line of the first byte
    /// from there on that is no space, counted from 1. `None`: the file is shorter.
    pub found: Vec<Option<Prefix>>,
    /// A digest of all of it, as `content_digest` gives it.
    pub content: u64,
}

/// The beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Equal bytes, equal digest.
    pub digest: u64,
    /// Where the rest begins.
    pub line: u32,
}

/// Reads the regular file at `path`. The offsets must be in ascending order. `None` when
/// it cannot be read, or changes meanwhile.
pub fn prefixes(path: &[u8], offsets: &[u64]) -> Option<Prefixes> {
    (0..ATTEMPTS).find_map(|_| {
        let stamp = Stamp::of_file(path);
        let path = OsStr::from_bytes(path);
        // Ask before opening, as opening a FIFO would wait for its other end.
        if !std::fs::metadata(path).ok()?.is_file() {
            return None;
        }
        let mut reading = Reading::new(offsets);
        let mut file = File::open(path).ok()?;
        // Little, as the program may have a small stack.
        let mut buffer = [0; 1 << 12];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => reading.add(&buffer[..length]),
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                Err(_) => return None,
            }
        }
        let is_same = Stamp::of_file(path.as_bytes()) == stamp;
        is_same.then(|| {
            let (found, content) = reading.finish();
            Prefixes { stamp, found, content }
        })
    })
}

/// A file that is being read.
struct Reading<'a> {
    offsets: &'a [u64],
    found: Vec<Option<Prefix>>,
    /// The last of those found whose line is still looked for.
    open: usize,
    hasher: DefaultHasher,
    position: u64,
    line: u32,
}

impl Reading<'_> {
    fn new(offsets: &[u64]) -> Reading<'_> {
        let (hasher, found) = (DefaultHasher::new(), Vec::with_capacity(offsets.len()));
        let mut reading = Reading { offsets, found, open: 0, hasher, position: 0, line: 1 };
        reading.mark();
        reading
    }

    /// Takes note of the offsets that are reached.
    fn mark(&mut self) {
        while self.offsets.get(self.found.len()) == Some(&self.position) {
            self.found.push(Some(Prefix { digest: self.hasher.finish(), line: self.line }));
        }
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let wanted = self.offsets.get(self.found.len());
            let upto = wanted.map_or(bytes.len(), |offset| {
                usize::try_from(offset - self.position).map_or(bytes.len(), |n| n.min(bytes.len()))
            });
            let (now, later) = bytes.split_at(upto);
            self.hasher.write(now);
            self.count_lines(now);
            self.position += upto as u64;
            self.mark();
            bytes = later;
        }
    }

    fn count_lines(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if !byte.is_ascii_whitespace() {
                self.open = self.found.len();
            } else if *byte == b'\n' {
                self.line += 1;
                let line = self.line;
                for prefix in self.found[self.open..].iter_mut().flatten() {
                    prefix.line = line;
                }
            }
        }
    }

    fn finish(mut self) -> (Vec<Option<Prefix>>, u64) {
        self.found.resize(self.offsets.len(), None);
        (self.found, self.hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::super::stamp::content_digest;
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8], offsets: &[u64], chunk: usize) -> (Vec<Option<Prefix>>, u64) {
        let mut reading = Reading::new(offsets);
        text.chunks(chunk.max(1)).for_each(|bytes| reading.add(bytes));
        reading.finish()
    }

    proptest! {
        #[test]
        fn two_texts_have_the_prefixes_in_common_that_they_begin_with(
            one in "[ab\n ]{0,40}", other in "[ab\n ]{0,40}", shared in "[ab\n ]{0,40}",
            mut offsets in prop::collection::vec(0u64..90, 0..8), chunks in (1usize..9, 1usize..9)
        ) {
            offsets.sort_unstable();
            let (one, other) = (shared.clone() + &one, shared + &other);
            let (first, _) = read(one.as_bytes(), &offsets, chunks.0);
            let (second, _) = read(other.as_bytes(), &offsets, chunks.1);
            for (at, offset) in offsets.iter().enumerate() {
                let offset = *offset as usize;
                let (head, tail) = (one.get(..offset), one.get(offset..));
                prop_assert_eq!(first[at].is_some(), head.is_some());
                let is_same = head.is_some() && head == other.get(..offset);
                let digests = first[at].zip(second[at]);
                prop_assert_eq!(digests.is_some_and(|(one, other)| one.digest == other.digest), is_same);
                if let (Some(head), Some(tail), Some(found)) = (head, tail, first[at]) {
                    let blank = tail.len() - tail.trim_start_matches(['\n', ' ']).len();
                    let before = [head, &tail[..blank]].concat();
                    prop_assert_eq!(found.line as usize, 1 + before.matches('\n').count());
                }
            }
        }
    }

    #[test]
    fn a_file_is_read_as_the_content_digest_reads_it() {
        let path = std::env::temp_dir().join(format!("forkmon-prefix-{}", std::process::id()));
        let text = vec![b'x'; 10_000];
        std::fs::write(&path, &text).unwrap();
        let bytes = path.as_os_str().as_bytes();
        let found = prefixes(bytes, &[0, 5000, 10_000, 10_001]).unwrap();
        assert_eq!(Some(found.content), content_digest(bytes));
        assert_eq!(found.stamp, Stamp::of_file(bytes));
        assert_eq!(found.found[2].unwrap().digest, found.content);
        assert!(found.found[1].is_some() && found.found[3].is_none());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(prefixes(bytes, &[0]), None);
        assert_eq!(prefixes(b"/", &[0]), None);
    }
}
