//! `audit`: the ledger's chain, personal data, copied wording, and masking.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{FIRST_HEAD, ONE_EPOCH, TestDir, json, json_lines, rows};

/// Values that only `--show` may print.
const RAW: [&str; 8] = [
    "anna.berg@example.org",
    "DE89370400440532013000",
    "DE89 3704 0044 0532 0130 00",
    "901820",
    "EMP-12345",
    "EMP-54321",
    "bob@example.net",
    "4111 1111 1111 1111",
];

/// A task with personal data in its seeds.
fn task(dir: &TestDir) -> String {
    let task = dir.task("pool = \"pool.jsonl\"\n[audit.patterns]\nbadge = '\\bEMP-\\d{5}\\b'\n");
    dir.write(
        "task/seeds.jsonl",
        concat!(
            "{\"text\": \"I forgot my password, write to anna.berg@example.org\", \"label\": \"password_reset\"}\n",
            "{\"text\": \"my password has expired, call (030) 901820\", \"label\": \"password_reset\"}\n",
            "{\"text\": \"refund the broken laptop to DE89370400440532013000\", \"label\": \"hardware_fault\"}\n",
            "{\"text\": \"my keyboard is dead and badge EMP-12345 does not open the door of room nine today\", \"label\": \"hardware_fault\"}\n",
        ),
    );
    dir.write(
        "task/pool.jsonl",
        "{\"text\": \"The screen of my laptop is cracked.\", \"label\": \"hardware_fault\"}\n",
    );
    task.to_str().unwrap().to_owned()
}

/// Texts to import, in the order of the lines of train.jsonl, with leaks, phantoms, copies or
/// nothing.
const TEXTS: [(&str, &str); 9] = [
    ("please write to Anna.Berg@Example.org about my login", "password_reset"),
    ("send the money for my mouse to DE89 3704 0044 0532 0130 00", "hardware_fault"),
    ("I cannot log in, ring me at +49 30 901820", "password_reset"),
    ("new password please, mail bob@example.net or anna.berg@example.org", "password_reset"),
    ("I paid for the screen with 4111 1111 1111 1111 and it broke", "hardware_fault"),
    ("badge EMP-12345 is gone and EMP-54321 too", "hardware_fault"),
    ("the SCREEN of my laptop is cracked!", "hardware_fault"),
    ("hello, badge 7 does not open the door of room nine today, is dead", "hardware_fault"),
    ("on 2024-01-31 at 12:30 version 1.2.3.4-rc of order 4711 was a mess", "password_reset"),
];

fn import(dir: &TestDir, task: &str, texts: &[(&str, &str)]) {
    let line = |(text, label): &(&str, &str)| {
        let row = serde_json::json!({"text": text, "major": label, "relabel": label, "p": 0.9});
        format!("{row}\n")
    };
    dir.write("texts.jsonl", texts.iter().map(line).collect::<String>());
    let out: &[&str] = &["import", task, "texts.jsonl", "--out", "out"];
    dir.ok(&[out, &ONE_EPOCH[..]].concat());
    dir.ok(&["filter", "out"]);
}

fn audit(dir: &TestDir, more: &[&str]) -> Value {
    let args: &[&str] = &["audit", "out", "--json", "--no-nearest"];
    serde_json::from_str(&dir.ok(&[args, more].concat())).expect("JSON")
}

#[test]
fn leaks_phantoms_and_copies_are_counted_and_masked() {
    let dir = TestDir::new();
    let task = task(&dir);
    import(&dir, &task, &TEXTS);
    assert_eq!(rows(&dir.path("out/train.jsonl")).len(), TEXTS.len(), "the filter keeps all texts");
    let before = files(&dir.path("out"));
    let found = audit(&dir, &[]);
    dir.ok(&["audit", "out"]);
    assert_eq!(files(&dir.path("out")), before, "an audit writes nothing");

    let kinds: Vec<(&str, u64, u64)> = found["privacy"]["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| {
            let count = |name: &str| kind[name].as_u64().unwrap();
            (kind["kind"].as_str().unwrap(), count("leaks"), count("phantoms"))
        })
        .collect();
    let wanted = [
        ("e-mail", 2, 1),
        ("IBAN", 1, 0),
        ("payment card", 0, 1),
        ("phone", 1, 0),
        ("badge", 1, 1),
    ];
    assert_eq!(kinds, wanted);
    assert_eq!((found["leaks"].as_u64(), found["phantoms"].as_u64()), (Some(5), Some(3)));
    assert_eq!(found["privacy"]["leaking_texts"], 5);
    let sources: Vec<(u64, Option<&str>)> = found["privacy"]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| (value["line"].as_u64().unwrap(), value["source"].as_str()))
        .collect();
    let (leak, phantom) = (|line, source| (line, Some(source)), |line| (line, None));
    let wanted = [
        leak(1, "seed 1"),
        leak(2, "seed 3"),
        leak(3, "seed 2"),
        phantom(4),
        leak(4, "seed 1"),
        phantom(5),
        leak(6, "seed 4"),
        phantom(6),
    ];
    assert_eq!(sources, wanted);

    let copies = &found["privacy"]["copies"];
    assert_eq!((copies["exact"].as_u64(), copies["normalised"].as_u64()), (Some(0), Some(1)));
    assert_eq!((copies["shared"].as_u64(), copies["longest"].as_u64()), (Some(1), Some(9)));
    let copied = found["privacy"]["copied"].as_array().unwrap();
    assert_eq!((copied[0]["line"].as_u64(), &copied[0]["source"]), (Some(7), &"pool 1".into()));
    assert_eq!((copied[1]["line"].as_u64(), &copied[1]["source"]), (Some(8), &"seed 4".into()));

    // Gates: exit code 1 if there is any of what `--fail-on` names.
    for (gate, code) in [("leak", 1), ("phantom", 1), ("copy", 1), ("leak,copy", 1)] {
        let output = dir.run(&["audit", "out", "--no-nearest", "--fail-on", gate]);
        assert_eq!(output.status.code(), Some(code), "{gate}");
        let printed = [&output.stdout[..], &output.stderr[..]].concat();
        assert_clean(&String::from_utf8_lossy(&printed));
        assert!(String::from_utf8_lossy(&printed).contains("train.jsonl:1 e-mail A…@E….org"));
    }
    let shown = dir.ok(&["audit", "out", "--no-nearest", "--show"]);
    assert!(shown.contains("bob@example.net") && shown.contains("DE89 3704 0044 0532 0130 00"));
    assert_clean(&found.to_string());
}

#[test]
fn masked_texts_are_used_for_training_and_in_the_report() {
    let dir = TestDir::new();
    let task = task(&dir);
    import(&dir, &task, &TEXTS);
    let output = dir.program(&["audit", "out", "--redact"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("promptmix train out") && message.contains("promptmix eval out"),
        "{message}"
    );
    let train = rows(&dir.path("out/train.jsonl"));
    let texts: Vec<&str> = train.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert_eq!(texts[1], "send the money for my mouse to [IBAN]");
    assert_eq!(texts[3], "new password please, mail [EMAIL] or [EMAIL]");
    assert_eq!(texts[5], "badge [BADGE] is gone and [BADGE] too");
    assert_eq!(texts[8], TEXTS[8].0, "contains no personal data");
    assert_eq!((&train[3]["redacted"], train[8].get("redacted")), (&2.into(), None));
    let whole = fs::read_to_string(dir.path("out/relabelled.jsonl")).unwrap();
    assert!(whole.contains("bob@example.net"), "the originals are kept");

    let again = audit(&dir, &["--fail-on", "leak,phantom"]);
    assert_eq!(again["privacy"]["kinds"], Value::Array(Vec::new()));
    let all = audit(&dir, &["--all"]);
    assert_eq!(all["leaks"], 0, "every text of relabelled.jsonl is in train.jsonl");

    for stage in ["train", "eval"] {
        dir.ok(&[stage, "out"]);
    }
    for file in ["report.html", "report.json", "train.jsonl", "predictions.json"] {
        assert_clean(&fs::read_to_string(dir.path("out").join(file)).unwrap());
    }
    let page = fs::read_to_string(dir.path("out/report.html")).unwrap();
    assert!(page.contains("id=\"privacy\"") && page.contains("[EMAIL]"));
    let report = json(&dir.path("out/report.json"));
    assert_eq!(report["privacy"]["redacted"], true);
    assert_eq!(report["privacy"]["nearest"]["compared_with"], 4);
    assert!(
        report["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .all(|warning| { !warning.as_str().unwrap().contains("personal data") })
    );
}

#[test]
fn the_report_warns_of_leaks() {
    let dir = TestDir::new();
    let task = task(&dir);
    import(&dir, &task, &TEXTS);
    for stage in ["train", "eval"] {
        dir.ok(&[stage, "out"]);
    }
    let report = json(&dir.path("out/report.json"));
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("5 training texts contain personal data"), "{warnings}");
    assert_clean(&report["privacy"].to_string());
    let message = dir.ok(&["audit", "out"]);
    assert!(message.contains("to the nearest of 9 texts"), "seeds, pool and test set: {message}");
}

#[test]
fn a_broken_chain_is_found_where_it_breaks() {
    let dir = TestDir::new();
    let task = task(&dir);
    import(&dir, &task, &TEXTS[8..]);
    let out = dir.path("out");
    let ledger = out.join("ledger.jsonl");
    let sound = fs::read(&ledger).unwrap();
    let found = audit(&dir, &["--fail-on", "leak,phantom,copy"]);
    let lines = json_lines(&String::from_utf8(sound.clone()).unwrap()).len();
    assert_eq!((&found["chain"]["ok"], &found["chain"]["lines"]), (&true.into(), &lines.into()));
    let hash = found["chain"]["last"].as_str().unwrap().to_owned();

    // A hash noted earlier is still found after the run went on, and missing after lines were cut
    // off.
    dir.ok(&["train", "out"]);
    let later = audit(&dir, &["--expect", &hash]);
    assert_eq!(later["chain"]["expected"]["line"], lines);
    let all = fs::read_to_string(&ledger).unwrap();
    let kept: String = all.split_inclusive('\n').take(lines - 1).collect();
    fs::write(&ledger, kept).unwrap();
    let cut = dir.run(&["audit", "out", "--no-nearest", "--expect", &hash]);
    assert_eq!(cut.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&cut.stdout).contains("NOT FOUND"));

    // What a stage wrote last is known to be missing without a hash from elsewhere.
    let cut = dir.run(&["audit", "out", "--no-nearest"]);
    assert_eq!(cut.status.code(), Some(1));
    let message = String::from_utf8_lossy(&cut.stdout).into_owned();
    assert!(
        message.contains(&format!("BROKEN at ledger.jsonl:{lines}: it is missing")),
        "{message}"
    );
    dir.write("out/ledger.head", FIRST_HEAD);
    fs::remove_dir_all(out.join("student")).unwrap();
    for file in ["predictions.json", "student.key"] {
        fs::remove_file(out.join(file)).unwrap();
    }

    let mut torn = sound.clone();
    torn.extend(b"{\"n\":9,\"pre");
    fs::write(&ledger, &torn).unwrap();
    let message = dir.ok(&["audit", "out", "--no-nearest"]);
    assert!(
        message.contains("line is incomplete") && message.contains("chain     OK"),
        "{message}"
    );
    assert_eq!(fs::read(&ledger).unwrap(), torn, "an audit cuts nothing off");

    let changed = String::from_utf8(sound).unwrap().replacen("\"import\"", "\"impost\"", 1);
    fs::write(&ledger, changed).unwrap();
    let broken = dir.run(&["audit", "out", "--no-nearest"]);
    assert_eq!(broken.status.code(), Some(1));
    let message = String::from_utf8_lossy(&broken.stdout);
    assert!(
        message.contains("BROKEN at ledger.jsonl:3")
            && message.contains("; 1 line before it is intact"),
        "{message}"
    );

    let errors = dir.fails(&["audit", "nowhere"]);
    assert!(errors.contains("nowhere/ledger.jsonl") && errors.contains("hint:"), "{errors}");
}

#[cfg(unix)]
#[test]
fn a_locked_or_read_only_folder_can_be_audited() {
    use std::os::unix::fs::PermissionsExt;

    let dir = TestDir::new();
    let task = task(&dir);
    import(&dir, &task, &TEXTS[..1]);
    let out = dir.path("out");
    let lock = fs::File::open(out.join("ledger.jsonl")).unwrap();
    lock.lock().unwrap();
    assert!(dir.fails(&["filter", "out"]).contains("in use"), "the lock holds");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(audit(&dir, &[])["leaks"], 1);
    fs::set_permissions(&out, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn an_invalid_pattern_is_an_error() {
    let dir = TestDir::new();
    let task = dir.task("[audit.patterns]\nbadge = \"(\"\n");
    let errors = dir.fails(&["plan", task.to_str().unwrap()]);
    assert!(errors.contains("audit.patterns: \"badge\"") && errors.contains("hint:"), "{errors}");
}

/// Checks that `text` contains none of the raw values.
fn assert_clean(text: &str) {
    for raw in RAW {
        assert!(!text.to_lowercase().contains(&raw.to_lowercase()), "{raw} in {text}");
    }
}

/// The names and contents of all files below a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push((path.display().to_string(), fs::read(&path).unwrap())),
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_gate_without_any_text_to_check_fails() {
    let dir = TestDir::new();
    let task = task(&dir);
    import(&dir, &task, &TEXTS[..1]);
    let gate = ["audit", "out", "--no-nearest", "--fail-on", "leak"];
    assert_eq!(dir.run(&gate).status.code(), Some(1));
    // Without any training text.
    let out = dir.path("out");
    let ledger = fs::read_to_string(out.join("ledger.jsonl")).unwrap();
    let begun: String = ledger.split_inclusive('\n').take(1).collect();
    fs::write(out.join("ledger.jsonl"), begun).unwrap();
    dir.write("out/ledger.head", FIRST_HEAD);
    for file in ["augmented.jsonl", "relabelled.jsonl", "train.jsonl", "dropped.jsonl"] {
        fs::remove_file(out.join(file)).unwrap();
    }
    let message = dir.fails(&gate);
    assert!(
        message.contains("nothing to check") && message.contains("promptmix filter out"),
        "{message}"
    );
    dir.ok(&gate[..3]);

    // A comparison keeps its texts in other files.
    fs::write(out.join("comparison"), "").unwrap();
    assert!(dir.fails(&gate).contains("promptmix compare"));
    let row = serde_json::json!({"id": 0, "text": TEXTS[0].0});
    dir.write("out/texts/teacher0/A2.k2.seed1.jsonl", format!("{row}\n"));
    let output = dir.run(&gate);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        message.contains("texts/teacher0/A2.k2.seed1.jsonl:1 e-mail A…@E….org LEAK"),
        "{message}"
    );
}

#[test]
fn masking_writes_nothing_if_a_file_was_changed() {
    let dir = TestDir::new();
    let task = task(&dir);
    import(&dir, &task, &TEXTS[..2]);
    let out = dir.path("out");
    let change = |name: &str, text: &str| {
        let before = fs::read(out.join(name)).unwrap();
        fs::write(out.join(name), [&before[..], text.as_bytes()].concat()).unwrap();
        let seen = files(&out);
        let masked = dir.run(&["audit", "out", "--no-nearest", "--redact"]);
        assert_eq!(masked.status.code(), Some(1), "{name}");
        let message = String::from_utf8_lossy(&masked.stdout).into_owned();
        assert!(message.contains(&format!("{name} was CHANGED")), "{message}");
        assert!(String::from_utf8_lossy(&masked.stderr).contains("nothing was masked"));
        assert_eq!(files(&out), seen, "{name}");
        fs::write(out.join(name), before).unwrap();
    };
    change("train.jsonl", "\n");
    change("relabelled.jsonl", "\n");
    change("settings.toml", "# another\n");
    let json = fs::read_to_string(out.join("task.json")).unwrap();
    let other = json.replacen("\"sha256\": \"", "\"sha256\": \"0", 1);
    assert_ne!(json, other);
    fs::write(out.join("task.json"), other).unwrap();
    let found = dir.run(&["audit", "out", "--no-nearest"]);
    assert_eq!(found.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&found.stdout).contains("task.json was CHANGED"));
    fs::write(out.join("task.json"), json).unwrap();

    // Without texts to mask.
    let ledger = fs::read_to_string(out.join("ledger.jsonl")).unwrap();
    let begun: String = ledger.split_inclusive('\n').take(1).collect();
    fs::write(out.join("ledger.jsonl"), begun).unwrap();
    dir.write("out/ledger.head", FIRST_HEAD);
    for file in ["augmented.jsonl", "relabelled.jsonl", "train.jsonl", "dropped.jsonl"] {
        fs::remove_file(out.join(file)).unwrap();
    }
    let seen = files(&out);
    let message = dir.fails(&["audit", "out", "--no-nearest", "--redact"]);
    assert!(message.contains("no relabelled.jsonl"), "{message}");
    assert_eq!(files(&out), seen);
}
