//! Spain: the DNI, eight digits and a letter, and the NIE of foreigners: X, Y or Z, seven digits
//! and a letter. The letter follows from the number modulo 23.

use crate::pii::window::Window;

const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let number = window.compact();
    if number.len() != 9 || !window.stands_alone() {
        return false;
    }
    let forms: [&[usize]; 4] = [&[9], &[8, 1], &[1, 7, 1], &[2, 3, 3, 1]];
    let dotted = window.groups().eq([2, 3, 3, 1]) && window.gaps().eq([".", ".", "-"]);
    let (body, letter) = number.split_at(8);
    let body = match body.as_bytes()[0] {
        b'X' => format!("0{}", &body[1..]),
        b'Y' => format!("1{}", &body[1..]),
        b'Z' => format!("2{}", &body[1..]),
        _ => body.to_owned(),
    };
    let digits = body.bytes().all(|byte| byte.is_ascii_digit());
    (dotted || forms.iter().any(|form| window.has_form(form, " -.")))
        && digits
        && body.parse::<usize>().is_ok_and(|n| LETTERS[n % 23] == letter.as_bytes()[0])
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn identity_numbers() {
        let yes = ["12345678Z", "12345678-z", "12.345.678-Z", "X1234567L", "Y-1234567-X"];
        check("Spanish DNI/NIE", &yes, &["12345678A", "X1234567A", "1234567Z", "W1234567L"]);
    }
}
