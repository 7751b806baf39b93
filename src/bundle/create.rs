//! Makes a bundle.

use std::{
    env, fs,
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use ed25519_dalek::SigningKey;

use super::{
    BundleError, Summary, Trust, Watch,
    contents::{self, Content, Entry},
    index::Kind,
    read::Bundle,
    sbom,
    write::{AddError, FinishError, Writer},
};
use crate::store::LocalModel;

/// What is to go into a bundle besides prompts, notes and bill.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The program's file.
    pub program: Option<PathBuf>,
    pub models: Vec<LocalModel>,
    /// A checkout of the program's sources; they go in with all that they depend on.
    pub source: Option<PathBuf>,
}

/// Writes a bundle of `selection` to `out`, signed with `key`. It has another name until it is whole.
///
/// # Errors
/// `out` exists, a file cannot be read or is written to meanwhile, a name cannot be in a bundle, `git` or
/// `cargo vendor` fail, the disk is full.
pub fn create(
    out: &Path,
    selection: &Selection,
    key: &SigningKey,
    watch: Watch,
) -> Result<Summary, BundleError> {
    if out.exists() {
        return Err(BundleError::Exists { path: out.to_owned() });
    }
    let part = Part(beside(out, "part"));
    let scratch = Part(beside(out, "vendor"));
    let (entries, models) = contents::gather(selection, &scratch.0)?;
    let write = |source| BundleError::Write { path: part.0.clone(), source };
    let file = fs::File::create_new(&part.0).map_err(write)?;
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file));
    let mut total = 0u64;
    for entry in &entries {
        total += entry.size()?;
    }
    let mut done = 0;
    let mut advance = |count| {
        done += count;
        watch(done, total.max(done));
    };
    for entry in &entries {
        add(&mut writer, entry, &part.0, &mut advance)?;
    }
    let bill = sbom::write(writer.members(), &models);
    let bill = Entry::text("sbom.cdx.json", Kind::Sbom, &bill);
    add(&mut writer, &bill, &part.0, &mut advance)?;
    let built_for = match selection.program {
        Some(_) => format!("{}-{}", env::consts::ARCH, env::consts::OS),
        None => String::new(),
    };
    let finished = writer.finish(models, built_for, key);
    let (file, _, _) = finished.map_err(|error| match error {
        FinishError::Index(error) => error,
        FinishError::Add(AddError::Read(source) | AddError::Write(source)) => write(source),
        FinishError::Add(AddError::Length) => BundleError::Moving { path: part.0.clone() },
    })?;
    file.into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .map_err(write)?;
    // What a reader would refuse must not leave the house.
    let summary = Bundle::open_file(&part.0, &Trust::Key(key.verifying_key()))?.summary();
    // No rename over a file that came meanwhile: a link fails where the name is taken.
    fs::hard_link(&part.0, out).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Err(BundleError::Exists { path: out.to_owned() }),
        // Not every file system has links.
        _ => fs::rename(&part.0, out)
            .map_err(|source| BundleError::Write { path: out.to_owned(), source }),
    })?;
    Ok(summary)
}

fn add(
    writer: &mut Writer<BufWriter<fs::File>>,
    entry: &Entry,
    out: &Path,
    advance: &mut dyn FnMut(u64),
) -> Result<(), BundleError> {
    let size = entry.size()?;
    let head = (entry.path.as_str(), entry.kind, entry.executable);
    let (added, from) = match &entry.content {
        Content::Bytes(bytes) => (writer.add(head, size, bytes.as_slice(), advance), out),
        Content::File(path) => {
            let file = fs::File::open(path)
                .map_err(|source| BundleError::Read { path: path.clone(), source })?;
            (writer.add(head, size, file, advance), path.as_path())
        }
    };
    added.map_err(|error| match error {
        AddError::Read(source) => BundleError::Read { path: from.to_owned(), source },
        AddError::Write(source) => BundleError::Write { path: out.to_owned(), source },
        AddError::Length => BundleError::Moving { path: from.to_owned() },
    })
}

/// A file or folder that is removed when this goes, unless it was renamed.
pub struct Part(pub PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        if self.0.is_dir() {
            let _ = fs::remove_dir_all(&self.0);
        } else {
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// The name of a temporary beside `path`, on the same disk.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.{ending}", std::process::id()));
    path.with_file_name(name)
}
