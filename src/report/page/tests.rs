//! The page of every sample report: complete, self-contained, and safe with hostile texts.

use serde_json::Value;

use super::render;
use crate::{
    dataset::Variant,
    report::{Funnel, Report, sample},
};

/// The report with `evil` in front of every text except the names of rows and kinds.
fn poisoned(report: &Report, evil: &str) -> Report {
    fn poison(value: &mut Value, evil: &str) {
        match value {
            Value::String(text) => {
                let known = ["seed", "synthetic", "test_error", "exact", "normalised", "words"]
                    .contains(&text.as_str())
                    || Variant::ALL.iter().any(|row| row.key() == text);
                if !known {
                    text.insert_str(0, evil);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| poison(item, evil)),
            Value::Object(fields) => fields.values_mut().for_each(|field| poison(field, evil)),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(report).unwrap();
    poison(&mut value, evil);
    let mut report: Report = serde_json::from_value(value).unwrap();
    report.funnel.dropped.insert(evil.into(), 3);
    report
}

#[test]
fn hostile_texts_are_escaped() {
    let evil = r#"</script></title></svg></style><script>alert("1")</script><img src=x onerror='y'>{{ 7919*7919 }}"#;
    for (name, report) in sample::all() {
        let (calm, page) = (render(&report), render(&poisoned(&report, evil)));
        assert!(!page.contains("<script") && !page.contains("</script") && !page.contains("<img"));
        // No attribute was closed early: an unescaped quote would do so.
        assert!(!page.contains(r#"alert("1")"#) && !page.contains("onerror='y'"), "{name}");
        assert!(!page.contains("62710561"), "{name}");
        for tag in ["<svg", "</svg>", "</style>", "<title>", "</title>"] {
            assert_eq!(page.matches(tag).count(), calm.matches(tag).count(), "{name}: {tag}");
        }
        let shown = page.matches("&lt;script&gt;").count();
        let texts = report.map.map_or(0, |map| map.points.len());
        assert!(shown >= 11 + 2 * texts, "{name}: {shown} shown, {texts} texts on the map");
    }
}

#[test]
fn the_page_is_self_contained() {
    for (name, report) in sample::all() {
        let page = render(&report);
        for fetch in ["src=", "href=\"http", "@import", "url(", "<link", "<script", "NaN"] {
            assert!(!page.contains(fetch), "{name}: {fetch}");
        }
        for svg in page.split("<svg").skip(1) {
            let (tag, inside) = svg.split_once('>').expect("a tag ends");
            let labelled = tag.contains("aria-") || inside.starts_with("<title>");
            assert!(labelled || tag.contains("overflow"), "{name}: {tag}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count(), "{name}");
        for link in page.split("href=\"#").skip(1) {
            let (id, _) = link.split_once('"').expect("a quote ends");
            assert!(page.contains(&format!("id=\"{id}\"")), "{name}: nothing is called {id}");
        }
    }
}

#[test]
fn a_comparison_shows_every_line_and_why_rows_were_left_out() {
    let mut report = sample::compared();
    let rows = |report: &Report| {
        let page = render(report);
        let (_, section) = page.split_once("id=\"comparison\"").expect("a section");
        section.split("</section>").next().unwrap_or_default().to_owned()
    };
    let section = rows(&report);
    for row in Variant::ALL {
        assert!(section.contains(&format!("<th scope=\"row\">{}", row.name())), "{row:?}");
    }
    assert!(!section.contains("<details"), "one setting is not folded away");
    assert!(section.contains("3.0") && !section.contains("Rows left out"));
    report.comparison = Some(sample::comparison(&[0, 5], &["bert"], &["big"]));
    let section = rows(&report);
    assert_eq!(section.matches("<details").count(), 2);
    assert_eq!(section.matches(" open>").count(), 1);
    assert!(section.contains("<summary>5 examples per class</summary>"));
    assert!(section.contains("it is trained on seeds, and k is 0"));
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
    for absent in [
        "relabelling",
        "confusion",
        "examples",
        "cost",
        "comparison",
        "map",
        "reliability",
        "selective",
        "diversity",
    ] {
        assert!(!page.contains(&format!("id=\"{absent}\"")), "{absent}");
        assert!(!page.contains(&format!("#{absent}\"")), "a link to {absent}");
    }
}

/// Writes all pages to the folder `$PROMPTMIX_PAGES`, to check the layout in a browser.
#[test]
#[ignore = "writes files for visual inspection"]
fn pages_for_inspection() {
    let folder = std::env::var("PROMPTMIX_PAGES").expect("PROMPTMIX_PAGES names a folder");
    for (name, report) in sample::all() {
        std::fs::write(format!("{folder}/{name}.html"), render(&report)).unwrap();
    }
}

#[test]
fn leaks_are_reported_at_the_top_and_counted() {
    let mut report = sample::rich();
    let page = render(&report);
    assert!(page.contains("3 training texts contain personal data"));
    assert!(page.contains("href=\"#privacy\"") && page.contains("a…@e….org"));
    assert!(page.contains("13 consecutive words"));
    report.privacy = None;
    assert!(!render(&report).contains("id=\"privacy\""), "older reports have none");
    report.privacy = Some(Default::default());
    assert!(render(&report).contains("none found"));
}
