//! Reports for tests: a plausible one, edge cases, and reports with every section.

mod rich;

use std::collections::BTreeMap;

pub(crate) use rich::{compared, comparison, rich};

use super::*;

fn class(name: &str, description: &str) -> Class {
    Class { name: name.into(), description: description.into() }
}

fn interval(mean: f64, low: f64, high: f64) -> Interval {
    Interval::new(mean, low, high)
}

fn example(text: &str, pair: (&str, &str), alpha: f64, label: &str, probability: f64) -> Example {
    Example {
        text: text.into(),
        major: pair.0.into(),
        minor: Some(pair.1.into()),
        alpha,
        relabelled: Some(label.into()),
        probability: Some(probability),
    }
}

fn stage(
    stage: &str,
    seconds: f64,
    prompt_tokens: u64,
    generated_tokens: u64,
    calls: u64,
) -> Stage {
    Stage { stage: stage.into(), seconds, prompt_tokens, generated_tokens, calls }
}

/// Seven classes of help-desk tickets.
pub(crate) fn tickets() -> Report {
    let scores = |row, accuracy, macro_f1, seeds, train_rows| Scores {
        row,
        accuracy,
        macro_f1,
        seeds,
        train_rows,
        test_rows: 336,
    };
    let difference = |a, b, interval| Difference { a, b, interval };
    Report {
        task: task(),
        teacher: Teacher {
            name: "Qwen2.5-7B-Instruct".into(),
            sha256: "65b8fcd92af6b4fefa935c625d1ac27ea29dcb6ee14589c55a8f115ceaaa1423".into(),
            file: "qwen2.5-7b-instruct-q4_k_m.gguf".into(),
            addresses: Vec::new(),
        },
        student: Student {
            name: "distilbert-base-uncased".into(),
            eight_bits: Some(EightBits { accuracy_f32: 0.867, accuracy: 0.865, same_class: 0.994 }),
        },
        teacher_check: Some(TeacherCheck {
            examples: 48,
            accuracy: interval(0.854, 0.728, 0.928),
            guessing: 0.146,
            nearest: Some(interval(0.667, 0.525, 0.783)),
        }),
        results: {
            let seeds = (interval(0.31, 0.262, 0.358), interval(0.274, 0.231, 0.322));
            let a1 = (interval(0.77, 0.738, 0.801), interval(0.755, 0.72, 0.789));
            let a2 = (interval(0.812, 0.79, 0.831), interval(0.803, 0.778, 0.826));
            let teacher = (interval(0.848, 0.806, 0.883), interval(0.841, 0.798, 0.88));
            vec![
                scores(Variant::Seeds, seeds.0, seeds.1, 3, 14),
                scores(Variant::A1, a1.0, a1.1, 3, 713),
                scores(Variant::A2, a2.0, a2.1, 3, 702),
                scores(Variant::Teacher, teacher.0, teacher.1, 1, 0),
            ]
        },
        differences: vec![
            difference(Variant::A2, Variant::A1, interval(0.042, 0.01, 0.071)),
            difference(Variant::A2, Variant::Seeds, interval(0.502, 0.447, 0.556)),
            difference(Variant::A2, Variant::Teacher, interval(-0.036, -0.077, 0.004)),
        ],
        funnel: funnel(),
        by_hand: None,
        relabel: Some(relabel()),
        confusion: Some(confusion()),
        comparison: None,
        reliability: Vec::new(),
        selective: None,
        map: None,
        diversity: Vec::new(),
        text_length: None,
        privacy: None,
        unlabelled: None,
        examples: examples(),
        stages: vec![
            stage("augment", 412.7, 214_320, 31_870, 350),
            stage("relabel", 188.4, 402_118, 958, 958),
            stage("filter", 3.2, 0, 0, 0),
            stage("student", 731.0, 0, 0, 0),
            stage("eval", 64.9, 139_440, 336, 336),
        ],
        provenance: Provenance {
            version: "0.1.0".into(),
            started: "2026-11-21T14:29:01Z".into(),
            settings: "[task]\nshots = 2\n\n\
                       [augment]\nper_class = 100\nalpha = \"0.5 + 0.5 * Beta(5, 2)\"\n\n\
                       [student]\nepochs = 5\nbatch = 8\nlearning_rate = 4e-5\n"
                .into(),
            prompts_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
                .into(),
            ledger_rows: 1658,
        },
        warnings: vec![
            "Three training seeds: the intervals underestimate how much seeds differ.".into(),
        ],
    }
}

fn task() -> Task {
    Task {
        name: "Help-desk tickets".into(),
        classes: vec![
            class("password_reset", "The password is forgotten or has expired."),
            class("account_locked", "The account itself is locked or disabled."),
            class("vpn_access", "Access from home or on the road through the VPN."),
            class("wifi_problem", "The wireless network in the building does not work."),
            class("hardware_fault", "A device is broken and has to be repaired or replaced."),
            class("software_install", "A program has to be installed or updated."),
            class("other", "Anything else."),
        ],
        shots: 2,
        test_rows: 336,
        sha256: "3b6f0f1c9a54b3a1d6b3a0ff3b0c6a0d7a2f8b4f5f4dd4f5f5a4ce0f1f9be7aa".into(),
    }
}

fn funnel() -> Funnel {
    Funnel {
        asked: 1050,
        parsed: 1011,
        junk: BTreeMap::from([("bare number".into(), 9), ("name of a class".into(), 12)]),
        cleaned: 31,
        unique: 962,
        relabelled: 958,
        kept: 702,
        dropped: BTreeMap::from([
            ("near-duplicate".into(), 148),
            ("no shown class fits".into(), 61),
            ("copy of a seed".into(), 29),
            ("class is full".into(), 18),
        ]),
    }
}

fn relabel() -> Relabel {
    let by_alpha = [
        (0.5, 12, 7),
        (0.55, 21, 11),
        (0.6, 44, 20),
        (0.65, 66, 27),
        (0.7, 97, 33),
        (0.75, 128, 35),
        (0.8, 153, 34),
        (0.85, 171, 30),
        (0.9, 160, 24),
        (0.95, 88, 11),
        (1.0, 18, 1),
    ];
    Relabel {
        changed: 233,
        total: 958,
        by_alpha: by_alpha
            .map(|(alpha, total, changed)| AlphaShare { alpha, total, changed })
            .to_vec(),
        by_pair: Vec::new(),
        flow: vec![
            vec![104, 22, 3, 0, 1, 2, 4],
            vec![31, 96, 5, 1, 0, 1, 3],
            vec![4, 6, 101, 19, 1, 4, 2],
            vec![0, 1, 24, 103, 7, 0, 3],
            vec![0, 0, 1, 11, 118, 6, 2],
            vec![3, 1, 2, 0, 9, 115, 7],
            vec![9, 4, 6, 8, 7, 13, 88],
        ],
    }
}

fn confusion() -> Confusion {
    Confusion {
        row: Variant::A2,
        matrix: vec![
            vec![121, 17, 2, 0, 0, 1, 3],
            vec![22, 113, 4, 0, 0, 0, 5],
            vec![3, 5, 118, 14, 0, 2, 2],
            vec![0, 0, 12, 124, 6, 0, 2],
            vec![0, 0, 0, 7, 127, 6, 4],
            vec![1, 0, 3, 0, 7, 128, 5],
            vec![8, 6, 5, 7, 9, 21, 88],
        ],
        pairs: Vec::new(),
    }
}

fn examples() -> Vec<Example> {
    vec![
        example(
            "I typed the wrong password too often and now even the reset page refuses me.",
            ("password_reset", "account_locked"),
            0.65,
            "account_locked",
            0.88,
        ),
        example(
            "Since the VPN update my laptop also loses the office wifi.",
            ("vpn_access", "wifi_problem"),
            0.75,
            "wifi_problem",
            0.61,
        ),
        example(
            "Please reset my mailbox password, it ran out over the holidays.",
            ("password_reset", "other"),
            0.9,
            "password_reset",
            0.99,
        ),
        example(
            "The docking station flickers and then the whole screen goes dark; could it need a \
             newer driver?",
            ("hardware_fault", "software_install"),
            0.6,
            "hardware_fault",
            0.74,
        ),
        example(
            "Can you enable my account for the VPN? It says \"user <disabled>\".",
            ("vpn_access", "account_locked"),
            0.55,
            "account_locked",
            0.52,
        ),
        example(
            "Please put the new AutoCAD version on the machine in room 214.",
            ("software_install", "hardware_fault"),
            0.95,
            "software_install",
            0.99,
        ),
        example(
            "There is no signal in the meeting room on the third floor.",
            ("wifi_problem", "hardware_fault"),
            0.85,
            "wifi_problem",
            0.97,
        ),
        example(
            "Where do I find the canteen menu on the intranet?",
            ("other", "software_install"),
            0.9,
            "other",
            0.93,
        ),
    ]
}

/// Two classes with long names; relabelling made no difference.
fn two_long() -> Report {
    let mut report = tickets();
    report.task.name =
        "Does a passage of a film review state the reviewer's own opinion, or does it \
                        recount what happens?"
            .into();
    report.task.classes = vec![
        class("subjective: the reviewer's own opinion, feeling or judgement", "An opinion."),
        class("objective_description_of_the_plot_or_of_the_production_without_judgement", ""),
    ];
    report.differences[0].interval = interval(0.008, -0.012, 0.029);
    report.differences[1].interval = interval(-0.03, -0.05, -0.01);
    if let Some(relabel) = &mut report.relabel {
        relabel.flow = vec![vec![311, 94], vec![139, 414]];
        relabel.by_alpha.truncate(3);
    }
    if let Some(confusion) = &mut report.confusion {
        confusion.matrix = vec![vec![471, 33], vec![70, 434]];
    }
    for example in &mut report.examples {
        example.major = report.task.classes[0].name.clone();
        example.minor = Some(report.task.classes[1].name.clone());
        example.relabelled = Some(report.task.classes[1].name.clone());
    }
    report
}

/// No test set, no generated text and no relabelling.
fn bare() -> Report {
    let mut report = tickets();
    report.task.test_rows = 0;
    report.results.clear();
    report.differences.clear();
    report.funnel = Funnel::default();
    report.relabel = None;
    report.confusion = None;
    report.examples.clear();
    report.warnings.clear();
    report
}

/// Seven classes with very long names, trained without relabelling.
fn seven_long() -> Report {
    let mut report = tickets();
    for class in &mut report.task.classes {
        class.name = format!("{} (reported by an employee through the portal)", class.name);
    }
    report.results.retain(|scores| matches!(scores.row, Variant::Seeds | Variant::A1));
    report.differences.clear();
    if let Some(confusion) = &mut report.confusion {
        confusion.row = Variant::A1;
    }
    for example in &mut report.examples {
        example.relabelled = None;
        example.probability = None;
    }
    report
}

/// Seventy-seven classes.
fn many() -> Report {
    let mut report = tickets();
    report.task.classes =
        (1..=77).map(|n| class(&format!("intent_number_{n}"), "One of many intents.")).collect();
    let matrix: Vec<Vec<u64>> = (0..77_u64)
        .map(|row| {
            (0..77)
                .map(|column| {
                    if row == column {
                        31
                    } else if (row * 7 + column * 3) % 19 == 0 {
                        (row + column) % 6
                    } else {
                        0
                    }
                })
                .collect()
        })
        .collect();
    if let Some(relabel) = &mut report.relabel {
        relabel.flow = matrix.clone();
    }
    report.confusion = Some(Confusion { row: Variant::A2, matrix, pairs: Vec::new() });
    report
}

/// Every sample with a file name.
pub(crate) fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("tickets", tickets()),
        ("two", two_long()),
        ("bare", bare()),
        ("seven", seven_long()),
        ("many", many()),
        ("rich", rich()),
        ("compared", compared()),
        ("wide", rich::compared_widely()),
        ("mapped", rich::mapped_many()),
    ]
}
