//! `promptmix plan`: how many calls and tokens a run takes, roughly how long, and one rendered
//! prompt of each kind; names the prompts that are too long for the teacher. Asks the teacher nothing.

use std::{cmp::Reverse, iter};

use super::{TaskArgs, parts};
use crate::{
    augment::mixup,
    config::Settings,
    relabel::Questioner,
    store,
    task::Task,
    teacher::{Measured, TeacherIdentity, llama::bench::Kind},
};

/// Tokens per second and billion weights that a CPU of the last years reads and writes; a rough
/// guess, said to be one, for teachers that `bench` has not measured.
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

    // What prompts share is read once.
    let read_once = (read as f64 * own_share(&asked)) as usize;
    let scored_once = (score_tokens as f64 * own_share(&questions)) as usize;
    let estimate = Estimate::of(teacher.identity());
    let seconds = estimate.seconds(read_once + scored_once, write);
    if args.json {
        println!(
            "{}",
            serde_json::json!({
                "teacher": teacher.identity(), "generate_calls": asks.len(), "score_calls": scored,
                "prompt_tokens": read + score_tokens, "prompt_tokens_shared_once": read_once + scored_once,
                "generated_tokens": write, "estimated_minutes": seconds / 60.0,
                "measured": estimate.measured, "settings": settings,
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
    let billions = teacher.identity().parameters as f64 / 1e9;
    println!("teacher   {} ({billions:.3} billion weights)", teacher.identity().name);
    println!(
        "generate  {} calls for {texts} texts: {read} prompt tokens, {read_once} of them to read as many are shared; about {write} to write",
        asks.len()
    );
    println!(
        "relabel   {texts} texts, and {} of the test set: {score_tokens} prompt tokens, about {scored_once} of them to read",
        task.test.len()
    );
    println!("train     {} students", 3 * settings.run.seeds);
    println!("teacher's time: {}\n", estimate.say(seconds));
    println!("--- one request for new {}\n{}\n", task.items, asked[0].rendered);
    println!("--- one question for a label\n{}\n", questions[0].rendered);
    println!("--- settings\n{}", settings.to_toml());
    Ok(())
}

/// How fast the teacher reads and writes.
struct Estimate {
    /// Tokens per second.
    reads: f64,
    writes: f64,
    /// By `promptmix bench` on this machine, rather than guessed from the model's size.
    measured: bool,
}

impl Estimate {
    fn of(identity: &TeacherIdentity) -> Self {
        let measured = store::speed(&identity.sha256).and_then(|report| {
            let reads = report.measure(Kind::Labels)?.prompt_tokens_per_second;
            let writes = report.measure(Kind::Decode)?.decode_tokens_per_second;
            (reads > 0.0 && writes > 0.0).then_some(Self { reads, writes, measured: true })
        });
        let billions = identity.parameters as f64 / 1e9;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64 / 2.0;
        measured.unwrap_or(Self {
            reads: READS * cores / billions,
            writes: WRITES * cores / billions,
            measured: false,
        })
    }

    fn seconds(&self, read: usize, write: usize) -> f64 {
        read as f64 / self.reads + write as f64 / self.writes
    }

    fn say(&self, seconds: f64) -> String {
        let time = match seconds {
            seconds if seconds < 90.0 => format!("{seconds:.0} seconds"),
            seconds if seconds < 5400.0 => format!("{:.0} minutes", seconds / 60.0),
            seconds => format!("{:.1} hours", seconds / 3600.0),
        };
        if self.measured {
            format!("about {time}, by what `promptmix bench` measured here")
        } else {
            format!("very roughly {time}; `promptmix bench --teacher MODEL` measures it")
        }
    }
}

/// The share of the prompts' text that is left when each beginning that several share counts once.
fn own_share(prompts: &[Measured]) -> f64 {
    let mut texts: Vec<&str> = prompts.iter().map(|prompt| prompt.rendered.as_str()).collect();
    texts.sort_unstable();
    let all: usize = texts.iter().map(|text| text.len()).sum();
    let shared: usize = texts
        .windows(2)
        .map(|pair| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count())
        .sum();
    1.0 - shared as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_counts_once() {
        let prompts = ["abcdef", "abcxyz", "abcdeg"]
            .map(|text| Measured { rendered: text.to_owned(), tokens: 6 });
        // Of 18 letters abcde is there twice and abc a third time: 5 + 3 are shared.
        assert!((own_share(&prompts) - 10.0 / 18.0).abs() < 1e-12);
    }
}
