//! E-mail addresses: a local part, `@`, a domain with a dot. Letters of any script are accepted;
//! obfuscated addresses (`anna at example dot org`) are not found.

use std::ops::Range;

use super::window::is_unspaced;

/// Longest domain (RFC 5321, 4.5.3.1), in characters. A local part has no limit here, although the
/// RFC allows 64: if only a part of it were masked, the rest could still identify somebody.
const DOMAIN: usize = 253;

/// Adds the byte ranges of all addresses in `text` to `found`.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    for (at, _) in text.match_indices('@') {
        let start = local(&text[..at]);
        if let Some(length) = domain(&text[at + 1..]).filter(|_| start < at) {
            found.push(start..at + 1 + length);
        }
    }
}

/// The start of the local part at the end of `text`.
fn local(text: &str) -> usize {
    // In `请联系anna` only `anna` belongs to the address.
    let unspaced = text.chars().next_back().is_some_and(is_unspaced);
    let part = |c: char| match c.is_alphanumeric() {
        true => unspaced || !is_unspaced(c),
        false => "._%+-'".contains(c),
    };
    let local = &text[text.trim_end_matches(part).len()..];
    text.len() - local.trim_start_matches(['.', '\'', '-']).len()
}

/// The length of the longest domain at the start of `text`. It ends with a label, or inside one
/// before a hyphen (`example.org-Adresse`) or a change of script (`example.org으로`).
fn domain(text: &str) -> Option<usize> {
    let longest = text.char_indices().nth(DOMAIN).map_or(text.len(), |(at, _)| at);
    let text = &text[..longest];
    let mut best: Option<usize> = None;
    let (mut label, mut last) = (0, None);
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        let continues = c.is_alphanumeric() && !last.is_some_and(|last| changes_script(last, c));
        if continues {
            last = Some(c);
            continue;
        }
        if let (Some(_), true) = (last, is_domain(&text[..at])) {
            // `example.org.Please`: the next sentence starts.
            let is_sentence = best.is_some_and(|best| {
                let before = text[..best].rsplit('.').next().unwrap_or_default();
                is_capitalised(&text[label..at]) && before.chars().all(char::is_lowercase)
            });
            if is_sentence {
                break;
            }
            best = Some(at);
        }
        match (c, last) {
            ('.', Some('-') | None) => break,
            ('.', _) => (label, last) = (at + 1, None),
            ('-', Some(_)) => last = Some('-'),
            _ => break,
        }
    }
    best
}

/// Whether `last` is ASCII and `c` is not Latin.
fn changes_script(last: char, c: char) -> bool {
    let latin = |c: char| matches!(u32::from(c), 0..=0x24f | 0x1e00..=0x1eff);
    last.is_ascii_alphanumeric() && !latin(c)
}

fn is_capitalised(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.all(char::is_lowercase)
}

/// Whether `domain` has at least two labels and the last one can be a top-level domain.
fn is_domain(domain: &str) -> bool {
    let Some((rest, top)) = domain.rsplit_once('.') else { return false };
    let lettered = top.chars().count() >= 2 && top.chars().all(char::is_alphabetic);
    (lettered || top.starts_with("xn--")) && !rest.is_empty() && !rest.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        find(text, &mut found);
        found.into_iter().map(|span| &text[span]).collect()
    }

    #[test]
    fn addresses_are_found_and_lookalikes_are_not() {
        let text = "write to <Anna.B+x@mail.example.org>, or to 'jörg@müller.example'.";
        assert_eq!(all(text), ["Anna.B+x@mail.example.org", "jörg@müller.example"]);
        assert_eq!(all("mailto:a@b.example."), ["a@b.example"]);
        for no in
            ["@anna", "me@localhost", "a@b", "50 @ 2.50", "x@1.2", "a@.org", "a@b..org", "a@-.org"]
        {
            assert_eq!(all(no), [""; 0], "{no}");
        }
    }

    #[test]
    fn an_address_ends_where_other_text_follows() {
        for (text, wanted) in [
            ("anna@example.org...thanks", "anna@example.org"),
            ("anna@example.org--thanks", "anna@example.org"),
            ("die anna@example.org-Adresse", "anna@example.org"),
            ("anna@example.org.Please call", "anna@example.org"),
            ("Anna@Example.Org", "Anna@Example.Org"),
            ("ANNA@MAIL.EXAMPLE.ORG", "ANNA@MAIL.EXAMPLE.ORG"),
            ("anna@my-company.example", "anna@my-company.example"),
            ("anna@example.org으로 보내", "anna@example.org"),
            ("请联系anna@example.org谢谢", "anna@example.org"),
            ("anna@example.orgへ", "anna@example.org"),
            ("на anna@example.orgи", "anna@example.org"),
            ("用户@例子.中国", "用户@例子.中国"),
            ("a@xn--mller-kva.example", "a@xn--mller-kva.example"),
            ("a@b.xn--p1ai", "a@b.xn--p1ai"),
        ] {
            assert_eq!(all(text), [wanted], "{text}");
        }
        let long = format!("{}@example.org", "a".repeat(80));
        assert_eq!(all(&long), [long.as_str()]);
    }
}
