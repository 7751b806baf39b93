//! `promptmix models`: lists, pulls, verifies, imports and removes models.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::{
    error::{self, CommandError},
    exit_status::FailedGate,
};
use crate::{
    counted::part,
    models::{self, Inspected, KnownModel, LocalModel, ModelError, Place, Role, Soundness},
};

#[derive(Args)]
pub(super) struct ModelsArgs {
    #[command(subcommand)]
    action: Action,
}

impl ModelsArgs {
    /// Whether the command may open connections: `pull` may, unless the environment forbids it.
    pub(super) fn may_connect(&self) -> bool {
        match self.action {
            #[cfg(feature = "pull")]
            Action::Pull { .. } => models::pull::check_online().is_ok(),
            _ => false,
        }
    }
}

#[derive(Subcommand)]
enum Action {
    /// List the known models and those in the library
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download a model from the Hugging Face hub; no other command opens a connection
    ///
    /// HF_ENDPOINT, HF_TOKEN and the proxy variables are honoured. With HF_HUB_OFFLINE=1 or
    /// --offline nothing is downloaded. Interrupted downloads are resumed.
    Pull {
        /// A name from `promptmix models list`, or `owner/repo` for any other model
        name: String,
        /// Files of `owner/repo`: one GGUF file for a teacher; none for a student's usual files
        files: Vec<String>,
        /// Name of the model in the library [default: its own name]
        #[arg(long = "name", value_name = "NAME")]
        keep_as: Option<String>,
        /// Commit or branch to pull, and to pin, instead of the pinned commit
        #[arg(long)]
        revision: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Hash every file of the models and compare it with the known hash
    Verify {
        /// Names from `promptmix models list` [default: all models on this machine]
        names: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy a local model into the library
    Import {
        /// A GGUF file or a Hugging Face folder
        path: PathBuf,
        /// Name of the model in the library [default: the name of the file or folder]
        #[arg(long)]
        name: Option<String>,
        /// Role of the model, if its files do not tell
        #[arg(long)]
        role: Option<RoleArg>,
        /// Licence to show in lists
        #[arg(long, default_value = "")]
        licence: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a model from the library
    Remove {
        /// Name of the model
        name: String,
        /// Role of the model, if a teacher and a student share the name
        #[arg(long)]
        role: Option<RoleArg>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    Teacher,
    Student,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Teacher => Self::Teacher,
            RoleArg::Student => Self::Student,
        }
    }
}

/// Runs the command. `offline` is the flag of that name.
pub(super) fn models(args: &ModelsArgs, quiet: bool, offline: bool) -> anyhow::Result<()> {
    match &args.action {
        Action::List { json } => list(*json),
        Action::Pull { name, files, keep_as, revision, json } => {
            if offline {
                return Err(ModelError::Offline {
                    by: "--offline".to_owned(),
                    hint: "omit it, or copy the model to this machine and run `promptmix models import`".to_owned(),
                }
                .into());
            }
            pull(name, files, keep_as.as_deref(), revision.clone(), quiet, *json)
        }
        Action::Verify { names, json } => verify(names, *json),
        Action::Import { path, name, role, licence, json } => {
            import(path, name.clone(), role.map(Role::from), licence, *json)
        }
        Action::Remove { name, role } => {
            let path = models::remove(role.map(Role::from), name)?;
            println!("{}", path.display());
            Ok(())
        }
    }
}

/// Where a model is, in one word or two.
pub(super) fn presence(model: &KnownModel) -> &'static str {
    match models::present(model.role, &model.name).map(|found| found.place) {
        Ok(Place::Embedded) => "built in",
        Ok(_) => "here",
        Err(_) => "not pulled",
    }
}

/// One model of the list.
#[derive(Serialize)]
struct Row {
    name: String,
    role: Role,
    repo: String,
    bytes: Option<u64>,
    /// Memory that a run needs, in MB; 0 if unknown.
    memory_mb: u64,
    licence: String,
    /// Chat template.
    chat: String,
    state: &'static str,
    path: Option<PathBuf>,
    pinned: bool,
    about: String,
}

impl Row {
    fn of(model: KnownModel, lock: &models::Lock) -> Self {
        let found = models::present(model.role, &model.name);
        let state = match &found {
            Ok(found) if found.place == Place::Embedded => "built in",
            Ok(found) if found.place == Place::Library => "library",
            Ok(found) if found.place == Place::Cache => "HF cache",
            Ok(_) => "here",
            Err(ModelError::Incomplete { .. } | ModelError::Extra { .. }) => "damaged",
            Err(_) => "not pulled",
        };
        let locked = lock.find(model.role, &model.name);
        let files = found.as_ref().map(|found| found.files.as_slice()).unwrap_or_default();
        let embedded = models::embedded_sizes().into_iter().find(|(role, ..)| *role == model.role);
        let embedded = embedded.filter(|_| model.embedded).map(|(_, bytes, _)| bytes as u64);
        let on_disk: u64 =
            files.iter().filter_map(|(_, path)| path.metadata().ok()).map(|meta| meta.len()).sum();
        let known = model.files.iter().map(|file| file.size).sum::<Option<u64>>();
        let known = known.filter(|bytes| *bytes > 0);
        let pulled = locked.map(|locked| locked.files.iter().map(|file| file.size).sum());
        Self {
            bytes: embedded.or(Some(on_disk).filter(|bytes| *bytes > 0)).or(known).or(pulled),
            path: files.first().and_then(|(_, path)| path.parent()).map(Path::to_owned),
            pinned: model.is_pinned() || locked.is_some(),
            state,
            name: model.name,
            role: model.role,
            repo: model.repo,
            memory_mb: model.memory,
            licence: model.licence,
            chat: model.chat,
            about: model.about,
        }
    }
}

fn list(json: bool) -> anyhow::Result<()> {
    let lock = models::Lock::read()?;
    let mut models = models::known_models();
    for (role, name) in models::library_names() {
        if models.iter().any(|model| model.role == role && model.name == name) {
            continue;
        }
        let locked = lock.find(role, &name);
        let text = |of: fn(&models::Locked) -> &String| locked.map(of).cloned().unwrap_or_default();
        models.push(KnownModel {
            role,
            embedded: false,
            repo: text(|locked| &locked.repo),
            revision: text(|locked| &locked.commit),
            files: Vec::new(),
            licence: text(|locked| &locked.licence),
            memory: 0,
            sentences: None,
            chat: String::new(),
            about: "from the library".to_owned(),
            name,
        });
    }
    let rows: Vec<Row> = models.into_iter().map(|model| Row::of(model, &lock)).collect();
    if json {
        println!("{}", serde_json::to_string(&rows)?);
        return Ok(());
    }
    println!(
        "{:<36} {:<8} {:>9} {:>8}  {:<13} {:<10} about",
        "name", "role", "size", "memory", "licence", "state"
    );
    for row in &rows {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let size = row.bytes.map_or("-".to_owned(), megabytes);
        let memory = match row.memory_mb {
            0 => "-".to_owned(),
            memory => megabytes(memory * 1_000_000),
        };
        println!(
            "{:<36} {:<8} {size:>9} {memory:>8}  {:<13} {:<10} {}",
            row.name,
            row.role,
            or_dash(&row.licence),
            row.state,
            row.about
        );
    }
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    match bytes as f64 / 1e6 {
        mb if mb >= 1000.0 => format!("{:.1} GB", mb / 1000.0),
        mb => format!("{mb:.1} MB"),
    }
}

#[cfg(feature = "pull")]
fn pull(
    name: &str,
    files: &[String],
    keep_as: Option<&str>,
    revision: Option<String>,
    quiet: bool,
    json: bool,
) -> anyhow::Result<()> {
    use models::pull::{Request, ad_hoc, pull};
    let models = models::known_models();
    let mut model = if name.contains('/') {
        let requested = ad_hoc(name, files)?;
        // The files of a known model get its name, however they were requested.
        let known =
            models.into_iter().find(|model| model.repo == name && model.files == requested.files);
        known.unwrap_or(requested)
    } else if files.is_empty() {
        models.into_iter().find(|model| model.name == name && !model.embedded).ok_or_else(|| {
            CommandError::new(
                format!("no known model {name:?} to pull"),
                "`promptmix models list` shows the names; `promptmix models pull owner/repo FILE` pulls any other model",
            )
        })?
    } else {
        return Err(CommandError::new(
            format!("the files of {name} are known"),
            "list files only with `owner/repo`",
        )
        .into());
    };
    if let Some(name) = keep_as {
        name.clone_into(&mut model.name);
    }
    let pulled = pull(&Request { model, revision }, &mut super::fetching::Bar::new(quiet))?;
    if !quiet {
        match (pulled.was_there, pulled.pinned_now) {
            (true, _) => eprintln!("already in the library; all hashes match"),
            (_, true) => eprintln!("pinned to commit {} in models.lock.toml", pulled.commit),
            _ => eprintln!("all hashes match the pinned ones"),
        }
    }
    for file in &pulled.files {
        let path = pulled.folder.join(&file.name);
        if json {
            println!("{}", json!({"file": path, "bytes": file.size, "sha256": file.sha256}));
        } else {
            println!("{}  {}", file.sha256, path.display());
        }
    }
    Ok(())
}

#[cfg(not(feature = "pull"))]
fn pull(
    _name: &str,
    _files: &[String],
    _keep_as: Option<&str>,
    _revision: Option<String>,
    _quiet: bool,
    _json: bool,
) -> anyhow::Result<()> {
    Err(CommandError::new(
        "this build cannot pull models",
        "copy the model to this machine and run `promptmix models import`",
    )
    .into())
}

fn verify(names: &[String], json: bool) -> anyhow::Result<()> {
    let files = models::inspect(names)?;
    let mut failed = 0;
    for Inspected { name, role, file, path, sha256, soundness, .. } in &files {
        let (state, error) = match soundness {
            Soundness::Sound => ("sound", None),
            Soundness::Unknown => ("no hash known", None),
            Soundness::Unsound(error) => ("DIFFERS", Some(error)),
        };
        failed += usize::from(error.is_some());
        if json {
            let error = error.map(|error| error::one_line(error));
            println!(
                "{}",
                json!({"name": name, "role": role, "file": file, "path": path, "sha256": sha256, "state": state, "error": error})
            );
        } else {
            let state = if state == "sound" { "OK" } else { state };
            println!("{state:<13}  {sha256:<64}  {}", path.display());
        }
        if let Some(error) = error {
            eprintln!("{}", error::render(error));
        }
    }
    if files.is_empty() {
        eprintln!("the library is empty: there is nothing to verify");
    }
    if failed > 0 {
        return Err(FailedGate::because(CommandError::new(
            format!("{} failed verification", part(failed, files.len(), "file")),
            "see the hint of each file above",
        ))
        .into());
    }
    Ok(())
}

fn import(
    path: &Path,
    name: Option<String>,
    role: Option<Role>,
    licence: &str,
    json: bool,
) -> anyhow::Result<()> {
    if !path.exists() {
        return Err(CommandError::new(
            format!("{} does not exist", path.display()),
            "give a GGUF file or a Hugging Face folder",
        )
        .into());
    }
    let is_student = path.is_dir() && path.join("model.safetensors").is_file();
    let role = role.unwrap_or(if is_student { Role::Student } else { Role::Teacher });
    let files = models::files_at(role, path)?;
    let name = name.unwrap_or_else(|| match path.is_dir() || files.is_empty() {
        true => models::plain_name(path),
        false => models::plain_name(&files[0].1),
    });
    let spec = path.to_str().ok_or_else(|| {
        CommandError::new(format!("the path {} is not valid UTF-8", path.display()), "rename it")
    })?;
    // A bare file name could also be the name of a model.
    let spec = if path.components().count() == 1 { format!("./{spec}") } else { spec.to_owned() };
    let mut model: LocalModel = models::local(role, &spec)?;
    model.name = name;
    if !licence.is_empty() {
        licence.clone_into(&mut model.licence);
    }
    let folder = models::install(&model)?;
    if json {
        println!("{}", json!({"name": model.name, "role": role, "folder": folder}));
    } else {
        println!("{}", folder.display());
    }
    Ok(())
}
