//! Classes that the training set hardly knows.

use std::collections::HashSet;

use crate::{
    counted::{agree, part},
    dataset::RelabelledText,
    task::{Task, enumerated},
};

/// A warning for each way in which classes lack the texts that are trained on, `kept`: generated
/// ones only, or any at all.
pub(crate) fn without_texts(task: &Task, kept: &[RelabelledText]) -> Vec<String> {
    let labels: HashSet<&str> = kept.iter().map(|row| row.relabel.as_str()).collect();
    let missing = task.classes.iter().enumerate();
    let missing = missing.filter(|(_, class)| !labels.contains(class.name.as_str()));
    let (examples, nothing): (Vec<_>, Vec<_>) =
        missing.partition(|(label, _)| task.shots > 0 && task.seeds_of(*label).next().is_some());
    let classes = task.classes.len();
    let tell = |found: Vec<(usize, &crate::task::Class)>, what: &str| {
        let names: Vec<String> = found.iter().map(|(_, class)| class.name.clone()).collect();
        (!names.is_empty()).then(|| {
            let has = agree(names.len(), "has", "have");
            format!("{} {has} {what} ({})", part(names.len(), classes, "class"), enumerated(&names))
        })
    };
    let few = "no generated text in the training set: the student knows them from your examples \
               alone";
    let none = "no text at all in the training set: the student cannot learn them";
    [tell(examples, few), tell(nothing, none)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::sample::{Sample, seed};

    fn row(label: &str) -> RelabelledText {
        let json = serde_json::json!({"id": 0, "text": "t", "major": "a", "minor": null,
            "alpha": null, "shown": [], "relabel": label, "p": 1.0});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn classes_without_generated_texts_and_without_any_are_told_apart() {
        let sample = Sample::new(&["a", "b", "c"], vec![seed("x", 0), seed("y", 1)]);
        let mut task = sample.task;
        task.shots = 1;
        let all = ["a", "b", "c"].map(row);
        assert_eq!(without_texts(&task, &all), Vec::<String>::new());
        let told = without_texts(&task, &all[..1]);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("1 of 3 classes has no generated text"), "{told:?}");
        assert!(told[0].ends_with("(\"b\")") && told[1].ends_with("(\"c\")"), "{told:?}");
        task.shots = 0;
        assert_eq!(without_texts(&task, &all[..1]).len(), 1, "no example is used");
    }
}
