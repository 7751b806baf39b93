//! How predictions are printed: as JSON lines or as CSV, with the columns of the input.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{
    super::error::{self, CommandError},
    OutputFormat, Rows,
    threshold::Rule,
    why::Explainer,
};
use crate::{
    counted::{agree, part},
    interrupt,
    printable::printable,
    student::{Classifier, Prediction},
    task::TableRow,
};

/// Bytes after which the output is written although more predictions are at hand.
const BUFFER: usize = 64 << 10;
/// CSV: rows without a column that wait for the first row with some, whose columns make the header.
const WAITING: usize = 1000;
/// The columns that are added. An input column of such a name gets another one.
const ADDED: [&str; 9] = [
    "label",
    "best",
    "abstained",
    "probability",
    "in_scope",
    "probabilities",
    "truncated",
    "reason",
    "why",
];

/// Prints predictions, and counts them.
pub(super) struct Answers<'a, W> {
    student: &'a Classifier,
    out: W,
    format: OutputFormat,
    rule: Rule,
    explainer: Option<Explainer<'a>>,
    /// Complete rows that are not printed yet: a signal must not cut one in two.
    rows: Vec<u8>,
    /// CSV: the columns of the input, once they are printed.
    header: Option<Vec<String>>,
    /// CSV: the cells that are added to rows before the header.
    waiting: Vec<Vec<String>>,
    counts: Counts,
    /// Why the first row without an answer has none.
    first_reason: Option<String>,
}

#[derive(Default)]
struct Counts {
    rows: usize,
    /// Texts below the threshold.
    unsure: usize,
    /// Others that are too far from the training texts.
    outside: usize,
    /// Rows that cannot be answered.
    unanswered: usize,
    /// Texts that were longer than the student reads.
    truncated: usize,
    /// Rows with a column that the header lacks.
    left_out: usize,
}

impl<'a, W: Write> Answers<'a, W> {
    pub(super) fn new(
        student: &'a Classifier,
        out: W,
        format: OutputFormat,
        rule: Rule,
        explainer: Option<Explainer<'a>>,
    ) -> Self {
        Self {
            student,
            out,
            format,
            rule,
            explainer,
            rows: Vec::new(),
            header: None,
            waiting: Vec::new(),
            counts: Counts::default(),
            first_reason: None,
        }
    }

    /// Answers all rows. Returns how many there were.
    pub(super) fn write_all(&mut self, rows: Rows<'_>) -> anyhow::Result<usize> {
        if let (OutputFormat::Csv, Some(names)) = (self.format, rows.reader.names()) {
            self.write_header(names)?;
        }
        let mut stream = self.student.stream(rows);
        while let Some(answer) = stream.next() {
            match answer {
                Ok((row, prediction)) => self.write(row, prediction.as_ref())?,
                Err(error) => {
                    self.end()?;
                    return Err(error);
                }
            }
            if stream.drained() || self.rows.len() >= BUFFER {
                self.flush()?;
            }
        }
        self.end()?;
        Ok(self.counts.rows)
    }

    /// Prints what is left, also if no row had a column.
    fn end(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.write_header(Vec::new())?;
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let _whole = interrupt::hold();
        self.out.write_all(&self.rows)?;
        self.rows.clear();
        self.out.flush()
    }

    fn write(&mut self, row: TableRow, prediction: Option<&Prediction>) -> anyhow::Result<()> {
        self.counts.rows += 1;
        let reason = row.faults.first().map(ToString::to_string);
        if prediction.is_none() {
            self.counts.unanswered += 1;
            self.first_reason = self.first_reason.take().or_else(|| reason.clone());
        }
        let why = match (&self.explainer, prediction, &row.text) {
            (Some(explainer), Some(prediction), Some(text)) => {
                Some(explainer.explain(&text.value, prediction.class)?)
            }
            _ => None,
        };
        let fields = renamed(row.fields);
        let mut added = self.added(prediction, reason);
        match self.format {
            OutputFormat::Words => {
                let text = row.text.as_ref().map_or("", |text| text.value.as_str());
                let words = why.map(|why| why.in_words(text, &added));
                self.rows.extend(printable(&words.unwrap_or_default()).bytes());
            }
            OutputFormat::Jsonl => {
                let mut row = fields;
                added.extend(why.map(|why| ("why".to_owned(), why.to_json())));
                row.extend(added.into_iter().filter(|(name, value)| {
                    let optional = matches!(name.as_str(), "truncated" | "reason" | "in_scope");
                    !(optional && matches!(value, Value::Null | Value::Bool(false)))
                }));
                writeln!(self.rows, "{}", Value::Object(row))?;
            }
            OutputFormat::Csv => {
                let added = added.iter().filter(|(name, _)| *name != "probabilities");
                self.write_cells(&fields, added.map(|(_, value)| cell(value)).collect())?;
            }
        }
        Ok(())
    }

    /// A row of CSV. One that is broken has no columns for a header: it waits for one that has.
    fn write_cells(&mut self, fields: &Map<String, Value>, added: Vec<String>) -> io::Result<()> {
        if self.header.is_none() && fields.is_empty() && self.waiting.len() < WAITING {
            self.waiting.push(added);
            return Ok(());
        }
        if self.header.is_none() {
            self.write_header(fields.keys().cloned().collect())?;
        }
        let header = self.header.as_deref().unwrap_or_default();
        let known = header.iter().filter(|name| fields.contains_key(*name)).count();
        self.counts.left_out += usize::from(known < fields.len());
        let cells = header.iter().map(|name| fields.get(name).map_or_else(String::new, cell));
        write_record(&mut self.rows, cells.chain(added))
    }

    /// The columns that are added to a row.
    fn added(
        &mut self,
        prediction: Option<&Prediction>,
        reason: Option<String>,
    ) -> Map<String, Value> {
        let labels = self.student.labels();
        let mut added = Map::new();
        let best = prediction.map(|prediction| labels[prediction.class].as_str());
        let unsure = prediction.is_some_and(|it| self.rule.is_unsure(it));
        let outside = !unsure && prediction.is_some_and(|it| self.rule.is_outside(it));
        self.counts.unsure += usize::from(unsure);
        self.counts.outside += usize::from(outside);
        added.insert("label".into(), json!(best.filter(|_| !unsure && !outside)));
        if self.rule.abstains() {
            added.insert("best".into(), json!(best));
            added.insert("abstained".into(), json!(prediction.map(|_| unsure || outside)));
        }
        added.insert("probability".into(), json!(prediction.map(|it| it.probability)));
        if self.student.confidence().scope().is_some() {
            added.insert("in_scope".into(), json!(prediction.and_then(|it| it.in_scope)));
        }
        if let Some(prediction) = prediction {
            let shares = prediction.probabilities.iter().map(|&p| Value::from(p));
            let by_label: Map<String, Value> = labels.iter().cloned().zip(shares).collect();
            added.insert("probabilities".into(), by_label.into());
        }
        let truncated = prediction.is_some_and(|prediction| prediction.truncated);
        self.counts.truncated += usize::from(truncated);
        added.insert("truncated".into(), truncated.into());
        added.insert("reason".into(), json!(reason.filter(|_| prediction.is_none())));
        added
    }

    /// Writes the header, and the rows that waited for it.
    fn write_header(&mut self, names: Vec<String>) -> io::Result<()> {
        let fields = names.into_iter().map(|name| (name, Value::Null)).collect();
        let names: Vec<String> = renamed(fields).into_iter().map(|(name, _)| name).collect();
        let abstains = self.rule.abstains();
        let scope = self.student.confidence().scope().is_some();
        let added = ADDED.iter().filter(|name| match **name {
            "best" | "abstained" => abstains,
            "in_scope" => scope,
            name => !matches!(name, "probabilities" | "why"),
        });
        let cells = names.iter().cloned().chain(added.map(|name| (*name).to_owned()));
        write_record(&mut self.rows, cells)?;
        for added in self.waiting.drain(..) {
            let empty = std::iter::repeat_n(String::new(), names.len());
            write_record(&mut self.rows, empty.chain(added))?;
        }
        self.header = Some(names);
        Ok(())
    }

    /// Prints to stderr what the user should know about the answers.
    pub(super) fn tell(&self) {
        let Counts { rows, unsure, outside, truncated, left_out, .. } = self.counts;
        if let Some(warning) = self.student.coverage().warning() {
            let hint = "take a student that was trained on texts of this language";
            error::warn(&warning, Some(hint));
        }
        let no_label = |count: usize, why: String| {
            let share = count as f64 / (rows.max(1) as f64) * 100.0;
            eprintln!("no label for {} ({share:.1} %): {why}", part(count, rows, "text"));
        };
        if let Some(below) = self.rule.below {
            no_label(unsure, format!("below a probability of {below}"));
        }
        if let Some(least) = self.rule.scope {
            no_label(outside, format!("in_scope is below {least}"));
        }
        if truncated > 0 {
            let (read, longest) = (self.student.max_length(), self.student.longest());
            let more = match read < longest {
                true => format!("; --max-length reads up to {longest}"),
                false => String::new(),
            };
            eprintln!(
                "{} {} cut to {} {} {read} tokens{more}",
                part(truncated, rows, "text"),
                agree(truncated, "was", "were"),
                agree(truncated, "its", "their"),
                self.student.part_read()
            );
        }
        if left_out > 0 {
            eprintln!(
                "{} {} columns that are not in the first row; CSV omits them, --to jsonl keeps them",
                part(left_out, rows, "row"),
                agree(left_out, "has", "have")
            );
        }
    }

    /// # Errors
    /// A row could not be classified.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        let Counts { rows, unanswered, .. } = self.counts;
        if unanswered == 0 {
            return Ok(());
        }
        let first = self.first_reason.as_deref().unwrap_or_default();
        Err(CommandError::new(
            format!("{} could not be classified; first: {first}", part(unanswered, rows, "row")),
            "`reason` in the output explains each; the other rows were classified",
        )
        .into())
    }
}

/// The columns of a row, without the names of [`ADDED`].
fn renamed(fields: Map<String, Value>) -> Map<String, Value> {
    if !ADDED.iter().any(|name| fields.contains_key(*name)) {
        return fields;
    }
    let taken: Vec<String> = fields.keys().cloned().collect();
    let free = |name: String| {
        if !ADDED.contains(&name.as_str()) {
            return name;
        }
        let mut free = format!("input_{name}");
        while taken.contains(&free) {
            free = format!("input_{free}");
        }
        free
    };
    fields.into_iter().map(|(name, value)| (free(name), value)).collect()
}

/// A value as a CSV cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn write_record(out: &mut Vec<u8>, cells: impl Iterator<Item = String>) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(cells)?;
    writer.flush()
}
