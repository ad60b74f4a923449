//! Which `Host` a listener accepts. On the public one the value has no effect, so any single one is accepted.
//! On the private one it must be known: a page in the operator's browser whose own name suddenly resolves to
//! 127.0.0.1 (DNS rebinding) can reach the port, but cannot lie about the name.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use axum::http::Version;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;

use super::refusal::{ErrorForm, Refusal};

/// The rule of a listener. Either way a request has exactly one `Host` line (RFC 9112 §3.2); HTTP/1.0 does not
/// define the header, so a request of that version may omit it where its value is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPolicy {
    /// Any one host; its value is ignored.
    AnySingle,
    /// One of these.
    AllowList(AllowedHosts),
}

/// The names and addresses that a private listener accepts, with any port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts {
    listen: IpAddr,
    names: BTreeSet<String>,
}

impl AllowedHosts {
    /// `localhost`, the loopback addresses, the address of the listener and `names`. A listener on all
    /// addresses accepts every IP literal: only a name can be rebound.
    pub fn new(listen: SocketAddr, names: impl IntoIterator<Item = String>) -> Self {
        let names = names
            .into_iter()
            .map(|name| canonical(&name))
            .chain(["localhost".to_owned()])
            .collect();
        Self {
            listen: listen.ip(),
            names,
        }
    }

    fn contains(&self, host: &str) -> bool {
        let literal = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        match literal.parse::<IpAddr>() {
            Ok(address) => {
                self.listen.is_unspecified() || address == self.listen || address.is_loopback()
            }
            Err(_) => self.names.contains(&canonical(host)),
        }
    }
}

impl HostPolicy {
    /// The form of the errors on a listener with this policy: only the private one has a list.
    pub(super) fn error_form(&self) -> ErrorForm {
        match self {
            Self::AnySingle => ErrorForm::OAuth,
            Self::AllowList(_) => ErrorForm::Problem,
        }
    }

    /// Judges a request's `Host` and, when its target is in absolute form, the authority there, which then
    /// takes precedence (RFC 9112 §3.2.2).
    pub(super) fn check(&self, request: &Parts) -> Result<(), Refusal> {
        let mut lines = request.headers.get_all(HOST).iter();
        let line = match (lines.next(), lines.next()) {
            (Some(line), None) => line,
            // Health checks of load balancers send this form.
            (None, _) if *self == Self::AnySingle && request.version < Version::HTTP_11 => {
                return Ok(());
            }
            (None | Some(_), _) => return Err(Refusal::NotOneHost),
        };
        // An empty value is valid: a target without an authority has nothing else to send.
        let host = match line.as_bytes() {
            b"" => None,
            bytes => Some(Authority::try_from(bytes).map_err(|_| Refusal::MalformedHost)?),
        };
        if host
            .as_ref()
            .is_some_and(|host| host.as_str().contains('@'))
        {
            return Err(Refusal::MalformedHost);
        }
        match self {
            Self::AnySingle => Ok(()),
            Self::AllowList(allowed) => {
                let is_known = |authority: &Authority| allowed.contains(authority.host());
                if host.as_ref().is_some_and(is_known)
                    && request.uri.authority().is_none_or(is_known)
                {
                    Ok(())
                } else {
                    Err(Refusal::UnknownHost)
                }
            }
        }
    }
}

/// Names compare case-insensitively and without the root's dot.
fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn outcome(listen: &str, target: &str, hosts: &[&str]) -> Result<(), Refusal> {
        let allowed =
            AllowedHosts::new(listen.parse().unwrap(), ["Console.Example.com".to_owned()]);
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        HostPolicy::AllowList(allowed).check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_private_listener_refuses_hosts_that_are_not_its_own() {
        for (listen, target, hosts, expected) in [
            ("127.0.0.1:8081", "/", &[][..], Refusal::NotOneHost),
            (
                "127.0.0.1:8081",
                "/",
                &["localhost", "localhost"],
                Refusal::NotOneHost,
            ),
            (
                "127.0.0.1:8081",
                "/",
                &["evil.example"],
                Refusal::UnknownHost,
            ),
            (
                "127.0.0.1:8081",
                "/",
                &["localhost.evil.example"],
                Refusal::UnknownHost,
            ),
            ("127.0.0.1:8081", "/", &[""], Refusal::UnknownHost),
            (
                "127.0.0.1:8081",
                "/",
                &["10.0.0.9:8081"],
                Refusal::UnknownHost,
            ),
            (
                "127.0.0.1:8081",
                "/",
                &["user@localhost"],
                Refusal::MalformedHost,
            ),
            (
                "127.0.0.1:8081",
                "/",
                &["local host"],
                Refusal::MalformedHost,
            ),
            (
                "127.0.0.1:8081",
                "/",
                &["localhost/admin"],
                Refusal::MalformedHost,
            ),
            (
                "127.0.0.1:8081",
                "http://evil.example/",
                &["localhost"],
                Refusal::UnknownHost,
            ),
            ("0.0.0.0:8081", "/", &["evil.example"], Refusal::UnknownHost),
        ] {
            assert_eq!(
                outcome(listen, target, hosts),
                Err(expected),
                "{listen} {target} {hosts:?}"
            );
        }
    }

    #[test]
    fn a_private_listener_answers_to_its_addresses_and_names_on_any_port() {
        for (listen, target, host) in [
            ("127.0.0.1:8081", "/", "127.0.0.1:8081"),
            ("127.0.0.1:8081", "/", "localhost"),
            ("127.0.0.1:8081", "/", "LOCALHOST.:9000"),
            ("127.0.0.1:8081", "/", "[::1]:8081"),
            ("127.0.0.1:8081", "/", "console.example.com"),
            ("127.0.0.1:8081", "http://localhost/", "localhost"),
            ("10.0.0.9:8081", "/", "10.0.0.9:8081"),
            ("0.0.0.0:8081", "/", "192.0.2.7:8081"),
        ] {
            assert_eq!(
                outcome(listen, target, &[host]),
                Ok(()),
                "{listen} {target} {host}"
            );
        }
    }
}
