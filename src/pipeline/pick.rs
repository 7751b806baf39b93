//! Picks the unlabelled texts that the teacher is asked about. The file is read three times as a
//! stream: for the sample, for its embeddings, and for the texts of those that are picked.

use std::collections::{BTreeMap, HashMap};

use super::{Context, Event, PipelineError, Watch, fuse::anchors};
use crate::{
    config::Settings,
    counted::counted,
    dataset::PickedText,
    embed::Embedder,
    hash,
    run::{RunError, RunFolder, key, ledger::Entry},
    selection::{Purpose, Sample, Sieve, select},
    student::probe::{Features, Targets},
    task::{LabelledText, Task, UnlabelledFile, UnlabelledTexts},
};

/// Texts that are embedded at a time.
const BATCH: usize = 1024;
/// Changes where the same texts would lead to other picks.
const VERSION: u32 = 1;

/// The counts of the ledger.
pub(super) const READ: &str = "read";
const UNUSABLE: &str = "unusable";
const OFFERED: &str = "offered";
const SAMPLED: &str = "sampled";

/// The texts that were picked.
pub(crate) struct Picks {
    pub texts: Vec<PickedText>,
    /// What became of the others.
    counts: BTreeMap<String, usize>,
}

impl Picks {
    /// For the ledger's entry of the stage.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.counts.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// In words.
    pub(super) fn summary(&self) -> String {
        let own = [READ, UNUSABLE, OFFERED, SAMPLED];
        let of = |name: &str| self.counts.get(name).copied().unwrap_or(0);
        let dropped = self.counts.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        let mut notes: Vec<String> = dropped.map(|(why, count)| format!("{count} {why}")).collect();
        if of(UNUSABLE) > 0 {
            notes.push(format!("{} without a usable text", of(UNUSABLE)));
        }
        if of(SAMPLED) < of(OFFERED) {
            notes.push(format!("chosen from a random sample of {}", of(SAMPLED)));
        }
        let notes =
            if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
        format!("{} of {} picked{notes}", self.texts.len(), counted(of(READ), "text"))
    }
}

/// The unlabelled texts of a task, embedded: what is picked from.
pub(crate) struct Candidates {
    /// Hash of the file.
    sha256: String,
    /// The places of the texts among the readable ones, in order.
    places: Vec<usize>,
    features: Features,
    counts: BTreeMap<String, usize>,
}

/// Picks for `context`, whose students are trained on the labelled `examples`; from the ledger, if
/// they have been picked before. `candidates` are embedded at most once and may be kept for another
/// context with the same task.
///
/// # Errors
/// A task without unlabelled texts, a file that cannot be read, an embedder that fails.
pub(crate) fn pick(
    run: &mut RunFolder,
    context: &Context<'_>,
    examples: &[LabelledText],
    embedder: &dyn Embedder,
    candidates: &mut Option<Candidates>,
    watch: Watch<'_>,
) -> Result<Picks, PipelineError> {
    let Context { task, settings, seed, .. } = *context;
    let file = task.unlabelled.as_ref().ok_or(PipelineError::NoUnlabelled)?;
    let sha256 = match candidates {
        Some(candidates) => candidates.sha256.clone(),
        None => hash_of(task, file)?,
    };
    let (encoder, columns) = (&settings.student.model, &file.text_column);
    let own = (VERSION, &sha256, columns, &settings.label, encoder, seed);
    let key = key(&("pick", own, examples, &task.seeds, &task.test));
    if let Some(Entry::Picked { texts, counts, .. }) = run.ledger.find(&key) {
        return Ok(Picks { texts: texts.clone(), counts: counts.clone() });
    }
    if candidates.is_none() {
        *candidates = Some(embedded(task, settings, sha256, embedder, watch)?);
    }
    let found = candidates.as_ref().expect("they were embedded just now");
    let (texts, labels) = anchors(task, examples);
    let known = Features::new(&embedder.embed_roughly(&texts)?);
    let targets = Targets::of_labels(&labels, task.classes.len());
    let chosen = select(&found.features, (&known, &targets), settings.label.budget, seed);
    let texts = texts_at(task, &found.places, &chosen)?;
    let counts = found.counts.clone();
    let entry = Entry::Picked { key, texts: texts.clone(), counts: counts.clone() };
    run.ledger.append(vec![entry])?;
    Ok(Picks { texts, counts })
}

fn hash_of(task: &Task, file: &UnlabelledFile) -> Result<String, RunError> {
    let path = task.folder.join(&file.file);
    let hint = "`unlabelled` under [data] in task.toml names the file";
    hash::of_file(&path).map_err(|source| RunError::Read { path, source, hint })
}

fn open(task: &Task) -> Result<UnlabelledTexts, PipelineError> {
    task.open_unlabelled()?.ok_or(PipelineError::NoUnlabelled)
}

/// Reads the file and embeds a sample of it.
fn embedded(
    task: &Task,
    settings: &Settings,
    sha256: String,
    embedder: &dyn Embedder,
    watch: Watch<'_>,
) -> Result<Candidates, PipelineError> {
    watch(Event::Wait { what: "reading the unlabelled texts".to_owned() });
    let mut texts = open(task)?;
    let mut sieve = Sieve::new(&task.seeds, &task.test);
    let mut sample = Sample::new(settings.label.sample(), settings.run.seed, "unlabelled");
    let mut read = 0;
    while let Some(text) = texts.next_text()? {
        if sieve.passes(&text.text) {
            sample.offer(read, || ());
        }
        read += 1;
    }
    if let Some(fault) = texts.first_fault.filter(|_| texts.unusable > 0) {
        let rows = counted(texts.unusable, "unlabelled row");
        watch(Event::warning(format!("{rows} without a usable text; the first: {fault}")));
    }
    let offered = sample.offered();
    let places: Vec<usize> = sample.finish().into_iter().map(|(place, ())| place).collect();
    let mut counts: BTreeMap<String, usize> = [
        (READ, read + texts.unusable),
        (UNUSABLE, texts.unusable),
        (OFFERED, offered),
        (SAMPLED, places.len()),
    ]
    .map(|(name, count)| (name.to_owned(), count))
    .into();
    counts.extend(sieve.dropped.iter().map(|(why, count)| (why.describe().to_owned(), *count)));
    let features = embed(task, &places, embedder, watch)?;
    Ok(Candidates { sha256, places, features, counts })
}

/// The embeddings of the texts at `places`.
fn embed(
    task: &Task,
    places: &[usize],
    embedder: &dyn Embedder,
    watch: Watch<'_>,
) -> Result<Features, PipelineError> {
    watch(Event::Begin { stage: "pick", total: places.len(), resumed: 0 });
    let (mut texts, mut features) = (open(task)?, Features::default());
    let mut batch = Vec::with_capacity(BATCH);
    let mut wanted = places.iter().copied().peekable();
    let mut place = 0;
    while wanted.peek().is_some() {
        let text = texts.next_text()?.ok_or_else(|| changed(task))?;
        if wanted.next_if_eq(&place).is_some() {
            batch.push(text.text);
        }
        place += 1;
        if batch.len() == BATCH || wanted.peek().is_none() {
            features.extend(&embedder.embed_roughly(&batch)?);
            watch(Event::Advance { items: batch.len(), rejected: 0, tokens: 0 });
            batch.clear();
        }
    }
    let summary = format!("{} embedded", counted(places.len(), "unlabelled text"));
    watch(Event::End { summary });
    Ok(features)
}

/// The texts that were `chosen` among those at `places`, in the order of the file.
fn texts_at(
    task: &Task,
    places: &[usize],
    chosen: &[(usize, Purpose)],
) -> Result<Vec<PickedText>, PipelineError> {
    let mut wanted: HashMap<usize, Purpose> =
        chosen.iter().map(|(candidate, purpose)| (places[*candidate], *purpose)).collect();
    let (mut texts, mut picked, mut place) = (open(task)?, Vec::with_capacity(chosen.len()), 0);
    while !wanted.is_empty() {
        let text = texts.next_text()?.ok_or_else(|| changed(task))?;
        if let Some(purpose) = wanted.remove(&place) {
            let uncertain = purpose == Purpose::Uncertain;
            picked.push(PickedText { text: text.text, line: text.line, uncertain });
        }
        place += 1;
    }
    Ok(picked)
}

/// The file has fewer texts than when it was read before.
fn changed(task: &Task) -> PipelineError {
    let file = task.unlabelled.as_ref().map_or("", |file| &file.file);
    RunError::EditedMeanwhile { path: task.folder.join(file) }.into()
}
