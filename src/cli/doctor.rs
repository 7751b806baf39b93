//! `promptmix doctor`: what this build can do on this machine.

mod template;

use clap::Args;
use serde_json::json;

use super::{
    build,
    error::{self, CommandError},
    models::presence,
};
use crate::{
    config::Settings,
    models::{self, KnownModel},
    sandbox,
    student::BaseModel,
    teacher::llama,
};

pub(super) use template::{TemplateCheckArgs, template_check};

#[derive(Args)]
pub(super) struct DoctorArgs {
    /// Check only this teacher's chat template: a GGUF file or a name from `promptmix models list`
    #[arg(long, value_name = "MODEL")]
    teacher: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found out about this build and this machine.
struct Checkup {
    features: Vec<&'static str>,
    cores: usize,
    /// llama.cpp's kernels for this CPU, in a build that has them for several.
    kernels: Option<String>,
    student_device: String,
    pocket_teacher: String,
    pocket_student: String,
    templates: Vec<template::Verdict>,
    models: Vec<KnownModel>,
}

/// The state of an embedded model that loads.
const LOADS: &str = "loads";

/// Runs the command.
pub(super) fn doctor(args: &DoctorArgs) -> anyhow::Result<()> {
    let checkup = Checkup::of(args.teacher.as_deref())?;
    if args.json {
        println!("{}", checkup.json());
    } else {
        checkup.print();
    }
    if [&checkup.pocket_teacher, &checkup.pocket_student].iter().any(|state| *state != LOADS) {
        return Err(CommandError::new(
            "a built-in model does not load",
            "rebuild promptmix from a clean checkout",
        )
        .into());
    }
    Ok(())
}

impl Checkup {
    fn of(teacher: Option<&str>) -> anyhow::Result<Self> {
        let features = [
            ("cuda", cfg!(feature = "cuda")),
            ("metal", cfg!(feature = "metal")),
            ("vulkan", cfg!(feature = "vulkan")),
            ("cpu-variants", cfg!(feature = "cpu-variants")),
            ("pull", cfg!(feature = "pull")),
        ];
        let student_device = match build::student_device() {
            Ok(device) => format!("{device:?}"),
            Err(error) => format!("none: {}", error::one_line(&*error)),
        };
        let pocket = Settings::default().with(&["teacher.model=pocket".to_owned()])?;
        let pocket_teacher = match build::teacher(&pocket) {
            Ok(_) => LOADS.to_owned(),
            Err(error) => format!("DOES NOT LOAD: {}", error::one_line(&*error)),
        };
        let pocket_student = match BaseModel::open("pocket", &candle_core::Device::Cpu) {
            Ok(_) => LOADS.to_owned(),
            Err(error) => format!("DOES NOT LOAD: {}", error::one_line(&error)),
        };
        Ok(Self {
            features: features.into_iter().filter_map(|(name, on)| on.then_some(name)).collect(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernels: llama::cpu_kernels().map(|kernels| match kernels {
                Ok(path) => path.display().to_string(),
                Err(error) => format!("none: {}", error::one_line(&error)),
            }),
            student_device,
            pocket_teacher,
            pocket_student,
            templates: template::verdicts(teacher)?,
            models: models::known_models(),
        })
    }

    fn json(&self) -> serde_json::Value {
        let embedded: Vec<_> = models::embedded_sizes()
            .into_iter()
            .map(|(role, bytes, sha256)| json!({"role": role, "bytes": bytes, "sha256": sha256}))
            .collect();
        let models: Vec<_> = (self.models.iter())
            .map(|model| json!({"name": model.name, "role": model.role, "state": presence(model)}))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"), "features": self.features, "cores": self.cores,
            "cpu_kernels": self.kernels,
            "student_device": self.student_device, "home": models::home(), "embedded": embedded,
            "sockets": sandbox::state().to_string(), "pocket_teacher": self.pocket_teacher,
            "pocket_student": self.pocket_student, "chat_templates": self.templates,
            "models": models,
        })
    }

    fn print(&self) {
        let line = |label: &str, text: String| println!("{label:<16}{text}");
        line("version", env!("CARGO_PKG_VERSION").to_owned());
        line(
            "features",
            if self.features.is_empty() { "none".into() } else { self.features.join(", ") },
        );
        line("CPU cores", self.cores.to_string());
        if let Some(kernels) = &self.kernels {
            line("CPU kernels", kernels.clone());
        }
        line("student device", self.student_device.clone());
        line("home", models::home().display().to_string());
        line("sockets", sandbox::state().to_string());
        for (role, bytes, sha256) in models::embedded_sizes() {
            let state = match role {
                models::Role::Teacher => &self.pocket_teacher,
                models::Role::Student => &self.pocket_student,
            };
            let megabytes = bytes as f64 / 1e6;
            let label = format!("pocket {role}");
            line(&label, format!("{state}; {megabytes:.1} MB, sha256 {}…", &sha256[..16]));
        }
        if !self.templates.is_empty() {
            println!("\nchat templates");
        }
        for template in &self.templates {
            println!("{template}");
        }
        let (present, missing): (Vec<_>, Vec<_>) = (self.models.iter())
            .filter(|model| !model.embedded)
            .partition(|model| presence(model) != "not pulled");
        println!("\nmodels");
        for model in present {
            println!("  {:<36} {:<8} {}", model.name, model.role, presence(model));
        }
        println!("  {} not on this machine; `promptmix models list` shows them", missing.len());
    }
}
