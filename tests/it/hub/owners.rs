//! Who owns a name, what is checked before the download begins, and which secrets are never
//! printed.

use std::{fs, process::Stdio};

use super::{
    COMMIT, FILE, NAME, NEWER, fails, first_bytes, gguf, home, hub, library, plain, pull,
    server::{Reply, Server},
    sha256, staged, succeeds,
};
use crate::{
    library_pins::part,
    support::{TestDir, json_lines},
};

#[test]
fn a_model_in_two_files_is_pulled() {
    let dir = TestDir::new();
    let hub = Server::start(|seen, _| {
        let number = u16::from(seen.path.contains("00002-of"));
        plain(&part(number), seen, COMMIT)
    });
    // The first part stands for all of them.
    succeeds(pull(&dir, &hub, &["owner/Big-GGUF", "big-00001-of-00002.gguf"]));
    let rows = json_lines(&dir.ok(&["models", "verify", "big", "--json"]));
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["state"] == "sound"), "{rows:?}");
}

#[test]
fn another_repo_cannot_take_a_name() {
    let dir = TestDir::new();
    let hub = hub();
    // A name from the manifest.
    let errors = fails(pull(&dir, &hub, &["evil/x", &format!("{NAME}.gguf")]));
    assert!(errors.contains("belongs to Qwen/") && errors.contains("--name"), "{errors}");
    let errors = fails(pull(&dir, &hub, &["evil/distilbert-base-uncased"]));
    assert!(errors.contains("belongs to distilbert/"), "{errors}");
    // The name of another pull, while it is in the library and after its removal.
    succeeds(pull(&dir, &hub, &["first/Tiny", "tiny.gguf"]));
    succeeds(pull(&dir, &hub, &["first/Tiny", "tiny.gguf"]));
    for _ in 0..2 {
        let errors = fails(pull(&dir, &hub, &["second/Tiny", "tiny.gguf"]));
        assert!(errors.contains("belongs to first/Tiny"), "{errors}");
        let _ = dir.run(&["models", "remove", "tiny"]);
    }
    // The name of an import.
    let file = dir.write("mine.gguf", gguf());
    dir.ok(&["models", "import", file.to_str().unwrap()]);
    let errors = fails(pull(&dir, &hub, &["second/Tiny", "mine.gguf"]));
    assert!(errors.contains("imported"), "{errors}");
    // The command in the hint works.
    succeeds(pull(&dir, &hub, &["second/Tiny", "tiny.gguf", "--name", "other"]));
    assert!(home(&dir).join("models/teacher/other/tiny.gguf").is_file());
}

#[test]
fn a_pin_is_compared_before_the_download() {
    let dir = TestDir::new();
    succeeds(pull(&dir, &hub(), &[NAME]));
    dir.ok(&["models", "remove", NAME]);
    // Another size, from a hub that sends no SHA-256.
    let longer = Server::start(|seen, _| {
        let reply = Reply::part(&[gguf(), vec![0; 9]].concat(), seen);
        reply.with("x-repo-commit", COMMIT).with("etag", "\"abc\"")
    });
    let errors = fails(pull(&dir, &longer, &[NAME]));
    let size = gguf().len();
    for part in [FILE, &size.to_string(), &(size + 9).to_string(), "models.lock.toml"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    // Another hash.
    let mut bytes = gguf();
    *bytes.last_mut().unwrap() ^= 1;
    let other = sha256(&bytes);
    let changed = Server::start(move |seen, _| plain(&bytes, seen, COMMIT));
    assert!(fails(pull(&dir, &changed, &[NAME])).contains(&other));
    for server in [longer, changed] {
        assert!(first_bytes(&server).is_empty(), "{:?}", server.seen());
    }
}

#[test]
fn a_file_that_does_not_fit_on_the_disk_is_not_downloaded() {
    let dir = TestDir::new();
    let bytes = gguf();
    let hub = Server::start(move |seen, _| {
        let huge = (1u64 << 60).to_string();
        plain(&bytes, seen, COMMIT).with("x-linked-size", huge)
    });
    let errors = fails(pull(&dir, &hub, &[NAME]));
    assert!(errors.contains("bytes are missing"), "{errors}");
    assert!(first_bytes(&hub).is_empty());
}

#[test]
fn the_files_of_a_model_are_of_one_commit() {
    let dir = TestDir::new();
    let hub = Server::start(|seen, before| {
        let name = seen.path.rsplit('/').next().unwrap();
        let commit = if before == 0 { COMMIT } else { NEWER };
        plain(&super::pocket(&format!("student/{name}")), seen, commit)
    });
    let errors = fails(pull(&dir, &hub, &["distilbert-base-uncased"]));
    assert!(errors.contains(COMMIT) && errors.contains(NEWER), "{errors}");
}

#[test]
fn a_failed_write_costs_no_download() {
    let dir = TestDir::new();
    // The model cannot be moved into the library: a file is in the place of its folder.
    let hub = hub();
    dir.write(".cache/promptmix/models/teacher", "a file in the way");
    fails(pull(&dir, &hub, &[NAME]));
    assert_eq!(staged(&dir).len(), 1);
    fs::remove_file(home(&dir).join("models/teacher")).unwrap();
    succeeds(pull(&dir, &hub, &[NAME]));
    assert_eq!(first_bytes(&hub), [0], "it was downloaded twice");
    assert!(library(&dir).join(FILE).is_file());
}

/// Names that differ after their last dot have separate locks; a waiting pull prints what it waits
/// for.
#[test]
fn a_pull_waits_only_for_a_pull_of_the_same_model() {
    let dir = TestDir::new();
    let slow = Server::start(|_, _| {
        std::thread::sleep(std::time::Duration::from_secs(4));
        Reply::status(404)
    });
    let args = ["a/b", "x-2.5-3b.gguf"];
    let mut first = pull(&dir, &slow, &args).stderr(Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while slow.seen().is_empty() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let hub = hub();
    let other = succeeds(pull(&dir, &hub, &["a/b", "x-2.5-7b.gguf"]));
    assert!(!String::from_utf8_lossy(&other.stderr).contains("waiting"));
    let same = succeeds(pull(&dir, &hub, &args));
    let errors = String::from_utf8_lossy(&same.stderr).into_owned();
    assert!(errors.contains("waiting for another pull of x-2.5-3b (process "), "{errors}");
    first.wait().unwrap();
}

#[test]
fn passwords_and_tokens_are_never_printed() {
    let dir = TestDir::new();
    let mut command = pull(&dir, &hub(), &[NAME]);
    command.env("HF_ENDPOINT", "http://me:hunter2@127.0.0.1:1").env("HF_TOKEN", "hf_secret");
    let errors = fails(command);
    assert!(errors.contains("no answer from http://127.0.0.1:1"), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
    let proxy = hub();
    let mut command = pull(&dir, &proxy, &[NAME]);
    command.env("HF_ENDPOINT", "http://hub.invalid").env("http_proxy", proxy.url());
    command.env("HF_TOKEN", "hf_secret");
    let output = succeeds(command);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("plain http") && !errors.contains("hf_secret"), "{errors}");
    // The error names the host that failed, not the hub that redirected to it.
    let redirecting = Server::start(|_, _| {
        let reply = Reply::status(302).with("location", "http://127.0.0.1:1/blob");
        reply.with("x-repo-commit", COMMIT).with("x-linked-etag", "abc")
    });
    dir.ok(&["models", "remove", NAME]);
    let errors = fails(pull(&dir, &redirecting, &[NAME]));
    assert!(errors.contains("no answer from http://127.0.0.1:1:"), "{errors}");
}
