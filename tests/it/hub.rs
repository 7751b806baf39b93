//! `models pull` with the real crate `hf-hub` against servers on 127.0.0.1 that behave like the hub
//! and its CDN, or misbehave.

mod owners;
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use sha2::{Digest, Sha256};

use self::server::{Reply, Seen, Server};
use crate::support::{SMALL, TestDir, check_failure, json_lines};

const NAME: &str = "qwen2.5-0.5b-instruct";
const REPO: &str = "Qwen/Qwen2.5-0.5B-Instruct-GGUF";
const FILE: &str = "qwen2.5-0.5b-instruct-q4_k_m.gguf";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const NEWER: &str = "89abcdef0123456789abcdef0123456789abcdef";

fn pocket(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pocket").join(name);
    fs::read(path).expect("a pocket model")
}

fn gguf() -> Vec<u8> {
    pocket("teacher/pocket-teacher.gguf")
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The bytes with the hub's headers, as the hub answers if it does not redirect to a CDN.
fn plain(bytes: &[u8], seen: &Seen, commit: &str) -> Reply {
    let etag = format!("\"{}\"", sha256(bytes));
    Reply::part(bytes, seen).with("x-repo-commit", commit).with("etag", etag)
}

/// A hub with one file, the pocket teacher.
fn hub() -> Server {
    let bytes = gguf();
    Server::start(move |seen, _| plain(&bytes, seen, COMMIT))
}

/// A hub that redirects to a CDN, as the real one does for large files.
fn hub_and_cdn() -> (Server, Server) {
    let bytes = gguf();
    let (etag, size) = (sha256(&bytes), bytes.len());
    let cdn = Server::start(move |seen, _| Reply::part(&bytes, seen));
    let location = format!("{}/blob?signed=yes", cdn.url());
    let hub = Server::start(move |_, _| {
        Reply::status(302)
            .with("location", &location)
            .with("x-repo-commit", COMMIT)
            .with("x-linked-etag", format!("\"{etag}\""))
            .with("x-linked-size", size.to_string())
    });
    (hub, cdn)
}

fn pull(dir: &TestDir, hub: &Server, args: &[&str]) -> Command {
    let mut command = dir.program(&[&["models", "pull"], args].concat());
    command.env("HF_ENDPOINT", hub.url());
    command
}

fn succeeds(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn fails(mut command: Command) -> String {
    let errors = check_failure(&command.output().unwrap());
    assert!(errors.contains("\nhint: "), "{errors}");
    errors
}

fn home(dir: &TestDir) -> PathBuf {
    dir.path(".cache/promptmix")
}

fn library(dir: &TestDir) -> PathBuf {
    home(dir).join("models/teacher").join(NAME)
}

/// The files that an unfinished pull left.
fn staged(dir: &TestDir) -> Vec<PathBuf> {
    let folder = home(dir).join("models/.pull").join(format!("teacher-{NAME}")).join(COMMIT);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn first_bytes(server: &Server) -> Vec<u64> {
    let data = |seen: &Seen| {
        let range = seen.range.clone()?;
        range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    };
    server.seen().iter().filter_map(data).collect()
}

#[test]
fn a_pulled_model_is_complete_and_verified_before_every_use() {
    let dir = TestDir::new();
    let (teachers, cdn) = hub_and_cdn();
    let output = succeeds(pull(&dir, &teachers, &[NAME]));
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.starts_with(&sha256(&gguf())) && line.trim_end().ends_with(FILE), "{line}");
    assert_eq!(fs::read(library(&dir).join(FILE)).unwrap(), gguf());
    // The commit is requested once, then the file at that commit; the bytes come from the CDN.
    let paths: Vec<String> = teachers.seen().into_iter().map(|seen| seen.path).collect();
    let resolve = |revision| format!("/{REPO}/resolve/{revision}/{FILE}");
    assert_eq!(paths, [resolve("main"), resolve(COMMIT)]);
    assert_eq!(first_bytes(&cdn), [0]);
    assert!(staged(&dir).is_empty());
    // A second pull downloads nothing.
    succeeds(pull(&dir, &teachers, &[NAME]));
    assert_eq!(teachers.seen().len(), 2);

    let students = Server::start(|seen, _| {
        let bytes = pocket(&format!("student/{}", seen.path.rsplit('/').next().unwrap()));
        plain(&bytes, seen, NEWER)
    });
    succeeds(pull(&dir, &students, &["distilbert-base-uncased"]));
    let rows = dir.ok(&["models", "list", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    for name in [NAME, "distilbert-base-uncased"] {
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
        assert_eq!((row["state"].as_str(), row["pinned"].as_bool()), (Some("library"), Some(true)));
    }
    let verified = json_lines(&dir.ok(&["models", "verify", "--json"]));
    assert_eq!(verified.len(), 5);
    assert!(verified.iter().all(|row| row["state"] == "sound"), "{verified:?}");

    // The models are used by name.
    let task = dir.task("");
    let task = task.to_str().unwrap();
    let models = ["--teacher", NAME, "--student", "distilbert-base-uncased"];
    let plan = dir.ok(&[&["plan", task, "--json"][..], &models].concat());
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert!(plan.to_string().contains("\"estimated_minutes\":"), "{plan}");
    dir.ok(&[&["generate", task, "--out", "run"][..], &models, &SMALL].concat());

    // A changed byte is found before any parser sees the file.
    let path = library(&dir).join(FILE);
    let mut bytes = gguf();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let errors = dir.fails(&[&["generate", task, "--out", "other"][..], &models].concat());
    for part in [FILE, &sha256(&gguf()), &sha256(&bytes), "hint: "] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let verify = dir.run(&["models", "verify"]);
    assert_eq!(verify.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert!(errors.contains(FILE) && errors.contains(&sha256(&bytes)), "{errors}");
    // The commands in the hint work and fetch the pinned commit.
    dir.ok(&["models", "remove", NAME]);
    succeeds(pull(&dir, &teachers, &[NAME]));
    assert_eq!(teachers.seen()[2].path, resolve(COMMIT));
    dir.ok(&["models", "verify"]);
}

#[test]
fn an_interrupted_download_is_resumed_by_the_same_call() {
    let dir = TestDir::new();
    let bytes = gguf();
    let hub = Server::start(move |seen, before| {
        let reply = plain(&bytes, seen, COMMIT);
        if (1..3).contains(&before) { reply.cut_after(700_000) } else { reply }
    });
    succeeds(pull(&dir, &hub, &[NAME]));
    assert_eq!(fs::read(library(&dir).join(FILE)).unwrap(), gguf());
    assert_eq!(first_bytes(&hub), [0, 700_000, 1_400_000]);
}

#[test]
fn an_interrupted_download_is_resumed_by_the_next_call() {
    let dir = TestDir::new();
    let bytes = gguf();
    let broken = Server::start(move |seen, before| match before {
        0 => plain(&bytes, seen, COMMIT),
        1 => plain(&bytes, seen, COMMIT).cut_after(1_000_000),
        _ => Reply::status(404),
    });
    fails(pull(&dir, &broken, &[NAME]));
    assert!(!library(&dir).exists());
    let part = staged(&dir);
    assert_eq!(part.len(), 1);
    assert_eq!(fs::metadata(&part[0]).unwrap().len(), 1_000_000);

    let sound = hub();
    succeeds(pull(&dir, &sound, &[NAME]));
    assert_eq!(first_bytes(&sound), [1_000_000]);
    assert_eq!(fs::read(library(&dir).join(FILE)).unwrap(), gguf());
}

#[test]
fn a_server_without_range_requests_restarts_the_download() {
    let dir = TestDir::new();
    let bytes = gguf();
    let broken = Server::start(move |seen, before| match before {
        0 => plain(&bytes, seen, COMMIT),
        1 => plain(&bytes, seen, COMMIT).cut_after(1_000_000),
        _ => Reply::status(404),
    });
    fails(pull(&dir, &broken, &[NAME]));
    let bytes = gguf();
    let whole = Server::start(move |seen, before| {
        let seen = Seen { range: seen.range.clone().filter(|_| before == 0), ..seen.clone() };
        plain(&bytes, &seen, COMMIT)
    });
    succeeds(pull(&dir, &whole, &[NAME]));
    assert_eq!(fs::read(library(&dir).join(FILE)).unwrap(), gguf());
}

#[test]
fn a_file_with_another_hash_than_the_hub_claims_is_refused_and_downloaded_again() {
    let dir = TestDir::new();
    let (bytes, claim) = (gguf(), "5".repeat(64));
    let etag = claim.clone();
    let lying = Server::start(move |seen, _| {
        Reply::part(&bytes, seen).with("x-repo-commit", COMMIT).with("x-linked-etag", &etag)
    });
    let errors = fails(pull(&dir, &lying, &[NAME]));
    for part in [FILE, &claim, &sha256(&gguf()), "the hub says"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert!(staged(&dir).is_empty() && !library(&dir).exists());
    let sound = hub();
    succeeds(pull(&dir, &sound, &[NAME]));
    assert_eq!(first_bytes(&sound), [0]);
}

#[test]
fn a_file_with_another_hash_than_in_the_lock_file_is_refused() {
    let dir = TestDir::new();
    succeeds(pull(&dir, &hub(), &[NAME]));
    dir.ok(&["models", "remove", NAME]);
    let lock = home(&dir).join("models.lock.toml");
    let (text, wanted) = (fs::read_to_string(&lock).unwrap(), "7".repeat(64));
    fs::write(&lock, text.replace(&sha256(&gguf()), &wanted)).unwrap();
    let errors = fails(pull(&dir, &hub(), &[NAME]));
    for part in [FILE, &wanted, &sha256(&gguf()), "models.lock.toml"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert!(staged(&dir).is_empty() && !library(&dir).exists());
    // An invalid lock file is never overwritten silently.
    fs::write(&lock, "this is = = no TOML").unwrap();
    let errors = fails(pull(&dir, &hub(), &[NAME]));
    assert!(errors.contains("models.lock.toml"), "{errors}");
}

#[test]
fn the_pinned_commit_is_requested_until_another_is_given() {
    let dir = TestDir::new();
    succeeds(pull(&dir, &hub(), &[NAME]));
    dir.ok(&["models", "remove", NAME]);
    // The repo has a newer commit; a hub that answers with a commit that was not requested is
    // refused.
    let bytes = gguf();
    let moved = Server::start(move |seen, _| plain(&bytes, seen, NEWER));
    let errors = fails(pull(&dir, &moved, &[NAME]));
    assert!(errors.contains(COMMIT) && errors.contains(NEWER), "{errors}");
    assert!(moved.seen()[0].path.contains(COMMIT));
    succeeds(pull(&dir, &moved, &[NAME, "--revision", "main"]));
    let lock = fs::read_to_string(home(&dir).join("models.lock.toml")).unwrap();
    assert!(lock.contains(NEWER) && !lock.contains(COMMIT), "{lock}");
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let dir = TestDir::new();
    let (hub, cdn) = hub_and_cdn();
    let mut command = pull(&dir, &hub, &[NAME]);
    command.env("HF_TOKEN", "hf_secret");
    let output = succeeds(command);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("hf_secret") && !errors.contains("plain http"), "{errors}");
    let of = |server: &Server| -> Vec<Option<String>> {
        server.seen().into_iter().map(|seen| seen.authorization).collect()
    };
    assert_eq!(
        of(&hub),
        [Some("Bearer hf_secret".to_owned()), Some("Bearer hf_secret".to_owned())]
    );
    assert_eq!(of(&cdn), [None, None]);
}

/// The reason why redirects are not left to `hf-hub`. If this fails, `hf-hub` has fixed it.
#[test]
fn hf_hub_itself_sends_the_token_to_the_cdn() {
    let dir = TestDir::new();
    let (hub, cdn) = hub_and_cdn();
    let api = hf_hub::api::sync::ApiBuilder::from_cache(hf_hub::Cache::new(dir.path("cache")))
        .with_endpoint(hub.url())
        .with_token(Some("hf_secret".to_owned()))
        .build()
        .unwrap();
    let url = api.model(REPO.to_owned()).url(FILE);
    assert_eq!(api.metadata(&url).unwrap().commit_hash(), COMMIT);
    assert_eq!(cdn.seen()[0].authorization.as_deref(), Some("Bearer hf_secret"));
}

#[test]
fn every_error_status_is_explained() {
    let dir = TestDir::new();
    for (status, code, wanted) in [
        (401, "", "HF_TOKEN"),
        (403, "GatedRepo", "accept its licence"),
        (404, "EntryNotFound", "renamed"),
        (404, "RevisionNotFound", "no such revision"),
        (407, "", "proxy"),
    ] {
        let hub = Server::start(move |_, _| Reply::status(status).with("x-error-code", code));
        let errors = fails(pull(&dir, &hub, &[NAME]));
        for part in [wanted, &status.to_string(), FILE, &format!("{}/{REPO}", hub.url())[..4]] {
            assert!(errors.contains(part), "{part}: {errors}");
        }
        assert_eq!(hub.seen().len(), 1, "{status} was retried");
    }
    // No server listens on this port.
    let mut gone = hub();
    gone.port = 1;
    let errors = fails(pull(&dir, &gone, &[NAME]));
    assert!(errors.contains("no answer from http://127.0.0.1:1"), "{errors}");
    assert!(!library(&dir).exists());
}

#[test]
fn a_busy_hub_is_retried() {
    let dir = TestDir::new();
    let bytes = gguf();
    let hub = Server::start(move |seen, before| match before {
        0 => Reply::status(503),
        _ => plain(&bytes, seen, COMMIT),
    });
    succeeds(pull(&dir, &hub, &[NAME]));
}

#[test]
fn unsafe_names_are_refused() {
    let dir = TestDir::new();
    for (commit, etag) in [
        ("../../../../../escaped", "abc"),
        (COMMIT, "../../../../../escaped"),
        (COMMIT, "/tmp/escaped"),
        ("..", "abc"),
        (".", "abc"),
        ("main", "abc"),
        ("0123456789", "abc"),
        ("", "abc"),
    ] {
        let bytes = gguf();
        let hostile = Server::start(move |seen, _| {
            Reply::part(&bytes, seen).with("x-repo-commit", commit).with("etag", etag)
        });
        let errors = fails(pull(&dir, &hostile, &[NAME]));
        assert!(errors.contains("which no hub sends"), "{errors}");
    }
    let hub = hub();
    for args in [&["owner/repo", "../evil.gguf"][..], &["../repo", "a.gguf"], &["a/b/c", "a.gguf"]]
    {
        let errors = fails(pull(&dir, &hub, args));
        assert!(errors.contains("cannot be the name"), "{errors}");
    }
    assert!(hub.seen().is_empty());
}

#[test]
fn a_file_that_is_not_a_model_is_refused() {
    let dir = TestDir::new();
    let hub = Server::start(|seen, _| plain(b"<html>please log in</html>", seen, COMMIT));
    // The header check comes before every parser.
    let errors = fails(pull(&dir, &hub, &[NAME]));
    assert!(errors.contains(FILE), "{errors}");
    assert!(staged(&dir).is_empty() && !library(&dir).exists());
}

#[test]
fn offline_means_no_connection() {
    let dir = TestDir::new();
    let hub = hub();
    let mut by_variable = pull(&dir, &hub, &[NAME]);
    by_variable.env("HF_HUB_OFFLINE", "1");
    assert!(fails(by_variable).contains("HF_HUB_OFFLINE"));
    assert!(fails(pull(&dir, &hub, &[NAME, "--offline"])).contains("--offline"));
    assert!(hub.seen().is_empty());
    let mut allowed = pull(&dir, &hub, &[NAME]);
    allowed.env("HF_HUB_OFFLINE", "0");
    succeeds(allowed);
}

#[test]
fn a_proxy_is_used() {
    let dir = TestDir::new();
    let proxy = hub();
    for variable in ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        let mut command = pull(&dir, &proxy, &[NAME]);
        command.env("HF_ENDPOINT", "http://hub.invalid").env(variable, proxy.url());
        succeeds(command);
        let seen = proxy.seen();
        assert!(seen.iter().all(|seen| seen.proxied && seen.host == "hub.invalid"), "{seen:?}");
        dir.ok(&["models", "remove", NAME]);
    }
    let mut command = pull(&dir, &proxy, &[NAME]);
    command.env("HF_ENDPOINT", "http://hub.invalid").env("HTTPS_PROXY", "http://127.0.0.1:1");
    let errors = fails(command);
    assert!(errors.contains("HTTPS_PROXY is set"), "{errors}");
}

#[test]
fn a_repo_that_is_not_in_the_manifest_can_be_pulled() {
    let dir = TestDir::new();
    let hub = hub();
    succeeds(pull(&dir, &hub, &["somebody/Tiny-GGUF", "tiny-q4.gguf"]));
    assert!(home(&dir).join("models/teacher/tiny-q4/tiny-q4.gguf").is_file());
    let rows = json_lines(&dir.ok(&["models", "verify", "tiny-q4", "--json"]));
    assert_eq!(rows[0]["state"], "sound");
}

#[test]
fn concurrent_pulls_do_not_interfere() {
    let dir = TestDir::new();
    let hub = hub();
    let children: Vec<_> = ["smollm2-360m-instruct", NAME, NAME, "qwen3-0.6b"]
        .map(|name| pull(&dir, &hub, &[name, "-q"]).stdout(Stdio::null()).spawn().unwrap())
        .into();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(first_bytes(&hub), [0, 0, 0]);
    let rows = json_lines(&dir.ok(&["models", "verify", "--json"]));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["state"] == "sound"), "{rows:?}");
}
