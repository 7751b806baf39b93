//! A teacher behind addresses: llama-server, vLLM or SGLang, on this machine or another one.
//!
//! ```text
//! requests ─ chat template, tokens ─► dispatch ─► server ─► connection ─► engine
//!            of the teacher's files    one queue   one       HTTP on a     the dialect
//!                                                  address   descriptor
//!                                                            from broker
//! ```
//!
//! Nothing of this runs unless the user names addresses and allows them. Only the [`broker`], a
//! small process of its own, can connect, and only to them; this code runs in the teacher's
//! process, where the kernel refuses sockets ([`crate::sandbox`]).
//!
//! The engine gets token numbers, and is asked for the probabilities of the tokens that continue a
//! label, so labels are scored by the same trie as in this process: one request for each node where
//! names branch. With the same weights its scores differ from those of the engine here by the
//! rounding of batches; a reply is drawn by its own generator.

mod address;
mod board;
mod body;
pub(crate) mod broker;
mod connection;
mod dispatch;
mod engine;
mod folder;
mod llama_server;
mod server;
mod sglang;
mod tls;
mod vllm;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub(crate) use address::{Address, AddressError};
use connection::{Access, Client, Failure};
use folder::TokenizerFolder;
use server::{First, Probe, Server};

use super::{
    EngineSink, GenerateRequest, Generated, LabelScoring, Measured, RemoteIdentity, ScoreRequest,
    Scored, TeacherError, TeacherIdentity,
    llama::LlamaTeacher,
    tokens::PromptTokenizer,
    trie::{NodeLogProbs, Trie},
};

/// What tells models apart: a turn, and answers whose probabilities are compared.
const PROBE: &str = "Answer with one letter: which of A, B, C, D, E, F, G and H do you like best?";
const ANSWERS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];
/// A text whose tokens are compared.
const TEXT: &str = "My card's PIN (n° 4711) was refused twice – why? Größe 東京 \t{\"a\": 1.50}";
/// How long to wait for an engine that is loading its model if `teacher.watchdog_seconds` is 0.
const LOADING: Duration = Duration::from_secs(600);

/// Where the engine is, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RemoteOptions {
    /// At least one.
    pub addresses: Vec<Address>,
    /// PEM file of the authority that signed the engines' certificates.
    pub tls_ca: Option<PathBuf>,
    /// SHA-256 of the engines' certificate, in hex.
    pub tls_pin: Option<String>,
    /// File with the API key.
    pub api_key_file: Option<PathBuf>,
    /// How long an engine may be silent.
    pub silence: Option<Duration>,
    /// Source of a chat template that replaces the one in the file.
    pub chat_template: Option<String>,
}

/// An engine behind addresses.
pub(crate) struct RemoteTeacher {
    tokenizer: Box<dyn PromptTokenizer>,
    servers: Vec<Arc<Server>>,
    identity: TeacherIdentity,
}

impl RemoteTeacher {
    /// Reads tokenizer and chat template from `path`, a GGUF file or a Hugging Face folder, and
    /// asks the addresses who answers there. An address that cannot be reached yet is tried again
    /// later.
    ///
    /// # Errors
    /// A damaged file; no engine at any address; an engine with another tokenizer; two models.
    pub(crate) fn load(path: &Path, options: &RemoteOptions) -> Result<Self, TeacherError> {
        let template = options.chat_template.clone();
        let mut tokenizer: Box<dyn PromptTokenizer> = match path.is_dir() {
            true => Box::new(TokenizerFolder::load(path, template)?),
            false => Box::new(LlamaTeacher::load_vocabulary(path, template)?),
        };
        let probe = Arc::new(probe(&*tokenizer)?);
        let servers = servers(options, &probe)?;
        let first = wait_for_one(&servers, options.silence.unwrap_or(LOADING), &probe)?;
        tokenizer.limit_context(first.engine.context);
        let file = tokenizer.identity();
        let engine = first.engine.dialect.name();
        let identity = TeacherIdentity {
            sha256: crate::hash::of_bytes([file.sha256.as_str(), engine].join("\n")),
            remote: Some(Box::new(RemoteIdentity {
                engine: engine.to_owned(),
                addresses: options.addresses.iter().map(ToString::to_string).collect(),
                probe: first.log_probs,
            })),
            ..file.clone()
        };
        Ok(Self { tokenizer, servers, identity })
    }

    pub(crate) fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    /// As [`PromptTokenizer::measure`].
    pub(crate) fn measure(&mut self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError> {
        self.tokenizer.measure(prompts)
    }

    /// Asks for a reply to each of `requests`.
    pub(crate) fn generate(
        &mut self,
        requests: &[GenerateRequest],
        sink: EngineSink<'_, Generated>,
    ) -> Result<(), TeacherError> {
        let prompts = self.tokenizer.reply_prompts(requests)?;
        let prompts: Vec<Vec<i32>> = prompts.into_iter().map(numbers).collect();
        let (count, requests) = (requests.len(), requests.to_vec());
        let ask = move |server: &Server, client: &Client, index: usize| {
            server.engine()?.generate(client, &prompts[index], &requests[index])
        };
        dispatch::run(&self.servers, count, ask, sink)
    }

    /// Scores the candidates of each of `requests`.
    pub(crate) fn score(
        &mut self,
        requests: &[ScoreRequest],
        sink: EngineSink<'_, Scored>,
    ) -> Result<(), TeacherError> {
        let questions = self.tokenizer.questions(requests)?;
        let questions: Vec<Question> = questions
            .into_iter()
            .zip(requests)
            .map(|(question, request)| Question {
                prompt: numbers(question.prompt),
                trie: question.trie,
                absolute: request.scoring == LabelScoring::Sequence,
            })
            .collect();
        let ends = self.tokenizer.ends();
        let count = questions.len();
        let ask = move |server: &Server, client: &Client, index: usize| {
            questions[index].answer(server, client, &ends)
        };
        dispatch::run(&self.servers, count, ask, sink)
    }
}

/// A question in tokens.
struct Question {
    prompt: Vec<i32>,
    trie: Arc<Trie>,
    /// Whether probabilities among all tokens are needed.
    absolute: bool,
}

impl Question {
    /// Asks for the probabilities at each node of the trie that is read, one after another: what
    /// the engine evaluated for one is in its cache for the next.
    fn answer(&self, server: &Server, client: &Client, ends: &[i32]) -> Result<Scored, Failure> {
        let engine = server.engine()?;
        let mut nodes = vec![NodeLogProbs::default(); self.trie.len()];
        for reading in self.trie.readings() {
            let tokens: Vec<i32> =
                self.prompt.iter().copied().chain(reading.path.iter().map(|it| it.0)).collect();
            let mut wanted: Vec<i32> = reading.next.iter().map(|token| token.0).collect();
            let continuations = wanted.len();
            if reading.end {
                wanted.extend(ends);
            }
            let found = engine.log_probs(client, &tokens, &wanted, self.absolute)?;
            let (next, end) = found.split_at(continuations);
            let end = end.iter().map(|log_prob| log_prob.exp()).sum::<f64>();
            nodes[reading.node] =
                NodeLogProbs { next: next.to_vec(), end: end.max(f64::MIN_POSITIVE).ln() };
        }
        let scored = Scored {
            log_probs: self.trie.log_probs(&nodes),
            tokens: self.trie.lengths(),
            prompt_tokens: self.prompt.len(),
        };
        scored.finite().map_err(|_| Failure::Broken {
            reason: "its probabilities are not numbers".to_owned(),
            sent: true,
        })
    }
}

fn numbers(tokens: Vec<llama_cpp_2::token::LlamaToken>) -> Vec<i32> {
    tokens.into_iter().map(|token| token.0).collect()
}

/// What is asked to recognise the model of `tokenizer`.
fn probe(tokenizer: &dyn PromptTokenizer) -> Result<Probe, TeacherError> {
    let prompt = numbers(tokenizer.tokenize(PROBE, "")?);
    let first = |answer: &&str| tokenizer.text_tokens(answer).first().map(|token| token.0);
    let mut compared: Vec<i32> = ANSWERS.iter().filter_map(first).collect();
    compared.sort_unstable();
    compared.dedup();
    Ok(Probe {
        prompt,
        compared,
        text: TEXT.to_owned(),
        tokens: numbers(tokenizer.text_tokens(TEXT)),
        vocabulary: tokenizer.vocabulary(),
        first: OnceLock::new(),
    })
}

/// The addresses, none of them connected.
fn servers(options: &RemoteOptions, probe: &Arc<Probe>) -> Result<Vec<Arc<Server>>, TeacherError> {
    let failed = |message: String, hint: &str| TeacherError::Address {
        address: options.addresses.first().map(ToString::to_string).unwrap_or_default(),
        message,
        hint: hint.to_owned(),
    };
    let tls = match (&options.tls_ca, &options.tls_pin) {
        (Some(_), Some(_)) => {
            return Err(failed(
                "both `teacher.tls_ca` and `teacher.tls_pin` say what to trust".to_owned(),
                "set one of them: the pin trusts a single certificate",
            ));
        }
        (Some(path), None) => Some(tls::trust_authority(path).map_err(|reason| {
            failed(
                format!("cannot read its authority {}: {reason}", path.display()),
                "set `teacher.tls_ca` to a PEM file",
            )
        })?),
        (None, Some(hash)) => Some(tls::trust_certificate(hash).map_err(|reason| {
            failed(
                format!("`teacher.tls_pin` is no hash: {reason}"),
                "openssl x509 -in CERTIFICATE -noout -fingerprint -sha256",
            )
        })?),
        (None, None) => None,
    };
    let encrypted = options.addresses.iter().find(|it| matches!(it, Address::Https { .. }));
    if let (Some(address), None) = (encrypted, &tls) {
        return Err(failed(
            format!("nothing says which certificate of {address} to trust"),
            "set `teacher.tls_ca` to the PEM file of the authority that signed it, or `teacher.tls_pin` to its sha256",
        ));
    }
    let key = options.api_key_file.as_deref().map(api_key).transpose()?;
    let tls = tls.map(Arc::new);
    let server = |address: &Address| {
        let (address, tls, key) = (address.clone(), tls.clone(), key.clone());
        let access = Access { address, tls, key, silence: options.silence };
        Arc::new(Server::new(access, Arc::clone(probe)))
    };
    Ok(options.addresses.iter().map(server).collect())
}

fn api_key(path: &Path) -> Result<String, TeacherError> {
    const LONGEST: u64 = 64 << 10;
    let key = crate::fs::read_regular(path, LONGEST).map_err(|source| TeacherError::Read {
        path: path.to_owned(),
        message: source.to_string(),
        hint: Some("set `teacher.api_key_file` to a file that contains the key alone".to_owned()),
    })?;
    let key = key.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TeacherError::Read {
            path: path.to_owned(),
            message: "it does not contain one API key and nothing else".to_owned(),
            hint: Some("write the key alone, in one line".to_owned()),
        });
    }
    Ok(key.to_owned())
}

/// Asks all `servers` who answers there, until one has answered. Waits for engines that are loading
/// their model, but not for addresses where nothing listens.
fn wait_for_one(
    servers: &[Arc<Server>],
    patience: Duration,
    probe: &Probe,
) -> Result<First, TeacherError> {
    let begun = Instant::now();
    loop {
        let (mut loading, mut reasons) = (false, Vec::new());
        for server in servers {
            let client = server.client();
            let reason = match server.ready(&client).and_then(|()| server.recognise(&client)) {
                Ok(()) => {
                    server.keep(client);
                    continue;
                }
                Err(Failure::Fatal { message, hint }) => {
                    let address = server.address().to_string();
                    return Err(TeacherError::Address { address, message, hint });
                }
                Err(Failure::Busy { .. }) => {
                    loading = true;
                    "it is loading its model, or has too much to do".to_owned()
                }
                Err(Failure::Broken { reason, .. } | Failure::Rejected { reason }) => reason,
            };
            reasons.push(format!("{}: {reason}", server.address()));
        }
        if let Some(first) = probe.first.get() {
            return Ok(first.clone());
        }
        if !loading || begun.elapsed() > patience {
            let addresses = servers.iter().map(|server| server.address().to_string());
            return Err(TeacherError::Address {
                address: addresses.collect::<Vec<_>>().join(", "),
                message: format!("nothing answers ({})", reasons.join("; ")),
                hint: "start the engine there, or name another address with --allow-address"
                    .to_owned(),
            });
        }
        thread::sleep(Duration::from_secs(1));
    }
}
