//! Nothing leaves: the real program in a network namespace without any interface, and under a tracer
//! that counts the sockets it asks for, those that were refused included. Only `AF_UNIX` may be among
//! them.
//!
//! Needs `unshare` and `strace`; what a machine lacks or forbids is said, and the other one serves.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    thread,
};

use promptmix::testing::install_sandbox;

use crate::support::{TINY, TestDir};

/// The commands that have to work behind the gap, in an order in which each has what it needs.
fn commands(small: &[&'static str]) -> Vec<Vec<&'static str>> {
    vec![
        [&["demo", "--out", "demo"], small].concat(),
        [&["run", "task", "--out", "run"], small].concat(),
        vec!["predict", "--model", "run/student", "I forgot my password"],
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

/// `program` with the words of `before` in front of it.
fn within(bench: &TestDir, before: &[&str], words: &[&str]) -> Output {
    let mut command = Command::new(before[0]);
    command.args(&before[1..]).args(words);
    command.current_dir(bench.path("")).env_clear();
    command.env("HOME", bench.path("")).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.output().expect("it was tried before")
}

fn works(words: &[&str]) -> bool {
    let tried = Command::new(words[0]).args(&words[1..]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// No interface but the loopback, and that one is down.
const NO_NETWORK: [&str; 2] = ["unshare", "-rn"];
const TRACED: &str = "trace=socket,socketpair,connect,sendto,sendmsg,io_uring_setup";

/// The sockets of a family other than `AF_UNIX`, and the rings, that a trace tells of.
fn asked(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).expect("a trace");
    let foreign = |line: &&str| {
        let call = line.split_once(' ').map_or(*line, |(_, call)| call.trim_start());
        let local = ["AF_UNIX", "AF_LOCAL"];
        match call.split_once('(') {
            Some(("socket" | "socketpair", family)) => {
                !local.iter().any(|local| family.starts_with(local))
            }
            // On sockets that are there, which can only be inherited ones.
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
fn one_of_the_two_proofs_is_made() {
    let made = works(&["unshare", "-rn", "true"]) || works(&["strace", "-o", "/dev/null", "true"]);
    if std::env::var_os("PROMPTMIX_ALLOW_NO_PROOF").is_some() && !made {
        eprintln!("SKIPPED: nothing shows here that no socket is asked for");
        return;
    }
    assert!(made, "install strace, or set PROMPTMIX_ALLOW_NO_PROOF=1 and prove it elsewhere");
}

#[test]
fn without_any_interface_all_works() {
    if !works(&["unshare", "-rn", "true"]) {
        eprintln!("SKIPPED: this machine does not allow network namespaces (`unshare -rn`)");
        return;
    }
    let bench = TestDir::new();
    bench.task("");
    let seen = within(&bench, &NO_NETWORK, &["cat", "/proc/net/dev", "/proc/net/route"]);
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    let interfaces: Vec<&str> =
        seen.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert_eq!(interfaces, ["lo"], "{seen}");
    for words in commands(&TINY) {
        let program = [&[env!("CARGO_BIN_EXE_promptmix")], &words[..]].concat();
        check(&within(&bench, &NO_NETWORK, &program), &words);
    }
}

#[test]
fn no_socket_is_asked_for_but_local_ones() {
    if !works(&["strace", "-o", "/dev/null", "true"]) {
        eprintln!("SKIPPED: no strace, or it may not trace here");
        return;
    }
    let bench = TestDir::new();
    bench.task("");
    let trace = bench.path("trace.txt");
    let tracer = ["strace", "-f", "-e", TRACED, "-o", trace.to_str().unwrap()];
    let (mut processes, mut sockets) = (0, Vec::new());
    for words in commands(&TINY) {
        let program = [&[env!("CARGO_BIN_EXE_promptmix")], &words[..]].concat();
        check(&within(&bench, &tracer, &program), &words);
        sockets.extend(asked(&trace));
        let text = fs::read_to_string(&trace).unwrap();
        processes += text.lines().filter(|line| line.contains("+++ exited")).count();
    }
    assert!(processes > 20, "the threads and the teacher's process were traced: {processes}");
    assert!(sockets.is_empty(), "{sockets:#?}");
    eprintln!("sockets asked for other than AF_UNIX: 0 ({processes} processes and threads traced)");
}

#[test]
fn the_tracer_sees_sockets_also_refused_ones() {
    if !works(&["strace", "-o", "/dev/null", "bash", "-c", "true"]) {
        eprintln!("SKIPPED: no strace, or it may not trace here");
        return;
    }
    let bench = TestDir::new();
    let connect = ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9"];
    let trace = bench.path("trace.txt");
    let tracer = ["strace", "-f", "-e", TRACED, "-o", trace.to_str().unwrap()];
    let output = within(&bench, &tracer, &connect);
    assert!(!output.status.success());
    assert!(asked(&trace).iter().any(|line| line.contains("AF_INET")), "an open one");

    // The filter holds for the thread that installed it and for what that one starts.
    let words: Vec<String> = connect.iter().map(|word| (*word).to_owned()).collect();
    let program = env!("CARGO_BIN_EXE_promptmix");
    fs::write(&trace, "").unwrap();
    let path = trace.clone();
    let output = thread::spawn(move || {
        if let Err(reason) = install_sandbox() {
            eprintln!("SKIPPED: {reason}");
            return None;
        }
        let arguments = ["-f", "-e", TRACED, "-o", path.to_str().unwrap()];
        Command::new("strace").args(arguments).args(&words).output().ok()
    });
    let Some(output) = output.join().unwrap() else { return };
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("family not supported"), "{told}");
    assert!(asked(&trace).iter().any(|line| line.contains("EAFNOSUPPORT")), "a refused one");

    // The one command that may: the tracer finds what it asks for.
    if cfg!(feature = "pull") {
        let pull = ["models", "pull", "qwen2.5-0.5b-instruct"];
        let mut command = Command::new("strace");
        command.args(&tracer[1..]).arg(program).args(pull).current_dir(bench.path("")).env_clear();
        command.env("HOME", bench.path("")).env("HF_ENDPOINT", "http://127.0.0.1:9");
        assert!(!command.output().unwrap().status.success());
        assert!(!asked(&trace).is_empty(), "pulling asks for a socket");
    }
}

#[test]
fn without_the_feature_nothing_is_built_in_that_could_connect() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "-e", "normal", "--no-default-features"])
        .args(["--prefix", "none", "-f", "{p}"])
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
        "hyper",
        "reqwest",
        "curl",
        "curl-sys",
        "tokio",
        "mio",
        "async-std",
        "isahc",
        "attohttpc",
        "quinn",
        "h2",
    ];
    let found: Vec<&&str> = names.iter().filter(|name| connecting.contains(name)).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn only_pulling_names_the_network() {
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
            // The sandbox's own tests ask for what it refuses.
            if inner.starts_with("src/models/pull") || inner == "src/sandbox.rs" {
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else { continue };
            read += 1;
            for mark in marks {
                assert!(!text.contains(mark), "{inner} names {mark}");
            }
        }
    }
    assert!(read > 100, "{read} files");
}
