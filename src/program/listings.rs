//! The folders that the program is in the middle of listing.
//!
//! What counts is what it was told: the names, as far as it has read them. That is known when it
//! has done with the listing. But it may do a lot before, such as loading a file for each
//! name: so when anything else happens meanwhile, all names that are there count, until it is
//! known which it was told. If the folder has changed since the listing began, it is those
//! that were told so far.
//!
//! Whether a listing counts may depend on the names, too, which who listens to them decides.

use crate::files::Stamp;
use crate::files::answer::Names;
use crate::sys::slots::Folder;
use crate::wire::record::Index;

/// All of them.
#[derive(Default)]
pub struct Listings(Vec<Listing>);

/// One of them.
pub struct Listing {
    /// Which.
    pub folder: Folder,
    /// Its absolute path.
    pub path: Vec<u8>,
    /// What the folder looked like before it was opened.
    pub stamp: Stamp,
    /// The last checkpoint before that.
    pub checkpoint: Option<Index>,
    /// Those that were told so far.
    pub names: Names,
    /// It is known to count.
    pub counts: bool,
    /// All names that are there count already.
    pub is_told: bool,
}

impl Listings {
    /// One begins.
    pub fn begin(&mut self, listing: Listing) {
        self.0.push(listing);
    }

    /// The one of this folder.
    pub fn find(&mut self, folder: Folder) -> Option<&mut Listing> {
        self.0.iter_mut().find(|listing| listing.folder == folder)
    }

    /// The one of this folder has ended.
    pub fn end(&mut self, folder: Folder) -> Option<Listing> {
        let at = self.0.iter().position(|listing| listing.folder == folder)?;
        Some(self.0.remove(at))
    }

    /// Those of which not all names that are there count.
    pub fn untold(&mut self) -> impl Iterator<Item = &mut Listing> {
        self.0.iter_mut().filter(|listing| !listing.is_told)
    }
}
