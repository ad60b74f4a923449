//! Where Claude gets an issuer's keys, and which URLs it dials.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::{Host, Url};

use crate::domain::Invalid;
use crate::jose::pem::blocks;
use crate::jose::{ForeignKeySet, JwkError};
use crate::ports::address::{is_localhost_name, is_loopback};

/// The longest PEM text: room for a dozen certificates.
const CA_CERT_MAX_BYTES: usize = 32 * 1024;

/// The member `jwks` of a federation issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum JwksSource {
    /// The `jwks_uri` in `<discovery_base or issuer_url>/.well-known/openid-configuration`.
    Discovery {
        /// The base URL in place of the issuer's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        discovery_base: Option<String>,
        /// A private certificate authority.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca_cert_pem: Option<String>,
    },
    /// A key set at a URL.
    ExplicitUrl {
        /// The URL.
        url: String,
        /// A private certificate authority.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca_cert_pem: Option<String>,
    },
    /// The keys themselves, which Claude does not refresh.
    Inline {
        /// The bare array, without the `{"keys": …}` around it.
        keys: Vec<Value>,
    },
}

impl Default for JwksSource {
    fn default() -> Self {
        Self::discovery()
    }
}

impl JwksSource {
    /// Discovery at the issuer's own URL.
    #[must_use]
    pub fn discovery() -> Self {
        Self::Discovery {
            discovery_base: None,
            ca_cert_pem: None,
        }
    }

    /// Its type as the Admin API spells it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Discovery { .. } => "discovery",
            Self::ExplicitUrl { .. } => "explicit_url",
            Self::Inline { .. } => "inline",
        }
    }

    /// The private certificate authorities for its URLs; `None`: the public ones.
    #[must_use]
    pub fn ca_cert_pem(&self) -> Option<&str> {
        match self {
            Self::Discovery { ca_cert_pem, .. } | Self::ExplicitUrl { ca_cert_pem, .. } => {
                ca_cert_pem.as_deref()
            }
            Self::Inline { .. } => None,
        }
    }

    /// The inline keys as a key set; `None` for keys that are fetched.
    #[must_use]
    pub fn inline_set(&self) -> Option<Result<ForeignKeySet, JwkError>> {
        match self {
            Self::Inline { keys } => {
                let set = json!({ "keys": keys }).to_string();
                Some(ForeignKeySet::parse_published(set.as_bytes()))
            }
            Self::Discovery { .. } | Self::ExplicitUrl { .. } => None,
        }
    }

    /// The first URL that Claude dials for an issuer, with the member that names it; `None` for inline keys.
    #[must_use]
    pub fn dialled_url(&self, issuer_url: &str) -> Option<(&'static str, String)> {
        // Not documented: whether a trailing slash is removed before the path is appended.
        let metadata = |base: &str| format!("{base}/.well-known/openid-configuration");
        match self {
            Self::Discovery {
                discovery_base: Some(base),
                ..
            } => Some(("discovery_base", metadata(base))),
            Self::Discovery {
                discovery_base: None,
                ..
            } => Some(("issuer_url", metadata(issuer_url))),
            Self::ExplicitUrl { url, .. } => Some(("url", url.clone())),
            Self::Inline { .. } => None,
        }
    }
}

/// Checks the certificates of private authorities: PEM, certificates only. Not documented: the limit.
///
/// # Errors
/// When it contains anything else, above all a private key.
pub fn check_ca_cert(text: &str) -> Result<(), Invalid> {
    let refuse = |problem: String| Err(Invalid::new("ca_cert_pem", problem));
    if text.len() > CA_CERT_MAX_BYTES {
        return refuse(format!("must be at most {CA_CERT_MAX_BYTES} bytes long"));
    }
    // By the label alone, to find a malformed one too.
    if text.contains("PRIVATE KEY-----") {
        return refuse("must contain only certificates, not a private key".to_owned());
    }
    let blocks = match blocks(text) {
        Ok(blocks) => blocks,
        Err(error) => return refuse(format!("is not certificates in PEM: it {error}")),
    };
    match blocks.iter().find(|block| block.label != "CERTIFICATE") {
        Some(other) => refuse(format!(
            "must contain only certificates, not a block `{}`",
            other
                .label
                .chars()
                .take(40)
                .collect::<String>()
                .escape_debug()
        )),
        None => Ok(()),
    }
}

/// Checks the text of a URL that Claude dials: https, port 443, a DNS name.
/// `loopback_http` also accepts `http://127.0.0.1:PORT` and the like, for a simulation.
///
/// # Errors
/// When Claude rejects it, in its words where they are known.
pub fn check_dialled_url(
    field: &'static str,
    text: &str,
    loopback_http: bool,
) -> Result<(), Invalid> {
    let refuse = |problem: &str| Err(Invalid::new(field, problem));
    let Ok(url) = Url::parse(text) else {
        return refuse("url is not a valid URL");
    };
    if loopback_http && is_loopback(&url) && matches!(url.scheme(), "http" | "https") {
        return Ok(());
    }
    if url.scheme() != "https" {
        return refuse("url must use https scheme");
    }
    if url.port_or_known_default() != Some(443) {
        return refuse("url must use port 443");
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return refuse("url must not contain credentials or a fragment");
    }
    match url.host() {
        Some(Host::Domain(name)) if name.contains('.') && !is_private_name(name) => Ok(()),
        Some(Host::Domain(_)) => refuse("url must have a public DNS hostname"),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => {
            refuse("url must have a DNS hostname, not an IP address")
        }
    }
}

/// Names that no public resolver answers (RFC 6761, RFC 6762, RFC 8375, ICANN's `.internal`).
fn is_private_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let is_reserved = [".local", ".internal", ".test", ".invalid", ".home.arpa"]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    is_reserved || is_localhost_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_claude_does_not_dial_are_refused() {
        for (url, problem) in [
            ("http://id.example.com", "url must use https scheme"),
            ("ftp://id.example.com", "url must use https scheme"),
            ("https://id.example.com:8443", "url must use port 443"),
            (
                "https://192.0.2.1",
                "url must have a DNS hostname, not an IP address",
            ),
            (
                "https://[2001:db8::1]",
                "url must have a DNS hostname, not an IP address",
            ),
            ("https://localhost", "url must have a public DNS hostname"),
            ("https://localhost.", "url must have a public DNS hostname"),
            ("https://a.localhost", "url must have a public DNS hostname"),
            (
                "https://id.corp.internal",
                "url must have a public DNS hostname",
            ),
            (
                "https://a:b@id.example.com",
                "url must not contain credentials or a fragment",
            ),
            ("id.example.com", "url is not a valid URL"),
        ] {
            let refused = check_dialled_url("issuer_url", url, false).expect_err(url);
            assert_eq!(
                refused.to_string(),
                format!("issuer_url: {problem}"),
                "{url}"
            );
        }
    }

    #[test]
    fn a_public_https_url_is_taken_and_loopback_only_where_it_is_asked_for() {
        for url in [
            "https://id.example.com",
            "https://id.example.com:443/tenant",
        ] {
            assert_eq!(check_dialled_url("issuer_url", url, false), Ok(()), "{url}");
        }
        for url in [
            "http://127.0.0.1:8080",
            "http://localhost:8080",
            "http://[::1]:1/x",
        ] {
            assert!(
                check_dialled_url("issuer_url", url, false).is_err(),
                "{url}"
            );
            assert_eq!(check_dialled_url("issuer_url", url, true), Ok(()), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "http://a.localhost",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(check_dialled_url("issuer_url", url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn a_private_authority_is_certificates_and_nothing_else() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nMIIB\n-----END {label}-----\n");
        let certificate = block("CERTIFICATE");
        for (text, problem) in [
            (
                String::new(),
                "is not certificates in PEM: it does not contain a PEM block",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nMIIB".to_owned(),
                "is not certificates in PEM: it has a PEM block without",
            ),
            (
                block("PUBLIC KEY"),
                "must contain only certificates, not a block `PUBLIC KEY`",
            ),
            (
                format!("{certificate}{}", block("EC PRIVATE KEY")),
                "must contain only certificates, not a private key",
            ),
            (
                format!("{certificate}-----BEGIN PRIVATE KEY-----"),
                "must contain only certificates, not a private key",
            ),
            (
                "x".repeat(CA_CERT_MAX_BYTES + 1),
                "must be at most 32768 bytes",
            ),
        ] {
            let refused = check_ca_cert(&text).expect_err(problem);
            assert_eq!(refused.field, "ca_cert_pem");
            assert!(refused.problem.starts_with(problem), "{refused}");
        }
        assert_eq!(check_ca_cert(&certificate.repeat(2)), Ok(()));
    }

    #[test]
    fn the_three_sources_read_back_from_the_documented_json() {
        for value in [
            json!({"type": "discovery"}),
            json!({"type": "discovery", "discovery_base": "https://keys.example.com"}),
            json!({"type": "explicit_url", "url": "https://keys.example.com/jwks"}),
            json!({"type": "inline", "keys": [{"kty": "EC"}]}),
        ] {
            let source: JwksSource = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(&source).unwrap(), value);
            assert_eq!(source.type_name(), value["type"]);
        }
        assert!(
            serde_json::from_value::<JwksSource>(json!({"type": "inline", "keys": {"keys": []}}))
                .is_err()
        );
    }
}
