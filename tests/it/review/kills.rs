//! A review that is killed in the middle of fifty decisions, twenty times.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    edit_entries, imported, other,
    server::{Server, decision},
    train_row,
};
use crate::support::TestDir;

const KILLS: usize = 20;
const DECISIONS: usize = 50;
/// The longest time from the beginning of a decision to the kill, in microseconds: a decision takes
/// about as long.
const PAUSE: u64 = 10_000;

/// What the page was told.
#[derive(Default)]
struct Told {
    /// The last label of each text.
    labels: HashMap<String, Value>,
    answered: usize,
    /// Decisions that were recorded, but whose answer did not come.
    unanswered: usize,
}

/// A decision that got no answer.
struct Lost {
    text: String,
    sent: Value,
    label: Value,
}

impl Told {
    /// Gives each of `rows` its other label, until the process is gone, and counts in `begun`.
    fn decide(&mut self, server: &mut Server, rows: &[Value], begun: &AtomicUsize) -> Option<Lost> {
        for row in rows {
            let (text, label) = (row["text"].as_str().unwrap().to_owned(), other(&row["label"]));
            let sent = decision(row, &json!({"label": label}));
            begun.fetch_add(1, Ordering::SeqCst);
            let Some((status, answer)) = server.try_post("/api/decide", &sent) else {
                return Some(Lost { text, sent, label: json!(label) });
            };
            assert_eq!(status, 200, "{answer}");
            self.labels.insert(text, json!(label));
            self.answered += 1;
        }
        None
    }

    /// The decision without an answer may have been recorded: then once, and it stands.
    fn settle(&mut self, dir: &TestDir, server: &mut Server, lost: Option<Lost>) {
        let recorded = decisions(dir);
        if recorded > self.answered + self.unanswered {
            let Lost { text, sent, label } = lost.expect("nobody else decides");
            self.unanswered += 1;
            self.labels.insert(text, label);
            assert_eq!(server.post("/api/decide", &sent).0, 409, "sent again by the page");
        }
        assert_eq!(recorded, self.answered + self.unanswered);
        assert_eq!(decisions(dir), recorded, "what is sent again is not recorded again");
    }

    /// The rows of the page, which must show what it was told.
    fn rows(&self, server: &mut Server) -> Vec<Value> {
        let rows = server.rows("generated");
        for row in &rows {
            let text = row["text"].as_str().unwrap();
            let wanted = self.labels.get(text).unwrap_or(&row["label"]);
            assert_eq!(row["label"], *wanted, "{text}");
        }
        rows
    }
}

/// Entries of the ledger that hold a decision.
fn decisions(dir: &TestDir) -> usize {
    edit_entries(dir).iter().filter(|entry| entry["changes"] != json!([])).count()
}

#[test]
fn no_decision_is_lost_or_doubled_by_twenty_kills() {
    let dir = TestDir::new();
    imported(&dir, 60);
    let (mut told, mut cut) = (Told::default(), 0);
    let mut dice = 20_261_127_u64;
    for round in 0..KILLS {
        let mut server = Server::start(&dir);
        let shown = told.rows(&mut server);
        let wanted = (0..DECISIONS).map(|n| shown[(n + 7 * round) % shown.len()].clone());
        let wanted: Vec<Value> = wanted.collect();
        // Killed from beside, in the middle of whatever it does then.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let kill_at = 1 + (dice >> 33) as usize % (DECISIONS - 1);
        let pause = Duration::from_micros((dice >> 17) % PAUSE);
        let (process, begun) = (server.child.id(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&begun);
        let killer = thread::spawn(move || {
            while counted.load(Ordering::SeqCst) < kill_at {
                thread::sleep(Duration::from_micros(50));
            }
            thread::sleep(pause);
            // SAFETY: it signals the process that this test started and has not waited for.
            unsafe { libc::kill(process as i32, libc::SIGKILL) };
        });
        let lost = told.decide(&mut server, &wanted, &begun);
        killer.join().unwrap();
        server.kill();
        cut += usize::from(lost.is_some());

        // The page goes on with those of the fifty that are left.
        let mut server = Server::start(&dir);
        told.settle(&dir, &mut server, lost);
        let before = |text: &Value| wanted.iter().find(|row| row["text"] == *text);
        let mut left = told.rows(&mut server);
        left.retain(|row| before(&row["text"]).is_some_and(|it| it["label"] == row["label"]));
        assert!(told.decide(&mut server, &left, &begun).is_none());
        assert_eq!(told.answered + told.unanswered, (round + 1) * DECISIONS, "round {round}");
        // The next one finds files with the decisions, or without.
        if round % 2 == 0 {
            server.finish();
        } else {
            server.kill();
        }
    }
    let Told { labels, answered, unanswered } = told;
    eprintln!(
        "{KILLS} kills, {cut} of them within a decision: {answered} decisions answered, \
         {unanswered} more recorded, 0 lost, 0 doubled"
    );
    dir.ok(&["filter", "out"]);
    for (text, label) in &labels {
        assert_eq!(train_row(&dir, &json!(text)).expect("kept")["relabel"], *label, "{text}");
    }
    dir.ok(&["audit", "out", "--no-nearest"]);
}
