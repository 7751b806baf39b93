//! Estimates of time, in words.

use crate::counted::counted;

/// What an estimate of time rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// `promptmix bench` on this machine.
    Measured,
    /// The user's numbers.
    Given,
    /// The size of the model.
    Guessed,
}

impl Basis {
    pub(super) fn of(measured: bool) -> Self {
        if measured { Self::Measured } else { Self::Guessed }
    }
}

/// A time in words.
pub(super) fn words(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => counted(seconds.round() as usize, "second"),
        seconds if seconds < 5400.0 => format!("{:.0} minutes", seconds / 60.0),
        seconds => format!("{:.1} hours", seconds / 3600.0),
    }
}

/// A time estimate, and what it rests on.
pub(super) fn duration(seconds: f64, basis: Basis, flag: &str) -> String {
    let time = words(seconds);
    match basis {
        Basis::Measured => {
            format!("about {time}, as measured by `promptmix bench` on this machine")
        }
        Basis::Given => format!("about {time}, at the given speed"),
        Basis::Guessed => {
            format!("very roughly {time}; `promptmix bench {flag} MODEL` measures it")
        }
    }
}
