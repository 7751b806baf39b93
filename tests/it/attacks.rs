//! What somebody who may write into a run folder, or removes files from it, can do.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::support::{SMALL, TestDir, count, json};

const EXPORT: [&str; 4] = ["export", "out", "--to", "exported"];

fn run(dir: &TestDir) {
    let task = dir.task("");
    dir.ok(&[&["run", task.to_str().unwrap(), "--out", "out"], &SMALL[..]].concat());
}

/// Checks that audit and export fail with exit code 1 and name `wanted`.
fn is_noticed(dir: &TestDir, wanted: &str) {
    for command in [&["audit", "out", "--no-nearest"][..], &EXPORT] {
        let output = dir.run(command);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {wanted}: {errors}");
        assert!(errors.contains(wanted) && errors.contains("hint:"), "{command:?}: {errors}");
    }
    assert!(!dir.path("exported").exists());
}

#[test]
fn every_file_of_a_run_is_protected_and_export_checks_it() {
    let dir = TestDir::new();
    run(&dir);
    dir.ok(&["audit", "out", "--no-nearest"]);
    let out = dir.path("out");
    let files = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let mut all = files(&out);
    all.extend(files(&out.join("student")).into_iter().map(|name| format!("student/{name}")));
    assert!(all.iter().any(|name| name == "student/tokenizer_config.json"), "{all:?}");
    for name in all.iter().filter(|name| *name != "run.lock") {
        let before = fs::read(out.join(name)).unwrap();
        let mut changed = before.clone();
        // The last digit or letter: the file stays what it was.
        match changed.iter().rposition(u8::is_ascii_alphanumeric) {
            Some(at) => changed[at] = if changed[at] == b'1' { b'2' } else { b'1' },
            None => changed.push(b'\n'),
        }
        fs::write(out.join(name), changed).unwrap();
        let noticed = dir.run(&["audit", "out", "--no-nearest"]);
        assert_ne!(noticed.status.code(), Some(0), "{name}");
        fs::write(out.join(name), before).unwrap();
    }
    let report = fs::read_to_string(out.join("report.json")).unwrap();
    let mean = json(&out.join("report.json"))["results"][0]["accuracy"]["mean"].to_string();
    fs::write(out.join("report.json"), report.replace(&mean, "0.999")).unwrap();
    is_noticed(&dir, "report.json is not as the run wrote it");
    fs::write(out.join("report.json"), report).unwrap();

    dir.write("out/student/extra.json", "{}");
    is_noticed(&dir, "student/extra.json is not recorded");
    fs::remove_file(out.join("student/extra.json")).unwrap();

    let ledger = fs::read(out.join("ledger.jsonl")).unwrap();
    fs::write(out.join("ledger.jsonl"), "").unwrap();
    is_noticed(&dir, "chain breaks at line 1");
    let head = fs::read(out.join("ledger.head")).unwrap();
    fs::remove_file(out.join("ledger.head")).unwrap();
    is_noticed(&dir, "is not recorded");
    fs::remove_file(out.join("ledger.jsonl")).unwrap();
    let commands: [&[&str]; 3] = [&EXPORT, &["audit", "out"], &["plan", "out"]];
    for command in commands {
        let errors = dir.fails(command);
        assert!(errors.contains("ledger.jsonl"), "{command:?}: {errors}");
    }
    fs::write(out.join("ledger.jsonl"), ledger).unwrap();
    fs::write(out.join("ledger.head"), head).unwrap();

    dir.write("out/set-aside.jsonl", "{}");
    is_noticed(&dir, "set-aside.jsonl is not recorded");
    fs::remove_file(out.join("set-aside.jsonl")).unwrap();
    for copy in files(&out.join("written")) {
        let copy = format!("written/{copy}");
        let before = fs::read(out.join(&copy)).unwrap();
        fs::write(out.join(&copy), [&before[..], b"more"].concat()).unwrap();
        is_noticed(&dir, &format!("{copy} is not as the run wrote it"));
        fs::write(out.join(&copy), before).unwrap();
    }
    dir.ok(&EXPORT);
}

#[test]
fn an_edited_last_line_without_its_head_is_noticed() {
    let dir = TestDir::new();
    run(&dir);
    let (ledger, head) = (dir.path("out/ledger.jsonl"), dir.path("out/ledger.head"));
    let (text, sealed) = (fs::read_to_string(&ledger).unwrap(), fs::read(&head).unwrap());
    let last = text.lines().last().unwrap();
    assert!(last.contains("\"stage\":\"eval\""), "{last}");
    fs::write(&ledger, text.replace(last, &last.replacen("\"eval\"", "\"evam\"", 1))).unwrap();
    fs::remove_file(&head).unwrap();
    is_noticed(&dir, "chain breaks at line 1");
    let errors = dir.fails(&["filter", "out"]);
    assert!(errors.contains("ledger.head beside it was removed"), "{errors}");
    fs::write(&ledger, text).unwrap();
    fs::write(&head, sealed).unwrap();
    dir.ok(&EXPORT);
}

#[test]
fn no_link_in_a_run_folder_is_followed() {
    let dir = TestDir::new();
    run(&dir);
    let victim = dir.write("victim", "precious");
    for name in ["run.lock", "ledger.jsonl", "train.part", "dropped.jsonl", "student/config.json"] {
        let path = dir.path("out").join(name);
        let before = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        symlink(&victim, &path).unwrap();
        let errors = dir.fails(&["filter", "out"]);
        assert!(errors.contains(&format!("{name} in it is a symbolic link")), "{errors}");
        assert!(errors.contains("hint:"), "{errors}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{name}");
        fs::remove_file(&path).unwrap();
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
    }
    // A second name of the same file is no symbolic link.
    let ledger = dir.path("out/ledger.jsonl");
    let before = fs::read(&ledger).unwrap();
    fs::remove_file(&ledger).unwrap();
    fs::hard_link(&victim, &ledger).unwrap();
    assert!(dir.fails(&["filter", "out"]).contains("hard link"));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    fs::remove_file(&ledger).unwrap();
    fs::write(&ledger, before).unwrap();
    dir.ok(&["filter", "out"]);
}

#[test]
fn a_folder_that_everybody_may_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TestDir::new();
    let task = dir.task("");
    fs::create_dir(dir.path("out")).unwrap();
    fs::set_permissions(dir.path("out"), fs::Permissions::from_mode(0o777)).unwrap();
    let command = [&["generate", task.to_str().unwrap(), "--out", "out"], &SMALL[..]].concat();
    let errors = dir.fails(&command);
    assert!(errors.contains("every user may write to it (mode 777)"), "{errors}");
    assert_eq!(fs::read_dir(dir.path("out")).unwrap().count(), 0);
}

#[test]
fn a_removed_lock_file_lets_no_second_process_in() {
    let dir = TestDir::new();
    let command = [&["demo", "--out", "out"], &SMALL[..]].concat();
    let mut first = dir.program(&command);
    let first = first.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut first = first.spawn().unwrap();
    while count(&dir.path("out/ledger.jsonl"), "begun") == 0 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    fs::remove_file(dir.path("out/run.lock")).unwrap();
    let errors = dir.fails(&command);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(errors.contains("out is in use by another promptmix"), "{errors}");
}
