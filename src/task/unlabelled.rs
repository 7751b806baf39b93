//! Texts without labels, of which a task may have any number: `unlabelled` under `[data]`. They are
//! read as a stream whenever a stage needs them, never held in memory.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Task, TaskError,
    fault::{Fault, Place, Problem},
    limits::MAX_FAULTS,
    manifest::{DataFile, FILE},
    read::{Columns, Faults, Origin, Reader, TableRow, open_file},
};
use crate::verbosity::{self, Notice};

/// The file that `unlabelled` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnlabelledFile {
    /// Its name, beside `task.toml`.
    pub file: String,
    /// The text; several columns are joined. Empty: found by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text_column: Vec<String>,
}

/// A text and the line where its row starts, from 1; in Parquet the number of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnlabelledText {
    pub text: String,
    pub line: usize,
}

/// The texts of an [`UnlabelledFile`], in constant memory. Rows that cannot be used, such as one
/// with an empty text, are left out and counted: among a hundred thousand there is always one.
pub(crate) struct UnlabelledTexts {
    reader: Reader<'static>,
    /// Number of rows that were left out so far.
    pub unusable: usize,
    /// What is wrong with the first of them, with its place.
    pub first_fault: Option<String>,
}

impl UnlabelledFile {
    /// The file that `task.toml` names, which `open` opens; a fault for one that cannot be read,
    /// lacks its column or has no usable text.
    pub(super) fn check<'a>(
        file: Option<&DataFile>,
        open: impl FnOnce(&str) -> Result<Origin<'a>, Fault>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let DataFile { name, place, columns } = file?;
        match first_fault(name, open(name), columns) {
            Ok(()) => {}
            Err(Fault { problem: Problem::MissingFile { path }, .. }) => {
                faults.add(FILE, *place, Problem::MissingData { path });
            }
            Err(fault) => faults.0.push(fault),
        }
        Some(Self { file: name.clone(), text_column: columns.text.clone() })
    }
}

/// Why the file `name` has no usable text.
fn first_fault(
    name: &str,
    origin: Result<Origin<'_>, Fault>,
    columns: &Columns,
) -> Result<(), Fault> {
    let empty = || Fault { place: Place::whole(name), problem: Problem::EmptyFile };
    let first = |faults: Vec<Fault>| faults.into_iter().next().unwrap_or_else(empty);
    let mut reader = Reader::open(name, origin?, columns, None).map_err(first)?;
    let mut found = None;
    for _ in 0..MAX_FAULTS {
        match reader.next_row()? {
            Some(TableRow { faults, .. }) if faults.is_empty() => return Ok(()),
            Some(TableRow { faults, .. }) => found = found.or_else(|| faults.into_iter().next()),
            None => break,
        }
    }
    Err(found.unwrap_or_else(empty))
}

impl Task {
    /// Opens the unlabelled texts; `None` if the task names none.
    ///
    /// # Errors
    /// The file is gone, cannot be read, or lacks its column.
    pub(crate) fn open_unlabelled(&self) -> Result<Option<UnlabelledTexts>, TaskError> {
        let Some(UnlabelledFile { file, text_column }) = &self.unlabelled else { return Ok(None) };
        let path = self.folder.join(file);
        let name = path.display().to_string();
        let origin = open_file(&name, &path)?;
        let reader = Reader::open(&name, origin, &Columns::unlabelled(text_column), None)?;
        Ok(Some(UnlabelledTexts { reader, unusable: 0, first_fault: None }))
    }
}

impl UnlabelledTexts {
    /// The texts of the file at `path`, which a flag names; the column is one of `text_column`, or
    /// found by its name.
    ///
    /// # Errors
    /// The file cannot be read, or lacks the column.
    pub(crate) fn open(path: &Path, text_column: &[String]) -> Result<Self, TaskError> {
        let name = path.display().to_string();
        let origin = open_file(&name, path)?;
        let reader = Reader::open(&name, origin, &Columns::texts(text_column), None)?;
        Ok(Self { reader, unusable: 0, first_fault: None })
    }

    /// The next text; `None` at the end.
    ///
    /// # Errors
    /// The rest of the file cannot be read.
    pub(crate) fn next_text(&mut self) -> Result<Option<UnlabelledText>, TaskError> {
        while let Some(row) = self.reader.next_row()? {
            if let Some(note) = self.reader.note() {
                verbosity::notify(Notice::Message(note));
            }
            let line = row.place.0;
            match (row.text, row.faults.into_iter().next()) {
                (Some(text), None) => return Ok(Some(UnlabelledText { text: text.value, line })),
                (_, fault) => {
                    self.unusable += 1;
                    let told = fault.map(|fault| fault.to_string());
                    self.first_fault = self.first_fault.take().or(told);
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::hint::Hint;

    const CLASSES: &str = "[[class]]\nname = \"a\"\ndescription = \"x\"\n[[class]]\nname = \"b\"\ndescription = \"y\"\n[data]\n";

    /// The task with this line under `[data]` and these files.
    fn task(folder: &Path, data: &str, files: &[(&str, &str)]) -> Result<Task, TaskError> {
        fs::write(folder.join("task.toml"), format!("{CLASSES}{data}\n")).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Task::load(folder)
    }

    fn texts(task: &Task) -> (Vec<(String, usize)>, usize, Option<String>) {
        let mut texts = task.open_unlabelled().unwrap().unwrap();
        let mut found = Vec::new();
        while let Some(UnlabelledText { text, line }) = texts.next_text().unwrap() {
            found.push((text, line));
        }
        (found, texts.unusable, texts.first_fault)
    }

    #[test]
    fn rows_without_a_text_are_left_out_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let csv = "label,text\nq,one\nq,\"two\nlines\"\nq,\nq,four\n";
        let task = task(folder.path(), "unlabelled = \"all.csv\"", &[("all.csv", csv)]).unwrap();
        let (found, unusable, first) = texts(&task);
        let wanted = [("one", 2), ("two\nlines", 3), ("four", 6)];
        assert_eq!(found, wanted.map(|(text, line)| (text.to_owned(), line)));
        assert_eq!(unusable, 1);
        let first = first.unwrap();
        assert!(first.contains("all.csv:5"), "{first}");
    }

    #[test]
    fn columns_are_those_of_data_or_of_the_file_alone_and_need_no_label() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("all.jsonl", "{\"s\":\"x\",\"b\":\"y\"}\n"), ("all.txt", "x\ny\n")];
        for (data, wanted) in [
            ("text_column = \"b\"\nlabel_column = \"none\"\nunlabelled = \"all.jsonl\"", vec!["y"]),
            ("unlabelled = { file = \"all.jsonl\", text_column = [\"s\", \"b\"] }", vec!["x\n\ny"]),
            ("unlabelled = \"all.txt\"", vec!["x", "y"]),
        ] {
            let task = task(folder.path(), data, &files).unwrap();
            let found: Vec<String> = texts(&task).0.into_iter().map(|(text, _)| text).collect();
            assert_eq!(found, wanted, "{data}");
            let read: Task = serde_json::from_str(&serde_json::to_string(&task).unwrap()).unwrap();
            assert_eq!(read.unlabelled, task.unlabelled);
        }
    }

    #[test]
    fn a_file_of_no_use_is_a_fault_of_the_task() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            [("all.csv", "body,label\nx,a\n"), ("none.csv", "text\n"), ("e.csv", "text\n\"\"\n")];
        for (data, wanted, hint) in [
            ("unlabelled = \"gone.csv\"", "task.toml:8:14: there is no file \"gone.csv\"", "name"),
            ("text_column = \"words\"\nunlabelled = \"all.csv\"", "all.csv:1", "text_column"),
            ("unlabelled = \"none.csv\"", "none.csv", "rows"),
            ("unlabelled = \"e.csv\"", "e.csv:2", ""),
            (
                "unlabelled = { file = \"all.csv\", label_column = \"label\" }",
                "label_column",
                "file",
            ),
            ("unlabelled = 3", "string", ""),
        ] {
            let error = task(folder.path(), data, &files).unwrap_err();
            let TaskError::Faults { faults } = &error else { panic!("{error}") };
            assert_eq!(faults.len(), 1, "{faults:?}");
            let told = format!("{}: {}", faults[0].place, faults[0].problem);
            let help = faults[0].problem.hint();
            assert!(told.contains(wanted) && help.contains(hint), "{told} ({help})");
        }
    }

    #[test]
    fn a_file_that_is_gone_later_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let task = task(folder.path(), "unlabelled = \"a.txt\"", &[("a.txt", "x\n")]).unwrap();
        fs::remove_file(folder.path().join("a.txt")).unwrap();
        let error = task.open_unlabelled().map(|_| ()).unwrap_err();
        let told = format!("{error} {:?}", error.hint());
        assert!(told.contains("a.txt"), "{told}");
    }
}
