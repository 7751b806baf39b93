//! The page, and the answers to its requests.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{
    Review,
    decide::{Decision, Refusal},
    drafts::DraftView,
    list::{Facets, Filter, List, Members, reason, stage},
    row::{Row, Source, label},
};
use crate::{
    http::{Request, Response},
    run::names,
};

const PAGE: &str = include_str!("page/review.html");
const STYLE: &str = include_str!("page/review.css");
const SCRIPT: &str = include_str!("page/review.js");
const ICON: &str = include_str!("page/review.svg");

/// The most rows in one answer.
const MAX_ROWS: usize = 200;
/// The most classes of a row that are shown with their probability.
const SCORES: usize = 5;

/// Answers a request of the page.
pub(crate) fn answer(review: &Mutex<Review>, request: &Request) -> Response {
    let lock = || review.lock().unwrap_or_else(PoisonError::into_inner);
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/") => Response::html(PAGE),
        ("GET", "/review.css") => Response::new("text/css; charset=utf-8", STYLE),
        ("GET", "/review.js") => Response::new("text/javascript; charset=utf-8", SCRIPT),
        ("GET", "/review.svg") => Response::new("image/svg+xml", ICON),
        ("POST", "/api/lists") => Response::json(200, &lock().lists()),
        ("POST", "/api/rows") => match request.json() {
            Ok(query) => Response::json(200, &lock().page(&query)),
            Err(refused) => refused,
        },
        ("POST", "/api/decide") => match request.json() {
            Ok(decision) => decided(&mut lock(), &decision),
            Err(refused) => refused,
        },
        ("POST", "/api/close") => {
            lock().closed = true;
            Response::json(200, &())
        }
        _ => Response::text(404, "There is nothing at this address."),
    }
}

/// What the page shows besides rows.
#[derive(Serialize)]
struct Lists<'a> {
    task: &'a str,
    run: String,
    classes: Vec<Class<'a>>,
    lists: Vec<Overview>,
    /// Descriptions that `refine` drafted.
    drafts: &'a [DraftView],
    decisions: usize,
}

#[derive(Serialize)]
struct Class<'a> {
    name: &'a str,
    description: &'a str,
}

#[derive(Serialize)]
struct Overview {
    list: List,
    title: &'static str,
    explanation: &'static str,
    read_only: bool,
    total: usize,
    /// Texts that nobody has decided about.
    left: usize,
}

/// A request for rows: those behind the place `after`, or those before the place `before`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    list: List,
    #[serde(default)]
    filter: Filter,
    #[serde(default)]
    after: Option<usize>,
    #[serde(default)]
    before: Option<usize>,
    limit: usize,
    /// Whether the values that the list can be filtered by are wanted, too.
    #[serde(default)]
    facets: bool,
}

#[derive(Serialize)]
struct Page<'a> {
    rows: Vec<RowView<'a>>,
    /// Rows of the list that pass the filter.
    matching: usize,
    /// How many of those stand before the first of `rows`.
    skipped: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    facets: Option<Facets>,
}

/// A row as the page shows it.
#[derive(Serialize)]
struct RowView<'a> {
    place: usize,
    key: &'a str,
    version: usize,
    /// Where it stands, for whoever looks for it in the files.
    file: &'static str,
    id: usize,
    text: &'a str,
    label: &'a str,
    asked: Option<&'a str>,
    first_label: &'a str,
    first_text: Option<&'a str>,
    minor: Option<&'a str>,
    alpha: Option<f64>,
    p: f32,
    scores: &'a [(String, f32)],
    judge: Option<&'a str>,
    probe: Option<&'a str>,
    stage: &'static str,
    reason: Option<&'static str>,
    /// Why it was suggested.
    why: Option<&'a str>,
    decided: bool,
    /// Whether it is not trained on.
    dropped: bool,
    can_undo: bool,
    last: Option<&'a (String, String)>,
    read_only: bool,
}

impl<'a> RowView<'a> {
    fn of(place: usize, row: &'a Row) -> Self {
        let (shown, first) = (row.shown(), &row.first);
        let opinions = row.opinions.as_ref();
        Self {
            place,
            key: &row.key,
            version: row.version,
            file: match row.source {
                Source::Train => names::TRAIN,
                Source::Dropped(_) => names::DROPPED,
                Source::Suggested => names::SUGGESTED,
                Source::Test => "test set, line",
            },
            id: row.id,
            text: &shown.text,
            label: label(shown),
            asked: row.asked(),
            first_label: label(first),
            first_text: (first.text != shown.text).then_some(&first.text),
            minor: first.minor.as_deref(),
            alpha: first.alpha,
            p: row.certainty(),
            scores: &first.probabilities[..first.probabilities.len().min(SCORES)],
            judge: opinions.map(|of| of.judge.as_str()),
            probe: opinions.map(|of| of.probe.as_str()),
            stage: stage(row),
            reason: reason(row),
            why: row.suggested.as_deref().filter(|why| !why.is_empty()),
            decided: row.is_decided(),
            dropped: row.is_dropped(),
            can_undo: !row.history.is_empty(),
            last: row.last.as_ref(),
            read_only: row.source.edited_file().is_none(),
        }
    }
}

impl Review {
    fn lists(&self) -> Lists<'_> {
        let classes = self.task.classes.iter();
        Lists {
            task: &self.task.name,
            run: self.run.path().display().to_string(),
            classes: classes
                .map(|class| Class { name: &class.name, description: class.explanation() })
                .collect(),
            lists: self.overviews(),
            drafts: &self.drafts,
            decisions: self.decisions,
        }
    }

    fn overviews(&self) -> Vec<Overview> {
        let overview = |members: &Members| {
            let Members { list, ref places, left } = *members;
            let (title, explanation) = (list.title(), list.explanation());
            let (read_only, total) = (list.is_read_only(), places.len());
            Overview { list, title, explanation, read_only, total, left }
        };
        let is_shown =
            |members: &&Members| !members.places.is_empty() || !members.list.is_optional();
        self.lists.iter().filter(is_shown).map(overview).collect()
    }

    fn page(&self, query: &Query) -> Page<'_> {
        let members = self.lists.iter().find(|members| members.list == query.list);
        let places = members.map_or(&[][..], |members| &members.places);
        let filter = query.filter.clone().prepared();
        let admitted = places.iter().copied().filter(|place| filter.admits(&self.rows[*place]));
        let matching: Vec<usize> = admitted.collect();
        let limit = query.limit.min(MAX_ROWS);
        let skipped = match (query.after, query.before) {
            (Some(after), _) => matching.partition_point(|place| *place <= after),
            (None, Some(before)) => {
                matching.partition_point(|place| *place < before).saturating_sub(limit)
            }
            (None, None) => 0,
        };
        let shown = matching[skipped..].iter().take(limit);
        Page {
            rows: shown.map(|place| RowView::of(*place, &self.rows[*place])).collect(),
            matching: matching.len(),
            skipped,
            facets: query.facets.then(|| Facets::of(places.iter().map(|place| &self.rows[*place]))),
        }
    }
}

/// What became of a decision, and the row as it is now.
#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<RowView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lists: Vec<Overview>,
    decisions: usize,
}

fn decided(review: &mut Review, decision: &Decision) -> Response {
    let outcome = review.decide(decision);
    let (status, message, place) = match outcome {
        Ok(place) => (200, None, Some(place)),
        Err(Refusal::Outdated { row }) => (409, Some(outdated(&review.rows[row])), Some(row)),
        Err(Refusal::Unknown) => (404, Some("The text is no longer there.".to_owned()), None),
        Err(Refusal::Impossible(why)) => (400, Some(why), None),
        Err(Refusal::Closed) => (503, Some("The review has ended.".to_owned()), None),
        Err(Refusal::Failed(why)) => (503, Some(format!("Not saved: {why}.")), None),
    };
    let row = place.map(|place| RowView::of(place, &review.rows[place]));
    let lists = if status == 200 { review.overviews() } else { Vec::new() };
    Response::json(status, &Outcome { message, row, lists, decisions: review.decisions })
}

/// A decision that rests on what another window has changed.
fn outdated(row: &Row) -> String {
    let what = match &row.now {
        None => "dropped".to_owned(),
        Some(now) => format!("labelled {}", label(now)),
    };
    let who = row.last.as_ref().map_or("somebody", |(by, _)| by);
    format!("Not saved: {who} has decided about this text in another window. It is {what} now.")
}
