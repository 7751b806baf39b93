//! `models import`, `verify` and `remove`: models that were not pulled.

use std::{fs, path::Path};

use crate::support::{SMALL, TestDir, json_lines};

fn pocket(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pocket").join(name).display().to_string()
}

#[test]
fn an_imported_model_is_used_by_name_and_removed() {
    let dir = TestDir::new();
    let teacher = pocket("teacher/pocket-teacher.gguf");
    dir.ok(&["models", "import", &teacher, "--name", "mine", "--licence", "MIT"]);
    dir.ok(&["models", "import", &pocket("student"), "--name", "own"]);
    // Importing the same model again is fine, another one under its name is not.
    dir.ok(&["models", "import", &teacher, "--name", "mine"]);
    let mut other = fs::read(&teacher).unwrap();
    *other.last_mut().unwrap() ^= 1;
    dir.write("other.gguf", &other);
    let errors = dir.fails(&["models", "import", "other.gguf", "--name", "mine"]);
    assert!(errors.contains("another teacher") && errors.contains("hint: "), "{errors}");

    let rows = dir.ok(&["models", "list", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == "mine").unwrap();
    assert_eq!((row["state"].as_str(), row["licence"].as_str()), (Some("library"), Some("MIT")));
    let task = dir.task("");
    let task = task.to_str().unwrap();
    let models = ["--teacher", "mine", "--student", "own"];
    dir.ok(&[&["plan", task][..], &models].concat());
    dir.ok(&[&["generate", task, "--out", "run"][..], &models, &SMALL].concat());
    let verified = json_lines(&dir.ok(&["models", "verify", "--json"]));
    assert!(verified.len() == 5 && verified.iter().all(|row| row["state"] == "sound"));

    dir.ok(&["models", "remove", "mine"]);
    let errors = dir.fails(&["models", "remove", "mine"]);
    assert!(errors.contains("mine"), "{errors}");
    // Its name is free again.
    dir.ok(&["models", "import", "other.gguf", "--name", "mine"]);
    let errors = dir.fails(&["models", "remove", "pocket"]);
    assert!(errors.contains("part of the program"), "{errors}");
}

#[test]
fn invalid_names_and_paths_are_refused() {
    let dir = TestDir::new();
    let teacher = pocket("teacher/pocket-teacher.gguf");
    for name in ["../up", "a/b", ".hidden", ""] {
        let errors = dir.fails(&["models", "import", &teacher, "--name", name]);
        assert!(errors.contains("cannot be the name"), "{errors}");
    }
    assert!(dir.fails(&["models", "import", "nowhere"]).contains("nowhere does not exist"));
    dir.write("empty/readme.md", "nothing");
    assert!(dir.fails(&["models", "import", "empty"]).contains("has no"));
    assert!(dir.fails(&["models", "remove", "../x"]).contains("cannot be the name"));
    // A model in several files is imported completely or not at all.
    dir.write("big-00001-of-00002.gguf", fs::read(&teacher).unwrap());
    let errors = dir.fails(&["models", "import", "big-00001-of-00002.gguf"]);
    assert!(errors.contains("big-00002-of-00002.gguf"), "{errors}");
}

#[test]
#[cfg(unix)]
fn the_library_is_private_and_an_interrupted_import_leaves_nothing_in_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TestDir::new();
    let models = dir.path(".cache/promptmix/models");
    dir.write(".cache/promptmix/models/.staging/new/half.gguf", "GGUF and no more");
    dir.ok(&["models", "import", &pocket("teacher/pocket-teacher.gguf"), "--name", "mine"]);
    assert!(!models.join(".staging").exists());
    let mode = |path: &str| fs::metadata(models.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("teacher/mine"), 0o700);
    assert_eq!(mode("teacher/mine/pocket-teacher.gguf"), 0o600);
    assert_eq!(mode("../models.lock.toml"), 0o600);
}

#[test]
fn a_hugging_face_cache_is_read_and_never_written() {
    let dir = TestDir::new();
    let repo = "hf/hub/models--distilbert--distilbert-base-uncased";
    let commit = "0123456789abcdef0123456789abcdef01234567";
    dir.write(&format!("{repo}/refs/main"), commit);
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        let bytes = fs::read(pocket(&format!("student/{file}"))).unwrap();
        dir.write(&format!("{repo}/snapshots/{commit}/{file}"), bytes);
    }
    let home = dir.path("hf");
    let run = |args: &[&str]| dir.program(args).env("HF_HOME", &home).output().unwrap();
    let list = run(&["models", "list"]);
    let list = String::from_utf8(list.stdout).unwrap();
    let line = list.lines().find(|line| line.starts_with("distilbert-base-uncased ")).unwrap();
    assert!(line.contains("HF cache"), "{line}");
    let remove = run(&["models", "remove", "distilbert-base-uncased"]);
    let errors = crate::support::check_failure(&remove);
    assert!(errors.contains("belongs to other programs") && errors.contains(commit), "{errors}");
    // No hashes are known, so nothing can differ.
    let verify = run(&["models", "verify", "distilbert-base-uncased"]);
    assert_eq!(verify.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&verify.stdout).contains("no hash known"));
}

#[test]
fn a_missing_file_is_named() {
    let dir = TestDir::new();
    dir.ok(&["models", "import", &pocket("student"), "--name", "own"]);
    dir.ok(&["models", "import", &pocket("teacher/pocket-teacher.gguf"), "--name", "mine"]);
    let models = dir.path(".cache/promptmix/models");
    fs::remove_file(models.join("student/own/tokenizer.json")).unwrap();
    fs::remove_file(models.join("teacher/mine/pocket-teacher.gguf")).unwrap();
    let verify = dir.run(&["models", "verify"]);
    assert_eq!(verify.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&verify.stderr).into_owned();
    for file in ["tokenizer.json", "pocket-teacher.gguf"] {
        assert!(errors.contains(file), "{errors}");
    }
}

/// An unchanged file is not hashed twice; a changed one is, even with its old mtime.
#[test]
#[cfg(unix)]
fn the_cache_of_hashes_does_not_hide_a_change() {
    let dir = TestDir::new();
    dir.ok(&["models", "import", &pocket("teacher/pocket-teacher.gguf"), "--name", "mine"]);
    let task = dir.task("");
    let plan = ["plan", task.to_str().unwrap(), "--teacher", "mine"];
    std::thread::sleep(std::time::Duration::from_millis(3_200));
    dir.ok(&plan);
    let cache = dir.path(".cache/promptmix/verified.json");
    assert!(fs::read_to_string(&cache).unwrap().len() > 64);
    let file = dir.path(".cache/promptmix/models/teacher/mine/pocket-teacher.gguf");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    assert!(dir.fails(&plan).contains("has the sha256"));
    // A damaged cache counts as empty.
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    fs::write(&cache, "{ torn").unwrap();
    dir.ok(&plan);
}
