//! Takes over what a bundle holds, after all of it was verified.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    BundleError, Summary, Trust, Watch,
    create::{Part, beside},
    index::{Kind, Member},
    read::{Bundle, Nowhere, Sink},
};
use crate::store::{self, LocalModel, Role};

/// Where things go. Models always go into the library.
#[derive(Debug, Clone, Copy, Default)]
pub struct Destinations<'a> {
    pub program: Option<&'a Path>,
    pub source: Option<&'a Path>,
}

/// What was taken over.
#[derive(Debug)]
pub struct Imported {
    pub summary: Summary,
    /// Each model, and its folder.
    pub models: Vec<(Role, String, PathBuf)>,
}

/// Verifies the whole bundle, then unpacks it beside its destinations, each segment verified once more
/// on the way (the file may have changed since), and gives everything its name at the end.
///
/// # Errors
/// As [`super::verify`]; a destination exists; the bundle lacks what is asked for; the library refuses a
/// model.
pub fn import(
    path: &Path,
    trust: &Trust,
    to: Destinations,
    watch: Watch,
) -> Result<Imported, BundleError> {
    let mut bundle = Bundle::open_file(path, trust)?;
    let summary = bundle.summary();
    if to.program.is_some() && !summary.program {
        let (flag, with) = ("--program-to", "`bundle create` without --no-program");
        return Err(BundleError::Missing { what: "program", flag, with });
    }
    if to.source.is_some() && summary.sources == 0 {
        let (flag, with) = ("--source-to", "`bundle create --source DIR`");
        return Err(BundleError::Missing { what: "sources", flag, with });
    }
    for taken in [to.program, to.source].into_iter().flatten().filter(|path| path.exists()) {
        return Err(BundleError::Exists { path: taken.to_owned() });
    }
    // Both passes count.
    bundle.walk(&mut Nowhere, &mut |done, total| watch(done, 2 * total))?;
    let models = Part(beside(&store::home().join("bundle"), "part"));
    let program = to.program.map(|path| Part(beside(path, "part")));
    let source = to.source.map(|path| Part(beside(path, "part")));
    let mut unpacker = Unpacker {
        models: (!summary.models.is_empty()).then_some(models.0.as_path()),
        program: program.as_ref().map(|part| part.0.as_path()),
        source: source.as_ref().map(|part| part.0.as_path()),
        open: None,
    };
    bundle.walk(&mut unpacker, &mut |done, total| watch(total + done, 2 * total))?;
    let mut installed = Vec::new();
    for model in &bundle.index().models {
        let local = LocalModel {
            name: model.name.clone(),
            role: model.role,
            licence: model.licence.clone(),
            files: model
                .files
                .iter()
                .map(|(name, path)| (name.clone(), models.0.join(path)))
                .collect(),
        };
        installed.push((model.role, model.name.clone(), store::install(&local)?));
    }
    for (part, to) in [(&program, to.program), (&source, to.source)] {
        if let (Some(part), Some(to)) = (part, to) {
            fs::rename(&part.0, to)
                .map_err(|source| BundleError::Write { path: to.to_owned(), source })?;
        }
    }
    Ok(Imported { summary, models: installed })
}

/// Writes members into fresh folders. Their paths were judged when the index was read, and nothing but
/// our own plain files and folders is in there to lead a path elsewhere.
struct Unpacker<'a> {
    models: Option<&'a Path>,
    program: Option<&'a Path>,
    source: Option<&'a Path>,
    open: Option<(PathBuf, fs::File)>,
}

impl Unpacker<'_> {
    fn target(&self, member: &Member) -> Option<PathBuf> {
        match member.kind {
            Kind::Model => Some(self.models?.join(&member.path)),
            Kind::Program => Some(self.program?.to_owned()),
            Kind::Source => {
                let inside = member.path.strip_prefix(super::source::FOLDER)?;
                Some(self.source?.join(inside))
            }
            Kind::Note | Kind::Prompt | Kind::Sbom => None,
        }
    }
}

impl Sink for Unpacker<'_> {
    fn begin(&mut self, member: &Member) -> Result<(), BundleError> {
        self.open = None;
        let Some(path) = self.target(member) else { return Ok(()) };
        let open = || -> io::Result<fs::File> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(
                &mut options,
                if member.is_executable() { 0o755 } else { 0o644 },
            );
            options.open(&path)
        };
        let file = open().map_err(|source| BundleError::Write { path: path.clone(), source })?;
        self.open = Some((path, file));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        match &mut self.open {
            Some((path, file)) => file
                .write_all(bytes)
                .map_err(|source| BundleError::Write { path: path.clone(), source }),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), BundleError> {
        self.open = None;
        Ok(())
    }
}
