//! A server that answers as llama-server, vLLM or SGLang do, with the probabilities of the pocket
//! teacher, so that what is compared is real. It knows no grammar.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    path::Path,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use promptmix::testing::TokenEngine;
use serde_json::{Value, json};

/// Where the model of all servers is.
pub(crate) const MODEL: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/models/pocket/teacher/pocket-teacher.gguf");

static POCKET: LazyLock<Mutex<TokenEngine>> =
    LazyLock::new(|| Mutex::new(TokenEngine::load(Path::new(MODEL)).expect("the pocket teacher")));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    LlamaServer,
    Vllm,
    Sglang,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The answer is this status.
    Status(u16),
    /// The connection is closed instead of an answer.
    Closed,
    /// The answer breaks off in the middle.
    Cut,
    /// From here on another model answers, under the same name.
    OtherModel,
}

/// A request, as a test decides about it.
pub(crate) struct Seen<'a> {
    /// Number of requests with a prompt before it.
    pub number: usize,
    /// The prompt as text.
    pub prompt: &'a str,
    pub authorization: Option<&'a str>,
}

type Decide = dyn Fn(&Seen<'_>) -> Fault + Send + Sync;

/// A server; it runs until the tests end.
pub(crate) struct Engine {
    pub url: String,
    /// Requests with a prompt that were answered.
    pub answered: Arc<AtomicUsize>,
}

struct Shared {
    dialect: Dialect,
    decide: Box<Decide>,
    number: AtomicUsize,
    answered: Arc<AtomicUsize>,
    /// Added to the log-probability of every other token.
    other_model: Mutex<bool>,
}

impl Engine {
    pub(crate) fn start(
        dialect: Dialect,
        decide: impl Fn(&Seen<'_>) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (shared, answered) = Shared::new(dialect, decide);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                let reader = stream.try_clone().expect("a socket");
                thread::spawn(move || serve(&shared, reader, stream));
            }
        });
        Self { url: format!("http://127.0.0.1:{port}"), answered }
    }

    /// The same behind a socket in the file system.
    pub(crate) fn at_path(dialect: Dialect, path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let (shared, answered) = Shared::new(dialect, |_| Fault::None);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                let reader = stream.try_clone().expect("a socket");
                thread::spawn(move || serve(&shared, reader, stream));
            }
        });
        Self { url: format!("unix:{}", path.display()), answered }
    }

    /// Answers on one connection, for tests that bring their own listener.
    pub(crate) fn serve_on(dialect: Dialect, stream: impl Read + Write) {
        let (shared, _) = Shared::new(dialect, |_| Fault::None);
        let stream = std::cell::RefCell::new(stream);
        serve(&shared, Half(&stream), Half(&stream));
    }
}

/// One of two users of a stream, which take turns.
struct Half<'a, S>(&'a std::cell::RefCell<S>);

impl<S: Read> Read for Half<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

impl<S: Write> Write for Half<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

impl Shared {
    fn new(
        dialect: Dialect,
        decide: impl Fn(&Seen<'_>) -> Fault + Send + Sync + 'static,
    ) -> (Arc<Self>, Arc<AtomicUsize>) {
        let answered = Arc::new(AtomicUsize::new(0));
        let shared = Self {
            dialect,
            decide: Box::new(decide),
            number: AtomicUsize::new(0),
            answered: Arc::clone(&answered),
            other_model: Mutex::new(false),
        };
        (Arc::new(shared), answered)
    }
}

fn serve(shared: &Shared, reader: impl Read, mut writer: impl Write) {
    let mut reader = BufReader::new(reader);
    while let Some((path, authorization, body)) = request(&mut reader) {
        let (status, answer, fault) = answer(shared, &path, authorization.as_deref(), &body);
        if fault == Fault::Closed {
            return;
        }
        let body = answer.to_string();
        let head = format!("HTTP/1.1 {status} S\r\ncontent-length: {}\r\n\r\n", body.len());
        let kept = if fault == Fault::Cut { body.len() / 2 } else { body.len() };
        let sent = writer.write_all(head.as_bytes());
        if sent.and_then(|()| writer.write_all(&body.as_bytes()[..kept])).is_err()
            || writer.flush().is_err()
            || fault == Fault::Cut
        {
            return;
        }
    }
}

/// The path, the authorization and the body of the next request.
fn request(reader: &mut impl BufRead) -> Option<(String, Option<String>, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, authorization, serde_json::from_slice(&body).unwrap_or_default()))
}

fn answer(
    shared: &Shared,
    path: &str,
    authorization: Option<&str>,
    body: &Value,
) -> (u16, Value, Fault) {
    let fine = |value| (200, value, Fault::None);
    let owner = match shared.dialect {
        Dialect::LlamaServer => "llamacpp",
        Dialect::Vllm => "vllm",
        Dialect::Sglang => "sglang",
    };
    let pocket = || POCKET.lock().unwrap();
    match path {
        "/v1/models" => {
            let meta = json!({"n_vocab": pocket().vocabulary()});
            return fine(json!({"data": [{
                "id": "a-model", "owned_by": owner, "max_model_len": 2048, "meta": meta,
            }]}));
        }
        "/props" => {
            let settings = json!({"n_ctx": 2048});
            return fine(json!({"default_generation_settings": settings, "total_slots": 4}));
        }
        "/tokenize" => {
            let text = body.get("content").or_else(|| body.get("prompt")).expect("a text");
            return fine(json!({"tokens": pocket().tokenize(text.as_str().expect("a text"))}));
        }
        _ => {}
    }
    let tokens: Vec<i32> =
        serde_json::from_value(body.get("prompt").unwrap_or(&body["input_ids"]).clone())
            .expect("token numbers");
    let prompt = String::from_utf8_lossy(&pocket().text(&tokens)).into_owned();
    let number = shared.number.fetch_add(1, Ordering::SeqCst);
    let fault = (shared.decide)(&Seen { number, prompt: &prompt, authorization });
    match fault {
        Fault::Status(status) => return (status, json!({"error": {"message": "no"}}), fault),
        Fault::Closed => return (200, Value::Null, fault),
        Fault::OtherModel => *shared.other_model.lock().unwrap() = true,
        Fault::None | Fault::Cut => {}
    }
    let other = *shared.other_model.lock().unwrap();
    let model = Model { other };
    let value = match (shared.dialect, path) {
        (Dialect::LlamaServer, "/completion") => model.llama_server(body, &tokens),
        (Dialect::Vllm, "/v1/completions") => model.vllm(body, &tokens),
        (Dialect::Sglang, "/generate") => model.sglang(body, &tokens),
        _ => return (404, Value::Null, Fault::None),
    };
    shared.answered.fetch_add(1, Ordering::SeqCst);
    (200, value, fault)
}

struct Model {
    other: bool,
}

impl Model {
    fn log_probs(&self, tokens: &[i32]) -> Vec<f32> {
        let found = POCKET.lock().unwrap().log_probs(tokens).expect("memory");
        let shift = |(token, log_prob): (usize, f32)| log_prob + (token % 3) as f32;
        if self.other { found.into_iter().enumerate().map(shift).collect() } else { found }
    }

    /// Draws up to `limit` tokens; returns them as text and number, and whether the turn ended.
    fn write(
        &self,
        tokens: &[i32],
        limit: usize,
        seed: u64,
        temperature: f64,
    ) -> (String, usize, bool) {
        let mut all = tokens.to_vec();
        let mut state = seed.wrapping_mul(2).wrapping_add(1);
        while all.len() < tokens.len() + limit {
            let log_probs = self.log_probs(&all);
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let mut left = (state >> 33) as f64 / (1u64 << 31) as f64;
            let weight = |log_prob: f32| (f64::from(log_prob) / temperature.max(0.01)).exp();
            left *= log_probs.iter().map(|it| weight(*it)).sum::<f64>();
            let token = log_probs.iter().position(|it| {
                left -= weight(*it);
                left <= 0.0
            });
            let token = token.unwrap_or(0) as i32;
            if POCKET.lock().unwrap().is_end(token) {
                return (self.text(&all[tokens.len()..]), all.len() - tokens.len(), true);
            }
            all.push(token);
        }
        (self.text(&all[tokens.len()..]), limit, false)
    }

    fn text(&self, tokens: &[i32]) -> String {
        String::from_utf8_lossy(&POCKET.lock().unwrap().text(tokens)).into_owned()
    }

    fn llama_server(&self, body: &Value, tokens: &[i32]) -> Value {
        let top = body["n_probs"].as_u64().unwrap_or(0) as usize;
        if top == 0 {
            let limit = body["n_predict"].as_u64().expect("a limit") as usize;
            let (seed, temperature) = (body["seed"].as_u64(), body["temperature"].as_f64());
            let (text, written, ended) =
                self.write(tokens, limit, seed.expect("a seed"), temperature.expect("a number"));
            let stop = if ended { "eos" } else { "limit" };
            return json!({"content": text, "stop_type": stop, "tokens_predicted": written});
        }
        let mut logits: Vec<(usize, f32)> =
            self.log_probs(tokens).into_iter().enumerate().collect();
        for pair in body["logit_bias"].as_array().into_iter().flatten() {
            let token = pair[0].as_u64().expect("a token") as usize;
            logits[token].1 += pair[1].as_f64().expect("a bias") as f32;
        }
        logits.sort_by(|a, b| b.1.total_cmp(&a.1));
        let list: Vec<Value> = if body["post_sampling_probs"] == true {
            logits.truncate(body["top_k"].as_u64().expect("a number") as usize);
            let total: f32 = logits.iter().map(|it| (it.1 - logits[0].1).exp()).sum();
            let prob = |it: &(usize, f32)| (it.1 - logits[0].1).exp() / total;
            let kept = logits.iter().take(top).filter(|it| prob(it) > 0.0);
            kept.map(|it| json!({"id": it.0, "prob": prob(it)})).collect()
        } else {
            logits.iter().take(top).map(|it| json!({"id": it.0, "logprob": it.1})).collect()
        };
        let key = if body["post_sampling_probs"] == true { "top_probs" } else { "top_logprobs" };
        json!({"content": "x", "completion_probabilities": [{"id": 0, key: list}]})
    }

    fn vllm(&self, body: &Value, tokens: &[i32]) -> Value {
        let Some(wanted) = body["logprob_token_ids"].as_array() else {
            let limit = body["max_tokens"].as_u64().expect("a limit") as usize;
            let (seed, temperature) = (body["seed"].as_u64(), body["temperature"].as_f64());
            let (text, written, ended) =
                self.write(tokens, limit, seed.expect("a seed"), temperature.expect("a number"));
            let reason = if ended { "stop" } else { "length" };
            let choice = json!({"index": 0, "text": text, "finish_reason": reason});
            return json!({"choices": [choice], "usage": {"completion_tokens": written}});
        };
        let log_probs = self.log_probs(tokens);
        let named: serde_json::Map<String, Value> = wanted
            .iter()
            .map(|id| (format!("token_id:{id}"), json!(log_probs[id.as_u64().unwrap() as usize])))
            .collect();
        json!({"choices": [{"text": "x", "logprobs": {"top_logprobs": [named]}}]})
    }

    fn sglang(&self, body: &Value, tokens: &[i32]) -> Value {
        let parameters = &body["sampling_params"];
        let Some(wanted) = body["token_ids_logprob"].as_array() else {
            let limit = parameters["max_new_tokens"].as_u64().expect("a limit") as usize;
            let seed = parameters["sampling_seed"].as_u64().expect("a seed");
            let temperature = parameters["temperature"].as_f64().expect("a number");
            let (text, written, ended) = self.write(tokens, limit, seed, temperature);
            let reason = json!({"type": if ended { "stop" } else { "length" }});
            let meta = json!({"finish_reason": reason, "completion_tokens": written});
            return json!({"text": text, "meta_info": meta});
        };
        let log_probs = self.log_probs(tokens);
        let list: Vec<Value> = wanted
            .iter()
            .map(|id| json!([log_probs[id.as_u64().unwrap() as usize], id, null]))
            .collect();
        json!({"text": "x", "meta_info": {"output_token_ids_logprobs": [list]}})
    }
}
