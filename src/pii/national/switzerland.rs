//! Switzerland: the AHV number, 756 (the country) and ten digits, the last being the check digit of
//! an EAN-13.

use crate::pii::{checksum::weighted, window::Window};

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let Some(digits) = window.digits(13) else {
        return false;
    };
    let sum = weighted(&digits[..12], &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3]);
    digits[..3] == [7, 5, 6]
        && (10 - sum % 10) % 10 == digits[12]
        && (window.has_form(&[13], "") || window.has_form(&[3, 4, 4, 2], ". "))
        && window.stands_alone()
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn numbers() {
        let no = ["756.9217.0769.84", "757.9217.0769.85"];
        check("Swiss AHV", &["756.9217.0769.85", "7569217076985"], &no);
    }
}
