//! What the requests and answers of all dialects have in common.

use serde_json::{Value, json};

use super::connection::Failure;
use crate::teacher::GenerateRequest;

/// The beginning of a numbered list, which is forced.
const LIST: &str = "1.";

/// What an engine wrote.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    pub text: String,
    /// Whether it ended by itself.
    pub ended: bool,
    pub tokens: usize,
}

/// The patterns of the lines that `request` wants, if it wants a list: of each the number in front
/// of it. The first number is in the cue.
pub(super) fn list(request: &GenerateRequest) -> Option<Vec<String>> {
    (request.constrained && request.cue == LIST).then(|| {
        let number = |line: usize| if line == 1 { String::new() } else { format!("{line}.") };
        (1..=request.lines).map(number).collect()
    })
}

/// The same list as a regular expression.
pub(super) fn list_regex(request: &GenerateRequest) -> Option<String> {
    let lines = list(request)?;
    let line = |number: &String| format!(r"{} ?[^\s][^\n]*\n", number.replace('.', r"\."));
    Some(lines.iter().map(line).collect())
}

/// The sampling of `request` by the names that all three engines use.
pub(super) fn sampling(request: &GenerateRequest) -> Value {
    let it = &request.sampling;
    json!({
        "temperature": it.temperature,
        "top_p": it.top_p,
        "min_p": it.min_p,
        "frequency_penalty": it.frequency_penalty,
        "presence_penalty": it.presence_penalty,
    })
}

/// `object` with the members of `others`.
pub(super) fn merged(mut object: Value, others: Value) -> Value {
    if let (Value::Object(into), Value::Object(from)) = (&mut object, others) {
        into.extend(from);
    }
    object
}

pub(super) fn number(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0)
}

pub(super) fn unreadable() -> Failure {
    Failure::Broken { reason: "its answer lacks what was asked for".to_owned(), sent: true }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::teacher::{Sampling, Wanted};

    pub(in super::super) fn request(lines: usize) -> GenerateRequest {
        GenerateRequest {
            id: "generate.0".into(),
            prompt: "Write.".into(),
            cue: LIST.into(),
            lines,
            longest: 100,
            constrained: true,
            seed: 5,
            max_tokens: 50,
            sampling: Sampling::default(),
            wanted: Wanted::default(),
        }
    }

    #[test]
    fn a_list_is_described_line_by_line() {
        let wanted = r" ?[^\s][^\n]*\n2\. ?[^\s][^\n]*\n";
        assert_eq!(list_regex(&request(2)).as_deref(), Some(wanted));
        let pattern = regex::Regex::new(&format!("^(?:{wanted})$")).unwrap();
        assert!(pattern.is_match(" Where is my card?\n2. It is 3. Hurry\n"));
        assert!(!pattern.is_match(" Where is my card?\n3. Hurry\n"));
        assert_eq!(list_regex(&GenerateRequest { constrained: false, ..request(2) }), None);
        assert_eq!(list_regex(&GenerateRequest { cue: "Card:".into(), ..request(2) }), None);
    }
}
