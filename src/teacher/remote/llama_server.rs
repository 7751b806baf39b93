//! llama.cpp's `llama-server`.
//!
//! Its API has no question for the probabilities of named tokens, only one for the most probable
//! ones. So a request adds the same number to the logits of the tokens in question
//! (`logit_bias`), which makes them the most probable ones and leaves the differences between them
//! as they are, and asks for the probabilities after that (`post_sampling_probs`). That gives
//! exactly what [`crate::teacher::LabelScoring::Branch`] needs, in one request for each branching.
//! For probabilities among all tokens it asks for a list of the most probable ones, and for a
//! longer one if a token is missing.

use serde_json::{Value, json};

use super::{
    body::{Written, list, merged, number, sampling, unreadable},
    connection::{Client, Failure},
};
use crate::teacher::GenerateRequest;

pub(super) const PATH: &str = "/completion";

/// Added to the logits of the tokens in question: more than logits ever differ, and little enough
/// that a 32-bit number still has five digits after the point.
const BIAS: f32 = 128.0;
/// How many of the most probable tokens are asked for first, and by how much the number grows.
const FIRST: usize = 256;
const GROWTH: usize = 16;
/// The logarithm of what is too small for the engine's numbers.
const TINY: f64 = -103.0;

/// What `/props` says: tokens of a prompt and its reply, and requests that are worked on at once.
pub(super) fn size(client: &Client) -> Result<(Option<usize>, Option<usize>), Failure> {
    let props = client.get("/props")?;
    let context = number(&props["default_generation_settings"]["n_ctx"]);
    Ok((context, number(&props["total_slots"])))
}

pub(super) fn relative_request(tokens: &[i32], wanted: &[i32]) -> Value {
    let bias: Vec<Value> = wanted.iter().map(|token| json!([token, BIAS])).collect();
    json!({
        "prompt": tokens,
        "n_predict": 1,
        "cache_prompt": true,
        "logit_bias": bias,
        "samplers": ["top_k"],
        "top_k": wanted.len(),
        "n_probs": wanted.len(),
        "post_sampling_probs": true,
    })
}

/// `None` if another token is among the most probable ones: the bias was not applied.
pub(super) fn read_relative(answer: &Value, wanted: &[i32]) -> Option<Vec<f64>> {
    let found = answer["completion_probabilities"][0]["top_probs"].as_array()?;
    let mut log_probs = vec![TINY; wanted.len()];
    for token in found {
        let id = token["id"].as_i64()?;
        let at = wanted.iter().position(|wanted| i64::from(*wanted) == id)?;
        log_probs[at] = token["prob"].as_f64().filter(|it| *it > 0.0)?.ln();
    }
    (!found.is_empty()).then_some(log_probs)
}

/// ln p among all tokens.
pub(super) fn absolute(
    client: &Client,
    tokens: &[i32],
    wanted: &[i32],
    vocabulary: Option<usize>,
) -> Result<Vec<f64>, Failure> {
    let all = vocabulary.unwrap_or(1 << 18);
    let mut asked = FIRST.max(2 * wanted.len()).min(all);
    loop {
        let answer = client.post(PATH, &json!({
            "prompt": tokens, "n_predict": 1, "cache_prompt": true, "samplers": [], "n_probs": asked,
        }))?;
        let found = read_absolute(&answer, wanted).ok_or_else(unreadable)?;
        match found.into_iter().collect() {
            Some(log_probs) => return Ok(log_probs),
            None if asked < all => asked = (asked * GROWTH).min(all),
            None => return Err(unreadable()),
        }
    }
}

/// ln p of each of `wanted` that is in the list.
fn read_absolute(answer: &Value, wanted: &[i32]) -> Option<Vec<Option<f64>>> {
    let found = answer["completion_probabilities"][0]["top_logprobs"].as_array()?;
    let log_prob = |wanted: &i32| {
        let token = found.iter().find(|it| it["id"].as_i64() == Some(i64::from(*wanted)));
        token.and_then(|it| it["logprob"].as_f64())
    };
    Some(wanted.iter().map(log_prob).collect())
}

pub(super) fn reply_request(tokens: &[i32], request: &GenerateRequest) -> Value {
    let it = &request.sampling;
    let mut body = merged(
        sampling(request),
        json!({
            "prompt": tokens,
            "n_predict": request.max_tokens,
            "cache_prompt": true,
            // The order of the teacher in this process.
            "samplers": ["penalties", "top_k", "top_p", "min_p", "temperature"],
            "top_k": it.top_k,
            "repeat_penalty": it.repeat_penalty,
            "repeat_last_n": it.penalty_window,
            "seed": request.seed as u32,
        }),
    );
    if let Some(lines) = list(request) {
        let lines: Vec<String> = lines.iter().map(|number| format!("\"{number}\" line")).collect();
        let grammar = format!(
            "root ::= {}\nline ::= \" \"? [^ \\t\\r\\n] [^\\r\\n]* \"\\n\"\n",
            lines.join(" ").replace("\"\" ", "")
        );
        body = merged(body, json!({ "grammar": grammar }));
    }
    body
}

pub(super) fn read_reply(answer: &Value) -> Option<Written> {
    Some(Written {
        text: answer["content"].as_str()?.to_owned(),
        ended: matches!(answer["stop_type"].as_str()?, "eos" | "word"),
        tokens: answer["tokens_predicted"].as_u64()? as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::body::tests::request, *};

    #[test]
    fn scores_are_found_by_their_token() {
        let answer =
            |key: &str, tokens: Value| json!({"completion_probabilities": [{key: tokens}]});
        let relative = json!([{"id": 7, "prob": 0.75}, {"id": 3, "prob": 0.25}]);
        let found = read_relative(&answer("top_probs", relative.clone()), &[3, 7]).unwrap();
        assert_eq!(found, [0.25f64.ln(), 0.75f64.ln()]);
        // What is too small for a number is left out by the engine.
        let found = read_relative(&answer("top_probs", relative.clone()), &[3, 9, 7]).unwrap();
        assert_eq!(found[1], TINY);
        // Without the bias another token is on top.
        assert_eq!(read_relative(&answer("top_probs", relative), &[3]), None);
        assert_eq!(read_relative(&json!({"content": "x"}), &[3]), None);

        let absolute = answer("top_logprobs", json!([{"id": 7, "logprob": -0.5}]));
        assert_eq!(read_absolute(&absolute, &[7, 8]).unwrap(), [Some(-0.5), None]);
    }

    #[test]
    fn a_list_is_a_grammar() {
        let body = reply_request(&[1, 2], &request(2));
        assert_eq!(
            body["grammar"],
            "root ::= line \"2.\" line\nline ::= \" \"? [^ \\t\\r\\n] [^\\r\\n]* \"\\n\"\n"
        );
        let free = GenerateRequest { constrained: false, ..request(2) };
        assert_eq!(reply_request(&[1, 2], &free).get("grammar"), None);
    }

    #[test]
    fn a_reply_says_how_it_ended() {
        let answer = json!({"content": " a\n", "stop_type": "limit", "tokens_predicted": 50});
        let wanted = Written { text: " a\n".into(), ended: false, tokens: 50 };
        assert_eq!(read_reply(&answer), Some(wanted));
        assert_eq!(read_reply(&json!({"content": " a\n"})), None);
    }
}
