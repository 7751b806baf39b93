//! Payment cards: a prefix and length that a network issues, and a Luhn check digit.

use super::{
    checksum::{digits, luhn},
    window::Window,
};

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let number = window.compact();
    if !(13..=19).contains(&number.len()) || !window.is_digits() || !is_issued(number) {
        return false;
    }
    let forms: [&[usize]; 7] = [
        &[4, 4, 4, 4],
        &[4, 6, 5],
        &[4, 6, 4],
        &[4, 4, 4, 4, 3],
        &[6, 13],
        &[4, 4, 4, 1],
        &[number.len()],
    ];
    forms.iter().any(|form| window.has_form(form, " -."))
        && window.stands_alone()
        && digits(number).is_some_and(|digits| luhn(&digits))
}

/// Whether a network issues numbers with this prefix and length (ISO/IEC 7812 issuer ranges of
/// Visa, Mastercard, American Express, Discover, JCB, Diners, UnionPay and Maestro).
fn is_issued(number: &str) -> bool {
    let prefix = |length: usize| number[..length].parse::<u32>().unwrap_or(0);
    let (two, three, four) = (prefix(2), prefix(3), prefix(4));
    match number.len() {
        13 => number.starts_with('4'),
        14 => (300..=305).contains(&three) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37),
        16 => {
            number.starts_with('4')
                || (51..=55).contains(&two)
                || (2221..=2720).contains(&four)
                || four == 6011
                || two == 65
                || (644..=649).contains(&three)
                || (3528..=3589).contains(&four)
                || matches!(two, 30 | 36 | 38 | 39 | 62)
                || matches!(four, 5018 | 5020 | 5038 | 6304 | 6759 | 6761 | 6762 | 6763)
        }
        17 | 18 => two == 62,
        19 => number.starts_with('4') || two == 62 || matches!(four, 6304 | 6759),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::pii::tests::found;

    #[test]
    fn the_networks_test_numbers_are_found() {
        for card in [
            "4111 1111 1111 1111",
            "5555-5555-5555-4444",
            "378282246310005",
            "3782 822463 10005",
            "6011111111111117",
            "2223003122003222",
            "30569309025904",
            "3530 1113 3330 0000",
        ] {
            assert_eq!(found(&format!("paid with {card} 12/27")), [("payment card", card)]);
        }
        for text in ["4111111111111111,12/27", "4111111111111111/12/27", "(4111111111111111)"] {
            assert_eq!(found(text), [("payment card", "4111111111111111")], "{text}");
        }
        let two = found("5555555555554444,4111111111111111");
        assert_eq!(
            two,
            ["5555555555554444", "4111111111111111"].map(|card| ("payment card", card))
        );
        for no in [
            "4111 1111 1111 1112",
            "4111 11111 111 1111",
            "1234567812345670",
            "INV-4111111111111111",
        ] {
            assert!(!found(no).iter().any(|(kind, _)| *kind == "payment card"), "{no}");
        }
    }
}
