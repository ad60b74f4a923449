//! The network side of `firman claude verify`: resolve, connect, fetch. Judges nothing; redirects are not
//! followed, answers are bounded.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::RequestBuilder;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::{Host, Url};

use crate::cli::error::{CliError, reason};
use crate::cli::http;
use crate::ports::time::UnixTime;
use crate::relying_party::claude::checks::{DOCUMENT_MAX_BYTES, Fetched};

/// Longer than a healthy name server or handshake needs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why no answer arrived.
pub(super) enum Unreached {
    /// The certificate, its chain or its name.
    Certificate(String),
    /// Everything else.
    Other(String),
}

/// The addresses of the host of `url`; empty when the name does not resolve.
pub(super) async fn resolve(url: &Url) -> Vec<IpAddr> {
    match url.host() {
        Some(Host::Ipv4(address)) => return vec![IpAddr::V4(address)],
        Some(Host::Ipv6(address)) => return vec![IpAddr::V6(address)],
        Some(Host::Domain(_)) | None => {}
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Vec::new();
    };
    let Ok(Ok(found)) = timeout(PATIENCE, lookup_host((host, port))).await else {
        return Vec::new();
    };
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Connects to the first of `addresses` that answers on `port`.
///
/// # Errors
/// With the last address's reason when none does.
pub(super) async fn connect(addresses: &[IpAddr], port: u16) -> Result<(), String> {
    let mut why = "no address".to_owned();
    for address in addresses {
        match timeout(PATIENCE, TcpStream::connect((*address, port))).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => why = reason(&error),
            Err(_) => why = format!("no answer within {} s", PATIENCE.as_secs()),
        }
    }
    Err(why)
}

/// Fetches a document, trusting the certificate authorities in `ca_cert_pem` alone if it is given.
pub(super) async fn get(url: &Url, ca_cert_pem: Option<&str>) -> Result<Fetched, Unreached> {
    let client =
        http::client_trusting(url, ca_cert_pem).map_err(|error| Unreached::Other(cause(&error)))?;
    send(client.get(url.clone()).header("accept", "application/json")).await
}

/// Sends a request and reads the beginning of the answer.
pub(super) async fn send(request: RequestBuilder) -> Result<Fetched, Unreached> {
    let mut response = request.send().await.map_err(|error| unreached(&error))?;
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut fetched = Fetched {
        status: response.status().as_u16(),
        content_type: header("content-type"),
        location: header("location"),
        date: header("date").as_deref().and_then(http_date),
        request_id: header("request-id"),
        organization: header("anthropic-organization-id"),
        workspace: header("anthropic-workspace-id"),
        is_simulation: header("x-simulation").is_some(),
        ..Fetched::default()
    };
    while let Some(chunk) = response.chunk().await.map_err(|error| unreached(&error))? {
        fetched.body.extend_from_slice(&chunk);
        if fetched.body.len() > DOCUMENT_MAX_BYTES {
            fetched.body.truncate(DOCUMENT_MAX_BYTES);
            fetched.is_cut = true;
            break;
        }
    }
    Ok(fetched)
}

/// `Date` (RFC 9110 §5.6.7) in the only one of its three forms that may be generated.
fn http_date(text: &str) -> Option<UnixTime> {
    let numeric = text.trim().strip_suffix("GMT")?;
    let zoned = jiff::fmt::rfc2822::parse(&format!("{numeric}+0000")).ok()?;
    Some(UnixTime(zoned.timestamp().as_second()))
}

/// The TLS client names a certificate problem only in its text.
fn unreached(error: &reqwest::Error) -> Unreached {
    let why = http::innermost(error);
    let lower = why.to_lowercase();
    if ["certificate", "tls", "handshake", "corrupt message"]
        .iter()
        .any(|word| lower.contains(word))
    {
        Unreached::Certificate(why)
    } else if error.is_timeout() {
        Unreached::Other("no answer in time".to_owned())
    } else {
        Unreached::Other(why)
    }
}

/// What an error of ours says, without its hint.
pub(super) fn cause(error: &CliError) -> String {
    let text = error.text().unwrap_or_default();
    let first = text
        .split_once("\nhint: ")
        .map_or(&*text, |(first, _)| first);
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read_to_the_second() {
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(UnixTime(784_111_777))
        );
        for text in ["", "GMT", "now GMT", "Sun, 06 Nov 1994 08:49:37"] {
            assert_eq!(http_date(text), None, "{text:?}");
        }
    }
}
