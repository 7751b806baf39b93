//! Whether a vocabulary has the words of some texts.
//!
//! A model of another language turns a text into `[UNK]`, or spells it letter by letter: it trains
//! and predicts without an error and knows nothing of what it reads. Both show in the tokens alone.

use super::{BaseModel, Result, base::Inner, tokens};
use crate::eval::wilson;

/// Share of unknown tokens above which the vocabulary is another language's. English texts have
/// fewer than one in a hundred (emoji, rare symbols) with an English vocabulary.
const MAX_UNKNOWN: f64 = 0.05;
/// Tokens per letter above which words are spelled out. English words have 0.2 to 0.3 with an
/// English vocabulary, Finnish ones 0.4, Russian ones nearly 1.
const MAX_PIECES: f64 = 0.6;
/// With fewer letters the tokens per letter say nothing.
const LEAST_LETTERS: usize = 50;
/// With fewer tokens a share of [`MAX_UNKNOWN`] says nothing.
const MANY_TOKENS: usize = 50;
/// With fewer tokens no share says anything. From here on it is certain that most tokens are
/// unknown if they are: a text of emoji is one token, and twenty such texts are few tokens.
const LEAST_TOKENS: usize = 10;
/// Texts that are looked at, and tokens of each.
const SAMPLE: usize = 2000;
const LONGEST: usize = 2000;

/// How the tokens of some texts relate to their letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Coverage {
    /// Tokens, without the special ones.
    tokens: usize,
    /// Those of them that stand for text that the vocabulary cannot spell.
    unknown: usize,
    /// Letters of alphabets: each Chinese character is a word of its own and does not count.
    letters: usize,
    /// Tokens that are no parts of words: digits, punctuation, Chinese characters.
    others: usize,
}

impl Coverage {
    /// What is wrong, if the vocabulary has too few of the texts' words.
    pub(crate) fn warning(self) -> Option<String> {
        let unknown = wilson(self.unknown, self.tokens);
        let lacks_words = match self.tokens {
            ..LEAST_TOKENS => false,
            LEAST_TOKENS..MANY_TOKENS => unknown.low > 0.5,
            MANY_TOKENS.. => unknown.mean > MAX_UNKNOWN,
        };
        if lacks_words {
            return Some(format!(
                "the student's vocabulary does not cover the texts: {:.0} % of their tokens are [UNK]",
                unknown.mean * 100.0
            ));
        }
        let pieces = self.tokens.saturating_sub(self.others) as f64 / self.letters.max(1) as f64;
        (self.letters >= LEAST_LETTERS && pieces > MAX_PIECES).then(|| {
            format!(
                "the student's vocabulary does not cover the texts: it splits words into single letters ({:.0} tokens per 10 letters)",
                pieces * 10.0
            )
        })
    }

    /// Counts `texts`, whose token ids are `ids`, two special ones included.
    pub(super) fn add<S: AsRef<str>>(
        &mut self,
        ids: &[Vec<u32>],
        texts: &[S],
        unknown: Option<u32>,
    ) {
        for (ids, text) in ids.iter().zip(texts) {
            self.tokens += ids.len().saturating_sub(2);
            self.unknown += ids.iter().filter(|&&id| Some(id) == unknown).count();
            for letter in text.as_ref().chars().filter(|letter| !letter.is_whitespace()) {
                let of_alphabet = letter.is_alphabetic() && !is_ideograph(letter);
                *(if of_alphabet { &mut self.letters } else { &mut self.others }) += 1;
            }
        }
    }

    /// What to do about the warning.
    pub(crate) const HINT: &'static str = "take an encoder of the texts' language, or a multilingual \
        one such as `distilbert-base-multilingual-cased` (`promptmix models pull` fetches it), with \
        `--student` or `student.model`";
}

impl BaseModel {
    /// How far the vocabulary has the words of `texts`.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(crate) fn coverage(&self, texts: &[&str]) -> Result<Coverage> {
        let unknown = tokens::unknown_id(&self.inner.tokenizer);
        let step = texts.len().div_ceil(SAMPLE).max(1);
        let texts = texts.iter().step_by(step).copied().collect::<Vec<_>>();
        let ids = self.tokenise_all(&texts)?;
        let mut all = Coverage::default();
        all.add(&ids, &texts, unknown);
        Ok(all)
    }

    fn tokenise_all(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        let Inner { config, tokenizer, origin, .. } = &*self.inner;
        let tokenizer = tokens::limited(tokenizer, LONGEST, origin)?;
        let tokens = tokens::tokenise(&tokenizer, texts, config.vocab_size, origin)?;
        Ok(tokens.into_iter().map(|text| text.ids).collect())
    }
}

/// Chinese characters, which BERT's tokenizers separate.
fn is_ideograph(letter: char) -> bool {
    matches!(letter, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::{super::parity::fixture, *};

    #[test]
    fn texts_of_another_vocabulary_are_recognised() {
        let base = BaseModel::load(&fixture("bert"), &Device::Cpu).unwrap();
        let warning = |text: &str| base.coverage(&[text; 20]).unwrap().warning();
        assert_eq!(warning("my card is lost, the train is late!"), None);
        let unknown = warning("это короткая фраза").unwrap();
        assert!(unknown.contains("100 % of their tokens are [UNK]"), "{unknown}");
        // A few texts prove nothing.
        assert_eq!(base.coverage(&["это фраза"]).unwrap().warning(), None);
    }

    #[test]
    fn words_that_are_spelled_out_are_recognised_and_chinese_characters_are_words() {
        let of = |tokens, unknown, letters, others| {
            Coverage { tokens, unknown, letters, others }.warning()
        };
        assert_eq!(of(300, 2, 1000, 40), None);
        assert!(of(950, 0, 1000, 40).unwrap().contains("9 tokens per 10 letters"));
        // A Chinese text with a Chinese vocabulary.
        assert_eq!(of(1000, 0, 60, 980), None);
        assert!(of(1000, 200, 60, 980).unwrap().contains("20 % of their tokens"));
        assert_eq!(Coverage::default().warning(), None);
        // Texts of emoji alone: a token each, no letter; and a few words with some emoji.
        assert!(of(12, 12, 0, 40).unwrap().contains("100 % of their tokens are [UNK]"));
        assert_eq!(of(12, 8, 60, 8), None);
        assert_eq!(of(9, 9, 0, 40), None);
    }
}
