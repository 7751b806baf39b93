//! Sends requests to the hub, with the endpoint, token, HTTP client, proxy and TLS of the crate
//! `hf-hub`.
//!
//! Redirects are followed here, one by one, and not by that crate, for three reasons. Its metadata
//! call sends the token to any host that a redirect names (a CDN); here the token goes to the hub's
//! own origin and nowhere else. It names files after response headers, where a hostile server may
//! write `../`; here no such header becomes a path. And it requests the metadata again before it
//! downloads, so nothing checked beforehand would hold.

use std::{env, net::IpAddr, time::Duration};

use hf_hub::api::sync::{ApiBuilder, ApiRepo};

use super::{
    http_error::{self, ErrorResponse},
    retry::{Failure, retry},
};
use crate::{
    models::{KnownModel, ModelError, manifest, paths},
    verbosity::{self, Notice},
};

/// Redirects in a row; browsers follow 20.
const MAX_REDIRECTS: usize = 8;
/// A connection that is silent for this long counts as lost.
const TIMEOUT: Duration = Duration::from_secs(60);
const REDIRECT_HINT: &str = "try again later; HF_ENDPOINT selects the hub";

/// The hub, for one repo.
pub(super) struct Hub {
    repo: ApiRepo,
    endpoint: String,
    /// The endpoint for messages, without user name and password.
    shown: String,
    model: KnownModel,
    has_token: bool,
}

/// What the hub reports about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub commit: String,
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// The address of the file at this commit.
    pub url: String,
}

/// A response with a body.
pub(super) struct Response {
    pub status: u16,
    /// First byte and size of the whole file, from `Content-Range`.
    pub range: Option<(u64, u64)>,
    /// `Content-Length`.
    pub length: Option<u64>,
    pub body: Box<dyn std::io::Read>,
    claims: Claims,
    /// Where a redirect leads; `None` also for an address that is not HTTP.
    location: Option<String>,
    error_code: Option<String>,
}

/// The hub's own headers about a file.
#[derive(Default)]
struct Claims {
    commit: Option<String>,
    etag: Option<String>,
    linked_size: Option<u64>,
}

impl Claims {
    fn or(self, earlier: Self) -> Self {
        Self {
            commit: self.commit.or(earlier.commit),
            etag: self.etag.or(earlier.etag),
            linked_size: self.linked_size.or(earlier.linked_size),
        }
    }
}

impl Hub {
    /// Reads `HF_ENDPOINT`, `HF_TOKEN` (or the token that `hf auth login` stored) and the proxy
    /// variables.
    pub(super) fn open(model: &KnownModel) -> Result<Self, ModelError> {
        let set = |variable: &str| env::var(variable).ok().filter(|value| !value.trim().is_empty());
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        let token = set("HF_TOKEN")
            .map(|token| token.trim().to_owned())
            .or_else(|| hf_hub::Cache::from_env().token());
        let error = |message: String| ModelError::Fetch {
            name: model.name.clone(),
            file: "anything".to_owned(),
            message,
            hint: "set HF_ENDPOINT to an address such as https://huggingface.co".to_owned(),
        };
        let shown = without_password(&endpoint);
        let Some((scheme, host, _)) = origin(&endpoint) else {
            return Err(error(format!("HF_ENDPOINT is {shown:?}")));
        };
        if token.is_some() && scheme == "http" && !is_loopback(&host) {
            verbosity::notify(Notice::Warning {
                message: format!(
                    "HF_ENDPOINT is {shown}, plain http: anybody on the network path can read the token"
                ),
                hint: Some("use an https address, or unset HF_TOKEN".to_owned()),
            });
        }
        let api = ApiBuilder::from_cache(manifest::hub_cache())
            .with_endpoint(endpoint.clone())
            .with_token(token.clone())
            .with_progress(false)
            .with_user_agent("promptmix", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|source| error(source.to_string().replace(&endpoint, &shown)))?;
        // The revision is part of each file's address; this one is never used.
        let repo = api.repo(model.hub_repo("main"));
        Ok(Self { repo, endpoint, shown, model: model.clone(), has_token: token.is_some() })
    }

    /// An error about a file of this model.
    pub(super) fn error(&self, file: &str, message: String, hint: impl Into<String>) -> ModelError {
        ModelError::Fetch {
            name: self.model.name.clone(),
            file: file.to_owned(),
            message,
            hint: hint.into(),
        }
    }

    fn url(&self, revision: &str, file: &str) -> String {
        let Self { endpoint, model, .. } = self;
        format!("{endpoint}/{}/resolve/{}/{file}", model.repo, revision.replace('/', "%2F"))
    }

    /// Commit, etag and size of a file.
    pub(super) fn metadata(&self, revision: &str, file: &str) -> Result<RemoteFile, ModelError> {
        let url = self.url(revision, file);
        let response = retry(|| self.get(&url, file, "bytes=0-0"))?;
        let missing = |what: &str| {
            self.error(
                file,
                format!("the response has no {what}"),
                "check that HF_ENDPOINT is a Hugging Face hub or a mirror of one",
            )
        };
        let Claims { commit, etag, linked_size } = response.claims;
        let commit = commit.ok_or_else(|| missing("x-repo-commit"))?;
        let etag = etag.ok_or_else(|| missing("etag"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_tag = (1..=128).contains(&etag.len()) && etag.chars().all(plain);
        // A branch name would pin nothing.
        let is_commit = paths::is_hex(&commit, 40);
        for (what, value, valid) in
            [("x-repo-commit", &commit, is_commit), ("etag", &etag, is_tag && !etag.contains(".."))]
        {
            if !valid {
                return Err(self.error(
                    file,
                    format!("the server's {what} is {value:?}, which no hub sends"),
                    "do not trust this server; HF_ENDPOINT selects the hub",
                ));
            }
        }
        let size = response.range.map(|(_, size)| size);
        let size = size.or(response.length.filter(|_| response.status == 200));
        let size = linked_size.or(size).ok_or_else(|| missing("size"))?;
        let url = self.url(&commit, file);
        Ok(RemoteFile { commit, etag, size, url })
    }

    /// Requests a range of a file and follows redirects; the token goes to the hub alone.
    pub(super) fn get(&self, url: &str, file: &str, range: &str) -> Result<Response, Failure> {
        let hub = origin(&self.endpoint);
        let (mut url, mut claims) = (url.to_owned(), Claims::default());
        for _ in 0..MAX_REDIRECTS {
            let from_hub = origin(&url) == hub;
            let mut response = self.send(&url, file, range, from_hub)?;
            if from_hub {
                claims = std::mem::take(&mut response.claims).or(claims);
            }
            match response.status {
                200..300 | 416 => return Ok(Response { claims, ..response }),
                300..400 => url = self.redirect(&url, file, response.location)?,
                _ => return Err(self.refusal(&url, file, &response, from_hub)),
            }
        }
        let message = format!("more than {MAX_REDIRECTS} redirects");
        Err(Failure::permanent(self.error(file, message, REDIRECT_HINT)))
    }

    /// Sends one request.
    fn send(
        &self,
        url: &str,
        file: &str,
        range: &str,
        with_token: bool,
    ) -> Result<Response, Failure> {
        let mut request = self
            .repo
            .info_request()
            .uri(url)
            .header("Range", range)
            // The download of a compressed body could not be resumed.
            .header("Accept-Encoding", "identity");
        if !with_token && let Some(headers) = request.headers_mut() {
            headers.remove("authorization");
        }
        let response = request
            .config()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(TIMEOUT / 2))
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(TIMEOUT))
            .build()
            .call()
            .map_err(|error| {
                let error = error.to_string().replace(&self.endpoint, &self.shown);
                let (message, hint) = http_error::explain_no_answer(&error, &server(url));
                Failure::transient(self.error(file, message, hint))
            })?;
        let header = |name: &str| -> Option<String> {
            Some(response.headers().get(name)?.to_str().ok()?.trim().to_owned())
        };
        let etag = header("x-linked-etag").or_else(|| header("etag"));
        Ok(Response {
            status: response.status().as_u16(),
            range: header("content-range").and_then(|range| content_range(&range)),
            length: header("content-length").and_then(|length| length.parse().ok()),
            claims: Claims {
                commit: header("x-repo-commit"),
                etag: etag.map(|etag| plain_etag(&etag)),
                linked_size: header("x-linked-size").and_then(|size| size.parse().ok()),
            },
            location: header("location").and_then(|to| resolve(url, &to)),
            error_code: header("x-error-code"),
            body: Box::new(response.into_body().into_reader()),
        })
    }

    /// The address that a redirect from `url` leads to, unless it leaves https.
    fn redirect(&self, url: &str, file: &str, to: Option<String>) -> Result<String, Failure> {
        let error = |message: String, hint| Failure::permanent(self.error(file, message, hint));
        let Some(target) = to else {
            return Err(error("a redirect has no valid address".to_owned(), REDIRECT_HINT));
        };
        if url.starts_with("https:") && !target.starts_with("https:") {
            // The query is not shown: for a while, it is as good as a password.
            let shown = without_password(target.split('?').next().unwrap_or_default());
            let message = format!("a redirect leads from https to {shown}");
            return Err(error(message, "do not trust this network"));
        }
        Ok(target)
    }

    /// The error for a response with an error status.
    fn refusal(&self, url: &str, file: &str, response: &Response, from_hub: bool) -> Failure {
        let status = response.status;
        let (message, hint) = http_error::explain(&ErrorResponse {
            status,
            code: response.error_code.as_deref().unwrap_or_default(),
            has_token: self.has_token,
            from_hub,
            server: &server(url),
            endpoint: &self.shown,
            repo: &self.model.repo,
        });
        let error = self.error(file, message, hint);
        match status == 429 || status >= 500 {
            true => Failure::transient(error),
            false => Failure::permanent(error),
        }
    }
}

/// The tag in `W/"abc"` or `"abc"`.
fn plain_etag(etag: &str) -> String {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"').to_owned()
}

/// Scheme, host and port of an address, in lower case.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let standard = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, standard),
    };
    (!host.is_empty()).then(|| (scheme, host.to_ascii_lowercase(), port))
}

/// An address without the user name and password that it may have before its host.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

/// Scheme, host and port of an address as they are written, for messages.
fn server(url: &str) -> String {
    let url = without_password(url);
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    url[..end].to_owned()
}

/// Whether `host` is this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The address that the header `Location: to` in a response from `from` stands for: absolute, or
/// a path on the same server.
fn resolve(from: &str, to: &str) -> Option<String> {
    if origin(to).is_some() {
        return Some(to.to_owned());
    }
    let (scheme, rest) = from.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    if let Some(rest) = to.strip_prefix("//") {
        return Some(format!("{scheme}://{rest}"));
    }
    to.starts_with('/').then(|| format!("{scheme}://{authority}{to}"))
}

/// First byte and size of the whole file in `bytes 0-0/1234`.
fn content_range(range: &str) -> Option<(u64, u64)> {
    let (span, size) = range.strip_prefix("bytes ")?.split_once('/')?;
    let first = span.split('-').next()?.parse().unwrap_or(0);
    Some((first, size.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| origin(a) == origin(b) && origin(a).is_some();
        assert!(same("https://Hub.example/a", "https://hub.example:443?b"));
        for other in [
            "http://hub.example/a",
            "https://hub.example:444/a",
            "https://hub.example.evil/a",
            "https://evil/hub.example",
            "https://hub.example@evil/a",
        ] {
            assert!(!same("https://hub.example", other), "{other}");
        }
        assert_eq!(origin("ftp://hub.example"), None);
        assert_eq!(origin("hub.example"), None);
        assert_eq!(origin("http://[::1]:8/x"), Some(("http".into(), "[::1]".into(), 8)));
        assert_eq!(origin("http://[::1]/x"), Some(("http".into(), "[::1]".into(), 80)));
    }

    #[test]
    fn messages_contain_no_password() {
        for (url, shown, host) in [
            ("https://me:pw@hub.example/a?b", "https://hub.example/a?b", "https://hub.example"),
            ("https://me:p@w@hub.example:8", "https://hub.example:8", "https://hub.example:8"),
            ("https://hub.example/@a", "https://hub.example/@a", "https://hub.example"),
            ("me:pw@hub.example", "hub.example", "hub.example"),
            ("http://[::1]:8/x", "http://[::1]:8/x", "http://[::1]:8"),
        ] {
            assert_eq!((without_password(url).as_str(), server(url).as_str()), (shown, host));
        }
    }

    #[test]
    fn loopback_is_this_machine() {
        for (host, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("127.0.0.1.evil", false),
            ("hub.example", false),
            ("10.0.0.1", false),
            ("[fe80::1]", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }

    #[test]
    fn a_redirect_is_absolute_or_a_path() {
        let from = "https://hub.example:8/a/b?c";
        assert_eq!(resolve(from, "https://cdn/x").as_deref(), Some("https://cdn/x"));
        assert_eq!(resolve(from, "/x/y").as_deref(), Some("https://hub.example:8/x/y"));
        assert_eq!(resolve(from, "//cdn/x").as_deref(), Some("https://cdn/x"));
        assert_eq!(resolve(from, "file:///etc/passwd"), None);
    }

    #[test]
    fn headers_are_read() {
        assert_eq!(content_range("bytes 0-0/1234"), Some((0, 1234)));
        assert_eq!(content_range("bytes 5-1233/1234"), Some((5, 1234)));
        assert_eq!(content_range("bytes */1234"), Some((0, 1234)));
        assert_eq!(content_range("bytes 0-0/*"), None);
        assert_eq!((plain_etag("W/\"ab\""), plain_etag("\"cd\"")), ("ab".into(), "cd".into()));
    }
}
