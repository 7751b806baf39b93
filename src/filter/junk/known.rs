//! What the rules know of a task: its classes, the words for its texts, its scripts.

use std::collections::HashSet;

use unicode_script::{Script, UnicodeScript as _};

use crate::{dataset::canonical, task::Task};

/// The names, labels and scripts of a task.
pub(super) struct Known {
    /// The names of the classes and those of the texts, as words.
    pub(super) names: Vec<Vec<String>>,
    /// The number of names that are those of classes; they come first.
    pub(super) classes: usize,
    /// The names of classes that are identifiers (`card_arrival`), in lower case.
    identifiers: Vec<String>,
    /// The descriptions, as words.
    pub(super) descriptions: Vec<Vec<String>>,
    /// The words that stand before a colon.
    pub(super) labels: Vec<Vec<String>>,
    /// What one text is called, as words.
    pub(super) kinds: Vec<Vec<String>>,
    /// Whether most classes have names as programs write them.
    pub(super) has_identifiers: bool,
    /// The scripts of the examples and the classes.
    scripts: HashSet<Script>,
    /// Most characters of a text: one that has as many was cut there.
    pub(super) longest: usize,
}

/// Speakers, as chat formats and small models write them before a text.
const LABELS: [&str; 9] =
    ["user", "assistant", "human", "ai", "bot", "customer", "agent", "q", "a"];

/// What small models call one text, whatever the task calls it.
const KINDS: [&str; 5] = ["question", "answer", "example", "sentence", "text"];

/// What a class is called before its name, as in `Class: fee`.
const CLASS_KINDS: [&str; 5] = ["class", "category", "label", "intent", "topic"];

impl Known {
    /// Of `task`, whose texts may have up to `longest` characters.
    pub(super) fn new(task: &Task, longest: usize) -> Self {
        let mut names: Vec<Vec<String>> =
            task.classes.iter().map(|class| words(&class.shown())).collect();
        let classes = names.len();
        names.extend([words(&task.item), words(&task.items)]);
        let descriptions: Vec<Vec<String>> =
            task.classes.iter().map(|class| words(&class.description)).collect();
        let lower = task.classes.iter().map(|class| class.name.to_lowercase());
        let identifiers: Vec<String> =
            lower.filter(|name| name.trim_matches('_').contains('_')).collect();
        let single = |words: &[&str]| words.iter().map(|word| vec![(*word).to_owned()]).collect();
        let mut kinds: Vec<Vec<String>> = single(&KINDS);
        kinds.push(words(&task.item));
        let mut labels: Vec<Vec<String>> = single(&LABELS);
        labels.extend(kinds.iter().chain(&names).cloned());
        let has_identifiers = 2 * identifiers.len() > classes;
        let scripts = scripts(&texts(task));
        Self {
            names,
            classes,
            identifiers,
            descriptions,
            labels,
            kinds,
            has_identifiers,
            scripts,
            longest,
        }
    }

    /// Whether `text` is the name of a class.
    pub(super) fn is_class(&self, text: &str) -> bool {
        let words = words(text);
        !words.is_empty() && self.names[..self.classes].contains(&words)
    }

    /// Whether `name`, an identifier, is made of parts of the names of classes: `card_payment`
    /// beside `card_arrival` and `payment_failed`.
    pub(super) fn is_like_class(&self, name: &str) -> bool {
        let has =
            |part: &str| self.identifiers.iter().any(|own| own.split('_').any(|it| it == part));
        name.to_lowercase().split('_').all(has)
    }

    /// Whether `text` names a class as programs do.
    pub(super) fn has_identifier_of_class(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.identifiers.iter().any(|name| text.contains(name))
    }

    /// Whether a letter in `script` is foreign to the task. Latin words stand in texts of all
    /// languages (brands, abbreviations), Chinese characters in Japanese and Korean ones.
    pub(super) fn is_foreign(&self, script: Script) -> bool {
        let with_kana = [Script::Hiragana, Script::Katakana, Script::Han, Script::Bopomofo];
        match script {
            Script::Common | Script::Inherited | Script::Unknown | Script::Latin => false,
            Script::Hiragana | Script::Katakana | Script::Han | Script::Bopomofo => {
                let mut related = with_kana.iter().chain([&Script::Hangul]);
                !self.scripts.is_empty() && !related.any(|other| self.scripts.contains(other))
            }
            script => !self.scripts.is_empty() && !self.scripts.contains(&script),
        }
    }

    /// Whether the task's own texts are in other scripts than Latin.
    pub(super) fn is_without_latin(&self) -> bool {
        !self.scripts.is_empty() && !self.scripts.contains(&Script::Latin)
    }

    /// Whether `script` is one of the task's.
    pub(super) fn uses(&self, script: Script) -> bool {
        self.scripts.contains(&script)
    }
}

/// Whether `label` announces the name of a class: `Class`, `intent 2`.
pub(super) fn announces_class(label: &str) -> bool {
    match before_number(&words(label)) {
        [word] => CLASS_KINDS.contains(&word.as_str()),
        _ => false,
    }
}

/// `words` without a number at the end, unless nothing would be left.
pub(super) fn before_number(words: &[String]) -> &[String] {
    match words {
        [before @ .., last] if !before.is_empty() && last.parse::<u32>().is_ok() => before,
        _ => words,
    }
}

/// The texts that people wrote for `task`: examples, names, titles and descriptions of classes.
pub(super) fn texts(task: &Task) -> Vec<&str> {
    let seeds = task.seeds.iter().map(|seed| seed.text.trim());
    let classes = task.classes.iter();
    let words = classes.flat_map(|c| [&c.name, &c.description].into_iter().chain(&c.title));
    seeds.chain(words.map(String::as_str)).collect()
}

/// The words of `text` in lower case, without punctuation.
pub(super) fn words(text: &str) -> Vec<String> {
    let canonical = canonical(text);
    let words = canonical.split_whitespace().filter(|word| word.contains(char::is_alphanumeric));
    words.map(str::to_owned).collect()
}

/// The scripts of the letters in `texts`.
fn scripts(texts: &[&str]) -> HashSet<Script> {
    let letters = texts.iter().flat_map(|text| text.chars()).filter(|c| c.is_alphabetic());
    letters
        .map(|letter| letter.script())
        .filter(|script| !matches!(script, Script::Common | Script::Inherited | Script::Unknown))
        .collect()
}
