use super::*;

fn row(id: usize, text: &str, major: &str, relabel: &str, p: f32) -> TextRow {
    let mut row = TextRow { relabel: Some(relabel.to_owned()), p: Some(p), ..TextRow::default() };
    (row.augmented.id, row.augmented.text) = (id, text.to_owned());
    row.augmented.major = major.to_owned();
    row.augmented.seed = Some(7);
    row.probabilities = vec![(relabel.to_owned(), p)];
    row
}

fn rows() -> Vec<TextRow> {
    vec![row(0, "one", "a", "a", 0.9), row(1, "two", "a", "b", 0.6), row(2, "three", "b", "b", 0.8)]
}

/// The edit of the row `before`; `edit` changes a copy of its fields.
fn edit(before: &TextRow, edit: impl FnOnce(&mut RowFields)) -> RowEdit {
    let mut after = before.fields();
    edit(&mut after);
    let (row, key, before) = (before.augmented.id, before.key(), Some(before.fields()));
    RowEdit { row, key, before, after: Some(after), reason: None }
}

fn removed(before: &TextRow) -> RowEdit {
    RowEdit { after: None, ..edit(before, |_| ()) }
}

fn relabelled(to: &str) -> impl FnOnce(&mut RowFields) + '_ {
    move |fields| {
        (fields.relabel, fields.p) = (Some(to.to_owned()), Some(1.0));
        fields.probabilities.clear();
    }
}

fn recorded(file: &str, changes: &[RowEdit]) -> Edits {
    let mut edits = Edits::default();
    edits.record(file, changes);
    edits
}

/// What [`Edits::apply`] makes of `rows`: text, label, probability, and whether a person did it.
fn applied(edits: &Edits, file: &str, rows: Vec<TextRow>) -> Vec<(String, String, f32, bool)> {
    let (rows, _) = edits.apply(file, rows, Vec::new(), &|_| true);
    let row = |row: TextRow| {
        let by = row.augmented.by.is_some();
        (row.augmented.text, row.relabel.unwrap(), row.p.unwrap(), by)
    };
    rows.into_iter().map(row).collect()
}

fn seen(text: &str, label: &str, p: f32, by: bool) -> (String, String, f32, bool) {
    (text.to_owned(), label.to_owned(), p, by)
}

const FILE: &str = names::RELABELLED;

#[test]
fn rows_are_edited_whatever_their_ids_are_then() {
    let base = rows();
    let edits = recorded(
        FILE,
        &[
            edit(&base[0], relabelled("b")),
            edit(&base[1], |fields| fields.text = "zwei".to_owned()),
            removed(&base[2]),
        ],
    );
    let mut again = rows();
    again.reverse();
    again[2].relabel = Some("c".to_owned());
    again[1].relabel = Some("c".to_owned());
    again.push(row(9, "four", "a", "a", 0.5));
    for (id, row) in again.iter_mut().enumerate() {
        row.augmented.id = id;
    }
    let wanted = [
        // The label stands as the person saw it when the text was mended.
        seen("zwei", "b", 0.6, true),
        seen("one", "b", 1.0, true),
        seen("four", "a", 0.5, false),
    ];
    assert_eq!(applied(&edits, FILE, again), wanted);
    assert_eq!(applied(&edits, names::TRAIN, rows()).len(), 3, "another file");
    let tally = Tally { rows: 3, labels: 1, texts: 1, removed: 1, ..Tally::default() };
    assert_eq!(edits.tally(), tally);
    assert_eq!(tally.words(), "1 label, 1 text, 1 row removed");
}

#[test]
fn the_provenance_of_an_edited_row_is_kept() {
    let base = rows();
    let edits = recorded(FILE, &[edit(&base[0], |fields| fields.text = "eins".to_owned())]);
    let (found, _) = edits.apply(FILE, rows(), Vec::new(), &|_| true);
    assert_eq!(found[0].augmented.seed, Some(7));
    assert_eq!(found[0].key(), base[0].key(), "known by the text that was first written");
    assert_eq!(found[1..], base[1..]);
}

#[test]
fn the_later_edit_wins_and_one_that_is_taken_back_leaves_nothing() {
    let base = rows();
    let first = edit(&base[1], relabelled("c"));
    let mut edits = recorded(FILE, std::slice::from_ref(&first));
    let second = RowEdit { before: first.after.clone(), ..edit(&base[1], relabelled("d")) };
    edits.record(FILE, std::slice::from_ref(&second));
    assert_eq!(applied(&edits, FILE, rows())[1], seen("two", "d", 1.0, true));
    let back = RowEdit { before: second.after, ..edit(&base[1], relabelled("b")) };
    // In the file the teacher's probabilities come back as well.
    let now = edits.apply(FILE, rows(), Vec::new(), &|_| true).0;
    assert_eq!(edits.rewrite(FILE, &now, std::slice::from_ref(&back), &[]), base);
    edits.record(FILE, &[back]);
    assert_eq!(edits.apply(FILE, rows(), Vec::new(), &|_| true).0, base);
    assert_eq!(edits.tally(), Tally::default());
}

#[test]
fn a_row_whose_original_is_gone_is_kept_and_a_removed_one_is_not_made_anew() {
    let base = rows();
    let added = RowEdit {
        row: 3,
        key: row(3, "mine", "a", "a", 1.0).key(),
        before: None,
        after: Some(row(3, "mine", "a", "a", 1.0).fields()),
        reason: None,
    };
    let edits = recorded(FILE, &[edit(&base[0], relabelled("b")), removed(&base[1]), added]);
    let (found, _) = edits.apply(FILE, vec![row(5, "new", "b", "b", 0.7)], Vec::new(), &|_| true);
    let ids: Vec<_> = found.iter().map(|row| (row.augmented.id, row.fields().text)).collect();
    let wanted = [(5, "new"), (6, "one"), (7, "mine")].map(|(id, text)| (id, text.to_owned()));
    assert_eq!(ids, wanted);
    // An edit that names a class which is gone is left out; the row is as the teacher has it.
    let (found, _) = edits.apply(FILE, rows(), Vec::new(), &|class| class != "b");
    assert_eq!(found.iter().filter(|row| row.augmented.by.is_some()).count(), 1, "{found:?}");
}

#[test]
fn a_dropped_row_that_a_person_took_back_comes_from_the_pool() {
    let base = rows();
    let back = RowEdit { before: None, ..edit(&base[2], |_| ()) };
    let edits = recorded(names::TRAIN, std::slice::from_ref(&back));
    let (kept, left) =
        edits.apply(names::TRAIN, rows()[..1].to_vec(), rows()[1..].to_vec(), &|_| true);
    assert_eq!(kept.iter().map(|row| row.augmented.id).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(kept[1].augmented.seed, Some(7));
    assert_eq!(left, base[1..2]);
    let rewritten = Edits::default().rewrite(names::TRAIN, &base[..1], &[back], &rows()[1..]);
    assert_eq!(rewritten, kept);
}

#[test]
fn a_label_in_augmented_is_given_and_a_text_is_not() {
    let mut base = rows();
    for row in &mut base {
        (row.relabel, row.p, row.probabilities) = (None, None, Vec::new());
    }
    let label = edit(&base[0], |fields| {
        (fields.major, fields.relabel, fields.p) =
            ("b".to_owned(), Some("b".to_owned()), Some(1.0));
    });
    let text = edit(&base[1], |fields| fields.text = "zwei".to_owned());
    let edits = recorded(names::AUGMENTED, &[label, text]);
    let (found, _) = edits.apply(names::AUGMENTED, base, Vec::new(), &|_| true);
    let given = GivenLabel { label: "b".to_owned(), p: 1.0 };
    assert_eq!(
        (found[0].augmented.given.as_ref(), &*found[0].augmented.major),
        (Some(&given), "b")
    );
    assert_eq!((found[1].augmented.given.as_ref(), &*found[1].augmented.text), (None, "zwei"));
    assert_eq!(found[1].augmented.by, Some(Author::Person));
}

#[test]
fn of_equal_texts_only_the_edited_one_is_removed() {
    let twins = vec![row(0, "one", "a", "a", 0.9), row(1, "one", "b", "b", 0.8)];
    let second = keyed(twins.clone()).remove(1).1;
    let edits = recorded(FILE, &[RowEdit { key: second, ..removed(&twins[1]) }]);
    assert_eq!(edits.apply(FILE, twins.clone(), Vec::new(), &|_| true).0, twins[..1]);
}

/// A row and two duplicates of it, which the filter dropped.
fn copies_of_one() -> (Vec<TextRow>, Vec<TextRow>) {
    let copy = |id: usize| row(id, "one", "a", "b", 0.7);
    (vec![row(0, "one", "a", "a", 0.9), row(1, "two", "b", "b", 0.8)], vec![copy(2), copy(3)])
}

fn keys_of(rows: &[(TextRow, String)]) -> Vec<&str> {
    rows.iter().map(|(_, key)| key.as_str()).collect()
}

#[test]
fn a_duplicate_that_a_person_keeps_is_moved_and_not_made_anew() {
    let (kept, dropped) = copies_of_one();
    let [one, two] = [kept[0].key(), kept[1].key()];
    let first = Edits::default().keyed(names::TRAIN, [&kept[..], &dropped].concat());
    let numbered = [&*one, &two, &format!("{one}#2"), &format!("{one}#3")];
    assert_eq!(keys_of(&first), numbered);
    let keep = RowEdit { key: format!("{one}#2"), before: None, ..edit(&dropped[0], |_| ()) };
    let edits = recorded(names::TRAIN, std::slice::from_ref(&keep));
    let written = Edits::default().rewrite(names::TRAIN, &kept, &[keep], &dropped);
    let (applied, left) = edits.apply(names::TRAIN, kept, dropped.clone(), &|_| true);
    assert_eq!(applied.iter().map(|row| row.augmented.id).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((&left[..], applied[2].augmented.seed), (&dropped[1..], Some(7)));
    assert_eq!(written, applied);
    // What stands in the files from then on is known by the same keys.
    let again = edits.keyed(names::TRAIN, [&applied[..], &left].concat());
    assert_eq!(keys_of(&again), numbered);
}

#[test]
fn of_a_removed_text_its_duplicate_is_not_removed_as_well() {
    let (kept, dropped) = copies_of_one();
    let key = kept[0].key();
    let none = RowEdit { reason: Some(DropReason::NoneOfThese), ..removed(&kept[0]) };
    let edits = recorded(names::TRAIN, &[none]);
    let said = edits.dropped(names::TRAIN, &kept, &dropped);
    assert_eq!(said.iter().map(|row| row.row.augmented.id).collect::<Vec<_>>(), [0]);
    let (applied, left) = edits.apply(names::TRAIN, kept.clone(), dropped.clone(), &|_| true);
    assert_eq!((&applied[..], &left), (&kept[1..], &dropped));
    // Their key is none that belongs to the removed row.
    let then = edits.keyed(names::TRAIN, [&applied[..], &left].concat());
    assert_eq!(keys_of(&then)[1..], [format!("{key}#2"), format!("{key}#3")]);
}

#[test]
fn a_renamed_class_is_renamed_in_edits() {
    let base = rows();
    let mut edits = recorded(FILE, &[edit(&base[0], relabelled("b"))]);
    edits.rename_classes(&[("b".to_owned(), "beta".to_owned())].into());
    assert_eq!(applied(&edits, FILE, rows())[0], seen("one", "beta", 1.0, true));
}

#[test]
fn a_confirmed_row_is_a_persons_until_that_is_taken_back() {
    let base = rows();
    let keep = edit(&base[0], |fields| *fields = fields.clone().confirmed());
    let mut edits = recorded(FILE, std::slice::from_ref(&keep));
    assert_eq!(applied(&edits, FILE, rows())[0], seen("one", "a", 1.0, true));
    assert_eq!(edits.tally().words(), "1 row confirmed");
    let back = RowEdit { before: keep.after.clone(), after: keep.before.clone(), ..keep.clone() };
    edits.record(FILE, std::slice::from_ref(&back));
    assert_eq!(edits, Edits { files: [(FILE.to_owned(), Rules::default())].into() });
    // Sure before, it is confirmed without any change, and taken back as if it had been away.
    let sure = row(3, "four", "a", "a", 1.0);
    let sure = TextRow { probabilities: Vec::new(), ..sure };
    let keep = edit(&sure, |_| ());
    let mut edits = recorded(FILE, std::slice::from_ref(&keep));
    assert_eq!(applied(&edits, FILE, vec![sure.clone()])[0], seen("four", "a", 1.0, true));
    edits.record(FILE, &[RowEdit { before: None, ..keep }]);
    assert!(edits.rules(FILE).is_empty());
}

#[test]
fn many_decisions_come_to_one_change_for_each_row() {
    let base = rows();
    let step = |row: &TextRow, before: &Option<RowFields>, after: Option<RowFields>| RowEdit {
        before: before.clone(),
        after,
        ..edit(row, |_| ())
    };
    let label = |row: &TextRow, to: &str| {
        let mut fields = row.fields();
        relabelled(to)(&mut fields);
        Some(fields)
    };
    let first = |at: usize| Some(base[at].fields());
    // Settled before: the second row has another label.
    let settled = recorded(FILE, &[step(&base[1], &first(1), label(&base[1], "c"))]);
    let then = settled.apply(FILE, rows(), Vec::new(), &|_| true).0;
    let made = [
        step(&base[0], &first(0), label(&base[0], "b")),
        step(&base[2], &first(2), None),
        step(&base[0], &label(&base[0], "b"), label(&base[0], "c")),
        step(&base[1], &label(&base[1], "c"), first(1)),
        // Dropped and brought back.
        step(&base[2], &None, first(2)),
    ];
    let net = settled.net(FILE, &made.iter().collect::<Vec<_>>());
    let wanted = [
        step(&base[0], &first(0), label(&base[0], "c")),
        step(&base[1], &label(&base[1], "c"), first(1)),
    ];
    assert_eq!(net, wanted, "the third row is as it was");
    let rewritten = settled.rewrite(FILE, &then, &net, &[]);
    let mut one_by_one = settled.clone();
    made.iter().for_each(|change| one_by_one.record(FILE, std::slice::from_ref(change)));
    assert_eq!(rewritten, one_by_one.apply(FILE, rows(), Vec::new(), &|_| true).0);
    assert_eq!(rewritten[1], base[1], "with the teacher's probabilities");
}
