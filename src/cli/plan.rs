//! `promptmix plan`: how many calls and tokens a run takes, roughly how long, and one rendered
//! prompt of each kind. Asks the teacher nothing.

use super::{TaskArgs, parts};
use crate::{augment::mixup, config::Settings, relabel::Questioner, task::Task, teacher::Teacher};

/// Tokens per second and billion weights that a CPU of the last years reads and writes; a rough
/// guess, said to be one.
const READS: f64 = 60.0;
const WRITES: f64 = 20.0;
/// Tokens of a text, where none is known yet.
const TEXT_TOKENS: usize = 20;

/// Runs the command.
pub fn plan(args: &TaskArgs) -> anyhow::Result<()> {
    let task = Task::load(&args.task)?;
    let settings = Settings::resolve(&task.settings, &task.folder, &args.choices.overrides())?;
    let prompts = parts::prompts(&task)?;
    let teacher = parts::teacher(&settings)?;
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
    let mut read = 0;
    for ask in &asks {
        read += teacher.prompt_tokens(&ask.prompt)?;
    }
    let write = asks.len() * settings.augment.texts_per_request * TEXT_TOKENS;

    let text =
        seeds.first().or(task.test.first()).map_or("…", |item| item.text.as_str()).to_owned();
    let questioner = Questioner::new(&task, &prompts, &seeds, &settings.relabel);
    let question = if questioner.needs_embedder() {
        let embedder = parts::embedder(&parts::student(&settings)?)?;
        questioner.ask(&[text], &embedder)?.remove(0)
    } else {
        questioner.ask_all(&[text])?.remove(0)
    };
    let texts: usize = wanted.iter().sum();
    let scored = texts + task.test.len();
    let score_tokens = scored * teacher.prompt_tokens(&question.prompt)?;

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
                "mixup_prompt": teacher.render(&asks[0].prompt)?, "relabel_prompt": teacher.render(&question.prompt)?,
            })
        );
        return Ok(());
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
    println!("--- one request for new {}\n{}\n", task.items, teacher.render(&asks[0].prompt)?);
    println!("--- one question for a label\n{}\n", teacher.render(&question.prompt)?);
    println!("--- settings\n{}", settings.to_toml());
    Ok(())
}
