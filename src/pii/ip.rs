//! IP addresses, version 4 and 6. Four numbers with dots are a software version if a keyword says
//! so or a letter follows. Addresses that are the same on every machine (127.0.0.1, ::1, 0.0.0.0)
//! identify nobody.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use super::window::{continues_token, last_word};

/// Words that make the four numbers right after them a version or a section. Words for what is done
/// to a machine (`update`, `patch`) are left out, since an address may follow them.
const VERSION_KEYWORDS: [&str; 14] = [
    "version",
    "versions",
    "v",
    "ver",
    "release",
    "build",
    "firmware",
    "software",
    "section",
    "chapter",
    "clause",
    "kapitel",
    "abschnitt",
    "rev",
];

/// Adds the byte ranges of all addresses in `text` to `found`.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    let mut at = 0;
    while let Some(offset) = text[at..].find(part) {
        let start = at + offset;
        let length = text[start..].find(|c| !part(c)).unwrap_or(text.len() - start);
        at = start + length;
        let mut before = text[..start].chars().rev();
        let inside = match before.next() {
            Some('-' | '_' | '@') => before.next().is_some_and(char::is_alphabetic),
            Some(c) => continues_token(c),
            None => false,
        };
        if inside {
            continue;
        }
        let token = text[start..at].trim_end_matches('.');
        let token = if token.ends_with("::") { token } else { token.trim_end_matches(':') };
        // Without the port: 192.0.2.1:80.
        let host = token.split(':').next().unwrap_or_default();
        for token in [token, host] {
            let after = &text[start + token.len()..];
            if ends_before(after) && is_address(token, &text[..start]) {
                found.push(start..start + token.len());
                break;
            }
        }
    }
}

/// Whether an address can end before `after`; not in `1.2.3.4-rc` or `10.0.0.1st`.
fn ends_before(after: &str) -> bool {
    let mut after = after.chars();
    match (after.next(), after.next()) {
        (Some('-' | '_' | '+'), Some(next)) => !(continues_token(next) && next.is_alphabetic()),
        (Some('.'), Some(next)) => !next.is_ascii_digit(),
        (Some(next), _) => !continues_token(next),
        (None, _) => true,
    }
}

fn is_address(token: &str, before: &str) -> bool {
    let address = match token.parse::<Ipv4Addr>() {
        Ok(address) => {
            if VERSION_KEYWORDS.contains(&last_word(before).as_str()) {
                return false;
            }
            IpAddr::V4(address)
        }
        Err(_) => match token.parse::<Ipv6Addr>() {
            Ok(address) if looks_like_ipv6(token) => IpAddr::V6(address),
            _ => return false,
        },
    };
    !address.is_loopback() && !address.is_unspecified()
}

/// Whether `token` is more than a path in source code such as `a::b`: it has a digit, and either
/// three groups or a first group of four characters.
fn looks_like_ipv6(token: &str) -> bool {
    let groups = token.split(':').filter(|group| !group.is_empty()).count();
    let first = token.split(':').next().map_or(0, str::len);
    token.bytes().any(|byte| byte.is_ascii_digit()) && (groups >= 3 || first == 4)
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
    fn addresses_are_told_from_versions() {
        assert_eq!(all("from 192.0.2.17, then 198.51.100.2:8080."), ["192.0.2.17", "198.51.100.2"]);
        assert_eq!(
            all("ping 2001:db8::ff00:42:8329 or [fe80::1]"),
            ["2001:db8::ff00:42:8329", "fe80::1"]
        );
        assert_eq!(
            all("203.0.113.0/24 and 192.0.2.1-192.0.2.9"),
            ["203.0.113.0", "192.0.2.1", "192.0.2.9"]
        );
        for text in [
            "the server in our rack 10.0.0.5",
            "please update 192.0.2.7",
            "the driver of 192.0.2.7 fails",
            "the version on the server, 192.0.2.7",
            "서버 192.0.2.7에서",
        ] {
            assert_eq!(all(text).len(), 1, "{text}");
        }
        for no in [
            "1.2.3.4-rc",
            "version 10.4.2.1",
            "v1.2.3.4",
            "256.1.1.1",
            "1.2.3.4.5",
            "at 12:30:45",
            "std::fs",
            "a::b",
            "127.0.0.1",
            "::1",
            "1.2.3",
            "01.02.2024",
            "firmware: 1.0.0.3",
        ] {
            assert_eq!(all(no), [""; 0], "{no}");
        }
    }
}
