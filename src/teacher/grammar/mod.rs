//! Holds a reply to its form, so that it cannot fail to parse: a numbered list of exactly N lines.
//!
//! [`ListGrammar`] is an automaton over bytes. It accepts what [`parse_list`] accepts of a finished
//! reply and nothing else: each line is its number, then `.`, `)` or `:`, then a text in whole UTF-8
//! characters without control characters, with a letter or digit left after the parser's strippings,
//! of bounded length, and unlike the lines before it.
//!
//! One rule keeps it out of dead ends: *a token is accepted only if the list can still be finished
//! afterwards*, within the tokens and characters that are left, even with a vocabulary that has
//! nothing but single bytes. [`ListState::needed`] counts what finishing takes at most, and in each
//! state some byte lowers that count by one. Each line gets an equal share of the tokens that are
//! left when it begins, so a long line cannot starve the ones after it: it is closed early instead.
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
pub(crate) use token_bytes::{Role, TokenBytes};

/// Longest line that is ever allowed, in characters: the parser refuses longer ones.
const LONGEST: usize = 1000;
/// Letters and digits of ASCII, case ignored: so many ways to make a text unlike another.
const ALPHABET: usize = 36;
/// Tokens that are left where no budget was given; more than any reply has.
const UNBOUNDED: i64 = 1 << 40;

/// A numbered list of `lines` texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListGrammar {
    lines: usize,
    longest: usize,
    budget: i64,
}

impl ListGrammar {
    /// A list of `lines` texts (at least 1) of up to `longest` characters each (8 to 1000).
    pub(crate) fn new(lines: usize, longest: usize) -> Self {
        Self { lines: lines.max(1), longest: longest.clamp(8, LONGEST), budget: UNBOUNDED }
    }

    /// The list will be finished within this many tokens, the last newline or end of turn included.
    /// With less than [`least_budget`](Self::least_budget) nothing is accepted at all.
    #[must_use]
    pub(crate) fn with_budget(self, max_tokens: usize) -> Self {
        Self { budget: i64::try_from(max_tokens).unwrap_or(UNBOUNDED).min(UNBOUNDED), ..self }
    }

    /// The tokens that the shortest list takes after a cue of its first number, where every byte is
    /// a token.
    pub(crate) fn least_budget(&self) -> usize {
        (0..self.lines).map(|line| self.least_line(line)).sum::<i64>() as usize
            - self.header(0) as usize
    }

    /// The state after `cue`, which is part of the reply but costs no tokens. `None` if no list
    /// begins like this.
    pub(crate) fn begin(&self, cue: &str) -> Option<ListState> {
        let mut state = ListState {
            grammar: *self,
            line: 0,
            at: At::Break { blank: true },
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
            // What the cue has written of the first line is not the first line's expense.
            state.reserve();
            state
        })
    }

    /// Bytes of a line's number and the mark behind it.
    fn header(&self, line: usize) -> i64 {
        digits(line + 1).count() as i64 + 1
    }

    /// Letters that make a text unlike `others` other ones, at most.
    fn least_text(others: usize) -> i64 {
        let mut letters = 1;
        while ALPHABET.pow(letters) <= others {
            letters += 1;
        }
        i64::from(letters)
    }

    /// Bytes of the shortest line with its number and newline.
    fn least_line(&self, line: usize) -> i64 {
        self.header(line) + Self::least_text(line) + 1
    }
}

/// Where in the list the reply stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a line's number; `blank` after an empty line, of which there may be one.
    Break { blank: bool },
    /// Behind so many digits of the number.
    Number(usize),
    /// In the text of the line.
    Text,
    /// Behind the newline of the last line.
    Done,
}

/// A character of which some bytes are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Partial {
    /// Bytes that are still to come.
    missing: u8,
    code: u32,
    /// Bounds of the next byte.
    low: u8,
    high: u8,
}

/// How far a list has come. Clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct ListState {
    grammar: ListGrammar,
    /// Index of the line that is being written.
    line: usize,
    at: At,
    /// Text of the line so far, without the space behind its number.
    text: Vec<u8>,
    /// Whether that space is there.
    spaced: bool,
    /// Whole characters in `text`.
    chars: usize,
    partial: Partial,
    /// Texts of the lines before, as the parser gives them.
    earlier: Arc<Vec<String>>,
    /// Tokens that are left.
    left: i64,
    /// Of those, tokens that are for the lines after this one.
    reserved: i64,
}

impl ListState {
    /// Whether a token of these bytes may come next.
    pub(crate) fn accepts(&self, bytes: &[u8]) -> bool {
        !bytes.is_empty() && self.clone().advance(bytes)
    }

    /// Takes a token. False if it may not come next; the state is then of no use any more.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> bool {
        self.left -= 1;
        bytes.iter().all(|byte| self.push(*byte)) && self.can_finish()
    }

    /// Whether the turn may end here: the last line is there, with or without its newline.
    pub(crate) fn may_end(&self) -> bool {
        match self.at {
            At::Done => true,
            At::Text => self.line + 1 == self.grammar.lines && self.finished_text().is_some(),
            _ => false,
        }
    }

    /// Whether the last line is closed by its newline: nothing more is to come.
    pub(crate) fn is_complete(&self) -> bool {
        self.at == At::Done
    }

    /// Takes a byte. False if it may not come next.
    fn push(&mut self, byte: u8) -> bool {
        match self.at {
            At::Break { blank: false } if byte == b'\n' => self.at = At::Break { blank: true },
            At::Break { .. } => {
                self.at = At::Number(1);
                return digits(self.line + 1).next() == Some(byte);
            }
            At::Number(written) => match digits(self.line + 1).nth(written) {
                Some(digit) if digit == byte => self.at = At::Number(written + 1),
                None if matches!(byte, b'.' | b')' | b':') => self.at = At::Text,
                _ => return false,
            },
            At::Text if byte == b'\n' => return self.close_line(),
            At::Text => return self.push_text(byte),
            At::Done => return byte == b'\n',
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
        self.at =
            if self.line == self.grammar.lines { At::Done } else { At::Break { blank: false } };
        self.reserve();
        true
    }

    /// Sets tokens aside for the lines after this one: all but an equal share, and never less than
    /// they need.
    fn reserve(&mut self) {
        let lines = (self.grammar.lines - self.line).max(1) as i64;
        let needed = (self.line + 1..self.grammar.lines).map(|line| self.grammar.least_line(line));
        self.reserved = (self.left - self.left / lines).max(needed.sum());
    }

    /// The line's text as the parser will give it, if the line may end here.
    fn finished_text(&self) -> Option<String> {
        let whole = self.partial.missing == 0 && self.chars <= self.grammar.longest;
        if self.at != At::Text || !whole {
            return None;
        }
        let text = std::str::from_utf8(&self.text).ok()?;
        let text = parse_list(&format!("1.{text}"), 1, self.grammar.longest, true).ok()?.pop()?;
        let repeated = self.earlier.iter().any(|other| other.eq_ignore_ascii_case(&text));
        (!repeated).then_some(text)
    }

    /// Letters without which the line cannot end, 0 if it can. A text that ends with a letter or
    /// digit loses nothing but spaces to the parser, so that n more make 36^n texts of the line; as
    /// long as fewer of them are taken, one is free.
    fn rescue(&self) -> i64 {
        if self.finished_text().is_some() {
            return 0;
        }
        let rivals = |letters: usize| {
            let extends = |other: &&String| {
                other.len() == self.text.len() + letters
                    && other.as_bytes()[..self.text.len()].eq_ignore_ascii_case(&self.text)
            };
            self.earlier.iter().filter(extends).count()
        };
        let mut letters = 1;
        while ALPHABET.pow(letters) <= rivals(letters as usize) {
            letters += 1;
        }
        i64::from(letters)
    }

    /// Tokens that finishing the line takes at most, if each is a byte: its number, the rest of a
    /// character, `rescue` letters, the newline. The lines after it have their own in `reserved`.
    fn needed(&self, rescue: i64) -> i64 {
        match self.at {
            At::Break { .. } => self.grammar.least_line(self.line),
            At::Number(written) => self.grammar.least_line(self.line) - written as i64,
            At::Text => i64::from(self.partial.missing) + rescue + 1,
            At::Done => 0,
        }
    }

    /// Whether the list can be finished from here, within the tokens and characters left.
    fn can_finish(&self) -> bool {
        let finishes = |rescue: i64| {
            let chars = self.chars + usize::from(self.partial.missing > 0) + rescue as usize;
            self.needed(rescue) <= self.left - self.reserved
                && (self.at != At::Text || chars <= self.grammar.longest)
        };
        // Most often there is room enough that the text need not be looked at.
        finishes(ListGrammar::least_text(self.line))
            || (self.partial.missing == 0 && self.at == At::Text && finishes(self.rescue()))
    }
}

impl Partial {
    /// A character that begins with `byte`, if one does.
    fn begin(byte: u8) -> Option<Self> {
        let lead = u32::from(byte);
        let (missing, code, low, high) = match byte {
            0x20..=0x7e => (0, lead, 0, 0),
            0xc2..=0xdf => (1, lead & 0x1f, 0x80, 0xbf),
            // Neither overlong forms nor surrogates nor what lies above U+10FFFF.
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

/// Whether a character may stand in a line: no control character, no line or paragraph separator,
/// no replacement character, none of the code points that are no characters.
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
