//! How errors and warnings are printed: the message, its causes, a blank line, the hint.

use std::{borrow::Cow, error::Error};

use crate::{
    audit::ChainError,
    bundle::BundleError,
    compare::GridError,
    config::ConfigError,
    drift::DriftError,
    embed::EmbedError,
    eval::EvalError,
    hint::Hint,
    http::ListenError,
    model_file::HeaderError,
    models::ModelError,
    pipeline::PipelineError,
    prompt::PromptError,
    relabel::QuestionError,
    report::ReportError,
    run::{RunError, ledger::LedgerError},
    serve::ServeError,
    student::{StudentError, export::ExportError},
    task::{DescribeError, TaskError},
    teacher::TeacherError,
    verbosity::Notice,
};

/// An error of a command itself, with the action that helps.
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

    /// The same error, caused by `source`.
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
pub(super) fn render(error: &(dyn Error + 'static)) -> String {
    let message = error.to_string();
    let mut text = format!("error: {message}");
    let mut last = message;
    for cause in anyhow::Chain::new(error).skip(1).map(ToString::to_string) {
        // Some wrappers, of other crates too, repeat the message of the error that they wrap.
        if !last.ends_with(&cause) {
            text += &format!("\n  caused by: {cause}");
        }
        last = cause;
    }
    if let Some(hint) = hint(error) {
        text += &format!("\n\n{}", labelled("hint", &hint));
    }
    text
}

/// A warning as it is printed, without a newline at its end: `message`, the hint on a new line.
pub(super) fn render_warning(message: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("warning: {message}\n{}", labelled("hint", hint)),
        None => format!("warning: {message}"),
    }
}

/// `label: text`, with further lines of the text aligned with its first.
fn labelled(label: &str, text: &str) -> String {
    let indent = " ".repeat(label.len() + 2);
    format!("{label}: {}", text.trim_end().replace('\n', &format!("\n{indent}")))
}

/// Prints a warning.
pub(super) fn warn(message: &str, hint: Option<&str>) {
    eprintln!("{}", render_warning(message, hint));
}

/// `error`, its causes and its hint in one line, for a place that has no room for more.
pub(super) fn one_line(error: &(dyn Error + 'static)) -> String {
    let line = crate::hint::one_line(error);
    match hint(error) {
        Some(hint) => format!("{line} (hint: {hint})"),
        None => line,
    }
}

/// Prints what a module far from the command line has to tell.
pub(super) fn print_notice(notice: &Notice) {
    match notice {
        Notice::Message(message) => eprintln!("{message}"),
        Notice::Warning { message, hint } => warn(message, hint.as_deref()),
    }
}

/// The same with `--quiet`: messages are left out.
pub(super) fn print_warning(notice: &Notice) {
    if let Notice::Warning { .. } = notice {
        print_notice(notice);
    }
}

/// The hint of `error` or of one of its causes. The innermost error has the most specific one.
pub(super) fn hint<'a>(error: &'a (dyn Error + 'static)) -> Option<Cow<'a, str>> {
    anyhow::Chain::new(error).filter_map(own_hint).last()
}

/// The hint of `error` alone, if it is an error of this crate.
fn own_hint<'a>(error: &'a (dyn Error + 'static)) -> Option<Cow<'a, str>> {
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
        DescribeError,
        DriftError,
        EmbedError,
        EvalError,
        ExportError,
        GridError,
        HeaderError,
        LedgerError,
        ListenError,
        ModelError,
        PipelineError,
        PromptError,
        QuestionError,
        ReportError,
        RunError,
        ServeError,
        StudentError,
        TaskError,
        TeacherError,
    ]
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{super::exit_status::FailedGate, *};

    /// Repeats the message of its cause, as `#[error("{0}")]` beside `#[source]` does.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Repeating(#[source] CommandError);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Transparent(#[from] Repeating);

    fn unreadable() -> CommandError {
        CommandError::new("cannot read a.csv", "check the path")
            .caused_by(io::Error::other("permission denied"))
    }

    #[test]
    fn message_causes_blank_line_and_hint_are_printed_once_and_in_order() {
        let printed =
            "error: cannot read a.csv\n  caused by: permission denied\n\nhint: check the path";
        assert_eq!(render(&unreadable()), printed);
        assert_eq!(render(&Repeating(unreadable())), printed);
        assert_eq!(render(&Transparent(Repeating(unreadable()))), printed);
        assert_eq!(render(&FailedGate::because(unreadable())), printed);
    }

    #[test]
    fn the_context_comes_first_and_the_innermost_hint_last() {
        let outer = CommandError::new("the run failed", "try again").caused_by(unreadable());
        let error = anyhow::Error::from(outer).context("in folder out");
        assert_eq!(
            render(&*error),
            "error: in folder out\n  caused by: the run failed\n  caused by: cannot read a.csv\n  \
             caused by: permission denied\n\nhint: check the path"
        );
    }

    #[test]
    fn without_a_hint_nothing_follows() {
        assert_eq!(render(&*anyhow::anyhow!("no")), "error: no");
    }

    #[test]
    fn the_hint_of_a_warning_is_on_the_next_line() {
        assert_eq!(render_warning("old", None), "warning: old");
        assert_eq!(render_warning("old", Some("update")), "warning: old\nhint: update");
        assert_eq!(
            render_warning("old", Some("run\nupdate")),
            "warning: old\nhint: run\n      update"
        );
    }
}
