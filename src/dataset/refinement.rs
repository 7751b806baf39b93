//! Descriptions that were drafted for classes, and what they change in the teacher's labels of
//! examples that its prompt does not show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The file `refined.json`: what `refine` showed, and so what a user may accept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refinement {
    /// Labelled examples that the teacher was asked about.
    pub examples: usize,
    /// Those that it labels correctly with the present descriptions.
    pub right: usize,
    /// Texts of the run that the teacher labelled and whose class was asked for, or given by a
    /// person.
    pub texts: usize,
    /// The most mistaken first.
    pub pairs: Vec<MistakenPair>,
    pub drafts: Vec<Draft>,
    /// With all drafts together that are not worse; absent unless there are at least two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together: Option<Effect>,
}

/// Two classes, of which the teacher takes one for the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MistakenPair {
    pub classes: [String; 2],
    /// Labelled examples of one class to which the teacher gave the other.
    pub examples: usize,
    /// Texts that were written for one class, or that a person gave it, and to which the teacher
    /// gave the other.
    pub texts: usize,
}

/// Descriptions that the teacher drafted for a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Draft {
    /// The name of the class.
    pub class: String,
    /// The class from which the description is to tell it apart.
    pub against: String,
    /// Empty if the class has none.
    pub old: String,
    /// The best of the drafts that are of use; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// How many different drafts were of use, and so were measured.
    #[serde(default)]
    pub usable: usize,
    /// How many were not, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, usize>,
    /// What changes if this description alone is replaced; absent without a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}

impl Draft {
    /// The new description, if it does not make the labels worse.
    pub(crate) fn acceptable(&self) -> Option<&str> {
        let better = self.effect.is_some_and(|effect| effect.verdict() != Verdict::Worse);
        self.new.as_deref().filter(|_| better)
    }
}

/// What new descriptions change in the labels of the examples, counted in pairs: each example is
/// asked about with the present descriptions and with the new ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Effect {
    /// Of all examples.
    pub all: Paired,
    /// Of those that the drafts were not made from: the teacher had not seen them.
    pub unseen: Paired,
}

/// Answers to the same questions before and after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Paired {
    pub examples: usize,
    /// Right before, and right afterwards.
    pub before: usize,
    pub after: usize,
    /// Wrong before and right afterwards.
    pub gained: usize,
    /// Right before and wrong afterwards.
    pub lost: usize,
}

impl Paired {
    /// Counts the answer to one example.
    pub(crate) fn count(&mut self, before: bool, after: bool) {
        self.examples += 1;
        self.before += usize::from(before);
        self.after += usize::from(after);
        self.gained += usize::from(after && !before);
        self.lost += usize::from(before && !after);
    }
}

/// What an [`Effect`] says of the new descriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Better,
    Same,
    Worse,
}

impl Effect {
    /// Worse if fewer examples are right, be it of all or of those that were not seen: a draft may
    /// repeat what it was made from.
    pub(crate) fn verdict(&self) -> Verdict {
        let Self { all, unseen } = self;
        match all.after.cmp(&all.before) {
            _ if unseen.after < unseen.before => Verdict::Worse,
            std::cmp::Ordering::Less => Verdict::Worse,
            std::cmp::Ordering::Equal => Verdict::Same,
            std::cmp::Ordering::Greater => Verdict::Better,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_worse_if_it_is_worse_on_what_it_was_not_made_from() {
        let paired = |before: usize, after: usize| Paired { before, after, ..Paired::default() };
        let verdict = |all, unseen| Effect { all, unseen }.verdict();
        assert_eq!(verdict(paired(3, 4), paired(2, 2)), Verdict::Better);
        assert_eq!(verdict(paired(3, 3), paired(2, 2)), Verdict::Same);
        assert_eq!(verdict(paired(3, 2), paired(2, 2)), Verdict::Worse);
        assert_eq!(verdict(paired(3, 4), paired(2, 1)), Verdict::Worse);
    }

    #[test]
    fn answers_are_counted_in_pairs() {
        let mut paired = Paired::default();
        for (before, after) in [(true, true), (true, false), (false, true), (false, false)] {
            paired.count(before, after);
        }
        paired.count(false, true);
        assert_eq!(paired, Paired { examples: 5, before: 2, after: 3, gained: 2, lost: 1 });
    }
}
