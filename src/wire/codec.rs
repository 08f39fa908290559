//! Reading and writing the bytes of records, letters and requests.

/// Appends a number that may be missing.
pub fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    out.push(u8::from(value.is_some()));
    out.extend(value.iter().flat_map(|value| value.to_le_bytes()));
}

/// Reads integers and bytes off the front of a slice.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// So many bytes.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// As many bytes as the number before them says.
    pub fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.u64()?).ok()?;
        self.take(length).map(<[u8]>::to_vec)
    }

    /// As many of these as the number before them says.
    pub fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        (0..self.u64()?).map(|_| self.bytes()).collect()
    }

    /// What [`put_option`] wrote.
    pub fn option(&mut self) -> Option<Option<u64>> {
        Some(if self.u8()? != 0 { Some(self.u64()?) } else { None })
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that has not been read.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }
}
