//! Guarantees of students over sentence encoders: pooling and prompt are the same wherever a text
//! is read.

use super::*;
use crate::student::{engine, model_spec::ModelSpec, packed_batch::PackedBatch};

/// The fixture as a sentence encoder, with these files of sentence-transformers.
fn sentence_encoder(files: &[(&str, &str)]) -> BaseModel {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(fixture("bert")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    BaseModel::load(folder.path(), &Device::Cpu).unwrap()
}

#[test]
fn a_sentence_encoder_pools_as_its_files_say_and_its_students_too() {
    let cls = ("1_Pooling/config.json", r#"{"pooling_mode_cls_token": true}"#);
    let (first, mean) = (sentence_encoder(&[cls]), sentence_encoder(&[("modules.json", "[]")]));
    assert_ne!(first.identity(), mean.identity());
    // The first row of each text's hidden states.
    let ids = first.tokenise(&texts(), 50).unwrap();
    let spec = ModelSpec::encoder(first.config());
    let source = first.inner.checkpoint.clone();
    let network = engine::network(spec, source, &Device::Cpu, Precision::F32).unwrap();
    for (ids, embedding) in ids.iter().zip(embeddings(&first, 50)) {
        let hidden = network.hidden(&PackedBatch::new(&[ids])).unwrap();
        let mut wanted = hidden[..embedding.len()].to_vec();
        crate::embed::normalise(&mut wanted);
        let off = wanted.iter().zip(&embedding).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-6, "{off}");
    }
    assert_ne!(embeddings(&first, 50), embeddings(&mean, 50));
    let student = train(&first, &examples(), &settings());
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("student");
    student.save(&folder).unwrap();
    let again = Classifier::load(&folder, &Device::Cpu).unwrap();
    assert_eq!(again.logits(&texts()).unwrap(), student.logits(&texts()).unwrap());
    let saved = Config::parse(&std::fs::read(folder.join("config.json")).unwrap(), "x").unwrap();
    assert_eq!(saved.head, Head::Linear(Pooling::First));
    // The folder may be the base of another training.
    assert_eq!(BaseModel::load(&folder, &Device::Cpu).unwrap().pooling(), Pooling::First);
}

#[test]
fn the_default_prompt_stands_before_every_text_in_training_and_prediction() {
    let prompts = r#"{"prompts": {"query": "my bank "}, "default_prompt_name": "query"}"#;
    let prompted = sentence_encoder(&[("config_sentence_transformers.json", prompts)]);
    let plain = sentence_encoder(&[("modules.json", "[]")]);
    assert_ne!(prompted.identity(), plain.identity());
    let with = |text: &String| format!("my bank {text}");
    let written: Vec<String> = texts().iter().map(with).collect();
    let ids = plain.tokenise(&written, 50).unwrap();
    assert_eq!(prompted.tokenise(&texts(), 50).unwrap(), ids);
    assert_eq!(
        prompted.token_counts(&texts()).unwrap(),
        ids.iter().map(Vec::len).collect::<Vec<_>>()
    );
    let by_hand: Vec<Example> = examples()
        .into_iter()
        .map(|example| Example { text: with(&example.text), ..example })
        .collect();
    let wanted = train(&plain, &by_hand, &settings()).logits(&written).unwrap();
    let student = train(&prompted, &examples(), &settings());
    assert_eq!(student.logits(&texts()).unwrap(), wanted);
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("student");
    student.save(&folder).unwrap();
    let again = Classifier::load(&folder, &Device::Cpu).unwrap();
    assert_eq!(again.logits(&texts()).unwrap(), wanted);
    assert_ne!(again.logits(&written).unwrap(), wanted, "the prompt is read twice");
    // A second copy of the student keeps it, too.
    let copy = temp.path().join("copy");
    again.save(&copy).unwrap();
    assert_eq!(Classifier::load(&copy, &Device::Cpu).unwrap().logits(&texts()).unwrap(), wanted);
}
