//! Exports of tiny networks, whose numbers PyTorch computed too (`scripts/student_fixture.py`).

use std::collections::BTreeSet;

use candle_core::safetensors::load;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/student").join(name)
}

/// A copy of a fixture in `folder`, with changes to its `config.json`.
fn changed(folder: &Path, name: &str, changes: &[(&str, serde_json::Value)]) -> PathBuf {
    let copy = folder.join("student");
    fs::create_dir_all(&copy).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(fixture(name).join(file), copy.join(file)).unwrap();
    }
    let path = copy.join("config.json");
    let mut config: serde_json::Map<_, _> =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (key, value) in changes {
        config.insert((*key).to_owned(), value.clone());
    }
    fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    copy
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_onnx_file_says_what_pytorch_says() {
    for name in ["distilbert", "bert"] {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("out");
        let draft = Draft::write(&fixture(name), &to, Format::Onnx).unwrap();
        let interpreter = Interpreter::read(&draft.folder.join(ONNX_FILE)).unwrap();
        let expected = load(fixture(name).join("expected.safetensors"), &Device::Cpu).unwrap();
        let whole = |key: &str| expected[key].to_dtype(candle_core::DType::U32).unwrap();
        let (ids, mask) = (whole("ids"), whole("mask"));
        let (ids, mask) = (ids.to_vec2::<u32>().unwrap(), mask.to_vec2::<u32>().unwrap());
        let texts: Vec<&[u32]> = ids
            .iter()
            .zip(&mask)
            .map(|(ids, mask)| &ids[..mask.iter().sum::<u32>() as usize])
            .collect();
        let wanted = expected["logits"].to_vec2::<f32>().unwrap();
        // What stands in the padding does not matter.
        for pad in [0, 7] {
            let found = check::compare(&wanted, &interpreter.logits(&texts, pad).unwrap());
            assert!(found.difference < 2e-6, "{name}: {}", found.difference);
        }
    }
}

#[test]
fn every_activation_and_pooling_agrees_with_the_classifier() {
    for (name, key) in [("distilbert", "activation"), ("bert", "hidden_act")] {
        for activation in ["gelu", "gelu_new", "relu", "silu"] {
            for pooling in ["first", "mean"] {
                let temp = tempfile::tempdir().unwrap();
                let changes = [(key, activation.into()), ("promptmix_pooling", pooling.into())];
                let student = changed(temp.path(), name, &changes);
                let draft = Draft::write(&student, &temp.path().join("out"), Format::All).unwrap();
                let checks = draft.check(&["where is my lost card ?".to_owned()]).unwrap();
                let onnx = checks.onnx.unwrap();
                let difference = onnx.difference;
                assert!(difference < 1e-5, "{name} {activation} {pooling}: {difference}");
                assert_eq!((checks.folder.difference, checks.folder.texts), (0.0, onnx.texts));
            }
        }
    }
}

#[test]
fn each_format_holds_its_files_and_nothing_stays_behind() {
    let common = ["README.md", "config.json", "special_tokens_map.json", "tokenizer.json"];
    let common = common.into_iter().chain(["tokenizer_config.json"]);
    for (format, own) in [
        (Format::HuggingFace, &[WEIGHTS_FILE][..]),
        (Format::Onnx, &[ONNX_FILE]),
        (Format::All, &[ONNX_FILE, WEIGHTS_FILE]),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("out");
        fs::create_dir(&to).unwrap();
        let draft = Draft::write(&fixture("bert"), &to, format).unwrap();
        draft.check(&[]).unwrap();
        draft.add("README.md", "a card\n").unwrap();
        let files = draft.publish().unwrap();
        let wanted: BTreeSet<String> =
            common.clone().chain(own.iter().copied()).map(str::to_owned).collect();
        assert_eq!(names(&to), wanted);
        assert_eq!(files.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), wanted);
        assert_eq!(names(temp.path()).len(), 1, "no hidden folder is left");
    }
}

#[test]
fn a_draft_that_is_wrong_is_refused_and_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let to = temp.path().join("out");
    for (file, what) in [(ONNX_FILE, "model.onnx"), (WEIGHTS_FILE, "the Hugging Face folder")] {
        let draft = Draft::write(&fixture("distilbert"), &to, Format::All).unwrap();
        let path = draft.folder.join(file);
        let mut bytes = fs::read(&path).unwrap();
        // Both files end in a bias or a weight: a number there is changed.
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&1e3f32.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let error = draft.check(&[]).unwrap_err();
        assert!(matches!(error, ExportError::Differs { .. }), "{error}");
        assert!(error.to_string().starts_with(what), "{error}");
        drop(draft);
        assert!(names(temp.path()).is_empty());
    }
}

#[test]
fn a_goal_that_holds_files_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("thesis.txt"), "years of work").unwrap();
    let error = Draft::write(&fixture("bert"), temp.path(), Format::All).unwrap_err();
    assert!(error.to_string().contains("hint: name another folder"), "{error}");
    assert_eq!(names(temp.path()).len(), 1);
}

#[test]
fn what_is_no_number_is_no_agreement() {
    let compare = |a: f32, b: f32| check::compare(&[vec![a, 1.0]], &[vec![b, 1.0]]).difference;
    assert_eq!(compare(1.0, 1.5), 0.5);
    assert_eq!(compare(f32::NAN, f32::NAN), f32::INFINITY);
    assert_eq!(check::compare(&[vec![1.0]], &[]).difference, f32::INFINITY);
    assert_eq!(check::sample(3, 5), [0, 1, 2, 3, 4]);
    assert_eq!(check::sample(2, 132), (0..2).chain((2..132).step_by(3)).collect::<Vec<_>>());
}
