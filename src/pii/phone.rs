//! Phone numbers: with a country code (`+49 30 …`, `0049 …`), with a trunk prefix (`030/123456`),
//! in the North American format (`(555) 010-1234`), and any digits after a keyword such as `phone`.
//! Dates, versions, prices and ticket numbers are left alone.

use std::ops::Range;

use super::{
    compact,
    window::{Window, floor, is_unspaced, last_word},
};

/// Keywords before a phone number.
const KEYWORDS: [&str; 38] = [
    "phone",
    "tel",
    "telephone",
    "call",
    "call me",
    "mobile",
    "cell",
    "cellphone",
    "fax",
    "whatsapp",
    "signal",
    "sms",
    "text me",
    "dial",
    "reach me",
    "ring",
    "hotline",
    "extension",
    "contact number",
    "telefon",
    "handy",
    "mobil",
    "rückruf",
    "rufnummer",
    "ruf",
    "anrufen",
    "durchwahl",
    "téléphone",
    "tél",
    "portable",
    "móvil",
    "teléfono",
    "telefono",
    "cellulare",
    "telefoon",
    "telefone",
    "celular",
    "numer telefonu",
];
/// Keywords before an ungrouped number that is something else.
const OTHER_KEYWORDS: [&str; 25] = [
    "order",
    "ticket",
    "invoice",
    "case",
    "ref",
    "reference",
    "account",
    "tracking",
    "customer",
    "booking",
    "serial",
    "article",
    "part",
    "contract",
    "policy",
    "transaction",
    "auftrag",
    "bestellung",
    "rechnung",
    "kunden",
    "vertrag",
    "vorgang",
    "commande",
    "pedido",
    "factura",
];
/// Bytes before a number that are searched for a keyword.
const NEAR: usize = 32;

/// The byte range of the phone number in this window, if it is one.
pub(super) fn find(window: &Window<'_>) -> Option<Range<usize>> {
    let number = window.compact();
    let count = number.len();
    if !(7..=15).contains(&count) || !window.is_digits() {
        return None;
    }
    let groups: Vec<usize> = window.groups().collect();
    let plus = window.before().trim_end_matches('(').ends_with('+');
    if !is_dialling_format(window, &groups) || (!plus && !window.stands_apart()) {
        return None;
    }
    let grouped = groups.len() > 1;
    let bytes = number.as_bytes();
    let valid = if plus {
        bytes[0] != b'0' && count >= 8
    } else if number.starts_with("00") {
        bytes[2] != b'0' && count >= 10 && (grouped || count >= 12) && !is_other(window)
    } else if bytes[0] == b'0' {
        let ungrouped = (10..=11).contains(&count) && !is_other(window);
        (9..=12).contains(&count) && (ungrouped || (grouped && groups[0] <= 6))
    } else {
        is_north_american(window, number)
            || is_chinese(window, number)
            || window.has_keyword_before(&KEYWORDS, NEAR)
    };
    (valid && !has_date(window) && !is_price(window)).then(|| {
        let mut span = window.span();
        // Includes its leading signs: `+49`, `(030)`, `(+49)`.
        for sign in ['+', '('] {
            let opens = sign == '+' || window.gaps().any(|gap| gap.contains(')'));
            if opens && window.before()[..span.start].ends_with(sign) {
                span.start -= 1;
            }
        }
        span
    })
}

/// Two-digit country codes (ITU-T E.164, annex); 1 and 7 have one digit, all others three.
const TWO_DIGIT_CODES: [&str; 44] = [
    "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47",
    "48", "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65",
    "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
];

/// The national significant number, without the trunk prefix 0: two spellings of one number differ
/// only in the country code and in leading zeros.
pub(super) fn national(written: &str) -> String {
    let digits = compact(written);
    let abroad = match written.trim_start_matches('(').starts_with('+') {
        true => Some(digits.as_str()),
        false => digits.strip_prefix("00"),
    };
    let number = match abroad {
        Some(number) => {
            let two = number.get(..2).is_some_and(|code| TWO_DIGIT_CODES.contains(&code));
            let length = match number.as_bytes() {
                [b'1' | b'7', ..] => 1,
                _ if two => 2,
                _ => 3,
            };
            number.get(length..).unwrap_or_default()
        }
        // North American, with its country code.
        None if digits.len() == 11 && digits.starts_with('1') => &digits[1..],
        None => &digits,
    };
    number.trim_start_matches('0').to_owned()
}

/// Whether the digits are grouped like a phone number: a group of one digit is the first group,
/// stands in brackets, or comes last after a hyphen; groups separated by dots have at least two
/// digits.
fn is_dialling_format(window: &Window<'_>, groups: &[usize]) -> bool {
    let gaps: Vec<&str> = window.gaps().collect();
    let single = |place: usize| match place {
        0 => true,
        _ => gaps[place - 1].contains('(') || (gaps[place - 1] == "-" && place + 1 == groups.len()),
    };
    let dotted = gaps.iter().any(|gap| gap.contains('.'));
    groups.len() <= 7
        && groups.iter().enumerate().all(|(place, length)| *length > 1 || single(place))
        && !(dotted && groups.iter().skip(1).any(|length| *length < 2))
        && (gaps.iter().filter(|gap| gap.contains('/')).count() <= 1)
        && gaps
            .iter()
            .all(|gap| !gap.contains('(') || gap.chars().filter(|c| *c == '(').count() == 1)
}

/// `(555) 010-1234`, `202-555-0143`, `1-202-555-0143`. Area code and exchange do not start with 0
/// or 1, except an exchange after an area code in brackets: invented numbers are often written so.
fn is_north_american(window: &Window<'_>, number: &str) -> bool {
    let local = number.strip_prefix('1').filter(|_| number.len() == 11).unwrap_or(number);
    let groups: Vec<usize> = window.groups().collect();
    let form = match groups.as_slice() {
        [1, rest @ ..] if number.len() == 11 => rest,
        rest => rest,
    };
    let bracketed = window.gaps().any(|gap| gap.contains(')'));
    let valid = |at: usize| matches!(local.as_bytes()[at], b'2'..=b'9');
    local.len() == 10
        && form == [3, 3, 4]
        && valid(0)
        && (valid(3) || bracketed)
        && window.gaps().all(|gap| !gap.contains('/'))
}

/// A Chinese mobile number: eleven digits that start with 13 to 19, near characters of an unspaced
/// script.
fn is_chinese(window: &Window<'_>, number: &str) -> bool {
    const OTHER_KEYWORDS: [&str; 6] = ["订单", "訂單", "单号", "單號", "编号", "編號"];
    let before = window.before();
    let before = &before[floor(before, before.len().saturating_sub(NEAR))..];
    let after = window.after().chars().take(4);
    window.groups().count() == 1
        && number.len() == 11
        && number.as_bytes()[0] == b'1'
        && (b'3'..=b'9').contains(&number.as_bytes()[1])
        && before.chars().chain(after).any(is_unspaced)
        && !OTHER_KEYWORDS.iter().any(|other| before.contains(other))
}

/// Whether a keyword says that this is another kind of number, such as an order.
fn is_other(window: &Window<'_>) -> bool {
    window.has_keyword_before(&OTHER_KEYWORDS, NEAR) && !window.has_keyword_before(&KEYWORDS, NEAR)
}

/// Whether three of its groups form a date: `2024-01-31`, `31.01.2024`, `1/31/24`.
fn has_date(window: &Window<'_>) -> bool {
    let groups: Vec<usize> = window.groups().collect();
    let gaps: Vec<&str> = window.gaps().collect();
    let mut start = 0;
    let mut numbers = Vec::with_capacity(groups.len());
    for length in &groups {
        numbers.push(window.compact()[start..start + length].parse::<u64>().unwrap_or(u64::MAX));
        start += length;
    }
    (0..groups.len().saturating_sub(2)).any(|at| {
        let [a, b, c] = [numbers[at], numbers[at + 1], numbers[at + 2]];
        let lengths = [groups[at], groups[at + 1], groups[at + 2]];
        let year = |n: u64| (1900..2100).contains(&n);
        let day_and_month = |a: u64, b: u64| {
            ((1..=31).contains(&a) && (1..=12).contains(&b))
                || ((1..=12).contains(&a) && (1..=31).contains(&b))
        };
        let same = gaps[at] == gaps[at + 1] && ["-", ".", "/", ". "].contains(&gaps[at]);
        let short = |length: usize| length <= 2;
        same && ((lengths[0] == 4
            && year(a)
            && short(lengths[1])
            && short(lengths[2])
            && day_and_month(b, c))
            || (short(lengths[0])
                && short(lengths[1])
                && day_and_month(a, b)
                && ((lengths[2] == 4 && year(c)) || (lengths[2] == 2 && groups.len() == 3))))
    })
}

/// Whether a currency or a percent sign is beside it.
fn is_price(window: &Window<'_>) -> bool {
    const SIGNS: [char; 7] = ['$', '€', '£', '¥', '₹', '₽', '%'];
    const NAMES: [&str; 9] = ["eur", "usd", "gbp", "chf", "euro", "euros", "dollars", "inr", "sek"];
    let after = window.after().trim_start();
    let word = after.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    window.before().trim_end().ends_with(SIGNS)
        || after.starts_with(SIGNS)
        || NAMES.contains(&word.to_lowercase().as_str())
        || NAMES.contains(&last_word(window.before()).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pii::tests::found;

    #[test]
    fn numbers_as_people_write_them() {
        for (text, number) in [
            ("call +49 (0)30 901820-13 now", "+49 (0)30 901820-13"),
            ("+1 (202) 555-0143", "+1 (202) 555-0143"),
            ("my number: +442079460958.", "+442079460958"),
            ("0049 30 123456 is mine", "0049 30 123456"),
            ("ring 020 7946 0958 please", "020 7946 0958"),
            ("Tel.030/123456", "030/123456"),
            ("(030) 123 45 67", "(030) 123 45 67"),
            ("0171-1234567", "0171-1234567"),
            ("01 23 45 67 89", "01 23 45 67 89"),
            ("it is 01711234567", "01711234567"),
            ("(555) 010-1234", "(555) 010-1234"),
            ("202-555-0143 or", "202-555-0143"),
            ("202.555.0143", "202.555.0143"),
            ("mobile 612 345 678", "612 345 678"),
            ("call me at 555-0199", "555-0199"),
            ("010-1234-5678로 전화", "010-1234-5678"),
            ("请打13812345678谢谢", "13812345678"),
            ("Monsieur: 01 23 45 67 89", "01 23 45 67 89"),
            ("Friseur: 030 1234567", "030 1234567"),
            ("Ingenieur: 030/1234567", "030/1234567"),
        ] {
            assert_eq!(found(text), [("phone", number)], "{text}");
        }
    }

    #[test]
    fn a_comma_or_a_slash_separates_numbers() {
        for text in ["030 1234567,030 7654321", "030 1234567/030 7654321"] {
            assert_eq!(found(text), ["030 1234567", "030 7654321"].map(|number| ("phone", number)));
        }
    }

    #[test]
    fn other_numbers_are_not_phone_numbers() {
        for text in [
            "on 2024-01-31",
            "on 01.02.2024 10:30",
            "call us before 31/12/2024",
            "version 10.04.2024.1",
            "it cost 612 345 678 EUR",
            "$ 1234567890",
            "ticket 0012345678",
            "INC-0123456789",
            "order 01711234567",
            "#0171123456",
            "1.234.567,89",
            "12345678",
            "1234567890",
            "3.14159265",
            "between 100 200 and 300 400",
            "room 0123",
            "from 08:30 to 12:45",
            "pages 123-456",
            "a 20-30-40 split",
            "ISBN 978-3-16-148410-0",
            "2024 2025 2026",
            "01.02.2024 0930",
            "EUR 030 1234567",
            "订单13812345678",
            "13812345678",
        ] {
            assert!(
                !found(text).iter().any(|(kind, _)| *kind == "phone"),
                "{text}: {:?}",
                found(text)
            );
        }
    }

    #[test]
    fn spellings_of_one_number_compare_equal() {
        for spelling in ["+49 30 901820", "0049 30 901820", "+49 (0)30 901820", "(030) 901820"] {
            assert_eq!(national(spelling), "30901820", "{spelling}");
        }
        for spelling in ["+1 (202) 555-0143", "1-202-555-0143", "(202) 555-0143"] {
            assert_eq!(national(spelling), "2025550143", "{spelling}");
        }
        assert_eq!(national("+82 10-1234-5678"), national("010-1234-5678"));
        assert_eq!(national("+358 40 1234567"), "401234567");
        assert_ne!(national("+49 30 12345678"), national("+49 40 12345678"));
        assert_eq!(national("+4"), "");
    }
}
