//! The bytes of records, letters, requests and replies: one way for all of them.
//!
//! Numbers are little-endian. What varies in length has its length before it, an option
//! whether it is there, an enum its tag. The fields of a structure follow each other;
//! [`wire`] writes the code for that.
//!
//! Reading trusts nothing, as a program can scribble over any memory it has and anybody of
//! the user's may write to the socket. A length is never believed: memory is asked for only
//! as elements are read, and each takes at least a byte of what there is.

/// What can be sent.
pub trait Wire: Sized {
    /// Appends the bytes.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads what [`Wire::put`] wrote; `None` when it is not that.
    fn take(input: &mut Reader) -> Option<Self>;

    /// Appends one after the other.
    fn put_each(list: &[Self], out: &mut Vec<u8>) {
        for item in list {
            item.put(out);
        }
    }

    /// Reads so many. Overridden where there is a faster way.
    fn take_each(count: usize, input: &mut Reader) -> Option<Vec<Self>> {
        // As `collect` does not know how many will be there, it does not set aside memory.
        (0..count).map(|_| Self::take(input)).collect()
    }
}

/// The value that `bytes` stand for, all of them, or `None` when they stand for none.
pub fn decode<T: Wire>(bytes: &[u8]) -> Option<T> {
    let mut input = Reader(bytes);
    let value = T::take(&mut input)?;
    input.0.is_empty().then_some(value)
}

/// Reads off the front of a slice.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Appends a list, for who has it as a slice.
///
/// # Panics
/// When it has 2³² elements; a path, a warning and a status are far from that.
pub fn put_list<T: Wire>(list: &[T], out: &mut Vec<u8>) {
    u32::try_from(list.len()).expect("lists are bounded").put(out);
    T::put_each(list, out);
}

/// How many bytes [`put_list`] puts before the elements.
pub const LIST_HEAD: usize = size_of::<u32>();

macro_rules! numbers {
    ($($type:ty),+) => {
        $(impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }

            fn take(input: &mut Reader) -> Option<Self> {
                input.bytes(size_of::<Self>())?.try_into().ok().map(Self::from_le_bytes)
            }
        })+
    };
}
numbers!(i32, i64, u32, u64);

impl Wire for u8 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn take(input: &mut Reader) -> Option<Self> {
        input.bytes(1).map(|bytes| bytes[0])
    }

    fn put_each(list: &[Self], out: &mut Vec<u8>) {
        out.extend(list);
    }

    fn take_each(count: usize, input: &mut Reader) -> Option<Vec<Self>> {
        input.bytes(count).map(<[u8]>::to_vec)
    }
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }

    fn take(input: &mut Reader) -> Option<Self> {
        u8::take(input).map(|byte| byte != 0)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(input: &mut Reader) -> Option<Self> {
        Some(if bool::take(input)? { Some(T::take(input)?) } else { None })
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_list(self, out);
    }

    fn take(input: &mut Reader) -> Option<Self> {
        let count = u32::take(input)?;
        T::take_each(count.try_into().ok()?, input)
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_list(self.as_bytes(), out);
    }

    fn take(input: &mut Reader) -> Option<Self> {
        Vec::take(input).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(input: &mut Reader) -> Option<Self> {
        Some((A::take(input)?, B::take(input)?))
    }
}

/// Sends a structure field by field, or an enum by the tags given here. Whoever adds a
/// field or a variant and forgets it here is told by the compiler.
macro_rules! wire {
    (struct $type:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::wire::codec::Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let $type { $($field),+ } = self;
                $($crate::wire::codec::Wire::put($field, out);)+
            }

            fn take(input: &mut $crate::wire::codec::Reader) -> Option<Self> {
                Some($type { $($field: $crate::wire::codec::Wire::take(input)?),+ })
            }
        }
    };
    (enum $type:ident {
        $($tag:tt => $variant:ident $(($inner:ident))? $({ $($field:ident),+ $(,)? })?),+ $(,)?
    }) => {
        impl $crate::wire::codec::Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $($type::$variant $(($inner))? $({ $($field),+ })? => {
                        out.push($tag);
                        $($crate::wire::codec::Wire::put($inner, out);)?
                        $($($crate::wire::codec::Wire::put($field, out);)+)?
                    })+
                }
            }

            fn take(input: &mut $crate::wire::codec::Reader) -> Option<Self> {
                Some(match <u8 as $crate::wire::codec::Wire>::take(input)? {
                    $($tag => {
                        $(let $inner = $crate::wire::codec::Wire::take(input)?;)?
                        $($(let $field = $crate::wire::codec::Wire::take(input)?;)+)?
                        $type::$variant $(($inner))? $({ $($field),+ })?
                    })+
                    _ => return None,
                })
            }
        }
    };
}
pub(super) use wire;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Inner {
        bytes: Vec<u8>,
        text: String,
        numbers: (i64, u32),
    }
    wire!(struct Inner { bytes, text, numbers });

    #[derive(Clone, Debug, PartialEq)]
    enum Outer {
        Nothing,
        One(Option<Inner>),
        Many { list: Vec<Inner>, last: bool },
    }
    wire!(enum Outer { 0 => Nothing, 1 => One(inner), 9 => Many { list, last } });

    fn inner() -> impl Strategy<Value = Inner> {
        (prop::collection::vec(any::<u8>(), 0..40), ".*", any::<(i64, u32)>())
            .prop_map(|(bytes, text, numbers)| Inner { bytes, text, numbers })
    }

    fn outer() -> impl Strategy<Value = Outer> {
        prop_oneof![
            Just(Outer::Nothing),
            prop::option::of(inner()).prop_map(Outer::One),
            (prop::collection::vec(inner(), 0..5), any::<bool>())
                .prop_map(|(list, last)| Outer::Many { list, last }),
        ]
    }

    fn encode(value: &impl Wire) -> Vec<u8> {
        let mut out = Vec::new();
        value.put(&mut out);
        out
    }

    proptest! {
        #[test]
        fn a_value_survives(value in outer()) {
            prop_assert_eq!(decode(&encode(&value)), Some(value));
        }

        #[test]
        fn less_or_more_bytes_than_were_sent_are_nothing(
            value in outer(), cut in any::<prop::sample::Index>(), more in any::<u8>()
        ) {
            let mut bytes = encode(&value);
            prop_assert_eq!(decode::<Outer>(&bytes[..cut.index(bytes.len())]), None);
            bytes.push(more);
            prop_assert_eq!(decode::<Outer>(&bytes), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Outer>(&bytes);
            let framed: Vec<u8> = [9].into_iter().chain(bytes).collect();
            let _ = decode::<Outer>(&framed);
        }

        #[test]
        fn a_length_is_not_believed(
            count in 1000u32.., bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let claimed = [&count.to_le_bytes()[..], &bytes].concat();
            prop_assert_eq!(decode::<Vec<u8>>(&claimed), None);
            prop_assert_eq!(decode::<String>(&claimed), None);
            prop_assert_eq!(decode::<Vec<Inner>>(&claimed), None);
            prop_assert_eq!(decode::<Vec<Vec<u64>>>(&claimed), None);
        }
    }
}
