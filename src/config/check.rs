//! Checks of single values.

use std::{fmt::Display, ops::RangeInclusive};

use super::ConfigError;

/// Refuses a `value` below `least`.
pub(super) fn at_least<T: PartialOrd + Display>(
    key: &'static str,
    value: T,
    least: T,
) -> Result<(), ConfigError> {
    if value >= least {
        return Ok(());
    }
    let wanted = format!("it must be at least {least}").into();
    Err(ConfigError::OutOfRange { key, value: value.to_string(), wanted })
}

/// Refuses a `value` outside `range`, NaN included.
pub(super) fn within<T: PartialOrd + Display>(
    key: &'static str,
    value: T,
    range: RangeInclusive<T>,
    wanted: &'static str,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange { key, value: value.to_string(), wanted: wanted.into() })
}
