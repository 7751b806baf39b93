//! How much is said on stderr. Raw text (prompts, replies, rows of the task, test texts) is private:
//! messages name its file and line instead, and the text itself comes with `-vv` alone.

use std::{
    fmt::Display,
    sync::atomic::{AtomicU8, Ordering},
};

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// Sets how often `-v` was given.
pub(crate) fn set(level: u8) {
    LEVEL.store(level, Ordering::Relaxed);
}

/// `-v`: paths, hashes, counts; no text.
pub(crate) fn facts() -> bool {
    LEVEL.load(Ordering::Relaxed) >= 1
}

/// `-vv`: texts too.
pub(crate) fn texts() -> bool {
    LEVEL.load(Ordering::Relaxed) >= 2
}

/// ` "text"`, or nothing where texts are not shown: for the end of a message.
pub(crate) fn quoted(text: &str) -> String {
    if texts() { format!(" {text:?}") } else { String::new() }
}

/// What is wrong with a line of JSON. serde quotes the value that it did not like, which may be a text.
pub(crate) fn json_fault(error: &serde_json::Error) -> String {
    let told = error.to_string();
    // These quote nothing but names of our own.
    let harmless = !error.is_data() || told.starts_with("missing field");
    if harmless || texts() {
        return told;
    }
    format!("a value of another kind than is wanted, at column {} (-vv shows it)", error.column())
}

/// What a panic says: its message may quote a text, its place does not.
pub fn panic(location: Option<impl Display>, message: &dyn Display) -> String {
    match location {
        _ if texts() => message.to_string(),
        Some(place) => format!("at {place} (-vv shows its message, which may quote a text)"),
        None => "at an unknown place".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Row {
        #[allow(dead_code, reason = "only its kind counts")]
        n: usize,
    }

    #[test]
    fn values_are_not_quoted() {
        let fault = |json: &str| json_fault(&serde_json::from_str::<Row>(json).unwrap_err());
        let told = fault(r#"{"n": "SECRET"}"#);
        assert!(told.contains("column") && !told.contains("SECRET"), "{told}");
        assert!(fault("{}").contains("missing field `n`"));
        assert!(fault("SECRET").contains("expected value"));
        assert_eq!(quoted("SECRET"), "");
        let told = panic(Some("src/a.rs:1:2"), &"byte 1 of `SECRET`");
        assert!(told.contains("src/a.rs:1:2") && !told.contains("SECRET"));
    }
}
