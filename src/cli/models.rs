//! `promptmix models`: what is known by name, what is on this machine, and how it comes and goes.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::exit_status::FailedGate;
use crate::models::{self, Inspected, KnownModel, LocalModel, ModelError, Place, Role, Soundness};

#[derive(Args)]
pub(super) struct ModelsArgs {
    #[command(subcommand)]
    action: Action,
}

impl ModelsArgs {
    /// Whether the command may open connections: only in a build that can, and where the environment
    /// does not forbid it.
    pub(super) fn connects(&self) -> bool {
        match self.action {
            #[cfg(feature = "pull")]
            Action::Pull { .. } => models::pull::check_online().is_ok(),
            _ => false,
        }
    }
}

#[derive(Subcommand)]
enum Action {
    /// List the models that are known by name, and those of the library
    List {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model from the Hugging Face hub; the only command that opens a connection
    ///
    /// HF_ENDPOINT, HF_TOKEN and the proxy variables are obeyed; with HF_HUB_OFFLINE=1 or --offline
    /// nothing is fetched. A download that was cut is gone on with.
    Pull {
        /// A name from `promptmix models list`, or `owner/repo` of any other model
        name: String,
        /// The files of `owner/repo`: a GGUF file, or nothing for a student's usual ones
        files: Vec<String>,
        /// The name to keep it under, if not its own
        #[arg(long = "name", value_name = "NAME")]
        keep_as: Option<String>,
        /// Another commit or branch than the pinned one; it is pinned in its place
        #[arg(long)]
        revision: Option<String>,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Read every model from end to end and compare it with what is known of it
    Verify {
        /// Names from `promptmix models list`; without any, all models of this machine
        names: Vec<String>,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a model that was copied here into the library
    Import {
        /// A GGUF file or a Hugging Face folder
        path: PathBuf,
        /// Its name, if not that of the file or folder
        #[arg(long)]
        name: Option<String>,
        /// What it is for, if the files do not say it
        #[arg(long)]
        role: Option<RoleArg>,
        /// Its licence, to be shown with it
        #[arg(long, default_value = "")]
        licence: String,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a model from the library
    Remove {
        /// Its name
        name: String,
        /// Which one, where a teacher and a student have that name
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
                    hint: "leave it out, or copy the model here and run `promptmix models import`"
                        .to_owned(),
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

/// Where a model is, in a word.
pub(super) fn presence(model: &KnownModel) -> &'static str {
    match models::present(model.role, &model.name).map(|found| found.place) {
        Ok(Place::Embedded) => "built in",
        Ok(_) => "here",
        Err(_) => "not pulled",
    }
}

/// Name, role, repo, bytes, memory in MB, licence, state, and where it is.
struct Line {
    name: String,
    role: Role,
    repo: String,
    bytes: Option<u64>,
    memory: u64,
    licence: String,
    chat: String,
    state: String,
    path: Option<PathBuf>,
    pinned: bool,
    about: String,
}

fn line(model: KnownModel, lock: &models::Lock) -> Line {
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
    let known =
        model.files.iter().map(|file| file.size).sum::<Option<u64>>().filter(|bytes| *bytes > 0);
    let written = locked.map(|locked| locked.files.iter().map(|file| file.size).sum());
    Line {
        bytes: embedded.or(Some(on_disk).filter(|bytes| *bytes > 0)).or(known).or(written),
        path: files.first().and_then(|(_, path)| path.parent()).map(Path::to_owned),
        pinned: model.is_pinned() || locked.is_some(),
        state: state.to_owned(),
        name: model.name,
        role: model.role,
        repo: model.repo,
        memory: model.memory,
        licence: model.licence,
        chat: model.chat,
        about: model.about,
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
            chat: String::new(),
            about: "from the library".to_owned(),
            name,
        });
    }
    let lines: Vec<Line> = models.into_iter().map(|model| line(model, &lock)).collect();
    if json {
        let rows: Vec<_> = lines
            .iter()
            .map(|line| {
                json!({
                    "name": line.name, "role": line.role, "repo": line.repo, "bytes": line.bytes,
                    "memory_mb": line.memory, "licence": line.licence, "chat": line.chat,
                    "state": line.state, "path": line.path, "pinned": line.pinned, "about": line.about,
                })
            })
            .collect();
        println!("{}", serde_json::Value::from(rows));
        return Ok(());
    }
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    println!(
        "{:<36} {:<8} {:>9} {:>8}  {:<13} {:<10} about",
        "name", "role", "size", "memory", "licence", "state"
    );
    for line in &lines {
        let size = line.bytes.map_or_else(String::new, megabytes);
        let memory = Some(line.memory)
            .filter(|mb| *mb > 0)
            .map_or_else(String::new, |mb| megabytes(mb * 1_000_000));
        println!(
            "{:<36} {:<8} {:>9} {:>8}  {:<13} {:<10} {}",
            line.name,
            line.role,
            or_dash(size),
            or_dash(memory),
            or_dash(line.licence.clone()),
            line.state,
            line.about
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
        let by_hand = ad_hoc(name, files)?;
        // The manifest's own files under the manifest's name, however they are asked for.
        let known =
            models.into_iter().find(|model| model.repo == name && model.files == by_hand.files);
        known.unwrap_or(by_hand)
    } else {
        anyhow::ensure!(
            files.is_empty(),
            "{name} brings its own files\nhint: files are named only with `owner/repo`"
        );
        models.into_iter().find(|model| model.name == name && !model.embedded).ok_or_else(|| {
            anyhow::anyhow!(
                "no model {name:?} can be pulled\nhint: `promptmix models list` shows the names; `promptmix models pull owner/repo FILE` fetches any other"
            )
        })?
    };
    if let Some(name) = keep_as {
        name.clone_into(&mut model.name);
    }
    let pulled = pull(&Request { model, revision }, &mut super::fetching::Bar::new(quiet))?;
    if !quiet {
        match (pulled.was_there, pulled.pinned_now) {
            (true, _) => eprintln!("it was there already, and is what it should be"),
            (_, true) => eprintln!("pinned to commit {} in models.lock.toml", pulled.commit),
            _ => eprintln!("the same as when it was pulled first"),
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
    anyhow::bail!(
        "this build cannot fetch models\nhint: copy the model here and take it over with `promptmix models import`"
    )
}

fn verify(names: &[String], json: bool) -> anyhow::Result<()> {
    let files = models::inspect(names)?;
    let mut unsound = 0;
    for Inspected { name, role, file, path, sha256, soundness, .. } in &files {
        let (word, error) = match soundness {
            Soundness::Sound => ("sound", None),
            Soundness::Unknown => ("no hash known", None),
            Soundness::Unsound(error) => ("DIFFERS", Some(error.to_string())),
        };
        unsound += usize::from(error.is_some());
        if json {
            println!(
                "{}",
                json!({"name": name, "role": role, "file": file, "path": path, "sha256": sha256, "state": word, "error": error})
            );
        } else {
            println!("{word:<13}  {sha256:<64}  {}", path.display());
        }
        if let Some(error) = error {
            eprintln!("error: {error}");
        }
    }
    if files.is_empty() {
        eprintln!("no model here has a known hash: the library is empty");
    }
    if unsound > 0 {
        let all = files.len();
        return Err(FailedGate::because(format!(
            "{unsound} of {all} files are not what they should be\nhint: the lines above say for each what to do"
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
    anyhow::ensure!(
        path.exists(),
        "there is no {}\nhint: give a GGUF file or a Hugging Face folder",
        path.display()
    );
    let is_student = path.is_dir() && path.join("model.safetensors").is_file();
    let role = role.unwrap_or(if is_student { Role::Student } else { Role::Teacher });
    let files = models::files_at(role, path)?;
    let name = name.unwrap_or_else(|| match path.is_dir() || files.is_empty() {
        true => models::plain_name(path),
        false => models::plain_name(&files[0].1),
    });
    let spec = path.to_str().ok_or_else(|| {
        anyhow::anyhow!("{} is not text in UTF-8\nhint: rename it", path.display())
    })?;
    // A bare file name would be looked for as a model's name as well.
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
