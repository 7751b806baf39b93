//! `promptmix serve`: students behind an address.
//!
//! ```text
//! connections ─► api: routes, formats ─► queue, one per model ─► batches ─► Classifier::scores
//!                                               ▲
//!                 the folder has changed ─► a new version beside the old one
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `api` | routes, who may ask, the formats of TEI, vLLM and KServe, `openapi.json` |
//! | `model`, `version` | a model: the version that answers, and the one that replaces it |
//! | `queue` | texts of all connections, packed into batches |
//! | `metrics` | what is counted |
//! | `keys` | API keys |
//!
//! Texts are never logged, nor kept beyond their answer.

mod api;
mod error;
mod keys;
mod metrics;
mod model;
mod queue;
mod version;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

pub(crate) use error::ServeError;
pub(crate) use keys::Keys;
pub(crate) use model::Engine;

use api::Api;
use error::Refusal;
use metrics::Metrics;
use model::Model;
use queue::QueueLimits;

use crate::http::{self, Limits, Listener};

/// How often the folders are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes of all request bodies in memory, at least; a server that takes larger bodies has room for
/// a few of them.
const BODIES: usize = 256 << 20;

/// Most texts of one request, by default. TEI has 32; a page of a table has more.
pub(crate) const TEXTS: usize = 1024;
/// Most texts that wait for a model, by default: what a DistilBERT on two cores does in about ten
/// seconds.
pub(crate) const QUEUE: usize = 4096;
/// Most MiB of a request's body, by default: eight kB for each of [`TEXTS`].
pub(crate) const BODY_MIB: usize = 8;
/// Most connections, by default. Each has a thread.
pub(crate) const CONNECTIONS: usize = 512;
/// Seconds for a request to come, to be answered, and for the answer to go, by default.
pub(crate) const SECONDS: u64 = 30;

/// The bounds of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Texts of one request.
    pub texts: usize,
    /// Texts that wait for one model.
    pub queue: usize,
    /// Bytes of a request's body.
    pub body: usize,
    pub connections: usize,
    /// For a request to come, to be answered, and for the answer to go, each.
    pub time: Duration,
}

/// A server that runs.
pub(crate) struct Serving {
    models: Arc<[Arc<Model>]>,
    server: http::Server,
    threads: Vec<thread::JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
}

/// Serves the models in these folders, by their names, on `listener`. They answer once
/// [`Serving::load`] has loaded them. `keys` are those of the clients; without any, everybody on
/// this machine may ask.
pub(crate) fn start(
    listener: Listener,
    folders: Vec<(String, PathBuf)>,
    engine: &Engine,
    keys: Option<Keys>,
    bounds: Bounds,
) -> Serving {
    let metrics = Arc::new(Metrics::new());
    let waiting = QueueLimits { texts: bounds.queue, patience: bounds.time };
    let model = |named| {
        let metrics = Arc::clone(&metrics);
        Arc::new(Model::new(named, engine.clone(), waiting, metrics))
    };
    let models: Arc<[Arc<Model>]> = folders.into_iter().map(model).collect();
    let limits = Limits {
        connections: bounds.connections,
        idle: Duration::from_secs(60),
        request: bounds.time,
        bodies: BODIES.max(8 * bounds.body),
    };
    let address = listener.address().clone();
    let api = Api::new(Arc::clone(&models), metrics, keys, (address, bounds));
    let connections = api.connections();
    let server = http::serve(listener, api, limits);
    // Nobody has set it before.
    let _ = connections.set(Box::new(server.connections()));
    let stopping = Arc::new(AtomicBool::new(false));
    Serving { models, server, threads: Vec::new(), stopping }
}

impl Serving {
    /// Loads all models, one after another, and from then on each again when its folder changes.
    ///
    /// # Errors
    /// One cannot be loaded.
    pub(crate) fn load(&mut self) -> Result<(), ServeError> {
        let is_alone = self.models.len() == 1;
        for model in self.models.iter() {
            model.load()?;
            let model = Arc::clone(model);
            self.threads.push(thread::spawn(move || model.work(is_alone)));
        }
        let (models, stopping) = (Arc::clone(&self.models), Arc::clone(&self.stopping));
        thread::spawn(move || {
            while !stopping.load(Ordering::Acquire) {
                thread::sleep(LOOK);
                models.iter().for_each(|model| model.look());
            }
        });
        Ok(())
    }

    /// Takes no further request, and answers those that were begun, for at most `patience`.
    /// Returns how many connections were cut.
    pub(crate) fn stop(self, patience: Duration) -> usize {
        self.stopping.store(true, Ordering::Release);
        let cut = self.server.stop(patience);
        self.models.iter().for_each(|model| model.queue.close());
        if cut == 0 {
            // Each ends at once: nothing waits any more.
            self.threads.into_iter().for_each(|thread| drop(thread.join()));
        }
        cut
    }
}
