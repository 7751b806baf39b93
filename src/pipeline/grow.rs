//! What becomes of a run whose task changed: more examples, other classes, another test set.
//!
//! A text stays valid while the classes that it was made from are described as they were. Texts of
//! classes that are gone or described otherwise are set aside, and restored when the class comes
//! back. Everything else follows: generation asks for the texts that are missing, and labels,
//! students and predictions are found in the ledger where what they depend on is the same.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use super::{
    Context, Event, PipelineError, Watch,
    generate::{material, rounds},
    kept::made_with,
    texts::{ParsedReply, call},
};
use crate::{
    augment::{Method, PromptContext, PromptRequest, mixup::Mixup},
    config::{Gold, Partners, Settings},
    counted::counted,
    dataset::{AugmentedText, TextRow, canonical},
    prompt::Prompts,
    run::{
        KeptTexts, PendingChange, RunFolder, SetAside, TaskChanged, edits::Edits, is_imported,
        kept_texts, ledger::Entry, names, read_rows, set_aside_now,
    },
    task::{LabelledText, Task, TaskChange},
    teacher::TeacherIdentity,
};

/// What a command is to run: a task, settings and prompts.
#[derive(Clone, Copy)]
pub(crate) struct RunInput<'a> {
    pub task: &'a Task,
    pub settings: &'a Settings,
    pub prompts: &'a Prompts,
}

impl<'a> RunInput<'a> {
    /// The context of the stages, with this few-shot subset.
    pub(crate) fn context(self, seeds: &'a [LabelledText]) -> Context<'a> {
        let Self { task, settings, prompts } = self;
        Context { task, seeds, settings, prompts, seed: settings.run.seed }
    }
}

/// A run as it was until now: its folder, its ledger, and what changed.
#[derive(Clone, Copy)]
pub(crate) struct PreviousRun<'a> {
    pub folder: &'a Path,
    pub entries: &'a [Entry],
    pub pending: &'a PendingChange,
}

/// What a change of the task does to a run.
pub(crate) struct ChangePlan {
    pub changed: TaskChanged,
    /// What changed, what is kept, and what is redone, in words.
    pub lines: Vec<String>,
    /// A class whose former name is not clear, and what helps.
    pub warnings: Vec<(String, String)>,
}

/// Takes up the change of the task that `run` was opened with, if there is one; says first what is
/// kept and what is redone.
///
/// # Errors
/// A damaged `augmented.jsonl`, a failed write.
pub(crate) fn take_up(
    run: &mut RunFolder,
    input: RunInput<'_>,
    watch: Watch<'_>,
) -> Result<(), PipelineError> {
    let Some(pending) = run.take_pending() else { return Ok(()) };
    let previous =
        PreviousRun { folder: run.path(), entries: run.ledger().entries(), pending: &pending };
    let ChangePlan { changed, lines, warnings } = plan_change(previous, input)?;
    for line in lines {
        watch(Event::Note(line));
    }
    for (message, hint) in warnings {
        watch(Event::Warning { message, hint: Some(hint) });
    }
    run.change_task(input.task, input.settings, input.prompts, changed)?;
    Ok(())
}

/// What becomes of the run `previous` with the task of `input`. Writes nothing.
///
/// # Errors
/// A damaged `augmented.jsonl`.
pub(crate) fn plan_change(
    previous: PreviousRun<'_>,
    input: RunInput<'_>,
) -> Result<ChangePlan, PipelineError> {
    let PendingChange { before, change } = previous.pending;
    let labels = change_labels(before, input, change);
    let comparison = previous.folder.join(names::COMPARISON).exists();
    let texts = match labels && !comparison {
        true => Some(sort_texts(previous, input)?),
        false => None,
    };
    let mut lines = Vec::new();
    if !change.is_empty() {
        lines.push(format!("task changed: {}", change.phrases().join(", ")));
        lines.push(match (&texts, comparison) {
            (_, true) => comparison_line(labels),
            (Some(texts), _) => texts_line(texts, previous, input),
            (None, _) => untouched_line(change, input.settings.student.gold),
        });
    }
    let warning = |(old, candidates): &(String, Vec<String>)| {
        let message = format!(
            "class `{old}` may have been renamed to `{}`; it is treated as removed",
            candidates.join("` or `")
        );
        let hint = format!("if so, add `formerly = {old:?}` to that [[class]] to keep its texts");
        (message, hint)
    };
    Ok(ChangePlan {
        warnings: change.unclear.iter().map(warning).collect(),
        changed: TaskChanged {
            before: before.sha256.clone(),
            after: input.task.sha256.clone(),
            change: change.clone(),
            texts,
            files: BTreeMap::new(),
        },
        lines,
    })
}

/// Whether prompts differ: the classes, the words for a text, or the examples that are drawn.
fn change_labels(before: &Task, input: RunInput<'_>, change: &TaskChange) -> bool {
    if !change.reaches_prompts() {
        return false;
    }
    let seeds = TaskChange { seeds: change.seeds, shots: change.shots, ..TaskChange::default() };
    let others = TaskChange { seeds: Default::default(), shots: None, ..change.clone() };
    if seeds.is_empty() || others.reaches_prompts() {
        return true;
    }
    // With the same classes the labels are the same numbers.
    let seed = input.settings.run.seed;
    before.draw_seeds(seed) != input.task.draw_seeds(seed)
}

/// Which texts of the run stay and which are set aside, if its prompts change.
fn sort_texts(previous: PreviousRun<'_>, input: RunInput<'_>) -> Result<KeptTexts, PipelineError> {
    let PendingChange { before, change } = previous.pending;
    let written = written(previous, input)?;
    let next_id = next_id(previous.entries, &written.rows);
    let mut texts = KeptTexts {
        first_round: first_round(previous.entries),
        made_with: written.made_with,
        ..KeptTexts::default()
    };
    for row in written.rows {
        let mut now = row.clone();
        now.rename(|name| change.present_name(name).unwrap_or(name).to_owned());
        let same = |name: &str| {
            let now = change.present_name(name)?;
            Some(description(before, name)? == description(input.task, now)?)
        };
        // What a person wrote does not depend on a description.
        let by_person = row.by.is_some();
        if row.classes().all(|name| same(name).is_some_and(|same| same || by_person)) {
            let is_class = |name: &str| input.task.class_index(name).is_some();
            now.given = now.given.filter(|label| is_class(&label.label));
            texts.kept.push(now);
        } else {
            let described = |name: &str| Some((name.to_owned(), description(before, name)?));
            let descriptions = row.classes().filter_map(described).collect();
            texts.set_aside.push(SetAside { row, descriptions });
        }
    }
    texts.next_id = next_id;
    for rule in Edits::of(previous.entries).rules(names::AUGMENTED) {
        let Some(row) = rule.before.as_ref().filter(|_| rule.after.is_none()) else { continue };
        let now = change.present_name(&row.major);
        let as_then = |now: &&str| description(before, &row.major) == description(input.task, now);
        if let Some(now) = now.filter(as_then) {
            *texts.withdrawn.entry(now.to_owned()).or_default() += 1;
        }
    }
    restore(&mut texts, previous, input);
    Ok(texts)
}

/// Moves to `texts.kept` what an earlier change set aside and whose classes are as they were then,
/// up to the number of texts that are wanted.
fn restore(texts: &mut KeptTexts, previous: PreviousRun<'_>, input: RunInput<'_>) {
    let change = &previous.pending.change;
    let now = |name: &str| change.renamed.get(name).map_or(name, String::as_str).to_owned();
    let mut seen: HashSet<String> = texts.kept.iter().map(|row| canonical(&row.text)).collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for row in &texts.kept {
        *counts.entry(row.major.clone()).or_default() += 1;
    }
    for SetAside { mut row, descriptions } in set_aside_now(previous.entries) {
        let as_then = |(name, then): (&String, &String)| {
            description(input.task, &now(name)).is_some_and(|text| text == *then)
        };
        row.rename(now);
        let count = counts.entry(row.major.clone()).or_default();
        let wanted = *count < input.settings.augment.per_class;
        if wanted && descriptions.iter().all(as_then) && seen.insert(canonical(&row.text)) {
            *count += 1;
            texts.kept.push(row);
        }
    }
}

fn description(task: &Task, class: &str) -> Option<String> {
    task.class_index(class).map(|class| task.classes[class].described().into_owned())
}

/// The texts that a run has written.
struct Written {
    rows: Vec<AugmentedText>,
    made_with: String,
}

/// The rows of `augmented.jsonl`, and those that are only in the ledger: of an unfinished
/// generation, or because a person removed the file.
fn written(previous: PreviousRun<'_>, input: RunInput<'_>) -> Result<Written, PipelineError> {
    let PreviousRun { folder, entries, pending } = previous;
    let there = folder.join(names::AUGMENTED).exists();
    let mut rows: Vec<AugmentedText> = match there {
        true => read_rows(folder, names::AUGMENTED, "the file must be readable")?,
        false => Vec::new(),
    };
    let begun = entries.iter().rev().find_map(|entry| match entry {
        Entry::Begun { settings, prompts_sha256, .. } => Some((settings, prompts_sha256)),
        _ => None,
    });
    let settings: Settings = begun
        .and_then(|(settings, _)| toml::from_str(settings).ok())
        .unwrap_or_else(|| input.settings.clone());
    let prompts_sha256 = begun.map_or_else(|| input.prompts.sha256(), |(_, sha256)| sha256);
    let made_with = made_with(&settings, prompts_sha256);
    let incomplete = !there || generation_is_unfinished(entries);
    if incomplete && prompts_sha256 == input.prompts.sha256() {
        let seeds = pending.before.draw_seeds(settings.run.seed);
        let before =
            RunInput { task: &pending.before, settings: &settings, prompts: input.prompts };
        let context = before.context(&seeds);
        let known: HashSet<String> = rows.iter().map(|row| canonical(&row.text)).collect();
        // A text that a person edited is known by its first form.
        let keys: HashSet<String> =
            rows.iter().map(|row| TextRow::from(row.clone()).key()).collect();
        let mut next_id = next_id(entries, &rows);
        for mut row in recorded(entries, &context, &made_with)? {
            let key = TextRow::from(row.clone()).key();
            if !known.contains(&canonical(&row.text)) && !keys.contains(&key) {
                row.id = next_id;
                next_id += 1;
                rows.push(row);
            }
        }
    }
    Ok(Written { rows, made_with })
}

/// Whether the ledger has replies with new texts that no finished generation has used.
fn generation_is_unfinished(entries: &[Entry]) -> bool {
    let last = |wanted: &dyn Fn(&Entry) -> bool| entries.iter().rposition(wanted);
    let reply = last(&|entry| round_of(entry).is_some());
    let end = last(&|entry| match entry {
        Entry::Stage { stage, .. } => stage == "generate",
        Entry::TaskChanged(changed) => changed.texts.is_some(),
        _ => false,
    });
    reply > end
}

/// The texts of all replies that the ledger has for `context`, as generation would collect them.
/// None if the classes' partners were chosen by embeddings or the texts one by one as in the
/// published code: then the replies stay in the ledger alone.
fn recorded(
    entries: &[Entry],
    context: &Context<'_>,
    made_with: &str,
) -> Result<Vec<AugmentedText>, PipelineError> {
    let augment = &context.settings.augment;
    let teacher = entries.iter().rev().find_map(|entry| match entry {
        Entry::Teacher { identity } => Some(identity),
        _ => None,
    });
    let Some(teacher) = teacher else { return Ok(Vec::new()) };
    if augment.partners != Partners::Even || augment.unique_per_text > 0 {
        return Ok(Vec::new());
    }
    let settings = context.with_lengths(teacher.context);
    let context = &Context { settings: &settings, ..*context };
    let kept = kept_texts(entries).filter(|kept| kept.made_with == made_with);
    let replies = Replies::of(entries);
    let material = material(context, None)?;
    let prompts = context.for_prompts(&material);
    let rounds = rounds(context, &Mixup, &material, kept, &teacher.sha256, &mut |requests| {
        Ok(replies.parsed(&prompts, &Mixup, requests, teacher))
    })?;
    Ok(rounds.piles.texts.into_iter().flatten().collect())
}

/// The replies in a ledger by their keys: the text, and whether it is complete.
pub(super) struct Replies<'a>(HashMap<&'a str, (&'a str, bool)>);

impl<'a> Replies<'a> {
    pub(super) fn of(entries: &'a [Entry]) -> Self {
        let keyed = |entry: &'a Entry| match entry {
            Entry::Reply { key, reply, complete, .. } => {
                Some((key.as_str(), (reply.as_str(), *complete)))
            }
            _ => None,
        };
        Self(entries.iter().filter_map(keyed).collect())
    }

    /// The replies to `requests` that the ledger has, parsed by `method`; the others have no texts.
    pub(super) fn parsed(
        &self,
        prompts: &PromptContext<'_>,
        method: &dyn Method,
        requests: &[PromptRequest],
        teacher: &TeacherIdentity,
    ) -> Vec<ParsedReply> {
        let parsed = |request: &PromptRequest| {
            let key = call(prompts, request).key(teacher);
            let reply = self.0.get(key.as_str());
            let texts = reply.and_then(|(reply, complete)| {
                method.parse(prompts, request, reply, *complete).ok()
            });
            (key, texts)
        };
        requests.iter().map(parsed).collect()
    }
}

/// The round of a request for new texts, from its name `round.class.number`.
fn round_of(entry: &Entry) -> Option<usize> {
    let Entry::Reply { ask, .. } = entry else { return None };
    let numbers: Vec<usize> = ask.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    (numbers.len() == 3).then(|| numbers[0])
}

/// The first round that was not asked yet.
fn first_round(entries: &[Entry]) -> usize {
    let asked = entries.iter().filter_map(round_of).max().map_or(0, |round| round + 1);
    asked.max(kept_texts(entries).map_or(0, |kept| kept.first_round))
}

/// The first id that no text has had.
fn next_id(entries: &[Entry], rows: &[AugmentedText]) -> usize {
    let decided = entries.iter().filter_map(|entry| match entry {
        Entry::Decision { row, .. } => Some(row + 1),
        Entry::TaskChanged(changed) => changed.texts.as_ref().map(|texts| texts.next_id),
        Entry::Stage { stage, counts, .. } if stage == "generate" => counts.get("kept").copied(),
        _ => None,
    });
    rows.iter().map(|row| row.id + 1).chain(decided).max().unwrap_or(0)
}

/// What a comparison redoes.
fn comparison_line(labels: bool) -> String {
    let redone = match labels {
        true => "every text and label whose prompt changed, the students trained on them",
        false => "the students, since their predictions depend on the test set",
    };
    format!("kept: all calls whose prompts are the same; redone: {redone}")
}

/// What is kept if no prompt changed.
fn untouched_line(change: &TaskChange, gold: Gold) -> String {
    let kept = "kept: all texts and labels";
    match (change.seeds.is_empty() || gold == Gold::Shots, change.test.is_empty()) {
        (true, true) => format!("{kept}, and the student"),
        (true, false) => format!(
            "{kept}, and the student; redone: its predictions, the report, and the students that it is compared with (their weights are not kept)"
        ),
        (false, _) => format!("{kept}; redone: the filter, the students and the report"),
    }
}

/// "180 texts of 6 classes": the number of `rows` and of their classes.
fn by_class<'a>(majors: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut by_class: BTreeMap<&str, usize> = BTreeMap::new();
    majors.for_each(|class| *by_class.entry(class).or_default() += 1);
    let count: usize = by_class.values().sum();
    let texts = counted(count, "text");
    match by_class.len() {
        0 => None,
        1 => by_class.keys().next().map(|class| format!("{texts} of `{class}`")),
        classes => Some(format!("{texts} of {classes} classes")),
    }
}

/// What is kept, redone, new and set aside if prompts changed.
fn texts_line(texts: &KeptTexts, previous: PreviousRun<'_>, input: RunInput<'_>) -> String {
    let change = &previous.pending.change;
    let aside = set_aside_now(previous.entries);
    let back = |row: &&AugmentedText| {
        aside.iter().any(|aside| (aside.row.id, &aside.row.text) == (row.id, &row.text))
    };
    let majors = |rows: &[&AugmentedText]| by_class(rows.iter().map(|row| row.major.as_str()));
    let (again, kept): (Vec<&AugmentedText>, Vec<&AugmentedText>) =
        texts.kept.iter().partition(back);
    let per_class = input.settings.augment.per_class;
    let missing = |new: bool| {
        let classes = input.task.classes.iter().map(|class| class.name.as_str());
        let lacking = classes.filter(|name| change.added.iter().any(|add| add == name) == new);
        by_class(lacking.flat_map(|name| {
            let there = texts.kept.iter().filter(|row| row.major == name).count();
            let there = there + texts.withdrawn.get(name).copied().unwrap_or(0);
            std::iter::repeat_n(name, per_class.saturating_sub(there))
        }))
    };
    // Imported texts bring their labels with them.
    let asks = !is_imported(previous.entries);
    let mut redone: Vec<String> = missing(false).filter(|_| asks).into_iter().collect();
    redone.extend(asks.then(|| "all labels".to_owned()));
    let aside: Vec<&AugmentedText> = texts.set_aside.iter().map(|aside| &aside.row).collect();
    let parts = [
        ("kept", majors(&kept)),
        ("restored", majors(&again)),
        ("redone", asks.then(|| redone.join(", "))),
        ("new", missing(true).filter(|_| asks)),
        ("set aside", majors(&aside)),
    ];
    let parts = parts.into_iter().filter_map(|(what, text)| Some(format!("{what}: {}", text?)));
    parts.collect::<Vec<_>>().join("; ")
}
