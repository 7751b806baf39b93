//! Poland: the PESEL, eleven digits with the date of birth (the month encodes the century) and a
//! check digit.

use crate::pii::{
    checksum::{is_day, weighted},
    window::Window,
};

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let Some(digits) = window.digits(11) else {
        return false;
    };
    let month = (digits[2] * 10 + digits[3]) % 20;
    let sum = weighted(&digits[..10], &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    window.has_form(&[11], "")
        && is_day(month, digits[4] * 10 + digits[5])
        && (10 - sum % 10) % 10 == digits[10]
        && window.stands_alone()
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn numbers() {
        check("Polish PESEL", &["44051401359"], &["44051401358", "44451401350", "440514 01359"]);
    }
}
