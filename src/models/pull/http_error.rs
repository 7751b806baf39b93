//! Says in words what a hub or a network refuses, and what to do.

use std::env;

/// A status that is no success.
pub(super) struct Refusal<'a> {
    pub status: u16,
    /// `x-error-code`, as far as the hub sends one.
    pub code: &'a str,
    /// Whether a token was sent.
    pub token: bool,
    /// Whether the hub itself answered, and not a host it led to.
    pub at_home: bool,
    /// Who answered.
    pub server: &'a str,
    pub endpoint: &'a str,
    pub repo: &'a str,
}

/// Message and mend of a refusal.
pub(super) fn refused(refusal: &Refusal) -> (String, String) {
    let Refusal { status, code, token, at_home, server, endpoint, repo } = *refusal;
    let page = format!("{endpoint}/{repo}");
    let with = if token { "the token in HF_TOKEN was sent" } else { "no token was sent" };
    if !at_home {
        return (
            format!("the server that the hub leads to ({server}) answers {status}"),
            "pull again: its links live for a short time only".to_owned(),
        );
    }
    match (status, code) {
        (_, "RevisionNotFound") => (
            format!("there is no such revision ({status})"),
            format!("`--revision main` asks for the newest; {page} shows them all"),
        ),
        (_, "GatedRepo") | (403, _) => (
            format!("the model is gated ({status}; {with})"),
            format!(
                "accept its licence on {page} with your account, then set HF_TOKEN to a token of that account that may read gated repos"
            ),
        ),
        (401, _) => (
            format!("the hub wants to know who asks (401; {with})"),
            if token {
                format!(
                    "is HF_TOKEN still valid, and was the licence on {page} accepted? A repo that does not exist answers the same"
                )
            } else {
                format!(
                    "accept the licence on {page} if it has one, and set HF_TOKEN to a token of yours ({endpoint}/settings/tokens); a repo that does not exist answers the same"
                )
            },
        ),
        (404, _) => (
            "there is no such repo, revision or file (404)".to_owned(),
            format!(
                "it may have been renamed: see {page}; `--revision` names another commit, `promptmix models pull owner/repo FILE` another file"
            ),
        ),
        (407, _) => (
            "the proxy wants a name and a password (407)".to_owned(),
            "HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT".to_owned(),
        ),
        (429, _) => (
            "the hub was asked too often (429)".to_owned(),
            "wait some minutes; with HF_TOKEN more is allowed".to_owned(),
        ),
        (500.., _) => (
            format!("the hub has trouble of its own ({status})"),
            "pull again later; it goes on where it stopped".to_owned(),
        ),
        _ => (
            format!("the hub answers {status}"),
            format!("look at {page}; HF_ENDPOINT says which hub is asked"),
        ),
    }
}

/// Message and mend where no answer came at all. The client asks the first proxy variable that is
/// set, whatever the scheme of the address.
pub(super) fn no_connection(error: &str, endpoint: &str) -> (String, String) {
    let proxy = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"].into_iter().find_map(|name| {
        let set = |name: &str| env::var(name).is_ok_and(|value| !value.is_empty());
        let small = name.to_ascii_lowercase();
        if set(name) { Some(name.to_owned()) } else { set(&small).then_some(small) }
    });
    let mend = match proxy {
        // Its value may hold a password.
        Some(variable) => format!(
            "{variable} is set: is that proxy up, and does it lead to {endpoint}? NO_PROXY makes exceptions"
        ),
        None => format!(
            "is the network up, and does it lead to {endpoint}? Behind a proxy set HTTPS_PROXY; without a network, copy the model here and take it over with `promptmix models import`"
        ),
    };
    (format!("no answer from {endpoint}: {error}"), mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_mend() {
        let say = |status, code, token| {
            let repo = "owner/tiny";
            let endpoint = "https://hub.example";
            let (message, mend) = refused(&Refusal {
                status,
                code,
                token,
                at_home: true,
                server: endpoint,
                endpoint,
                repo,
            });
            format!("{message}\n{mend}")
        };
        for (text, wanted) in [
            (say(401, "", false), "HF_TOKEN"),
            (say(401, "", false), "https://hub.example/owner/tiny"),
            (say(401, "", true), "still valid"),
            (say(401, "GatedRepo", false), "gated"),
            (say(403, "", true), "accept its licence"),
            (say(404, "EntryNotFound", false), "renamed"),
            (say(404, "RevisionNotFound", false), "--revision main"),
            (say(407, "", false), "HTTPS_PROXY"),
            (say(429, "", false), "wait"),
            (say(503, "", false), "later"),
            (say(418, "", false), "HF_ENDPOINT"),
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
}
