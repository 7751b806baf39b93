//! Reads bodies. A fault names the field and quotes nothing of it.

use std::{cell::Cell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny, SeqAccess, Visitor},
};

use super::super::Refusal;

/// Marks of errors that serde passes on.
const TOO_MANY: &str = "too many texts";
const PAIR: &str = "a pair";
const EMPTY: &str = "an empty list";

thread_local! {
    /// Most texts of the body that this thread reads. Behind them nothing is kept: eight bytes of a
    /// body could become thirty in memory.
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// The body `bytes`, whose lists of texts have at most `most` items. Fields that are not in `T` are
/// skipped.
pub(super) fn body<T: DeserializeOwned>(bytes: &[u8], most: usize) -> Result<T, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the body is not UTF-8 from byte {}", error.valid_up_to());
        Refusal::new(400, message)
    })?;
    // serde also takes a list for the fields in their order.
    if !matches!(text.trim_start().as_bytes().first(), None | Some(b'{')) {
        return Err(Refusal::new(422, "the body must be a JSON object"));
    }
    MOST.set(most);
    let mut reader = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| fault(&error.path().to_string(), error.inner(), most))?;
    reader.end().map_err(|error| fault(".", &error, most))?;
    Ok(parsed)
}

/// What is wrong with the field at `path`.
fn fault(path: &str, error: &serde_json::Error, most: usize) -> Refusal {
    if !error.is_data() {
        let (line, column) = (error.line(), error.column());
        let message = format!("the body is not valid JSON (line {line}, column {column})");
        return Refusal::new(400, message);
    }
    let message = error.to_string();
    let field = if path == "." { "the body".to_owned() } else { format!("`{path}`") };
    if message.starts_with(TOO_MANY) {
        return Refusal::new(413, format!("{field} has more than {most} texts"));
    }
    Refusal::new(
        422,
        if message.starts_with(PAIR) {
            format!("{field} is a pair: this model classifies single texts")
        } else if message.starts_with(EMPTY) {
            format!("{field} is empty")
        } else if message.starts_with("duplicate field") || message.starts_with("missing field") {
            // It quotes a name of the format.
            let words = message.split(" at line ").next().unwrap_or_default();
            format!("{field}: {words}")
        } else {
            // What was found is not repeated, only what was expected.
            let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
            let expected = expected.and_then(|it| it.split(" at line ").next());
            format!("{field} must be {}", expected.unwrap_or("as the documentation says"))
        },
    )
}

/// One text, or a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Texts {
    /// A text that does not stand in a list.
    One(String),
    /// An item may also have been a list of one text, as in TEI.
    Many(Vec<String>),
}

impl Texts {
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }

    /// The texts of a field that must be there.
    pub(super) fn needed(field: Option<Self>, name: &str) -> Result<Self, Refusal> {
        let missing =
            || Refusal::new(422, format!("`{name}` is missing: a text, or a list of texts"));
        field.ok_or_else(missing)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Texts, A::Error> {
        let (most, mut texts) = (MOST.get(), Vec::new());
        loop {
            if texts.len() == most {
                return match items.next_element::<IgnoredAny>()? {
                    Some(_) => Err(A::Error::custom(TOO_MANY)),
                    None => Ok(Texts::Many(texts)),
                };
            }
            match items.next_element()? {
                Some(Item(text)) => texts.push(text),
                None if texts.is_empty() => return Err(A::Error::custom(EMPTY)),
                None => return Ok(Texts::Many(texts)),
            }
        }
    }
}

/// A text, or a list of one.
struct Item(String);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        Ok(Item(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
        let text = items.next_element::<String>()?.ok_or_else(|| A::Error::custom(EMPTY))?;
        match items.next_element::<IgnoredAny>()? {
            Some(_) => Err(A::Error::custom(PAIR)),
            None => Ok(Item(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        inputs: Option<Texts>,
        truncate: Option<bool>,
    }

    fn read(json: &[u8]) -> Result<Texts, Refusal> {
        let body = body::<Body>(json, 3)?;
        assert_eq!(body.truncate, None);
        Texts::needed(body.inputs, "inputs")
    }

    #[test]
    fn texts_come_alone_in_a_list_or_in_lists_of_one() {
        let many = |texts: &[&str]| Ok(Texts::Many(texts.iter().map(|it| (*it).into()).collect()));
        assert_eq!(read(br#"{"inputs": "a\u00e9", "x": [1]}"#), Ok(Texts::One("a\u{e9}".into())));
        assert_eq!(read(br#"{"inputs": ["a", "b"]}"#), many(&["a", "b"]));
        assert_eq!(read(br#"{"inputs": [["a"], "b", [""]]}"#), many(&["a", "b", ""]));
    }

    #[test]
    fn a_fault_names_its_field_and_quotes_nothing() {
        let cases: [(&[u8], u16, &str); 18] = [
            (b"\xff", 400, "not UTF-8 from byte 0"),
            (b"{\"inputs\": \"\xc3\"}", 400, "not UTF-8 from byte 12"),
            (b"{\"inputs\": ", 400, "line 1"),
            (b"{\"inputs\": \"a\"} SECRET", 400, "line 1"),
            (b"", 400, "line 1"),
            (b" 7", 422, "the body must be a JSON object"),
            (b"[null, null]", 422, "the body must be a JSON object"),
            (b"\"SECRET\"", 422, "the body must be"),
            (br#"{"inputs": "a", "inputs": "b"}"#, 422, "duplicate field `inputs`"),
            (b"{}", 422, "`inputs` is missing"),
            (br#"{"inputs": null}"#, 422, "`inputs` is missing"),
            (br#"{"inputs": {"SECRET": 1}}"#, 422, "`inputs` must be a text or a list of texts"),
            (br#"{"inputs": []}"#, 422, "`inputs` is empty"),
            (br#"{"inputs": "a", "truncate": "SECRET"}"#, 422, "`truncate` must be a boolean"),
            (br#"{"inputs": ["a", 7]}"#, 422, "`inputs[1]` must be a text"),
            (br#"{"inputs": ["a", ["b", "SECRET"]]}"#, 422, "`inputs[1]` is a pair"),
            (br#"{"inputs": ["\ud800"]}"#, 400, "not valid JSON"),
            (br#"{"inputs": ["a", "b", "c", "d"]}"#, 413, "`inputs` has more than 3 texts"),
        ];
        for (json, status, message) in cases {
            let refusal = read(json).unwrap_err();
            let what = String::from_utf8_lossy(json);
            assert_eq!(refusal.status, status, "{what}: {refusal:?}");
            assert!(refusal.message.contains(message), "{what}: {refusal:?}");
            assert!(!refusal.message.contains("SECRET"), "{what}: {refusal:?}");
        }
        let nested = format!("{{\"x\": {}", "[".repeat(100_000));
        assert_eq!(read(nested.as_bytes()).unwrap_err().status, 400);
    }
}
