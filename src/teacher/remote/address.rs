//! Where an engine answers: `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::hint::Hint;

/// The address of an engine. Without TLS it can only be on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Address {
    /// A loopback address.
    Http {
        host: String,
        port: u16,
    },
    Https {
        host: String,
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Why a text is no address of an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("{0:?} is not an address of a teacher")]
    Malformed(String),
    #[error("{0} is not encrypted, and its host is not this machine")]
    Plain(String),
}

impl Hint for AddressError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Malformed(_) => "write http://127.0.0.1:8080, https://HOST:PORT or unix:/run/engine.sock, without a path or a user".into(),
            Self::Plain(_) => "use https:// with `teacher.tls_ca` or `teacher.tls_pin`, or a tunnel (ssh -L) with http://127.0.0.1:PORT".into(),
        })
    }
}

impl Address {
    /// The host of `authority` and its port, or else `port`.
    fn host_and_port(authority: &str, port: u16) -> Option<(String, u16)> {
        let (host, port) = match authority.rsplit_once(':') {
            // A colon inside of brackets belongs to an IPv6 address.
            Some((host, digits)) if !digits.ends_with(']') => {
                (host, digits.parse().ok().filter(|port| *port > 0)?)
            }
            _ => (authority, port),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if let Some(address) = host.strip_prefix('[') {
            let address = address.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
            return Some((address.to_string(), port));
        }
        (!host.is_empty() && host.chars().all(is_plain)).then(|| (host.to_owned(), port))
    }

    /// The host with its port, as in a URL.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Http { host, port } | Self::Https { host, port } if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Self::Http { host, port } | Self::Https { host, port } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// The address of the loopback interface that `host` means.
pub(super) fn loopback(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    host.parse::<IpAddr>().ok().filter(IpAddr::is_loopback)
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(malformed()) };
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let parts = |port| Self::host_and_port(authority, port).ok_or_else(malformed);
        match scheme {
            "http" => {
                let (host, port) = parts(80)?;
                match loopback(&host) {
                    Some(_) => Ok(Self::Http { host, port }),
                    None => Err(AddressError::Plain(text.to_owned())),
                }
            }
            "https" => parts(443).map(|(host, port)| Self::Https { host, port }),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { .. } => write!(f, "http://{}", self.authority()),
            Self::Https { .. } => write!(f, "https://{}", self.authority()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost/", "http://localhost:80"),
            ("http://[::1]:9000", "http://[::1]:9000"),
            ("https://gpu-7.lan:8443", "https://gpu-7.lan:8443"),
            ("https://10.1.2.3", "https://10.1.2.3:443"),
            ("unix:/run/engine.sock", "unix:/run/engine.sock"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "127.0.0.1:8080",
            "ftp://127.0.0.1",
            "http://",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:0",
            "https://a:b:80",
            "http://127.0.0.1:8080/v1",
            "https://me:secret@host",
            "https://[host]",
            "unix:engine.sock",
        ] {
            let refused = text.parse::<Address>();
            assert!(matches!(refused, Err(AddressError::Malformed(_))), "{text}: {refused:?}");
        }
    }

    #[test]
    fn without_tls_only_this_machine_is_reached() {
        for text in ["http://10.1.2.3:8080", "http://gpu-7.lan", "http://localhost.example.com"] {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::Plain(_))), "{text}");
        }
    }
}
