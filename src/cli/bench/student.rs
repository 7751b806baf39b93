//! `promptmix bench --student`.

use std::path::Path;

use super::{BenchArgs, StudentBenchArgs};
use crate::{
    cli::build,
    models::{self, Role},
    student::{
        BaseModel, Classifier,
        bench::{self, Kind, Measure, StudentBenchReport, Subject, Workload},
    },
    task,
};

/// Runs the command.
pub(super) fn bench(args: &BenchArgs, model: &str, quiet: bool) -> anyhow::Result<()> {
    let sizes = &args.student_args;
    let workload = Workload {
        rows: sizes.rows.max(1),
        batch: sizes.batch.max(1),
        max_length: sizes.max_length,
        equal_length: sizes.equal_length,
        steps: sizes.steps,
        epochs: sizes.epochs.max(1),
        threads: args.threads.unwrap_or(0),
        students: sizes.students,
        only: super::kinds(&args.only, &Kind::ALL, Kind::name)?,
    };
    let device = build::student_device()?;
    let base = BaseModel::open(model, &device)?;
    // A folder without a trained classifier is a base model.
    let trained = Path::new(model).is_dir();
    let name = Path::new(model).file_name().map_or(model.into(), |name| name.to_string_lossy());
    let subject = Subject {
        name: &name,
        base: &base,
        classifier: trained.then(|| Classifier::load(Path::new(model), &device).ok()).flatten(),
        texts: texts(sizes)?,
    };
    let report = bench::bench(subject, &workload, |measure| {
        if !quiet {
            eprintln!("{:>16}  {:.1} texts/s", measure.kind.name(), measure.texts_per_second);
        }
    })?;
    // `plan` needs all three.
    let needed = [Kind::Train, Kind::Classify, Kind::Students];
    if needed.iter().all(|kind| report.measure(*kind).is_some()) {
        models::remember_speed(Role::Student, &report.sha256, &report)?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", table(&report));
    }
    Ok(())
}

/// The texts of the file with their labels; without labels, all get the same one.
fn texts(args: &StudentBenchArgs) -> anyhow::Result<Vec<(String, String)>> {
    let Some(file) = &args.texts else { return Ok(Vec::new()) };
    if let Ok(rows) = task::read_labelled(file) {
        return Ok(rows.into_iter().map(|row| (row.text.value, row.label.value)).collect());
    }
    let cells = task::read_texts(file)?;
    Ok(cells.into_iter().map(|cell| (cell.value, String::new())).collect())
}

fn table(report: &StudentBenchReport) -> String {
    let device =
        if report.gpu { "GPU".to_owned() } else { format!("{} CPU threads", report.threads) };
    let mut text = format!(
        "{}: {:.1} million parameters, {device}, {} classes, batches of {}\n\n{:<14}{:>9} {:>7} {:>8} {:>10} {:>8} {:>9}\n",
        report.model,
        report.parameters as f64 / 1e6,
        report.classes,
        report.workload.batch,
        "",
        "students",
        "texts",
        "tokens",
        "texts/s",
        "ms/step",
        "peak MB",
    );
    for measure in &report.measures {
        let or_dash = |known: bool, value: String| if known { value } else { "-".to_owned() };
        let Measure { kind, texts, tokens, students, step_ms, peak_memory_bytes, .. } = *measure;
        text += &format!(
            "{:<14}{:>9} {texts:>7} {tokens:>8} {:>10.1} {:>8} {:>9}\n",
            kind.name(),
            or_dash(students > 0, students.to_string()),
            measure.texts_per_second,
            or_dash(step_ms > 0.0, format!("{step_ms:.1}")),
            or_dash(peak_memory_bytes > 0, format!("{:.0}", peak_memory_bytes as f64 / 1e6)),
        );
    }
    text += "\nms/step: time per step of one student; students: several trained concurrently\n";
    text
}
