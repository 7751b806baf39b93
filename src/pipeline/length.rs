//! How long the texts of a run are, in tokens of its student, and how many of them are cut.

use std::collections::BTreeMap;

use super::Event;
use crate::{
    report::{CutTexts, TextLength},
    student::{BaseModel, Example, StudentError, TokenLengths},
    task::{LabelledText, Task},
};

/// The names of the counts under which the ledger keeps a [`TextLength`], in its order.
const COUNTS: [&str; 5] = ["max_length", "train texts", "train cut", "test texts", "test cut"];

/// The lengths of the texts of `task` and of those that are trained on: what
/// [`TrainSettings::with_length`](crate::student::TrainSettings::with_length) chooses from.
///
/// # Errors
/// The tokenizer fails.
pub(crate) fn of<'a>(
    base: &BaseModel,
    task: &'a Task,
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<TokenLengths, StudentError> {
    let own = [&task.seeds, &task.test, &task.pool].into_iter().flatten();
    TokenLengths::of(base, own.map(|item| item.text.as_str()).chain(texts))
}

/// What `max_length` cuts of the `examples` and of the test set.
///
/// # Errors
/// The tokenizer fails.
pub(super) fn cut(
    base: &BaseModel,
    examples: &[Example],
    test: &[LabelledText],
    max_length: usize,
) -> Result<TextLength, StudentError> {
    let train = TokenLengths::of(base, examples.iter().map(|example| example.text.as_str()))?;
    let test = TokenLengths::of(base, test.iter().map(|item| item.text.as_str()))?;
    let of = |lengths: &TokenLengths| CutTexts {
        texts: lengths.texts() as u64,
        cut: lengths.cut(max_length) as u64,
    };
    Ok(TextLength { max_length, train: of(&train), test: of(&test) })
}

/// A warning, if any text is cut.
pub(super) fn warning(length: &TextLength, most: usize) -> Option<Event> {
    let hint = match length.max_length < most {
        true => format!("raise student.max_length, at most to {most}, to read them whole"),
        false => format!("the student reads at most {most} tokens; another one may read more"),
    };
    Some(Event::Warning { message: length.warning()?, hint: Some(hint) })
}

/// The ledger's counts of `length`.
pub(super) fn counts(length: &TextLength) -> [(&'static str, usize); 5] {
    let TextLength { max_length, train, test } = *length;
    let [a, b, c, d, e] = COUNTS;
    let number = |count: u64| count as usize;
    [
        (a, max_length),
        (b, number(train.texts)),
        (c, number(train.cut)),
        (d, number(test.texts)),
        (e, number(test.cut)),
    ]
}

/// The length in the ledger's `counts`; `None` in older ledgers.
pub(super) fn recorded(counts: &BTreeMap<String, usize>) -> Option<TextLength> {
    let [max_length, train, train_cut, test, test_cut] =
        COUNTS.map(|name| counts.get(name).copied());
    let of = |texts: Option<usize>, cut: Option<usize>| {
        Some(CutTexts { texts: texts? as u64, cut: cut? as u64 })
    };
    Some(TextLength {
        max_length: max_length?,
        train: of(train, train_cut)?,
        test: of(test, test_cut)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_keeps_what_is_cut() {
        let length = TextLength {
            max_length: 64,
            train: CutTexts { texts: 90, cut: 3 },
            test: CutTexts { texts: 10, cut: 0 },
        };
        let kept = counts(&length).map(|(name, count)| (name.to_owned(), count)).into();
        assert_eq!(recorded(&kept), Some(length.clone()));
        assert_eq!(recorded(&BTreeMap::new()), None);
        let Some(Event::Warning { message, hint }) = warning(&length, 512) else { panic!() };
        assert_eq!(
            message,
            "3 of 90 training texts are longer than 64 tokens; the rest of each is cut off"
        );
        assert!(hint.unwrap().contains("at most to 512"));
        let whole = TextLength { train: CutTexts { texts: 90, cut: 0 }, ..length };
        assert_eq!(warning(&whole, 512), None);
    }
}
