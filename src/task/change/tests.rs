use super::*;

/// A task with these classes (name, description) and seeds (text, label).
fn task(classes: &[(&str, &str)], seeds: &[(&str, usize)]) -> Task {
    let mut toml = String::from("shots = 0\n");
    for (name, description) in classes {
        toml += &format!("[[class]]\nname = {name:?}\ndescription = {description:?}\n");
    }
    with_seeds(&toml, seeds)
}

fn with_seeds(toml: &str, seeds: &[(&str, usize)]) -> Task {
    let mut task = Task::load_embedded(toml, &[]).unwrap();
    task.seeds = texts(seeds);
    task
}

fn texts(rows: &[(&str, usize)]) -> Vec<LabelledText> {
    rows.iter().map(|&(text, label)| LabelledText { text: text.to_owned(), label }).collect()
}

fn card_and_loan() -> Task {
    task(&[("card", "about cards"), ("loan", "about loans")], &[("lost it", 0), ("rate?", 1)])
}

fn phrases(after: &Task) -> Vec<String> {
    TaskChange::between(&card_and_loan(), after).phrases()
}

#[test]
fn an_equal_task_has_not_changed_whatever_its_files_are_called() {
    let mut after = card_and_loan();
    after.sha256 = "other bytes".to_owned();
    after.manifest.push_str("# a remark\n");
    let change = TaskChange::between(&card_and_loan(), &after);
    assert!(change.is_empty() && !change.reaches_prompts() && change.phrases().is_empty());
}

#[test]
fn classes_come_go_and_are_described_anew() {
    let after = task(
        &[("loan", "about loans and credit"), ("fraud", "somebody else paid")],
        &[("rate?", 0), ("not me", 1)],
    );
    assert_eq!(
        phrases(&after),
        [
            "class `fraud` added",
            "class `card` removed",
            "description of `loan` changed",
            "1 example added, 1 removed",
        ]
    );
    let change = TaskChange::between(&card_and_loan(), &after);
    assert_eq!((change.present_name("card"), change.present_name("loan")), (None, Some("loan")));
    assert!(change.reaches_prompts() && !change.reordered);
}

#[test]
fn a_class_is_renamed_if_its_description_or_its_examples_stay() {
    let seeds = [("lost it", 0), ("rate?", 1)];
    let same_description = task(&[("cards", "about cards"), ("loan", "about loans")], &[]);
    let same_examples = task(&[("cards", "plastic money"), ("loan", "about loans")], &seeds);
    for (after, described) in [(&same_description, 0), (&same_examples, 1)] {
        let change = TaskChange::between(&card_and_loan(), after);
        assert_eq!(change.present_name("card"), Some("cards"));
        assert_eq!(change.described.len(), described, "{change:?}");
        assert!(change.added.is_empty() && change.removed.is_empty());
        assert_eq!((change.seeds.relabelled, change.seeds.added), (0, 0));
    }
    // One example of three that went elsewhere does not make a class another one.
    let before = task(&[("misc", ""), ("loan", "about loans")], &[("a", 0), ("b", 0), ("c", 0)]);
    for (left, is_renamed) in [(&[("a", 0)][..], false), (&[("a", 0), ("b", 0)], true)] {
        let after = task(&[("refund", ""), ("loan", "about loans")], left);
        let change = TaskChange::between(&before, &after);
        assert_eq!(change.present_name("misc").is_some(), is_renamed, "{change:?}");
    }
    let neither = task(&[("cards", "plastic money"), ("loan", "about loans")], &[("new", 0)]);
    let change = TaskChange::between(&card_and_loan(), &neither);
    assert_eq!((change.added.len(), change.removed.len()), (1, 1));
}

#[test]
fn what_is_not_clear_is_told_and_not_guessed() {
    // The examples of `card` went to two new classes, of which the first kept the description.
    let before =
        task(&[("card", "about cards"), ("loan", "about loans")], &[("lost it", 0), ("pin?", 0)]);
    let classes = [("credit", "about cards"), ("debit", "about cards"), ("loan", "about loans")];
    let after = task(&classes, &[("lost it", 0), ("pin?", 1)]);
    let change = TaskChange::between(&before, &after);
    assert!(change.renamed.is_empty() && change.removed == ["card"]);
    let candidates = vec!["credit".to_owned(), "debit".to_owned()];
    assert_eq!(change.unclear, [("card".to_owned(), candidates)]);

    // The task's own word settles it.
    let toml = "shots = 0\n[[class]]\nname = \"credit\"\ndescription = \"about cards\"\n\
        [[class]]\nname = \"debit\"\ndescription = \"about cards\"\nformerly = \"card\"\n\
        [[class]]\nname = \"loan\"\ndescription = \"about loans\"\n";
    let change = TaskChange::between(&before, &with_seeds(toml, &[]));
    assert_eq!(change.present_name("card"), Some("debit"));
    assert!(change.added == ["credit"] && change.unclear.is_empty(), "{change:?}");
}

#[test]
fn two_classes_renamed_at_once_and_a_swap_of_order() {
    let after = task(&[("loans", "about loans"), ("cards", "about cards")], &[]);
    let change = TaskChange::between(&card_and_loan(), &after);
    assert_eq!(change.present_name("card"), Some("cards"));
    assert_eq!(change.present_name("loan"), Some("loans"));
    assert!(change.reordered && change.reaches_prompts());
}

#[test]
fn texts_are_compared_with_their_labels() {
    let mut before = card_and_loan();
    before.test = texts(&[("a", 0), ("b", 1), ("b", 1), ("c", 0)]);
    let mut after = before.clone();
    after.test = texts(&[("a", 1), ("b", 1), ("d", 0), ("e", 0)]);
    let change = TaskChange::between(&before, &after);
    let wanted = TextsChange { added: 2, removed: 2, relabelled: 1, reordered: false };
    assert_eq!(change.test, wanted);
    assert_eq!(change.phrases(), ["2 test texts added, 2 removed, 1 relabelled"]);
    assert!(!change.reaches_prompts());

    after.test = texts(&[("c", 0), ("a", 0), ("b", 1), ("b", 1)]);
    assert_eq!(TaskChange::between(&before, &after).phrases(), ["test texts in another order"]);
    after.test = before.test.clone();
    (after.item, after.shots) = ("mail".to_owned(), 1);
    let change = TaskChange::between(&before, &after);
    assert_eq!(change.phrases(), ["shots 1 instead of 0", "`item` or `items` changed"]);
    assert!(change.reaches_prompts());
}
