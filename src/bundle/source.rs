//! The sources: the files that git tracks in a checkout and every crate they depend on, so that the
//! program can be built without a network.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{BundleError, entry::Entry, index::Kind};

/// The folder of the sources in a bundle.
pub(super) const FOLDER: &str = "source/";

/// The files of `checkout` that git tracks, the crates that `cargo vendor` copies into `scratch`,
/// and the configuration that points cargo to them.
///
/// # Errors
/// `checkout` is not a checkout, a tracked file is a link or missing, or git or cargo fails.
pub(super) fn gather(checkout: &Path, scratch: &Path) -> Result<Vec<Entry>, BundleError> {
    let mut entries = tracked(checkout)?;
    if !entries.iter().any(|entry| entry.path == "source/Cargo.lock") {
        return Err(BundleError::Tool {
            command: "git ls-files",
            message: format!("{} tracks no Cargo.lock", checkout.display()),
            hint: "give --source the top folder of a checkout of promptmix",
        });
    }
    fs::create_dir(scratch)
        .map_err(|source| BundleError::Write { path: scratch.to_owned(), source })?;
    let vendor = scratch.join("vendor");
    let config = vendored(checkout, &vendor)?;
    entries.push(Entry::text("source/.cargo/config.toml", Kind::Source, &config));
    walk(&vendor, "source/vendor", &mut entries)?;
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

fn tracked(checkout: &Path) -> Result<Vec<Entry>, BundleError> {
    const GIT: &str = "git ls-files";
    let hint = "give --source the top folder of a git checkout of promptmix";
    let fault = |message| BundleError::Tool { command: GIT, message, hint };
    let mut command = Command::new("git");
    command.arg("-C").arg(checkout).args(["ls-files", "-s", "-z"]);
    let output = run(GIT, &mut command, hint)?;
    let text = String::from_utf8(output.stdout)
        .map_err(|_| fault("a file's name is not UTF-8".to_owned()))?;
    let mut entries = Vec::new();
    for line in text.split_terminator('\0') {
        let (head, path) =
            line.split_once('\t').ok_or_else(|| fault(format!("unexpected output {line:?}")))?;
        let executable = match head.split(' ').next() {
            Some("100644") => false,
            Some("100755") => true,
            _ => return Err(fault(format!("{path} is not a regular file"))),
        };
        let file = checkout.join(path);
        entries.push(Entry::file(format!("{FOLDER}{path}"), Kind::Source, executable, file));
    }
    Ok(entries)
}

/// Runs `cargo vendor` and returns the configuration that it prints, with a path relative to the
/// sources.
fn vendored(checkout: &Path, vendor: &Path) -> Result<String, BundleError> {
    const VENDOR: &str = "cargo vendor";
    let hint = "cargo must be installed and all crates in its cache: run `cargo fetch --locked` in the checkout";
    let vendor = std::path::absolute(vendor)
        .map_err(|source| BundleError::Write { path: vendor.to_owned(), source })?;
    let mut command = Command::new("cargo");
    // In the checkout, which selects the toolchain. Offline, since only `models pull` may open
    // connections, and no other command may start a program that does.
    command.current_dir(checkout).args(["vendor", "--locked", "--offline"]).arg(&vendor);
    let output = run(VENDOR, &mut command, hint)?;
    let config = String::from_utf8_lossy(&output.stdout).into_owned();
    let absolute = vendor.to_string_lossy();
    let escaped = absolute.replace('\\', "\\\\");
    let config = config.replace(&*escaped, "vendor").replace(&*absolute, "vendor");
    if config.contains("directory = \"vendor\"") {
        Ok(config)
    } else {
        let message = "printed no configuration".to_owned();
        Err(BundleError::Tool { command: VENDOR, message, hint })
    }
}

/// Runs `command`; an error has the last lines of its stderr.
fn run(
    name: &'static str,
    command: &mut Command,
    hint: &'static str,
) -> Result<Output, BundleError> {
    let fault = |message| BundleError::Tool { command: name, message, hint };
    let output = command.output().map_err(|error| fault(format!("cannot start: {error}")))?;
    if output.status.success() {
        return Ok(output);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = errors.trim().lines().collect();
    Err(fault(lines[lines.len().saturating_sub(5)..].join("\n")))
}

/// Adds all files under `folder`, which is called `name` in the bundle.
fn walk(folder: &Path, name: &str, entries: &mut Vec<Entry>) -> Result<(), BundleError> {
    let read = |path: &Path, source| BundleError::Read { path: path.to_owned(), source };
    for item in fs::read_dir(folder).map_err(|source| read(folder, source))? {
        let item = item.map_err(|source| read(folder, source))?;
        let path: PathBuf = item.path();
        let kind = item.file_type().map_err(|source| read(&path, source))?;
        let last = item.file_name();
        let Some(last) = last.to_str() else {
            return Err(read(&path, io::Error::other("its name is not UTF-8")));
        };
        let name = format!("{name}/{last}");
        if kind.is_dir() {
            walk(&path, &name, entries)?;
        } else if kind.is_file() {
            let executable = is_executable(&item.metadata().map_err(|source| read(&path, source))?);
            entries.push(Entry::file(name, Kind::Source, executable, path));
        } else {
            return Err(read(&path, io::Error::other("it is not a regular file")));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}
