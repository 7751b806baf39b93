//! `promptmix predict` in a pipe: it answers at once, in constant memory, and exits quietly.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::support::TestDir;

/// A trained student of three classes, small enough for thousands of texts.
const STUDENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/student/bert");

fn start(dir: &TestDir, more: &[&str]) -> (Child, ChildStdin, ChildStdout) {
    let args = [&["predict", "--model", STUDENT], more].concat();
    let mut command = dir.program(&args);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, stdin, stdout)
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_client_that_waits_for_each_answer_gets_it() {
    let dir = TestDir::new();
    let (mut child, mut stdin, stdout) = start(&dir, &[]);
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().try_for_each(|line| send.send(line.unwrap()))
    });
    // One at a time, three times: growing windows must not wait for more texts.
    for text in ["my card", "the train", "why"] {
        writeln!(stdin, "{text}").unwrap();
        let answer = receive.recv_timeout(Duration::from_secs(60)).expect("an answer");
        assert_eq!(rows(&answer)[0]["text"], text);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_input() {
    let dir = TestDir::new();
    let (mut child, mut stdin, stdout) = start(&dir, &[]);
    let mut answers = BufReader::new(stdout);
    let mut peak_after = |count: usize| {
        std::thread::scope(|scope| {
            let stdin = &mut stdin;
            scope.spawn(move || {
                for at in 0..count {
                    writeln!(stdin, "text {at}: where is my lost card{}?", " now".repeat(at % 9))
                        .unwrap();
                }
            });
            let mut line = String::new();
            for _ in 0..count {
                line.clear();
                assert!(answers.read_line(&mut line).unwrap() > 0);
            }
        });
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let tenth = peak_after(10_000);
    let whole = peak_after(90_000);
    assert!(whole < tenth + 8 * 1024, "{tenth} kB after a tenth, {whole} kB after the whole");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_closes_the_pipe_ends_it_quietly() {
    let dir = TestDir::new();
    let (mut child, mut stdin, stdout) = start(&dir, &["--abstain-below", "0.5"]);
    writeln!(stdin, "my card").unwrap();
    let mut answers = BufReader::new(stdout);
    answers.read_line(&mut String::new()).unwrap();
    drop(answers);
    // It may exit before everything is written.
    for _ in 0..10_000 {
        if writeln!(stdin, "the train").is_err() {
            break;
        }
    }
    drop(stdin);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(errors, "");
}

#[test]
fn below_the_threshold_there_is_no_label() {
    let dir = TestDir::new();
    let file = dir.write("texts.txt", "my card\nthe train\n");
    let file = file.to_str().unwrap();
    let predict =
        |more: &[&str]| dir.run(&[&["predict", "--model", STUDENT, "--file", file], more].concat());
    let output = predict(&["--abstain-below", "1"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, "no label for 2 of 2 texts (100.0 %): below a probability of 1\n");
    for row in rows(&String::from_utf8(output.stdout).unwrap()) {
        assert_eq!(row["label"], Value::Null);
        assert_eq!(row["probability"], row["probabilities"][row["best"].as_str().unwrap()]);
    }
    let output = predict(&["--abstain-below", "0", "--quiet"]);
    assert!(output.stderr.is_empty());
    for row in rows(&String::from_utf8(output.stdout).unwrap()) {
        assert!(row["label"].is_string() && row["label"] == row["best"]);
    }
    let plain = rows(&String::from_utf8(predict(&[]).stdout).unwrap());
    assert!(plain.iter().all(|row| row.get("best").is_none()));
    assert_eq!(predict(&["--abstain-below", "1.5"]).status.code(), Some(2));
}

/// The program with these arguments and this text on its standard input.
fn piped(dir: &TestDir, more: &[&str], input: &[u8]) -> (i32, String, String) {
    let (mut child, mut stdin, stdout) = start(dir, more);
    let input = input.to_vec();
    // It may exit before everything is written.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let (mut out, mut errors) = (String::new(), String::new());
    let mut stdout = stdout;
    stdout.read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    writer.join().unwrap();
    (child.wait().unwrap().code().unwrap(), out, errors)
}

#[test]
fn every_format_gives_the_same_answers_and_keeps_the_other_columns() {
    let dir = TestDir::new();
    let predict = |name: &str, text: &str| {
        let file = dir.write(name, text);
        rows(&dir.ok(&["predict", "--model", STUDENT, "--file", file.to_str().unwrap()]))
    };
    let plain = predict("x.txt", "my card\nthe train, late\n");
    assert_eq!(plain.len(), 2);
    let same = |found: &[Value], id: [Value; 2]| {
        for ((found, plain), id) in found.iter().zip(&plain).zip(id) {
            let mut found = found.clone();
            assert_eq!(found.as_object_mut().unwrap().remove("id"), Some(id));
            assert_eq!(found, *plain);
        }
    };
    let ids = ["1", "2"].map(Value::from);
    same(&predict("x.csv", "id,text\n1,my card\n2,\"the train, late\"\n"), ids.clone());
    same(&predict("x.csv", "\u{feff}id;text\r\n1;my card\r\n2;the train, late\r\n"), ids);
    let jsonl =
        "{\"id\": 7, \"text\": \"my card\"}\n{\"text\": \"the train, late\", \"id\": [8]}\n";
    let ids = [Value::from(7), serde_json::json!([8])];
    same(&predict("x.jsonl", jsonl), ids.clone());
    same(&predict("x.json", &format!("[{}]", jsonl.trim().replace('\n', ","))), ids);
}

#[test]
fn a_row_without_a_text_gets_a_reason_and_the_others_an_answer() {
    let dir = TestDir::new();
    for (name, text, reason) in [
        ("x.txt", "my card\n\nthe train\n", "x.txt:2:1: empty text"),
        ("x.csv", "id,text\n1,my card\n2,\n3,the train\n", "x.csv:3:3: empty text"),
        ("x.csv", "id,text\n1,my card\n2\n3,the train\n", "x.csv:3:1: invalid CSV: 1 field"),
        (
            "x.jsonl",
            "{\"text\":\"my card\"}\n{\"text\":null}\n{\"text\":\"the train\"}\n",
            "x.jsonl:2:9: text must be a string, found null",
        ),
        (
            "x.jsonl",
            "{\"text\":\"my card\"}\n{\n{\"text\":\"the train\"}\n",
            "x.jsonl:2:1: invalid JSON",
        ),
    ] {
        let file = dir.write(name, text);
        let mut args = vec!["predict", "--model", STUDENT, "--file", name];
        let output = dir.run(&args);
        let errors = crate::support::check_failure(&output);
        assert!(errors.contains("1 of 3 rows could not be classified"), "{errors}");
        let found = rows(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(found[1]["label"], Value::Null);
        let found_reason = found[1]["reason"].as_str().unwrap();
        assert!(found_reason.starts_with(reason), "{found_reason}");
        assert!(found[0]["label"].is_string() && found[2]["label"].is_string(), "{name}");
        assert!(found[0].get("reason").is_none());
        args.extend(["--to", "csv"]);
        let output = String::from_utf8(dir.run(&args).stdout).unwrap();
        let second = output.lines().nth(2).unwrap();
        assert!(second.contains(",,") && second.contains(reason), "{output}");
        std::fs::remove_file(file).unwrap();
    }
    let (code, out, _) = piped(&dir, &[], b"my c\xc3\xa4rd\n\xff\xfe\xfd\nthe train\n");
    let found = rows(&out);
    assert_eq!((code, found.len()), (2, 3));
    assert_eq!(found[1]["reason"], "stdin:2:1: not UTF-8: byte 0xff at offset 9");
}

#[test]
fn faults_of_a_whole_file_come_before_any_answer_and_name_its_own_flags() {
    let dir = TestDir::new();
    for (name, text, wanted, hint) in [
        ("x.csv", "id,words\n1,a\n", "x.csv:1:1: no column \"text\"", "--text-column"),
        ("x.csv", "text,text\na,b\n", "x.csv:1:1: more than one column \"text\"", "rename"),
        ("x.csv", "my card\nis lost\n", "x.csv:1:1: no column \"text\"", "add a header line"),
        ("x.doc", "my card\n", "x.doc: the format is not supported", ".txt"),
        ("x.csv", "", "x.csv: the file contains no texts", "add rows"),
        ("x.xlsx", "PK\u{3}\u{4}", "x.xlsx: it is a workbook or an archive", "as CSV"),
        ("x.parquet", "PAR1", "x.parquet: invalid Parquet", "hint"),
    ] {
        dir.write(name, text);
        let output = dir.run(&["predict", "--model", STUDENT, "--file", name]);
        assert!(output.stdout.is_empty(), "{name}");
        let errors = crate::support::check_failure(&output);
        assert!(errors.contains(wanted) && errors.contains(hint), "{errors}");
        assert!(!errors.contains("[data]") && !errors.contains("label-column"), "{errors}");
    }
    let errors = dir.fails(&["predict", "--model", STUDENT, "--file", "nowhere.csv"]);
    assert!(errors.contains("nowhere.csv: no such file") && !errors.contains("[data]"), "{errors}");
}

#[test]
fn a_pipe_is_read_as_what_it_is() {
    let dir = TestDir::new();
    let plain = rows(&piped(&dir, &[], b"my card\n").1);
    for input in
        ["{\"text\": \"my card\"}\n", "[{\"text\": \"my card\"}]", "{\n \"text\": \"my card\"\n}"]
    {
        let (code, out, errors) = piped(&dir, &[], input.as_bytes());
        assert_eq!((code, rows(&out), &*errors), (0, plain.clone(), "stdin: read as JSON\n"));
    }
    let (code, out, errors) = piped(&dir, &[], b"text\nmy card\n");
    assert_eq!((code, rows(&out), &*errors), (0, plain.clone(), "stdin: read as CSV\n"));
    let gzip = |text: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    };
    assert_eq!(rows(&piped(&dir, &[], &gzip(b"my card\n")).1), plain);
    // What is told can be contradicted, and brackets alone are no JSON.
    let json = b"{\"text\": \"my card\"}\n";
    let (_, out, errors) = piped(&dir, &["--format", "text"], json);
    assert_eq!((rows(&out)[0]["text"].as_str(), &*errors), (Some("{\"text\": \"my card\"}"), ""));
    let (_, out, errors) = piped(&dir, &["--quiet"], b"[urgent] my card\n{my} train\n");
    assert_eq!((rows(&out).len(), &*errors), (2, ""));
    let (code, out, errors) = piped(&dir, &["--text-column", "body"], b"my card\n");
    assert!(code == 2 && out.is_empty() && errors.contains("has no columns"), "{errors}");
    assert!(errors.contains("leave out --text-column"), "{errors}");
    for (format, input, found) in [
        ("jsonl", &b"id,text\n1,my card\n"[..], "this is not JSON: it looks like CSV"),
        ("csv", &json[..], "this is not CSV: it looks like JSON"),
    ] {
        let (code, out, errors) = piped(&dir, &["--format", format], input);
        assert!(code == 2 && out.is_empty(), "{out}");
        assert!(errors.contains(found) && errors.contains("--format"), "{errors}");
    }
    // A header with a doubled column is a header.
    for header in ["text,text", "id,text,Text "] {
        let row = "a,".repeat(header.split(',').count() - 1);
        let (code, out, errors) = piped(&dir, &[], format!("{header}\n{row}b\n").as_bytes());
        assert!(code == 2 && out.is_empty(), "{out}");
        assert!(errors.contains("stdin:1:1: more than one column \"text\""), "{errors}");
    }
    let (code, out, errors) = piped(&dir, &[], b"__label__a my card\n");
    assert_eq!((code, &*errors), (0, "stdin: read as fastText\n"));
    assert_eq!(rows(&out)[0]["text"], "my card");
    let (code, _, errors) = piped(&dir, &["--format", "jsonl"], b"my card\n");
    assert!(code == 2 && errors.contains("stdin:1:1: invalid JSON"), "{errors}");
}

#[test]
fn an_email_with_blank_lines_is_one_text() {
    let dir = TestDir::new();
    let mail = "Dear all,\r\n\r\nmy card, the \"new\" one, is lost.\r\n\r\nRegards\r\n";
    let (code, out, errors) = piped(&dir, &["--whole"], mail.as_bytes());
    assert_eq!((code, &*errors), (0, ""));
    let found = rows(&out);
    assert_eq!((found.len(), found[0]["text"].as_str()), (1, Some(mail.trim_end())));
    dir.write("mail.eml", mail);
    let args = ["predict", "--model", STUDENT, "--whole", "--file", "mail.eml"];
    assert_eq!(rows(&dir.ok(&args)), found);
    let (code, out, _) = piped(&dir, &["--whole"], b"\n \n");
    assert_eq!((code, rows(&out)[0]["reason"].as_str()), (2, Some("stdin:1:1: empty text")));
}

#[test]
fn csv_is_quoted_and_carries_the_columns_of_the_input() {
    let dir = TestDir::new();
    let csv = "id;subject;label;body\n7;\"a; \"\"b\"\"\";old;\"my, card\nis lost\"\n8;c;;\u{e9}\n";
    dir.write("x.csv", csv);
    let args = ["predict", "--model", STUDENT, "--file", "x.csv", "--to", "csv"];
    let output = dir.run(&args);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "x.csv: separated by \";\", text from \"subject\" and \"body\"\n"
    );
    let mut reader = csv::Reader::from_reader(&output.stdout[..]);
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(
        header,
        ["id", "subject", "input_label", "body", "label", "probability", "truncated", "reason"]
    );
    let found: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let first: Vec<&str> = found[0].iter().collect();
    assert_eq!(first[..4], ["7", "a; \"b\"", "old", "my, card\nis lost"]);
    assert_eq!(first[6..], ["false", ""]);
    assert_eq!(found[1].get(3), Some("\u{e9}"));
    // The same answer as for the joined text.
    let joined = dir.ok(&["predict", "--model", STUDENT, "a; \"b\"\n\nmy, card\nis lost"]);
    assert_eq!(rows(&joined)[0]["label"], first[4]);
    // The columns of CSV are those of the first row.
    let jsonl = b"{\"text\": \"my card\", \"n\": 1}\n{\"text\": \"x\", \"more\": {\"a\": 2}}\n";
    let (code, out, errors) = piped(&dir, &["--to", "csv"], jsonl);
    assert_eq!(code, 0, "{errors}");
    assert!(out.starts_with("text,n,label,") && out.lines().nth(2).unwrap().starts_with("x,,"));
    assert!(errors.contains("1 of 2 rows has columns that are not in the first row"), "{errors}");
}

#[test]
fn texts_that_are_cut_are_counted_and_marked() {
    let dir = TestDir::new();
    let long = "my card ".repeat(300);
    let input = format!("my card\n{long}\n");
    let (code, out, errors) = piped(&dir, &["--max-length", "10"], input.as_bytes());
    let found = rows(&out);
    assert_eq!((code, found[0].get("truncated"), &found[1]["truncated"]), (0, None, &true.into()));
    assert!(errors.contains("1 of 2 texts was cut to its first 10 tokens"), "{errors}");
    assert!(errors.contains("--max-length reads up to"), "{errors}");
    let (_, out, errors) = piped(&dir, &["--max-length", "10"], b"my card\n");
    assert_eq!((rows(&out).len(), &*errors), (1, ""));
    let errors = dir.fails(&["predict", "--model", STUDENT, "--max-length", "100000", "x"]);
    assert!(errors.contains("--max-length 100000") && errors.contains("use at most"), "{errors}");
}

#[test]
fn one_giant_word_is_refused_in_constant_memory() {
    let dir = TestDir::new();
    let (mut child, mut stdin, stdout) = start(&dir, &[]);
    let writer = std::thread::spawn(move || {
        stdin.write_all(b"my card\n").unwrap();
        for _ in 0..100 {
            stdin.write_all(&vec![b'a'; 1 << 20]).unwrap();
        }
        stdin.write_all(b"\nthe train\n").unwrap();
        stdin
    });
    let lines = BufReader::new(stdout).lines().take(3);
    let found = rows(&lines.map(Result::unwrap).collect::<Vec<_>>().join("\n"));
    assert_eq!(found[1]["reason"], "stdin:2:1: the row is longer than 16 MiB");
    assert!(found[2]["label"].is_string());
    if cfg!(target_os = "linux") {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 300 << 10, "{peak} kB");
    }
    drop(writer.join().unwrap());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
#[cfg(target_os = "linux")]
fn only_regular_files_are_read() {
    let dir = TestDir::new();
    assert!(std::process::Command::new("mkfifo").arg(dir.path("pipe")).status().unwrap().success());
    std::fs::create_dir(dir.path("folder")).unwrap();
    for file in ["pipe", "folder", "/dev/zero"] {
        for args in [&["predict", "--model", STUDENT, "--file", file][..], &["init", file, "task"]]
        {
            let errors = dir.fails(args);
            assert!(errors.contains(file) && errors.contains("file"), "{errors}");
        }
    }
    dir.task("");
    std::fs::remove_file(dir.path("task/test.jsonl")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path("task/test.jsonl")).unwrap();
    let errors = dir.fails(&["run", "task", "--out", "out"]);
    assert!(errors.contains("test.jsonl") && errors.contains("file"), "{errors}");
}

#[test]
fn a_run_stands_for_its_student_and_a_pointer_is_named() {
    let dir = TestDir::new();
    std::fs::create_dir_all(dir.path("run/student")).unwrap();
    for file in std::fs::read_dir(STUDENT).unwrap() {
        let file = file.unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        dir.write(&format!("run/student/{}", file.file_name().to_str().unwrap()), bytes);
    }
    let of_run = dir.ok(&["predict", "--model", "run", "my card"]);
    assert_eq!(of_run, dir.ok(&["predict", "--model", STUDENT, "my card"]));
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    dir.write("run/student/model.safetensors", pointer);
    let errors = dir.fails(&["predict", "--model", "run", "my card"]);
    assert!(errors.contains("git-lfs pointer") && errors.contains("git lfs pull"), "{errors}");
    dir.write("run/student/model.safetensors", "<!DOCTYPE html>");
    assert!(dir.fails(&["predict", "--model", "run", "my card"]).contains("web page"));
}

#[test]
fn an_empty_text_is_answered_with_a_reason() {
    let dir = TestDir::new();
    let output = dir.run(&["predict", "--model", STUDENT, ""]);
    let errors = crate::support::check_failure(&output);
    assert!(errors.contains("1 of 1 row could not be classified"), "{errors}");
    let found = rows(&String::from_utf8(output.stdout).unwrap());
    assert_eq!((found.len(), &found[0]["label"]), (1, &Value::Null));
    assert_eq!(found[0]["reason"], "TEXT:1:1: empty text");
    let (code, out, _) = piped(&dir, &["--whole"], b"");
    assert_eq!((code, rows(&out)[0]["reason"].as_str()), (2, Some("stdin:1:1: empty text")));
    assert_eq!(piped(&dir, &[], b""), (0, String::new(), String::new()));
}

#[test]
fn broken_rows_before_the_first_whole_one_take_no_columns_from_csv() {
    let dir = TestDir::new();
    let csv = |jsonl: &str| {
        let (code, out, _) = piped(&dir, &["--format", "jsonl", "--to", "csv"], jsonl.as_bytes());
        assert_eq!(code, 2);
        let mut reader = csv::Reader::from_reader(out.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        (header.join(","), reader.records().map(Result::unwrap).collect::<Vec<_>>())
    };
    let (header, found) = csv("{\"text\n{}\n{\"id\": 7, \"text\": \"my card\"}\n");
    assert_eq!(header, "id,text,label,probability,truncated,reason");
    assert_eq!((found[0].get(0), found[0].get(1)), (Some(""), Some("")));
    assert!(found[0].get(5).unwrap().starts_with("stdin:1:"), "{found:?}");
    assert!(found[1].get(5).unwrap().starts_with("stdin:2:"), "{found:?}");
    assert_eq!((found.len(), found[2].get(0), found[2].get(1)), (3, Some("7"), Some("my card")));
    // Not even one row is whole, or too many are broken to wait for it.
    let (header, found) = csv("{\n");
    assert_eq!((header.as_str(), found.len()), ("label,probability,truncated,reason", 1));
    let (header, found) = csv(&format!("{}{{\"text\": \"my card\"}}\n", "5\n".repeat(3000)));
    assert_eq!((header.as_str(), found.len()), ("label,probability,truncated,reason", 3001));
}

#[test]
fn a_client_that_writes_an_array_gets_each_answer() {
    let dir = TestDir::new();
    let (mut child, mut stdin, stdout) = start(&dir, &[]);
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().try_for_each(|line| send.send(line.unwrap()))
    });
    for object in
        ["[{\"text\": \"my card\"}", ", {\"text\": \"the train\"}", ", {\"text\": \"why\"}]"]
    {
        stdin.write_all(object.as_bytes()).unwrap();
        let answer = receive.recv_timeout(Duration::from_secs(60)).expect("an answer");
        assert!(object.contains(rows(&answer)[0]["text"].as_str().unwrap()));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}
