//! Checkpoints that are valid, of another kind, damaged, or of another network.

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};

use super::{
    super::config::{Config, Head, Pooling},
    *,
};
use crate::{
    hint::Hint,
    student::model_spec::{ModelSpec, TensorSpec},
};

fn folder(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/student").join(family)
}

fn config(family: &str) -> Config {
    Config::parse(&std::fs::read(folder(family).join("config.json")).unwrap(), family).unwrap()
}

fn open(family: &str) -> Checkpoint {
    let path = folder(family).join("model.safetensors");
    Checkpoint::open(&path, config(family).architecture, family).unwrap()
}

fn raw(family: &str) -> BTreeMap<String, Tensor> {
    let path = folder(family).join("model.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap().into_iter().collect()
}

/// The fixture's file after `change`, checked against the fixture's config.
fn changed(
    family: &str,
    classes: usize,
    change: impl Fn(&mut BTreeMap<String, Tensor>),
) -> Result<Checkpoint> {
    let mut tensors = raw(family);
    change(&mut tensors);
    let bytes = safetensors::serialize(&tensors, None).unwrap();
    let config = config(family);
    let file = Checkpoint::owned(bytes, config.architecture, "m")?;
    file.check(&ModelSpec::new(&config, Head::Mlp(Pooling::First), classes))?;
    Ok(file)
}

fn message(result: Result<Checkpoint>) -> String {
    result.err().expect("an error").to_string()
}

fn zeros(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::zeros(shape, dtype, &Device::Cpu).unwrap()
}

#[test]
fn a_mapped_file_reads_as_candle_reads_it_whole_and_by_rows() {
    for family in ["distilbert", "bert"] {
        let file = open(family);
        let spec = ModelSpec::new(&config(family), Head::Mlp(Pooling::First), 3);
        file.check(&spec).unwrap();
        let exact = raw(family);
        for _ in 0..2 {
            for wanted in spec.tensors() {
                let mut values = vec![0.0; wanted.shape.iter().product()];
                file.read(&wanted.name, &mut values).unwrap();
                let tensor = exact[&wanted.name].flatten_all().unwrap();
                assert_eq!(values, tensor.to_vec1::<f32>().unwrap(), "{}", wanted.name);
            }
        }
        let mut rows = vec![0.0; 3 * 16];
        file.rows(&spec.words, &[7, 0, 7], &mut rows).unwrap();
        let table = exact[&spec.words].to_vec2::<f32>().unwrap();
        assert_eq!(rows, [&*table[7], &*table[0], &*table[7]].concat());
        let error = file.rows(&spec.words, &[73], &mut [0.0; 16]).unwrap_err();
        assert!(error.to_string().contains("has 73 rows, row 73 is asked for"), "{error}");
        assert!(error.hint().unwrap().contains("tokenizer.json and config.json"));
        assert!(file.read(&spec.words, &mut rows).is_err());
        assert!(file.rows(&spec.words, &[0], &mut rows).is_err());
        assert!(file.read("distilbert.nothing", &mut rows).is_err());
    }
}

#[test]
fn the_hash_is_that_of_the_file() {
    let bytes = std::fs::read(folder("bert").join("model.safetensors")).unwrap();
    assert_eq!(open("bert").sha256(), crate::hash::of_bytes(bytes));
}

#[test]
fn half_precision_is_the_rounded_number() {
    for dtype in [DType::F16, DType::BF16] {
        let file = changed("bert", 3, |tensors| {
            tensors.values_mut().for_each(|tensor| *tensor = tensor.to_dtype(dtype).unwrap());
        })
        .unwrap();
        for (name, exact) in raw("bert") {
            let rounded = exact.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap();
            let rounded = rounded.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let mut values = vec![0.0; rounded.len()];
            file.read(&name, &mut values).unwrap();
            assert_eq!(values, rounded, "{name}");
            if exact.rank() == 2 {
                let mut row = vec![0.0; exact.dim(1).unwrap()];
                file.rows(&name, &[1], &mut row).unwrap();
                assert_eq!(row, rounded[row.len()..2 * row.len()], "{name}");
            }
        }
    }
}

#[test]
fn surplus_tensors_are_named() {
    let layer = |tensors: &mut BTreeMap<String, Tensor>| {
        let above = tensors.iter().filter(|(name, _)| name.contains("layer.1."));
        let above = above.map(|(name, t)| (name.replace("layer.1.", "layer.2."), t.clone()));
        tensors.extend(above.collect::<Vec<_>>());
    };
    let error = message(changed("distilbert", 3, layer));
    let line = "config.json has 2 layers, but the file has layer 2 (distilbert.transformer.layer.2, 16 tensors)";
    assert!(error.contains(line), "{error}");

    let error = message(changed("distilbert", 0, |tensors| {
        let name = "distilbert.embeddings.token_type_embeddings.weight";
        tensors.insert(name.to_owned(), zeros(&[2, 16], DType::F32));
    }));
    assert!(error.contains("weight [2, 16]: DistilBERT has no token types"), "{error}");

    let error = message(changed("bert", 0, |tensors| {
        let name = "encoder.layer.0.attention.self.distance_embedding.weight";
        tensors.insert(name.to_owned(), zeros(&[9, 8], DType::F32));
    }));
    assert!(error.contains("distance_embedding.weight [9, 8]: the model in"), "{error}");
}

#[test]
fn heads_of_other_tasks_and_buffers_are_ignored() {
    changed("bert", 0, |tensors| {
        for name in ["cls.predictions.bias", "cls.predictions.transform.LayerNorm.gamma"] {
            tensors.insert(name.to_owned(), zeros(&[5], DType::F64));
        }
        tensors.insert("embeddings.position_ids".to_owned(), zeros(&[1, 16], DType::I64));
        tensors.insert("bert.pooler.extra".to_owned(), zeros(&[1], DType::F32));
    })
    .unwrap();
    changed("distilbert", 0, |tensors| {
        for name in ["vocab_transform.weight", "vocab_layer_norm.weight", "qa_outputs.bias"] {
            tensors.insert(name.to_owned(), zeros(&[5], DType::F32));
        }
        tensors.retain(|name, _| !name.starts_with("classifier") && !name.starts_with("pre_"));
    })
    .unwrap();
}

#[test]
fn half_a_head_a_wrong_number_of_classes_and_unsupported_types_are_named() {
    let error = message(changed("distilbert", 0, |tensors| {
        tensors.remove("pre_classifier.bias");
    }));
    assert!(error.contains("pre_classifier.bias [16] is missing"), "{error}");
    let error = message(changed("bert", 4, |_| ()));
    assert!(error.contains("classifier.weight is [3, 16], config.json wants [4, 16]"), "{error}");
    let error = message(changed("bert", 3, |tensors| {
        let bias = "bert.encoder.layer.1.output.dense.bias".to_owned();
        tensors.insert(bias, zeros(&[16], DType::F64));
    }));
    let line = "layer.1.output.dense.bias holds F64, only F32, F16 and BF16 are read";
    assert!(error.contains(line), "{error}");
}

#[test]
fn another_family_is_recognised_and_a_tensor_under_two_names_is_refused() {
    let config = config("distilbert");
    let path = folder("bert").join("model.safetensors");
    let file = Checkpoint::open(&path, config.architecture, "m").unwrap();
    let error =
        file.check(&ModelSpec::new(&config, Head::Mlp(Pooling::First), 0)).unwrap_err().to_string();
    assert!(error.contains("such as bert.embeddings.LayerNorm.bias"), "{error}");
    let error = message(changed("bert", 3, |tensors| {
        tensors.insert("embeddings.LayerNorm.gamma".to_owned(), zeros(&[16], DType::F32));
    }));
    assert!(error.contains("bert.embeddings.LayerNorm.weight is there twice"), "{error}");
}

#[test]
fn a_damaged_file_is_refused_before_it_is_used() {
    let whole = std::fs::read(folder("bert").join("model.safetensors")).unwrap();
    let owned = |bytes: &[u8]| Checkpoint::owned(bytes.to_vec(), Architecture::Bert, "m");
    owned(&whole).unwrap();
    for cut in [0, 4, 8, 100, whole.len() - 1] {
        let error = owned(&whole[..cut]).err().expect("the file is refused");
        assert!(error.hint().unwrap().contains("the file is damaged"), "{cut}: {error}");
    }
    let header = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    for (json, data) in [
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}"#, 4),
        (
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]}}"#,
            0,
        ),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,4]}}"#, 4),
        (r#"{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}"#, 4),
        (r#"[1,2]"#, 0),
    ] {
        assert!(owned(&header(json, data)).is_err(), "{json}");
    }
    assert!(owned(&u64::MAX.to_le_bytes()).is_err());
    assert_eq!(byte_range(Dtype::F32, &[2], (0, 8), 10, 18), Some(10..18));
    assert_eq!(byte_range(Dtype::F32, &[2], (0, 8), 10, 17), None);
    assert_eq!(byte_range(Dtype::F32, &[2], (8, 0), 10, 99), None);
    assert_eq!(byte_range(Dtype::F32, &[1], (usize::MAX - 3, usize::MAX), 10, 99), None);
    assert_eq!(byte_range(Dtype::F32, &[usize::MAX, 2], (0, 8), 0, 99), None);
}

#[test]
fn what_is_written_reads_back_and_opens_in_candle() {
    let file = open("distilbert");
    let wanted = ModelSpec::new(&config("distilbert"), Head::Mlp(Pooling::First), 3).tensors();
    let bytes = serialise(&file, &wanted).unwrap();
    let again = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
    assert_eq!(again.len(), wanted.len());
    for (name, exact) in raw("distilbert") {
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(again[&name].dims(), exact.dims());
        assert_eq!(flat(&again[&name]), flat(&exact), "{name}");
    }
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
}

/// Resident file-backed memory of this process, in kB.
#[cfg(target_os = "linux")]
fn file_pages() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn reading_leaves_no_pages_behind() {
    // One tensor of 48 MB, read once and hashed once.
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("model.safetensors");
    let tensor = [("a".to_owned(), zeros(&[3000, 4000], DType::F32))];
    safetensors::serialize_to_file(tensor, None, &path).unwrap();
    let before = file_pages();
    let file = Checkpoint::open(&path, Architecture::Bert, "m").unwrap();
    let mut values = vec![1.0; 12_000_000];
    file.read("a", &mut values).unwrap();
    file.sha256();
    assert!(values.iter().all(|&value| value == 0.0));
    let more = file_pages().saturating_sub(before);
    // Other tests in this process also map files.
    assert!(more < 24 << 10, "{more} kB");
}

#[test]
fn the_prefixes_of_wrappers_are_read() {
    for wrapper in ["module.", "model.", "_orig_mod.module.", "0.auto_model.", ""] {
        for family in ["bert", "distilbert"] {
            let file = changed(family, 3, |tensors| {
                let wrapped = std::mem::take(tensors).into_iter();
                *tensors = wrapped.map(|(name, it)| (format!("{wrapper}{name}"), it)).collect();
            })
            .unwrap();
            assert_eq!(file.classes(), Some(3), "{wrapper} {family}");
        }
    }
}

#[test]
fn more_layers_than_the_file_can_hold_are_refused_before_they_are_described() {
    for layers in [3, 1 << 20, 1 << 40, usize::MAX] {
        let error = open("bert").check_layers(layers).unwrap_err();
        assert!(error.hint().is_some());
        let line = format!("config.json has {layers} layers, but the file has 2");
        assert!(error.to_string().contains(&line), "{error}");
    }
    open("distilbert").check_layers(2).unwrap();
}

#[test]
fn a_number_that_is_not_finite_is_found_in_every_tensor_and_type() {
    for family in ["bert", "distilbert"] {
        let wanted = ModelSpec::new(&config(family), Head::Mlp(Pooling::First), 3).tensors();
        open(family).check_finite(&wanted).unwrap();
        for (at, TensorSpec { name, shape }) in wanted.iter().enumerate() {
            let value = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][at % 3];
            let dtype = [DType::F32, DType::F16, DType::BF16][at / 3 % 3];
            let file = changed(family, 3, |tensors| {
                let mut numbers = vec![0.5; shape.iter().product()];
                *numbers.last_mut().unwrap() = value;
                let tensor = Tensor::from_vec(numbers, shape.as_slice(), &Device::Cpu).unwrap();
                tensors.insert(name.clone(), tensor.to_dtype(dtype).unwrap());
            })
            .unwrap();
            let error = file.check_finite(&wanted).unwrap_err();
            assert!(error.hint().unwrap().contains("diverged"));
            assert!(error.to_string().contains(&format!("{name} holds a number")), "{error}");
        }
    }
}
