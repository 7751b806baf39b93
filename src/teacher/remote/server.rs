//! One address: its connections, the engine that answers there, and whether it is the right one.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    RemoteIdentity,
    address::Address,
    connection::{Access, Client, Failure},
    engine::Engine,
};
use crate::teacher::normalise;

/// How many requests an address gets at most at once.
const MAX_AT_ONCE: usize = 256;

/// What is asked to tell models apart, and what the first engine answered.
pub(super) struct Probe {
    /// A prompt in tokens, and the tokens whose probabilities after it are compared.
    pub prompt: Vec<i32>,
    pub compared: Vec<i32>,
    /// A text, and its tokens by the teacher's tokenizer.
    pub text: String,
    pub tokens: Vec<i32>,
    /// Tokens in the model's vocabulary, where it is known.
    pub vocabulary: Option<usize>,
    pub first: OnceLock<First>,
}

/// The engine that answered first. All others must have the same model.
#[derive(Debug, Clone)]
pub(super) struct First {
    pub engine: Engine,
    pub log_probs: Vec<f32>,
}

/// An address.
pub(super) struct Server {
    access: Access,
    probe: Arc<Probe>,
    engine: OnceLock<Engine>,
    /// When the model was last recognised.
    recognised: Mutex<Option<Instant>>,
    /// Whether what the engine says about its model is not enough: it may have been started again.
    doubt: AtomicBool,
    /// Connections that nobody uses.
    idle: Mutex<Vec<Client>>,
    /// How many requests it got at once when the last list of requests was finished; 0 at first.
    pub at_once: AtomicUsize,
}

impl Server {
    pub(super) fn new(access: Access, probe: Arc<Probe>) -> Self {
        let (engine, recognised, idle, at_once) = Default::default();
        let doubt = AtomicBool::new(true);
        Self { access, probe, engine, recognised, doubt, idle, at_once }
    }

    pub(super) fn address(&self) -> &Address {
        &self.access.address
    }

    pub(super) fn silence(&self) -> Option<Duration> {
        self.access.silence
    }

    /// The engine, after [`ready`](Self::ready).
    pub(super) fn engine(&self) -> Result<&Engine, Failure> {
        self.engine.get().ok_or_else(|| Failure::Broken {
            reason: "no engine is known there".to_owned(),
            sent: false,
        })
    }

    /// How many requests it gets at most at once: a few more than the engine says it works on, so
    /// that the next one is there when a slot is free.
    pub(super) fn most_at_once(&self) -> usize {
        let slots = self.engine.get().and_then(|engine| engine.slots);
        slots.map_or(MAX_AT_ONCE, |slots| (slots + slots.div_ceil(4)).min(MAX_AT_ONCE))
    }

    pub(super) fn client(&self) -> Client {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Client::new(&self.access))
    }

    pub(super) fn keep(&self, client: Client) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }

    /// What `ask` is answered, after the engine was recognised as the right one. A request is only
    /// rejected, or suspected of breaking the connection, if the engine answers others.
    pub(super) fn ask<A>(
        &self,
        client: Client,
        ask: impl FnOnce(&Client) -> Result<A, Failure>,
    ) -> Result<A, Failure> {
        let own = |failure| match failure {
            Failure::Rejected { reason } | Failure::Broken { reason, .. } => {
                Failure::Broken { reason, sent: false }
            }
            other => other,
        };
        let recognised = self.ready(&client).and_then(|()| self.recognise(&client));
        let outcome = recognised.map_err(own).and_then(|()| ask(&client));
        match outcome {
            Ok(answer) => {
                let recognised = self.recognise(&client).map_err(own);
                self.keep(client);
                recognised.map(|()| answer)
            }
            Err(failure @ (Failure::Rejected { .. } | Failure::Broken { sent: true, .. })) => {
                self.doubt();
                let other = Client::new(&self.access);
                self.recognise(&other).map_err(own)?;
                self.keep(other);
                Err(failure)
            }
            Err(failure) => {
                if matches!(failure, Failure::Broken { .. }) {
                    self.doubt();
                }
                Err(failure)
            }
        }
    }

    /// Finds out which engine answers here, once.
    pub(super) fn ready(&self, client: &Client) -> Result<(), Failure> {
        if self.engine.get().is_none() {
            let engine = Engine::find(client)?;
            self.check_tokens(&engine, client)?;
            let _ = self.engine.set(engine);
        }
        Ok(())
    }

    /// Compares the tokens of a text, and the size of the vocabulary, where the engine tells.
    fn check_tokens(&self, engine: &Engine, client: &Client) -> Result<(), Failure> {
        let Probe { text, tokens, vocabulary, .. } = &*self.probe;
        let found = engine.tokenize(client, text)?;
        let same_size = engine.vocabulary.zip(*vocabulary).is_none_or(|(a, b)| a == b);
        let is_same = same_size && found.is_none_or(|found| found == *tokens);
        if is_same {
            return Ok(());
        }
        Err(Failure::Fatal {
            message: format!("its model {:?} has another tokenizer than the teacher", engine.model),
            hint: "name the same model as the teacher, as a GGUF of any quantisation or as its Hugging Face folder: promptmix takes tokenizer and chat template from it".to_owned(),
        })
    }

    /// A connection broke, or none was needed for a while: the next one is checked thoroughly.
    pub(super) fn doubt(&self) {
        self.doubt.store(true, Ordering::Release);
    }

    /// Checks that the model is still the one that answered first, if the connection is newer than
    /// the last check. An engine that only closes idle connections is asked what its model is; if
    /// there is reason to [`doubt`](Self::doubt), its probabilities are compared.
    pub(super) fn recognise(&self, client: &Client) -> Result<(), Failure> {
        let mut recognised = self.recognised.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |last: Instant| client.connected_at().is_some_and(|it| it <= last);
        if recognised.is_some_and(is_known) {
            return Ok(());
        }
        let (begun, doubt) = (Instant::now(), self.doubt.swap(false, Ordering::AcqRel));
        let compared = self.compare(client, doubt);
        if compared.is_err() && doubt {
            self.doubt();
        }
        compared?;
        *recognised = Some(begun);
        Ok(())
    }

    fn compare(&self, client: &Client, thoroughly: bool) -> Result<(), Failure> {
        let known = self.engine()?;
        let engine = Engine::find(client)?;
        let other = |what: String| Failure::Fatal {
            message: format!("another model answers there than at the start: {what}"),
            hint: "start the engine with the old model again, or start a new run with --out"
                .to_owned(),
        };
        if !engine.says_the_same(known) {
            let name = |it: &Engine| format!("{} of {}", it.model, it.dialect.name());
            return Err(other(format!("{} instead of {}", name(&engine), name(known))));
        }
        if !thoroughly {
            return Ok(());
        }
        let found = First { log_probs: self.measure(&engine, client)?, engine };
        let first = self.probe.first.get_or_init(|| found.clone());
        if found.engine.dialect != first.engine.dialect {
            let (was, is) = (first.engine.dialect.name(), found.engine.dialect.name());
            return Err(other(format!("{is} instead of {was}")));
        }
        if !RemoteIdentity::agree(&found.log_probs, &first.log_probs) {
            return Err(other("the probabilities after a known prompt differ".to_owned()));
        }
        if found.engine.context < first.engine.context {
            let (is, was) = (found.engine.context, first.engine.context);
            return Err(Failure::Fatal {
                message: format!("its context has {is} tokens, that of the first engine {was}"),
                hint: "start all engines with the same context".to_owned(),
            });
        }
        Ok(())
    }

    /// ln p of the compared tokens, among each other.
    fn measure(&self, engine: &Engine, client: &Client) -> Result<Vec<f32>, Failure> {
        let Probe { prompt, compared, .. } = &*self.probe;
        let log_probs = engine.log_probs(client, prompt, compared, false)?;
        let log_probs: Vec<f32> = log_probs.iter().map(|it| *it as f32).collect();
        Ok(normalise(&log_probs).iter().map(|it| it.max(f32::MIN_POSITIVE).ln()).collect())
    }
}
