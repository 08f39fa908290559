//! Asking: what the program was told of the file system without opening anything.
//!
//! Each answer belongs to the checkpoint before it, as a file does that is opened. A question that
//! was asked before belongs where it did then. It is still looked whether the answer is the
//! same: whoever has been told two things must hear of it, though what is there now may be
//! what was there first.

use super::answers::Told;
use super::listings::Listing;
use super::{Program, Resume};
use crate::files::answer::{ALL, Answer, Names, Question};
use crate::files::{Stamp, is_below_views};
use crate::sys::slots::Folder;
use crate::wire::record::{Index, Record};

/// What a folder looks like before it is listed.
pub fn folder_stamp(path: &[u8], question: &Question) -> Stamp {
    match question {
        Question::Names { .. } => Stamp::of_file(path),
        _ => Stamp::Absent,
    }
}

impl Program {
    /// Whether the program has listed a folder that is as it was then.
    pub fn has_listed(&self, path: &[u8], question: &Question) -> bool {
        let told = self.answers.find(path, question);
        told.is_some_and(|told| told.folder.is_settled() && told.folder == Stamp::of_file(path))
    }

    /// A stop point: the program is about to be told this. `folder`: see [`folder_stamp`]. With
    /// `joins` it is none, and the answer belongs to the last checkpoint.
    pub fn ask(
        &mut self,
        path: &[u8],
        question: Question,
        answer: Answer,
        folder: Stamp,
        joins: bool,
    ) -> Option<Resume> {
        if self.answers.hold(path, &question, &answer) {
            return None;
        }
        let resume = self.stop_to_ask(path, &question, joins)?;
        // Who is resumed here is so as the answer is another by now.
        let (folder, answer) = match resume {
            Some(_) => (folder_stamp(path, &question), Answer::ask(path, &question)),
            None => (folder, answer),
        };
        self.told(path, question, answer, folder, self.place.current());
        resume
    }

    /// A stop point, if this question is a new one, before it is asked. `None` where the answer
    /// can be no dependency.
    pub fn stop_to_ask(
        &mut self,
        path: &[u8],
        question: &Question,
        joins: bool,
    ) -> Option<Option<Resume>> {
        if is_below_views(path) || !self.can_watch() || !self.is_short_enough(path) {
            return None;
        }
        self.interrupt_listings();
        let is_new = self.answers.find(path, question).is_none();
        Some(if is_new && !joins { self.stop(path, Stamp::Absent) } else { None })
    }

    /// The program was told this, after that checkpoint.
    pub fn told(
        &mut self,
        path: &[u8],
        question: Question,
        answer: Answer,
        folder: Stamp,
        checkpoint: Option<Index>,
    ) {
        if self.answers.hold(path, &question, &answer) || !self.is_active() {
            return;
        }
        self.answers.insert(path, Told { question, answer, folder });
        self.channel.send(&Record::Told { checkpoint, path: path.to_vec(), question, answer });
    }

    /// The checkpoint that an answer belongs to that is given now.
    pub fn current(&self) -> Option<Index> {
        self.place.current()
    }

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
        let listing = Listing { folder, path, stamp, checkpoint, names, counts, is_told };
        self.answers.listings().begin(listing);
    }

    /// It got a name. As long as the listing is not known to count, `counts` is asked whether that
    /// makes it so.
    pub fn lists_name(
        &mut self,
        folder: Folder,
        name: &[u8],
        counts: impl FnOnce(&[u8], &[u8]) -> bool,
    ) {
        if let Some(listing) = self.answers.listings().find(folder) {
            listing.names.add(name);
            listing.counts = listing.counts || counts(&listing.path, name);
        }
    }

    /// There are no more names. Where that does not make it known to count, `counts` is asked
    /// whether it does.
    pub fn has_listed_all(&mut self, folder: Folder, counts: impl FnOnce(&[u8]) -> bool) {
        let Some(listing) = self.answers.listings().end(folder) else { return };
        let Listing { path, stamp, checkpoint, names, counts: known, .. } = listing;
        if known || names.count == 0 || counts(&path) {
            let question = Question::Names { most: ALL };
            self.told(&path, question, Answer::Names(names), stamp, checkpoint);
        }
    }

    /// It begins anew.
    pub fn lists_anew(&mut self, folder: Folder) {
        if let Some(listing) = self.answers.listings().find(folder) {
            listing.names = Names::default();
        }
    }

    /// It has done with it, perhaps before the end.
    pub fn has_listed_enough(&mut self, folder: Folder) {
        let Some(listing) = self.answers.listings().end(folder) else { return };
        if listing.counts && !listing.is_told {
            self.told_so_far(&listing);
        }
    }

    /// Something else is about to happen.
    pub(super) fn interrupt_listings(&mut self) {
        if self.answers.listings().untold().next().is_none() {
            return;
        }
        let mut listings = std::mem::take(self.answers.listings());
        for listing in listings.untold() {
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
        *self.answers.listings() = listings;
    }

    fn told_so_far(&mut self, listing: &Listing) {
        let Listing { stamp, checkpoint, names, .. } = *listing;
        let question = Question::Names { most: names.count };
        self.told(&listing.path, question, Answer::Names(names), stamp, checkpoint);
    }
}
