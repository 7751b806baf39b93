//! `promptmix doctor`: what this program can do on this machine.

mod template;

use clap::Args;
use serde_json::json;

use super::{build, models::presence};
use crate::{models, sandbox, student::BaseModel};

pub(super) use template::{TemplateCheckArgs, template_check};

#[derive(Args)]
pub(super) struct DoctorArgs {
    /// Look at the chat template of this teacher alone: a GGUF file, or a name from
    /// `promptmix models list`
    #[arg(long, value_name = "MODEL")]
    teacher: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn doctor(args: &DoctorArgs) -> anyhow::Result<()> {
    let device = match build::student_device() {
        Ok(device) => format!("{device:?}"),
        Err(error) => format!("none: {error}"),
    };
    let features: Vec<&str> = [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("pull", cfg!(feature = "pull")),
    ]
    .into_iter()
    .filter_map(|(name, on)| on.then_some(name))
    .collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let teacher = check_pocket_teacher();
    let student =
        BaseModel::open("pocket", &candle_core::Device::Cpu).map(|_| ()).map_err(|e| e.to_string());
    let sound = |result: &Result<(), String>| match result {
        Ok(()) => "loads".to_owned(),
        Err(error) => format!("DOES NOT LOAD: {error}"),
    };
    let templates = template::verdicts(args.teacher.as_deref())?;
    let models = models::known_models();
    if args.json {
        let embedded: Vec<_> = models::embedded_sizes()
            .into_iter()
            .map(|(role, bytes, sha256)| json!({"role": role, "bytes": bytes, "sha256": sha256}))
            .collect();
        let models: Vec<_> = models
            .iter()
            .map(|model| json!({"name": model.name, "role": model.role, "state": presence(model)}))
            .collect();
        println!(
            "{}",
            json!({
                "version": env!("CARGO_PKG_VERSION"), "features": features, "cores": cores,
                "student_device": device, "home": models::home(), "embedded": embedded,
                "sockets": sandbox::state().to_string(), "pocket_teacher": sound(&teacher),
                "pocket_student": sound(&student), "chat_templates": templates, "models": models,
            })
        );
    } else {
        println!("promptmix {}  features: {}", env!("CARGO_PKG_VERSION"), features.join(", "));
        println!("{cores} cores; student runs on: {device}");
        println!("own files: {}", models::home().display());
        println!("sockets: {}", sandbox::state());
        for (role, bytes, sha256) in models::embedded_sizes() {
            println!("built-in {role}: {:.1} MB, sha256 {}…", bytes as f64 / 1e6, &sha256[..16]);
        }
        println!("pocket teacher {}; pocket student {}", sound(&teacher), sound(&student));
        for template in &templates {
            println!("{template}");
        }
        let (here, missing): (Vec<_>, Vec<_>) = (models.iter())
            .filter(|model| !model.embedded)
            .partition(|model| presence(model) != "not pulled");
        for model in here {
            println!("{:<36} {:<8} {}", model.name, model.role, presence(model));
        }
        println!("{} more models are known by name: promptmix models list", missing.len());
    }
    anyhow::ensure!(
        teacher.is_ok() && student.is_ok(),
        "a built-in model does not load\nhint: build the program again from a clean checkout"
    );
    Ok(())
}

fn check_pocket_teacher() -> Result<(), String> {
    let settings = crate::config::Settings::default();
    build::teacher(&settings).map(|_| ()).map_err(|error| error.to_string())
}
