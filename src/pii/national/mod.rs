//! National identification numbers. Each has its own file; to add one, add a file here and a line
//! to [`KINDS`].
//!
//! A number with a strong checksum or a distinctive format is accepted anywhere. A number that
//! could be anything (nine digits, of which one in eleven passes the check) is accepted only with a
//! keyword beside it: order and invoice numbers have as many digits.

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

/// All national kinds.
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

    /// Checks that each of `yes` is found as `kind`, in full, and none of `no` as that kind.
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
