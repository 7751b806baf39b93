//! One shard of a stage's requests, and `promptmix merge`, which joins the shards.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{build, error::CommandError, run::opened};
use crate::{
    counted::counted,
    hint::shell_path,
    pipeline::{Event, Pipeline, PipelineError},
    run::{
        RunFolder, names, read_task_and_settings,
        shards::{self, Merged},
    },
    shard::Shard,
};

#[derive(Args, Clone, Copy)]
pub(super) struct ShardArgs {
    /// Do only shard I of N of the stage's requests; `promptmix merge` joins the shards
    ///
    /// I counts from 0 to N-1. `auto/N` takes I from a Slurm job array or an indexed Kubernetes
    /// Job. The answers go into a folder of their own below `shards` in the run folder; the same
    /// command resumes it.
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    shard: Option<Shard>,
}

impl ShardArgs {
    /// The folder to work in for `stage` of the run in the folder `run`.
    pub(super) fn folder(self, stage: &str, run: &Path) -> anyhow::Result<PathBuf> {
        Ok(match self.shard {
            Some(shard) => shards::prepare(run, stage, shard)?,
            None => run.to_owned(),
        })
    }

    /// Whether there is only a shard to do; if so, the ledger of `pipeline` says which of `stage`.
    pub(super) fn begin(
        self,
        stage: &'static str,
        pipeline: &mut Pipeline<'_>,
    ) -> anyhow::Result<bool> {
        if let Some(shard) = self.shard {
            pipeline.run.begin_shard(stage, shard)?;
        }
        Ok(self.shard.is_some())
    }

    /// Ends a shard of the run in the folder `run`, of whose stage the `outcome` is known, and says
    /// what there is.
    pub(super) fn finish<T>(
        self,
        pipeline: &mut Pipeline<'_>,
        outcome: Result<T, PipelineError>,
        (run, json, quiet): (&Path, bool, bool),
    ) -> anyhow::Result<()> {
        match outcome {
            Ok(_) | Err(PipelineError::OtherShards) => {}
            Err(error) => return Err(error.into()),
        }
        let answers = pipeline.run.finish_shard()?;
        let (shard, folder) = (self.shard.map(|shard| shard.to_string()), pipeline.run.path());
        if json {
            let told = serde_json::json!({"shard": shard, "folder": folder, "answers": answers});
            println!("{told}");
            return Ok(());
        }
        println!("{}", folder.display());
        if !quiet {
            let (answers, run) = (counted(answers, "answer"), shell_path(run));
            let shard = shard.unwrap_or_default();
            eprintln!("shard {shard}: {answers}");
            eprintln!("when all shards have finished: promptmix merge --out {run}");
        }
        Ok(())
    }
}

#[derive(Args)]
pub(super) struct MergeArgs {
    /// Folders of shards, or of runs with shards [default: the run folder]
    folders: Vec<PathBuf>,
    /// The run folder; created if it does not exist
    #[arg(long)]
    out: PathBuf,
    /// Merge what is there, although shards are missing or unfinished
    #[arg(long)]
    partial: bool,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// `promptmix merge`
pub(super) fn merge(args: &MergeArgs, quiet: bool) -> anyhow::Result<()> {
    let MergeArgs { folders, out, partial, .. } = args;
    let own = folders.is_empty();
    let mut found = Vec::new();
    for folder in if own { std::slice::from_ref(out) } else { folders } {
        let shards = shards::shards_of(folder)?;
        match shards.is_empty() && !own {
            true => found.push(folder.clone()),
            false => found.extend(shards),
        }
    }
    let shards = shards::read_shards(&found, *partial)?;
    let Some(first) = shards.first() else {
        // A job that is started again.
        if own && shards::has_merged(out) {
            tell(&Merged::default(), args, quiet);
            return Ok(());
        }
        let message = format!("{} has no shards to merge", out.display());
        let hint = "run a stage with --shard first, or name the folders of its shards";
        return Err(CommandError::new(message, hint).into());
    };
    let mut run = open(out, first.path())?;
    let mut watch = super::run::watch(quiet);
    opened(&run, &mut *watch);
    let merged = run.merge(&shards)?;
    if own && !shards::delete_merged(out, &shards)? {
        watch(Event::warning(
            "a shard went on while it was merged: merge again when it has finished",
        ));
    }
    tell(&merged, args, quiet);
    Ok(())
}

/// The run in the folder `out`, or a new one with the task and the settings of the shard `first`.
fn open(out: &Path, first: &Path) -> anyhow::Result<RunFolder> {
    if [names::TASK, names::SETTINGS].iter().all(|name| out.join(name).exists()) {
        return Ok(RunFolder::reopen(out)?.0);
    }
    let (task, settings) = read_task_and_settings(first)?;
    let prompts = build::prompts(&task)?;
    Ok(RunFolder::open(out, &task, &settings, &prompts)?)
}

fn tell(merged: &Merged, args: &MergeArgs, quiet: bool) {
    let Merged { shards, answers, known } = *merged;
    if args.json {
        let told = serde_json::json!({"shards": shards, "answers": answers, "known": known});
        println!("{told}");
        return;
    }
    let known = match known {
        0 => String::new(),
        known => format!(", {known} known before"),
    };
    println!(
        "{}: {} from {}{known}",
        args.out.display(),
        counted(answers, "new answer"),
        counted(shards, "shard")
    );
    if !quiet {
        eprintln!("next: the same command without --shard, which asks only for what is missing");
    }
}
