//! Reports with every section and chart, and comparisons of any size.

use super::*;
use crate::{
    audit::{Compared, CopiedText, Copies, HowCopied, KindCount, Near, Nearest, PrivateValue},
    eval::{Bin, Calibration, choose_threshold, curve},
};

/// A pseudo-random number from 0 to 1 that depends only on `seed`.
fn chance(seed: usize) -> f64 {
    let mut x = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..2 {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

/// All rows that apply, for every `k`, student and teacher.
pub(crate) fn comparison(ks: &[usize], students: &[&str], teachers: &[&str]) -> Comparison {
    let mut comparison = Comparison::default();
    for &k in ks {
        for (place, &student) in students.iter().enumerate() {
            let of_seeds =
                [Variant::Seeds, Variant::EmbedSeeds, Variant::ContrastiveSeeds, Variant::Eda];
            for row in of_seeds.into_iter().filter(|_| k > 0) {
                comparison.lines.push(line(row, k, Some(student), None, place));
            }
            for row in [Variant::Real, Variant::RealAll] {
                comparison.lines.push(line(row, k, Some(student), None, place));
            }
            for (other, &teacher) in teachers.iter().enumerate() {
                let place = place + 2 * other;
                for row in Variant::ALL {
                    let shows_seeds = row != Variant::NoExamples;
                    if row.needs_teacher() && row.needs_student() && (k > 0 || !shows_seeds) {
                        comparison.lines.push(line(row, k, Some(student), Some(teacher), place));
                    }
                }
            }
        }
        for (place, &teacher) in teachers.iter().enumerate() {
            comparison.lines.push(line(Variant::Teacher, k, None, Some(teacher), place));
        }
    }
    for &k in ks {
        for &student in students {
            for &teacher in teachers {
                differences(&mut comparison, k, student, teacher);
            }
        }
    }
    for &k in ks.iter().filter(|k| **k == 0) {
        for row in [Variant::Seeds, Variant::Eda, Variant::Continuation, Variant::Gpt3Mix] {
            let reason = "it is trained on seeds, and k is 0".into();
            comparison.left_out.push(LeftOut { row, k, teacher: None, reason });
        }
    }
    comparison
}

fn line(
    row: Variant,
    k: usize,
    student: Option<&str>,
    teacher: Option<&str>,
    place: usize,
) -> Line {
    let (base, train_rows) = match row {
        Variant::Seeds => (0.41, (k * 7) as f64),
        Variant::EmbedSeeds => (0.47, (k * 7) as f64),
        Variant::ContrastiveSeeds => (0.48, (k * 7) as f64),
        Variant::Eda => (0.44, (k * 7 * 9) as f64),
        Variant::Continuation => (0.69, 641.4),
        Variant::Gpt3Mix => (0.715, 655.0),
        Variant::NoMixup => (0.742, 688.2),
        Variant::NoDescriptions => (0.731, 664.6),
        Variant::NoExamples => (0.722, 671.8),
        Variant::Paper => (0.768, 699.4),
        Variant::A1 => (0.77, 713.2),
        Variant::A2Raw => (0.79, 702.6),
        Variant::A2 => (0.812, 702.6),
        Variant::EmbedA2 => (0.78, 702.6),
        Variant::U => (0.77, 514.0),
        Variant::A2U => (0.811, 1202.6),
        Variant::Teacher => (0.848, 0.0),
        Variant::Real => (0.871, 702.6),
        Variant::RealAll => (0.903, 4200.0),
    };
    let steps = if base > 0.5 { 0.006 } else { 0.03 };
    let mean = base + steps * (k as f64 - 2.0) - 0.04 * place as f64 * chance(row as usize);
    let mean = mean.min(0.95);
    let half = 0.018 + 0.02 * chance(row as usize * 31 + k);
    let (calls, prompt, written) = match row {
        Variant::Teacher => (336.0, 139_440.0, 336.0),
        Variant::A1 | Variant::NoMixup | Variant::Gpt3Mix => (350.0, 214_320.0, 31_870.0),
        row if row.needs_teacher() => (1308.0, 616_438.0, 32_828.0),
        _ => (0.0, 0.0, 0.0),
    };
    let student_seconds = if row.needs_student() { 0.18 * train_rows + 21.0 } else { 0.0 };
    Line {
        row,
        k,
        student: student.map(str::to_owned),
        teacher: teacher.map(str::to_owned),
        accuracy: interval(mean, mean - half, mean + half * 0.9),
        macro_f1: interval(mean - 0.013, mean - 0.013 - half, mean - 0.013 + half),
        seeds: if row == Variant::Teacher { 1 } else { 5 },
        test_rows: 336,
        train_rows,
        relabelled: matches!(row, Variant::A2 | Variant::Paper | Variant::NoExamples)
            .then_some(0.243),
        teacher_calls: calls,
        tokens: prompt + written,
        prompt_tokens: prompt,
        generated_tokens: written,
        seconds: student_seconds + calls * 0.46,
        student_seconds,
    }
}

fn differences(comparison: &mut Comparison, k: usize, student: &str, teacher: &str) {
    let found = |row: Variant| {
        comparison.lines.iter().find(|line| {
            line.row == row
                && line.k == k
                && line.student.as_deref().is_none_or(|name| name == student)
                && line.teacher.as_deref().is_none_or(|name| name == teacher)
        })
    };
    let mut all = Vec::new();
    for b in [Variant::Seeds, Variant::A2] {
        for a in
            Variant::ALL.into_iter().filter(|&a| a != b && (b, a) != (Variant::A2, Variant::Seeds))
        {
            let (a, b) = if b == Variant::A2 { (b, a) } else { (a, b) };
            let (Some(one), Some(other)) = (found(a), found(b)) else { continue };
            let mean = one.accuracy.mean - other.accuracy.mean;
            let half = 0.02 + 0.02 * chance(a as usize * 7 + b as usize + k);
            all.push(LineDifference {
                a,
                b,
                k,
                student: Some(student.into()),
                teacher: (one.teacher.is_some() || other.teacher.is_some()).then(|| teacher.into()),
                against: None,
                interval: interval(mean, mean - half, mean + half),
            });
        }
    }
    comparison.differences.append(&mut all);
}

/// A model that is slightly overconfident.
fn reliability(row: Variant, answers: usize, excess: f64) -> Reliability {
    let bins: Vec<Bin> = (0..15)
        .map(|bin| {
            let confidence = (f64::from(bin) + 0.5) / 15.0;
            let rows = (answers as f64 * confidence.powi(5) / 2.4).round() as usize;
            let accuracy = (confidence - excess * chance(bin as usize + 100)).clamp(0.0, 1.0);
            if rows == 0 { Bin::default() } else { Bin { rows, confidence, accuracy } }
        })
        .collect();
    let rows: usize = bins.iter().map(|bin| bin.rows).sum();
    let ece = bins
        .iter()
        .map(|bin| (bin.accuracy - bin.confidence).abs() * bin.rows as f64 / rows.max(1) as f64)
        .sum();
    Reliability { row, calibration: Calibration { ece, bins } }
}

/// A student of which the surer are right more often.
fn selective(texts: usize) -> Selective {
    let answer = |text: usize| {
        let confidence = 0.4 + 0.6 * text as f32 / texts as f32;
        (confidence, chance(text + 7) < f64::from(confidence) + 0.08)
    };
    let answers: Vec<(f32, bool)> = (0..texts).map(answer).collect();
    let target =
        |accuracy| Target { accuracy, chosen: choose_threshold(&answers, accuracy, 0.95).ok() };
    let (curve, targets) = (curve(&answers), [0.9, 0.95, 0.99].map(target).into());
    Selective { row: Variant::A2, curve, confidence_level: 0.95, targets }
}

/// A cluster for each class, with seeds near the centre and errors near the edge.
fn scattered(classes: usize, points: usize) -> Map {
    let at = |class: usize, number: usize, wide: f64| {
        let turn = class as f64 / classes as f64 * std::f64::consts::TAU;
        let noise = |salt: usize| {
            (0..3).map(|n| chance(number * 17 + salt * 5 + n) - 0.5).sum::<f64>() * wide
        };
        let round = 0.5 + 0.32 * turn.cos() + noise(1);
        (round as f32, (0.5 + 0.32 * turn.sin() + noise(2)) as f32)
    };
    let mut map = Map::default();
    for number in 0..points {
        let class = number % classes;
        let (kind, wide) = match number {
            n if n >= points - 2 * classes => (PointKind::Seed, 0.08),
            n if n >= points - 2 * classes - points / 16 => (PointKind::TestError, 0.3),
            _ => (PointKind::Synthetic, 0.16),
        };
        let (x, y) = at(class, number, wide);
        let (x, y) = (x.clamp(0.0, 1.0), y.clamp(0.0, 1.0));
        let predicted = (kind == PointKind::TestError).then_some((class + 1) % classes);
        let text = match kind {
            PointKind::Seed => format!("I have forgotten my password, please help ({number})"),
            PointKind::TestError => {
                format!(
                    "Since the <update> of \"Tuesday\" nothing works & I cannot log in ({number})"
                )
            }
            PointKind::Synthetic => format!("The wifi in room {number} drops every few minutes."),
        };
        map.points.push(Point { x, y, kind, class, predicted, text });
    }
    map
}

fn diversity() -> Vec<LexicalDiversity> {
    let lexical = |of: &str, texts, distinct_2, self_bleu, words| LexicalDiversity {
        of: of.into(),
        texts,
        distinct_2,
        self_bleu,
        words,
    };
    vec![
        lexical("seeds", 14, 0.942, 0.061, (9.4, 3.1)),
        lexical("generated", 702, 0.831, 0.192, (14.7, 4.6)),
    ]
}

fn add_pairs(report: &mut Report) {
    let names: Vec<String> = report.task.classes.iter().map(|class| class.name.clone()).collect();
    if let Some(relabel) = &mut report.relabel {
        relabel.by_pair = [
            (0, 1, 40, 17),
            (2, 3, 38, 12),
            (6, 5, 31, 9),
            (3, 4, 22, 5),
            (1, 6, 2, 2),
            (4, 0, 30, 1),
            (5, 2, 28, 0),
        ]
        .into_iter()
        .map(|(major, minor, total, changed): (usize, usize, u64, u64)| PairShare {
            major: names[major % names.len()].clone(),
            minor: names[minor % names.len()].clone(),
            total,
            changed,
        })
        .collect();
    }
    if let Some(confusion) = &mut report.confusion {
        let texts = [
            "My account says the password is wrong three times over and now nothing opens any more.",
            "Locked out again after the holidays.",
            "Can you <unlock> me? The \"forgot\" page refuses.",
        ];
        confusion.pairs =
            [(1, 0, 22), (6, 5, 21), (0, 1, 17), (2, 3, 14), (3, 2, 12), (6, 4, 9), (6, 0, 8)]
                .into_iter()
                .map(|(gold, predicted, count): (usize, usize, u64)| MistakenPair {
                    gold: names[gold % names.len()].clone(),
                    predicted: names[predicted % names.len()].clone(),
                    count,
                    texts: texts[..1 + count as usize % 3]
                        .iter()
                        .map(|&text| text.into())
                        .collect(),
                })
                .collect();
    }
}

/// The tickets with every section of a run.
pub(crate) fn rich() -> Report {
    let mut report = tickets();
    report.reliability =
        vec![reliability(Variant::Teacher, 336, 0.3), reliability(Variant::A2, 1680, 0.12)];
    report.selective = Some(selective(336));
    report.map = Some(scattered(7, 800));
    report.diversity = diversity();
    report.privacy = Some(privacy());
    report.warnings.extend(report.privacy.as_ref().and_then(Privacy::warning));
    add_pairs(&mut report);
    report
}

/// Leaks, phantoms and copies of every kind.
fn privacy() -> Privacy {
    let kind = |kind: &str, leaks, phantoms| KindCount { kind: kind.into(), leaks, phantoms };
    let value = |line, kind: &str, value: &str, source: Option<&str>| PrivateValue {
        file: "train.jsonl".into(),
        line,
        kind: kind.into(),
        value: value.into(),
        source: source.map(Into::into),
    };
    let copied = |line, how, words, source: &str| CopiedText {
        file: "train.jsonl".into(),
        line,
        how,
        words,
        source: source.into(),
    };
    let near = |line, cosine, source: &str| Near {
        file: "train.jsonl".into(),
        line,
        cosine,
        source: source.into(),
    };
    let shares = [0.0, 0.25, 0.5, 0.75, 0.95, 1.0];
    Privacy {
        texts: 612,
        compared: Compared { seeds: 14, pool: 700, test: 336 },
        kinds: vec![kind("e-mail", 2, 5), kind("IBAN", 1, 0), kind("phone", 0, 11)],
        leaking_texts: 3,
        copies: Copies { exact: 0, normalised: 1, shared: 4, longest: 13 },
        nearest: Some(Nearest {
            compared_with: 14,
            quantiles: shares.map(|share| (share, 0.31 + 0.66 * share)).to_vec(),
            few: vec![near(77, 0.972, "seed 3"), near(405, 0.941, "seed 12")],
        }),
        findings: vec![
            value(12, "e-mail", "a…@e….org", Some("seed 3")),
            value(80, "IBAN", "DE…3000", Some("pool 417")),
            value(81, "phone", "0…56", None),
        ],
        copied: vec![
            copied(77, HowCopied::Normalised, None, "pool 8"),
            copied(90, HowCopied::Words, Some(13), "seed 9"),
        ],
        redacted: false,
    }
}

/// A comparison of one student and one teacher at one k.
pub(crate) fn compared() -> Report {
    let mut report = rich();
    report.comparison =
        Some(comparison(&[2], &["distilbert-base-uncased"], &["Qwen2.5-7B-Instruct"]));
    report.warnings.clear();
    report
}

/// A large comparison.
pub(crate) fn compared_widely() -> Report {
    let mut report = rich();
    report.comparison = Some(comparison(
        &[0, 2, 5, 10],
        &["distilbert-base-uncased", "bert-base-uncased"],
        &["Qwen2.5-7B-Instruct", "gpt-oss-20b"],
    ));
    if let Some(comparison) = &mut report.comparison {
        let reason = "the task has no training pool: [data] pool is not set in task.toml".into();
        comparison.left_out.push(LeftOut { row: Variant::RealAll, k: 2, teacher: None, reason });
    }
    report.task.classes.extend((0..3).map(|n| class(&format!("another_{n}"), "One more.")));
    report.map = Some(scattered(10, 1000));
    report
}

/// More classes than there are colours.
pub(super) fn mapped_many() -> Report {
    let mut report = super::many();
    report.map = Some(scattered(77, 1000));
    report.reliability = vec![reliability(Variant::A2, 5000, 0.4)];
    report.diversity = diversity();
    add_pairs(&mut report);
    report
}
