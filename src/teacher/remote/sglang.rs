//! SGLang's own `/generate` (`token_ids_logprob` since sglang#6460). As in the sources of version
//! 0.5.23.

use serde_json::{Value, json};

use super::body::{Written, list_regex, merged, sampling};
use crate::teacher::GenerateRequest;

pub(super) const PATH: &str = "/generate";

pub(super) fn scores_request(tokens: &[i32], wanted: &[i32]) -> Value {
    json!({
        "input_ids": tokens,
        "sampling_params": {"max_new_tokens": 1, "temperature": 0.0},
        "return_logprob": true,
        // Nothing about the prompt, so that its cached prefix is used.
        "logprob_start_len": -1,
        "token_ids_logprob": wanted,
    })
}

/// The natural logarithms in the answer to [`scores_request`]: of each token a list of logarithm,
/// number and text.
pub(super) fn read_scores(answer: &Value, wanted: &[i32]) -> Option<Vec<f64>> {
    let found = answer["meta_info"]["output_token_ids_logprobs"][0].as_array()?;
    let log_prob = |token: &i32| {
        let entry = found.iter().find(|it| it[1].as_i64() == Some(i64::from(*token)))?;
        entry[0].as_f64()
    };
    wanted.iter().map(log_prob).collect()
}

pub(super) fn reply_request(tokens: &[i32], request: &GenerateRequest) -> Value {
    let it = &request.sampling;
    let mut parameters = merged(
        sampling(request),
        json!({
            "max_new_tokens": request.max_tokens,
            "top_k": if it.top_k == 0 { -1 } else { i64::try_from(it.top_k).unwrap_or(-1) },
            "repetition_penalty": it.repeat_penalty,
            "sampling_seed": request.seed as u32,
        }),
    );
    if let Some(regex) = list_regex(request) {
        parameters = merged(parameters, json!({ "regex": regex }));
    }
    json!({"input_ids": tokens, "sampling_params": parameters})
}

pub(super) fn read_reply(answer: &Value) -> Option<Written> {
    let meta = &answer["meta_info"];
    Some(Written {
        text: answer["text"].as_str()?.to_owned(),
        ended: meta["finish_reason"]["type"].as_str()? == "stop",
        tokens: meta["completion_tokens"].as_u64()? as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::body::tests::request, *};

    /// The shape that is documented.
    fn answer() -> Value {
        json!({
            "text": " a\n2. b\n",
            "meta_info": {
                "id": "1", "prompt_tokens": 4, "completion_tokens": 8, "cached_tokens": 3,
                "finish_reason": {"type": "length", "length": 8},
                "output_token_logprobs": [[-0.1, 9, null]],
                "output_token_ids_logprobs": [[[-4.5, 3, null], [-2.5, 7, null]]],
            },
        })
    }

    #[test]
    fn scores_are_found_by_their_token() {
        assert_eq!(read_scores(&answer(), &[7, 3]), Some(vec![-2.5, -4.5]));
        assert_eq!(read_scores(&answer(), &[8]), None);
    }

    #[test]
    fn a_reply_says_how_it_ended() {
        let wanted = Written { text: " a\n2. b\n".into(), ended: false, tokens: 8 };
        assert_eq!(read_reply(&answer()), Some(wanted));
        let body = reply_request(&[1], &request(2));
        assert!(body["sampling_params"]["regex"].as_str().unwrap().contains(r"2\."));
    }
}
