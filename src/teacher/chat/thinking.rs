//! Keeps a model's reasoning out of its replies.
//!
//! A reply is parsed from its first line and labels are scored from the first token, so nothing may
//! come before the answer. Three measures, in this order: the template is told not to think
//! ([`switches`]); a thinking block that the prompt still leaves open is closed ([`closing`]);
//! thinking that a model writes anyway is cut out of its reply ([`strip_thinking`]).

use minijinja::{Value, context};

/// How a family marks its thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tags {
    pub open: &'static str,
    pub close: &'static str,
    /// What follows [`Tags::close`] in the family's own empty block.
    after: &'static str,
}

const fn tags(open: &'static str, close: &'static str, after: &'static str) -> Tags {
    Tags { open, close, after }
}

/// All known pairs. No opening tag is a suffix of another one.
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

/// Whether a token that writes `bytes` opens or closes thinking.
pub(crate) fn is_tag(bytes: &[u8]) -> bool {
    TAGS.iter().any(|tags| [tags.open.as_bytes(), tags.close.as_bytes()].contains(&bytes))
}

const HARMONY_ANALYSIS: &str = "<|channel|>analysis<|message|>";
const HARMONY_FINAL: &str = "<|channel|>final<|message|>";

/// The variables with which templates switch off thinking. `source` is the template: of the efforts
/// that it names, the lowest one is chosen.
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

/// What must follow `prompt` so that the reply begins outside any thinking; empty for most.
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
        // The empty block that models were trained on has each tag on its own line, or both on one
        // line if no line end follows the opening tag.
        Some(tags) => {
            let line = if prompt.len() > end.len() && !tags.after.is_empty() { "\n" } else { "" };
            format!("{line}{}{}", tags.close, tags.after)
        }
        None => String::new(),
    }
}

/// The answer in a reply: the text after the last closing tag, up to an opening tag that is never
/// closed. A reply that ran out of tokens while the model was thinking is empty.
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
    fn an_open_block_is_closed_in_the_familys_format() {
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
    fn a_prompt_without_an_open_block_is_unchanged() {
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
    fn no_opening_tag_is_a_suffix_of_another() {
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
    fn the_lowest_effort_that_a_template_names_is_chosen() {
        let effort = |source: &str| {
            switches(source).get_attr("reasoning_effort").unwrap().as_str().unwrap().to_owned()
        };
        assert_eq!(effort("{{ reasoning_effort }}"), "low");
        assert_eq!(effort("{% if reasoning_effort in ['high', 'low', 'no_think'] %}"), "no_think");
        assert_eq!(effort("{% if reasoning_effort == \"none\" %}"), "none");
    }
}
