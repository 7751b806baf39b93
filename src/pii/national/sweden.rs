//! Sweden: the personnummer, the date of birth and four digits, the last being the Luhn check digit
//! of ten digits. A coordination number (samordningsnummer) adds 60 to the day.

use crate::pii::{
    checksum::{is_day, luhn},
    window::Window,
};

const KEYWORDS: [&str; 4] = ["personnummer", "personnr", "pnr", "samordningsnummer"];

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let Some(all) = window.digits(10).or_else(|| window.digits(12)) else { return false };
    let Some(digits) = all.len().checked_sub(10).map(|start| &all[start..]) else { return false };
    let century = all[..all.len() - 10].iter().fold(0, |year, digit| year * 10 + digit);
    let day = digits[4] * 10 + digits[5];
    let formatted = window.has_form(&[6, 4], "-") || window.has_form(&[8, 4], "-");
    let bare =
        window.has_form(&[10], "") || window.has_form(&[12], "") || window.has_form(&[8, 4], " ");
    (all.len() == 10 || (18..=20).contains(&century))
        && is_day(digits[2] * 10 + digits[3], if day > 60 { day - 60 } else { day })
        && luhn(digits)
        && window.stands_alone()
        && (formatted || (bare && window.has_keyword(&KEYWORDS)))
}

#[cfg(test)]
mod tests {
    use crate::pii::national::tests::check;

    #[test]
    fn numbers() {
        let yes = ["811218-9876", "19811218-9876", "personnummer: 198112189876"];
        let no = ["811218-9877", "811318-9876", "8112189876", "21811218-9876"];
        check("Swedish personnummer", &yes, &no);
    }
}
