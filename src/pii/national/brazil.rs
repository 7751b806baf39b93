//! Brazil: the CPF, eleven digits, the last two being check digits modulo 11 (Receita Federal).

use crate::pii::{checksum::weighted, window::Window};

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let Some(digits) = window.digits(11) else {
        return false;
    };
    let check = |sum: u32| if sum % 11 < 2 { 0 } else { 11 - sum % 11 };
    let formatted = window.groups().eq([3, 3, 3, 2]) && window.gaps().eq([".", ".", "-"]);
    digits.iter().any(|digit| *digit != digits[0])
        && check(weighted(&digits[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2])) == digits[9]
        && check(weighted(&digits[..10], &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2])) == digits[10]
        && window.stands_alone()
        && (formatted
            || (window.has_form(&[11], "") && window.has_keyword(&["cpf", "contribuinte"])))
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn numbers() {
        let no = ["529.982.247-26", "111.111.111-11", "52998224725"];
        check("Brazilian CPF", &["529.982.247-25", "CPF: 52998224725"], &no);
    }
}
