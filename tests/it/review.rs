//! `promptmix review`: decisions become edits, none is lost or doubled, and nobody else may decide.

mod kills;
pub(crate) mod server;

use std::{collections::HashMap, fs};

use serde_json::{Value, json};

use self::server::Server;
use crate::support::{STUDENT, TestDir, rows};

const CLASSES: [&str; 2] = ["password_reset", "hardware_fault"];

/// Imports `texts` texts with labels and one copy of a seed, and filters them.
pub(crate) fn imported(dir: &TestDir, texts: usize) {
    let task = dir.task("");
    let words = ["red", "blue", "green", "old", "new", "tall", "thin", "grey", "loud", "slow"];
    let line = |n: usize| {
        let (label, noun) = [(CLASSES[0], "password"), (CLASSES[1], "printer")][n % 2];
        let [one, two, three] = [n / 2 % 10, n / 20 % 10, n / 200 % 10].map(|at| words[at]);
        let text = format!("{one} {noun} {two} {n} {three} x{n} please");
        let p = 0.5 + 0.4 * n as f64 / texts as f64;
        json!({"text": text, "major": CLASSES[n % 2], "relabel": label, "p": p}).to_string() + "\n"
    };
    let copy = json!({"text": "my keyboard is dead", "major": CLASSES[1], "relabel": CLASSES[1]});
    let lines: String = (0..texts).map(line).chain([format!("{copy}\n")]).collect();
    dir.write("texts.jsonl", lines);
    let quick = ["--student", STUDENT, "--set", "run.seeds=1", "--set", "student.epochs=1"];
    let import = ["import", task.to_str().unwrap(), "texts.jsonl", "--out", "out"];
    dir.ok(&[&import[..], &quick].concat());
    dir.ok(&["filter", "out", "--set", "filter.rouge_l=2.0"]);
    assert_eq!(rows(&dir.path("out/train.jsonl")).len(), texts);
    assert_eq!(rows(&dir.path("out/dropped.jsonl")).len(), 1);
}

fn other(label: &Value) -> &'static str {
    CLASSES[usize::from(label == CLASSES[0])]
}

fn edit_entries(dir: &TestDir) -> Vec<Value> {
    let mut entries = rows(&dir.path("out/ledger.jsonl"));
    entries.retain(|entry| entry["kind"] == "edit");
    entries
}

/// The changes in the ledger, without those that close a review.
fn changes(dir: &TestDir) -> Vec<Value> {
    let entries = edit_entries(dir);
    entries.iter().flat_map(|entry| entry["changes"].as_array().unwrap().clone()).collect()
}

fn train_row(dir: &TestDir, text: &Value) -> Option<Value> {
    rows(&dir.path("out/train.jsonl")).into_iter().find(|row| row["text"] == *text)
}

#[test]
fn decisions_become_edits_that_every_stage_keeps() {
    let dir = TestDir::new();
    imported(&dir, 12);
    let mut server = Server::start(&dir);
    let shown = server.rows("generated");
    let certainty: Vec<f64> = shown.iter().map(|row| row["p"].as_f64().unwrap()).collect();
    assert!(certainty.is_sorted() && shown.len() == 12, "least certain first: {certainty:?}");
    let before = fs::read(dir.path("out/train.jsonl")).unwrap();

    assert_eq!(server.decide(&shown[0], &json!("keep")).0, 200);
    let (status, answer) = server.decide(&shown[1], &json!({"label": other(&shown[1]["label"])}));
    assert_eq!((status, &answer["lists"][2]["left"]), (200, &json!(10)), "{answer}");
    assert_eq!(server.decide(&shown[2], &json!({"text": " own words "})).0, 200);
    assert_eq!(server.decide(&shown[3], &json!("drop")).0, 200);
    // Taken back, so nothing remains of these two.
    for (row, action) in [(&shown[4], json!("drop")), (&shown[5], json!("keep"))] {
        let (_, answer) = server.decide(row, &action);
        let (status, answer) = server.decide(&answer["row"], &json!("undo"));
        assert_eq!((status, &answer["row"]["decided"]), (200, &json!(false)), "{answer}");
        assert_eq!(answer["row"]["label"], row["label"]);
    }
    // The text of a seed that the filter dropped.
    let dropped = server.rows("dropped").remove(0);
    assert_eq!(dropped["reason"], "copy of a seed");
    assert_eq!(server.decide(&dropped, &json!("keep")).0, 200);
    assert_eq!(fs::read(dir.path("out/train.jsonl")).unwrap(), before, "the file follows later");
    assert_eq!(changes(&dir).len(), 9, "each decision is in the ledger at once");
    let by = edit_entries(&dir)[0]["by"].as_str().unwrap().to_owned();
    assert!(!by.is_empty() && edit_entries(&dir)[0]["at"].as_str().unwrap().ends_with(" UTC"));

    let printed = server.finish();
    let told =
        "1 label, 1 text, 1 row confirmed, 1 row removed, 1 row added in review in train.jsonl";
    assert!(printed.contains(told) && printed.contains("9 decisions recorded"), "{printed}");
    let check = |when: &str| {
        let kept = train_row(&dir, &shown[0]["text"]).expect(when);
        assert_eq!((&kept["by"], &kept["p"]), (&json!("person"), &json!(1.0)), "{when}");
        let labelled = train_row(&dir, &shown[1]["text"]).expect(when);
        assert_eq!(labelled["relabel"], other(&shown[1]["label"]), "{when}");
        let edited = train_row(&dir, &json!("own words")).expect(when);
        assert_eq!(edited["relabel"], shown[2]["label"], "{when}");
        assert_eq!(train_row(&dir, &shown[3]["text"]), None, "{when}");
        for row in &shown[4..] {
            assert_eq!(train_row(&dir, &row["text"]).expect(when)["by"], Value::Null, "{when}");
        }
        assert_eq!(train_row(&dir, &dropped["text"]).expect(when)["by"], "person", "{when}");
        assert_eq!(rows(&dir.path("out/dropped.jsonl")).len(), 0, "{when}");
        dir.ok(&["audit", "out", "--no-nearest"]);
    };
    check("after the review");
    let listed = dir.ok(&["edits", "out"]);
    assert!(listed.contains("9 edits by hand, recorded\n"), "{listed}");
    assert_eq!(listed.matches(": recorded ").count(), 1, "one heading for all: {listed}");
    for stage in ["filter", "train"] {
        dir.ok(&[stage, "out"]);
        check(stage);
    }
    // The next review knows what was decided, and can take it back.
    let mut server = Server::start(&dir);
    let again: HashMap<Value, Value> =
        server.rows("generated").into_iter().map(|row| (row["text"].clone(), row)).collect();
    assert_eq!(again.values().filter(|row| row["decided"] == true).count(), 5);
    for text in [&shown[0]["text"], &json!("own words"), &shown[3]["text"], &dropped["text"]] {
        assert_eq!(server.decide(&again[text], &json!("undo")).0, 200, "{}", again[text]);
    }
    server.finish();
    dir.ok(&["filter", "out"]);
    for row in [&shown[0], &shown[2], &shown[3]] {
        let now = train_row(&dir, &row["text"]).expect("it is as it was");
        assert_eq!((&now["by"], &now["relabel"]), (&Value::Null, &row["label"]));
    }
    assert_eq!(train_row(&dir, &dropped["text"]), None);
    assert_eq!(rows(&dir.path("out/dropped.jsonl")).len(), 1);
    dir.ok(&["audit", "out", "--no-nearest"]);
}

/// Decides `action` about the row `id` of `list` in the next review.
fn decided_next(dir: &TestDir, list: &str, id: u64, action: &Value) -> Value {
    let mut server = Server::start(dir);
    let row = server.rows(list).into_iter().find(|row| row["id"] == id).expect("a row");
    let (status, answer) = server.decide(&row, action);
    assert_eq!(status, 200, "{action} about {row}: {answer}");
    server.finish();
    dir.ok(&["audit", "out", "--no-nearest"]);
    answer["row"].clone()
}

#[test]
fn an_exact_duplicate_is_a_text_of_its_own_in_every_review() {
    const TWIN: &str = "the password of my mailbox";
    let dir = TestDir::new();
    let task = dir.task("");
    let line = |text: &str, label: &str| {
        json!({"text": text, "major": label, "relabel": label, "p": 0.7}).to_string() + "\n"
    };
    let lines = [TWIN, TWIN, "a new password please", TWIN].map(|text| line(text, CLASSES[0]));
    dir.write("texts.jsonl", lines.concat() + &line("my printer smokes", CLASSES[1]));
    let import = ["import", task.to_str().unwrap(), "texts.jsonl", "--out", "out"];
    dir.ok(&[&import[..], &["--student", STUDENT]].concat());
    dir.ok(&["filter", "out"]);
    let twins = |file: &str| -> Vec<Value> {
        let rows = rows(&dir.path(&format!("out/{file}.jsonl")));
        rows.into_iter().filter(|row| row["text"] == TWIN).collect()
    };
    let ids = |file: &str| -> Vec<u64> {
        twins(file).iter().map(|row| row["id"].as_u64().unwrap()).collect()
    };
    assert_eq!((ids("train"), ids("dropped")), (vec![0], vec![1, 3]));
    let mut server = Server::start(&dir);
    let dropped = server.rows("dropped").into_iter().find(|row| row["id"] == 1).unwrap();
    assert_eq!(server.decide(&dropped, &json!({"label": CLASSES[1]})).0, 200);
    server.finish();
    for stage in ["review", "filter"] {
        assert_eq!((ids("train"), ids("dropped")), (vec![0, 1], vec![3]), "{stage}");
        dir.ok(&["filter", "out"]);
    }
    // Each of the three is decided about again.
    decided_next(&dir, "dropped", 3, &json!("drop"));
    let mut server = Server::start(&dir);
    for row in server.rows("generated").iter().filter(|row| row["text"] == TWIN) {
        let (status, answer) = server.decide(row, &json!({"label": other(&row["label"])}));
        assert_eq!(status, 200, "{row}: {answer}");
    }
    server.finish();
    let labels = |file: &str| -> Vec<Value> {
        twins(file).iter().map(|row| row["relabel"].clone()).collect()
    };
    assert_eq!(labels("train"), [CLASSES[1], CLASSES[0]]);
    // Of the first one nothing is left, and it is counted nowhere else.
    decided_next(&dir, "generated", 0, &json!("drop"));
    for stage in ["review", "filter"] {
        assert_eq!((ids("train"), ids("dropped")), (vec![1], vec![3]), "{stage}");
        dir.ok(&["filter", "out"]);
    }
    let back = decided_next(&dir, "generated", 0, &json!("keep"));
    assert_eq!((&back["dropped"], ids("train").len()), (&json!(false), 2), "{back}");
}

#[test]
fn impossible_decisions_are_refused_and_change_nothing() {
    let dir = TestDir::new();
    imported(&dir, 12);
    let mut server = Server::start(&dir);
    let row = server.rows("generated").remove(0);
    for (action, wanted) in [
        (json!({"label": "printer"}), "No class has this name"),
        (json!({"text": " \n"}), "cannot be empty"),
        (json!({"text": "The printer is broken!"}), "is in the test set"),
        (json!("undo"), "Nothing was decided"),
    ] {
        let (status, answer) = server.decide(&row, &action);
        let message = answer["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(wanted), "{action}: {answer}");
    }
    let unknown = json!({"key": "no", "version": 0});
    assert_eq!(server.decide(&unknown, &json!("keep")).0, 404);
    assert_eq!(server.post("/api/decide", &json!({"key": 1})).0, 400);
    assert_eq!(server.post("/api/nothing", &json!({})).0, 404);
    assert!(changes(&dir).is_empty());
}

#[test]
fn a_second_window_and_a_second_process_get_a_clear_word() {
    let dir = TestDir::new();
    imported(&dir, 12);
    let mut server = Server::start(&dir);
    let seen = server.rows("generated").remove(0);
    let label = json!({"label": other(&seen["label"])});
    assert_eq!(server.decide(&seen, &label).0, 200);
    // What the other window shows is older.
    for action in [json!("drop"), json!("keep"), label] {
        let (status, answer) = server.decide(&seen, &action);
        let message = answer["message"].as_str().unwrap();
        assert_eq!(status, 409, "{answer}");
        assert!(message.contains("in another window"), "{message}");
        assert_eq!(answer["row"]["label"], other(&seen["label"]), "with the row as it is now");
    }
    assert_eq!(changes(&dir).len(), 1);
    for command in ["review", "filter"] {
        let errors = dir.fails(&[command, "out"]);
        let process = format!("in use by another promptmix (process {})", server.child.id());
        assert!(errors.contains(&process) && errors.contains("Ctrl-C"), "{errors}");
    }
}

#[test]
fn other_hosts_other_pages_and_wrong_tokens_are_refused() {
    let dir = TestDir::new();
    imported(&dir, 12);
    let mut server = Server::launch(dir.program(&["review", "out"]));
    let host = server.host.clone();
    let own = [("Host", host.as_str())];
    let target = server.target();
    assert_eq!(server.send("GET", "/", &own, "").status, 403, "no token");
    assert_eq!(server.send("GET", "/?token=00", &own, "").status, 403, "a wrong token");
    let longer = format!("{target}0");
    assert_eq!(server.send("GET", &longer, &own, "").status, 403);
    let elsewhere = [("Host", "evil.example")];
    assert_eq!(server.send("GET", &target, &elsewhere, "").status, 403, "a rebound name");
    let entered = server.send("GET", &target, &own, "");
    assert_eq!(entered.status, 200);
    assert!(entered.head.contains("SameSite=Strict") && entered.head.contains("HttpOnly"));
    assert_eq!(server.send("GET", &target, &own, "").status, 403, "a used token");
    let cookie = entered.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = server.send("GET", "/", &[own[0], ("Cookie", &cookie)], "");
    assert!(page.status == 200 && page.body.contains("<title>Review"), "{}", page.body);
    assert!(page.head.contains("default-src 'none'") && page.head.contains("no-store"));
    for (host, origin) in [
        (host.as_str(), "http://evil.example"),
        (&host, "null"),
        ("evil.example", "http://evil.example"),
    ] {
        let headers = [("Host", host), ("Origin", origin), ("Cookie", &cookie)];
        assert_eq!(server.send("POST", "/api/lists", &headers, "{}").status, 403, "{origin}");
    }
    let headers = [own[0], ("Cookie", &cookie)];
    assert_eq!(server.send("POST", "/api/lists", &headers, "{}").status, 403, "no origin");
    let headers = [own[0], ("Cookie", &cookie), ("Transfer-Encoding", "chunked")];
    let both = server.send("POST", "/api/lists", &headers, "0");
    assert!([400, 403].contains(&both.status), "two lengths: {}", both.head);
}

#[test]
fn a_file_edited_by_hand_meanwhile_keeps_both() {
    let dir = TestDir::new();
    imported(&dir, 12);
    let mut server = Server::start(&dir);
    let shown = server.rows("generated");
    server.decide(&shown[0], &json!({"label": other(&shown[0]["label"])}));
    server.decide(&shown[1], &json!("drop"));
    let path = dir.path("out/train.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let edited = text.replace(shown[2]["text"].as_str().unwrap(), "by hand");
    fs::write(&path, &edited).unwrap();
    server.kill();
    let check = || {
        assert_eq!(train_row(&dir, &json!("by hand")).unwrap()["by"], "person");
        let labelled = train_row(&dir, &shown[0]["text"]).unwrap();
        assert_eq!(labelled["relabel"], other(&shown[0]["label"]));
        assert_eq!(train_row(&dir, &shown[1]["text"]), None);
        assert_eq!(changes(&dir).len(), 3);
        dir.ok(&["audit", "out", "--no-nearest"]);
    };
    let (ledger, head) = (dir.path("out/ledger.jsonl"), dir.path("out/ledger.head"));
    let killed = (fs::read(&ledger).unwrap(), fs::read(&head).unwrap());
    let copies = fs::read_dir(dir.path("out/written")).unwrap();
    let copies: Vec<_> = copies
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    dir.ok(&["filter", "out"]);
    check();
    // As after a kill behind the record of the edit by hand, before its file was written.
    let lines = fs::read_to_string(&ledger).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let before = String::from_utf8(killed.0).unwrap().lines().count();
    fs::write(&ledger, lines[..=before].join("\n") + "\n").unwrap();
    fs::write(&head, killed.1).unwrap();
    fs::write(&path, &edited).unwrap();
    fs::remove_dir_all(dir.path("out/written")).unwrap();
    for (path, bytes) in &copies {
        dir.write(path.to_str().unwrap(), bytes);
    }
    dir.ok(&["filter", "out"]);
    check();
}

#[test]
fn a_socket_in_the_file_system_is_private_and_removed_in_the_end() {
    use std::{
        io::{Read as _, Write as _},
        os::unix::{fs::PermissionsExt as _, net::UnixStream},
    };
    let dir = TestDir::new();
    imported(&dir, 12);
    let path = dir.path("page");
    for kill in [true, false] {
        let mut server = Server::launch(dir.program(&["review", "out", "--unix", "page"]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: localhost:8800\r\nConnection: close\r\n\r\n",
            server.target()
        );
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("set-cookie: "), "{answer}");
        // A killed process leaves its socket; the next one takes its place.
        let signal = if kill { libc::SIGKILL } else { libc::SIGINT };
        // SAFETY: it signals the process that this test started and has not waited for.
        unsafe { libc::kill(server.child.id() as i32, signal) };
        server.child.wait().unwrap();
        assert_eq!(path.exists(), kill);
    }
    dir.write("page", "a file");
    let errors = dir.fails(&["review", "out", "--unix", "page"]);
    assert!(errors.contains("cannot listen on page") && errors.contains("hint: "), "{errors}");
}

#[test]
fn drafts_of_descriptions_are_on_the_page_until_they_are_accepted() {
    let dir = TestDir::new();
    let command = crate::refine::run(&dir);
    let on_the_page = || {
        let (status, lists) = Server::start(&dir).post("/api/lists", &json!({}));
        assert_eq!(status, 200, "{lists}");
        lists["drafts"].as_array().unwrap().clone()
    };
    assert_eq!(on_the_page(), Vec::<Value>::new(), "nobody has refined yet");
    dir.ok(&["refine", "out"]);
    let shown = on_the_page();
    let refined = crate::support::json(&dir.path("out/refined.json"));
    let drafts = refined["drafts"].as_array().unwrap().iter();
    let drafts: Vec<&Value> = drafts.filter(|draft| draft["new"].is_string()).collect();
    assert!(!drafts.is_empty() && drafts.len() == shown.len(), "{refined}");
    let (draft, class) = (&shown[0], shown[0]["class"].as_str().unwrap());
    assert_eq!(draft["command"], format!("promptmix refine out --accept {class}"));
    for key in ["old", "new", "against"] {
        assert_eq!(draft[key], drafts[0][key], "{draft}");
    }
    // Changed since it was shown: nobody could accept it.
    let path = dir.path("out/refined.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(draft["new"].as_str().unwrap(), "another")).unwrap();
    assert_eq!(on_the_page(), Vec::<Value>::new());
    fs::write(&path, text).unwrap();
    dir.ok(&["refine", "out", "--accept", class]);
    dir.ok(&command.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(on_the_page().iter().all(|draft| draft["class"] != class), "it is accepted");
}
