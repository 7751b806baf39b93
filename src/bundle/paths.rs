//! Which names a bundle may contain. They become files on another machine, so the rules are those
//! of the strictest system: names that Windows would read as a drive, a stream, a device or another
//! name in different case are refused everywhere. Characters outside ASCII are allowed, since
//! sources use them, except in the names of models. They are not normalised: on a file system that
//! takes two encodings of `é` for the same name, the second file cannot be written and the import
//! fails.

use std::collections::HashSet;

/// Maximum length of a path.
const MAX_PATH_BYTES: usize = 400;
/// Maximum number of parts of a path.
const MAX_DEPTH: usize = 32;
/// Maximum length of a text that is shown.
const MAX_SHOWN_BYTES: usize = 200;

/// Checks that `path` can be the name of a member.
///
/// # Errors
/// The broken rule.
pub(super) fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return Err("it is longer than 400 bytes");
    }
    if path.starts_with('/') {
        return Err("it is absolute");
    }
    if path.contains(is_control) {
        return Err("it contains a control character");
    }
    if path.contains(['\\', ':', '"', '<', '>', '|', '?', '*']) {
        return Err("it contains one of \\ : \" < > | ? *");
    }
    let mut depth = 0;
    for part in path.split('/') {
        depth += 1;
        match part {
            "" => return Err("a part of it is empty"),
            "." | ".." => return Err("a part of it leads to another folder"),
            _ if part.len() > 255 => return Err("a part of it is longer than 255 bytes"),
            _ if part.ends_with(['.', ' ']) => return Err("a part of it ends in a dot or a space"),
            _ if is_device(part) => return Err("a part of it is the name of a device"),
            _ => {}
        }
    }
    if depth > MAX_DEPTH { Err("it is deeper than 32 folders") } else { Ok(()) }
}

/// Whether the character could control a terminal or deceive its reader: control characters,
/// invisible ones, and those that change the direction of the text.
fn is_control(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Checks that `text` can be shown in a terminal.
///
/// # Errors
/// The broken rule.
pub(super) fn check_shown(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_SHOWN_BYTES {
        return Err("it is longer than 200 bytes");
    }
    if text.contains(is_control) { Err("it contains a control character") } else { Ok(()) }
}

/// Checks that `name` can be the name of a model or of one of its files, by the rules of the
/// library.
///
/// # Errors
/// The broken rule.
pub(super) fn check_model(name: &str) -> Result<(), &'static str> {
    check(name)?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-+".contains(letter);
    if name.len() > 128 {
        Err("it is longer than 128 bytes")
    } else if !name.chars().all(plain) {
        Err("it may contain only letters, digits and . _ - +")
    } else if name.starts_with(['.', '-']) || name.contains("..") {
        Err("it begins with . or -, or contains two dots in a row")
    } else {
        Ok(())
    }
}

/// Whether Windows takes this for a device, with any extension.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |name: &str| {
        stem.strip_prefix(name).is_some_and(|rest| {
            rest.len() == 1 && rest.bytes().all(|digit| (b'1'..=b'9').contains(&digit))
        })
    };
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

/// Checks all paths of a bundle, also against each other: no two may be the same name to a file
/// system, nor one both a file and a folder.
///
/// # Errors
/// The first bad path and the broken rule.
pub(super) fn check_all<'a>(
    paths: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), (&'a str, &'static str)> {
    let mut seen = HashSet::new();
    for path in paths.clone() {
        check(path).map_err(|why| (path, why))?;
        if !seen.insert(path.to_lowercase()) {
            return Err((path, "it occurs twice, ignoring case"));
        }
    }
    for path in paths {
        let lower = path.to_lowercase();
        let mut folders = lower.match_indices('/').map(|(end, _)| &lower[..end]);
        if folders.any(|folder| seen.contains(folder)) {
            return Err((path, "one of its folders is also a file"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_pass() {
        for path in [
            "README.md",
            "models/teacher/qwen2.5-0.5b/x.gguf",
            "a/.cargo/config.toml",
            "größe/con_",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn unsafe_names_are_refused() {
        let long = "a/".repeat(40) + "b";
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/./b",
            "a//b",
            "a/",
            "a\\b",
            "C:x",
            "a\0b",
            "a\nb",
            "nul",
            "a/Con.txt",
            "lpt1",
            "com9.tar.gz",
            "a./b",
            "a /b",
            "what?",
            long.as_str(),
        ] {
            assert!(check(path).is_err(), "{path:?}");
        }
        assert!(check(&"a".repeat(256)).is_err());
        assert!(check(&format!("{0}/{0}", "a".repeat(220))).is_err());
    }

    #[test]
    fn control_characters_are_refused() {
        assert_eq!(check_shown("Apache-2.0 OR MIT (größe)"), Ok(()));
        for text in ["\x1b[2J", "a\u{9b}2J", "a\u{202e}b", "a\u{2066}b", "a\nb", "\u{200f}"] {
            assert!(check_shown(text).is_err(), "{text:?}");
            assert!(check(&format!("x{text}y")).is_err(), "{text:?}");
        }
        assert!(check_shown(&"x".repeat(201)).is_err());
    }

    #[test]
    fn names_of_models_follow_the_rules_of_the_library() {
        assert_eq!(check_model("Qwen2.5-0.5B_instruct+x"), Ok(()));
        for name in ["", "..", "a/b", ".hidden", "-flag", "a..b", "a b", "ä", "nul"] {
            assert!(check_model(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn clashes_are_refused() {
        assert!(check_all(["a/b", "a/c", "b"].into_iter()).is_ok());
        assert_eq!(check_all(["a/b", "A/B"].into_iter()).unwrap_err().0, "A/B");
        assert_eq!(check_all(["a/b", "a"].into_iter()).unwrap_err().0, "a/b");
        assert_eq!(check_all(["A", "a/b"].into_iter()).unwrap_err().0, "a/b");
    }
}
