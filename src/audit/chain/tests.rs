use super::*;

/// Chained lines with these bodies.
fn ledger(bodies: &[&str]) -> Vec<String> {
    let mut last = hash::of_bytes(b"");
    let link = |(n, body): (usize, &&str)| {
        let line = format!("{{\"n\":{n},\"prev\":\"{last}\",\"kind\":\"x\",\"body\":\"{body}\"}}");
        last = hash::of_bytes(&line);
        line
    };
    bodies.iter().enumerate().map(link).collect()
}

fn of(lines: &[String]) -> Chain {
    chain((lines.join("\n") + "\n").as_bytes())
}

#[test]
fn a_sound_chain_and_a_torn_line() {
    let lines = ledger(&["a", "b", "c"]);
    let sound = of(&lines);
    assert_eq!((sound.lines, sound.torn, &sound.broken), (3, false, &None));
    assert_eq!(sound.last, hash::of_bytes(&lines[2]));
    let torn = chain((lines.join("\n") + "\n{\"n\":3,\"pre").as_bytes());
    assert_eq!((torn.lines, torn.torn, torn.broken), (3, true, None));
    assert_eq!((chain(b"").lines, chain(b"").torn), (0, false));
    assert!(chain(b"{").torn, "a first line that was never finished");
}

#[test]
fn each_kind_of_break_is_reported() {
    let lines = ledger(&["a", "b", "c", "d"]);
    let broken = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        of(&lines).broken.expect("a break")
    };
    let changed = broken(&|lines| lines[1] = lines[1].replace("\"b\"", "\"x\""));
    assert_eq!((changed.line, changed.sound), (3, 1), "{changed:?}");
    let gone = broken(&|lines| drop(lines.remove(1)));
    assert_eq!((gone.line, gone.sound), (2, 1), "{gone:?}");
    assert!(gone.reason.contains("missing"));
    let twice = broken(&|lines| lines.insert(2, lines[1].clone()));
    assert!(twice.line == 3 && twice.reason.contains("duplicated"), "{twice:?}");
    let noise = broken(&|lines| lines[2] = "noise".to_owned());
    assert_eq!((noise.line, noise.sound), (3, 2));
    let empty = broken(&|lines| lines.insert(1, String::new()));
    assert_eq!(empty.line, 2);
    // Lines that are missing at the end do not show: only a hash noted elsewhere reveals them.
    let cut = of(&lines[..3]);
    assert!(cut.broken.is_none() && !cut.hashes.contains(&of(&lines).last));
}

/// A chain that records these file contents.
fn recording(files: &[(&str, &str)]) -> Chain {
    let entry = |(name, text): &(&str, &str)| ((*name).to_owned(), hash::of_bytes(text));
    Chain { files: files.iter().map(entry).collect(), ..chain(b"") }
}

fn changed(folder: &Path, chain: &Chain) -> Vec<(String, bool)> {
    let changed = changed_files(folder, chain);
    changed.into_iter().map(|changed| (changed.file, changed.missing)).collect()
}

#[test]
fn changed_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "1").unwrap();
    fs::write(folder.path().join("b"), "2").unwrap();
    let named = changed(folder.path(), &recording(&[("a", "1"), ("b", "1"), ("c", "1")]));
    assert_eq!(named, [("b".to_owned(), false), ("c".to_owned(), true)]);
}

#[test]
fn task_and_settings_are_compared_with_those_of_the_last_start() {
    let begun = |n: usize, last: &str, task: &str, settings: &str| {
        format!(
            "{{\"n\":{n},\"prev\":\"{last}\",\"kind\":\"begun\",\"task_sha256\":\"{task}\",\"settings\":\"{settings}\"}}"
        )
    };
    let first = begun(0, &hash::of_bytes(b""), "old", "x = 1");
    let second = begun(1, &hash::of_bytes(&first), "new", "x = 2");
    let chain = of(&[first, second]);
    assert_eq!(chain.broken, None);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let names =
        || -> Vec<_> { changed(folder.path(), &chain).into_iter().map(|(name, _)| name).collect() };
    write("settings.toml", "x = 2");
    write("task.json", r#"{"sha256": "new", "name": "t"}"#);
    assert_eq!(names(), [""; 0]);
    write("settings.toml", "x = 1");
    write("task.json", r#"{"sha256": "old"}"#);
    assert_eq!(names(), ["settings.toml", "task.json"]);
    write("task.json", "no task at all");
    assert_eq!(names(), ["settings.toml", "task.json"]);
}

#[test]
fn outputs_beside_an_empty_ledger_and_added_files_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| fs::write(folder.path().join(name), "1").unwrap();
    fs::create_dir(folder.path().join("student")).unwrap();
    let found = |chain: &Chain| -> Vec<(String, bool)> {
        let changed = changed_files(folder.path(), chain);
        changed.into_iter().map(|changed| (changed.file, changed.unrecorded)).collect()
    };
    for name in ["my notes.txt", "report.json", "set-aside.jsonl", "student/config.json"] {
        write(name);
    }
    let all = ["set-aside.jsonl", "report.json", "student/config.json"]
        .map(|name| (name.to_owned(), true));
    assert_eq!(found(&chain(b"")), all);
    let names = ["report.json", "set-aside.jsonl", "student/config.json"];
    let mut recorded = recording(&names.map(|name| (name, "1")));
    recorded.recorded = recorded.files.keys().cloned().collect();
    assert_eq!(found(&recorded), []);
    write("student/tokenizer_config.json");
    assert_eq!(found(&recorded), [("student/tokenizer_config.json".to_owned(), true)]);
}

#[test]
fn changed_copies_and_foreign_files_among_them_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let copies = folder.path().join("written");
    fs::create_dir(&copies).unwrap();
    let name = format!("train.{}.jsonl", &hash::of_bytes("1")[..16]);
    let write = |name: &str, text: &str| fs::write(copies.join(name), text).unwrap();
    let found = || -> Vec<String> {
        changed_files(folder.path(), &chain(b"")).into_iter().map(|it| it.file).collect()
    };
    write(&name, "1");
    write(&format!("{}.123.part", name.trim_end_matches(".jsonl")), "");
    assert_eq!(found(), [""; 0]);
    write(&name, "1 and more");
    write("train.jsonl", "1");
    write("notes.txt", "1");
    let named = |name: &str| format!("written/{name}");
    assert_eq!(found(), [named("notes.txt"), named(&name), named("train.jsonl")]);
}

#[test]
fn a_head_that_was_removed_breaks_the_chain_that_promises_it() {
    let folder = tempfile::tempdir().unwrap();
    let begun = |format: &str| {
        let prev = hash::of_bytes(b"");
        format!("{{\"n\":0,\"prev\":\"{prev}\",\"kind\":\"begun\"{format}}}\n")
    };
    let broken = |format| {
        fs::write(folder.path().join("ledger.jsonl"), begun(format)).unwrap();
        follow(folder.path()).unwrap().broken.map(|broken| (broken.line, broken.reason))
    };
    assert_eq!(broken(""), None, "older ledgers have no head");
    assert_eq!(broken(",\"format\":1"), Some((1, hash::NO_HEAD.to_owned())));
    let head = ChainHead { lines: 0, sha256: hash::of_bytes("") };
    let head = serde_json::to_vec(&head).unwrap();
    fs::write(folder.path().join("ledger.head"), head).unwrap();
    assert_eq!(broken(",\"format\":1"), None);
}

#[test]
fn a_stage_that_ends_again_forgets_its_former_files() {
    let stage = |n: usize, last: &str, stage: &str, files: &str| {
        format!("{{\"n\":{n},\"prev\":\"{last}\",\"stage\":\"{stage}\",\"files\":{{{files}}}}}")
    };
    let mut lines = Vec::new();
    let mut last = hash::of_bytes(b"");
    for (name, files) in [
        ("train", r#""student/a":"1","student/b":"1""#),
        ("eval", r#""report.json":"2""#),
        ("train", r#""student/a":"3""#),
    ] {
        lines.push(stage(lines.len(), &last, name, files));
        last = hash::of_bytes(lines.last().unwrap());
    }
    let files: Vec<_> = of(&lines).files.into_iter().collect();
    let pair = |name: &str, hash: &str| (name.to_owned(), hash.to_owned());
    assert_eq!(files, [pair("report.json", "2"), pair("student/a", "3")]);
}

#[test]
fn a_changed_end_contradicts_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let lines = ledger(&["a", "b", "c"]);
    let broken = |lines: &[String]| {
        fs::write(folder.path().join("ledger.jsonl"), lines.join("\n") + "\n").unwrap();
        follow(folder.path()).unwrap().broken.map(|broken| (broken.line, broken.sound))
    };
    assert_eq!(broken(&lines), None);
    let head = ChainHead { lines: 3, sha256: hash::of_bytes(&lines[2]) };
    let head_path = folder.path().join("ledger.head");
    fs::write(&head_path, serde_json::to_vec(&head).unwrap()).unwrap();
    assert_eq!(broken(&lines), None);
    assert_eq!(broken(&ledger(&["a", "b", "c", "d"])), None, "the run went on");
    assert_eq!(broken(&ledger(&["a", "b", "x"])), Some((3, 2)));
    assert_eq!(broken(&lines[..2]), Some((3, 2)));
    fs::write(&head_path, "{}").unwrap();
    assert_eq!(broken(&lines), Some((1, 0)));
}

#[cfg(unix)]
#[test]
fn names_that_lead_elsewhere_are_not_followed() {
    let outer = tempfile::tempdir().unwrap();
    let run = outer.path().join("run");
    fs::create_dir_all(run.join("below")).unwrap();
    fs::write(outer.path().join("x"), "1").unwrap();
    fs::write(run.join("below/x"), "1").unwrap();
    std::os::unix::fs::symlink(outer.path(), run.join("out")).unwrap();
    std::os::unix::fs::symlink(outer.path().join("x"), run.join("link")).unwrap();
    let absolute = outer.path().join("x");
    let names = ["../x", "below/../../x", "out/x", "link", "below", "", absolute.to_str().unwrap()];
    for name in names.into_iter().chain(["/dev/zero"]) {
        assert_eq!(changed(&run, &recording(&[(name, "1")])), [(name.to_owned(), true)]);
    }
    assert_eq!(changed(&run, &recording(&[("below/x", "1")])), []);
}
