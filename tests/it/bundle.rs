//! Bundles that the real program creates, imports and refuses.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::support::TestDir;

const TEACHER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/teacher/pocket-teacher.gguf");
const STUDENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/student");

/// A folder with the keys `key` and `key.pub`.
fn with_keys() -> TestDir {
    let dir = TestDir::new();
    dir.ok(&["bundle", "keygen", "key"]);
    dir
}

/// Creates the bundle `name` with both pocket models; without the program it is small.
fn create(dir: &TestDir, name: &str, more: &[&str]) -> Vec<u8> {
    let args =
        ["bundle", "create", name, "--key", "key", "--teacher", TEACHER, "--student", STUDENT];
    dir.ok(&[&args, more].concat());
    fs::read(dir.path(name)).unwrap()
}

/// Runs the program, which must refuse the bundle with exit code 1; its stderr.
fn refused(dir: &TestDir, args: &[&str]) -> String {
    let output = dir.run(args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.starts_with("error: ") && errors.contains("\nhint: "), "{errors}");
    errors
}

const VERIFY: [&str; 5] = ["bundle", "verify", "b", "--public-key", "key.pub"];

#[test]
fn a_bundle_is_carried_to_another_machine_and_works_there() {
    let here = with_keys();
    create(&here, "b", &[]);
    let summary: Value =
        serde_json::from_str(&here.ok(&[&VERIFY[..], &["--json"]].concat())).unwrap();
    assert_eq!(summary["has_program"], true);
    assert_eq!(summary["origin_proven"], true);
    assert_eq!(summary["models"].as_array().unwrap().len(), 2);

    let there = TestDir::new();
    fs::copy(here.path("b"), there.path("b")).unwrap();
    fs::copy(here.path("key.pub"), there.path("key.pub")).unwrap();
    let import =
        ["bundle", "import", "b", "--public-key", "key.pub", "--program-to", "bin/mix", "--json"];
    let imported: Value = serde_json::from_str(&there.ok(&import)).unwrap();
    let folder = |role: &str| -> PathBuf {
        let models = imported["installed"].as_array().unwrap();
        let model = models.iter().find(|model| model["role"] == role).unwrap();
        model["folder"].as_str().unwrap().into()
    };
    let teacher = folder("teacher").join("pocket-teacher.gguf");
    assert_eq!(fs::read(&teacher).unwrap(), fs::read(TEACHER).unwrap());
    // No temporary file is left.
    let left = fs::read_dir(there.path("bin")).unwrap().count();
    assert_eq!(left, 1);

    // The imported program with the imported models; scripts/airgap/round_trip.sh tests the
    // complete procedure.
    let task = there.task("");
    let program = there.path("bin/mix");
    let output = Command::new(&program)
        .args(["generate", task.to_str().unwrap(), "--out", "run", "--json"])
        .args(["--teacher", teacher.to_str().unwrap()])
        .args(["--student", folder("student").to_str().unwrap()])
        .args(["--set", "augment.per_class=2"])
        .current_dir(there.path("."))
        .env_clear()
        .env("HOME", there.path("."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(there.path("run/augmented.jsonl").is_file());
    let again = there.fails(&import);
    assert!(again.contains("bin/mix already exists"), "{again}");
}

#[test]
fn each_of_two_hundred_changed_bytes_is_detected_and_located() {
    let dir = with_keys();
    let bytes = create(&dir, "b", &["--no-program"]);
    assert_eq!(create(&dir, "same", &["--no-program"]), bytes, "the bundle is not reproducible");
    let members = ["README.md", "models/", "prompts/", "sbom.cdx.json", "end mark of the archive"];
    let mut state = 42u64;
    for _ in 0..200 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) as usize % bytes.len();
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (state >> 60 & 7);
        dir.write("b", &flipped);
        let errors = refused(&dir, &VERIFY);
        assert!(
            errors.contains("the index of the bundle")
                || members.iter().any(|member| errors.contains(member)),
            "byte {at}: {errors}"
        );
    }
}

#[test]
fn truncated_extended_or_reordered_bundles_are_refused() {
    let dir = with_keys();
    let bytes = create(&dir, "b", &["--no-program"]);
    for cut in [1, 112, 5_000, bytes.len() - 1, bytes.len()] {
        dir.write("b", &bytes[..bytes.len() - cut]);
        let errors = refused(&dir, &VERIFY);
        assert!(errors.contains("the index of the bundle"), "{errors}");
    }
    dir.write("b", [bytes.as_slice(), b"\0"].concat());
    refused(&dir, &VERIFY);
    dir.write("b", [b"\0", bytes.as_slice()].concat());
    refused(&dir, &VERIFY);
    // Two parts of the weights are swapped, so that no byte is missing.
    let mut swapped = bytes.clone();
    let middle = bytes.len() / 2;
    let (left, right) = swapped.split_at_mut(middle);
    left[middle - 4096..].swap_with_slice(&mut right[..4096]);
    dir.write("b", &swapped);
    assert!(refused(&dir, &VERIFY).contains("models/"));
    dir.write("b", "just a text");
    refused(&dir, &VERIFY);
}

#[cfg(unix)]
#[test]
fn output_has_the_right_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let dir = with_keys();
    create(&dir, "b", &[]);
    dir.ok(&["bundle", "import", "b", "--public-key", "key.pub", "--program-to", "mix"]);
    let mode = |name: &str| fs::metadata(dir.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("key"), mode("key.pub"), mode("mix"), mode("b")),
        (0o600, 0o644, 0o755, 0o600)
    );
}

#[test]
fn an_import_with_a_conflict_installs_nothing() {
    let dir = with_keys();
    create(&dir, "b", &["--no-program"]);
    // Another student has the name; the teacher comes first in the bundle.
    let models = dir.path(".cache/promptmix/models");
    dir.write(".cache/promptmix/models/student/student/config.json", "{}");
    let errors = dir.fails(&["bundle", "import", "b", "--public-key", "key.pub"]);
    assert!(errors.contains("another student") && errors.contains("hint: "), "{errors}");
    assert!(!models.join("teacher").exists(), "something was installed");
}

/// Sends a signal to `create` and `import` of a large bundle as soon as the temporary output
/// exists.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_leaves_nothing_and_the_remains_of_a_kill_are_deleted() {
    use std::time::{Duration, Instant};
    let dir = with_keys();
    // Incompressible, so that it takes a while.
    let mut state = 1u64;
    let noise: Vec<u8> = (0..48usize << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let header =
        format!(r#"{{"a":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}}"#, noise.len());
    let weights = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &noise].concat();
    dir.write("big/model.safetensors", weights);
    dir.write("big/config.json", "{}");
    dir.write("big/vocab.txt", "[UNK]\n");
    let create = ["bundle", "create", "b", "--key", "key", "--student", "./big", "--no-program"];
    let import = ["bundle", "import", "b", "--public-key", "key.pub"];
    let halves =
        [dir.path(".b.promptmix-part"), dir.path(".cache/promptmix/.bundle.promptmix-part")];
    let left = || halves.iter().any(|path| path.exists());
    for (args, signal) in [
        (&create[..], "-INT"),
        (&create, "-KILL"),
        (&create, ""),
        (&import, "-TERM"),
        (&import, "-KILL"),
        (&import, ""),
    ] {
        let mut child = dir.program(args).stderr(std::process::Stdio::null()).spawn().unwrap();
        if signal.is_empty() {
            assert!(child.wait().unwrap().success(), "{args:?}");
            assert!(!left(), "{args:?}");
            continue;
        }
        let half = &halves[usize::from(args[1] == "import")];
        let deadline = Instant::now() + Duration::from_secs(120);
        if signal == "-KILL" && args[1] == "create" {
            assert!(!left(), "the signal left something");
        }
        while !half.exists() {
            assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "{args:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let clock = Instant::now();
        let status = child.wait().unwrap();
        assert!(!status.success() && clock.elapsed() < Duration::from_secs(2), "{args:?} {signal}");
        assert_eq!(left(), signal == "-KILL", "{args:?} {signal}");
    }
    assert!(dir.path(".cache/promptmix/models/student/big").is_dir());
}

#[test]
fn only_the_right_key_proves_origin() {
    let dir = with_keys();
    create(&dir, "b", &["--no-program"]);
    dir.ok(&["bundle", "keygen", "other"]);
    let wrong = ["bundle", "verify", "b", "--public-key", "other.pub"];
    assert!(refused(&dir, &wrong).contains("signed with the key"));
    let wrong = ["bundle", "import", "b", "--public-key", "other.pub"];
    refused(&dir, &wrong);
    assert!(!dir.path(".cache/promptmix/models").exists(), "something was installed");

    let output = dir.run(&["bundle", "verify", "b"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("warning: ") && errors.contains("anybody"), "{errors}");
    // `import` requires a choice.
    assert!(dir.fails(&["bundle", "import", "b"]).contains("--public-key"));
    dir.ok(&["bundle", "import", "b", "--trust-embedded-key"]);
    assert!(dir.path(".cache/promptmix/models/teacher/pocket-teacher").is_dir());
}

#[test]
fn wrong_arguments_are_errors_not_failed_gates() {
    let dir = with_keys();
    create(&dir, "b", &["--no-program"]);
    assert!(dir.fails(&["bundle", "verify", "missing"]).contains("missing"));
    assert!(dir.fails(&["bundle", "verify", "."]).contains("cannot read"));
    assert!(dir.fails(&["bundle", "verify", "b", "--public-key", "key"]).contains("no public"));
    assert!(dir.fails(&["bundle", "create", "b", "--key", "key"]).contains("already exists"));
    assert!(dir.fails(&["bundle", "create", "c", "--key", "key.pub"]).contains("no private"));
    assert!(dir.fails(&["bundle", "keygen", "key"]).contains("already exists"));
    let none = ["bundle", "import", "b", "--public-key", "key.pub", "--program-to", "p"];
    assert!(dir.fails(&none).contains("no program"));
    let none = ["bundle", "import", "b", "--public-key", "key.pub", "--source-to", "s"];
    assert!(dir.fails(&none).contains("no sources"));
    let twice =
        ["bundle", "create", "c", "--key", "key", "--teacher", TEACHER, "--teacher", TEACHER];
    assert!(dir.fails(&twice).contains("twice"));
    // A student that cannot be read where it is going.
    for file in ["config.json", "model.safetensors"] {
        dir.write(&format!("bare/{file}"), fs::read(format!("{STUDENT}/{file}")).unwrap());
    }
    let bare = ["bundle", "create", "c", "--key", "key", "--student", "./bare", "--no-program"];
    assert!(dir.fails(&bare).contains("./bare has no tokenizer.json or vocab.txt"));
    assert!(!dir.path("c").exists());
}

#[cfg(unix)]
#[test]
fn a_warning_is_printed_for_a_key_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = with_keys();
    assert_eq!(fs::metadata(dir.path("key")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(dir.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = dir.run(&["bundle", "create", "b", "--key", "key", "--no-program"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("others can read key"), "{errors}");
}

#[test]
fn the_bill_lists_the_models_of_the_bundle() {
    let dir = with_keys();
    let bytes = create(&dir, "b", &["--no-program"]);
    let tar = zstd::stream::decode_all(bytes.as_slice()).unwrap();
    let mut archive = tar::Archive::new(tar.as_slice());
    let entry = archive
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| entry.path().unwrap().ends_with("sbom.cdx.json"))
        .unwrap();
    let bill: Value = serde_json::from_reader(entry).unwrap();
    let components = bill["components"].as_array().unwrap();
    let models: Vec<&str> = components
        .iter()
        .filter(|component| component["type"] == "machine-learning-model")
        .map(|component| component["name"].as_str().unwrap())
        .collect();
    assert_eq!(models, ["pocket-teacher", "student"]);
    let printed: Value = serde_json::from_str(&dir.ok(&["bundle", "sbom"])).unwrap();
    assert_eq!(printed["components"].as_array().unwrap().len(), components.len() - 2);
}
