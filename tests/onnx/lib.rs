//! Runs exported `model.onnx` files with tract, an ONNX implementation that shares no code with
//! promptmix, and compares the results with PyTorch and with `promptmix predict`.
//!
//! Needs:   target/release/promptmix, or its path in PROMPTMIX
//! Example: cargo test --manifest-path tests/onnx/Cargo.toml --target-dir target/onnx
#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use safetensors::SafeTensors;
use serde_json::{Map, Value};
use tract_onnx::prelude::{
    Framework, InferenceModelExt, IntoRunnable, Tensor, tract_ndarray::Array2, tvec,
};

const FILES: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];
/// Words of the fixtures' vocabulary; the lengths differ, so that a batch contains padding.
const TEXTS: [&str; 5] = [
    "where is my lost card ?",
    "train",
    "why does the app not do what it was",
    "cheap ticket to the city , old plane",
    "a dog",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture(name: &str) -> PathBuf {
    root().join("tests/data/student").join(name)
}

/// Runs promptmix; returns its output.
fn promptmix(args: &[&str]) -> String {
    let program = std::env::var_os("PROMPTMIX")
        .map_or_else(|| root().join("target/release/promptmix"), PathBuf::from);
    let output = Command::new(&program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A copy of the fixture `name` in `folder`, with changes to its `config.json`.
fn changed(folder: &Path, name: &str, changes: &[(&str, &str)]) -> PathBuf {
    let copy = folder.join("student");
    fs::create_dir_all(&copy).unwrap();
    for file in FILES {
        fs::copy(fixture(name).join(file), copy.join(file)).unwrap();
    }
    let mut config: Map<String, Value> = json(&copy.join("config.json"));
    for (key, value) in changes {
        config.insert((*key).to_owned(), (*value).into());
    }
    fs::write(copy.join("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
    copy
}

fn json(file: &Path) -> Map<String, Value> {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// Exports `student`; returns the path of `model.onnx`.
fn export(folder: &Path, student: &Path) -> PathBuf {
    let to = folder.join("exported");
    let [student, to_text] = [student, &to].map(|path| path.to_str().unwrap());
    promptmix(&["export", student, "--to", to_text, "--format", "onnx"]);
    to.join("model.onnx")
}

/// Logits of `texts` (token ids), `[texts][classes]`. Shorter texts are padded with the token `pad`.
fn logits(file: &Path, texts: &[Vec<i64>], pad: i64) -> Vec<Vec<f32>> {
    let width = texts.iter().map(Vec::len).max().unwrap();
    let shape = (texts.len(), width);
    let cell = |(text, at): (usize, usize)| texts[text].get(at).copied();
    let ids = Array2::from_shape_fn(shape, |at| cell(at).unwrap_or(pad));
    let mask = Array2::from_shape_fn(shape, |at| i64::from(cell(at).is_some()));
    let inputs = tvec!(Tensor::from(ids).into(), Tensor::from(mask).into());
    let model = tract_onnx::onnx().model_for_path(file).unwrap().into_optimized().unwrap();
    let outputs = model.into_runnable().unwrap().run(inputs).unwrap();
    let logits = outputs[0].to_plain_array_view::<f32>().unwrap();
    logits.outer_iter().map(|row| row.iter().copied().collect()).collect()
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[test]
fn logits_equal_pytorchs() {
    for name in ["distilbert", "bert"] {
        let temp = tempfile::tempdir().unwrap();
        let file = export(temp.path(), &fixture(name));
        let bytes = fs::read(fixture(name).join("expected.safetensors")).unwrap();
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let integers = |key: &str| -> Vec<i64> {
            let data = expected.tensor(key).unwrap().data().as_chunks::<4>().0;
            data.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect()
        };
        let width = expected.tensor("ids").unwrap().shape()[1];
        let (ids, mask) = (integers("ids"), integers("mask"));
        let texts: Vec<Vec<i64>> = ids
            .chunks(width)
            .zip(mask.chunks(width))
            .map(|(ids, mask)| ids[..mask.iter().sum::<i64>() as usize].to_vec())
            .collect();
        let wanted = expected.tensor("logits").unwrap();
        let wanted =
            wanted.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let wanted: Vec<f32> = wanted.collect();
        // The token in the padding must not matter.
        for pad in [0, 7] {
            let found = logits(&file, &texts, pad).concat();
            assert_eq!(found.len(), wanted.len());
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!((found - wanted).abs() < 2e-6, "{name}: {found}, not {wanted}");
            }
        }
    }
}

#[test]
fn every_activation_and_head_agrees_with_predict() {
    for (name, key) in [("distilbert", "activation"), ("bert", "hidden_act")] {
        let tokenizer = json(&fixture(name).join("tokenizer.json"));
        let vocabulary = &tokenizer["model"]["vocab"];
        let id = |word: &str| vocabulary[word].as_i64().expect("the vocabulary has the word");
        let ids = |text: &str| {
            let words = text.split(' ');
            ["[CLS]"].into_iter().chain(words).chain(["[SEP]"]).map(id).collect::<Vec<i64>>()
        };
        let texts = TEXTS.map(ids);
        for activation in ["gelu", "gelu_new", "relu", "silu"] {
            for (head, pooling) in [("mlp", "first"), ("mlp", "mean"), ("linear", "mean")] {
                let temp = tempfile::tempdir().unwrap();
                let changes =
                    [(key, activation), ("promptmix_head", head), ("promptmix_pooling", pooling)];
                let student = changed(temp.path(), name, &changes);
                let labels = json(&student.join("config.json"));
                let label = |class: usize| labels["id2label"][class.to_string()].as_str().unwrap();
                let logits = logits(&export(temp.path(), &student), &texts, 0);
                let file = temp.path().join("texts.txt");
                fs::write(&file, TEXTS.join("\n")).unwrap();
                let [student, file] = [&student, &file].map(|path| path.to_str().unwrap());
                let predicted = promptmix(&["predict", "--model", student, "--file", file]);
                assert_eq!(predicted.lines().count(), TEXTS.len());
                for (line, logits) in predicted.lines().zip(&logits) {
                    let row: Value = serde_json::from_str(line).unwrap();
                    for (class, found) in softmax(logits).into_iter().enumerate() {
                        let wanted = row["probabilities"][label(class)].as_f64().unwrap();
                        let message = format!("{name} {activation} {head} {pooling}: {found} in {line}");
                        assert!((found - wanted).abs() < 1e-5, "{message}");
                    }
                }
            }
        }
    }
}
