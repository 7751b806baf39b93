//! `--why`: the words that speak for and against a label, and the nearest training texts.

use std::{fmt::Write as _, path::Path};

use serde_json::{Map, Value, json};

use crate::{
    dataset::RelabelledText,
    embed::{cosine, kept},
    fs::unsafe_to_write,
    report::RunRecord,
    run::{INCOMPLETE, key, names, read_json, read_rows},
    student::{Classifier, WordEffect},
    task::Task,
};

/// Training texts that are named.
const NEAREST: usize = 3;
/// Words that are listed for a TEXT, the strongest first; JSON has all.
const LISTED: usize = 12;
/// A word is marked in the text if its effect is at least this share of the strongest one.
const MARKED: f32 = 0.2;

/// Explains the answers of a student.
pub(super) struct Explainer<'a> {
    student: &'a Classifier,
    training: Option<Training>,
}

/// The texts that the student was trained on.
struct Training {
    texts: Vec<TrainingText>,
    /// One for each of them.
    embeddings: Vec<Vec<f32>>,
}

struct TrainingText {
    text: String,
    label: String,
    /// The file in the run folder, with the line in `train.jsonl`.
    from: String,
}

/// The reasons for a label.
pub(super) struct Why {
    words: Vec<(String, WordEffect)>,
    /// Where each word stands in the text, in characters.
    places: Vec<(usize, usize)>,
    /// Label, similarity, text and place of the nearest training texts; `None` if they are not
    /// known.
    nearest: Option<Vec<Value>>,
}

impl<'a> Explainer<'a> {
    /// Explains the student of `model`, the folder of a run or of a student alone; `is_fast` says
    /// whether it computes with 8 bits.
    ///
    /// # Errors
    /// The training texts of a run cannot be read or embedded.
    pub(super) fn new(
        student: &'a Classifier,
        model: &Path,
        is_fast: bool,
    ) -> anyhow::Result<Self> {
        if !RunRecord::is_at(model) {
            return Ok(Self { student, training: None });
        }
        let task: Task = read_json(&model.join(names::TASK), INCOMPLETE)?;
        let seeds = task.seeds.iter().map(|seed| TrainingText {
            text: seed.text.clone(),
            label: task.classes[seed.label].name.clone(),
            from: names::TASK.to_owned(),
        });
        let rows: Vec<RelabelledText> = read_rows(model, names::TRAIN, INCOMPLETE)?;
        let rows = (1..).zip(rows).map(|(line, row)| TrainingText {
            text: row.augmented.text,
            label: row.relabel,
            from: format!("{}:{line}", names::TRAIN),
        });
        let texts: Vec<TrainingText> = seeds.chain(rows).collect();
        let shown: Vec<&str> = texts.iter().map(|it| it.text.as_str()).collect();
        let embeddings = embeddings(student, model, &shown, is_fast)?;
        Ok(Self { student, training: Some(Training { texts, embeddings }) })
    }

    /// Why `text` would be of the class number `class`.
    ///
    /// # Errors
    /// The student fails on a part of the text.
    pub(super) fn explain(&self, text: &str, class: usize) -> anyhow::Result<Why> {
        let effects = self.student.word_effects(text, class)?;
        let mut places = Vec::with_capacity(effects.len());
        let (mut bytes, mut characters) = (0, 0);
        for effect in &effects {
            let span = &effect.span;
            characters += text[bytes..span.start].chars().count();
            let end = characters + text[span.clone()].chars().count();
            places.push((characters, end));
            (bytes, characters) = (span.end, end);
        }
        let word = |effect: WordEffect| (text[effect.span.clone()].to_owned(), effect);
        let nearest = match &self.training {
            Some(training) => {
                let embedding = self.student.embeddings(&[text])?.remove(0);
                Some(training.nearest(&embedding))
            }
            None => None,
        };
        Ok(Why { words: effects.into_iter().map(word).collect(), places, nearest })
    }
}

/// The embeddings of `texts`, those that the run folder `run` keeps if they are of the same student
/// and the same texts. Keeping them is worth a try: the folder may be read-only.
fn embeddings(
    student: &Classifier,
    run: &Path,
    texts: &[&str],
    is_fast: bool,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let path = run.join(names::NEAREST);
    let key = key(&(student.head_hash()?, student.max_length(), is_fast, texts));
    if let Some(kept) = kept::read(&path, &key).filter(|kept| kept.len() == texts.len()) {
        return Ok(kept);
    }
    let embeddings = student.embeddings(texts)?;
    if unsafe_to_write(run).is_none() {
        let _ = kept::write(&path, &key, &embeddings);
    }
    Ok(embeddings)
}

impl Training {
    fn nearest(&self, embedding: &[f32]) -> Vec<Value> {
        let similarity = |other: &Vec<f32>| cosine(embedding, other);
        let mut by_similarity: Vec<(f32, &TrainingText)> =
            self.embeddings.iter().map(similarity).zip(&self.texts).collect();
        by_similarity.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let shown = |(similarity, TrainingText { text, label, from }): &(f32, &TrainingText)| json!({"text": text, "label": label, "similarity": similarity, "from": from});
        by_similarity.iter().take(NEAREST).map(shown).collect()
    }
}

impl Why {
    /// `words` in the order of the text, with their places in characters, and `nearest`.
    pub(super) fn to_json(&self) -> Value {
        let word = |((word, effect), (start, end)): (&(String, WordEffect), &(usize, usize))| json!({"word": word, "start": start, "end": end, "effect": effect.effect, "probability_without": effect.without});
        let words: Vec<Value> = self.words.iter().zip(&self.places).map(word).collect();
        json!({"words": words, "nearest": self.nearest})
    }

    /// The answer to `text`, whose columns are `answer`, for a person.
    pub(super) fn in_words(&self, text: &str, answer: &Map<String, Value>) -> String {
        let shown = |name: &str| answer.get(name).and_then(Value::as_str);
        let number = |name: &str| answer.get(name).and_then(Value::as_f64);
        let mut out = match shown("label").or_else(|| shown("best")) {
            Some(label) => label.to_owned(),
            None => "no label".to_owned(),
        };
        let _ = write!(out, "  {:.1} %", 100.0 * number("probability").unwrap_or(0.0));
        if let Some(share) = number("in_scope") {
            let _ = write!(out, ", in_scope {share:.3}");
        }
        if answer.get("abstained") == Some(&Value::Bool(true)) {
            out += ", no label is given";
        }
        let _ = writeln!(out, "\n\n{}\n", self.marked(text));
        let mut strongest: Vec<&(String, WordEffect)> = self.words.iter().collect();
        strongest.sort_by(|(_, a), (_, b)| b.effect.abs().total_cmp(&a.effect.abs()));
        strongest.truncate(LISTED);
        let widest = strongest.iter().map(|(word, _)| word.chars().count()).max().unwrap_or(0);
        let width = widest.clamp(4, 40);
        if !strongest.is_empty() {
            let _ = writeln!(out, "{:width$}  log-odds  without it", "word");
        }
        for (word, WordEffect { effect, without, .. }) in strongest {
            let short: String = word.chars().take(width).collect();
            let _ = writeln!(out, "{short:width$}  {effect:+8.2}  {:8.1} %", 100.0 * without);
        }
        match &self.nearest {
            None => out += "the nearest training texts are in the folder of the run: --model RUN\n",
            Some(nearest) => {
                out += "nearest training texts\n";
                for text in nearest {
                    let part = |name: &str| text[name].as_str().unwrap_or_default();
                    let similarity = text["similarity"].as_f64().unwrap_or(0.0);
                    let (label, text, from) = (part("label"), part("text"), part("from"));
                    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                    let _ = writeln!(out, "{similarity:.2}  {label}  {text}  ({from})");
                }
            }
        }
        out
    }

    /// The text with `[+word]` for the strongest words for the label, `[-word]` against it.
    fn marked(&self, text: &str) -> String {
        let strongest = self.words.iter().map(|(_, it)| it.effect.abs()).fold(0.0, f32::max);
        let mut marked = String::with_capacity(text.len() + 32);
        let mut at = 0;
        for (word, WordEffect { span, effect, .. }) in &self.words {
            marked += &text[at..span.start];
            if effect.abs() < MARKED * strongest || strongest == 0.0 {
                marked += word;
            } else {
                let _ = write!(marked, "[{}{word}]", if *effect > 0.0 { '+' } else { '-' });
            }
            at = span.end;
        }
        marked + &text[at..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strong_words_are_marked_for_and_against() {
        let text = "my screen is not broken!";
        let effects = [(0..2, 0.1), (3..9, 2.0), (10..12, 0.0), (13..16, -1.5), (17..23, 1.0)];
        let word = |(span, effect): (std::ops::Range<usize>, f32)| {
            (text[span.clone()].to_owned(), WordEffect { span, effect, without: 0.5 })
        };
        let words: Vec<_> = effects.into_iter().map(word).collect();
        let why = Why { places: vec![(0, 0); words.len()], words, nearest: None };
        assert_eq!(why.marked(text), "my [+screen] is [-not] [+broken]!");
        let answer = json!({"label": "hardware", "probability": 0.75, "in_scope": 0.5});
        let shown = why.in_words(text, answer.as_object().unwrap());
        assert!(shown.starts_with("hardware  75.0 %, in_scope 0.500\n\nmy [+screen]"), "{shown}");
        assert!(shown.contains("not        -1.50      50.0 %\n"), "{shown}");
        assert!(shown.contains("--model RUN"), "{shown}");
    }
}
