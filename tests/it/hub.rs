//! `models pull` with the real crate `hf-hub` against servers on 127.0.0.1 that behave as the hub and
//! its CDN do, and as they should not.

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

/// The bytes with the hub's headers, as it answers where it does not lead to a CDN.
fn plain(bytes: &[u8], seen: &Seen, commit: &str) -> Reply {
    let etag = format!("\"{}\"", sha256(bytes));
    Reply::part(bytes, seen).with("x-repo-commit", commit).with("etag", etag)
}

/// A hub whose one file is the pocket teacher.
fn hub() -> Server {
    let bytes = gguf();
    Server::start(move |seen, _| plain(&bytes, seen, COMMIT))
}

/// A hub that leads to a CDN for the bytes, as the real one does for large files.
fn hub_and_cdn() -> (Server, Server) {
    let bytes = gguf();
    let (etag, size) = (sha256(&bytes), bytes.len());
    let cdn = Server::start(move |seen, _| Reply::part(&bytes, seen));
    let to = format!("{}/blob?signed=yes", cdn.url());
    let hub = Server::start(move |_, _| {
        Reply::status(302)
            .with("location", &to)
            .with("x-repo-commit", COMMIT)
            .with("x-linked-etag", format!("\"{etag}\""))
            .with("x-linked-size", size.to_string())
    });
    (hub, cdn)
}

fn pull(bench: &TestDir, hub: &Server, args: &[&str]) -> Command {
    let mut command = bench.program(&[&["models", "pull"], args].concat());
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

fn home(bench: &TestDir) -> PathBuf {
    bench.path(".cache/promptmix")
}

fn library(bench: &TestDir) -> PathBuf {
    home(bench).join("models/teacher").join(NAME)
}

/// Every file that an unfinished pull left.
fn staged(bench: &TestDir) -> Vec<PathBuf> {
    let folder = home(bench).join("models/.pull").join(format!("teacher-{NAME}")).join(COMMIT);
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
fn a_model_comes_whole_and_is_checked_before_every_use() {
    let bench = TestDir::new();
    let (teachers, cdn) = hub_and_cdn();
    let output = succeeds(pull(&bench, &teachers, &[NAME]));
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.starts_with(&sha256(&gguf())) && line.trim_end().ends_with(FILE), "{line}");
    assert_eq!(fs::read(library(&bench).join(FILE)).unwrap(), gguf());
    // The commit is asked for once, and then the file of that commit; the bytes come from the CDN.
    let paths: Vec<String> = teachers.seen().into_iter().map(|seen| seen.path).collect();
    let resolve = |revision| format!("/{REPO}/resolve/{revision}/{FILE}");
    assert_eq!(paths, [resolve("main"), resolve(COMMIT)]);
    assert_eq!(first_bytes(&cdn), [0]);
    assert!(staged(&bench).is_empty());
    // Pulled again, nothing is fetched.
    succeeds(pull(&bench, &teachers, &[NAME]));
    assert_eq!(teachers.seen().len(), 2);

    let students = Server::start(|seen, _| {
        let bytes = pocket(&format!("student/{}", seen.path.rsplit('/').next().unwrap()));
        plain(&bytes, seen, NEWER)
    });
    succeeds(pull(&bench, &students, &["distilbert-base-uncased"]));
    let rows = bench.ok(&["models", "list", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    for name in [NAME, "distilbert-base-uncased"] {
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
        assert_eq!((row["state"].as_str(), row["pinned"].as_bool()), (Some("library"), Some(true)));
    }
    let verified = json_lines(&bench.ok(&["models", "verify", "--json"]));
    assert_eq!(verified.len(), 5);
    assert!(verified.iter().all(|row| row["state"] == "sound"), "{verified:?}");

    // The models are used by name.
    let task = bench.task("");
    let task = task.to_str().unwrap();
    let models = ["--teacher", NAME, "--student", "distilbert-base-uncased"];
    let plan = bench.ok(&[&["plan", task, "--json"][..], &models].concat());
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert!(plan.to_string().contains("\"estimated_minutes\":"), "{plan}");
    bench.ok(&[&["generate", task, "--out", "run"][..], &models, &SMALL].concat());

    // A byte that changed in the file is found before any parser sees it.
    let path = library(&bench).join(FILE);
    let mut bytes = gguf();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let errors = bench.fails(&[&["generate", task, "--out", "other"][..], &models].concat());
    for part in [FILE, &sha256(&gguf()), &sha256(&bytes), "hint: "] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let verify = bench.run(&["models", "verify"]);
    assert_eq!(verify.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert!(errors.contains(FILE) && errors.contains(&sha256(&bytes)), "{errors}");
    // The mend that the error names works, and brings the pinned commit.
    bench.ok(&["models", "remove", NAME]);
    succeeds(pull(&bench, &teachers, &[NAME]));
    assert_eq!(teachers.seen()[2].path, resolve(COMMIT));
    bench.ok(&["models", "verify"]);
}

#[test]
fn a_cut_line_is_gone_on_with_in_the_same_call() {
    let bench = TestDir::new();
    let bytes = gguf();
    let hub = Server::start(move |seen, before| {
        let reply = plain(&bytes, seen, COMMIT);
        if (1..3).contains(&before) { reply.cut_after(700_000) } else { reply }
    });
    succeeds(pull(&bench, &hub, &[NAME]));
    assert_eq!(fs::read(library(&bench).join(FILE)).unwrap(), gguf());
    assert_eq!(first_bytes(&hub), [0, 700_000, 1_400_000]);
}

#[test]
fn a_cut_pull_is_gone_on_with_by_the_next() {
    let bench = TestDir::new();
    let bytes = gguf();
    let broken = Server::start(move |seen, before| match before {
        0 => plain(&bytes, seen, COMMIT),
        1 => plain(&bytes, seen, COMMIT).cut_after(1_000_000),
        _ => Reply::status(404),
    });
    fails(pull(&bench, &broken, &[NAME]));
    assert!(!library(&bench).exists());
    let part = staged(&bench);
    assert_eq!(part.len(), 1);
    assert_eq!(fs::metadata(&part[0]).unwrap().len(), 1_000_000);

    let sound = hub();
    succeeds(pull(&bench, &sound, &[NAME]));
    assert_eq!(first_bytes(&sound), [1_000_000]);
    assert_eq!(fs::read(library(&bench).join(FILE)).unwrap(), gguf());
}

#[test]
fn a_server_without_parts_and_a_part_of_another_file_do_no_harm() {
    let bench = TestDir::new();
    let bytes = gguf();
    let broken = Server::start(move |seen, before| match before {
        0 => plain(&bytes, seen, COMMIT),
        1 => plain(&bytes, seen, COMMIT).cut_after(1_000_000),
        _ => Reply::status(404),
    });
    fails(pull(&bench, &broken, &[NAME]));
    let bytes = gguf();
    let whole = Server::start(move |seen, before| {
        let seen = Seen { range: seen.range.clone().filter(|_| before == 0), ..seen.clone() };
        plain(&bytes, &seen, COMMIT)
    });
    succeeds(pull(&bench, &whole, &[NAME]));
    assert_eq!(fs::read(library(&bench).join(FILE)).unwrap(), gguf());
}

#[test]
fn a_file_with_another_hash_than_the_hub_claims_is_refused_and_fetched_afresh() {
    let bench = TestDir::new();
    let (bytes, claim) = (gguf(), "5".repeat(64));
    let etag = claim.clone();
    let lying = Server::start(move |seen, _| {
        Reply::part(&bytes, seen).with("x-repo-commit", COMMIT).with("x-linked-etag", &etag)
    });
    let errors = fails(pull(&bench, &lying, &[NAME]));
    for part in [FILE, &claim, &sha256(&gguf()), "the hub says"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert!(staged(&bench).is_empty() && !library(&bench).exists());
    let sound = hub();
    succeeds(pull(&bench, &sound, &[NAME]));
    assert_eq!(first_bytes(&sound), [0]);
}

#[test]
fn a_file_with_another_hash_than_the_lock_says_is_refused() {
    let bench = TestDir::new();
    succeeds(pull(&bench, &hub(), &[NAME]));
    bench.ok(&["models", "remove", NAME]);
    let lock = home(&bench).join("models.lock.toml");
    let (text, wanted) = (fs::read_to_string(&lock).unwrap(), "7".repeat(64));
    fs::write(&lock, text.replace(&sha256(&gguf()), &wanted)).unwrap();
    let errors = fails(pull(&bench, &hub(), &[NAME]));
    for part in [FILE, &wanted, &sha256(&gguf()), "models.lock.toml"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert!(staged(&bench).is_empty() && !library(&bench).exists());
    // A lock that is not one is never overwritten in silence.
    fs::write(&lock, "this is = = no TOML").unwrap();
    let errors = fails(pull(&bench, &hub(), &[NAME]));
    assert!(errors.contains("models.lock.toml"), "{errors}");
}

#[test]
fn the_pinned_commit_is_asked_for_until_another_is_wanted() {
    let bench = TestDir::new();
    succeeds(pull(&bench, &hub(), &[NAME]));
    bench.ok(&["models", "remove", NAME]);
    // The repo has moved on; a hub that answers with another commit than asked for is refused.
    let bytes = gguf();
    let moved = Server::start(move |seen, _| plain(&bytes, seen, NEWER));
    let errors = fails(pull(&bench, &moved, &[NAME]));
    assert!(errors.contains(COMMIT) && errors.contains(NEWER), "{errors}");
    assert!(moved.seen()[0].path.contains(COMMIT));
    succeeds(pull(&bench, &moved, &[NAME, "--revision", "main"]));
    let lock = fs::read_to_string(home(&bench).join("models.lock.toml")).unwrap();
    assert!(lock.contains(NEWER) && !lock.contains(COMMIT), "{lock}");
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let bench = TestDir::new();
    let (hub, cdn) = hub_and_cdn();
    let mut command = pull(&bench, &hub, &[NAME]);
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

/// Why redirects are not left to `hf-hub`. Should this fail, it was mended there.
#[test]
fn hf_hub_itself_would_send_the_token_along() {
    let bench = TestDir::new();
    let (hub, cdn) = hub_and_cdn();
    let api = hf_hub::api::sync::ApiBuilder::from_cache(hf_hub::Cache::new(bench.path("cache")))
        .with_endpoint(hub.url())
        .with_token(Some("hf_secret".to_owned()))
        .build()
        .unwrap();
    let url = api.model(REPO.to_owned()).url(FILE);
    assert_eq!(api.metadata(&url).unwrap().commit_hash(), COMMIT);
    assert_eq!(cdn.seen()[0].authorization.as_deref(), Some("Bearer hf_secret"));
}

#[test]
fn every_refusal_is_explained() {
    let bench = TestDir::new();
    for (status, code, wanted) in [
        (401, "", "HF_TOKEN"),
        (403, "GatedRepo", "accept its licence"),
        (404, "EntryNotFound", "renamed"),
        (404, "RevisionNotFound", "no such revision"),
        (407, "", "proxy"),
    ] {
        let hub = Server::start(move |_, _| Reply::status(status).with("x-error-code", code));
        let errors = fails(pull(&bench, &hub, &[NAME]));
        for part in [wanted, &status.to_string(), FILE, &format!("{}/{REPO}", hub.url())[..4]] {
            assert!(errors.contains(part), "{part}: {errors}");
        }
        assert_eq!(hub.seen().len(), 1, "{status} was asked again");
    }
    // Nobody listens there.
    let mut gone = hub();
    gone.port = 1;
    let errors = fails(pull(&bench, &gone, &[NAME]));
    assert!(errors.contains("no answer from http://127.0.0.1:1"), "{errors}");
    assert!(!library(&bench).exists());
}

#[test]
fn a_busy_hub_is_asked_again() {
    let bench = TestDir::new();
    let bytes = gguf();
    let hub = Server::start(move |seen, before| match before {
        0 => Reply::status(503),
        _ => plain(&bytes, seen, COMMIT),
    });
    succeeds(pull(&bench, &hub, &[NAME]));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let bench = TestDir::new();
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
        let errors = fails(pull(&bench, &hostile, &[NAME]));
        assert!(errors.contains("which no hub sends"), "{errors}");
    }
    let hub = hub();
    for args in [&["owner/repo", "../evil.gguf"][..], &["../repo", "a.gguf"], &["a/b/c", "a.gguf"]]
    {
        let errors = fails(pull(&bench, &hub, args));
        assert!(errors.contains("cannot be the name"), "{errors}");
    }
    assert!(hub.seen().is_empty());
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let bench = TestDir::new();
    let hub = Server::start(|seen, _| plain(b"<html>please log in</html>", seen, COMMIT));
    // The header check stands before every parser.
    let errors = fails(pull(&bench, &hub, &[NAME]));
    assert!(errors.contains(FILE), "{errors}");
    assert!(staged(&bench).is_empty() && !library(&bench).exists());
}

#[test]
fn offline_means_no_connection() {
    let bench = TestDir::new();
    let hub = hub();
    let mut by_variable = pull(&bench, &hub, &[NAME]);
    by_variable.env("HF_HUB_OFFLINE", "1");
    assert!(fails(by_variable).contains("HF_HUB_OFFLINE"));
    assert!(fails(pull(&bench, &hub, &[NAME, "--offline"])).contains("--offline"));
    assert!(hub.seen().is_empty());
    let mut allowed = pull(&bench, &hub, &[NAME]);
    allowed.env("HF_HUB_OFFLINE", "0");
    succeeds(allowed);
}

#[test]
fn a_proxy_is_used() {
    let bench = TestDir::new();
    let proxy = hub();
    for variable in ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        let mut command = pull(&bench, &proxy, &[NAME]);
        command.env("HF_ENDPOINT", "http://hub.invalid").env(variable, proxy.url());
        succeeds(command);
        let seen = proxy.seen();
        assert!(seen.iter().all(|seen| seen.proxied && seen.host == "hub.invalid"), "{seen:?}");
        bench.ok(&["models", "remove", NAME]);
    }
    let mut command = pull(&bench, &proxy, &[NAME]);
    command.env("HF_ENDPOINT", "http://hub.invalid").env("HTTPS_PROXY", "http://127.0.0.1:1");
    let errors = fails(command);
    assert!(errors.contains("HTTPS_PROXY is set"), "{errors}");
}

#[test]
fn a_repo_that_nobody_listed_can_be_pulled_too() {
    let bench = TestDir::new();
    let hub = hub();
    succeeds(pull(&bench, &hub, &["somebody/Tiny-GGUF", "tiny-q4.gguf"]));
    assert!(home(&bench).join("models/teacher/tiny-q4/tiny-q4.gguf").is_file());
    let rows = json_lines(&bench.ok(&["models", "verify", "tiny-q4", "--json"]));
    assert_eq!(rows[0]["state"], "sound");
}

#[test]
fn pulls_at_the_same_time_do_not_tread_on_each_other() {
    let bench = TestDir::new();
    let hub = hub();
    let children: Vec<_> = ["smollm2-360m-instruct", NAME, NAME, "qwen3-0.6b"]
        .map(|name| pull(&bench, &hub, &[name, "-q"]).stdout(Stdio::null()).spawn().unwrap())
        .into();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(first_bytes(&hub), [0, 0, 0]);
    let rows = json_lines(&bench.ok(&["models", "verify", "--json"]));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["state"] == "sound"), "{rows:?}");
}
