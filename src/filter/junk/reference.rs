//! What a text is judged against: the rules that no labelled example of the task breaks.

use std::collections::HashSet;

use super::{
    Junk, echo,
    known::{self, Known},
    place::Place,
    rules::{self, Cleaning, Context, Fault},
};
use crate::task::Task;

/// The rules that apply to a task, and what they know of it.
pub(crate) struct Reference {
    known: Known,
    cleaning: Vec<(Junk, Cleaning)>,
    faults: Vec<(Junk, Fault)>,
    /// Runs of words that examples and classes have themselves.
    own_runs: HashSet<Vec<String>>,
}

impl Reference {
    /// The reference of `task`; its texts may have up to `longest` characters.
    pub(crate) fn new(task: &Task, longest: usize) -> Self {
        let known = Known::new(task, longest);
        let seeds: Vec<&str> = task.seeds.iter().map(|seed| seed.text.trim()).collect();
        let example = Context { known: &known, place: &Place::EXAMPLE };
        let cleans = |rule: &Cleaning| !seeds.iter().any(|seed| rule(seed, example).is_some());
        let cleaning = rules::CLEANING.into_iter().filter(|(_, rule)| cleans(rule)).collect();
        let refuses = |rule: &Fault| !seeds.iter().any(|seed| rule(seed, example));
        let faults = rules::FAULTS.into_iter().filter(|(_, rule)| refuses(rule)).collect();
        let own = known::texts(task);
        let own_runs = own.iter().flat_map(|text| echo::runs(&echo::words(text))).collect();
        Self { known, cleaning, faults, own_runs }
    }

    /// `text` without the first thing that does not belong to it, and what that was.
    pub(super) fn cleaned(&self, text: &str, place: &Place<'_>) -> Option<(Junk, String)> {
        let context = Context { known: &self.known, place };
        self.cleaning.iter().find_map(|(junk, rule)| Some((*junk, rule(text, context)?)))
    }

    /// The first form for which a cleaned `text` is dropped.
    pub(super) fn fault(&self, text: &str, place: &Place<'_>) -> Option<Junk> {
        let context = Context { known: &self.known, place };
        self.faults.iter().find(|(_, rule)| rule(text, context)).map(|(junk, _)| *junk)
    }

    /// Whether most of `text` stands in `prompt`, outside of examples and classes.
    pub(super) fn echoes(&self, text: &str, prompt: &str) -> bool {
        echo::repeats(text, prompt, &self.own_runs)
    }
}
