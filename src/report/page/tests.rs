use super::super::{Class, Funnel, sample};
use super::render;

#[test]
fn hostile_texts_stay_texts() {
    let hostile = r#"</script></title><script>alert("1")</script><img src=x onerror='y'>{{ 7*7 }}"#;
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
