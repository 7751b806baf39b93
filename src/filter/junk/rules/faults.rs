//! Rules that drop a text.

use std::sync::LazyLock;

use regex::Regex;
use unicode_script::{Script, UnicodeScript as _};

use super::{
    Context, SNAKE, announces_class, before_number, classes_with_shares, is_made_of_names, regex,
    remark, words,
};
use crate::filter::junk::{Junk, known::Known};

/// Whether a text has the form.
pub(in crate::filter::junk) type Fault = fn(&str, Context<'_>) -> bool;

/// In the order in which they are tried; the first that applies names the reason.
pub(in crate::filter::junk) const FAULTS: [(Junk, Fault); 12] = [
    (Junk::Empty, is_empty),
    (Junk::BareNumber, is_bare_number),
    (Junk::Code, is_code),
    (Junk::Remark, remark::is_remark),
    (Junk::ClassName, is_class_name),
    (Junk::Identifier, has_identifier),
    (Junk::OtherScript, has_other_script),
    (Junk::SeveralTexts, holds_several_texts),
    (Junk::Placeholder, has_placeholder),
    (Junk::ClassNote, mentions_shares),
    (Junk::CutOff, is_cut_off),
    (Junk::SingleWord, is_single_word),
];

/// Neither letters nor numbers; an emoji says something, too.
fn is_empty(text: &str, _: Context<'_>) -> bool {
    !text.chars().any(char::is_alphanumeric) && !has_emoji(text)
}

fn has_emoji(text: &str) -> bool {
    static EMOJI: LazyLock<Regex> = LazyLock::new(|| regex(r"\p{Extended_Pictographic}"));
    EMOJI.is_match(text)
}

/// Numbers and nothing else, or the number of a text, as in `Question 1`; `10/10` and `$5` mean
/// more, and so does a long number: `ticket 4711`.
fn is_bare_number(text: &str, Context { known, .. }: Context<'_>) -> bool {
    let is_digit = |c: char| c.is_numeric();
    let is_number =
        || text.chars().all(|c| is_digit(c) || c.is_whitespace() || ".,:;%#()-–".contains(c));
    let is_numbered = || {
        let words = words(text);
        let kind = before_number(&words);
        kind.len() < words.len()
            && known.kinds.iter().any(|known| known == kind)
            && words.last().is_some_and(|number| number.len() < 3)
    };
    text.contains(is_digit) && (is_number() || is_numbered())
}

/// Whether the whole text is markup. Text about code has words around it.
fn is_code(text: &str, _: Context<'_>) -> bool {
    static CODE: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r#"(?x) ^```[^`]*$ | ^```.*```$ | ^\|\s.*\s\|$ | ^[\[{]+\s*".*["\]},]$ | ^https?://\S+$
               | ^(?:GET|POST|PUT|PATCH|DELETE|HEAD)\s+/\S*(?:\s+HTTP/[\d.]+)?(?:\s+\([^()]*\))?$
               | ^<[a-zA-Z][^<>]*>.*</[a-zA-Z][^<>]*>$ | </?s>$ | <\|[^|\s]*\|> | ^<!--[^>]*(?:-->)?$"#,
        )
    });
    CODE.is_match(text)
}

fn is_class_name(text: &str, Context { known, .. }: Context<'_>) -> bool {
    let name = match text.split_once([':', '：', '=']) {
        Some((label, name)) if announces_class(label) => name,
        _ => text,
    };
    let words = words(name);
    !words.is_empty() && (is_made_of_names(&words, known) || known.descriptions.contains(&words))
}

/// Whether a class stands in the text as programs write it, or another such name of the prompt.
/// Names that the prompt does not have are what the text is about: `JAVA_HOME`, `report_2024`,
/// unless the text has nothing else, or they are made of the names of classes.
fn has_identifier(text: &str, Context { known, place }: Context<'_>) -> bool {
    static IDENTIFIER: LazyLock<Regex> = LazyLock::new(|| regex(r"[\p{L}\d]+(?:_+[\p{L}\d]+)+"));
    let is_address = |word: &str| word.contains(['@', '/', '\\', '.']);
    known.has_identifier_of_class(text)
        || is_made_of_identifiers(text)
        || text.split_whitespace().any(|word| {
            let word = word.trim_end_matches(['.', ',', '?', '!', ':', ';']);
            let found = IDENTIFIER.find(word).filter(|_| !is_address(word));
            found.is_some_and(|name| {
                place.asks_with(name.as_str()) || known.is_like_class(name.as_str())
            })
        })
}

/// Whether the text has nothing but names as programs write them, perhaps with their words:
/// `pto_used: pto used`.
fn is_made_of_identifiers(text: &str) -> bool {
    static NAME: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"\b{SNAKE}\b")));
    let parts: Vec<&str> = NAME.find_iter(text).flat_map(|it| it.as_str().split('_')).collect();
    !parts.is_empty() && words(text).iter().all(|word| parts.contains(&word.as_str()))
}

/// Whether a word has a letter in a foreign script, or the whole text is in Latin letters where the
/// task has none. Symbols (π, kΩ, μg) and words in quotes or brackets are what the text is about.
fn has_other_script(text: &str, Context { known, .. }: Context<'_>) -> bool {
    static QUOTED: LazyLock<Regex> =
        LazyLock::new(|| regex(r#"["“„«‘'(\[「][^"“”„«»‘’'()\[\]「」]*["”“»’')\]」]"#));
    let own = |c: char| known.uses(c.script());
    let latin = |c: char| c.script() == Script::Latin;
    // Names and abbreviations are Latin in all languages.
    let is_plain = |word: &&str| word.chars().count() > 3 && word.chars().all(char::is_lowercase);
    let words = || text.split(|c: char| !c.is_alphabetic());
    QUOTED.replace_all(text, " ").split(|c: char| !c.is_alphabetic()).any(|w| is_foreign(w, known))
        || (known.is_without_latin()
            && text.chars().any(latin)
            && !text.chars().any(own)
            && words().filter(is_plain).count() > 1)
}

/// A single letter is a symbol, and so are up to three if some are Greek.
fn is_foreign(word: &str, known: &Known) -> bool {
    let scripts: Vec<Script> = word.chars().map(|letter| letter.script()).collect();
    let longest_symbol = if scripts.contains(&Script::Greek) { 3 } else { 1 };
    scripts.len() > longest_symbol && scripts.into_iter().any(|script| known.is_foreign(script))
}

/// Whether the next number of the list or a speaker follows the end of a sentence. Other numbers
/// are dates, or a list within the text, which begins with 1.
fn holds_several_texts(text: &str, Context { place, .. }: Context<'_>) -> bool {
    static NUMBER: LazyLock<Regex> =
        LazyLock::new(|| regex(r#"(?:^|(?P<end>[.?!…"”)])?\s)\(?(\d{1,2})[.)]\s+\S"#));
    static SPEAKER: LazyLock<Regex> = LazyLock::new(|| {
        regex(r#"[.?!…"”)]\s+(?:Assistant|Human|AI):\s|[?!]["”)]?\s+(?:User|Customer|Agent):\s"#)
    });
    let next = NUMBER.captures(text).is_some_and(|first| {
        first.name("end").is_some() && first[2].parse().is_ok_and(|number| place.precedes(number))
    });
    next || SPEAKER.is_match(text)
}

/// Whether a field of a form letter is left to fill in, or the whole text stands for none. Only
/// fields that are known: brackets also hold remarks (`[sic]`, `[solved]`), and are part of code
/// and formulas.
fn has_placeholder(text: &str, _: Context<'_>) -> bool {
    static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
        const FIELD: &str = r"(?i:(?:your|insert|enter)\s[\p{L}\s'/-]+|(?:[\p{L}']+[\s_-]){0,2}(?:name|date|time|number|address|e-?mail|phone|company|city|country|location|amount|product))";
        regex(&format!(r"(?:^|[\s(,])(?:\[{FIELD}\]|<{FIELD}>|\{{{FIELD}\}})(?:$|[\s).,;:!?'])"))
    });
    static NOTHING: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?i)^(?:[(\[<]?(?:n/a|n\.a\.?|tbd|null)[)\]>]?[.!]?|[(\[<](?:none|blank|empty|no text)[)\]>])$",
        )
    });
    PLACEHOLDER.is_match(text) || NOTHING.is_match(text)
}

/// Whether the text gives the shares of classes, as only the prompt does: `90% to the class fee`,
/// `90% refund, 10% fee`. One of them alone can be what the text is about: `a 3% fee`.
fn mentions_shares(text: &str, context: Context<'_>) -> bool {
    static TO_CLASS: LazyLock<Regex> =
        LazyLock::new(|| regex(r"%\s*(?:of\s+|to\s+)?(?:the\s+)?class\s"));
    let classes = classes_with_shares(text, context).len();
    classes > 1 || (classes == 1 && TO_CLASS.is_match(text))
}

/// Whether the text breaks off: it ends as no sentence does, a bracket stays open, or it has as
/// many characters as it may have.
fn is_cut_off(text: &str, Context { known, .. }: Context<'_>) -> bool {
    let ends_open = text.ends_with([',', ';', '&', '–', '—'])
        || text.strip_suffix(':').is_some_and(|before| !before.ends_with(is_closing));
    (!looks_like_code(text) && (ends_open || leaves_bracket_open(text)))
        || text.chars().count() >= known.longest
}

fn is_closing(c: char) -> bool {
    matches!(c, ')' | ']' | '}' | '"' | '\'' | '`')
}

/// Programs end their lines in other ways than sentences: `if x:`, `int x = 5;`.
fn looks_like_code(text: &str) -> bool {
    static CODE: LazyLock<Regex> = LazyLock::new(|| regex(r"[={}`\\]|->|::|//|[\p{L}\d_]\("));
    CODE.is_match(text)
}

/// Whether a bracket before a word, or at the end, is never closed. Those of emoticons (`:(`) open
/// nothing, and any bracket closes any other: `[0, 1)`.
fn leaves_bracket_open(text: &str) -> bool {
    let mut open = Vec::new();
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let is_eye = |c: char| matches!(c, ':' | ';' | '=' | '-' | '\'' | '´' | '^' | '(');
        match c {
            // The mouth of an emoticon, which may be repeated.
            '(' | '[' if before.is_some_and(is_eye) => {}
            '(' | '[' => open.push(chars.peek().is_none_or(|next| next.is_alphabetic())),
            ')' | ']' => drop(open.pop()),
            _ => {}
        }
        before = Some(c);
    }
    open.contains(&true)
}

/// Whether the text is one word and no exclamation. Some scripts do not separate words.
fn is_single_word(text: &str, _: Context<'_>) -> bool {
    let without_spaces = |c: char| {
        matches!(
            c.script(),
            Script::Han
                | Script::Hiragana
                | Script::Katakana
                | Script::Thai
                | Script::Lao
                | Script::Khmer
                | Script::Myanmar
                | Script::Tibetan
        )
    };
    text.split_whitespace().count() == 1
        && text.contains(char::is_alphabetic)
        && !text.ends_with(['!', '?'])
        && !text.chars().any(without_spaces)
        && !has_emoji(text)
}
