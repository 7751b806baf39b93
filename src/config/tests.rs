//! Layers and faults of settings.

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
    assert_eq!(Settings::resolve(&again, Path::new("."), &[]).unwrap(), settings);
}

#[test]
fn the_students_table_holds_its_training() {
    let task =
        "[student]\nmodel = \"x\"\nclip_norm = 2\nclass_weights = \"balanced\"\nsnapshot_steps = 9";
    let student = Settings::resolve(&task.parse().unwrap(), Path::new("."), &[]).unwrap().student;
    assert_eq!((student.model.as_str(), student.training.clip_norm), ("x", 2.0));
    assert_eq!(student.training.class_weights, crate::student::ClassWeights::Balanced);
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
fn faults_name_their_key() {
    let message = |text: &str| {
        Settings::resolve(&text.parse().unwrap(), Path::new("."), &[]).unwrap_err().to_string()
    };
    assert!(message("[student]\nepoch = 3").contains("epoch"));
    assert!(message("[student]\nlearning_rate = 3.0").contains("student.learning_rate"));
    assert!(message("[student]\nepochs = 0").contains("student.epochs"));
    assert!(message("[student]\nsoft_labels = 1.5").contains("student.soft_labels"));
    assert!(message("[student]\nstages = \"three\"").contains("synthetic_then_gold"));
    assert!(message("[augment]\ntexts_per_request = 0").contains("augment.texts_per_request"));
    assert!(message("[augment]\nrepeat_penalty = 0.0").contains("augment.repeat_penalty"));
    assert!(message("[run]\nseeds = \"x\"").contains("string"));
    assert!(Settings::resolve(&Table::new(), Path::new("."), &["epochs=3".into()]).is_err());
}
