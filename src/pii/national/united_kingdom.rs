//! United Kingdom: the national insurance number, two letters, six digits, a letter (HMRC,
//! NIM39110).

use crate::pii::window::Window;

/// Prefixes that are never issued.
const UNUSED_PREFIXES: [&str; 7] = ["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"];

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let number = window.compact().as_bytes();
    let &[a, b, ref digits @ .., last] = number else { return false };
    let forms: [&[usize]; 3] = [&[9], &[2, 2, 2, 2, 1], &[2, 6, 1]];
    number.len() == 9
        && forms.iter().any(|form| window.has_form(form, " -"))
        && window.stands_alone()
        && a.is_ascii_uppercase()
        && b.is_ascii_uppercase()
        && !b"DFIQUV".contains(&a)
        && !b"DFIOQUV".contains(&b)
        && !UNUSED_PREFIXES.contains(&&window.compact()[..2])
        && digits.iter().all(u8::is_ascii_digit)
        && (b'A'..=b'D').contains(&last)
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn national_insurance_numbers() {
        let no = ["QQ 12 34 56 C", "AB 12 34 56 E", "GB123456A", "AB 12 34 5 C", "AO123456C"];
        check("UK national insurance", &["AB 12 34 56 C", "ab123456c", "JG-10-37-59-A"], &no);
    }
}
