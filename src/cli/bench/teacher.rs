//! `promptmix bench --teacher`.

use std::{
    fs,
    io::{BufWriter, Write},
};

use super::BenchArgs;
use crate::{
    cli::{build, error::CommandError},
    config::Settings,
    models::{self, Role},
    teacher::{
        llama::bench::{BenchReport, Kind, Measure, Workload},
        worker,
    },
};

/// Runs the command.
pub(super) fn bench(args: &BenchArgs, quiet: bool) -> anyhow::Result<()> {
    let sizes = &args.teacher_args;
    let mut overrides = sizes.set.clone();
    let model = args.teacher.clone().map(toml::Value::String);
    overrides.extend(model.map(|model| format!("teacher.model={model}")));
    overrides.extend(sizes.slots.map(|slots| format!("teacher.slots={slots}")));
    overrides.extend(args.threads.map(|threads| format!("teacher.threads={threads}")));
    let settings = Settings::resolve(&toml::Table::new(), "".as_ref(), &overrides)?;
    let workload = Workload {
        shared: sizes.shared,
        own: sizes.own.max(1),
        new: sizes.new.max(1),
        items: sizes.items.max(1),
        labels: sizes.labels.max(1),
        label_tokens: sizes.label_tokens,
        only: super::kinds(&args.only, &Kind::ALL, Kind::name)?,
    };
    let launch = build::launch(&settings)?;
    if let Some(path) = &sizes.export {
        let prompts = worker::bench_prompts(&launch, &workload)?;
        let write = || -> std::io::Result<()> {
            let mut file = BufWriter::new(fs::File::create(path)?);
            for tokens in &prompts {
                let row = serde_json::json!({"tokens": tokens, "new": workload.new});
                writeln!(file, "{row}")?;
            }
            file.flush()
        };
        write().map_err(|source| {
            CommandError::new(
                format!("cannot write {}", path.display()),
                "give a path that you may write to with --export",
            )
            .caused_by(source)
        })?;
        println!("{}", path.display());
        return Ok(());
    }
    let report = worker::bench(&launch, &workload, |measure| {
        if !quiet {
            eprintln!("{:>16}  {:.2} items/s", measure.kind.name(), measure.items_per_second);
        }
    })?;
    // `plan` needs both.
    if [Kind::Decode, Kind::Labels].iter().all(|kind| report.measure(*kind).is_some()) {
        models::remember_speed(Role::Teacher, &report.sha256, &report)?;
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
    let device =
        if report.gpu { "GPU".to_owned() } else { format!("{} CPU threads", report.threads) };
    let mut text = format!(
        "{}: {:.1} million parameters, {device}, {} slots\n\
         prompts of {shared} shared + {own} own tokens, replies of {new} tokens\n\n\
         {:<17}{:>6} {:>9} {:>9} {:>9} {:>8} {:>8} {:>7} {:>7}\n",
        report.model,
        report.parameters as f64 / 1e6,
        report.slots,
        "",
        "items",
        "items/s",
        "read/s",
        "write/s",
        "prompt",
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
        "\nread/s, write/s: tokens per second; prompt, read: prompt tokens before and after sharing\n\
         cells: peak use of the KV cache, in tokens\n\
         sampling one of {} tokens takes {:.0} µs; with the list grammar {:.0} µs, if it rejects the token {:.0} µs\n",
        sampling.vocabulary, sampling.draw, sampling.checked, sampling.refused
    );
    if report.peak_memory_bytes > 0 {
        text += &format!("peak memory {:.0} MB\n", report.peak_memory_bytes as f64 / 1e6);
    }
    text
}
