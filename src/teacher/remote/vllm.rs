//! vLLM's OpenAI-compatible server, as in the sources of version 0.33 (`logprob_token_ids` is in
//! its completions since vllm#43463).

use serde_json::{Value, json};

use super::{
    body::{Written, list_regex, merged, sampling, unreadable},
    connection::Failure,
};
use crate::teacher::GenerateRequest;

pub(super) const PATH: &str = "/v1/completions";
/// Tokens that a request may name (`MAX_LOGPROB_TOKEN_IDS`).
pub(super) const MAX_TOKENS: usize = 128;

pub(super) fn scores_request(model: &str, tokens: &[i32], wanted: &[i32]) -> Value {
    json!({
        "model": model,
        "prompt": tokens,
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": 1,
        "logprob_token_ids": wanted,
        // Tokens are named by number, since several may have the same text.
        "return_tokens_as_token_ids": true,
    })
}

/// The natural logarithms in the answer to [`scores_request`].
///
/// # Errors
/// An older server, which ignores the list and gives the most probable tokens.
pub(super) fn read_scores(answer: &Value, wanted: &[i32]) -> Result<Vec<f64>, Failure> {
    let found = answer["choices"][0]["logprobs"]["top_logprobs"][0].as_object();
    let found = found.ok_or_else(unreadable)?;
    let log_prob = |token: &i32| found.get(&format!("token_id:{token}"))?.as_f64();
    let log_probs: Option<Vec<f64>> = wanted.iter().map(log_prob).collect();
    log_probs.ok_or_else(|| Failure::Fatal {
        message: "this vLLM does not give the probabilities of named tokens".to_owned(),
        hint: "it takes a version with `logprob_token_ids` in /v1/completions (vllm#43463); labels are never guessed from the most probable tokens".to_owned(),
    })
}

pub(super) fn reply_request(model: &str, tokens: &[i32], request: &GenerateRequest) -> Value {
    let it = &request.sampling;
    let body = json!({
        "model": model,
        "prompt": tokens,
        "max_tokens": request.max_tokens,
        // 0 would be an error; all tokens are -1.
        "top_k": if it.top_k == 0 { -1 } else { i64::try_from(it.top_k).unwrap_or(-1) },
        "repetition_penalty": it.repeat_penalty,
        "seed": request.seed as u32,
    });
    let body = merged(sampling(request), body);
    match list_regex(request) {
        Some(regex) => merged(body, json!({"structured_outputs": {"regex": regex}})),
        None => body,
    }
}

pub(super) fn read_reply(answer: &Value) -> Option<Written> {
    let choice = &answer["choices"][0];
    Some(Written {
        text: choice["text"].as_str()?.to_owned(),
        ended: choice["finish_reason"].as_str()? == "stop",
        tokens: answer["usage"]["completion_tokens"].as_u64()? as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::body::tests::request, *};

    /// The shape that is documented.
    fn answer() -> Value {
        json!({
            "id": "cmpl-1", "object": "text_completion", "model": "m",
            "choices": [{
                "index": 0, "text": " a\n2. b\n", "finish_reason": "stop",
                "logprobs": {
                    "tokens": ["token_id:9"], "token_logprobs": [-0.1],
                    "top_logprobs": [{"token_id:9": -0.1, "token_id:3": -4.5, "token_id:7": -2.5}],
                },
            }],
            "usage": {"prompt_tokens": 4, "completion_tokens": 8, "total_tokens": 12},
        })
    }

    #[test]
    fn scores_are_found_by_their_token() {
        assert_eq!(read_scores(&answer(), &[3, 7]).unwrap(), [-4.5, -2.5]);
        let old = read_scores(&answer(), &[3, 8]);
        assert!(matches!(old, Err(Failure::Fatal { .. })), "{old:?}");
        let none = read_scores(&json!({"choices": []}), &[3]);
        assert!(matches!(none, Err(Failure::Broken { .. })), "{none:?}");
    }

    #[test]
    fn a_reply_says_how_it_ended() {
        let wanted = Written { text: " a\n2. b\n".into(), ended: true, tokens: 8 };
        assert_eq!(read_reply(&answer()), Some(wanted));
    }

    #[test]
    fn all_tokens_are_a_negative_number() {
        let body = reply_request("m", &[1], &request(2));
        assert_eq!((&body["top_k"], &body["seed"]), (&json!(-1), &json!(5)));
        assert!(body["structured_outputs"]["regex"].as_str().unwrap().contains(r"2\."));
    }
}
