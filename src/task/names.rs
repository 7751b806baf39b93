//! When two names count as the same: labels that differ in their number format do, and names that
//! look alike are a fault wherever they differ.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

/// Characters that cannot be seen: format characters and others without a shape.
static INVISIBLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[\p{Cf}\p{Default_Ignorable_Code_Point}]").expect("a valid pattern")
});

/// `name` without what a reader cannot see: compatibility forms of Unicode (NFKC), letter case,
/// white space around it and how much of it there is within, invisible characters. Two names that
/// are equal in this form look alike.
pub(super) fn folded(name: &str) -> String {
    let visible = INVISIBLE.replace_all(name, "");
    let plain: String = visible.nfkc().collect();
    // Upper case first: `ß` and `SS` are the same word.
    let lower: String = plain.to_uppercase().to_lowercase().nfkc().collect();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A label as all files write it: a whole number has no decimals, `1.0` is `1`. pandas turns whole
/// numbers into such numbers where a column has a gap.
pub(super) fn canonical(label: &str) -> Cow<'_, str> {
    let Some((whole, decimals)) = label.split_once('.') else { return label.into() };
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = !decimals.is_empty() && decimals.bytes().all(|byte| byte == b'0');
    if is_number && is_whole { whole.to_owned().into() } else { label.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_have_the_same_form() {
        for (a, b) in [
            ("vpn", "VPN"),
            ("acc\u{e8}s", "acce\u{300}s"),
            ("password ", "password"),
            ("pass\u{a0} word", "pass word"),
            ("vpn\u{200b}", "vpn"),
            ("so\u{ad}ft\u{feff}", "soft"),
            ("Stra\u{df}e", "STRASSE"),
            ("\u{ff21}\u{fb01}", "afi"),
        ] {
            assert_eq!(folded(a), folded(b), "{a:?} {b:?}");
        }
        assert_ne!(folded("pass word"), folded("password"));
        assert_ne!(folded("vpn_1"), folded("vpn-1"));
    }

    #[test]
    fn whole_numbers_have_one_spelling() {
        for (label, wanted) in [
            ("1.0", "1"),
            ("-2.000", "-2"),
            ("1.5", "1.5"),
            ("1.", "1."),
            ("v1.0", "v1.0"),
            ("007", "007"),
            (".0", ".0"),
        ] {
            assert_eq!(canonical(label), wanted);
        }
    }
}
