//! What users see of the command line: help texts, the demo's table, and the most likely errors. To
//! accept changed output, run `INSTA_UPDATE=always cargo test --release --test it snapshots`.

use std::{fs, process::Output};

use crate::support::{STUDENT, TINY, TestDir};

/// Compares `text` with `snapshots/NAME.snap`, after replacing what differs between machines and
/// versions.
fn compare(name: &str, text: &str, bench: &TestDir, more: &[(&str, &str)]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let folder = bench.path("").display().to_string();
    let folder = folder.trim_end_matches('/');
    settings.add_filter(&format!("(/private)?{}", regex::escape(folder)), "[DIR]");
    settings.add_filter(&regex::escape(env!("CARGO_MANIFEST_DIR")), "[SOURCE]");
    settings.add_filter(r"promptmix(-\w+)? \d+\.\d+\.\d+", "promptmix$1 [VERSION]");
    settings.add_filter(r"[0-9a-f]{64}", "[SHA256]");
    // clap pads empty lines.
    settings.add_filter(r"(?m) +$", "");
    settings.add_filter(r"\d{4,} bytes", "[SIZE] bytes");
    for (pattern, replacement) in more {
        settings.add_filter(pattern, *replacement);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A command and everything it printed.
fn transcript(args: &[&str], output: &Output) -> String {
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().expect("it was not killed");
    format!(
        "$ promptmix {}\n--- exit code: {code}\n--- stdout\n{stdout}--- stderr\n{stderr}",
        args.join(" ")
    )
}

#[test]
fn help_texts() {
    fn visit(bench: &TestDir, path: &[&str]) {
        let help = bench.ok(&[path, &["--help"]].concat());
        let name = [&["help"], path].concat().join("-");
        compare(&name, &help, bench, &[]);
        let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in commands.take_while(|line| !line.is_empty()) {
            // Further lines of a description are indented more.
            let Some(line) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) else {
                continue;
            };
            match line.split_whitespace().next() {
                None | Some("help") => {}
                Some(command) => visit(bench, &[path, &[command]].concat()),
            }
        }
    }
    visit(&TestDir::new(), &[]);
}

#[test]
fn the_result_table_of_the_demo() {
    let bench = TestDir::new();
    // Whether texts help so small a student differs between processors, too.
    let texts = ["--set", "student.texts=always"];
    let args = [&["demo", "--out", "out"], &texts[..], &TINY[..]].concat();
    let stdout = bench.ok(&args);
    // Figures differ between processors.
    let figures = [
        (r"[+-]?\d+\.\d", "N"),
        (r"(?m)\d+$", "N"),
        ("(no difference shown|a difference)", "[VERDICT]"),
        ("  +", "  "),
        // Left out where the processor has no instructions for 8 bits.
        (r"(?m)^predict --fast: .*\n", ""),
    ];
    compare("demo-table", &stdout, &bench, &figures);
}

/// Runs the program in `bench` and compares the transcript with the snapshot `error-NAME`.
fn error(name: &str, bench: &TestDir, args: &[&str]) {
    let output = bench.run(args);
    compare(&format!("error-{name}"), &transcript(args, &output), bench, &[]);
}

#[test]
fn errors_of_a_task() {
    let bench = TestDir::new();
    error("missing-task", &bench, &["run", "nowhere", "--out", "out"]);
    bench.write("examples.csv", "id,words,label\n1,I forgot my password,password\n");
    error("csv-with-another-column", &bench, &["init", "examples.csv", "task"]);
    bench.task("");
    let setting = "student.epoch=3";
    error("unknown-setting", &bench, &["run", "task", "--out", "out", "--set", setting]);
    bench.write("out/thesis.txt", "precious");
    error("folder-with-other-files", &bench, &["run", "task", "--out", "out"]);
    bench.write("task/test.jsonl", "{\"text\": \"the wifi is slow\", \"label\": \"wifi\"}\n");
    error("label-without-a-class", &bench, &["run", "task", "--out", "new"]);
}

#[test]
fn errors_of_models() {
    let bench = TestDir::new();
    bench.task("");
    let run = |name: &str, model: &str| {
        error(name, &bench, &["run", "task", "--out", "out", "--teacher", model]);
    };
    run("unknown-model", "gpt-9");
    let pocket = concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/teacher/pocket-teacher.gguf");
    bench.write("cut.gguf", &fs::read(pocket).unwrap()[..100_000]);
    run("truncated-gguf", "cut.gguf");
    let config = fs::read(format!("{STUDENT}/config.json")).unwrap();
    bench.write("student/config.json", config);
    error("student-without-weights", &bench, &["predict", "--model", "student", "a text"]);
    error("predict-without-model", &bench, &["predict", "a text"]);
}

#[test]
fn evaluation_before_training() {
    let bench = TestDir::new();
    bench.task("");
    bench.write(
        "texts.jsonl",
        "{\"text\": \"reset my login\", \"major\": \"password_reset\", \"relabel\": \"password_reset\", \"p\": 0.9}\n",
    );
    bench.ok(&["import", "task", "texts.jsonl", "--out", "out", "--student", STUDENT]);
    bench.ok(&["filter", "out"]);
    error("eval-before-train", &bench, &["eval", "out"]);
}

#[test]
fn completions_and_man_pages_leave_hidden_commands_out() {
    let bench = TestDir::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = bench.ok(&["completions", shell]);
        assert!(script.contains("bundle") && script.contains("redact"), "{shell}: {script}");
        assert!(!script.contains("teacher-worker"), "{shell}: {script}");
    }
    assert!(bench.ok(&["man"]).contains(".TH promptmix 1"));
    bench.ok(&["man", "--to", "man/man1"]);
    let pages: Vec<String> = fs::read_dir(bench.path("man/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for page in ["promptmix.1", "promptmix-run.1", "promptmix-models-pull.1"] {
        assert!(pages.iter().any(|name| name == page), "no {page} in {pages:?}");
    }
    assert!(!pages.iter().any(|name| name.contains("worker")), "{pages:?}");
    bench.write("file", "");
    assert!(bench.fails(&["man", "--to", "file"]).contains("hint: "));
}
