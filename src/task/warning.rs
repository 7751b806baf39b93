//! What could be better about a task.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fault::enumerated;
use crate::counted::{agree, counted, part};

/// A task that loads but could be better. Each message names the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Warning {
    /// A class of which the teacher sees only the name.
    MissingDescription { class: String, line: usize },
    /// Prompts do not show all seeds.
    SeedsNotShown { shown: usize, seeds: usize, shots: usize },
    /// In run folders of version 0.1.0: fewer seeds were used.
    ShotsByFewest { class: String, shots: usize },
}

/// `warnings` as they are printed, for a task of so many `classes`: what is missing in several
/// classes is one line.
pub(super) fn told(warnings: &[Warning], classes: usize) -> Vec<String> {
    let undescribed: Vec<String> = warnings
        .iter()
        .filter_map(|warning| match warning {
            Warning::MissingDescription { class, .. } => Some(class.clone()),
            Warning::SeedsNotShown { .. } | Warning::ShotsByFewest { .. } => None,
        })
        .collect();
    if undescribed.len() < 2 {
        return warnings.iter().map(ToString::to_string).collect();
    }
    let one = format!(
        "task.toml: {} have no description ({}); one line on what belongs to \
         each helps the teacher most",
        part(undescribed.len(), classes, "class"),
        enumerated(&undescribed)
    );
    let others = warnings.iter().filter(|one| !matches!(one, Warning::MissingDescription { .. }));
    std::iter::once(one).chain(others.map(ToString::to_string)).collect()
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingDescription { class, line } => write!(
                f,
                "task.toml:{line}: class {class:?} has no description; one line on what belongs to \
                 it helps the teacher most"
            ),
            Self::SeedsNotShown { shown, seeds, shots } => write!(
                f,
                "task.toml: prompts show {shown} of the {seeds} seeds, at most {shots} per class \
                 (`shots`)"
            ),
            Self::ShotsByFewest { class, shots } => write!(
                f,
                "task.toml: only {} per class {} used, because {class:?} has no more; add seeds to it, or \
                 set shots = {shots}",
                counted(*shots, "seed"),
                agree(*shots, "is", "are")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_missing_descriptions_are_one_warning() {
        let missing = |class: &str| Warning::MissingDescription { class: class.into(), line: 3 };
        let few = Warning::SeedsNotShown { shown: 2, seeds: 9, shots: 1 };
        let told_of = |warnings: &[Warning]| told(warnings, 5);
        assert_eq!(told_of(&[missing("a"), few.clone()])[0], missing("a").to_string());
        let lines = told_of(&[missing("a"), missing("b"), few.clone()]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("task.toml: 2 of 5 classes have no description (\"a\", \"b\");")
        );
        assert_eq!(lines[1], few.to_string());
        let many: Vec<Warning> = (0..77).map(|n| missing(&format!("class {n}"))).collect();
        let lines = told(&many, 77);
        assert!(lines.len() == 1 && lines[0].contains("and 67 more"), "{lines:?}");
    }
}
