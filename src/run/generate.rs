//! The stage `generate`: asks the teacher for new texts until each class has as many as wanted, or
//! the tries are used up. Writes `augmented.jsonl`.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{Event, RunError, RunFolder, Watch, key, ledger::Entry, run_seeds};
use crate::{
    augment::{Ask, AugmentedText, mixup},
    config::Settings,
    filter::canonical,
    prompt::{
        Prompts,
        reply::{LIST_CUE, parse_list},
    },
    task::Task,
    teacher::{GenerateRequest, Teacher},
};

/// Runs the stage.
///
/// # Errors
/// Whatever stops the teacher or the disk; finished replies are in the ledger by then.
pub fn generate(
    run: &mut RunFolder,
    task: &Task,
    settings: &Settings,
    prompts: &Prompts,
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Vec<AugmentedText>, RunError> {
    let seeds = run_seeds(task, settings);
    let augment = &settings.augment;
    let classes = task.classes.len();
    let teacher_sha256 = teacher.identity().sha256.clone();
    let mut texts: Vec<Vec<AugmentedText>> = vec![Vec::new(); classes];
    let mut seen = HashSet::new();
    let (mut asked, mut parsed, mut calls, mut refused) = (0, 0, 0, 0);
    for round in 0..augment.tries {
        let missing: Vec<usize> =
            texts.iter().map(|texts| augment.per_class.saturating_sub(texts.len())).collect();
        let asks = mixup::plan_round(
            task,
            &seeds,
            prompts,
            augment,
            (settings.run.seed, round),
            &missing,
        )?;
        if asks.is_empty() {
            break;
        }
        let replies = replies(run, settings, teacher, &asks, &mut *watch)?;
        for (ask, reply) in asks.iter().zip(replies) {
            calls += 1;
            asked += ask.count;
            let Ok(list) = parse_list(&reply.text, ask.count, reply.complete) else {
                refused += 1;
                continue;
            };
            parsed += list.len();
            for text in list {
                if seen.insert(canonical(&text)) {
                    texts[ask.major].push(row(task, ask, text, &teacher_sha256));
                }
            }
        }
    }
    let unique: usize = texts.iter().map(Vec::len).sum();
    for (class, texts) in texts.iter_mut().enumerate() {
        if texts.len() < augment.per_class {
            watch(Event::Warning(format!(
                "{}: {} of {} texts after {} tries",
                task.classes[class].name,
                texts.len(),
                augment.per_class,
                augment.tries
            )));
        }
        texts.truncate(augment.per_class);
    }
    let mut rows: Vec<AugmentedText> = texts.into_iter().flatten().collect();
    for (id, row) in rows.iter_mut().enumerate() {
        row.id = id;
    }
    run.write_rows("augmented.jsonl", &rows)?;
    run.finish_stage(
        "generate",
        &[
            ("calls", calls),
            ("refused", refused),
            ("asked", asked),
            ("parsed", parsed),
            ("unique", unique),
            ("kept", rows.len()),
        ],
    )?;
    let summary =
        format!("{} new texts from {calls} replies, {refused} of them refused", rows.len());
    watch(Event::End { summary });
    Ok(rows)
}

struct Known {
    text: String,
    complete: bool,
}

/// The replies to `asks`: from the ledger where they are known, from the teacher otherwise.
fn replies(
    run: &mut RunFolder,
    settings: &Settings,
    teacher: &mut dyn Teacher,
    asks: &[Ask],
    watch: Watch<'_>,
) -> Result<Vec<Known>, RunError> {
    let sampling = settings.sampling();
    let max_tokens = settings.augment.max_tokens;
    let identity = teacher.identity().sha256.clone();
    let keys: Vec<String> = asks
        .iter()
        .map(|ask| key(&(&identity, &ask.prompt, ask.seed, sampling, max_tokens, ask.count)))
        .collect();
    let mut known: HashMap<String, Known> = HashMap::new();
    for entry in run.ledger.entries() {
        if let Entry::Reply { key, reply, complete, .. } = entry {
            known.insert(key.clone(), Known { text: reply.clone(), complete: *complete });
        }
    }
    let done: Vec<bool> = keys.iter().map(|key| known.contains_key(key)).collect();
    let resumed = done.iter().filter(|done| **done).count();
    watch(Event::Begin { stage: "generate", total: asks.len(), resumed });

    let requests: Vec<GenerateRequest> = asks
        .iter()
        .map(|ask| GenerateRequest {
            id: ask.id.clone(),
            prompt: ask.prompt.clone(),
            cue: LIST_CUE,
            lines: ask.count,
            seed: ask.seed,
            max_tokens,
            sampling,
        })
        .collect();
    let ledger = &mut run.ledger;
    let mut clock = Instant::now();
    teacher.generate(&requests, &done, &mut |first, wave| {
        let fresh: Vec<usize> = (0..wave.len()).filter(|offset| !done[first + offset]).collect();
        let seconds = clock.elapsed().as_secs_f64() / fresh.len().max(1) as f64;
        clock = Instant::now();
        let (mut entries, mut rejected, mut tokens) = (Vec::new(), 0, 0);
        for offset in fresh {
            let (ask, reply) = (&asks[first + offset], &wave[offset]);
            let fault = parse_list(&reply.text, ask.count, reply.complete).err();
            rejected += usize::from(fault.is_some());
            tokens += reply.generated_tokens;
            entries.push(Entry::Reply {
                key: keys[first + offset].clone(),
                ask: ask.id.clone(),
                reply: reply.text.clone(),
                complete: reply.complete,
                fault,
                prompt_tokens: reply.prompt_tokens,
                generated_tokens: reply.generated_tokens,
                seconds,
            });
            known.insert(
                keys[first + offset].clone(),
                Known { text: reply.text.clone(), complete: reply.complete },
            );
        }
        let items = entries.len();
        ledger.append(entries)?;
        watch(Event::Advance { items, rejected, tokens });
        Ok(())
    })?;
    let missing = || Known { text: String::new(), complete: false };
    Ok(keys.iter().map(|key| known.remove(key).unwrap_or_else(missing)).collect())
}

fn row(task: &Task, ask: &Ask, text: String, teacher_sha256: &str) -> AugmentedText {
    let name = |class: usize| task.classes[class].name.clone();
    AugmentedText {
        id: 0,
        text,
        major: name(ask.major),
        minor: Some(name(ask.minor)),
        alpha: Some(f64::from(ask.percent) / 100.0),
        shown: ask.shown.iter().map(|class| name(*class)).collect(),
        ask: Some(ask.id.clone()),
        seed: Some(ask.seed),
        prompt_sha256: Some(key(&ask.prompt)),
        teacher_sha256: Some(teacher_sha256.to_owned()),
    }
}
