//! The file that is written, looked at as bytes and as a graph.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::{
    graph::{Builder, Form},
    proto::{Extent, Model},
    tensor::{Tensor, Value},
    *,
};
use crate::student::{
    Pooling, Result, config::Config, export::ExportError, model_spec::ModelSpec, network::Source,
};

/// Weights that count: every tensor is 0, 1, 2, ...
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

fn spec(model_type: &str, pooling: Pooling) -> ModelSpec {
    let config = serde_json::json!({
        "model_type": model_type, "vocab_size": 10, "max_position_embeddings": 5, "type_vocab_size": 2,
        "dim": 4, "n_layers": 2, "n_heads": 2, "hidden_dim": 6,
        "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 6,
    });
    let config = Config::parse(config.to_string().as_bytes(), "a test").unwrap();
    ModelSpec::new(&config, pooling, 3)
}

fn written(spec: &ModelSpec) -> (Model, u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let said = write(&path, spec, &Counted, &[("labels", "[\"a\"]".to_owned())]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    (Model::decode(bytes.as_slice()).unwrap(), said, bytes.len() as u64)
}

#[test]
fn the_streamed_file_is_the_message_it_should_be() {
    for model_type in ["distilbert", "bert"] {
        let (model, said, length) = written(&spec(model_type, Pooling::First));
        assert_eq!(said, length);
        // Written in one piece by prost, the message is as long.
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
        let turned = [0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0];
        assert_eq!(weight("classifier.weight.transposed"), (vec![4, 3], turned.to_vec()));
        assert_eq!(weight("classifier.bias"), (vec![3], vec![0.0, 1.0, 2.0]));
        if model_type == "bert" {
            let row = weight("bert.embeddings.token_type_embeddings.weight.row_0");
            assert_eq!(row, (vec![4], vec![0.0, 1.0, 2.0, 3.0]));
        }
    }
}

#[test]
fn every_value_is_made_once_and_before_it_is_used() {
    for (model_type, pooling) in [("distilbert", Pooling::First), ("bert", Pooling::Mean)] {
        let (model, ..) = written(&spec(model_type, pooling));
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
            assert!(used.contains(tensor.name.as_deref().unwrap()), "{:?} is idle", tensor.name);
        }
        for input in &graph.input {
            let kind = input.kind.as_ref().unwrap().tensor.as_ref().unwrap();
            let dims = &kind.shape.as_ref().unwrap().dim;
            assert!(dims.iter().all(|dim| matches!(dim.extent, Some(Extent::Free(_)))));
        }
    }
}

#[test]
fn a_file_beyond_protobufs_bound_is_refused_before_it_is_begun() {
    let mut large = spec("bert", Pooling::First);
    large.words_kept = 150_000_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let error = write(&path, &large, &Counted, &[]).unwrap_err();
    assert!(matches!(error, ExportError::TooLarge { bytes } if bytes > 2_400_000_000), "{error}");
    assert!(error.to_string().contains("hint: export --format hf"), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_small_graph_is_computed_by_hand() {
    // y = softmax(x·W), with W [2, 2] from the checkpoint's transpose of it.
    let mut builder = Builder::default();
    let weight = builder.weight("w", &[2, 2], Form::Transposed);
    let scale = builder.float("ln_3", 3f32.ln());
    let product = builder.plain("MatMul", "y", &["x", &weight]);
    let product = builder.plain("Mul", "y", &[&product, &scale]);
    let y = builder.node("Softmax", "y", &[&product], vec![graph::int("axis", -1)]);
    let input = graph::value("x", proto::FLOAT, vec![Extent::Free("n".into()), Extent::Fixed(2)]);
    let output = graph::value(&y, proto::FLOAT, vec![Extent::Free("n".into()), Extent::Fixed(2)]);
    let (mut graph, weights) = builder.finish("by hand", vec![input], output);
    assert_eq!(weights[0].dims(), [2, 2]);
    graph.initializer.push(proto::TensorData {
        dims: vec![2, 2],
        data_type: Some(proto::FLOAT),
        name: Some(weight),
        raw_data: Some([1.0f32, 0.0, 0.0, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect()),
    });
    let model = Model { graph: Some(graph), ..Model::default() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("by_hand.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let interpreter = Interpreter::read(&path).unwrap();
    let x = || Value::Float(Tensor::new(&[2, 2], vec![1.0, 0.0, 0.0, 1.0]));
    let Value::Float(y) = interpreter.run(HashMap::from([("x", x())]), &y).unwrap() else {
        panic!("not of whole numbers")
    };
    // 3¹ : 3⁰ and 3⁰ : 3².
    for (value, wanted) in y.data.iter().zip([0.75, 0.25, 0.1, 0.9]) {
        assert!((value - wanted).abs() < 1e-6, "{y:?}");
    }
    let error = interpreter.run(HashMap::new(), "y").unwrap_err().to_string();
    assert!(error.contains("y/MatMul") && error.contains("by_hand.onnx"), "{error}");
    std::fs::write(&path, b"\x3a\xff\xff").unwrap();
    let error = Interpreter::read(&path).err().unwrap().to_string();
    assert!(error.contains("by_hand.onnx"), "{error}");
}
