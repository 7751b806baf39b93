//! Small cases, calculated by hand.

use super::*;

/// A task with classes a, b and c, one seed each, and the test texts `test` with their classes.
fn task(test: &[(&str, usize)]) -> Task {
    let toml = "name = 't'\n[data]\nseeds = 'seeds.jsonl'\ntest = 'test.jsonl'\n\
                [[class]]\nname = 'a'\n[[class]]\nname = 'b'\n[[class]]\nname = 'c'\n";
    let line = |(text, label): &(&str, usize)| {
        let label = ["a", "b", "c"][*label];
        serde_json::json!({ "text": text, "label": label }).to_string() + "\n"
    };
    let seeds: String =
        [("seed one", 0), ("seed two", 1), ("seed three", 2)].iter().map(line).collect();
    let test: String = test.iter().map(line).collect();
    let files = [("seeds.jsonl", seeds.as_bytes()), ("test.jsonl", test.as_bytes())];
    Task::load_embedded(toml, &files).expect("the task is sound")
}

fn row(text: &str, major: &str, minor: Option<(&str, f64)>, relabel: &str) -> RelabelledText {
    let augmented = AugmentedText {
        text: text.to_owned(),
        major: major.to_owned(),
        minor: minor.map(|(minor, _)| minor.to_owned()),
        alpha: minor.map(|(_, alpha)| alpha),
        ..AugmentedText::default()
    };
    let relabel = relabel.to_owned();
    RelabelledText { augmented, relabel, p: 0.9, probabilities: Vec::new() }
}

/// Embeds texts mainly by their first letter.
struct Letters;

impl Embedder for Letters {
    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, crate::embed::EmbedError> {
        let vector = |text: &String| {
            let mut vector = vec![0.01; 26];
            for (at, byte) in text.bytes().enumerate() {
                let letter = usize::from(byte.wrapping_sub(b'a')) % 26;
                vector[letter] += if at == 0 { 1.0 } else { 0.05 };
            }
            vector
        };
        Ok(texts.iter().map(vector).collect())
    }
}

#[test]
fn relabelling_by_alpha_and_pair() {
    let mut rows = Vec::new();
    // a and b: 2 of 5 changed; b and a: 3 of 6; c and a: 4 of 4, too few texts; a and c: 0 of 9.
    rows.extend((0..5).map(|n| row("x", "a", Some(("b", 0.6)), if n < 2 { "b" } else { "a" })));
    rows.extend((0..6).map(|n| row("x", "b", Some(("a", 0.7)), if n < 3 { "c" } else { "b" })));
    rows.extend((0..4).map(|_| row("x", "c", Some(("a", 0.6)), "a")));
    rows.extend((0..9).map(|_| row("x", "a", Some(("c", 0.8)), "a")));
    rows.push(row("x", "c", None, "c"));
    let found = relabel(&task(&[("t0", 0)]), &rows);
    assert_eq!((found.changed, found.total), (9, 25));
    let alphas: Vec<_> = found.by_alpha.iter().map(|a| (a.alpha, a.total, a.changed)).collect();
    assert_eq!(alphas, [(0.6, 9, 6), (0.7, 6, 3), (0.8, 9, 0)]);
    let pairs: Vec<_> = found
        .by_pair
        .iter()
        .map(|pair| (pair.major.as_str(), pair.minor.as_str(), pair.changed, pair.total))
        .collect();
    assert_eq!(pairs, [("b", "a", 3, 6), ("a", "b", 2, 5)]);
    assert_eq!(found.flow, [[12, 2, 0], [0, 3, 3], [4, 0, 1]]);
}

#[test]
fn the_texts_that_most_seeds_get_wrong_come_first() {
    let task = task(&[("t0", 0), ("t1", 0), ("t2", 0), ("t3", 1), ("t4", 2)]);
    let gold = [0, 0, 0, 1, 2];
    // t1 is predicted as b once, t2 twice (and once as c), t3 as c once.
    let predicted = [vec![0, 0, 1, 1, 2], vec![0, 1, 1, 2, 2], vec![0, 0, 2, 1, 2]];
    let found = confusion(&task, &gold, &predicted, Variant::A2);
    assert_eq!(found.matrix, [[5, 3, 1], [0, 2, 1], [0, 0, 3]]);
    let pairs: Vec<_> = found
        .pairs
        .iter()
        .map(|pair| (pair.gold.as_str(), pair.predicted.as_str(), pair.count, &pair.texts[..]))
        .collect();
    let text = |text: &str| text.to_owned();
    assert_eq!(
        pairs,
        [
            ("a", "b", 3, &[text("t2"), text("t1")][..]),
            ("a", "c", 1, &[text("t2")]),
            ("b", "c", 1, &[text("t3")]),
        ]
    );
    assert!(confusion(&task, &gold, &[gold.to_vec()], Variant::A2).pairs.is_empty());
}

#[test]
fn seeds_are_pooled_for_reliability() {
    let (predicted, confidence) = ([vec![0, 1], vec![0, 0]], [vec![0.5, 0.5], vec![0.5, 0.5]]);
    let found = reliability(Variant::A2, &[0, 0], &predicted, &confidence).expect("all is there");
    // Three of four are correct at 0.5.
    assert!((found.calibration.ece - 0.25).abs() < 1e-9, "{found:?}");
    assert_eq!(found.calibration.bins[7].rows, 4);
    // One student without confidences (older ledger): the rest alone would mislead.
    assert!(reliability(Variant::A2, &[0, 0], &predicted, &[vec![0.5, 0.5], vec![]]).is_none());
    assert!(reliability(Variant::A2, &[0, 0], &predicted, &[]).is_none());
    assert!(reliability(Variant::A2, &[], &[], &[]).is_none());
}

#[test]
fn a_text_without_an_answer_counts_as_wrong() {
    let task = task(&[("t0", 2), ("t1", 1)]);
    let answer = Answer { class: 1, probabilities: vec![(0, 0.3), (1, 0.7)] };
    let (predicted, confidence) = teacher_predictions(&task, &[None, Some(answer)]);
    assert_eq!((predicted[1], confidence), (1, vec![0.0, 0.7]));
    assert_ne!(predicted[0], 2);
}

#[test]
fn the_map_contains_seeds_texts_and_errors() {
    let task = task(&[("aaa", 0), ("abc", 0), ("bcd", 1)]);
    let kept: Vec<RelabelledText> = (0..1200)
        .map(|n| {
            // Class c has 40 texts, a and b have the rest.
            let class = if n % 30 == 0 { "c" } else { ["a", "b"][n % 2] };
            let text = format!("{class}{}", ["xy", "uv", "st"][n % 3]);
            row(&text, "a", None, class)
        })
        .chain([row("lost", "a", None, "no such class")])
        .collect();
    let found = map(&task, &task.seeds, &kept, &[0, 1, 1], &Letters).unwrap().expect("a map");
    assert_eq!(found.points.len(), 800);
    assert!(found.points.is_sorted_by_key(|point| point.kind));
    let count = |kind, class| {
        found.points.iter().filter(|point| (point.kind, point.class) == (kind, class)).count()
    };
    let synthetic = [0, 1, 2].map(|class| count(PointKind::Synthetic, class));
    assert_eq!(synthetic, [378, 378, 40]);
    assert_eq!([0, 1, 2].map(|class| count(PointKind::Seed, class)), [1, 1, 1]);
    let error = found.points.iter().find(|point| point.kind == PointKind::TestError).unwrap();
    assert_eq!((error.text.as_str(), error.class, error.predicted), ("abc", 0, Some(1)));
    assert!(found.points.iter().all(|point| (0.0..=1.0).contains(&point.x)));
    assert_eq!(map(&task, &task.seeds, &kept, &[0, 1, 1], &Letters).unwrap(), Some(found));
    assert!(map(&task, &[], &kept[..2], &[], &Letters).unwrap().is_none());
}

#[test]
fn a_sample_is_even_over_classes_and_over_the_list() {
    let point = |class: usize, n: usize| report::Point {
        x: 0.0,
        y: 0.0,
        kind: PointKind::Synthetic,
        class,
        predicted: None,
        text: n.to_string(),
    };
    let points: Vec<_> = (0..20).map(|n| point(usize::from(n >= 18), n)).collect();
    let texts = |points: Vec<report::Point>| {
        points.into_iter().map(|point| point.text).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(texts(evenly(points.clone(), 8)), "0 3 6 9 12 15 18 19");
    assert_eq!(evenly(points.clone(), 20), points);
    assert_eq!(evenly(points.clone(), 99), points);
    assert!(evenly(points, 0).is_empty());
}

#[test]
fn diversity_names_its_sets() {
    let task = task(&[("t0", 0)]);
    let generated = [row("ask me now", "a", None, "a"), row("ask me now", "a", None, "a")];
    let found = diversity(&task.seeds, &generated);
    let names: Vec<_> = found.iter().map(|set| (set.of.as_str(), set.texts)).collect();
    assert_eq!(names, [("seeds", 3), ("generated", 2)]);
    assert_eq!((found[0].distinct_2, found[1].words), (1.0, (3.0, 0.0)));
    assert_eq!(diversity(&[], &generated)[0].of, "generated");
    assert!(diversity(&[], &[]).is_empty());
}
