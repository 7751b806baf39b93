//! Asks the hub, through the crate `hf-hub`: its endpoint, token, client, proxy and TLS.
//!
//! Redirects are followed here, one by one, and not by that crate, for three reasons. Its metadata
//! call sends the token along to whatever host a redirect names (a CDN); here the token goes to the
//! hub's own origin and nowhere else. It names files after headers of the answer, where a hostile
//! server may write `../`; here no such header becomes a path. And it asks for the metadata again
//! before it fetches, so that nothing checked beforehand would hold.

use std::{env, net::IpAddr, time::Duration};

use hf_hub::api::sync::{ApiBuilder, ApiRepo};

use super::http_error::{self, Refusal};
use crate::models::{KnownModel, ModelError, manifest, resolve};

/// As many redirects in a row as browsers follow, about.
const HOPS: usize = 8;
/// A connection that stays silent this long is dead.
const SILENCE: Duration = Duration::from_secs(60);

/// The hub, for one repo.
pub(super) struct Hub {
    repo: ApiRepo,
    endpoint: String,
    /// The same for messages: without name and password.
    shown: String,
    model: KnownModel,
    token: bool,
}

/// What the hub says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub commit: String,
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// Where it was asked for.
    pub url: String,
}

/// An answer with a body.
pub(super) struct Answer {
    pub status: u16,
    /// First byte and whole size, of a `Content-Range`.
    pub range: Option<(u64, u64)>,
    /// `Content-Length`.
    pub length: Option<u64>,
    commit: Option<String>,
    etag: Option<String>,
    linked_size: Option<u64>,
    pub body: Box<dyn std::io::Read>,
}

/// Why no answer came.
pub(super) enum Miss {
    /// It may come when asked again: the line was cut, the server is busy.
    Perhaps(Box<ModelError>),
    Never(Box<ModelError>),
}

impl Miss {
    pub(super) fn perhaps(error: ModelError) -> Self {
        Self::Perhaps(Box::new(error))
    }

    pub(super) fn never(error: ModelError) -> Self {
        Self::Never(Box::new(error))
    }

    pub(super) fn into_error(self) -> ModelError {
        match self {
            Self::Perhaps(error) | Self::Never(error) => *error,
        }
    }
}

impl Hub {
    /// With `HF_ENDPOINT`, `HF_TOKEN` (or the token that `hf auth login` left) and the proxy variables.
    pub(super) fn open(model: &KnownModel) -> Result<Self, ModelError> {
        let set = |variable: &str| env::var(variable).ok().filter(|value| !value.trim().is_empty());
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        let token = set("HF_TOKEN")
            .map(|token| token.trim().to_owned())
            .or_else(|| hf_hub::Cache::from_env().token());
        let fault = |message: String| ModelError::Fetch {
            name: model.name.clone(),
            file: "anything".to_owned(),
            message,
            mend: "HF_ENDPOINT is an address like https://huggingface.co".to_owned(),
        };
        let shown = without_password(&endpoint);
        let Some((scheme, host, _)) = origin(&endpoint) else {
            return Err(fault(format!("HF_ENDPOINT is {shown:?}")));
        };
        if token.is_some() && scheme == "http" && !is_loopback(&host) {
            eprintln!(
                "warning: HF_ENDPOINT is {shown}, plain http: everybody on the way can read the token that goes there\nhint: an https address, or no HF_TOKEN"
            );
        }
        let api = ApiBuilder::from_cache(manifest::hub_cache())
            .with_endpoint(endpoint.clone())
            .with_token(token.clone())
            .with_progress(false)
            .with_user_agent("promptmix", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| fault(error.to_string().replace(&endpoint, &shown)))?;
        // The revision stands in each file's address; this one is never asked for.
        let repo = api.repo(model.hub_repo("main"));
        Ok(Self { repo, endpoint, shown, model: model.clone(), token: token.is_some() })
    }

    /// An error of this model.
    pub(super) fn fault(&self, file: &str, message: String, mend: impl Into<String>) -> ModelError {
        ModelError::Fetch {
            name: self.model.name.clone(),
            file: file.to_owned(),
            message,
            mend: mend.into(),
        }
    }

    fn url(&self, revision: &str, file: &str) -> String {
        let Self { endpoint, model, .. } = self;
        format!("{endpoint}/{}/resolve/{}/{file}", model.repo, revision.replace('/', "%2F"))
    }

    /// Commit, etag and size of a file.
    pub(super) fn metadata(&self, revision: &str, file: &str) -> Result<Remote, ModelError> {
        let url = self.url(revision, file);
        let answer = crate::models::pull::fetch::patiently(|| self.get(&url, file, "bytes=0-0"))?;
        let missing = |what: &str| {
            self.fault(
                file,
                format!("the answer has no {what}"),
                "is HF_ENDPOINT a Hugging Face hub or a mirror of one?",
            )
        };
        let commit = answer.commit.ok_or_else(|| missing("x-repo-commit"))?;
        let etag = answer.etag.ok_or_else(|| missing("etag"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let tag = (1..=128).contains(&etag.len()) && etag.chars().all(plain);
        // A branch in its place would pin nothing.
        let id = resolve::is_hex(&commit, 40);
        for (what, value, good) in
            [("x-repo-commit", &commit, id), ("etag", &etag, tag && !etag.contains(".."))]
        {
            if !good {
                return Err(self.fault(
                    file,
                    format!("the server's {what} is {value:?}, which no hub sends"),
                    "do not trust this server; HF_ENDPOINT says which one is asked",
                ));
            }
        }
        let size =
            answer.range.map(|(_, size)| size).or(answer.length.filter(|_| answer.status == 200));
        let size = answer.linked_size.or(size).ok_or_else(|| missing("size"))?;
        let url = self.url(&commit, file);
        Ok(Remote { commit, etag, size, url })
    }

    /// Asks for a range of a file, following redirects; the token goes to the hub alone.
    pub(super) fn get(&self, url: &str, file: &str, range: &str) -> Result<Answer, Miss> {
        let home = origin(&self.endpoint);
        let (mut url, mut commit, mut etag, mut linked_size) = (url.to_owned(), None, None, None);
        for _ in 0..HOPS {
            let at_home = origin(&url) == home;
            let mut request = self
                .repo
                .info_request()
                .uri(&url)
                .header("Range", range)
                // A packed body could not be gone on with in the middle.
                .header("Accept-Encoding", "identity");
            if !at_home && let Some(headers) = request.headers_mut() {
                headers.remove("authorization");
            }
            let response = request
                .config()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .timeout_connect(Some(SILENCE / 2))
                .timeout_recv_response(Some(SILENCE))
                .timeout_per_read(Some(SILENCE))
                .build()
                .call()
                .map_err(|error| {
                    let error = error.to_string().replace(&self.endpoint, &self.shown);
                    let (message, mend) = http_error::no_connection(&error, &server(&url));
                    Miss::perhaps(self.fault(file, message, mend))
                })?;
            let header = |name: &str| -> Option<String> {
                Some(response.headers().get(name)?.to_str().ok()?.trim().to_owned())
            };
            if at_home {
                commit = header("x-repo-commit").or(commit);
                let tag = header("x-linked-etag").or_else(|| header("etag"));
                etag = tag.map(|tag| plain_etag(&tag)).or(etag);
                linked_size =
                    header("x-linked-size").and_then(|size| size.parse().ok()).or(linked_size);
            }
            let status = response.status().as_u16();
            if (300..400).contains(&status) {
                let target = header("location").and_then(|to| resolve(&url, &to));
                let Some(target) = target else {
                    let mend = "ask again later; HF_ENDPOINT says which server is asked";
                    return Err(Miss::never(self.fault(
                        file,
                        "a redirect leads nowhere".to_owned(),
                        mend,
                    )));
                };
                if url.starts_with("https:") && !target.starts_with("https:") {
                    // What follows the question mark is as good as a password for a while.
                    let target = without_password(target.split('?').next().unwrap_or_default());
                    let message = format!("a redirect leads from https to {target}");
                    return Err(Miss::never(self.fault(
                        file,
                        message,
                        "do not trust this network",
                    )));
                }
                url = target;
                continue;
            }
            if !(200..300).contains(&status) && status != 416 {
                let code = header("x-error-code").unwrap_or_default();
                let refusal = Refusal {
                    status,
                    code: &code,
                    token: self.token,
                    at_home,
                    server: &server(&url),
                    endpoint: &self.shown,
                    repo: &self.model.repo,
                };
                let (message, mend) = http_error::refused(&refusal);
                let error = self.fault(file, message, mend);
                let again = status == 429 || status >= 500;
                return Err(if again { Miss::perhaps(error) } else { Miss::never(error) });
            }
            let range = header("content-range").and_then(|range| content_range(&range));
            let length = header("content-length").and_then(|length| length.parse().ok());
            let body = Box::new(response.into_body().into_reader());
            return Ok(Answer { status, range, length, commit, etag, linked_size, body });
        }
        let mend = "ask again later; HF_ENDPOINT says which server is asked";
        Err(Miss::never(self.fault(file, format!("more than {HOPS} redirects"), mend)))
    }
}

/// `W/"abc"` and `"abc"` mean `abc`.
fn plain_etag(etag: &str) -> String {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"').to_owned()
}

/// Scheme, host and port of an address, in small letters.
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

/// An address without the name and password that may stand before its host.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

/// Scheme, host and port of an address, as they stand there, for messages.
fn server(url: &str) -> String {
    let url = without_password(url);
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    url[..end].to_owned()
}

/// Whether what goes to this host stays on this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The address that `to`, in an answer from `from`, means: whole, or a path on the same server.
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

/// First byte and whole size of `bytes 0-0/1234`.
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
    fn no_message_has_a_password_in_it() {
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
        for (host, own) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("127.0.0.1.evil", false),
            ("hub.example", false),
            ("10.0.0.1", false),
            ("[fe80::1]", false),
        ] {
            assert_eq!(is_loopback(host), own, "{host}");
        }
    }

    #[test]
    fn a_redirect_is_whole_or_a_path() {
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
