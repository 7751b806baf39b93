//! Germany: the tax identification number, eleven digits. Among the first ten, one digit occurs
//! twice or three times and no other more than once; the last is a check digit (ISO 7064, MOD
//! 11-10).

use crate::pii::{checksum::mod_11_10, window::Window};

const KEYWORDS: [&str; 6] = ["steuer", "idnr", "tin", "tax id", "tax identification", "tax number"];

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let Some(digits) = window.digits(11) else {
        return false;
    };
    let mut counts = [0; 10];
    digits[..10].iter().for_each(|digit| counts[*digit as usize] += 1);
    let repeated: Vec<i32> = counts.into_iter().filter(|count| *count > 1).collect();
    let formatted = window.has_form(&[2, 3, 3, 3], " ") && window.is_whole();
    digits[0] != 0
        && matches!(repeated.as_slice(), [2 | 3])
        && mod_11_10(&digits)
        && window.stands_alone()
        && (formatted || (window.has_form(&[11], "") && window.has_keyword(&KEYWORDS)))
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn tax_ids() {
        // From the Federal Central Tax Office's description of the check digit.
        let no = ["86 095 742 718", "86095742719", "Steuer-ID: 12345678903", "11 111 111 111"];
        check(
            "German tax id",
            &["86 095 742 719", "Steuer-ID: 86095742719", "IdNr: 65929970489"],
            &no,
        );
    }
}
