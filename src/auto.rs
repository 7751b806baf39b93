//! A setting that is a number, or `"auto"`: chosen from the data.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number, or `"auto"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Auto<T = usize> {
    /// Chosen from the data.
    #[default]
    Auto,
    Exactly(T),
}

impl<T> Auto<T> {
    /// The number; `chosen` for `"auto"`.
    pub(crate) fn unwrap_or(self, chosen: T) -> T {
        match self {
            Self::Auto => chosen,
            Self::Exactly(number) => number,
        }
    }

    /// The number as a setting; `chosen` for `"auto"`.
    #[must_use]
    pub(crate) fn or(self, chosen: T) -> Self {
        Self::Exactly(self.unwrap_or(chosen))
    }
}

impl<T: fmt::Display> fmt::Display for Auto<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exactly(number) => number.fmt(f),
        }
    }
}

impl<T: Serialize> Serialize for Auto<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Exactly(number) => number.serialize(serializer),
        }
    }
}

/// A number that a setting may have.
pub(crate) trait Number: Sized {
    /// What is expected, for errors.
    const EXPECTED: &str;

    /// `number`, if it is one of these.
    fn of_integer(number: i64) -> Option<Self>;

    /// `number`, if it is one of these.
    fn of_real(number: f64) -> Option<Self>;
}

impl Number for usize {
    const EXPECTED: &str = "a whole number or \"auto\"";

    fn of_integer(number: i64) -> Option<Self> {
        number.try_into().ok()
    }

    fn of_real(_: f64) -> Option<Self> {
        None
    }
}

impl Number for f64 {
    const EXPECTED: &str = "a number or \"auto\"";

    fn of_integer(number: i64) -> Option<Self> {
        Some(number as Self)
    }

    fn of_real(number: f64) -> Option<Self> {
        Some(number)
    }
}

impl<'de, T: Number> Deserialize<'de> for Auto<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AutoVisitor(PhantomData))
    }
}

struct AutoVisitor<T>(PhantomData<T>);

impl<T: Number> de::Visitor<'_> for AutoVisitor<T> {
    type Value = Auto<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Auto<T>, E> {
        match text {
            "auto" => Ok(Auto::Auto),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Auto<T>, E> {
        let wrong = || E::invalid_value(de::Unexpected::Signed(number), &self);
        T::of_integer(number).map(Auto::Exactly).ok_or_else(wrong)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Auto<T>, E> {
        let wrong = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
        i64::try_from(number).map_err(wrong).and_then(|number| self.visit_i64(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Auto<T>, E> {
        let wrong = || E::invalid_value(de::Unexpected::Float(number), &self);
        T::of_real(number).map(Auto::Exactly).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_the_word_auto_and_nothing_else() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Table {
            n: Auto,
        }
        let read = |text: &str| toml::from_str::<Table>(text).map(|table| table.n);
        assert_eq!(read("n = \"auto\""), Ok(Auto::Auto));
        assert_eq!(read("n = 7"), Ok(Auto::Exactly(7)));
        for wrong in ["n = \"car\"", "n = -1", "n = 1.5"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("a whole number or \"auto\""), "{error}");
        }
        assert_eq!(toml::to_string(&Table { n: Auto::Auto }).unwrap(), "n = \"auto\"\n");
        assert_eq!(serde_json::to_string(&Table { n: Auto::Exactly(3) }).unwrap(), "{\"n\":3}");
        assert_eq!((Auto::Auto.unwrap_or(5), Auto::Exactly(3).or(5)), (5, Auto::Exactly(3)));
        let read = |text| serde_json::from_str::<Auto<f64>>(text);
        let numbers = ["0.5", "1", "\"auto\""].map(|text| read(text).unwrap());
        assert_eq!(numbers, [Auto::Exactly(0.5), Auto::Exactly(1.0), Auto::Auto]);
        assert!(read("\"car\"").unwrap_err().to_string().contains("a number or \"auto\""));
    }
}
