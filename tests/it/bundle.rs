//! Bundles, made, carried and refused by the real program.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::support::TestDir;

const TEACHER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/teacher/pocket-teacher.gguf");
const STUDENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/student");

/// A bench with the keys `key` and `key.pub`.
fn with_keys() -> TestDir {
    let bench = TestDir::new();
    bench.ok(&["bundle", "keygen", "key"]);
    bench
}

/// Makes the bundle `name` with both pocket models; without the program it is small.
fn create(bench: &TestDir, name: &str, more: &[&str]) -> Vec<u8> {
    let args =
        ["bundle", "create", name, "--key", "key", "--teacher", TEACHER, "--student", STUDENT];
    bench.ok(&[&args, more].concat());
    fs::read(bench.path(name)).unwrap()
}

/// Runs the program, whose verdict must be that the bundle is no good: exit code 1; its stderr.
fn refused(bench: &TestDir, args: &[&str]) -> String {
    let output = bench.run(args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.starts_with("error: ") && errors.contains("\nhint: "), "{errors}");
    errors
}

const VERIFY: [&str; 5] = ["bundle", "verify", "b", "--public-key", "key.pub"];

#[test]
fn a_bundle_goes_over_the_gap_and_works_there() {
    let here = with_keys();
    create(&here, "b", &[]);
    let told: Value = serde_json::from_str(&here.ok(&[&VERIFY[..], &["--json"]].concat())).unwrap();
    assert_eq!(told["has_program"], true);
    assert_eq!(told["origin_proven"], true);
    assert_eq!(told["models"].as_array().unwrap().len(), 2);

    let there = TestDir::new();
    fs::copy(here.path("b"), there.path("b")).unwrap();
    fs::copy(here.path("key.pub"), there.path("key.pub")).unwrap();
    let import =
        ["bundle", "import", "b", "--public-key", "key.pub", "--program-to", "bin/mix", "--json"];
    let told: Value = serde_json::from_str(&there.ok(&import)).unwrap();
    let folder = |role: &str| -> PathBuf {
        let models = told["installed"].as_array().unwrap();
        let model = models.iter().find(|model| model["role"] == role).unwrap();
        model["folder"].as_str().unwrap().into()
    };
    let teacher = folder("teacher").join("pocket-teacher.gguf");
    assert_eq!(fs::read(&teacher).unwrap(), fs::read(TEACHER).unwrap());
    // Nothing half unpacked stays behind.
    let left = fs::read_dir(there.path("bin")).unwrap().count();
    assert_eq!(left, 1);

    // The program that came over, with the models that came over; scripts/airgap/round_trip.sh walks the
    // whole road.
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
    assert!(again.contains("bin/mix is there already"), "{again}");
}

#[test]
fn two_hundred_random_bytes_are_each_missed_and_named() {
    let bench = with_keys();
    let bytes = create(&bench, "b", &["--no-program"]);
    assert_eq!(create(&bench, "same", &["--no-program"]), bytes, "not the same bytes again");
    let members = ["README.md", "models/", "prompts/", "sbom.cdx.json", "end mark of the archive"];
    let mut state = 42u64;
    for _ in 0..200 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) as usize % bytes.len();
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (state >> 60 & 7);
        bench.write("b", &flipped);
        let errors = refused(&bench, &VERIFY);
        assert!(
            errors.contains("the index of the bundle")
                || members.iter().any(|member| errors.contains(member)),
            "byte {at}: {errors}"
        );
    }
}

#[test]
fn what_was_cut_lengthened_or_mixed_up_is_refused() {
    let bench = with_keys();
    let bytes = create(&bench, "b", &["--no-program"]);
    for cut in [1, 112, 5_000, bytes.len() - 1, bytes.len()] {
        bench.write("b", &bytes[..bytes.len() - cut]);
        let errors = refused(&bench, &VERIFY);
        assert!(errors.contains("the index of the bundle"), "{errors}");
    }
    bench.write("b", [bytes.as_slice(), b"\0"].concat());
    refused(&bench, &VERIFY);
    bench.write("b", [b"\0", bytes.as_slice()].concat());
    refused(&bench, &VERIFY);
    // Two pieces of the weights change places: everything is still there.
    let mut swapped = bytes.clone();
    let middle = bytes.len() / 2;
    let (left, right) = swapped.split_at_mut(middle);
    left[middle - 4096..].swap_with_slice(&mut right[..4096]);
    bench.write("b", &swapped);
    assert!(refused(&bench, &VERIFY).contains("models/"));
    bench.write("b", "just a text");
    refused(&bench, &VERIFY);
}

#[cfg(unix)]
#[test]
fn what_is_for_others_can_be_read_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let bench = with_keys();
    create(&bench, "b", &[]);
    bench.ok(&["bundle", "import", "b", "--public-key", "key.pub", "--program-to", "mix"]);
    let mode = |name: &str| fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("key"), mode("key.pub"), mode("mix"), mode("b")),
        (0o600, 0o644, 0o755, 0o600)
    );
}

#[test]
fn an_import_that_cannot_end_well_installs_nothing() {
    let bench = with_keys();
    create(&bench, "b", &["--no-program"]);
    // Another student of that name is there; the teacher comes first in the bundle.
    let models = bench.path(".cache/promptmix/models");
    bench.write(".cache/promptmix/models/student/student/config.json", "{}");
    let errors = bench.fails(&["bundle", "import", "b", "--public-key", "key.pub"]);
    assert!(errors.contains("another student") && errors.contains("hint: "), "{errors}");
    assert!(!models.join("teacher").exists(), "something was installed");
}

/// Ends `create` and `import` of a large bundle by a signal, as soon as something lies about.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_leaves_nothing_and_what_a_kill_leaves_is_cleared() {
    use std::time::{Duration, Instant};
    let bench = with_keys();
    // Noise, so that it takes its time; the name makes it a student's.
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
    bench.write("big/model.safetensors", weights);
    bench.write("big/config.json", "{}");
    let create = ["bundle", "create", "b", "--key", "key", "--student", "./big", "--no-program"];
    let import = ["bundle", "import", "b", "--public-key", "key.pub"];
    let halves =
        [bench.path(".b.promptmix-part"), bench.path(".cache/promptmix/.bundle.promptmix-part")];
    let left = || halves.iter().any(|path| path.exists());
    for (args, signal) in [
        (&create[..], "-INT"),
        (&create, "-KILL"),
        (&create, ""),
        (&import, "-TERM"),
        (&import, "-KILL"),
        (&import, ""),
    ] {
        let mut child = bench.program(args).stderr(std::process::Stdio::null()).spawn().unwrap();
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
    assert!(bench.path(".cache/promptmix/models/student/big").is_dir());
}

#[test]
fn only_the_right_key_proves_origin() {
    let bench = with_keys();
    create(&bench, "b", &["--no-program"]);
    bench.ok(&["bundle", "keygen", "other"]);
    let wrong = ["bundle", "verify", "b", "--public-key", "other.pub"];
    assert!(refused(&bench, &wrong).contains("signed with the key"));
    let wrong = ["bundle", "import", "b", "--public-key", "other.pub"];
    refused(&bench, &wrong);
    assert!(!bench.path(".cache/promptmix/models").exists(), "something was installed");

    let output = bench.run(&["bundle", "verify", "b"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("warning: ") && errors.contains("anybody"), "{errors}");
    // Import wants to be told.
    assert!(bench.fails(&["bundle", "import", "b"]).contains("--public-key"));
    bench.ok(&["bundle", "import", "b", "--trust-embedded-key"]);
    assert!(bench.path(".cache/promptmix/models/teacher/pocket-teacher").is_dir());
}

#[test]
fn mistakes_are_told_from_verdicts() {
    let bench = with_keys();
    create(&bench, "b", &["--no-program"]);
    assert!(bench.fails(&["bundle", "verify", "missing"]).contains("missing"));
    assert!(bench.fails(&["bundle", "verify", "."]).contains("cannot read"));
    assert!(bench.fails(&["bundle", "verify", "b", "--public-key", "key"]).contains("no public"));
    assert!(bench.fails(&["bundle", "create", "b", "--key", "key"]).contains("there already"));
    assert!(bench.fails(&["bundle", "create", "c", "--key", "key.pub"]).contains("no private"));
    assert!(bench.fails(&["bundle", "keygen", "key"]).contains("there already"));
    let none = ["bundle", "import", "b", "--public-key", "key.pub", "--program-to", "p"];
    assert!(bench.fails(&none).contains("no program"));
    let none = ["bundle", "import", "b", "--public-key", "key.pub", "--source-to", "s"];
    assert!(bench.fails(&none).contains("no sources"));
    let twice =
        ["bundle", "create", "c", "--key", "key", "--teacher", TEACHER, "--teacher", TEACHER];
    assert!(bench.fails(&twice).contains("twice"));
    assert!(!bench.path("c").exists());
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let bench = with_keys();
    assert_eq!(fs::metadata(bench.path("key")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(bench.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = bench.run(&["bundle", "create", "b", "--key", "key", "--no-program"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("others can read key"), "{errors}");
}

#[test]
fn the_bill_names_the_models_that_came_along() {
    let bench = with_keys();
    let bytes = create(&bench, "b", &["--no-program"]);
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
    let printed: Value = serde_json::from_str(&bench.ok(&["bundle", "sbom"])).unwrap();
    assert_eq!(printed["components"].as_array().unwrap().len(), components.len() - 2);
}
