//! Imports the content of a bundle, after all of it was verified.

use std::{
    collections::HashSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    BundleError, Progress, Summary, Trust,
    index::{Index, Kind, Member, ModelEntry},
    newest::Newest,
    partial::{Partial, set_mode},
    read::{Bundle, Discard, Sink},
};
use crate::{
    interrupt,
    models::{self, LocalModel, ModelError, Role},
};

/// Where program and sources go. Models always go into the library.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Destinations<'a> {
    pub program: Option<&'a Path>,
    pub source: Option<&'a Path>,
    /// Takes a bundle that is older than one of the same signer that was imported before.
    pub downgrade: bool,
}

/// What was imported.
#[derive(Debug)]
pub(crate) struct Imported {
    pub summary: Summary,
    /// Each installed model and its folder.
    pub models: Vec<(Role, String, PathBuf)>,
}

/// Verifies the whole bundle, then unpacks it beside its destinations and moves everything there at
/// the end. Each segment is verified again while unpacking, since the file may have changed. All
/// models are checked before the first is installed.
///
/// # Errors
/// As for [`super::verify`]; also if a destination exists, the bundle lacks what is requested or
/// is older than one that was imported before, or the library refuses a model.
pub(crate) fn import(
    path: &Path,
    trust: &Trust,
    to: Destinations,
    progress: Progress,
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
    let mut wanted = [to.program, to.source].into_iter().flatten();
    if let Some(taken) = wanted.find(|path| path.exists()) {
        return Err(BundleError::Exists { path: taken.to_owned() });
    }
    for model in &bundle.index().models {
        let files: Vec<&str> = model.files.iter().map(|(name, _)| name.as_str()).collect();
        models::check_complete(model.role, Path::new(&model.name), &files)?;
    }
    // Each of the two passes is half of the progress.
    bundle.walk(&mut Discard, &mut |done, total| progress(done, 2 * total))?;
    check_conflicts(bundle.index())?;
    let partial = |path: &Path| Partial::beside(path, "part");
    let library = (!summary.models.is_empty()).then(|| models::home().join("bundle"));
    let models = library.as_deref().map(partial).transpose()?;
    let program = to.program.map(partial).transpose()?;
    let source = to.source.map(partial).transpose()?;
    let mut unpacker = Unpacker {
        models: models.as_ref().map(Partial::path),
        program: program.as_ref().map(Partial::path),
        source: source.as_ref().map(Partial::path),
        open: None,
        opened: HashSet::new(),
    };
    bundle.walk(&mut unpacker, &mut |done, total| progress(total + done, 2 * total))?;
    let unpacked = models.as_ref().map_or(Path::new(""), Partial::path);
    for (_, path) in bundle.index().models.iter().flat_map(|model| &model.files) {
        let path = unpacked.join(path);
        if path.extension().is_some_and(|end| end == "gguf" || end == "safetensors") {
            crate::model_file::check(&path).map_err(ModelError::from)?;
        }
    }
    let local = |model: &ModelEntry| LocalModel {
        name: model.name.clone(),
        role: model.role,
        licence: model.licence.clone(),
        files: model.files.iter().map(|(name, path)| (name.clone(), unpacked.join(path))).collect(),
    };
    let models: Vec<LocalModel> = bundle.index().models.iter().map(local).collect();
    let (newest, signer) = (Newest::read()?, summary.signer.to_string());
    if !to.downgrade {
        newest.check(&signer, &summary.created_by)?;
    }
    let mut installed = Vec::new();
    for model in &models {
        let folder =
            models::install(model).map_err(|error| after(&installed, BundleError::from(error)))?;
        installed.push((model.role, model.name.clone(), folder));
    }
    if let (Some(part), Some(to)) = (&program, to.program) {
        part.finish_file(to).map_err(|error| after(&installed, error))?;
    }
    if let (Some(part), Some(to)) = (&source, to.source) {
        part.finish_folder(to).map_err(|error| after(&installed, error))?;
    }
    newest.put(&signer, &summary.created_by).map_err(|error| after(&installed, error))?;
    Ok(Imported { summary, models: installed })
}

/// `error`, with the models that were installed before it.
fn after(installed: &[(Role, String, PathBuf)], error: BundleError) -> BundleError {
    if installed.is_empty() {
        return error;
    }
    let names: Vec<String> =
        installed.iter().map(|(role, name, _)| format!("the {role} {name}")).collect();
    BundleError::Interrupted { installed: names.join(", "), source: Box::new(error) }
}

/// Checks that no model of the bundle has the name of a different model in the library, or of one
/// in the manifest with other hashes.
fn check_conflicts(index: &Index) -> Result<(), BundleError> {
    let hash = |path: &str| {
        let member = index.members.iter().find(|member| member.path == path);
        member.map_or("", |member| member.sha256.as_str())
    };
    for model in &index.models {
        let known = models::known_models();
        let known =
            known.iter().find(|known| (known.role, &known.name) == (model.role, &model.name));
        let folder = models::library_root().join(model.role.to_string()).join(&model.name);
        let installed = folder.is_dir();
        if installed && fs::read_dir(&folder).map_or(0, Iterator::count) != model.files.len() {
            return Err(taken(model.role, &model.name, folder));
        }
        for (file, path) in &model.files {
            let own = folder.join(file);
            if installed && (!own.is_file() || models::sha256_of(&own)? != hash(path)) {
                return Err(taken(model.role, &model.name, folder));
            }
            let wanted =
                known.and_then(|known| known.files.iter().find(|known| known.name == *file));
            if let Some(wanted) = wanted.and_then(|known| known.sha256.clone())
                && wanted != hash(path)
            {
                return Err(BundleError::from(ModelError::HashMismatch {
                    path: path.into(),
                    found: hash(path).to_owned(),
                    wanted,
                    by: "the manifest of this program".into(),
                    hint: "ask the maker of the bundle for the origin of the model".into(),
                }));
            }
        }
    }
    Ok(())
}

fn taken(role: Role, name: &str, path: PathBuf) -> BundleError {
    BundleError::from(ModelError::Taken { role, name: name.to_owned(), path })
}

/// Writes members into new folders. Their paths were checked when the index was read, and the
/// folders contain no links that could lead out of them.
struct Unpacker<'a> {
    models: Option<&'a Path>,
    program: Option<&'a Path>,
    source: Option<&'a Path>,
    open: Option<(PathBuf, fs::File)>,
    /// Source folders that already have their mode.
    opened: HashSet<PathBuf>,
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

    /// Gives the folders of the sources the mode that they have in a checkout, regardless of the
    /// umask.
    fn open_folders(&mut self, path: &Path) -> io::Result<()> {
        let Some(top) = self.source else { return Ok(()) };
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(top)) {
            if !self.opened.insert(folder.to_owned()) {
                break;
            }
            set_mode(folder, 0o755)?;
        }
        Ok(())
    }
}

impl Sink for Unpacker<'_> {
    fn begin(&mut self, member: &Member) -> Result<(), BundleError> {
        self.open = None;
        let Some(path) = self.target(member) else { return Ok(()) };
        // Its folder may be removed already, and must not be made anew.
        if interrupt::requested() {
            interrupt::wait_for_the_end();
        }
        let mut open = || -> io::Result<fs::File> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = fs::File::create_new(&path)?;
            // Models stay private: the umask is 077.
            match member.kind {
                Kind::Program => set_mode(&path, 0o755)?,
                Kind::Source => {
                    self.open_folders(&path)?;
                    set_mode(&path, if member.is_executable() { 0o755 } else { 0o644 })?;
                }
                _ => {}
            }
            Ok(file)
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
        match self.open.take() {
            // The library syncs models; syncing thousands of source files would take too long.
            Some((path, file)) if self.program == Some(path.as_path()) => {
                file.sync_all().map_err(|source| BundleError::Write { path, source })
            }
            _ => Ok(()),
        }
    }
}
