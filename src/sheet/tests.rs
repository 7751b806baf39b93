use std::{collections::BTreeMap, fs, path::PathBuf};

use super::*;

/// Files that Label Studio and Argilla wrote; `scripts/sheets/fixtures.py` made them.
fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/sheets").join(name)
}

const CLASSES: [&str; 2] = ["password_reset", "R&D \"lab\" <x>"];

/// Texts that are hard on formats.
fn rows() -> Vec<SheetRow> {
    let opinion = |label: &str, p| Some(Opinion { label: label.to_owned(), p });
    let row = |n: usize, text: &str| SheetRow {
        id: format!("pm-00c0ffee-{n:016x}"),
        text: text.to_owned(),
        suggestion: opinion(CLASSES[n % 2], Some(0.75)),
        ..SheetRow::default()
    };
    vec![
        SheetRow {
            asked: Some(CLASSES[1].to_owned()),
            teacher: opinion(CLASSES[0], None),
            student: opinion(CLASSES[1], Some(0.5)),
            why: Some("teacher and student disagree".to_owned()),
            probabilities: vec![(CLASSES[0].to_owned(), 0.75), (CLASSES[1].to_owned(), 0.25)],
            ..row(0, "my password, \"again\"\nplease; reset it\ttoday")
        },
        row(1, "=HYPERLINK(\"http://x.example\")"),
        row(2, "'=quoted"),
        row(3, "größte Störung 😀"),
        row(4, "404"),
        row(5, "-1 stars"),
    ]
}

fn answers_in(bytes: &[u8], name: &str) -> Vec<Answer> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    read(&path).unwrap()
}

#[test]
fn every_format_brings_ids_and_texts_back() {
    for (format, name) in [
        (SheetFormat::Csv, "sheet.csv"),
        (SheetFormat::LabelStudio, "sheet.json"),
        (SheetFormat::Argilla, "sheet.json"),
    ] {
        let answers = answers_in(&write(format, &rows()), name);
        assert_eq!(answers.len(), rows().len(), "{format:?}");
        for (answer, row) in answers.iter().zip(rows()) {
            let text =
                if format == SheetFormat::Csv { unquoted(&answer.text) } else { &answer.text };
            assert_eq!((answer.id.as_str(), text), (row.id.as_str(), row.text.as_str()));
            assert_eq!((&answer.label, &answer.by), (&None, &None), "{format:?}");
        }
    }
}

#[test]
fn no_cell_of_a_table_is_a_formula_a_number_or_a_date() {
    let bytes = write(SheetFormat::Csv, &rows());
    assert!(bytes.starts_with(b"\xef\xbb\xbf") && bytes.ends_with(b"\r\n"));
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[3..]);
    let records: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), rows().len() + 1, "a line break in a cell is quoted");
    let cells: Vec<&str> = records.iter().flatten().collect();
    let starts = ['=', '+', '-', '@', '\t', '\r'];
    assert!(cells.iter().all(|cell| !cell.starts_with(starts)), "{cells:?}");
    for cell in ["'=HYPERLINK(\"http://x.example\")", "''=quoted", "'404", "'-1 stars", "0.750"] {
        assert!(cells.contains(&cell), "{cell} is not among {cells:?}");
    }
}

#[test]
fn an_apostrophe_that_was_there_before_stays() {
    for (cell, plain) in [("'=1", "=1"), ("''=1", "'=1"), ("'tis", "'tis"), ("plain", "plain")] {
        assert_eq!(unquoted(cell), plain);
    }
}

/// The files that the fixtures were made from are what is written now.
#[test]
fn what_the_tools_were_given_is_what_is_written() {
    let classes = CLASSES.map(str::to_owned);
    for (format, names) in [
        (SheetFormat::LabelStudio, ["label-studio.in.json", "label-studio.in.xml"]),
        (SheetFormat::Argilla, ["argilla.in.json", "argilla.in.py"]),
    ] {
        let interface = interface(format, &classes).unwrap().into_bytes();
        for (name, bytes) in names.into_iter().zip([write(format, &rows()), interface]) {
            if std::env::var_os("PROMPTMIX_BLESS").is_some() {
                fs::write(fixture(name), &bytes).unwrap();
            }
            assert!(
                fs::read(fixture(name)).unwrap() == bytes,
                "{name} is another; make the fixtures anew"
            );
        }
    }
}

/// What the annotators of the fixtures said: a label for the first text, the same by a second
/// person, "none of these" for the second text, two labels that differ for the third, a skipped
/// fourth, a corrected fifth, and nothing about the last.
fn check_fixture(name: &str, skips: bool) {
    let answers = read(&fixture(name)).unwrap();
    let mut by_id: BTreeMap<String, Vec<Answer>> = BTreeMap::new();
    for answer in answers {
        by_id.entry(answer.id.clone()).or_default().push(answer);
    }
    let found: Vec<Vec<Answer>> =
        rows().iter().map(|row| by_id.remove(&row.id).unwrap_or_default()).collect();
    assert!(by_id.is_empty(), "{name}: {by_id:?}");
    let labels = |at: usize| -> Vec<&str> {
        let mut labels: Vec<&str> =
            found[at].iter().filter_map(|answer| answer.label.as_deref()).collect();
        labels.sort_unstable();
        labels
    };
    assert_eq!(labels(0), [CLASSES[0]; 2], "{name}");
    assert_ne!(found[0][0].by, found[0][1].by, "{name}: two people");
    assert_eq!(labels(1), [NONE_OF_THESE], "{name}");
    assert_eq!(labels(2), [CLASSES[1], CLASSES[0]], "{name}");
    if skips {
        assert!(labels(3).is_empty(), "{name}: {found:?}");
    }
    assert_eq!((labels(4), found[4][0].text.as_str()), (vec![CLASSES[1]], "error 404"), "{name}");
    assert!(labels(5).is_empty(), "{name}");
    let is_changed = |at: usize| found[at].iter().any(|answer| answer.text != rows()[at].text);
    assert!((0..4).all(|at| !is_changed(at)), "{name}: {found:?}");
}

#[test]
fn annotations_of_label_studio_come_back() {
    check_fixture("label-studio.json", true);
    check_fixture("label-studio.min.json", true);
    check_fixture("label-studio.csv", true);
}

#[test]
fn responses_of_argilla_come_back() {
    check_fixture("argilla.json", true);
}

#[test]
fn what_is_no_answer_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let failed = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        read(&path).unwrap_err().to_string()
    };
    for (name, content, wanted) in [
        ("a.csv", "promptmix_id,label,text\npm-1-2,a,x\n,b,y\n", "a.csv:3:1: no `promptmix_id`"),
        ("b.csv", "promptmix_id,label\npm-1-2,a\n", "no column `text`, so it is not a sheet"),
        ("c.csv", "promptmix_id,label,text\n", "the file contains no texts"),
        ("d.json", "[{\"data\": {\"text\": \"x\"}}]", "d.json:1:2: no `promptmix_id`"),
        (
            "e.json",
            "[\n{\"data\": {\"promptmix_id\": \"p\", \"text\": \"x\"}, \"annotations\": [7]}]",
            "e.json:2:1: an annotation is only referred to",
        ),
        (
            "f.json",
            "[{\"id\": \"p\", \"fields\": {\"text\": \"x\"}, \"responses\": {\"label\": [{\"value\": [\"a\", \"b\"]}]}}]",
            "f.json:1:2: a response to `label` is not a single one",
        ),
        (
            "g.json",
            "[{\"promptmix_id\": \"p\", \"text\": \"x\", \"label\": {\"choices\": [\"a\", \"b\"]}}]",
            "g.json:1:2: 2 labels for one text",
        ),
        ("h.json", "[{\"data\": ", "h.json:1"),
    ] {
        let error = failed(name, content);
        assert!(error.contains(wanted), "{name}: {error}");
    }
}

#[test]
fn a_spreadsheet_may_add_columns_and_empty_rows_and_use_semicolons() {
    let csv =
        "label;note;promptmix_id;TEXT\n none of these ;;pm-1-2;x\n;;;\n;seen;pm-1-3;\"a\r\nb\"\n";
    let answers = answers_in(csv.as_bytes(), "sheet.csv");
    let found: Vec<_> = answers.iter().map(|it| (it.label.as_deref(), it.text.as_str())).collect();
    assert_eq!(found, [(Some(NONE_OF_THESE), "x"), (None, "a\r\nb")]);
}
