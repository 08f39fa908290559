//! Questions and answers as bytes.

use super::codec::{Reader, Wire, wire};
use crate::files::answer::{Answer, Names, Question};
use crate::sys::status::{Fields, Status};

wire!(enum Question {
    0 => Status { follow, fields },
    1 => Access { mode, effective },
    2 => Link,
    3 => Resolve,
    4 => Names { most },
});
wire!(enum Answer {
    0 => Failed(error),
    1 => Status(status),
    2 => Allowed,
    3 => Path(digest),
    4 => Names(names),
});
wire!(struct Names { count, digest });
wire!(struct Status { mode, size, modified, changed, owner, links, identity });

impl Wire for Fields {
    fn put(&self, out: &mut Vec<u8>) {
        u32::from(self.0).put(out);
    }

    fn take(input: &mut Reader) -> Option<Self> {
        u32::take(input)?.try_into().ok().map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use crate::files::answer::tests::{answer, question};
    use crate::wire::codec::{Wire, decode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_asked_and_told_survives_the_wire(
            told in prop::collection::vec((question(), answer()), 0..5)
        ) {
            let mut bytes = Vec::new();
            told.put(&mut bytes);
            prop_assert_eq!(decode(&bytes), Some(told));
        }
    }
}
