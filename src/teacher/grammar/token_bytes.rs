//! The bytes of every token of a vocabulary, sorted out once so that most tokens can be judged by a
//! few numbers, and the mask that judges all of them.

use super::{At, ListGrammar, ListState, Partial, is_text};

/// What a token is to a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It writes bytes.
    Text,
    /// It ends the turn.
    End,
    /// It has no place in a reply.
    Control,
}

/// What is known of a token in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whole characters of a line's text.
    Plain,
    /// A line may end in it, or it holds parts of characters: only the automaton can tell.
    Mixed,
    /// Ends the turn.
    End,
    /// Never allowed.
    Never,
}

#[derive(Debug, Clone, Copy)]
struct Facts {
    kind: Kind,
    /// First byte.
    first: u8,
    /// Of a plain token: how many characters it has, up to 255.
    chars: u8,
    /// Of a plain token: whether it ends with a letter or digit of ASCII.
    closes: bool,
    /// Of a plain token: whether a line's text may begin with it, and whether it may where a space
    /// stands before.
    begins: (bool, bool),
}

/// A vocabulary.
#[derive(Debug, Clone)]
pub(crate) struct TokenBytes {
    bytes: Vec<u8>,
    /// Where each token's bytes end.
    ends: Vec<u32>,
    facts: Vec<Facts>,
}

impl TokenBytes {
    /// Takes the tokens in order of their ids: the bytes that each writes, and what it is.
    pub(crate) fn new(tokens: impl IntoIterator<Item = (Vec<u8>, Role)>) -> Self {
        let mut pieces = Self { bytes: Vec::new(), ends: Vec::new(), facts: Vec::new() };
        for (bytes, role) in tokens {
            pieces.bytes.extend_from_slice(&bytes);
            pieces.ends.push(u32::try_from(pieces.bytes.len()).unwrap_or(u32::MAX));
            pieces.facts.push(Facts::new(&bytes, role));
        }
        pieces
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.facts.len()
    }

    /// What the token writes; nothing if there is no such token.
    pub(crate) fn bytes(&self, token: i32) -> &[u8] {
        let Ok(index) = usize::try_from(token) else { return &[] };
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start as usize..end as usize]
    }

    /// Whether the token ends the turn.
    pub(crate) fn is_end(&self, token: i32) -> bool {
        self.kind(token) == Kind::End
    }

    fn kind(&self, token: i32) -> Kind {
        let index = usize::try_from(token).ok();
        index.and_then(|index| self.facts.get(index)).map_or(Kind::Never, |facts| facts.kind)
    }

    /// Whether `token` may come next in `state`.
    pub(crate) fn accepts(&self, state: &ListState, token: i32) -> bool {
        match self.kind(token) {
            Kind::Never => false,
            Kind::End => state.may_end(),
            Kind::Plain | Kind::Mixed => state.accepts(self.bytes(token)),
        }
    }

    /// Writes to `allowed` (`[vocabulary]`) which tokens may come next in `state`.
    pub(crate) fn mask(&self, state: &ListState, allowed: &mut Vec<bool>) {
        let may_end = state.may_end();
        let judge = Judge::new(state);
        allowed.clear();
        allowed.extend(self.facts.iter().enumerate().map(|(token, facts)| match facts.kind {
            Kind::Never => false,
            Kind::End => may_end,
            Kind::Plain | Kind::Mixed => {
                judge.at_once(facts).unwrap_or_else(|| state.accepts(self.bytes(token as i32)))
            }
        }));
    }
}

impl Facts {
    fn new(bytes: &[u8], role: Role) -> Self {
        let no_text =
            |kind| Self { kind, first: 0, chars: 0, closes: false, begins: (false, false) };
        match role {
            Role::End => return no_text(Kind::End),
            Role::Control => return no_text(Kind::Never),
            Role::Text => {}
        }
        let Some(&first) = bytes.first() else { return no_text(Kind::Never) };
        let kind = match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(is_text) => {
                let mut letters = text.chars();
                let (one, two) = (letters.next().unwrap_or(' '), letters.next());
                let begins = !one.is_whitespace();
                let spaced = one == ' ' && !two.is_some_and(char::is_whitespace);
                return Self {
                    kind: Kind::Plain,
                    first,
                    chars: u8::try_from(text.chars().count()).unwrap_or(u8::MAX),
                    closes: bytes.last().is_some_and(u8::is_ascii_alphanumeric),
                    begins: (begins || spaced, begins),
                };
            }
            _ if can_be_part(bytes) => Kind::Mixed,
            _ => Kind::Never,
        };
        Self { kind, first, ..no_text(kind) }
    }
}

/// Whether `bytes` may stand somewhere in a list: parts of characters only at the ends, no control
/// character but newlines, and behind a newline at most one other or a digit. The newlines that may
/// follow a finished list are any number.
fn can_be_part(bytes: &[u8]) -> bool {
    let start = bytes.iter().take(3).take_while(|byte| (0x80..0xc0).contains(*byte)).count();
    let mut rest = &bytes[start..];
    let mut last = ' ';
    while let Some(&byte) = rest.first() {
        let missing = match Partial::begin(byte) {
            Some(begun) => usize::from(begun.missing),
            None if byte == b'\n' => 0,
            None => return false,
        };
        let Some(letter) = rest.get(..=missing) else { break };
        let Ok(letter) = std::str::from_utf8(letter) else { return false };
        let letter = letter.chars().next().unwrap_or(' ');
        let fits = letter == '\n' || is_text(letter);
        if !fits || (last == '\n' && letter != '\n' && !letter.is_ascii_digit()) {
            return false;
        }
        last = letter;
        rest = &rest[missing + 1..];
    }
    true
}

/// Judges tokens by their facts alone, where those are enough.
struct Judge {
    at: At,
    /// The only first bytes that may come next, where only few may.
    firsts: Option<[u8; 3]>,
    /// Whether the line's text is empty, and whether its space is there.
    empty: bool,
    spaced: bool,
    /// Whether a character is unfinished.
    partial: bool,
    /// Most characters that a plain token may have if no more than that is looked at, and most that
    /// one may have at all.
    surely: i64,
    possibly: i64,
    /// Whether any text that ends with a letter or digit ends the line well.
    unrivalled: bool,
}

impl Judge {
    fn new(state: &ListState) -> Self {
        let firsts = match state.at {
            At::Text => None,
            At::Done => Some([b'\n'; 3]),
            At::Break { .. } => {
                let digit = crate::teacher::grammar::digits(state.line + 1).next().unwrap_or(b'\n');
                Some([digit, digit, b'\n'])
            }
            At::Number(written) => {
                match crate::teacher::grammar::digits(state.line + 1).nth(written) {
                    Some(digit) => Some([digit; 3]),
                    None => Some([b'.', b')', b':']),
                }
            }
        };
        // What a plain token leaves of tokens, without the newline.
        let tokens = state.left - 1 - state.reserved - 1;
        let chars = state.grammar.longest as i64 - state.chars as i64;
        let rescue = ListGrammar::least_text(state.line);
        let unrivalled = state.earlier.iter().all(|other| {
            other
                .as_bytes()
                .get(..state.text.len())
                .is_none_or(|start| !start.eq_ignore_ascii_case(&state.text))
        });
        Self {
            at: state.at,
            firsts,
            empty: state.text.is_empty(),
            spaced: state.spaced,
            partial: state.partial.missing > 0,
            surely: if tokens >= rescue { chars - rescue } else { -1 },
            possibly: if tokens >= 0 { chars } else { -1 },
            unrivalled,
        }
    }

    /// Whether the token may come next, if its facts say so.
    fn at_once(&self, facts: &Facts) -> Option<bool> {
        if self.firsts.is_some_and(|firsts| !firsts.contains(&facts.first)) {
            return Some(false);
        }
        let continues = (0x80..0xc0).contains(&facts.first);
        if self.at == At::Text && self.partial != continues {
            return Some(false);
        }
        if facts.kind != Kind::Plain || self.at != At::Text {
            return None;
        }
        let begins = if self.spaced { facts.begins.1 } else { facts.begins.0 };
        if self.empty && !begins {
            return Some(false);
        }
        // The space behind the number is no part of the text.
        let behind = self.empty && facts.first == b' ';
        let chars = i64::from(facts.chars) - i64::from(behind);
        if chars > self.possibly {
            return Some(false);
        }
        let enough = chars <= self.surely || (facts.closes && self.unrivalled);
        // 255 characters may be more.
        (enough && facts.chars < u8::MAX).then_some(true)
    }
}
