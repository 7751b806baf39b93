//! Builds the working parts from settings: devices, teacher, student, prompts.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use candle_core::Device;

use crate::{
    config::Settings,
    embed::EncoderEmbedder,
    prompt::Prompts,
    run::{self, Event},
    store,
    student::{self, BaseModel},
    task::Task,
    teacher::{
        InProcess, Teacher,
        llama::{LlamaOptions, LlamaTeacher},
        replay,
        worker::{Launch, Supervised},
    },
};

/// The device of the student: the GPU that this build is for, the CPU otherwise.
pub fn student_device() -> anyhow::Result<Device> {
    let feature = if cfg!(feature = "cuda") { "cuda" } else { "metal" };
    student::device().with_context(|| {
        format!(
            "no device for the student\nhint: a build without --features {feature} uses the CPU"
        )
    })
}

/// How the teacher that the settings name is started.
pub fn launch(settings: &Settings) -> anyhow::Result<Launch> {
    let teacher = &settings.teacher;
    let chat_template = match teacher.chat_template.as_deref() {
        Some("chatml") => Some(LlamaTeacher::CHATML.to_owned()),
        Some(path) => Some(
            fs::read_to_string(path)
                .with_context(|| format!("cannot read the chat template {path}\nhint: `teacher.chat_template` is a Jinja file, or \"chatml\""))?,
        ),
        None => None,
    };
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
    Ok(Launch {
        program: Launch::this_program(),
        model: store::teacher_file(&teacher.model)?,
        options,
        replicas: teacher.replicas,
        watchdog: (watchdog > 0).then(|| Duration::from_secs(watchdog)),
    })
}

/// The teacher that the settings name: in a process of its own, unless they want it in this one or
/// name a recording.
pub fn teacher(settings: &Settings) -> anyhow::Result<Box<dyn Teacher>> {
    if let Some(file) = settings.teacher.model.strip_prefix(replay::SCHEME) {
        return Ok(Box::new(run::replay(Path::new(file))?));
    }
    let launch = launch(settings)?;
    if settings.teacher.in_process {
        return Ok(Box::new(InProcess(LlamaTeacher::load(&launch.model, launch.options)?)));
    }
    Ok(Box::new(Supervised::start(launch)?))
}

/// Which file answers.
pub fn said_of(teacher: &dyn Teacher) -> Event {
    let identity = teacher.identity();
    Event::Fact(format!(
        "teacher: {} ({}, sha256 {}, {} tokens)",
        identity.name,
        identity.file.display(),
        identity.sha256,
        identity.context
    ))
}

/// The student's starting point that the settings name.
pub fn student(settings: &Settings) -> anyhow::Result<BaseModel> {
    Ok(store::student_base(&settings.student.model, &student_device()?)?)
}

/// What the student is called in reports: the last part of its path, or its name.
pub fn student_name(settings: &Settings) -> String {
    let model = &settings.student.model;
    let name = Path::new(model).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| model.clone())
}

/// What the teacher is called in a comparison: the name of its file without the ending, or its own.
pub fn teacher_name(settings: &Settings) -> String {
    let model = &settings.teacher.model;
    let (recorded, path) = match model.strip_prefix(replay::SCHEME) {
        Some(path) => ("recorded ", path),
        None => ("", model.as_str()),
    };
    let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| path.to_owned());
    // Only an ending is cut off: `qwen2.5-7b` keeps its version.
    let bare = [".gguf", ".jsonl"].into_iter().find_map(|ending| name.strip_suffix(ending));
    format!("{recorded}{}", bare.unwrap_or(&name))
}

/// Sentence embeddings by the student's own starting point.
pub fn embedder(base: &BaseModel) -> anyhow::Result<EncoderEmbedder> {
    Ok(EncoderEmbedder::new(base.clone())?)
}

/// The task's own prompts where it has some, the built-in ones otherwise.
pub fn prompts(task: &Task) -> anyhow::Result<Prompts> {
    let own = task.folder.join("prompts");
    Ok(Prompts::load((!task.folder.as_os_str().is_empty()).then_some(own.as_path()))?)
}
