//! Numbers by which states know their people. Each is a file of its own; a new one is a file here and a
//! line in [`KINDS`].
//!
//! A number with a strong check, or written as only such a number is, counts wherever it stands. One that
//! could be any number (nine digits, one in eleven of which passes) counts only where a word beside it
//! says what it is: orders and invoices have as many digits.

mod brazil;
mod france;
mod germany;
mod india;
mod italy;
mod netherlands;
mod poland;
mod spain;
mod sweden;
mod switzerland;
mod united_kingdom;
mod united_states;

use super::{Kind, STRONG, WEAK, numbers};

/// All of them.
pub(super) const KINDS: [Kind; 12] = [
    numbers("US social security", "US_SSN", WEAK, united_states::accepts),
    numbers("UK national insurance", "UK_NINO", STRONG, united_kingdom::accepts),
    numbers("German tax id", "DE_STEUERID", WEAK, germany::accepts),
    numbers("Spanish DNI/NIE", "ES_DNI", STRONG, spain::accepts),
    numbers("French NIR", "FR_NIR", STRONG, france::accepts),
    numbers("Italian codice fiscale", "IT_CF", STRONG, italy::accepts),
    numbers("Dutch BSN", "NL_BSN", WEAK, netherlands::accepts),
    numbers("Polish PESEL", "PL_PESEL", WEAK, poland::accepts),
    numbers("Indian Aadhaar", "IN_AADHAAR", WEAK, india::accepts),
    numbers("Brazilian CPF", "BR_CPF", WEAK, brazil::accepts),
    numbers("Swedish personnummer", "SE_PNR", WEAK, sweden::accepts),
    numbers("Swiss AHV", "CH_AHV", STRONG, switzerland::accepts),
];

#[cfg(test)]
mod tests {
    use crate::pii::tests::found;

    /// Whether all of `yes` are found as `kind` in whole, and none of `no` as that kind.
    pub(super) fn check(kind: &str, yes: &[&str], no: &[&str]) {
        for number in yes {
            let text = format!("mine: {number}, or so");
            let number = number.rsplit_once(": ").map_or(*number, |(_, number)| number);
            assert_eq!(found(&text), [(kind, number)], "{text}");
        }
        for number in no {
            let text = format!("mine: {number}, or so");
            assert!(!found(&text).iter().any(|(found, _)| *found == kind), "{text}");
        }
    }
}
