//! `promptmix models`: what is known by name, and fetching it.

use clap::{Args, Subcommand};

use crate::store::{self, KnownModel};

#[derive(Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    action: Action,
}

impl ModelsArgs {
    /// Whether the command may open connections.
    pub fn connects(&self) -> bool {
        matches!(self.action, Action::Pull { .. })
    }
}

#[derive(Subcommand)]
enum Action {
    /// List the models that are known by name
    List {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model from the Hugging Face hub; the only command that opens a connection
    Pull {
        /// A name from `promptmix models list`
        name: String,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn models(args: &ModelsArgs) -> anyhow::Result<()> {
    match &args.action {
        Action::List { json } => list(*json),
        Action::Pull { name, json } => pull(name, *json),
    }
}

/// Where a model is, in a word.
pub fn presence(model: &KnownModel) -> &'static str {
    if model.embedded {
        "built in"
    } else if model.cached().is_ok() {
        "here"
    } else {
        "not pulled"
    }
}

fn list(json: bool) -> anyhow::Result<()> {
    let models = store::known_models();
    if json {
        let rows: Vec<_> = models
            .iter()
            .map(|model| serde_json::json!({"name": model.name, "role": model.role, "repo": model.repo, "licence": model.licence, "state": presence(model)}))
            .collect();
        println!("{}", serde_json::Value::from(rows));
        return Ok(());
    }
    for model in &models {
        let state = presence(model);
        println!(
            "{:<36} {:<8} {state:<11} {:<11} {}",
            model.name, model.role, model.licence, model.about
        );
    }
    Ok(())
}

#[cfg(feature = "pull")]
fn pull(name: &str, json: bool) -> anyhow::Result<()> {
    let models = store::known_models();
    let Some(model) = models.iter().find(|model| model.name == name && !model.embedded) else {
        anyhow::bail!(
            "no model {name:?} can be pulled\nhint: `promptmix models list` shows the names"
        );
    };
    for (path, sha256) in store::pull(model)? {
        if json {
            println!("{}", serde_json::json!({"file": path, "sha256": sha256}));
        } else {
            println!("{sha256}  {}", path.display());
        }
    }
    Ok(())
}

#[cfg(not(feature = "pull"))]
fn pull(_name: &str, _json: bool) -> anyhow::Result<()> {
    anyhow::bail!("this build cannot fetch models\nhint: copy the model here and give its path")
}
