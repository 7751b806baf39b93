//! What the teacher's scores become: the settings of `[relabel]` that change labels, not texts.

use crate::support::{TestDir, rows};

/// Relabels the run, and returns the probabilities of each text's classes and the number of
/// questions that were put to the teacher so far.
fn relabelled(dir: &TestDir, settings: &[&str]) -> (Vec<Vec<f64>>, usize) {
    let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    dir.ok(&[&["relabel", "out", "--deterministic"], &set[..]].concat());
    let probabilities = |row: &serde_json::Value| -> Vec<f64> {
        let pairs = row["probabilities"].as_array().unwrap();
        pairs.iter().map(|pair| pair[1].as_f64().unwrap()).collect()
    };
    let texts: Vec<Vec<f64>> =
        rows(&dir.path("out/relabelled.jsonl")).iter().map(probabilities).collect();
    for text in &texts {
        assert!(text.len() == 2 && (text.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{text:?}");
    }
    let ledger = rows(&dir.path("out/ledger.jsonl"));
    let asked = ledger.iter().filter(|row| row["kind"] == "scores" && row["stage"] == "relabel");
    (texts, asked.count())
}

#[test]
fn another_calibration_asks_nothing_again_and_another_scoring_asks_for_itself() {
    let dir = TestDir::new();
    let task = dir.task("");
    let task = task.to_str().unwrap();
    let set = ["augment.per_class=6", "teacher.check=0", "relabel.labels=teacher"];
    let set: Vec<&str> = set.iter().flat_map(|setting| ["--set", setting]).collect();
    dir.ok(&[&["generate", task, "--out", "out", "--deterministic"], &set[..]].concat());
    let texts = rows(&dir.path("out/augmented.jsonl")).len();

    let (batch, asked) = relabelled(&dir, &[]);
    assert_eq!((batch.len(), asked), (texts, texts));
    let (raw, asked) = relabelled(&dir, &["relabel.calibration=none"]);
    assert!(raw != batch && asked == texts, "{asked}");
    // A setting holds for later stages, too.
    let (branch, asked) = relabelled(&dir, &["relabel.scoring=branch"]);
    assert!(branch != raw && asked == 2 * texts, "{asked}");
    assert_eq!(relabelled(&dir, &["relabel.scoring=sequence"]), (raw, 2 * texts));
    assert_eq!(relabelled(&dir, &["relabel.calibration=batch"]), (batch, 2 * texts));
}
