//! A class that no row is of cannot be learnt: the student would never predict it, in silence.

use super::PipelineError;
use crate::{student::Example, task::Task};

/// Checks that every class has a row among `examples`, the training set of the student that is
/// kept, unless `allow_empty`.
///
/// # Errors
/// [`PipelineError::EmptyClasses`] with the names of those that have none.
pub(super) fn check(
    task: &Task,
    examples: &[Example],
    allow_empty: bool,
) -> Result<(), PipelineError> {
    let mut rows = vec![0_usize; task.classes.len()];
    for example in examples {
        rows[example.label] += 1;
    }
    let empty = task.classes.iter().zip(&rows).filter(|(_, rows)| **rows == 0);
    let names: Vec<String> = empty.map(|(class, _)| class.name.clone()).collect();
    match names.is_empty() || allow_empty {
        true => Ok(()),
        false => Err(PipelineError::EmptyClasses { classes: task.classes.len(), names }),
    }
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
        assert!(check(&task, &examples, true).is_ok());
        let full = [0, 1, 2].map(|label| Example::new("t".to_owned(), label));
        assert!(check(&task, &full, false).is_ok());
    }
}
