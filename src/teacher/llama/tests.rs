//! The engine with the real pocket teacher.

use llama_cpp_2::token::LlamaToken;

use super::{
    LlamaOptions, LlamaTeacher,
    batch::{Cell, evaluate},
    shared_prefix,
};
use crate::{
    store,
    teacher::{GenerateRequest, Sampling, ScoreRequest, Step, normalise},
};

fn teacher(batch: usize) -> LlamaTeacher {
    let options =
        LlamaOptions { slots: batch, threads: 2, gpu_layers: Some(0), ..LlamaOptions::default() };
    LlamaTeacher::load(&store::teacher_file("pocket").unwrap(), options).unwrap()
}

fn score(teacher: &mut LlamaTeacher, requests: &[ScoreRequest]) -> Vec<Vec<f32>> {
    let mut found = vec![Vec::new(); requests.len()];
    teacher
        .score(requests, &mut |step| {
            if let Step::Done(done) = step {
                for (at, scored) in done {
                    found[at] = scored.log_probs;
                }
            }
            Ok(())
        })
        .unwrap();
    found
}

/// ln p(name, end of turn | prompt), one plain sequence at a time.
fn reference(teacher: &LlamaTeacher, prompt: &str, name: &str) -> f32 {
    let prompt = teacher.tokenize(prompt, "").unwrap();
    let name = teacher.model.vocab().tokenize(name.as_bytes(), false, false);
    let tokens: Vec<LlamaToken> = prompt.iter().chain(&name).copied().collect();
    let mut context = teacher.context(tokens.len(), 1).unwrap();
    let cells: Vec<Cell<'_>> = tokens
        .iter()
        .enumerate()
        .map(|(position, &token)| Cell {
            token,
            position,
            sequences: &[0],
            logits: position + 1 >= prompt.len(),
        })
        .collect();
    let mut total = 0.0;
    evaluate(&mut context, &cells, |position, logits| {
        let probabilities = normalise(logits);
        total += match tokens.get(position + 1) {
            Some(next) => probabilities[next.0 as usize].ln(),
            None => teacher.ends.iter().map(|end| probabilities[end.0 as usize]).sum::<f32>().ln(),
        };
    })
    .unwrap();
    total
}

fn compare_with_reference(names: &[&str], prompts: &[&str]) {
    let mut teacher = teacher(4);
    let requests: Vec<ScoreRequest> = prompts
        .iter()
        .enumerate()
        .map(|(number, prompt)| ScoreRequest {
            id: number.to_string(),
            prompt: (*prompt).to_owned(),
            candidates: names.iter().map(|name| (*name).to_owned()).collect(),
        })
        .collect();
    for (request, found) in requests.iter().zip(score(&mut teacher, &requests)) {
        for (name, found) in request.candidates.iter().zip(found) {
            let wanted = reference(&teacher, &request.prompt, name);
            // The cells of the cache are 16-bit floats and sums run in another order.
            let tolerance = 1e-3 * wanted.abs().max(1.0) * 5.0;
            assert!((found - wanted).abs() < tolerance, "{name}: {found} is not {wanted}");
        }
    }
}

#[test]
fn scores_equal_a_plain_reference() {
    let names = ["password_reset", "password", "password reset page", "wifi", "wifi_problem", "w"];
    compare_with_reference(
        &names,
        &["Which class?\nno wifi here", "Which class?\nI forgot it", "x"],
    );
}

#[test]
fn seventy_seven_names_at_once_equal_the_reference() {
    let names: Vec<String> = (0..77)
        .map(|n| {
            ["card", "card lost", "pin", "top up", "transfer", "fee", "rate"][n % 7].to_owned()
                + &" again".repeat(n / 7)
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    compare_with_reference(&names, &["Which class?\nmy card is lost"]);
}

fn requests(count: usize) -> Vec<GenerateRequest> {
    (0..count)
        .map(|number| GenerateRequest {
            id: number.to_string(),
            prompt: format!("Write {} tickets", number % 3 + 2),
            cue: "1.".into(),
            longest: 500,
            constrained: false,
            lines: 2,
            seed: number as u64,
            max_tokens: 30,
            sampling: Sampling::default(),
        })
        .collect()
}

#[test]
fn a_prompt_beyond_the_models_context_is_refused_by_name() {
    let mut teacher = teacher(4);
    let mut requests = requests(3);
    requests[2].prompt = "ticket ".repeat(20_000);
    let error = teacher.generate(&requests, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().starts_with("request 2 needs "), "{error}");
}

#[test]
fn prompts_keep_a_token_of_their_own() {
    let tokens = |numbers: &[i32]| numbers.iter().map(|n| LlamaToken(*n)).collect::<Vec<_>>();
    let (a, b, c) = (tokens(&[1, 2, 3]), tokens(&[1, 2, 4]), tokens(&[1, 2]));
    assert_eq!(shared_prefix(&[&a, &b]), 2);
    assert_eq!(shared_prefix(&[&a, &c]), 1);
    assert_eq!(shared_prefix(&[&a]), 2);
    assert_eq!(shared_prefix(&[]), 0);
}
