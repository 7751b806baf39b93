//! `models import`, `verify` and `remove`: models that came without a network.

use std::{fs, path::Path};

use crate::support::{SMALL, TestDir, json_lines};

fn pocket(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pocket").join(name).display().to_string()
}

#[test]
fn an_imported_model_is_used_by_name_and_removed() {
    let bench = TestDir::new();
    let teacher = pocket("teacher/pocket-teacher.gguf");
    bench.ok(&["models", "import", &teacher, "--name", "mine", "--licence", "MIT"]);
    bench.ok(&["models", "import", &pocket("student"), "--name", "own"]);
    // The same once more is fine, another of that name is not.
    bench.ok(&["models", "import", &teacher, "--name", "mine"]);
    let mut other = fs::read(&teacher).unwrap();
    *other.last_mut().unwrap() ^= 1;
    bench.write("other.gguf", &other);
    let errors = bench.fails(&["models", "import", "other.gguf", "--name", "mine"]);
    assert!(errors.contains("another teacher") && errors.contains("hint: "), "{errors}");

    let rows = bench.ok(&["models", "list", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == "mine").unwrap();
    assert_eq!((row["state"].as_str(), row["licence"].as_str()), (Some("library"), Some("MIT")));
    let task = bench.task("");
    let task = task.to_str().unwrap();
    let models = ["--teacher", "mine", "--student", "own"];
    bench.ok(&[&["plan", task][..], &models].concat());
    bench.ok(&[&["generate", task, "--out", "run"][..], &models, &SMALL].concat());
    let verified = json_lines(&bench.ok(&["models", "verify", "--json"]));
    assert!(verified.len() == 5 && verified.iter().all(|row| row["state"] == "sound"));

    bench.ok(&["models", "remove", "mine"]);
    let errors = bench.fails(&["models", "remove", "mine"]);
    assert!(errors.contains("mine"), "{errors}");
    // Its name is free for another.
    bench.ok(&["models", "import", "other.gguf", "--name", "mine"]);
    let errors = bench.fails(&["models", "remove", "pocket"]);
    assert!(errors.contains("part of the program"), "{errors}");
}

#[test]
fn names_and_paths_that_cannot_be_are_refused() {
    let bench = TestDir::new();
    let teacher = pocket("teacher/pocket-teacher.gguf");
    for name in ["../up", "a/b", ".hidden", ""] {
        let errors = bench.fails(&["models", "import", &teacher, "--name", name]);
        assert!(errors.contains("cannot be the name"), "{errors}");
    }
    assert!(bench.fails(&["models", "import", "nowhere"]).contains("nowhere does not exist"));
    bench.write("empty/readme.md", "nothing");
    assert!(bench.fails(&["models", "import", "empty"]).contains("holds no"));
    assert!(bench.fails(&["models", "remove", "../x"]).contains("cannot be the name"));
    // A model in several files comes whole or not at all.
    bench.write("big-00001-of-00002.gguf", fs::read(&teacher).unwrap());
    let errors = bench.fails(&["models", "import", "big-00001-of-00002.gguf"]);
    assert!(errors.contains("big-00002-of-00002.gguf"), "{errors}");
}

#[test]
#[cfg(unix)]
fn the_library_is_for_its_owner_alone_and_an_interruption_leaves_nothing_in_it() {
    use std::os::unix::fs::PermissionsExt;
    let bench = TestDir::new();
    let models = bench.path(".cache/promptmix/models");
    bench.write(".cache/promptmix/models/.staging/new/half.gguf", "GGUF and no more");
    bench.ok(&["models", "import", &pocket("teacher/pocket-teacher.gguf"), "--name", "mine"]);
    assert!(!models.join(".staging").exists());
    let mode = |path: &str| fs::metadata(models.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("teacher/mine"), 0o700);
    assert_eq!(mode("teacher/mine/pocket-teacher.gguf"), 0o600);
    assert_eq!(mode("../models.lock.toml"), 0o600);
}

#[test]
fn a_hugging_face_cache_is_read_and_never_written() {
    let bench = TestDir::new();
    let repo = "hf/hub/models--distilbert--distilbert-base-uncased";
    let commit = "0123456789abcdef0123456789abcdef01234567";
    bench.write(&format!("{repo}/refs/main"), commit);
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        let bytes = fs::read(pocket(&format!("student/{file}"))).unwrap();
        bench.write(&format!("{repo}/snapshots/{commit}/{file}"), bytes);
    }
    let home = bench.path("hf");
    let run = |args: &[&str]| bench.program(args).env("HF_HOME", &home).output().unwrap();
    let list = run(&["models", "list"]);
    let list = String::from_utf8(list.stdout).unwrap();
    let line = list.lines().find(|line| line.starts_with("distilbert-base-uncased ")).unwrap();
    assert!(line.contains("HF cache"), "{line}");
    let remove = run(&["models", "remove", "distilbert-base-uncased"]);
    let errors = crate::support::check_failure(&remove);
    assert!(errors.contains("belongs to other programs") && errors.contains(commit), "{errors}");
    // Nothing is known of its hashes, so there is nothing to differ.
    let verify = run(&["models", "verify", "distilbert-base-uncased"]);
    assert_eq!(verify.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&verify.stdout).contains("no hash known"));
}

#[test]
fn a_model_that_lost_a_file_is_named() {
    let bench = TestDir::new();
    bench.ok(&["models", "import", &pocket("student"), "--name", "own"]);
    bench.ok(&["models", "import", &pocket("teacher/pocket-teacher.gguf"), "--name", "mine"]);
    let models = bench.path(".cache/promptmix/models");
    fs::remove_file(models.join("student/own/tokenizer.json")).unwrap();
    fs::remove_file(models.join("teacher/mine/pocket-teacher.gguf")).unwrap();
    let verify = bench.run(&["models", "verify"]);
    assert_eq!(verify.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&verify.stderr).into_owned();
    for file in ["tokenizer.json", "pocket-teacher.gguf"] {
        assert!(errors.contains(file), "{errors}");
    }
}

/// The same bytes at the same path are not hashed twice; other bytes are, whatever their time says.
#[test]
#[cfg(unix)]
fn the_cache_of_hashes_is_no_way_around_the_check() {
    let bench = TestDir::new();
    bench.ok(&["models", "import", &pocket("teacher/pocket-teacher.gguf"), "--name", "mine"]);
    let task = bench.task("");
    let plan = ["plan", task.to_str().unwrap(), "--teacher", "mine"];
    std::thread::sleep(std::time::Duration::from_millis(3_200));
    bench.ok(&plan);
    let cache = bench.path(".cache/promptmix/verified.json");
    assert!(fs::read_to_string(&cache).unwrap().len() > 64);
    let file = bench.path(".cache/promptmix/models/teacher/mine/pocket-teacher.gguf");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    assert!(bench.fails(&plan).contains("is not what it should be"));
    // A damaged cache counts as empty.
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    fs::write(&cache, "{ torn").unwrap();
    bench.ok(&plan);
}
