//! One validated [`Settings`] from `task.toml` and flags.
//!
//! Later layers win: the defaults, the tables of `task.toml`, then the flags (`--set
//! student.epochs=3` reaches every setting). Each table has a file here, with the default of each
//! of its settings, the reason for it and what was measured; [`student`] includes
//! [`crate::student::TrainSettings`], [`augment`] includes [`crate::teacher::Sampling`].
//!
//! `docs/settings.md` is generated from the doc comments and defaults of all of these.

mod audit;
mod augment;
mod check;
mod filter;
mod label;
mod paper;
mod relabel;
mod report;
mod run;
mod student;
mod teacher;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, path::Path};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use audit::AuditSettings;
use label::LabelSettings;
use report::ReportSettings;
use run::RunSettings;
use teacher::TeacherSettings;
pub(crate) use {
    self::relabel::{Calibration, Labels},
    augment::{AugmentSettings, Partners},
    filter::FilterSettings,
    paper::{paper_overrides, paper_row_overrides},
    relabel::RelabelSettings,
    student::{DriftReference, Gold, StudentSettings, UseTexts},
};

use crate::{
    hint::Hint,
    models::{self, Role},
    suggest,
    task::{Place, Task, above_tables_hint, is_root_key},
    teacher::replay,
};

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("invalid settings: {message}")]
    Invalid { message: String },
    /// One of the others, in a `task.toml`.
    #[error("{place}: {error}")]
    InTask { place: Place, error: Box<ConfigError>, hint: Option<String> },
    #[error("{key} is {value}: {wanted}")]
    OutOfRange { key: &'static str, value: String, wanted: Cow<'static, str> },
    #[error(
        "{place}: class {class:?} has none_of_these = true, which the published method (--paper, augment.unique_per_text) has no prompt for"
    )]
    NoneOfThese { place: Place, class: String },
    #[error("task.toml sets teacher.in_process, but a task cannot disable the teacher's isolation")]
    Isolation,
    #[error("--set {given}: {message}")]
    Override { given: String, message: String },
}

impl Hint for ConfigError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::InTask { hint: Some(hint), .. } => hint.into(),
            Self::InTask { error, .. } => return error.hint(),
            Self::Invalid { .. } => "`promptmix plan` lists all settings and their values".into(),
            Self::OutOfRange { key, .. } => {
                format!("change it in task.toml or with --set {key}=...").into()
            }
            Self::NoneOfThese { .. } => {
                "run without --paper and augment.unique_per_text, or remove none_of_these".into()
            }
            Self::Isolation => {
                "remove the line; to run the teacher in this process, pass --in-process".into()
            }
            Self::Override { .. } => {
                "use --set table.key=value, for example --set augment.per_class=40; `promptmix plan` shows every setting".into()
            }
        })
    }
}

/// All settings of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub run: RunSettings,
    pub teacher: TeacherSettings,
    pub augment: AugmentSettings,
    pub relabel: RelabelSettings,
    pub label: LabelSettings,
    pub filter: FilterSettings,
    pub student: StudentSettings,
    pub audit: AuditSettings,
    pub report: ReportSettings,
}

/// The key that the unknown one in an error's `message` is most like.
fn similar_key(message: &str) -> Option<String> {
    let unknown = message.strip_prefix("unknown field `")?.split('`').next()?;
    let tables = Settings::default().to_table().ok()?;
    let inner = tables.iter().filter_map(|(_, table)| table.as_table()).flat_map(Table::keys);
    suggest::nearest(unknown, inner.chain(tables.keys())).cloned()
}

/// The table and the key in `tables`, those of a `task.toml`, that `error` is about.
fn faulty_key(error: &ConfigError, tables: &Table) -> Option<[String; 2]> {
    let has = |table: &str, key: &str| tables.get(table).is_some_and(|it| it.get(key).is_some());
    match error {
        ConfigError::Invalid { .. } => {
            let keys = tables.iter().filter_map(|(name, table)| Some((name, table.as_table()?)));
            let mut keys = keys.flat_map(|(name, table)| table.iter().map(move |key| (name, key)));
            keys.find_map(|(name, (key, value))| {
                let table: Table = [(key.clone(), value.clone())].into_iter().collect();
                let alone = [(name.clone(), Value::Table(table))].into_iter().collect();
                Settings::parse(alone).is_err().then(|| [name.clone(), key.clone()])
            })
        }
        ConfigError::OutOfRange { key, .. } => {
            let (table, key) = key.split_once('.')?;
            has(table, key).then(|| [table.to_owned(), key.to_owned()])
        }
        _ => None,
    }
}

impl Settings {
    /// The settings of `task`, with `overrides` (`table.key=value`) applied.
    ///
    /// # Errors
    /// As [`Settings::resolve`], with the place in `task.toml` of a value that stands there.
    pub(crate) fn of_task(task: &Task, overrides: &[String]) -> Result<Self, ConfigError> {
        let settings = Self::resolve(&task.settings, &task.folder, overrides).map_err(|error| {
            let found = faulty_key(&error, &task.settings);
            let is_own = |[table, key]: &[String; 2]| {
                let name = format!("{table}.{key}");
                !overrides.iter().any(|given| key_of(given) == Some(&name))
            };
            let Some([table, key]) = found.filter(is_own) else { return error };
            let place = task.place_of(&[&table, &key]);
            let hint = is_root_key(&key).then(|| above_tables_hint(&key));
            ConfigError::InTask { place, error: Box::new(error), hint }
        })?;
        match task.none_of_these().filter(|_| settings.augment.unique_per_text > 0) {
            Some(class) => {
                let (class, place) = (task.classes[class].name.clone(), task.place_of(&["class"]));
                Err(ConfigError::NoneOfThese { place, class })
            }
            None => Ok(settings),
        }
    }

    /// Applies `task` (the tables of task.toml, with paths relative to `folder`) and then
    /// `overrides` (`table.key=value`) to the defaults.
    ///
    /// # Errors
    /// An unknown key, a value of the wrong type or out of range.
    pub(crate) fn resolve(
        task: &Table,
        folder: &Path,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        let teacher = task.get("teacher").and_then(Value::as_table);
        if teacher.is_some_and(|teacher| teacher.contains_key("in_process")) {
            return Err(ConfigError::Isolation);
        }
        Self::resolve_trusted(task, folder, overrides)
    }

    /// As [`resolve`](Self::resolve), for a table that this program wrote.
    fn resolve_trusted(
        task: &Table,
        folder: &Path,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::parse(task.clone())?;
        settings.make_paths_absolute(folder);
        let mut table = settings.to_table()?;
        for (at, given) in overrides.iter().enumerate() {
            // A later value for the same key takes the place of this one, right or wrong.
            let key = key_of(given);
            if key.is_some() && overrides[at + 1..].iter().any(|later| key_of(later) == key) {
                continue;
            }
            apply_override(&mut table, given)?;
            // One by one, so that the error names the override that is wrong.
            if let Err(ConfigError::Invalid { message }) = Self::parse(table.clone()) {
                return Err(ConfigError::Override { given: given.clone(), message });
            }
        }
        let mut settings = Self::parse(table)?;
        settings.make_paths_absolute(Path::new(""));
        settings.validate()?;
        Ok(settings)
    }

    /// These settings with `overrides` (`table.key=value`) applied.
    ///
    /// # Errors
    /// As [`Settings::resolve`].
    pub(crate) fn with(&self, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::resolve_trusted(&self.to_table()?, Path::new(""), overrides)
    }

    fn parse(table: Table) -> Result<Self, ConfigError> {
        let invalid = |error: toml::de::Error| ConfigError::Invalid {
            message: match similar_key(error.message()) {
                Some(key) => format!("{}; did you mean `{key}`?", error.message()),
                None => error.message().to_owned(),
            },
        };
        Value::Table(table).try_into().map_err(invalid)
    }

    fn to_table(&self) -> Result<Table, ConfigError> {
        Table::try_from(self).map_err(|error| ConfigError::Invalid { message: error.to_string() })
    }

    /// The settings as TOML, every value written out.
    pub(crate) fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("every setting can be written as TOML")
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.run.validate()?;
        self.teacher.validate()?;
        self.augment.validate()?;
        self.relabel.validate()?;
        self.label.validate()?;
        self.filter.validate()?;
        self.student.validate()?;
        self.audit.validate()
    }

    /// Makes paths that exist below `folder` absolute and leaves names of models unchanged.
    fn make_paths_absolute(&mut self, folder: &Path) {
        let absolute = |spec: &str| {
            let path = folder.join(spec);
            let found = (!spec.is_empty() && path.exists())
                .then(|| std::path::absolute(path).ok())
                .flatten();
            found.map_or_else(|| spec.to_owned(), |path| path.to_string_lossy().into_owned())
        };
        // A name wins over a folder that happens to be called the same.
        let model = |role, spec: &str| match models::is_name(role, spec) {
            true => spec.to_owned(),
            false => absolute(spec),
        };
        self.teacher.model = match self.teacher.model.strip_prefix(replay::SCHEME) {
            Some(file) => format!("{}{}", replay::SCHEME, absolute(file)),
            None => model(Role::Teacher, &self.teacher.model),
        };
        self.student.model = model(Role::Student, &self.student.model);
        let teacher = &mut self.teacher;
        for file in [&mut teacher.chat_template, &mut teacher.tls_ca, &mut teacher.api_key_file] {
            *file = file.as_deref().map(absolute);
        }
    }
}

/// The key of an override; `None` if it sets nothing.
fn key_of(given: &str) -> Option<&str> {
    given.split_once('=').map(|(key, _)| key.trim())
}

/// Sets the `table.key=value` that is `given`; what does not parse as TOML is a string.
fn apply_override(table: &mut Table, given: &str) -> Result<(), ConfigError> {
    let wrong =
        |message: &str| ConfigError::Override { given: given.into(), message: message.into() };
    let (key, text) = given.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
    let (section, key) = key.trim().split_once('.').ok_or_else(|| wrong("the key has no table"))?;
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.trim().to_owned()));
    table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()))
        .as_table_mut()
        .ok_or_else(|| wrong("that is not a table"))?
        .insert(key.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod isolation {
    use super::*;

    #[test]
    fn only_a_flag_switches_the_isolation_off() {
        let task: Table = "[teacher]\nin_process = true".parse().unwrap();
        let refused = Settings::resolve(&task, Path::new(""), &[]).unwrap_err();
        assert!(refused.hint().unwrap().contains("--in-process"), "{refused}");
        let flag = ["teacher.in_process=true".to_owned()];
        let settings = Settings::resolve(&Table::new(), Path::new(""), &flag).unwrap();
        assert!(settings.teacher.in_process && settings.with(&[]).unwrap().teacher.in_process);
    }
}
