//! From `task.toml` and flags to one validated [`Settings`]. Every default stands here, with its reason.
//!
//! The order, later wins: the defaults below, the tables of `task.toml`, the flags
//! (`--set student.epochs=3` reaches every one of them).

mod paper;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

pub(crate) use paper::published;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{
    hint::Hint,
    models::{self, Role},
    pii::Scanner,
    student::{OutOfRange, TrainSettings},
    teacher::{FlashAttention, KvType, Sampling, SplitMode, grammar::ListGrammar, replay},
};

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("in the settings: {message}\nhint: `promptmix plan` shows every setting and its value")]
    Invalid { message: String },
    #[error("{key} is {value}: {wanted}\nhint: set it in task.toml or with --set {key}=...")]
    OutOfRange { key: &'static str, value: String, wanted: &'static str },
    #[error(
        "--set {given}: {message}\nhint: write --set table.key=value, for example --set augment.per_class=40"
    )]
    Override { given: String, message: String },
}

impl Hint for ConfigError {}

/// Everything a run is made with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub run: RunSettings,
    pub teacher: TeacherSettings,
    pub augment: AugmentSettings,
    pub relabel: RelabelSettings,
    pub filter: FilterSettings,
    pub student: StudentSettings,
    pub audit: AuditSettings,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunSettings {
    /// The one seed from which every random choice derives.
    pub seed: u64,
    /// Students trained per row of the result table. The paper asks for 3 or more; 5 narrow the
    /// interval at little cost.
    pub seeds: u64,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self { seed: 1, seeds: 5 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TeacherSettings {
    /// A GGUF file, a name from `promptmix models list`, `pocket`, or `replay:FILE`: what was
    /// recorded answers, the `ledger.jsonl` of a run or a JSONL file of texts with their labels.
    pub model: String,
    /// Requests decoded side by side; 0 = 16 on a CPU, 128 on a GPU, fewer where
    /// memory is short.
    pub slots: usize,
    /// Tokens in the cache of keys and values, for all slots together; 0 = what the slots need.
    pub context: usize,
    /// Most tokens in one call of llama.cpp; 0 = 2048.
    pub batch_tokens: usize,
    /// CPU threads; 0 = all cores, or one for a model of a few million weights. Several replicas
    /// share them.
    pub threads: usize,
    /// Layers on the GPU; unset = all in a GPU build, none otherwise.
    pub gpu_layers: Option<u32>,
    /// Engines side by side, each with the whole model, behind one queue: one for each GPU.
    pub replicas: usize,
    /// Numbers of the devices to use, one for each replica in turn; empty = all.
    pub devices: Vec<usize>,
    /// How one model is laid over several devices: `layer`, `row` or `none`.
    pub split_mode: SplitMode,
    /// Type of the cache of keys and values: `f32`, `f16`, `bf16`, `q8_0`, `q5_0` or `q4_0`. f16 is
    /// llama.cpp's own default; the smaller ones save memory on a GPU and are slower on a CPU.
    pub kv_type: KvType,
    /// `auto`, `on` or `off`.
    pub flash_attention: FlashAttention,
    /// Answers depend on their requests alone, not on what is decoded beside them: slower, and the
    /// same rows each time.
    pub deterministic: bool,
    /// The engine runs inside this process, without a supervisor: for profiling.
    pub in_process: bool,
    /// An engine that is silent for so many seconds counts as hung and is started again; 0 = never.
    pub watchdog_seconds: u64,
    /// A Jinja file, or `chatml`, instead of the template in the model.
    pub chat_template: Option<String>,
}

impl Default for TeacherSettings {
    fn default() -> Self {
        Self {
            model: "pocket".into(),
            slots: 0,
            context: 0,
            batch_tokens: 0,
            threads: 0,
            gpu_layers: None,
            replicas: 1,
            devices: Vec::new(),
            split_mode: SplitMode::default(),
            kv_type: KvType::default(),
            flash_attention: FlashAttention::default(),
            deterministic: false,
            in_process: false,
            watchdog_seconds: 600,
            chat_template: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AugmentSettings {
    /// New texts per class (paper: 100).
    pub per_class: usize,
    /// Texts asked for in one request (paper: 3).
    pub texts_per_request: usize,
    /// Classes shown in one prompt (paper: 4).
    pub classes_shown: usize,
    /// `even`: any class may be shown beside another and mixed into it, as in the paper.
    /// `confusable`: near classes more often ([`Partners`]).
    pub partners: Partners,
    /// α = 0.5 + 0.5·Beta(a, b), rounded to 0.05 (paper: 5 and 2).
    pub beta: (f64, f64),
    /// Rounds in which missing texts are asked for again; the paper has no bound.
    pub tries: usize,
    /// Longest reply in tokens (paper: 256).
    pub max_tokens: usize,
    /// Replies are held to the form of a numbered list while they are written, so that none is
    /// wasted; false leaves the teacher free, as the paper does.
    pub constrained: bool,
    /// Longest text in characters.
    pub longest: usize,
    /// Each wanted text has an α of its own and is asked for again until so many different texts are
    /// there, one of which is kept (the published code: 10). After `tries` times the requests that
    /// this takes at least, one of what is there is kept. 0, the default, keeps every text: the
    /// others cost the teacher as much and are as good.
    pub unique_per_text: usize,
    /// The percentages of a prompt are cut off instead of rounded, so that 55 % stands beside 44 %
    /// (the published code). Off: both shares add up to 100.
    pub truncated_percent: bool,
    #[serde(flatten)]
    pub sampling: Sampling,
}

/// Which classes are shown beside the one that texts are wanted of, and mixed into it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Partners {
    /// All with the same probability. The default, as published: nearness gains nothing on the demo
    /// task (A2 83.3 % instead of 84.2 %, A1 81.5 instead of 79.9, each inside the other's interval),
    /// whose few classes are nearly all shown anyhow.
    #[default]
    Even,
    /// The nearer, the more often: the class of rank r (0 is the nearest by the centroids of names,
    /// descriptions and seeds) weighs 1/(r + 1), so that every pair can occur and most lie on a
    /// boundary that matters.
    Confusable,
}

impl Default for AugmentSettings {
    fn default() -> Self {
        Self {
            per_class: 100,
            texts_per_request: 3,
            classes_shown: 4,
            partners: Partners::default(),
            beta: (5.0, 2.0),
            tries: 3,
            max_tokens: 256,
            constrained: true,
            longest: 500,
            unique_per_text: 0,
            truncated_percent: false,
            sampling: Sampling::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RelabelSettings {
    /// Nearest classes among which the teacher chooses (paper: 5).
    pub candidates: usize,
    /// Up to this many classes all of them are candidates: scoring a few names more costs almost
    /// nothing, and the true class cannot be missed.
    pub all_up_to: usize,
    /// Divide a name's log-probability by its number of tokens. Off: on the demo task the teacher
    /// classifies 95.8 % rightly with and without it.
    pub length_normalisation: bool,
    /// Divide by the teacher's answers to texts without content (Zhao et al. 2021). Off: on the demo
    /// task it costs the teacher 2 points (93.5 %).
    pub contextual_calibration: bool,
    /// The teacher writes its answer, at temperature 0, and an answer that is no class name counts as
    /// the class, of all classes, whose name is nearest to it (the paper). Off: the candidates are
    /// scored, which gives probabilities and cannot miss. Recorded texts keep their labels.
    pub free_text: bool,
    /// The seeds are relabelled too, and row A2 learns the teacher's labels of them (the published
    /// code). Off: a person has labelled them.
    pub gold: bool,
}

impl Default for RelabelSettings {
    fn default() -> Self {
        Self {
            candidates: 5,
            all_up_to: 8,
            length_normalisation: false,
            contextual_calibration: false,
            free_text: false,
            gold: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FilterSettings {
    /// Texts whose ROUGE-L F1 with an earlier one of their class reaches this are dropped.
    pub rouge_l: f64,
    /// Texts whose relabelling probability is below this are dropped; 0 keeps all, as the paper does.
    pub min_probability: f32,
    /// What is trained on, seeds included, has `[EMAIL]`, `[PHONE]`, … in the place of personal data,
    /// and so has the report. `augmented.jsonl`, `relabelled.jsonl` and the ledger keep the texts as they
    /// were written. Off: a class may be about addresses, and a student that never saw one meets them
    /// in use.
    pub redact: bool,
}

impl Default for FilterSettings {
    fn default() -> Self {
        Self { rouge_l: 0.85, min_probability: 0.0, redact: false }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuditSettings {
    /// Kinds of personal data beside the built-in ones: names with regular expressions (those of the
    /// regex crate: no look-around, no back-references), for example
    /// `patterns = { badge = '\bEMP-\d{5}\b' }`.
    pub patterns: BTreeMap<String, String>,
}

impl AuditSettings {
    /// What finds personal data, the task's own kinds included.
    ///
    /// # Errors
    /// A pattern that is none, with its name.
    pub(crate) fn scanner(&self) -> Result<Scanner, ConfigError> {
        Scanner::new(&self.patterns)
            .map_err(|error| ConfigError::Invalid { message: format!("audit.patterns: {error}") })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StudentSettings {
    /// A Hugging Face folder of a DistilBERT or BERT, a name from `promptmix models list`, or `pocket`.
    pub model: String,
    /// How it is trained.
    #[serde(flatten)]
    pub training: TrainSettings,
    /// Relabelled rows weigh as much as the teacher is sure of them (the probability of their label),
    /// instead of all the same.
    pub confidence_weights: bool,
    /// The state of the student that is kept is also written within an epoch, after so many steps;
    /// 0 = after epochs only.
    pub snapshot_steps: usize,
}

impl Default for StudentSettings {
    fn default() -> Self {
        Self {
            model: "pocket".into(),
            training: TrainSettings::default(),
            confidence_weights: false,
            snapshot_steps: 0,
        }
    }
}

impl Settings {
    /// Lays `task` (the tables of task.toml, whose paths are relative to `folder`) and `overrides`
    /// (`table.key=value`) over the defaults.
    ///
    /// # Errors
    /// Unknown keys, wrong types, values out of range; each names its key.
    pub(crate) fn resolve(
        task: &Table,
        folder: &Path,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::parse(task.clone())?;
        settings.make_paths_absolute(folder);
        let mut table = Table::try_from(&settings)
            .map_err(|error| ConfigError::Invalid { message: error.to_string() })?;
        for given in overrides {
            apply_override(&mut table, given)?;
        }
        let mut settings = Self::parse(table)?;
        settings.make_paths_absolute(Path::new(""));
        settings.validate()?;
        Ok(settings)
    }

    /// The same settings with `overrides` (`table.key=value`) laid over them.
    ///
    /// # Errors
    /// As [`Settings::resolve`].
    pub(crate) fn with(&self, overrides: &[String]) -> Result<Self, ConfigError> {
        let table = Table::try_from(self)
            .map_err(|error| ConfigError::Invalid { message: error.to_string() })?;
        Self::resolve(&table, Path::new(""), overrides)
    }

    fn parse(table: Table) -> Result<Self, ConfigError> {
        let invalid =
            |error: toml::de::Error| ConfigError::Invalid { message: error.message().to_owned() };
        Value::Table(table).try_into().map_err(invalid)
    }

    /// The settings as TOML, every value written out.
    pub(crate) fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("settings hold nothing that TOML cannot write")
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("run.seeds", self.run.seeds as usize),
            ("teacher.replicas", self.teacher.replicas),
            ("augment.per_class", self.augment.per_class),
            ("augment.texts_per_request", self.augment.texts_per_request),
            ("augment.tries", self.augment.tries),
            ("augment.max_tokens", self.augment.max_tokens),
            ("augment.longest", self.augment.longest),
            ("relabel.candidates", self.relabel.candidates.saturating_sub(1)),
            ("augment.classes_shown", self.augment.classes_shown.saturating_sub(1)),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            let wanted = "it must be larger";
            return Err(ConfigError::OutOfRange { key, value: "too small".into(), wanted });
        }
        self.audit.scanner()?;
        if let Some(OutOfRange { key, value, wanted }) = self.student.training.fault() {
            return Err(ConfigError::OutOfRange { key, value, wanted });
        }
        let list = ListGrammar::new(self.augment.texts_per_request, self.augment.longest);
        if self.augment.constrained && self.augment.max_tokens < list.least_budget() {
            let wanted =
                "a list of so many texts (`augment.texts_per_request`) cannot be that short";
            let value = self.augment.max_tokens.to_string();
            return Err(ConfigError::OutOfRange { key: "augment.max_tokens", value, wanted });
        }
        let small_cache =
            matches!(self.teacher.kv_type, KvType::Q8_0 | KvType::Q5_0 | KvType::Q4_0);
        if small_cache && self.teacher.flash_attention == FlashAttention::Off {
            let wanted = "a cache of q8_0, q5_0 or q4_0 needs flash attention";
            let (key, value) = ("teacher.flash_attention", "off".to_owned());
            return Err(ConfigError::OutOfRange { key, value, wanted });
        }
        let Sampling {
            temperature,
            top_p,
            min_p,
            repeat_penalty,
            frequency_penalty,
            presence_penalty,
            ..
        } = self.augment.sampling;
        let (a, b) = self.augment.beta;
        let ranges = [
            (
                "augment.temperature",
                f64::from(temperature),
                0.0,
                10.0,
                "it must lie between 0 and 10",
            ),
            ("augment.top_p", f64::from(top_p), 1e-6, 1.0, "it must lie above 0 and at most at 1"),
            ("augment.min_p", f64::from(min_p), 0.0, 0.999, "it must lie between 0 and 1"),
            (
                "augment.repeat_penalty",
                f64::from(repeat_penalty),
                0.1,
                10.0,
                "it must lie between 0.1 and 10 (1 is off)",
            ),
            (
                "augment.frequency_penalty",
                f64::from(frequency_penalty),
                -10.0,
                10.0,
                "it must lie between -10 and 10 (0 is off)",
            ),
            (
                "augment.presence_penalty",
                f64::from(presence_penalty),
                -10.0,
                10.0,
                "it must lie between -10 and 10 (0 is off)",
            ),
            ("augment.beta", a.min(b), 1e-3, 1e6, "both parameters must be positive"),
            (
                "filter.rouge_l",
                self.filter.rouge_l,
                1e-6,
                2.0,
                "it must be positive (above 1 keeps all)",
            ),
            (
                "filter.min_probability",
                f64::from(self.filter.min_probability),
                0.0,
                1.0,
                "it must lie between 0 and 1",
            ),
        ];
        match ranges.into_iter().find(|(_, value, low, high, _)| !(low..=high).contains(&value)) {
            Some((key, value, _, _, wanted)) => {
                Err(ConfigError::OutOfRange { key, value: value.to_string(), wanted })
            }
            None => Ok(()),
        }
    }

    /// Model paths that exist below `folder` become absolute; names of models stay as they are.
    fn make_paths_absolute(&mut self, folder: &Path) {
        let absolute = |spec: &str| {
            let path = folder.join(spec);
            let found = path.exists().then(|| std::path::absolute(path).ok()).flatten();
            found.map_or_else(|| spec.to_owned(), |path| path.to_string_lossy().into_owned())
        };
        // A folder that happens to have the name of a model does not stand in for it.
        let model = |role, spec: &str| match models::is_name(role, spec) {
            true => spec.to_owned(),
            false => absolute(spec),
        };
        self.teacher.model = match self.teacher.model.strip_prefix(replay::SCHEME) {
            Some(file) => format!("{}{}", replay::SCHEME, absolute(file)),
            None => model(Role::Teacher, &self.teacher.model),
        };
        self.student.model = model(Role::Student, &self.student.model);
        self.teacher.chat_template = self.teacher.chat_template.as_deref().map(absolute);
    }
}

fn apply_override(table: &mut Table, given: &str) -> Result<(), ConfigError> {
    let wrong =
        |message: &str| ConfigError::Override { given: given.into(), message: message.into() };
    let (key, text) = given.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
    let (section, key) =
        key.trim().split_once('.').ok_or_else(|| wrong("the key names no table"))?;
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
