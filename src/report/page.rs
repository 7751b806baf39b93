//! Turns a [`Report`] into the page: numbers become text, shares become SVG, and `page.html.j2` lays
//! them out and escapes every text.

use minijinja::{AutoEscape, Environment, Value, context};

use super::matrix::Matrix;
use super::number::{
    count, counted, duration, percent, points, points_span, share, span, whole_percent,
};
use super::verdict::verdict;
use super::{Report, Row, Scores, chart};

/// The page of a report: one HTML document that needs nothing else.
pub fn render(report: &Report) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    let template = environment
        .template_from_str(include_str!("page.html.j2"))
        .expect("the page's template is compiled into the program and tested");
    let verdict = verdict(report);
    template
        .render(context! {
            title => report.task.name,
            task => report.task,
            teacher => report.teacher,
            student => report.student,
            headline => verdict.headline,
            details => verdict.details,
            warnings => report.warnings,
            facts => facts(report),
            results => results(report),
            differences => differences(report),
            funnel => funnel(report),
            relabel => relabel(report),
            confusion => confusion(report),
            examples => examples(report),
            stages => stages(report),
            provenance => report.provenance,
            ledger_rows => count(report.provenance.ledger_rows),
        })
        .expect("the page's template prints only what is given to it, which the tests cover")
}

fn svg(text: String) -> Value {
    Value::from_safe_string(text)
}

/// What each row is called, and a line on what it learnt from.
fn name(row: Row) -> (&'static str, &'static str) {
    match row {
        Row::Seeds => ("Seeds only", "student, labelled examples alone"),
        Row::A1 => ("Generated texts", "student, before relabelling (A1)"),
        Row::A2 => ("Relabelled texts", "student, after relabelling (A2)"),
        Row::Teacher => ("Teacher", "the language model itself"),
        rival => (rival.name(), "student"),
    }
}

/// The row in a few words, within a sentence.
fn words(row: Row) -> &'static str {
    match row {
        Row::Seeds => "seeds only",
        Row::A1 => "generated",
        Row::A2 => "relabelled",
        Row::Teacher => "teacher",
        rival => rival.key(),
    }
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Classes", count(report.task.classes.len() as u64)),
        ("Examples per class", count(report.task.shots as u64)),
        ("Test texts", count(report.task.test_rows as u64)),
        ("Teacher", report.teacher.name.clone()),
        ("Student", report.student.name.clone()),
    ];
    if let Some(fast) = report.student.eight_bits {
        let (fast, exact) = (percent(fast.accuracy), percent(fast.accuracy_f32));
        facts.push(("Student in 8 bits", format!("{fast}, instead of {exact}")));
    }
    let seconds: f64 = report.stages.iter().map(|stage| stage.seconds).sum();
    if !report.stages.is_empty() {
        facts.push(("Time", duration(seconds)));
    }
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

fn results(report: &Report) -> Option<Value> {
    let order = [Row::A2, Row::A1, Row::Seeds, Row::Teacher];
    let rows: Vec<&Scores> = order.into_iter().filter_map(|row| report.scores(row)).collect();
    if rows.is_empty() {
        return None;
    }
    let classes = report.task.classes.len();
    let chance = (classes > 0).then(|| 1.0 / classes as f64);
    let rows: Vec<Value> = rows.into_iter().map(|scores| result(scores, chance)).collect();
    Some(context! { rows, scale => svg(chart::scale()), chance => chance.map(percent) })
}

fn result(scores: &Scores, chance: Option<f64>) -> Value {
    let (name, note) = name(scores.row);
    let class = match scores.row {
        Row::A2 => "student",
        Row::A1 => "student faint",
        Row::Teacher => "teacher",
        _ => "plain",
    };
    let title = format!(
        "{name}: accuracy {}, 95 % interval {}",
        percent(scores.accuracy.mean),
        span(scores.accuracy)
    );
    let is_teacher = scores.row == Row::Teacher;
    context! {
        name, note,
        bar => svg(chart::bar(scores.accuracy, class, chance, &title)),
        accuracy => percent(scores.accuracy.mean),
        accuracy_span => span(scores.accuracy),
        macro_f1 => percent(scores.macro_f1.mean),
        macro_f1_span => span(scores.macro_f1),
        seeds => if is_teacher { "–".into() } else { count(scores.seeds as u64) },
        train_rows => if is_teacher { "–".into() } else { count(scores.train_rows as u64) },
        test_rows => count(scores.test_rows as u64),
    }
}

fn differences(report: &Report) -> Option<Value> {
    // One scale for all, rounded up to the next five points.
    let widest = report
        .differences
        .iter()
        .flat_map(|difference| [difference.interval.low.abs(), difference.interval.high.abs()])
        .filter(|end| end.is_finite())
        .fold(0.0, f64::max);
    let reach = ((widest * 20.0).ceil() / 20.0).clamp(0.05, 1.0);
    let rows: Vec<Value> = report
        .differences
        .iter()
        .map(|difference| {
            let interval = difference.interval;
            let name = format!("{} − {}", words(difference.a), words(difference.b));
            let shown = match interval {
                interval if interval.includes_zero() => "no difference shown",
                interval if interval.mean > 0.0 => "better",
                _ => "worse",
            };
            let size = points(interval.mean);
            let range = points_span(interval);
            let title = format!("{name}: {size} points, 95 % interval {range}; {shown}");
            context! { name, size, range, shown, chart => svg(chart::difference(interval, reach, &title)) }
        })
        .collect();
    let reach = format!("{:.0}", reach * 100.0);
    (!rows.is_empty()).then(|| context! { rows, reach })
}

fn funnel(report: &Report) -> Option<Value> {
    let funnel = &report.funnel;
    let steps = [
        ("Asked for", funnel.asked),
        ("Found in the replies", funnel.parsed),
        ("Not said before", funnel.unique),
        ("Relabelled", funnel.relabelled),
        ("Trained on", funnel.kept),
    ];
    let widest = steps.iter().map(|(_, n)| *n).max().filter(|&n| n > 0)?;
    let steps: Vec<Value> = steps
        .iter()
        .map(|&(name, n)| {
            let title = format!("{name}: {}", counted(n, "text"));
            let class = if name == "Trained on" { "student" } else { "plain" };
            let of_asked = (funnel.asked > 0).then(|| whole_percent(share(n, funnel.asked)));
            context! { name, n => count(n), of_asked, bar => svg(chart::plain(share(n, widest), class, &title)) }
        })
        .collect();
    let mut dropped: Vec<_> = funnel.dropped.iter().filter(|(_, n)| **n > 0).collect();
    dropped.sort_by_key(|(reason, n)| (std::cmp::Reverse(**n), *reason));
    let dropped: Vec<Value> =
        dropped.into_iter().map(|(reason, n)| context! { reason, n => count(*n) }).collect();
    Some(context! { steps, dropped })
}

fn relabel(report: &Report) -> Option<Value> {
    let relabel = report.relabel.as_ref().filter(|relabel| relabel.total > 0)?;
    let matrix = Matrix::new(
        &report.task.classes,
        &relabel.flow,
        "Generated texts by the label asked for (down) and the label given (across)",
    );
    let by_alpha = relabel.by_alpha.iter().any(|at| at.total > 0);
    Some(context! {
        changed => count(relabel.changed),
        total => counted(relabel.total, "text"),
        share => percent(share(relabel.changed, relabel.total)),
        columns => by_alpha.then(|| svg(chart::columns(&relabel.by_alpha))),
        matrix,
    })
}

fn confusion(report: &Report) -> Option<Value> {
    let confusion = report.confusion.as_ref()?;
    let matrix = Matrix::new(
        &report.task.classes,
        &confusion.matrix,
        "Test texts by their true class (down) and the predicted class (across)",
    )?;
    let seeds = report.scores(confusion.row).map_or(1, |scores| scores.seeds);
    Some(context! {
        of => name(confusion.row).0,
        summed => (seeds > 1).then(|| counted(seeds as u64, "training seed")),
        matrix,
    })
}

fn examples(report: &Report) -> Vec<Value> {
    report
        .examples
        .iter()
        .map(|example| {
            context! {
                text => example.text,
                major => example.major,
                minor => example.minor,
                alpha => whole_percent(example.alpha),
                rest => whole_percent(1.0 - example.alpha),
                label => example.relabelled,
                changed => example.relabelled.as_ref().is_some_and(|label| *label != example.major),
                probability => example.probability.map(whole_percent),
            }
        })
        .collect()
}

fn stages(report: &Report) -> Option<Value> {
    if report.stages.is_empty() {
        return None;
    }
    let seconds: f64 = report.stages.iter().map(|stage| stage.seconds).sum();
    let (mut prompt, mut generated, mut calls) = (0, 0, 0);
    let rows: Vec<Value> = report
        .stages
        .iter()
        .map(|stage| {
            prompt += stage.prompt_tokens;
            generated += stage.generated_tokens;
            calls += stage.calls;
            let part = if seconds > 0.0 { stage.seconds / seconds } else { 0.0 };
            let title = format!("{}: {} of the time", stage.stage, whole_percent(part));
            context! {
                name => stage.stage,
                seconds => duration(stage.seconds),
                calls => count(stage.calls),
                prompt => count(stage.prompt_tokens),
                generated => count(stage.generated_tokens),
                bar => svg(chart::plain(part, "plain", &title)),
            }
        })
        .collect();
    Some(context! {
        rows,
        seconds => duration(seconds),
        calls => count(calls),
        prompt => count(prompt),
        generated => count(generated),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Class, Funnel, sample};
    use super::*;

    #[test]
    fn hostile_texts_stay_texts() {
        let hostile =
            r#"</script></title><script>alert("1")</script><img src=x onerror='y'>{{ 7*7 }}"#;
        let mut report = sample::tickets();
        report.task.name = hostile.into();
        report.task.classes[0] = Class { name: hostile.into(), description: hostile.into() };
        report.examples[0].text = hostile.into();
        report.examples[0].minor = Some(hostile.into());
        report.examples[0].relabelled = Some(hostile.into());
        report.stages[0].stage = hostile.into();
        report.provenance.settings = hostile.into();
        report.provenance.started = hostile.into();
        report.teacher.name = hostile.into();
        report.student.name = hostile.into();
        report.warnings.push(hostile.into());
        report.funnel.dropped.insert(hostile.into(), 3);
        let page = render(&report);
        assert!(!page.contains("<script") && !page.contains("</script") && !page.contains("<img"));
        assert!(page.matches("&lt;script&gt;").count() >= 11);
        // No attribute was left: a bare quote of the hostile text would end one.
        assert!(!page.contains(r#"alert("1")"#) && !page.contains("onerror='y'"));
        assert!(!page.contains(">49"));
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = render(&sample::tickets());
        for fetch in ["src=", "href=\"http", "@import", "url(", "<link", "<script"] {
            assert!(!page.contains(fetch), "{fetch}");
        }
        for svg in page.split("<svg").skip(1) {
            let svg = svg.split_once('>').expect("a tag ends");
            assert!(svg.0.contains("aria-hidden") || svg.1.starts_with("<title>"), "{}", svg.0);
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }

    #[test]
    fn sections_without_data_are_left_out_or_say_so() {
        let mut report = sample::tickets();
        report.results.clear();
        report.differences.clear();
        report.relabel = None;
        report.confusion = None;
        report.examples.clear();
        report.stages.clear();
        report.warnings.clear();
        report.funnel = Funnel::default();
        let page = render(&report);
        assert!(page.contains("No accuracy was measured"));
        assert!(page.contains("No text was generated in this run."));
        for absent in
            ["id=\"relabelling\"", "id=\"confusion\"", "id=\"examples\"", "id=\"cost\"", "NaN"]
        {
            assert!(!page.contains(absent), "{absent}");
        }
    }

    /// Writes pages to look at into `$PROMPTMIX_PAGES`: for whoever changes the layout.
    #[test]
    #[ignore = "writes files for the eye"]
    fn pages_for_the_eye() {
        let folder = std::env::var("PROMPTMIX_PAGES").expect("PROMPTMIX_PAGES names a folder");
        for (name, report) in sample::all() {
            std::fs::write(format!("{folder}/{name}.html"), render(&report)).unwrap();
        }
    }
}
