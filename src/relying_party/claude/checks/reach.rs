//! Whether Claude can reach the issuer: URL, name, addresses, port and certificate.

use std::net::IpAddr;

use url::{Host, Url};

use super::Check;
use crate::domain::remedy::Remedy;
use crate::ports::address::{is_localhost_name, is_public};

/// A URL that Claude dials: https, port 443, a public host name, not an IP address.
#[must_use]
pub fn address(check: &'static str, url: &Url) -> Check {
    let fail = |problem: &str, action: &str| {
        Check::fail(check, format!("`{url}` {problem}"), Remedy::action(action))
    };
    if url.scheme() != "https" {
        return fail(
            "is not https, which Claude requires",
            "serve it behind a TLS proxy with an `https` issuer URL, or register the keys inline",
        );
    }
    if url.port_or_known_default() != Some(443) {
        return fail(
            &format!(
                "is on port {}; Claude requires 443",
                url.port_or_known_default().unwrap_or(0)
            ),
            "serve it on port 443, or register the keys inline",
        );
    }
    match url.host() {
        Some(Host::Domain(name)) if is_localhost_name(name) || !name.contains('.') => fail(
            "has a host name that is not public",
            "use a name in the public DNS, or register the keys inline",
        ),
        Some(Host::Domain(_)) => Check::ok(check, format!("`{url}`: https, port 443, host name")),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => fail(
            "has an IP address as its host; Claude requires a name",
            "use a name in the public DNS, or register the keys inline",
        ),
    }
}

/// The spelling of the issuer URL, which Claude compares with `iss` byte for byte.
#[must_use]
pub fn spelling(issuer: &str) -> Check {
    let parsed = Url::parse(issuer);
    let normal = parsed.as_ref().map(|url| {
        let text = url.as_str();
        // A URL without a path is normalised to one with `/`.
        text.strip_suffix('/').unwrap_or(text).to_owned()
    });
    if issuer.ends_with('/') {
        return Check::warn(
            "issuer",
            format!("`{issuer}` ends with a slash"),
            Remedy::action(
                "register the URL exactly so, slash included; a URL without one is safer",
            ),
        );
    }
    match normal {
        Ok(normal) if normal == issuer => Check::ok(
            "issuer",
            format!(
                "`{issuer}`: register exactly these {} characters",
                issuer.len()
            ),
        ),
        Ok(normal) => Check::warn(
            "issuer",
            format!("`{issuer}` is not in its normal form, `{normal}`"),
            Remedy::action("register the URL exactly as it is here; Claude compares byte for byte"),
        ),
        Err(error) => Check::fail(
            "issuer",
            format!("`{}` is not a URL ({error})", issuer.escape_debug()),
            Remedy::action("restart with `--issuer-url https://HOST`"),
        ),
    }
}

/// What the name resolves to.
#[must_use]
pub fn addresses(host: &str, addresses: &[IpAddr]) -> Check {
    let list = |of: &[IpAddr]| {
        of.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (public, private): (Vec<IpAddr>, Vec<IpAddr>) = addresses
        .iter()
        .copied()
        .partition(|address| is_public(*address));
    if addresses.is_empty() {
        Check::fail(
            "dns",
            format!("`{host}` does not resolve"),
            Remedy::action("add the name to the public DNS, or register the keys inline"),
        )
    } else if public.is_empty() {
        Check::fail(
            "dns",
            format!(
                "`{host}` resolves to {} here, which is not public",
                list(&private)
            ),
            Remedy::action(
                "repeat this from outside the network if the name resolves differently there; else register the keys inline",
            ),
        )
    } else if private.is_empty() {
        Check::ok("dns", format!("`{host}` resolves to {}", list(&public)))
    } else {
        Check::warn(
            "dns",
            format!(
                "`{host}` resolves to {}; not public: {}",
                list(addresses),
                list(&private)
            ),
            Remedy::action(
                "remove the private addresses from the public DNS; Claude may dial any of them",
            ),
        )
    }
}

/// Whether the port answers.
#[must_use]
pub fn port(host: &str, port: u16, outcome: Result<(), &str>) -> Check {
    match outcome {
        Ok(()) => Check::ok("port", format!("`{host}` answers on port {port}")),
        Err(reason) => Check::fail(
            "port",
            format!("`{host}` does not answer on port {port} ({reason})"),
            Remedy::action(
                "check that the issuer and its proxy are running and that the firewall admits Claude",
            ),
        ),
    }
}

/// The TLS client's own verification of the certificate and its name.
#[must_use]
pub fn certificate(host: &str, outcome: Result<(), &str>) -> Check {
    match outcome {
        Ok(()) => Check::ok(
            "tls",
            format!("the certificate chain and the name `{host}` verify"),
        ),
        Err(reason) => Check::fail(
            "tls",
            format!("no trusted connection to `{host}`: {reason}"),
            Remedy::action(
                "serve the full chain of a public CA for this name, or register a private CA at Claude and name it here with `--ca-cert FILE`",
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn status(of: &str) -> Status {
        address("address", &Url::parse(of).unwrap()).status
    }

    #[test]
    fn claude_dials_https_on_port_443_by_name_only() {
        for url in [
            "http://id.example.com",
            "https://id.example.com:8443",
            "https://192.0.2.1",
            "https://[2001:db8::1]",
            "https://localhost",
            "https://localhost.",
            "https://a.localhost",
            "https://issuer",
        ] {
            assert_eq!(status(url), Status::Fail, "{url}");
        }
        assert_eq!(status("https://id.example.com"), Status::Ok);
        assert_eq!(status("https://id.example.com:443/issuers/a"), Status::Ok);
    }

    #[test]
    fn a_name_must_have_public_addresses_only() {
        let of = |texts: &[&str]| {
            let parsed: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
            addresses("id.example.com", &parsed).status
        };
        assert_eq!(of(&[]), Status::Fail);
        assert_eq!(of(&["10.0.0.1"]), Status::Fail);
        assert_eq!(of(&["10.0.0.1", "1.1.1.1"]), Status::Warn);
        assert_eq!(of(&["::ffff:1.1.1.1", "2002:808:808::1"]), Status::Fail);
        assert_eq!(of(&["64:ff9b::808:808", "1.1.1.1"]), Status::Warn);
        assert_eq!(of(&["1.1.1.1"]), Status::Ok);
    }

    #[test]
    fn an_issuer_that_is_easily_registered_wrong_is_pointed_out() {
        for (issuer, expected) in [
            ("id.example.com", Status::Fail),
            ("https://id.example.com/", Status::Warn),
            ("https://ID.example.com", Status::Warn),
            ("https://id.example.com:443", Status::Warn),
            ("https://id.example.com", Status::Ok),
            ("https://id.example.com/issuers/a", Status::Ok),
        ] {
            assert_eq!(spelling(issuer).status, expected, "{issuer}");
        }
    }
}
