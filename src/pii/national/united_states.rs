//! United States: the social security number, 3-2-4 digits. It has no check digit; some areas,
//! group 00 and serial 0000 are never issued (SSA, 20 CFR 422.103).

use crate::pii::window::Window;

const KEYWORDS: [&str; 4] = ["ssn", "social security", "social", "tax id"];

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let number = window.compact();
    if number.len() != 9 || !window.is_digits() || !window.stands_apart() {
        return false;
    }
    let form = window.has_form(&[3, 2, 4], "-")
        || ((window.has_form(&[9], "") || window.has_form(&[3, 2, 4], " ."))
            && window.has_keyword(&KEYWORDS));
    let area = &number[..3];
    form && area != "000"
        && area != "666"
        && !area.starts_with('9')
        && &number[3..5] != "00"
        && &number[5..] != "0000"
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn social_security_numbers() {
        let no = [
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "123-00-4567",
            "123-45-0000",
            "123456789",
        ];
        check("US social security", &["123-45-6789", "SSN: 123456789", "ssn: 123 45 6789"], &no);
    }
}
