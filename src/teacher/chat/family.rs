//! The families with known templates, and how to tell them apart.
//!
//! A template inside a model file is untrusted code: it decides every word around the prompt, and a
//! manipulated one can add words. So `prompts/chat/` has rewritten versions of the families'
//! templates, and `doctor` compares with them.

use super::ChatTemplate;

/// A family of chat templates, by its turn marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Llama3,
    Qwen25,
    Qwen3,
    Gemma,
    Mistral,
    SmolLm2,
    SmolLm3,
    Phi3,
    Phi4,
    DeepSeek,
    GptOss,
    ChatMl,
}

macro_rules! known {
    ($($name:literal),*) => {
        &[$(include_str!(concat!("../../../prompts/chat/", $name, ".j2"))),*]
    };
}

/// Which family a template's text belongs to.
pub(crate) fn family(source: &str) -> Option<Family> {
    let has = |mark: &str| source.contains(mark);
    let family = if has("<|channel|>") && has("<|message|>") {
        Family::GptOss
    } else if has("<｜User｜>") && has("<think>") {
        Family::DeepSeek
    } else if has("<|start_header_id|>") {
        Family::Llama3
    } else if has("<start_of_turn>") {
        Family::Gemma
    } else if has("<|im_sep|>") {
        Family::Phi4
    } else if has("<|assistant|>") && has("<|end|>") {
        Family::Phi3
    } else if has("[INST]") && !has("<<SYS>>") {
        Family::Mistral
    } else if !has("<|im_start|>") {
        return None;
    } else if has("Reasoning Mode: ") {
        Family::SmolLm3
    } else if has("named SmolLM") {
        Family::SmolLm2
    } else if has("<tool_call>") && has("enable_thinking") && !has("bos_token") {
        Family::Qwen3
    } else if has("created by Alibaba Cloud") {
        Family::Qwen25
    } else {
        Family::ChatMl
    };
    Some(family)
}

impl Family {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama3 => "Llama 3",
            Self::Qwen25 => "Qwen2.5",
            Self::Qwen3 => "Qwen3",
            Self::Gemma => "Gemma",
            Self::Mistral => "Mistral",
            Self::SmolLm2 => "SmolLM2",
            Self::SmolLm3 => "SmolLM3",
            Self::Phi3 => "Phi-3",
            Self::Phi4 => "Phi-4",
            Self::DeepSeek => "DeepSeek",
            Self::GptOss => "gpt-oss",
            Self::ChatMl => "ChatML",
        }
    }

    /// All known versions of the family's template.
    pub(super) fn templates(self) -> &'static [&'static str] {
        match self {
            Self::Llama3 => known!["llama3", "llama3-0"],
            Self::Qwen25 => known!["qwen2.5"],
            Self::Qwen3 => known!["qwen3"],
            Self::Gemma => known!["gemma"],
            Self::Mistral => known!["mistral-v1", "mistral-v3", "mistral-tekken"],
            Self::SmolLm2 => known!["smollm2"],
            Self::SmolLm3 => known!["smollm3"],
            Self::Phi3 => known!["phi3", "phi4-mini"],
            Self::Phi4 => known!["phi4"],
            Self::DeepSeek => known!["deepseek-r1"],
            Self::GptOss => known!["gpt-oss"],
            Self::ChatMl => &[super::CHATML],
        }
    }

    /// The texts that mark its turns: control tokens in most files, but not in all of them.
    pub(super) fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Llama3 => {
                &["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
            }
            Self::Qwen25 | Self::Qwen3 | Self::SmolLm2 | Self::SmolLm3 | Self::ChatMl => {
                &["<|im_start|>", "<|im_end|>"]
            }
            Self::Gemma => &["<start_of_turn>", "<end_of_turn>"],
            Self::Mistral => &["[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"],
            Self::Phi3 => &["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
            Self::Phi4 => &["<|im_start|>", "<|im_sep|>", "<|im_end|>"],
            Self::DeepSeek => &[
                "<｜begin▁of▁sentence｜>",
                "<｜end▁of▁sentence｜>",
                "<｜User｜>",
                "<｜Assistant｜>",
            ],
            Self::GptOss => {
                &["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"]
            }
        }
    }
}

/// Two different renderings of the same probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub family: Family,
    /// The probe, rendered by the most similar known template.
    pub known: String,
    /// The probe, rendered by the template in question, or the reason why it does not render.
    pub found: String,
}

impl Difference {
    /// Length of their common prefix in bytes.
    pub fn common(&self) -> usize {
        common(&self.known, &self.found)
    }

    /// Whether they differ only in white space, as versions of a family do.
    pub fn only_white_space(&self) -> bool {
        let dense = |text: &str| text.split_whitespace().collect::<String>();
        dense(&self.known) == dense(&self.found)
    }
}

fn common(a: &str, b: &str) -> usize {
    let same = a.char_indices().zip(b.chars()).take_while(|((_, x), y)| x == y);
    same.last().map_or(0, |((at, c), _)| at + c.len_utf8())
}

/// The lines of a rendering, except for a line with only the date, and without the begin-of-text
/// token, which the engine adds. Versions of a template differ in these.
fn essence<'a>(text: &'a str, bos: &str) -> impl Iterator<Item = &'a str> {
    const DATES: [&str; 2] = ["Today Date: 26 Jul 2024", "Today Date: 26 July 2024"];
    let text = text.strip_prefix(bos).unwrap_or(text);
    text.split('\n').filter(|line| !DATES.contains(line))
}

/// Compares `template` with the `known` ones of its `family` on the probe.
pub(super) fn difference(
    family: Family,
    template: &ChatTemplate,
    known: impl Iterator<Item = ChatTemplate>,
) -> Option<Difference> {
    const PROBE: &str =
        "Which class is this text?\n\nText: It's <b>late</b> & \"broken\"; 1+1={{ 2 }}";
    let found = template.render(PROBE).unwrap_or_else(|error| format!("{error:#}"));
    let texts: Vec<String> = known.filter_map(|known| known.render(PROBE).ok()).collect();
    if texts.iter().any(|text| essence(text, &template.bos).eq(essence(&found, &template.bos))) {
        return None;
    }
    let nearest = texts.into_iter().max_by_key(|text| common(text, &found))?;
    Some(Difference { family, known: nearest, found })
}
