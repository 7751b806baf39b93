//! A file of labelled texts for a classifier that exists, read as a stream: its size is limited by
//! the number of rows alone. It is read once to check it, so that a fault in the last row does not
//! come after an hour of work, and again for each classifier.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use super::{
    TaskError,
    fault::{Place, Problem},
    limits::MAX_ROWS,
    names,
    read::{ColumnSettings, Columns, Faults, Reader, TableRow, open_file},
};
use crate::verbosity::{self, Notice};

/// A file of texts with labels that a classifier should know.
pub(crate) struct LabelledFile {
    path: PathBuf,
    name: String,
    columns: Columns,
    /// The classes of labels, as the reader gives them.
    classes: HashMap<String, usize>,
}

/// A text and the index of its class.
pub(crate) struct LabelledItem {
    pub text: String,
    pub class: usize,
}

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Rows with a text and a label.
    pub rows: usize,
    /// Labels that are no class: the line of the first row, and their number.
    pub unknown: BTreeMap<String, (usize, usize)>,
}

impl LabelledFile {
    /// The file at `path`, whose columns are the given ones or found by their names, for the
    /// classes `labels`. A label on the left of `renamed` stands for the class on the right.
    pub(crate) fn new(
        path: &Path,
        (text, label): (&[String], Option<&str>),
        labels: &[String],
        renamed: &[(String, String)],
    ) -> Self {
        let canonical = |name: &str| names::canonical(name).into_owned();
        let mut classes = HashMap::new();
        for (class, label) in labels.iter().enumerate() {
            classes.entry(canonical(label)).or_insert(class);
        }
        for (from, to) in renamed {
            if let Some(class) = labels.iter().position(|label| label == to) {
                classes.insert(canonical(from), class);
            }
        }
        Self {
            path: path.to_owned(),
            name: path.display().to_string(),
            columns: Columns::labelled(text, label, ColumnSettings::Flags),
            classes,
        }
    }

    /// Reads all rows. Tells what was guessed about the file.
    ///
    /// # Errors
    /// [`TaskError::Faults`] with every invalid row, missing column and empty text, or if there
    /// are no rows or more than a million.
    pub(crate) fn check(&self) -> Result<Contents, TaskError> {
        let (mut contents, mut faults) = (Contents::default(), Faults::default());
        let mut reader = self.open()?;
        while let Some(mut row) = reader.next_row()? {
            if is_blank(&row) {
                continue;
            }
            contents.rows += 1;
            if contents.rows > MAX_ROWS {
                faults.add(&self.name, row.place, Problem::TooManyRows);
            }
            faults.0.append(&mut row.faults);
            if faults.is_full() || contents.rows > MAX_ROWS {
                break;
            }
            if let Some(label) = row.label.filter(|it| !self.classes.contains_key(&it.value)) {
                let (_, rows) = contents.unknown.entry(label.value).or_insert((label.line, 0));
                *rows += 1;
            }
        }
        if let Some(note) = reader.note() {
            verbosity::notify(Notice::Message(note));
        }
        if contents.rows == 0 {
            faults.add(&self.name, (0, 0), Problem::EmptyFile);
        }
        faults.finish(contents)
    }

    /// The rows of a file that [`Self::check`] accepted and whose labels are all known. Others are
    /// left out: the file changed in between.
    ///
    /// # Errors
    /// The file can no longer be read.
    pub(crate) fn items(
        &self,
    ) -> Result<impl Iterator<Item = Result<LabelledItem, TaskError>> + '_, TaskError> {
        let mut reader = self.open()?;
        let next = move || {
            loop {
                let row = match reader.next_row() {
                    Ok(row) => row?,
                    Err(fault) => return Some(Err(fault.into())),
                };
                if let (Some(text), Some(label), true) =
                    (row.text, row.label, row.faults.is_empty())
                    && let Some(&class) = self.classes.get(&label.value)
                {
                    return Some(Ok(LabelledItem { text: text.value, class }));
                }
            }
        };
        Ok(std::iter::from_fn(next))
    }

    fn open(&self) -> Result<Reader<'static>, TaskError> {
        let origin = open_file(&self.name, &self.path)?;
        Ok(Reader::open(&self.name, origin, &self.columns, None)?)
    }

    /// Where `line` of the file is.
    pub(crate) fn place(&self, line: usize) -> String {
        Place::new(&self.name, (line, 1)).to_string()
    }
}

/// Whether a row has nothing: spreadsheets leave such rows at the end.
fn is_blank(row: &TableRow) -> bool {
    !row.fields.is_empty() && row.fields.values().all(|value| value == "")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(folder: &Path, text: &str, renamed: &[(String, String)]) -> LabelledFile {
        let path = folder.join("x.csv");
        fs::write(&path, text).unwrap();
        let labels = ["a", "1", "b"].map(str::to_owned);
        LabelledFile::new(&path, (&[], None), &labels, renamed)
    }

    fn items(file: &LabelledFile) -> Vec<(String, usize)> {
        let items = file.items().unwrap().map(Result::unwrap);
        items.map(|item| (item.text, item.class)).collect()
    }

    #[test]
    fn rows_are_read_with_their_classes_and_unknown_labels_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let csv = "text,label\none,b\ntwo,1.0\nthree,B\nfour,old\nfive,B\n,\n";
        let named = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let all = file(folder.path(), csv, &[named("old", "a"), named("x", "nothing")]);
        let contents = all.check().unwrap();
        assert_eq!((contents.rows, contents.unknown.len()), (5, 1));
        assert_eq!(contents.unknown["B"], (4, 2));
        let expected = [("one", 2), ("two", 1), ("four", 0)];
        assert_eq!(items(&all), expected.map(|(text, class)| (text.to_owned(), class)));
        assert!(all.place(4).ends_with("x.csv:4:1"));
    }

    #[test]
    fn every_fault_is_named_before_any_work() {
        let folder = tempfile::tempdir().unwrap();
        for (csv, wanted) in [
            ("text,label\none,a\n,a\ntwo,\n", vec!["x.csv:3", "x.csv:4"]),
            ("first,second,label\none,two,a\n", vec!["x.csv:1"]),
            ("text,label\n", vec!["x.csv"]),
        ] {
            let error = file(folder.path(), csv, &[]).check().unwrap_err().to_string();
            for wanted in wanted {
                assert!(error.contains(wanted), "{error}");
            }
        }
    }
}
