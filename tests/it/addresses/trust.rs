//! Who may connect, and where to.

use std::{fs, net::TcpListener, process::Command, sync::Arc, thread};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::{
    engine::{Dialect, Engine, Fault},
    run, task,
};
use crate::support::TestDir;

#[test]
fn nothing_connects_unless_it_is_asked_for() {
    let dir = TestDir::new();
    let task = task(&dir);
    let engine = Engine::start(Dialect::LlamaServer, |_| Fault::None);
    let named = format!("teacher.address=[\"{}\"]", engine.url);
    let args = run(&task, "out", &["--set", &named]);
    let errors = dir.fails(&args);
    assert!(errors.contains("was not allowed to connect"), "{errors}");
    assert!(errors.contains(&format!("--allow-address {}", engine.url)), "{errors}");
    assert_eq!(engine.answered.load(std::sync::atomic::Ordering::SeqCst), 0);

    let allowed = dir.program(&args).env("PROMPTMIX_ALLOW_NETWORK", "1").output().unwrap();
    assert!(allowed.status.success(), "{}", String::from_utf8_lossy(&allowed.stderr));
    // The folder of a run says where its teacher is, but does not send texts there.
    let again = ["relabel", "out", "--set", "relabel.scoring=branch"];
    let errors = dir.fails(&again);
    assert!(
        errors.contains(&format!("answers at {}, not on this machine", engine.url)),
        "{errors}"
    );
    dir.ok(&[&again[..], &["--allow-address", &engine.url]].concat());
}

#[test]
fn what_cannot_be_trusted_is_refused() {
    let dir = TestDir::new();
    let task = task(&dir);
    for (address, more, wanted) in [
        ("http://10.1.2.3:8080", "", "its host is not this machine"),
        ("10.1.2.3:8080", "", "is not an address"),
        ("http://127.0.0.1:1", "--offline", "--offline forbids it"),
        ("http://127.0.0.1:1", "--deterministic", "depend on what else it works on"),
        ("http://127.0.0.1:1", "--in-process", "it answers at an address"),
        ("http://127.0.0.1:1", "", "nothing answers"),
        ("https://127.0.0.1:1", "", "which certificate"),
    ] {
        let more: Vec<&str> = [more].into_iter().filter(|it| !it.is_empty()).collect();
        let errors =
            dir.fails(&run(&task, "out", &[&["--allow-address", address], &more[..]].concat()));
        assert!(errors.contains(wanted), "{address} {more:?}: {errors}");
        assert!(errors.contains("hint: "), "{errors}");
    }
}

#[test]
fn a_key_is_read_from_a_file() {
    let dir = TestDir::new();
    let task = task(&dir);
    dir.write("key", "secret-of-the-engine\n");
    let engine = Engine::start(Dialect::Sglang, |it| {
        let known = it.authorization == Some("Bearer secret-of-the-engine");
        if known { Fault::None } else { Fault::Status(401) }
    });
    let address = ["--allow-address", &engine.url];
    let errors = dir.fails(&run(&task, "out", &address));
    assert!(errors.contains("it wants another API key"), "{errors}");
    let key = ["--set", "teacher.api_key_file=key"];
    dir.ok(&run(&task, "out", &[&address[..], &key].concat()));
    let ledger = fs::read_to_string(dir.path("out/ledger.jsonl")).unwrap();
    assert!(!ledger.contains("secret-of-the-engine"));
}

/// An engine behind TLS: its address, the PEM of the authority that signed its certificate, and the
/// SHA-256 of the certificate.
fn encrypted() -> (String, String, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &Issuer::new(authority, authority_key))
        .unwrap();
    let hash: String =
        Sha256::digest(certificate.der()).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            thread::spawn(move || {
                let tls = ServerConnection::new(config).unwrap();
                Engine::serve_on(Dialect::Vllm, StreamOwned::new(tls, stream));
            });
        }
    });
    (format!("https://localhost:{port}"), pem, hash)
}

#[test]
fn behind_tls_only_what_was_named_is_trusted() {
    let dir = TestDir::new();
    let task = task(&dir);
    let (url, authority, hash) = encrypted();
    let (_, other, other_hash) = encrypted();
    dir.write("authority.pem", authority);
    dir.write("other.pem", other);
    let with = |out: &str, setting: &str| {
        let args = ["--allow-address", &url, "--set", setting];
        dir.run(&run(&task, out, &args))
    };
    for (out, setting) in [("ca", "tls_ca=authority.pem"), ("pin", &format!("tls_pin={hash}"))] {
        let output = with(out, &format!("teacher.{setting}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for (setting, wanted) in [
        ("tls_ca=other.pem", "its certificate is not trusted: invalid peer certificate"),
        (&*format!("tls_pin={other_hash}"), "not the pinned one"),
        ("tls_pin=abc", "is no hash"),
        ("tls_ca=key.pem", "cannot read its authority"),
    ] {
        let output = with("refused", &format!("teacher.{setting}"));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(wanted), "{setting}: {errors}");
    }
}

/// Lists every socket that is created and every connection, as `airgap.rs` does.
#[cfg(target_os = "linux")]
#[test]
fn only_named_addresses_are_connected_to() {
    let traces = Command::new("strace").arg("-V").output().is_ok_and(|it| it.status.success());
    if !traces {
        println!("SKIPPED: strace is not installed");
        return;
    }
    let dir = TestDir::new();
    let task = task(&dir);
    let engine = Engine::start(Dialect::LlamaServer, |_| Fault::None);
    let port = engine.url.rsplit(':').next().unwrap().to_owned();
    let trace = dir.path("trace");
    let program = env!("CARGO_BIN_EXE_promptmix");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=socket,connect,execve", "-o"]).arg(&trace);
    command.arg(program).args(run(&task, "out", &["--allow-address", &engine.url]));
    command.current_dir(dir.path("")).env_clear().env("HOME", dir.path(""));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let text = fs::read_to_string(&trace).unwrap();
    let calls = |name: &str| -> Vec<&str> {
        text.lines().filter(|line| line.contains(name) && !line.contains("AF_UNIX")).collect()
    };
    let wanted = format!("sin_port=htons({port}), sin_addr=inet_addr(\"127.0.0.1\")");
    let connections = calls("connect(");
    assert!(!connections.is_empty());
    for call in &connections {
        assert!(call.contains(&wanted), "{call}");
    }
    // All sockets are those of one process: the broker.
    let broker = text.lines().find(|line| line.contains("address-broker")).unwrap();
    let broker: u32 = broker.split_whitespace().next().unwrap().parse().unwrap();
    let sockets = calls("socket(");
    let connecting: Vec<u32> = connections
        .iter()
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    assert!(!sockets.is_empty());
    for call in sockets {
        let process: u32 = call.split_whitespace().next().unwrap().parse().unwrap();
        // Its threads have numbers of their own, and connect what they create.
        assert!(process == broker || connecting.contains(&process), "{call}");
    }
}
