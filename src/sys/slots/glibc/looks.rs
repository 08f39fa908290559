//! When the loaded objects are looked at: at first, and after libraries were loaded.

use super::objects::Objects;
use super::served::{OfThread, tell};
use crate::sys::slots::found::Found;
use std::sync::atomic::{AtomicBool, Ordering};

static OBJECTS: OfThread<Option<Objects>> = OfThread::new(None);

/// There may be objects that have not been looked at.
static LOADED: AtomicBool = AtomicBool::new(false);

/// A library is about to be loaded.
pub fn expect_more() {
    LOADED.store(true, Ordering::Relaxed);
}

/// Puts the hooks into the slots of what was not looked at before.
pub fn look() -> Found {
    OBJECTS.with(|objects| objects.get_or_insert_default().look())
}

/// As [`look`], if there may be something.
pub fn look_if_loaded() {
    if LOADED.load(Ordering::Relaxed) && LOADED.swap(false, Ordering::Relaxed) {
        let found = look();
        if found.refused > 0 {
            tell(|observer| observer.refused(found.refused));
        }
    }
}

/// Has all slots lead where they did.
pub fn restore() {
    OBJECTS.with(|objects| objects.take().unwrap_or_default().restore());
}
