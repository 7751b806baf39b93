//! EDA, easy data augmentation (Wei and Zou, EMNLP 2019, arXiv 1901.11196): new texts from the seeds
//! alone, without a teacher. A seed is edited a little, in one of four ways, and keeps its class.
//!
//! The numbers are those of the published code: the operations edit max(1, ⌊α·words⌋) words, deletion
//! strikes each word with probability α, and α is 0.05, what the paper recommends for small sets. Where
//! code and paper differ, the paper's words are followed: what is inserted is a random synonym of a word
//! that is no stop word, at any place (the code takes the first synonym of any word, never at the end).
//!
//! Synonyms are a word's nearest others by the student's own embeddings ([`Neighbours`]) where the
//! authors had WordNet. Letter case and punctuation, which the published code strips, stay: words are
//! what stands between white space, and the punctuation at a word goes where the word goes.

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

/// α: the share of words that are edited.
pub(crate) const RATE: f64 = 0.05;

/// Draws for one text before the next seed or operation has its turn. A deletion leaves every second
/// text of a dozen words as it was, and nine in ten of two words.
const TRIES: usize = 100;

/// The four ways, in the order in which they take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Replace,
    Insert,
    Swap,
    Delete,
}

const OPERATIONS: [Operation; 4] =
    [Operation::Replace, Operation::Insert, Operation::Swap, Operation::Delete];

/// The synonyms that [`augment`] asks for.
///
/// # Errors
/// The student cannot be read.
pub(crate) fn neighbours(base: &BaseModel, seeds: &[LabelledText]) -> Result<Neighbours> {
    let words = seeds.iter().flat_map(|seed| seed.text.split_whitespace());
    // In a small student's table "the" is near many a noun.
    Neighbours::new(base, words, is_stop_word)
}

/// `per_class` new texts of each class that has seeds, unlike the seeds and each other (letter case
/// and punctuation aside). Seeds and operations take turns, classes too. Where the seeds do not
/// give as many texts, as in a class of one word, there are fewer.
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

/// The new texts of one class; what they come to in canonical form is added to `seen`.
fn of_class(
    class: usize,
    seeds: &[Vec<String>],
    wanted: usize,
    neighbours: &Neighbours,
    seed: u64,
    seen: &mut HashSet<String>,
) -> Vec<String> {
    let mut texts = Vec::new();
    let mut barren = 0;
    for turn in 0.. {
        // Each seed has had each operation in vain: what can be made of them is made.
        if texts.len() == wanted || barren == OPERATIONS.len() * seeds.len() {
            break;
        }
        let (at, round) = (turn % seeds.len(), turn / seeds.len());
        let operation = OPERATIONS[(at + round) % OPERATIONS.len()];
        let mut rng = Rng::for_item(seed, "eda", ((class as u64) << 32) | turn as u64);
        let new = (0..TRIES).find_map(|_| {
            let text = edit(operation, &seeds[at], neighbours, &mut rng).join(" ");
            seen.insert(canonical(&text)).then_some(text)
        });
        barren = if new.is_some() { 0 } else { barren + 1 };
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

/// How many edits a text of so many words gets: `max(1, int(alpha * num_words))`.
fn edits(words: usize) -> usize {
    ((RATE * words as f64) as usize).max(1)
}

/// Synonym replacement: `count` random words that are no stop words and have synonyms (all of them
/// where they are fewer), each replaced by a random synonym wherever it stands.
pub(crate) fn replace(
    words: &[String],
    count: usize,
    neighbours: &Neighbours,
    rng: &mut impl rand::Rng,
) -> Vec<String> {
    let mut words = words.to_vec();
    let mut choices: Vec<String> = Vec::new();
    for word in words.iter().filter(|word| !synonyms(word, neighbours).is_empty()) {
        if !choices.contains(&key(word)) {
            choices.push(key(word));
        }
    }
    for _ in 0..count.min(choices.len()) {
        let chosen = choices.remove(rng.random_range(0..choices.len()));
        let synonym = neighbours.of(&chosen).choose(rng).expect("only words with synonyms are");
        for word in words.iter_mut().filter(|word| key(word) == chosen) {
            *word = in_place_of(word, synonym);
        }
    }
    words
}

/// Random insertion: `count` times a random synonym of a random word that is no stop word, at a random
/// place. Nothing where no word has synonyms.
pub(crate) fn insert(
    words: &[String],
    count: usize,
    neighbours: &Neighbours,
    rng: &mut impl rand::Rng,
) -> Vec<String> {
    let mut words = words.to_vec();
    for _ in 0..count {
        let with_synonyms = words.iter().map(|word| synonyms(word, neighbours));
        let choices = with_synonyms.filter(|near| !near.is_empty()).collect::<Vec<_>>();
        let Some(synonym) = choices.choose(rng).and_then(|near| near.choose(rng)) else { break };
        words.insert(rng.random_range(0..=words.len()), synonym.clone());
    }
    words
}

/// Random swap: `count` times two random words change places. Nothing where there is one word.
pub(crate) fn swap(words: &[String], count: usize, rng: &mut impl rand::Rng) -> Vec<String> {
    let mut words = words.to_vec();
    for _ in 0..count {
        if words.len() > 1 {
            let one = rng.random_range(0..words.len());
            // One of the others, counted from the one on.
            let further = 1 + rng.random_range(0..words.len() - 1);
            let other = (one + further) % words.len();
            words.swap(one, other);
        }
    }
    words
}

/// Random deletion: each word goes with probability `p`; were none left, one random word stays.
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

/// The synonyms of a word as it stands in a text; a stop word has none.
fn synonyms<'a>(word: &str, neighbours: &'a Neighbours) -> &'a [String] {
    if is_stop_word(word) { &[] } else { neighbours.of(word) }
}

/// `synonym` with the punctuation around `word`, and capitals where `word` has them.
fn in_place_of(word: &str, synonym: &str) -> String {
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

/// Words that say nothing of what a text is about: to edit them gives no other text of its class. They
/// are the pronouns, prepositions, conjunctions and auxiliaries of English, as in the published code;
/// in other languages every word counts.
const STOP_WORDS: &str = "\
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her \
    hers herself it its itself they them their theirs themselves what which who whom this that these \
    those am is are was were be been being have has had having do does did doing a an the and but if or \
    because as until while of at by for with about against between into through during before after \
    above below to from up down in out on off over under again further then once here there when where \
    why how all any both each few more most other some such no nor not only own same so than too very \
    can will just should now";

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

    /// Draws what a test says: `(k, n)` is place `k` of `n`.
    struct Script(Vec<(u64, u64)>);

    impl Script {
        fn new(draws: &[(u64, u64)]) -> Self {
            Self(draws.iter().rev().copied().collect())
        }

        /// The middle of part `k` of `n` of `whole`.
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
            unreachable!("numbers are drawn, no bytes")
        }
    }

    fn synonyms_of_cards() -> Neighbours {
        let pairs = [("card", vec!["ticket", "pass"]), ("lost", vec!["gone"]), ("is", vec!["was"])];
        pairs.into_iter().collect()
    }

    fn script(draws: &[(u64, u64)], way: impl Fn(&mut Script) -> Vec<String>) -> String {
        way(&mut Script::new(draws)).join(" ")
    }

    #[test]
    fn as_many_edits_as_in_the_published_code() {
        let found = [1, 5, 20, 39, 40, 60, 119, 140].map(edits);
        assert_eq!(found, [1, 1, 1, 1, 2, 3, 5, 7]);
    }

    #[test]
    fn replacement_by_hand() {
        let (words, near) = (words_of("My old (card), is LOST"), synonyms_of_cards());
        // Of card and lost the first, of its two synonyms the second.
        let one = script(&[(0, 2), (1, 2)], |rng| replace(&words, 1, &near, rng));
        assert_eq!(one, "My old (pass), is LOST");
        // Two: lost, then card, its first synonym. There is no third.
        let draws = [(1, 2), (0, 1), (0, 1), (0, 2)];
        let two = script(&draws, |rng| replace(&words, 3, &near, rng));
        assert_eq!(two, "My old (ticket), is GONE");
        // A word that comes twice is one choice, replaced wherever it stands.
        let twice = words_of("Card by card!");
        let both = script(&[(0, 1), (1, 2)], |rng| replace(&twice, 1, &near, rng));
        assert_eq!(both, "Pass by pass!");
    }

    #[test]
    fn insertion_by_hand() {
        let (words, near) = (words_of("is lost, my card"), synonyms_of_cards());
        // lost, gone, at the last of five places.
        let end = script(&[(0, 2), (0, 1), (4, 5)], |rng| insert(&words, 1, &near, rng));
        assert_eq!(end, "is lost, my card gone");
        // Then card (what was put in has no synonyms here), pass, at the first of six.
        let draws = [(0, 2), (0, 1), (2, 5), (1, 2), (1, 2), (0, 6)];
        let two = script(&draws, |rng| insert(&words, 2, &near, rng));
        assert_eq!(two, "pass is lost, gone my card");
    }

    #[test]
    fn swaps_by_hand() {
        let words = words_of("a b c d");
        // The second with the second after it; the last with the one after it, which is the first.
        assert_eq!(script(&[(1, 4), (1, 3)], |rng| swap(&words, 1, rng)), "a d c b");
        assert_eq!(script(&[(3, 4), (0, 3)], |rng| swap(&words, 1, rng)), "d b c a");
        let draws = [(1, 4), (1, 3), (3, 4), (0, 3)];
        assert_eq!(script(&draws, |rng| swap(&words, 2, rng)), "b d c a");
    }

    #[test]
    fn deletion_by_hand() {
        let words = words_of("a b c");
        // Below 0.05 a word goes: the middle of part 4 of 100 is 0.045, of part 5 it is 0.055.
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
    fn a_synonym_is_written_like_the_word_it_stands_for() {
        for (word, expected) in [
            ("card", "pass"),
            ("\"Card\".", "\"Pass\"."),
            ("CARD?", "PASS?"),
            ("I", "Pass"),
            ("vCard", "pass"),
            ("...card's", "...pass"),
        ] {
            assert_eq!(in_place_of(word, "pass"), expected);
        }
        assert_eq!(in_place_of("übel", "ärger") + &in_place_of("Übel", "ärger"), "ärgerÄrger");
    }

    #[test]
    fn what_each_operation_keeps() {
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

    /// Whether the words of `part` stand in `whole` in the same order.
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
        // They take turns; a deletion now and then finds nothing new.
        assert!(of_operation.iter().all(|count| (30..=42).contains(count)), "{of_operation:?}");
    }

    #[test]
    fn seeds_that_give_few_texts_give_few() {
        let task = demo_task().unwrap();
        let seed = |label, text: &str| LabelledText { text: text.to_owned(), label };
        let seeds = [seed(0, "card"), seed(1, "card lost"), seed(3, "-- !")];
        let rows = augment(&task, &seeds, 50, &Neighbours::default(), 1);
        // Nothing of a single word; of two words the other order and the second of them, for the
        // first is a seed; nothing of the class without seeds.
        let mut texts = rows.iter().map(|row| row.text.as_str()).collect::<Vec<_>>();
        texts.sort_unstable();
        assert_eq!(texts, ["lost", "lost card"]);
        assert!(rows.iter().all(|row| row.major == task.classes[1].name));
        assert!(augment(&task, &[], 50, &synonyms_of_cards(), 1).is_empty());
        assert!(augment(&task, &seeds, 0, &synonyms_of_cards(), 1).is_empty());
    }
}
