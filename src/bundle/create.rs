//! Creates a bundle.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use ed25519_dalek::SigningKey;

use super::{
    BundleError, Progress, Summary, Trust,
    contents::{self, Selection},
    entry::{Content, Entry},
    index::Kind,
    partial::Partial,
    read::{Bundle, Discard},
    sbom,
    write::{AddError, FinishError, Writer},
};
use crate::models;

/// Writes a bundle of `selection` to `out`, signed with `key`. It has a temporary name until it is
/// complete and has been read back and verified. Only its owner can read it (0600), since a model
/// trained on confidential texts may reveal them; the owner can grant more.
///
/// # Errors
/// `out` exists, a file cannot be read or changes meanwhile, a name is not allowed in a bundle,
/// `git` or `cargo vendor` fails, or the disk is full.
pub(crate) fn create(
    out: &Path,
    selection: &Selection,
    key: &SigningKey,
    progress: Progress,
) -> Result<Summary, BundleError> {
    if out.exists() {
        return Err(BundleError::Exists { path: out.to_owned() });
    }
    let part = Partial::beside(out, "part")?;
    let scratch = Partial::beside(out, "vendor")?;
    let (entries, models) = contents::gather(selection, scratch.path())?;
    let verified = verified(selection)?;
    let write = |source| BundleError::Write { path: part.path().to_owned(), source };
    let file = fs::File::create_new(part.path()).map_err(write)?;
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file));
    let mut total = 0u64;
    for entry in &entries {
        total += entry.size()?;
    }
    let mut done = 0;
    let mut advance = |count| {
        done += count;
        // The verification is the second half.
        progress(done, 2 * total.max(done));
    };
    for entry in &entries {
        add(&mut writer, entry, part.path(), &mut advance)?;
        let written = writer.members().last().map(|member| member.sha256.as_str());
        if let Content::File(path) = &entry.content
            && let Some(wanted) = verified.get(path)
            && written != Some(wanted)
        {
            return Err(BundleError::ChangedWhileRead { path: path.clone() });
        }
    }
    let bill = sbom::write(writer.members(), &models);
    let bill = Entry::text("sbom.cdx.json", Kind::Sbom, &bill);
    add(&mut writer, &bill, part.path(), &mut advance)?;
    let built_for = match selection.program {
        Some(_) => format!("{}-{}", env::consts::ARCH, env::consts::OS),
        None => String::new(),
    };
    let finished = writer.finish(models, built_for, key);
    let (file, _, _) = finished.map_err(|error| match error {
        FinishError::Index(error) => error,
        FinishError::Add(AddError::Read(source) | AddError::Write(source)) => write(source),
        FinishError::Add(AddError::Length) => {
            BundleError::ChangedWhileRead { path: part.path().to_owned() }
        }
    })?;
    file.into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .map_err(write)?;
    // A bundle that readers would refuse must not be handed out.
    let mut bundle = Bundle::open_file(part.path(), &Trust::Key(key.verifying_key()))?;
    bundle.walk(&mut Discard, &mut |read, length| {
        let share = u128::from(total) * u128::from(read) / u128::from(length.max(1));
        progress(total + share as u64, 2 * total);
    })?;
    let summary = bundle.summary();
    part.finish_file(out)?;
    Ok(summary)
}

/// The hashes of the model files when they were verified, to which the signed bytes are compared.
fn verified(selection: &Selection) -> Result<HashMap<PathBuf, String>, BundleError> {
    let files = selection.models.iter().flat_map(|model| &model.files);
    files.map(|(_, path)| Ok((path.clone(), models::sha256_of(path)?))).collect()
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
            let file = crate::fs::open_regular(path)
                .map_err(|source| BundleError::Read { path: path.clone(), source })?;
            (writer.add(head, size, file, advance), path.as_path())
        }
    };
    added.map_err(|error| match error {
        AddError::Read(source) => BundleError::Read { path: from.to_owned(), source },
        AddError::Write(source) => BundleError::Write { path: out.to_owned(), source },
        AddError::Length => BundleError::ChangedWhileRead { path: from.to_owned() },
    })
}
