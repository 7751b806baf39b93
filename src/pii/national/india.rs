//! India: the Aadhaar number, twelve digits that begin with 2 or more, the last being Verhoeff's check
//! digit (UIDAI).

use crate::pii::{checksum::verhoeff, window::Window};

const CALLED: [&str; 4] = ["aadhaar", "aadhar", "adhaar", "uidai"];

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let Some(digits) = window.digits(12) else {
        return false;
    };
    let written = window.has_form(&[4, 4, 4], " -") && window.is_whole();
    digits[0] >= 2
        && verhoeff(&digits)
        && window.stands_alone()
        && (written || (window.has_form(&[12], "") && window.is_called(&CALLED)))
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
