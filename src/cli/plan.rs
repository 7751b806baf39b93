//! `promptmix plan`: the number of teacher calls and tokens of a run, a time estimate, one rendered
//! prompt of each kind, the prompts that are too long for the teacher, and the cost of training.
//! Generates nothing and trains nothing.

mod check;
mod machines;
mod render;
mod resume;
mod time;
mod training;

use std::{cmp::Reverse, path::Path};

use serde_json::Value;

use super::{PlanArgs, build, error, preflight};
use crate::{
    augment::{Material, Method as _, PromptRequest, mixup::Mixup, paper::PaperMixup},
    config::{Calibration, Partners, Settings},
    embed::Embedder,
    models::{self, Role},
    pipeline::{self, Context, Event, Scoring, fit, gold, remaining::Shown, teacher_check},
    prompt::{Prompts, reply::LIST_CUE},
    relabel::{QuestionBuilder, scoring},
    report::TeacherCheck,
    task::{LabelledText, Task},
    teacher::{
        Measured, Teacher, TeacherIdentity,
        llama::bench::{BenchReport, Kind},
    },
};
pub(super) use machines::MachineArgs;
use resume::{Resume, Subject};
use time::Basis;
use training::Training;

/// Tokens per second and billion parameters that half the cores of a recent CPU read and write, for
/// teachers that `bench` has not measured. A rough guess, and printed as one.
const READ_SPEED: f64 = 60.0;
const WRITE_SPEED: f64 = 20.0;
/// Assumed tokens of a text.
const TEXT_TOKENS: usize = 20;
/// Assumed tokens of a class name that the teacher writes.
const NAME_TOKENS: usize = 4;
/// Number of test texts (the longest ones) and of seeds whose questions are measured.
const SAMPLE: usize = 20;

/// Number of classes whose requests are rendered and measured; those of a task with more are
/// estimated from so many. With the default settings a class has 34 requests.
const MEASURED_CLASSES: usize = 200;

/// What a run will do and cost.
struct Plan {
    teacher: TeacherIdentity,
    /// Plural noun for the texts.
    items: String,
    settings: Settings,
    generation: Calls,
    /// A prompt for texts of the class that is none of the others, if the task has one.
    near_miss: Option<String>,
    relabelling: Calls,
    /// Texts that are generated.
    texts: usize,
    /// Unlabelled texts that are labelled, at most; `None` without such a file.
    unlabelled: Option<usize>,
    test_texts: usize,
    /// Tokens that the teacher writes.
    written_tokens: usize,
    speed: Speed,
    /// One sentence for each prompt that does not fit the teacher's context.
    too_long: Vec<String>,
    training: Training,
    /// The few-shot subset as requests show it, and as questions show it.
    shown: (Vec<LabelledText>, Vec<LabelledText>),
    /// What the teacher reached on examples that its prompt does not show, if it was asked.
    check: Option<TeacherCheck>,
}

/// The calls of a stage.
struct Calls {
    count: usize,
    /// Tokens of all prompts.
    prompt_tokens: usize,
    /// Those of them that are evaluated: beginnings that prompts share are evaluated once.
    read_tokens: usize,
    /// A prompt as the teacher sees it.
    example: String,
}

/// Runs the command.
pub(super) fn plan(args: &PlanArgs) -> anyhow::Result<()> {
    let Subject { task, settings, run } = Subject::of(args)?;
    build::require_teacher(&settings)?;
    let out = run.as_deref().or(args.out.as_deref()).unwrap_or(Path::new("."));
    preflight::check(&settings, &task, out)?;
    if let Some(Event::Warning { message, hint }) = build::without_template(&settings) {
        error::warn(&message, hint.as_deref());
    }
    let mut teacher = build::teacher(&settings)?;
    let mut plan = Plan::of(&task, settings, &mut *teacher, args.check)?;
    if let Some(speed) = args.machines.speed() {
        plan.speed = speed;
    }
    let shards = args.machines.estimate(&plan);
    let resume = run.map(|run| Resume::of(&run, &task, &plan, &mut *teacher)).transpose()?;
    if args.task.json {
        let mut json = plan.json();
        json["shards"] = shards.as_ref().map_or(Value::Null, |shards| shards.json());
        json["resume"] = resume.as_ref().map_or(Value::Null, |resume| resume.json(&plan));
        println!("{json}");
        return Ok(());
    }
    if let Some(resume) = resume {
        resume.print(&plan);
    }
    plan.print(shards.as_ref());
    Ok(())
}

impl Plan {
    fn of(
        task: &Task,
        settings: Settings,
        teacher: &mut dyn Teacher,
        check: bool,
    ) -> anyhow::Result<Self> {
        let prompts = build::prompts(task)?;
        let drawn = task.draw_seeds(settings.run.seed);
        let whole =
            Context { task, seeds: &drawn, settings: &settings, prompts: &prompts, seed: 0 };
        let settings = whole.with_lengths(teacher.identity().context);
        let warn = |event: Event| {
            if let Event::Warning { message, hint } = event {
                error::warn(&message, hint.as_deref());
            }
        };
        let context =
            Context { task, seeds: &drawn, settings: &settings, prompts: &prompts, seed: 0 };
        let scoring = Scoring { stage: "relabel", context };
        let asked = scoring.shown(teacher, &mut { warn })?;
        let material = material(&context)?;
        let seeds = fit::for_requests(&context, &material.style, teacher, &mut { warn })?;
        let texts = settings.augment.per_class * task.classes.len();

        let asking = Context { seeds: &seeds, seed: settings.run.seed, ..context };
        let requests = requests(&asking, &material)?;
        let rendered: Vec<String> = requests.iter().map(|request| request.prompt.clone()).collect();
        let measured_requests = teacher.measure(&rendered)?;
        let generation = generation(&measured_requests, task.classes.len());
        let near_miss = requests.iter().zip(&measured_requests).find(|it| it.0.near.is_some());
        let near_miss = near_miss.map(|(_, prompt)| prompt.rendered.clone());

        let longest = longest_test_texts(task);
        let questions = questions(task, &asked, &prompts, &settings, &longest)?;
        let measured_questions = teacher.measure(&questions)?;
        let unlabelled = task.unlabelled.as_ref().map(|_| settings.label.budget);
        let mut count = texts + unlabelled.unwrap_or(0) + task.test.len();
        count += teacher_check::size(task, settings.teacher.check);
        if settings.relabel.calibration == Calibration::ContentFree {
            // For one list of candidates; there are more if the nearest classes of texts differ.
            count += scoring::CONTENT_FREE.len();
        }
        let sum: usize = measured_questions.iter().map(|prompt| prompt.tokens).sum();
        let relabelling = Calls {
            count,
            prompt_tokens: count * (sum / measured_questions.len()),
            read_tokens: read_once(&measured_questions, count),
            example: measured_questions[0].rendered.clone(),
        };

        let mut written_tokens =
            generation.count * settings.augment.texts_per_request * TEXT_TOKENS;
        if settings.relabel.free_text {
            written_tokens += count * NAME_TOKENS;
        }
        let check = match check {
            true => check::check(task, &drawn, &settings, &prompts, teacher)?,
            false => None,
        };
        let identity = teacher.identity().clone();
        let requests = requests.iter().zip(&measured_requests).map(|(request, prompt)| {
            let needed = prompt.tokens + LIST_CUE.len() + settings.augment.max_tokens();
            (format!("request {}", request.id), needed)
        });
        // A name has at most as many tokens as bytes.
        let name = task.classes.iter().map(|class| class.shown().len()).max().unwrap_or(0);
        let questions = longest.iter().zip(&measured_questions).map(|((row, _), prompt)| {
            (
                format!("the question about {}, which is cut,", task.test_place(*row)),
                prompt.tokens + name,
            )
        });
        let too_long = too_long(requests.chain(questions), identity.context);
        Ok(Self {
            speed: Speed::of(&identity),
            training: Training::of(task, &settings, gold::seeds(task, &settings).len(), texts),
            teacher: identity,
            items: task.items.clone(),
            settings,
            generation,
            near_miss,
            relabelling,
            texts,
            unlabelled,
            test_texts: task.test.len(),
            written_tokens,
            too_long,
            shown: (seeds, asked),
            check,
        })
    }

    fn shown(&self) -> Shown<'_> {
        Shown { requests: &self.shown.0, questions: &self.shown.1 }
    }

    fn read_tokens(&self) -> usize {
        self.generation.read_tokens + self.relabelling.read_tokens
    }

    /// The teacher's time.
    fn seconds(&self) -> f64 {
        self.generation_seconds() + self.label_seconds()
    }

    fn generation_seconds(&self) -> f64 {
        self.generation.read_tokens as f64 / self.speed.read
            + self.written_tokens as f64 / self.speed.written
    }

    fn label_seconds(&self) -> f64 {
        self.relabelling.read_tokens as f64 / self.speed.read
    }
}

/// Of each of so many classes, whether its requests are measured: [`MEASURED_CLASSES`] of them,
/// spread evenly.
fn is_measured(classes: usize) -> impl Iterator<Item = bool> {
    let most = MEASURED_CLASSES.min(classes);
    (0..classes).map(move |class| class * most / classes != (class + 1) * most / classes)
}

/// The calls for texts of so many classes, of which some were `measured`.
fn generation(measured: &[Measured], classes: usize) -> Calls {
    let sampled = is_measured(classes).filter(|measured| *measured).count().max(1);
    let of_all = |of_sample: usize| of_sample * classes / sampled;
    let count = of_all(measured.len());
    Calls {
        count,
        prompt_tokens: of_all(measured.iter().map(|prompt| prompt.tokens).sum()),
        read_tokens: read_once(measured, count),
        example: measured.first().map(|prompt| prompt.rendered.clone()).unwrap_or_default(),
    }
}

/// What requests show besides the task.
fn material(context: &Context<'_>) -> anyhow::Result<Material> {
    let embedder = match context.settings.augment.partners {
        Partners::Even => None,
        Partners::Confusable => Some(build::embedder(&build::student(context.settings)?)?),
    };
    let embedder = embedder.as_ref().map(|embedder| embedder as &dyn Embedder);
    Ok(pipeline::material(context, embedder)?)
}

/// The requests of the first round of generation, of the classes that are measured; later
/// rounds only replace rejected texts.
fn requests(context: &Context<'_>, material: &Material) -> anyhow::Result<Vec<PromptRequest>> {
    let augment = &context.settings.augment;
    let wanted = is_measured(context.task.classes.len()).map(|measured| match measured {
        true => augment.per_class,
        false => 0,
    });
    let wanted: Vec<usize> = wanted.collect();
    let prompts = context.for_prompts(material);
    if augment.unique_per_text > 0 {
        return Ok(PaperMixup.plan_round(&prompts, 0, &wanted)?);
    }
    Ok(Mixup.plan_round(&prompts, 0, &wanted)?)
}

/// The longest texts of the test set with their row numbers, from 0.
fn longest_test_texts(task: &Task) -> Vec<(usize, &str)> {
    let mut texts: Vec<(usize, &str)> =
        task.test.iter().map(|item| item.text.as_str()).enumerate().collect();
    texts.sort_by_key(|(_, text)| Reverse(text.len()));
    texts.truncate(SAMPLE);
    texts
}

/// The prompts that ask for the labels of the texts `longest`, of some seeds and of a short text.
fn questions(
    task: &Task,
    seeds: &[LabelledText],
    prompts: &Prompts,
    settings: &Settings,
    longest: &[(usize, &str)],
) -> anyhow::Result<Vec<String>> {
    let texts: Vec<String> = longest
        .iter()
        .map(|(_, text)| *text)
        .chain(seeds.iter().map(|seed| seed.text.as_str()).take(SAMPLE))
        .chain(["…"])
        .map(str::to_owned)
        .collect();
    let builder = QuestionBuilder::new(task, prompts, seeds, &settings.relabel);
    let questions = if builder.needs_embedder() {
        let embedder = build::embedder(&build::student(settings)?)?;
        builder.build(&texts, &embedder)?
    } else {
        builder.build_with_all_classes(&texts)?
    };
    Ok(questions.into_iter().map(|question| question.prompt).collect())
}

/// One sentence for each prompt that needs more than `limit` tokens, its reply included.
fn too_long(prompts: impl Iterator<Item = (String, usize)>, limit: usize) -> Vec<String> {
    prompts
        .filter(|(_, needed)| *needed > limit)
        .map(|(prompt, needed)| {
            format!("{prompt} needs {needed} tokens, but the teacher's context holds {limit}")
        })
        .collect()
}

/// How fast the teacher reads and writes, in tokens per second.
#[derive(Debug, Clone, Copy)]
struct Speed {
    read: f64,
    written: f64,
    basis: Basis,
}

impl Speed {
    fn of(identity: &TeacherIdentity) -> Self {
        let measured =
            models::speed::<BenchReport>(Role::Teacher, &identity.sha256).and_then(|report| {
                let read = report.measure(Kind::Labels)?.prompt_tokens_per_second;
                let written = report.measure(Kind::Decode)?.decode_tokens_per_second;
                let basis = Basis::Measured;
                (read > 0.0 && written > 0.0).then_some(Self { read, written, basis })
            });
        // Nobody knows how large a model is of which only the tokenizer is here.
        let billions = match identity.parameters {
            0 => 1.0,
            parameters => parameters as f64 / 1e9,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64 / 2.0;
        measured.unwrap_or(Self {
            read: READ_SPEED * cores / billions,
            written: WRITE_SPEED * cores / billions,
            basis: Basis::Guessed,
        })
    }
}

/// Tokens that the teacher evaluates for `count` prompts like these, if it evaluates every
/// beginning that prompts share only once.
fn read_once(prompts: &[Measured], count: usize) -> usize {
    let mut sorted: Vec<&Measured> = prompts.iter().collect();
    sorted.sort_unstable_by_key(|prompt| prompt.rendered.as_str());
    let unshared: f64 = sorted
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
        several => unshared / (several - 1) as f64,
    };
    first.tokens + (others * count.saturating_sub(1) as f64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_of_many_classes_are_estimated_from_some() {
        let count = |classes| is_measured(classes).filter(|measured| *measured).count();
        assert_eq!([1, 77, 200, 201, 5000].map(count), [1, 77, 200, 200, 200]);
        let first: Vec<usize> =
            is_measured(1000).enumerate().filter_map(|(at, it)| it.then_some(at)).take(3).collect();
        assert_eq!(first, [4, 9, 14]);
        // Three requests of each measured class, 10 tokens each, nothing shared.
        let measured = |classes: usize| -> Vec<Measured> {
            let prompt =
                |n| Measured { rendered: char::from_u32(n + 256).unwrap().into(), tokens: 10 };
            (0..3 * count(classes) as u32).map(prompt).collect()
        };
        for classes in [2, 200, 1000] {
            let calls = generation(&measured(classes), classes);
            assert_eq!((calls.count, calls.prompt_tokens), (3 * classes, 30 * classes));
        }
    }

    #[test]
    fn shared_beginnings_are_read_once() {
        let measured = |text: &str| Measured { rendered: text.to_owned(), tokens: text.len() };
        let prompts = ["abcdef", "abcxyz", "abcdeg"].map(measured);
        // Sorted: abcdef, abcdeg, abcxyz. The second has 1 letter of its own, the third 3.
        assert_eq!(read_once(&prompts, 3), 6 + 1 + 3);
        assert_eq!(read_once(&prompts, 11), 6 + 2 * 10);
        assert_eq!(read_once(&prompts[..1], 3), 18);
        assert_eq!(read_once(&[], 3), 0);
    }
}
