//! Creates a task from labelled examples, for `promptmix init`.
//!
//! The new folder contains a `task.toml`, in which only the class descriptions are missing, and the
//! examples as `seeds.jsonl`. It can be loaded right away.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    fault::{Place, Problem, TaskError},
    manifest::{FILE, bad_name},
    names, normalised,
    read::{ColumnSettings, Columns, Faults, Row, Source, labelled},
};

/// A class found among the examples. It has no description yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScaffoldClass {
    pub name: String,
    /// Number of examples written to `seeds.jsonl`.
    pub count: usize,
}

/// What [`scaffold`] created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scaffold {
    pub folder: PathBuf,
    /// The classes in the order of their first appearance.
    pub classes: Vec<ScaffoldClass>,
    /// Number of examples left out because the same text with the same label came before.
    pub repeated: usize,
}

/// Creates the folder `out` with `task.toml` and `seeds.jsonl` from a file of labelled examples.
/// Columns that are not named are found by their names. Writes nothing before all examples are
/// checked.
///
/// # Errors
/// [`TaskError::Faults`] for invalid rows, unusable labels, a text with two labels, or fewer than
/// two classes; [`TaskError::FolderNotEmpty`]; [`TaskError::Write`].
pub(crate) fn scaffold(
    examples: &Path,
    out: &Path,
    text_columns: &[String],
    label_column: Option<&str>,
) -> Result<Scaffold, TaskError> {
    match fs::read_dir(out).map(|mut entries| entries.next().is_some()) {
        Ok(false) => {}
        Ok(true) => return Err(TaskError::FolderNotEmpty { path: out.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(write_error(out, source)),
    }
    let name = examples.display().to_string();
    let source = Source::open(&name, examples)
        .map_err(|problem| TaskError::one(Place::whole(&name), problem))?;
    let mut faults = Faults::default();
    let columns = Columns::labelled(text_columns, label_column, ColumnSettings::Flags);
    let rows = labelled(&source, &columns, &mut faults);
    let (classes, kept) = group(&name, &rows, &mut faults);
    if classes.len() < 2 && faults.0.is_empty() {
        let found = classes.len();
        faults.add(&name, (0, 0), Problem::TooFewLabels { found });
    }
    faults.finish(())?;

    let mut seeds = String::new();
    for row in &kept {
        let line = json!({"text": row.text.value, "label": row.label.value});
        seeds.push_str(&format!("{line}\n"));
    }
    fs::create_dir_all(out).map_err(|source| write_error(out, source))?;
    for (file, content) in [("seeds.jsonl", seeds), (FILE, manifest(&classes))] {
        let path = out.join(file);
        crate::fs::write_atomic(&path, content.as_bytes())
            .map_err(|source| write_error(&path, source))?;
    }
    Ok(Scaffold { folder: out.to_owned(), repeated: rows.len() - kept.len(), classes })
}

fn write_error(path: &Path, source: io::Error) -> TaskError {
    TaskError::Write { path: path.to_owned(), source }
}

/// The classes with their counts, and the rows to keep: the first of each text.
fn group<'a>(
    name: &str,
    rows: &'a [Row],
    faults: &mut Faults,
) -> (Vec<ScaffoldClass>, Vec<&'a Row>) {
    let mut classes: Vec<ScaffoldClass> = Vec::new();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut spellings: HashMap<String, &Row> = HashMap::new();
    let mut twins: HashSet<&str> = HashSet::new();
    let mut seen: HashMap<String, &Row> = HashMap::new();
    let mut kept = Vec::new();
    for row in rows {
        let label = row.label.value.as_str();
        let spelled = spellings.contains_key(&names::folded(label));
        if let (Some(reason), false) = (bad_name(label), spelled) {
            let problem = Problem::BadClassName { class: label.to_owned(), reason };
            faults.add(name, (row.label.line, row.label.column), problem);
            continue;
        }
        let other = *spellings.entry(names::folded(label)).or_insert(row);
        if other.label.value != label {
            // Of each spelling, the first is enough.
            if twins.insert(label) {
                let place = Place::new(name, (other.label.line, other.label.column)).to_string();
                let (label, other) = (label.to_owned(), other.label.value.clone());
                let problem = Problem::TwinLabel { label, other, place };
                faults.add(name, (row.label.line, row.label.column), problem);
            }
            continue;
        }
        let first = *seen.entry(normalised(&row.text.value)).or_insert(row);
        if first.label.value != row.label.value {
            let problem = Problem::DuplicateText { first: first.text.line, relabelled: true };
            faults.add(name, (row.text.line, row.text.column), problem);
        }
        if !std::ptr::eq(first, row) {
            continue;
        }
        let number = *numbers.entry(label).or_insert_with(|| {
            classes.push(ScaffoldClass { name: label.to_owned(), count: 0 });
            classes.len() - 1
        });
        classes[number].count += 1;
        kept.push(row);
    }
    (classes, kept)
}

fn manifest(classes: &[ScaffoldClass]) -> String {
    let mut text = String::from(
        "# The name of one text in prompts, such as \"ticket\", and its plural.\n\
         item = \"message\"\n\
         items = \"messages\"\n\
         # Examples per class that prompts show; without this line up to 8, or fewer where the\n\
         # teacher's context is small. Training uses all of them.\n\
         # shots = 2\n\n",
    );
    for class in classes {
        text.push_str(&format!(
            "[[class]] # examples: {}\n\
             name = {}\n\
             description = \"\" # one line: what belongs here, and what does not\n\n",
            class.count,
            toml::Value::String(class.name.clone()),
        ));
    }
    text.push_str(
        "[data]\n\
         seeds = \"seeds.jsonl\"\n\
         # test = \"test.jsonl\" # labelled texts that training never sees, to measure accuracy\n\n\
         # The models, unless --teacher and --student name them: `promptmix models list`, or a file.\n\
         # [teacher]\n\
         # model = \"qwen2.5-1.5b-instruct\"\n\
         # [student]\n\
         # model = \"distilbert-base-uncased\" # the default; reads English\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Task, Warning};
    use super::*;

    /// Writes the examples to a file and creates a task from them.
    fn make(csv: &str) -> (tempfile::TempDir, Result<Scaffold, TaskError>) {
        let folder = tempfile::tempdir().unwrap();
        let examples = folder.path().join("examples.csv");
        fs::write(&examples, csv).unwrap();
        let made = scaffold(
            &examples,
            &folder.path().join("new/desk"),
            &["body".to_owned()],
            Some("intent"),
        );
        (folder, made)
    }

    #[test]
    fn a_new_task_loads_and_asks_for_descriptions() {
        let (_folder, made) = make(
            "intent,body\n\"say \"\"hi\"\", é\",hello\nbye,\"so\nlong\"\nbye, SO long\nbye,see you\n",
        );
        let made = made.unwrap();
        let counts: Vec<(&str, usize)> =
            made.classes.iter().map(|class| (class.name.as_str(), class.count)).collect();
        assert_eq!(counts, [("say \"hi\", é", 1), ("bye", 2)]);
        assert_eq!(made.repeated, 1);
        let task = Task::load(&made.folder).unwrap();
        assert_eq!(task.name, "desk");
        assert_eq!(task.classes[0].name, "say \"hi\", é");
        assert_eq!(task.seeds[1].text, "so\nlong");
        assert_eq!((task.shots, task.seeds.len()), (2, 3));
        let undescribed =
            |warning: &&Warning| matches!(warning, Warning::MissingDescription { .. });
        assert_eq!(task.warnings.iter().filter(undescribed).count(), 2);
    }

    #[test]
    fn a_folder_that_is_not_empty_is_left_alone() {
        let (folder, made) = make("intent,body\na,x\nb,y\n");
        let made = made.unwrap();
        let before = fs::read(made.folder.join("task.toml")).unwrap();
        let examples = folder.path().join("examples.csv");
        let error =
            scaffold(&examples, &made.folder, &["body".to_owned()], Some("intent")).unwrap_err();
        assert!(matches!(error, TaskError::FolderNotEmpty { .. }));
        assert_eq!(fs::read(made.folder.join("task.toml")).unwrap(), before);
        let error =
            scaffold(&examples, &examples, &["body".to_owned()], Some("intent")).unwrap_err();
        assert!(matches!(error, TaskError::Write { .. }), "{error}");
    }

    #[test]
    fn labels_that_look_alike_are_faults_with_both_places() {
        let (folder, made) =
            make("intent,body\nvpn,a\nVPN,b\nVPN,c\nacc\u{e8}s,d\nacce\u{300}s,e\nvpn\u{200b},f\n");
        let message = made.unwrap_err().to_string();
        let path = folder.path().join("examples.csv").display().to_string();
        let message = message.replace(&path, "x.csv");
        assert_eq!(
            message.lines().collect::<Vec<_>>(),
            [
                "x.csv:3:1: label \"VPN\" looks like \"vpn\" (x.csv:2:1)",
                "x.csv:6:1: label \"acce\\u{300}s\" looks like \"acc\u{e8}s\" (x.csv:5:1)",
                "x.csv:7:1: label \"vpn\\u{200b}\" looks like \"vpn\" (x.csv:2:1)",
            ]
        );
    }

    #[test]
    fn invalid_examples_are_faults_and_nothing_is_written() {
        let (folder, made) = make("intent,body\na,x\n\"b\nc\",y\na ,z\nb,X\n,w\n");
        let error = made.unwrap_err().to_string();
        for fault in [
            "examples.csv:3:1: class name \"b\\nc\" contains a line break",
            "examples.csv:5:1: label \"a \" looks like \"a\" (",
            "examples.csv:6:3: the same text as on line 2, with another label",
            "examples.csv:7:1: empty label in column \"intent\"",
        ] {
            assert!(error.contains(fault), "{error}");
        }
        assert!(!folder.path().join("new").exists());
        let (_folder, made) = make("intent,body\na,x\na,y\n");
        let error = made.unwrap_err().to_string();
        assert!(error.contains("a task needs at least 2 classes, the labels name 1"), "{error}");
    }
}
