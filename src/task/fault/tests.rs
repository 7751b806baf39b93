use super::*;

#[test]
fn only_the_first_twenty_faults_are_listed() {
    let faults: Vec<Fault> = (1..=23)
        .map(|line| Fault { place: Place::new("a.csv", (line, 1)), problem: Problem::EmptyText })
        .collect();
    let error = TaskError::Faults { faults };
    let message = error.to_string();
    assert!(message.starts_with("a.csv:1:1: empty text\na.csv:2:1: "), "{message}");
    assert!(message.contains("a.csv:20:1") && !message.contains("a.csv:21:1"));
    assert!(message.ends_with("… and 3 more faults"));
    assert_eq!(error.hint().unwrap(), "write the text, or remove the line");
}

#[test]
fn several_hints_are_given_once_each_with_a_place() {
    let fault = |line, problem| Fault { place: Place::new("a.csv", (line, 1)), problem };
    let faults = vec![
        fault(1, Problem::EmptyText),
        fault(2, Problem::InvalidToml { message: "x".into() }),
        fault(3, Problem::EmptyText),
    ];
    assert_eq!(
        TaskError::Faults { faults }.hint().unwrap(),
        "a.csv:1:1: write the text, or remove the line\n\
         a.csv:2:1: see https://toml.io for the syntax"
    );
}
