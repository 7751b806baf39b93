//! What a teacher says for itself where a text was asked for.

use std::sync::LazyLock;

use regex::Regex;

use super::{Context, Known, regex, words};

/// Whether a language model speaks: it names itself, refuses, or announces its texts. People
/// apologise and refuse, too, but not a request for help or for texts: `Sorry, I cannot provide the
/// receipt`.
pub(super) fn is_remark(text: &str, Context { known, .. }: Context<'_>) -> bool {
    speaks_for_itself(text) || announces_texts(text, known)
}

fn speaks_for_itself(text: &str) -> bool {
    static SELF: LazyLock<Regex> = LazyLock::new(|| {
        const MODEL: &str = r"(?:(?:AI|artificial intelligence)(?:\s+language)?\s+(?:model|assistant|chatbot)|(?:large\s+)?language\s+model)";
        const END: &str = r"(?:$|[\s]*[.,;:!?]|\s+(?:and|so|but|I|created|developed|designed|trained|made|without)\b)";
        regex(&format!(
            r"(?ix) (?:^|[.!?]\s+|\bI,?\s+)as\s+an?\s+(?:{MODEL}\b|AI,\s+I\b)
                | \bI(?:['’]m|\s+am)\s+(?:just\s+|only\s+)?an?\s+(?:{MODEL}|AI){END}
                | ^als\s+(?:ein\s+)?KI-?\s?(?:Sprach)?modell\b | ^en\s+tant\s+que\s+(?:modèle\s+de\s+langage|IA\b)
                | ^como\s+(?:un\s+)?modelo\s+de\s+(?:lenguaje|linguagem) | ^作为(?:一个|一名)?(?:AI|人工智能)"
        ))
    });
    static REFUSAL: LazyLock<Regex> = LazyLock::new(|| {
        const SORRY: &str = r"(?:(?:I(?:['’]m|\s+am)\s+)?(?:very\s+|so\s+)?sorry|I\s+apologi[sz]e|(?:my\s+)?apologies|unfortunately)[^.?!]{0,30}?[,.!;:—–-]?\s*(?:but\s+)?";
        const CANNOT: &str = r"I\s*(?:can['’]t|cannot|can\s+not|won['’]t|(?:['’]m|\s+am)\s+(?:not\s+able|unable)\s+to)";
        const HELP: &str = r"(?:help|assist)(?:\s+you)?(?:\s+(?:with|in|on)\s+(?:that|this|these|those|it|your\s+request|such\b.*|(?:creating|generating|writing)\b.*))?(?:\s+request)?[.!]?";
        const WRITE: &str = r"(?:fulfil{1,2}|comply\s+with|generate|create|write|produce|provide|engage\s+in)\s+(?:that|this|your|such|these|those|any)\s+(?:\w+\s+){0,3}(?:requests?|prompt|content|texts?|examples?|sentences?|conversation|topic)[.!]?";
        regex(&format!(
            r"(?i)^(?:{SORRY})?{CANNOT}\s+(?:{HELP}|{WRITE})(?:$|\s+as\s+.*$|[.!]\s.*$)"
        ))
    });
    SELF.is_match(text) || REFUSAL.is_match(text)
}

/// Whether a reply begins with an announcement of the texts asked for.
fn announces_texts(text: &str, known: &Known) -> bool {
    static SURE: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?i)^(?:sure|certainly|of\s+course|absolutely)[,.!]*\s+here(?:\s+are|\s+is|['’]s)\s",
        )
    });
    const TEXTS: [&str; 5] = ["examples", "texts", "sentences", "questions", "messages"];
    let is_one = |word: &String| {
        TEXTS.contains(&word.as_str())
            || known.names[known.classes..].iter().any(|name| name == std::slice::from_ref(word))
    };
    SURE.is_match(text) && words(text).iter().any(is_one)
}
