//! What a name stands for: the files of a model and no others, however they are put in its way.

use std::{fs, path::Path, process::Output};

use sha2::{Digest, Sha256};

use crate::support::{TestDir, json_lines};

fn pocket(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pocket").join(name).display().to_string()
}

/// What `plan` says, which goes on without a student.
fn said(output: &Output) -> String {
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
    let bench = TestDir::new();
    bench.write("big/big-00001-of-00002.gguf", part(0));
    bench.write("big/big-00002-of-00002.gguf", part(1));
    for path in ["big", "big/big-00001-of-00002.gguf"] {
        bench.ok(&["models", "import", path]);
        let rows = json_lines(&bench.ok(&["models", "verify", "big", "--json"]));
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row["state"] == "sound"), "{rows:?}");
        bench.ok(&["models", "remove", "big"]);
    }
    // Two parts that do not belong together are no model.
    bench.write("big/big-00002-of-00002.gguf", part(0));
    assert!(bench.fails(&["models", "import", "big"]).contains("not part 2 of 2"));
}

#[test]
fn a_file_that_was_put_beside_a_model_is_none_of_it() {
    let bench = TestDir::new();
    let teacher = pocket("teacher/pocket-teacher.gguf");
    bench.ok(&["models", "import", &teacher, "--name", "mine"]);
    bench.ok(&["models", "import", &pocket("student"), "--name", "own"]);
    let models = bench.path(".cache/promptmix/models");
    let task = bench.task("");
    let plan = ["plan", task.to_str().unwrap(), "--teacher", "mine", "--student", "own"];
    bench.ok(&plan);
    let mut other = fs::read(&teacher).unwrap();
    *other.last_mut().unwrap() ^= 1;
    // It would come first in the folder.
    for (file, bytes) in
        [("teacher/mine/aaa.gguf", other), ("student/own/vocab.txt", b"[PAD]\n".to_vec())]
    {
        let file = models.join(file);
        fs::write(&file, &bytes).unwrap();
        let errors = said(&bench.run(&plan));
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(errors.contains(name) && errors.contains("none of the files"), "{errors}");
        let verify = bench.run(&["models", "verify"]);
        assert_eq!(verify.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&verify.stderr).contains(name));
        assert!(bench.ok(&["models", "list"]).contains(" damaged "));
        // Nor can it be had by its path.
        if name.ends_with(".gguf") {
            let path = file.to_str().unwrap();
            let errors = bench.fails(&["plan", plan[1], "--teacher", path]);
            assert!(errors.contains("none of the files"), "{errors}");
        }
        fs::remove_file(&file).unwrap();
        assert!(!said(&bench.run(&plan)).contains("none of the files"));
    }
}

#[test]
fn a_name_wins_over_a_folder_that_happens_to_lie_here() {
    let bench = TestDir::new();
    let task = bench.task("");
    let task = task.to_str().unwrap();
    let plan = |student: &str| said(&bench.run(&["plan", task, "--student", student]));
    // A folder that holds no model, by the name of one.
    bench.write("pocket/config.json", "{}");
    assert!(!plan("pocket").contains("unknown: "), "{}", plan("pocket"));
    assert!(plan("./pocket").contains("unknown: "), "{}", plan("./pocket"));
    bench.ok(&["plan", task, "--teacher", "pocket"]);
    // What has no name is a path as ever.
    bench.write("plain/model.gguf", fs::read(pocket("teacher/pocket-teacher.gguf")).unwrap());
    bench.ok(&["plan", task, "--teacher", "plain"]);
    let text = plan("distilbert-base-uncased");
    assert!(text.contains("`./distilbert-base-uncased`"), "{text}");
}

#[test]
fn a_folder_with_several_models_is_not_guessed_at() {
    let bench = TestDir::new();
    let bytes = fs::read(pocket("teacher/pocket-teacher.gguf")).unwrap();
    bench.write("both/a-q4.gguf", &bytes);
    bench.write("both/b-q8.gguf", &bytes);
    let errors = bench.fails(&["models", "import", "both"]);
    assert!(errors.contains("a-q4.gguf, b-q8.gguf"), "{errors}");
}

#[test]
fn a_list_writes_nothing() {
    let bench = TestDir::new();
    let list = bench.ok(&["models", "list"]);
    assert!(list.contains("built in"), "{list}");
    assert!(!bench.path(".cache/promptmix").exists());
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const REPO: &str = "hf/hub/models--distilbert--distilbert-base-uncased";
const NAME: &str = "distilbert-base-uncased";

#[test]
#[cfg(unix)]
fn a_blob_of_the_hugging_face_cache_is_what_its_name_says() {
    let bench = TestDir::new();
    let folder = format!("{REPO}/snapshots/{COMMIT}");
    bench.write(&format!("{REPO}/refs/main"), COMMIT);
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        bench.write(
            &format!("{folder}/{file}"),
            fs::read(pocket(&format!("student/{file}"))).unwrap(),
        );
    }
    let mut bytes = fs::read(pocket("student/model.safetensors")).unwrap();
    let sha256 = format!("{:x}", Sha256::digest(&bytes));
    let blob = bench.write(&format!("{REPO}/blobs/{sha256}"), &bytes);
    std::os::unix::fs::symlink(&blob, bench.path(&folder).join("model.safetensors")).unwrap();
    let home = bench.path("hf");
    let run = |args: &[&str]| bench.program(args).env("HF_HOME", &home).output().unwrap();
    let rows = run(&["models", "verify", NAME, "--json"]);
    let rows = json_lines(&String::from_utf8(rows.stdout).unwrap());
    let weights = rows.iter().find(|row| row["file"] == "model.safetensors").unwrap();
    assert_eq!(weights["state"], "sound");

    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, &bytes).unwrap();
    let task = bench.task("");
    let plan = run(&["plan", task.to_str().unwrap(), "--student", NAME]);
    let errors = said(&plan);
    assert!(errors.contains("its name in the Hugging Face cache"), "{errors}");
    assert_eq!(run(&["models", "verify"]).status.code(), Some(1));
    // A link keeps its name when it is taken over.
    fs::remove_file(&blob).unwrap();
    let name = "0".repeat(64);
    let blob = bench
        .write(&format!("blobs/{name}"), fs::read(pocket("teacher/pocket-teacher.gguf")).unwrap());
    std::os::unix::fs::symlink(blob, bench.path("tiny-q4.gguf")).unwrap();
    let folder = bench.ok(&["models", "import", "tiny-q4.gguf"]);
    assert!(folder.trim_end().ends_with("/tiny-q4"), "{folder}");
}

#[test]
fn a_model_of_the_hugging_face_cache_is_pinned_at_its_first_use() {
    let bench = TestDir::new();
    let folder = format!("{REPO}/snapshots/{COMMIT}");
    bench.write(&format!("{REPO}/refs/main"), COMMIT);
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        bench.write(
            &format!("{folder}/{file}"),
            fs::read(pocket(&format!("student/{file}"))).unwrap(),
        );
    }
    let home = bench.path("hf");
    let task = bench.task("");
    let plan = || {
        let args = ["plan", task.to_str().unwrap(), "--student", NAME];
        bench.program(&args).env("HF_HOME", &home).output().unwrap()
    };
    assert_eq!(plan().status.code(), Some(0));
    let lock = fs::read_to_string(bench.path(".cache/promptmix/models.lock.toml")).unwrap();
    assert!(lock.contains(NAME) && lock.contains(COMMIT), "{lock}");
    assert_eq!(plan().status.code(), Some(0));
    let weights = bench.path(&folder).join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, &bytes).unwrap();
    let errors = said(&plan());
    assert!(
        errors.contains("model.safetensors") && errors.contains("models.lock.toml"),
        "{errors}"
    );
}

/// Without a home the lock file lies among everybody's temporary files.
#[test]
#[cfg(unix)]
fn a_home_that_others_could_have_made_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let bench = TestDir::new();
    let tmp = bench.path("tmp");
    fs::create_dir(&tmp).unwrap();
    let verify = || {
        let mut command = bench.program(&["models", "verify"]);
        command.env_remove("HOME").env("TMPDIR", &tmp).env("HF_HUB_CACHE", bench.path("hf"));
        command.output().unwrap()
    };
    assert_eq!(verify().status.code(), Some(0));
    let mut made = fs::read_dir(&tmp).unwrap().flatten().map(|entry| entry.path());
    let home = made.find(|path| path.to_str().unwrap().contains("promptmix")).unwrap();
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    let errors = crate::support::check_failure(&verify());
    assert!(errors.contains("PROMPTMIX_HOME"), "{errors}");
    // Nor is a link to a folder that is in order.
    let own = bench.path("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_dir_all(&home).unwrap();
    std::os::unix::fs::symlink(&own, &home).unwrap();
    crate::support::check_failure(&verify());
}
