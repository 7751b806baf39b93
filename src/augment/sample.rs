//! A small [`PromptContext`] for tests.

use std::path::PathBuf;

use super::PromptContext;
use crate::{
    config::AugmentSettings,
    prompt::Prompts,
    task::{Class, LabelledText, Task},
};

/// Owns what a [`PromptContext`] borrows.
pub(crate) struct Sample {
    pub task: Task,
    pub seeds: Vec<LabelledText>,
    pub prompts: Prompts,
    pub settings: AugmentSettings,
    pub nearest: Vec<Vec<usize>>,
    pub style: Vec<String>,
}

pub(crate) fn seed(text: &str, label: usize) -> LabelledText {
    LabelledText { text: text.to_owned(), label }
}

impl Sample {
    /// A task with these classes, each of them "described as" its name.
    pub(crate) fn new(classes: &[&str], seeds: Vec<LabelledText>) -> Self {
        let class = |name: &&str| Class {
            name: (*name).to_owned(),
            description: format!("described as {name}"),
            title: None,
            formerly: None,
            none_of_these: false,
        };
        let task = Task {
            name: "sample".to_owned(),
            item: "ticket".to_owned(),
            items: "tickets".to_owned(),
            shots: 2,
            classes: classes.iter().map(class).collect(),
            seeds: seeds.clone(),
            test: Vec::new(),
            test_lines: Vec::new(),
            pool: Vec::new(),
            unlabelled: None,
            folder: PathBuf::new(),
            settings: toml::Table::new(),
            manifest: String::new(),
            sha256: String::new(),
            warnings: Vec::new(),
        };
        let prompts = Prompts::load(None).expect("the built-in templates compile");
        let settings = AugmentSettings::default();
        Self { task, seeds, prompts, settings, nearest: Vec::new(), style: Vec::new() }
    }

    /// A task with so many classes, "class 0" and so on, and no seeds.
    pub(crate) fn numbered(classes: usize) -> Self {
        let names: Vec<String> = (0..classes).map(|class| format!("class {class}")).collect();
        Self::new(&names.iter().map(String::as_str).collect::<Vec<_>>(), Vec::new())
    }

    pub(crate) fn context(&self) -> PromptContext<'_> {
        let Self { task, seeds, prompts, settings, nearest, style } = self;
        PromptContext { task, seeds, prompts, settings, nearest, style, seed: 1 }
    }
}
