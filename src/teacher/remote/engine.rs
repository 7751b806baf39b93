//! What an engine is asked, and how it answers: the three dialects.
//!
//! | engine | ln p of named tokens | a reply |
//! |---|---|---|
//! | llama-server | `/completion`, see [`llama_server`] | the same, with a GBNF grammar |
//! | vLLM | `/v1/completions` with `logprob_token_ids` | the same, with `structured_outputs` |
//! | SGLang | `/generate` with `token_ids_logprob` | the same, with `regex` |
//!
//! Prompts go as token numbers: chat template and tokenizer are those of the teacher's files.

use serde_json::json;

use super::{
    body::{Written, number, unreadable},
    connection::{Client, Failure},
    llama_server, sglang, vllm,
};
use crate::teacher::{GenerateRequest, Generated, chat::strip_thinking};

/// A kind of engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    LlamaServer,
    Vllm,
    Sglang,
}

impl Dialect {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LlamaServer => "llama-server",
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
        }
    }
}

/// An engine at an address.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub dialect: Dialect,
    /// What it calls its model.
    pub model: String,
    /// Tokens of a prompt and its reply.
    pub context: usize,
    /// Requests that it works on at once, if it says so.
    pub slots: Option<usize>,
    /// Tokens of its vocabulary, if it says so.
    pub vocabulary: Option<usize>,
    /// What else it says about its model, such as the number of weights.
    details: String,
}

impl Engine {
    /// The engine that answers at the other end of `client`. All three list their models and say
    /// what they are.
    pub(super) fn find(client: &Client) -> Result<Self, Failure> {
        let models = client.get("/v1/models").map_err(|failure| match failure {
            Failure::Rejected { reason } => unknown(&reason),
            other => other,
        })?;
        let model = &models["data"][0];
        let dialect = match model["owned_by"].as_str() {
            Some("llamacpp") => Dialect::LlamaServer,
            Some("vllm") => Dialect::Vllm,
            Some("sglang") => Dialect::Sglang,
            _ => return Err(unknown("/v1/models names another engine")),
        };
        let name = model["id"].as_str().unwrap_or_default();
        let engine = Self {
            dialect,
            model: name.to_owned(),
            context: number(&model["max_model_len"]).unwrap_or(0),
            slots: None,
            vocabulary: number(&model["meta"]["n_vocab"]),
            details: json!([model["meta"], model["root"]]).to_string(),
        };
        let engine = match dialect {
            Dialect::LlamaServer => {
                let (context, slots) = llama_server::size(client)?;
                Self { context: context.unwrap_or(engine.context), slots, ..engine }
            }
            Dialect::Vllm | Dialect::Sglang => engine,
        };
        if engine.context == 0 {
            return Err(unknown("it does not say how long a prompt may be"));
        }
        Ok(engine)
    }

    /// Whether it says the same about its model as `other`.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let said = |it: &Self| (it.dialect, it.model.clone(), it.details.clone());
        said(self) == said(other)
    }

    /// ln p of each token of `wanted` after `tokens`; if not `absolute`, up to a term that is the
    /// same for all of them.
    pub(super) fn log_probs(
        &self,
        client: &Client,
        tokens: &[i32],
        wanted: &[i32],
        absolute: bool,
    ) -> Result<Vec<f64>, Failure> {
        match self.dialect {
            Dialect::LlamaServer if absolute => {
                llama_server::absolute(client, tokens, wanted, self.vocabulary)
            }
            Dialect::LlamaServer => {
                let answer = client
                    .post(llama_server::PATH, &llama_server::relative_request(tokens, wanted))?;
                llama_server::read_relative(&answer, wanted).ok_or_else(unreadable)
            }
            Dialect::Vllm => {
                let mut log_probs = Vec::new();
                for wanted in wanted.chunks(vllm::MAX_TOKENS) {
                    let request = vllm::scores_request(&self.model, tokens, wanted);
                    let answer = client.post(vllm::PATH, &request)?;
                    log_probs.extend(vllm::read_scores(&answer, wanted)?);
                }
                Ok(log_probs)
            }
            Dialect::Sglang => {
                let request = sglang::scores_request(tokens, wanted);
                let answer = client.post(sglang::PATH, &request)?;
                sglang::read_scores(&answer, wanted).ok_or_else(unreadable)
            }
        }
    }

    /// The tokens of `text`, without any for its beginning; `None` if the engine does not tell.
    pub(super) fn tokenize(
        &self,
        client: &Client,
        text: &str,
    ) -> Result<Option<Vec<i32>>, Failure> {
        let body = match self.dialect {
            Dialect::LlamaServer => json!({"content": text, "add_special": false}),
            Dialect::Vllm => {
                json!({"model": self.model, "prompt": text, "add_special_tokens": false})
            }
            Dialect::Sglang => return Ok(None),
        };
        match client.post("/tokenize", &body) {
            Ok(answer) => Ok(serde_json::from_value(answer["tokens"].clone()).ok()),
            Err(Failure::Rejected { .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// A reply to `request`, whose prompt and cue are `tokens`.
    pub(super) fn generate(
        &self,
        client: &Client,
        tokens: &[i32],
        request: &GenerateRequest,
    ) -> Result<Generated, Failure> {
        let (path, body) = match self.dialect {
            Dialect::LlamaServer => {
                (llama_server::PATH, llama_server::reply_request(tokens, request))
            }
            Dialect::Vllm => (vllm::PATH, vllm::reply_request(&self.model, tokens, request)),
            Dialect::Sglang => (sglang::PATH, sglang::reply_request(tokens, request)),
        };
        let answer = client.post(path, &body)?;
        let written = match self.dialect {
            Dialect::LlamaServer => llama_server::read_reply(&answer),
            Dialect::Vllm => vllm::read_reply(&answer),
            Dialect::Sglang => sglang::read_reply(&answer),
        };
        let written = written.ok_or_else(unreadable)?;
        Ok(reply(written, tokens.len(), request))
    }
}

/// The reply in `written`, cut after the lines that were asked for.
fn reply(written: Written, prompt_tokens: usize, request: &GenerateRequest) -> Generated {
    let text = format!("{}{}", request.cue, written.text);
    let (mut lines, mut end) = (0, None);
    for (at, _) in text.match_indices('\n') {
        let start = end.map_or(0, |end| end + 1);
        lines += usize::from(!text[start..at].trim().is_empty());
        end = Some(at);
        if lines == request.lines {
            break;
        }
    }
    let whole = lines >= request.lines;
    let kept = if whole { &text[..=end.unwrap_or(0)] } else { text.as_str() };
    Generated {
        text: strip_thinking(kept).to_owned(),
        complete: whole || written.ended,
        prompt_tokens,
        generated_tokens: written.tokens,
    }
}

fn unknown(reason: &str) -> Failure {
    Failure::Fatal {
        message: format!("no llama-server, vLLM or SGLang answers there ({reason})"),
        hint: "name the address of such an engine, without a path".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::body::tests::request, *};

    #[test]
    fn a_reply_ends_with_the_lines_that_were_asked_for() {
        let of = |text: &str, ended, lines| {
            let written = Written { text: text.to_owned(), ended, tokens: 9 };
            let reply = reply(written, 7, &request(lines));
            (reply.text, reply.complete)
        };
        assert_eq!(of(" a\n2. b\n3. c", false, 2), ("1. a\n2. b\n".into(), true));
        assert_eq!(of(" a\n\n2. b\n", false, 2), ("1. a\n\n2. b\n".into(), true));
        assert_eq!(of(" a\n2. b", true, 2), ("1. a\n2. b".into(), true));
        assert_eq!(of(" a\n2. b", false, 2), ("1. a\n2. b".into(), false));
        assert_eq!(of("", false, 1), ("1.".into(), false));
    }
}
