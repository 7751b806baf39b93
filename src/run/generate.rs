//! The stage `generate`: asks the teacher for new texts until each class has as many as wanted, or
//! the tries are used up. Writes `augmented.jsonl`.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{
    Event, RunError, RunFolder, Watch,
    calls::{Missing, restarted, skipped},
    key,
    ledger::Entry,
    run_seeds,
};
use crate::{
    augment::{Ask, AugmentedText, mixup},
    config::{AugmentSettings, Settings},
    filter::canonical,
    prompt::{
        Prompts,
        reply::{LIST_CUE, parse_list},
    },
    task::Task,
    teacher::{GenerateRequest, News, Teacher, Wanted},
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
    run.note_teacher(teacher.identity())?;
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
        let replies = replies(run, task, settings, teacher, &asks, &mut *watch)?;
        for (ask, reply) in asks.iter().zip(replies) {
            calls += 1;
            asked += ask.count;
            let list = parse_list(&reply.text, ask.count, augment.longest, reply.complete);
            let Ok(list) = list else {
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

#[derive(Clone, Default)]
struct Known {
    text: String,
    complete: bool,
}

/// The replies to `asks`: from the ledger where they are known, from the teacher otherwise. A
/// request that was given up has an empty reply, which no parser takes.
fn replies(
    run: &mut RunFolder,
    task: &Task,
    settings: &Settings,
    teacher: &mut dyn Teacher,
    asks: &[Ask],
    watch: Watch<'_>,
) -> Result<Vec<Known>, RunError> {
    let sampling = settings.augment.sampling;
    let AugmentSettings { max_tokens, constrained, longest, .. } = settings.augment;
    let identity = teacher.identity().clone();
    let request = |ask: &Ask| GenerateRequest {
        id: ask.id.clone(),
        prompt: ask.prompt.clone(),
        cue: LIST_CUE.to_owned(),
        lines: ask.count,
        longest,
        constrained,
        seed: ask.seed,
        max_tokens,
        sampling,
        wanted: Wanted {
            major: task.classes[ask.major].name.clone(),
            minor: task.classes[ask.minor].name.clone(),
        },
    };
    let keys: Vec<String> = asks.iter().map(|ask| request(ask).key(&identity)).collect();
    let mut known: HashMap<String, Known> = HashMap::new();
    for entry in run.ledger.entries() {
        match entry {
            Entry::Reply { key, reply, complete, .. } => {
                known.insert(key.clone(), Known { text: reply.clone(), complete: *complete });
            }
            Entry::Skipped { key, .. } => {
                known.insert(key.clone(), Known::default());
            }
            _ => {}
        }
    }
    let missing = Missing::of(&keys, |key| known.contains_key(key));
    watch(Event::Begin { stage: "generate", total: missing.total, resumed: missing.known() });

    let requests: Vec<GenerateRequest> =
        missing.items.iter().map(|item| request(&asks[*item])).collect();
    let ledger = &mut run.ledger;
    let mut clock = Instant::now();
    teacher.generate(&requests, &mut |news| {
        let answers = match news {
            News::Answers(answers) => answers,
            News::Restarted(reason) => return restarted(ledger, "generate", reason, &mut *watch),
        };
        let seconds = clock.elapsed().as_secs_f64() / answers.len().max(1) as f64;
        clock = Instant::now();
        let (mut entries, mut rejected, mut tokens) = (Vec::new(), 0, 0);
        for (at, answer) in answers {
            let (ask, key) = (&asks[missing.items[at]], &keys[missing.items[at]]);
            let reply = match answer {
                Ok(reply) => reply,
                Err(poison) => {
                    rejected += 1;
                    known.insert(key.clone(), Known::default());
                    entries.push(skipped("generate", key, &ask.id, poison, &mut *watch));
                    continue;
                }
            };
            let fault = parse_list(&reply.text, ask.count, longest, reply.complete).err();
            rejected += usize::from(fault.is_some());
            tokens += reply.generated_tokens;
            let text = reply.text.clone();
            known.insert(key.clone(), Known { text, complete: reply.complete });
            entries.push(Entry::Reply {
                key: key.clone(),
                ask: ask.id.clone(),
                reply: reply.text,
                complete: reply.complete,
                fault,
                prompt_tokens: reply.prompt_tokens,
                generated_tokens: reply.generated_tokens,
                seconds,
            });
        }
        let items = entries.len();
        ledger.append(entries)?;
        watch(Event::Advance { items, rejected, tokens });
        Ok(())
    })?;
    Ok(keys.iter().map(|key| known.get(key).cloned().unwrap_or_default()).collect())
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
