//! The commands. This is the only place that prints or draws progress: results go to stdout, all
//! else to stderr.

mod audit;
mod bench;
mod build;
mod bundle;
mod compare;
mod doctor;
mod error;
mod exit_status;
mod export;
#[cfg(feature = "pull")]
mod fetching;
mod models;
mod plan;
mod predict;
mod progress;
mod run;
mod table;

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{config, interrupt, sandbox, task::Task, teacher::worker, verbosity};

/// Trains a small, private text classifier from a handful of labelled examples: a local language
/// model writes texts near the class boundaries, relabels them, and a DistilBERT or BERT learns
/// from the result. Nothing leaves this machine.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say nothing but the result and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Open no connection, whatever is asked for
    #[arg(long, global = true)]
    offline: bool,
    /// Say more: paths, hashes, restarts. Twice: prompts, replies and rows of the task as well, which
    /// are shown nowhere else
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// Show the whole run on an embedded task with embedded models
    Demo(DemoArgs),
    /// Make a task folder from a file of labelled examples
    Init(InitArgs),
    /// Say what a run would ask and cost, without asking
    Plan(TaskArgs),
    /// Walk the whole run: generate, relabel, filter, train, eval
    Run(RunArgs),
    /// Stage 1: let the teacher write new texts
    Generate(RunArgs),
    /// Stage 2: let the teacher score what each text really is
    Relabel(TeacherStageArgs),
    /// Stage 3: drop doubles, copies and leaks
    Filter(StageArgs),
    /// Stage 4: fine-tune the students
    Train(StageArgs),
    /// Stage 5: score them and write the report
    Eval(TeacherStageArgs),
    /// Compare the method with its rivals on a task: every row of the paper's table
    Compare(Box<compare::CompareArgs>),
    /// Take over texts that were written elsewhere, as stages 1 and 2
    Import(ImportArgs),
    /// Classify texts with a trained student
    Predict(predict::PredictArgs),
    /// Hand a trained student on: a Hugging Face folder with a model card, an ONNX file, or both
    Export(export::ExportArgs),
    /// Check a run's ledger, and look for personal data and copies in what it trains on
    Audit(audit::AuditArgs),
    /// The models: list, pull, verify, import, remove
    Models(models::ModelsArgs),
    /// Carry program, models and sources to a machine without a network, in one signed file
    Bundle(bundle::BundleArgs),
    /// Measure what a teacher or a student does in a second on this machine
    Bench(Box<bench::BenchArgs>),
    /// Check what is built in and which models are present
    Doctor(doctor::DoctorArgs),
    /// The process that holds the teacher; started by the other commands
    #[command(hide = true)]
    TeacherWorker,
    /// The process that tries a chat template; started by doctor
    #[command(hide = true)]
    TemplateCheck(doctor::TemplateCheckArgs),
}

impl Command {
    /// Whether it may open connections. No other may: the kernel is told to refuse.
    fn connects(&self, offline: bool) -> bool {
        matches!(self, Self::Models(args) if !offline && args.connects())
    }

    /// Whether what it writes is meant for others as well. All else is for the user alone.
    fn writes_for_others(&self) -> bool {
        matches!(self, Self::Export(_) | Self::Models(_))
    }

    /// Whether the same command goes on where it was stopped.
    fn can_go_on(&self) -> bool {
        use Command::{Compare, Demo, Eval, Filter, Generate, Import, Relabel, Run, Train};
        matches!(
            self,
            Demo(_)
                | Run(_)
                | Generate(_)
                | Relabel(_)
                | Filter(_)
                | Train(_)
                | Eval(_)
                | Compare(_)
                | Import(_)
        )
    }
}

#[derive(Args)]
struct DemoArgs {
    /// The run folder
    #[arg(long, default_value = "promptmix-demo")]
    out: PathBuf,
    #[command(flatten)]
    model_args: ModelArgs,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct InitArgs {
    /// A CSV, JSONL or Parquet file with a text and a label in each row
    examples: PathBuf,
    /// The task folder to make
    out: PathBuf,
    /// Name of the column that holds the text
    #[arg(long, default_value = "text")]
    text_column: String,
    /// Name of the column that holds the label
    #[arg(long, default_value = "label")]
    label_column: String,
    /// Print the classes as JSON
    #[arg(long)]
    json: bool,
}

/// Flags that go before the task's own settings.
#[derive(Args, Clone)]
pub(crate) struct ModelArgs {
    /// The teacher: a GGUF file, a name from `promptmix models list`, or `replay:FILE` for recorded
    /// answers
    #[arg(long, value_name = "MODEL")]
    teacher: Option<String>,
    /// The student: a Hugging Face folder, or a name from `promptmix models list` (`./NAME` for a
    /// folder of such a name)
    #[arg(long, value_name = "MODEL")]
    student: Option<String>,
    /// The one seed of all random model_args
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    teacher_args: TeacherArgs,
    /// The behaviour of the published code, faults included, for comparisons with the paper
    ///
    /// As settings, over those of the task and under --set; `plan --paper` shows them all. Partners
    /// are drawn evenly; replies are free; each text is asked for until 10 different ones exist and
    /// one is kept; percentages are cut off (55 % and 44 %); the teacher writes the label and an
    /// answer that is no class name counts as the nearest of all classes; the seeds are relabelled
    /// too; only exact doubles are dropped. Of sampling and training, the paper's values hold where
    /// the task has none of its own.
    ///
    /// Not restored, since nobody could repeat or use it: the order of classes by a random hash; A1
    /// tuned on over 11 cycles, while A2 starts afresh; the share of labels that stayed printed as the
    /// share that changed; requests without a bound (`augment.tries` is one); texts of the test set
    /// among those to learn from.
    #[arg(long)]
    paper: bool,
    /// Any setting, for example `--set augment.per_class=40`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
}

/// How the teacher works; a run that exists can be taken up with others.
#[derive(Args, Clone, Copy)]
pub(crate) struct TeacherArgs {
    /// Let each answer depend on its request alone: slower, but the same rows each time
    #[arg(long)]
    deterministic: bool,
    /// Run the teacher inside this process, for profiling: a crash of it ends the program
    #[arg(long)]
    in_process: bool,
}

impl TeacherArgs {
    fn overrides(self) -> Vec<String> {
        let flags = [
            ("teacher.deterministic=true", self.deterministic),
            ("teacher.in_process=true", self.in_process),
        ];
        flags.into_iter().filter(|(_, on)| *on).map(|(text, _)| text.to_owned()).collect()
    }
}

/// `key="value"`, as an override has it.
fn quoted(key: &str, value: &str) -> String {
    format!("{key}={}", toml::Value::String(value.to_owned()))
}

impl ModelArgs {
    /// As `table.key=value` overrides of what `task` says; the special flags are only short for them.
    fn overrides(&self, task: &Task) -> Vec<String> {
        let mut overrides =
            if self.paper { config::paper_overrides(&task.settings) } else { Vec::new() };
        overrides.extend(self.set.iter().cloned());
        overrides.extend(self.teacher.as_ref().map(|value| quoted("teacher.model", value)));
        overrides.extend(self.student.as_ref().map(|value| quoted("student.model", value)));
        overrides.extend(self.seed.map(|value| format!("run.seed={value}")));
        overrides.extend(self.teacher_args.overrides());
        overrides
    }
}

#[derive(Args)]
struct TaskArgs {
    /// A task.toml or the folder that holds it
    task: PathBuf,
    #[command(flatten)]
    model_args: ModelArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// The run folder; one that exists is taken up where it stopped
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
struct StageArgs {
    /// The run folder
    run: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct TeacherStageArgs {
    #[command(flatten)]
    stage: StageArgs,
    #[command(flatten)]
    teacher_args: TeacherArgs,
}

#[derive(Args)]
struct ImportArgs {
    #[command(flatten)]
    task: TaskArgs,
    /// JSONL with `text`, `major` and optionally `minor`, `alpha`, `relabel`, `p`
    file: PathBuf,
    /// The run folder
    #[arg(long)]
    out: PathBuf,
}

/// Parses the command line, runs the command, and says how it went: 0 fine, 1 a check that failed, 2 an
/// error.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors and go to stdout; a closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if !cli.command.connects(cli.offline) {
        sandbox::install();
    }
    sandbox::leave_no_core();
    if !cli.command.writes_for_others() {
        sandbox::keep_private();
    }
    verbosity::set(cli.verbose);
    if verbosity::facts() && !matches!(cli.command, Command::TeacherWorker) {
        eprintln!("sockets: {}", sandbox::state());
    }
    // The teacher's process is its parent's to end.
    if !matches!(cli.command, Command::TeacherWorker) {
        let goes_on = cli.command.can_go_on();
        interrupt::on_signal(move || say_stopped(goes_on));
    }
    let outcome = dispatch(cli);
    if interrupt::requested() {
        interrupt::wait_for_the_end();
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error::render(&error));
            ExitCode::from(if exit_status::is_failed(&error) { 1 } else { 2 })
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let quiet = cli.quiet;
    match cli.command {
        Command::Demo(args) => run::demo(&args, quiet),
        Command::Init(args) => run::init(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Run(args) => run::run(&args, quiet),
        Command::Generate(args) => run::generate(&args, quiet),
        Command::Relabel(args) => run::relabel(&args, quiet),
        Command::Filter(args) => run::filter(&args, quiet),
        Command::Train(args) => run::train(&args, quiet),
        Command::Eval(args) => run::eval(&args, quiet),
        Command::Compare(args) => compare::compare(&args, quiet),
        Command::Import(args) => run::import(&args, quiet),
        Command::Predict(args) => predict::predict(&args, quiet),
        Command::Export(args) => export::export(&args),
        Command::Audit(args) => audit::audit(&args, quiet),
        Command::Models(args) => models::models(&args, quiet, cli.offline),
        Command::Bundle(args) => bundle::bundle(&args, quiet),
        Command::Bench(args) => bench::bench(&args, quiet),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::TemplateCheck(args) => doctor::template_check(&args),
        Command::TeacherWorker => Ok(worker::serve()?),
    }
}

/// The last words where a signal ends the program.
fn say_stopped(goes_on: bool) {
    use std::io::{IsTerminal as _, Write as _};
    let clear = if io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
    let words = if goes_on {
        let command: Vec<String> = std::env::args_os().map(|word| shell_word(&word)).collect();
        format!(
            "{clear}\nstopped; what was finished is kept. To go on from here:\n  {}\n",
            command.join(" ")
        )
    } else {
        format!("{clear}\nstopped\n")
    };
    // Where the terminal was closed nobody hears it.
    let _ = io::stderr().write_all(words.as_bytes());
}

/// `word` as a shell takes it.
fn shell_word(word: &std::ffi::OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::shell_word;

    #[test]
    fn a_command_is_said_as_it_can_be_typed() {
        let told =
            ["run", "my task", "", "--set=a.b=1", "it's"].map(|word| shell_word(OsStr::new(word)));
        assert_eq!(told, ["run", "'my task'", "''", "--set=a.b=1", "'it'\\''s'"]);
    }
}
