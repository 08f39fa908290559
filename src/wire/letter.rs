//! The letter: what the supervisor tells the checkpoint that it wakes.

use super::codec::Reader;

/// What the supervisor tells the checkpoint it wakes: why, and how often so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// How many resumes there have been in this session, this one included.
    pub count: u64,
    /// The paths that changed; as many as fit.
    pub changed: Vec<Vec<u8>>,
}

impl Letter {
    /// The letter as at most `limit` bytes; paths that do not fit are left out.
    pub fn encode(&self, limit: usize) -> Vec<u8> {
        let mut out = self.count.to_le_bytes().to_vec();
        for path in &self.changed {
            if out.len() + 4 + path.len() > limit {
                break;
            }
            out.extend((path.len() as u32).to_le_bytes());
            out.extend(path);
        }
        out
    }

    /// The letter that `bytes` stand for; what cannot be read is left out.
    pub fn decode(bytes: &[u8]) -> Letter {
        let mut input = Reader::new(bytes);
        let count = input.u64().unwrap_or(0);
        let mut changed = Vec::new();
        while let Some(path) = input.u32().and_then(|length| input.take(length as usize)) {
            changed.push(path.to_vec());
        }
        Letter { count, changed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..300)
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Letter::decode(&bytes);
        }

        #[test]
        fn a_letter_survives_and_keeps_to_its_limit(
            count in any::<u64>(), changed in prop::collection::vec(path(), 0..20), limit in 8usize..4000
        ) {
            let letter = Letter { count, changed };
            let bytes = letter.encode(limit);
            prop_assert!(bytes.len() <= limit);
            let read = Letter::decode(&bytes);
            prop_assert_eq!(read.count, letter.count);
            prop_assert_eq!(&read.changed[..], &letter.changed[..read.changed.len()]);
            if limit > 20 * 304 + 8 {
                prop_assert_eq!(read, letter);
            }
        }
    }
}
