//! A teacher that writes junk, and one that does not know the task.

use std::fs;

use crate::support::{TINY, TestDir, json, rows};

/// Junk of each class, a text to clean, then enough good texts for two rounds.
fn recorded() -> String {
    let texts = |class: &str, first: [&str; 6], good: (&str, &str)| -> String {
        let nouns = "login mail portal badge bank phone shop wiki cloud desk lab home".split(' ');
        let good = nouns.map(|noun| format!("{} {noun} {}", good.0, good.1));
        first
            .map(str::to_owned)
            .into_iter()
            .chain(good)
            .map(|text| serde_json::json!({"text": text, "major": class, "relabel": class}))
            .map(|row| format!("{row}\n"))
            .collect()
    };
    let password = [
        "12",
        "**password_reset**",
        "set password_reset here",
        "Dear [Your Name], it is gone",
        "GET /api/x",
        "- I lost my password. (Hardware fault)",
    ];
    let hardware = [
        "34",
        "**hardware_fault**",
        "set hardware_fault here",
        "Dear {name}, help",
        "GET /api/y",
        "**my mouse** is broken",
    ];
    texts("password_reset", password, ("I forgot the password of my", "again"))
        + &texts("hardware_fault", hardware, ("the screen in the", "shows nothing"))
}

#[test]
fn junk_is_replaced_counted_and_explained() {
    let bench = TestDir::new();
    let task = bench.task("");
    bench.write("recorded.jsonl", recorded());
    let run = |out: &str, more: &[&str]| {
        let args = ["run", task.to_str().unwrap(), "--out", out, "--teacher"];
        let output =
            bench.run(&[&args[..], &["replay:recorded.jsonl"], &TINY[..], &WANTED, more].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{told}");
        (told, String::from_utf8(output.stdout).unwrap())
    };
    const WANTED: [&str; 2] = ["--set", "augment.per_class=9"];
    let (told, printed) = run("out", &[]);
    assert!(told.contains("10 of 30 texts junk") && told.contains("2 cleaned"), "{told}");
    assert!(told.contains("10 of 30 texts (33 %) that the teacher wrote were junk"), "{told}");
    assert!(printed.contains("note: 10 of 30 texts (33 %)"), "{printed}");

    let out = bench.path("out");
    let texts = rows(&out.join("augmented.jsonl"));
    assert_eq!(texts.len(), 18, "the next round replaces what was dropped");
    let text = |row: &serde_json::Value| row["text"].as_str().unwrap().to_owned();
    assert!(texts.iter().any(|row| text(row) == "I lost my password."));
    assert!(texts.iter().any(|row| text(row) == "my mouse is broken"));
    assert!(texts.iter().all(|row| !text(row).contains(['*', '_', '[', '{', '/'])));

    let junk = rows(&out.join("junk.jsonl"));
    let of = |text: &str| junk.iter().find(|row| row["text"] == text).unwrap();
    assert_eq!(of("12")["reasons"], serde_json::json!(["bare_number"]));
    assert_eq!(of("**hardware_fault**")["reasons"], serde_json::json!(["class_name"]));
    assert_eq!(of("Dear {name}, help")["reasons"], serde_json::json!(["placeholder"]));
    assert_eq!(of("**my mouse** is broken")["cleaned"], "my mouse is broken");
    assert_eq!(junk.len(), 12);

    let report = json(&out.join("report.json"));
    let funnel = &report["funnel"];
    assert_eq!((&funnel["parsed"], &funnel["cleaned"]), (&30.into(), &2.into()));
    assert_eq!(
        funnel["junk"],
        serde_json::json!({
            "bare number": 2, "code or markup": 2, "identifier": 2, "name of a class": 2,
            "placeholder": 2,
        })
    );
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("10 of 30 texts (33 %)"), "{warnings}");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("junk: bare number"), "the page names the reasons");
    bench.ok(&["audit", "out"]);

    // Judged again, from the ledger, with the same result.
    let before = fs::read(out.join("augmented.jsonl")).unwrap();
    fs::remove_file(out.join("augmented.jsonl")).unwrap();
    bench.ok(&[
        &["generate", task.to_str().unwrap(), "--out", "again", "--teacher", "replay:out"][..],
        &TINY[..],
        &WANTED,
    ]
    .concat());
    assert_eq!(fs::read(bench.path("again/augmented.jsonl")).unwrap(), before);

    let (told, _) = run("raw", &["--set", "augment.clean=false"]);
    assert!(!told.contains("junk"), "{told}");
    assert!(rows(&bench.path("raw/junk.jsonl")).is_empty());
    assert!(rows(&bench.path("raw/augmented.jsonl")).iter().any(|row| text(row) == "12"));
}

#[test]
fn an_unfit_teacher_is_named_before_it_writes() {
    let bench = TestDir::new();
    // The pocket teacher knows tickets of a help desk, and nothing of chemistry.
    let line = |(text, label): (&str, &str)| {
        format!("{}\n", serde_json::json!({"text": text, "label": label}))
    };
    let seeds = [
        ("the melting point is above nine hundred", "metal"),
        ("it conducts and shines when polished", "metal"),
        ("used for wires and for pans", "metal"),
        ("it is inert and glows in tubes", "gas"),
        ("lighter than air, fills balloons", "gas"),
        ("we breathe it all day long", "gas"),
        ("white crystals, tastes of the sea", "salt"),
        ("dissolves in water, not in oil", "salt"),
        ("spread on icy roads in winter", "salt"),
    ];
    bench.write("task/seeds.jsonl", seeds.map(line).concat());
    let classes: String =
        ["metal", "gas", "salt"].map(|name| format!("[[class]]\nname = \"{name}\"\n")).concat();
    bench.write("task/task.toml", format!("shots = 2\n{classes}[data]\nseeds = \"seeds.jsonl\"\n"));
    let task = ["task", "--teacher", "pocket"];

    let output = bench.run(&[&["plan", "--check"], &task[..], &TINY[..2]].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let found = "of 9 labelled examples that its prompt did not show";
    assert!(printed.contains(found), "{printed}");
    assert!(told.contains(found) && told.contains("guessing: 33 %"), "{told}");
    assert!(told.contains("hint: try a larger or instruction-tuned teacher"), "{told}");

    let run = |more: &[&str]| {
        let args = [&["run"], &task[..], &["--out", "out"], &TINY[..], more].concat();
        let output = bench.run(&args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{told}");
        told
    };
    let told = run(&[]);
    let (check, generate) = (told.find("    check  ").unwrap(), told.find(" generate  ").unwrap());
    assert!(check < generate && told.contains(found), "{told}");
    let asked = |folder: &str| {
        let ledger = fs::read_to_string(bench.path(folder).join("ledger.jsonl")).unwrap();
        ledger.matches("\"stage\":\"check\",\"log_probs\"").count()
    };
    assert_eq!(asked("out"), 9);
    let report = json(&bench.path("out/report.json"));
    assert_eq!(report["teacher_check"]["examples"], 9);
    assert!(report["warnings"].to_string().contains(found), "{}", report["warnings"]);
    let page = fs::read_to_string(bench.path("out/report.html")).unwrap();
    assert!(page.contains("Teacher on examples it did not see"));
    // Known by then.
    assert!(run(&[]).contains("9 resumed"));
    assert_eq!(asked("out"), 9);
}
