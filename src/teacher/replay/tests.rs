//! Small recordings with answers worked out by hand.

use super::{
    texts::{MIN_PROBABILITY, probabilities},
    *,
};
use crate::{
    hint::Hint,
    prompt::reply::parse_list,
    teacher::{LabelScoring, Sampling, TeacherEvent, Wanted},
};

fn request(id: &str, major: &str, minor: &str) -> GenerateRequest {
    GenerateRequest {
        id: id.to_owned(),
        prompt: format!("two texts of {major}, please"),
        cue: "1.".to_owned(),
        lines: 2,
        longest: 40,
        constrained: true,
        seed: 7,
        max_tokens: 30,
        sampling: Sampling::default(),
        wanted: Wanted { major: major.to_owned(), minor: minor.to_owned() },
    }
}

fn question(text: &str, candidates: &[&str]) -> ScoreRequest {
    ScoreRequest {
        id: format!("about {text}"),
        prompt: "which class?".to_owned(),
        candidates: candidates.iter().map(|name| (*name).to_owned()).collect(),
        scoring: LabelScoring::default(),
        text: text.to_owned(),
    }
}

fn generate(replay: &mut Replay, requests: &[GenerateRequest]) -> Vec<Answer<Generated>> {
    let mut answers = Vec::new();
    replay
        .generate(requests, &mut |event| {
            answers.push(event);
            Ok(())
        })
        .unwrap();
    answers.into_iter().flat_map(in_order).collect()
}

fn score(replay: &mut Replay, questions: &[ScoreRequest]) -> Vec<Answer<Scored>> {
    let mut answers = Vec::new();
    replay
        .score(questions, &mut |event| {
            answers.push(event);
            Ok(())
        })
        .unwrap();
    answers.into_iter().flat_map(in_order).collect()
}

fn in_order<T>(event: TeacherEvent<T>) -> Vec<Answer<T>> {
    let TeacherEvent::Answers(answers) = event else { panic!("nothing is restarted") };
    assert!(answers.iter().enumerate().all(|(place, (at, _))| *at == place));
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn identity() -> TeacherIdentity {
    TeacherIdentity {
        name: "somebody".to_owned(),
        file: "somebody.gguf".into(),
        sha256: "5eed".to_owned(),
        parameters: 3,
        template_sha256: String::new(),
        context: 100,
        remote: None,
    }
}

#[test]
fn a_call_is_found_by_the_whole_request() {
    let (known, skipped) = (request("0.0.0", "a", "b"), request("0.1.0", "b", "a"));
    let asked = question("x", &["a", "b"]);
    let reply = Generated {
        text: "1. x\n2. y".into(),
        complete: true,
        prompt_tokens: 9,
        generated_tokens: 6,
    };
    let scored = Scored { log_probs: vec![-0.5, -1.0], tokens: vec![1, 1], prompt_tokens: 8 };
    let skip = SkippedRequest { reason: "it ended".to_owned() };
    let calls = HashMap::from([
        (known.key(&identity()), Call::Reply(reply.clone())),
        (skipped.key(&identity()), Call::Skipped(skip.clone())),
        (asked.key(&identity()), Call::Scores(scored.clone())),
    ]);
    let mut replay = Replay::of_calls("run/ledger.jsonl".into(), identity(), calls);
    assert_eq!(replay.identity(), &identity());
    // The order and the id of the requests do not matter.
    let renamed = GenerateRequest { id: "x".to_owned(), ..known.clone() };
    assert_eq!(generate(&mut replay, &[skipped, renamed]), [Err(skip), Ok(reply)]);
    assert_eq!(score(&mut replay, std::slice::from_ref(&asked)), [Ok(scored)]);

    let others = [
        GenerateRequest { seed: 8, ..known.clone() },
        GenerateRequest { lines: 3, ..known.clone() },
        GenerateRequest { prompt: "else".into(), ..known.clone() },
        GenerateRequest { sampling: Sampling { top_k: 9, ..known.sampling }, ..known.clone() },
    ];
    for other in others {
        let error = replay
            .generate(&[known.clone(), other], &mut |_| panic!("nothing is answered"))
            .unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("run/ledger.jsonl has no answer to 1 of 2"), "{message}");
        assert!(message.contains("0.0.0"), "{message}");
        assert!(error.hint().unwrap().starts_with("the task"), "{error:?}");
    }
    let others = [
        ScoreRequest { scoring: LabelScoring::Branch, ..asked.clone() },
        ScoreRequest { candidates: vec!["a".to_owned()], ..asked },
    ];
    for other in others {
        assert!(replay.score(&[other], &mut |_| Ok(())).is_err());
    }
}

fn texts() -> Replay {
    let row = |text: &str, major: &str, minor: &str| RecordedText {
        text: text.to_owned(),
        major: major.to_owned(),
        minor: Some(minor.to_owned()),
        relabel: Some("b".to_owned()),
        p: Some(0.6),
        second: Some("c".to_owned()),
    };
    let rows = vec![
        row("one", "a", "b"),
        row("two", "b", "a"),
        row("\"three\n three\"", "a", "c"),
        row("ONE", "a", "c"),
        row(&"long ".repeat(9), "a", "c"),
        row("four", "a", "b"),
        row("five", "a", "c"),
        RecordedText { relabel: None, ..row("six", "a", "b") },
    ];
    Replay::of_texts("old/texts.jsonl".into(), "abc".to_owned(), rows)
}

#[test]
fn each_text_is_used_once_those_of_the_same_minor_class_first() {
    let requests = [
        request("0.0.0", "a", "c"),
        request("0.1.0", "b", "a"),
        request("0.0.1", "a", "c"),
        request("0.0.2", "a", "b"),
    ];
    let mut replay = texts();
    let replies: Vec<Generated> =
        generate(&mut replay, &requests).into_iter().map(Result::unwrap).collect();
    let found: Vec<&str> = replies.iter().map(|reply| reply.text.as_str()).collect();
    assert_eq!(found, ["1. \"three three\"\n2. five", "", "1. one\n2. four", ""]);
    assert_eq!(
        replies.iter().map(|reply| reply.complete).collect::<Vec<_>>(),
        [true, false, true, false]
    );
    assert_eq!(parse_list(&replies[0].text, 2, 40, true).unwrap(), ["three three", "five"]);
    assert_eq!(replay.identity().name, "recorded texts of texts.jsonl");
    assert!(!replay.scores_any_text());
}

#[test]
fn a_text_has_its_recorded_label() {
    let mut replay = texts();
    let probabilities = |replay: &mut Replay, text: &str, names: &[&str]| {
        let answers = score(replay, &[question(text, names)]);
        crate::teacher::normalise(&answers[0].as_ref().unwrap().log_probs)
    };
    let close = |found: Vec<f32>, wanted: &[f32]| {
        assert_eq!(found.len(), wanted.len());
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
        assert!(found.iter().zip(wanted).all(near), "{found:?} {wanted:?}");
    };
    close(probabilities(&mut replay, "three three", &["a", "b", "c"]), &[0.0, 0.6, 0.4]);
    close(probabilities(&mut replay, "two", &["a", "b", "d"]), &[0.2, 0.6, 0.2]);
    // The label is not a candidate: its probability goes to all.
    close(probabilities(&mut replay, "two", &["a", "c", "d"]), &[0.2, 0.6, 0.2]);

    let questions = [question("two", &["a", "b"]), question("six", &["a", "b"])];
    let error = replay.score(&questions, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("1 of 2") && error.contains("about six"), "{error}");
    assert!(replay.score(&[question("seven", &["a"])], &mut |_| Ok(())).is_err());
}

#[test]
fn the_recorded_label_wins_and_nothing_is_impossible() {
    let names = ["a", "b", "c", "d"].map(str::to_owned);
    for p in [1e-3, 0.1, 0.3, 0.5, 0.7, 1.0] {
        for second in [None, Some("a"), Some("b"), Some("z")] {
            let found = probabilities(&names, "b", p, second);
            assert!(found.iter().all(|p| (MIN_PROBABILITY..=1.0).contains(p)), "{found:?}");
            let other = [0, 2, 3].map(|at| found[at]).into_iter().fold(0.0, f64::max);
            assert!(found[1] > other, "{p} {second:?} {found:?}");
        }
    }
}

#[test]
fn a_prompt_is_measured_by_its_words() {
    let measured = texts().measure(&["one two three".to_owned()]).unwrap();
    assert_eq!((measured[0].rendered.as_str(), measured[0].tokens), ("one two three", 4));
}
