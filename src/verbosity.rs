//! How much is printed on stderr. Raw text (prompts, replies, rows of the task, test texts) is
//! private: messages name its file and line instead, and only `-vv` shows the text itself.

use std::{
    fmt::Display,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
};

use crate::printable::printable;

static LEVEL: AtomicU8 = AtomicU8::new(0);
static PRINTER: OnceLock<fn(&Notice)> = OnceLock::new();

/// What a module far from the command line has to tell the user. Quotes no text.
pub(crate) enum Notice {
    Message(String),
    Warning { message: String, hint: Option<String> },
}

/// Sets who prints notices. Without a printer they are dropped.
pub(crate) fn set_printer(print: fn(&Notice)) {
    let _ = PRINTER.set(print);
}

/// Tells the user something at once.
pub(crate) fn notify(notice: Notice) {
    if let Some(print) = PRINTER.get() {
        print(&notice);
    }
}

/// Sets the number of times that `-v` was given.
pub(crate) fn set(level: u8) {
    LEVEL.store(level, Ordering::Relaxed);
}

/// With `-v`: paths, hashes and counts, but no text.
pub(crate) fn facts() -> bool {
    LEVEL.load(Ordering::Relaxed) >= 1
}

/// With `-vv`: texts, too.
pub(crate) fn texts() -> bool {
    LEVEL.load(Ordering::Relaxed) >= 2
}

/// ` "text"` for the end of a message, or nothing unless texts are shown.
pub(crate) fn quoted(text: &str) -> String {
    if texts() { format!(" {text:?}") } else { String::new() }
}

/// The message of a JSON error. serde quotes an invalid value, which may be a text, so this is left
/// out unless texts are shown.
pub(crate) fn json_fault(error: &serde_json::Error) -> String {
    let message = error.to_string();
    // Syntax errors quote nothing, and a missing field is a name of the format.
    let harmless = !error.is_data() || message.starts_with("missing field");
    if harmless || texts() {
        return message;
    }
    format!("a value of the wrong type at column {} (-vv shows it)", error.column())
}

/// The message of a panic. Only its location unless texts are shown, since the message may quote
/// one.
pub fn describe_panic(location: Option<impl Display>, message: &dyn Display) -> String {
    match location {
        _ if texts() => printable(&message.to_string()).into_owned(),
        Some(place) => format!("at {place} (-vv shows its message, which may quote a text)"),
        None => "at an unknown place".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Row {
        #[allow(dead_code, reason = "only its type matters")]
        n: usize,
    }

    #[test]
    fn values_are_not_quoted() {
        let fault = |json: &str| json_fault(&serde_json::from_str::<Row>(json).unwrap_err());
        let message = fault(r#"{"n": "SECRET"}"#);
        assert!(message.contains("column") && !message.contains("SECRET"), "{message}");
        assert!(fault("{}").contains("missing field `n`"));
        assert!(fault("SECRET").contains("expected value"));
        assert_eq!(quoted("SECRET"), "");
        let message = describe_panic(Some("src/a.rs:1:2"), &"byte 1 of `SECRET`");
        assert!(message.contains("src/a.rs:1:2") && !message.contains("SECRET"));
    }
}
