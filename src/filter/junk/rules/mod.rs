//! The rules, one for each form of junk. A rule that is not sure keeps the text: a text that was
//! kept by mistake can still be relabelled or dropped later, a good one that was dropped is lost.

mod cleaning;
mod faults;
mod remark;

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;

use super::{
    known::{Known, announces_class, before_number, words},
    place::Place,
    regex,
};

pub(super) use cleaning::{CLEANING, Cleaning};
pub(super) use faults::{FAULTS, Fault};

/// What a rule knows beside the text.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) known: &'a Known,
    pub(super) place: &'a Place<'a>,
}

/// Whether `words` are names and nothing else, at least one of them that of a class.
fn is_made_of_names(words: &[String], known: &Known) -> bool {
    let (mut rest, mut has_class) = (words, false);
    while !rest.is_empty() {
        // The longest name first: one can begin like another.
        let fits = known.names.iter().enumerate().filter(|(_, name)| rest.starts_with(name));
        let Some((at, name)) = fits.max_by_key(|(_, name)| name.len()) else { return false };
        if name.is_empty() {
            return false;
        }
        has_class |= at < known.classes;
        rest = &rest[name.len()..];
    }
    has_class
}

/// A name of several words as programs write them, of letters only: `card_arrival`.
const SNAKE: &str = r"\p{Ll}{2,}(?:_\p{Ll}{2,})+";

/// The percentages in `text`, without decimals, and what follows each.
fn percentages(text: &str) -> Vec<(usize, &str)> {
    static PERCENTAGE: LazyLock<Regex> = LazyLock::new(|| regex(r"(\d{1,3})(?:\.\d+)?\s?%"));
    let found = PERCENTAGE.captures_iter(text).filter_map(|found| {
        let (number, end) = (found.get(1)?, found.get(0)?.end());
        Some((number.as_str().parse().ok()?, &text[end..]))
    });
    found.collect()
}

/// The classes whose shares `text` gives, as `90% card arrival, 10% of fee` does.
fn classes_with_shares(text: &str, Context { known, place }: Context<'_>) -> BTreeSet<usize> {
    const BETWEEN: [&str; 4] = ["of", "to", "the", "class"];
    let class = |(number, after): (usize, &str)| {
        let words = words(after);
        let skipped = words.iter().take_while(|word| BETWEEN.contains(&word.as_str())).count();
        let mut classes = known.names[..known.classes].iter();
        classes
            .position(|name| !name.is_empty() && words[skipped..].starts_with(name))
            .filter(|_| place.is_share(number))
    };
    percentages(text).into_iter().filter_map(class).collect()
}
