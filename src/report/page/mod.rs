//! Renders a [`Report`] as an HTML page. Numbers are formatted and charts drawn as SVG here; the
//! templates beside this file arrange them and escape every text.

mod compared;
mod diagnostics;
mod evaluation;
mod privacy;
mod sections;
#[cfg(test)]
mod tests;

use minijinja::{AutoEscape, Environment, Value, context};

pub(crate) use evaluation::render as render_evaluation;

use super::{Report, number::count, verdict::verdict};
use crate::{dataset::Variant, eval::Interval};

/// The templates, by the names that they use to include each other.
const TEMPLATES: [(&str, &str); 7] = [
    ("page", include_str!("page.html.j2")),
    ("style", include_str!("style.css.j2")),
    ("compared", include_str!("compared.html.j2")),
    ("diagnostics", include_str!("diagnostics.html.j2")),
    ("privacy", include_str!("privacy.html.j2")),
    ("heatmap", include_str!("heatmap.html.j2")),
    ("evaluation", include_str!("evaluation.html.j2")),
];

/// The templates, ready to render.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text).expect("the built-in templates compile");
    }
    environment
}

/// The page of a report: one self-contained HTML document.
pub fn render(report: &Report) -> String {
    let environment = environment();
    let template = environment.get_template("page").expect("the templates include the page");
    let verdict = verdict(report);
    let comparison = compared::compared(report);
    // The table of a comparison contains the result table.
    let (results, differences) = match comparison {
        Some(_) => (None, None),
        None => (sections::results(report), sections::differences(report)),
    };
    template
        .render(context! {
            title => report.task.name,
            task => report.task,
            teacher => report.teacher,
            student => report.student,
            headline => verdict.headline,
            details => verdict.details,
            warnings => report.warnings,
            facts => sections::facts(report),
            comparison,
            results,
            differences,
            funnel => sections::funnel(report),
            relabel => sections::relabel(report),
            confusion => sections::confusion(report),
            map => diagnostics::map(report),
            reliability => diagnostics::reliability(report),
            selective => diagnostics::selective(report),
            diversity => diagnostics::diversity(report),
            privacy => privacy::privacy(report),
            examples => sections::examples(report),
            stages => sections::stages(report),
            provenance => report.provenance,
            ledger_rows => count(report.provenance.ledger_rows),
        })
        .expect("the templates use only values that are passed to them")
}

fn svg(text: String) -> Value {
    Value::from_safe_string(text)
}

/// The half-width of a chart of differences: the end farthest from zero, rounded up to a multiple
/// of five points.
fn reach<'a>(intervals: impl Iterator<Item = &'a Interval>) -> f64 {
    let ends = intervals.flat_map(|interval| [interval.low.abs(), interval.high.abs()]);
    let widest = ends.filter(|end| end.is_finite()).fold(0.0, f64::max);
    ((widest * 20.0).ceil() / 20.0).clamp(0.05, 1.0)
}

/// The name of each row, and a note on its training data.
fn name(row: Variant) -> (&'static str, &'static str) {
    match row {
        Variant::Seeds => ("Seeds only", "student, labelled examples only"),
        Variant::EmbedSeeds => ("Logistic regression", "frozen encoder, labelled examples only"),
        Variant::A1 => ("Generated texts", "student, before relabelling (A1)"),
        Variant::A2 => ("Relabelled texts", "student, after relabelling (A2)"),
        Variant::U => ("Real texts", "student, labelled by the teacher (U)"),
        Variant::A2U => ("New and real texts", "student, relabelled and real texts (A2+U)"),
        Variant::Teacher => ("Teacher", "the language model itself"),
        other => (other.name(), "student"),
    }
}

/// A short name of the row for use within a sentence.
fn words(row: Variant) -> &'static str {
    match row {
        Variant::Seeds => "seeds only",
        Variant::A1 => "generated",
        Variant::A2 => "relabelled",
        Variant::U => "real",
        Variant::A2U => "new and real",
        Variant::Teacher => "teacher",
        other => other.key(),
    }
}

/// The model of a row, at the start of a sentence.
fn model(row: Variant) -> String {
    match row {
        Variant::Teacher => "Teacher".into(),
        row => format!("Student, {}", row.name()),
    }
}
