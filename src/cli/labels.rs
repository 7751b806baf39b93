//! `suggest`, `export-labels` and `import-labels`: texts for people to label, and what they
//! answered.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{
    build,
    error::CommandError,
    run::{add_embedder, reopen},
};
use crate::{
    hint::shell_path,
    model_file,
    pipeline::Pipeline,
    run::names,
    sheet::{self, SheetFormat, SheetRow},
    student::Classifier,
};

#[derive(Args)]
pub(super) struct SuggestArgs {
    /// The run folder
    run: PathBuf,
    /// How many texts to suggest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    #[command(flatten)]
    sheet: SheetArgs,
}

#[derive(Args)]
pub(super) struct ExportLabelsArgs {
    /// The run folder
    run: PathBuf,
    #[command(flatten)]
    sheet: SheetArgs,
}

#[derive(Args)]
struct SheetArgs {
    /// Format of the sheet
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = FormatArg::Csv)]
    to: FormatArg,
    /// File to write, which may exist [default: stdout]
    ///
    /// For Label Studio and Argilla, a second file of the same name is written: `.xml` has the
    /// labelling interface, `.py` the settings of the dataset.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    /// A table for a spreadsheet, with an empty column `label` to fill in
    Csv,
    /// Tasks with predictions, to import into a project of Label Studio
    LabelStudio,
    /// Records with suggestions, for `dataset.records.from_json` of Argilla 2
    Argilla,
}

impl FormatArg {
    fn format(self) -> SheetFormat {
        match self {
            Self::Csv => SheetFormat::Csv,
            Self::LabelStudio => SheetFormat::LabelStudio,
            Self::Argilla => SheetFormat::Argilla,
        }
    }

    /// How the name of the file with [`sheet::interface`] ends.
    fn extension(self) -> &'static str {
        match self {
            Self::Argilla => "py",
            Self::Csv | Self::LabelStudio => "xml",
        }
    }
}

#[derive(Args)]
pub(super) struct ImportLabelsArgs {
    /// The run folder
    run: PathBuf,
    /// The labelled sheet: the CSV file as a spreadsheet saved it, or what Label Studio (JSON,
    /// JSON-MIN or CSV) or Argilla (`records.to_json`) exported
    sheet: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `promptmix suggest`
pub(super) fn suggest(args: &SuggestArgs, quiet: bool) -> anyhow::Result<()> {
    let (pipeline, rows) = suggested(&args.run, args.count, quiet)?;
    write_sheet(&pipeline, &rows, &args.sheet)
}

/// The `count` texts of the run at `path` to ask a person about, which the run remembers.
pub(super) fn suggested(
    path: &Path,
    count: u32,
    quiet: bool,
) -> anyhow::Result<(Pipeline<'static>, Vec<SheetRow>)> {
    let (mut pipeline, student) = reopen(path, &[], &[], quiet, |pipeline| {
        let student = load_student(pipeline, path)?;
        let base = build::student(&pipeline.settings)?;
        add_embedder(pipeline, &base)?;
        Ok(student)
    })?;
    let rows = pipeline.suggest(&student, count as usize)?;
    Ok((pipeline, rows))
}

/// `promptmix export-labels`
pub(super) fn export_labels(args: &ExportLabelsArgs, quiet: bool) -> anyhow::Result<()> {
    let (pipeline, ()) = reopen(&args.run, &[], &[], quiet, |_| Ok(()))?;
    write_sheet(&pipeline, &pipeline.sheet_rows()?, &args.sheet)
}

/// `promptmix import-labels`
pub(super) fn import_labels(args: &ImportLabelsArgs, quiet: bool) -> anyhow::Result<()> {
    let (mut pipeline, answers) =
        reopen(&args.run, &[], &[], quiet, |_| Ok(sheet::read(&args.sheet)?))?;
    let counts = pipeline.import_labels(answers)?;
    if args.json {
        println!("{}", serde_json::json!(counts));
    } else if !quiet {
        eprintln!("next: `promptmix run TASK --out {}` trains on them", shell_path(&args.run));
    }
    Ok(())
}

/// The trained student of the run at `path`.
fn load_student(pipeline: &Pipeline<'_>, path: &Path) -> anyhow::Result<Classifier> {
    let hint = || format!("`promptmix train {}` trains it", shell_path(path));
    let folder = path.join(names::STUDENT);
    if !folder.join("config.json").is_file() {
        let message = format!("{} has no trained student", path.display());
        return Err(CommandError::new(message, hint()).into());
    }
    model_file::check_one(&folder.join("model.safetensors"))?;
    let student = Classifier::load(&folder, &build::student_device()?)?;
    let classes = pipeline.task.classes.iter().map(|class| &class.name);
    if !classes.eq(student.labels()) {
        let message = format!("the student in {} was trained on other classes", path.display());
        return Err(CommandError::new(message, hint()).into());
    }
    Ok(student)
}

/// Writes `rows` where `args` say, and what the tool needs besides.
fn write_sheet(pipeline: &Pipeline<'_>, rows: &[SheetRow], args: &SheetArgs) -> anyhow::Result<()> {
    let bytes = sheet::write(args.to.format(), rows);
    let Some(path) = &args.out else {
        io::stdout().lock().write_all(&bytes)?;
        return Ok(());
    };
    let classes: Vec<String> =
        pipeline.task.classes.iter().map(|class| class.name.clone()).collect();
    let interface = second_file(path, args.to, &classes)?;
    write_file(path, &bytes)?;
    println!("{}", path.display());
    if let Some((path, interface)) = interface {
        write_file(&path, interface.as_bytes())?;
        println!("{}", path.display());
    }
    Ok(())
}

/// The second file beside the sheet at `path`, which must not replace a file of the user.
fn second_file(
    path: &Path,
    format: FormatArg,
    classes: &[String],
) -> anyhow::Result<Option<(PathBuf, String)>> {
    let Some(interface) = sheet::interface(format.format(), classes) else { return Ok(None) };
    let second = path.with_extension(format.extension());
    let is_free = second != path
        && match crate::fs::read(&second) {
            Ok(bytes) => bytes == interface.as_bytes(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
    if !is_free {
        let message = format!("{} would be overwritten by the second file", second.display());
        return Err(CommandError::new(message, "name another file with --out").into());
    }
    Ok(Some((second, interface)))
}

fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    crate::fs::write_atomic(path, bytes).map_err(|source| {
        let message = format!("cannot write {}", path.display());
        CommandError::new(message, "name a file in a folder that you may write to, with --out")
            .caused_by(source)
            .into()
    })
}
