//! Check digits. Each function takes digits (or letters) without separators.

/// The digits of `text`; `None` if it contains anything else.
pub(super) fn digits(text: &str) -> Option<Vec<u32>> {
    text.chars().map(|c| c.to_digit(10)).collect()
}

/// The Luhn formula over all digits, the last being the check digit (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, double @ 10..) => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The remainder modulo 97 of a number in which each letter stands for two digits, A = 10 to Z = 35
/// (ISO 7064).
pub(super) fn mod_97(text: impl Iterator<Item = char>) -> Option<u32> {
    let mut rest = 0;
    for c in text {
        let value = c.to_digit(36)?;
        rest = (rest * if value > 9 { 100 } else { 10 } + value) % 97;
    }
    Some(rest)
}

/// ISO 7064, MOD 11-10, over all digits, the last being the check digit.
pub(super) fn mod_11_10(digits: &[u32]) -> bool {
    let Some((check, rest)) = digits.split_last() else { return false };
    let product = rest.iter().fold(10, |product, digit| {
        let sum = (product + digit) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == *check
}

/// The weighted sum of the digits.
pub(super) fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// The Verhoeff algorithm over all digits, the last being the check digit (J. Verhoeff, Error
/// Detecting Decimal Codes, 1969): multiplication in the dihedral group D5, with a permutation that
/// depends on the position.
pub(super) fn verhoeff(digits: &[u32]) -> bool {
    const PERMUTATION: [usize; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let product = |a: usize, b: usize| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a + 5 - b - 5) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let mut check = 0;
    for (place, digit) in digits.iter().rev().enumerate() {
        let mut permuted = *digit as usize;
        for _ in 0..place % 8 {
            permuted = PERMUTATION[permuted];
        }
        check = product(check, permuted);
    }
    check == 0
}

/// Whether `month` has a day `day`; February has 29.
pub(super) fn is_day(month: u32, day: u32) -> bool {
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<u32> {
        digits(text).unwrap()
    }

    #[test]
    fn published_examples_pass() {
        assert!(luhn(&of("79927398713")) && !luhn(&of("79927398710")));
        // Verhoeff's own example 236 with check digit 3.
        assert!(verhoeff(&of("2363")) && !verhoeff(&of("2364")) && !verhoeff(&of("3263")));
        assert!(mod_11_10(&of("86095742719")) && !mod_11_10(&of("86095742718")));
        assert_eq!(mod_97("3214282912345698765432161182".chars()), Some(1));
    }

    #[test]
    fn verhoeff_detects_every_wrong_digit_and_every_swap() {
        let sound = of("999941057058");
        assert!(verhoeff(&sound));
        for place in 0..sound.len() {
            for digit in (0..10).filter(|digit| *digit != sound[place]) {
                let mut wrong = sound.clone();
                wrong[place] = digit;
                assert!(!verhoeff(&wrong), "{wrong:?}");
            }
            if place > 0 && sound[place] != sound[place - 1] {
                let mut wrong = sound.clone();
                wrong.swap(place, place - 1);
                assert!(!verhoeff(&wrong), "{wrong:?}");
            }
        }
    }
}
