//! Turns a [`Report`] into the page: numbers become text, shares become SVG, and the templates beside
//! this file lay them out and escape every text.

mod compared;
mod diagnostics;
mod privacy;
mod sections;
#[cfg(test)]
mod tests;

use minijinja::{AutoEscape, Environment, Value, context};

use super::{Report, number::count, verdict::verdict};
use crate::{dataset::Variant, eval::Interval};

/// The templates, by the name under which they include each other.
const TEMPLATES: [(&str, &str); 6] = [
    ("page", include_str!("page.html.j2")),
    ("style", include_str!("style.css.j2")),
    ("compared", include_str!("compared.html.j2")),
    ("closer", include_str!("closer.html.j2")),
    ("privacy", include_str!("privacy.html.j2")),
    ("heat", include_str!("heat.html.j2")),
];

/// The page of a report: one HTML document that needs nothing else.
pub fn render(report: &Report) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    for (name, text) in TEMPLATES {
        environment
            .add_template(name, text)
            .expect("the page's templates are compiled into the program and tested");
    }
    let template = environment.get_template("page").expect("the page is among the templates");
    let verdict = verdict(report);
    let comparison = compared::compared(report);
    // A comparison's table holds what the result table would say, and more.
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
            diversity => diagnostics::diversity(report),
            privacy => privacy::privacy(report),
            examples => sections::examples(report),
            stages => sections::stages(report),
            provenance => report.provenance,
            ledger_rows => count(report.provenance.ledger_rows),
        })
        .expect("the page's templates print only what is given to them, which the tests cover")
}

fn svg(text: String) -> Value {
    Value::from_safe_string(text)
}

/// How far a chart of differences reaches to both sides: the widest end, rounded up to the next five
/// points.
fn reach<'a>(intervals: impl Iterator<Item = &'a Interval>) -> f64 {
    let ends = intervals.flat_map(|interval| [interval.low.abs(), interval.high.abs()]);
    let widest = ends.filter(|end| end.is_finite()).fold(0.0, f64::max);
    ((widest * 20.0).ceil() / 20.0).clamp(0.05, 1.0)
}

/// What each row is called, and a line on what it learnt from.
fn name(row: Variant) -> (&'static str, &'static str) {
    match row {
        Variant::Seeds => ("Seeds only", "student, labelled examples alone"),
        Variant::A1 => ("Generated texts", "student, before relabelling (A1)"),
        Variant::A2 => ("Relabelled texts", "student, after relabelling (A2)"),
        Variant::Teacher => ("Teacher", "the language model itself"),
        rival => (rival.name(), "student"),
    }
}

/// The row in a few words, within a sentence.
fn words(row: Variant) -> &'static str {
    match row {
        Variant::Seeds => "seeds only",
        Variant::A1 => "generated",
        Variant::A2 => "relabelled",
        Variant::Teacher => "teacher",
        rival => rival.key(),
    }
}

/// The model of a row, at the head of a sentence.
fn model(row: Variant) -> String {
    match row {
        Variant::Teacher => "Teacher".into(),
        row => format!("Student, {}", row.name()),
    }
}
