//! Which names a bundle may hold. They become files on somebody's machine, so the rules are those of
//! the strictest one: what Windows would read as a drive, a stream, a device or the same name in other
//! capitals is refused everywhere. Letters outside ASCII are let through, since sources have them, and
//! are not normalised: where a file system takes two spellings of `é` for one name, the second of the two
//! cannot be written and the import ends with that error. They never name a model.

use std::collections::HashSet;

/// Longest path, in bytes.
const LONGEST: usize = 400;
/// Most folders around a file.
const DEEPEST: usize = 32;
/// Most bytes of a text that is shown.
const LONGEST_SHOWN: usize = 200;

/// Says why `path` is no name for a member.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it is empty");
    }
    if path.len() > LONGEST {
        return Err("it is longer than 400 bytes");
    }
    if path.starts_with('/') {
        return Err("it is absolute");
    }
    if path.contains(steers) {
        return Err("it has a control character in it");
    }
    if path.contains(['\\', ':', '"', '<', '>', '|', '?', '*']) {
        return Err("it has one of \\ : \" < > | ? * in it");
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
    if depth > DEEPEST { Err("it is deeper than 32 folders") } else { Ok(()) }
}

/// What steers a terminal: control characters, and those that turn the direction of a text or hide.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Says why `text` is not shown to people.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn check_shown(text: &str) -> Result<(), &'static str> {
    if text.len() > LONGEST_SHOWN {
        return Err("it is longer than 200 bytes");
    }
    if text.contains(steers) { Err("it has a control character in it") } else { Ok(()) }
}

/// Says why `name` is no name of a model or of its file: the rules of the library.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn check_model(name: &str) -> Result<(), &'static str> {
    check(name)?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-+".contains(letter);
    if name.len() > 128 {
        Err("it is longer than 128 bytes")
    } else if !name.chars().all(plain) {
        Err("only letters, digits and . _ - + may stand in it")
    } else if name.starts_with(['.', '-']) || name.contains("..") {
        Err("it begins with . or -, or holds two dots in a row")
    } else {
        Ok(())
    }
}

/// What Windows takes for a device, with any ending.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |name: &str| {
        stem.strip_prefix(name).is_some_and(|rest| {
            rest.len() == 1 && rest.bytes().all(|digit| (b'1'..=b'9').contains(&digit))
        })
    };
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

/// Names that a file system could take for the same, or for a file and a folder at once.
///
/// # Errors
/// The path that clashes with another, and how.
pub(super) fn check_all<'a>(
    paths: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), (&'a str, &'static str)> {
    let mut seen = HashSet::new();
    for path in paths.clone() {
        check(path).map_err(|why| (path, why))?;
        if !seen.insert(path.to_lowercase()) {
            return Err((path, "it is there twice, if capitals do not count"));
        }
    }
    for path in paths {
        let lower = path.to_lowercase();
        let mut folders = lower.match_indices('/').map(|(end, _)| &lower[..end]);
        if folders.any(|folder| seen.contains(folder)) {
            return Err((path, "a folder of it is a file too"));
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
    fn names_that_lead_elsewhere_are_refused() {
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
    fn what_steers_a_terminal_is_refused() {
        assert_eq!(check_shown("Apache-2.0 OR MIT (größe)"), Ok(()));
        for text in ["\x1b[2J", "a\u{9b}2J", "a\u{202e}b", "a\u{2066}b", "a\nb", "\u{200f}"] {
            assert!(check_shown(text).is_err(), "{text:?}");
            assert!(check(&format!("x{text}y")).is_err(), "{text:?}");
        }
        assert!(check_shown(&"x".repeat(201)).is_err());
    }

    #[test]
    fn models_have_names_that_the_library_takes() {
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
