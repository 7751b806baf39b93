//! Opens reports in a real browser: every chart is drawn, nothing complains, nothing is fetched.
//!
//! Needs Chromium or Chrome; without one these tests say so and pass. `$CHROME` names another program,
//! `$PROMPTMIX_REQUIRE_BROWSER` (any value) makes its lack a failure, for machines that must have one.

mod chromium;
mod review;

use std::path::Path;

use promptmix::testing::{Report, render};
use serde_json::{Value, json};

use self::chromium::Chromium;
use crate::support::{SMALL, TestDir, json as read_json};

/// A browser, or a loud remark that there is none.
fn browser() -> Option<Chromium> {
    let found = chromium::installed();
    if found.is_none() {
        assert!(
            std::env::var_os("PROMPTMIX_REQUIRE_BROWSER").is_none(),
            "PROMPTMIX_REQUIRE_BROWSER is set, but there is no chromium or chrome on the PATH"
        );
        eprintln!("SKIPPED: no chromium or chrome on the PATH; set CHROME to one to run this test");
    }
    found.as_deref().map(Chromium::start)
}

/// Everything that is looked at, found by the debugger in the page as it is laid out.
const LOOK: &str = r#"(() => {
  document.querySelectorAll('details').forEach(one => one.open = true);
  const size = one => { const box = one.getBoundingClientRect(); return [box.width, box.height]; };
  const shapes = 'rect, circle, line, path, use, text';
  return {
    sections: [...document.querySelectorAll('section')].map(one => one.id),
    charts: [...document.querySelectorAll('svg')].filter(one => !one.parentElement.closest('svg')).map(one => ({
      section: (one.closest('section') || {}).id, shown: one.checkVisibility(), kind: one.getAttribute('class'), size: size(one),
      drawn: [...one.querySelectorAll(shapes)].filter(shape => Math.max(...size(shape)) > 0).length,
    })),
    points: document.querySelectorAll('.scatter use').length,
    paper: getComputedStyle(document.body).backgroundColor,
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth
      ? [...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll > *') && !one.closest('svg')
          && one.getBoundingClientRect().right > document.documentElement.clientWidth)
        .map(one => one.outerHTML.slice(0, 80)) : null,
    scripts: document.scripts.length,
  };
})()"#;

/// Holds the page at `path` against the report it was made from, in light and dark, wide and narrow.
fn check(browser: &mut Chromium, path: &Path, report: &Value) {
    let mut papers = Vec::new();
    for (scheme, width) in [("light", 1200), ("dark", 1200), ("light", 360)] {
        let at = format!("{}, {scheme}, {width} pixels", path.display());
        browser.open(path, scheme, width);
        let page = browser.evaluate(LOOK);
        let sections: Vec<&str> =
            page["sections"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(sections, expected_sections(report), "{at}");
        let charts = page["charts"].as_array().unwrap();
        for chart in charts {
            // A phone has no room for how the time is shared out; the times stand beside it.
            if width == 360 && chart["section"] == "cost" && chart["shown"] == false {
                continue;
            }
            let side = |n: usize| chart["size"][n].as_f64().unwrap();
            assert!(side(0) >= 10.0 && side(1) >= 10.0, "{at}: not drawn: {chart}");
            assert!(chart["drawn"].as_u64().unwrap() > 0, "{at}: empty: {chart}");
        }
        for (section, least) in expected_charts(report) {
            let found = charts.iter().filter(|chart| chart["section"] == section).count();
            assert!(found >= least, "{at}: {found} charts in {section}, not {least}");
        }
        let points = report["map"]["points"].as_array().map_or(0, Vec::len);
        assert_eq!(page["points"], points, "{at}");
        assert!(page["wide"].is_null(), "{at}: wider than the window: {:#}", page["wide"]);
        assert_eq!(page["scripts"], 0, "{at}");
        let complaints = browser.complaints();
        assert!(complaints.is_empty(), "{at}: {complaints:#?}");
        papers.push(page["paper"].clone());
    }
    assert_ne!(papers[0], papers[1], "the page follows the reader's light or dark setting");
    assert_eq!(papers[0], papers[2]);
}

fn holds(value: &Value) -> bool {
    value.as_array().is_some_and(|list| !list.is_empty())
}

/// The sections that a report has data for, in the page's order.
fn expected_sections(report: &Value) -> Vec<&'static str> {
    let compared = holds(&report["comparison"]["lines"]);
    [
        ("comparison", compared),
        ("results", holds(&report["results"]) && !compared),
        ("funnel", true),
        ("relabelling", report["relabel"]["total"].as_u64().unwrap_or(0) > 0),
        ("confusion", report["confusion"].is_object()),
        ("map", holds(&report["map"]["points"])),
        ("reliability", holds(&report["reliability"])),
        ("selective", report["selective"].is_object()),
        ("diversity", holds(&report["diversity"])),
        ("privacy", report["privacy"].is_object()),
        ("examples", holds(&report["examples"])),
        ("cost", holds(&report["stages"])),
        ("task", true),
        ("provenance", true),
    ]
    .into_iter()
    .filter_map(|(section, there)| there.then_some(section))
    .collect()
}

/// Least charts of each section.
fn expected_charts(report: &Value) -> Vec<(&'static str, usize)> {
    let n = |value: &Value| value.as_array().map_or(0, Vec::len);
    let comparison = &report["comparison"];
    let mut charts = vec![
        ("funnel", if report["funnel"]["asked"].as_u64() > Some(0) { 5 } else { 0 }),
        ("reliability", n(&report["reliability"])),
        ("selective", usize::from(report["selective"].is_object())),
        ("diversity", 3 * n(&report["diversity"])),
        ("relabelling", usize::from(holds(&report["relabel"]["by_alpha"]))),
    ];
    if holds(&comparison["lines"]) {
        charts.push(("comparison", n(&comparison["lines"]) + n(&comparison["differences"])));
    } else {
        charts.push(("results", n(&report["results"]) + n(&report["differences"])));
    }
    charts
}

/// What a run does not tell yet, or a short one cannot, in small; hostile texts among it.
fn filled(report: &Value) -> Value {
    let mut report = report.clone();
    let interval = |mean: f64| json!({"mean": mean, "low": mean - 0.1, "high": mean + 0.08});
    let hostile = "</title></svg><script>alert(1)</script><img src=x onerror=alert(2)> & \"so on\"";
    let mut line = json!({
        "row": "seeds", "k": 2, "student": "small", "teacher": null, "seeds": 2, "test_rows": 60,
        "accuracy": interval(0.4), "macro_f1": interval(0.38), "train_rows": 12.0,
        "teacher_calls": 0.0, "tokens": 0.0, "prompt_tokens": 0.0, "generated_tokens": 0.0,
        "seconds": 3.5, "student_seconds": 3.5,
    });
    let mut lines = vec![line.clone()];
    for (row, k) in [("A1", 2), ("A2", 2), ("no-examples", 0), ("no-examples", 2)] {
        line["row"] = row.into();
        line["k"] = k.into();
        line["teacher"] = hostile.into();
        line["accuracy"] = interval(0.6);
        lines.push(line.clone());
    }
    let mut difference = interval(0.2);
    for (key, value) in [("a", "A2"), ("b", "seeds"), ("student", "small"), ("teacher", hostile)] {
        difference[key] = value.into();
    }
    difference["k"] = 2.into();
    report["comparison"] = json!({
        "lines": lines, "differences": [difference],
        "left_out": [{"row": "real", "k": 2, "reason": hostile}],
    });
    let classes = report["task"]["classes"].as_array().unwrap().len();
    let points = (0..60_usize).map(|n| {
        let kind = ["synthetic", "synthetic", "test_error", "seed"][n % 4];
        let place = |step: usize| (n * step % 60) as f64 / 59.0;
        let mut point = json!({
            "x": place(7), "y": place(11), "kind": kind, "class": n % classes, "text": hostile,
        });
        if kind == "test_error" {
            point["predicted"] = ((n + 1) % classes).into();
        }
        point
    });
    report["map"] = json!({"points": points.collect::<Vec<_>>()});
    let bins: Vec<Value> = (0..15)
        .map(|bin| {
            let middle = (f64::from(bin) + 0.5) / 15.0;
            json!({"rows": bin * 3, "confidence": middle, "accuracy": middle * 0.9})
        })
        .collect();
    let diagram = |row: &str| json!({"row": row, "ece": 0.05, "bins": bins});
    report["reliability"] = json!([diagram("teacher"), diagram("A2")]);
    let lexical = |of: &str| json!({"of": of, "texts": 12, "distinct_2": 0.9, "self_bleu": 0.1, "words": [9.0, 3.0]});
    report["diversity"] = json!([lexical("seeds"), lexical("generated")]);
    report
}

#[test]
fn every_chart_of_a_report_is_drawn_and_nothing_complains() {
    let Some(mut browser) = browser() else { return };
    let bench = TestDir::new();
    let task = bench.task("");
    bench.ok(&[&["run", task.to_str().unwrap(), "--out", "out"], &SMALL[..]].concat());
    let run = read_json(&bench.path("out/report.json"));
    check(&mut browser, &bench.path("out/report.html"), &run);

    // The same run with everything there is to draw.
    let filled = filled(&run);
    let whole: Report = serde_json::from_value(filled.clone()).unwrap();
    let path = bench.write("whole.html", render(&whole));
    check(&mut browser, &path, &filled);
    the_map_is_sifted_without_a_script(&mut browser, &path);
    the_keyboard_gets_everywhere(&mut browser, &path);
}

/// A class chosen in the legend fades the others, a kind unticked disappears.
fn the_map_is_sifted_without_a_script(browser: &mut Chromium, path: &Path) {
    browser.open(path, "light", 1200);
    let style = |browser: &mut Chromium, mark: &str, property: &str| -> Value {
        let mark = format!("document.querySelector('.scatter {mark}')");
        browser.evaluate(&format!("getComputedStyle({mark}).{property}"))
    };
    let other = ".made.c1:not(.p0)";
    assert_eq!(style(browser, other, "opacity"), "1");
    browser.evaluate("document.querySelector('#map-c0').click()");
    assert_eq!(style(browser, ".c0", "opacity"), "1");
    assert!(style(browser, other, "opacity").as_str().unwrap().starts_with("0.0"));
    browser.evaluate("document.querySelector('#map-seed').click()");
    assert_eq!(style(browser, ".seed", "display"), "none");
    assert_ne!(style(browser, ".error", "display"), "none");
}

/// Tab alone reaches links, folded parts, tables that scroll, and the legend of the map.
fn the_keyboard_gets_everywhere(browser: &mut Chromium, path: &Path) {
    browser.open(path, "light", 360);
    let mut reached = Vec::new();
    for _ in 0..80 {
        browser.press("Tab", 9);
        let at = browser.evaluate(
            "(one => one === document.body ? '' : one.type || one.tagName + '.' + one.className)(document.activeElement)",
        );
        reached.push(at.as_str().unwrap().to_owned());
    }
    for wanted in ["A.", "SUMMARY.", "DIV.scroll", "checkbox", "radio"] {
        assert!(reached.iter().any(|at| at == wanted), "{wanted} is not among {reached:?}");
    }
    let shown = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle");
    assert_ne!(shown, "none", "where the focus is can be seen: {:?}", reached.last());
}
