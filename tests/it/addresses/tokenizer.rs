//! A Hugging Face folder in place of a GGUF file: the same prompts and labels in tokens.

use std::{fs::File, path::Path};

use candle_core::quantized::gguf_file::{Content, Value};
use promptmix::testing::TokenEngine;
use serde_json::json;

use super::{
    engine::{Dialect, Engine, Fault, MODEL},
    labels, run, run_with, task,
};
use crate::support::TestDir;

/// `token_type` of a GGUF: one that is only written on purpose, and one that is text.
const CONTROL: u32 = 3;
const USER_DEFINED: u32 = 4;

/// Writes what the model's folder would hold, from its GGUF; as in some models, the marks of turns
/// are not listed as special. Returns one of them.
fn write_folder(dir: &TestDir) -> String {
    let metadata = Content::read(&mut File::open(MODEL).unwrap()).unwrap().metadata;
    let texts = |key: &str| -> Vec<String> {
        let values = metadata[key].to_vec().unwrap();
        values.iter().map(|value| value.to_string().unwrap().clone()).collect()
    };
    let kind = |value: &Value| match value {
        Value::I32(kind) => *kind as u32,
        other => other.to_u32().unwrap(),
    };
    let tokens = texts("tokenizer.ggml.tokens");
    let kinds: Vec<u32> =
        metadata["tokenizer.ggml.token_type"].to_vec().unwrap().iter().map(kind).collect();
    let added = tokens.iter().zip(&kinds).enumerate();
    let added = added.filter(|(_, (_, kind))| [CONTROL, USER_DEFINED].contains(*kind));
    let added: Vec<_> = added
        .map(|(id, (token, _))| {
            json!({"id": id, "content": token, "special": false, "normalized": false,
                   "single_word": false, "lstrip": false, "rstrip": false})
        })
        .collect();
    let vocabulary: serde_json::Map<_, _> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": texts("tokenizer.ggml.merges")},
    });
    dir.write("model/tokenizer.json", tokenizer.to_string());
    let template = metadata["tokenizer.chat_template"].to_string().unwrap();
    dir.write("model/chat_template.jinja", template);
    let engine = TokenEngine::load(Path::new(MODEL)).unwrap();
    let ends: Vec<i32> = (0..tokens.len() as i32).filter(|token| engine.is_end(*token)).collect();
    dir.write("model/generation_config.json", json!({"eos_token_id": ends}).to_string());
    let mut controls = tokens.iter().zip(&kinds).filter(|(_, kind)| **kind == CONTROL);
    controls.find(|(token, _)| token.starts_with("<|")).unwrap().0.clone()
}

#[test]
fn a_hugging_face_folder_does_for_an_engine_elsewhere() {
    let dir = TestDir::new();
    let mark = write_folder(&dir);
    let task = task(&dir);
    // No text can end its turn by itself.
    dir.write("task/all.csv", format!("text\nmy screen {mark} flickers\nthe mouse is slow\n"));
    let engine = Engine::start(Dialect::Vllm, |_| Fault::None);
    let address = ["--allow-address", &engine.url];
    dir.ok(&run(&task, "file", &address));
    dir.ok(&run_with("model", &task, "folder", &address));
    assert_eq!(labels(&dir, "file").len(), 2);
    assert_eq!(labels(&dir, "file"), labels(&dir, "folder"));

    let plan = dir.ok(&["plan", &task, "--teacher", "model", "--allow-address", &engine.url]);
    assert!(plan.contains("model (of unknown size)"), "{plan}");
    // On this machine it takes the weights.
    let errors = dir.fails(&run_with("model", &task, "here", &[]));
    assert!(errors.contains("model has no GGUF file"), "{errors}");
    // The engine's own tokens are compared with those of the folder.
    let tokenizer = std::fs::read(dir.path("model/tokenizer.json")).unwrap();
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&tokenizer).unwrap();
    tokenizer["model"]["merges"] = json!([]);
    dir.write("model/tokenizer.json", tokenizer.to_string());
    let errors = dir.fails(&run_with("model", &task, "other", &address));
    assert!(errors.contains("has another tokenizer than the teacher"), "{errors}");
    for (file, text, message) in [
        ("chat_template.jinja", None, "neither chat_template.jinja nor tokenizer_config.json"),
        ("generation_config.json", None, "no token that ends a turn"),
        ("tokenizer.json", Some("{}"), "tokenizer.json"),
    ] {
        write_folder(&dir);
        match text {
            Some(text) => drop(dir.write(&format!("model/{file}"), text)),
            None => std::fs::remove_file(dir.path(&format!("model/{file}"))).unwrap(),
        }
        let errors = dir.fails(&run_with("model", &task, file, &address));
        assert!(errors.contains(message), "{file}: {errors}");
    }
}
