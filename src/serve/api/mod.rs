//! Who may ask what, and in which format it is answered.

mod input;
mod kserve;
mod route;
mod tei;
mod vllm;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Bounds, Keys, Refusal,
    metrics::{self, Metrics},
    model::Model,
    version::Version,
};
use crate::{
    http::{Address, Handler, Request, Response},
    student::Scores,
    verbosity::{self, Notice, notify},
};

use route::{Found, Missing, Route};

/// What the addresses take and give, for people and for programs that make clients.
const OPENAPI: &str = include_str!("openapi.json");
/// Bytes of a body where none is expected.
const NO_BODY: usize = 1 << 10;
/// Headers of all answers.
const HEADERS: [(&str, &str); 2] =
    [("x-content-type-options", "nosniff"), ("cache-control", "no-store")];

/// How many connections are open, once there is a server to ask.
pub(super) type Connections = Arc<OnceLock<Box<dyn Fn() -> usize + Send + Sync>>>;

/// All that answers.
pub(super) struct Api {
    /// The first one answers where none is named.
    models: Arc<[Arc<Model>]>,
    metrics: Arc<Metrics>,
    keys: Option<Keys>,
    address: Address,
    bounds: Bounds,
    connections: Connections,
}

impl Api {
    pub(super) fn new(
        models: Arc<[Arc<Model>]>,
        metrics: Arc<Metrics>,
        keys: Option<Keys>,
        (address, bounds): (Address, Bounds),
    ) -> Self {
        Self { models, metrics, keys, address, bounds, connections: Connections::default() }
    }

    /// To be set once the server runs.
    pub(super) fn connections(&self) -> Connections {
        Arc::clone(&self.connections)
    }

    /// Whether the request may be answered.
    ///
    /// With keys, it must bring one; a probe of health need not. Without any, the server is for
    /// programs on this machine: a page that a browser shows is none of them, whether it says so
    /// (`Origin`) or had its name pointed here (`Host`).
    fn admit_client(&self, request: &Request, route: Route) -> Result<(), Refusal> {
        if let Some(keys) = &self.keys {
            let is_probe = matches!(route, Route::Health | Route::Live | Route::Ready);
            return match request.header("authorization") {
                _ if is_probe => Ok(()),
                Some(value) if keys.admit(value) => Ok(()),
                Some(_) => Err(Refusal::new(401, "the key is not one of this server")),
                None => Err(Refusal::new(401, "a key is missing: Authorization: Bearer KEY")),
            };
        }
        if request.header("origin").is_some() {
            return Err(Refusal::new(403, "pages in a browser may not ask without a key"));
        }
        let host = request.header("host").unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, port)| {
            // Of an address in brackets, the last colon may be its own.
            if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
        });
        let is_own = match &self.address {
            // It has no name that could be pointed at.
            Address::Path(_) => true,
            Address::Inherited { name: own, .. } if own.starts_with("unix:") => true,
            Address::Host(own, _) if own.to_string() == name => true,
            _ => ["127.0.0.1", "localhost", "[::1]"].contains(&name),
        };
        match is_own {
            true => Ok(()),
            false => Err(Refusal::new(
                403,
                "`Host` must be 127.0.0.1 or localhost; with --api-key-file it may be any",
            )),
        }
    }

    /// The model of this name; the first one for `None`.
    fn model(&self, name: Option<&str>) -> Result<&Arc<Model>, Refusal> {
        let mut models = self.models.iter();
        let found = match name {
            None => models.next(),
            Some(name) => models.find(|model| model.name == name),
        };
        found.ok_or_else(|| {
            Refusal::new(
                404,
                format!("there is no such model; there are: {}", self.names().join(", ")),
            )
        })
    }

    fn names(&self) -> Vec<&str> {
        self.models.iter().map(|model| model.name.as_str()).collect()
    }

    fn is_ready(&self) -> bool {
        self.models.iter().all(|model| model.is_ready())
    }

    fn route(&self, request: &Request, found: &Found<'_>) -> Result<Response, Refusal> {
        let named = || {
            let query = request.query.split('&').find_map(|part| part.strip_prefix("model="));
            self.model(found.model.or(query))
        };
        let value = match found.route {
            Route::Predict => self.predict(request, named()?)?,
            Route::Classify => self.classify(request)?,
            Route::Infer => self.infer(request, named()?)?,
            Route::Health if found.model.is_some() => {
                named()?.current()?;
                json!({})
            }
            Route::Health | Route::Ready => match self.is_ready() {
                true if found.route == Route::Health => json!({}),
                true => json!({"ready": true}),
                false => return Err(Refusal::busy(503, "models are being loaded", 1)),
            },
            Route::Live => json!({"live": true}),
            Route::Info => {
                let model = named()?;
                let version = model.current()?;
                tei::info(&model.name, &version, &self.bounds, &self.names())
            }
            Route::Server => kserve::server(),
            Route::Model => {
                let model = named()?;
                let version = model.current()?;
                kserve::model(&model.name, &version)
            }
            Route::ModelReady => {
                let model = named()?;
                model.current()?;
                json!({"name": model.name, "ready": true})
            }
            Route::Metrics => {
                for model in self.models.iter() {
                    self.metrics.queued(&model.name, model.queue.len());
                }
                let connections = self.connections.get().map_or(0, |count| count());
                return Ok(Response::new(metrics::CONTENT_TYPE, self.metrics.encode(connections)));
            }
            Route::OpenApi => {
                let text = OPENAPI.replace("{version}", env!("CARGO_PKG_VERSION"));
                return Ok(Response::new("application/json", text));
            }
        };
        Ok(Response::json(200, &value))
    }

    /// The scores of `texts`, and the version that gave them.
    fn scores(
        &self,
        model: &Model,
        texts: Vec<String>,
    ) -> Result<(Vec<Scores>, Arc<Version>), Refusal> {
        model.classify(texts)
    }

    fn predict(&self, request: &Request, model: &Model) -> Result<Value, Refusal> {
        // What has no room is not worth reading.
        model.queue.has_room(1)?;
        let body: tei::Predict = input::body(&request.body, self.bounds.texts)?;
        let mut asked = body.read()?;
        let (scores, version) = self.scores(model, std::mem::take(&mut asked.texts))?;
        asked.answer(&scores, &version)
    }

    fn classify(&self, request: &Request) -> Result<Value, Refusal> {
        let body: vllm::Classify = input::body(&request.body, self.bounds.texts)?;
        let mut asked = body.read()?;
        let model = self.model(asked.model.as_deref())?;
        let (scores, version) = self.scores(model, std::mem::take(&mut asked.texts))?;
        Ok(asked.answer(&model.name, &scores, &version))
    }

    fn infer(&self, request: &Request, model: &Model) -> Result<Value, Refusal> {
        model.queue.has_room(1)?;
        if request.header("inference-header-content-length").is_some() {
            return Err(Refusal::new(400, "tensors must be JSON, not binary"));
        }
        // Here it is 400, whatever is wrong with a request.
        let plain = |it: Refusal| match it.status {
            422 => Refusal { status: 400, ..it },
            _ => it,
        };
        let body: kserve::Infer = input::body(&request.body, self.bounds.texts).map_err(plain)?;
        let mut asked = body.read().map_err(plain)?;
        let (scores, version) = self.scores(model, std::mem::take(&mut asked.texts))?;
        Ok(asked.answer(&model.name, &scores, &version))
    }
}

impl Handler for Api {
    fn admit(&self, request: &Request) -> Result<usize, Response> {
        let refused = |refusal: &Refusal| rendered(request, refusal);
        let found = match route::find(&request.method, &request.path) {
            Ok(found) => found,
            Err(missing) => {
                self.admit_client(request, Route::Server).map_err(|it| refused(&it))?;
                return Err(match missing {
                    Missing::Path => refused(&Refusal::new(404, "there is nothing here")),
                    Missing::Method(allowed) => {
                        let message = format!("{allowed} is the method of this address");
                        refused(&Refusal::new(405, message)).with("allow", allowed)
                    }
                });
            }
        };
        self.admit_client(request, found.route).map_err(|refusal| refused(&refusal))?;
        Ok(if request.method == "POST" { self.bounds.body } else { NO_BODY })
    }

    fn answer(&self, request: &Request) -> Response {
        let Ok(found) = route::find(&request.method, &request.path) else {
            return rendered(request, &Refusal::new(404, "there is nothing here"));
        };
        self.route(request, &found).unwrap_or_else(|refusal| rendered(request, &refusal))
    }

    fn refuse(&self, request: &Request, status: u16, why: &str) -> Response {
        let retry_after = (status == 503).then_some(1);
        rendered(request, &Refusal { retry_after, ..Refusal::new(status, why) })
    }

    fn answered(&self, request: &Request, response: &Response, took: Duration) {
        // An address that is none of ours is not named: there are many.
        let route = route::find(&request.method, &request.path).map_or("other", |it| it.pattern);
        self.metrics.answered(route, response.status, took);
        if verbosity::facts() {
            let (status, ms) = (response.status, took.as_secs_f64() * 1e3);
            let bytes = request.body.len();
            let line = format!("{} {route} {status}, {bytes} bytes, {ms:.1} ms", request.method);
            notify(Notice::Message(line));
        }
    }

    fn unread(&self, status: u16) {
        self.metrics.unread(status);
        if verbosity::facts() {
            notify(Notice::Message(format!("no whole request {status}")));
        }
    }

    fn turned_away(&self) {
        self.metrics.turned_away();
    }

    fn headers(&self) -> &[(&'static str, &'static str)] {
        &HEADERS
    }
}

/// A refusal in the format of whoever asked: OpenAI's for `/v1`, otherwise that of TEI, which is
/// also KServe's.
fn rendered(request: &Request, refusal: &Refusal) -> Response {
    let Refusal { status, message, retry_after } = refusal;
    let body = match request.path.starts_with("/v1/") {
        true => json!({"error": {
            "message": message,
            "type": refusal.kind(),
            "param": null,
            "code": status,
        }}),
        false => json!({"error": message, "error_type": refusal.kind()}),
    };
    let mut response = Response::json(*status, &body);
    if let Some(seconds) = retry_after {
        response = response.with("retry-after", seconds.to_string());
    }
    match status {
        401 => response.with("www-authenticate", "Bearer"),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_openapi_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, methods) in paths {
            for method in methods.as_object().unwrap().keys().filter(|it| *it != "parameters") {
                described.push((method.to_uppercase(), path.clone()));
            }
        }
        let mut known: Vec<(String, String)> = route::ROUTES
            .iter()
            .map(|(method, path, _)| ((*method).into(), (*path).into()))
            .collect();
        described.sort();
        known.sort();
        assert_eq!(described, known);
    }
}
