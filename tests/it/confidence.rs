//! Knowing when not to answer: the out-of-scope score, thresholds with a promise, explanations.

use std::{fmt::Write as _, fs};

use serde_json::{Value, json};

use crate::support::{TINY, TestDir, json_lines};

/// A trained student of three classes without anything kept about its answers.
const BERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/bert");
const FILE: &str = "confidence.safetensors";

/// Texts of many confidences, one a line.
fn texts(dir: &TestDir, count: usize) -> Vec<Value> {
    let words = ["my", "card", "train", "the", "lost", "money", "water", "is", "where", "late"];
    let mut lines = String::new();
    for at in 0..count {
        let word = |step: usize| words[(at * (2 * step + 1) + at / 10 + step) % words.len()];
        let _ = writeln!(lines, "{} {} {} {}", word(0), word(1), word(2), word(3));
    }
    dir.write("texts.txt", lines);
    json_lines(&dir.ok(&["predict", "--model", BERT, "--file", "texts.txt"]))
}

#[test]
fn a_threshold_is_chosen_on_labelled_texts_and_what_is_below_it_gets_no_label() {
    let dir = TestDir::new();
    let rows = texts(&dir, 200);
    let mut order: Vec<f64> = rows.iter().map(|row| row["probability"].as_f64().unwrap()).collect();
    order.sort_by(f64::total_cmp);
    // The student is right where it is sure, and wrong below the median.
    let labelled: String = rows
        .iter()
        .map(|row| {
            let right = row["probability"].as_f64().unwrap() >= order[100];
            let classes: Vec<&String> = row["probabilities"].as_object().unwrap().keys().collect();
            let wrong = classes.iter().find(|class| row["label"] != class.as_str()).unwrap();
            let label = if right { row["label"].clone() } else { json!(wrong) };
            json!({"text": row["text"], "label": label}).to_string() + "\n"
        })
        .collect();
    dir.write("labelled.jsonl", labelled);
    let predict = |more: &[&str]| {
        let args = ["predict", "--model", BERT, "--file", "texts.txt"];
        dir.run(&[&args, more].concat())
    };
    let promised = ["--target-accuracy", "0.9", "--calibration", "labelled.jsonl"];
    let output = predict(&promised);
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("200 texts of labelled.jsonl get one"), "{told}");
    assert!(told.contains("at least 90.0 % are promised (confidence level 95 %)"), "{told}");
    let answers = json_lines(&String::from_utf8(output.stdout).unwrap());
    let given = answers.iter().filter(|row| row["abstained"] == false).count();
    // Ties in confidence and the steps of 5 % leave some room.
    assert!((60..=115).contains(&given), "{given} of 200: {told}");
    for row in &answers {
        assert_eq!(row["label"].is_null(), row["abstained"] == true);
        assert!(row["best"].is_string());
    }
    let csv = predict(&[&promised[..], &["--to", "csv"]].concat());
    let csv = String::from_utf8(csv.stdout).unwrap();
    assert!(csv.starts_with("text,label,best,abstained,probability,truncated,reason\n"), "{csv}");
    let fails = |more: &[&str], message: &str| {
        let args = ["predict", "--model", BERT, "--file", "texts.txt"];
        let errors = dir.fails(&[&args, more].concat());
        assert!(errors.contains(message), "{errors}");
    };
    // Half of the answers are wrong at the median; 0.999 needs thousands of texts.
    let too_sure = ["--target-accuracy", "0.999", "--calibration", "labelled.jsonl"];
    fails(&too_sure, "200 labelled texts are too few to promise an accuracy of 0.999: 2995 are");
    let rows = fs::read_to_string(dir.path("labelled.jsonl")).unwrap();
    let few: Vec<&str> = rows.lines().take(28).collect();
    dir.write("few.jsonl", few.join("\n"));
    fails(&["--target-accuracy", "0.9", "--calibration", "few.jsonl"], "29 are needed");
    dir.write("odd.csv", "text,label\nmy card,card\nthe sun,weather\n");
    let odd = ["--target-accuracy", "0.9", "--calibration", "odd.csv"];
    fails(&odd, "the student has no class \"");
    fails(&["--target-accuracy", "0.9"], "no answers to labelled texts are kept");
    fails(&["--target-accuracy", "95"], "expected a share between 0 and 1");
    fails(&["--min-in-scope", "0.05"], "does not tell how far a text is");
    fails(&["--why", "--to", "csv"], "--why has no place in CSV");
}

#[test]
fn a_run_keeps_how_far_texts_are_and_its_answers_to_the_test_set() {
    let dir = TestDir::new();
    dir.task("");
    let (passwords, devices) = (["forgot", "lost", "changed"], ["screen", "mouse", "printer"]);
    let mut test = String::new();
    for at in 0..40 {
        let row = match at % 2 {
            0 => {
                json!({"text": format!("I {} password number {at}", passwords[at % 3]), "label": "password_reset"})
            }
            _ => {
                json!({"text": format!("{} number {at} is broken", devices[at % 3]), "label": "hardware_fault"})
            }
        };
        let _ = writeln!(test, "{row}");
    }
    dir.write("task/test.jsonl", test);
    dir.ok(&[&["run", "task", "--out", "run", "--quiet"], &TINY[..]].concat());
    assert!(dir.path("run/student").join(FILE).exists());
    let report: Value =
        serde_json::from_str(&fs::read_to_string(dir.path("run/report.json")).unwrap()).unwrap();
    let curve = report["selective"]["curve"].as_array().unwrap();
    assert_eq!(curve.last().unwrap()["answered"], 40);
    assert!(fs::read_to_string(dir.path("run/report.html")).unwrap().contains("id=\"selective\""));

    let row = &json_lines(&dir.ok(&["predict", "--model", "run", "my password"]))[0];
    let share = row["in_scope"].as_f64().unwrap();
    assert!((1.0 / 41.0 - 1e-6..=1.0).contains(&share), "{share}");
    let output = dir.run(&["predict", "--model", "run", "--min-in-scope", "1", "zzz qqq xxx"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("in_scope compares with 40 texts of the test set"), "{told}");
    let answer = &json_lines(&String::from_utf8(output.stdout).unwrap())[0];
    let outside = answer["in_scope"].as_f64().unwrap() < 1.0;
    assert_eq!((answer["abstained"] == true, answer["label"].is_null()), (outside, outside));
    // What is kept is of the whole student: other flags need labelled texts.
    let errors = dir.fails(&[
        "predict",
        "--model",
        "run",
        "--target-accuracy",
        "0.9",
        "--max-length",
        "9",
        "x",
    ]);
    assert!(errors.contains("--target-accuracy with --max-length needs --calibration"), "{errors}");
    let errors = dir.fails(&["predict", "--model", "run", "--target-accuracy", "0.99", "x"]);
    assert!(errors.contains("40 labelled texts are too few"), "{errors}");

    // An export as a folder keeps it, one as ONNX has no embeddings.
    dir.ok(&["export", "run", "--format", "all", "--to", "both"]);
    dir.ok(&["export", "run", "--format", "onnx", "--to", "onnx"]);
    let kept = fs::read(dir.path("run/student").join(FILE)).unwrap();
    assert_eq!(fs::read(dir.path("both").join(FILE)).unwrap(), kept);
    assert!(!dir.path("onnx").join(FILE).exists());
    assert!(!String::from_utf8_lossy(&kept).contains("password"), "it holds no text");

    // Only the test set changed: the student stays, what is kept about its answers does not.
    let test = fs::read_to_string(dir.path("task/test.jsonl")).unwrap();
    let less: Vec<&str> = test.lines().take(30).collect();
    dir.write("task/test.jsonl", less.join("\n"));
    let weights = fs::read(dir.path("run/student/model.safetensors")).unwrap();
    dir.ok(&[&["run", "task", "--out", "run", "--quiet"], &TINY[..]].concat());
    assert_eq!(fs::read(dir.path("run/student/model.safetensors")).unwrap(), weights);
    let errors = dir.fails(&["predict", "--model", "run", "--target-accuracy", "0.99", "x"]);
    assert!(errors.contains("30 labelled texts are too few"), "{errors}");

    // A file that is damaged or of another student is named.
    fs::write(dir.path("both").join(FILE), &kept[..kept.len() / 2]).unwrap();
    assert!(dir.fails(&["predict", "--model", "both", "x"]).contains(FILE));
    dir.ok(&["export", BERT, "--to", "bert"]);
    fs::write(dir.path("bert").join(FILE), &kept).unwrap();
    let errors = dir.fails(&["predict", "--model", "bert", "x"]);
    assert!(errors.contains("another model.safetensors") && errors.contains("hint: "), "{errors}");
}

#[test]
fn a_label_is_explained_by_words_and_by_the_nearest_training_texts() {
    let dir = TestDir::new();
    dir.task("");
    dir.ok(&[&["run", "task", "--out", "run", "--quiet"], &TINY[..]].concat());
    let text = "Ü my keyboard is dead";
    let row = &json_lines(&dir.ok(&["predict", "--model", "run", "--why", "--json", text]))[0];
    let words = row["why"]["words"].as_array().unwrap();
    let said: Vec<&str> = words.iter().map(|word| word["word"].as_str().unwrap()).collect();
    assert_eq!(said, ["Ü", "my", "keyboard", "is", "dead"]);
    for word in words {
        let place = |name: &str| word[name].as_u64().unwrap() as usize;
        let at: String =
            text.chars().skip(place("start")).take(place("end") - place("start")).collect();
        assert_eq!(at, word["word"].as_str().unwrap());
        // Without it the text is what it says.
        let left: Vec<&str> =
            text.split(' ').filter(|other| *other != word["word"].as_str().unwrap()).collect();
        let without = &json_lines(&dir.ok(&["predict", "--model", "run", &left.join(" ")]))[0];
        let found = without["probabilities"][row["label"].as_str().unwrap()].as_f64().unwrap();
        let told = word["probability_without"].as_f64().unwrap();
        assert!((found - told).abs() < 1e-4, "{word}: {found}");
        let (effect, higher) =
            (word["effect"].as_f64().unwrap(), row["probability"].as_f64().unwrap() > told);
        assert!(effect.abs() < 1e-4 || (effect > 0.0) == higher, "{word}");
    }
    let seed = "my keyboard is dead";
    let row = &json_lines(&dir.ok(&["predict", "--model", "run", "--why", "--json", seed]))[0];
    let nearest = row["why"]["nearest"].as_array().unwrap();
    assert_eq!((nearest.len(), &nearest[0]["text"]), (3, &json!(seed)));
    assert_eq!(nearest[0]["label"], "hardware_fault");
    assert!(nearest[0]["similarity"].as_f64().unwrap() > 0.999, "{nearest:?}");
    for one in nearest {
        assert!(one["label"].is_string() && one["from"].is_string());
        assert!(one["similarity"].as_f64().unwrap() <= nearest[0]["similarity"].as_f64().unwrap());
    }
    let shown = dir.ok(&["predict", "--model", "run", "--why", text]);
    assert!(shown.contains("nearest training texts\n") && shown.contains("without it"), "{shown}");
    assert!(shown.contains("[+") || shown.contains("[-"), "{shown}");
    let alone = dir.ok(&["predict", "--model", "run/student", "--why", text]);
    assert!(
        alone.contains("--model RUN") && !alone.contains("nearest training texts\n"),
        "{alone}"
    );
    let alone =
        &json_lines(&dir.ok(&["predict", "--model", BERT, "--why", "--json", "my card"]))[0];
    assert!(alone["why"]["nearest"].is_null() && alone["why"]["words"].is_array());
    // A column of that name stays, under another one.
    dir.write("in.jsonl", "{\"text\": \"my card\", \"why\": \"asked\"}\n");
    let row = &json_lines(&dir.ok(&["predict", "--model", BERT, "--why", "--file", "in.jsonl"]))[0];
    assert_eq!((&row["input_why"], row["why"]["words"].is_array()), (&json!("asked"), true));
}

#[test]
fn embeddings_of_training_texts_are_computed_once_and_stay_in_the_run_folder() {
    const KEPT: &str = "nearest.safetensors";
    let dir = TestDir::new();
    dir.task("");
    dir.ok(&[&["run", "task", "--out", "run", "--quiet"], &TINY[..]].concat());
    let ask = || dir.ok(&["predict", "--model", "run", "--why", "--json", "the screen is dead"]);
    let first = ask();
    let kept = fs::read(dir.path("run").join(KEPT)).unwrap();
    assert_eq!(ask(), first, "from the file");
    // What is in the file counts: with the vectors in another order, other texts are the nearest.
    let mut turned = kept.clone();
    let begin = 8 + u64::from_le_bytes(kept[..8].try_into().unwrap()) as usize;
    turned[begin..].rotate_left((kept.len() - begin) / 2);
    dir.write(&format!("run/{KEPT}"), &turned);
    assert_ne!(ask(), first);
    // A damaged file is replaced, and so is one of other texts.
    dir.write(&format!("run/{KEPT}"), &kept[..kept.len() / 2]);
    assert_eq!(ask(), first);
    assert_eq!(fs::read(dir.path("run").join(KEPT)).unwrap(), kept);
    let train = fs::read_to_string(dir.path("run/train.jsonl")).unwrap();
    let less: String = train.lines().skip(1).map(|line| format!("{line}\n")).collect();
    dir.write("run/train.jsonl", &less);
    ask();
    let other = fs::read(dir.path("run").join(KEPT)).unwrap();
    assert!(other.len() < kept.len() && other != kept);
    dir.write("run/train.jsonl", &train);
    assert_eq!(ask(), first);
    // The folder of a student alone and an export have no such file, nor any text in theirs.
    dir.ok(&["export", "run", "--to", "shared"]);
    for folder in ["run/student", "shared"] {
        assert!(!dir.path(folder).join(KEPT).exists());
    }
    assert!(!String::from_utf8_lossy(&kept).contains("keyboard"));
    dir.ok(&["audit", "run", "--no-nearest"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(dir.path("run").join(KEPT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
