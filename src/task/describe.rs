//! Puts new descriptions into a `task.toml` and leaves everything else in it as it is: comments,
//! layout, the order of keys, line breaks.

use std::{
    borrow::Cow,
    fs, io,
    path::{Path, PathBuf},
};

use toml_edit::{DocumentMut, Item, TableLike, TomlError, Value};

use super::manifest::FILE;
use crate::{
    fs::{read_regular, write_atomic},
    hint::Hint,
};

/// The largest `task.toml` that is changed, in bytes; those in use have a few kB.
const MAX_BYTES: u64 = 16 << 20;

/// A description and the one that it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewDescription<'a> {
    /// The name of the class.
    pub class: &'a str,
    pub old: &'a str,
    pub new: &'a str,
}

/// Why descriptions were not replaced. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DescribeError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not valid TOML: {message}", path.display())]
    NotToml { path: PathBuf, message: String },
    #[error("{} has no class \"{}\"", path.display(), class.escape_debug())]
    NoClass { path: PathBuf, class: String },
    #[error(
        "{}: the description of \"{}\" is not the one that the draft is to replace",
        path.display(),
        class.escape_debug()
    )]
    Changed { path: PathBuf, class: String },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Hint for DescribeError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Read { .. } => {
                "run the command in the folder in which the run was started, or name the task with --task".into()
            }
            Self::NotToml { .. } => "`promptmix plan` with this task names the line".into(),
            Self::NoClass { .. } | Self::Changed { .. } => {
                "`promptmix run` with this task takes up its changes; then let `refine` draft anew".into()
            }
            Self::Write { .. } => "check the folder and its permissions".into(),
        })
    }
}

/// The `task.toml` of a task at `path`, a folder or the file itself.
pub(crate) fn manifest_path(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FILE) } else { path.to_owned() }
}

/// Replaces descriptions in the `task.toml` at `path`: all of them, or none. One that is there
/// already is left alone. Returns the names of the classes whose description changed.
///
/// # Errors
/// A file that cannot be read, is no TOML, or has another description or no such class; a failed
/// write.
pub(crate) fn replace_descriptions<'a>(
    path: &Path,
    new: &[NewDescription<'a>],
) -> Result<Vec<&'a str>, DescribeError> {
    let read = |source| DescribeError::Read { path: path.to_owned(), source };
    // The file that a link names is changed, and the link stays.
    let real = fs::canonicalize(path).map_err(read)?;
    let text = read_regular(&real, MAX_BYTES).map_err(read)?;
    let (edited, changed) = with_descriptions(path, &text, new)?;
    if !changed.is_empty() {
        let write = |source| DescribeError::Write { path: path.to_owned(), source };
        let permissions = fs::metadata(&real).map_err(write)?.permissions();
        write_atomic(&real, edited.as_bytes())
            .and_then(|()| fs::set_permissions(&real, permissions))
            .map_err(write)?;
    }
    Ok(changed)
}

/// The `text` of the file `path` with new descriptions, and the classes that have another one than
/// before.
fn with_descriptions<'a>(
    path: &Path,
    text: &str,
    new: &[NewDescription<'a>],
) -> Result<(String, Vec<&'a str>), DescribeError> {
    let (mark, body) = text.strip_prefix('\u{feff}').map_or(("", text), |body| ("\u{feff}", body));
    let mut document: DocumentMut = body.parse().map_err(|error: TomlError| {
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        DescribeError::NotToml { path: path.to_owned(), message }
    })?;
    let mut changed = Vec::new();
    for NewDescription { class, old, new } in new.iter().copied() {
        let Some(table) = class_named(&mut document, class) else {
            return Err(DescribeError::NoClass { path: path.to_owned(), class: class.to_owned() });
        };
        let now = table.get("description").and_then(Item::as_str).unwrap_or_default().trim();
        if now == new {
            continue;
        }
        if now != old {
            return Err(DescribeError::Changed { path: path.to_owned(), class: class.to_owned() });
        }
        describe(table, new);
        changed.push(class);
    }
    let mut edited = document.to_string();
    // toml_edit ends lines with a line feed, and the last one too.
    if body.matches('\n').count() == body.matches("\r\n").count() && body.contains('\n') {
        edited = edited.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    if !body.ends_with('\n') {
        edited.truncate(edited.trim_end_matches(['\r', '\n']).len());
    }
    Ok((mark.to_owned() + &edited, changed))
}

/// The table of the class `name`, under `[[class]]` or in an array of inline tables.
fn class_named<'d>(document: &'d mut DocumentMut, name: &str) -> Option<&'d mut dyn TableLike> {
    let is_named = |table: &dyn TableLike| table.get("name").and_then(Item::as_str) == Some(name);
    match document.get_mut("class")? {
        Item::ArrayOfTables(tables) => {
            let mut tables = tables.iter_mut().map(|table| table as &mut dyn TableLike);
            tables.find(|table| is_named(&**table))
        }
        Item::Value(Value::Array(values)) => {
            let tables = values.iter_mut().filter_map(Value::as_inline_table_mut);
            let mut tables = tables.map(|table| table as &mut dyn TableLike);
            tables.find(|table| is_named(&**table))
        }
        _ => None,
    }
}

/// Sets the description of a class; the comment behind the former one stays.
fn describe(table: &mut dyn TableLike, text: &str) {
    match table.get_mut("description").and_then(Item::as_value_mut) {
        Some(value) => {
            let decor = value.decor().clone();
            *value = Value::from(text);
            *value.decor_mut() = decor;
        }
        None => drop(table.insert("description", toml_edit::value(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "# my task\nitem   = \"ticket\"\n\n[[class]] # the first\nname = \"vpn\" # short\n\
        description = \"old vpn\"   # keep me\n\n# the second\n[[class]]\nname = 'mail'\n\n[data]\n\
        seeds = \"seeds.csv\"   # labelled\n";

    const fn new<'a>(class: &'a str, old: &'a str, new: &'a str) -> NewDescription<'a> {
        NewDescription { class, old, new }
    }

    fn edit(toml: &str, all: &[NewDescription<'_>]) -> Result<String, DescribeError> {
        with_descriptions(Path::new("task.toml"), toml, all).map(|(text, _)| text)
    }

    #[test]
    fn comments_and_layout_stay_as_they_are() {
        let both = [new("vpn", "old vpn", "a new one"), new("mail", "", "letters")];
        let wanted = TOML
            .replace("old vpn", "a new one")
            .replace("name = 'mail'\n", "name = 'mail'\ndescription = \"letters\"\n");
        assert_eq!(edit(TOML, &both).unwrap(), wanted);
        let crlf = |text: &str| text.replace('\n', "\r\n");
        assert_eq!(edit(&crlf(TOML), &both).unwrap(), crlf(&wanted));
        let marked = format!("\u{feff}{}", TOML.trim_end());
        assert_eq!(edit(&marked, &both).unwrap(), format!("\u{feff}{}", wanted.trim_end()));
        let again = with_descriptions(Path::new("t"), &wanted, &both).unwrap();
        assert_eq!(again, (wanted, Vec::new()), "accepted already");
    }

    #[test]
    fn classes_in_an_array_are_found() {
        let toml =
            "class = [\n  {name = \"a\"}, # one\n  { name = \"b\", description = \"\" },\n]\n";
        let edited = edit(toml, &[new("a", "", "x"), new("b", "", "a \"y\"")]).unwrap();
        let table: toml::Table = edited.parse().unwrap();
        let described = |at: usize| table["class"][at]["description"].as_str().unwrap();
        assert_eq!((described(0), described(1)), ("x", "a \"y\""), "{edited}");
        assert!(edited.contains("# one") && edited.lines().count() == 4, "{edited}");
    }

    #[test]
    fn another_description_or_no_such_class_is_an_error() {
        let error = edit(TOML, &[new("vpn", "older", "x")]).unwrap_err().to_string();
        assert!(error.contains("the description of \"vpn\" is not the one"), "{error}");
        let error = edit(TOML, &[new("fax", "", "x")]).unwrap_err().to_string();
        assert_eq!(error, "task.toml has no class \"fax\"");
        assert!(matches!(edit("a = ", &[]), Err(DescribeError::NotToml { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_so_do_the_permissions() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("shared.toml"), folder.path().join("task.toml"));
        fs::write(&file, TOML).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        let changed = replace_descriptions(&link, &[new("vpn", "old vpn", "x")]).unwrap();
        assert_eq!(changed, ["vpn"]);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&file).unwrap().contains("description = \"x\"   # keep me"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        let gone = replace_descriptions(&folder.path().join("no.toml"), &[]).unwrap_err();
        assert!(gone.to_string().contains("cannot read"), "{gone}");
    }
}
