//! The rules, one for each form of junk.

use std::sync::LazyLock;

use regex::Regex;
use unicode_script::{Script, UnicodeScript as _};

use super::{
    Junk,
    known::{Known, words},
};

/// The text without what the rule is about; `None` if it has nothing of it.
pub(super) type Cleaning = fn(&str, &Known) -> Option<String>;
/// Whether a text has the form.
pub(super) type Fault = fn(&str, &Known) -> bool;

pub(super) const CLEANING: [(Junk, Cleaning); 8] = [
    (Junk::Quotes, without_quotes),
    (Junk::ListMark, without_list_mark),
    (Junk::Markdown, without_heading),
    (Junk::Markdown, |text, _| without_mark(text, "**")),
    (Junk::Markdown, |text, _| without_mark(text, "`")),
    (Junk::Markdown, without_emphasis),
    (Junk::ClassNote, without_class_note),
    (Junk::Label, without_label),
];

/// In the order in which they are tried; the first that applies names the reason.
pub(super) const FAULTS: [(Junk, Fault); 10] = [
    (Junk::BareNumber, has_no_letter),
    (Junk::Code, is_code),
    (Junk::ClassName, is_class_name),
    (Junk::Identifier, has_identifier),
    (Junk::OtherScript, has_other_script),
    (Junk::SeveralTexts, holds_several_texts),
    (Junk::Placeholder, has_placeholder),
    (Junk::ClassNote, mentions_share),
    (Junk::CutOff, is_cut_off),
    (Junk::SingleWord, is_single_word),
];

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant that tests compile")
}

const QUOTES: [(char, char); 6] =
    [('"', '"'), ('“', '”'), ('„', '“'), ('«', '»'), ('\'', '\''), ('‘', '’')];

fn without_quotes(text: &str, _: &Known) -> Option<String> {
    let enclosed = QUOTES.iter().find_map(|&(open, close)| {
        let inner = text.strip_prefix(open)?.strip_suffix(close)?;
        // `"a" and "b"` has quotes at both ends and none around it.
        let quotes = |(at, c): (usize, char)| {
            (c == open || c == close) && !(is_apostrophe(c) && joins_letters(inner, at, c))
        };
        (!inner.char_indices().any(quotes)).then(|| inner.to_owned())
    });
    // A quote at one end that has no partner.
    let single = || {
        (text.matches('"').count() == 1)
            .then(|| text.strip_prefix('"').or_else(|| text.strip_suffix('"')))
            .flatten()
            .map(str::to_owned)
    };
    enclosed.or_else(single)
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’')
}

fn joins_letters(text: &str, at: usize, c: char) -> bool {
    let before = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
    before && text[at + c.len_utf8()..].chars().next().is_some_and(char::is_alphanumeric)
}

fn without_list_mark(text: &str, _: &Known) -> Option<String> {
    static MARK: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"^(?:[-*•·▪‣►–—>]+\s+|\(?\d{1,3}[.):]+\s+|\(?\p{L}\)\s+|\d{1,2}(?:\.\d{1,2})+[.):]?\s+)",
        )
    });
    MARK.find(text).map(|mark| text[mark.end()..].to_owned())
}

fn without_heading(text: &str, _: &Known) -> Option<String> {
    static HEADING: LazyLock<Regex> = LazyLock::new(|| regex(r"^#{1,6}\s+"));
    HEADING.find(text).map(|heading| text[heading.end()..].to_owned())
}

/// Removes all of a mark that encloses words; a code fence is another form.
fn without_mark(text: &str, mark: &str) -> Option<String> {
    (text.contains(mark) && !text.contains("```")).then(|| text.replace(mark, ""))
}

/// Removes single asterisks and underscores around words.
fn without_emphasis(text: &str, _: &Known) -> Option<String> {
    static EMPHASIS: LazyLock<Regex> =
        LazyLock::new(|| regex(r"(^|[\s(])(?:\*|__?)(\S(?:[^*_]*\S)?)(?:\*|__?)($|[\s).,;:!?])"));
    EMPHASIS.is_match(text).then(|| EMPHASIS.replace_all(text, "$1$2$3").into_owned())
}

/// Removes a share of the mix before the text, and a bracket at either end that gives one or names
/// a class.
fn without_class_note(text: &str, known: &Known) -> Option<String> {
    static SHARE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"^\d{1,3}(?:\.\d+)?\s?%\s*(?:[-–—:|]\s*)+"));
    if let Some(share) = SHARE.find(text) {
        return Some(text[share.end()..].to_owned());
    }
    const BRACKETS: [(char, char); 3] = [('(', ')'), ('[', ']'), ('{', '}')];
    BRACKETS.iter().find_map(|&(open, close)| {
        let end = text.trim_end_matches(['.', '?', '!']);
        let last = end.strip_suffix(close).and_then(|inner| inner.rsplit_once(open));
        if let Some((before, _)) = last.filter(|(_, note)| is_class_note(note, known)) {
            return Some(format!("{}{}", before.trim_end(), &text[end.len()..]));
        }
        let (note, after) = text.strip_prefix(open)?.split_once(close)?;
        is_class_note(note, known).then(|| after.trim_start_matches([':', '-', ' ']).to_owned())
    })
}

/// Whether a note gives a percentage, or holds nothing but names of classes.
fn is_class_note(note: &str, known: &Known) -> bool {
    let class = words(note).into_iter().filter(|word| !["class", "and"].contains(&word.as_str()));
    note.contains('%') || is_made_of_names(&class.collect::<Vec<_>>(), known)
}

/// Removes a speaker or the name of a class before a colon, and the name of a class before a dash
/// or a bar.
fn without_label(text: &str, known: &Known) -> Option<String> {
    static SEPARATOR: LazyLock<Regex> = LazyLock::new(|| regex(r"\s+(?:\||-+|–|—)\s+"));
    let classes = &known.names[..known.classes];
    if let Some(separator) = SEPARATOR.find(text)
        && classes.contains(&words(&text[..separator.start()]))
    {
        return Some(text[separator.end()..].to_owned());
    }
    let (label, rest) = text.split_once([':', '：'])?;
    let mut label = words(label);
    if label.len() > 1 && label.last().is_some_and(|word| word.parse::<u32>().is_ok()) {
        label.pop();
    }
    let is_label = known.labels.contains(&label);
    // A label without a text is no label, but a name.
    (is_label && rest.contains(char::is_alphanumeric)).then(|| rest.to_owned())
}

fn has_no_letter(text: &str, _: &Known) -> bool {
    !text.chars().any(char::is_alphabetic)
}

fn is_code(text: &str, _: &Known) -> bool {
    static CODE: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r#"(?x) ``` | ^(?:GET|POST|PUT|PATCH|DELETE|HEAD)\s+/ | ^[\[{]+\s*" | ^\|.*\|$
               | </?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]*)?/?>\S | </[a-zA-Z]+> | <\|[^|]*\|>
               | ^https?://\S+$ | ^<!--"#,
        )
    });
    CODE.is_match(text)
}

fn is_class_name(text: &str, known: &Known) -> bool {
    let words = words(text);
    is_made_of_names(&words, known) || known.descriptions.contains(&words)
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

fn has_identifier(text: &str, _: &Known) -> bool {
    static IDENTIFIER: LazyLock<Regex> = LazyLock::new(|| regex(r"[\p{L}\d]_[\p{L}\d]"));
    let is_address = |word: &str| word.contains(['@', '/', '\\', '.']);
    text.split_whitespace().any(|word| {
        let word = word.trim_end_matches(['.', ',', '?', '!', ':', ';']);
        IDENTIFIER.is_match(word) && !is_address(word)
    })
}

/// Whether a word has a letter in a foreign script, or the whole text is in Latin letters where the
/// task has none. A single letter between others is a symbol, such as π.
fn has_other_script(text: &str, known: &Known) -> bool {
    let foreign = |word: &str| {
        let mut letters = word.chars().filter(|c| c.is_alphabetic());
        word.chars().filter(|c| c.is_alphabetic()).count() > 1
            && letters.any(|letter| known.is_foreign(letter.script()))
    };
    let own = |c: char| known.uses(c.script());
    let latin = |c: char| c.script() == Script::Latin;
    text.split(|c: char| !c.is_alphabetic()).any(foreign)
        || (known.is_without_latin() && text.chars().any(latin) && !text.chars().any(own))
}

/// Whether a list number or a speaker follows the end of a sentence.
fn holds_several_texts(text: &str, _: &Known) -> bool {
    static SECOND: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r#"(?x) [.?!…"”)]\s+\(?\d{1,2}[.)]\s+\S | \S\s+(?:User|Assistant|Customer|Agent|Human|AI):\s"#,
        )
    });
    SECOND.is_match(text)
}

fn has_placeholder(text: &str, _: &Known) -> bool {
    static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"\[[\p{L}][\p{L}\s'/_-]*\]|<[\p{L}][\p{L}\s_-]*>|\{[\p{L}][\p{L}\s_-]*\}|_{3,}")
    });
    PLACEHOLDER.is_match(text)
}

/// Whether the text names a share of a class, as only the prompt does: `90% numeric`.
fn mentions_share(text: &str, known: &Known) -> bool {
    static SHARE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\d\s?%\s*(?:of\s+|to\s+|the\s+|class\s+)*(.*)"));
    SHARE.captures(text).is_some_and(|found| {
        let after = words(&found[1]);
        let classes = &known.names[..known.classes];
        classes.iter().any(|name| !name.is_empty() && after.starts_with(name))
    })
}

/// Whether the text breaks off: it ends as no sentence does, a bracket stays open, or it has as
/// many characters as it may have.
fn is_cut_off(text: &str, known: &Known) -> bool {
    let opened = |open: char, close: char| text.matches(open).count() > text.matches(close).count();
    text.ends_with([',', ';', ':', '(', '[', '{', '-', '–', '—', '/', '&', '='])
        || opened('(', ')')
        || opened('[', ']')
        || text.chars().count() >= known.longest
}

fn is_single_word(text: &str, _: &Known) -> bool {
    words(text).len() == 1
}
