//! E-mail addresses: something, `@`, a domain with a dot. Letters of any script are taken; addresses
//! that hide (`anna at example dot org`) are not seen.

use std::ops::Range;

use super::window::is_unspaced;

/// Longest domain (RFC 5321, 4.5.3.1), in characters. A local part that is longer than 64 is taken whole:
/// a part of it that is left standing names somebody too.
const DOMAIN: usize = 253;

/// All addresses in `text`.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    for (at, _) in text.match_indices('@') {
        let start = local(&text[..at]);
        if let Some(length) = domain(&text[at + 1..]).filter(|_| start < at) {
            found.push(start..at + 1 + length);
        }
    }
}

/// Where the local part begins that `text` ends with.
fn local(text: &str) -> usize {
    // `请联系anna` is a request and a name.
    let unspaced = text.chars().next_back().is_some_and(is_unspaced);
    let part = |c: char| match c.is_alphanumeric() {
        true => unspaced || !is_unspaced(c),
        false => "._%+-'".contains(c),
    };
    let local = &text[text.trim_end_matches(part).len()..];
    text.len() - local.trim_start_matches(['.', '\'', '-']).len()
}

/// The length of the longest domain that `text` begins with. It ends with a label, or within one before
/// a hyphen (`example.org-Adresse`) or another script (`example.org으로`).
fn domain(text: &str) -> Option<usize> {
    let longest = text.char_indices().nth(DOMAIN).map_or(text.len(), |(at, _)| at);
    let text = &text[..longest];
    let mut best: Option<usize> = None;
    let (mut label, mut last) = (0, None);
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        let goes_on = c.is_alphanumeric() && !last.is_some_and(|last| changes(last, c));
        if goes_on {
            last = Some(c);
            continue;
        }
        if let (Some(_), true) = (last, is_domain(&text[..at])) {
            // `example.org.Please`: a sentence begins.
            let begins = best.is_some_and(|best| {
                let before = text[..best].rsplit('.').next().unwrap_or_default();
                is_capitalised(&text[label..at]) && before.chars().all(char::is_lowercase)
            });
            if begins {
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

/// Whether the script changes from `last`, an ASCII one, to `c`: letters of the Latin script do not.
fn changes(last: char, c: char) -> bool {
    let latin = |c: char| matches!(u32::from(c), 0..=0x24f | 0x1e00..=0x1eff);
    last.is_ascii_alphanumeric() && !latin(c)
}

fn is_capitalised(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.all(char::is_lowercase)
}

/// Whether its labels are some and its last one is a top-level domain.
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
    fn addresses_and_what_only_looks_like_them() {
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
    fn what_is_written_on_ends_an_address() {
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
