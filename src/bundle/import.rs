//! Takes over what a bundle holds, after all of it was verified.

use std::{
    collections::HashSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    BundleError, Summary, Trust, Watch,
    index::{Index, Kind, Member},
    part::{Part, set_mode},
    read::{Bundle, Nowhere, Sink},
};
use crate::models::{self, LocalModel, ModelError, Role};

/// Where things go. Models always go into the library.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Destinations<'a> {
    pub program: Option<&'a Path>,
    pub source: Option<&'a Path>,
}

/// What was taken over.
#[derive(Debug)]
pub(crate) struct Imported {
    pub summary: Summary,
    /// Each model, and its folder.
    pub models: Vec<(Role, String, PathBuf)>,
}

/// Verifies the whole bundle, then unpacks it beside its destinations, each segment verified once more
/// on the way (the file may have changed since), and gives everything its name at the end. What could
/// speak against a model is looked at before the first is installed.
///
/// # Errors
/// As [`super::verify`]; a destination exists; the bundle lacks what is asked for; the library refuses a
/// model.
pub(crate) fn import(
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
    let mut wanted = [to.program, to.source].into_iter().flatten();
    if let Some(taken) = wanted.find(|path| path.exists()) {
        return Err(BundleError::Exists { path: taken.to_owned() });
    }
    // Both passes count.
    bundle.walk(&mut Nowhere, &mut |done, total| watch(done, 2 * total))?;
    no_conflicts(bundle.index())?;
    let place = |path: &Path| Part::beside(path, "part");
    let library = (!summary.models.is_empty()).then(|| models::home().join("bundle"));
    let models = library.as_deref().map(place).transpose()?;
    let program = to.program.map(place).transpose()?;
    let source = to.source.map(place).transpose()?;
    let mut unpacker = Unpacker {
        models: models.as_ref().map(Part::path),
        program: program.as_ref().map(Part::path),
        source: source.as_ref().map(Part::path),
        open: None,
        opened: HashSet::new(),
    };
    bundle.walk(&mut unpacker, &mut |done, total| watch(total + done, 2 * total))?;
    let unpacked = models.as_ref().map_or(Path::new(""), Part::path);
    for (_, path) in bundle.index().models.iter().flat_map(|model| &model.files) {
        let path = unpacked.join(path);
        if path.extension().is_some_and(|end| end == "gguf" || end == "safetensors") {
            crate::model_file::check(&path).map_err(ModelError::from)?;
        }
    }
    let mut installed = Vec::new();
    for model in &bundle.index().models {
        let local = LocalModel {
            name: model.name.clone(),
            role: model.role,
            licence: model.licence.clone(),
            files: model
                .files
                .iter()
                .map(|(name, path)| (name.clone(), unpacked.join(path)))
                .collect(),
        };
        let folder =
            models::install(&local).map_err(|error| after(&installed, BundleError::from(error)))?;
        installed.push((model.role, model.name.clone(), folder));
    }
    if let (Some(part), Some(to)) = (&program, to.program) {
        part.finish_file(to).map_err(|error| after(&installed, error))?;
    }
    if let (Some(part), Some(to)) = (&source, to.source) {
        part.finish_folder(to).map_err(|error| after(&installed, error))?;
    }
    Ok(Imported { summary, models: installed })
}

/// `error`, and what had been installed before it.
fn after(installed: &[(Role, String, PathBuf)], error: BundleError) -> BundleError {
    if installed.is_empty() {
        return error;
    }
    let names: Vec<String> =
        installed.iter().map(|(role, name, _)| format!("the {role} {name}")).collect();
    BundleError::Partly { installed: names.join(", "), error: Box::new(error) }
}

/// No model of the bundle has the name of another one in the library, nor other content than this
/// program knows of that name.
fn no_conflicts(index: &Index) -> Result<(), BundleError> {
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
            let there = folder.join(file);
            if installed && (!there.is_file() || models::sha256_of(&there)? != hash(path)) {
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
                    hint: "ask whoever made the bundle where the model is from".into(),
                }));
            }
        }
    }
    Ok(())
}

fn taken(role: Role, name: &str, path: PathBuf) -> BundleError {
    BundleError::from(ModelError::Taken { role, name: name.to_owned(), path })
}

/// Writes members into fresh folders. Their paths were judged when the index was read, and nothing but
/// our own plain files and folders is in there to lead a path elsewhere.
struct Unpacker<'a> {
    models: Option<&'a Path>,
    program: Option<&'a Path>,
    source: Option<&'a Path>,
    open: Option<(PathBuf, fs::File)>,
    /// Folders of the sources that are readable to all already.
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

    /// Sources have the modes of a checkout, whatever the umask of this process is.
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
        let mut open = || -> io::Result<fs::File> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = fs::File::create_new(&path)?;
            // The umask keeps what is not said to be others' business to the owner: models stay so.
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
            // Models are made to last by the library; of many thousand sources the disk takes its time.
            Some((path, file)) if self.program == Some(path.as_path()) => {
                file.sync_all().map_err(|source| BundleError::Write { path, source })
            }
            _ => Ok(()),
        }
    }
}
