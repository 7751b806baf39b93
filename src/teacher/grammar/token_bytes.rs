//! The bytes of every token of a vocabulary, and the mask of the tokens that may come next. Tokens
//! are classified once, so that for most of them a few numbers decide.

use super::{ListGrammar, ListState, Partial, Position, digits, is_text};

/// The role of a token in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenRole {
    /// It writes bytes.
    Text,
    /// It ends the turn.
    End,
    /// It is never allowed.
    Control,
}

/// What can be known about a token in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenClass {
    /// Complete characters of a line's text.
    Plain,
    /// It contains a newline or parts of characters, so only the automaton can decide.
    Mixed,
    /// Ends the turn.
    End,
    /// Never allowed.
    Never,
}

#[derive(Debug, Clone, Copy)]
struct TokenFacts {
    class: TokenClass,
    /// First byte.
    first: u8,
    /// Plain tokens: number of characters, at most 255.
    chars: u8,
    /// Plain tokens: whether it ends with an ASCII letter or digit.
    ends_alphanumeric: bool,
    /// Plain tokens: whether a line's text may begin with it.
    begins_text: bool,
    /// Plain tokens: the same directly after the line's number, where one space is allowed before
    /// the text.
    begins_line: bool,
}

/// The bytes of every token of a vocabulary.
#[derive(Debug, Clone)]
pub(crate) struct TokenBytes {
    bytes: Vec<u8>,
    /// Where each token's bytes end.
    ends: Vec<u32>,
    facts: Vec<TokenFacts>,
}

impl TokenBytes {
    /// Takes the tokens in the order of their ids: the bytes that each one writes, and its role.
    pub(crate) fn new(tokens: impl IntoIterator<Item = (Vec<u8>, TokenRole)>) -> Self {
        let mut all = Self { bytes: Vec::new(), ends: Vec::new(), facts: Vec::new() };
        for (bytes, role) in tokens {
            all.bytes.extend_from_slice(&bytes);
            all.ends.push(u32::try_from(all.bytes.len()).unwrap_or(u32::MAX));
            all.facts.push(TokenFacts::new(&bytes, role));
        }
        all
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.facts.len()
    }

    /// The bytes that the token writes; empty if there is no such token.
    pub(crate) fn bytes(&self, token: i32) -> &[u8] {
        let Ok(index) = usize::try_from(token) else { return &[] };
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start as usize..end as usize]
    }

    /// Whether the token ends the turn.
    pub(crate) fn is_end(&self, token: i32) -> bool {
        self.class(token) == TokenClass::End
    }

    fn class(&self, token: i32) -> TokenClass {
        let facts = usize::try_from(token).ok().and_then(|index| self.facts.get(index));
        facts.map_or(TokenClass::Never, |facts| facts.class)
    }

    /// Whether `token` may come next in `state`.
    pub(crate) fn accepts(&self, state: &ListState, token: i32) -> bool {
        match self.class(token) {
            TokenClass::Never => false,
            TokenClass::End => state.may_end(),
            TokenClass::Plain | TokenClass::Mixed => state.accepts(self.bytes(token)),
        }
    }

    /// Writes to `allowed` (`[vocabulary]`) which tokens may come next in `state`.
    pub(crate) fn mask(&self, state: &ListState, allowed: &mut Vec<bool>) {
        let may_end = state.may_end();
        let check = FastCheck::new(state);
        allowed.clear();
        allowed.extend(self.facts.iter().enumerate().map(|(token, facts)| match facts.class {
            TokenClass::Never => false,
            TokenClass::End => may_end,
            TokenClass::Plain | TokenClass::Mixed => {
                check.decide(facts).unwrap_or_else(|| state.accepts(self.bytes(token as i32)))
            }
        }));
    }
}

impl TokenFacts {
    fn new(bytes: &[u8], role: TokenRole) -> Self {
        let first = bytes.first().copied();
        let of_class = |class| Self {
            class,
            first: first.unwrap_or(0),
            chars: 0,
            ends_alphanumeric: false,
            begins_text: false,
            begins_line: false,
        };
        match role {
            TokenRole::End => return of_class(TokenClass::End),
            TokenRole::Control => return of_class(TokenClass::Never),
            TokenRole::Text if first.is_none() => return of_class(TokenClass::Never),
            TokenRole::Text => {}
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(is_text) => {
                let mut chars = text.chars();
                let (one, two) = (chars.next().unwrap_or(' '), chars.next());
                let begins_text = !one.is_whitespace();
                let after_space = one == ' ' && !two.is_some_and(char::is_whitespace);
                Self {
                    chars: u8::try_from(text.chars().count()).unwrap_or(u8::MAX),
                    ends_alphanumeric: bytes.last().is_some_and(u8::is_ascii_alphanumeric),
                    begins_text,
                    begins_line: begins_text || after_space,
                    ..of_class(TokenClass::Plain)
                }
            }
            _ if can_be_part(bytes) => of_class(TokenClass::Mixed),
            _ => of_class(TokenClass::Never),
        }
    }
}

/// Whether `bytes` can occur in a list: partial characters only at the ends, no control characters
/// other than newlines, and after a newline only another newline or a digit. A finished list may be
/// followed by any number of newlines.
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

/// Decides about tokens by their facts alone, where those suffice.
struct FastCheck {
    position: Position,
    /// The only bytes that a token may begin with, where there are few.
    first_bytes: Option<[u8; 3]>,
    /// Whether the line's text is empty, and whether its space was written.
    empty: bool,
    spaced: bool,
    /// Whether the last character is incomplete.
    partial: bool,
    /// A plain token of at most this many characters is accepted without a look at the text.
    surely: i64,
    /// A plain token of more characters than this is refused.
    possibly: i64,
    /// Whether no earlier line begins with the text so far: then the line may end after any letter
    /// or digit.
    unique: bool,
}

impl FastCheck {
    fn new(state: &ListState) -> Self {
        let first_bytes = match state.position {
            Position::Text => None,
            Position::Done => Some([b'\n'; 3]),
            Position::Break { .. } => {
                let digit = digits(state.line + 1).next().unwrap_or(b'\n');
                Some([digit, digit, b'\n'])
            }
            Position::Number(written) => match digits(state.line + 1).nth(written) {
                Some(digit) => Some([digit; 3]),
                None => Some([b'.', b')', b':']),
            },
        };
        // The tokens that remain after a plain token and the newline.
        let tokens = state.left - 1 - state.reserved - 1;
        let chars = state.grammar.longest as i64 - state.chars as i64;
        let letters = ListGrammar::min_letters(state.line);
        let unique = state.earlier.iter().all(|other| {
            other
                .as_bytes()
                .get(..state.text.len())
                .is_none_or(|start| !start.eq_ignore_ascii_case(&state.text))
        });
        Self {
            position: state.position,
            first_bytes,
            empty: state.text.is_empty(),
            spaced: state.spaced,
            partial: state.partial.missing > 0,
            surely: if tokens >= letters { chars - letters } else { -1 },
            possibly: if tokens >= 0 { chars } else { -1 },
            unique,
        }
    }

    /// Whether the token may come next; `None` if its facts do not decide.
    fn decide(&self, facts: &TokenFacts) -> Option<bool> {
        if self.first_bytes.is_some_and(|bytes| !bytes.contains(&facts.first)) {
            return Some(false);
        }
        let continues = (0x80..0xc0).contains(&facts.first);
        if self.position == Position::Text && self.partial != continues {
            return Some(false);
        }
        if facts.class != TokenClass::Plain || self.position != Position::Text {
            return None;
        }
        let begins = if self.spaced { facts.begins_text } else { facts.begins_line };
        if self.empty && !begins {
            return Some(false);
        }
        // The space after the number does not count as text.
        let space = self.empty && facts.first == b' ';
        let chars = i64::from(facts.chars) - i64::from(space);
        if chars > self.possibly {
            return Some(false);
        }
        let finishes = chars <= self.surely || (facts.ends_alphanumeric && self.unique);
        // A count of 255 may stand for more.
        (finishes && facts.chars < u8::MAX).then_some(true)
    }
}
