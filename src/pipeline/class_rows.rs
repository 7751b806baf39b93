//! A class that no row is of cannot be learnt: the student would never predict it, in silence.

use super::{Event, PipelineError};
use crate::{student::Example, task::Task};

/// Checks that every named class has a row among `examples`, the training set of the student that
/// is kept, unless `allow_empty`. The class that is none of the others may lack any: its texts are
/// all generated, and may have turned out to be of no use, of which there is a warning.
///
/// # Errors
/// [`PipelineError::EmptyClasses`] with the names of those that have none.
pub(super) fn check(
    task: &Task,
    examples: &[Example],
    allow_empty: bool,
) -> Result<Option<Event>, PipelineError> {
    let mut rows = vec![0_usize; task.classes.len()];
    for example in examples {
        rows[example.label] += 1;
    }
    let empty = task.named_classes().filter(|class| rows[*class] == 0);
    let names: Vec<String> = empty.map(|class| task.classes[class].name.clone()).collect();
    match names.is_empty() || allow_empty {
        true => Ok(never_answered(task, &rows)),
        false => Err(PipelineError::EmptyClasses { classes: task.classes.len(), names }),
    }
}

/// A warning if there is a class that is none of the others, and none of the `rows` of each class
/// are of it.
fn never_answered(task: &Task, rows: &[usize]) -> Option<Event> {
    let none = task.none_of_these().filter(|class| rows[*class] == 0)?;
    let name = &task.classes[none].name;
    let message = format!("no text of {name:?} to train on: the student never answers it");
    let hint = "describe in task.toml what belongs there, label some such texts, or use a stronger \
                teacher; `predict --min-in-scope` needs no such class";
    Some(Event::Warning { message, hint: Some(hint.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{augment::sample::Sample, hint::Hint};

    #[test]
    fn a_class_without_a_row_is_an_error_unless_it_is_allowed() {
        let task = Sample::new(&["a", "b", "c"], Vec::new()).task;
        let examples = [0, 2, 0].map(|label| Example::new("t".to_owned(), label));
        let error = check(&task, &examples, false).unwrap_err();
        assert_eq!(error.to_string(), "1 of 3 classes has no row to train on: \"b\"");
        assert!(error.hint().unwrap().contains("student.allow_empty_classes"));
        assert_eq!(check(&task, &examples, true).unwrap(), None);
        let full = [0, 1, 2].map(|label| Example::new("t".to_owned(), label));
        assert_eq!(check(&task, &full, false).unwrap(), None);
    }

    #[test]
    fn a_class_that_is_none_of_the_others_may_lack_rows_and_a_warning_says_so() {
        let mut task = Sample::new(&["a", "b", "c"], Vec::new()).task;
        task.classes[1].none_of_these = true;
        let examples = [0, 2].map(|label| Example::new("t".to_owned(), label));
        let Some(Event::Warning { message, .. }) = check(&task, &examples, false).unwrap() else {
            panic!("there is no warning")
        };
        assert_eq!(message, "no text of \"b\" to train on: the student never answers it");
        let full = [0, 1, 2].map(|label| Example::new("t".to_owned(), label));
        assert_eq!(check(&task, &full, false).unwrap(), None);
        assert!(check(&task, &examples[..1], false).is_err());
    }
}
