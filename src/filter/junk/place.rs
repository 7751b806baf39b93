//! Where a text stands: the request that it answers and the other lines of the reply.

use std::sync::LazyLock;

use regex::Regex;

use super::regex;

/// A reply to a request.
pub(crate) struct Reply<'a> {
    prompt: &'a str,
    /// The share of the class that was asked for, in percent; `None` without mixing.
    share: Option<u8>,
    /// Whether the lines have numbers of their own beside those of the list.
    numbered: bool,
}

impl<'a> Reply<'a> {
    /// The reply `texts` to `prompt`, in which the class asked for has `share` percent.
    pub(crate) fn new(prompt: &'a str, share: Option<u8>, texts: &[&str]) -> Self {
        Self { prompt, share, numbered: number_themselves(texts) }
    }

    /// The place of the text at `index`.
    pub(crate) fn place(&self, index: usize) -> Place<'_> {
        Place { line: Some((self, index)) }
    }
}

/// Whether each of `texts` begins with a number or a letter of a list, the first with 1 or a, and
/// each with a later one than the text before: `1. `, `2. `, `4. `. One number alone can as well
/// be an amount, a date or a code: `404: not found`, `24. Dezember`.
fn number_themselves(texts: &[&str]) -> bool {
    static MARK: LazyLock<Regex> =
        LazyLock::new(|| regex(r#"^[\s"“*•·-]*\(?(?:(\d{1,3})|([A-Za-z]))(?:[.):]+\s|$)"#));
    let number = |text: &&str| {
        let found = MARK.captures(text)?;
        let digits = found.get(1).map(|digits| digits.as_str().parse().ok());
        digits.unwrap_or_else(|| {
            let letter = found.get(2)?.as_str().bytes().next()?;
            Some(u32::from(letter.to_ascii_lowercase() - b'a') + 1)
        })
    };
    let Some(numbers) = texts.iter().map(number).collect::<Option<Vec<u32>>>() else {
        return false;
    };
    numbers.len() > 1 && numbers[0] == 1 && numbers.is_sorted_by(|a, b| a < b)
}

/// The place of a text in a reply, or that of a labelled example, which is in none. Whatever a rule
/// finds only in some places, it finds in an example.
pub(crate) struct Place<'a> {
    line: Option<(&'a Reply<'a>, usize)>,
}

impl<'a> Place<'a> {
    pub(super) const EXAMPLE: Place<'static> = Place { line: None };

    /// Empty for an example.
    pub(super) fn prompt(&self) -> &'a str {
        self.line.map_or("", |(reply, _)| reply.prompt)
    }

    /// Whether `number` is one of the two percentages that were asked for.
    pub(super) fn is_share(&self, number: usize) -> bool {
        self.line.is_none_or(|(reply, _)| {
            reply.share.map(usize::from).is_some_and(|share| {
                number == share || Some(number) == 100_usize.checked_sub(share)
            })
        })
    }

    /// Whether a number before the text is that of a list.
    pub(super) fn is_numbered(&self) -> bool {
        self.line.is_none_or(|(reply, _)| reply.numbered)
    }

    /// Whether the next text in the list has `number`.
    pub(super) fn precedes(&self, number: usize) -> bool {
        self.line.is_none_or(|(_, index)| number == index + 2)
    }

    /// Whether the text is a labelled example, or its request has `word`.
    pub(super) fn asks_with(&self, word: &str) -> bool {
        self.line.is_none_or(|(reply, _)| reply.prompt.contains(word))
    }
}
