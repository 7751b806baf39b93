//! A task that grew: unfinished work, edits by hand, single stages, comparisons and imports.

use std::fs;

use serde_json::Value;

use crate::{
    grow::{Growing, HARDWARE, PASSWORD, SEEDS, VPN, calls, number, string},
    support::{TINY, count, json},
};

#[test]
fn replies_of_an_unfinished_generation_are_not_lost() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    // Long enough that the lengths of texts and replies follow the examples.
    let long = |text: &str| -> &'static str { Box::leak(format!("{text}. ").repeat(20).into()) };
    task.seeds[0].0 = long("I forgot my password");
    task.seeds[2].0 = long("my keyboard is dead");
    task.write();
    let command = [&["run", "task", "--out", "out", "--deterministic"], &TINY[..]].concat();
    let ledger = task.dir.path("out/ledger.jsonl");
    task.dir.killed_after(&command, &ledger, "reply", 2);
    let replies = count(&ledger, "reply");
    task.classes.push(VPN);
    task.seeds.extend(SEEDS[4..].iter().copied());
    let (said, _) = task.run();
    let kept = said.split("kept: ").nth(1).and_then(|rest| rest.split(' ').next());
    let kept: usize = kept.expect("texts are kept").parse().unwrap();
    assert!(kept >= 4 && kept <= 3 * replies, "{said}");
    assert_eq!(task.rows("augmented.jsonl").len(), 12);

    // Nor are those of a file that was removed, to have it written anew.
    let texts = task.texts();
    fs::remove_file(task.dir.path("out/augmented.jsonl")).unwrap();
    task.classes.pop();
    task.seeds.truncate(4);
    let (_, new) = task.run();
    assert!(task.texts().is_subset(&texts));
    assert_eq!(calls(&new).0, 0);
}

#[test]
fn an_edit_of_a_file_with_former_names_stands_under_the_new_ones() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    task.run();
    task.classes[1].0 = "broken_device";
    task.command(&["generate", "task", "--out", "out", "--deterministic"], &TINY);
    // This file still has the name that the class had.
    let path = task.dir.path("out/relabelled.jsonl");
    let mut rows = task.rows("relabelled.jsonl");
    let row = rows.iter_mut().find(|row| row["relabel"] == "hardware_fault").unwrap();
    row["text"] = "the fan of my laptop is loud".into();
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    fs::write(path, lines.join("\n")).unwrap();
    let (said, _) = task.run();
    assert!(said.contains("1 text changed by hand in relabelled.jsonl"), "{said}");
    let row = task.rows("relabelled.jsonl");
    let row = row.iter().find(|row| row["text"] == "the fan of my laptop is loud").unwrap();
    assert_eq!(row["relabel"], "broken_device");
}

#[test]
fn single_stages_refuse_what_is_of_the_former_task() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    task.run();
    task.classes[0].1 = "anything about passwords";
    task.command(&["generate", "task", "--out", "out", "--deterministic"], &TINY);
    for (stage, needs) in [("filter", "relabel"), ("train", "filter"), ("eval", "train")] {
        let errors = task.dir.fails(&[stage, "out"]);
        assert!(errors.contains("the task has changed since it was written"), "{errors}");
        assert!(errors.contains(&format!("run the stage `{needs}` first")), "{errors}");
    }
    for stage in ["relabel", "filter", "train", "eval"] {
        task.dir.ok(&[stage, "out"]);
    }
}

#[test]
fn a_task_without_a_common_class_is_another_one() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    task.run();
    let before = task.files();
    task.classes = vec![("spam", "unwanted mail"), ("ham", "wanted mail")];
    task.seeds = vec![("win a prize", 0), ("lunch at noon?", 1)];
    task.test.clear();
    task.test.push(("cheap watches", 0));
    task.write();
    let errors = task.dir.fails(&[&["run", "task", "--out", "out"], &TINY[..]].concat());
    assert!(errors.contains("none of its classes is left"), "{errors}");
    assert!(errors.contains("formerly"), "{errors}");
    assert!(task.dir.fails(&["plan", "out"]).contains("none of its classes is left"));
    assert!(before == task.files(), "a refused task changes nothing");

    // A folder that is gone is named, and what helps.
    fs::rename(task.dir.path("task"), task.dir.path("moved")).unwrap();
    let errors = task.dir.fails(&["plan", "out"]);
    assert!(
        errors.contains("there is no task.toml in") && errors.contains("--out out"),
        "{errors}"
    );
}

#[test]
fn a_comparison_takes_up_another_test_set() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    let command = ["compare", "task", "--out", "out", "--rows", "seeds,A2"];
    task.command(&command, &TINY);
    task.test.push(("which password do I use here", 0));
    let (said, new) = task.command(&command, &TINY);
    assert!(said.contains("task changed: 1 test text added"), "{said}");
    assert!(
        said.contains("kept: all calls whose prompts are the same; redone: the students"),
        "{said}"
    );
    assert_eq!((calls(&new), number(&new, "student", "")), ((0, 0, 0), 2));
    assert_eq!(json(&task.dir.path("out/compare.json"))["test_rows"], 5);
}

#[test]
fn imported_texts_follow_the_names_of_their_classes() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE, VPN]);
    let row = |text: &str, major: &str, relabel: &str| {
        format!("{}\n", serde_json::json!({"text": text, "major": major, "relabel": relabel}))
    };
    let texts = [
        row("cannot log in", "password_reset", "password_reset"),
        row("the fan is loud", "hardware_fault", "hardware_fault"),
        row("my laptop does not find the gateway", "hardware_fault", "vpn_access"),
        row("remote desktop is slow", "vpn_access", "vpn_access"),
    ];
    task.dir.write("texts.jsonl", texts.concat());
    let command = ["import", "task", "texts.jsonl", "--out", "out"];
    task.command(&command, &TINY);
    task.classes.pop();
    task.classes[1].0 = "broken_device";
    task.seeds.truncate(4);
    let (said, _) = task.command(&command, &TINY);
    assert!(
        said.contains("class `vpn_access` removed, class `hardware_fault` renamed to"),
        "{said}"
    );
    assert!(
        said.contains("kept: 3 texts of 2 classes; set aside: 1 text of `vpn_access`"),
        "{said}"
    );
    assert!(said.contains("1 row of classes removed from the task is skipped"), "{said}");
    let majors: Vec<String> =
        task.rows("augmented.jsonl").iter().map(|row| string(&row["major"])).collect();
    assert_eq!(majors, ["password_reset", "broken_device", "broken_device"]);
    assert_eq!(task.rows("set-aside.jsonl")[0]["text"], "remote desktop is slow");
    // Any other name is still an error.
    task.dir.write("texts.jsonl", row("x", "weather", "weather"));
    assert!(task.dir.fails(&[&command[..], &TINY].concat()).contains("texts.jsonl:1"));
}

#[test]
fn edits_by_hand_stand_when_the_task_changes() {
    let mut task = Growing::new(&[PASSWORD, HARDWARE]);
    task.run();
    let mut lines = task.rows("augmented.jsonl");
    let place = |lines: &[Value], name: &str| {
        lines.iter().position(|row| row["major"] == name).expect("a row of the class")
    };
    let removed = lines.remove(place(&lines, "password_reset"));
    let edited = place(&lines, "hardware_fault");
    lines[edited]["text"] = "the dock no longer charges my laptop".into();
    let text: String = lines.iter().map(|row| format!("{row}\n")).collect();
    task.dir.write("out/augmented.jsonl", text);

    task.classes[1].0 = "broken_device";
    task.classes.push(VPN);
    task.seeds = SEEDS.to_vec();
    let (said, new) = task.run();
    assert!(said.contains("by hand in augmented.jsonl"), "{said}");
    assert!(
        said.contains("kept: 7 texts of 2 classes; redone: all labels; new: 4 texts"),
        "{said}"
    );
    // What a person removed is not written anew.
    assert_eq!((calls(&new).0, calls(&new).1), (2, 11));
    let check = || {
        let rows = task.rows("augmented.jsonl");
        assert_eq!(rows.len(), 11);
        assert!(!task.texts().contains(removed["text"].as_str().unwrap()));
        let mine = rows.iter().find(|row| row["text"] == "the dock no longer charges my laptop");
        let mine = mine.expect("the edited text");
        assert_eq!((&mine["major"], &mine["by"]), (&"broken_device".into(), &"person".into()));
    };
    check();
    let (_, new) = task.run();
    assert_eq!(calls(&new), (0, 0, 0));
    check();
    task.dir.ok(&["audit", "out"]);
}
