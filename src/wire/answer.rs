//! Questions and answers as bytes.

// Nobody tells of them yet.
#![allow(dead_code)]

use super::codec::Reader;
use crate::files::answer::{Answer, Names, Question};
use crate::sys::status::{Fields, Status};

/// Appends a question and the answer to it.
pub fn encode(question: &Question, answer: &Answer, out: &mut Vec<u8>) {
    match *question {
        Question::Status { follow, fields } => {
            out.extend([0, u8::from(follow)]);
            out.extend(u32::from(fields.0).to_le_bytes());
        }
        Question::Access { mode, effective } => out.extend([1, mode, u8::from(effective)]),
        Question::Link => out.push(2),
        Question::Resolve => out.push(3),
        Question::Names { most } => {
            out.push(4);
            out.extend(most.to_le_bytes());
        }
    }
    match *answer {
        Answer::Failed(error) => {
            out.push(0);
            out.extend(error.to_le_bytes());
        }
        Answer::Status(Status { mode, size, modified, changed, owner, links, identity }) => {
            out.push(1);
            for word in [mode, owner.0, owner.1] {
                out.extend(word.to_le_bytes());
            }
            for word in [size, modified as u64, changed as u64, links, identity.0, identity.1] {
                out.extend(word.to_le_bytes());
            }
        }
        Answer::Allowed => out.push(2),
        Answer::Path(digest) => {
            out.push(3);
            out.extend(digest.to_le_bytes());
        }
        Answer::Names(Names { count, digest }) => {
            out.push(4);
            out.extend(count.to_le_bytes());
            out.extend(digest.to_le_bytes());
        }
    }
}

/// What [`encode`] wrote; `None` when it is something else.
pub fn decode(input: &mut Reader) -> Option<(Question, Answer)> {
    let question = match input.u8()? {
        0 => {
            let follow = input.u8()? != 0;
            Question::Status { follow, fields: Fields(u16::try_from(input.u32()?).ok()?) }
        }
        1 => Question::Access { mode: input.u8()?, effective: input.u8()? != 0 },
        2 => Question::Link,
        3 => Question::Resolve,
        4 => Question::Names { most: input.u64()? },
        _ => return None,
    };
    let answer = match input.u8()? {
        0 => Answer::Failed(input.u32()? as i32),
        1 => {
            let (mode, owner) = (input.u32()?, (input.u32()?, input.u32()?));
            Answer::Status(Status {
                mode,
                size: input.u64()?,
                modified: input.u64()? as i64,
                changed: input.u64()? as i64,
                owner,
                links: input.u64()?,
                identity: (input.u64()?, input.u64()?),
            })
        }
        2 => Answer::Allowed,
        3 => Answer::Path(input.u64()?),
        4 => Answer::Names(Names { count: input.u64()?, digest: input.u64()? }),
        _ => return None,
    };
    Some((question, answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::answer::tests::{answer, question};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_asked_and_told_survives_the_wire(
            told in prop::collection::vec((question(), answer()), 0..5)
        ) {
            let mut bytes = Vec::new();
            told.iter().for_each(|(question, answer)| encode(question, answer, &mut bytes));
            let mut input = Reader::new(&bytes);
            for each in told {
                prop_assert_eq!(decode(&mut input), Some(each));
            }
            prop_assert!(input.is_empty());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&mut Reader::new(&bytes));
        }
    }
}
