//! Checkpoints that other programs made, damaged or forged: read as `transformers` reads them, or
//! refused with the file, the field and what to do.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::support::TestDir;

fn fixture(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/student").join(family)
}

/// A copy of the fixture `family` in the folder `name`, with `changes` to its `config.json`; null
/// removes a key.
fn student(dir: &TestDir, name: &str, family: &str, changes: &[(&str, Value)]) -> PathBuf {
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        dir.write(&format!("{name}/{file}"), fs::read(fixture(family).join(file)).unwrap());
    }
    let path = dir.path(name).join("config.json");
    let mut config: Map<String, Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (key, value) in changes {
        match value {
            Value::Null => config.remove(*key),
            value => config.insert((*key).to_owned(), value.clone()),
        };
    }
    fs::write(&path, json!(config).to_string()).unwrap();
    dir.path(name)
}

/// What `predict` prints on stderr for a student that it must refuse.
fn refused(dir: &TestDir, name: &str) -> String {
    let errors = dir.fails(&["predict", "--model", name, "my card is lost"]);
    assert!(errors.contains("hint: "), "{errors}");
    errors
}

const ESCAPE: &str = "\u{1b}]0;PWNED\u{7}\u{9b}2J\u{202e}\rfine";

fn is_safe(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}')
}

#[test]
fn names_in_a_checkpoint_cannot_control_the_terminal() {
    let dir = TestDir::new();
    for key in ["model_type", "hidden_act", "position_embedding_type", "vocab_size"] {
        student(&dir, "m", "bert", &[(key, ESCAPE.into())]);
        let errors = refused(&dir, "m");
        assert!(is_safe(&errors) && errors.contains(key), "{errors:?}");
        assert!(errors.contains("PWNED"), "the value is shown: {errors:?}");
        student(&dir, "m", "bert", &[(key, "A".repeat(5_000_000).into())]);
        assert!(refused(&dir, "m").len() < 1000);
    }
    student(&dir, "m", "bert", &[]);
    rewrite(&dir.path("m"), |header, _| {
        let tensor = header.remove("classifier.bias").unwrap();
        header.insert(format!("bert.{ESCAPE}"), tensor);
    });
    let errors = refused(&dir, "m");
    assert!(is_safe(&errors) && errors.contains("PWNED"), "{errors:?}");
}

#[test]
fn the_name_of_a_teacher_cannot_control_the_terminal() {
    let dir = TestDir::new();
    dir.task("");
    let pocket = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/teacher/pocket-teacher.gguf");
    let mut bytes = fs::read(pocket).unwrap();
    let key = b"general.name";
    let at = bytes.windows(key.len()).position(|part| part == key).unwrap();
    // Behind the key: the type of the value, its length, the value.
    let value = at + key.len() + 4 + 8;
    bytes[value..value + 4].copy_from_slice(b"\x1b[2J");
    dir.write("evil.gguf", bytes);
    for args in [&["plan", "task"][..], &["doctor"], &["plan", "task", "--json"]] {
        let output = dir.run(&[args, &["--teacher", "evil.gguf"]].concat());
        let [out, errors] =
            [output.stdout, output.stderr].map(|all| String::from_utf8(all).unwrap());
        assert!(output.status.success(), "{errors}");
        assert!(is_safe(&out) && is_safe(&errors), "{args:?}: {out:?} {errors:?}");
    }
}

/// Changes the header and the data of the student's `model.safetensors`.
fn rewrite(student: &Path, change: impl Fn(&mut Map<String, Value>, &mut Vec<u8>)) {
    let weights = student.join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut data = bytes[8 + length..].to_vec();
    change(&mut header, &mut data);
    let header = json!(header).to_string();
    let new = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data];
    fs::write(&weights, new.concat()).unwrap();
}

#[test]
fn a_foreign_classifier_is_read_as_it_is_or_refused_by_name() {
    let dir = TestDir::new();
    // The fixture has three classes.
    let none = [("id2label", Value::Null), ("label2id", Value::Null)];
    student(&dir, "m", "bert", &none);
    let row: Value = serde_json::from_str(&dir.ok(&["predict", "--model", "m", "a card"])).unwrap();
    let classes = row["probabilities"].as_object().unwrap().keys().collect::<Vec<_>>();
    assert_eq!(classes, ["LABEL_0", "LABEL_1", "LABEL_2"]);
    for (key, value, part) in [
        ("problem_type", json!("multi_label_classification"), "multi_label_classification"),
        ("problem_type", json!("regression"), "regression"),
        ("id2label", json!({"0": "a", "1": "a", "2": "b"}), "both named \"a\""),
        ("id2label", json!({"1": "a", "2": "b", "3": "c"}), "class 0 of 3 has no name"),
        ("label2id", json!({"money": 1, "travel": 0, "other": 2}), "label2id gives"),
        ("num_labels", json!(2), "num_labels is 2"),
        ("layer_norm_eps", json!(-5), "layer_norm_eps is -5"),
    ] {
        student(&dir, "m", "bert", &[(key, value)]);
        let errors = refused(&dir, "m");
        assert!(errors.contains("config.json: ") && errors.contains(part), "{errors}");
    }
    // An encoder without a head.
    let folder = student(&dir, "m", "bert", &[]);
    rewrite(&folder, |header, data| {
        header.retain(|name, _| !name.starts_with("classifier."));
        let end = |tensor: &Value| tensor["data_offsets"][1].as_u64().unwrap_or(0);
        data.truncate(header.values().map(end).max().unwrap() as usize);
    });
    let errors = dir.fails(&["predict", "--model", "m", "a card"]);
    assert!(errors.contains("classifier"), "{errors}");
}

#[test]
fn the_weights_decide_how_large_a_network_may_be() {
    let dir = TestDir::new();
    for layers in [3_u64, 10_000_000, 1 << 40] {
        student(&dir, "m", "bert", &[("num_hidden_layers", layers.into())]);
        let errors = refused(&dir, "m");
        let line = format!("config.json has {layers} layers, but the file has 2");
        assert!(errors.contains(&line), "{errors}");
    }
    for key in ["hidden_size", "vocab_size", "intermediate_size", "max_position_embeddings"] {
        student(&dir, "m", "bert", &[(key, (1_u64 << 62).into())]);
        assert!(refused(&dir, "m").contains("4611686018427387904"));
    }
}

#[test]
fn damaged_weights_are_refused_with_the_name_of_the_tensor() {
    let dir = TestDir::new();
    let damaged = "distilbert.transformer.layer.1.ffn.lin2.weight";
    for value in [f32::NAN, f32::INFINITY] {
        let folder = student(&dir, "m", "distilbert", &[]);
        rewrite(&folder, |header, data| {
            let at = header[damaged]["data_offsets"][0].as_u64().unwrap() as usize;
            data[at..at + 4].copy_from_slice(&value.to_le_bytes());
        });
        let errors = refused(&dir, "m");
        assert!(errors.contains(damaged) && errors.contains("not finite"), "{errors}");
    }
}

#[test]
fn what_stands_in_place_of_a_file_is_named() {
    let dir = TestDir::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n";
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        for (content, part) in [
            (pointer, "git-lfs pointer"),
            ("<!DOCTYPE html><html></html>", "web page"),
            ("", "empty"),
        ] {
            student(&dir, "m", "bert", &[]);
            dir.write(&format!("m/{file}"), content);
            let errors = refused(&dir, "m");
            assert!(errors.contains(file) && errors.contains(part), "{file}: {errors}");
        }
    }
    for (file, part) in [
        ("pytorch_model.bin", "python -c"),
        ("model.safetensors.index.json", "several files"),
        ("adapter_config.json", "LoRA"),
    ] {
        let folder = student(&dir, file, "bert", &[]);
        fs::remove_file(folder.join("model.safetensors")).unwrap();
        dir.write(&format!("{file}/{file}"), "x");
        let errors = refused(&dir, file);
        assert!(errors.contains(file) && errors.contains(part), "{errors}");
    }
}

#[test]
#[cfg(unix)]
fn pipes_devices_and_folders_in_place_of_a_file_are_refused_at_once() {
    let dir = TestDir::new();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        let path = student(&dir, "m", "bert", &[]).join(file);
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(refused(&dir, "m").contains("it is a named pipe, not a file"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(refused(&dir, "m").contains("it is a device, not a file"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(refused(&dir, "m").contains("it is a folder, not a file"));
        fs::remove_dir(&path).unwrap();
    }
}

#[test]
fn a_tokenizer_that_has_no_bound_or_contradicts_its_companions_is_refused() {
    let dir = TestDir::new();
    let bomb = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(100)});
    let maps = ["//8AAAAA", "CAAAAP////////////8="];
    let map = |map: &str| json!({"type": "Precompiled", "precompiled_charsmap": map});
    for normalizer in
        [json!({"type": "Sequence", "normalizers": vec![bomb; 6]}), map(maps[0]), map(maps[1])]
    {
        let folder = student(&dir, "m", "bert", &[]);
        let path = folder.join("tokenizer.json");
        let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        tokenizer["normalizer"] = normalizer;
        fs::write(&path, tokenizer.to_string()).unwrap();
        assert!(refused(&dir, "m").contains("tokenizer.json: it"));
    }
    let folder = student(&dir, "m", "bert", &[]);
    fs::write(folder.join("tokenizer_config.json"), r#"{"do_lower_case": false}"#).unwrap();
    let errors = refused(&dir, "m");
    assert!(errors.contains("tokenizer_config.json says do_lower_case = false"), "{errors}");
}

#[test]
fn the_end_of_a_text_that_is_cut_is_the_side_that_the_config_names() {
    let dir = TestDir::new();
    let predict = |side: &str, text: &str| {
        let short = [("promptmix_max_length", json!(6))];
        let folder = student(&dir, "m", "bert", &short);
        let path = folder.join("tokenizer_config.json");
        fs::write(path, json!({"truncation_side": side}).to_string()).unwrap();
        let row: Value = serde_json::from_str(&dir.ok(&["predict", "--model", "m", text])).unwrap();
        row["probabilities"].clone()
    };
    let (long, start, end) =
        ("my card is lost , the train is late", "my card is lost", "the train is late");
    assert_eq!(predict("right", long), predict("right", start));
    assert_eq!(predict("left", long), predict("left", end));
    assert_ne!(predict("left", long), predict("right", long));
    for (side, part) in [("right", "first"), ("left", "last")] {
        predict(side, long);
        let errors = dir.run(&["predict", "--model", "m", long]).stderr;
        let errors = String::from_utf8(errors).unwrap();
        assert!(
            errors.contains(&format!("1 of 1 text was cut to its {part} 6 tokens")),
            "{errors}"
        );
        // Other programs cut what is exported in the same way.
        dir.ok(&["export", "m", "--to", side]);
        let file = |name: &str| -> Value {
            serde_json::from_slice(&fs::read(dir.path(side).join(name)).unwrap()).unwrap()
        };
        let (cut, config) = (&file("tokenizer.json")["truncation"], file("tokenizer_config.json"));
        assert_eq!((&cut["max_length"], &config["model_max_length"]), (&json!(6), &json!(6)));
        assert_eq!(cut["direction"].as_str().map(str::to_lowercase).as_deref(), Some(side));
        assert_eq!(config["truncation_side"], side);
    }
}

#[test]
fn a_special_token_that_another_file_names_otherwise_is_refused() {
    let dir = TestDir::new();
    student(&dir, "m", "bert", &[]);
    for (role, own) in [("cls_token", "[CLS]"), ("sep_token", "[SEP]"), ("unk_token", "[UNK]")] {
        dir.write("m/special_tokens_map.json", json!({ role: "[MASK]" }).to_string());
        let errors = refused(&dir, "m");
        let names = ["special_tokens_map.json", own, role, "\"[MASK]\""];
        assert!(names.iter().all(|name| errors.contains(name)), "{errors}");
    }
}

#[test]
fn a_vocabulary_of_another_language_is_told_by_plan_and_predict() {
    let dir = TestDir::new();
    student(&dir, "m", "bert", &[]);
    let warned = |args: &[&str]| {
        let output = dir.run(args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{errors}");
        errors.contains("vocabulary does not cover")
    };
    let russian = "\u{44d}\u{442}\u{43e} \u{444}\u{440}\u{430}\u{437}\u{430}\n".repeat(60);
    dir.write("foreign.txt", russian);
    dir.write("own.txt", "my card is lost\n".repeat(60));
    dir.write("emoji.txt", "\u{1f50c}\u{1f50c}\n\u{1f600}\n".repeat(6));
    assert!(warned(&["predict", "--model", "m", "--file", "foreign.txt"]));
    assert!(warned(&["predict", "--model", "m", "--file", "emoji.txt"]));
    assert!(!warned(&["predict", "--model", "m", "--file", "own.txt"]));
    dir.task("");
    let long = |text: &str, label: &str| json!({"text": text.repeat(20), "label": label});
    let rows = [long("toner leaks ", "hardware_fault"), long("reset it ", "password_reset")];
    dir.write("task/test.jsonl", rows.map(|row| format!("{row}\n")).concat());
    // The fixture knows 73 tokens, few of them words of the task.
    let output = dir.run(&["plan", "task", "--student", "m"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("vocabulary does not cover"), "{errors}");
    assert!(errors.contains("distilbert-base-multilingual-cased"), "{errors}");
    assert!(!warned(&["plan", "task"]), "the pocket student was trained on such texts");
}

#[test]
fn a_model_of_the_hub_is_found_in_the_cache_by_its_full_name() {
    let dir = TestDir::new();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let repo = "hf/hub/models--someone--tiny-bert";
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let bytes = fs::read(fixture("bert").join(file)).unwrap();
        dir.write(&format!("{repo}/snapshots/{commit}/{file}"), bytes);
    }
    dir.task("");
    let plan = |name: &str| {
        let args = ["plan", "task", "--json", "--student", name];
        let output = dir.program(&args).env("HF_HOME", dir.path("hf")).output().unwrap();
        let out: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (out["train"]["memory_bytes"].as_u64().unwrap_or(0) > 0, output)
    };
    // Without a reference, and with one that ends in a line feed.
    assert!(plan("someone/tiny-bert").0);
    dir.write(&format!("{repo}/refs/main"), format!("{commit}\n"));
    assert!(plan("someone/tiny-bert").0);
    let errors = dir.fails(&["run", "task", "--out", "out", "--student", "someone/else"]);
    assert!(errors.contains("someone/else is not on this machine"), "{errors}");
    assert!(errors.contains("hf download someone/else"), "{errors}");
    // A classifier in the cache answers, whichever command asks.
    let predict = |name: &str| {
        let args = ["predict", "--model", name, "my card"];
        dir.program(&args).env("HF_HOME", dir.path("hf")).output().unwrap()
    };
    let output = predict("someone/tiny-bert");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["label"].is_string(), "{answer}");
    let refused = |name: &str| crate::support::check_failure(&predict(name));
    let errors = refused("someone/tiny-bret");
    assert!(errors.contains("did you mean someone/tiny-bert?"), "{errors}");
    assert!(refused("pocket").contains("has not learnt any classes"));
    // Without a reference, a second snapshot makes it a choice.
    let other = "1".repeat(40);
    let config = fs::read(fixture("bert").join("config.json")).unwrap();
    dir.write(&format!("{repo}/snapshots/{other}/config.json"), config);
    assert!(predict("someone/tiny-bert").status.success());
    fs::remove_file(dir.path(&format!("{repo}/refs/main"))).unwrap();
    let errors = refused("someone/tiny-bert");
    assert!(errors.contains("holds several snapshots") && errors.contains(commit), "{errors}");
    assert!(errors.contains(&other) && errors.contains("give the path of one"), "{errors}");
    for reference in ["../..", "../../../elsewhere", "a/b", ""] {
        dir.write(&format!("{repo}/refs/main"), reference);
        let errors = refused("someone/tiny-bert");
        assert!(errors.contains("refs/main must hold a commit"), "{errors}");
    }
    let errors = dir.fails(&["run", "task", "--out", "out", "--teacher", "qwen2.5-0.5b"]);
    assert!(errors.contains("did you mean qwen2.5-0.5b-instruct?"), "{errors}");
    let errors = dir.fails(&["plan", "task", "--set", "student.epoch=3"]);
    assert!(errors.contains("did you mean `epochs`?"), "{errors}");
}
