//! Constrains a reply to a numbered list of exactly N lines, so that it cannot fail to parse.
//!
//! [`ListGrammar`] is an automaton over bytes. Every finished reply that it accepts is one that
//! [`parse_list`] accepts: each line is its number, then `.`, `)` or `:`, then a text of complete
//! UTF-8 characters without control characters. The text is of bounded length, differs from all
//! earlier lines, and keeps a letter or digit after the parser has stripped it.
//!
//! One rule prevents dead ends: *a token is accepted only if the list can still be finished
//! afterwards*, within the remaining tokens and characters, even if the vocabulary has only single
//! bytes. [`ListState::needed`] is an upper bound on the tokens that finishing takes, and in each
//! state some byte lowers that bound by one. Each line gets an equal share of the tokens that
//! remain when it begins, so a long line cannot starve the later ones: it is closed early instead.
//!
//! llama.cpp has grammars of its own (GBNF), but a refusal at the wrong moment aborts the process.

mod cost;
mod draw;
#[cfg(test)]
mod tests;
mod token_bytes;

use std::sync::Arc;

use crate::prompt::reply::parse_list;

pub(crate) use cost::{GrammarCost, cost};
pub(crate) use draw::draw_constrained;
pub(crate) use token_bytes::{TokenBytes, TokenRole};

/// Upper bound on the length of a line's text, in characters.
const MAX_LINE_CHARS: usize = 4000;
/// Number of ASCII letters and digits, ignoring case: the ways in which one more character can make
/// a text differ from others.
const ALPHABET: usize = 36;
/// The budget where none was given; more tokens than any reply has.
const UNBOUNDED: i64 = 1 << 40;

/// A numbered list of `lines` texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListGrammar {
    lines: usize,
    longest: usize,
    budget: i64,
}

impl ListGrammar {
    /// A list of `lines` texts (at least 1) of up to `longest` characters each (8 to 4000).
    pub(crate) fn new(lines: usize, longest: usize) -> Self {
        Self { lines: lines.max(1), longest: longest.clamp(8, MAX_LINE_CHARS), budget: UNBOUNDED }
    }

    /// The list will be finished within this many tokens, including the last newline or end of
    /// turn. A budget below [`least_budget`](Self::least_budget) accepts nothing at all.
    #[must_use]
    pub(crate) fn with_budget(self, max_tokens: usize) -> Self {
        Self { budget: i64::try_from(max_tokens).unwrap_or(UNBOUNDED).min(UNBOUNDED), ..self }
    }

    /// The number of tokens of the shortest list after a cue of its first number, if every byte is
    /// a token.
    pub(crate) fn least_budget(&self) -> usize {
        (0..self.lines).map(|line| self.min_line(line)).sum::<i64>() as usize
            - self.number_len(0) as usize
    }

    /// The state after `cue`, which is part of the reply but costs no tokens. `None` if no list
    /// begins with it.
    pub(crate) fn begin(&self, cue: &str) -> Option<ListState> {
        let mut state = ListState {
            grammar: *self,
            line: 0,
            position: Position::Break { blank: true },
            text: Vec::new(),
            spaced: false,
            chars: 0,
            partial: Partial::default(),
            earlier: Arc::default(),
            left: self.budget,
            reserved: 0,
        };
        state.reserve();
        cue.bytes().all(|byte| state.push(byte)).then(|| {
            // The cue does not count against the first line's share.
            state.reserve();
            state
        })
    }

    /// Bytes of a line's number and the mark after it.
    fn number_len(&self, line: usize) -> i64 {
        digits(line + 1).count() as i64 + 1
    }

    /// The number of letters that is always enough to make a text differ from `others` other texts.
    fn min_letters(others: usize) -> i64 {
        let mut letters = 1;
        while ALPHABET.pow(letters) <= others {
            letters += 1;
        }
        i64::from(letters)
    }

    /// Bytes of the shortest line, including its number and newline.
    fn min_line(&self, line: usize) -> i64 {
        self.number_len(line) + Self::min_letters(line) + 1
    }
}

/// The reply's position in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Before a line's number; `blank` after an empty line, of which there may be one.
    Break { blank: bool },
    /// After this many digits of the number.
    Number(usize),
    /// In the text of the line.
    Text,
    /// After the newline of the last line.
    Done,
}

/// An incomplete UTF-8 character.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Partial {
    /// Number of missing bytes.
    missing: u8,
    code: u32,
    /// Bounds of the next byte.
    low: u8,
    high: u8,
}

/// The state of a list that is being written. Clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct ListState {
    grammar: ListGrammar,
    /// Index of the current line.
    line: usize,
    position: Position,
    /// Text of the line so far, without the space after its number.
    text: Vec<u8>,
    /// Whether that space was written.
    spaced: bool,
    /// Complete characters in `text`.
    chars: usize,
    partial: Partial,
    /// Texts of the earlier lines, as the parser returns them.
    earlier: Arc<Vec<String>>,
    /// Tokens left.
    left: i64,
    /// Of those, tokens reserved for the lines after this one.
    reserved: i64,
}

impl ListState {
    /// Whether a token of these bytes may come next.
    pub(crate) fn accepts(&self, bytes: &[u8]) -> bool {
        !bytes.is_empty() && self.clone().advance(bytes)
    }

    /// Appends a token. Returns false if it may not come next; the state is then invalid.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> bool {
        self.left -= 1;
        bytes.iter().all(|byte| self.push(*byte)) && self.can_finish()
    }

    /// Whether the turn may end here: the last line is complete, with or without its newline.
    pub(crate) fn may_end(&self) -> bool {
        match self.position {
            Position::Done => true,
            Position::Text => self.line + 1 == self.grammar.lines && self.finished_text().is_some(),
            _ => false,
        }
    }

    /// Whether the last line has its newline, which ends the list.
    pub(crate) fn is_complete(&self) -> bool {
        self.position == Position::Done
    }

    /// Appends a byte. Returns false if it may not come next.
    fn push(&mut self, byte: u8) -> bool {
        match self.position {
            Position::Break { blank: false } if byte == b'\n' => {
                self.position = Position::Break { blank: true }
            }
            Position::Break { .. } => {
                self.position = Position::Number(1);
                return digits(self.line + 1).next() == Some(byte);
            }
            Position::Number(written) => match digits(self.line + 1).nth(written) {
                Some(digit) if digit == byte => self.position = Position::Number(written + 1),
                None if matches!(byte, b'.' | b')' | b':') => self.position = Position::Text,
                _ => return false,
            },
            Position::Text if byte == b'\n' => return self.close_line(),
            Position::Text => return self.push_text(byte),
            Position::Done => return byte == b'\n',
        }
        true
    }

    fn push_text(&mut self, byte: u8) -> bool {
        let partial = &mut self.partial;
        if partial.missing > 0 {
            if !(partial.low..=partial.high).contains(&byte) {
                return false;
            }
            let code = partial.code << 6 | u32::from(byte & 0x3f);
            *partial = Partial { missing: partial.missing - 1, code, low: 0x80, high: 0xbf };
        } else if byte == b' ' && self.text.is_empty() && !self.spaced {
            self.spaced = true;
            return true;
        } else {
            match Partial::begin(byte) {
                Some(begun) => *partial = begun,
                None => return false,
            }
        }
        self.text.push(byte);
        if self.partial.missing > 0 {
            return true;
        }
        self.chars += 1;
        char::from_u32(self.partial.code)
            .is_some_and(|letter| is_text(letter) && (self.chars > 1 || !letter.is_whitespace()))
    }

    fn close_line(&mut self) -> bool {
        let Some(text) = self.finished_text() else { return false };
        Arc::make_mut(&mut self.earlier).push(text);
        self.line += 1;
        self.text.clear();
        (self.spaced, self.chars) = (false, 0);
        self.position = if self.line == self.grammar.lines {
            Position::Done
        } else {
            Position::Break { blank: false }
        };
        self.reserve();
        true
    }

    /// Reserves tokens for the lines after this one: all but an equal share, and never less than
    /// they need.
    fn reserve(&mut self) {
        let lines = (self.grammar.lines - self.line).max(1) as i64;
        let needed = (self.line + 1..self.grammar.lines).map(|line| self.grammar.min_line(line));
        self.reserved = (self.left - self.left / lines).max(needed.sum());
    }

    /// The line's text as the parser will return it, if the line may end here.
    fn finished_text(&self) -> Option<String> {
        let whole = self.partial.missing == 0 && self.chars <= self.grammar.longest;
        if self.position != Position::Text || !whole {
            return None;
        }
        let text = std::str::from_utf8(&self.text).ok()?;
        let text = parse_list(&format!("1.{text}"), 1, self.grammar.longest, true).ok()?.pop()?;
        let repeated = self.earlier.iter().any(|other| other.eq_ignore_ascii_case(&text));
        (!repeated).then_some(text)
    }

    /// How many more letters the line needs before it may end; 0 if it may end now. The parser
    /// strips only spaces from a text that ends with a letter or digit, so n more letters give 36^n
    /// different texts. As long as the earlier lines use fewer of them, one is free.
    fn missing_letters(&self) -> i64 {
        if self.finished_text().is_some() {
            return 0;
        }
        let collisions = |letters: usize| {
            let extends = |other: &&String| {
                other.len() == self.text.len() + letters
                    && other.as_bytes()[..self.text.len()].eq_ignore_ascii_case(&self.text)
            };
            self.earlier.iter().filter(extends).count()
        };
        let mut letters = 1;
        while ALPHABET.pow(letters) <= collisions(letters as usize) {
            letters += 1;
        }
        i64::from(letters)
    }

    /// The number of tokens to finish the line if each is one byte: its number, the rest of a
    /// character, `letters` letters, the newline. Later lines have their own tokens in `reserved`.
    fn needed(&self, letters: i64) -> i64 {
        match self.position {
            Position::Break { .. } => self.grammar.min_line(self.line),
            Position::Number(written) => self.grammar.min_line(self.line) - written as i64,
            Position::Text => i64::from(self.partial.missing) + letters + 1,
            Position::Done => 0,
        }
    }

    /// Whether the list can be finished within the tokens and characters left.
    fn can_finish(&self) -> bool {
        let finishes = |letters: i64| {
            let chars = self.chars + usize::from(self.partial.missing > 0) + letters as usize;
            self.needed(letters) <= self.left - self.reserved
                && (self.position != Position::Text || chars <= self.grammar.longest)
        };
        // Usually enough is left to finish any text, so this one need not be parsed.
        finishes(ListGrammar::min_letters(self.line))
            || (self.partial.missing == 0
                && self.position == Position::Text
                && finishes(self.missing_letters()))
    }
}

impl Partial {
    /// The character that begins with `byte`, if that is possible.
    fn begin(byte: u8) -> Option<Self> {
        let lead = u32::from(byte);
        let (missing, code, low, high) = match byte {
            0x20..=0x7e => (0, lead, 0, 0),
            0xc2..=0xdf => (1, lead & 0x1f, 0x80, 0xbf),
            // No overlong forms, no surrogates, nothing above U+10FFFF.
            0xe0 => (2, lead & 0x0f, 0xa0, 0xbf),
            0xed => (2, lead & 0x0f, 0x80, 0x9f),
            0xe1..=0xef => (2, lead & 0x0f, 0x80, 0xbf),
            0xf0 => (3, lead & 0x07, 0x90, 0xbf),
            0xf1..=0xf3 => (3, lead & 0x07, 0x80, 0xbf),
            0xf4 => (3, lead & 0x07, 0x80, 0x8f),
            _ => return None,
        };
        Some(Self { missing, code, low, high })
    }
}

/// Whether a line may contain the character: no control characters, line or paragraph separators,
/// replacement characters or noncharacters.
fn is_text(letter: char) -> bool {
    let code = u32::from(letter);
    !(letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | char::REPLACEMENT_CHARACTER)
        || code & 0xfffe == 0xfffe
        || (0xfdd0..=0xfdef).contains(&code))
}

/// The digits of a number, as bytes.
fn digits(number: usize) -> impl Iterator<Item = u8> {
    let length = number.checked_ilog10().unwrap_or(0);
    (0..=length).rev().map(move |place| b'0' + (number / 10usize.pow(place) % 10) as u8)
}
