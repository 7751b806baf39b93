//! One of several equal shares of a job, for a scheduler that starts the same command many times.

use std::{env, fmt, ops::Range};

use serde::{Deserialize, Serialize};

/// Share `index` of `of`; indices count from 0, as those of Slurm and Kubernetes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    pub index: usize,
    pub of: usize,
}

/// Most shares of a job.
const MOST: usize = 100_000;

impl Shard {
    /// Reads `I/N`, or `auto` or `auto/N`: then the scheduler's variables in the environment say
    /// which share this process has, and `auto` alone also takes N from there.
    ///
    /// # Errors
    /// Another form, an index that is not below N, no variables; in words for the command line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::read(text, &|name| env::var(name).ok())
    }

    fn read(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let form = || "expected I/N with I from 0 to N-1, such as 0/8, or auto/N".to_owned();
        let number = |text: &str| text.parse::<usize>().map_err(|_| form());
        let (index, of) = match text.split_once('/') {
            Some((index, of)) => (index, Some(number(of)?)),
            None => (text, None),
        };
        let (index, of) = match (index, of) {
            ("auto", of) => of_scheduler(of, variable)?,
            (index, Some(of)) => (number(index)?, of),
            (_, None) => return Err(form()),
        };
        match index < of && of <= MOST {
            true => Ok(Self { index, of }),
            false if of > MOST => Err(format!("more than {MOST} shards")),
            false => Err(format!(
                "there is no shard {index} of {of}: shards count from 0 to N-1; with auto, give the number of shards as auto/N"
            )),
        }
    }

    /// Whether the share has the item with this `key`, a hash in hexadecimal digits: about one of
    /// `of` items, the same ones whatever else there is.
    pub(crate) fn owns(self, key: &str) -> bool {
        let digits = key.get(..15).unwrap_or(key);
        let number = u64::from_str_radix(digits, 16).unwrap_or_default();
        number % self.of as u64 == self.index as u64
    }

    /// The share's part of `total` items in a row. The parts follow each other, and differ by one
    /// item at most.
    pub(crate) fn part(self, total: usize) -> Range<usize> {
        let start = |index: usize| (total as u128 * index as u128 / self.of as u128) as usize;
        start(self.index)..start(self.index + 1)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Index and number of shares of a task of a Slurm job array or an indexed Job of Kubernetes. `of`
/// is the number if the user gave it.
fn of_scheduler(
    of: Option<usize>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(usize, usize), String> {
    let number = |name: &str| {
        let value = variable(name)?;
        Some(value.parse().map_err(|_| format!("{name} is {value:?}; expected a number")))
    };
    let slurm = number("SLURM_ARRAY_TASK_ID");
    let count = of.map(Ok).or_else(|| slurm.as_ref().and(number("SLURM_ARRAY_TASK_COUNT")));
    let index = slurm.or_else(|| number("JOB_COMPLETION_INDEX")).ok_or(
        "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set: outside of a job, give I/N",
    )??;
    let of = count.ok_or("the number of shards is not known: give it as auto/N")??;
    Ok((index, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Shard, String> {
        Shard::read(text, &|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn shards_are_read_from_the_command_line_or_the_scheduler() {
        let slurm = [("SLURM_ARRAY_TASK_ID", "3"), ("SLURM_ARRAY_TASK_COUNT", "8")];
        // A single task of an array that is run again.
        let again = [("SLURM_ARRAY_TASK_ID", "3"), ("SLURM_ARRAY_TASK_COUNT", "1")];
        let kubernetes = [("JOB_COMPLETION_INDEX", "0")];
        for (text, variables, index, of) in [
            ("0/1", &[][..], 0, 1),
            ("7/8", &slurm[..], 7, 8),
            ("auto", &slurm[..], 3, 8),
            ("auto/8", &again[..], 3, 8),
            ("auto/5", &kubernetes[..], 0, 5),
        ] {
            assert_eq!(read(text, variables), Ok(Shard { index, of }), "{text} {variables:?}");
        }
        let odd = [("SLURM_ARRAY_TASK_ID", "x")];
        for (text, variables, says) in [
            ("8/8", &[][..], "no shard 8 of 8"),
            ("1/0", &[][..], "no shard 1 of 0"),
            ("0/200000", &[][..], "more than"),
            ("3", &[][..], "expected I/N"),
            ("-1/3", &[][..], "expected I/N"),
            ("a/b", &[][..], "expected I/N"),
            ("auto", &[][..], "outside of a job"),
            ("auto", &kubernetes[..], "auto/N"),
            ("auto", &again[..], "no shard 3 of 1"),
            ("auto/4", &odd[..], "SLURM_ARRAY_TASK_ID is \"x\""),
        ] {
            let error = read(text, variables).unwrap_err();
            assert!(error.contains(says), "{text} {variables:?}: {error}");
        }
    }

    #[test]
    fn every_item_belongs_to_one_shard() {
        for (total, of) in [(0, 3), (2, 5), (1000, 8), (7, 7), (usize::MAX, 3)] {
            let parts: Vec<_> = (0..of).map(|index| Shard { index, of }.part(total)).collect();
            assert_eq!((parts[0].start, parts[of - 1].end), (0, total));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let sizes = || parts.iter().map(ExactSizeIterator::len);
            if total < 1 << 40 {
                assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1, "{total} {of}");
            }
        }
        let mut counts = [0; 8];
        for item in 0..8000 {
            let key = crate::hash::of_bytes(format!("{item}"));
            let owners: Vec<usize> =
                (0..8).filter(|&index| Shard { index, of: 8 }.owns(&key)).collect();
            assert_eq!(owners.len(), 1, "{key}");
            counts[owners[0]] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
