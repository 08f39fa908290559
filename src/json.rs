//! JSON output: objects of strings, numbers and lists, one line each.

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

/// Appends a JSON string. File names need not be UTF-8: a byte that is none is
/// written as the lone surrogate U+DC00 + byte, as Python's `surrogateescape` reads.
fn quote(out: &mut String, bytes: &[u8]) {
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
