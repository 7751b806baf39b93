//! `[augment]`: how new text is generated.

use serde::{Deserialize, Serialize};

use super::{
    ConfigError,
    check::{at_least, within},
};
use crate::{
    auto::Auto,
    prompt::PromptForm,
    task::LabelledText,
    teacher::{Sampling, grammar::ListGrammar},
};

/// How new text is generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AugmentSettings {
    /// New texts per class (paper: 100).
    pub per_class: usize,
    /// Texts per request (paper: 3).
    pub texts_per_request: usize,
    /// Classes shown in one prompt (paper: 4).
    pub classes_shown: usize,
    /// Share of the requests that mix two classes; the others ask for texts of one class, which
    /// tell the student what is typical (paper: 1).
    pub mix: f64,
    /// Which classes are shown beside the class that the texts are for, and mixed into it.
    pub partners: Partners,
    /// Which of the built-in prompts ask for texts. A task may bring its own.
    pub prompts: PromptForm,
    /// Unlabelled texts (`unlabelled` under `[data]`) that each request shows as examples of how
    /// texts are written, of no known class; drawn anew for each request.
    pub style_examples: usize,
    /// The mixing ratio α is drawn as 0.5 + 0.5·Beta(a, b) and rounded to a multiple of 0.05. These
    /// are a and b (paper: 5 and 2).
    pub beta: (f64, f64),
    /// Rounds of requests: texts that are missing after a round are requested again in the next
    /// one. The paper has no limit.
    pub tries: usize,
    /// Maximum length of a reply in tokens (paper: 256). `"auto"`: enough for the texts of a
    /// request if they are half as long again as 98 % of the seeds, at least 256, at most half of
    /// the teacher's context.
    pub max_tokens: Auto,
    /// A grammar forces replies into the form of a numbered list as they are generated, so that
    /// none is rejected. `false` leaves the teacher free, as the paper does.
    pub constrained: bool,
    /// Maximum length of a text in characters. `"auto"`: twice the length that 98 % of the seeds
    /// have, at least 500, at most 4000.
    pub longest: Auto,
    /// Texts are judged as they arrive: list marks, Markdown, quotes, labels and brackets with a
    /// class or a percentage are removed; bare numbers, names of classes, echoes of the prompt,
    /// code, placeholders, words in another script and the like are dropped and asked for again.
    /// What the labelled examples have themselves is never junk. `junk.jsonl` lists every text that
    /// was dropped or cleaned, with the reason.
    pub clean: bool,
    /// For each text, the teacher is asked until this many different ones have come back, all with
    /// the same α; one of them is kept (published code: 10). The requests are limited to `tries`
    /// times the minimum, after which one of the texts found so far is kept. 0 keeps every text:
    /// the discarded ones cost the teacher as much and are as good.
    pub unique_per_text: usize,
    /// Truncates the percentages in a prompt instead of rounding them, so that 55 % stands beside
    /// 44 % (published code). With `false` the two always add up to 100 %.
    pub truncated_percent: bool,
    #[serde(flatten)]
    pub sampling: Sampling,
}

/// Which classes are shown beside the class that the texts are for, and mixed into it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Partners {
    /// Every other class with the same probability, as in the paper. The default because preferring
    /// near classes gained nothing on the demo task: A2 83.3 % instead of 84.2 %, A1 81.5 % instead
    /// of 79.9 %, each inside the other's confidence interval. That task has six classes, most of
    /// which are in every prompt anyway.
    #[default]
    Even,
    /// Near classes more often: the class of rank r (0 is the nearest by centroid of name,
    /// description and seeds) has weight 1/(r + 1). Every pair can occur, and most lie on a
    /// boundary where classes are in fact confused.
    Confusable,
}

impl Default for AugmentSettings {
    fn default() -> Self {
        Self {
            per_class: 100,
            texts_per_request: 3,
            classes_shown: 4,
            mix: 0.25,
            partners: Partners::default(),
            prompts: PromptForm::default(),
            style_examples: 0,
            beta: (5.0, 2.0),
            tries: 3,
            max_tokens: Auto::Auto,
            constrained: true,
            longest: Auto::Auto,
            clean: true,
            unique_per_text: 0,
            truncated_percent: false,
            sampling: Sampling::default(),
        }
    }
}

/// Bounds of `augment.longest` and the least `augment.max_tokens` that are chosen.
const LEAST_CHARACTERS: usize = 500;
const MOST_CHARACTERS: usize = 4000;
const LEAST_TOKENS: usize = 256;
/// Characters of a token, few rather than many, and tokens of a line's number and newline.
const CHARACTERS_PER_TOKEN: usize = 3;
const LINE_TOKENS: usize = 8;

impl AugmentSettings {
    /// Maximum length of a text in characters.
    pub(crate) fn longest(&self) -> usize {
        self.longest.unwrap_or(LEAST_CHARACTERS)
    }

    /// Maximum length of a reply in tokens.
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens.unwrap_or(LEAST_TOKENS)
    }

    /// These settings with both lengths chosen, where they are `"auto"`, from the `seeds`;
    /// `context` is the teacher's, in tokens. Both depend on characters alone, so that a recorded
    /// run chooses the same ones without its tokenizer.
    #[must_use]
    pub(crate) fn with_lengths(&self, seeds: &[LabelledText], context: usize) -> Self {
        let mut characters: Vec<usize> =
            seeds.iter().map(|seed| seed.text.chars().count()).collect();
        characters.sort_unstable();
        // The nearest rank of the 98th percentile.
        let rank = (characters.len() * 98).div_ceil(100);
        let usual = rank.checked_sub(1).map_or(0, |rank| characters[rank]);
        let usual = usual.min(MOST_CHARACTERS);
        let text = (usual + usual / 2).div_ceil(CHARACTERS_PER_TOKEN) + LINE_TOKENS;
        let tokens = (self.texts_per_request * text).min(context / 2).max(LEAST_TOKENS);
        Self {
            longest: self.longest.or((2 * usual).clamp(LEAST_CHARACTERS, MOST_CHARACTERS)),
            max_tokens: self.max_tokens.or(tokens),
            ..self.clone()
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        at_least("augment.per_class", self.per_class, 1)?;
        at_least("augment.texts_per_request", self.texts_per_request, 1)?;
        at_least("augment.classes_shown", self.classes_shown, 2)?;
        at_least("augment.tries", self.tries, 1)?;
        within("augment.style_examples", self.style_examples as f64, 0.0..=100.0, "at most 100")?;
        at_least("augment.max_tokens", self.max_tokens(), 1)?;
        at_least("augment.longest", self.longest(), 1)?;
        let list = ListGrammar::new(self.texts_per_request, self.longest());
        let exactly = self.max_tokens != Auto::Auto;
        if exactly && self.constrained && self.max_tokens() < list.least_budget() {
            return Err(ConfigError::OutOfRange {
                key: "augment.max_tokens",
                value: self.max_tokens.to_string(),
                wanted: "a list of `augment.texts_per_request` texts needs more tokens".into(),
            });
        }
        within("augment.mix", self.mix, 0.0..=1.0, "it must lie between 0 and 1")?;
        if self.unique_per_text > 0 && self.mix < 1.0 {
            return Err(ConfigError::OutOfRange {
                key: "augment.mix",
                value: self.mix.to_string(),
                wanted: "with `augment.unique_per_text` every request mixes: it must be 1".into(),
            });
        }
        let (a, b) = self.beta;
        within("augment.beta", a.min(b), 1e-3..=1e6, "both parameters must be positive")?;
        validate_sampling(&self.sampling)
    }
}

fn validate_sampling(sampling: &Sampling) -> Result<(), ConfigError> {
    let Sampling { temperature, top_p, min_p, .. } = *sampling;
    within("augment.temperature", temperature, 0.0..=10.0, "it must be between 0 and 10")?;
    within("augment.top_p", top_p, 1e-6..=1.0, "it must be above 0 and at most 1")?;
    within("augment.min_p", min_p, 0.0..=0.999, "it must be between 0 and 1")?;
    within(
        "augment.repeat_penalty",
        sampling.repeat_penalty,
        0.1..=10.0,
        "it must be between 0.1 and 10 (1 is off)",
    )?;
    for (key, penalty) in [
        ("augment.frequency_penalty", sampling.frequency_penalty),
        ("augment.presence_penalty", sampling.presence_penalty),
    ] {
        within(key, penalty, -10.0..=10.0, "it must be between -10 and 10 (0 is off)")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_follow_the_seeds_within_the_teachers_context() {
        let of = |characters: usize, context: usize| {
            let text = "x".repeat(characters);
            let seeds = vec![LabelledText { text, label: 0 }; 10];
            let chosen = AugmentSettings::default().with_lengths(&seeds, context);
            (chosen.longest(), chosen.max_tokens())
        };
        assert_eq!(of(60, 1024), (500, 256), "short texts change nothing");
        // Three texts of 1800 characters, each in 600 tokens and 8.
        assert_eq!(of(1200, 32_768), (2400, 3 * 608));
        assert_eq!(of(1200, 1024), (2400, 512));
        assert_eq!(of(1_000_000, 32_768).0, MOST_CHARACTERS);
        let set = AugmentSettings { longest: Auto::Exactly(9), ..AugmentSettings::default() };
        assert_eq!(set.with_lengths(&[], 1024).longest(), 9);
    }
}
