//! Sheets of texts for people: written, labelled as a person would, taken back, trained on.

use std::{fs, path::PathBuf};

use serde_json::{Value, json as value};

use crate::support::{ONE_EPOCH, STUDENT, TestDir, json, rows};

const QUICK: [&str; 4] = ["--student", STUDENT, "--set", "augment.per_class=6"];
const CLASSES: [&str; 2] = ["password_reset", "hardware_fault"];
const UNLABELLED: [&str; 6] = [
    "the password for the payroll page was refused",
    "=my monitor stays black",
    "lunch is at noon",
    "my keyboard is dead",
    "the printer chews paper",
    "please unlock my account, the password is wrong",
];

/// A run of the small task, to which `toml` is appended. Returns the command.
fn run(dir: &TestDir, toml: &str) -> Vec<String> {
    let task = dir.task(toml);
    let task = task.to_str().unwrap();
    let command = [&["run", task, "--out", "out"], &QUICK[..], &ONE_EPOCH].concat();
    dir.ok(&command);
    command.into_iter().map(str::to_owned).collect()
}

fn again(dir: &TestDir, command: &[String]) {
    dir.ok(&command.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Writes the unlabelled texts of a task, and what names them.
fn unlabelled(dir: &TestDir) -> &'static str {
    let lines = UNLABELLED.map(|text| value!({ "text": text }).to_string() + "\n");
    dir.write("task/more.jsonl", lines.concat());
    "unlabelled = \"more.jsonl\"\n[label]\nbudget = 1"
}

/// The cells of a sheet, its header first.
fn cells(text: &str) -> Vec<Vec<String>> {
    let text = text.strip_prefix('\u{feff}').expect("a byte-order mark");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let records = reader.records().map(|record| record.expect("a record"));
    records.map(|record| record.iter().map(str::to_owned).collect()).collect()
}

/// Saves a sheet as a spreadsheet would.
fn save(dir: &TestDir, name: &str, sheet: &[Vec<String>]) {
    let mut writer = csv::Writer::from_path(dir.path(name)).unwrap();
    sheet.iter().for_each(|row| writer.write_record(row).unwrap());
    writer.flush().unwrap();
}

/// The places of the columns id, label and text.
const ID: usize = 0;
const LABEL: usize = 1;
const TEXT: usize = 2;

fn edits(dir: &TestDir) -> Vec<Value> {
    let mut entries = rows(&dir.path("out/ledger.jsonl"));
    // An entry without changes says that the file holds them.
    let is_edit = |entry: &Value| entry["kind"] == "edit" && entry["changes"] != value!([]);
    entries.retain(is_edit);
    entries
}

fn with_text(file: &[Value], text: &str) -> Option<Value> {
    file.iter().find(|row| row["text"] == text).cloned()
}

#[test]
fn labels_of_suggested_unlabelled_texts_become_labelled_examples() {
    let dir = TestDir::new();
    let toml = unlabelled(&dir);
    let command = run(&dir, toml);
    let mut sheet = cells(&dir.ok(&["suggest", "out", "-n", "9", "--to", "csv"]));
    let header = &sheet[0];
    assert_eq!((&*header[ID], &*header[LABEL], &*header[TEXT]), ("promptmix_id", "label", "text"));
    // A copy of a seed is not asked about, and a formula is shown as it is written.
    assert_eq!(sheet.len(), UNLABELLED.len(), "{sheet:?}");
    assert!(sheet.iter().all(|row| row[TEXT] != "my keyboard is dead"));
    for row in &mut sheet[1..] {
        assert!(row[LABEL].is_empty() && CLASSES.contains(&&*row[3]), "{row:?}");
        row[LABEL] = match row[TEXT].as_str() {
            "'=my monitor stays black" => CLASSES[1].to_owned(),
            "lunch is at noon" => "None of these".to_owned(),
            "the printer chews paper" => String::new(),
            _ => CLASSES[0].to_owned(),
        };
        if row[TEXT].starts_with("please") {
            row[TEXT] = "please unlock my account".to_owned();
        }
    }
    save(&dir, "sheet.csv", &sheet);
    let counts: Value =
        serde_json::from_str(&dir.ok(&["import-labels", "out", "sheet.csv", "--json"])).unwrap();
    assert_eq!(
        counts,
        value!({"labelled": 3, "relabelled": 0, "added": 3, "texts": 1, "dropped": 1, "unanswered": 1})
    );
    let check = || {
        let train = rows(&dir.path("out/train.jsonl"));
        for (text, label) in [
            ("=my monitor stays black", CLASSES[1]),
            ("please unlock my account", CLASSES[0]),
            (UNLABELLED[0], CLASSES[0]),
        ] {
            let row = with_text(&train, text).unwrap_or_else(|| panic!("no {text:?}: {train:?}"));
            assert_eq!((&row["by"], &row["relabel"]), (&"person".into(), &label.into()));
        }
        for text in ["lunch is at noon", UNLABELLED[5]] {
            assert_eq!(with_text(&train, text), None);
        }
    };
    check();
    let entries = edits(&dir);
    assert_eq!(entries.len(), 1);
    assert!(entries[0]["at"].as_str().unwrap().ends_with(" UTC"));
    assert_eq!(entries[0]["changes"].as_array().unwrap().len(), 4);
    let before = json(&dir.path("out/report.json"))["results"].clone();
    again(&dir, &command);
    check();
    let trained = |results: &Value| {
        let rows = results.as_array().unwrap().iter();
        rows.rev().find(|row| row["row"] == "A2").unwrap()["train_rows"].as_u64().unwrap()
    };
    let after = json(&dir.path("out/report.json"))["results"].clone();
    assert_eq!(trained(&after), trained(&before) + 3);
    dir.ok(&["audit", "out", "--no-nearest"]);

    // What was answered is not asked again; the rest is.
    let sheet = cells(&dir.ok(&["suggest", "out", "-n", "9"]));
    assert_eq!(sheet[1..].iter().map(|row| &*row[TEXT]).collect::<Vec<_>>(), [UNLABELLED[4]]);
    // The same sheet once more says nothing new.
    let told = dir.ok(&["import-labels", "out", "sheet.csv", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["labelled"], &told["texts"]), (&0.into(), &0.into()), "{told}");
}

#[test]
fn a_sheet_of_all_texts_corrects_confirms_and_drops() {
    let dir = TestDir::new();
    let command = run(&dir, "");
    dir.ok(&["export-labels", "out", "--out", "sheet.csv"]);
    let train = rows(&dir.path("out/train.jsonl"));
    let mut sheet = cells(&fs::read_to_string(dir.path("sheet.csv")).unwrap());
    assert_eq!(sheet.len(), train.len() + 1);
    assert!(train.len() >= 4, "too few texts are kept for this test: {}", train.len());
    let label = |row: &Value| row["relabel"].as_str().unwrap().to_owned();
    let other = |row: &Value| CLASSES[usize::from(label(row) == CLASSES[0])].to_owned();
    sheet[1][LABEL] = label(&train[0]);
    sheet[2][LABEL] = other(&train[1]);
    sheet[3][LABEL] = "none of these".to_owned();
    sheet[4][TEXT] = "my own words about it".to_owned();
    save(&dir, "sheet.csv", &sheet);
    dir.ok(&["import-labels", "out", "sheet.csv"]);
    let listed = dir.ok(&["edits", "out"]);
    assert!(listed.contains("4 edits by hand, recorded"), "{listed}");
    dir.ok(&["audit", "out", "--no-nearest"]);
    for step in ["import", "run"] {
        let now = rows(&dir.path("out/train.jsonl"));
        let of = |at: usize| with_text(&now, train[at]["text"].as_str().unwrap());
        let confirmed = of(0).unwrap();
        assert_eq!((&confirmed["by"], &confirmed["p"]), (&"person".into(), &value!(1.0)), "{step}");
        assert_eq!(of(1).unwrap()["relabel"], other(&train[1]), "{step}");
        assert_eq!((of(2), of(3)), (None, None), "{step}");
        let corrected = with_text(&now, "my own words about it").expect("it is kept");
        assert_eq!(corrected["relabel"], train[3]["relabel"], "{step}");
        if step == "import" {
            again(&dir, &command);
        }
    }
    let dropped = rows(&dir.path("out/dropped.jsonl"));
    let dropped = with_text(&dropped, train[2]["text"].as_str().unwrap()).expect("it is dropped");
    assert_eq!(dropped["dropped"], "none_of_these");
    let funnel = json(&dir.path("out/report.json"))["funnel"]["dropped"].clone();
    assert_eq!(
        (&funnel["in none of the classes"], funnel.get("removed by hand")),
        (&1.into(), None)
    );
}

#[test]
fn none_of_these_is_a_class_where_the_task_declares_one() {
    let dir = TestDir::new();
    let command = run(&dir, "[[class]]\nname = \"other\"\nnone_of_these = true");
    dir.ok(&["export-labels", "out", "--out", "sheet.csv"]);
    let train = rows(&dir.path("out/train.jsonl"));
    let mut sheet = cells(&fs::read_to_string(dir.path("sheet.csv")).unwrap());
    for (row, label) in [(1, "None of these"), (2, "other")] {
        sheet[row][LABEL] = label.to_owned();
    }
    save(&dir, "sheet.csv", &sheet);
    dir.ok(&["import-labels", "out", "sheet.csv"]);
    for step in ["import", "run"] {
        let now = rows(&dir.path("out/train.jsonl"));
        for row in &train[..2] {
            let found = with_text(&now, row["text"].as_str().unwrap()).expect("it is kept");
            assert_eq!((&found["relabel"], &found["by"]), (&"other".into(), &"person".into()));
        }
        if step == "import" {
            again(&dir, &command);
        }
    }
}

#[test]
fn labels_whose_import_was_killed_are_in_the_file_afterwards() {
    let dir = TestDir::new();
    run(&dir, "");
    dir.ok(&["export-labels", "out", "--out", "sheet.csv"]);
    let mut sheet = cells(&fs::read_to_string(dir.path("sheet.csv")).unwrap());
    sheet[1][LABEL] = "none of these".to_owned();
    sheet[2][LABEL] = CLASSES[0].to_owned();
    save(&dir, "sheet.csv", &sheet);
    let files = || -> Vec<(PathBuf, Vec<u8>)> {
        let copies =
            fs::read_dir(dir.path("out/written")).unwrap().map(|entry| entry.unwrap().path());
        let paths = copies.chain([dir.path("out/train.jsonl"), dir.path("out/ledger.head")]);
        paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    };
    let before = files();
    dir.ok(&["import-labels", "out", "sheet.csv"]);
    let imported = fs::read(dir.path("out/train.jsonl")).unwrap();
    // The ledger has the labels, the file does not have them yet.
    for (path, bytes) in before {
        fs::write(path, bytes).unwrap();
    }
    let ledger = fs::read_to_string(dir.path("out/ledger.jsonl")).unwrap();
    let last = ledger.trim_end().rfind('\n').unwrap();
    fs::write(dir.path("out/ledger.jsonl"), &ledger[..=last]).unwrap();
    assert!(fs::read(dir.path("out/train.jsonl")).unwrap() != imported);
    dir.ok(&["export-labels", "out", "--out", "again.csv"]);
    assert!(fs::read(dir.path("out/train.jsonl")).unwrap() == imported);
    assert_eq!(edits(&dir).len(), 1);
    dir.ok(&["audit", "out", "--no-nearest"]);
}

#[test]
fn a_sheet_with_a_fault_changes_nothing() {
    let dir = TestDir::new();
    run(&dir, "");
    dir.ok(&["export-labels", "out", "--out", "sheet.csv"]);
    let sheet = cells(&fs::read_to_string(dir.path("sheet.csv")).unwrap());
    let before =
        (fs::read(dir.path("out/ledger.jsonl")).unwrap(), rows(&dir.path("out/train.jsonl")));
    let failed = |change: &dyn Fn(&mut Vec<Vec<String>>)| {
        let mut sheet = sheet.clone();
        sheet[1][LABEL] = CLASSES[0].to_owned();
        change(&mut sheet);
        save(&dir, "faulty.csv", &sheet);
        let errors = dir.fails(&["import-labels", "out", "faulty.csv"]);
        let now =
            (fs::read(dir.path("out/ledger.jsonl")).unwrap(), rows(&dir.path("out/train.jsonl")));
        assert_eq!(now, before, "nothing is imported: {errors}");
        errors
    };
    let errors = failed(&|sheet| sheet[2][LABEL] = "pasword_reset".to_owned());
    assert!(errors.contains("faulty.csv:3:1: the label is not a class of the task"), "{errors}");
    assert!(errors.contains("none of these"), "{errors}");
    let errors = failed(&|sheet| sheet[2][ID].replace_range(12.., "0123456789abcdef"));
    assert!(errors.contains("faulty.csv:3:1: the run has no text with this id"), "{errors}");
    let errors = failed(&|sheet| sheet[2][ID].replace_range(3..11, "00c0ffee"));
    assert!(errors.contains("faulty.csv:3:1: the sheet is of another run"), "{errors}");
    let errors = failed(&|sheet| sheet[2][ID] = "7".to_owned());
    assert!(errors.contains("faulty.csv:3:1: the id is not one of a sheet"), "{errors}");
    let errors = failed(&|sheet| {
        let mut twin = sheet[1].clone();
        twin[LABEL] = CLASSES[1].to_owned();
        sheet.insert(2, twin);
    });
    let wanted = "faulty.csv:3:1: line 2 and line 3 disagree about this text: password_reset or hardware_fault";
    assert!(errors.contains(wanted), "{errors}");
    // All faults are told at once.
    let errors =
        failed(&|sheet| sheet[1..4].iter_mut().for_each(|row| row[LABEL] = "x".to_owned()));
    assert_eq!(errors.matches("is not a class").count(), 3, "{errors}");
    assert!(dir.fails(&["import-labels", "out", "nothing.csv"]).contains("no such file"));
}

/// What the tools made of the ids in the fixtures, with the ids of this run.
fn with_ids(dir: &TestDir, fixture: &str, ids: &[String]) -> String {
    let path = format!("{}/tests/data/sheets/{fixture}", env!("CARGO_MANIFEST_DIR"));
    let mut text = fs::read_to_string(path).unwrap();
    for (n, id) in ids.iter().enumerate() {
        text = text.replace(&format!("pm-00c0ffee-{n:016x}"), id);
    }
    dir.write(&format!("labelled-{fixture}"), &text);
    text
}

#[test]
fn exports_of_label_studio_and_argilla_are_taken_back() {
    let dir = TestDir::new();
    run(&dir, "");
    let sheet = cells(&dir.ok(&["export-labels", "out"]));
    let ids: Vec<String> = sheet[1..7].iter().map(|row| row[ID].clone()).collect();
    for fixture in ["label-studio.json", "label-studio.min.json", "argilla.json"] {
        let text = with_ids(&dir, fixture, &ids);
        let file = format!("labelled-{fixture}");
        // Its people know other classes, and two of them disagree.
        let errors = dir.fails(&["import-labels", "out", &file]);
        assert!(errors.contains("is not a class of the task"), "{fixture}: {errors}");
        let text = text.replace("R&D \\\"lab\\\" <x>", CLASSES[1]);
        dir.write(&file, &text);
        let errors = dir.fails(&["import-labels", "out", &file]);
        assert!(
            errors.contains("disagree about this text: password_reset or hardware_fault"),
            "{errors}"
        );
        assert!(errors.contains("annotator"), "{fixture}: {errors}");
    }
    for (to, names) in [("label-studio", ["s.json", "s.xml"]), ("argilla", ["s.json", "s.py"])] {
        let told = dir.ok(&["suggest", "out", "-n", "2", "--to", to, "--out", "s.json"]);
        assert_eq!(told.lines().collect::<Vec<_>>(), names);
        assert_eq!(json(&dir.path("s.json")).as_array().unwrap().len(), 2);
        let interface = fs::read_to_string(dir.path(names[1])).unwrap();
        assert!(interface.contains("\"hardware_fault\"") && interface.contains("none of these"));
    }
}

#[test]
fn a_run_without_what_suggestions_need_says_what_is_missing() {
    let dir = TestDir::new();
    let command = run(&dir, "");
    fs::remove_dir_all(dir.path("out/student")).unwrap();
    let errors = dir.fails(&["suggest", "out"]);
    assert!(errors.contains("out has no trained student"), "{errors}");
    assert!(errors.contains("promptmix train out"), "{errors}");
    again(&dir, &command);
    assert!(dir.fails(&["suggest", "out", "-n", "0"]).contains("0 is not in"));
    assert!(dir.fails(&["suggest", "task"]).contains("not a run folder"));
}

#[test]
fn an_older_sheet_takes_nothing_back_and_a_removed_text_may_return() {
    let dir = TestDir::new();
    run(&dir, "");
    dir.ok(&["export-labels", "out", "--out", "old.csv"]);
    let old = cells(&fs::read_to_string(dir.path("old.csv")).unwrap());
    let mut sheet = old.clone();
    sheet[1][LABEL] = "none of these".to_owned();
    sheet[2][TEXT] = "my own words about it".to_owned();
    save(&dir, "sheet.csv", &sheet);
    let import = |name: &str| -> Value {
        serde_json::from_str(&dir.ok(&["import-labels", "out", name, "--json"])).unwrap()
    };
    let counts = import("sheet.csv");
    assert_eq!((&counts["dropped"], &counts["texts"]), (&1.into(), &1.into()));
    let imported = fs::read(dir.path("out/train.jsonl")).unwrap();
    // The same sheet again, and the one that was written before it.
    for name in ["sheet.csv", "old.csv"] {
        assert_eq!(import(name)["unanswered"], value!(old.len() - 1), "{name}");
        assert!(fs::read(dir.path("out/train.jsonl")).unwrap() == imported, "{name}");
    }
    let mut sheet = old.clone();
    sheet[1][LABEL] = CLASSES[1].to_owned();
    save(&dir, "back.csv", &sheet);
    assert_eq!(import("back.csv")["added"], 1);
    let back = with_text(&rows(&dir.path("out/train.jsonl")), &old[1][TEXT]).expect("it is back");
    assert_eq!((&back["relabel"], &back["by"]), (&CLASSES[1].into(), &"person".into()));
    // Two people who correct one text differently.
    let mut twice = old[3].clone();
    sheet[3][TEXT] = "one wording of it".to_owned();
    twice[TEXT] = "another wording of it".to_owned();
    sheet.push(twice);
    save(&dir, "twice.csv", &sheet);
    let error = dir.fails(&["import-labels", "out", "twice.csv"]);
    assert!(error.contains("correct this text differently"), "{error}");
}

#[test]
fn no_other_file_is_taken_for_a_sheet_or_replaced_by_one() {
    let dir = TestDir::new();
    run(&dir, "");
    dir.write("other.csv", "a,b\n1,2\n");
    let error = dir.fails(&["import-labels", "out", "other.csv"]);
    assert!(error.contains("other.csv:1:1: no column `text`, so it is not a sheet"), "{error}");
    dir.write("sheet.py", "print('mine')\n");
    let error = dir.fails(&["export-labels", "out", "--to", "argilla", "--out", "sheet.json"]);
    assert!(error.contains("sheet.py would be overwritten"), "{error}");
    assert!(!dir.path("sheet.json").exists());
    for _ in 0..2 {
        dir.ok(&["export-labels", "out", "--to", "argilla", "--out", "other.json"]);
    }
    assert_eq!(fs::read_to_string(dir.path("sheet.py")).unwrap(), "print('mine')\n");
}

#[cfg(unix)]
#[test]
fn real_and_suggested_texts_are_decided_on_the_review_page() {
    use crate::review::server::Server;
    let dir = TestDir::new();
    let toml = unlabelled(&dir);
    let command = run(&dir, toml);
    let mut server = Server::launch(dir.program(&["review", "out", "--suggest", "9"]));
    server.enter();
    let (_, answer) = server.post("/api/lists", &value!({}));
    let lists = answer["lists"].as_array().unwrap();
    let of = |name: &str| lists.iter().find(|it| it["list"] == name).expect("a list").clone();
    let real = server.rows("real");
    assert_eq!((real.len(), &of("real")["left"]), (1, &value!(1)));
    assert_eq!((&real[0]["asked"], &real[0]["stage"]), (&Value::Null, &"label".into()));
    let suggested = server.rows("suggested");
    assert_eq!((suggested.len(), &of("suggested")["left"]), (UNLABELLED.len() - 1, &value!(5)));
    for row in &suggested {
        assert_eq!((&row["decided"], &row["dropped"]), (&value!(false), &value!(false)), "{row}");
        assert!(
            row["why"].as_str().unwrap().contains("sure")
                || row["why"] == "teacher and student disagree"
        );
        assert!(CLASSES.contains(&row["label"].as_str().unwrap()), "{row}");
    }
    let new: Vec<Value> =
        suggested.into_iter().filter(|row| row["file"] == "suggested.jsonl").collect();
    assert_eq!(new.len(), 4, "one is in the run, with the teacher's label");
    let other = CLASSES[usize::from(new[1]["label"] == CLASSES[0])];
    for (row, action) in [
        (&new[0], value!("keep")),
        (&new[1], value!({"label": other})),
        (&new[2], value!("drop")),
        (&new[3], value!("keep")),
    ] {
        let (status, answer) = server.decide(row, &action);
        assert_eq!((status, &answer["row"]["decided"]), (200, &value!(true)), "{answer}");
        assert_eq!(answer["row"]["dropped"], action == "drop", "{answer}");
        if row == &new[3] {
            let (status, answer) = server.decide(&answer["row"], &value!("undo"));
            assert_eq!((status, &answer["row"]["decided"]), (200, &value!(false)), "{answer}");
        }
    }
    let printed = server.finish();
    assert!(printed.contains("2 rows added in review in train.jsonl"), "{printed}");
    let check = |when: &str| {
        let train = rows(&dir.path("out/train.jsonl"));
        let of = |row: &Value| with_text(&train, row["text"].as_str().unwrap());
        for (row, label) in [(&new[0], new[0]["label"].as_str().unwrap()), (&new[1], other)] {
            let found = of(row).unwrap_or_else(|| panic!("{when}: no {row}"));
            assert_eq!((&found["relabel"], &found["major"]), (&label.into(), &label.into()));
            assert_eq!(found["by"], "person", "{when}");
        }
        assert_eq!((of(&new[2]), of(&new[3])), (None, None), "{when}");
        dir.ok(&["audit", "out", "--no-nearest"]);
    };
    check("after the review");
    again(&dir, &command);
    check("after another run");
    // The next review knows them; what was dropped can be taken back.
    let mut server = Server::start(&dir);
    let then = server.rows("suggested");
    let decided: Vec<&Value> = then.iter().filter(|row| row["decided"] == true).collect();
    assert_eq!((then.len(), decided.len()), (5, 3), "{then:#?}");
    let dropped = then.iter().find(|row| row["text"] == new[2]["text"]).unwrap();
    assert_eq!(server.decide(dropped, &value!("undo")).0, 200);
    let row = server_row(&mut server, &new[2]);
    let (status, answer) = server.decide(&row, &value!({"label": other}));
    assert_eq!(status, 200, "{answer}");
    server.finish();
    let train = rows(&dir.path("out/train.jsonl"));
    assert_eq!(with_text(&train, new[2]["text"].as_str().unwrap()).unwrap()["relabel"], other);
}

/// The row of the page with the text of `row`, as it is now.
#[cfg(unix)]
fn server_row(server: &mut crate::review::server::Server, row: &Value) -> Value {
    let rows = server.rows("suggested");
    rows.into_iter().find(|it| it["text"] == row["text"]).expect("a row")
}

#[test]
fn a_sheet_names_the_class_that_an_imported_text_was_asked_for() {
    let dir = TestDir::new();
    let task = dir.task("");
    let line = |text: &str, major: &str, relabel: &str| {
        value!({"text": text, "major": major, "relabel": relabel, "p": 0.7}).to_string() + "\n"
    };
    let lines = [
        line("my password is wrong", CLASSES[0], CLASSES[0]),
        line("the screen flickers", CLASSES[0], CLASSES[1]),
    ];
    dir.write("texts.jsonl", lines.concat());
    let import = ["import", task.to_str().unwrap(), "texts.jsonl", "--out", "out"];
    dir.ok(&[&import[..], &["--student", STUDENT]].concat());
    dir.ok(&["filter", "out"]);
    let asked = |text: &str| -> String {
        let sheet = cells(&dir.ok(&["export-labels", "out"]));
        let column = sheet[0].iter().position(|name| name == "asked").unwrap();
        sheet.iter().find(|row| row[TEXT] == text).expect("a row")[column].clone()
    };
    assert_eq!(asked("the screen flickers"), CLASSES[0]);
    // A person's label does not change what was asked for, and nobody asked for a text of theirs.
    let path = dir.path("out/train.jsonl");
    let text = fs::read_to_string(&path).unwrap().replace("\"p\":0.7", "\"p\":0.9");
    let mine = value!({"text": "my own text", "major": CLASSES[1]}).to_string();
    fs::write(&path, format!("{text}{mine}\n")).unwrap();
    assert_eq!(asked("the screen flickers"), CLASSES[0]);
    assert_eq!(asked("my own text"), "");
}
