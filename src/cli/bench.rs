//! `promptmix bench`: what the teacher does in a second on this machine. The result is kept, and
//! `plan` estimates with it.

use std::{
    fs,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::Args;

use super::parts;
use crate::{
    config::Settings,
    store,
    teacher::{
        llama::bench::{BenchReport, Kind, Measure, Workload},
        worker,
    },
};

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// The teacher: a GGUF file, or a name from `promptmix models list`
    #[arg(long, value_name = "MODEL")]
    teacher: Option<String>,
    /// Requests side by side; 0 = chosen from the model
    #[arg(long)]
    slots: Option<usize>,
    /// CPU threads; 0 = chosen from the model
    #[arg(long)]
    threads: Option<usize>,
    /// Tokens that all prompts share
    #[arg(long, default_value_t = 600)]
    shared: usize,
    /// Tokens of each prompt's own
    #[arg(long, default_value_t = 20)]
    own: usize,
    /// Tokens of each reply
    #[arg(long, default_value_t = 40)]
    new: usize,
    #[arg(long, default_value_t = 64)]
    items: usize,
    /// Candidates of each question for a label
    #[arg(long, default_value_t = 6)]
    labels: usize,
    /// Fewest and most tokens of a candidate's name
    #[arg(long, value_name = "LOW-HIGH", default_value = "1-3", value_parser = range)]
    label_tokens: (usize, usize),
    /// What to measure; generate, decode and labels unless given
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    only: Vec<Kind>,
    /// Write the prompts as token numbers (JSONL) for other programs, and measure nothing
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Any setting of the teacher, for example `--set teacher.kv_type=q8_0`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn bench(args: &BenchArgs, quiet: bool) -> anyhow::Result<()> {
    let mut overrides = args.set.clone();
    let model = args.teacher.clone().map(toml::Value::String);
    overrides.extend(model.map(|model| format!("teacher.model={model}")));
    overrides.extend(args.slots.map(|slots| format!("teacher.slots={slots}")));
    overrides.extend(args.threads.map(|threads| format!("teacher.threads={threads}")));
    let settings = Settings::resolve(&toml::Table::new(), "".as_ref(), &overrides)?;
    let workload = Workload {
        shared: args.shared,
        own: args.own.max(1),
        new: args.new.max(1),
        items: args.items.max(1),
        labels: args.labels.max(1),
        label_tokens: args.label_tokens,
        only: args.only.clone(),
    };
    let launch = parts::launch(&settings)?;
    if let Some(path) = &args.export {
        let prompts = worker::bench_prompts(&launch, &workload)?;
        let write = || -> std::io::Result<()> {
            let mut file = BufWriter::new(fs::File::create(path)?);
            for tokens in &prompts {
                let row = serde_json::json!({"tokens": tokens, "new": workload.new});
                writeln!(file, "{row}")?;
            }
            file.flush()
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
        return Ok(());
    }
    let report = worker::bench(&launch, &workload, |measure| {
        if !quiet {
            eprintln!("{:>16}  {:.2} items/s", measure.kind.name(), measure.items_per_second);
        }
    })?;
    // A partial measurement is no basis for estimates.
    if [Kind::Decode, Kind::Labels].iter().all(|kind| report.measure(*kind).is_some()) {
        store::remember_speed(&report)?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", table(&report));
    }
    Ok(())
}

fn table(report: &BenchReport) -> String {
    let Workload { shared, own, new, .. } = report.workload;
    let place =
        if report.gpu { "GPU".to_owned() } else { format!("CPU threads: {}", report.threads) };
    let mut text = format!(
        "{}, {:.1} million weights; {place}; slots: {}\n{shared} shared + {own} own tokens, replies of {new}\n\n\
         {:<17}{:>6} {:>9} {:>9} {:>9} {:>8} {:>8} {:>7} {:>7}\n",
        report.model,
        report.parameters as f64 / 1e6,
        report.slots,
        "",
        "items",
        "items/s",
        "read/s",
        "write/s",
        "asked",
        "read",
        "decodes",
        "cells",
    );
    for measure in &report.measures {
        let rate = |value: f64| match value {
            value if value > 0.0 => format!("{value:.0}"),
            _ => "-".to_owned(),
        };
        let Measure { kind, items, items_per_second, prompt_tokens_asked, .. } = measure;
        text += &format!(
            "{:<17}{items:>6} {items_per_second:>9.2} {:>9} {:>9} {prompt_tokens_asked:>8} {:>8} {:>7} {:>7}\n",
            kind.name(),
            rate(measure.prompt_tokens_per_second),
            rate(measure.decode_tokens_per_second),
            measure.prompt_tokens,
            measure.decodes,
            measure.cells_peak,
        );
    }
    let sampling = &report.sampling;
    text += &format!(
        "\nread/s, write/s: tokens; asked, read: prompt tokens before and after sharing\n\
         drawing a token from {} takes {:.0} µs, held to a list {:.0} µs, where the list refuses {:.0} µs\n",
        sampling.vocabulary, sampling.draw, sampling.checked, sampling.refused
    );
    if report.peak_memory_bytes > 0 {
        text += &format!("peak memory {:.0} MB\n", report.peak_memory_bytes as f64 / 1e6);
    }
    text
}

fn range(text: &str) -> Result<(usize, usize), String> {
    let parse = |part: &str| part.trim().parse::<usize>().ok();
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (parse(low), parse(high)) {
        (Some(low), Some(high)) if (1..=high).contains(&low) => Ok((low, high)),
        _ => Err("write LOW-HIGH, for example 1-3".to_owned()),
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("it is one of {}", names.join(", "))
    })
}
