//! Layers of settings, and which values are refused.

mod settings_md;

use super::*;

#[test]
fn later_layers_win() {
    let task: Table =
        "[augment]\nper_class = 7\ntemperature = 0.5\npenalty_window = 9\n[student]\nepochs = 2"
            .parse()
            .unwrap();
    let overrides = ["student.epochs=3".to_owned(), "teacher.model=a b.gguf".to_owned()];
    let settings = Settings::resolve(&task, Path::new("."), &overrides).unwrap();
    assert_eq!((settings.augment.per_class, settings.student.training.epochs), (7, 3));
    assert_eq!(settings.teacher.model, "a b.gguf");
    assert_eq!(settings.augment.sampling.temperature, 0.5);
    assert_eq!(settings.augment.sampling.penalty_window, 9);
    let again: Table = settings.to_toml().parse().unwrap();
    assert_eq!(Settings::resolve_trusted(&again, Path::new("."), &[]).unwrap(), settings);
}

#[test]
fn the_students_table_holds_its_training() {
    let task =
        "[student]\nmodel = \"x\"\nclip_norm = 2\nclass_weights = \"balanced\"\nsnapshot_steps = 9";
    let student = Settings::resolve(&task.parse().unwrap(), Path::new("."), &[]).unwrap().student;
    assert_eq!((student.model.as_str(), student.training.clip_norm), ("x", 2.0));
    assert_eq!(student.training.class_weights, crate::student::train::ClassWeights::Balanced);
    assert_eq!((student.snapshot_steps, student.training.min_steps), (9, 60));
}

#[test]
fn a_recording_is_found_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ledger.jsonl"), "").unwrap();
    let task: Table = "[teacher]\nmodel = \"replay:ledger.jsonl\"".parse().unwrap();
    let settings = Settings::resolve(&task, folder.path(), &[]).unwrap();
    let wanted = format!("replay:{}", folder.path().join("ledger.jsonl").display());
    assert_eq!(settings.teacher.model, wanted);
}

#[test]
fn errors_name_the_key() {
    let message = |text: &str| {
        Settings::resolve(&text.parse().unwrap(), Path::new("."), &[]).unwrap_err().to_string()
    };
    assert!(message("[student]\nepoch = 3").contains("epoch"));
    assert!(message("[student]\nlearning_rate = 3.0").contains("student.learning_rate"));
    assert!(message("[student]\nepochs = 0").contains("student.epochs"));
    let renamed = message("[relabel]\ncontextual_calibration = true");
    assert!(renamed.contains("unknown field `contextual_calibration`, expected"), "{renamed}");
    assert!(renamed.contains("`calibration`"), "{renamed}");
    assert!(message("[student]\nsoft_labels = 1.5").contains("student.soft_labels"));
    assert!(message("[student]\nstages = \"three\"").contains("synthetic_then_gold"));
    assert!(message("[augment]\ntexts_per_request = 0").contains("augment.texts_per_request"));
    assert!(message("[augment]\nrepeat_penalty = 0.0").contains("augment.repeat_penalty"));
    assert!(message("[run]\nseeds = \"x\"").contains("string"));
    assert!(message("[audit.patterns]\nbadge = \"(\"").contains("audit.patterns: \"badge\""));
    let error = Settings::resolve(&Table::new(), Path::new("."), &["epochs=3".into()]).unwrap_err();
    assert!(matches!(error, ConfigError::Override { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--set table.key=value"));
}

#[test]
fn the_last_override_of_a_key_counts_and_makes_up_for_wrong_ones() {
    let resolve = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        Settings::resolve(&Table::new(), Path::new("."), &overrides)
    };
    let wrong = "student.epochs=many";
    assert!(resolve(&[wrong]).unwrap_err().to_string().contains(wrong));
    assert!(resolve(&[wrong, "student.batch_size=4"]).is_err());
    let settings = resolve(&[wrong, "student.batch_size=4", "student.epochs = 3"]).unwrap();
    assert_eq!(settings.student.training.epochs, 3);
    assert_eq!(settings.student.training.batch_size, 4);
    assert!(resolve(&["student.epochs=3", wrong]).is_err(), "the last one is wrong");
    assert!(resolve(&["epochs", "epochs"]).is_err(), "two that set nothing");
}

#[test]
fn no_teacher_is_named_unless_somebody_names_one() {
    let settings = Settings::resolve(&Table::new(), Path::new("."), &[]).unwrap();
    assert_eq!(settings.teacher.model, "");
    assert_eq!(settings.with(&[]).unwrap().teacher.model, "");
    assert_eq!(settings.student.model, "distilbert-base-uncased");
}

#[test]
fn limits_and_their_hints() {
    let error =
        |text: &str| Settings::resolve(&text.parse().unwrap(), Path::new("."), &[]).unwrap_err();
    let few = error("[relabel]\ncandidates = 1");
    assert_eq!(few.to_string(), "relabel.candidates is 1: it must be at least 2");
    assert!(few.hint().unwrap().contains("--set relabel.candidates="));
    for text in [
        "[run]\nseeds = 0",
        "[teacher]\nreplicas = 0",
        "[teacher]\nkv_type = \"q4_0\"\nflash_attention = \"off\"",
        "[augment]\nclasses_shown = 1",
        "[augment]\nmax_tokens = 5",
        "[augment]\nbeta = [5.0, 0.0]",
        "[augment]\ntop_p = 0.0",
        "[augment]\ntemperature = nan",
        "[filter]\nrouge_l = 2.5",
        "[filter]\nmin_probability = -0.1",
    ] {
        assert!(matches!(error(text), ConfigError::OutOfRange { .. }), "{text}");
    }
    assert!(error("[student]\nepoch = 3").hint().unwrap().contains("promptmix plan"));
}

#[test]
fn texts_are_drawn_at_a_lower_temperature_than_the_papers_unless_the_task_says_otherwise() {
    let temperature = |toml: &str| {
        let task: Table = toml.parse().unwrap();
        let settings = Settings::resolve(&task, Path::new("."), &[]).unwrap();
        settings.augment.sampling.temperature
    };
    assert_eq!(temperature(""), 0.7);
    assert_eq!(temperature("[augment]\nper_class = 7"), 0.7);
    assert_eq!(temperature("[augment]\ntemperature = 1.0"), 1.0);
}

#[test]
fn the_published_behaviour_lies_between_the_task_and_the_flags() {
    let task: Table = "[augment]\nconstrained = true\nmin_p = 0.1\n\
         [student]\nlearning_rate = 5e-4\nstages = \"synthetic_then_gold\""
        .parse()
        .unwrap();
    let mut overrides = paper_overrides(&task);
    overrides.push("relabel.gold=false".to_owned());
    let settings = Settings::resolve(&task, Path::new("."), &overrides).unwrap();
    let AugmentSettings { constrained, unique_per_text, truncated_percent, sampling, .. } =
        settings.augment;
    assert_eq!((constrained, unique_per_text, truncated_percent), (false, 10, true));
    let RelabelSettings { calibration, all_up_to, free_text, gold, .. } = settings.relabel;
    assert_eq!((calibration, all_up_to, free_text, gold), (Calibration::None, 0, true, false));
    assert_eq!(settings.filter.rouge_l, 2.0);
    // Where a value depends on the models, the task's own wins; what it leaves out is the paper's.
    let training = &settings.student.training;
    assert_eq!((sampling.min_p, training.learning_rate), (0.1, 5e-4));
    assert_eq!((training.stages, training.min_steps), (crate::student::train::Stages::Mixed, 0));

    // The row of a comparison keeps its method, whatever the other rows try.
    let tried = ["augment.mix=0.0", "augment.per_class=7"].map(str::to_owned);
    let row = paper_row_overrides(&task, &tried);
    let row = Settings::resolve(&task, Path::new("."), &row).unwrap().augment;
    assert_eq!((row.mix, row.per_class, row.unique_per_text), (1.0, 7, 10));

    // with() on the settings of a run gives the same.
    let later = Settings::resolve(&task, Path::new("."), &[]).unwrap().with(&overrides).unwrap();
    assert_eq!(later, settings);
}
