//! Keeps a reasoning model from thinking aloud.
//!
//! A teacher's reply is read from its first line and its labels are scored from the first token, so
//! nothing may come before the answer. Three means, in this order: the template is told not to think
//! ([`switches`]); a block that the prompt leaves open all the same is closed ([`closing`]); what a
//! model thinks nevertheless is cut out of its reply ([`strip_thinking`]).

use minijinja::{Value, context};

/// How a family marks its thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tags {
    pub open: &'static str,
    pub close: &'static str,
    /// What the family's own empty block has after [`Tags::close`].
    after: &'static str,
}

const fn tags(open: &'static str, close: &'static str, after: &'static str) -> Tags {
    Tags { open, close, after }
}

/// Every pair that is known. No opening tag is the end of another one.
pub(crate) const TAGS: [Tags; 12] = [
    // Qwen3, DeepSeek R1, SmolLM3, Phi-4 reasoning, GLM, Granite, Nemotron and most others.
    tags("<think>", "</think>", "\n\n"),
    // Cohere.
    tags("<|START_THINKING|>", "<|END_THINKING|>", ""),
    // Mistral.
    tags("[THINK]", "[/THINK]", ""),
    // Seed-OSS.
    tags("<seed:think>", "</seed:think>", ""),
    // MiniMax M3.
    tags("<mm:think>", "</mm:think>", ""),
    // Gemma 4.
    tags("<|channel>thought", "<channel|>", ""),
    // gpt-oss; its prompts end earlier, see `closing`.
    tags(HARMONY_ANALYSIS, HARMONY_FINAL, ""),
    // EXAONE Deep.
    tags("<thought>", "</thought>", "\n\n"),
    tags("<thinking>", "</thinking>", "\n\n"),
    // Kimi-VL.
    tags("◁think▷", "◁/think▷", ""),
    // Apertus.
    tags("<|inner_prefix|>", "<|inner_suffix|>", ""),
    // Apriel.
    tags("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", "\n"),
];

/// Whether a token that writes `piece` opens or closes thinking.
pub(crate) fn is_tag(piece: &[u8]) -> bool {
    TAGS.iter().any(|tags| [tags.open.as_bytes(), tags.close.as_bytes()].contains(&piece))
}

const HARMONY_ANALYSIS: &str = "<|channel|>analysis<|message|>";
const HARMONY_FINAL: &str = "<|channel|>final<|message|>";

/// Every variable that some template knows for switching its thinking off. `source` is the
/// template: where it names more than one effort the least one is chosen.
pub(super) fn switches(source: &str) -> Value {
    let named = |effort: &&str| {
        source.contains(&format!("'{effort}'")) || source.contains(&format!("\"{effort}\""))
    };
    let effort = ["none", "no_think", "minimal"].into_iter().find(named).unwrap_or("low");
    context! {
        enable_thinking => false,
        thinking => false,
        thinking_mode => "disabled",
        thinking_budget => 0,
        reasoning => false,
        reasoning_effort => effort,
    }
}

/// What has to follow `prompt` so that the reply begins outside of any thinking: empty for most.
pub(super) fn closing(prompt: &str) -> String {
    let end = prompt.trim_end();
    // Harmony leaves the choice of the channel to the model.
    if end.ends_with("<|start|>assistant") {
        return HARMONY_FINAL.to_owned();
    }
    // Solar does the same with the kind of its content.
    if end.ends_with("<|begin|>assistant") {
        return "<|content|>".to_owned();
    }
    if end.ends_with(HARMONY_ANALYSIS) {
        return format!("<|end|><|start|>assistant{HARMONY_FINAL}");
    }
    match TAGS.iter().find(|tags| end.ends_with(tags.open)) {
        // The empty block that models were trained on has its tags on lines of their own, or both
        // on one line where the opening one is not followed by a line end.
        Some(tags) => {
            let line = if prompt.len() > end.len() && !tags.after.is_empty() { "\n" } else { "" };
            format!("{line}{}{}", tags.close, tags.after)
        }
        None => String::new(),
    }
}

/// The part of a reply that is meant for the reader: what follows the last closing tag, up to an
/// opening tag that is never closed. A reply that ran out of tokens while it thought is empty.
pub(crate) fn strip_thinking(reply: &str) -> &str {
    let after =
        TAGS.iter().filter_map(|tags| reply.rfind(tags.close).map(|at| at + tags.close.len()));
    let start = after.max().unwrap_or(0);
    let answer = &reply[start..];
    let open = TAGS.iter().filter_map(|tags| answer.find(tags.open)).min();
    let answer = &answer[..open.unwrap_or(answer.len())];
    if start > 0 { answer.trim_start() } else { answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_block_is_closed_as_the_family_does_it() {
        assert_eq!(closing("<｜Assistant｜><think>\n"), "\n</think>\n\n");
        assert_eq!(closing("<|assistant|><think>"), "</think>\n\n");
        assert_eq!(closing("<|CHATBOT_TOKEN|><|START_THINKING|>"), "<|END_THINKING|>");
        assert_eq!(closing("[/INST][THINK]"), "[/THINK]");
        assert_eq!(closing("<seed:bos>assistant\n<seed:think>\n"), "</seed:think>");
        assert_eq!(closing("<|turn>model\n<|channel>thought\n"), "<channel|>");
        assert_eq!(closing("<|start|>assistant"), "<|channel|>final<|message|>");
        assert_eq!(
            closing("<|start|>assistant<|channel|>analysis<|message|>"),
            "<|end|><|start|>assistant<|channel|>final<|message|>"
        );
    }

    #[test]
    fn a_prompt_that_is_not_thinking_is_left_alone() {
        for prompt in [
            "",
            "<|im_start|>assistant\n",
            "<think>\n\n</think>\n\n",
            "<think> is a tag",
            "x</think>",
        ] {
            assert_eq!(closing(prompt), "", "{prompt:?}");
        }
    }

    #[test]
    fn no_opening_tag_hides_another() {
        for (i, a) in TAGS.iter().enumerate() {
            for b in &TAGS[i + 1..] {
                assert!(!a.open.ends_with(b.open) && !b.open.ends_with(a.open), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn thinking_is_cut_out_of_a_reply() {
        assert_eq!(strip_thinking("<think>\nhm\n</think>\n\nrefund\n"), "refund\n");
        assert_eq!(strip_thinking("hm, so it is\n</think>\n\nrefund"), "refund");
        assert_eq!(strip_thinking("<think>a</think>b<think>c</think> d"), "d");
        assert_eq!(strip_thinking("<think>\nhm, let me"), "");
        assert_eq!(strip_thinking(" \n<think>\nhm, let me").trim(), "");
        assert_eq!(strip_thinking("<think>a</think> b <think>c"), "b ");
        assert_eq!(
            strip_thinking(
                "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>refund"
            ),
            "refund"
        );
        assert_eq!(strip_thinking("[THINK]hm[/THINK]refund"), "refund");
        assert_eq!(strip_thinking("  1. a text\n  2. another"), "  1. a text\n  2. another");
        assert_eq!(strip_thinking(""), "");
    }

    #[test]
    fn the_least_effort_a_template_names_is_chosen() {
        let effort = |source: &str| {
            switches(source).get_attr("reasoning_effort").unwrap().as_str().unwrap().to_owned()
        };
        assert_eq!(effort("{{ reasoning_effort }}"), "low");
        assert_eq!(effort("{% if reasoning_effort in ['high', 'low', 'no_think'] %}"), "no_think");
        assert_eq!(effort("{% if reasoning_effort == \"none\" %}"), "none");
    }
}
