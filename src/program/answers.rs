//! What the program has been told of paths, in this timeline.
//!
//! It lives in the program's memory, as what is known of files does.

use super::listings::Listings;
use super::names::Names;
use crate::files::Stamp;
use crate::files::answer::{Answer, Question};
use rustc_hash::FxHashMap;

/// What the program has been told, in this timeline.
#[derive(Default)]
pub struct Answers {
    told: FxHashMap<Vec<u8>, Vec<Told>>,
    listings: Listings,
    names: Names,
}

/// An answer.
pub struct Told {
    /// What was asked.
    pub question: Question,
    /// What was told.
    pub answer: Answer,
    /// Of a listing, what the folder looked like then; by that, a look shows whether
    /// it has to be listed again.
    pub folder: Stamp,
}

impl Answers {
    /// The folders whose names it is being told.
    pub fn listings(&mut self) -> &mut Listings {
        &mut self.listings
    }

    /// Whether what becomes of a path may change an answer.
    pub fn concern(&self, path: &[u8]) -> bool {
        if self.told.is_empty() {
            return false;
        }
        let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0).max(1);
        self.told.contains_key(path)
            || path.get(..end).is_some_and(|it| self.told.contains_key(it))
            || self.names.may_concern(path)
    }

    /// Whether this question was asked before and has this answer still.
    pub fn hold(&self, path: &[u8], question: &Question, answer: &Answer) -> bool {
        self.find(path, question).is_some_and(|told| told.answer == *answer)
    }

    /// What was told when this was asked before.
    pub fn find(&self, path: &[u8], question: &Question) -> Option<&Told> {
        self.told.get(path)?.iter().find(|told| told.question == *question)
    }

    /// The program is told this.
    pub fn insert(&mut self, path: &[u8], new: Told) {
        let all = match self.told.get_mut(path) {
            Some(all) => all,
            None => {
                // Which file it is, somebody has looked at just now: this costs little.
                self.names.add(path, Stamp::of_file(path));
                self.told.entry(path.to_vec()).or_default()
            }
        };
        match all.iter_mut().find(|told| told.question == new.question) {
            Some(told) => *told = new,
            None => all.push(new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::answer::tests::{answer, question};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_last_answer_to_each_question_is_known(
            told in prop::collection::vec(("/[ab]", 0usize..3, answer()), 0..40),
            questions in prop::collection::vec(question(), 3),
        ) {
            let mut answers = Answers::default();
            let mut last = FxHashMap::default();
            for (path, which, answer) in told {
                let question = questions[which];
                let folder = Stamp::Absent;
                answers.insert(path.as_bytes(), Told { question, answer, folder });
                last.insert((path, question), answer);
            }
            for path in ["/a", "/b", "/c"] {
                for question in &questions {
                    let expected = last.get(&(path.to_string(), *question));
                    let found = answers.find(path.as_bytes(), question).map(|told| &told.answer);
                    prop_assert_eq!(found, expected);
                }
                let is_known = last.keys().any(|(known, _)| known == path);
                prop_assert_eq!(answers.concern(path.as_bytes()), is_known);
                let below = format!("{path}/x");
                prop_assert_eq!(answers.concern(below.as_bytes()), is_known);
            }
        }
    }
}
