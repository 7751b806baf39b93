//! Pins: a name stands for the listed files of a model and for no others.

use std::{fs, path::Path, process::Output};

use sha2::{Digest, Sha256};

use crate::support::{TestDir, json_lines};

fn pocket(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pocket").join(name).display().to_string()
}

/// Stdout and stderr of `plan`, which reports a missing student without failing.
fn printed(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// Part `number` (from 0) of a GGUF in two files, with no tensors in it.
pub(crate) fn part(number: u16) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(3u64.to_le_bytes());
    let values: [(&str, u32, Vec<u8>); 3] = [
        ("split.no", 2, number.to_le_bytes().into()),
        ("split.count", 2, 2u16.to_le_bytes().into()),
        ("split.tensors.count", 5, 0i32.to_le_bytes().into()),
    ];
    for (key, kind, value) in values {
        bytes.extend((key.len() as u64).to_le_bytes());
        bytes.extend(key.as_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
    }
    bytes
}

#[test]
fn a_model_in_two_files_is_imported_and_verified() {
    let dir = TestDir::new();
    dir.write("big/big-00001-of-00002.gguf", part(0));
    dir.write("big/big-00002-of-00002.gguf", part(1));
    for path in ["big", "big/big-00001-of-00002.gguf"] {
        dir.ok(&["models", "import", path]);
        let rows = json_lines(&dir.ok(&["models", "verify", "big", "--json"]));
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row["state"] == "sound"), "{rows:?}");
        dir.ok(&["models", "remove", "big"]);
    }
    // Two parts that do not belong together are not a model.
    dir.write("big/big-00002-of-00002.gguf", part(0));
    assert!(dir.fails(&["models", "import", "big"]).contains("not part 2 of 2"));
}

#[test]
fn a_file_that_was_added_to_a_model_is_refused() {
    let dir = TestDir::new();
    let teacher = pocket("teacher/pocket-teacher.gguf");
    dir.ok(&["models", "import", &teacher, "--name", "mine"]);
    dir.ok(&["models", "import", &pocket("student"), "--name", "own"]);
    let models = dir.path(".cache/promptmix/models");
    let task = dir.task("");
    let plan = ["plan", task.to_str().unwrap(), "--teacher", "mine", "--student", "own"];
    dir.ok(&plan);
    let mut other = fs::read(&teacher).unwrap();
    *other.last_mut().unwrap() ^= 1;
    // It would be the first in the folder.
    for (file, bytes) in
        [("teacher/mine/aaa.gguf", other), ("student/own/vocab.txt", b"[PAD]\n".to_vec())]
    {
        let file = models.join(file);
        fs::write(&file, &bytes).unwrap();
        let errors = printed(&dir.run(&plan));
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(errors.contains(name) && errors.contains("is not one of the files"), "{errors}");
        let verify = dir.run(&["models", "verify"]);
        assert_eq!(verify.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&verify.stderr).contains(name));
        assert!(dir.ok(&["models", "list"]).contains(" damaged "));
        // Its path is refused too.
        if name.ends_with(".gguf") {
            let path = file.to_str().unwrap();
            let errors = dir.fails(&["plan", plan[1], "--teacher", path]);
            assert!(errors.contains("is not one of the files"), "{errors}");
        }
        fs::remove_file(&file).unwrap();
        assert!(!printed(&dir.run(&plan)).contains("is not one of the files"));
    }
}

#[test]
fn a_known_name_takes_precedence_over_a_folder() {
    let dir = TestDir::new();
    let task = dir.task("");
    let task = task.to_str().unwrap();
    let plan = |student: &str| printed(&dir.run(&["plan", task, "--student", student]));
    // A folder without a model that has the name of one.
    dir.write("pocket/config.json", "{}");
    let missing = "model_type is missing";
    assert!(!plan("pocket").contains(missing), "{}", plan("pocket"));
    assert!(plan("./pocket").contains(missing), "{}", plan("./pocket"));
    dir.ok(&["plan", task, "--teacher", "pocket"]);
    // Any other spec is a path.
    dir.write("plain/model.gguf", fs::read(pocket("teacher/pocket-teacher.gguf")).unwrap());
    dir.ok(&["plan", task, "--teacher", "plain"]);
    let text = plan("distilbert-base-uncased");
    assert!(text.contains("`./distilbert-base-uncased`"), "{text}");
}

#[test]
fn a_folder_with_several_models_is_refused() {
    let dir = TestDir::new();
    let bytes = fs::read(pocket("teacher/pocket-teacher.gguf")).unwrap();
    dir.write("both/a-q4.gguf", &bytes);
    dir.write("both/b-q8.gguf", &bytes);
    let errors = dir.fails(&["models", "import", "both"]);
    assert!(errors.contains("a-q4.gguf, b-q8.gguf"), "{errors}");
}

#[test]
fn listing_models_writes_nothing() {
    let dir = TestDir::new();
    let list = dir.ok(&["models", "list"]);
    assert!(list.contains("built in"), "{list}");
    assert!(!dir.path(".cache/promptmix").exists());
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const REPO: &str = "hf/hub/models--distilbert--distilbert-base-uncased";
const NAME: &str = "distilbert-base-uncased";

#[test]
#[cfg(unix)]
fn a_blob_in_the_hugging_face_cache_must_match_its_name() {
    let dir = TestDir::new();
    let folder = format!("{REPO}/snapshots/{COMMIT}");
    dir.write(&format!("{REPO}/refs/main"), COMMIT);
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        dir.write(
            &format!("{folder}/{file}"),
            fs::read(pocket(&format!("student/{file}"))).unwrap(),
        );
    }
    let mut bytes = fs::read(pocket("student/model.safetensors")).unwrap();
    let sha256 = format!("{:x}", Sha256::digest(&bytes));
    let blob = dir.write(&format!("{REPO}/blobs/{sha256}"), &bytes);
    std::os::unix::fs::symlink(&blob, dir.path(&folder).join("model.safetensors")).unwrap();
    let home = dir.path("hf");
    let run = |args: &[&str]| dir.program(args).env("HF_HOME", &home).output().unwrap();
    let rows = run(&["models", "verify", NAME, "--json"]);
    let rows = json_lines(&String::from_utf8(rows.stdout).unwrap());
    let weights = rows.iter().find(|row| row["file"] == "model.safetensors").unwrap();
    assert_eq!(weights["state"], "sound");

    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, &bytes).unwrap();
    let task = dir.task("");
    let plan = run(&["plan", task.to_str().unwrap(), "--student", NAME]);
    let errors = printed(&plan);
    assert!(errors.contains("its name in the Hugging Face cache"), "{errors}");
    assert_eq!(run(&["models", "verify"]).status.code(), Some(1));
    // An imported link keeps its own name.
    fs::remove_file(&blob).unwrap();
    let name = "0".repeat(64);
    let blob = dir
        .write(&format!("blobs/{name}"), fs::read(pocket("teacher/pocket-teacher.gguf")).unwrap());
    std::os::unix::fs::symlink(blob, dir.path("tiny-q4.gguf")).unwrap();
    let folder = dir.ok(&["models", "import", "tiny-q4.gguf"]);
    assert!(folder.trim_end().ends_with("/tiny-q4"), "{folder}");
}

#[test]
fn a_model_in_the_hugging_face_cache_is_pinned_when_it_is_first_used() {
    let dir = TestDir::new();
    let folder = format!("{REPO}/snapshots/{COMMIT}");
    dir.write(&format!("{REPO}/refs/main"), COMMIT);
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        dir.write(
            &format!("{folder}/{file}"),
            fs::read(pocket(&format!("student/{file}"))).unwrap(),
        );
    }
    let home = dir.path("hf");
    let task = dir.task("");
    let plan = || {
        let args = ["plan", task.to_str().unwrap(), "--student", NAME];
        dir.program(&args).env("HF_HOME", &home).output().unwrap()
    };
    assert_eq!(plan().status.code(), Some(0));
    let lock = fs::read_to_string(dir.path(".cache/promptmix/models.lock.toml")).unwrap();
    assert!(lock.contains(NAME) && lock.contains(COMMIT), "{lock}");
    assert_eq!(plan().status.code(), Some(0));
    let weights = dir.path(&folder).join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, &bytes).unwrap();
    let errors = printed(&plan());
    assert!(
        errors.contains("model.safetensors") && errors.contains("models.lock.toml"),
        "{errors}"
    );
}

/// Without a home directory, the lock file is in the shared temporary directory.
#[test]
#[cfg(unix)]
fn a_home_that_others_could_have_created_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TestDir::new();
    let tmp = dir.path("tmp");
    fs::create_dir(&tmp).unwrap();
    let verify = || {
        let mut command = dir.program(&["models", "verify"]);
        command.env_remove("HOME").env("TMPDIR", &tmp).env("HF_HUB_CACHE", dir.path("hf"));
        command.output().unwrap()
    };
    assert_eq!(verify().status.code(), Some(0));
    let mut made = fs::read_dir(&tmp).unwrap().flatten().map(|entry| entry.path());
    let home = made.find(|path| path.to_str().unwrap().contains("promptmix")).unwrap();
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    let errors = crate::support::check_failure(&verify());
    assert!(errors.contains("PROMPTMIX_HOME"), "{errors}");
    // Neither is a link to a private folder.
    let own = dir.path("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_dir_all(&home).unwrap();
    std::os::unix::fs::symlink(&own, &home).unwrap();
    crate::support::check_failure(&verify());
}
