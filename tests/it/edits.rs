//! Edits of a run folder by hand: told, recorded, kept by every stage and every rerun, accepted by
//! the audit.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json as value};

use crate::support::{FIRST_HEAD, ONE_EPOCH, STUDENT, TestDir, json, json_lines, rows};

const QUICK: [&str; 4] = ["--student", STUDENT, "--set", "augment.per_class=12"];
const FILES: [&str; 3] = ["augmented.jsonl", "relabelled.jsonl", "train.jsonl"];
const CLASSES: [&str; 2] = ["password_reset", "hardware_fault"];

fn other(label: &Value) -> Value {
    CLASSES[usize::from(label == CLASSES[0])].into()
}

fn with_id(rows: &[Value], id: &Value) -> Option<Value> {
    rows.iter().find(|row| row["id"] == *id).cloned()
}

fn save(path: &Path, rows: &[Value]) {
    fs::write(path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

/// Changes the rows of `file` with an editor.
fn edit(dir: &TestDir, file: &str, change: impl FnOnce(&mut Vec<Value>)) {
    let path = dir.path("out").join(file);
    let mut found = rows(&path);
    change(&mut found);
    save(&path, &found);
}

/// Of the rows with these ids: gives the first another text, the second another label, and removes
/// the third.
fn edit_three(dir: &TestDir, file: &str, ids: &[Value]) {
    edit(dir, file, |rows| {
        let at = |id: &Value| rows.iter().position(|row| row["id"] == *id).unwrap();
        let (text, label, gone) = (at(&ids[0]), at(&ids[1]), at(&ids[2]));
        rows[text]["text"] = format!("own words in {file}").into();
        let key = if file == FILES[0] { "major" } else { "relabel" };
        rows[label][key] = other(&rows[label][key]);
        rows.remove(gone);
    });
}

/// Runs the program, which must succeed; its stdout and stderr.
fn told(dir: &TestDir, args: &[&str]) -> String {
    let output = dir.run(args);
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {printed}");
    printed
}

fn edit_entries(dir: &TestDir) -> Vec<Value> {
    let mut entries = rows(&dir.path("out/ledger.jsonl"));
    entries.retain(|entry| entry["kind"] == "edit");
    entries
}

/// The three files, by name.
fn files(dir: &TestDir) -> BTreeMap<&'static str, Vec<Value>> {
    FILES.iter().map(|name| (*name, rows(&dir.path("out").join(name)))).collect()
}

#[test]
fn edits_in_each_file_are_told_recorded_and_kept_by_every_stage_and_rerun() {
    let dir = TestDir::new();
    let task = dir.task("");
    let command =
        [&["run", task.to_str().unwrap(), "--out", "out"], &QUICK[..], &ONE_EPOCH].concat();
    dir.ok(&command);
    let written = files(&dir);
    let ids: Vec<Value> = written[FILES[2]].iter().map(|row| row["id"].clone()).collect();
    assert!(ids.len() >= 9, "too few texts are kept for this test: {}", ids.len());
    for (file, ids) in FILES.iter().zip(ids.chunks(3)) {
        edit_three(&dir, file, ids);
    }
    let printed = told(&dir, &command);
    for file in FILES {
        let line = format!("1 label, 1 text, 1 row removed by hand in {file}");
        assert!(printed.contains(&line), "{printed}");
    }
    check_kept(&dir, &written, &ids);

    let entries = edit_entries(&dir);
    assert_eq!(entries.iter().map(|entry| &entry["file"]).collect::<Vec<_>>(), FILES);
    let change = &entries[1]["changes"][1];
    assert_eq!(change["row"], ids[4]);
    let was = with_id(&written[FILES[1]], &ids[4]).unwrap()["relabel"].clone();
    assert_eq!((&change["before"]["relabel"], &change["after"]["relabel"]), (&was, &other(&was)));
    assert!(!entries[0]["by"].as_str().unwrap().is_empty());
    assert!(entries[0]["at"].as_str().unwrap().ends_with(" UTC"), "{}", entries[0]);
    let audited = told(&dir, &["audit", "out", "--no-nearest"]);
    assert!(audited.contains("9 edits by hand, recorded") && !audited.contains("CHANGED"));
    let listed: Value = serde_json::from_str(&dir.ok(&["edits", "out", "--json"])).unwrap();
    let batches = listed["edits"].as_array().unwrap();
    assert!(batches.len() == 3 && batches.iter().all(|batch| batch["recorded"] == true));
    let report = json(&dir.path("out/report.json"));
    let wanted = value!({"rows": 9, "labels": 3, "texts": 3, "added": 0, "removed": 3});
    assert_eq!(report["by_hand"], wanted);
    assert_eq!(report["funnel"]["dropped"]["removed by hand"], 3);
    assert!(fs::read_to_string(dir.path("out/report.html")).unwrap().contains("Edited by hand"));

    // Once more: nothing is told, recorded or changed again.
    let before = (files(&dir), fs::read(dir.path("out/ledger.jsonl")).unwrap());
    assert!(!told(&dir, &command).contains("by hand"));
    assert_eq!((files(&dir), fs::read(dir.path("out/ledger.jsonl")).unwrap()), before);

    // With settings under which the teacher's rows are other ones, or none are left.
    let strict = [&command[..], &["--set", "filter.min_probability=0.9999"]].concat();
    dir.ok(&strict);
    check_kept(&dir, &written, &ids);
    dir.ok(&[&command[..], &["--seed", "5"]].concat());
    check_kept(&dir, &written, &ids);
    told(&dir, &["audit", "out", "--no-nearest"]);
}

/// Checks that the edits of [`edit_three`] in each file stand there and in the later ones. Rows are
/// found by their texts: ids may have shifted.
fn check_kept(dir: &TestDir, written: &BTreeMap<&'static str, Vec<Value>>, ids: &[Value]) {
    let now = files(dir);
    let dropped = rows(&dir.path("out/dropped.jsonl"));
    for ((number, file), ids) in FILES.iter().enumerate().zip(ids.chunks(3)) {
        let was = |id: &Value| with_id(&written[file], id).unwrap();
        let (label, gone) = (was(&ids[1]), was(&ids[2]));
        for later in &FILES[number..] {
            let find = |text: &Value| now[later].iter().find(|row| row["text"] == *text);
            let text = find(&format!("own words in {file}").into()).expect("the text is kept");
            assert_eq!(text["by"], "person", "{later}: {text}");
            let row = find(&label["text"]).expect("the row is kept");
            assert_eq!(row["by"], "person", "{later}: {row}");
            if number == 0 {
                assert_eq!(row["major"], other(&label["major"]), "{later}: {row}");
            }
            if *later != FILES[0] {
                let of = if number == 0 { "major" } else { "relabel" };
                assert_eq!((&row["relabel"], &row["p"]), (&other(&label[of]), &value!(1.0)));
            }
            if number > 0 {
                let before = &was(&ids[0])["relabel"];
                assert_eq!(text["relabel"], *before, "the label stands as it was left");
            }
            assert_eq!(find(&gone["text"]), None, "{later}: removed from {file}");
        }
        assert!(dropped.iter().all(|row| row["text"] != gone["text"]));
    }
}

/// Imports texts with labels and filters them.
fn imported(dir: &TestDir) {
    let task = dir.task("");
    let line = |n: usize| {
        let (label, noun) = [("password_reset", "password"), ("hardware_fault", "printer")][n % 2];
        let words = ["red", "blue", "green", "old", "new", "tall"][n / 2];
        let p = if n == 0 { 0.4 } else { 0.9 };
        let text = format!("{words} {noun} {words} {n} {words} {n}{n} please");
        value!({"text": text, "major": label, "relabel": label, "p": p}).to_string() + "\n"
    };
    let copy = value!({"text": "my keyboard is dead", "major": CLASSES[1], "relabel": CLASSES[1]});
    let lines: String = (0..12).map(line).chain([format!("{copy}\n")]).collect();
    dir.write("texts.jsonl", lines);
    let command = ["import", task.to_str().unwrap(), "texts.jsonl", "--out", "out"];
    dir.ok(&[&command[..], &QUICK[..], &ONE_EPOCH].concat());
    dir.ok(&["filter", "out"]);
    assert_eq!(rows(&dir.path("out/train.jsonl")).len(), 12);
    assert_eq!(rows(&dir.path("out/dropped.jsonl")).len(), 1, "a copy of a seed");
}

#[test]
fn the_audit_reports_what_is_not_recorded_and_other_changes_beside_recorded_ones() {
    let dir = TestDir::new();
    imported(&dir);
    let audit = || {
        let output = dir.run(&["audit", "out", "--no-nearest"]);
        let printed = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
    };
    edit(&dir, "relabelled.jsonl", |rows| rows[1]["relabel"] = CLASSES[0].into());
    let (code, printed) = audit();
    assert_eq!(code, Some(1));
    assert!(printed.contains("relabelled.jsonl was CHANGED"), "{printed}");
    assert!(printed.contains("the next command records the edit"), "{printed}");
    let before = fs::read(dir.path("out/ledger.jsonl")).unwrap();
    let listed = dir.ok(&["edits", "out"]);
    assert!(listed.contains("relabelled.jsonl: not recorded yet"), "{listed}");
    assert!(listed.contains("row 1  label hardware_fault → password_reset"), "{listed}");
    assert_eq!(fs::read(dir.path("out/ledger.jsonl")).unwrap(), before, "nothing is written");

    assert!(told(&dir, &["filter", "out"]).contains("1 label changed by hand in relabelled.jsonl"));
    assert_eq!(audit().0, Some(0));
    assert!(dir.ok(&["edits", "out"]).contains("1 edit by hand, recorded\n"));

    // Another file, and the same file after the edit was recorded.
    for file in ["dropped.jsonl", "settings.toml", "relabelled.jsonl"] {
        let path = dir.path("out").join(file);
        let sound = fs::read(&path).unwrap();
        fs::write(&path, [&sound[..], b"\n"].concat()).unwrap();
        let (code, printed) = audit();
        assert!(code == Some(1) && printed.contains(&format!("{file} was CHANGED")), "{printed}");
        fs::write(&path, sound).unwrap();
    }
    // The record of the edit itself.
    let ledger = dir.path("out/ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    let by = edit_entries(&dir)[0]["by"].as_str().unwrap().to_owned();
    let forged = text.replacen(&format!("\"by\":\"{by}\""), "\"by\":\"somebody\"", 1);
    assert_ne!(forged, text);
    fs::write(&ledger, forged).unwrap();
    assert!(audit().1.contains("BROKEN"));
}

#[test]
fn what_cannot_be_read_is_named_with_its_line_and_changes_nothing() {
    let dir = TestDir::new();
    imported(&dir);
    let path = dir.path("out/train.jsonl");
    let sound = fs::read_to_string(&path).unwrap();
    let ledger = fs::read(dir.path("out/ledger.jsonl")).unwrap();
    let second = sound.lines().nth(1).unwrap();
    for (line, wanted) in [
        ("{\"id\": 1, \"text\": \"cut o", "train.jsonl:2: "),
        (
            &second.replace("\"relabel\":\"hardware_fault\"", "\"relabel\":\"hardware_falt\""),
            "hint: did you mean \"hardware_fault\"?",
        ),
        (sound.lines().next().unwrap(), "train.jsonl:2: the id 0 is that of line 1, too"),
    ] {
        let edited = sound.replacen(second, line, 1);
        fs::write(&path, &edited).unwrap();
        for command in ["filter", "train"] {
            let errors = dir.fails(&[command, "out"]);
            assert!(errors.contains(wanted) && errors.contains("train.jsonl:2: "), "{errors}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), edited);
        assert_eq!(fs::read(dir.path("out/ledger.jsonl")).unwrap(), ledger);
    }
    // Another form of the same rows is no edit.
    let rows = json_lines(&sound);
    let spaced = rows.iter().rev().map(|row| format!("{row:#}").replace('\n', " ") + "\r\n");
    fs::write(&path, "\u{feff}".to_owned() + &spaced.collect::<String>()).unwrap();
    assert!(!told(&dir, &["filter", "out"]).contains("by hand"));
    assert_eq!(fs::read_to_string(&path).unwrap(), sound);
    assert!(edit_entries(&dir).is_empty());
}

#[test]
fn an_edit_that_is_taken_back_restores_the_row() {
    let dir = TestDir::new();
    imported(&dir);
    let before = files(&dir);
    let label = |to: usize| {
        edit(&dir, "relabelled.jsonl", |rows| rows[0]["relabel"] = CLASSES[to].into());
        told(&dir, &["filter", "out"])
    };
    assert!(label(1).contains("1 label changed by hand"));
    assert_eq!(rows(&dir.path("out/train.jsonl"))[0]["p"], 1.0);
    assert!(label(0).contains("1 label changed by hand"));
    assert_eq!(files(&dir), before, "with the teacher's probability");
    assert_eq!(edit_entries(&dir).len(), 2);
    told(&dir, &["audit", "out", "--no-nearest"]);
    // So does a removed row that is put back.
    let row = before["relabelled.jsonl"][3].clone();
    edit(&dir, "relabelled.jsonl", |rows| drop(rows.remove(3)));
    dir.ok(&["filter", "out"]);
    assert_eq!(files(&dir)["train.jsonl"].len(), 11);
    edit(&dir, "relabelled.jsonl", |rows| rows.push(row));
    dir.ok(&["filter", "out"]);
    assert_eq!(files(&dir)["train.jsonl"].len(), 12);
}

#[test]
fn added_rows_are_kept_and_those_moved_from_dropped_too_but_never_test_texts() {
    let dir = TestDir::new();
    imported(&dir);
    edit(&dir, "augmented.jsonl", |rows| {
        rows.push(value!({"text": "my own text about a mouse", "major": CLASSES[1]}));
    });
    let moved = rows(&dir.path("out/dropped.jsonl")).remove(0);
    fs::write(dir.path("out/dropped.jsonl"), "").unwrap();
    edit(&dir, "train.jsonl", |rows| {
        rows.push(moved.clone());
        rows.push(value!({"text": "The printer is broken!", "relabel": CLASSES[1]}));
    });
    let printed = told(&dir, &["relabel", "out"]);
    assert!(printed.contains("1 row added by hand in augmented.jsonl"), "{printed}");
    assert!(printed.contains("2 rows added by hand in train.jsonl"), "{printed}");
    told(&dir, &["audit", "out", "--no-nearest"]);
    assert_eq!(rows(&dir.path("out/relabelled.jsonl")).len(), 14);
    let asked = fs::read_to_string(dir.path("out/ledger.jsonl")).unwrap();
    assert!(!asked.contains("\"kind\":\"scores\""), "all labels are given");

    let printed = told(&dir, &["filter", "out"]);
    let dropped = "dropped 1 row edited by hand: is in the test set (1)";
    assert!(printed.contains(dropped), "{printed}");
    let train = rows(&dir.path("out/train.jsonl"));
    let texts: Vec<&str> = train.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert!(texts.contains(&"my own text about a mouse"), "{texts:?}");
    assert!(texts.contains(&moved["text"].as_str().unwrap()), "{texts:?}");
    assert!(!texts.contains(&"The printer is broken!"), "{texts:?}");
    let mut ids: Vec<u64> = train.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), train.len(), "each row has an id of its own");
    assert!(told(&dir, &["train", "out"]).contains("students trained"));
}

#[test]
fn a_row_moved_from_dropped_is_in_one_file_wherever_the_program_is_killed() {
    let dir = TestDir::new();
    imported(&dir);
    let moved = rows(&dir.path("out/dropped.jsonl")).remove(0);
    edit(&dir, "train.jsonl", |rows| rows.push(moved.clone()));
    let read = |file: &str| fs::read(dir.path("out").join(file)).unwrap();
    let (train, dropped) = (read("train.jsonl"), read("dropped.jsonl"));
    let written: Vec<_> = fs::read_dir(dir.path("out/written"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    dir.ok(&["train", "out"]);
    let after = (read("train.jsonl"), read("dropped.jsonl"));
    assert!(after.1.is_empty());
    // As after a kill behind the entry in the ledger.
    let ledger = fs::read_to_string(dir.path("out/ledger.jsonl")).unwrap();
    let edit = ledger.lines().position(|line| line.contains("\"kind\":\"edit\"")).unwrap();
    let lines: Vec<&str> = ledger.lines().take(edit + 1).collect();
    dir.write("out/ledger.jsonl", lines.join("\n") + "\n");
    dir.write("out/ledger.head", FIRST_HEAD);
    fs::remove_dir_all(dir.path("out/written")).unwrap();
    for (path, bytes) in &written {
        dir.write(path.to_str().unwrap(), bytes);
    }
    fs::write(dir.path("out/train.jsonl"), train).unwrap();
    fs::write(dir.path("out/dropped.jsonl"), dropped).unwrap();
    assert!(!told(&dir, &["train", "out"]).contains("by hand"));
    assert_eq!((read("train.jsonl"), read("dropped.jsonl")), after);
    told(&dir, &["audit", "out", "--no-nearest"]);
}

#[test]
fn an_edit_is_recorded_once_wherever_the_program_is_killed() {
    let dir = TestDir::new();
    imported(&dir);
    let relabelled = dir.path("out/relabelled.jsonl");
    let copies = || -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(dir.path("out/written")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(&path).unwrap()))
            .collect()
    };
    edit(&dir, "relabelled.jsonl", |rows| {
        rows[2]["relabel"] = CLASSES[1].into();
        rows.remove(5);
    });
    let (edited, before) = (fs::read(&relabelled).unwrap(), copies());
    dir.ok(&["train", "out"]);
    let (recorded, after) = (fs::read(&relabelled).unwrap(), copies());
    let entries = edit_entries(&dir);
    assert_eq!(entries.len(), 1);
    // As after a kill behind the ledger, and as after one behind the new copy.
    for copies in [&before, &[&before[..], &after[..]].concat()] {
        fs::remove_dir_all(dir.path("out/written")).unwrap();
        for (path, bytes) in copies {
            dir.write(path.to_str().unwrap(), bytes);
        }
        fs::write(&relabelled, &edited).unwrap();
        assert!(!told(&dir, &["train", "out"]).contains("by hand"));
        assert_eq!(fs::read(&relabelled).unwrap(), recorded);
        assert_eq!(edit_entries(&dir), entries);
    }
    // Another edit comes before the program is started again: it alone is recorded.
    fs::remove_dir_all(dir.path("out/written")).unwrap();
    for (path, bytes) in &before {
        dir.write(path.to_str().unwrap(), bytes);
    }
    fs::write(&relabelled, &edited).unwrap();
    edit(&dir, "relabelled.jsonl", |rows| rows[8]["relabel"] = CLASSES[0].into());
    assert!(told(&dir, &["train", "out"]).contains("1 label changed by hand in relabelled.jsonl"));
    assert_eq!(edit_entries(&dir)[1]["changes"].as_array().unwrap().len(), 1);
    // A folder of an earlier version has no copies; what was written follows from its other files.
    let dir = TestDir::new();
    imported(&dir);
    for (file, row) in [("relabelled.jsonl", 4), ("train.jsonl", 6)] {
        fs::remove_dir_all(dir.path("out/written")).unwrap();
        edit(&dir, file, |rows| rows[row]["relabel"] = CLASSES[1].into());
        let printed = told(&dir, &["filter", "out"]);
        assert!(printed.contains(&format!("1 label changed by hand in {file}")), "{printed}");
    }
    // If it does not, all rows count as edited.
    fs::remove_dir_all(dir.path("out/written")).unwrap();
    for file in ["relabelled.jsonl", "train.jsonl"] {
        edit(&dir, file, |rows| drop(rows.remove(0)));
    }
    let printed = told(&dir, &["train", "out"]);
    assert!(printed.contains("relabelled.jsonl has no copy to compare with"), "{printed}");
    assert!(!told(&dir, &["train", "out"]).contains("by hand"));
}
