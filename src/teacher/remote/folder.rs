//! Tokenizer and chat template of a Hugging Face folder, as vLLM and SGLang load it: for an engine
//! elsewhere a GGUF file is not needed.
//!
//! | file | what is read |
//! |---|---|
//! | `tokenizer.json` | the tokenizer |
//! | `tokenizer_config.json` | texts of the begin and end tokens; the chat template of older models |
//! | `chat_template.jinja` | the chat template |
//! | `generation_config.json`, `config.json` | the tokens that end a turn |

use std::path::Path;

use llama_cpp_2::token::LlamaToken;
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::{
    caught::catch,
    model_file,
    printable::excerpt,
    teacher::{TeacherError, TeacherIdentity, chat::ChatTemplate, tokens::PromptTokenizer},
};

const TOKENIZER: &str = "tokenizer.json";
const TEMPLATE: &str = "chat_template.jinja";
/// Most bytes of a file. The tokenizers of models with 250,000 tokens have 35 MB.
const MOST: u64 = 256 << 20;
/// Texts that every tokenizer must be able to read.
const PROBES: [&str; 3] = ["Hello, world!", "\u{e000}\u{10ffff} \u{301}", "\u{7f}\t\n"];
const FETCH: &str = "copy tokenizer.json, tokenizer_config.json, generation_config.json, config.json \
                     and chat_template.jinja, as far as the model has them, from its own folder";

/// What is known of a model without its weights.
pub(super) struct TokenizerFolder {
    /// Recognises control tokens.
    tokenizer: Tokenizer,
    /// Reads control tokens that are spelled out as plain text.
    plain: Tokenizer,
    template: ChatTemplate,
    identity: TeacherIdentity,
    /// The begin-of-text token, where prompts begin with one.
    bos: Option<LlamaToken>,
    ends: Vec<i32>,
}

impl TokenizerFolder {
    /// Reads the folder `path`; `chat_template` replaces the one in it.
    ///
    /// # Errors
    /// A missing or damaged file; no chat template; no token that ends a turn.
    pub(super) fn load(path: &Path, chat_template: Option<String>) -> Result<Self, TeacherError> {
        let fault = |file: &str, message: String| TeacherError::Read {
            path: path.join(file),
            message,
            hint: Some(FETCH.to_owned()),
        };
        let text = |file: &str| {
            let read = crate::fs::read_regular(&path.join(file), MOST);
            read.map_err(|source| fault(file, source.to_string()))
        };
        let source = text(TOKENIZER)?;
        if let Some(it) = model_file::not_a_model(source.as_bytes()) {
            let (path, hint) = (path.join(TOKENIZER), Some(it.hint.to_owned()));
            return Err(TeacherError::Read { path, message: it.message, hint });
        }
        let tokenizer = catch(|| Tokenizer::from_bytes(&source))
            .ok_or_else(|| fault(TOKENIZER, "its parser fails".to_owned()))?;
        let mut tokenizer =
            tokenizer.map_err(|error| fault(TOKENIZER, excerpt(&error.to_string())))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| fault(TOKENIZER, error.to_string()))?;
        if let Some(probe) = PROBES.iter().find(|probe| encode(&tokenizer, probe).is_empty()) {
            return Err(fault(TOKENIZER, format!("it cannot read the text {probe:?}")));
        }
        let mut plain = tokenizer.clone();
        plain.set_encode_special_tokens(true);

        let json = |file: &str| match path.join(file).exists() {
            false => Ok(Value::Null),
            true => serde_json::from_str::<Value>(&text(file)?)
                .map_err(|error| fault(file, error.to_string())),
        };
        let config = json("tokenizer_config.json")?;
        let named = |key: &str| special(&config[key]);
        let own = match path.join(TEMPLATE).exists() {
            true => Some(text(TEMPLATE)?),
            false => template_in(&config),
        };
        let name = excerpt(&name_of(path));
        let invalid = |message: String| TeacherError::ChatTemplate { model: name.clone(), message };
        let template = chat_template.or(own).ok_or_else(|| {
            invalid(format!("neither {TEMPLATE} nor tokenizer_config.json has one"))
        })?;
        let added = tokenizer.get_added_tokens_decoder();
        let control = added.values().filter(|token| token.special || is_mark(&token.content));
        let control = control.map(|token| token.content.clone()).collect();
        let (bos, eos) = (named("bos_token"), named("eos_token"));
        let id = |text: &str| tokenizer.token_to_id(text).and_then(|id| i32::try_from(id).ok());
        let begin = id(&bos).filter(|id| begins(&tokenizer, &config, *id)).map(LlamaToken);
        let (generation, model) = (json("generation_config.json")?, json("config.json")?);
        let mut ends: Vec<i32> = [&generation, &model, &model["text_config"]]
            .iter()
            .flat_map(|config| numbers(&config["eos_token_id"]))
            .chain(id(&eos))
            .filter(|end| *end >= 0)
            .collect();
        ends.sort_unstable();
        ends.dedup();
        if ends.is_empty() {
            let message = "it names no token that ends a turn (eos_token)".to_owned();
            return Err(fault("tokenizer_config.json", message));
        }
        let template = ChatTemplate::new(template, bos, eos, control)
            .map_err(|error| invalid(format!("{error:#}")))?;
        let probe = template.probe().map_err(|error| invalid(format!("{error:#}")))?;
        let identity = TeacherIdentity {
            file: path.to_owned(),
            sha256: crate::hash::of_bytes(format!("{source}\n{begin:?} {ends:?}")),
            parameters: 0,
            template_sha256: crate::hash::of_bytes(probe),
            context: usize::MAX,
            name: name.clone(),
            remote: None,
        };
        Ok(Self { tokenizer, plain, template, identity, bos: begin, ends })
    }
}

impl PromptTokenizer for TokenizerFolder {
    fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    fn template(&self) -> &ChatTemplate {
        &self.template
    }

    fn longest(&self) -> usize {
        self.identity.context
    }

    fn prompt_tokens(&self, prompt: &str) -> Vec<LlamaToken> {
        let mut tokens = encode(&self.tokenizer, prompt);
        if self.bos.is_some() && !tokens.is_empty() && tokens.first() != self.bos.as_ref() {
            tokens.splice(..0, self.bos);
        }
        tokens
    }

    fn text_tokens(&self, text: &str) -> Vec<LlamaToken> {
        encode(&self.plain, text)
    }

    fn limit_context(&mut self, tokens: usize) {
        self.identity.context = tokens;
    }

    /// Models have more rows than their tokenizer has tokens.
    fn vocabulary(&self) -> Option<usize> {
        None
    }

    fn ends(&self) -> Vec<i32> {
        self.ends.clone()
    }
}

/// The tokens of `text` alone. A text that the tokenizer cannot read has none.
fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<LlamaToken> {
    let encoding = catch(|| tokenizer.encode_fast(text, false)).and_then(Result::ok);
    let ids = encoding.iter().flat_map(|encoding| encoding.get_ids());
    ids.map(|id| LlamaToken(i32::try_from(*id).unwrap_or(-1))).collect()
}

/// Whether this is the mark of a turn or the like, such as `<|User|>`: some models do not list
/// theirs as special.
fn is_mark(text: &str) -> bool {
    let begins = text.starts_with("<|") || text.starts_with("<\u{ff5c}");
    begins && (text.ends_with("|>") || text.ends_with("\u{ff5c}>"))
}

/// The name of the model in `folder`: that of the folder, or, in the Hugging Face cache, of the
/// model.
fn name_of(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
    };
    let cached = folder.parent().filter(|parent| parent.ends_with("snapshots"));
    match cached.map(|snapshots| name(snapshots.parent())) {
        Some(model) => model.trim_start_matches("models--").replace("--", "/"),
        None => name(Some(&folder)),
    }
}

/// Whether a text begins with the token `bos`, by what its configuration says or its tokenizer
/// does.
fn begins(tokenizer: &Tokenizer, config: &Value, bos: i32) -> bool {
    let added = || {
        let encoding = tokenizer.encode_fast("a", true).ok()?;
        Some(i64::from(*encoding.get_ids().first()?) == i64::from(bos))
    };
    config["add_bos_token"].as_bool().or_else(added).unwrap_or(false)
}

/// The text of a special token: alone, or as the content of a description.
fn special(token: &Value) -> String {
    let text = token.as_str().or_else(|| token["content"].as_str());
    text.unwrap_or_default().to_owned()
}

/// The chat template in a `tokenizer_config.json`; of several, the one for plain turns.
fn template_in(config: &Value) -> Option<String> {
    let template = &config["chat_template"];
    let of_name = |it: &&Value| it["name"] == "default";
    let named = || template.as_array()?.iter().find(of_name)?["template"].as_str();
    template.as_str().or_else(named).map(str::to_owned)
}

/// A number, or several.
fn numbers(value: &Value) -> Vec<i32> {
    let one = |value: &Value| i32::try_from(value.as_i64()?).ok();
    match value.as_array() {
        Some(values) => values.iter().filter_map(one).collect(),
        None => one(value).into_iter().collect(),
    }
}
