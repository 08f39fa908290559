//! JSON output: events are objects of strings, numbers and lists, one line each; what Lua
//! has is put together from the same parts.

use std::fmt::Write;

/// An object under construction.
pub struct Object(String);

impl Object {
    /// An empty object.
    #[allow(clippy::new_without_default, reason = "an object without a field is of no use")]
    pub fn new() -> Self {
        Object("{".into())
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        quote(&mut self.0, key.as_bytes());
        self.0.push(':');
    }

    /// Adds a string, which may hold any bytes.
    pub fn string(mut self, key: &str, value: &[u8]) -> Self {
        self.key(key);
        quote(&mut self.0, value);
        self
    }

    /// Adds a number or a truth value.
    pub fn plain(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.key(key);
        let _ = write!(self.0, "{value}");
        self
    }

    /// Adds a list of strings.
    pub fn strings<'a>(mut self, key: &str, values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        self.key(key);
        self.0.push('[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            quote(&mut self.0, value);
        }
        self.0.push(']');
        self
    }

    /// The object as text, without a newline.
    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Appends a number: whole ones as they are, others with 14 digits at most, as `%.14g` of C.
pub fn number(out: &mut String, value: f64) {
    const DIGITS: i32 = 14;
    if value.fract() == 0.0 && value.abs() < 1e18 {
        let _ = write!(out, "{}", value as i64);
        return;
    }
    let scientific = format!("{value:.*e}", DIGITS as usize - 1);
    // Neither infinite nor no number has an exponent, nor a place in JSON.
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return out.push_str("null");
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let short = |digits: &str| digits.trim_end_matches('0').trim_end_matches('.').to_owned();
    if (-4..DIGITS).contains(&exponent) {
        let decimals = (DIGITS - 1 - exponent) as usize;
        let fixed = format!("{value:.decimals$}");
        out.push_str(&if decimals == 0 { fixed } else { short(&fixed) });
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{}e{sign}{:02}", short(mantissa), exponent.abs());
    }
}

/// Appends a JSON string. File names need not be UTF-8: a byte that is none is
/// written as the lone surrogate U+DC00 + byte, as Python's `surrogateescape` reads.
pub fn quote(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                control if control < ' ' || control == '\x7f' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(control));
                }
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\udc{byte:02x}");
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_as_c_writes_them() {
        let values =
            [0.0, -3.0, 0.25, 0.000012, -1.5e-7, 1234567.891234567, 99999999999999.9, 2e20];
        let texts = ["0", "-3", "0.25", "1.2e-05", "-1.5e-07", "1234567.8912346", "1e+14", "2e+20"];
        for (value, text) in values.into_iter().zip(texts) {
            let mut out = String::new();
            number(&mut out, value);
            assert_eq!(out, text);
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_what_it_was(value in any::<f64>()) {
            let mut out = String::new();
            number(&mut out, value);
            let read: f64 = out.parse().unwrap();
            prop_assert!((read - value).abs() <= value.abs() * 1e-13);
        }

        #[test]
        fn any_bytes_make_a_string(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut out = String::new();
            quote(&mut out, &bytes);
            let inner = out.strip_prefix('"').and_then(|out| out.strip_suffix('"')).unwrap();
            prop_assert!(!inner.chars().any(|character| character.is_ascii_control()));
            let quotes = inner.replace("\\\\", "").replace("\\\"", "");
            prop_assert!(!quotes.contains('"'));
        }
    }

    #[test]
    fn every_byte_has_its_place() {
        let object = Object::new()
            .string("path", b"/a \"b\"\\\n\xff\xc3\xa9\x01")
            .plain("count", 3)
            .strings("list", [&b"x"[..], b""]);
        assert_eq!(
            object.finish(),
            "{\"path\":\"/a \\\"b\\\"\\\\\\n\\udcffé\\u0001\",\"count\":3,\
             \"list\":[\"x\",\"\"]}"
        );
    }
}
