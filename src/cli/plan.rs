//! `promptmix plan`: how many calls and tokens a run takes, roughly how long, and one rendered
//! prompt of each kind; names the prompts that are too long for the teacher. Asks the teacher nothing.

use std::{cmp::Reverse, iter};

use super::{TaskArgs, parts};
use crate::{augment::mixup, config::Settings, relabel::Questioner, task::Task};

/// Tokens per second and billion weights that a CPU of the last years reads and writes; a rough
/// guess, said to be one.
const READS: f64 = 60.0;
const WRITES: f64 = 20.0;
/// Tokens of a text, where none is known yet.
const TEXT_TOKENS: usize = 20;
/// Texts of the test set, the longest ones, whose prompts are measured.
const LONGEST_TEXTS: usize = 20;
/// Prompts that are named as too long; the rest are counted.
const NAMED: usize = 5;

/// Runs the command.
pub fn plan(args: &TaskArgs) -> anyhow::Result<()> {
    let task = Task::load(&args.task)?;
    let settings = Settings::resolve(&task.settings, &task.folder, &args.choices.overrides())?;
    let prompts = parts::prompts(&task)?;
    let mut teacher = parts::teacher(&settings)?;
    let seeds = task.draw_seeds(settings.run.seed);

    let wanted = vec![settings.augment.per_class; task.classes.len()];
    let asks = mixup::plan_round(
        &task,
        &seeds,
        &prompts,
        &settings.augment,
        (settings.run.seed, 0),
        &wanted,
    )?;
    let asked: Vec<String> = asks.iter().map(|ask| ask.prompt.clone()).collect();
    let asked = teacher.measure(&asked)?;
    let read: usize = asked.iter().map(|prompt| prompt.tokens).sum();
    let write = asks.len() * settings.augment.texts_per_request * TEXT_TOKENS;

    let text = seeds.first().or(task.test.first()).map_or("…", |item| item.text.as_str());
    let mut longest: Vec<(usize, &str)> =
        task.test.iter().map(|item| item.text.as_str()).enumerate().collect();
    longest.sort_by_key(|(_, text)| Reverse(text.len()));
    longest.truncate(LONGEST_TEXTS);
    let texts: Vec<String> =
        iter::once(text).chain(longest.iter().map(|(_, text)| *text)).map(str::to_owned).collect();
    let questioner = Questioner::new(&task, &prompts, &seeds, &settings.relabel);
    let questions = if questioner.needs_embedder() {
        let embedder = parts::embedder(&parts::student(&settings)?)?;
        questioner.ask(&texts, &embedder)?
    } else {
        questioner.ask_all(&texts)?
    };
    let questions: Vec<String> = questions.into_iter().map(|question| question.prompt).collect();
    let questions = teacher.measure(&questions)?;
    let texts: usize = wanted.iter().sum();
    let scored = texts + task.test.len();
    let score_tokens = scored * questions[0].tokens;

    // A name has no more tokens than bytes.
    let name = task.classes.iter().map(|class| class.name.len()).max().unwrap_or(0);
    let asks_needed = asks.iter().zip(&asked).map(|(ask, prompt)| {
        (format!("request {}", ask.id), prompt.tokens + settings.augment.max_tokens)
    });
    let questions_needed = longest.iter().zip(&questions[1..]).map(|((row, _), prompt)| {
        (format!("the question about row {} of the test set", row + 1), prompt.tokens + name)
    });
    let limit = teacher.identity().context;
    let too_long: Vec<String> = asks_needed
        .chain(questions_needed)
        .filter(|(_, needed)| *needed > limit)
        .map(|(what, needed)| format!("{what} needs {needed} tokens, the teacher takes {limit}"))
        .collect();

    let billions = teacher.identity().parameters as f64 / 1e9;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64 / 2.0;
    let seconds = billions * ((read + score_tokens) as f64 / READS + write as f64 / WRITES) / cores;
    if args.json {
        println!(
            "{}",
            serde_json::json!({
                "teacher": teacher.identity(), "generate_calls": asks.len(), "score_calls": scored,
                "prompt_tokens": read + score_tokens, "generated_tokens": write,
                "estimated_minutes": seconds / 60.0, "settings": settings,
                "mixup_prompt": asked[0].rendered, "relabel_prompt": questions[0].rendered,
                "too_long": too_long,
            })
        );
        return Ok(());
    }
    for fault in too_long.iter().take(NAMED) {
        eprintln!("warning: {fault}");
    }
    if too_long.len() > NAMED {
        eprintln!("warning: {} more are too long", too_long.len() - NAMED);
    }
    if !too_long.is_empty() {
        eprintln!(
            "hint: fewer seeds (`shots`), fewer classes per prompt (`augment.classes_shown`), shorter texts or a lower `augment.max_tokens`\n"
        );
    }
    println!("teacher   {} ({:.2} billion weights)", teacher.identity().name, billions);
    println!(
        "generate  {} calls for {texts} texts: {read} tokens to read, about {write} to write",
        asks.len()
    );
    println!(
        "relabel   {texts} texts, and {} of the test set: at most {score_tokens} tokens to read",
        task.test.len()
    );
    println!("train     {} students", 3 * settings.run.seeds);
    println!("teacher's time: very roughly {:.0} minutes on this CPU\n", (seconds / 60.0).max(1.0));
    println!("--- one request for new {}\n{}\n", task.items, asked[0].rendered);
    println!("--- one question for a label\n{}\n", questions[0].rendered);
    println!("--- settings\n{}", settings.to_toml());
    Ok(())
}
