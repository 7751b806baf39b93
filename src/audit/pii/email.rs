//! E-mail addresses: something, `@`, a domain with a dot. Letters of any script are taken; addresses
//! that hide (`anna at example dot org`) are not seen.

use std::ops::Range;

/// Longest local part and domain (RFC 5321, 4.5.3.1), in characters.
const LOCAL: usize = 64;
const DOMAIN: usize = 253;

/// All addresses in `text`.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    for (at, _) in text.match_indices('@') {
        let local = text[..at]
            .char_indices()
            .rev()
            .take(LOCAL)
            .take_while(|(_, c)| c.is_alphanumeric() || "._%+-'".contains(*c))
            .last();
        let domain = text[at + 1..]
            .char_indices()
            .take(DOMAIN)
            .take_while(|(_, c)| c.is_alphanumeric() || ".-".contains(*c))
            .last();
        let (Some((start, _)), Some((end, last))) = (local, domain) else { continue };
        let start = start + text[start..at].len()
            - text[start..at].trim_start_matches(['.', '\'', '-']).len();
        let domain = text[at + 1..at + 1 + end + last.len_utf8()].trim_end_matches(['.', '-']);
        if start < at && is_domain(domain) {
            found.push(start..at + 1 + domain.len());
        }
    }
}

fn is_domain(domain: &str) -> bool {
    let Some((rest, top)) = domain.rsplit_once('.') else { return false };
    let lettered = top.chars().count() >= 2 && top.chars().all(char::is_alphabetic);
    (lettered || top.starts_with("xn--")) && rest.split('.').all(|label| !label.is_empty())
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
        for no in ["@anna", "me@localhost", "a@b", "50 @ 2.50", "x@1.2", "a@.org", "a@b..org"] {
            assert_eq!(all(no), [""; 0], "{no}");
        }
    }
}
