//! The commands, one file each. Only this module prints or draws progress, through `printing`:
//! results go to stdout, everything else to stderr.

#[macro_use]
mod printing;

#[cfg(all(target_os = "linux", feature = "remote"))]
mod addresses;
mod args;
mod audit;
mod bench;
mod build;
mod bundle;
mod compare;
mod completions;
mod doctor;
mod drift;
mod edits;
mod error;
mod evaluate;
mod exit_status;
mod export;
#[cfg(feature = "pull")]
mod fetching;
mod labels;
mod man;
mod models;
mod plan;
mod predict;
mod preflight;
mod progress;
#[cfg(test)]
mod reference;
mod refine;
mod review;
mod run;
mod serve;
mod shards;
mod table;

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};

use args::{
    DemoArgs, GenerateArgs, ImportArgs, InitArgs, LabelStageArgs, ModelArgs, PlanArgs, RunArgs,
    StageArgs, TaskArgs, TeacherArgs, TeacherStageArgs, quoted,
};

#[cfg(all(target_os = "linux", feature = "remote"))]
use crate::teacher::remote::{Address, broker};
use crate::{
    hint::shell_word,
    http::{ListenError, Listener},
    interrupt, sandbox,
    teacher::worker,
    verbosity,
};

/// Train a small, private text classifier from a handful of labelled examples.
///
/// A local language model writes texts near the class boundaries and relabels them; a DistilBERT or
/// BERT is fine-tuned on the result. Nothing leaves this machine.
#[derive(Parser)]
#[command(name = "promptmix", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print only results and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Never open a network connection
    #[arg(long, global = true)]
    offline: bool,
    /// Print more: paths, hashes, restarts; -vv also prints prompts, replies and texts of the task
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// Run all stages on a built-in task with built-in models
    Demo(DemoArgs),
    /// Create a task folder from a file of labelled examples
    Init(InitArgs),
    /// Estimate what a run costs; the teacher generates nothing
    ///
    /// TASK may also be a run folder: its task is loaded again, and the plan shows what changed,
    /// what is kept and what is left to do.
    Plan(PlanArgs),
    /// Run all stages: generate, relabel, label, filter, train, eval
    Run(RunArgs),
    /// Stage 1: generate texts with the teacher
    Generate(GenerateArgs),
    /// Stage 2: relabel the texts with the teacher
    Relabel(LabelStageArgs),
    /// Between stages 2 and 3: let the teacher label texts of `unlabelled` in task.toml
    ///
    /// Picks `label.budget` texts, some that cover what the file has and some whose class is
    /// uncertain. Part of `run` if the task names such a file.
    Label(LabelStageArgs),
    /// Join the shards of a stage (`--shard`) in one run folder
    ///
    /// Checks their ledgers, that they have the same task, settings and teacher, and that none is
    /// missing, then adds their answers to the ledger of the run. Without FOLDERS, the shards in
    /// the run folder are merged and then deleted. The stage itself, run again without --shard,
    /// writes the rows.
    Merge(shards::MergeArgs),
    /// Stage 3: drop duplicates, copies of seeds and leaks from the test set
    Filter(StageArgs),
    /// Stage 4: fine-tune the students
    Train(StageArgs),
    /// Stage 5: evaluate the students and write the report
    Eval(TeacherStageArgs),
    /// Compare the method with its baselines: every row of the paper's table
    Compare(Box<compare::CompareArgs>),
    /// Import texts written elsewhere, in place of stages 1 and 2
    Import(ImportArgs),
    /// Classify texts with a trained student
    Predict(predict::PredictArgs),
    /// Measure a trained student on labelled texts
    ///
    /// MODEL may be any DistilBERT or BERT classifier in the Hugging Face format. Prints accuracy,
    /// macro-F1, the scores of each class and the calibration, with 95 % intervals.
    Evaluate(evaluate::EvaluateArgs),
    /// Test whether texts have drifted from those that a student was tested on
    ///
    /// Compares predicted classes, confidence, length, unknown tokens and embeddings with the
    /// reference in the student's folder, which contains no texts. Prints one p-value for all
    /// tests together.
    Drift(drift::DriftArgs),
    /// Answer requests with trained students, over HTTP
    ///
    /// Speaks the interfaces of text-embeddings-inference (`POST /predict`), vLLM (`POST
    /// /v1/classify`) and KServe V2 (`/v2`), with `/health`, `/info`, `/metrics` and
    /// `/openapi.json`. Listens on 127.0.0.1 unless told otherwise, and can open no connection
    /// itself. Texts of all connections are classified in common batches; a folder that is replaced
    /// is loaded again; SIGTERM lets requests that were begun be answered.
    Serve(serve::ServeArgs),
    /// Export a trained student as a Hugging Face folder, an ONNX file, or both
    Export(export::ExportArgs),
    /// Verify a run's ledger; find personal data and copies in its training texts
    Audit(audit::AuditArgs),
    /// List manual edits in a run folder
    ///
    /// Shows changed texts and labels and removed and added rows in `augmented.jsonl`,
    /// `relabelled.jsonl`, `labelled.jsonl` and `train.jsonl`: edits recorded in the ledger, with
    /// user and time, and those the next command will record. `-vv` also prints the texts. Changes
    /// nothing.
    Edits(edits::EditsArgs),
    /// Suggest texts for a person to label: those whose labels would help most
    ///
    /// Writes a sheet with the opinions of student and teacher. The texts are unlabelled ones
    /// (`unlabelled` under `[data]`); without any, texts that the teacher wrote. Fill in a class,
    /// or "none of these", and take the sheet back with `promptmix import-labels`.
    Suggest(labels::SuggestArgs),
    /// Write all texts that a run trains on as a sheet, to check their labels
    ExportLabels(labels::ExportLabelsArgs),
    /// Import a labelled sheet
    ///
    /// The labels are recorded like edits by hand, with user and time. The next `promptmix run`
    /// trains on them with the weight of labelled examples.
    ImportLabels(labels::ImportLabelsArgs),
    /// Decide on texts and labels in a browser on this machine
    ///
    /// Prints the address of a page on 127.0.0.1 that works once, and answers it until Ctrl-C or
    /// "Finish": least certain texts first, one key a decision (keep, another label, edit, drop,
    /// undo). Each decision is in the ledger before it is answered. `promptmix run` trains on them.
    Review(review::ReviewArgs),
    /// Draft sharper descriptions for the classes that the teacher mistakes for each other
    ///
    /// For each class of the most mistaken pairs the teacher drafts one sentence. Old and new are
    /// shown with what changes in its labels of examples that its prompt does not show. The task
    /// stays as it is until `--accept` puts drafts into task.toml.
    Refine(refine::RefineArgs),
    /// List, pull, verify, import or remove models
    Models(models::ModelsArgs),
    /// Move the program, models and sources to an offline machine in one signed file
    Bundle(bundle::BundleArgs),
    /// Measure the speed of a teacher or a student on this machine
    Bench(Box<bench::BenchArgs>),
    /// Check this build, this machine and its models
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print the man page, or write the pages of all commands
    Man(man::ManArgs),
    /// The process that runs the teacher; other commands start it
    #[command(hide = true)]
    TeacherWorker {
        /// The descriptor that asks for connections
        #[cfg(all(target_os = "linux", feature = "remote"))]
        #[arg(long)]
        broker: Option<i32>,
    },
    /// The process that connects to a teacher's addresses; other commands start it
    #[cfg(all(target_os = "linux", feature = "remote"))]
    #[command(hide = true)]
    AddressBroker { addresses: Vec<Address> },
    /// The process that tries out a chat template; `doctor` starts it
    #[command(hide = true)]
    TemplateCheck(doctor::TemplateCheckArgs),
}

impl Command {
    /// Whether the command may open connections. For all others the kernel refuses them.
    fn may_connect(&self, offline: bool) -> bool {
        match self {
            Self::Models(args) => !offline && args.may_connect(),
            #[cfg(all(target_os = "linux", feature = "remote"))]
            Self::AddressBroker { .. } => true,
            _ => false,
        }
    }

    /// The flags of a command that asks the teacher.
    #[cfg(all(target_os = "linux", feature = "remote"))]
    fn teacher_args(&self) -> Option<&TeacherArgs> {
        Some(match self {
            Self::Demo(args) => &args.model_args.teacher_args,
            Self::Plan(args) => &args.task.model_args.teacher_args,
            Self::Run(args) => &args.task.model_args.teacher_args,
            Self::Generate(args) => &args.run.task.model_args.teacher_args,
            Self::Relabel(args) | Self::Label(args) => &args.stage.teacher_args,
            Self::Eval(args) => &args.teacher_args,
            Self::Compare(args) => &args.teacher_args,
            Self::Refine(args) => &args.teacher_args,
            _ => return None,
        })
    }

    /// Whether another command starts it and ends it.
    fn is_started_by_another(&self) -> bool {
        match self {
            Self::TeacherWorker { .. } => true,
            #[cfg(all(target_os = "linux", feature = "remote"))]
            Self::AddressBroker { .. } => true,
            _ => false,
        }
    }

    /// Whether others may read the files that the command writes. All other files are private.
    fn writes_for_others(&self) -> bool {
        matches!(self, Self::Export(_) | Self::Man(_) | Self::Models(_))
    }

    /// Whether running the same command again resumes it.
    fn is_resumable(&self) -> bool {
        use Command::{
            Compare, Demo, Eval, Filter, Generate, Import, Label, Merge, Refine, Relabel, Review,
            Run, Train,
        };
        matches!(
            self,
            Demo(_)
                | Run(_)
                | Generate(_)
                | Relabel(_)
                | Label(_)
                | Merge(_)
                | Filter(_)
                | Train(_)
                | Eval(_)
                | Compare(_)
                | Import(_)
                | Review(_)
                | Refine(_)
        )
    }

    /// The listener of a command that answers requests, the last socket that it creates.
    fn listener(&self) -> Result<Option<Listener>, ListenError> {
        match self {
            Self::Review(args) => Listener::open(&args.address()).map(Some),
            Self::Serve(args) => match Listener::inherited()? {
                Some(listener) => Ok(Some(listener)),
                None => Listener::open(&args.address()).map(Some),
            },
            _ => Ok(None),
        }
    }
}

/// Parses the command line and runs the command. The exit code is 0 for success, 1 for a failed
/// check and 2 for an error.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors and go to stdout. A closed pipe is not reported.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if !cli.command.writes_for_others() {
        sandbox::keep_private();
    }
    let listener = match cli.command.listener() {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("{}", error::render(&error));
            return ExitCode::from(2);
        }
    };
    #[cfg(all(target_os = "linux", feature = "remote"))]
    if let Err(error) = addresses::start_broker(cli.command.teacher_args(), cli.offline) {
        eprintln!("{}", error::render(&*error));
        return ExitCode::from(2);
    }
    if listener.is_some() {
        sandbox::install_without_sockets();
    } else if !cli.command.may_connect(cli.offline) {
        sandbox::install();
    }
    sandbox::leave_no_core();
    verbosity::set(cli.verbose);
    verbosity::set_printer(if cli.quiet { error::print_warning } else { error::print_notice });
    if verbosity::facts() && !cli.command.is_started_by_another() {
        eprintln!("sockets: {}", sandbox::state());
    }
    let resumable = cli.command.is_resumable();
    // A server finishes what was begun.
    let ends_itself = matches!(cli.command, Command::Serve(_));
    match cli.command {
        // The parent process ends the teacher's process.
        ref command if command.is_started_by_another() => {}
        Command::Serve(_) => interrupt::on_signal_finish(move || print_stopped(resumable)),
        _ => interrupt::on_signal(move || print_stopped(resumable)),
    }
    let outcome = dispatch(cli, listener);
    if interrupt::requested() && !ends_itself {
        interrupt::wait_for_the_end();
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error::render(&*error));
            ExitCode::from(if exit_status::is_failed_gate(&error) { 1 } else { 2 })
        }
    }
}

fn dispatch(cli: Cli, listener: Option<Listener>) -> anyhow::Result<()> {
    let quiet = cli.quiet;
    match cli.command {
        Command::Demo(args) => run::demo(&args, quiet),
        Command::Init(args) => run::init(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Run(args) => run::run(&args, quiet),
        Command::Generate(args) => run::generate(&args, quiet),
        Command::Relabel(args) => run::relabel(&args, quiet),
        Command::Label(args) => run::label(&args, quiet),
        Command::Merge(args) => shards::merge(&args, quiet),
        Command::Filter(args) => run::filter(&args, quiet),
        Command::Train(args) => run::train(&args, quiet),
        Command::Eval(args) => run::eval(&args, quiet),
        Command::Compare(args) => compare::compare(&args, quiet),
        Command::Import(args) => run::import(&args, quiet),
        Command::Predict(args) => predict::predict(&args, quiet),
        Command::Evaluate(args) => evaluate::evaluate(&args, quiet),
        Command::Drift(args) => drift::drift(&args, quiet),
        Command::Serve(args) => {
            let listener = listener.expect("main opens the listener of this command");
            serve::serve(&args, listener, quiet)
        }
        Command::Export(args) => export::export(&args),
        Command::Audit(args) => audit::audit(&args, quiet),
        Command::Edits(args) => edits::edits(&args),
        Command::Suggest(args) => labels::suggest(&args, quiet),
        Command::ExportLabels(args) => labels::export_labels(&args, quiet),
        Command::ImportLabels(args) => labels::import_labels(&args, quiet),
        Command::Review(args) => {
            let listener = listener.expect("main opens the listener of this command");
            review::review(&args, listener, quiet)
        }
        Command::Refine(args) => refine::refine(&args, quiet),
        Command::Models(args) => models::models(&args, quiet, cli.offline),
        Command::Bundle(args) => bundle::bundle(&args, quiet),
        Command::Bench(args) => bench::bench(&args, quiet),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args),
        Command::TemplateCheck(args) => doctor::template_check(&args),
        #[cfg(all(target_os = "linux", feature = "remote"))]
        Command::TeacherWorker { broker } => {
            if let Some(descriptor) = broker {
                broker::inherit(descriptor);
            }
            Ok(worker::serve()?)
        }
        #[cfg(not(all(target_os = "linux", feature = "remote")))]
        Command::TeacherWorker {} => Ok(worker::serve()?),
        #[cfg(all(target_os = "linux", feature = "remote"))]
        Command::AddressBroker { addresses } => Ok(broker::serve(addresses)?),
    }
}

/// Prints the last lines before a signal ends the program.
fn print_stopped(resumable: bool) {
    use std::io::{IsTerminal as _, Write as _};
    let clear = if io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
    let words = if resumable {
        let command: Vec<String> = std::env::args_os().map(shell_word).collect();
        format!(
            "{clear}\nstopped; finished work is kept. To resume, run:\n  {}\n",
            command.join(" ")
        )
    } else {
        format!("{clear}\nstopped\n")
    };
    // The terminal may be closed already.
    let _ = io::stderr().write_all(words.as_bytes());
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_of_commands_and_flags_are_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
