//! The written file, as bytes and as a graph.

use std::collections::HashSet;

use prost::Message;

use super::{
    proto::{Extent, Model},
    *,
};
use crate::{
    hint::Hint,
    student::{
        Head, Pooling, Result, config::Config, export::ExportError, model_spec::ModelSpec,
        network::Source,
    },
};

/// Weights with the values 0, 1, 2, ... in every tensor.
struct Counted;

impl Source for Counted {
    fn read(&self, _: &str, out: &mut [f32]) -> Result<()> {
        out.iter_mut().enumerate().for_each(|(at, value)| *value = at as f32);
        Ok(())
    }

    fn rows(&self, _: &str, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let width = out.len() / ids.len();
        for (&id, row) in ids.iter().zip(out.chunks_exact_mut(width)) {
            for (at, value) in row.iter_mut().enumerate() {
                *value = (id as usize * width + at) as f32;
            }
        }
        Ok(())
    }
}

fn spec(model_type: &str, head: Head) -> ModelSpec {
    let config = serde_json::json!({
        "model_type": model_type, "vocab_size": 10, "max_position_embeddings": 5, "type_vocab_size": 2,
        "dim": 4, "n_layers": 2, "n_heads": 2, "hidden_dim": 6,
        "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 6,
    });
    let config = Config::parse(config.to_string().as_bytes(), "a test").unwrap();
    ModelSpec::new(&config, head, 3)
}

fn written(spec: &ModelSpec) -> (Model, u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let size = write(&path, spec, &Counted, &[("labels", "[\"a\"]".to_owned())]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    (Model::decode(bytes.as_slice()).unwrap(), size, bytes.len() as u64)
}

#[test]
fn the_streamed_file_is_the_intended_message() {
    for model_type in ["distilbert", "bert"] {
        let (model, size, length) = written(&spec(model_type, Head::Mlp(Pooling::First)));
        assert_eq!(size, length);
        // Encoded at once by prost, the message has the same length.
        assert_eq!(model.encoded_len() as u64, length);
        assert_eq!((model.ir_version, model.opset_import[0].version), (Some(8), Some(17)));
        assert_eq!(model.metadata[0].value.as_deref(), Some("[\"a\"]"));
        let graph = model.graph.unwrap();
        let weight = |name: &str| {
            let found = graph.initializer.iter().find(|t| t.name.as_deref() == Some(name)).unwrap();
            let raw = found.raw_data.as_ref().unwrap();
            let values = raw.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            (found.dims.clone(), values.collect::<Vec<_>>())
        };
        // [3, 4] in the checkpoint: 0..4, 4..8, 8..12.
        let transposed = [0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0];
        assert_eq!(weight("classifier.weight.transposed"), (vec![4, 3], transposed.to_vec()));
        assert_eq!(weight("classifier.bias"), (vec![3], vec![0.0, 1.0, 2.0]));
        if model_type == "bert" {
            let row = weight("bert.embeddings.token_type_embeddings.weight.row_0");
            assert_eq!(row, (vec![4], vec![0.0, 1.0, 2.0, 3.0]));
        }
    }
}

#[test]
fn every_value_is_defined_once_and_before_its_use() {
    for (model_type, head) in [
        ("distilbert", Head::Mlp(Pooling::First)),
        ("bert", Head::Mlp(Pooling::Mean)),
        ("bert", Head::Linear(Pooling::Mean)),
        ("bert", Head::Linear(Pooling::First)),
    ] {
        let (model, ..) = written(&spec(model_type, head));
        let graph = model.graph.unwrap();
        let mut known: HashSet<&str> = HashSet::new();
        for name in graph.input.iter().map(|input| &input.name) {
            assert!(known.insert(name.as_deref().unwrap()));
        }
        for name in graph.initializer.iter().map(|tensor| &tensor.name) {
            assert!(known.insert(name.as_deref().unwrap()), "{name:?} twice");
        }
        let mut nodes = HashSet::new();
        for node in &graph.node {
            assert!(node.input.iter().all(|input| known.contains(input.as_str())), "{node:?}");
            assert!(nodes.insert(&node.name), "{:?} twice", node.name);
            assert!(node.output.iter().all(|output| known.insert(output)), "{node:?}");
        }
        assert!(known.contains("logits"));
        let used: HashSet<&str> =
            graph.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
        for tensor in &graph.initializer {
            assert!(used.contains(tensor.name.as_deref().unwrap()), "{:?} is unused", tensor.name);
        }
        for input in &graph.input {
            let kind = input.kind.as_ref().unwrap().tensor.as_ref().unwrap();
            let dims = &kind.shape.as_ref().unwrap().dim;
            assert!(dims.iter().all(|dim| matches!(dim.extent, Some(Extent::Free(_)))));
        }
    }
}

#[test]
fn a_file_above_protobufs_limit_is_refused_before_it_is_created() {
    let mut large = spec("bert", Head::Mlp(Pooling::First));
    large.words_kept = 150_000_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let error = write(&path, &large, &Counted, &[]).unwrap_err();
    assert!(matches!(error, ExportError::TooLarge { bytes } if bytes > 2_400_000_000), "{error}");
    assert!(error.hint().unwrap().contains("--format hf"), "{error}");
    assert!(!path.exists());
}

#[test]
fn verification_names_the_part_that_differs() {
    let spec = spec("bert", Head::Mlp(Pooling::Mean));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let metadata = [("labels", "[\"a\"]".to_owned())];
    write(&path, &spec, &Counted, &metadata).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let model = Model::decode(whole.as_slice()).unwrap();
    let weights = layout::build_graph(&spec).1.len();
    assert_eq!(verify(&path, &spec, &Counted, &metadata).unwrap(), weights);

    let differs = |bytes: &[u8], part: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = verify(&path, &spec, &Counted, &metadata).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, ExportError::OnnxDiffers { .. }), "{message}");
        assert!(message.contains(part) && message.contains("model.onnx"), "{message}");
    };
    let changed = |change: fn(&mut Model), part: &str| {
        let mut model = model.clone();
        change(&mut model);
        differs(&model.encode_to_vec(), part);
    };
    changed(|model| model.metadata[0].value = Some("[\"b\"]".to_owned()), "the header");
    changed(|model| model.graph.as_mut().unwrap().node[0].input.swap(0, 1), "the graph");
    let weight = "the weight classifier.bias";
    changed(|model| drop(model.graph.as_mut().unwrap().initializer.pop()), weight);
    let surplus = |model: &mut Model| {
        let tensors = &mut model.graph.as_mut().unwrap().initializer;
        tensors.push(tensors[0].clone());
    };
    changed(surplus, "the surplus weight");
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() ^= 1;
    differs(&bytes, weight);
    differs(&whole[..whole.len() - 1], "the format");
}
