//! The card of a complete run, and of exports with parts unknown.

use std::path::PathBuf;

use super::*;
use crate::{
    config::Settings,
    report::sample,
    student::{Head, export::Compared},
    task::{Class, LabelledText, Task},
    teacher::TeacherIdentity,
};

fn task() -> Task {
    let text = |text: &str| LabelledText { text: text.into(), label: 0 };
    Task {
        test_lines: Vec::new(),
        name: "Help-desk tickets".into(),
        item: "ticket".into(),
        items: "tickets".into(),
        shots: 2,
        classes: vec![
            Class {
                name: "a|b".into(),
                description: "forgotten <b>or</b>\nexpired".into(),
                title: None,
                formerly: None,
                none_of_these: false,
            },
            Class {
                name: "other".into(),
                description: "anything else".into(),
                title: None,
                formerly: None,
                none_of_these: false,
            },
        ],
        seeds: vec![text("my secret seed"), text("another secret seed")],
        test: vec![text("a secret test text")],
        pool: vec![text("a secret pool text")],
        unlabelled: None,
        folder: PathBuf::from("/home/jane/tickets"),
        settings: toml::Table::new(),
        manifest: "# a secret comment".into(),
        sha256: "3b6f".into(),
        warnings: Vec::new(),
    }
}

fn record() -> RunRecord {
    let mut settings = Settings::default();
    settings.student.model = "/home/jane/models/distilbert-base-uncased".into();
    RunRecord {
        task: task(),
        settings,
        report: Some(sample::tickets()),
        teacher: Some(TeacherIdentity {
            name: "Qwen2.5-7B-Instruct".into(),
            file: PathBuf::from("/home/jane/models/qwen.gguf"),
            sha256: "65b8".into(),
            parameters: 7,
            template_sha256: String::new(),
            context: 0,
            remote: None,
        }),
        sent_to: ["https://gpu-1.lan:8000".to_owned()].into(),
        prompts_sha256: "9c1e".into(),
        version: "0.0.9".into(),
        imported: false,
        counts: BTreeMap::from([("filter".into(), BTreeMap::from([("kept".into(), 123)]))]),
    }
}

fn facts() -> Facts {
    Facts {
        architecture: Architecture::DistilBert,
        layers: 6,
        hidden: 768,
        heads: 12,
        vocabulary: 30_522,
        parameters: 66_958_086,
        labels: vec!["a|b".into(), "other".into()],
        head: Head::Mlp(Pooling::First),
        prompt: String::new(),
        max_length: 50,
        positions: 512,
        temperature: None,
        sha256: "f00d".into(),
    }
}

fn base() -> Base {
    Base { name: "distilbert-base-uncased".into(), repo: None, sha256: Some("ba5e".into()) }
}

fn checks() -> Checks {
    let folder = Compared { texts: 354, difference: 0.0 };
    Checks { folder, onnx_weights: Some(104) }
}

fn card<'a>(
    facts: &'a Facts,
    checks: &'a Checks,
    run: Option<(&'a RunRecord, &'a Base)>,
) -> Card<'a> {
    let (licence, format) = ("unknown", Format::All);
    Card { title: "Help-desk tickets", licence, descriptions: true, format, facts, checks, run }
}

#[test]
fn a_card_gives_the_origin_of_everything() {
    let (record, base, facts, checks) = (record(), base(), facts(), checks());
    let text = card(&facts, &checks, Some((&record, &base))).render();
    for wanted in [
        "---\nlicense: \"unknown\"\nlibrary_name: transformers\npipeline_tag: text-classification\ntags:\n- text-classification\n- distilbert\n",
        "# Help-desk tickets\n",
        "6 layers of width 768, 66958086 parameters",
        "| 0 | a\\|b | forgotten \\<b\\>or\\</b\\> expired |\n| 1 | other | anything else |\n",
        "sha256 `3b6f`",
        "Labelled examples: 2 per class",
        "1050 requested, 1011 found in the replies, 962 after exact duplicates, 702 trained on",
        "scored the names of all classes; 233 of 958 labels changed",
        "ROUGE-L F1 with an earlier text of the same label is at least 0.85",
        "near-duplicate 148",
        "Qwen2.5-7B-Instruct, file `qwen.gguf`, sha256 `65b8`",
        "It answered at https://gpu-1.lan:8000: prompts with texts of the task were sent there.\n",
        "Prompts: sha256 `9c1e`",
        "distilbert-base-uncased, sha256 `ba5e` of its `model.safetensors`",
        "| `epochs` | 5 |",
        "| `max_length` | auto |",
        "On 336 labelled test texts",
        "the first of the 3 of its row",
        "labels after relabelling | 81.2 % | 79.0 to 83.1 % | 80.3 % | 77.8 to 82.6 % | 3 | 702 |",
        "+4.2 (+1.0 to +7.1)",
        "always chooses one of its classes",
        "promptmix predict --model FOLDER",
        "truncation=True, max_length=50",
        "at most 512 tokens",
        "on 354 texts the same logits",
        "the weights in its 104 tensors equal those of the trained classifier",
        "sha256 `f00d`",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    assert!(!text.contains("\n\n\n"), "{text}");
}

#[test]
fn a_card_contains_no_text_and_no_path() {
    let (record, base, facts, checks) = (record(), base(), facts(), checks());
    let mut card = card(&facts, &checks, Some((&record, &base)));
    let text = card.render();
    let generated = record.report.as_ref().unwrap().examples.iter().map(|example| &example.text);
    for secret in generated.map(String::as_str).chain(["secret", "jane", "/home"]) {
        assert!(!text.contains(secret), "{secret:?} is in\n{text}");
    }
    assert!(text.contains("anything else"));
    card.descriptions = false;
    let text = card.render();
    assert!(!text.contains("anything else") && !text.contains("expired"), "{text}");
    assert!(text.contains("| 1 | other |\n"), "{text}");
}

#[test]
fn unknown_facts_are_called_unknown() {
    let (mut record, base, mut facts, checks) = (record(), base(), facts(), checks());
    let text = card(&facts, &checks, None).render();
    for wanted in
        ["Unknown: this was exported from a student folder alone", "scores are part of a run"]
    {
        assert!(text.contains(wanted), "{text}");
    }
    assert!(!text.contains("Teacher:") && !text.contains("ROUGE"), "{text}");
    assert!(!text.contains("\n\n\n"), "{text}");

    record.report = None;
    record.imported = true;
    facts.head = Head::Mlp(Pooling::Mean);
    facts.temperature = Some(1.25);
    let base = Base { sha256: None, repo: Some("distilbert/base".into()), ..base };
    let text = card(&facts, &checks, Some((&record, &base))).render();
    for wanted in [
        "base_model: \"distilbert/base\"\n",
        "123 trained on",
        "Not measured: the run has no test set or was not evaluated.",
        "on imported texts of unknown origin",
        "Teacher: unknown, since the texts were imported.",
        "sha256 unknown: it was not found",
        "their predictions would be wrong. Use promptmix or `model.onnx`",
        "softmax(logits / 1.25)",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    assert!(!text.contains("from transformers import") && !text.contains('%'), "{text}");
    assert!(!text.contains("Head:"), "{text}");

    facts.head = Head::Linear(Pooling::Mean);
    let text = card(&facts, &checks, Some((&record, &base))).render();
    for wanted in [
        "Pooling: mean over all tokens. Head: one dense layer over the pooled vector, scaled to unit length.\n\n## Scores",
        "random weights over the first token:\nits predictions would be wrong. Use promptmix or `model.onnx`.",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    assert!(!text.contains("from transformers import"), "{text}");
    assert!(!text.contains("is read after"), "{text}");
    facts.prompt = "query: ".to_owned();
    let text = card(&facts, &checks, Some((&record, &base))).render();
    assert!(
        text.contains(" Each text is read after \"query: \": promptmix puts it there"),
        "{text}"
    );
}
