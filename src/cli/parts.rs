//! Builds the working parts from settings: devices, teacher, student, prompts.

use std::{fs, path::Path};

use anyhow::Context;
use candle_core::Device;

use crate::{
    config::Settings,
    embed::EncoderEmbedder,
    prompt::Prompts,
    store,
    student::BaseModel,
    task::Task,
    teacher::llama::{LlamaOptions, LlamaTeacher},
};

/// The device of the student: the GPU that this build is for, the CPU otherwise.
pub fn student_device() -> anyhow::Result<Device> {
    if cfg!(feature = "cuda") {
        return Device::new_cuda(0).context(
            "no CUDA device for the student\nhint: a build without --features cuda uses the CPU",
        );
    }
    if cfg!(feature = "metal") {
        return Device::new_metal(0).context(
            "no Metal device for the student\nhint: a build without --features metal uses the CPU",
        );
    }
    Ok(Device::Cpu)
}

/// The teacher that the settings name.
pub fn teacher(settings: &Settings) -> anyhow::Result<LlamaTeacher> {
    let file = store::teacher_file(&settings.teacher.model)?;
    let chat_template = match settings.teacher.chat_template.as_deref() {
        Some("chatml") => Some(LlamaTeacher::CHATML.to_owned()),
        Some(path) => Some(
            fs::read_to_string(path)
                .with_context(|| format!("cannot read the chat template {path}\nhint: `teacher.chat_template` is a Jinja file, or \"chatml\""))?,
        ),
        None => None,
    };
    let options = LlamaOptions {
        batch: settings.teacher.batch,
        threads: settings.teacher.threads,
        gpu_layers: settings.teacher.gpu_layers,
        chat_template,
    };
    Ok(LlamaTeacher::load(&file, options)?)
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

/// Sentence embeddings by the student's own starting point.
pub fn embedder(base: &BaseModel) -> anyhow::Result<EncoderEmbedder> {
    Ok(EncoderEmbedder::new(base.clone())?)
}

/// The task's own prompts where it has some, the built-in ones otherwise.
pub fn prompts(task: &Task) -> anyhow::Result<Prompts> {
    let own = task.folder.join("prompts");
    Ok(Prompts::load((!task.folder.as_os_str().is_empty()).then_some(own.as_path()))?)
}
