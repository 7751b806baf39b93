//! `promptmix plan`: how many calls and tokens a run takes, roughly how long, and one rendered
//! prompt of each kind; names the prompts that are too long for the teacher; and what the students
//! take. Asks the teacher nothing and trains nothing.

use std::cmp::Reverse;

use super::{TaskArgs, build};
use crate::{
    augment::{Method as _, PromptContext, mixup::Mixup, paper::PaperMixup},
    config::{Partners, Settings},
    memory,
    models::{self, Role},
    prompt::reply::LIST_CUE,
    relabel::{QuestionBuilder, nearest_classes, scoring},
    student::{
        self,
        bench::{self, Planned},
    },
    task::Task,
    teacher::{
        Measured, TeacherIdentity,
        llama::bench::{BenchReport, Kind},
    },
};

/// Tokens per second and billion weights that a CPU of the last years reads and writes; a rough
/// guess, said to be one, for teachers that `bench` has not measured.
const READS: f64 = 60.0;
const WRITES: f64 = 20.0;
/// Tokens of a text, where none is known yet.
const TEXT_TOKENS: usize = 20;
/// Tokens of a class name that the teacher writes.
const NAME_TOKENS: usize = 4;
/// Texts of the test set, the longest ones, and seeds, whose prompts are measured.
const SAMPLE: usize = 20;
/// Seeds and texts of the test set whose tokens are counted for the student.
const TEXTS_MEASURED: usize = 500;
/// Prompts that are named as too long; the rest are counted.
const NAMED: usize = 5;

/// Runs the command.
pub(super) fn plan(args: &TaskArgs) -> anyhow::Result<()> {
    let task = Task::load(&args.task)?;
    let settings =
        Settings::resolve(&task.settings, &task.folder, &args.model_args.overrides(&task))?;
    let prompts = build::prompts(&task)?;
    let mut teacher = build::teacher(&settings)?;
    let seeds = task.draw_seeds(settings.run.seed);

    let nearest = match settings.augment.partners {
        Partners::Even => Vec::new(),
        Partners::Confusable => {
            nearest_classes(&task, &seeds, &build::embedder(&build::student(&settings)?)?)?
        }
    };
    let wanted = vec![settings.augment.per_class; task.classes.len()];
    let context = PromptContext {
        task: &task,
        seeds: &seeds,
        prompts: &prompts,
        settings: &settings.augment,
        nearest: &nearest,
        seed: settings.run.seed,
    };
    let asks = match settings.augment.unique_per_text {
        0 => Mixup.plan_round(&context, 0, &wanted)?,
        _ => PaperMixup.plan_round(&context, 0, &wanted)?,
    };
    let asked: Vec<String> = asks.iter().map(|ask| ask.prompt.clone()).collect();
    let asked = teacher.measure(&asked)?;
    let read: usize = asked.iter().map(|prompt| prompt.tokens).sum();
    let mut write = asks.len() * settings.augment.texts_per_request * TEXT_TOKENS;

    let mut longest: Vec<(usize, &str)> =
        task.test.iter().map(|item| item.text.as_str()).enumerate().collect();
    longest.sort_by_key(|(_, text)| Reverse(text.len()));
    longest.truncate(SAMPLE);
    let texts: Vec<String> = longest
        .iter()
        .map(|(_, text)| *text)
        .chain(seeds.iter().map(|seed| seed.text.as_str()).take(SAMPLE))
        .chain(["…"])
        .map(str::to_owned)
        .collect();
    let builder = QuestionBuilder::new(&task, &prompts, &seeds, &settings.relabel);
    let questions = if builder.needs_embedder() {
        let embedder = build::embedder(&build::student(&settings)?)?;
        builder.build(&texts, &embedder)?
    } else {
        builder.build_with_all_classes(&texts)?
    };
    let questions: Vec<String> = questions.into_iter().map(|question| question.prompt).collect();
    let questions = teacher.measure(&questions)?;
    let texts: usize = wanted.iter().sum();
    let mut scored = texts + task.test.len();
    if settings.relabel.contextual_calibration {
        // One list of candidates; where the nearest classes differ from text to text there are more.
        scored += scoring::CONTENT_FREE.len();
    }
    if settings.relabel.free_text {
        write += scored * NAME_TOKENS;
    }
    let mean = questions.iter().map(|prompt| prompt.tokens).sum::<usize>() / questions.len();
    let score_tokens = scored * mean;

    // A name has no more tokens than bytes.
    let name = task.classes.iter().map(|class| class.name.len()).max().unwrap_or(0);
    let asks_needed = asks.iter().zip(&asked).map(|(ask, prompt)| {
        (
            format!("request {}", ask.id),
            prompt.tokens + LIST_CUE.len() + settings.augment.max_tokens,
        )
    });
    let questions_needed = longest.iter().zip(&questions).map(|((row, _), prompt)| {
        (format!("the question about row {} of the test set", row + 1), prompt.tokens + name)
    });
    let limit = teacher.identity().context;
    let too_long: Vec<String> = asks_needed
        .chain(questions_needed)
        .filter(|(_, needed)| *needed > limit)
        .map(|(what, needed)| format!("{what} needs {needed} tokens, the teacher takes {limit}"))
        .collect();

    // What prompts share is read once.
    let asked_once = read_once(&asked, asked.len());
    let scored_once = read_once(&questions, scored);
    let estimate = Estimate::of(teacher.identity());
    let seconds = estimate.seconds(asked_once + scored_once, write);
    let training = Training::of(&task, &settings, seeds.len(), texts);
    if args.json {
        println!(
            "{}",
            serde_json::json!({
                "teacher": teacher.identity(), "generate_calls": asks.len(), "score_calls": scored,
                "prompt_tokens": read + score_tokens, "prompt_tokens_shared_once": asked_once + scored_once,
                "generated_tokens": write, "estimated_minutes": seconds / 60.0,
                "measured": estimate.measured, "train": training.json(), "settings": settings,
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
    if let Some(free) = memory::available().filter(|free| *free < training.memory) {
        eprintln!(
            "warning: a student takes up to {:.1} GB of memory, {:.1} GB are free\nhint: set student.micro_batch or student.max_length lower, or take a smaller student\n",
            training.memory as f64 / 1e9,
            free as f64 / 1e9
        );
    }
    let billions = teacher.identity().parameters as f64 / 1e9;
    println!("teacher   {} ({billions:.3} billion weights)", teacher.identity().name);
    println!(
        "generate  {} calls for {texts} texts: {read} prompt tokens, {asked_once} of them to read as many are shared; about {write} to write",
        asks.len()
    );
    println!(
        "relabel   {texts} texts, and {} of the test set: {score_tokens} prompt tokens, about {scored_once} of them to read",
        task.test.len()
    );
    println!("train     {}", training.say());
    println!("teacher's time: {}", estimate.say(seconds));
    println!("students' time: {}\n", training.say_time());
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
        let measured =
            models::speed::<BenchReport>(Role::Teacher, &identity.sha256).and_then(|report| {
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
        say_time(seconds, self.measured, "--teacher")
    }
}

fn say_time(seconds: f64, measured: bool, flag: &str) -> String {
    let time = match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} seconds"),
        seconds if seconds < 5400.0 => format!("{:.0} minutes", seconds / 60.0),
        seconds => format!("{:.1} hours", seconds / 3600.0),
    };
    if measured {
        format!("about {time}, by what `promptmix bench` measured here")
    } else {
        format!("very roughly {time}; `promptmix bench {flag} MODEL` measures it")
    }
}

/// The students of the run: the stage `train`.
struct Training {
    students: usize,
    /// Of a student that learns from all texts; filtering takes some away.
    rows: usize,
    /// Of all students together.
    steps: usize,
    /// Bytes that one of them takes at most; 0 without the student at hand.
    memory: u64,
    /// `Err`: why there is none.
    time: Result<bench::Estimate, String>,
}

impl Training {
    fn of(task: &Task, settings: &Settings, seeds: usize, texts: usize) -> Self {
        let training = &settings.student.training;
        let rows = seeds + texts;
        let all = student::steps(training, seeds, texts);
        // Without a test set there is nothing to compare, without seeds no row of seeds alone.
        let each = settings.run.seeds as usize;
        let (students, steps) = match (task.test.is_empty(), seeds) {
            (true, _) => (1, all),
            (false, 0) => (2 * each, 2 * each * all),
            (false, _) => (3 * each, each * (2 * all + student::steps(training, seeds, 0))),
        };
        let base = build::student(settings);
        let memory = base
            .as_ref()
            .map_or(0, |base| student::max_memory_estimate(base, task.classes.len(), training));
        let time = || {
            let base = base?;
            let known = task.seeds.iter().chain(&task.test).take(TEXTS_MEASURED);
            let known: Vec<String> = known.map(|item| item.text.clone()).collect();
            let lengths = base.tokenise(&known, training.max_length)?;
            let tokens = match lengths.len() {
                0 => TEXT_TOKENS as f64,
                count => lengths.iter().map(Vec::len).sum::<usize>() as f64 / count as f64,
            };
            let planned = Planned {
                students,
                steps,
                tokens_per_step: tokens * training.batch_size.min(rows) as f64,
                texts: students * task.test.len(),
                tokens_per_text: tokens,
            };
            let report = models::speed::<bench::StudentBenchReport>(Role::Student, base.sha256());
            anyhow::Ok(bench::estimate(&base, report.as_ref(), &planned))
        };
        Self { students, rows, steps, memory, time: time().map_err(|error| format!("{error:#}")) }
    }

    fn json(&self) -> serde_json::Value {
        let time = self.time.as_ref().ok();
        serde_json::json!({
            "students": self.students, "rows": self.rows, "steps": self.steps,
            "memory_bytes": self.memory,
            "estimated_minutes": time.map(|time| time.seconds / 60.0),
            "measured": time.is_some_and(|time| time.measured),
        })
    }

    fn say(&self) -> String {
        let Self { students, rows, steps, .. } = self;
        let memory = match self.memory {
            0 => String::new(),
            bytes => format!(", each in up to {:.1} GB of memory", bytes as f64 / 1e9),
        };
        format!("{students} students on up to {rows} texts each, {steps} steps in all{memory}")
    }

    fn say_time(&self) -> String {
        match &self.time {
            Ok(time) => say_time(time.seconds, time.measured, "--student"),
            Err(error) => format!("unknown: {error}"),
        }
    }
}

/// Tokens that are evaluated for `count` prompts like these where each beginning that several share
/// is evaluated once.
fn read_once(prompts: &[Measured], count: usize) -> usize {
    let mut sorted: Vec<&Measured> = prompts.iter().collect();
    sorted.sort_unstable_by_key(|prompt| prompt.rendered.as_str());
    let own: f64 = sorted
        .windows(2)
        .map(|pair| {
            let (before, this) = (pair[0].rendered.bytes(), pair[1].rendered.bytes());
            let shared = before.zip(this).take_while(|(a, b)| a == b).count();
            let share = shared as f64 / pair[1].rendered.len().max(1) as f64;
            pair[1].tokens as f64 * (1.0 - share)
        })
        .sum();
    let Some(first) = sorted.first() else { return 0 };
    let others = match sorted.len() {
        1 => first.tokens as f64,
        several => own / (several - 1) as f64,
    };
    first.tokens + (others * count.saturating_sub(1) as f64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_read_once() {
        let measured = |text: &str| Measured { rendered: text.to_owned(), tokens: text.len() };
        let prompts = ["abcdef", "abcxyz", "abcdeg"].map(measured);
        // Sorted: abcdef, abcdeg, abcxyz. The second has 1 letter of its own, the third 3.
        assert_eq!(read_once(&prompts, 3), 6 + 1 + 3);
        assert_eq!(read_once(&prompts, 11), 6 + 2 * 10);
        assert_eq!(read_once(&prompts[..1], 3), 18);
        assert_eq!(read_once(&[], 3), 0);
    }
}
