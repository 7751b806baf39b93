//! EDA, easy data augmentation (Wei and Zou, EMNLP 2019, arXiv 1901.11196): new texts from the
//! seeds alone, without a teacher. One of four operations changes a few words of a seed; the class
//! stays.
//!
//! The parameters are those of the published code: the operations edit max(1, ⌊α·words⌋) words,
//! deletion removes each word with probability α, and α is 0.05, which the paper recommends for
//! small sets. Where code and paper differ, this follows the paper: insertion adds a random synonym
//! of a word that is not a stop word, at any position (the code takes the first synonym of any
//! word, and never adds it at the end).
//!
//! Synonyms are the nearest words by the student's own embeddings ([`Neighbours`]) instead of
//! WordNet's. Letter case and punctuation, which the published code strips, are kept: words are
//! separated by white space, and punctuation moves with its word.

use std::collections::HashSet;

use rand::seq::IndexedRandom;

use crate::{
    dataset::{AugmentedText, canonical},
    rng::Rng,
    student::{
        BaseModel, Result,
        word_neighbours::{Neighbours, bare, key},
    },
    task::{LabelledText, Task},
};

/// α: the share of words to edit.
pub(crate) const RATE: f64 = 0.05;

/// Attempts at a new text before moving on to the next seed and operation. Deletion leaves half of
/// the texts of twelve words unchanged, and nine in ten of two words.
const TRIES: usize = 100;

/// The four operations, in the order in which they take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Replace,
    Insert,
    Swap,
    Delete,
}

const OPERATIONS: [Operation; 4] =
    [Operation::Replace, Operation::Insert, Operation::Swap, Operation::Delete];

/// The synonyms of the seeds' words, for [`augment`].
///
/// # Errors
/// The student cannot be read.
pub(crate) fn neighbours(base: &BaseModel, seeds: &[LabelledText]) -> Result<Neighbours> {
    let words = seeds.iter().flat_map(|seed| seed.text.split_whitespace());
    // In the word table of a small student, "the" is near many nouns.
    Neighbours::new(base, words, is_stop_word)
}

/// `per_class` new texts for each class that has seeds, all different from the seeds and each other
/// (ignoring letter case and punctuation). Seeds, operations and classes take turns. A class gets
/// fewer texts if its seeds do not yield as many, for example a seed of one word.
pub(crate) fn augment(
    task: &Task,
    seeds: &[LabelledText],
    per_class: usize,
    neighbours: &Neighbours,
    seed: u64,
) -> Vec<AugmentedText> {
    let mut seen: HashSet<String> = seeds.iter().map(|seed| canonical(&seed.text)).collect();
    seen.insert(String::new());
    let mut rows = Vec::new();
    for (class, described) in task.classes.iter().enumerate() {
        let seeds = seeds.iter().filter(|seed| seed.label == class);
        let seeds = seeds.map(|seed| words_of(&seed.text)).collect::<Vec<_>>();
        let texts = of_class(class, &seeds, per_class, neighbours, seed, &mut seen);
        rows.extend(texts.into_iter().enumerate().map(|(number, text)| {
            let major = described.name.clone();
            (number, AugmentedText { text, major, ..AugmentedText::default() })
        }));
    }
    rows.sort_by_key(|(number, _)| *number);
    let rows = rows.into_iter().enumerate();
    rows.map(|(id, (_, row))| AugmentedText { id, ..row }).collect()
}

/// The new texts of one class; their canonical forms are added to `seen`.
fn of_class(
    class: usize,
    seeds: &[Vec<String>],
    wanted: usize,
    neighbours: &Neighbours,
    seed: u64,
    seen: &mut HashSet<String>,
) -> Vec<String> {
    let mut texts = Vec::new();
    let mut failures = 0;
    for turn in 0.. {
        // If every operation has failed on every seed in a row, there are no more texts to find.
        if texts.len() == wanted || failures == OPERATIONS.len() * seeds.len() {
            break;
        }
        let (at, round) = (turn % seeds.len(), turn / seeds.len());
        let operation = OPERATIONS[(at + round) % OPERATIONS.len()];
        let mut rng = Rng::for_item(seed, "eda", ((class as u64) << 32) | turn as u64);
        let new = (0..TRIES).find_map(|_| {
            let text = edit(operation, &seeds[at], neighbours, &mut rng).join(" ");
            seen.insert(canonical(&text)).then_some(text)
        });
        failures = if new.is_some() { 0 } else { failures + 1 };
        texts.extend(new);
    }
    texts
}

fn edit(
    operation: Operation,
    words: &[String],
    neighbours: &Neighbours,
    rng: &mut impl rand::Rng,
) -> Vec<String> {
    let count = edits(words.len());
    match operation {
        Operation::Replace => replace(words, count, neighbours, rng),
        Operation::Insert => insert(words, count, neighbours, rng),
        Operation::Swap => swap(words, count, rng),
        Operation::Delete => delete(words, RATE, rng),
    }
}

/// Number of edits in a text of `words` words: `max(1, int(alpha * num_words))`.
fn edits(words: usize) -> usize {
    ((RATE * words as f64) as usize).max(1)
}

/// Synonym replacement: replaces every occurrence of `count` random words by a random synonym. Only
/// words that are not stop words and have synonyms are chosen; if there are fewer, all of them.
pub(crate) fn replace(
    words: &[String],
    count: usize,
    neighbours: &Neighbours,
    rng: &mut impl rand::Rng,
) -> Vec<String> {
    let mut words = words.to_vec();
    let mut candidates: Vec<String> = Vec::new();
    for word in words.iter().filter(|word| !synonyms(word, neighbours).is_empty()) {
        if !candidates.contains(&key(word)) {
            candidates.push(key(word));
        }
    }
    for _ in 0..count.min(candidates.len()) {
        let chosen = candidates.remove(rng.random_range(0..candidates.len()));
        let synonym = neighbours.of(&chosen).choose(rng).expect("every candidate has synonyms");
        for word in words.iter_mut().filter(|word| key(word) == chosen) {
            *word = styled_like(word, synonym);
        }
    }
    words
}

/// Random insertion: `count` times, inserts a random synonym of a random word that is not a stop
/// word at a random position. Does nothing if no word has synonyms.
pub(crate) fn insert(
    words: &[String],
    count: usize,
    neighbours: &Neighbours,
    rng: &mut impl rand::Rng,
) -> Vec<String> {
    let mut words = words.to_vec();
    for _ in 0..count {
        let with_synonyms = words.iter().map(|word| synonyms(word, neighbours));
        let candidates = with_synonyms.filter(|near| !near.is_empty()).collect::<Vec<_>>();
        let Some(synonym) = candidates.choose(rng).and_then(|near| near.choose(rng)) else { break };
        words.insert(rng.random_range(0..=words.len()), synonym.clone());
    }
    words
}

/// Random swap: swaps two random words, `count` times. Does nothing with one word.
pub(crate) fn swap(words: &[String], count: usize, rng: &mut impl rand::Rng) -> Vec<String> {
    let mut words = words.to_vec();
    for _ in 0..count {
        if words.len() > 1 {
            let one = rng.random_range(0..words.len());
            // A different position: an offset from the first, wrapping around.
            let offset = 1 + rng.random_range(0..words.len() - 1);
            let other = (one + offset) % words.len();
            words.swap(one, other);
        }
    }
    words
}

/// Random deletion: removes each word with probability `p`; if none is left, keeps a random one.
pub(crate) fn delete(words: &[String], p: f64, rng: &mut impl rand::Rng) -> Vec<String> {
    if words.len() < 2 {
        return words.to_vec();
    }
    let kept = words.iter().filter(|_| !rng.random_bool(p)).cloned().collect::<Vec<_>>();
    match kept.is_empty() {
        false => kept,
        true => words.choose(rng).into_iter().cloned().collect(),
    }
}

fn words_of(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The synonyms of a word of a text, punctuation included; a stop word has none.
fn synonyms<'a>(word: &str, neighbours: &'a Neighbours) -> &'a [String] {
    if is_stop_word(word) { &[] } else { neighbours.of(word) }
}

/// `synonym` with the punctuation and capitalisation of `word`.
fn styled_like(word: &str, synonym: &str) -> String {
    let bare = bare(word);
    let (before, after) = word.split_once(bare).unwrap_or_default();
    let mut letters = bare.chars().filter(|c| c.is_alphabetic());
    let first = letters.next().is_some_and(char::is_uppercase);
    let others = letters.clone().next().is_some() && letters.all(char::is_uppercase);
    let mut rest = synonym.chars();
    let synonym = match (first, others) {
        (true, true) => synonym.to_uppercase(),
        (true, false) => rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect(),
        (false, _) => synonym.to_owned(),
    };
    format!("{before}{synonym}{after}")
}

/// Words that carry no topic: the pronouns, prepositions, conjunctions and auxiliaries of English,
/// as in the published code. For other languages there is no list.
const STOP_WORDS: &str = "\
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she \
    her hers herself it its itself they them their theirs themselves what which who whom this that \
    these those am is are was were be been being have has had having do does did doing a an the and \
    but if or because as until while of at by for with about against between into through during \
    before after above below to from up down in out on off over under again further then once here \
    there when where why how all any both each few more most other some such no nor not only own \
    same so than too very can will just should now";

fn is_stop_word(word: &str) -> bool {
    let key = key(word);
    STOP_WORDS.split(' ').any(|stop| stop == key)
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;
    use rand_core::RngCore;

    use super::*;
    use crate::task::demo_task;

    /// A random source with a script of draws: `(k, n)` draws index `k` out of `n`.
    struct Script(Vec<(u64, u64)>);

    impl Script {
        fn new(draws: &[(u64, u64)]) -> Self {
            Self(draws.iter().rev().copied().collect())
        }

        /// The middle of part `k` if `whole` is divided into `n` parts.
        fn next(&mut self, whole: u128) -> u128 {
            let (k, n) = self.0.pop().expect("the script is long enough");
            whole * (2 * u128::from(k) + 1) / (2 * u128::from(n))
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            assert!(std::thread::panicking() || self.0.is_empty(), "not drawn: {:?}", self.0);
        }
    }

    impl RngCore for Script {
        fn next_u32(&mut self) -> u32 {
            self.next(1 << 32) as u32
        }

        fn next_u64(&mut self) -> u64 {
            self.next(1 << 64) as u64
        }

        fn fill_bytes(&mut self, _: &mut [u8]) {
            unreachable!("only numbers are drawn")
        }
    }

    fn synonyms_of_cards() -> Neighbours {
        let pairs = [("card", vec!["ticket", "pass"]), ("lost", vec!["gone"]), ("is", vec!["was"])];
        pairs.into_iter().collect()
    }

    fn script(draws: &[(u64, u64)], edit: impl Fn(&mut Script) -> Vec<String>) -> String {
        edit(&mut Script::new(draws)).join(" ")
    }

    #[test]
    fn as_many_edits_as_in_the_published_code() {
        let found = [1, 5, 20, 39, 40, 60, 119, 140].map(edits);
        assert_eq!(found, [1, 1, 1, 1, 2, 3, 5, 7]);
    }

    #[test]
    fn replacement_by_hand() {
        let (words, near) = (words_of("My old (card), is LOST"), synonyms_of_cards());
        // card, the first of card and lost, with the second of its two synonyms.
        let one = script(&[(0, 2), (1, 2)], |rng| replace(&words, 1, &near, rng));
        assert_eq!(one, "My old (pass), is LOST");
        // lost, then card with its first synonym. There is no third candidate.
        let draws = [(1, 2), (0, 1), (0, 1), (0, 2)];
        let two = script(&draws, |rng| replace(&words, 3, &near, rng));
        assert_eq!(two, "My old (ticket), is GONE");
        // A word that occurs twice is one candidate; both occurrences are replaced.
        let twice = words_of("Card by card!");
        let both = script(&[(0, 1), (1, 2)], |rng| replace(&twice, 1, &near, rng));
        assert_eq!(both, "Pass by pass!");
    }

    #[test]
    fn insertion_by_hand() {
        let (words, near) = (words_of("is lost, my card"), synonyms_of_cards());
        // gone, for lost, at the last of five positions.
        let end = script(&[(0, 2), (0, 1), (4, 5)], |rng| insert(&words, 1, &near, rng));
        assert_eq!(end, "is lost, my card gone");
        // Then pass, for card, at the first of six (the inserted word has no synonyms here).
        let draws = [(0, 2), (0, 1), (2, 5), (1, 2), (1, 2), (0, 6)];
        let two = script(&draws, |rng| insert(&words, 2, &near, rng));
        assert_eq!(two, "pass is lost, gone my card");
    }

    #[test]
    fn swaps_by_hand() {
        let words = words_of("a b c d");
        // The second word with the second after it; the last with the one after it, the first.
        assert_eq!(script(&[(1, 4), (1, 3)], |rng| swap(&words, 1, rng)), "a d c b");
        assert_eq!(script(&[(3, 4), (0, 3)], |rng| swap(&words, 1, rng)), "d b c a");
        let draws = [(1, 4), (1, 3), (3, 4), (0, 3)];
        assert_eq!(script(&draws, |rng| swap(&words, 2, rng)), "b d c a");
    }

    #[test]
    fn deletion_by_hand() {
        let words = words_of("a b c");
        // A draw below 0.05 deletes: the middle of part 4 of 100 is 0.045, of part 5 it is 0.055.
        let (goes, stays) = ((4, 100), (5, 100));
        assert_eq!(script(&[stays, goes, stays], |rng| delete(&words, RATE, rng)), "a c");
        assert_eq!(script(&[goes, goes, goes, (1, 3)], |rng| delete(&words, RATE, rng)), "b");
    }

    #[test]
    fn one_word_and_no_synonyms() {
        let (one, none) = (words_of("card!"), Neighbours::default());
        assert_eq!(script(&[], |rng| swap(&one, 1, rng)), "card!");
        assert_eq!(script(&[], |rng| delete(&one, 0.9, rng)), "card!");
        assert_eq!(script(&[], |rng| replace(&one, 1, &none, rng)), "card!");
        assert_eq!(script(&[], |rng| insert(&one, 1, &none, rng)), "card!");
        assert_eq!(
            script(&[], |rng| insert(&words_of("- is"), 1, &synonyms_of_cards(), rng)),
            "- is"
        );
        assert_eq!(words_of(" \n"), Vec::<String>::new());
        for operation in OPERATIONS {
            assert!(edit(operation, &[], &none, &mut Script::new(&[])).is_empty());
        }
    }

    #[test]
    fn a_synonym_is_styled_like_the_word_it_replaces() {
        for (word, expected) in [
            ("card", "pass"),
            ("\"Card\".", "\"Pass\"."),
            ("CARD?", "PASS?"),
            ("I", "Pass"),
            ("vCard", "pass"),
            ("...card's", "...pass"),
        ] {
            assert_eq!(styled_like(word, "pass"), expected);
        }
        assert_eq!(styled_like("übel", "ärger") + &styled_like("Übel", "ärger"), "ärgerÄrger");
    }

    #[test]
    fn invariants_of_the_operations() {
        let near = synonyms_of_cards();
        let sorted = |words: &[String]| {
            let mut words = words.to_vec();
            words.sort();
            words
        };
        for item in 0..500 {
            let mut rng = Rng::for_item(1, "test", item);
            let length = rng.random_range(1..30);
            let all = ["my", "card", "Lost,", "is", "there", "-", "old"];
            let mut words: Vec<String> =
                (1..length).map(|_| all.choose(&mut rng).unwrap().to_string()).collect();
            words.push("card".to_owned());
            let count = rng.random_range(1..4);
            assert_eq!(sorted(&swap(&words, count, &mut rng)), sorted(&words));
            let replaced = replace(&words, count, &near, &mut rng);
            assert_eq!(replaced.len(), words.len());
            for (old, new) in words.iter().zip(&replaced) {
                assert!(old == new || !synonyms(old, &near).is_empty(), "{old} {new}");
            }
            let inserted = insert(&words, count, &near, &mut rng);
            assert_eq!(inserted.len(), words.len() + count);
            assert!(within(&words, &inserted));
            let left = delete(&words, rng.random(), &mut rng);
            assert!(!left.is_empty() && within(&left, &words));
        }
    }

    /// Whether `part` is a subsequence of `whole`.
    fn within(part: &[String], whole: &[String]) -> bool {
        let mut whole = whole.iter();
        part.iter().all(|word| whole.any(|other| other == word))
    }

    #[test]
    fn new_texts_of_a_task() {
        let task = demo_task().unwrap();
        let seeds = task.draw_seeds(3);
        let all = seeds.iter().flat_map(|seed| seed.text.split_whitespace());
        let near: Neighbours = all.map(|word| (word, vec!["one", "two", "three"])).collect();
        let rows = augment(&task, &seeds, 24, &near, 5);
        assert_eq!(rows, augment(&task, &seeds, 24, &near, 5));
        assert_ne!(rows, augment(&task, &seeds, 24, &near, 6));
        assert_eq!(rows.len(), 24 * task.classes.len());
        let mut seen: HashSet<String> = seeds.iter().map(|seed| canonical(&seed.text)).collect();
        let mut of_operation = [0; 4];
        for (at, row) in rows.iter().enumerate() {
            assert_eq!(row.id, at);
            assert_eq!(row.major, task.classes[at % task.classes.len()].name);
            assert!(seen.insert(canonical(&row.text)), "{}", row.text);
            let words = words_of(&row.text);
            let own = seeds.iter().filter(|seed| task.classes[seed.label].name == row.major);
            let common =
                |seed: &Vec<String>| words.iter().filter(|word| seed.contains(word)).count();
            let seed = own.map(|seed| words_of(&seed.text)).max_by_key(common).unwrap();
            let new = words.iter().any(|word| !seed.contains(word));
            of_operation[match words.len().cmp(&seed.len()) {
                std::cmp::Ordering::Greater => 1,
                std::cmp::Ordering::Less => 3,
                std::cmp::Ordering::Equal if new => 0,
                std::cmp::Ordering::Equal => 2,
            }] += 1;
        }
        // The operations take turns; deletion sometimes finds nothing new.
        assert!(of_operation.iter().all(|count| (30..=42).contains(count)), "{of_operation:?}");
    }

    #[test]
    fn short_seeds_give_few_texts() {
        let task = demo_task().unwrap();
        let seed = |label, text: &str| LabelledText { text: text.to_owned(), label };
        let seeds = [seed(0, "card"), seed(1, "card lost"), seed(3, "-- !")];
        let rows = augment(&task, &seeds, 50, &Neighbours::default(), 1);
        // One word gives no text; two words give the other order and the second word alone (the
        // first is a seed); a class without seeds gives none.
        let mut texts = rows.iter().map(|row| row.text.as_str()).collect::<Vec<_>>();
        texts.sort_unstable();
        assert_eq!(texts, ["lost", "lost card"]);
        assert!(rows.iter().all(|row| row.major == task.classes[1].name));
        assert!(augment(&task, &[], 50, &synonyms_of_cards(), 1).is_empty());
        assert!(augment(&task, &seeds, 0, &synonyms_of_cards(), 1).is_empty());
    }
}
