//! What the stages that call the teacher have in common: which calls are still missing, and what is
//! written down when a call goes wrong.

use std::{collections::HashSet, error::Error};

use super::{Event, Watch};
use crate::{
    run::ledger::{Entry, Ledger},
    teacher::SkippedRequest,
};

/// The calls of a list that have to be made.
pub(crate) struct Missing {
    /// Their places in the list. Equal calls are made once.
    pub items: Vec<usize>,
    /// Different calls in the list.
    pub total: usize,
}

impl Missing {
    pub(crate) fn of(keys: &[String], is_known: impl Fn(&str) -> bool) -> Self {
        let mut seen = HashSet::new();
        let mut items: Vec<usize> = (0..keys.len()).collect();
        items.retain(|item| seen.insert(&keys[*item]));
        let total = items.len();
        items.retain(|item| !is_known(&keys[*item]));
        Self { items, total }
    }

    /// Calls whose answers are known.
    pub(crate) fn known(&self) -> usize {
        self.total - self.items.len()
    }
}

/// The entry of a request that was given up; whoever is watching is told.
pub(crate) fn skipped(
    stage: &str,
    key: &str,
    request: &str,
    poison: SkippedRequest,
    watch: Watch<'_>,
) -> Entry {
    let SkippedRequest { reason } = poison;
    watch(Event::Warning(format!(
        "request {request} is skipped, in another run folder it is asked again: {reason}"
    )));
    Entry::Skipped {
        key: key.to_owned(),
        stage: stage.to_owned(),
        request: request.to_owned(),
        reason,
    }
}

/// Writes down that the teacher's process was started again.
pub(crate) fn restarted(
    ledger: &mut Ledger,
    stage: &str,
    reason: String,
    watch: Watch<'_>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    watch(Event::Warning(format!("the teacher's process ended and is started again: {reason}")));
    ledger.append(vec![Entry::Restart { stage: stage.to_owned(), reason }])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_calls_are_made_once_and_known_ones_not_at_all() {
        let keys = ["a", "b", "a", "c", "b"].map(str::to_owned);
        let missing = Missing::of(&keys, |key| key == "c");
        assert_eq!(missing.items, [0, 1]);
        assert_eq!((missing.total, missing.known()), (3, 1));
    }
}
