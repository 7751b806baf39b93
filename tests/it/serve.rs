//! `promptmix serve`: every interface answers as `predict` does, whatever clients do.

pub(crate) mod client;
mod load;
mod schema;

use std::{
    fs,
    io::{Read as _, Write as _},
    thread,
};

use serde_json::{Value, json};

use self::client::{Answer, Client, Server};
use crate::support::{TestDir, check_failure, json_lines};

/// Two trained students with the same three classes and different answers.
const BERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/bert");
const DISTILBERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/distilbert");
/// The route and its path, a body, the status, and words of the answer.
type Refused<'a> = ((&'a str, &'a str), &'a [u8], u16, &'a str);
const CLASSES: [&str; 3] = ["money", "travel", "other"];

fn texts(count: usize) -> Vec<String> {
    let words = ["my card", "the train", "lost money", "why", "a cat and a dog", "\u{1f642} water"];
    let text = |n: usize| format!("{} {}", words[n % 6], "card the ".repeat(n * 7 % 11));
    (0..count).map(text).collect()
}

/// What `promptmix predict` says: the probability of each class, for each text.
fn predicted(dir: &TestDir, model: &str, texts: &[String]) -> Vec<[f64; 3]> {
    let rows: String = texts.iter().map(|text| json!({"text": text}).to_string() + "\n").collect();
    dir.write("texts.jsonl", rows);
    let printed = dir.ok(&["predict", "--model", model, "--file", "texts.jsonl"]);
    let of = |row: Value| CLASSES.map(|class| row["probabilities"][class].as_f64().unwrap());
    json_lines(&printed).into_iter().map(of).collect()
}

fn is_close(one: &[f64; 3], other: &[f64; 3]) -> bool {
    // Sums in F32 differ with the texts beside it.
    one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-6)
}

/// The probability of each class in an answer of `/predict` to one text.
fn tei(answer: &Value) -> [f64; 3] {
    let labels = answer.as_array().expect("a list of labels");
    let scores: Vec<f64> = labels.iter().map(|it| it["score"].as_f64().unwrap()).collect();
    assert!(labels.len() == 3 && scores.is_sorted_by(|a, b| a >= b), "{answer}");
    CLASSES.map(|class| {
        let found = labels.iter().find(|it| it["label"] == class).expect("each class");
        found["score"].as_f64().unwrap()
    })
}

fn assert_same(found: &[[f64; 3]], wanted: &[[f64; 3]], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!(is_close(found, wanted), "{what}, text {at}: {found:?}, not {wanted:?}");
    }
}

/// Checks that the answer is what the document says of it.
fn assert_described(document: &Value, method: &str, pattern: &str, answer: &Answer) {
    let responses = &document["paths"][pattern][method]["responses"];
    let described = &responses[answer.status.to_string()];
    assert!(described.is_object(), "{method} {pattern}: {} is not described", answer.status);
    if let Some(content) = described["content"].get("application/json") {
        let faults = schema::faults(document, &content["schema"], &answer.json(), "answer");
        assert!(faults.is_empty(), "{method} {pattern}: {faults:#?}");
    }
}

#[test]
fn every_interface_answers_as_predict_does_and_as_is_described() {
    let dir = TestDir::new();
    let texts = texts(60);
    let wanted = predicted(&dir, BERT, &texts);
    let second = predicted(&dir, DISTILBERT, &texts);
    let pair = format!("second={DISTILBERT}");
    let server = Server::start(&dir, &[BERT, &pair]);
    let document = server.get("/openapi.json").json();
    let ask = |pattern: &str, path: &str, body: &Value| {
        let schema = &document["paths"][pattern]["post"]["requestBody"]["content"];
        let schema = &schema["application/json"]["schema"];
        let faults = schema::faults(&document, schema, body, "request");
        assert!(faults.is_empty(), "{path}: {faults:#?}");
        let answer = server.post(path, body);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_described(&document, "post", pattern, &answer);
        answer.json()
    };
    let batch = |answer: &Value| answer.as_array().unwrap().iter().map(tei).collect::<Vec<_>>();
    let one = ask("/predict", "/predict", &json!({"inputs": texts[0]}));
    assert_same(&[tei(&one)], &wanted[..1], "a text");
    let list = ask("/predict", "/predict", &json!({"inputs": texts, "truncate": true}));
    assert_same(&batch(&list), &wanted, "a list");
    let lists: Vec<[&String; 1]> = texts.iter().map(|text| [text]).collect();
    let list = ask("/predict", "/predict?model=bert", &json!({"inputs": lists}));
    assert_same(&batch(&list), &wanted, "a list of lists");
    let other = json!({"inputs": texts, "raw_scores": null});
    let list = ask("/predict", "/predict?model=second", &other);
    assert_same(&batch(&list), &second, "another model");
    let list = ask("/models/{model}/predict", "/models/second/predict", &other);
    assert_same(&batch(&list), &second, "a model in the path");
    let raw = ask("/predict", "/predict", &json!({"inputs": texts[0], "raw_scores": true}));
    let exponents = tei(&raw).map(f64::exp);
    let sum: f64 = exponents.iter().sum();
    // The student's temperature is 1.
    assert_same(&[exponents.map(|it| it / sum)], &wanted[..1], "logits");

    let classified =
        ask("/v1/classify", "/v1/classify", &json!({"model": "second", "input": texts}));
    let probs = |row: &Value| [0, 1, 2].map(|at| row["probs"][at].as_f64().unwrap());
    let rows = classified["data"].as_array().unwrap();
    assert_same(&rows.iter().map(probs).collect::<Vec<_>>(), &second, "vLLM");
    for row in rows {
        let best = probs(row).iter().copied().fold(0.0, f64::max);
        let at = CLASSES.iter().position(|class| row["label"] == *class).unwrap();
        assert_eq!(probs(row)[at], best, "{row}");
    }
    assert!(classified["usage"]["total_tokens"].as_u64().unwrap() > texts.len() as u64);
    ask("/v1/classify", "/v1/classify", &json!({"input": texts[0]}));

    let tensor = json!({"name": "text", "shape": [60, 1], "datatype": "BYTES", "data": texts});
    let infer = "/v2/models/{model}/infer";
    let inferred = ask(infer, "/v2/models/bert/infer", &json!({"id": "7", "inputs": [tensor]}));
    assert_eq!((&inferred["id"], &inferred["model_name"]), (&json!("7"), &json!("bert")));
    let outputs = inferred["outputs"].as_array().unwrap();
    let all: Vec<f64> =
        outputs[2]["data"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
    let all: Vec<[f64; 3]> = all.chunks(3).map(|it| it.try_into().unwrap()).collect();
    assert_same(&all, &wanted, "KServe");
    let labels = outputs[0]["data"].as_array().unwrap();
    assert_eq!((labels.len(), &outputs[2]["shape"]), (60, &json!([60, 3])));
    let some = json!({"inputs": [tensor], "outputs": [{"name": "label"}]});
    let some = ask(infer, "/v2/models/second/infer", &some);
    assert_eq!(some["outputs"].as_array().unwrap().len(), 1, "only what was asked for");

    let seen = server.metric("promptmix_texts_total{model=\"second\"}").unwrap();
    assert_eq!(seen, 240.0, "four requests of sixty texts");
}

#[test]
fn what_the_server_tells_of_itself_is_as_is_described() {
    let dir = TestDir::new();
    let pair = format!("second={DISTILBERT}");
    let server = Server::start(&dir, &[BERT, &pair]);
    let document = server.get("/openapi.json").json();
    let looks = [
        ("/health", "/health"),
        ("/models/{model}/health", "/models/second/health"),
        ("/info", "/info"),
        ("/models/{model}/info", "/models/second/info"),
        ("/metrics", "/metrics"),
        ("/openapi.json", "/openapi.json"),
        ("/v2", "/v2"),
        ("/v2/health/live", "/v2/health/live"),
        ("/v2/health/ready", "/v2/health/ready"),
        ("/v2/models/{model}", "/v2/models/bert"),
        ("/v2/models/{model}/ready", "/v2/models/bert/ready"),
    ];
    for (pattern, path) in looks {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_described(&document, "get", pattern, &answer);
    }
    let info = server.get("/info?model=second").json();
    assert_eq!(info["model_id"], "second");
    assert_eq!(info["model_type"]["classifier"]["id2label"]["1"], "travel");
    let model = server.get("/v2/models/bert").json();
    assert_eq!(model["parameters"]["labels"], json!(CLASSES));
}

#[test]
fn texts_of_many_connections_share_batches_and_none_is_mixed_up() {
    const CLIENTS: usize = 16;
    let dir = TestDir::new();
    let texts = texts(64);
    let wanted = predicted(&dir, BERT, &texts);
    let server = Server::start(&dir, &[BERT]);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, texts, wanted) = (&server, &texts, &wanted);
            scope.spawn(move || {
                let mut connection = server.connect();
                for n in 0..60 {
                    let at = (client * 7 + n * 5) % texts.len();
                    let until = (at + n % 4 + 1).min(texts.len());
                    let body = json!({"inputs": texts[at..until]});
                    let answer = connection.post("/predict", &body);
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let found: Vec<_> = answer.json().as_array().unwrap().iter().map(tei).collect();
                    assert_same(&found, &wanted[at..until], &format!("client {client}"));
                }
            });
        }
    });
    let metric =
        |name: &str| server.metric(&format!("promptmix_{name}{{model=\"bert\"}}")).unwrap();
    let (batches, sum) = (metric("batch_texts_count"), metric("batch_texts_sum"));
    assert_eq!(sum, metric("texts_total"));
    assert!(batches < (CLIENTS * 60) as f64, "{batches} batches: requests were packed");
    let requests = "promptmix_requests_total{route=\"/predict\",code=\"200\"}";
    assert_eq!(server.metric(requests), Some((CLIENTS * 60) as f64));
}

#[test]
fn what_is_wrong_is_refused_and_its_field_named() {
    let dir = TestDir::new();
    let server = Server::start(&dir, &[BERT, "--max-texts", "50"]);
    let document = server.get("/openapi.json").json();
    let long = "card ".repeat(2000);
    let tensor = |name: &str, kind: &str, shape: Value| {
        json!({"inputs": [{"name": name, "datatype": kind, "shape": shape, "data": ["a"]}]})
            .to_string()
    };
    let many = json!({"inputs": vec!["a"; 51]}).to_string();
    let huge = json!({"inputs": vec!["a"; 100_000]}).to_string();
    let short = json!({"inputs": ["a", &long], "truncate": false}).to_string();
    let side = json!({"inputs": long, "truncation_direction": "Left"}).to_string();
    // Nothing is cut of a text that fits.
    let fits = br#"{"inputs": "a", "truncation_direction": "Left"}"#;
    assert_eq!(server.connect().send("POST", "/predict", &[], fits).status, 200);
    let infer = ("/v2/models/{model}/infer", "/v2/models/bert/infer");
    let cases: [Refused; 19] = [
        (("/predict", "/predict"), b"{\"inputs\": \"\xff\"}", 400, "not UTF-8 from byte 12"),
        (("/predict", "/predict"), b"{\"inputs\": ", 400, "not valid JSON"),
        (("/predict", "/predict"), b"[\"a\"]", 422, "JSON object"),
        (("/predict", "/predict"), b"{\"input\": \"a\"}", 422, "`inputs` is missing"),
        (("/predict", "/predict"), b"{\"inputs\": [[\"a\", \"b\"]]}", 422, "`inputs[0]` is a pair"),
        (("/predict", "/predict"), b"{\"inputs\": [\"a\", 3]}", 422, "`inputs[1]` must be a text"),
        (("/predict", "/predict"), b"{\"inputs\": \"a\", \"raw_scores\": 2}", 422, "`raw_scores`"),
        (("/predict", "/predict"), many.as_bytes(), 413, "`inputs` has more than 50 texts"),
        (("/predict", "/predict"), huge.as_bytes(), 413, "`inputs` has more than 50 texts"),
        (("/predict", "/predict"), short.as_bytes(), 413, "`inputs[1]` has more than the"),
        (("/predict", "/predict"), side.as_bytes(), 422, "`truncation_direction` is not"),
        (("/predict", "/predict?model=x"), b"{\"inputs\": \"a\"}", 404, "there are: bert"),
        (("/v1/classify", "/v1/classify"), b"{\"model\": \"x\", \"input\": \"a\"}", 404, "bert"),
        (
            ("/v1/classify", "/v1/classify"),
            b"{\"input\": [1, 2]}",
            422,
            "`input[0]` must be a text",
        ),
        (infer, b"{}", 400, "`inputs` is missing"),
        (infer, tensor("x", "BYTES", json!([1])).leak().as_bytes(), 400, "inputs[0].name"),
        (infer, tensor("text", "FP32", json!([1])).leak().as_bytes(), 400, "inputs[0].datatype"),
        (infer, tensor("text", "BYTES", json!([2])).leak().as_bytes(), 400, "inputs[0].shape"),
        (infer, tensor("text", "BYTES", json!([-1])).leak().as_bytes(), 400, "inputs[0].shape[0]"),
    ];
    let mut connection = server.connect();
    for ((pattern, path), body, status, words) in cases {
        let what = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
        // On one connection: a refusal does not end it.
        let answer = connection.send("POST", path, &[], body);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(answer.body.contains(words), "{what}: {answer:?}");
        assert_described(&document, "post", pattern, &answer);
    }
    let send = |method: &str, path: &str, headers: &[(&str, &str)]| {
        server.connect().send(method, path, headers, b"")
    };
    assert_eq!(send("GET", "/nothing", &[]).status, 404);
    let answer = send("GET", "/predict", &[]);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("post")));
    for (name, value) in [("Host", "evil.example"), ("Origin", "http://evil.example")] {
        assert_eq!(send("GET", "/info", &[(name, value)]).status, 403, "{name}");
    }
    assert_eq!(send("GET", "/info", &[("Host", "localhost:1")]).status, 200);
}

#[test]
fn with_keys_a_request_needs_one() {
    let dir = TestDir::new();
    dir.write("keys", "0123456789abcdef0123456789abcdef\n");
    let server = Server::start(&dir, &[BERT, "--api-key-file", "keys"]);
    let get = |path: &str, key: Option<&str>| {
        let headers: Vec<_> = key.into_iter().map(|key| ("Authorization", key)).collect();
        server.connect().send("GET", path, &headers, b"")
    };
    for path in ["/info", "/metrics", "/openapi.json", "/v2", "/nothing"] {
        let answer = get(path, None);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("bearer")));
        assert_eq!(get(path, Some("Bearer 0123456789abcdef")).status, 401, "{path}");
    }
    let key = "Bearer 0123456789abcdef0123456789abcdef";
    assert_eq!(get("/info", Some(key)).status, 200);
    let headers = [("Authorization", key), ("Host", "tickets.example")];
    assert_eq!(server.connect().send("GET", "/info", &headers, b"").status, 200);
    for path in ["/health", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(get(path, None).status, 200, "{path}");
    }
    let mut unasked = server.connect();
    unasked.write(
        format!("POST /predict HTTP/1.1\r\nHost: {}\r\nContent-Length: 900\r\n\r\n", server.host())
            .as_bytes(),
    );
    assert_eq!(unasked.read().unwrap().status, 401, "before any of the body came");
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    let dir = TestDir::new();
    dir.write("keys", "too-short\n");
    dir.write("empty/config.json", "{}");
    let cases: [(&[&str], &str); 7] = [
        (&["--host", "0.0.0.0"], "--api-key-file"),
        (&["--api-key-file", "keys"], "line 1"),
        (&["--api-key-file", "nowhere"], "nowhere"),
        (&["--queue", "5"], "--max-texts"),
        (&[BERT], "two models have the name bert"),
        (&["a/b=nowhere"], "is no name for a model"),
        (&["other=empty"], "other"),
    ];
    for (args, words) in cases {
        let output = dir.run(&[&["serve", "--port", "0", BERT], args].concat());
        let errors = check_failure(&output);
        assert!(errors.contains(words), "{args:?}: {errors}");
    }
    let taken = Server::start(&dir, &[BERT]);
    let port = taken.host().rsplit(':').next().unwrap();
    let errors = dir.fails(&["serve", BERT, "--port", port]);
    assert!(
        errors.contains("cannot listen on 127.0.0.1:") && errors.contains("--port"),
        "{errors}"
    );
}

#[test]
fn sockets_in_the_file_system_and_of_the_service_manager_are_served() {
    use std::os::{fd::AsRawFd as _, unix::net::UnixStream, unix::process::CommandExt as _};
    let dir = TestDir::new();
    let mut server = Server::launch(dir.program(&["serve", BERT, "--unix", "socket"]));
    server.wait_for("ready");
    let mut stream = UnixStream::connect(dir.path("socket")).unwrap();
    stream.write_all(b"GET /info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait().0, Some(0));
    assert!(!dir.path("socket").exists());

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, fd) = (listener.local_addr().unwrap(), listener.as_raw_fd());
    let script = "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" serve \"$1\"";
    let start = || {
        let mut command = dir.program(&[]);
        let program = command.get_program().to_owned();
        command = std::process::Command::new("sh");
        command.args(["-c", script]).arg(program).arg(BERT).current_dir(dir.path(""));
        command.stdin(std::process::Stdio::null());
        // SAFETY: `dup2` and `fcntl` may be called between fork and exec.
        unsafe {
            command.pre_exec(move || match libc::dup2(fd, 3) {
                3 if libc::fcntl(3, libc::F_SETFD, 0) == 0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let mut server = Server::launch(command);
        server.wait_for("ready");
        server
    };
    let server = start();
    assert_eq!(server.host(), address.to_string());
    assert_eq!(server.post("/predict", &json!({"inputs": "a"})).status, 200);
    // Whoever connects between two processes is answered by the second one.
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait().0, Some(0));
    let mut waiting = Client::new(&address.to_string());
    waiting.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let _server = start();
    // It may still load its model.
    let status = waiting.read().expect("an answer").status;
    assert!([200, 503].contains(&status), "{status}");
}

#[test]
fn no_text_is_logged() {
    let dir = TestDir::new();
    let server = Server::start(&dir, &[BERT, "-v"]);
    let secret = "SECRET-4711";
    assert_eq!(server.post("/predict", &json!({"inputs": secret})).status, 200);
    for body in [json!({"inputs": {secret: 1}}), json!({"inputs": [secret, 7]}), json!(secret)] {
        assert_eq!(server.post("/predict", &body).status, 422);
    }
    server.get(&format!("/{secret}?{secret}"));
    server.post(&format!("/predict?model={secret}"), &json!({"inputs": "a"}));
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains("route=\"other\"") && metrics.ends_with("# EOF\n"), "{metrics}");
    server.signal(libc::SIGTERM);
    let (_, errors) = server.wait();
    assert!(errors.contains("POST /predict 200") && errors.contains("GET other 404"), "{errors}");
    assert!(!errors.contains(secret) && !metrics.contains(secret), "{errors}");
}

/// The command lines of `docs/serve.md` that ask a server, run as they stand.
#[test]
fn the_curl_lines_of_the_documentation_work() {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no curl");
        return;
    }
    let dir = TestDir::new();
    let tickets = format!("tickets={BERT}");
    let server = Server::start(&dir, &[&tickets]);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/serve.md");
    let text = fs::read_to_string(page).unwrap().replace("\\\n", " ");
    let (mut tried, mut sockets) = (0, 0);
    for line in text.lines().filter(|line| line.starts_with("curl ")) {
        if line.contains("--unix-socket") || line.contains("KEY") {
            sockets += 1;
            continue;
        }
        let line = line.replace("127.0.0.1:8080", server.host()).replace("curl ", "curl -sf ");
        let output = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(output.status.success(), "{line}");
        assert!(!output.stdout.is_empty() || line.contains("/health"), "{line}");
        tried += 1;
    }
    assert!(tried >= 6 && sockets <= 2, "{tried} lines tried, {sockets} left out");
}
