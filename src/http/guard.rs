//! Who may use the page: the person who has read its address on the terminal.
//!
//! * The address has a token that works once. Whoever sends it gets a cookie, which the browser
//!   sends along from the page alone (`SameSite=Strict`) and shows to no script (`HttpOnly`).
//! * `Host` must name this machine: another site whose name was pointed at 127.0.0.1 has its own
//!   name there.
//! * What changes something must come from the page itself: its `Origin` must be this address.
//!
//! Token and cookie are 256 random bits, compared in constant time.

use std::sync::{Mutex, PoisonError};

use rand::{TryRngCore, rngs::OsRng};
use subtle::ConstantTimeEq;

use super::{
    Handler,
    listener::Address,
    message::{Request, Response},
};

/// Bytes of a request's body: an edited text, as JSON.
const MAX_BODY: usize = 4 << 20;

/// The page may load what comes from here and nothing else, and nothing else may show or read it.
const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// The page of a command: what its guard lets pass is answered by `answer`.
pub(crate) struct Page<F> {
    pub guard: Guard,
    pub answer: F,
}

impl<F: Fn(&Request) -> Response + Send + Sync + 'static> Handler for Page<F> {
    fn admit(&self, request: &Request) -> Result<usize, Response> {
        self.guard.admit(request).map(|()| MAX_BODY)
    }

    fn answer(&self, request: &Request) -> Response {
        (self.answer)(request)
    }

    fn headers(&self) -> &[(&'static str, &'static str)] {
        &HEADERS
    }
}

/// Lets the requests of one browser pass.
pub(crate) struct Guard {
    address: Address,
    /// Hexadecimal; `None` once it was used.
    token: Mutex<Option<String>>,
    /// Hexadecimal.
    session: String,
    /// Cookies do not know ports: two pages on this machine need two names.
    cookie_name: String,
}

/// The name of the query's only part.
const TOKEN: &str = "token";

/// Where the token has become a cookie: the page is loaded anew, this time from itself, since a
/// browser that comes from elsewhere does not send a strict cookie.
const ENTER: &str = "<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0; url=/\"><title>promptmix</title><a href=\"/\">Continue</a>";

const USED: &str = "This address does not open the page: its token was used before, or is wrong. \
                    Use the browser window that it opened, or end the command with Ctrl-C and start it again for a new address.";

impl Guard {
    /// A guard of the page at `address` with a new token.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(address: Address) -> std::io::Result<Self> {
        let cookie_name = match &address {
            Address::Port(port) => format!("promptmix-{port}"),
            // The browser knows the port of a tunnel, which any page may get.
            _ => format!("promptmix-{}", &secret()?[..16]),
        };
        let token = Mutex::new(Some(secret()?));
        Ok(Self { address, token, session: secret()?, cookie_name })
    }

    /// The address with the token. For a socket in the file system it is that of a tunnel's other
    /// end on `port`.
    pub(crate) fn url(&self, port: u16) -> String {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let token = token.as_deref().unwrap_or_default();
        let port = match self.address {
            Address::Port(port) => port,
            _ => port,
        };
        format!("http://127.0.0.1:{port}/?{TOKEN}={token}")
    }

    /// Whether `request` may pass, decided by its head alone.
    ///
    /// # Errors
    /// The answer to a request that may not, and to the one that brings the token.
    fn admit(&self, request: &Request) -> Result<(), Response> {
        let Some(host) = request.header("host").filter(|host| self.is_host(host)) else {
            return Err(Response::text(403, "The page has another address: see the terminal."));
        };
        let same_origin = |origin: &str| origin == format!("http://{host}");
        let is_write = match request.method.as_str() {
            "GET" => false,
            "POST" => true,
            _ => return Err(Response::text(405, "Only GET and POST are answered here.")),
        };
        let origins = request.headers.iter().filter(|(name, _)| name == "origin").count();
        let origin = request.header("origin");
        if origins > 0 && !origin.is_some_and(same_origin) || is_write && origins == 0 {
            return Err(Response::text(403, "The request comes from another page."));
        }
        if self.has_cookie(request) {
            return if request.query.is_empty() { Ok(()) } else { Err(Response::html(ENTER)) };
        }
        let is_entry = request.method == "GET" && request.path == "/";
        match request.query.strip_prefix(TOKEN).and_then(|rest| rest.strip_prefix('=')) {
            Some(token) if is_entry && self.take(token) => {
                let (name, session) = (&self.cookie_name, &self.session);
                let cookie = format!("{name}={session}; Path=/; HttpOnly; SameSite=Strict");
                Err(Response::html(ENTER).with("set-cookie", cookie))
            }
            _ => Err(Response::text(403, USED)),
        }
    }

    /// Whether `host` is this machine and this port. A tunnel to a path may have any port.
    fn is_host(&self, host: &str) -> bool {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
        let is_port = match &self.address {
            Address::Port(own) => port == own.to_string(),
            _ => port.parse::<u16>().is_ok(),
        };
        ["127.0.0.1", "localhost"].contains(&name) && is_port
    }

    fn has_cookie(&self, request: &Request) -> bool {
        let name = &self.cookie_name;
        let cookies = request.headers.iter().filter(|(header, _)| header == "cookie");
        cookies.flat_map(|(_, value)| value.split(';')).any(|pair| {
            let (key, value) = pair.trim().split_once('=').unwrap_or_default();
            key == *name && is_equal(value, &self.session)
        })
    }

    /// Whether `token` is the one of the address, which then is used.
    fn take(&self, token: &str) -> bool {
        let mut own = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = own.as_deref().is_some_and(|own| is_equal(own, token));
        if is_own {
            *own = None;
        }
        is_own
    }
}

/// In a time that does not depend on where they differ.
pub(crate) fn is_equal(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// 256 random bits in hexadecimal.
fn secret() -> std::io::Result<String> {
    let mut bytes = [0_u8; 32];
    OsRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "127.0.0.1:8000";

    fn guard() -> Guard {
        Guard::new(Address::Port(8000)).unwrap()
    }

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers.collect(),
            ..Request::default()
        }
    }

    fn status(guard: &Guard, request: &Request) -> u16 {
        guard.admit(request).map_or_else(|refused| refused.status, |()| 200)
    }

    /// The cookie that the token of `guard` is worth.
    fn enter(guard: &Guard) -> String {
        let url = guard.url(0);
        let target = url.strip_prefix("http://127.0.0.1:8000").unwrap();
        let entry = request("GET", target, &[("host", HOST)]);
        let answer = guard.admit(&entry).expect_err("the page is not shown yet");
        let cookie = answer.headers.iter().find(|(name, _)| *name == "set-cookie");
        let cookie = cookie.expect("a cookie").1.clone();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        assert_eq!(status(guard, &entry), 403, "the token works once");
        cookie.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn the_token_of_the_address_works_once_and_the_cookie_from_then_on() {
        let guard = guard();
        assert_eq!(status(&guard, &request("GET", "/", &[("host", HOST)])), 403);
        let wrong = request("GET", "/?token=0123", &[("host", HOST)]);
        assert_eq!(status(&guard, &wrong), 403, "a wrong token does not use up the right one");
        let cookie = enter(&guard);
        let with = |cookie: &str| request("GET", "/", &[("host", HOST), ("cookie", cookie)]);
        assert_eq!(status(&guard, &with(&cookie)), 200);
        assert_eq!(status(&guard, &with(&format!("a=b; {cookie}; c=d"))), 200);
        for wrong in [&cookie[..cookie.len() - 1], "promptmix-8000=", "promptmix-8000", ""] {
            assert_eq!(status(&guard, &with(wrong)), 403, "{wrong}");
        }
        assert_eq!(enter(&self::guard()).len(), "promptmix-8000=".len() + 64);
    }

    #[test]
    fn another_host_and_another_origin_are_refused() {
        let guard = guard();
        let cookie = enter(&guard);
        let get = |host: &str| request("GET", "/", &[("host", host), ("cookie", &cookie)]);
        assert_eq!(status(&guard, &get("localhost:8000")), 200);
        for host in ["127.0.0.1", "127.0.0.1:80", "evil.example:8000", "127.0.0.1:8000.evil", ""] {
            assert_eq!(status(&guard, &get(host)), 403, "{host}");
        }
        let twice = [("host", HOST), ("host", HOST), ("cookie", &cookie)];
        assert_eq!(status(&guard, &request("GET", "/", &twice)), 403);
        let post = |origins: &[&str]| {
            let mut headers = vec![("host", HOST), ("cookie", &cookie)];
            headers.extend(origins.iter().map(|origin| ("origin", *origin)));
            status(&guard, &request("POST", "/api", &headers))
        };
        let own = "http://127.0.0.1:8000";
        assert_eq!(post(&[own]), 200);
        let foreign = ["null", "https://127.0.0.1:8000", "http://localhost:8000", "http://evil"];
        for origin in foreign {
            assert_eq!(post(&[origin]), 403, "{origin}");
        }
        assert_eq!(post(&[]), 403, "a request without an origin changes nothing");
        assert_eq!(post(&[own, "http://evil"]), 403);
        let read = request("GET", "/", &[("host", HOST), ("cookie", &cookie), ("origin", "null")]);
        assert_eq!(status(&guard, &read), 403);
        let method = request("PUT", "/", &[("host", HOST), ("cookie", &cookie)]);
        assert_eq!(status(&guard, &method), 405);
    }

    #[test]
    fn a_tunnel_to_a_path_may_have_any_port() {
        let guard = Guard::new(Address::Path("socket".into())).unwrap();
        assert!(guard.is_host("localhost:9000") && guard.is_host("127.0.0.1"));
        assert!(!guard.is_host("evil.example:9000") && !guard.is_host("localhost:port"));
        // Behind the same port of two tunnels in turn, neither page takes the other's cookie away.
        let other = Guard::new(Address::Path("socket".into())).unwrap();
        assert_ne!(guard.cookie_name, other.cookie_name);
    }
}
