//! The chat template in a teacher's file: which family it belongs to, and whether it renders what
//! the known template of that family renders.
//!
//! A template is untrusted code, so it is tried out in a separate process
//! (`promptmix template-check FILE`). The model is not loaded; its header is enough. CPU time of
//! that process is limited on every Unix, its memory on Linux; elsewhere only the budgets of
//! [`template`](crate::template) apply.

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    cli::error::CommandError,
    hint::{self, Hint},
    model_file,
    models::{self, ModelError, Role},
    teacher::{
        chat::{CHATML, ChatTemplate, Difference},
        worker::Launch,
    },
    template::process_limit,
};

#[derive(Args)]
pub(crate) struct TemplateCheckArgs {
    file: PathBuf,
}

/// CPU seconds that a template may take to render a few lines.
const SECONDS: u64 = 10;
/// Lines shown of each side of a difference.
const LINES: usize = 4;
const LONGEST_LINE: usize = 160;

/// What was found out about a teacher's template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    /// As given on the command line, or its name in the library.
    pub teacher: String,
    pub state: State,
    /// The family's usual name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// First line of the rendered probe in which the known template and this one differ, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What the known template renders from there to where the two agree again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<String>,
    /// What this template renders there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    AsKnown,
    DiffersInWhiteSpace,
    Differs,
    UnknownFamily,
    /// The file has no template; ChatML is used.
    Missing,
    /// It fails or exceeds its budget.
    Refused,
    /// The file's header is invalid.
    Unsound,
}

/// The template of the teacher `requested`, or of every teacher on this machine.
pub(super) fn verdicts(requested: Option<&str>) -> anyhow::Result<Vec<Verdict>> {
    if let Some(name) = requested {
        let file = match !models::is_name(Role::Teacher, name) && Path::new(name).exists() {
            // Not validated here: a fault of the file is part of the verdict.
            true => PathBuf::from(name),
            false => models::teacher_file(name)?,
        };
        return Ok(vec![in_own_process(name, &file)]);
    }
    let known = models::known_models().into_iter().map(|model| (model.role, model.name));
    let mut names: Vec<String> = Vec::new();
    for (role, name) in known.chain(models::library_names()) {
        if role == Role::Teacher && !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names.iter().filter_map(|name| of_known(name)).collect())
}

/// The verdict on a teacher known by name; `None` if it is not on this machine.
fn of_known(name: &str) -> Option<Verdict> {
    match models::teacher_file(name) {
        Ok(file) => Some(in_own_process(name, &file)),
        Err(ModelError::NotPulled { .. } | ModelError::Unknown { .. }) => None,
        Err(error) => Some(Verdict::failed(name, State::Unsound, &error)),
    }
}

/// Checks the template of `file` in a separate process.
fn in_own_process(teacher: &str, file: &Path) -> Verdict {
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
            Err(error) => refused(format!("it cannot be checked: {error}")),
        },
        Ok(output) => refused(format!(
            "it needs too much memory, or more than {SECONDS} seconds ({})",
            output.status
        )),
        Err(error) => refused(format!("it cannot be checked: {error}")),
    }
}

/// Runs the hidden command: prints the verdict as JSON.
pub(crate) fn template_check(args: &TemplateCheckArgs) -> anyhow::Result<()> {
    process_limit::limit_memory();
    limit_process();
    let verdict = Verdict::of_file(&args.file);
    println!("{}", serde_json::to_string(&verdict)?);
    Ok(())
}

/// Limits the CPU time of this process and disables core dumps.
fn limit_process() {
    #[cfg(unix)]
    for (what, most) in [(libc::RLIMIT_CPU, SECONDS), (libc::RLIMIT_CORE, 0)] {
        let limit = libc::rlimit { rlim_cur: most as _, rlim_max: most as _ };
        // SAFETY: `limit` is valid and outlives the call; a failure changes nothing.
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
            hint: None,
        }
    }

    fn failed(teacher: &str, state: State, error: &impl Hint) -> Self {
        Self {
            message: Some(hint::one_line(error)),
            hint: error.hint().map(Cow::into_owned),
            ..Self::of(teacher, state)
        }
    }

    /// Checks the template of `file` in this process.
    fn of_file(file: &Path) -> Self {
        let teacher = file.display().to_string();
        let header = match model_file::check(file) {
            Ok(header) => header,
            Err(error) => return Self::failed(&teacher, State::Unsound, &error),
        };
        let Some(gguf) = header.gguf() else {
            let error = CommandError::new(
                format!("{teacher} is not a GGUF file"),
                "a teacher on this machine is a GGUF file",
            );
            return Self::failed(&teacher, State::Unsound, &error);
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
            Err(error) => {
                let message = Some(plain(&format!("{error:#}")));
                return Self { message, ..Self::of(&teacher, State::Refused) };
            }
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
        let (line, known, found) = first_difference(&difference.known, &difference.found);
        Self { line: Some(line), known, found, ..Self::of(teacher, state) }
    }
}

/// The first line in which two texts differ, and the lines of each up to where they agree again.
/// Control characters are escaped: they could steer a terminal.
fn first_difference(known: &str, found: &str) -> (usize, Vec<String>, Vec<String>) {
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
        write!(out, "  {:<36} ", self.teacher)?;
        match self.state {
            State::AsKnown => write!(out, "{family}, as known")?,
            State::DiffersInWhiteSpace => {
                write!(out, "{family}, differs from the known template in white space only")?;
            }
            State::Differs => write!(out, "{family}, DIFFERS from the known template")?,
            State::UnknownFamily => write!(out, "unknown family")?,
            State::Missing => write!(out, "none in the file; ChatML is used")?,
            State::Refused => write!(out, "REFUSED: {message}")?,
            State::Unsound => write!(out, "file REFUSED: {message}")?,
        }
        if let Some(line) = self.line {
            write!(out, "\n    @@ line {line} of a probe: - known, + this template @@")?;
            for (sign, lines) in [('-', &self.known), ('+', &self.found)] {
                for line in lines {
                    write!(out, "\n    {sign} {line}")?;
                }
            }
        }
        if self.state == State::Differs {
            write!(
                out,
                "\n    hint: the template decides every word around a prompt; if this one is not intended, set `teacher.chat_template` to a file with the known one"
            )?;
        }
        if let Some(hint) = &self.hint {
            write!(out, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_shown_and_cannot_steer_a_terminal() {
        let known = "a\nsame\nYou are a helper.\nend\nlast";
        let found = "a\nsame\nYou are \u{1b}[2Ja \"spy\".\nand more\nend\nlast";
        let (line, known, found) = first_difference(known, found);
        assert_eq!(line, 3);
        assert_eq!(known, ["You are a helper."]);
        assert_eq!(found, ["You are \\u{1b}[2Ja \"spy\".", "and more"]);
        let (line, known, found) = first_difference("a\nb", "a\nb\nc\nd\ne\nf\ng\nh");
        assert_eq!((line, known.len(), found.len()), (3, 0, LINES + 1));
        assert!(plain(&"x".repeat(LONGEST_LINE + 1)).ends_with('…'));
    }

    #[test]
    fn the_family_of_the_pocket_teachers_template_is_recognised() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pocket/teacher/pocket-teacher.gguf");
        let verdict = Verdict::of_file(&file);
        assert_eq!(verdict.state, State::AsKnown, "{verdict}");
        assert_eq!(verdict.family.as_deref(), Some("Phi-3"));
    }
}
