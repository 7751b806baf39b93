//! The page of `promptmix evaluate`, from the parts of the report.

use minijinja::{Value, context};

use super::{
    super::{
        evaluation::{ClassResult, Evaluation},
        number::{count, counted, percent, points, points_span, span},
    },
    diagnostics::bias,
    environment, reach, svg,
};
use crate::{
    eval::Interval,
    report::{chart, confusion::Matrix},
};

/// The page of an evaluation: one self-contained HTML document.
pub(crate) fn render(evaluation: &Evaluation) -> String {
    let calibration = evaluation.reliability();
    let classes = evaluation.report_classes();
    let title =
        format!("Accuracy by confidence; expected calibration error {}", percent(calibration.ece));
    let environment = environment();
    let template = environment.get_template("evaluation").expect("it is among the templates");
    template
        .render(context! {
            title => evaluation.file.path,
            headline => headline(evaluation),
            warnings => evaluation.warnings(),
            facts => facts(evaluation),
            scores => scores(evaluation),
            scale => svg(chart::scale()),
            chance => percent(1.0 / classes.len() as f64),
            against => against(evaluation),
            classes => evaluation.classes.iter().map(class).collect::<Vec<_>>(),
            ece => points_of(evaluation.calibration.ece),
            brier => format!(
                "{:.3} ({:.3}–{:.3})",
                evaluation.calibration.brier.mean,
                evaluation.calibration.brier.low,
                evaluation.calibration.brier.high
            ),
            bias => bias(&calibration),
            reliability => svg(chart::reliability(&calibration, "student", &title)),
            matrix => Matrix::new(&classes, &evaluation.confusion, "Texts by their true class (down) and the predicted class (across)"),
            model => evaluation.model,
            file => evaluation.file,
            version => evaluation.version,
        })
        .expect("the template uses only values that are passed to it")
}

/// `4.1 (2.9–6.0)`, in points.
fn points_of(interval: Interval) -> String {
    format!("{:.1} ({})", interval.mean * 100.0, span(interval))
}

fn headline(evaluation: &Evaluation) -> String {
    let Interval { mean, low, high, .. } = evaluation.accuracy;
    format!(
        "{} of {} are classified correctly; 95 % interval {} to {}.",
        percent(mean),
        counted(evaluation.rows as u64, "text"),
        percent(low),
        percent(high)
    )
}

fn facts(evaluation: &Evaluation) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Texts", count(evaluation.rows as u64)),
        ("Classes", count(evaluation.classes.len() as u64)),
        ("Model", evaluation.model.path.clone()),
    ];
    if let Some(against) = &evaluation.against {
        facts.push(("Compared with", against.model.path.clone()));
    }
    facts
}

/// Accuracy and macro-F1 as bars; the accuracy of the other model below.
fn scores(evaluation: &Evaluation) -> Vec<Value> {
    let chance = Some(1.0 / evaluation.classes.len() as f64);
    let mut rows = vec![
        ("Accuracy", evaluation.accuracy, "student", chance),
        ("Macro-F1", evaluation.macro_f1, "student faint", None),
    ];
    if let Some(against) = &evaluation.against {
        rows.push(("Accuracy of the other model", against.accuracy, "plain", chance));
    }
    rows.into_iter()
        .map(|(name, interval, class, chance)| {
            let title =
                format!("{name}: {}, 95 % interval {}", percent(interval.mean), span(interval));
            let bar = svg(chart::bar(interval, class, chance, &title));
            context! { name, figure => percent(interval.mean), span => span(interval), bar }
        })
        .collect()
}

fn against(evaluation: &Evaluation) -> Option<Value> {
    let against = evaluation.against.as_ref()?;
    let interval = against.difference;
    let reach = reach(std::iter::once(&interval));
    let (size, range) = (points(interval.mean), points_span(interval));
    let title = format!("{size} points, 95 % interval {range}; {}", against.verdict());
    Some(context! {
        size,
        range,
        shown => against.verdict(),
        chart => svg(chart::difference(interval, reach, &title)),
        reach => format!("{:.0}", reach * 100.0),
        wins => counted(against.wins as u64, "text"),
        losses => counted(against.losses as u64, "text"),
        model => against.model,
    })
}

fn class(class: &ClassResult) -> Value {
    let scores = &class.scores;
    let share = |interval: Option<Interval>| interval.map(|it| percent(it.mean));
    let range = |interval: Option<Interval>| interval.map(span);
    context! {
        name => class.name,
        support => count(scores.support as u64),
        precision => share(scores.precision),
        precision_span => range(scores.precision),
        recall => share(scores.recall),
        recall_span => range(scores.recall),
        f1 => share(scores.f1),
        f1_span => range(scores.f1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::evaluation::sample;

    #[test]
    fn the_page_is_self_contained_and_has_every_part() {
        let page = render(&sample());
        for fetch in ["src=", "href=\"http", "@import", "url(", "<link", "<script", "NaN"] {
            assert!(!page.contains(fetch), "{fetch}");
        }
        for part in ["id=\"scores\"", "id=\"difference\"", "id=\"classes\"", "id=\"calibration\""] {
            assert!(page.contains(part), "{part}");
        }
        assert!(page.contains("id=\"confusion\"") && page.contains("printer &amp; fax"));
        assert!(page.contains("prefers-color-scheme: dark"));
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        let mut alone = sample();
        alone.against = None;
        assert!(!render(&alone).contains("id=\"difference\""));
    }

    #[test]
    fn hostile_names_are_escaped() {
        let evil = r#"</td></svg><script>alert("1")</script>{{ 7919*7919 }}"#;
        let mut evaluation = sample();
        evaluation.classes[0].name = evil.to_owned();
        evaluation.file.path = evil.to_owned();
        evaluation.model.path = evil.to_owned();
        let page = render(&evaluation);
        assert!(!page.contains("<script") && !page.contains("62710561"));
        assert!(!page.contains(r#"alert("1")"#));
    }
}
