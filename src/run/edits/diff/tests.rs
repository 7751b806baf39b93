use super::*;
use crate::{dataset::AugmentedText, hint::Hint};

fn base() -> Vec<TextRow> {
    let row = |(id, (text, relabel, p)): (usize, (&str, &str, f32))| TextRow {
        augmented: AugmentedText {
            id,
            text: text.to_owned(),
            major: "a".to_owned(),
            minor: Some("b".to_owned()),
            alpha: Some(0.85),
            seed: Some(u64::MAX - 7),
            ..AugmentedText::default()
        },
        relabel: Some(relabel.to_owned()),
        p: Some(p),
        probabilities: vec![(relabel.to_owned(), p)],
        redacted: 0,
    };
    let rows = [("one", "a", 0.912_345), ("two", "b", 0.6), ("three", "b", 0.8)];
    rows.into_iter().enumerate().map(row).collect()
}

fn lines() -> Vec<String> {
    base().iter().map(|row| serde_json::to_string(row).unwrap()).collect()
}

fn diff_of(file: &str, bytes: &[u8]) -> Result<Vec<RowEdit>, RunError> {
    let classes = ["a", "b", "hardware_fault"].map(str::to_owned);
    let edited = Edited {
        path: Path::new("run/relabelled.jsonl"),
        file,
        classes: &classes,
        renamed: &BTreeMap::new(),
        edits: &Edits::default(),
    };
    edited.diff(bytes, &base(), 10)
}

fn diff(lines: &[String]) -> Vec<RowEdit> {
    diff_of(names::RELABELLED, lines.join("\n").as_bytes()).unwrap()
}

#[test]
fn form_is_no_edit() {
    let mut lines = lines();
    assert_eq!(diff(&lines), []);
    lines.reverse();
    assert_eq!(diff(&lines), [], "the order");
    let windows = format!("\u{feff}{}\r\n\r\n", lines.join("\r\n"));
    assert_eq!(diff_of(names::RELABELLED, windows.as_bytes()).unwrap(), []);
    // As a table program writes it: keys in another order, rounded, with null, the seed as a float.
    lines[2] = r#"{ "p": 0.91234499, "alpha": 0.85, "minor": "b", "text": "one", "shown": null,
        "id": 0.0, "seed": 1.8446744073709552e19, "major": "a", "relabel": "a", "x": 1}"#
        .replace('\n', "");
    assert_eq!(diff(&lines), []);
    // Renumbered, or without an id.
    lines[0] = lines[0].replacen("\"id\":2", "\"id\":0", 1);
    lines[1] = lines[1].replacen("\"id\":1,", "", 1);
    assert_eq!(diff(&lines), []);
}

#[test]
fn each_kind_of_edit_is_found() {
    let mut lines = lines();
    lines[0] = lines[0].replace("\"one\"", "\"eins\"");
    lines[1] = lines[1].replace("\"relabel\":\"b\"", "\"relabel\":\"a\"");
    lines[2] = "{\"text\": \"four\", \"relabel\": \"b\"}".to_owned();
    let changes = diff(&lines);
    let after = |at: usize| changes[at].after.clone().unwrap();
    assert_eq!(changes.iter().map(|edit| edit.row).collect::<Vec<_>>(), [0, 1, 2, 10]);
    // The label of a text that was mended stands as it was left; neither is the teacher's any more.
    let first = (after(0).text, after(0).relabel, after(0).p, after(0).probabilities.len());
    assert_eq!(first, ("eins".to_owned(), Some("a".to_owned()), Some(1.0), 0));
    assert_eq!((after(1).text, after(1).relabel), ("two".to_owned(), Some("a".to_owned())));
    assert_eq!((after(1).p, after(1).probabilities), (Some(1.0), Vec::new()));
    assert_eq!(changes[2].before, Some(base()[2].fields()));
    assert_eq!((&changes[2].after, &changes[3].before), (&None, &None));
    assert_eq!((after(3).major, after(3).relabel), ("b".to_owned(), Some("b".to_owned())));
    assert_eq!(changes[0].key, base()[0].key());
}

#[test]
fn in_augmented_a_label_is_given_and_a_new_text_is_asked_about() {
    let strip = |row: TextRow| TextRow::from(row.augmented);
    let base: Vec<TextRow> = base().into_iter().map(strip).collect();
    let classes = ["a", "b"].map(str::to_owned);
    let path = Path::new("augmented.jsonl");
    let (renamed, edits) = (BTreeMap::new(), Edits::default());
    let edited = Edited {
        path,
        file: names::AUGMENTED,
        classes: &classes,
        renamed: &renamed,
        edits: &edits,
    };
    let text = "{\"id\":0,\"text\":\"eins\",\"major\":\"a\"}\n{\"id\":1,\"text\":\"two\",\"major\":\"b\"}\n";
    let changes = edited.diff(text.as_bytes(), &base, 10).unwrap();
    let after = |at: usize| changes[at].after.clone().unwrap();
    assert_eq!((after(0).relabel, after(0).p), (None, None));
    assert_eq!((after(1).relabel, after(1).p), (Some("b".to_owned()), Some(1.0)));
    assert_eq!((after(1).minor, after(1).alpha), (Some("b".to_owned()), Some(0.85)));
}

#[test]
fn what_is_no_row_is_an_error_with_its_line_and_without_its_text() {
    let fails = |line: &str| {
        let text = [&lines()[0], line, &lines()[2]].join("\n");
        let error = diff_of(names::RELABELLED, text.as_bytes()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("relabelled.jsonl:2: "), "{message}");
        assert!(!message.contains("SECRET"), "{message}");
        (message, error.hint().unwrap().into_owned())
    };
    assert!(fails("{\"id\": 1, \"text\": \"SECRET").0.contains("EOF"));
    assert!(fails("{\"id\": 1}").0.contains("missing field `text`"));
    assert!(fails("{\"text\": \"SECRET\", \"text\": \"x\"}").0.contains("wrong type"));
    assert!(fails("{\"id\": 1, \"text\": \" \"}").0.contains("empty text"));
    assert!(fails("{\"id\": 1, \"text\": \"two\", \"p\": 1.5}").0.contains("`p` is 1.5"));
    let (message, hint) = fails("{\"id\": 1, \"text\": \"two\", \"relabel\": \"hardware fault\"}");
    assert!(message.contains("unknown label"), "{message}");
    assert!(hint.contains("did you mean \"hardware_fault\"?"), "{hint}");
    let (message, hint) = fails("{\"id\": 0, \"text\": \"SECRET\", \"relabel\": \"a\"}");
    assert!(message.contains("the id 0 is that of line 1, too"), "{message}");
    assert!(hint.contains("leave `id` out"), "{hint}");
    assert!(fails("{\"text\": \"SECRET\"}").0.contains("no label"));
    let error = diff_of(names::RELABELLED, b"\n\n").unwrap_err().to_string();
    assert!(error.contains("relabelled.jsonl:1: the file holds no row"), "{error}");
}
