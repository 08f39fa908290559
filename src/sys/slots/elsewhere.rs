//! Systems whose calling conventions or loader the hooks are not made for.

use super::call::Observer;
use super::found::{Found, Unsupported};

/// Declines.
///
/// # Errors
/// Always.
pub fn install(_: Box<dyn Observer>) -> Result<Found, Unsupported> {
    Err(Unsupported)
}

/// Nothing was installed.
pub fn remove() {}

/// Nothing is served.
pub fn serve_this_process() {}
