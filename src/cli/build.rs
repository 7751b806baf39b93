//! Builds the teacher, the student and the prompts that the settings name.

use std::{path::Path, time::Duration};

use candle_core::Device;

#[cfg(all(target_os = "linux", feature = "remote"))]
use super::addresses;
use super::error::CommandError;
use crate::{
    config::Settings,
    fs::read_regular,
    model_file, models,
    pipeline::Event,
    prompt::Prompts,
    run,
    student::{self, BaseModel, EncoderEmbedder},
    task::Task,
    teacher::{
        InProcess, Teacher, TeacherError,
        llama::{LlamaOptions, LlamaTeacher},
        replay,
        worker::{Launch, Supervised},
    },
};

/// The largest chat template in bytes; those in use have a few kB.
const MAX_CHAT_TEMPLATE_BYTES: u64 = 1 << 20;

/// The student's device: the GPU that this build supports, otherwise the CPU.
pub(super) fn student_device() -> anyhow::Result<Device> {
    let (kind, feature) =
        if cfg!(feature = "cuda") { ("CUDA", "cuda") } else { ("Metal", "metal") };
    student::device().map_err(|source| {
        CommandError::new(
            format!("no {kind} device for the student"),
            format!("a build without `--features {feature}` uses the CPU"),
        )
        .caused_by(source)
        .into()
    })
}

/// Checks that the settings name a teacher.
///
/// # Errors
/// They name none: only the embedded demo task has one of its own.
pub(super) fn require_teacher(settings: &Settings) -> Result<(), CommandError> {
    if !settings.teacher.model.is_empty() {
        return Ok(());
    }
    Err(CommandError::new(
        "no teacher is named",
        "name one with --teacher MODEL, with --set teacher.model=MODEL where a command has no such flag, or with `model` under [teacher] in task.toml\n\
         `promptmix models list` names known models, `promptmix models pull NAME` fetches one; any GGUF file will do\n\
         `--teacher pocket` is the demo's toy, which knows the demo's six classes and nothing else",
    ))
}

/// How to start the teacher that the settings name.
pub(super) fn launch(settings: &Settings) -> anyhow::Result<Launch> {
    require_teacher(settings)?;
    let teacher = &settings.teacher;
    let chat_template = match teacher.chat_template.as_deref() {
        Some("chatml") => Some(LlamaTeacher::CHATML.to_owned()),
        Some(path) => {
            Some(read_regular(Path::new(path), MAX_CHAT_TEMPLATE_BYTES).map_err(|source| {
                CommandError::new(
                    format!("cannot read the chat template {path}"),
                    "set `teacher.chat_template` to a Jinja file or to \"chatml\"",
                )
                .caused_by(source)
            })?)
        }
        None => None,
    };
    #[cfg(all(target_os = "linux", feature = "remote"))]
    let remote = addresses::remote(settings, chat_template.clone())?;
    #[cfg(not(all(target_os = "linux", feature = "remote")))]
    if let Some(address) = teacher.address.first() {
        return Err(CommandError::new(
            format!("the teacher answers at {address}, and this build of promptmix cannot connect"),
            "build it with `--features remote`, or remove `teacher.address`",
        )
        .into());
    }
    let options = LlamaOptions {
        slots: teacher.slots,
        context: teacher.context,
        batch_tokens: teacher.batch_tokens,
        threads: teacher.threads,
        gpu_layers: teacher.gpu_layers,
        devices: teacher.devices.clone(),
        split_mode: teacher.split_mode,
        kv_type: teacher.kv_type,
        flash_attention: teacher.flash_attention,
        deterministic: teacher.deterministic,
        replicas: teacher.replicas,
        chat_template,
    };
    let watchdog = teacher.watchdog_seconds;
    #[cfg(all(target_os = "linux", feature = "remote"))]
    let folder = remote.as_ref().and_then(|_| models::tokenizer_folder(&teacher.model));
    #[cfg(not(all(target_os = "linux", feature = "remote")))]
    let folder = None;
    Ok(Launch {
        program: Launch::this_program(),
        model: folder.map_or_else(|| models::teacher_file(&teacher.model), Ok)?,
        options,
        #[cfg(all(target_os = "linux", feature = "remote"))]
        replicas: if remote.is_some() { 1 } else { teacher.replicas },
        #[cfg(all(target_os = "linux", feature = "remote"))]
        remote,
        #[cfg(not(all(target_os = "linux", feature = "remote")))]
        replicas: teacher.replicas,
        watchdog: (watchdog > 0).then(|| Duration::from_secs(watchdog)),
    })
}

/// The teacher that the settings name: in a separate process, unless they ask for this process or
/// name a recording.
pub(super) fn teacher(settings: &Settings) -> anyhow::Result<Box<dyn Teacher>> {
    if let Some(file) = settings.teacher.model.strip_prefix(replay::SCHEME) {
        return Ok(Box::new(run::replay(Path::new(file))?));
    }
    let launch = launch(settings)?;
    if settings.teacher.in_process {
        return Ok(Box::new(InProcess(LlamaTeacher::load(&launch.model, launch.options)?)));
    }
    Ok(Box::new(Supervised::start(launch)?))
}

/// Checks that the teacher that the settings name is there and sound, without loading it.
///
/// # Errors
/// As [`teacher`], but for those of loading it.
pub(super) fn check_teacher(settings: &Settings) -> anyhow::Result<()> {
    match settings.teacher.model.strip_prefix(replay::SCHEME) {
        Some(file) => drop(run::replay(Path::new(file))?),
        None => {
            let path = launch(settings)?.model;
            if !path.exists() {
                return Err(TeacherError::Missing { path }.into());
            }
            // A folder is read by the teacher's process, before it connects.
            if path.is_file() {
                model_file::check(&path)?;
            }
        }
    }
    Ok(())
}

/// The news that a model is being loaded, which may take minutes.
pub(super) fn loading(role: &str, model: &str) -> Event {
    Event::Wait { what: format!("loading the {role} {model}") }
}

/// A warning if the teacher's file brings no chat template and the settings name none: such a file
/// usually holds a base model, which continues texts and follows no instructions. A file that
/// cannot be read is reported where it is loaded.
pub(super) fn without_template(settings: &Settings) -> Option<Event> {
    let teacher = &settings.teacher;
    if teacher.model.starts_with(replay::SCHEME) || teacher.chat_template.is_some() {
        return None;
    }
    let header = model_file::check(&models::teacher_file(&teacher.model).ok()?).ok()?;
    header.gguf()?.chat_template.is_none().then(|| Event::Warning {
        message: format!(
            "the teacher {} has no chat template: it is probably a base model, which continues texts and follows no instructions; ChatML is used",
            teacher.model
        ),
        hint: Some(
            "use the instruction-tuned version of the model (its name often ends in -Instruct or -it), or set `teacher.chat_template` if you know that it is one"
                .to_owned(),
        ),
    })
}

/// The teacher's file and its hash, for `-v`.
pub(super) fn identity(teacher: &dyn Teacher) -> Event {
    let identity = teacher.identity();
    Event::Fact(format!(
        "teacher: {} ({}, sha256 {}, {} tokens)",
        identity.name,
        identity.file.display(),
        identity.sha256,
        identity.context
    ))
}

/// The student's base model that the settings name.
pub(super) fn student(settings: &Settings) -> anyhow::Result<BaseModel> {
    Ok(BaseModel::open(&settings.student.model, &student_device()?)?)
}

/// Sentence embeddings by the student's base model.
pub(super) fn embedder(base: &BaseModel) -> anyhow::Result<EncoderEmbedder> {
    Ok(EncoderEmbedder::new(base.clone())?)
}

/// The task's own prompts if it has any, otherwise the built-in ones.
pub(super) fn prompts(task: &Task) -> anyhow::Result<Prompts> {
    let folder = task.folder.join("prompts");
    Ok(Prompts::load((!task.folder.as_os_str().is_empty()).then_some(folder.as_path()))?)
}
