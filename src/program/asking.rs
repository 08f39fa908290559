//! Asking: what the program was told of the file system without opening anything.
//!
//! Each answer belongs to the checkpoint before it, as a file does that is opened. A question that
//! was asked before belongs where it did then. It is still looked whether the answer is the
//! same: whoever has been told two things must hear of it, though what is there now may be
//! what was there first.

use super::{Program, Resume};
use crate::files::Stamp;
use crate::files::answer::{Answer, Question};
use crate::wire::record::{Index, Record};
use rustc_hash::FxHashMap;

/// What the program has been told, in this timeline.
#[derive(Default)]
pub struct Answers(FxHashMap<Vec<u8>, Vec<Told>>);

struct Told {
    question: Question,
    answer: Answer,
    /// Of a listing, what the folder looked like then; by that, a look shows whether
    /// it has to be listed again.
    folder: Stamp,
}

impl Answers {
    /// Whether what becomes of a path may change an answer.
    pub fn concern(&self, path: &[u8]) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0).max(1);
        self.0.contains_key(path) || path.get(..end).is_some_and(|it| self.0.contains_key(it))
    }

    /// Whether this question was asked before and has this answer still.
    fn hold(&self, path: &[u8], question: &Question, answer: &Answer) -> bool {
        self.find(path, question).is_some_and(|told| told.answer == *answer)
    }

    fn find(&self, path: &[u8], question: &Question) -> Option<&Told> {
        self.0.get(path)?.iter().find(|told| told.question == *question)
    }

    fn insert(&mut self, path: &[u8], new: Told) {
        let all = match self.0.get_mut(path) {
            Some(all) => all,
            None => self.0.entry(path.to_vec()).or_default(),
        };
        match all.iter_mut().find(|told| told.question == new.question) {
            Some(told) => *told = new,
            None => all.push(new),
        }
    }
}

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
        if !self.can_watch() || !self.is_short_enough(path) {
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
