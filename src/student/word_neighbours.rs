//! The nearest neighbours of a word in the student's table of word embeddings.
//!
//! EDA needs synonyms. A dictionary would cover one language and have its own licence; the student
//! is available offline and in the language of the task. Its table has a vector for each word of
//! its vocabulary, and words of similar use are near each other (similar use only: "cheap" is near
//! "expensive").
//!
//! Vectors are centred: their common mean reflects the training of the vocabulary, not the word.
//! Only words that are a single token have neighbours or are neighbours.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use super::{BaseModel, Result};
use crate::{embed::normalise, simd::dot};

/// Neighbours of a word.
const NEAREST: usize = 10;
/// Rows of the table in memory at a time.
const BLOCK: usize = 1024;

/// Nearest neighbours by word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Neighbours {
    /// By [`key`].
    words: HashMap<String, Vec<String>>,
}

impl Neighbours {
    /// Finds the neighbours of `words`, ignoring punctuation around them, in two passes over the
    /// table that read [`BLOCK`] rows at a time. Words that are `excluded` (called with their
    /// [`key`]) have no neighbours and are not neighbours.
    ///
    /// # Errors
    /// The tokenizer fails or the weights cannot be read.
    pub(crate) fn new<'a>(
        base: &BaseModel,
        words: impl IntoIterator<Item = &'a str>,
        excluded: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let vocabulary = base.vocabulary();
        let known: HashMap<u32, &str> = vocabulary
            .iter()
            .filter(|(_, token)| is_word(token))
            .map(|(id, token)| (*id, token.as_str()))
            .collect();
        let mut queried = BTreeMap::new();
        for word in words {
            let (key, bare) = (key(word), bare(word));
            if queried.contains_key(&key) || excluded(&key) {
                continue;
            }
            // A cased vocabulary may contain the word only in its original case.
            let whole = |spelling: &str| -> Result<Option<u32>> {
                Ok(base.single_token(spelling)?.filter(|id| known.contains_key(id)))
            };
            let id = match whole(&key)? {
                None => whole(bare)?,
                id => id,
            };
            queried.extend(id.map(|id| (key, id)));
        }
        let queries = queried.values().map(|id| (*id, known[id])).collect::<Vec<_>>();
        let candidates = one_spelling(&vocabulary, excluded);
        let nearest = nearest(&queries, &candidates, |ids| base.word_vectors(ids))?;
        Ok(Self { words: queried.into_keys().zip(nearest).collect() })
    }

    /// The neighbours of `word`, the nearest first, ignoring case and punctuation around it; empty
    /// for an unknown word.
    pub(crate) fn of(&self, word: &str) -> &[String] {
        self.words.get(&key(word)).map_or(&[], Vec::as_slice)
    }
}

impl<W: AsRef<str>, N: Into<String>, I: IntoIterator<Item = N>> FromIterator<(W, I)>
    for Neighbours
{
    /// From words and their neighbours, such as those of a dictionary.
    fn from_iter<T: IntoIterator<Item = (W, I)>>(pairs: T) -> Self {
        let words = pairs.into_iter().map(|(word, nearest)| {
            (key(word.as_ref()), nearest.into_iter().map(Into::into).collect())
        });
        Self { words: words.collect() }
    }
}

/// A word without the punctuation around it.
pub(crate) fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// The key of a word in look-ups.
pub(crate) fn key(word: &str) -> String {
    bare(word).to_lowercase()
}

/// Whether a token is a word: not a piece (`##ing`), a special token (`[CLS]`, `[unused7]`), a
/// number or a single letter.
fn is_word(token: &str) -> bool {
    token.chars().nth(1).is_some() && token.chars().all(char::is_alphabetic)
}

/// The words of a vocabulary that are not excluded, in one spelling each: in lower case if the
/// vocabulary has it.
fn one_spelling(vocabulary: &[(u32, String)], excluded: impl Fn(&str) -> bool) -> Vec<(u32, &str)> {
    let mut spellings = BTreeMap::<String, (u32, &str)>::new();
    for (id, token) in vocabulary.iter().filter(|(_, token)| is_word(token)) {
        let key = token.to_lowercase();
        if !excluded(&key) && (*token == key || !spellings.contains_key(&key)) {
            spellings.insert(key, (*id, token));
        }
    }
    spellings.into_values().collect()
}

/// Whether two words differ only in case or a plural's `s`.
fn same_word(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let plural = |one: &str, many: &str| {
        let stem = many.strip_suffix('s');
        stem.is_some_and(|stem| stem == one || stem.strip_suffix('e') == Some(one))
    };
    a == b || plural(&a, &b) || plural(&b, &a)
}

/// For each of `queries` the [`NEAREST`] of `candidates` by cosine of the centred vectors, the
/// nearest first. `vectors` reads rows of the table, `[ids, width]`.
fn nearest(
    queries: &[(u32, &str)],
    candidates: &[(u32, &str)],
    vectors: impl Fn(&[u32]) -> Result<Vec<f32>>,
) -> Result<Vec<Vec<String>>> {
    if queries.is_empty() || candidates.is_empty() {
        return Ok(vec![Vec::new(); queries.len()]);
    }
    let read = |words: &[(u32, &str)]| {
        let ids = words.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        vectors(&ids)
    };
    let mut mean: Vec<f64> = Vec::new();
    for block in candidates.chunks(BLOCK) {
        let rows = read(block)?;
        let width = rows.len() / block.len();
        mean.resize(width, 0.0);
        for row in rows.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value));
        }
    }
    let width = mean.len();
    let mean: Vec<f32> = mean.iter().map(|sum| (sum / candidates.len() as f64) as f32).collect();
    let directions = |words: &[(u32, &str)]| -> Result<Vec<f32>> {
        let mut rows = read(words)?;
        for row in rows.chunks_exact_mut(width) {
            row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
            normalise(row);
        }
        Ok(rows)
    };
    let asked = directions(queries)?;
    let mut best: Vec<Vec<Near<'_>>> = vec![Vec::new(); queries.len()];
    for block in candidates.chunks(BLOCK) {
        let rows = directions(block)?;
        let asked = asked.par_chunks_exact(width);
        asked.zip(queries).zip(&mut best).for_each(|((asked, (_, query)), best)| {
            for (row, (_, word)) in rows.chunks_exact(width).zip(block) {
                let near = Near { cosine: dot(asked, row), word };
                near.insert(query, best);
            }
        });
    }
    let words = |best: Vec<Near<'_>>| best.iter().map(|near| near.word.to_owned()).collect();
    Ok(best.into_iter().map(words).collect())
}

#[derive(Debug, Clone, Copy)]
struct Near<'a> {
    cosine: f32,
    word: &'a str,
}

impl<'a> Near<'a> {
    /// The nearer first; equally near words in alphabetical order.
    fn order(&self, other: &Self) -> Ordering {
        other.cosine.total_cmp(&self.cosine).then_with(|| self.word.cmp(other.word))
    }

    /// Inserts itself into the sorted list of the best, if it is near enough.
    fn insert(self, query: &str, best: &mut Vec<Self>) {
        let at = best.partition_point(|other| other.order(&self) == Ordering::Less);
        if at < NEAREST && self.cosine.is_finite() && !same_word(query, self.word) {
            best.truncate(NEAREST - 1);
            best.insert(at, self);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_nearest_by_hand() {
        // The mean of the four candidates is (10, 10); centred they are (2, 0), (2, 1), (-4, 2) and
        // (0, -3). Without centring all cosines would be near 1.
        let table = [[12.0, 10.0], [12.0, 11.0], [6.0, 12.0], [10.0, 7.0], [13.0, 11.0]];
        let words = [(0, "quick"), (1, "fast"), (2, "table"), (3, "slow")];
        let queries = [(0, "quick"), (4, "swift"), (2, "tables")];
        let read = |ids: &[u32]| Ok(ids.iter().flat_map(|id| table[*id as usize]).collect());
        let nearest = nearest(&queries, &words, read).unwrap();
        // quick: fast 2/√5, slow 0, table -2/√5; swift (3, 1): fast 7/√50, quick 3/√10, slow,
        // table.
        assert_eq!(nearest[0], ["fast", "slow", "table"]);
        assert_eq!(nearest[1], ["fast", "quick", "slow", "table"]);
        // tables is the same word as table (-4, 2): slow -2/√20, fast -6/10, quick -4/√20.
        assert_eq!(nearest[2], ["slow", "fast", "quick"]);
    }

    #[test]
    fn only_the_ten_best_of_many_blocks_are_kept_in_order() {
        // The similarity of word i to the query falls with i; the words are read in a mixed order.
        let count = 3 * BLOCK as u32 + 7;
        let names = (0..count).map(|id| format!("w{id}")).collect::<Vec<_>>();
        let mixed = (0..count).map(|at| (at * 1009) % count).collect::<Vec<_>>();
        let words = mixed.iter().map(|id| (*id, names[*id as usize].as_str())).collect::<Vec<_>>();
        let angle = |id: u32| 3.0 * f64::from(id) / f64::from(count) - 1.5;
        let read = |ids: &[u32]| {
            let rows = ids.iter().map(|id| [angle(*id).cos() as f32, angle(*id).sin() as f32]);
            Ok(rows.flatten().collect())
        };
        let found = nearest(&[(0, "w0")], &words, read).unwrap();
        assert_eq!(found[0], (1..=10).map(|id| format!("w{id}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_dot_product_is_the_sum_of_all_products() {
        let a = (0..37).map(|at| at as f32).collect::<Vec<_>>();
        assert_eq!(dot(&a, &a), 36.0 * 37.0 * 73.0 / 6.0);
    }

    #[test]
    fn what_counts_as_a_word_and_as_the_same_word() {
        for token in ["card", "Über", "ok"] {
            assert!(is_word(token), "{token}");
        }
        for token in ["##ing", "[CLS]", "[unused7]", "a", "4g", "don't", ""] {
            assert!(!is_word(token), "{token}");
        }
        for (a, b) in [("card", "Card"), ("card", "Cards"), ("boxes", "box"), ("class", "classes")]
        {
            assert!(same_word(a, b) && same_word(b, a), "{a} {b}");
        }
        assert!(!same_word("card", "care") && !same_word("pas", "password"));
        let vocabulary =
            [(1, "Card"), (2, "card"), (3, "Karte"), (4, "##s"), (5, "CARD"), (6, "The")]
                .map(|(id, token)| (id, token.to_owned()));
        assert_eq!(one_spelling(&vocabulary, |key| key == "the"), [(2, "card"), (3, "Karte")]);
    }

    #[test]
    fn words_of_the_embedded_student_have_ten_neighbours() {
        let base = BaseModel::open("pocket", &Device::Cpu).unwrap();
        let asked = ["Password,", "laptop", "qqxzv", "[CLS]", "don't", "7", "password"];
        let neighbours = Neighbours::new(&base, asked, |_| false).unwrap();
        for word in ["password", "PASSWORD!", "laptop"] {
            let near = neighbours.of(word);
            assert_eq!(near.len(), NEAREST, "{word}");
            for other in near {
                assert!(is_word(other) && !same_word(word, other), "{word}: {other}");
                assert!(base.single_token(other).unwrap().is_some(), "{other}");
            }
        }
        for word in ["qqxzv", "[CLS]", "don't", "7", "monitor"] {
            assert!(neighbours.of(word).is_empty(), "{word}");
        }
        let again = Neighbours::new(&base, ["laptop", "password"], |_| false).unwrap();
        assert_eq!(neighbours, again);
        let first = neighbours.of("password")[0].as_str();
        let excluded = |word: &str| [first, "laptop"].contains(&word);
        let fewer = Neighbours::new(&base, ["Laptop", "password"], excluded).unwrap();
        assert!(fewer.of("laptop").is_empty());
        assert_eq!(fewer.of("password").len(), NEAREST);
        assert!(!fewer.of("password").contains(&first.to_owned()));
    }
}
