//! What everybody meets in the first days: logs of long runs, models that nobody named, settings of
//! single stages, and what the last lines of a run say.

use std::fs;

use crate::support::{SMALL, STUDENT, TINY, TestDir, check_failure, json};

/// What a command printed to stderr; it must succeed.
fn stderr(dir: &TestDir, args: &[&str]) -> String {
    let output = dir.run(args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {errors}");
    errors
}

/// A task without models, with so many classes and `seeds` examples of each.
fn bare_task(dir: &TestDir, classes: usize, seeds: usize, toml: &str) {
    let nouns = ["printer", "password", "invoice", "train", "garden", "window", "cheese", "tax"];
    let text = |class: usize, n: usize| format!("the {} number {n} of {class}", nouns[class % 8]);
    let row = |class: usize, n: usize| {
        format!("{{\"text\": \"{}\", \"label\": \"class {class}\"}}\n", text(class, n))
    };
    let rows = |from: usize, count: usize| -> String {
        (0..classes)
            .flat_map(|class| (from..from + count).map(move |n| (class, n)))
            .map(|(c, n)| row(c, n))
            .collect()
    };
    let mut data = "test = \"test.jsonl\"\n".to_owned();
    dir.write("task/test.jsonl", rows(50, 1));
    if seeds > 0 {
        dir.write("task/seeds.jsonl", rows(0, seeds));
        data += "seeds = \"seeds.jsonl\"\n";
    }
    let declared: String =
        (0..classes).map(|class| format!("[[class]]\nname = \"class {class}\"\n")).collect();
    dir.write("task/task.toml", format!("{declared}[data]\n{data}{toml}"));
}

#[test]
fn a_log_says_when_a_stage_starts_and_is_short() {
    let dir = TestDir::new();
    let errors = stderr(&dir, &[&["demo", "--out", "out"], &TINY[..]].concat());
    let at =
        |part: &str| errors.find(part).unwrap_or_else(|| panic!("{part:?} is missing: {errors}"));
    let parts = [
        " generate  started, ",
        " generate  24 new texts",
        "  relabel  started, 24 to do",
        "   filter  started, ",
        "    train  started, 4 to do",
        "    train  4 students trained",
        "     test  started, 336 to do",
        "     test  336 test tickets",
    ];
    assert!(parts.map(at).is_sorted(), "{errors}");
    // Two lines for each of the five stages, the greeting, warnings and where the results are.
    assert!(errors.lines().count() < 25, "{errors}");
    assert!(!errors.contains('\u{1b}') && !errors.contains('\r'), "{errors:?}");
    let resumed = stderr(&dir, &[&["demo", "--out", "out"], &TINY[..]].concat());
    assert!(resumed.contains("  relabel  started, 0 to do, 24 resumed"), "{resumed}");
    let quiet = stderr(&dir, &[&["-q", "demo", "--out", "out"], &TINY[..]].concat());
    assert!(!quiet.contains("started"), "{quiet}");
}

#[test]
fn any_task_but_the_demo_names_its_teacher() {
    let dir = TestDir::new();
    bare_task(&dir, 2, 2, "");
    let commands: [&[&str]; 4] = [
        &["run", "task", "--out", "out"],
        &["generate", "task", "--out", "out"],
        &["plan", "task"],
        &["compare", "task", "--out", "out"],
    ];
    for command in commands {
        let errors = dir.fails(&[command, &["--student", STUDENT]].concat());
        assert!(errors.starts_with("error: no teacher is named\n"), "{command:?}: {errors}");
        let parts =
            ["--teacher", "teacher.model", "promptmix models list", "models pull", "pocket"];
        for part in parts {
            assert!(errors.contains(part), "{command:?}: {part} is missing: {errors}");
        }
        assert!(!dir.path("out").exists(), "{command:?} began a folder");
    }
    // Imported texts need none until one is to label them.
    dir.write("texts.jsonl", "{\"text\": \"an old train\", \"major\": \"class 0\"}\n");
    dir.ok(&["import", "task", "texts.jsonl", "--out", "imported", "--student", STUDENT]);
    let errors = dir.fails(&["relabel", "imported"]);
    assert!(errors.contains("no teacher is named") && errors.contains("--set teacher.model="));
    dir.ok(&["relabel", "imported", "--set", "teacher.model=pocket"]);
    // A comparison without a row that needs one.
    let rows = ["compare", "task", "--out", "rows", "--rows", "seeds", "--student", STUDENT];
    dir.ok(&[&rows[..], &["--set", "student.epochs=1", "--seeds", "1"]].concat());
    // Named by the task, the flag or a setting, the toy is fine.
    dir.ok(&["plan", "task", "--teacher", "pocket", "--student", STUDENT]);
    dir.ok(&["plan", "task", "--set", "teacher.model=pocket", "--student", STUDENT]);
    bare_task(&dir, 2, 2, "[teacher]\nmodel = \"pocket\"\n");
    dir.ok(&["plan", "task", "--student", STUDENT]);
    // The student's default is a real one, which has to be there.
    let errors = dir.fails(&["run", "task", "--out", "out"]);
    assert!(errors.contains("distilbert-base-uncased") && errors.contains("models pull"));
}

#[test]
fn a_new_task_asks_for_a_teacher() {
    let dir = TestDir::new();
    dir.write("examples.csv", "text,label\na dog,x\na cat,y\n");
    let out = dir.ok(&["init", "examples.csv", "my task"]);
    assert!(out.contains("promptmix plan 'my task' --teacher "), "{out}");
    let toml = fs::read_to_string(dir.path("my task/task.toml")).unwrap();
    assert!(toml.contains("# [teacher]\n# model = "), "{toml}");
    assert!(dir.fails(&["plan", "my task"]).contains("no teacher is named"));
}

#[test]
fn a_comparison_decodes_in_batches_unless_it_is_to_be_deterministic() {
    let dir = TestDir::new();
    dir.task("");
    let compare = |out: &str, more: &[&str]| {
        let small = ["--rows", "seeds,teacher", "--seeds", "1", "--set", "student.epochs=1"];
        let command = ["compare", "task", "--out", out, "--student", STUDENT];
        let errors = stderr(&dir, &[&command[..], &small, more].concat());
        let settings = fs::read_to_string(dir.path(out).join("settings.toml")).unwrap();
        (settings.contains("deterministic = true"), errors)
    };
    assert!(!compare("default", &[]).0);
    assert!(!compare("fast", &["--fast"]).0, "what was a flag is the default");
    assert!(compare("deterministic", &["--deterministic"]).0);
    let table = dir.ok(&[
        "compare",
        "task",
        "--out",
        "default",
        "--student",
        STUDENT,
        "--rows",
        "seeds,teacher",
        "--seeds",
        "1",
        "--set",
        "student.epochs=1",
    ]);
    // One seed: whatever the interval, nothing is marked.
    assert!(table.contains("With one training seed"), "{table}");
    assert!(table.lines().all(|line| !line.ends_with(" *")), "{table}");
}

#[test]
fn every_stage_takes_settings_and_the_run_keeps_them() {
    let dir = TestDir::new();
    dir.task("");
    dir.ok(&[&["generate", "task", "--out", "out"], &TINY[..]].concat());
    let kept = |key: &str| {
        let settings = fs::read_to_string(dir.path("out/settings.toml")).unwrap();
        settings.lines().any(|line| line == key)
    };
    dir.ok(&["relabel", "out", "--set", "relabel.candidates=3"]);
    assert!(kept("candidates = 3"));
    dir.ok(&["filter", "out", "--set", "filter.rouge_l=2"]);
    assert!(kept("rouge_l = 2.0"));
    dir.ok(&["train", "out", "--set", "student.epochs=1"]);
    assert!(kept("epochs = 1") && kept("candidates = 3"));
    dir.ok(&["eval", "out", "--set", "report.texts=false"]);
    assert!(kept("texts = false"));
    dir.ok(&["audit", "out", "--set", "audit.patterns={ x = 'y' }"]);
    assert!(!fs::read_to_string(dir.path("out/settings.toml")).unwrap().contains("x = '"));
    let errors = dir.fails(&["train", "out", "--set", "student.epochs=0"]);
    assert!(errors.contains("student.epochs"), "{errors}");
    assert!(kept("epochs = 1"), "a refused setting is not kept");
    // A correction makes up for what was wrong before it.
    dir.ok(&["train", "out", "--set", "student.epochs=many", "--set", "student.epochs=2"]);
    assert!(kept("epochs = 2"));
}

#[test]
fn students_that_are_older_than_their_texts_are_not_evaluated() {
    let dir = TestDir::new();
    dir.task("");
    dir.ok(&[&["run", "task", "--out", "out"], &TINY[..]].concat());
    dir.ok(&["filter", "out", "--set", "filter.rouge_l=0.05"]);
    let errors = dir.fails(&["eval", "out"]);
    assert!(errors.contains("trained on another train.jsonl"), "{errors}");
    assert!(errors.contains("hint: `promptmix train out`"), "{errors}");
    dir.ok(&["train", "out"]);
    dir.ok(&["eval", "out"]);
}

#[test]
fn what_is_shown_to_be_typed_can_be_typed() {
    let dir = TestDir::new();
    dir.task("");
    let errors = stderr(&dir, &[&["run", "task", "--out", "my run"], &TINY[..]].concat());
    assert!(errors.contains("promptmix predict --model 'my run/student'"), "{errors}");
}

#[test]
fn a_report_without_texts_has_none() {
    let dir = TestDir::new();
    dir.task("");
    let command = [&["run", "task", "--out", "out", "--set", "report.texts=false"], &TINY[..]];
    dir.ok(&command.concat());
    dir.ok(&["export", "out", "--to", "exported"]);
    let compare = ["compare", "task", "--out", "compared", "--rows", "seeds,A2", "--seeds", "1"];
    dir.ok(&[&compare[..], &["--set", "report.texts=false"], &TINY[..]].concat());
    let texts = |file: &str| -> Vec<String> {
        let rows = crate::support::rows(&dir.path(file));
        rows.iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect()
    };
    let texts = [texts("task/test.jsonl"), texts("task/seeds.jsonl"), texts("out/train.jsonl")];
    for file in [
        "out/report.json",
        "out/report.html",
        "exported/README.md",
        "compared/report.json",
        "compared/report.html",
        "compared/compare.json",
        "compared/compare.md",
    ] {
        let content = fs::read_to_string(dir.path(file)).unwrap();
        let found = texts.iter().flatten().find(|text| content.contains(*text));
        assert!(found.is_none(), "{file} quotes {found:?}");
    }
    // By default they are there.
    dir.ok(&["eval", "out", "--set", "report.texts=true"]);
    let page = fs::read_to_string(dir.path("out/report.html")).unwrap();
    assert!(texts[2].iter().any(|text| page.contains(text)));
}

#[test]
fn many_classes_without_a_description_are_one_warning() {
    let dir = TestDir::new();
    bare_task(&dir, 12, 1, "");
    let command = ["generate", "task", "--out", "out", "--teacher", "pocket", "--student", STUDENT];
    let errors = stderr(&dir, &[&command[..], &["--set", "augment.per_class=1"]].concat());
    assert_eq!(errors.matches("no description").count(), 1, "{errors}");
    assert!(errors.contains("12 of 12 classes have no description"), "{errors}");
}

#[test]
fn classes_that_the_teacher_does_not_write_for_are_named() {
    let dir = TestDir::new();
    let line = |n: usize| {
        let class = n % 8;
        format!(
            "{{\"text\": \"text {n} about thing {class} and {}\", \"major\": \"class {class}\", \"relabel\": \"class {class}\"}}\n",
            n * 7919
        )
    };
    dir.write("texts.jsonl", (0..80).map(line).collect::<String>());
    let run = |out: &str, more: &[&str]| {
        let command = ["run", "task", "--out", out, "--teacher", "replay:texts.jsonl"];
        dir.run(
            &[
                &command[..],
                &TINY[..],
                &["--set", "augment.texts_per_request=1", "--set", "relabel.all_up_to=10"],
                more,
            ]
            .concat(),
        )
    };
    // With examples, the two classes are known from those alone.
    bare_task(&dir, 10, 1, "");
    let output = run("few", &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let warning = "2 of 10 classes have no generated text in the training set";
    let names = "(\"class 8\", \"class 9\")";
    let end = errors.lines().find(|line| line.contains(warning)).expect(&errors);
    assert!(end.starts_with("warning: ") && end.ends_with(names), "{end}");
    let report = json(&dir.path("few/report.json"));
    let warnings = report["warnings"].as_array().unwrap();
    let found =
        warnings.iter().filter_map(|text| text.as_str()).find(|text| text.contains(warning));
    assert!(found.is_some_and(|text| text.ends_with(names)), "{warnings:?}");

    // Without any, there is nothing to train on.
    bare_task(&dir, 10, 0, "");
    let errors = check_failure(&run("none", &[]));
    let message =
        format!("2 of 10 classes have no row to train on: {}", &names[1..names.len() - 1]);
    assert!(errors.contains(&message) && errors.contains("allow_empty_classes"), "{errors}");
    let output = run("none", &["--set", "student.allow_empty_classes=true"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("2 of 10 classes have no text at all"), "{errors}");
}

#[test]
fn faults_name_the_file_as_the_user_did_and_once() {
    let dir = TestDir::new();
    let task = dir.task("");
    dir.write("task/test.jsonl", "{\"text\": \"a\", \"label\": \"password\"}\n");
    dir.write("test.jsonl", "not this one");
    let errors = dir.fails(&["plan", "task"]);
    assert!(errors.starts_with("error: task/test.jsonl:1:"), "{errors}");
    let errors = dir.fails(&["plan", task.to_str().unwrap()]);
    let path = task.join("test.jsonl");
    assert!(errors.starts_with(&format!("error: {}:1:", path.display())), "{errors}");
    assert!(dir.fails(&["plan", "nowhere"]).starts_with("error: nowhere: no such file\n"));
    fs::remove_file(dir.path("task/test.jsonl")).unwrap();
    let errors = dir.fails(&["plan", "task"]);
    assert!(errors.starts_with("error: task/task.toml:"), "{errors}");
    assert!(errors.contains("there is no file \"test.jsonl\""), "{errors}");
}

#[test]
fn the_hint_is_the_last_thing_that_an_error_says() {
    let dir = TestDir::new();
    dir.task("");
    let commands: [&[&str]; 12] = [
        &["plan", "nowhere"],
        &["eval", "nowhere"],
        &["train", "nowhere"],
        &["audit", "nowhere"],
        &["predict", "--model", "nowhere", "x"],
        &["export", "nowhere", "--to", "x"],
        &["init", "nowhere.csv", "x"],
        &["import", "task", "nowhere.jsonl", "--out", "x"],
        &["bundle", "verify", "nowhere"],
        &["bench", "--student", "nowhere"],
        &["run", "task", "--out", "x", "--teacher", "replay:nowhere"],
        &["plan", "task", "--set", "teacher.chat_template=nowhere"],
    ];
    for command in commands {
        let errors = dir.fails(command);
        let (message, hint) = errors.split_once("\n\nhint: ").unwrap_or_else(|| panic!("{errors}"));
        assert!(message.contains("nowhere"), "{command:?}: {errors}");
        assert!(!hint.contains("No such file"), "{command:?}: {errors}");
    }
}

#[test]
fn a_trained_student_is_measured_with_its_own_classes() {
    let dir = TestDir::new();
    dir.task("");
    dir.ok(&[&["run", "task", "--out", "out"], &SMALL[..]].concat());
    let sizes = ["--rows", "4", "--steps", "1", "--students", "1", "--only", "train"];
    let bench = ["bench", "--student", "out/student", "--json"];
    let report: serde_json::Value =
        serde_json::from_str(&dir.ok(&[&bench[..], &sizes].concat())).unwrap();
    assert_eq!(report["classes"], 2);
}
