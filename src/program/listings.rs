//! The folders that the program is in the middle of listing.
//!
//! What counts is what it was told: the names, as far as it has read them. That is known when it
//! has done with the listing. But it may do a lot before, such as loading a file for each
//! name: so when anything else happens meanwhile, all names that are there count, until it is
//! known which it was told. If the folder has changed since the listing began, it is those
//! that were told so far.
//!
//! Whether a listing counts may depend on the names, too, which who listens to them decides.

use super::Program;
use crate::files::Stamp;
use crate::files::answer::{ALL, Answer, Names, Question};
use crate::sys::slots::Folder;
use crate::wire::record::Index;

/// All of them.
#[derive(Default)]
pub struct Listings(Vec<Listing>);

struct Listing {
    folder: Folder,
    path: Vec<u8>,
    /// What the folder looked like before it was opened.
    stamp: Stamp,
    checkpoint: Option<Index>,
    names: Names,
    /// It is known to count.
    counts: bool,
    /// All names that are there count already.
    is_told: bool,
}

impl Program {
    /// The program has opened a folder, which looked so before.
    pub fn lists(
        &mut self,
        folder: Folder,
        path: Vec<u8>,
        stamp: Stamp,
        checkpoint: Option<Index>,
        counts: bool,
    ) {
        let (names, is_told) = (Names::default(), false);
        self.listings.0.push(Listing { folder, path, stamp, checkpoint, names, counts, is_told });
    }

    /// It got a name. As long as the listing is not known to count, `counts` is asked whether that
    /// makes it so.
    pub fn lists_name(
        &mut self,
        folder: Folder,
        name: &[u8],
        counts: impl FnOnce(&[u8], &[u8]) -> bool,
    ) {
        if let Some(at) = self.listings.find(folder) {
            let listing = &mut self.listings.0[at];
            listing.names.add(name);
            listing.counts = listing.counts || counts(&listing.path, name);
        }
    }

    /// There are no more names. Where that does not make it known to count, `counts` is asked
    /// whether it does.
    pub fn has_listed_all(&mut self, folder: Folder, counts: impl FnOnce(&[u8]) -> bool) {
        let Some(at) = self.listings.find(folder) else { return };
        let Listing { path, stamp, checkpoint, names, counts: known, .. } =
            self.listings.0.remove(at);
        if known || names.count == 0 || counts(&path) {
            let question = Question::Names { most: ALL };
            self.told(&path, question, Answer::Names(names), stamp, checkpoint);
        }
    }

    /// It begins anew.
    pub fn lists_anew(&mut self, folder: Folder) {
        if let Some(at) = self.listings.find(folder) {
            self.listings.0[at].names = Names::default();
        }
    }

    /// It has done with it, perhaps before the end.
    pub fn has_listed_enough(&mut self, folder: Folder) {
        let Some(at) = self.listings.find(folder) else { return };
        let listing = self.listings.0.remove(at);
        if listing.counts && !listing.is_told {
            self.told_so_far(&listing);
        }
    }

    /// Something else is about to happen.
    pub(super) fn interrupt_listings(&mut self) {
        if self.listings.0.iter().all(|listing| listing.is_told) {
            return;
        }
        let mut listings = std::mem::take(&mut self.listings.0);
        for listing in listings.iter_mut().filter(|listing| !listing.is_told) {
            let question = Question::Names { most: ALL };
            let answer = Answer::ask(&listing.path, &question);
            if Stamp::of_file(&listing.path) == listing.stamp {
                listing.is_told = true;
                let Listing { stamp, checkpoint, .. } = *listing;
                self.told(&listing.path, question, answer, stamp, checkpoint);
            } else {
                self.told_so_far(listing);
            }
        }
        self.listings.0 = listings;
    }

    fn told_so_far(&mut self, listing: &Listing) {
        let Listing { stamp, checkpoint, names, .. } = *listing;
        let question = Question::Names { most: names.count };
        self.told(&listing.path, question, Answer::Names(names), stamp, checkpoint);
    }
}

impl Listings {
    fn find(&self, folder: Folder) -> Option<usize> {
        self.0.iter().position(|listing| listing.folder == folder)
    }
}
