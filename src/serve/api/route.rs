//! Which request is for what.

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Predict,
    Classify,
    Health,
    Info,
    Metrics,
    OpenApi,
    Server,
    Live,
    Ready,
    Model,
    ModelReady,
    Infer,
}

/// All addresses: method, path and what it is. `{model}` stands for a name.
pub(super) const ROUTES: [(&str, &str, Route); 15] = [
    ("POST", "/predict", Route::Predict),
    ("POST", "/models/{model}/predict", Route::Predict),
    ("POST", "/v1/classify", Route::Classify),
    ("GET", "/health", Route::Health),
    ("GET", "/models/{model}/health", Route::Health),
    ("GET", "/info", Route::Info),
    ("GET", "/models/{model}/info", Route::Info),
    ("GET", "/metrics", Route::Metrics),
    ("GET", "/openapi.json", Route::OpenApi),
    ("GET", "/v2", Route::Server),
    ("GET", "/v2/health/live", Route::Live),
    ("GET", "/v2/health/ready", Route::Ready),
    ("GET", "/v2/models/{model}", Route::Model),
    ("GET", "/v2/models/{model}/ready", Route::ModelReady),
    ("POST", "/v2/models/{model}/infer", Route::Infer),
];

/// An address that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub route: Route,
    /// As in [`ROUTES`].
    pub pattern: &'static str,
    /// The name in the path.
    pub model: Option<&'a str>,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Path,
    /// The path has another method.
    Method(&'static str),
}

/// The route of a request. `HEAD` is answered like `GET`; a slash at the end does not matter.
pub(super) fn find<'a>(method: &str, path: &'a str) -> Result<Found<'a>, Missing> {
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let mut missing = Missing::Path;
    for (wanted, pattern, route) in ROUTES {
        let Some(model) = model_in(pattern, path) else { continue };
        if method == wanted || (method, wanted) == ("HEAD", "GET") {
            return Ok(Found { route, pattern, model });
        }
        missing = Missing::Method(wanted);
    }
    Err(missing)
}

/// Whether `path` is one of `pattern`: the name in it, if it has one.
fn model_in<'a>(pattern: &str, path: &'a str) -> Option<Option<&'a str>> {
    let Some((before, after)) = pattern.split_once("{model}") else {
        return (pattern == path).then_some(None);
    };
    let name = path.strip_prefix(before)?.strip_suffix(after)?;
    (!name.is_empty() && !name.contains('/')).then_some(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_and_nothing_else() {
        for (method, pattern, route) in ROUTES {
            let path = pattern.replace("{model}", "tickets");
            let model = pattern.contains("{model}").then_some("tickets");
            assert_eq!(find(method, &path), Ok(Found { route, pattern, model }));
            assert_eq!(find("PUT", &path), Err(Missing::Method(method)));
        }
        assert!(find("HEAD", "/health/").is_ok() && find("HEAD", "/predict").is_err());
        for path in ["/", "", "/v2/models//infer", "/v2/models/a/b/infer", "/predict2", "//health"]
        {
            assert_eq!(find("GET", path), Err(Missing::Path), "{path}");
        }
    }
}
