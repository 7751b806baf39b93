//! Stages in shards: the same rows as on one machine, and nothing that is missing goes unseen.

use std::fs;

use crate::support::{TINY, TestDir, assert_same_calls, count, rows};

/// Real texts, each of its own.
fn unlabelled() -> String {
    let text = |at: usize| match at % 2 {
        0 => format!("the display of computer {at} stays dark"),
        _ => format!("user {at} wants another password"),
    };
    (0..30).map(|at| text(at) + "\n").collect()
}

fn task(dir: &TestDir) -> String {
    dir.write("task/all.txt", unlabelled());
    let keys = "unlabelled = \"all.txt\"\n[label]\nbudget = 12\n[relabel]\n\
                calibration = \"content_free\"\nlabels = \"teacher\"";
    dir.task(keys).to_str().unwrap().to_owned()
}

#[test]
fn shards_give_the_rows_of_one_machine() {
    let dir = TestDir::new();
    let task = task(&dir);
    let generate = |out: &str, more: &[&str]| {
        let command = ["generate", &task, "--out", out, "--deterministic"];
        dir.ok(&[&command, &TINY[..], more].concat())
    };
    let label = |stage: &str, out: &str, more: &[&str]| {
        dir.ok(&[&[stage, out, "--deterministic"], more].concat())
    };
    generate("one", &[]);
    label("relabel", "one", &[]);
    label("label", "one", &[]);

    for shard in ["0/3", "1/3", "2/3"] {
        generate("many", &["--shard", shard]);
    }
    assert_eq!(fs::read_dir(dir.path("many/shards")).unwrap().count(), 3);
    let told = dir.ok(&["merge", "--out", "many"]);
    assert!(told.contains("from 3 shards"), "{told}");
    assert!(!dir.path("many/shards").exists());
    // A job that is started again has nothing to do.
    assert!(dir.ok(&["merge", "--out", "many"]).contains("from 0 shards"));
    generate("many", &[]);
    for stage in ["relabel", "label"] {
        for shard in ["0/2", "1/2"] {
            label(stage, "many", &["--shard", shard]);
            // A second time asks for nothing.
            let ledger =
                dir.path(&format!("many/shards/{stage}-{}-of-2/ledger.jsonl", &shard[..1]));
            let before = rows(&ledger).len();
            label(stage, "many", &["--shard", shard]);
            assert_eq!(rows(&ledger).len(), before, "{stage} {shard}");
        }
        dir.ok(&["merge", "--out", "many"]);
        label(stage, "many", &[]);
    }
    for file in ["augmented.jsonl", "relabelled.jsonl", "labelled.jsonl"] {
        let read = |run: &str| fs::read_to_string(dir.path(run).join(file)).unwrap();
        assert!(read("one") == read("many") && !read("one").is_empty(), "{file}");
    }
    assert_same_calls(&dir.path("one"), &dir.path("many"));
    let audit = dir.ok(&["audit", "many"]);
    assert!(audit.contains("chain     OK"), "{audit}");
}

#[test]
fn shards_that_are_missing_or_killed_are_named_and_can_be_run_again() {
    let dir = TestDir::new();
    let task = task(&dir);
    let shard = |shard: &'static str| {
        [&["generate", &task, "--out", "out", "--shard", shard], &TINY[..]].concat()
    };
    let merge = ["merge", "--out", "out"];
    assert!(dir.fails(&merge).contains("no shards to merge"));
    dir.ok(&shard("0/2"));
    let missing = dir.fails(&merge);
    assert!(
        missing.contains("1 of 2 shards of generate is missing or unfinished: 1/2"),
        "{missing}"
    );
    assert!(!dir.path("out/ledger.jsonl").exists());

    // What a kill may leave: a copy that was not finished, a shard that has not begun.
    dir.write("out/shards/.generate-1-of-2.new-7/ledger.jsonl", "{");
    dir.write("out/shards/generate-2-of-3/ledger.jsonl", "");
    let ledger = dir.path("out/shards/generate-1-of-2/ledger.jsonl");
    dir.killed_after(&shard("1/2"), &ledger, "teacher", 1);
    assert!(dir.fails(&merge).contains("unfinished: 1/2"));
    dir.ok(&shard("1/2"));
    let answers = count(&ledger, "reply");
    dir.ok(&merge);
    let merged = count(&dir.path("out/ledger.jsonl"), "reply");
    assert!(answers > 0 && merged > answers, "{answers} of {merged}");
    // What is known is not asked for again, whoever asks.
    dir.ok(&shard("1/2"));
    assert_eq!(count(&ledger, "reply"), merged);
    let told = dir.ok(&["merge", "--out", "out", "--partial"]);
    assert!(told.contains("0 new answers from 1 shard"), "{told}");

    // More texts for the same run.
    let more = ["--set", "augment.per_class=8"];
    for part in ["0/2", "1/2"] {
        dir.ok(&[&shard(part)[..], &more].concat());
    }
    let told = dir.ok(&merge);
    assert!(!told.contains(" 0 new answers"), "{told}");
    let before = count(&dir.path("out/ledger.jsonl"), "reply");
    dir.ok(&[&["generate", &task, "--out", "out"], &TINY[..], &more].concat());
    let all = rows(&dir.path("out/augmented.jsonl"));
    assert!(all.len() == 16 && count(&dir.path("out/ledger.jsonl"), "reply") - before <= 6);
}

#[test]
fn shards_that_do_not_belong_together_are_refused() {
    let dir = TestDir::new();
    let task = task(&dir);
    let shard = |shard: &str, out: &str, more: &[&str]| {
        let command = ["generate", &task, "--out", out, "--shard", shard];
        dir.ok(&[&command, &TINY[..], more].concat());
        dir.path(out).join(format!("shards/generate-{}-of-2", &shard[..1]))
    };
    let here = shard("0/2", "here", &[]);
    let other = shard("1/2", "elsewhere", &["--set", "augment.per_class=5"]);
    let merge = ["merge", "here", "elsewhere", "--out", "all"];
    let refused = dir.fails(&merge);
    assert!(refused.contains("their settings: augment.per_class is 5 and 4"), "{refused}");
    assert!(refused.contains(other.file_name().unwrap().to_str().unwrap()), "{refused}");
    assert!(!dir.path("all").exists());
    fs::remove_dir_all(&other).unwrap();
    // A folder that came from another machine, whose engine is set up otherwise.
    shard("1/2", "elsewhere", &["--set", "teacher.slots=2"]);
    dir.ok(&merge);
    assert!(here.exists() && !rows(&dir.path("all/ledger.jsonl")).is_empty());
    // A ledger that lost its end on the way.
    let ledger = here.join("ledger.jsonl");
    let text = fs::read_to_string(&ledger).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&ledger, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    assert!(dir.fails(&merge).contains("ledger.jsonl"));

    let run = dir.path("all");
    assert!(
        dir.fails(&["merge", run.to_str().unwrap(), "--out", "new"])
            .contains("not the folder of a shard")
    );
    let bad = dir.fails(&["generate", &task, "--out", "bad", "--shard", "2/2"]);
    assert!(bad.contains("no shard 2 of 2"), "{bad}");
    assert!(!dir.path("bad").exists());
}

#[test]
fn predictions_in_shards_are_those_of_the_whole_file() {
    let dir = TestDir::new();
    dir.write("texts.txt", unlabelled());
    let student = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/bert");
    let predict = |more: &[&str]| {
        dir.ok(&[&["predict", "--model", student, "--file", "texts.txt"], more].concat())
    };
    let whole = predict(&[]);
    let parts: String =
        ["0/4", "1/4", "2/4", "3/4"].iter().map(|shard| predict(&["--shard", shard])).collect();
    assert_eq!(parts.lines().count(), 30);
    let labels = |text: &str| -> Vec<String> {
        let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines().map(|line| format!("{} {}", row(line)["text"], row(line)["label"])).collect()
    };
    assert_eq!(labels(&parts), labels(&whole));
    // More shards than rows: some have none.
    assert_eq!(predict(&["--shard", "0/100"]), "");
    let stdin = dir.fails(&["predict", "--model", student, "--shard", "0/2"]);
    assert!(stdin.contains("--file"), "{stdin}");
}
