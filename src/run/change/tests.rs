use super::*;
use crate::dataset::AugmentedText;

fn row(id: usize, text: &str, major: &str, minor: &str) -> AugmentedText {
    AugmentedText {
        id,
        text: text.to_owned(),
        major: major.to_owned(),
        minor: Some(minor.to_owned()),
        ..AugmentedText::default()
    }
}

fn aside(row: &AugmentedText) -> SetAside {
    let descriptions = row.classes().map(|name| (name.to_owned(), format!("about {name}")));
    SetAside { descriptions: descriptions.collect(), row: row.clone() }
}

fn changed(change: TaskChange, kept: &[AugmentedText], set_aside: &[SetAside]) -> Entry {
    let (kept, set_aside) = (kept.to_vec(), set_aside.to_vec());
    let texts = Some(KeptTexts { kept, set_aside, ..KeptTexts::default() });
    let (before, after) = ("then".to_owned(), "now".to_owned());
    let files = BTreeMap::new();
    Entry::TaskChanged(Box::new(TaskChanged { before, after, change, texts, files }))
}

fn renamed(old: &str, new: &str) -> TaskChange {
    TaskChange { renamed: [(old.to_owned(), new.to_owned())].into(), ..TaskChange::default() }
}

#[test]
fn names_are_followed_through_all_later_changes() {
    let stage = Entry::Restart { stage: "generate".to_owned(), reason: String::new() };
    let entries =
        [changed(renamed("a", "b"), &[], &[]), stage, changed(renamed("b", "c"), &[], &[])];
    let now = |since, name| present_name(&entries, since, name).into_owned();
    assert_eq!((now(0, "a"), now(1, "a"), now(1, "b")), ("c".into(), "a".into(), "c".into()));
    assert_eq!((now(3, "b"), now(0, "x")), ("b".into(), "x".into()));
}

#[test]
fn what_is_set_aside_is_there_once_until_it_is_taken_up_again() {
    let (one, two) = (row(0, "one", "a", "b"), row(1, "two", "b", "a"));
    let mut entries = vec![changed(TaskChange::default(), &[], &[aside(&one), aside(&two)])];
    entries.push(changed(renamed("b", "c"), &[], &[]));
    let now = set_aside_now(&entries);
    assert_eq!(now.len(), 2);
    assert_eq!((now[0].row.minor.as_deref(), now[1].row.major.as_str()), (Some("c"), "c"));
    assert_eq!(now[0].descriptions["c"], "about b");

    let mut again = one.clone();
    again.minor = Some("c".to_owned());
    entries.push(changed(TaskChange::default(), &[again.clone()], &[]));
    assert_eq!(set_aside_now(&entries).len(), 1);
    entries.push(changed(TaskChange::default(), &[], &[aside(&again)]));
    assert_eq!(set_aside_now(&entries).len(), 2);
    let texts: Vec<&KeptTexts> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::TaskChanged(changed) => changed.texts.as_ref(),
            _ => None,
        })
        .collect();
    let file = ever_set_aside(texts.into_iter());
    let ids: Vec<usize> = file.iter().map(|row| row.row.id).collect();
    assert_eq!((ids, file[0].row.minor.as_deref()), (vec![0, 1], Some("c")));
}
