//! `promptmix review`: a page on this machine on which a person decides on the texts of a run.
//!
//! | file | what it does |
//! |---|---|
//! | `row` | a text as the page shows it, with what was decided about it |
//! | `list` | the lists of texts, and the filters |
//! | `load` | the rows of a run folder |
//! | `drafts` | the descriptions that `refine` drafted, to read |
//! | `decide` | decisions: checked against what the page showed, recorded, taken back |
//! | `page` | the page itself, and the answers to its requests |
//!
//! A decision becomes an edit of `train.jsonl`, the same as one made with an editor
//! ([`crate::run::edits`]): labels and texts change, a dropped text is added, a text that is bad is
//! removed. So `promptmix run` treats both alike.

mod decide;
mod drafts;
mod list;
mod load;
mod page;
mod row;

use std::collections::HashMap;

use crate::run::{RunError, RunFolder};

pub(crate) use page::answer;

use drafts::DraftView;
use list::Members;
use row::Row;

/// The texts of an open run, and what a person decides about them.
pub(crate) struct Review {
    run: RunFolder,
    task: crate::task::Task,
    /// The least certain first; the place of a row does not change.
    rows: Vec<Row>,
    lists: Vec<Members>,
    drafts: Vec<DraftView>,
    /// Places in `rows` by key, of the rows that can be decided.
    places: HashMap<String, usize>,
    /// Decisions since the review began, those that were taken back included.
    decisions: usize,
    /// Whether the review has ended: nothing is decided any more.
    closed: bool,
}

impl Review {
    /// The number of decisions since the review began.
    pub(crate) fn decisions(&self) -> usize {
        self.decisions
    }

    /// Whether the page has asked for the end.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Ends the review: writes the files with all decisions. Returns one line about each file.
    ///
    /// # Errors
    /// A file that was edited meanwhile and cannot be read, a failed write. The decisions are in
    /// the ledger in any case.
    pub(crate) fn close(&mut self) -> Result<&[String], RunError> {
        self.closed = true;
        self.run.write_decisions(&self.task)
    }
}
