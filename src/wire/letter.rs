//! The letter: what the supervisor tells the checkpoint that it wakes.

use super::codec::{self, LIST_HEAD, Wire, put_list, wire};

/// What the supervisor tells the checkpoint it wakes: why, and how often so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// How many resumes there have been in this session, this one included.
    pub count: u64,
    /// The paths that changed; as many as fit.
    pub changed: Vec<Vec<u8>>,
}

wire!(struct Letter { count, changed });

impl Letter {
    /// The letter as at most `limit` bytes, which is some at least; paths that do not fit
    /// are left out.
    pub fn encode(&self, limit: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.count.put(&mut out);
        let mut length = out.len() + LIST_HEAD;
        let fitting = self.changed.iter().take_while(|path| {
            length += LIST_HEAD + path.len();
            length <= limit
        });
        put_list(&self.changed[..fitting.count()], &mut out);
        out
    }

    /// The letter that `bytes` stand for; an empty one when they stand for none.
    pub fn decode(bytes: &[u8]) -> Letter {
        codec::decode(bytes).unwrap_or_default()
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
            count in any::<u64>(), changed in prop::collection::vec(path(), 0..20), limit in 12usize..9000
        ) {
            let letter = Letter { count, changed };
            let bytes = letter.encode(limit);
            prop_assert!(bytes.len() <= limit);
            let read = Letter::decode(&bytes);
            prop_assert_eq!(read.count, letter.count);
            prop_assert_eq!(&read.changed[..], &letter.changed[..read.changed.len()]);
            if limit > 20 * 304 + 12 {
                prop_assert_eq!(read, letter);
            }
        }
    }
}
