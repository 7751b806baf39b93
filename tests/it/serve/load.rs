//! What a server does under load: bounds, slow clients, models that are replaced, a signal.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    BERT, DISTILBERT, assert_same,
    client::{Client, Server},
    is_close, predicted, tei, texts,
};
use crate::support::TestDir;

#[test]
fn bodies_of_a_hundred_megabytes_are_refused_in_little_memory() {
    const MEGABYTES: usize = 100;
    let dir = TestDir::new();
    let server = Server::start(&dir, &[BERT]);
    let memory = || server.metric("promptmix_resident_memory_bytes").unwrap();
    let before = memory();
    let block = vec![b'x'; 1 << 20];
    let head = format!("POST /predict HTTP/1.1\r\nHost: {}\r\n", server.host());
    let mut announced = server.connect();
    announced.write(format!("{head}Content-Length: {}\r\n\r\n", MEGABYTES << 20).as_bytes());
    let mut chunked = server.connect();
    chunked.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
    for _ in 0..MEGABYTES {
        announced.write(&block);
        chunked.write(format!("{:x}\r\n", block.len()).as_bytes());
        chunked.write(&block);
        chunked.write(b"\r\n");
    }
    for mut client in [announced, chunked] {
        let answer = client.read().expect("an answer, although nobody has read the body");
        assert!(answer.status == 413 && answer.body.contains("bytes"), "{answer:?}");
    }
    let grown = memory() - before;
    assert!(grown < 40e6, "{grown} bytes more");
    assert_eq!(server.post("/predict", &json!({"inputs": "a"})).status, 200);
}

#[test]
fn too_much_is_refused_for_now_and_passes() {
    let dir = TestDir::new();
    let texts = texts(64);
    let wanted = predicted(&dir, BERT, &texts);
    let server = Server::start(&dir, &[BERT, "--max-texts", "64", "--queue", "64"]);
    let (fine, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut connection = server.connect();
                let body = json!({"inputs": texts});
                for _ in 0..25 {
                    let answer = connection.post("/predict", &body);
                    match answer.status {
                        200 => {
                            let answer = answer.json();
                            let found: Vec<_> =
                                answer.as_array().unwrap().iter().map(tei).collect();
                            assert_same(&found, &wanted, "under load");
                            fine.fetch_add(1, Ordering::Relaxed);
                        }
                        429 => {
                            let seconds: u64 =
                                answer.header("retry-after").unwrap().parse().unwrap();
                            assert!((1..=60).contains(&seconds));
                            assert_eq!(answer.json()["error_type"], "overloaded");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => panic!("{answer:?}"),
                    }
                }
            });
        }
    });
    let (fine, refused) = (fine.into_inner(), refused.into_inner());
    assert!(fine > 0 && refused > 0, "{fine} answered, {refused} refused");
    let answer = server.post("/predict", &json!({"inputs": texts}));
    assert_eq!(answer.status, 200, "at once afterwards");
    assert_eq!(server.metric("promptmix_queued_texts{model=\"bert\"}"), Some(0.0));
}

#[test]
fn clients_that_say_nothing_more_keep_nobody_else_waiting() {
    let dir = TestDir::new();
    let server = Server::start(&dir, &[BERT, "--timeout", "1", "--connections", "12"]);
    let head = format!("POST /predict HTTP/1.1\r\nHost: {}\r\n", server.host());
    let mut slow: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    for (at, client) in slow.iter_mut().enumerate() {
        match at % 3 {
            0 => client.write(b"POST /pre"),
            1 => client.write(head.as_bytes()),
            _ => client.write(format!("{head}Content-Length: 50\r\n\r\n{{\"inputs\"").as_bytes()),
        }
    }
    // Until their first bytes are read: then they are no longer idle.
    thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    // Beyond the number of connections: those that say nothing make room.
    let silent: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    let mut answered = 0;
    while start.elapsed() < Duration::from_millis(400) {
        answered += usize::from(server.post("/predict", &json!({"inputs": "a"})).status == 200);
    }
    assert!(answered > 10, "{answered} answered meanwhile");
    for client in &mut slow {
        let answer = client.read().expect("it is told");
        assert_eq!(answer.status, 408, "{answer:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(20));
    drop((slow, silent));
}

#[test]
fn what_is_no_whole_request_and_who_is_turned_away_is_counted() {
    let dir = TestDir::new();
    let server = Server::start(&dir, &[BERT, "--timeout", "1", "--connections", "2"]);
    let begun = || {
        let mut client = server.connect();
        client.write(b"POST /predict HTTP/1.1\r\n");
        client
    };
    let mut slow = [begun(), begun()];
    // Until their first bytes are read: then they make no room.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(server.connect().read().expect("it is told").status, 503);
    for client in &mut slow {
        assert_eq!(client.read().expect("it is told").status, 408);
    }
    drop(slow);
    let head = format!("GET /info HTTP/1.1\r\nHost: x\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    // The connections before may not have ended yet.
    let told = |bytes: &[u8]| loop {
        let mut client = server.connect();
        client.write(bytes);
        match client.read() {
            Some(answer) if answer.status != 503 => break answer.status,
            _ => thread::sleep(Duration::from_millis(50)),
        }
    };
    assert_eq!([told(b"no request\r\n\r\n"), told(head.as_bytes())], [400, 431]);
    for (code, wanted) in [(408, 2.0), (400, 1.0), (431, 1.0)] {
        let line = format!("promptmix_requests_total{{route=\"unread\",code=\"{code}\"}}");
        // The answer is on its way before it is counted.
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.metric(&line) != Some(wanted) {
            assert!(Instant::now() < deadline, "{code}: {:?}", server.metric(&line));
            thread::sleep(Duration::from_millis(20));
        }
    }
    let refused = server.metric("promptmix_refused_connections_total");
    assert!(refused >= Some(1.0), "{refused:?}");
}

/// Puts the student `from` in the place of the folder `to`, as a deployment does.
fn replace(dir: &TestDir, from: &str, to: &str) {
    let new = dir.path("new");
    fs::create_dir_all(&new).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, new.join(path.file_name().unwrap())).unwrap();
    }
    swap(dir, &new, to);
}

fn swap(dir: &TestDir, new: &Path, to: &str) {
    let (to, old) = (dir.path(to), dir.path("old"));
    if to.exists() {
        fs::rename(&to, &old).unwrap();
    }
    fs::rename(new, &to).unwrap();
    let _ = fs::remove_dir_all(&old);
}

#[test]
fn a_folder_that_is_replaced_under_load_gives_no_wrong_answer() {
    let dir = TestDir::new();
    let texts = texts(150);
    let known = [predicted(&dir, BERT, &texts), predicted(&dir, DISTILBERT, &texts)];
    replace(&dir, BERT, "model");
    let mut server = Server::start(&dir, &["model"]);
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failed = "promptmix_reloads_total{model=\"model\",result=\"failed\"}";
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = server.connect();
                while !done.load(Ordering::Acquire) {
                    let answer = connection.post("/predict", &json!({"inputs": texts}));
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let answer = answer.json();
                    let found: Vec<_> = answer.as_array().unwrap().iter().map(tei).collect();
                    let is = |wanted: &Vec<[f64; 3]>| {
                        found.iter().zip(wanted).all(|(found, wanted)| is_close(found, wanted))
                    };
                    assert!(known.iter().any(is), "all texts are answered by one of the two");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let wait = |what: &str, is_so: &dyn Fn() -> bool| {
            let deadline = Instant::now() + Duration::from_secs(30);
            while !is_so() {
                // The others are to end, too.
                if Instant::now() > deadline {
                    done.store(true, Ordering::Release);
                    panic!("{what}: {}", server.errors());
                }
                thread::sleep(Duration::from_millis(20));
            }
        };
        let version = || server.metric("promptmix_model_version{model=\"model\"}");
        for (from, number) in [(DISTILBERT, 2.0), (BERT, 3.0)] {
            replace(&dir, from, "model");
            wait("a new version", &|| version() == Some(number));
        }
        // A damaged one: the old one goes on.
        let broken = dir.path("broken");
        fs::create_dir(&broken).unwrap();
        for name in ["config.json", "tokenizer.json"] {
            fs::copy(Path::new(BERT).join(name), broken.join(name)).unwrap();
        }
        let weights = fs::read(Path::new(BERT).join("model.safetensors")).unwrap();
        fs::write(broken.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
        swap(&dir, &broken, "model");
        wait("a failed reload", &|| server.metric(failed) == Some(1.0));
        assert_eq!(version(), Some(3.0));
        done.store(true, Ordering::Release);
    });
    assert!(answered.into_inner() > 20);
    server.wait_for("cannot be loaded; version 3 goes on");
    let one = server.post("/predict", &json!({"inputs": texts[1]})).json();
    assert_same(&[tei(&one)], &known[0][1..2], "the version that goes on");
    // Files that are overwritten in their place change no answer before they are loaded.
    let path = dir.path("model/model.safetensors");
    fs::write(&path, b"").unwrap();
    let one = server.post("/predict", &json!({"inputs": texts[2]})).json();
    assert_same(&[tei(&one)], &known[0][2..3], "an emptied file");
    fs::write(&path, fs::read(Path::new(DISTILBERT).join("model.safetensors")).unwrap()).unwrap();
    fs::copy(Path::new(DISTILBERT).join("config.json"), dir.path("model/config.json")).unwrap();
    server.wait_for("version 4");
    let one = server.post("/predict", &json!({"inputs": texts[3]})).json();
    assert_same(&[tei(&one)], &known[1][3..4], "after it was repaired");
}

#[test]
fn a_signal_lets_what_was_begun_be_answered() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let dir = TestDir::new();
        let server = Server::start(&dir, &[BERT]);
        let body = json!({"inputs": "my card"}).to_string();
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            server.host(),
            body.len()
        );
        let mut idle = server.connect();
        assert_eq!(idle.send("GET", "/health", &[], b"").status, 200);
        let mut begun = server.connect();
        begun.write(format!("{head}{}", &body[..5]).as_bytes());
        thread::sleep(Duration::from_millis(200));
        server.signal(signal);
        assert!(idle.read().is_none(), "it waits for nothing and is closed");
        thread::sleep(Duration::from_millis(300));
        assert!(TcpStream::connect(server.host()).is_err(), "no further connection");
        begun.write(&body.as_bytes()[5..]);
        let answer = begun.read().expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        drop(begun);
        let start = Instant::now();
        let (code, errors) = server.wait();
        assert!(code == Some(0) && errors.contains("stopping"), "{errors}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
