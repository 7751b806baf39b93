//! International bank account numbers: a length for each country, and a checksum modulo 97 (ISO
//! 13616).

use super::{checksum::mod_97, window::Window};

/// Length by country, from the SWIFT IBAN registry.
const LENGTHS: [(&str, usize); 89] = [
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HN", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

pub(super) fn accepts(window: &Window<'_>) -> bool {
    let iban = window.compact();
    let (Some(country), Some(check)) = (iban.get(..2), iban.get(2..4)) else { return false };
    LENGTHS.contains(&(country, iban.len()))
        && check.bytes().all(|byte| byte.is_ascii_digit())
        && mod_97(iban[4..].chars().chain(iban[..4].chars())) == Some(1)
}

#[cfg(test)]
mod tests {
    use crate::pii::tests::found;

    #[test]
    fn the_registry_examples_are_found() {
        for iban in [
            "DE89 3704 0044 0532 0130 00",
            "GB82WEST12345698765432",
            "NO93 8601 1117 947",
            "fr14 2004 1010 0505 0001 3M02 606",
            "BE68-5390-0754-7034",
            "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
        ] {
            let text = format!("My IBAN is {iban}, thanks");
            assert_eq!(found(&text), [("IBAN", iban)], "{iban}");
        }
        for no in
            ["DE88 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 0", "ZZ89370400440532013000"]
        {
            assert!(!found(no).iter().any(|(kind, _)| *kind == "IBAN"), "{no}");
        }
    }
}
