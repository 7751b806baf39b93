//! What sentence-transformers writes beside an encoder: how it pools, and what it puts before each
//! text.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Pooling, Result, StudentError,
    error::Fault,
    folder::{self, MAX_CONFIG_BYTES},
};
use crate::{
    models::{KnownPooling, POOLING_FILE, SentenceEmbedding},
    printable::excerpt,
};

const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling/config.json";
const PROMPTS: &str = "config_sentence_transformers.json";
/// The longest prompt, in bytes. Real ones are a sentence; each text is read with it.
const MAX_PROMPT: usize = 1000;

/// How an encoder embeds a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SentenceSettings {
    pub pooling: Pooling,
    /// What stands before each text, such as `query: `; empty for nothing.
    pub prompt: String,
}

impl SentenceSettings {
    /// Reads the files in `folder`; `None` if there are none. Without a file that says it, an
    /// encoder pools by mean and has no prompt.
    ///
    /// # Errors
    /// A file that cannot be read, a pooling that is not supported, a default prompt that is
    /// missing.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let (file, pooling) = match object(folder, POOLING)? {
            None => (POOLING_FILE, object(folder, POOLING_FILE)?),
            pooling => (POOLING, pooling),
        };
        let prompts = object(folder, PROMPTS)?;
        if pooling.is_none() && prompts.is_none() && !folder.join(MODULES).is_file() {
            return Ok(None);
        }
        let fault = |file: &'static str| {
            move |fault| StudentError::Sentence { path: folder.join(file), fault }
        };
        let prompt = prompts.as_ref().map_or(Ok(String::new()), default_prompt);
        let prompt = prompt.map_err(fault(PROMPTS))?;
        let pooling = pooling.map_or(Ok(Pooling::Mean), |keys| read_pooling(&keys, &prompt));
        Ok(Some(Self { pooling: pooling.map_err(fault(file))?, prompt }))
    }
}

impl From<SentenceEmbedding> for SentenceSettings {
    fn from(known: SentenceEmbedding) -> Self {
        let pooling = match known.pooling {
            KnownPooling::First => Pooling::First,
            KnownPooling::Mean => Pooling::Mean,
        };
        Self { pooling, prompt: known.prompt }
    }
}

/// The content of a JSON file in `folder`; `None` if there is no such file.
fn object(folder: &Path, name: &str) -> Result<Option<Map<String, Value>>> {
    let path = folder.join(name);
    let Some(bytes) = folder::read_optional(&path, MAX_CONFIG_BYTES)? else { return Ok(None) };
    let json = serde_json::from_slice(&bytes).map(Some);
    json.map_err(|error| StudentError::Sentence {
        path,
        fault: Fault::with_hint(
            excerpt(&error.to_string()),
            "take the file from where the model came from, or delete it",
        ),
    })
}

/// The one mode that is switched on in `1_Pooling/config.json`.
fn read_pooling(keys: &Map<String, Value>, prompt: &str) -> std::result::Result<Pooling, Fault> {
    const HINT: &str = "take an encoder with pooling_mode_mean_tokens or pooling_mode_cls_token";
    let modes = keys
        .iter()
        .filter(|(key, on)| key.starts_with("pooling_mode_") && on.as_bool() == Some(true));
    let modes: Vec<&str> = modes.map(|(key, _)| key.as_str()).collect();
    let pooling = match modes[..] {
        ["pooling_mode_mean_tokens"] => Pooling::Mean,
        ["pooling_mode_cls_token"] => Pooling::First,
        [] => return Err(Fault::with_hint("it switches no pooling mode on", HINT)),
        [mode] => {
            return Err(Fault::with_hint(format!("{} is not supported", excerpt(mode)), HINT));
        }
        [..] => {
            let modes = excerpt(&modes.join(", "));
            return Err(Fault::with_hint(format!("it combines {modes}"), HINT));
        }
    };
    if !prompt.is_empty() && keys.get("include_prompt") == Some(&Value::Bool(false)) {
        return Err(Fault::with_hint(
            "include_prompt is false: pooling without the tokens of the prompt is not supported",
            format!("take another encoder, or set default_prompt_name in {PROMPTS} to null"),
        ));
    }
    Ok(pooling)
}

/// The prompt that `config_sentence_transformers.json` names as the default.
fn default_prompt(keys: &Map<String, Value>) -> std::result::Result<String, Fault> {
    let name = match keys.get("default_prompt_name") {
        None | Some(Value::Null) => return Ok(String::new()),
        Some(Value::String(name)) => name,
        Some(other) => {
            let other = excerpt(&other.to_string());
            let message = format!("default_prompt_name is {other}");
            return Err(Fault::with_hint(message, "it is the name of one of the prompts, or null"));
        }
    };
    match keys.get("prompts").and_then(|prompts| prompts.get(name)).and_then(Value::as_str) {
        Some(prompt) if prompt.len() <= MAX_PROMPT => Ok(prompt.to_owned()),
        Some(prompt) => Err(Fault::with_hint(
            format!("the prompt \"{}\" has {} bytes", excerpt(name), prompt.len()),
            format!("at most {MAX_PROMPT} are read before each text; shorten it"),
        )),
        None => Err(Fault::with_hint(
            format!("default_prompt_name is \"{}\", which prompts does not have", excerpt(name)),
            "add the prompt, or set default_prompt_name to null",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::one_line;

    /// What is read of a folder with these two files; an empty one is not written.
    fn read(pooling: &str, prompts: &str) -> Result<Option<SentenceSettings>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
        for (name, content) in [(POOLING, pooling), (PROMPTS, prompts)] {
            if !content.is_empty() {
                std::fs::write(folder.path().join(name), content).unwrap();
            }
        }
        SentenceSettings::read(folder.path())
    }

    #[test]
    fn pooling_and_the_default_prompt_are_read() {
        const MEAN: &str = r#"{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#;
        const CLS: &str = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
        const QUERY: &str =
            r#"{"prompts": {"query": "query: ", "none": ""}, "default_prompt_name": "query"}"#;
        let found =
            |pooling, prompt: &str| Some(SentenceSettings { pooling, prompt: prompt.to_owned() });
        assert_eq!(read("", "").unwrap(), None);
        assert_eq!(read(MEAN, "").unwrap(), found(Pooling::Mean, ""));
        assert_eq!(read(CLS, QUERY).unwrap(), found(Pooling::First, "query: "));
        let none = r#"{"prompts": {"query": "query: "}, "default_prompt_name": null}"#;
        assert_eq!(read("", none).unwrap(), found(Pooling::Mean, ""));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_its_name() {
        let refused = |pooling: &str, prompts: &str, message: &str| {
            let error = one_line(&read(pooling, prompts).unwrap_err());
            assert!(error.contains(message), "{error}");
        };
        refused(
            r#"{"pooling_mode_lasttoken": true}"#,
            "",
            "1_Pooling/config.json: pooling_mode_lasttoken is not supported",
        );
        refused(
            r#"{"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": true}"#,
            "",
            "it combines pooling_mode_max_tokens, pooling_mode_mean_tokens",
        );
        refused(r#"{"pooling_mode_mean_tokens": false}"#, "", "no pooling mode");
        refused("[]", "", "1_Pooling/config.json");
        // As the library keeps it.
        let flat = tempfile::tempdir().unwrap();
        let cls = r#"{"pooling_mode_cls_token": true}"#;
        std::fs::write(flat.path().join(POOLING_FILE), cls).unwrap();
        let found = SentenceSettings::read(flat.path()).unwrap().unwrap();
        assert_eq!(found.pooling, Pooling::First);
        let query = r#"{"prompts": {"query": "q "}, "default_prompt_name": "query"}"#;
        let excluded = r#"{"pooling_mode_mean_tokens": true, "include_prompt": false}"#;
        refused(excluded, query, "include_prompt is false");
        let missing = r#"{"prompts": {}, "default_prompt_name": "query"}"#;
        refused("", missing, "default_prompt_name is \"query\", which prompts does not have");
        refused("", r#"{"default_prompt_name": 3}"#, "default_prompt_name is 3");
    }
}
