//! Explains HTTP errors and failed connections to the user.

use std::env;

/// An HTTP error status and its circumstances.
pub(super) struct ErrorResponse<'a> {
    pub status: u16,
    /// The header `x-error-code`; empty if the server sent none.
    pub code: &'a str,
    /// Whether a token was sent.
    pub has_token: bool,
    /// Whether the hub itself answered, not a host that it redirected to.
    pub from_hub: bool,
    /// The server that answered.
    pub server: &'a str,
    pub endpoint: &'a str,
    pub repo: &'a str,
}

/// Message and hint for an HTTP error.
pub(super) fn explain(response: &ErrorResponse) -> (String, String) {
    let ErrorResponse { status, code, has_token, from_hub, server, endpoint, repo } = *response;
    let page = format!("{endpoint}/{repo}");
    let sent = if has_token { "a token was sent" } else { "no token was sent" };
    if !from_hub {
        return (
            format!("the hub redirected to {server}, which returned an error ({status})"),
            "pull again: such links expire after a short time".to_owned(),
        );
    }
    match (status, code) {
        (_, "RevisionNotFound") => (
            format!("no such revision ({status})"),
            format!("`--revision main` fetches the newest; {page} lists all revisions"),
        ),
        (_, "GatedRepo") | (403, _) => (
            format!("the model is gated ({status}; {sent})"),
            format!(
                "accept its licence on {page}, then set HF_TOKEN to a token of the same account with access to gated repos"
            ),
        ),
        (401, _) => (
            format!("the hub requires authentication (401; {sent})"),
            if has_token {
                format!(
                    "check that the token (from HF_TOKEN or `hf auth login`) is still valid and that its account has accepted the licence on {page}; the hub answers the same for a repo that does not exist"
                )
            } else {
                format!(
                    "accept the licence on {page}, if there is one, and set HF_TOKEN to one of your tokens ({endpoint}/settings/tokens); the hub answers the same for a repo that does not exist"
                )
            },
        ),
        (404, _) => (
            "no such repo, revision or file (404)".to_owned(),
            format!(
                "it may have been renamed: see {page}; `--revision` selects another commit, `promptmix models pull owner/repo FILE` another file"
            ),
        ),
        (407, _) => (
            "the proxy requires a user name and password (407)".to_owned(),
            "set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT".to_owned(),
        ),
        (429, _) => (
            "too many requests to the hub (429)".to_owned(),
            "wait a few minutes; the limit is higher with HF_TOKEN".to_owned(),
        ),
        (500.., _) => (
            format!("the hub returned a server error ({status})"),
            "try again later; interrupted downloads are resumed".to_owned(),
        ),
        _ => (
            format!("the hub returned an unexpected status ({status})"),
            format!("see {page}; HF_ENDPOINT selects the hub"),
        ),
    }
}

/// Message and hint for a request without an answer. The HTTP client uses the first proxy variable
/// that is set, whatever the scheme of the address.
pub(super) fn explain_no_answer(error: &str, endpoint: &str) -> (String, String) {
    let proxy = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"].into_iter().find_map(|name| {
        let set = |name: &str| env::var(name).is_ok_and(|value| !value.is_empty());
        let lower = name.to_ascii_lowercase();
        if set(name) { Some(name.to_owned()) } else { set(&lower).then_some(lower) }
    });
    let hint = match proxy {
        // Not its value, which may contain a password.
        Some(variable) => format!(
            "{variable} is set: check that the proxy is running and reaches {endpoint}; NO_PROXY lists hosts to reach without it"
        ),
        None => format!(
            "check that the network is up and reaches {endpoint}; behind a proxy, set HTTPS_PROXY; without a network, copy the model here and run `promptmix models import`"
        ),
    };
    (format!("no answer from {endpoint}: {error}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_hint() {
        let explained = |status, code, has_token| {
            let repo = "owner/tiny";
            let endpoint = "https://hub.example";
            let (message, hint) = explain(&ErrorResponse {
                status,
                code,
                has_token,
                from_hub: true,
                server: endpoint,
                endpoint,
                repo,
            });
            format!("{message}\n{hint}")
        };
        for (text, wanted) in [
            (explained(401, "", false), "HF_TOKEN"),
            (explained(401, "", false), "https://hub.example/owner/tiny"),
            (explained(401, "", true), "still valid"),
            (explained(401, "GatedRepo", false), "gated"),
            (explained(403, "", true), "accept its licence"),
            (explained(404, "EntryNotFound", false), "renamed"),
            (explained(404, "RevisionNotFound", false), "--revision main"),
            (explained(407, "", false), "HTTPS_PROXY"),
            (explained(429, "", false), "wait"),
            (explained(503, "", false), "later"),
            (explained(418, "", false), "HF_ENDPOINT"),
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
}
