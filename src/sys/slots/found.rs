//! What may come of putting the hooks into the slots.

/// What came of a look at the loaded objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Slots that lead to a hook now and did not before.
    pub hooked: usize,
    /// Slots that could not be written to.
    pub refused: usize,
}

/// What C code asks cannot be seen here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;

impl std::fmt::Display for Unsupported {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str(
            "what C code opens and asks for is seen on x86-64 and aarch64 with glibc only; \
             what Lua does is seen as always",
        )
    }
}
