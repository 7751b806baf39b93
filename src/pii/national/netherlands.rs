//! Netherlands: the citizen service number (BSN), nine digits with a weighted sum divisible by 11.
//! One number in eleven passes, so a keyword is required.

use crate::pii::{checksum::weighted, window::Window};

const KEYWORDS: [&str; 5] = ["bsn", "burgerservice", "sofinummer", "sofi", "citizen service"];

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let Some(digits) = window.digits(9) else {
        return false;
    };
    let forms: [&[usize]; 3] = [&[9], &[3, 3, 3], &[4, 2, 3]];
    // The last digit's weight is -1.
    let sum = weighted(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
    forms.iter().any(|form| window.has_form(form, " .-"))
        && sum > 0
        && sum % 11 == digits[8]
        && window.stands_alone()
        && window.has_keyword(&KEYWORDS)
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn citizen_service_numbers() {
        let no = ["111222333", "BSN: 111222334", "BSN: 000000000"];
        check("Dutch BSN", &["BSN: 111222333", "burgerservicenummer: 1234.56.782"], &no);
    }
}
