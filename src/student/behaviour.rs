//! Guarantees of the student as a whole: reproducible training, lossless saving, and errors that
//! name what is missing.

mod sentences;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::{Device, Tensor};

use super::{
    parity::fixture,
    train::{HeadChoice, LinearHead},
    *,
};
use crate::hint::Hint;

fn labels() -> Vec<String> {
    ["money", "travel"].map(str::to_owned).to_vec()
}

fn examples() -> Vec<Example> {
    let texts = [
        ("my card is lost", 0),
        ("where is my bank account money", 0),
        ("refund my late order", 0),
        ("train to the city", 1),
        ("how old is the plane ticket", 1),
        ("cheap ticket to water", 1),
    ];
    texts.map(|(text, label)| Example::new(text, label)).to_vec()
}

fn settings() -> TrainSettings {
    TrainSettings {
        batch_size: 2,
        learning_rate: 1e-2,
        epochs: 8,
        min_steps: 0,
        ..TrainSettings::default()
    }
}

fn seeded(
    base: &BaseModel,
    examples: &[Example],
    settings: &TrainSettings,
    seed: u64,
) -> Classifier {
    let labels = labels();
    let training = Training { seed, ..Training::new(base, &labels, examples, settings) };
    training.run(&mut |_| ControlFlow::Continue(())).unwrap().classifier
}

fn train(base: &BaseModel, examples: &[Example], settings: &TrainSettings) -> Classifier {
    seeded(base, examples, settings, 0)
}

fn load(family: &str) -> BaseModel {
    BaseModel::load(&fixture(family), &Device::Cpu).unwrap()
}

fn texts() -> Vec<String> {
    ["lost card", "the train is late, why does it do that", "", "zebra"].map(str::to_owned).to_vec()
}

#[test]
fn training_learns_its_examples_and_repeats_under_the_same_seed() {
    for family in ["distilbert", "bert"] {
        let base = load(family);
        let mut steps = Vec::new();
        let long = TrainSettings { epochs: 30, ..settings() };
        let record = &mut |step| {
            steps.push(step);
            ControlFlow::Continue(())
        };
        let (labels, examples) = (labels(), examples());
        let first = Training::new(&base, &labels, &examples, &long).run(record).unwrap();
        let first = first.classifier;
        let last = steps[89];
        assert_eq!((steps.len(), steps[0].steps, last.step, last.epoch), (90, 90, 90, 29));
        let loss = steps[81..].iter().map(|step| step.loss).sum::<f32>() / 9.0;
        assert!(loss < 0.3, "{family}: {loss}");
        let own = examples.iter().map(|example| example.text.clone()).collect::<Vec<_>>();
        for (at, shares) in first.predict(&own).unwrap().iter().enumerate() {
            assert!(shares[examples[at].label] > 0.5, "{family}: {own:?} {shares:?}");
        }
        let predict = |student: &Classifier| student.predict(&texts()).unwrap();
        assert_eq!(predict(&first), predict(&train(&base, &examples, &long)));
        assert_ne!(predict(&first), predict(&seeded(&base, &examples, &long, 1)));
    }
}

#[test]
fn a_sentence_encoder_gets_a_linear_head_and_other_encoders_an_mlp() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(fixture("bert")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let head = |base: &BaseModel| {
        let saved = folder.path().join("student");
        train(base, &examples(), &settings()).save(&saved).unwrap();
        let config = std::fs::read(saved.join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        config.get("promptmix_head").and_then(|head| head.as_str()).map(str::to_owned)
    };
    let plain = BaseModel::load(folder.path(), &Device::Cpu).unwrap();
    assert_eq!(head(&plain), None);
    std::fs::write(folder.path().join("modules.json"), "[]").unwrap();
    let encoder = BaseModel::load(folder.path(), &Device::Cpu).unwrap();
    assert_eq!(head(&encoder), Some("linear".to_owned()));
    assert_ne!(plain.identity(), encoder.identity());
}

#[test]
fn a_text_has_the_same_prediction_alone_and_in_a_batch() {
    let student = train(&load("bert"), &examples(), &settings());
    let together = student.predict(&texts()).unwrap();
    for (text, shares) in texts().into_iter().zip(together) {
        let alone = &student.predict(std::slice::from_ref(&text)).unwrap()[0];
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        for (a, b) in alone.iter().zip(&shares) {
            assert!((a - b).abs() < 1e-6, "{text:?}: {alone:?} {shares:?}");
        }
    }
    assert!(student.predict(&[]).unwrap().is_empty());
}

#[test]
fn a_saved_student_loads_with_the_same_predictions_and_config() {
    for (family, head, pooling, saved) in [
        ("distilbert", HeadChoice::Mlp, Pooling::Mean, [None, Some("mean")]),
        ("bert", HeadChoice::Mlp, Pooling::First, [None, None]),
        ("distilbert", HeadChoice::Linear, Pooling::First, [Some("linear"), Some("mean")]),
        ("bert", HeadChoice::Linear, Pooling::Mean, [Some("linear"), Some("mean")]),
    ] {
        let other = TrainSettings { head, pooling, ..settings() };
        let student = train(&load(family), &examples(), &other);
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("student");
        student.save(&folder).unwrap();
        let again = Classifier::load(&folder, &Device::Cpu).unwrap();
        assert_eq!(again.labels(), labels());
        assert_eq!(student.predict(&texts()).unwrap(), again.predict(&texts()).unwrap());
        let config = std::fs::read(folder.join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["id2label"]["1"], "travel");
        assert_eq!(config["label2id"], serde_json::json!({"money": 0, "travel": 1}));
        assert_eq!(config["vocab_size"], 73);
        let key = |key| config.get(key).and_then(|value| value.as_str());
        assert_eq!(["promptmix_head", "promptmix_pooling"].map(key), saved);
        // A trained student can be the base of the next, which has its own head.
        let base = BaseModel::load(&folder, &Device::Cpu).unwrap();
        train(&base, &examples(), &settings()).save(&folder).unwrap();
        let next = BaseModel::load(&folder, &Device::Cpu).unwrap();
        assert_eq!(next.config().head, Head::Mlp(Pooling::First));
    }
}

#[test]
fn reducing_the_word_table_changes_only_the_time() {
    let read = |file: &str| std::fs::read(fixture("bert").join(file)).unwrap();
    let config =
        String::from_utf8(read("config.json")).unwrap().replace("_prob\": 0.1", "_prob\": 0.0");
    let base = BaseModel::from_bytes(
        config.as_bytes(),
        &read("model.safetensors"),
        &read("tokenizer.json"),
        &Device::Cpu,
    )
    .unwrap();
    let settings =
        TrainSettings { batch_size: 9, weight_decay: 0.1, learning_rate: 1e-3, ..settings() };
    let cut = train(&base, &examples(), &settings);
    // Examples of weight 0 contain all other words, so that no row can be dropped.
    let mut all = examples();
    let vocabulary = base.inner.tokenizer.get_vocab(false);
    let mut words =
        vocabulary.keys().filter(|word| !word.starts_with("##")).cloned().collect::<Vec<_>>();
    words.sort();
    words.chunks(13).for_each(|words| {
        all.push(Example { weight: 0.0, ..Example::new(words.join(" "), 0) });
    });
    let whole = train(&base, &all, &TrainSettings { batch_size: all.len(), ..settings });
    let table = |student: &Classifier| {
        student.tensors()["bert.embeddings.word_embeddings.weight"].to_vec2::<f32>().unwrap()
    };
    let before = base.inner.tensors().unwrap()["bert.embeddings.word_embeddings.weight"]
        .to_vec2::<f32>()
        .unwrap();
    let (cut, whole) = (table(&cut), table(&whole));
    let mut moved = 0;
    for ((cut, whole), before) in
        cut.iter().flatten().zip(whole.iter().flatten()).zip(before.iter().flatten())
    {
        // The order of sums differs, and Adam amplifies tiny gradients: a tenth of a step is
        // allowed.
        assert!((cut - whole).abs() < 1e-4, "{cut} {whole}");
        moved += usize::from((cut - before).abs() > 1e-3);
    }
    assert!(moved > 200, "{moved}");
    // No example contains "dog": its row was only decayed.
    let dog = vocabulary["dog"] as usize;
    let share = cut[dog][0] / before[dog][0];
    assert!(share < 0.9998 && share > 0.999, "{share}");
}

#[test]
fn students_trained_side_by_side_are_those_trained_alone() {
    let base = load("distilbert");
    let predict =
        |seed: u64| seeded(&base, &examples(), &settings(), seed).predict(&texts()).unwrap();
    let seeds = [5, 6, 7];
    let together =
        run_parallel(Parallelism { workers: 2, threads: 1 }, &seeds, |&seed| predict(seed))
            .unwrap();
    assert_eq!(together, seeds.map(predict));
}

/// Writes students for `scripts/check_transformers.py`:
/// `PROMPTMIX_STUDENTS=/tmp/s cargo test --release for_transformers -- --ignored`, then
/// `python3 scripts/check_transformers.py /tmp/s/bert /tmp/s/bert.jsonl`.
#[test]
#[ignore = "writes to the folder PROMPTMIX_STUDENTS"]
fn students_for_transformers() {
    let out = std::path::PathBuf::from(std::env::var("PROMPTMIX_STUDENTS").unwrap());
    for family in ["distilbert", "bert"] {
        // From bytes, so that the tokenizer's companion files are generated.
        let read = |file: &str| std::fs::read(fixture(family).join(file)).unwrap();
        let [config, weights, tokenizer] =
            ["config.json", "model.safetensors", "tokenizer.json"].map(read);
        let base = BaseModel::from_bytes(&config, &weights, &tokenizer, &Device::Cpu).unwrap();
        let student = train(&base, &examples(), &settings());
        student.save(&out.join(family)).unwrap();
        let lines =
            student.predict(&texts()).unwrap().into_iter().zip(texts()).map(|(shares, text)| {
                let shares =
                    student.labels().iter().cloned().zip(shares).collect::<BTreeMap<_, _>>();
                serde_json::json!({ "text": text, "probabilities": shares }).to_string() + "\n"
            });
        std::fs::write(out.join(format!("{family}.jsonl")), lines.collect::<String>()).unwrap();
    }
}

#[test]
fn min_steps_adds_whole_epochs() {
    let settings = TrainSettings { epochs: 1, min_steps: 10, ..settings() };
    let mut seen = Vec::new();
    let mut record = |step| {
        seen.push(step);
        ControlFlow::Continue(())
    };
    Training::new(&load("bert"), &labels(), &examples(), &settings).run(&mut record).unwrap();
    assert_eq!((seen.len(), seen[0].epochs), (12, 4));
}

/// The BERT fixture's file with its tensors renamed or omitted.
fn rewritten(rename: impl Fn(&str) -> Option<String>, dtype: candle_core::DType) -> Vec<u8> {
    let file = fixture("bert").join("model.safetensors");
    let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    let tensors = tensors
        .into_iter()
        .filter_map(|(name, tensor)| Some((rename(&name)?, tensor.to_dtype(dtype).unwrap())))
        .collect::<BTreeMap<String, Tensor>>();
    safetensors::serialize(&tensors, None).unwrap()
}

fn from_weights(weights: &[u8]) -> Result<BaseModel> {
    let read = |file: &str| std::fs::read(fixture("bert").join(file)).unwrap();
    BaseModel::from_bytes(&read("config.json"), weights, &read("tokenizer.json"), &Device::Cpu)
}

#[test]
fn old_names_no_prefix_and_half_precision_are_read() {
    use candle_core::DType;
    let old = |name: &str| {
        let name = name.strip_prefix("bert.").unwrap_or(name);
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        Some(name.replace("LayerNorm.bias", "LayerNorm.beta"))
    };
    let exact = load("bert").inner.tensors().unwrap();
    for (dtype, tolerance) in [(DType::F32, 0.0), (DType::F16, 1e-3), (DType::BF16, 1e-2)] {
        let base = from_weights(&rewritten(old, dtype)).unwrap().inner.tensors().unwrap();
        assert_eq!(base.len(), exact.len());
        for (name, tensor) in &exact {
            let off = (tensor - &base[name]).unwrap().abs().unwrap();
            let off = off.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(off <= tolerance, "{name} {dtype:?} {off}");
        }
    }
}

#[test]
fn missing_and_misshapen_tensors_are_all_named() {
    let spoil = |name: &str| match name {
        "bert.encoder.layer.1.output.dense.bias" => None,
        "bert.encoder.layer.0.output.dense.bias" => {
            Some("bert.embeddings.LayerNorm.bias_".to_owned())
        }
        "bert.embeddings.token_type_embeddings.weight" => {
            Some("bert.encoder.layer.0.output.dense.bias".to_owned())
        }
        other => Some(other.to_owned()),
    };
    let error = from_weights(&rewritten(spoil, candle_core::DType::F32)).unwrap_err();
    assert!(error.hint().unwrap().contains("from the same model"));
    let error = error.to_string();
    for part in [
        "bert.encoder.layer.1.output.dense.bias [16] is missing",
        "bert.embeddings.token_type_embeddings.weight [2, 16] is missing",
        "bert.encoder.layer.0.output.dense.bias is [2, 16], config.json wants [16]",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let error = from_weights(b"not a model").unwrap_err();
    assert!(error.hint().unwrap().contains("the file is damaged"), "{error}");
}

#[test]
fn a_missing_folder_a_foreign_model_and_bad_settings_are_explained() {
    let error = BaseModel::load(std::path::Path::new("/no/where"), &Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("/no/where/config.json"), "{error}");
    let error = Config::parse(br#"{"model_type": "roberta"}"#, "x").unwrap_err();
    assert!(error.to_string().contains("\"roberta\""), "{error}");
    assert!(error.hint().unwrap().contains("\"distilbert\""));
    let mut bad = examples();
    bad[3].label = 7;
    let base = load("bert");
    let fault = |examples: &[Example], settings: &TrainSettings| {
        let labels = labels();
        let training = Training::new(&base, &labels, examples, settings);
        let error = training.run(&mut |_| ControlFlow::Continue(())).unwrap_err();
        (error.to_string(), error.hint().map(std::borrow::Cow::into_owned))
    };
    let (error, _) = fault(&bad, &settings());
    assert!(error.contains("example 4 has class number 7"), "{error}");
    bad[3] = Example { teacher: vec![0.5, 0.4], ..Example::new("x", 1) };
    let (error, hint) = fault(&bad, &settings());
    assert!(error.contains("example 4") && hint.unwrap().contains("add up to 1"), "{error}");
    let (error, _) = fault(&examples(), &TrainSettings { patience: 0, ..settings() });
    assert!(error.contains("student.patience is 0"), "{error}");
}

#[test]
fn a_temperature_is_saved_and_changes_the_confidence_but_not_the_class() {
    let student = train(&load("distilbert"), &examples(), &settings());
    let (before, logits) = (student.predict(&texts()).unwrap(), student.logits(&texts()).unwrap());
    let student = student.with_temperature(2.5).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("student");
    student.save(&folder).unwrap();
    let again = Classifier::load(&folder, &Device::Cpu).unwrap();
    assert_eq!((again.temperature(), again.logits(&texts()).unwrap()), (2.5, logits.clone()));
    for ((before, after), logits) in
        before.iter().zip(again.predict(&texts()).unwrap()).zip(&logits)
    {
        assert_eq!(before[0] > before[1], after[0] > after[1]);
        let odds = |shares: &[f32]| (shares[0] / shares[1]).ln();
        assert!((odds(before) - (logits[0] - logits[1])).abs() < 1e-4);
        assert!((odds(before) / 2.5 - odds(&after)).abs() < 1e-4, "{before:?} {after:?}");
    }
    // The temperature is the student's own: one trained from it starts without.
    let next = train(&BaseModel::load(&folder, &Device::Cpu).unwrap(), &examples(), &settings());
    next.save(&folder).unwrap();
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    assert!(!config.contains("promptmix_temperature"), "{config}");
    assert!(next.with_temperature(0.0).is_err());
    let bad = config.replacen('{', "{\"promptmix_temperature\": -1,", 1);
    let error = Config::parse(bad.as_bytes(), "x").unwrap_err();
    assert!(error.to_string().contains("promptmix_temperature is -1"), "{error}");
    assert!(error.hint().unwrap().contains("positive number"));
}

#[test]
fn a_folder_with_vocab_txt_alone_tokenises_as_its_tokenizer_json_did() {
    let temp = tempfile::tempdir().unwrap();
    let base = load("bert");
    let vocabulary = base.inner.tokenizer.get_vocab(true);
    let mut words = vocabulary.into_iter().collect::<Vec<_>>();
    words.sort_by_key(|(_, id)| *id);
    let words = words.into_iter().map(|(word, _)| word + "\n").collect::<String>();
    std::fs::write(temp.path().join("vocab.txt"), words).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture("bert").join(file), temp.path().join(file)).unwrap();
    }
    let old = BaseModel::load(temp.path(), &Device::Cpu).unwrap();
    let mut texts = texts();
    texts.push("My CARD [SEP] is l\u{f3}st, how\u{301} old's the plane??".to_owned());
    for max_length in [3, 6, 16] {
        let ids = |base: &BaseModel| base.tokenise(&texts, max_length).unwrap();
        assert_eq!(ids(&base), ids(&old));
        assert!(ids(&old).iter().all(|ids| ids.len() <= max_length && ids.ends_with(&[3])));
    }
    // A student trained from it is saved with a tokenizer.json.
    let student = train(&old, &examples(), &settings());
    let folder = temp.path().join("student");
    student.save(&folder).unwrap();
    let again = Classifier::load(&folder, &Device::Cpu).unwrap();
    assert_eq!(student.predict(&texts).unwrap(), again.predict(&texts).unwrap());
    assert!(folder.join("tokenizer.json").exists());
}

/// Embeddings as [`EncoderEmbedder`] computes them, with room for `max_length` tokens.
fn embeddings(base: &BaseModel, max_length: usize) -> Vec<Vec<f32>> {
    let mut means =
        SentenceEncoder::new(base, Precision::F32).unwrap().pooled(&texts(), max_length).unwrap();
    means.iter_mut().for_each(|vector| crate::embed::normalise(vector));
    means
}

#[test]
fn an_untrained_student_multiplies_its_head_with_the_encoders_embeddings() {
    for family in ["distilbert", "bert"] {
        let base = load(family);
        let width = base.config().hidden_size;
        let weight: Vec<f32> =
            (0..2 * width).map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let head = LinearHead { weight: weight.clone(), bias: vec![0.5, -1.5] };
        let linear = TrainSettings {
            head: HeadChoice::Linear,
            max_length: crate::auto::Auto::Exactly(5),
            ..settings()
        };
        let labels = labels();
        // No example is needed, and none is trained on.
        let training = Training::new(&base, &labels, &[], &linear);
        let training = Training { head: Some(head.clone()), ..training };
        let student = training.untrained().unwrap().classifier;
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("student");
        student.save(&folder).unwrap();
        let again = Classifier::load(&folder, &Device::Cpu).unwrap();
        assert_eq!((again.labels(), again.max_length()), (labels.as_slice(), 5));
        let logits = student.logits(&texts()).unwrap();
        assert_eq!(again.logits(&texts()).unwrap(), logits);
        for (logits, embedding) in logits.iter().zip(embeddings(&base, 5)) {
            for (class, row) in weight.chunks(width).enumerate() {
                let dot = row.iter().zip(&embedding).map(|(w, u)| w * u).sum::<f32>();
                let off = (dot + head.bias[class] - logits[class]).abs();
                assert!(off < 1e-5, "{family}: {off}");
            }
        }
        for (name, tensor) in student.tensors() {
            if let Some(before) = base.inner.tensors().unwrap().get(&name) {
                let flat =
                    |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(flat(&tensor), flat(before), "{name}");
            }
        }
    }
}

#[test]
fn a_training_begins_with_the_given_head() {
    let (base, labels, examples) = (load("bert"), labels(), examples());
    let linear =
        TrainSettings { head: HeadChoice::Linear, learning_rate: 1e-9, epochs: 1, ..settings() };
    let width = base.config().hidden_size;
    let head = |classes: usize| {
        Some(LinearHead { weight: vec![0.25; classes * width], bias: vec![1.0; classes] })
    };
    let training = Training::new(&base, &labels, &examples, &linear);
    let training = Training { head: head(2), ..training };
    let student = training.run(&mut |_| ControlFlow::Continue(())).unwrap().classifier;
    let tensors = student.tensors();
    assert!(!tensors.contains_key("bert.pooler.dense.weight"));
    let weight = tensors["classifier.weight"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(weight.iter().all(|weight| (weight - 0.25).abs() < 1e-6), "{weight:?}");
    let wrong = |head: Option<LinearHead>, settings: &TrainSettings| {
        let training = Training::new(&base, &labels, &examples, settings);
        let error = Training { head, ..training }.untrained().unwrap_err().to_string();
        assert!(error.contains("initial head"), "{error}");
    };
    wrong(head(3), &linear);
    wrong(head(2), &settings());
}

#[test]
fn a_head_that_config_json_cannot_mean_is_refused_by_its_key() {
    let config = std::fs::read_to_string(fixture("bert").join("config.json")).unwrap();
    for (keys, message, hint) in [
        (r#""promptmix_head": "wide""#, r#"promptmix_head is "wide""#, r#""mlp" or "linear""#),
        (r#""promptmix_head": 1"#, "promptmix_head is 1", r#""mlp" or "linear""#),
        (r#""promptmix_pooling": 1"#, "promptmix_pooling is 1", r#""first" or "mean""#),
        (r#""promptmix_prompt": 1"#, "promptmix_prompt is 1", "where the model came from"),
    ] {
        let bad = config.replacen('{', &format!("{{{keys},"), 1);
        let error = Config::parse(bad.as_bytes(), "x").unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error}");
    }
    let linear = config.replacen('{', "{\"promptmix_head\": \"linear\",", 1);
    assert_eq!(Config::parse(linear.as_bytes(), "x").unwrap().head, Head::Linear(Pooling::Mean));
    assert_eq!(Config::parse(config.as_bytes(), "x").unwrap().head, Head::Mlp(Pooling::First));
}
