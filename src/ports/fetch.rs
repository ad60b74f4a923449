//! Fetches documents that others publish, such as a trusted issuer's keys. Addresses come from administrators and
//! from documents of others, so that the real fetcher reaches public addresses only (OWASP SSRF
//! Prevention; RFC 8725 §3.10): `https`, names resolved here and every address checked before one of them
//! is connected to, no redirects, no proxy, a bounded body, a bounded time.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};
use url::{Host, Url};

use super::address::{is_localhost_name, is_loopback, is_public, nat64_target};
use super::cause::innermost;

/// Longest body: key sets of the large issuers have 2 to 12 KiB.
pub const BODY_MAX_BYTES: usize = 64 * 1024;
/// Longest duration of a fetch, from the look-up of the name to the end of the body.
pub const FETCH_WITHIN: Duration = Duration::from_secs(5);

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The status code.
    pub status: u16,
    /// The media type as sent; empty when there was none.
    pub content_type: String,
    /// The body, at most [`BODY_MAX_BYTES`].
    pub body: Vec<u8>,
}

/// Why the document is missing. The texts are for administrators and the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It must not be fetched from there.
    #[error("{0}")]
    Refused(String),
    /// It cannot be fetched now.
    #[error("{0}")]
    Failed(String),
}

/// A fetch under way.
pub type Fetching<'f> = Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + 'f>>;

/// Fetches documents.
pub trait Fetcher: Send + Sync + fmt::Debug {
    /// Whether the URL may be fetched, judged by its text.
    ///
    /// # Errors
    /// [`FetchError::Refused`] with the reason.
    fn check(&self, url: &str) -> Result<(), FetchError>;

    /// Fetches the document at `url`, whatever its status.
    fn fetch<'f>(&'f self, url: &'f str) -> Fetching<'f>;
}

/// Whether a fetcher may also reach this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loopback {
    /// No.
    #[default]
    Refused,
    /// Also `http` and `https` on loopback: for laboratories.
    Insecure,
}

/// The real fetcher.
#[derive(Clone)]
pub struct HttpFetcher {
    loopback: Loopback,
    names: Arc<dyn NameLookup>,
}

impl fmt::Debug for HttpFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFetcher")
            .field("loopback", &self.loopback)
            .finish_non_exhaustive()
    }
}

impl Default for HttpFetcher {
    fn default() -> Self {
        Self::new(Loopback::Refused)
    }
}

impl HttpFetcher {
    /// A fetcher that asks the operating system for addresses.
    #[must_use]
    pub fn new(loopback: Loopback) -> Self {
        Self {
            loopback,
            names: Arc::new(SystemLookup),
        }
    }

    fn parse(&self, text: &str) -> Result<Url, FetchError> {
        let refused = |problem: &str| Err(FetchError::Refused(problem.to_owned()));
        let Ok(url) = Url::parse(text) else {
            return refused("it is not a URL");
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refused("it contains a user name or password");
        }
        if url.fragment().is_some() {
            return refused("it has a fragment");
        }
        let is_local = match url.host() {
            // Names below it too: they are resolved here, and every address is checked.
            Some(Host::Domain(name)) => is_localhost_name(name),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => is_loopback(&url),
            None => return refused("it does not name a host"),
        };
        if is_local && self.loopback == Loopback::Insecure {
            return match url.scheme() {
                "http" | "https" => Ok(url),
                _ => refused("it is not an https URL"),
            };
        }
        if url.scheme() != "https" {
            return refused("it is not an https URL");
        }
        let is_public = match url.host() {
            Some(Host::Domain(_)) => !is_local,
            Some(Host::Ipv4(address)) => leads_outside(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => leads_outside(IpAddr::V6(address)),
            None => false,
        };
        if is_public {
            Ok(url)
        } else {
            refused("its host is not a public address")
        }
    }

    async fn get(&self, text: &str) -> Result<Fetched, FetchError> {
        let url = self.parse(text)?;
        // Each fetch uses its own client: fetches are rare, no connection outlives its check, and certificates
        // are loaded only for https (a slim container may have none).
        let builder = Client::builder()
            .user_agent(concat!("firman/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(FETCH_WITHIN)
            .dns_resolver(Arc::new(CheckedNames {
                loopback: self.loopback,
                names: Arc::clone(&self.names),
            }));
        let builder = if url.scheme() == "https" {
            builder
        } else {
            builder.tls_certs_only([])
        };
        let client = builder.build().map_err(|error| failed(&error))?;
        let request = client.get(url).header("accept", "application/json");
        let mut response = request.send().await.map_err(|error| failed(&error))?;
        let content_type = response.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let mut fetched = Fetched {
            status: response.status().as_u16(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
            if fetched.body.len() + chunk.len() > BODY_MAX_BYTES {
                return Err(FetchError::Failed(format!(
                    "the answer is longer than {BODY_MAX_BYTES} bytes"
                )));
            }
            fetched.body.extend_from_slice(&chunk);
        }
        Ok(fetched)
    }
}

impl Fetcher for HttpFetcher {
    fn check(&self, url: &str) -> Result<(), FetchError> {
        self.parse(url).map(drop)
    }

    fn fetch<'f>(&'f self, url: &'f str) -> Fetching<'f> {
        Box::pin(async move {
            let outcome = tokio::time::timeout(FETCH_WITHIN, self.get(url)).await;
            outcome.unwrap_or_else(|_| {
                Err(FetchError::Failed(format!(
                    "no complete answer within {} seconds",
                    FETCH_WITHIN.as_secs()
                )))
            })
        })
    }
}

fn failed(error: &(dyn Error + 'static)) -> FetchError {
    let cause = innermost(error);
    if cause.is::<NotPublic>() {
        FetchError::Refused(cause.to_string())
    } else {
        FetchError::Failed(cause.to_string())
    }
}

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of a name.
trait NameLookup: Send + Sync {
    fn addresses(&self, name: String) -> Lookup;
}

struct SystemLookup;

impl NameLookup for SystemLookup {
    fn addresses(&self, name: String) -> Lookup {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// A name that resolves to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("the name `{0}` resolves to an address that is not public")]
struct NotPublic(String);

/// Passes exactly the checked addresses to the connection, so that a name that resolves differently later has
/// no effect.
struct CheckedNames {
    loopback: Loopback,
    names: Arc<dyn NameLookup>,
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let (lookup, loopback) = (self.names.addresses(name.clone()), self.loopback);
        Box::pin(async move {
            let addresses = lookup.await?;
            // A name with one internal address is refused: which address is dialled would be chance.
            let is_local = is_localhost_name(&name);
            let are_good = addresses.iter().all(|address| {
                leads_outside(*address)
                    || (is_local && loopback == Loopback::Insecure && address.is_loopback())
            });
            if !are_good {
                return Err(NotPublic(name).into());
            }
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// Whether a connection to an address ends at a public one. A NAT64 address ends at the IPv4 address in it;
/// where DNS64 is used, a trusted issuer without IPv6 has no other.
fn leads_outside(address: IpAddr) -> bool {
    is_public(nat64_target(address).map_or(address, IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nat64_address_is_judged_by_the_address_in_it() {
        for (address, expected) in [
            ("64:ff9b::808:808", true),
            ("64:ff9b::a00:1", false),
            ("64:ff9b::127.0.0.1", false),
            ("64:ff9b::169.254.169.254", false),
            ("64:ff9b:1::808:808", false),
            ("::ffff:8.8.8.8", false),
            ("2002:808:808::1", false),
            ("2001::1", false),
            ("8.8.8.8", true),
            ("2606:4700::1111", true),
        ] {
            assert_eq!(
                leads_outside(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
    }

    #[derive(Clone)]
    struct Names(Vec<IpAddr>);

    impl NameLookup for Names {
        fn addresses(&self, _: String) -> Lookup {
            let addresses = self.0.clone();
            Box::pin(async move { Ok(addresses) })
        }
    }

    fn fetcher(loopback: Loopback, addresses: &[&str]) -> HttpFetcher {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        HttpFetcher {
            loopback,
            names: Arc::new(Names(addresses)),
        }
    }

    #[test]
    fn a_url_that_does_not_lead_outside_is_refused_before_anybody_is_asked() {
        let guarded = fetcher(Loopback::Refused, &[]);
        for (url, problem) in [
            ("", "it is not a URL"),
            ("/etc/passwd", "it is not a URL"),
            ("file:///etc/passwd", "it does not name a host"),
            ("http://id.example.com/", "it is not an https URL"),
            ("ftp://id.example.com/", "it is not an https URL"),
            (
                "https://a:b@id.example.com/",
                "it contains a user name or password",
            ),
            ("https://id.example.com/#x", "it has a fragment"),
            ("https://127.0.0.1/", "its host is not a public address"),
            ("https://0x7f.1/", "its host is not a public address"),
            ("https://2130706433/", "its host is not a public address"),
            (
                "https://169.254.169.254/latest/meta-data/",
                "its host is not a public address",
            ),
            ("https://[::1]/", "its host is not a public address"),
            (
                "https://[::ffff:10.0.0.1]/",
                "its host is not a public address",
            ),
            ("https://localhost/", "its host is not a public address"),
            ("https://LOCALHOST./", "its host is not a public address"),
            ("https://a.localhost/", "its host is not a public address"),
            ("http://127.0.0.1:8080/", "it is not an https URL"),
        ] {
            let refused = FetchError::Refused(problem.to_owned());
            assert_eq!(guarded.check(url), Err(refused), "{url}");
        }
        for url in ["https://id.example.com/x?y=z", "https://8.8.8.8:8443/"] {
            assert_eq!(guarded.check(url), Ok(()), "{url}");
        }
        let open = fetcher(Loopback::Insecure, &[]);
        for url in ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]/"] {
            assert_eq!(open.check(url), Ok(()), "{url}");
        }
        for url in [
            "http://10.0.0.1/",
            "http://id.example.com/",
            "ftp://localhost/",
        ] {
            assert!(open.check(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_even_if_it_leads_outside_too() {
        let refused = FetchError::Refused(
            "the name `id.example.com` resolves to an address that is not public".to_owned(),
        );
        for addresses in [
            &["10.0.0.5"][..],
            &["169.254.169.254"],
            &["127.0.0.1"],
            &["::1"],
            &["fd00::1"],
            &["::ffff:127.0.0.1"],
            &["8.8.8.8", "10.0.0.5"],
        ] {
            for loopback in [Loopback::Refused, Loopback::Insecure] {
                let outcome = fetcher(loopback, addresses)
                    .fetch("https://id.example.com/jwks")
                    .await;
                assert_eq!(outcome, Err(refused.clone()), "{addresses:?}");
            }
        }
    }
}
