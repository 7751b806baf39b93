//! Exports of tiny networks. `tests/onnx` runs their ONNX files and compares the results with
//! PyTorch's.

use std::collections::BTreeSet;

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
fn every_activation_and_head_passes_the_checks() {
    for (name, key) in [("distilbert", "activation"), ("bert", "hidden_act")] {
        for activation in ["gelu", "gelu_new", "relu", "silu"] {
            for (head, pooling) in [("mlp", "first"), ("mlp", "mean"), ("linear", "mean")] {
                let temp = tempfile::tempdir().unwrap();
                let changes = [
                    (key, activation.into()),
                    ("promptmix_head", head.into()),
                    ("promptmix_pooling", pooling.into()),
                ];
                let student = changed(temp.path(), name, &changes);
                let draft = Draft::write(&student, &temp.path().join("out"), Format::All).unwrap();
                let checks = draft.check(&["where is my lost card ?".to_owned()]).unwrap();
                assert_eq!(checks.folder.difference, 0.0);
                assert!(checks.onnx_weights.unwrap() > 30);
            }
        }
    }
}

#[test]
fn each_format_holds_its_files_and_no_temporary_folder_remains() {
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
        draft.add("README.md", b"a card\n").unwrap();
        let files = draft.publish().unwrap();
        let wanted: BTreeSet<String> =
            common.clone().chain(own.iter().copied()).map(str::to_owned).collect();
        assert_eq!(names(&to), wanted);
        assert_eq!(files.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), wanted);
        assert_eq!(names(temp.path()).len(), 1, "the hidden folder is gone");
    }
}

#[test]
fn a_damaged_draft_is_refused_and_deleted() {
    let temp = tempfile::tempdir().unwrap();
    let to = temp.path().join("out");
    for (file, what) in
        [(ONNX_FILE, "the weight classifier.bias"), (WEIGHTS_FILE, "the exported folder")]
    {
        let draft = Draft::write(&fixture("distilbert"), &to, Format::All).unwrap();
        let path = draft.folder.join(file);
        let mut bytes = fs::read(&path).unwrap();
        // Both files end with a weight or a bias: change its last number.
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&1e3f32.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let error = draft.check(&[]).unwrap_err();
        let onnx = matches!(error, ExportError::OnnxDiffers { .. });
        assert!(onnx || matches!(error, ExportError::Differs { .. }), "{error}");
        assert!(onnx == (file == ONNX_FILE) && error.to_string().contains(what), "{error}");
        drop(draft);
        assert!(names(temp.path()).is_empty());
    }
}

#[test]
fn a_target_that_holds_files_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("thesis.txt"), "years of work").unwrap();
    let error = Draft::write(&fixture("bert"), temp.path(), Format::All).unwrap_err();
    assert!(error.to_string().contains("exists and is not empty"), "{error}");
    assert!(error.hint().unwrap().contains("name another folder"));
    assert_eq!(names(temp.path()).len(), 1);
}

#[test]
fn nan_never_counts_as_agreement() {
    let compare = |a: f32, b: f32| check::compare(&[vec![a, 1.0]], &[vec![b, 1.0]]).difference;
    assert_eq!(compare(1.0, 1.5), 0.5);
    assert_eq!(compare(f32::NAN, f32::NAN), f32::INFINITY);
    assert_eq!(check::compare(&[vec![1.0]], &[]).difference, f32::INFINITY);
}
