//! The end of the stage `train`: what the student's folder keeps for `promptmix drift`.
//!
//! The best reference are real texts that the student was not trained on: the test set, on which
//! its accuracy is measured, or else unlabelled texts. Training texts are the last resort: most are
//! generated, and a student is surer of what it was trained on.

use std::{collections::HashSet, path::Path};

use super::{Event, PipelineError, Watch};
use crate::{
    config::{DriftReference, Settings},
    drift::{self, FEW, Kept, Reference, Sampler, Source},
    run::{RunError, RunFolder, key, names},
    student::{BaseModel, Classifier, Example},
    task::{Task, normalised},
};

/// The texts that a reference is drawn from.
struct Texts<'a> {
    task: &'a Task,
    /// What the student was trained on.
    trained: &'a [Example],
}

/// Writes the reference of the student in the folder of `run`, which was trained on `trained`,
/// unless the one that is there is of the same texts.
///
/// # Errors
/// The student cannot be read or fails on a text, the file cannot be written.
pub(super) fn write(
    run: &RunFolder,
    (task, settings): (&Task, &Settings),
    base: &BaseModel,
    trained: &[Example],
    watch: Watch<'_>,
) -> Result<(), PipelineError> {
    let folder = run.path().join(names::STUDENT);
    let name = format!("{}/{}", names::STUDENT, drift::FILE);
    let wanted = settings.student.drift_reference;
    if wanted == DriftReference::None {
        let failed = |source| RunError::Write { path: folder.join(drift::FILE), source };
        Reference::remove(&folder).map_err(failed)?;
        return Ok(());
    }
    let texts = Texts { task, trained };
    let source = texts.source();
    let key = texts.key(source, wanted, &run.path().join(names::STUDENT_KEY));
    if Reference::key(&folder).as_ref() == Some(&key) {
        return Ok(());
    }
    watch(Event::Wait { what: format!("reference for drift from {}", source.words()) });
    let student = Classifier::load(&folder, base.device())?;
    let mut sampler = Sampler::new(&student, "drift/reference");
    texts.each(source, &mut |text| Ok(sampler.add(text)?))?;
    let mut readings = sampler.finish()?;
    if wanted == DriftReference::Numbers {
        readings.leave_out_embeddings();
    }
    let reference = Reference { source, readings };
    run.write(&name, &reference.to_bytes(&Kept { key: &key, labels: student.labels() }))?;
    Ok(())
}

impl Texts<'_> {
    /// The first source with enough texts, or else the first with any.
    fn source(&self) -> Source {
        let counts = [
            (Source::Test, self.task.test.len()),
            (Source::Unlabelled, self.unlabelled()),
            (Source::Training, self.trained.len()),
        ];
        let first = |least: usize| counts.iter().find(|(_, count)| *count >= least);
        first(FEW).or_else(|| first(1)).map_or(Source::Training, |(source, _)| *source)
    }

    /// Whether there are enough unlabelled texts: at most [`FEW`] are counted. A file that is gone
    /// has none.
    fn unlabelled(&self) -> usize {
        let mut count = 0;
        let enough = self.each_unlabelled(&mut |_| {
            count += 1;
            Ok(count < FEW)
        });
        enough.map_or(0, |()| count)
    }

    /// The hash of what a reference is made of: the student, by its mark beside the folder, the
    /// texts and the setting. Of a file of unlabelled texts its name and size have to do.
    fn key(&self, source: Source, wanted: DriftReference, mark: &Path) -> String {
        let student = std::fs::read_to_string(mark).unwrap_or_default();
        let test: Vec<&str> = match source {
            Source::Test => self.task.test.iter().map(|item| item.text.as_str()).collect(),
            _ => Vec::new(),
        };
        let file = self.task.unlabelled.as_ref().filter(|_| source == Source::Unlabelled);
        let size = file.and_then(|it| self.task.folder.join(&it.file).metadata().ok());
        key(&(student, source, wanted, test, file, size.map(|it| it.len())))
    }

    /// Passes each text of `source` on.
    fn each(
        &self,
        source: Source,
        add: &mut dyn FnMut(String) -> Result<(), PipelineError>,
    ) -> Result<(), PipelineError> {
        match source {
            Source::Unlabelled => self.each_unlabelled(&mut |text| add(text).map(|()| true)),
            Source::Test => self.task.test.iter().try_for_each(|item| add(item.text.clone())),
            Source::Training | Source::File => {
                self.trained.iter().try_for_each(|example| add(example.text.clone()))
            }
        }
    }

    /// Passes each unlabelled text that the student was not trained on to `add`, until that says
    /// `false`.
    fn each_unlabelled(
        &self,
        add: &mut dyn FnMut(String) -> Result<bool, PipelineError>,
    ) -> Result<(), PipelineError> {
        let Some(mut texts) = self.task.open_unlabelled()? else { return Ok(()) };
        let trained: HashSet<String> =
            self.trained.iter().map(|example| normalised(&example.text)).collect();
        while let Some(text) = texts.next_text()? {
            if !trained.contains(&normalised(&text.text)) && !add(text.text)? {
                break;
            }
        }
        Ok(())
    }
}
