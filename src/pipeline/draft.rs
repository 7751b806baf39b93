//! Reads a description of a class from a teacher's reply, or says why it is of no use. Small
//! teachers often write another example instead of a description, repeat what they were shown, or
//! say nothing but the names.

use crate::{
    dataset::canonical,
    filter::rouge_l,
    prompt::reply::bare,
    task::{Class, Task},
    teacher::Generated,
};

/// The longest description in characters. It stands in every prompt, once for each class.
pub(super) const LONGEST: usize = 250;
/// The fewest letters of a description: `a place` says something.
const SHORTEST: usize = 4;
/// From this ROUGE-L on, a draft is a copy: of nine words in ten.
const COPY: f64 = 0.8;
/// Words that say nothing of a class, besides the names.
const EMPTY_WORDS: [&str; 44] = [
    "a",
    "about",
    "all",
    "an",
    "and",
    "any",
    "are",
    "as",
    "be",
    "belong",
    "belongs",
    "category",
    "class",
    "classes",
    "confused",
    "description",
    "for",
    "from",
    "have",
    "in",
    "is",
    "it",
    "of",
    "often",
    "on",
    "or",
    "other",
    "rather",
    "rule",
    "than",
    "that",
    "the",
    "them",
    "these",
    "they",
    "this",
    "those",
    "to",
    "type",
    "types",
    "what",
    "which",
    "with",
    "not",
];

/// Why a draft is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Useless {
    #[error("it does not end")]
    CutOff,
    #[error("it is not valid UTF-8")]
    NotText,
    #[error("it is too short")]
    TooShort,
    #[error("it has more than {LONGEST} characters")]
    TooLong,
    #[error("it is a question")]
    Question,
    #[error("it repeats an example")]
    CopyOfExample,
    #[error("it repeats a description")]
    CopyOfDescription,
    #[error("it says no more than the names")]
    NamesOnly,
    #[error("it repeats another draft")]
    Repeated,
    #[error("it ended the teacher's process")]
    Skipped,
}

/// What a draft is read against.
pub(super) struct Reader<'a> {
    pub task: &'a Task,
    /// Of the class that is described.
    pub class: usize,
    /// How the reply was made to begin.
    pub cue: &'a str,
    /// The examples that the prompt showed.
    pub examples: &'a [&'a str],
}

impl Reader<'_> {
    /// The first sentence of `reply` without emphasis and without the name of the class in front
    /// of it, which prompts write there themselves.
    ///
    /// # Errors
    /// The first [`Useless`] that applies.
    pub(super) fn read(&self, reply: &Generated) -> Result<String, Useless> {
        if reply.text.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Useless::NotText);
        }
        let body = self.without_cue(&reply.text).replace("**", "");
        let body = body.trim();
        let line = body.lines().next().unwrap_or_default();
        let (sentence, ends) = first_sentence(line);
        let text = self.without_name(bare(sentence.trim()).trim());
        // Of a sentence in quotes.
        let text = text.strip_suffix('.').unwrap_or(text);
        let letters = text.chars().filter(|letter| letter.is_alphanumeric()).count();
        if letters < SHORTEST {
            return Err(Useless::TooShort);
        }
        if !ends && !reply.complete && line.len() == body.len() {
            return Err(Useless::CutOff);
        }
        if text.chars().count() > LONGEST {
            return Err(Useless::TooLong);
        }
        self.check(text)?;
        Ok(text.to_owned())
    }

    /// What follows the names in front of the description; the cue may begin the description.
    fn without_cue<'r>(&self, reply: &'r str) -> std::borrow::Cow<'r, str> {
        let reply = reply.trim_start();
        let cue = self.cue.trim_start();
        let Some(written) = reply.strip_prefix(cue) else { return reply.into() };
        let begun = cue.rfind([':', '：']).map_or("", |at| {
            let colon = cue[at..].chars().next().map_or(0, char::len_utf8);
            &cue[at + colon..]
        });
        format!("{begun}{written}").into()
    }

    fn without_name<'t>(&self, text: &'t str) -> &'t str {
        let class = &self.task.classes[self.class];
        let mut text = text;
        for name in [class.shown(), class.name.clone()] {
            let rest = text.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(&name));
            let rest = rest.and_then(|start| text[start.len()..].trim_start().strip_prefix(':'));
            text = rest.map_or(text, str::trim);
        }
        text
    }

    fn check(&self, text: &str) -> Result<(), Useless> {
        if text.ends_with(['?', '？']) {
            return Err(Useless::Question);
        }
        let new = canonical(text);
        let words: Vec<&str> = new.split(' ').collect();
        let repeats = |old: &str| {
            let old = canonical(old);
            let others: Vec<&str> = old.split(' ').collect();
            // Within other words, a short text is no copy: "a place".
            let is_part = others.len() >= 4 && format!(" {new} ").contains(&format!(" {old} "));
            !old.is_empty() && (is_part || rouge_l(&words, &others) >= COPY)
        };
        if self.examples.iter().any(|example| repeats(example)) {
            return Err(Useless::CopyOfExample);
        }
        if self.is_names_only(&words) {
            return Err(Useless::NamesOnly);
        }
        let is_old = |class: &Class| {
            let old = canonical(&class.description);
            rouge_l(&words, &old.split(' ').collect::<Vec<_>>()) >= COPY
        };
        match self.task.classes.iter().any(is_old) {
            true => Err(Useless::CopyOfDescription),
            false => Ok(()),
        }
    }

    /// Whether `words` are the names of classes, the words for the texts and [`EMPTY_WORDS`].
    fn is_names_only(&self, words: &[&str]) -> bool {
        let Task { classes, item, items, .. } = self.task;
        let names = classes.iter().flat_map(|class| [class.shown(), class.name.clone()]);
        let known: Vec<String> =
            names.chain([item.clone(), items.clone()]).map(|name| canonical(&name)).collect();
        let is_known = |word: &str| {
            let mut names = known.iter().flat_map(|name| name.split(' '));
            EMPTY_WORDS.contains(&word) || names.any(|name| name == word)
        };
        words.iter().all(|word| is_known(word))
    }
}

/// The first sentence of `line`, without its full stop, and whether it ends there. A full stop
/// within a word or before a small letter ends none: "e.g. a place", "U.S. states".
fn first_sentence(line: &str) -> (&str, bool) {
    for (at, letter) in line.char_indices() {
        let end = at + letter.len_utf8();
        let rest = &line[end..];
        let is_last = rest.trim().is_empty();
        match letter {
            '。' => return (&line[..at], true),
            '？' => return (&line[..end], true),
            '!' | '?' if is_last || rest.starts_with(' ') => return (&line[..end], true),
            '.' => {
                let word = line[..at].rsplit(' ').next().unwrap_or_default();
                let next = rest.trim_start().chars().next();
                let is_short = word.contains('.') || word.chars().count() < 2;
                let goes_on = !rest.starts_with(' ') || next.is_some_and(char::is_lowercase);
                if is_last || !(is_short || goes_on) {
                    return (&line[..at], true);
                }
            }
            _ => {}
        }
    }
    (line, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::sample::Sample;

    fn task() -> Task {
        let mut task = Sample::new(&["card_arrival", "refund"], Vec::new()).task;
        task.classes[1].description = "asks for money back that was paid by mistake".to_owned();
        task
    }

    fn read(cue: &str, written: &str, complete: bool) -> Result<String, Useless> {
        let task = task();
        let examples = ["Where is the card that I ordered last week?", "my card"];
        let reader = Reader { task: &task, class: 0, cue, examples: &examples };
        let (prompt_tokens, generated_tokens) = (1, 1);
        let text = format!("{cue}{written}");
        reader.read(&Generated { text, complete, prompt_tokens, generated_tokens })
    }

    #[test]
    fn a_sentence_is_read_without_name_emphasis_and_what_follows_it() {
        for (cue, written, wanted) in [
            ("", "**Card arrival**: the card is in the post", "the card is in the post"),
            ("", "card_arrival : a card is late. Not a refund.", "a card is late"),
            ("card_arrival:", " \"Cards in the post.\"\n\nrefund: no", "Cards in the post"),
            (
                "card_arrival: tickets that",
                " ask for a late card.",
                "tickets that ask for a late card",
            ),
            (
                "DESCRIPTION of card_arrival:",
                " cards, e.g. a late one. More",
                "cards, e.g. a late one",
            ),
            ("x:", " cards: in the post", "cards: in the post"),
            ("x:", " a card in the U.S. or U.K. mail! Yes", "a card in the U.S. or U.K. mail!"),
            ("x：", "询问卡片何时寄到。其他", "询问卡片何时寄到"),
        ] {
            assert_eq!(read(cue, written, true).as_deref(), Ok(wanted), "{written}");
        }
        // What is cut off behind the sentence does no harm.
        assert_eq!(read("x:", " a late card. And", false).as_deref(), Ok("a late card"));
        assert_eq!(read("x:", " a late card\nAnd", false).as_deref(), Ok("a late card"));
    }

    #[test]
    fn what_is_no_description_is_refused_with_its_reason() {
        let long = format!(" {}", "late card ".repeat(30));
        for (written, complete, wanted) in [
            (" a late card and", false, Useless::CutOff),
            (" a late \u{fffd} card", true, Useless::NotText),
            ("", true, Useless::TooShort),
            (" **", true, Useless::TooShort),
            (" it.", true, Useless::TooShort),
            (&long, true, Useless::TooLong),
            (" When does my new card arrive?", true, Useless::Question),
            (" where is the card I ordered last week.", true, Useless::CopyOfExample),
            (
                " as in \"Where is the card that I ordered last week\".",
                true,
                Useless::CopyOfExample,
            ),
            (" described as card_arrival.", true, Useless::CopyOfDescription),
            (" asks for money that was paid by mistake", true, Useless::CopyOfDescription),
            (" Card arrival.", true, Useless::NamesOnly),
            (
                " tickets that belong to the class card arrival, not refund",
                true,
                Useless::NamesOnly,
            ),
        ] {
            assert_eq!(read("card_arrival:", written, complete), Err(wanted), "{written}");
        }
        assert_eq!(read("x:", " my card is late", true).as_deref(), Ok("my card is late"));
    }
}
