//! A setting that is a number, or `"auto"`: chosen from the data.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number, or `"auto"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Auto {
    /// Chosen from the data.
    #[default]
    Auto,
    Exactly(usize),
}

impl Auto {
    /// The number; `chosen` for `"auto"`.
    pub(crate) fn unwrap_or(self, chosen: usize) -> usize {
        match self {
            Self::Auto => chosen,
            Self::Exactly(number) => number,
        }
    }

    /// The number as a setting; `chosen` for `"auto"`.
    #[must_use]
    pub(crate) fn or(self, chosen: usize) -> Self {
        Self::Exactly(self.unwrap_or(chosen))
    }
}

impl fmt::Display for Auto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exactly(number) => number.fmt(f),
        }
    }
}

impl Serialize for Auto {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Exactly(number) => serializer.serialize_u64(number as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Auto {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Auto;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or \"auto\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Auto, E> {
                match text {
                    "auto" => Ok(Auto::Auto),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Auto, E> {
                usize::try_from(number)
                    .map(Auto::Exactly)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Auto, E> {
                u64::try_from(number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
                    .and_then(|number| self.visit_u64(number))
            }
        }

        deserializer.deserialize_any(Visitor)
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
    }
}
