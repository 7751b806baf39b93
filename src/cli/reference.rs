//! Keeps `docs/cli.md` equal to the commands and flags that the program has.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path};

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::Cli;

/// Flags that every command has; they are described once.
const GLOBAL: [&str; 5] = ["help", "version", "quiet", "offline", "verbose"];

#[test]
fn cli_md_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let expected = reference();
    if env::var_os("PROMPTMIX_BLESS").is_some() {
        fs::write(&path, expected).expect("docs/ is writable");
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/cli.md is out of date; regenerate it with\n  \
         PROMPTMIX_BLESS=1 cargo test --release --lib cli_md"
    );
}

fn reference() -> String {
    let mut program = Cli::command();
    program.build();
    let mut out = String::from(
        "# Command line\n\n\
         <!-- Generated from the command definitions in src/cli. To update, run\n     \
         PROMPTMIX_BLESS=1 cargo test --release --lib cli_md -->\n\n",
    );
    let _ = writeln!(out, "{}\n", about(&program));
    out += "Results go to stdout, everything else to stderr. The exit code is 0 for success, 1 for a failed \
            check\n(`audit`, `bundle verify`, `models verify`, `export`) and 2 for an error.\n\n";
    out += "| command | |\n|---|---|\n";
    for command in visible(&program) {
        let (name, link) = (command.get_name(), anchor(command));
        let _ = writeln!(out, "| [`{name}`](#{link}) | {} |", first_line(command));
    }
    let mut explained = BTreeMap::new();
    out += "\n## Options of every command\n\n";
    for name in GLOBAL {
        let arg = program.get_arguments().find(|arg| arg.get_id() == name);
        let arg = arg.expect("every name in GLOBAL is a flag");
        out += &item(arg, "promptmix", &mut explained);
    }
    for command in visible(&program) {
        section(command, 2, &mut explained, &mut out);
    }
    out
}

/// The subcommands that users see.
fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let hidden = |command: &&Command| command.is_hide_set() || command.get_name() == "help";
    command.get_subcommands().filter(move |command| !hidden(command))
}

fn full_name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

/// The fragment that GitHub gives the command's heading.
fn anchor(command: &Command) -> String {
    full_name(command).replace(' ', "-")
}

fn first_line(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn about(command: &Command) -> String {
    let text = command.get_long_about().or(command.get_about());
    text.map(ToString::to_string).unwrap_or_default()
}

fn section(
    command: &Command,
    level: usize,
    explained: &mut BTreeMap<String, String>,
    out: &mut String,
) {
    let _ = writeln!(out, "\n{} {}\n", "#".repeat(level), full_name(command));
    let _ = writeln!(out, "{}\n", about(command));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect::<Vec<_>>();
    let _ = writeln!(out, "```text\n{}\n```", usage.join("\n"));
    let own = |arg: &&Arg| !arg.is_hide_set() && !GLOBAL.contains(&arg.get_id().as_str());
    let mut headings: Vec<Option<&str>> = vec![None];
    for arg in command.get_arguments().filter(own) {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    let (values, flags): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(own).partition(|arg| arg.is_positional());
    let mut list = |title: &str, args: &[&Arg]| {
        if !args.is_empty() {
            let _ = writeln!(out, "\n{title}:\n");
        }
        out.extend(args.iter().map(|arg| item(arg, full_name(command), explained)));
    };
    list("Arguments", &values);
    for heading in headings {
        let flags: Vec<&Arg> =
            flags.iter().copied().filter(|arg| arg.get_help_heading() == heading).collect();
        list(heading.unwrap_or("Options"), &flags);
    }
    for command in visible(command) {
        section(command, level + 1, explained, out);
    }
}

/// An argument or a flag of `command` as an item of a list. `explained` has the long explanations
/// so far, each with its command.
fn item(arg: &Arg, command: &str, explained: &mut BTreeMap<String, String>) -> String {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value = arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>"));
    let value = if takes_value { value.collect::<Vec<_>>().join(" ") } else { String::new() };
    let names = [
        arg.get_short().map(|short| format!("-{short}")),
        arg.get_long().map(|long| format!("--{long}")),
    ];
    let names = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let name = format!("{names} {value}");
    let text = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut paragraphs: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
    let first = &mut paragraphs[0];
    let defaults: Vec<_> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let defaults = defaults.join(",");
    if takes_value && !defaults.is_empty() {
        let _ = write!(first, " [default: `{defaults}`]");
    }
    let values: Vec<String> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if takes_value && !values.is_empty() {
        let _ = write!(first, " [possible values: {}]", values.join(", "));
    }
    // Several commands share flags with long explanations; the first one has them.
    if paragraphs.len() > 1 {
        match explained.get(&text) {
            Some(command) => {
                let link = format!(" (see [`{command}`](#{}))", command.replace(' ', "-"));
                paragraphs.truncate(1);
                paragraphs[0] += &link;
            }
            None => {
                explained.insert(text, command.to_owned());
            }
        }
    }
    // Indented, so that further paragraphs stay in the item.
    let text = paragraphs.join("\n\n  ");
    format!("- `{}`: {text}\n", name.trim())
}
