//! How an error is printed: the message, its causes, a blank line, the hint.

use std::{borrow::Cow, error::Error};

use crate::{
    audit::ChainError,
    bundle::BundleError,
    compare::GridError,
    config::ConfigError,
    embed::EmbedError,
    eval::EvalError,
    hint::Hint,
    model_file::HeaderError,
    models::ModelError,
    pipeline::PipelineError,
    prompt::PromptError,
    relabel::QuestionError,
    report::ReportError,
    run::{RunError, ledger::LedgerError},
    student::{StudentError, export::ExportError},
    task::TaskError,
    teacher::TeacherError,
};

/// An error of a command itself, with what helps against it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct CommandError {
    message: String,
    hint: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl CommandError {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), source: None }
    }

    /// The same, caused by `source`.
    pub(super) fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}

impl Hint for CommandError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(self.hint.as_str().into())
    }
}

/// `error` as it is printed, without a newline at its end.
pub(super) fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // A wrapper that says what it wraps has said it.
        if !last.ends_with(&cause) {
            text += &format!("\n  caused by: {cause}");
        }
        last = cause;
    }
    // The innermost error knows best what helps.
    let hint = error.chain().filter_map(hint).last();
    if let Some(hint) = hint {
        // Further lines of a hint are aligned with its first.
        text += &format!("\n\nhint: {}", hint.replace('\n', "\n      "));
    }
    text
}

/// What helps against `error`, if it is one of ours.
fn hint<'a>(error: &'a (dyn Error + 'static)) -> Option<Cow<'a, str>> {
    macro_rules! first_of {
        ($($kind:ty),* $(,)?) => {
            None$(.or_else(|| error.downcast_ref::<$kind>().map(Hint::hint)))*
        };
    }
    first_of![
        CommandError,
        BundleError,
        ChainError,
        ConfigError,
        EmbedError,
        EvalError,
        ExportError,
        super::exit_status::FailedGate,
        GridError,
        HeaderError,
        LedgerError,
        ModelError,
        PipelineError,
        PromptError,
        QuestionError,
        ReportError,
        RunError,
        StudentError,
        TaskError,
        TeacherError,
    ]
    .flatten()
}
