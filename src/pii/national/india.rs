//! India: the Aadhaar number, twelve digits of which the first is at least 2 and the last is a
//! Verhoeff check digit (UIDAI).

use crate::pii::{checksum::verhoeff, window::Window};

const KEYWORDS: [&str; 4] = ["aadhaar", "aadhar", "adhaar", "uidai"];

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let Some(digits) = window.digits(12) else {
        return false;
    };
    let formatted = window.has_form(&[4, 4, 4], " -") && window.is_whole();
    digits[0] >= 2
        && verhoeff(&digits)
        && window.stands_alone()
        && (formatted || (window.has_form(&[12], "") && window.has_keyword(&KEYWORDS)))
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn numbers() {
        let no = ["9999 4105 7059", "999941057058", "0999 4105 7058", "9999 4105 7058 1234"];
        check("Indian Aadhaar", &["9999 4105 7058", "Aadhaar no: 999941057058"], &no);
    }
}
