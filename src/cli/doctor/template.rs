//! The chat template inside a teacher's file: of which family it is, and whether it does what the
//! templates of that family do.
//!
//! A template is code from outside, so it is tried in a process of its own
//! (`promptmix template-check FILE`); the model is not loaded, its header says all that is needed. That
//! process is bounded in computing time on every Unix and in memory on Linux; elsewhere the budgets of
//! [`chat`] are all that holds it.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    model_file,
    models::{self, ModelError, Role},
    teacher::{
        chat::{self, CHATML, ChatTemplate, Difference},
        worker::Launch,
    },
};

#[derive(Args)]
pub(crate) struct TemplateCheckArgs {
    file: PathBuf,
}

/// Seconds of computing that a template may take to render a few lines.
const SECONDS: u64 = 10;
/// Lines shown of either side of a difference.
const LINES: usize = 4;
const LONGEST_LINE: usize = 160;

/// What is to be said of a teacher's template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    /// As it was asked for.
    pub teacher: String,
    pub state: State,
    /// As people write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// First line of the rendered probe in which the two differ, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What the known template writes from there to where they agree again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<String>,
    /// What this one writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    AsKnown,
    DiffersInWhiteSpace,
    Differs,
    UnknownFamily,
    /// The file brings none; ChatML is used.
    Missing,
    /// The sandbox does not let it run.
    Refused,
    /// The file does not pass the check of its header.
    Unsound,
}

/// The templates of `asked`, or else of every teacher that is on this machine.
pub(super) fn verdicts(asked: Option<&str>) -> anyhow::Result<Vec<Verdict>> {
    if let Some(name) = asked {
        let file = match !models::is_name(Role::Teacher, name) && Path::new(name).exists() {
            // Not checked before: what is wrong with it is part of the answer.
            true => PathBuf::from(name),
            false => models::teacher_file(name)?,
        };
        return Ok(vec![apart(name, &file)]);
    }
    let known = models::known_models().into_iter().map(|model| (model.role, model.name));
    let mut names: Vec<String> = Vec::new();
    for (role, name) in known.chain(models::library_names()) {
        if role == Role::Teacher && !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names.iter().filter_map(|name| of_name(name)).collect())
}

/// The verdict on a teacher of this machine; none if it is not here.
fn of_name(name: &str) -> Option<Verdict> {
    match models::teacher_file(name) {
        Ok(file) => Some(apart(name, &file)),
        Err(ModelError::NotPulled { .. } | ModelError::Unknown { .. }) => None,
        Err(error) => {
            Some(Verdict { message: Some(error.to_string()), ..Verdict::of(name, State::Unsound) })
        }
    }
}

/// Looks at the template of `file` in another process.
fn apart(teacher: &str, file: &Path) -> Verdict {
    let output = Command::new(Launch::this_program())
        .arg("template-check")
        .arg(file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let refused = |message: String| Verdict {
        message: Some(message),
        ..Verdict::of(teacher, State::Refused)
    };
    match output {
        Ok(output) if output.status.success() => match serde_json::from_slice(&output.stdout) {
            Ok(verdict) => Verdict { teacher: teacher.to_owned(), ..verdict },
            Err(error) => refused(format!("it cannot be looked at: {error}")),
        },
        Ok(output) => refused(format!(
            "it takes more memory than it may, or more than {SECONDS} seconds ({})",
            output.status
        )),
        Err(error) => refused(format!("it cannot be looked at: {error}")),
    }
}

/// Runs the hidden command: prints the verdict as JSON.
pub(crate) fn template_check(args: &TemplateCheckArgs) -> anyhow::Result<()> {
    chat::limit_memory();
    bound();
    let verdict = Verdict::look(&args.file);
    println!("{}", serde_json::to_string(&verdict)?);
    Ok(())
}

/// This process may compute for some seconds and leaves no core.
fn bound() {
    #[cfg(unix)]
    for (what, most) in [(libc::RLIMIT_CPU, SECONDS), (libc::RLIMIT_CORE, 0)] {
        let limit = libc::rlimit { rlim_cur: most as _, rlim_max: most as _ };
        // SAFETY: `limit` is valid and outlives the call; a failure leaves things as they were.
        unsafe { libc::setrlimit(what, &limit) };
    }
}

impl Verdict {
    fn of(teacher: &str, state: State) -> Self {
        Self {
            teacher: teacher.to_owned(),
            state,
            family: None,
            line: None,
            known: Vec::new(),
            found: Vec::new(),
            message: None,
        }
    }

    /// Looks at the template of `file` in this process.
    fn look(file: &Path) -> Self {
        let teacher = file.display().to_string();
        let failed =
            |state, message: String| Self { message: Some(message), ..Self::of(&teacher, state) };
        let header = match model_file::check(file) {
            Ok(header) => header,
            Err(error) => return failed(State::Unsound, error.to_string()),
        };
        let Some(gguf) = header.gguf() else {
            return failed(
                State::Unsound,
                format!("{teacher}: it is no GGUF\nhint: a teacher is a GGUF file"),
            );
        };
        let words = &gguf.vocabulary;
        let source = gguf.chat_template.clone();
        let missing = source.is_none();
        let template = ChatTemplate::new(
            source.unwrap_or_else(|| CHATML.to_owned()),
            words.bos(),
            words.eos(),
            words.control(),
        );
        let probed = template.and_then(|template| template.probe().map(|_| template));
        let template = match probed {
            Ok(template) => template,
            Err(error) => return failed(State::Refused, plain(&format!("{error:#}"))),
        };
        if missing {
            return Self::of(&teacher, State::Missing);
        }
        Self {
            family: template.family().map(|family| family.name().to_owned()),
            ..match (template.family(), template.differs_from_known()) {
                (None, _) => Self::of(&teacher, State::UnknownFamily),
                (Some(_), None) => Self::of(&teacher, State::AsKnown),
                (Some(_), Some(difference)) => Self::differing(&teacher, &difference),
            }
        }
    }

    fn differing(teacher: &str, difference: &Difference) -> Self {
        let state = match difference.only_white_space() {
            true => State::DiffersInWhiteSpace,
            false => State::Differs,
        };
        let (line, known, found) = parting(&difference.known, &difference.found);
        Self { line: Some(line), known, found, ..Self::of(teacher, state) }
    }
}

/// Where two texts part, and the lines of each up to where they agree again. Whatever could steer a
/// terminal is escaped.
fn parting(known: &str, found: &str) -> (usize, Vec<String>, Vec<String>) {
    let (known, found): (Vec<&str>, Vec<&str>) =
        (known.split('\n').collect(), found.split('\n').collect());
    let first = known.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let (known, found) = (&known[first..], &found[first..]);
    let last = known.iter().rev().zip(found.iter().rev()).take_while(|(a, b)| a == b).count();
    let shown = |lines: &[&str]| -> Vec<String> {
        let lines = &lines[..lines.len() - last];
        let mut out: Vec<String> = lines.iter().take(LINES).map(|line| plain(line)).collect();
        if lines.len() > LINES {
            out.push(format!("… and {} lines more", lines.len() - LINES));
        }
        out
    };
    (first + 1, shown(known), shown(found))
}

fn plain(line: &str) -> String {
    let mut out: String = line.chars().take(LONGEST_LINE).flat_map(char::escape_debug).collect();
    if line.chars().nth(LONGEST_LINE).is_some() {
        out.push('…');
    }
    out.replace("\\\"", "\"").replace("\\'", "'")
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family.as_deref().unwrap_or_default();
        let message = self.message.as_deref().unwrap_or_default();
        write!(out, "chat template of {}: ", self.teacher)?;
        match self.state {
            State::AsKnown => write!(out, "{family}, as known")?,
            State::DiffersInWhiteSpace => {
                write!(out, "{family}, differs from the known one in white space only")?;
            }
            State::Differs => write!(out, "{family}, DIFFERS from the known one")?,
            State::UnknownFamily => write!(out, "of no family that is known")?,
            State::Missing => write!(out, "the file brings none; ChatML is used")?,
            State::Refused => write!(out, "REFUSED: {message}")?,
            State::Unsound => write!(out, "the file is REFUSED: {message}")?,
        }
        if let Some(line) = self.line {
            write!(out, "\n  @@ line {line} of a probe @@")?;
            for (sign, lines) in [('-', &self.known), ('+', &self.found)] {
                for line in lines {
                    write!(out, "\n  {sign} {line}")?;
                }
            }
        }
        if self.state == State::Differs {
            write!(
                out,
                "\n  hint: a template decides every word around a prompt; if this one is not meant, `teacher.chat_template` takes a file with the known one"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_where_two_texts_part_is_shown_and_cannot_steer_a_terminal() {
        let known = "a\nsame\nYou are a helper.\nend\nlast";
        let found = "a\nsame\nYou are \u{1b}[2Ja \"spy\".\nand more\nend\nlast";
        let (line, known, found) = parting(known, found);
        assert_eq!(line, 3);
        assert_eq!(known, ["You are a helper."]);
        assert_eq!(found, ["You are \\u{1b}[2Ja \"spy\".", "and more"]);
        let (line, known, found) = parting("a\nb", "a\nb\nc\nd\ne\nf\ng\nh");
        assert_eq!((line, known.len(), found.len()), (3, 0, LINES + 1));
        assert!(plain(&"x".repeat(LONGEST_LINE + 1)).ends_with('…'));
    }

    #[test]
    fn the_pocket_teachers_template_is_called_by_its_family() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pocket/teacher/pocket-teacher.gguf");
        let verdict = Verdict::look(&file);
        assert_eq!(verdict.state, State::AsKnown, "{verdict}");
        assert_eq!(verdict.family.as_deref(), Some("Phi-3"));
    }
}
