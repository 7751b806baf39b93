//! Italy: the codice fiscale, six letters of the name, date of birth and sex, place of birth, and a
//! check letter (decree of 23 December 1976). Letters replace digits where two people would have
//! the same code.

use crate::pii::window::Window;

/// The value of a character at an odd position (counted from 1), for digits and for letters.
const ODD_DIGITS: [usize; 10] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21];
const ODD_LETTERS: [usize; 26] =
    [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let code = window.compact().as_bytes();
    let forms: [&[usize]; 3] = [&[16], &[3, 3, 5, 5], &[3, 3, 5, 4, 1]];
    code.len() == 16
        && forms.iter().any(|form| window.has_form(form, " "))
        && code.iter().zip(b"LLLLLLNNMNNLNNNL").all(|(byte, class)| match class {
            b'L' => byte.is_ascii_uppercase(),
            b'M' => b"ABCDEHLMPRST".contains(byte),
            _ => byte.is_ascii_digit() || b"LMNPQRSTUV".contains(byte),
        })
        && check(&code[..15]) == usize::from(code[15] - b'A')
}

fn check(code: &[u8]) -> usize {
    let value = |(place, byte): (usize, &u8)| match (place % 2 == 0, byte.is_ascii_digit()) {
        (true, true) => ODD_DIGITS[usize::from(byte - b'0')],
        (true, false) => ODD_LETTERS[usize::from(byte - b'A')],
        (false, true) => usize::from(byte - b'0'),
        (false, false) => usize::from(byte - b'A'),
    };
    code.iter().enumerate().map(value).sum::<usize>() % 26
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn codes() {
        let yes = ["RSSMRA85T10A562S", "rssmra85t10a562s", "RSS MRA 85T10 A562S"];
        check("Italian codice fiscale", &yes, &["RSSMRA85T10A562T", "RSSMRA85X10A562S"]);
    }
}
