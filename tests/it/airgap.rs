//! Nothing leaves the machine: runs the real program in a network namespace without any interface,
//! and under a tracer that lists the sockets it requests, denied ones included. All of them must be
//! `AF_UNIX`.
//!
//! Needs `unshare` or `strace`. A test prints `SKIPPED` if the machine lacks or forbids its tool.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use promptmix::testing::install_sandbox;

use serde_json::json;

use crate::{
    review::{imported, server::Server},
    serve,
    support::{TINY, TestDir},
};

/// The commands that must work without a network, in an order in which each finds the files it
/// needs.
fn commands(small: &[&'static str]) -> Vec<Vec<&'static str>> {
    vec![
        [&["demo", "--out", "demo"], small].concat(),
        [&["run", "task", "--out", "run"], small].concat(),
        vec!["refine", "run"],
        vec!["predict", "--model", "run/student", "I forgot my password"],
        vec!["evaluate", "run", "task/test.jsonl", "--html", "evaluation.html"],
        vec!["drift", "run", "task/test.jsonl"],
        [&["compare", "task", "--out", "compare", "--rows", "seeds,A2,teacher"], small].concat(),
        [&["plan", "task"], small].concat(),
        vec!["export", "run", "--to", "exported"],
        vec!["doctor"],
        vec!["audit", "run"],
        vec!["models", "list"],
        vec!["bundle", "keygen", "key"],
        vec!["bundle", "create", "b.pmb", "--key", "key", "--teacher", "pocket"],
        vec!["bundle", "verify", "b.pmb", "--public-key", "key.pub"],
        vec!["bench", "--teacher", "pocket", "--items", "2", "--only", "generate"],
    ]
}

/// Runs the command `words` through the command `wrapper`.
fn run_with(dir: &TestDir, wrapper: &[&str], words: &[&str]) -> Output {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).args(words);
    command.current_dir(dir.path("")).env_clear();
    command.env("HOME", dir.path("")).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.output().expect("a test of the wrapper succeeded before")
}

/// Whether the command `words` succeeds.
fn works(words: &[&str]) -> bool {
    let tried = Command::new(words[0]).args(&words[1..]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// Leaves only the loopback interface, which is down.
const NO_NETWORK: [&str; 2] = ["unshare", "-rn"];
const TRACED: &str = "trace=socket,socketpair,connect,sendto,sendmsg,io_uring_setup";

/// The requests in a trace for sockets of a family other than `AF_UNIX`, and for rings.
fn foreign_requests(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).expect("a trace");
    let foreign = |line: &&str| {
        let call = line.split_once(' ').map_or(*line, |(_, call)| call.trim_start());
        let local = ["AF_UNIX", "AF_LOCAL"];
        match call.split_once('(') {
            Some(("socket" | "socketpair", family)) => {
                !local.iter().any(|local| family.starts_with(local))
            }
            // On existing sockets, which can only be inherited.
            Some(("connect" | "sendto" | "sendmsg", rest)) => rest.contains("sa_family=AF_INET"),
            Some(("io_uring_setup", _)) => true,
            _ => false,
        }
    };
    text.lines().filter(foreign).map(str::to_owned).collect()
}

fn check(output: &Output, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {errors}");
}

#[test]
fn at_least_one_of_the_two_proofs_is_possible() {
    let possible =
        works(&["unshare", "-rn", "true"]) || works(&["strace", "-o", "/dev/null", "true"]);
    if std::env::var_os("PROMPTMIX_ALLOW_NO_PROOF").is_some() && !possible {
        eprintln!("SKIPPED: this machine cannot prove that no socket is requested");
        return;
    }
    assert!(possible, "install strace, or set PROMPTMIX_ALLOW_NO_PROOF=1 and prove it elsewhere");
}

#[test]
fn all_commands_work_without_a_network_interface() {
    if !works(&["unshare", "-rn", "true"]) {
        eprintln!("SKIPPED: this machine does not allow network namespaces (`unshare -rn`)");
        return;
    }
    let dir = TestDir::new();
    dir.task("");
    let seen = run_with(&dir, &NO_NETWORK, &["cat", "/proc/net/dev", "/proc/net/route"]);
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    let interfaces: Vec<&str> =
        seen.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert_eq!(interfaces, ["lo"], "{seen}");
    for words in commands(&TINY) {
        let program = [&[env!("CARGO_BIN_EXE_promptmix")], &words[..]].concat();
        check(&run_with(&dir, &NO_NETWORK, &program), &words);
    }
}

#[test]
fn only_local_sockets_are_requested() {
    if !works(&["strace", "-o", "/dev/null", "true"]) {
        eprintln!("SKIPPED: no strace, or it may not trace here");
        return;
    }
    let dir = TestDir::new();
    dir.task("");
    let trace = dir.path("trace.txt");
    let tracer = ["strace", "-f", "-e", TRACED, "-o", trace.to_str().unwrap()];
    let (mut processes, mut sockets) = (0, Vec::new());
    for words in commands(&TINY) {
        let program = [&[env!("CARGO_BIN_EXE_promptmix")], &words[..]].concat();
        check(&run_with(&dir, &tracer, &program), &words);
        sockets.extend(foreign_requests(&trace));
        let text = fs::read_to_string(&trace).unwrap();
        processes += text.lines().filter(|line| line.contains("+++ exited")).count();
    }
    assert!(processes > 20, "the threads and the teacher's process were traced: {processes}");
    assert!(sockets.is_empty(), "{sockets:#?}");
    eprintln!("sockets requested other than AF_UNIX: 0 ({processes} processes and threads traced)");
}

/// The lines of a trace in which any socket is requested or connected, local ones included.
fn sockets(trace: &str) -> Vec<&str> {
    let calls = ["socket(", "socketpair(", "connect(", "io_uring_setup("];
    trace.lines().filter(|line| calls.iter().any(|call| line.contains(call))).collect()
}

#[test]
fn the_review_page_creates_no_socket_after_its_listener() {
    if !works(&["strace", "-o", "/dev/null", "true"]) {
        eprintln!("SKIPPED: no strace, or it may not trace here");
        return;
    }
    let dir = TestDir::new();
    imported(&dir, 12);
    let trace = dir.path("trace.txt");
    for (place, family) in [(&["--port", "0"], "AF_INET"), (&["--unix", "page"], "AF_UNIX")] {
        let mut command = Command::new("strace");
        command.args(["-f", "-e", &format!("{TRACED},bind,listen,accept4"), "-o"]).arg(&trace);
        command.arg(env!("CARGO_BIN_EXE_promptmix")).args(["review", "out"]).args(place);
        command.current_dir(dir.path("")).env_clear().env("HOME", dir.path(""));
        let mut server = Server::launch(command);
        if family == "AF_INET" {
            server.enter();
            let row = server.rows("generated").remove(0);
            assert_eq!(server.decide(&row, &json!("keep")).0, 200);
            server.finish();
        } else {
            let process = fs::read_to_string(dir.path("out/run.lock")).unwrap();
            assert!(works(&["kill", "-INT", process.trim()]));
            server.child.wait().unwrap();
        }
        let text = fs::read_to_string(&trace).unwrap();
        let requested = sockets(&text);
        assert!(requested.len() == 1 && requested[0].contains(family), "{requested:#?}");
        let bound = text.lines().find(|line| line.contains("bind(")).expect("it is bound");
        let home = family == "AF_UNIX" || bound.contains("inet_addr(\"127.0.0.1\")");
        assert!(home, "{bound}");
        let listening = text.find("listen(").expect("it listens");
        assert!(sockets(&text[listening..]).is_empty());
    }
}

#[test]
fn a_server_creates_no_socket_after_its_listener() {
    if !works(&["strace", "-o", "/dev/null", "true"]) {
        eprintln!("SKIPPED: no strace, or it may not trace here");
        return;
    }
    let dir = TestDir::new();
    let trace = dir.path("trace.txt");
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/bert");
    let mut command = Command::new("strace");
    command.args(["-f", "-e", &format!("{TRACED},bind,listen,accept4"), "-o"]).arg(&trace);
    command.arg(env!("CARGO_BIN_EXE_promptmix")).args(["serve", model, "--port", "0"]);
    command.current_dir(dir.path("")).env_clear().env("HOME", dir.path(""));
    let mut server = serve::client::Server::launch(command);
    server.wait_for("ready");
    for body in [json!({"inputs": "my card"}), json!({"inputs": 1})] {
        server.post("/predict", &body);
    }
    assert_eq!(server.get("/metrics").status, 200);
    let text = fs::read_to_string(&trace).unwrap();
    let process = text.split_whitespace().next().expect("the number of the process");
    assert!(works(&["kill", "-TERM", process]));
    assert_eq!(server.wait().0, Some(0));
    let text = fs::read_to_string(&trace).unwrap();
    let requested = sockets(&text);
    assert!(requested.len() == 1 && requested[0].contains("AF_INET"), "{requested:#?}");
    let bound = text.lines().find(|line| line.contains("bind(")).expect("it is bound");
    assert!(bound.contains("inet_addr(\"127.0.0.1\")"), "{bound}");
    let listening = text.find("listen(").expect("it listens");
    assert!(sockets(&text[listening..]).is_empty() && text.contains("accept4("));
}

#[test]
fn the_tracer_sees_allowed_and_denied_sockets() {
    if !works(&["strace", "-o", "/dev/null", "bash", "-c", "true"]) {
        eprintln!("SKIPPED: no strace, or it may not trace here");
        return;
    }
    let dir = TestDir::new();
    let connect = ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9"];
    let trace = dir.path("trace.txt");
    let tracer = ["strace", "-f", "-e", TRACED, "-o", trace.to_str().unwrap()];
    let output = run_with(&dir, &tracer, &connect);
    assert!(!output.status.success());
    assert!(foreign_requests(&trace).iter().any(|line| line.contains("AF_INET")), "an allowed one");

    // The filter applies to the thread that installed it and to the processes that it starts. They
    // may trace nothing either, so the tracer comes from outside.
    let program = env!("CARGO_BIN_EXE_promptmix");
    fs::write(&trace, "").unwrap();
    let waiting = ["-c", "read; exec 3<>/dev/tcp/127.0.0.1/9"];
    let confined = thread::spawn(move || {
        if let Err(reason) = install_sandbox() {
            eprintln!("SKIPPED: {reason}");
            return None;
        }
        let mut command = Command::new("bash");
        command.args(waiting).stdin(Stdio::piped()).stderr(Stdio::piped());
        Some(command.spawn().unwrap())
    });
    let Some(mut confined) = confined.join().unwrap() else { return };
    let id = confined.id().to_string();
    let mut outside = Command::new(tracer[0]);
    outside.args(&tracer[1..]).args(["-p", &id]);
    let mut outside = outside.stderr(Stdio::piped()).spawn().unwrap();
    let mut attached = String::new();
    BufReader::new(outside.stderr.take().unwrap()).read_line(&mut attached).unwrap();
    assert!(attached.contains("attached"), "{attached}");
    confined.stdin.take().unwrap().write_all(b"\n").unwrap();
    let output = confined.wait_with_output().unwrap();
    outside.wait().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("family not supported"), "{message}");
    assert!(
        foreign_requests(&trace).iter().any(|line| line.contains("EAFNOSUPPORT")),
        "a denied one"
    );

    // The one command that may connect: the tracer sees its sockets.
    if cfg!(feature = "pull") {
        let pull = ["models", "pull", "qwen2.5-0.5b-instruct"];
        let mut command = Command::new("strace");
        command.args(&tracer[1..]).arg(program).args(pull).current_dir(dir.path("")).env_clear();
        command.env("HOME", dir.path("")).env("HF_ENDPOINT", "http://127.0.0.1:9");
        assert!(!command.output().unwrap().status.success());
        assert!(!foreign_requests(&trace).is_empty(), "pulling requests a socket");
    }
}

#[test]
fn without_the_features_no_crate_can_connect() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "-e", "normal", "--no-default-features"])
        .args(["--prefix", "none", "-f", "{p}\t{f}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        eprintln!("SKIPPED: cargo tree does not work here");
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"candle-core") && names.contains(&"llama-cpp-2"), "{names:?}");
    let connecting = [
        "ureq",
        "rustls",
        "native-tls",
        "openssl",
        "openssl-sys",
        "socket2",
        "hyper-util",
        "reqwest",
        "curl",
        "curl-sys",
        "mio",
        "async-std",
        "isahc",
        "attohttpc",
        "quinn",
        "h2",
    ];
    let found: Vec<&&str> = names.iter().filter(|name| connecting.contains(name)).collect();
    assert!(found.is_empty(), "{found:?}");
    // hyper itself opens no socket. Its server half reads and writes what it is handed, and uses
    // tokio for channels alone; whatever could connect is behind these features.
    let features = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in the tree"));
        let list = line.split('\t').nth(1).unwrap_or_default().trim_end_matches(" (*)");
        list.split(',').map(|it| it.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(features("hyper"), ["http1", "server"], "no `client`");
    assert_eq!(features("tokio"), ["default", "sync"], "no `net`");
}

#[test]
fn only_two_modules_use_the_network() {
    let marks = ["hf_hub::api", "std::net", "TcpStream", "UdpSocket", "ureq::", "AF_INET"];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inner = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap();
            // The sandbox's tests request what it denies.
            if inner.starts_with("src/models/pull") || inner == "src/sandbox.rs" {
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else { continue };
            read += 1;
            // Of a teacher behind addresses, the broker alone connects. The others speak over what
            // it hands them, which the filter enforces.
            if inner.starts_with("src/teacher/remote") {
                assert_eq!(
                    text.contains("Stream::connect"),
                    inner.ends_with("broker.rs"),
                    "{inner}"
                );
                assert!(!text.contains("UdpSocket") && !text.contains("TcpListener"), "{inner}");
                continue;
            }
            // It listens on this machine and connects to nothing but a local socket.
            if inner == "src/http/listener.rs" {
                assert!(text.contains("TcpListener::bind((Ipv4Addr::LOCALHOST"));
                // The other one is `serve --host`.
                assert_eq!(text.matches("TcpListener::bind(").count(), 2);
                assert!(!text.contains("TcpStream::connect") && !text.contains("UdpSocket"));
                continue;
            }
            for mark in marks {
                assert!(!text.contains(mark), "{inner} names {mark}");
            }
        }
    }
    assert!(read > 100, "{read} files");
}
