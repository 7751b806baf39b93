//! The documentation, held to what it describes: links lead somewhere, files and tests that are named
//! exist, and the program knows every command and flag that is shown.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Most lines of the README: what is reference belongs into `docs/`.
const README_LINES: usize = 220;

/// A page of the documentation.
struct Page {
    /// Relative to the repository's root.
    name: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<Page> {
    let mut names: Vec<String> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned).into();
    for entry in fs::read_dir(root().join("docs")).expect("docs/ is readable") {
        let name = entry.expect("docs/ is readable").file_name();
        let name = name.to_str().expect("a page has a plain name");
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    let read = |name: String| {
        let text = fs::read_to_string(root().join(&name)).expect("a page is readable");
        Page { name, text }
    };
    names.into_iter().map(read).collect()
}

/// The lines outside of fenced code blocks, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The lines of fenced code blocks, with their numbers from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        fenced && !fence
    })
}

/// The code spans of a line.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    headings.map(|(_, line)| anchor(line.trim_start_matches('#').trim())).collect()
}

fn check(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_readme_is_short() {
    let text = fs::read_to_string(root().join("README.md")).expect("README.md is readable");
    assert!(text.lines().count() <= README_LINES, "README.md has {} lines", text.lines().count());
}

#[test]
fn relative_links_resolve() {
    let mut faults = Vec::new();
    for page in pages() {
        let folder = root().join(&page.name);
        let folder = folder.parent().expect("a page lies in a folder");
        for (number, line) in prose(&page.text) {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            for target in targets.filter(|target| !target.contains("://")) {
                let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
                let path = match file {
                    "" => root().join(&page.name),
                    file => folder.join(file),
                };
                let known = fragment.is_empty()
                    || fs::read_to_string(&path)
                        .is_ok_and(|text| anchors(&text).iter().any(|anchor| anchor == fragment));
                if !path.exists() || !known {
                    faults.push(format!("{}:{number}: {target} leads nowhere", page.name));
                }
            }
        }
    }
    check(&faults);
}

/// A file and, after `::`, a test in it: `tests/it/audit.rs::masked_texts_are_trained_on_and_shown`.
#[test]
fn files_and_tests_that_are_named_exist() {
    let mut faults = Vec::new();
    // The changelog names what was there then.
    for page in pages().iter().filter(|page| page.name != "CHANGELOG.md") {
        let in_prose = prose(&page.text)
            .flat_map(|(number, line)| spans(line).map(move |span| (number, span)));
        let in_code = code(&page.text)
            .flat_map(|(number, line)| line.split_whitespace().map(move |word| (number, word)));
        for (number, span) in in_prose.chain(in_code).filter(|(_, span)| {
            ["src/", "tests/", "scripts/", "prompts/"].iter().any(|top| span.starts_with(top))
        }) {
            let word = span.split([' ', '*', '<']).next().unwrap_or_default();
            let (file, test) = word.split_once("::").unwrap_or((word, ""));
            let path = root().join(file);
            let found = match test {
                "" => path.exists(),
                test => fs::read_to_string(&path)
                    .is_ok_and(|text| text.contains(&format!("fn {test}("))),
            };
            if !found {
                faults.push(format!("{}:{number}: there is no {word}", page.name));
            }
        }
    }
    check(&faults);
}

/// `docs/cli.md` comes from the program itself.
#[test]
fn commands_and_flags_that_are_shown_exist() {
    let mut faults = Vec::new();
    let mut help = BTreeMap::new();
    for page in
        pages().iter().filter(|page| !["docs/cli.md", "CHANGELOG.md"].contains(&&*page.name))
    {
        let in_code = code(&page.text);
        let in_prose = prose(&page.text)
            .flat_map(|(number, line)| spans(line).map(move |span| (number, span)));
        for (number, line) in in_code.chain(in_prose) {
            for command in commands(line) {
                if let Err(fault) = is_known(command, &mut help) {
                    faults.push(format!("{}:{number}: {fault}: {command}", page.name));
                }
            }
        }
    }
    check(&faults);
    assert!(help.len() > 10, "the pages show commands");
}

/// What a shell would run of the program in `line`: pipes, redirections and comments separate.
fn commands(line: &str) -> impl Iterator<Item = &str> {
    let line = line.split(" #").next().unwrap_or_default();
    let parts = line.split(['|', '<', '>', ';', '&']).map(str::trim);
    parts.filter_map(|part| {
        // `strace -f promptmix demo` runs it too.
        let wrapped = ["strace ", "unshare "].iter().any(|wrapper| part.starts_with(wrapper));
        let start = if wrapped { part.find(" promptmix ")? + 1 } else { 0 };
        part[start..].strip_prefix("promptmix ")
    })
}

/// Whether the program has the command and each of its flags, after its own help.
fn is_known(command: &str, help: &mut BTreeMap<Vec<String>, String>) -> Result<(), String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    // `promptmix [OPTIONS]` speaks of no command, and so does `promptmix --offline`.
    let Some(first) = words.first().filter(|word| word.starts_with(|c: char| c.is_lowercase()))
    else {
        return Ok(());
    };
    let mut name = vec![(*first).to_owned()];
    if ["models", "bundle"].contains(first) {
        name.extend(words.get(1).map(|word| (*word).to_owned()));
    }
    if !help.contains_key(&name) {
        let output = Command::new(program()).args(&name).arg("--help").output();
        let output = output.expect("the program starts");
        if !output.status.success() {
            return Err(format!("there is no command {}", name.join(" ")));
        }
        let text = String::from_utf8(output.stdout).expect("the help is a text");
        help.insert(name.clone(), text);
    }
    let known: Vec<&str> = help[&name]
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with('-'))
        .collect();
    let flags = words.iter().map(|word| word.split(['=', ',', '\'', '"']).next().unwrap_or(word));
    // A lone dash and `-v` bundled as `-vv` need no line of their own.
    let mut flags = flags.filter(|word| word.starts_with('-') && !["-", "-vv"].contains(word));
    match flags.find(|flag| !known.contains(flag)) {
        Some(flag) => Err(format!("{} has no {flag}", name.join(" "))),
        None => Ok(()),
    }
}

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_promptmix").into()
}

#[test]
fn anchors_are_those_of_github() {
    assert_eq!(anchor("report.json"), "reportjson");
    assert_eq!(anchor("Standard output and exit codes"), "standard-output-and-exit-codes");
    assert_eq!(anchor("`--set`, twice"), "--set-twice");
}
