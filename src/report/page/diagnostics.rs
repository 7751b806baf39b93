//! The diagnostics: the map of texts, calibration, lexical diversity.

use std::fmt::Write as _;

use minijinja::{Value, context};

use super::{model, svg};
use crate::{
    dataset::Variant,
    eval::{Bin, Calibration, Interval},
    report::{
        LexicalDiversity, Map, Point, PointKind, Report, Target, chart,
        number::{count, counted, percent, points, whole_percent},
    },
};

/// The kinds of points in the order of the legend.
const KINDS: [PointKind; 3] = [PointKind::Seed, PointKind::Synthetic, PointKind::TestError];

pub(crate) fn map(report: &Report) -> Option<Value> {
    let map = report.map.as_ref().filter(|map| !map.points.is_empty())?;
    let of_kind = |kind: PointKind| map.points.iter().filter(move |point| point.kind == kind);
    let kinds: Vec<Value> = KINDS
        .into_iter()
        .filter_map(|kind| {
            let n = of_kind(kind).count();
            (n > 0).then(|| {
                context! {
                    id => chart::kind_class(kind),
                    name => chart::kind_name(kind),
                    n => count(n as u64),
                    mark => svg(chart::kind_mark(kind)),
                }
            })
        })
        .collect();
    let label = format!(
        "Map of {}: generated texts, seeds and test errors by class",
        counted(map.points.len() as u64, "text")
    );
    let classes = classes(report, map);
    let class_name = |index: usize| {
        report.task.classes.get(index).map_or("?", |class| class.name.as_str()).to_owned()
    };
    let listed = |kind: PointKind| -> Vec<Value> {
        of_kind(kind)
            .filter(|point| !point.text.is_empty())
            .map(|Point { class, predicted, text, .. }| {
                context! {
                    text, class => class_name(*class), predicted => predicted.map(class_name),
                }
            })
            .collect()
    };
    Some(context! {
        chart => svg(chart::scatter(map, &report.task.classes, &label)),
        style => svg(style(report.task.classes.len())),
        kinds,
        classes,
        many => report.task.classes.len() > chart::COLOURS,
        errors => listed(PointKind::TestError),
        seeds => listed(PointKind::Seed),
    })
}

/// The classes of the legend, each with its number of points.
fn classes(report: &Report, map: &Map) -> Vec<Value> {
    report
        .task
        .classes
        .iter()
        .enumerate()
        .map(|(index, class)| {
            let n = map.points.iter().filter(|point| point.class == index).count();
            context! {
                index,
                name => class.name,
                n => count(n as u64),
                mark => svg(chart::class_mark(index)),
            }
        })
        .collect()
}

/// CSS rules that depend on the number of classes: a colour for each class if there are more than
/// ten, and which points fade if one class is selected. Only numbers are inserted.
fn style(classes: usize) -> String {
    let mut style = String::new();
    for class in 0..classes {
        if classes > chart::COLOURS {
            let hue = chart::hue(class);
            let _ = writeln!(style, ".c{class}{{--c:hsl({hue:.0} 62% var(--bright))}}");
        } else {
            let _ = writeln!(style, ".c{class}{{--c:var(--c{class})}}");
        }
        let _ = writeln!(
            style,
            "#map:has(#map-c{class}:checked) .scatter .pt:not(.c{class},.p{class}){{opacity:.07;pointer-events:none}}"
        );
    }
    style
}

pub(crate) fn reliability(report: &Report) -> Vec<Value> {
    report
        .reliability
        .iter()
        .filter(|of| of.calibration.bins.iter().any(|bin| bin.rows > 0))
        .map(|of| {
            let calibration = &of.calibration;
            let class = if of.row == Variant::Teacher { "teacher" } else { "student" };
            let answers: usize = calibration.bins.iter().map(|bin| bin.rows).sum();
            let model = model(of.row);
            let title = format!(
                "{model}: accuracy by confidence; expected calibration error {}",
                percent(calibration.ece)
            );
            context! {
                name => model,
                ece => format!("{:.1}", calibration.ece * 100.0),
                bias => bias(calibration),
                answers => counted(answers as u64, "answer"),
                chart => svg(chart::reliability(calibration, class, &title)),
            }
        })
        .collect()
}

/// Coverage against accuracy: the curve, and a row for each target.
pub(crate) fn selective(report: &Report) -> Option<Value> {
    let selective = report.selective.as_ref().filter(|it| !it.curve.is_empty())?;
    let all = selective.curve.last()?;
    let title = format!(
        "{}: accuracy by the share of texts that are answered, the surest first; {} if all are",
        model(selective.row),
        percent(all.accuracy())
    );
    let row = |target: &Target| {
        let chosen = target.chosen.as_ref();
        context! {
            target => whole_percent(target.accuracy),
            threshold => chosen.map(|it| format!("{:.3}", it.threshold)),
            coverage => chosen.map(|it| percent(it.coverage())),
            accuracy => chosen.map(|it| percent(it.accuracy())),
        }
    };
    Some(context! {
        name => model(selective.row),
        texts => counted(all.texts as u64, "text"),
        level => whole_percent(selective.confidence_level),
        chart => svg(chart::coverage(&selective.curve, selective.confidence_level, &title)),
        rows => selective.targets.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Whether the model is overconfident or underconfident on average.
pub(super) fn bias(calibration: &Calibration) -> String {
    let rows: usize = calibration.bins.iter().map(|bin| bin.rows).sum();
    let mean = |of: fn(&Bin) -> f64| {
        calibration.bins.iter().map(|bin| of(bin) * bin.rows as f64).sum::<f64>()
            / rows.max(1) as f64
    };
    let (confidence, accuracy) = (mean(|bin| bin.confidence), mean(|bin| bin.accuracy));
    let gap = points((confidence - accuracy).abs()).replace('+', "");
    let bias = match gap.as_str() {
        "0.0" => "they agree".into(),
        gap if confidence > accuracy => format!("overconfident by {gap} points"),
        gap => format!("underconfident by {gap} points"),
    };
    format!("mean confidence {}, accuracy {}: {bias}", percent(confidence), percent(accuracy))
}

/// A measure of diversity: its heading, how to read it, and its value for a set of texts.
struct Measure {
    heading: &'static str,
    reading: &'static str,
    of: fn(&LexicalDiversity) -> f64,
    /// The standard deviation, drawn as a whisker; without it, the measure is a share.
    deviation: Option<fn(&LexicalDiversity) -> f64>,
}

const MEASURES: [Measure; 3] = [
    Measure {
        heading: "Word pairs (distinct-2)",
        reading: "Distinct pairs of adjacent words as a share of all pairs. Higher is more varied.",
        of: |set| set.distinct_2,
        deviation: None,
    },
    Measure {
        heading: "Similarity (self-BLEU)",
        reading: "How much of a text’s wording occurs in other texts of its set. Lower is more varied.",
        of: |set| set.self_bleu,
        deviation: None,
    },
    Measure {
        heading: "Words per text",
        reading: "Mean and standard deviation. Texts much longer than the seeds may not be realistic.",
        of: |set| set.words.0,
        deviation: Some(|set| set.words.1),
    },
];

pub(crate) fn diversity(report: &Report) -> Option<Value> {
    let sets: Vec<&LexicalDiversity> =
        report.diversity.iter().filter(|set| set.texts > 0).collect();
    if sets.is_empty() {
        return None;
    }
    let measures: Vec<Value> = MEASURES
        .iter()
        .map(|measure| {
            let rows: Vec<Value> = sets.iter().map(|set| measured(set, &sets, measure)).collect();
            context! { heading => measure.heading, reading => measure.reading, rows }
        })
        .collect();
    Some(context! { measures })
}

fn measured(set: &LexicalDiversity, sets: &[&LexicalDiversity], measure: &Measure) -> Value {
    let class = if set.of == "seeds" { "plain" } else { "student" };
    let mean = (measure.of)(set);
    let (figure, bar) = match measure.deviation {
        None => {
            let figure = percent(mean);
            let title = format!("{}, {}: {figure}", set.of, measure.heading);
            (figure, chart::plain(mean, class, &title))
        }
        Some(deviation) => {
            let scale = sets.iter().map(|set| (measure.of)(set) + deviation(set));
            let by = deviation(set);
            let figure = format!("{mean:.1} ± {by:.1}").replace(' ', "\u{a0}");
            let title = format!("{}, {}: {figure}", set.of, measure.heading);
            let range = Interval::new(mean, mean - by, mean + by);
            (figure, chart::spread(range, scale.fold(0.0, f64::max), class, &title))
        }
    };
    context! { name => set.of, texts => counted(set.texts, "text"), figure, bar => svg(bar) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_direction_of_a_bias_is_named() {
        let bins = |confidence, accuracy| Calibration {
            ece: 0.0,
            bins: vec![Bin::default(), Bin { rows: 10, confidence, accuracy }],
        };
        assert_eq!(
            bias(&bins(0.9, 0.75)),
            "mean confidence 90.0\u{202f}%, accuracy 75.0\u{202f}%: overconfident by 15.0 points"
        );
        assert!(bias(&bins(0.6, 0.75)).ends_with("underconfident by 15.0 points"));
        assert!(bias(&bins(0.75, 0.75)).ends_with("they agree"));
    }

    #[test]
    fn a_class_has_a_colour_and_can_be_selected() {
        let few = style(2);
        assert!(few.contains(".c1{--c:var(--c1)}") && few.contains("#map-c1:checked"), "{few}");
        assert!(style(11).contains(".c1{--c:hsl(138 62% var(--bright))}"));
    }
}
