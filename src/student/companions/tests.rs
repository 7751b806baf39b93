//! Companions that complete a `tokenizer.json` or contradict it.

use serde_json::json;

use super::{super::parity::fixture, *};
use crate::{hint::Hint, student::tokens};

fn fixture_json() -> Value {
    let bytes = std::fs::read(fixture("bert").join("tokenizer.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn files(companions: &[(&str, Value)]) -> BTreeMap<String, Vec<u8>> {
    let bytes = |value: &Value| value.to_string().into_bytes();
    companions.iter().map(|(name, value)| ((*name).to_owned(), bytes(value))).collect()
}

/// The outcome for a `tokenizer.json` with these companions.
fn agree(tokenizer: &Value, companions: &[(&str, Value)], words: Option<&str>) -> Read<Tokenizer> {
    let companions = Companions::read(&files(companions))?;
    let mut tokenizer = tokens::read(tokenizer.to_string().as_bytes(), "x").unwrap();
    companions.agree(&mut tokenizer, words.map(str::as_bytes))?;
    Ok(tokenizer)
}

fn refused(tokenizer: &Value, companions: &[(&str, Value)], words: Option<&str>) -> String {
    let fault = agree(tokenizer, companions, words).expect_err("a contradiction");
    assert!(fault.hint().is_some(), "{fault}");
    fault.to_string()
}

fn words() -> Vec<String> {
    let tokenizer = tokens::read(fixture_json().to_string().as_bytes(), "x").unwrap();
    let mut words = tokenizer.get_vocab(false).into_iter().collect::<Vec<_>>();
    words.sort_by_key(|(_, id)| *id);
    words.into_iter().map(|(word, _)| word).collect()
}

#[test]
fn a_normaliser_that_the_config_contradicts_is_refused() {
    let json = fixture_json();
    for (key, value) in
        [("do_lower_case", false), ("tokenize_chinese_chars", false), ("strip_accents", false)]
    {
        let error = refused(&json, &[(CONFIG, json!({key: value}))], None);
        assert!(error.contains(&format!("says {key} = {value}")), "{error}");
        agree(&json, &[(CONFIG, json!({key: true}))], None).unwrap();
    }
    agree(&json, &[(CONFIG, json!({"strip_accents": null}))], None).unwrap();
}

#[test]
fn a_vocabulary_that_differs_from_vocab_txt_is_refused() {
    let (json, words) = (fixture_json(), words());
    let text = |words: &[String]| words.join("\n") + "\n";
    agree(&json, &[], Some(&text(&words))).unwrap();
    let mut swapped = words.clone();
    swapped.swap(20, 30);
    let error = refused(&json, &[], Some(&text(&swapped)));
    assert!(error.contains("with the id 20, tokenizer.json gives it 30"), "{error}");
    let mut more = words.clone();
    more.push("unheard".to_owned());
    let error = refused(&json, &[], Some(&text(&more)));
    assert!(
        error.contains("\"unheard\" with the id 73, tokenizer.json has no such token"),
        "{error}"
    );
    let error = refused(&json, &[], Some(&text(&words[..72])));
    assert!(error.contains("with the id 72, which vocab.txt lacks"), "{error}");
}

#[test]
fn added_tokens_must_be_in_the_tokenizer() {
    let json = fixture_json();
    agree(&json, &[(ADDED, json!({"[MASK]": 4}))], None).unwrap();
    let error = refused(&json, &[(ADDED, json!({"[NAME]": 73}))], None);
    assert!(
        error.contains("it has no token with the id 73") && error.contains("[NAME]"),
        "{error}"
    );
    let decoder = json!({"added_tokens_decoder": {"4": {"content": "[NAME]", "special": true}}});
    let error = refused(&json, &[(CONFIG, decoder)], None);
    assert!(error.contains("\"[MASK]\" with the id 4"), "{error}");
    for odd in [json!({"[NAME]": "x"}), json!({"[NAME]": -1})] {
        assert!(refused(&json, &[(ADDED, odd)], None).contains("no id"));
    }
}

#[test]
fn a_text_is_framed_by_exactly_two_tokens() {
    let mut json = fixture_json();
    let framed = |tokenizer: &Tokenizer| tokenizer.encode("card", true).unwrap().get_ids().to_vec();
    let whole = framed(&agree(&json, &[], None).unwrap());
    assert_eq!((whole.first(), whole.last()), (Some(&2), Some(&3)));
    let error = refused(&json, &[(SPECIAL, json!({"cls_token": "[MASK]"}))], None);
    assert!(error.contains(&format!("{SPECIAL} has the cls_token \"[MASK]\"")), "{error}");
    // As transformers 5 does, which has no rule in the file either.
    json["post_processor"] = Value::Null;
    assert_eq!(framed(&agree(&json, &[], None).unwrap()), whole);
    let piece = json!({"SpecialToken": {"id": "[SEP]", "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let many = vec![3; 1000];
    json["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [text, piece],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"[SEP]": {"id": "[SEP]", "ids": many, "tokens": vec!["[SEP]"; 1000]}},
    });
    let error = refused(&json, &[], None);
    assert!(error.contains("it adds 1000 tokens to a text"), "{error}");
}

/// As `transformers` 5.24 reads the same files with its `BertTokenizer`.
#[test]
fn of_two_files_that_name_a_special_token_the_one_that_counts_must_agree() {
    let json = fixture_json();
    for (role, own) in [("cls_token", "[CLS]"), ("sep_token", "[SEP]"), ("unk_token", "[UNK]")] {
        let (right, wrong) = (json!({role: own}), json!({role: {"content": "[MASK]"}}));
        let names = |error: String, file: &str| {
            let parts = [file, role, own, "\"[MASK]\""];
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        };
        names(refused(&json, &[(CONFIG, right.clone()), (SPECIAL, wrong.clone())], None), SPECIAL);
        names(refused(&json, &[(CONFIG, wrong.clone())], None), CONFIG);
        agree(&json, &[(CONFIG, wrong.clone()), (SPECIAL, right.clone())], None).unwrap();
        // A configuration that lists its tokens is the only one that is read.
        let listed = |mut config: Value| {
            config[LISTED] = json!({"4": {"content": "[MASK]", "special": true}});
            config
        };
        agree(&json, &[(CONFIG, listed(right.clone())), (SPECIAL, wrong.clone())], None).unwrap();
        names(refused(&json, &[(CONFIG, listed(wrong)), (SPECIAL, right)], None), CONFIG);
    }
}

#[test]
fn the_side_that_is_cut_is_read_and_odd_values_are_refused() {
    let side =
        |value: Value| Companions::read(&files(&[(CONFIG, json!({"truncation_side": value}))]));
    assert_eq!(side("left".into()).unwrap().side, Some(TruncationDirection::Left));
    assert_eq!(side(Value::Null).unwrap().side, None);
    assert!(side("middle".into()).unwrap_err().to_string().contains("truncation_side is"));
    let files = [(SPECIAL.to_owned(), b"<html>".to_vec())].into();
    assert!(Companions::read(&files).unwrap_err().to_string().contains(SPECIAL));
}
