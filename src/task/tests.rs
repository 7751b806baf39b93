//! Loading valid tasks, and every fault with its exact place.

use std::fs;

use super::*;
use crate::hint::Hint;

const HEAD: &str = r#"
name = "help-desk"
item = "ticket"
shots = 2
[[class]]
name = "password_reset"
description = "forgotten, expired or new password"
[[class]]
name = "vpn"
description = "remote access does not connect"
"#;
const DATA: &str = "[data]\nseeds = \"seeds.jsonl\"\n";
const SEEDS: &str = r#"{"text": "I forgot my password", "label": "password_reset"}
{"text": "vpn is down", "label": "vpn"}
{"text": "my password expired", "label": "password_reset"}
{"text": "cannot reach the office network", "label": "vpn"}
"#;

fn load(toml: &str, files: &[(&str, &str)]) -> Result<Task, TaskError> {
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    Task::load_embedded(toml, &files)
}

pub(super) fn valid_task() -> Task {
    load(&format!("{HEAD}{DATA}"), &[("seeds.jsonl", SEEDS)]).unwrap()
}

/// Each fault as `place: message`; each must have a hint.
fn faults(result: Result<Task, TaskError>) -> Vec<String> {
    match result {
        Err(TaskError::Faults { faults }) => faults
            .iter()
            .map(|fault| {
                assert!(!fault.problem.hint().is_empty());
                format!("{}: {}", fault.place, fault.problem)
            })
            .collect(),
        Err(other) => panic!("a different error: {other}"),
        Ok(_) => panic!("the task loaded"),
    }
}

/// The faults of a task with these seeds.
fn seed_faults(seeds: &str) -> Vec<String> {
    faults(load(&format!("{HEAD}{DATA}"), &[("seeds.jsonl", seeds)]))
}

/// The faults of this `task.toml` with valid seeds.
fn toml_faults(toml: &str) -> Vec<String> {
    faults(load(toml, &[("seeds.jsonl", SEEDS)]))
}

#[test]
fn a_valid_task_loads() {
    let task = valid_task();
    assert_eq!(task.name, "help-desk");
    assert_eq!((task.item.as_str(), task.items.as_str()), ("ticket", "tickets"));
    assert_eq!(task.shots, 2);
    let names: Vec<&str> = task.classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(names, ["password_reset", "vpn"]);
    assert_eq!(task.classes[1].description, "remote access does not connect");
    let labels: Vec<usize> = task.seeds.iter().map(|seed| seed.label).collect();
    assert_eq!(labels, [0, 1, 0, 1]);
    let texts: Vec<&str> = task.seeds_of(1).map(|seed| seed.text.as_str()).collect();
    assert_eq!(texts, ["vpn is down", "cannot reach the office network"]);
    assert!(task.warnings.is_empty());
    assert!(task.test.is_empty() && task.pool.is_empty() && task.settings.is_empty());
}

#[test]
fn an_unknown_label_is_reported_with_its_place_and_the_nearest_class() {
    let seeds = format!("{SEEDS}\n{{\"text\": \"é\", \"label\": \"pasword_reset\"}}\n");
    let error = load(&format!("{HEAD}{DATA}"), &[("seeds.jsonl", &seeds)]).unwrap_err();
    assert_eq!(error.to_string(), "seeds.jsonl:6:24: unknown label");
    assert_eq!(
        error.hint().unwrap(),
        "did you mean \"password_reset\"? classes are declared in task.toml"
    );
    let seeds = format!("{SEEDS}{{\"label\":\"weather\",\"text\":\"a\"}}");
    let error = load(&format!("{HEAD}{DATA}"), &[("seeds.jsonl", &seeds)]).unwrap_err();
    assert_eq!(error.to_string(), "seeds.jsonl:5:10: unknown label");
    assert_eq!(
        error.hint().unwrap(),
        "the classes declared in task.toml are \"password_reset\", \"vpn\""
    );
}

#[test]
fn a_file_with_the_wrong_label_column_takes_no_memory_for_each_row() {
    let rows: String =
        (0..5000).map(|row| format!("{{\"text\": \"{row}\", \"label\": \"{row}\"}}\n")).collect();
    let result = load(&format!("{HEAD}{DATA}"), &[("seeds.jsonl", &rows)]);
    let Err(TaskError::Faults { faults }) = result else { panic!("the task loaded") };
    assert_eq!(faults.len(), limits::MAX_FAULTS);
    let names = |fault: &fault::Fault| match &fault.problem {
        Problem::UnknownLabel { classes, .. } => classes.as_ptr(),
        other => panic!("{other}"),
    };
    assert_eq!(names(&faults[0]), names(&faults[999]));
    let message = TaskError::Faults { faults }.to_string();
    assert!(message.ends_with("… and at least 980 more faults"), "{message}");
}

#[test]
fn empty_and_repeated_texts_are_faults() {
    let seeds = format!(
        "{SEEDS}{}\n{}\n{}\n",
        r#"{"text": " \t", "label": "vpn"}"#,
        r#"{"text": "VPN  is down ", "label": "vpn"}"#,
        r#"{"text": "my password expired", "label": "vpn"}"#,
    );
    assert_eq!(
        seed_faults(&seeds),
        [
            "seeds.jsonl:5:10: empty text",
            "seeds.jsonl:6:10: the same text as on line 2",
            "seeds.jsonl:7:10: the same text as on line 3, with another label",
        ]
    );
}

#[test]
fn classes_with_too_few_seeds_are_faults() {
    let two: Vec<&str> = SEEDS.lines().collect();
    assert_eq!(
        seed_faults(&[two[0], two[2]].join("\n")),
        ["task.toml:9:8: class \"vpn\" has no seed in seeds.jsonl"]
    );
    assert_eq!(
        seed_faults(&two[..3].join("\n")),
        ["task.toml:9:8: class \"vpn\" has 1 of the 2 seeds that shots = 2 asks for"]
    );
    assert_eq!(faults(load(HEAD, &[])), ["task.toml:4:9: shots = 2, but [data] names no seeds"]);
    let all = format!("{HEAD}{DATA}").replace("shots = 2", "");
    let result = load(&all, &[("seeds.jsonl", two[0])]);
    assert_eq!(faults(result), ["task.toml:9:8: class \"vpn\" has no seed in seeds.jsonl"]);
}

#[test]
fn a_class_with_few_seeds_takes_none_from_the_others() {
    let many =
        (0..20).map(|n| format!("{{\"text\":\"reset {n}\",\"label\":\"password_reset\"}}\n"));
    let seeds = many.collect::<String>() + "{\"text\":\"no tunnel\",\"label\":\"vpn\"}";
    for (shots, shown) in [("", 9), ("shots = \"all\"", 21)] {
        let toml = format!("{HEAD}{DATA}").replace("shots = 2", shots);
        let task = load(&toml, &[("seeds.jsonl", &seeds)]).unwrap();
        assert_eq!((task.draw_seeds(1).len(), task.seeds.len(), task.even_shots()), (shown, 21, 1));
        let warning = Warning::SeedsNotShown { shown, seeds: 21, shots: 8 };
        assert_eq!(task.warnings, if shown < 21 { vec![warning] } else { Vec::new() });
    }
    let none = HEAD.replace("shots = 2", "");
    assert_eq!(load(&none, &[]).unwrap().shots, 0);
}

#[test]
fn a_task_may_consist_of_descriptions_only() {
    let toml = format!("{HEAD}{DATA}").replace("shots = 2", "shots = 0");
    let task = load(&toml, &[("seeds.jsonl", "{\"text\":\"a\",\"label\":\"vpn\"}")]).unwrap();
    assert_eq!((task.shots, task.seeds.len()), (0, 1));
    assert!(task.draw_seeds(1).is_empty());
}

#[test]
fn a_test_text_must_not_be_a_seed() {
    let toml = format!("{HEAD}{DATA}test = \"test.csv\"\n");
    let test = "label,text\r\nvpn,no tunnel\r\nvpn,\"VPN is\r\nDOWN\"\r\n";
    assert_eq!(
        faults(load(&toml, &[("seeds.jsonl", SEEDS), ("test.csv", test)])),
        ["test.csv:3:5: this test text is also a seed (seeds.jsonl, line 2)"]
    );
}

#[test]
fn pool_and_test_set_are_read_and_may_contain_duplicates() {
    let toml = format!("{HEAD}{DATA}test = \"test.csv\"\npool = \"pool.csv\"\n");
    let csv = "label,text\nvpn,no tunnel\nvpn,no tunnel\n";
    let files = [("seeds.jsonl", SEEDS), ("test.csv", csv), ("pool.csv", csv)];
    let task = load(&toml, &files).unwrap();
    assert_eq!((task.test.len(), task.pool.len()), (2, 2));
    assert_eq!(task.pool[0].text, "no tunnel");
}

#[test]
fn class_tables_are_checked() {
    let toml = format!(
        "{}[[class]]\nname = \"a\\nb\"\n[[class]]\ndescription = \"x\"\n[[class]]\nname = \"vpn\"\n\
         [[class]]\nname = \"\"\n[[class]]\nname = \" a\"\n[[class]]\nname = \"a\\u0007\"\n{DATA}",
        HEAD
    );
    assert_eq!(
        toml_faults(&toml),
        [
            "task.toml:12:8: class name \"a\\nb\" contains a line break",
            "task.toml:13:1: [[class]] has no name",
            "task.toml:16:8: class \"vpn\" is declared twice, first on line 9",
            "task.toml:18:8: class name \"\" is empty",
            "task.toml:20:8: class name \" a\" starts or ends with white space",
            "task.toml:22:8: class name \"a\\u0007\" contains a control character",
        ]
    );
    assert_eq!(
        toml_faults("[[class]]\nname = \"vpn\"\n"),
        ["task.toml:1:1: a task needs at least 2 classes, this one has 1"]
    );
    assert_eq!(
        toml_faults("item = \"x\"\n"),
        ["task.toml:1:1: a task needs at least 2 classes, this one has 0"]
    );
    assert_eq!(
        toml_faults("class = [\"a\", \"b\"]\n"),
        [
            "task.toml:1:10: class must be a table, found a string",
            "task.toml:1:15: class must be a table, found a string",
        ]
    );
}

#[test]
fn unknown_keys_are_faults_except_in_the_tables_of_later_stages() {
    let toml = format!(
        "shot = 3\n{HEAD}colour = \"red\"\n{DATA}tests = \"t.csv\"\n[student]\nlr = 4e-5\n[teachr]\n"
    );
    let error = load(&toml, &[("seeds.jsonl", SEEDS)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "task.toml:1:1: unknown key \"shot\" in task.toml\n\
         task.toml:12:1: unknown key \"colour\" in [[class]]\n\
         task.toml:15:1: unknown key \"tests\" in [data]\n\
         task.toml:18:2: unknown key \"teachr\" in task.toml"
    );
    assert_eq!(
        error.hint().unwrap(),
        "task.toml:1:1: did you mean \"shots\"?\n\
         task.toml:12:1: the known keys are name, title, description, formerly, none_of_these\n\
         task.toml:15:1: did you mean \"test\"?\n\
         task.toml:18:2: did you mean \"teacher\"?"
    );
    let toml = format!("{HEAD}{DATA}[student]\nlr = 4e-5\n[run]\nseeds = 3\n");
    let task = load(&toml, &[("seeds.jsonl", SEEDS)]).unwrap();
    assert_eq!(task.settings["student"]["lr"].as_float(), Some(4e-5));
    assert_eq!(task.settings["run"]["seeds"].as_integer(), Some(3));
    assert_eq!(task.settings.len(), 2);
    assert_eq!(task.place_of(&["student", "lr"]).to_string(), "task.toml:14:1");
    assert_eq!(task.place_of(&["run", "none"]).to_string(), "task.toml:15:2");
}

#[test]
fn values_of_the_wrong_type_are_faults() {
    let toml = format!("{HEAD}{DATA}")
        .replace("shots = 2", "shots = -1")
        .replace("\"ticket\"", "5")
        .replace("\"seeds.jsonl\"", "[\"seeds.jsonl\"]");
    assert_eq!(
        toml_faults(&format!("run = 1\n{toml}")),
        [
            "task.toml:1:7: run must be a table, found a number",
            "task.toml:4:8: item must be a string, found a number",
            "task.toml:5:9: shots must be a whole number from 0, or \"all\", found a negative number",
            "task.toml:13:9: seeds must be a string, found an array",
        ]
    );
    assert_eq!(
        seed_faults(&format!("{SEEDS}{{\"text\": \"a\", \"label\": 3}}")),
        ["seeds.jsonl:5:24: unknown label"]
    );
}

#[test]
fn invalid_toml_is_reported_with_its_place() {
    assert_eq!(
        toml_faults("name = \"é\"\nitem = \n"),
        ["task.toml:2:8: invalid TOML: string values must be quoted, expected literal string"]
    );
    let twice = toml_faults("name = \"a\"\nname = \"b\"\n");
    assert_eq!(twice, ["task.toml:2:1: invalid TOML: duplicate key"]);
}

#[test]
fn missing_empty_and_unsupported_files_are_faults() {
    let toml = format!("{HEAD}{DATA}test = \"t.csv\"\npool = \"p.xlsx\"\n");
    assert_eq!(
        faults(load(&toml, &[("seeds.jsonl", "\n"), ("p.xlsx", "PK\u{3}\u{4}")])),
        [
            "seeds.jsonl: the file contains no texts",
            "task.toml:13:8: there is no file \"t.csv\"",
            "p.xlsx: \"p.xlsx\" is a workbook or an archive",
        ]
    );
}

#[test]
fn faults_of_all_files_are_reported_together() {
    let toml = format!("size = 1\n{HEAD}{DATA}test = \"t.csv\"\n");
    let seeds = format!("{SEEDS}{{\"text\": \"\", \"label\": \"vpn\"}}\n{{\n");
    let test = "text,label\nx,vpm\n";
    assert_eq!(
        faults(load(&toml, &[("seeds.jsonl", &seeds), ("t.csv", test)])),
        [
            "task.toml:1:1: unknown key \"size\" in task.toml",
            "seeds.jsonl:5:10: empty text",
            "seeds.jsonl:6:1: invalid JSON: EOF while parsing an object",
            "t.csv:2:3: unknown label",
        ]
    );
}

#[test]
fn a_class_without_description_is_a_warning() {
    let toml = format!("{HEAD}{DATA}").replace("remote access does not connect", " ");
    let task = load(&toml, &[("seeds.jsonl", SEEDS)]).unwrap();
    assert_eq!(task.warnings, [Warning::MissingDescription { class: "vpn".into(), line: 9 }]);
    assert!(
        task.warnings[0].to_string().starts_with("task.toml:9: class \"vpn\" has no description")
    );
}

#[test]
fn unicode_names_and_emoji_are_kept() {
    let toml =
        "[[class]]\nname = \"zurück\"\n[[class]]\nname = \"🙂 froh\"\n[data]\nseeds = \"s.csv\"\n";
    let seeds = "text,label\nich möchte 👩‍👩‍👧 \"zurück\" gehen,zurück\nschön,🙂 froh\n";
    let task = load(toml, &[("s.csv", seeds)]).unwrap();
    assert_eq!(task.classes[1].name, "🙂 froh");
    assert_eq!(task.seeds[0].text, "ich möchte 👩‍👩‍👧 \"zurück\" gehen");
    let seeds = format!("{seeds}👩🙂,froh\n");
    let error = load(toml, &[("s.csv", &seeds)]).unwrap_err();
    assert_eq!(error.to_string(), "s.csv:4:4: unknown label");
    assert!(error.hint().unwrap().starts_with("did you mean \"🙂 froh\"?"));
}

#[test]
fn a_former_name_belongs_to_one_class_that_is_gone() {
    let formerly = |vpn: &str, reset: &str| {
        let toml = HEAD.replace("name = \"vpn\"", &format!("name = \"vpn\"\nformerly = {vpn:?}"));
        let name = "name = \"password_reset\"";
        format!("{}{DATA}", toml.replace(name, &format!("{name}\nformerly = {reset:?}")))
    };
    let task = load(&formerly("remote", "reset"), &[("seeds.jsonl", SEEDS)]).unwrap();
    assert_eq!(task.classes[1].formerly.as_deref(), Some("remote"));
    assert_eq!(
        toml_faults(&formerly("reset", "reset")),
        ["task.toml:11:12: formerly = \"reset\" is the former name of another class, too"]
    );
    assert_eq!(
        toml_faults(&formerly("password_reset", "reset")),
        ["task.toml:11:12: formerly = \"password_reset\" is the name of a class of this task"]
    );
}

pub(super) fn task_with_forty_seeds() -> Task {
    let mut seeds = String::new();
    for number in 0..40 {
        let label = ["password_reset", "vpn"][number % 2];
        seeds.push_str(&format!("{{\"text\":\"t{number}\",\"label\":\"{label}\"}}\n"));
    }
    load(&format!("{HEAD}{DATA}"), &[("seeds.jsonl", &seeds)]).unwrap()
}

#[test]
fn shots_can_be_raised_to_the_number_of_seeds() {
    let task = task_with_forty_seeds().with_shots(20).unwrap();
    assert_eq!(task.draw_seeds(1).len(), 40);
    let found = faults(task.with_shots(21));
    assert_eq!(found.len(), 2);
    assert_eq!(
        found[1],
        "task.toml: class \"vpn\" has 20 of the 21 seeds that shots = 21 asks for"
    );
}

#[test]
fn the_hash_depends_on_every_file() {
    let task = valid_task();
    assert_eq!(task.sha256.len(), 64);
    assert_eq!(task.sha256, valid_task().sha256);
    let spaced = format!("{SEEDS}\n");
    let other = load(&format!("{HEAD}{DATA}"), &[("seeds.jsonl", &spaced)]).unwrap();
    assert_ne!(task.sha256, other.sha256);
    let other = load(&format!("{HEAD}{DATA}#"), &[("seeds.jsonl", SEEDS)]).unwrap();
    assert_ne!(task.sha256, other.sha256);
}

#[test]
fn a_folder_and_its_task_toml_load_the_same_task() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("desk");
    fs::create_dir(&home).unwrap();
    let error = Task::load(&home).unwrap_err();
    let file = home.join("task.toml").display().to_string();
    assert_eq!(error.to_string(), format!("{file}: no such file"));
    assert!(error.hint().unwrap().starts_with("`promptmix init"));
    let toml = format!("{HEAD}{DATA}").replace("name = \"help-desk\"", "");
    fs::write(home.join("task.toml"), toml.replace('\n', "\r\n")).unwrap();
    fs::write(home.join("seeds.jsonl"), SEEDS.replace('\n', "\r\n")).unwrap();
    let task = Task::load(&home).unwrap();
    assert_eq!(task, Task::load(&home.join("task.toml")).unwrap());
    assert_eq!((task.name.as_str(), task.folder.as_path()), ("desk", home.as_path()));
    assert_eq!(task.seeds, valid_task().seeds);
    // The name does not depend on how the folder is written.
    let dotted = home.join("..").join("desk").join(".");
    assert_eq!(Task::load(&dotted).unwrap().name, "desk");
}

#[test]
fn a_folder_in_place_of_a_file_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("seeds.jsonl")).unwrap();
    fs::write(folder.path().join("task.toml"), format!("{HEAD}{DATA}")).unwrap();
    let found = faults(Task::load(folder.path()));
    assert_eq!(found.len(), 1);
    let start = format!("{}:12:9: ", folder.path().join("task.toml").display());
    assert!(found[0].starts_with(&format!("{start}\"seeds.jsonl\" cannot be read: ")), "{found:?}");
}

#[test]
fn task_toml_may_have_a_byte_order_mark_and_must_be_utf8() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("task.toml");
    fs::write(folder.path().join("seeds.jsonl"), SEEDS).unwrap();
    fs::write(&file, format!("\u{feff}{HEAD}{DATA}")).unwrap();
    assert_eq!(Task::load(&file).unwrap().name, "help-desk");
    let shown = file.display();
    fs::write(&file, b"item = \"caf\xe9\"\n").unwrap();
    let fault = format!("{shown}:1:12: not UTF-8: byte 0xe9 at offset 11");
    assert_eq!(faults(Task::load(&file)), [fault]);
}

#[test]
fn classes_and_labels_that_look_alike_are_faults() {
    let toml =
        format!("{HEAD}[[class]]\nname = \"VPN\"\n[[class]]\nname = \"v\u{200b}pn\"\n{DATA}");
    assert_eq!(
        toml_faults(&toml),
        [
            "task.toml:12:8: class \"VPN\" looks like class \"vpn\" on line 9",
            "task.toml:14:8: class \"v\\u{200b}pn\" looks like class \"vpn\" on line 9",
        ]
    );
    let seeds = format!(
        "{SEEDS}{}\n{}\n{}\n",
        r#"{"text": "a", "label": "Vpn"}"#,
        r#"{"text": "b", "label": "Vpn"}"#,
        r#"{"text": "c", "label": "vpn "}"#,
    );
    assert_eq!(
        seed_faults(&seeds),
        [
            "seeds.jsonl:5:24: label \"Vpn\" looks like \"vpn\" (task.toml:9:8)",
            "seeds.jsonl:7:24: label \"vpn \" looks like \"vpn\" (task.toml:9:8)",
        ]
    );
}

#[test]
fn a_number_is_the_same_label_in_all_files() {
    let toml = "[[class]]\nname = \"0\"\n[[class]]\nname = \"1.0\"\n\
        [data]\nseeds = \"s.csv\"\ntest = \"t.jsonl\"\n";
    let test = "{\"text\": \"c\", \"label\": 1}\n{\"text\": \"d\", \"label\": 0.0}\n";
    let task = load(toml, &[("s.csv", "text,label\na,0.0\nb,1\n"), ("t.jsonl", test)]).unwrap();
    let labels = |texts: &[LabelledText]| texts.iter().map(|text| text.label).collect::<Vec<_>>();
    assert_eq!((labels(&task.seeds), labels(&task.test)), (vec![0, 1], vec![1, 0]));
}

#[test]
fn each_file_may_have_its_own_columns() {
    let toml = format!(
        "{HEAD}[data]\nseeds = \"s.csv\"\ntext_column = [\"subject\", \"body\"]\n\
         test = {{ file = \"t.csv\", text_column = \"words\", label_column = \"topic\" }}\n"
    )
    .replace("shots = 2", "shots = 1");
    let seeds = "body;subject;label\nb1;s1;vpn\nb2;s2;password_reset\n";
    let test = "topic,words,text\nvpn,w,x\n";
    let task = load(&toml, &[("s.csv", seeds), ("t.csv", test)]).unwrap();
    assert_eq!(task.seeds[0].text, "s1\n\nb1");
    assert_eq!(task.test[0].text, "w");
    let wrong = toml.replace("file = \"t.csv\", ", "").replace("[\"subject\", \"body\"]", "[5]");
    assert_eq!(
        faults(load(&wrong, &[("s.csv", seeds), ("t.csv", test)]))[..2],
        [
            "task.toml:13:15: text_column must be a string or an array of strings, found an array",
            "task.toml:14:8: the table of the file has no file",
        ]
    );
    let missing = toml.replace("\"words\"", "\"word\"");
    let error = load(&missing, &[("s.csv", seeds), ("t.csv", test)]).unwrap_err();
    let hint = error.hint().unwrap().into_owned();
    assert!(hint.contains("text_column under [data]") && !hint.contains("--text"), "{hint}");
}
