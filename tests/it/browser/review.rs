//! The page of `promptmix review`, used with the keyboard in a real browser.

use std::time::Instant;

use serde_json::Value;

use super::{browser, chromium::Chromium};
use crate::{
    review::{imported, server::Server},
    support::{TestDir, json, rows},
};

const ENTER: u32 = 13;

/// Opens the page by its address, as the terminal shows it.
fn enter(browser: &mut Chromium, server: &Server, scheme: &str, width: u32) {
    browser.open_url(&server.url, scheme, width);
    shown(browser);
}

/// Waits until the first texts are there and one is selected.
fn shown(browser: &mut Chromium) {
    browser.wait_for("document.activeElement?.matches('.row[aria-current=\"true\"]') ?? false");
}

/// Presses a key and waits until the page says what came of it.
fn decide(browser: &mut Chromium, key: &str, code: u32) -> String {
    browser.evaluate("document.querySelector('#spoken').textContent = ''");
    browser.press(key, code);
    said(browser)
}

fn said(browser: &mut Chromium) -> String {
    browser.wait_for("document.querySelector('#spoken').textContent !== ''");
    let said = browser.evaluate("document.querySelector('#spoken').textContent");
    said.as_str().unwrap().to_owned()
}

/// The text that is selected.
fn selected(browser: &mut Chromium) -> Value {
    browser.evaluate("document.activeElement.querySelector('.text')?.textContent")
}

/// The changes that the ledger holds.
fn changes(dir: &TestDir) -> Vec<Value> {
    let mut entries = rows(&dir.path("out/ledger.jsonl"));
    entries.retain(|entry| entry["kind"] == "edit");
    entries.iter().flat_map(|entry| entry["changes"].as_array().unwrap().clone()).collect()
}

#[test]
fn a_person_reviews_with_the_keyboard_alone() {
    let Some(mut browser) = browser() else { return };
    let dir = TestDir::new();
    imported(&dir, 120);
    let mut server = Server::launch(dir.program(&["review", "out"]));
    enter(&mut browser, &server, "light", 1100);
    let first = selected(&mut browser);
    assert!(decide(&mut browser, "Enter", ENTER).starts_with("Kept. "));
    assert_ne!(selected(&mut browser), first, "the next text is selected");
    assert!(decide(&mut browser, "1", 49).starts_with("Labelled password_reset. "));
    assert!(decide(&mut browser, "x", 88).starts_with("Dropped. "));
    let dropped = decide(&mut browser, "x", 88);
    let back = decide(&mut browser, "u", 85);
    assert!(back.starts_with("Taken back. ") && back[12..] != dropped[9..], "{dropped} {back}");

    // A text that is HTML stays a text.
    let hostile = "<img src=x onerror=alert(1)> my <b>own</b> words";
    browser.press("e", 69);
    browser.wait_for("document.activeElement.tagName === 'TEXTAREA'");
    browser.evaluate("document.activeElement.value = ''");
    browser.evaluate("document.querySelector('#spoken').textContent = ''");
    browser.insert(hostile);
    browser.press("Enter", ENTER);
    assert!(said(&mut browser).starts_with("Edited. "));
    assert_eq!(browser.evaluate("document.querySelectorAll('#rows img, #rows b').length"), 0);

    assert_eq!(selected(&mut browser), hostile, "it stays, since its label may be another now");

    // A label by a part of its name.
    let label = browser.evaluate("document.activeElement.querySelector('.label').textContent");
    let (part, other) = match label == "hardware_fault" {
        true => ("RESET", "Labelled password_reset."),
        false => ("FAULT", "Labelled hardware_fault."),
    };
    browser.press("l", 76);
    browser.wait_for("document.activeElement.id === 'wanted'");
    browser.insert(part);
    browser.evaluate("document.querySelector('#spoken').textContent = ''");
    browser.press("Enter", ENTER);
    let said = said(&mut browser);
    assert!(said.starts_with(other), "{said}");

    let kinds: Vec<(bool, bool)> =
        changes(&dir).iter().map(|it| (it["before"].is_null(), it["after"].is_null())).collect();
    let [change, gone, restored] = [(false, false), (false, true), (true, false)];
    assert_eq!(kinds, [change, change, gone, gone, restored, change, change]);
    let texts: Vec<Value> = changes(&dir).iter().map(|it| it["after"]["text"].clone()).collect();
    assert!(texts.contains(&Value::from(hostile)), "{texts:?}");

    pages_and_filters(&mut browser);
    looks(&mut browser, &server);
    let own = |url: &String| url.starts_with(&format!("http://{}/", server.host));
    let requested = browser.requested();
    assert!(requested.len() > 3 && requested.iter().all(own), "{requested:?}");
    let complaints = browser.errors();
    assert!(complaints.is_empty(), "{complaints:#?}");
    browser.evaluate("document.querySelector('#finish').click()");
    browser.wait_for("document.body.textContent.includes('The review has ended')");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let train = rows(&dir.path("out/train.jsonl"));
    assert!(train.iter().any(|row| row["text"] == hostile && row["by"] == "person"));
}

/// Selects the row `at` with the mouse.
fn click(browser: &mut Chromium, at: usize) {
    browser.evaluate(&format!("document.querySelectorAll('.row')[{at}].click()"));
    let is_current = "getAttribute('aria-current') === 'true'";
    browser.wait_for(&format!("document.querySelectorAll('.row')[{at}].{is_current}"));
}

/// Opens the selected text in its field, and says what stands there.
fn edit(browser: &mut Chromium) -> Value {
    browser.press("e", 69);
    browser.wait_for("document.activeElement.tagName === 'TEXTAREA'");
    browser.evaluate("document.activeElement.value")
}

#[test]
fn a_text_that_is_being_typed_is_lost_only_on_purpose() {
    const REFUSED: &str = "The printer is broken!";
    let Some(mut browser) = browser() else { return };
    let dir = TestDir::new();
    imported(&dir, 12);
    let mut server = Server::launch(dir.program(&["review", "out"]));
    enter(&mut browser, &server, "light", 1100);
    edit(&mut browser);
    browser.evaluate("document.activeElement.value = ''");
    browser.insert(REFUSED);
    browser.press("Enter", ENTER);
    browser.wait_for("document.querySelector('#notice').textContent.includes('in the test set')");
    browser.wait_for("document.activeElement.tagName === 'TEXTAREA'");
    assert_eq!(browser.evaluate("document.activeElement.value"), REFUSED);
    // Another row is clicked, and the first one gets a label.
    click(&mut browser, 2);
    let draft = "document.querySelector('.draft')?.textContent";
    assert_eq!(browser.evaluate(draft), format!("not saved: {REFUSED}"));
    click(&mut browser, 0);
    assert!(decide(&mut browser, "1", 49).starts_with("Labelled "));
    assert_eq!(browser.evaluate(draft), format!("not saved: {REFUSED}"));
    browser.evaluate("document.querySelector('#finish').click()");
    browser.wait_for("document.querySelector('#notice').textContent.includes('not saved yet')");
    // It is still there to be corrected.
    click(&mut browser, 0);
    assert_eq!(edit(&mut browser), REFUSED);
    browser.insert(" It smells of smoke.");
    browser.evaluate("document.querySelector('#spoken').textContent = ''");
    browser.press("Enter", ENTER);
    assert!(said(&mut browser).starts_with("Edited. "));
    assert_eq!(browser.evaluate(draft), Value::Null);
    browser.evaluate("document.querySelector('#finish').click()");
    browser.wait_for("document.body.textContent.includes('The review has ended')");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let texts = rows(&dir.path("out/train.jsonl"));
    let saved = format!("{REFUSED} It smells of smoke.");
    assert!(texts.iter().any(|row| row["text"] == saved), "{texts:?}");
}

#[test]
fn drafts_of_descriptions_are_opened_and_read_with_the_keyboard() {
    let Some(mut browser) = browser() else { return };
    let dir = TestDir::new();
    crate::refine::run(&dir);
    dir.ok(&["refine", "out"]);
    let refined = json(&dir.path("out/refined.json"));
    let drafts = refined["drafts"].as_array().unwrap();
    let drafts: Vec<&Value> = drafts.iter().filter(|draft| draft["new"].is_string()).collect();
    assert!(!drafts.is_empty(), "{refined}");
    let server = Server::launch(dir.program(&["review", "out"]));
    enter(&mut browser, &server, "light", 360);
    let before = changes(&dir).len();
    let summary = "document.querySelector('#drafts summary')";
    let said = browser.evaluate(&format!("{summary}.textContent"));
    assert!(said.as_str().unwrap().starts_with(&format!("{} suggested", drafts.len())), "{said}");
    assert_eq!(browser.evaluate("document.querySelector('#drafts').open"), false);
    browser.evaluate(&format!("{summary}.focus()"));
    browser.press("Enter", ENTER);
    browser.wait_for("document.querySelector('#drafts').open");
    let text = browser.evaluate("document.querySelector('#drafts-list').textContent");
    let text = text.as_str().unwrap();
    for draft in drafts {
        let (class, new) = (draft["class"].as_str().unwrap(), draft["new"].as_str().unwrap());
        let command = format!("promptmix refine out --accept {class}");
        assert!(text.contains(new) && text.contains(&command), "{text}");
        let all = &draft["effect"]["all"];
        let effect = format!("{} instead of {} of 8 examples", all["after"], all["before"]);
        assert!(text.contains(&effect), "{text}");
    }
    let page = "document.documentElement";
    assert_eq!(browser.evaluate(&format!("{page}.scrollWidth > {page}.clientWidth")), false);
    assert_eq!(changes(&dir).len(), before, "the key has decided nothing");
    let complaints = browser.errors();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// All texts: three pages of forty, and what a word leaves of them.
fn pages_and_filters(browser: &mut Chromium) {
    browser.evaluate("[...document.querySelectorAll('#lists button')][2].click()");
    let span = "document.querySelector('#span').textContent";
    browser.wait_for(&format!("{span}.endsWith('of 116')"));
    shown(browser);
    browser.press("PageDown", 34);
    browser.wait_for(&format!("{span} === '41 to 80 of 116'"));
    shown(browser);
    browser.press("ArrowDown", 40);
    browser.press("PageUp", 33);
    browser.wait_for(&format!("{span} === '1 to 40 of 116'"));
    shown(browser);
    browser.press("/", 191);
    browser.wait_for("document.activeElement.name === 'search'");
    browser.insert("X17 PLEASE");
    browser.wait_for(&format!("{span} === '1 to 1 of 1'"));
    browser.press("Escape", 27);
    shown(browser);
    browser.press("?", 191);
    browser.wait_for("document.querySelector('#help').open");
    browser.press("Escape", 27);
    browser.wait_for("!document.querySelector('#help').open");
}

/// In light and dark, wide and narrow: nothing sticks out, the focus is seen, everything has a name.
fn looks(browser: &mut Chromium, server: &Server) {
    const LOOK: &str = r#"(() => ({
      paper: getComputedStyle(document.body).backgroundColor,
      wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
      ring: getComputedStyle(document.activeElement).boxShadow,
      nameless: [...document.querySelectorAll('button, select, input, .row')].filter(one =>
        !(one.ariaLabel || one.textContent.trim() || one.labels?.length)).map(one => one.outerHTML),
      alerts: document.querySelector('#notice').hidden,
    }))()"#;
    let page = format!("http://{}/", server.host);
    let mut papers = Vec::new();
    for (scheme, width) in [("light", 1100), ("dark", 1100), ("light", 360)] {
        browser.open_url(&page, scheme, width);
        shown(browser);
        let look = browser.evaluate(LOOK);
        assert_eq!(look["wide"], false, "{scheme}, {width}");
        assert_ne!(look["ring"], "none", "{scheme}, {width}");
        assert_eq!(look["nameless"], Value::Array(Vec::new()), "{scheme}, {width}");
        assert_eq!(look["alerts"], true);
        papers.push(look["paper"].clone());
    }
    assert_ne!(papers[0], papers[1], "the page follows the reader's light or dark setting");
}

/// Needs minutes and a gigabyte, so it is run by name: `cargo test -- --ignored thousand`.
#[test]
#[ignore = "large: 100,000 texts"]
fn a_hundred_thousand_texts_are_shown_within_a_second_and_decided_within_fifty_milliseconds() {
    const DECISIONS: usize = 50;
    let Some(mut browser) = browser() else { return };
    let dir = TestDir::new();
    imported(&dir, 100_000);
    let server = Server::launch(dir.program(&["review", "out"]));
    let started = Instant::now();
    enter(&mut browser, &server, "light", 1100);
    let first = started.elapsed();
    let mut times: Vec<f64> = (0..DECISIONS)
        .map(|_| {
            let started = Instant::now();
            decide(&mut browser, "Enter", ENTER);
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    eprintln!(
        "first texts: {first:?}; a decision: median {:.1} ms, slowest {:.1} ms",
        times[DECISIONS / 2],
        times[DECISIONS - 1]
    );
    assert!(first.as_secs_f64() < 1.0 && times[DECISIONS / 2] < 50.0);
}
