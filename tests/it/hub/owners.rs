//! Whose a name is, what is known before the first byte comes, and what is told to nobody.

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
    let bench = TestDir::new();
    let hub = Server::start(|seen, _| {
        let number = u16::from(seen.path.contains("00002-of"));
        plain(&part(number), seen, COMMIT)
    });
    // The first part stands for all.
    succeeds(pull(&bench, &hub, &["owner/Big-GGUF", "big-00001-of-00002.gguf"]));
    let rows = json_lines(&bench.ok(&["models", "verify", "big", "--json"]));
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["state"] == "sound"), "{rows:?}");
}

#[test]
fn another_repo_cannot_take_a_name() {
    let bench = TestDir::new();
    let hub = hub();
    // A name of the manifest.
    let errors = fails(pull(&bench, &hub, &["evil/x", &format!("{NAME}.gguf")]));
    assert!(errors.contains("belongs to Qwen/") && errors.contains("--name"), "{errors}");
    let errors = fails(pull(&bench, &hub, &["evil/distilbert-base-uncased"]));
    assert!(errors.contains("belongs to distilbert/"), "{errors}");
    // A name of another pull, in the library and after it was removed.
    succeeds(pull(&bench, &hub, &["first/Tiny", "tiny.gguf"]));
    succeeds(pull(&bench, &hub, &["first/Tiny", "tiny.gguf"]));
    for _ in 0..2 {
        let errors = fails(pull(&bench, &hub, &["second/Tiny", "tiny.gguf"]));
        assert!(errors.contains("belongs to first/Tiny"), "{errors}");
        let _ = bench.run(&["models", "remove", "tiny"]);
    }
    // A name of an import.
    let file = bench.write("mine.gguf", gguf());
    bench.ok(&["models", "import", file.to_str().unwrap()]);
    let errors = fails(pull(&bench, &hub, &["second/Tiny", "mine.gguf"]));
    assert!(errors.contains("imported"), "{errors}");
    // What the error offers works.
    succeeds(pull(&bench, &hub, &["second/Tiny", "tiny.gguf", "--name", "other"]));
    assert!(home(&bench).join("models/teacher/other/tiny.gguf").is_file());
}

#[test]
fn what_is_pinned_is_known_before_a_byte_comes() {
    let bench = TestDir::new();
    succeeds(pull(&bench, &hub(), &[NAME]));
    bench.ok(&["models", "remove", NAME]);
    // Another size, and a hash that the hub does not say.
    let longer = Server::start(|seen, _| {
        let reply = Reply::part(&[gguf(), vec![0; 9]].concat(), seen);
        reply.with("x-repo-commit", COMMIT).with("etag", "\"abc\"")
    });
    let errors = fails(pull(&bench, &longer, &[NAME]));
    let size = gguf().len();
    for part in [FILE, &size.to_string(), &(size + 9).to_string(), "models.lock.toml"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    // Another hash.
    let mut bytes = gguf();
    *bytes.last_mut().unwrap() ^= 1;
    let other = sha256(&bytes);
    let changed = Server::start(move |seen, _| plain(&bytes, seen, COMMIT));
    assert!(fails(pull(&bench, &changed, &[NAME])).contains(&other));
    for server in [longer, changed] {
        assert!(first_bytes(&server).is_empty(), "{:?}", server.seen());
    }
}

#[test]
fn a_file_that_no_disk_holds_is_not_begun() {
    let bench = TestDir::new();
    let bytes = gguf();
    let hub = Server::start(move |seen, _| {
        let huge = (1u64 << 60).to_string();
        plain(&bytes, seen, COMMIT).with("x-linked-size", huge)
    });
    let errors = fails(pull(&bench, &hub, &[NAME]));
    assert!(errors.contains("bytes are missing"), "{errors}");
    assert!(first_bytes(&hub).is_empty());
}

#[test]
fn the_files_of_a_model_are_of_one_commit() {
    let bench = TestDir::new();
    let hub = Server::start(|seen, before| {
        let name = seen.path.rsplit('/').next().unwrap();
        let commit = if before == 0 { COMMIT } else { NEWER };
        plain(&super::pocket(&format!("student/{name}")), seen, commit)
    });
    let errors = fails(pull(&bench, &hub, &["distilbert-base-uncased"]));
    assert!(errors.contains(COMMIT) && errors.contains(NEWER), "{errors}");
}

#[test]
fn a_disk_that_fails_costs_no_download() {
    let bench = TestDir::new();
    // The lock file cannot be written: a folder is in the way of its draft.
    let hub = hub();
    bench.write(".cache/promptmix/models/teacher", "a file in the way");
    fails(pull(&bench, &hub, &[NAME]));
    assert_eq!(staged(&bench).len(), 1);
    fs::remove_file(home(&bench).join("models/teacher")).unwrap();
    succeeds(pull(&bench, &hub, &[NAME]));
    assert_eq!(first_bytes(&hub), [0], "it was fetched twice");
    assert!(library(&bench).join(FILE).is_file());
}

/// Names that differ after their last dot have locks of their own, and who waits is told for whom.
#[test]
fn a_pull_waits_for_its_like_alone() {
    let bench = TestDir::new();
    let slow = Server::start(|_, _| {
        std::thread::sleep(std::time::Duration::from_secs(4));
        Reply::status(404)
    });
    let args = ["a/b", "x-2.5-3b.gguf", "-q"];
    let mut first = pull(&bench, &slow, &args).stderr(Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while slow.seen().is_empty() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let hub = hub();
    let other = succeeds(pull(&bench, &hub, &["a/b", "x-2.5-7b.gguf"]));
    assert!(!String::from_utf8_lossy(&other.stderr).contains("waiting"));
    let same = succeeds(pull(&bench, &hub, &args));
    let errors = String::from_utf8_lossy(&same.stderr).into_owned();
    assert!(errors.contains("waiting for another pull of x-2.5-3b (process "), "{errors}");
    first.wait().unwrap();
}

#[test]
fn passwords_and_tokens_are_told_to_nobody() {
    let bench = TestDir::new();
    let mut command = pull(&bench, &hub(), &[NAME]);
    command.env("HF_ENDPOINT", "http://me:hunter2@127.0.0.1:1").env("HF_TOKEN", "hf_secret");
    let errors = fails(command);
    assert!(errors.contains("no answer from http://127.0.0.1:1"), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
    let proxy = hub();
    let mut command = pull(&bench, &proxy, &[NAME]);
    command.env("HF_ENDPOINT", "http://hub.invalid").env("http_proxy", proxy.url());
    command.env("HF_TOKEN", "hf_secret");
    let output = succeeds(command);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("plain http") && !errors.contains("hf_secret"), "{errors}");
    // The host that failed is named, not the hub that led there.
    let astray = Server::start(|_, _| {
        let reply = Reply::status(302).with("location", "http://127.0.0.1:1/blob");
        reply.with("x-repo-commit", COMMIT).with("x-linked-etag", "abc")
    });
    bench.ok(&["models", "remove", NAME]);
    let errors = fails(pull(&bench, &astray, &[NAME]));
    assert!(errors.contains("no answer from http://127.0.0.1:1:"), "{errors}");
}
