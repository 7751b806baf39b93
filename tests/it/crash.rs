//! Runs `scripts/crash` with a few kills; by default it makes two hundred.

use std::process::Command;

use crate::support::TestDir;

#[test]
fn every_killed_run_ends_like_an_undisturbed_one() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no python3, which scripts/crash is written in");
        return;
    }
    let dir = TestDir::new();
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/crash"))
        .args(["--kills", "12", "--seed", "7", "--program", env!("CARGO_BIN_EXE_promptmix")])
        .arg("--folder")
        .arg(dir.path("crash"))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{printed}{errors}");
    assert!(printed.contains("survived 12 of 12"), "{printed}");
}
