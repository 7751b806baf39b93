use super::*;

#[test]
fn a_pipe_in_place_of_a_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (role, model, file) in [
        (Role::Teacher, "teacher.gguf", "teacher.gguf"),
        (Role::Teacher, "teacher", "teacher"),
        (Role::Student, "", "config.json"),
    ] {
        let pipe = folder.path().join(file);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = files_at(role, &folder.path().join(model)).unwrap_err();
        let message = hint::one_line(&error);
        assert!(message.contains(file) && message.contains("it is a named pipe"), "{message}");
    }
    let missing = files_at(Role::Teacher, &folder.path().join("missing.gguf")).unwrap();
    assert_eq!(missing.len(), 1, "whoever opens it says that it is missing");
}
