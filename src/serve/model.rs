//! A model behind an address: its queue, the thread that classifies, and the version that answers.

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread,
    time::{Instant, SystemTime},
};

use candle_core::Device;

use super::{
    Refusal, ServeError,
    metrics::Metrics,
    queue::{Batch, Outcome, Queue, QueueLimits},
    version::Version,
};
use crate::{
    counted::counted,
    hint::one_line,
    student::{Precision, Scores},
    verbosity::{Notice, notify},
};

/// How models compute.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub device: Device,
    pub precision: Precision,
}

/// A model with its name.
pub(super) struct Model {
    pub name: String,
    folder: PathBuf,
    engine: Engine,
    /// `None` while the first one is loaded.
    current: RwLock<Option<Arc<Version>>>,
    pub queue: Queue,
    metrics: Arc<Metrics>,
    watched: Mutex<Watched>,
}

/// What is known of the folder.
#[derive(Default)]
struct Watched {
    /// As it was loaded, or as it could not be.
    tried: Fingerprint,
    /// As it was when it was last looked at.
    seen: Fingerprint,
    /// Versions that were loaded.
    versions: u64,
}

/// Of each file in the folder what changes if the file is written or replaced.
type Fingerprint = BTreeMap<PathBuf, (u64, u64, u64, Option<SystemTime>)>;

impl Model {
    pub(super) fn new(
        (name, folder): (String, PathBuf),
        engine: Engine,
        limits: QueueLimits,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            name,
            folder,
            engine,
            current: RwLock::default(),
            queue: Queue::new(limits),
            metrics,
            watched: Mutex::default(),
        }
    }

    /// The version that answers.
    ///
    /// # Errors
    /// It is not loaded yet.
    pub(super) fn current(&self) -> Result<Arc<Version>, Refusal> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let loading = || Refusal::busy(503, format!("the model {} is being loaded", self.name), 1);
        current.clone().ok_or_else(loading)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.current().is_ok()
    }

    /// Lets `texts` wait for their scores.
    ///
    /// # Errors
    /// The queue is full, or the model is not loaded yet; and whatever goes wrong later.
    pub(super) fn classify(&self, texts: Vec<String>) -> Outcome {
        self.queue.classify(texts, self.current()?)
    }

    /// Loads the first version.
    ///
    /// # Errors
    /// As [`Version::load`].
    pub(super) fn load(&self) -> Result<(), ServeError> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let fingerprint = fingerprint(&self.folder);
        self.replace(&mut watched)?;
        (watched.tried, watched.seen) = (fingerprint.clone(), fingerprint);
        Ok(())
    }

    /// Loads the folder and lets it answer from now on. What was begun is answered by the version
    /// before.
    fn replace(&self, watched: &mut Watched) -> Result<(), ServeError> {
        let number = watched.versions + 1;
        let engine = (&self.engine.device, self.engine.precision);
        let version = Version::load(&self.name, &self.folder, number, engine)?;
        watched.versions = number;
        let classes = counted(version.student.labels().len(), "class");
        let new = Some(Arc::new(version));
        let old = std::mem::replace(
            &mut *self.current.write().unwrap_or_else(PoisonError::into_inner),
            new,
        );
        self.metrics.loaded(&self.name, number);
        let word = if old.is_some() { "loaded again" } else { "ready" };
        notify(Notice::Message(format!("{}: {word}, {classes}, version {number}", self.name)));
        Ok(())
    }

    /// Loads the folder again if it has changed since it was last loaded, and not since this was
    /// last asked: until then, somebody may be writing to it.
    pub(super) fn look(&self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let now = fingerprint(&self.folder);
        let is_settled = now == watched.seen;
        watched.seen = now;
        if !is_settled || watched.seen == watched.tried || watched.seen.is_empty() {
            return;
        }
        let outcome = self.replace(&mut watched);
        if fingerprint(&self.folder) != watched.seen {
            // It is loaded once more when it has settled.
            return;
        }
        watched.tried = watched.seen.clone();
        self.metrics.reloaded(&self.name, if outcome.is_ok() { "loaded" } else { "failed" });
        if let Err(error) = outcome {
            notify(Notice::Warning {
                message: format!(
                    "{}: the folder has changed and cannot be loaded; version {} goes on: {}",
                    self.name,
                    watched.versions,
                    one_line(&error)
                ),
                hint: None,
            });
        }
    }

    /// Classifies batches until the queue is closed. Unless other models share the processor with
    /// it, this thread is one of a pool of its own, so that a batch is not handed over and back.
    pub(super) fn work(&self, is_alone: bool) {
        if !is_alone {
            return self.classify_all();
        }
        let threads = rayon::current_num_threads();
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build();
        match pool {
            Ok(pool) => pool.install(|| self.classify_all()),
            // Too many threads. This one stays in the pool that failed.
            Err(_) => thread::scope(|scope| drop(scope.spawn(|| self.classify_all()).join())),
        }
    }

    fn classify_all(&self) {
        while let Some(batch) = self.queue.take() {
            self.metrics.queued(&self.name, self.queue.len());
            let start = Instant::now();
            let outcomes = self.outcomes(&batch);
            let took = start.elapsed();
            let scores = outcomes.iter().flatten().flatten();
            let truncated = scores.filter(|it| it.truncated).count();
            self.metrics.classified(&self.name, batch.texts.len(), truncated);
            self.queue.done(batch, outcomes, took);
        }
    }

    /// The scores of each request's part of `batch`. If one text makes the whole fail, only its
    /// request does.
    fn outcomes(&self, batch: &Batch) -> Vec<Result<Vec<Scores>, Refusal>> {
        let student = &batch.version.student;
        let scores =
            |texts: &[String]| match catch_unwind(AssertUnwindSafe(|| student.scores(texts))) {
                Ok(Ok(scores)) => Ok(scores),
                Ok(Err(error)) => Err(one_line(&error)),
                Err(_) => Err("internal error".to_owned()),
            };
        if let Ok(scores) = scores(&batch.texts) {
            return batch.parts(&scores).map(|part| Ok(part.to_vec())).collect();
        }
        let one = |texts: &[String]| {
            scores(texts).map_err(|why| {
                let message = format!("{}: {why}", self.name);
                notify(Notice::Warning { message: message.clone(), hint: None });
                Refusal::new(500, message)
            })
        };
        batch.parts(&batch.texts).map(one).collect()
    }
}

fn fingerprint(folder: &Path) -> Fingerprint {
    let mut found = Fingerprint::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        // Links are followed: what they lead to may be replaced.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if !metadata.is_file() {
            continue;
        }
        #[cfg(unix)]
        let (device, file) = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let (device, file) = (0, 0);
        found.insert(path, (device, file, metadata.len(), metadata.modified().ok()));
    }
    found
}
