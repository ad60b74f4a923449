//! `firman healthcheck`: whether the public listener answers, for a container's health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::json;
use url::Url;

use super::Session;
use super::error::CliError;
use super::http;

/// The public listener's address when nothing says otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

pub(super) async fn run(session: &mut Session<'_>) -> Result<(), CliError> {
    let mut url = match &session.globals.url {
        Some(url) => http::parse_url(url, "--url")?,
        None => {
            let listen = session.environment.get("FIRMAN_LISTEN").map_or(DEFAULT_LISTEN, String::as_str);
            url_of(listen)?
        }
    };
    url.path_segments_mut()
        .map_err(|()| CliError::usage("--url cannot be the URL of a server"))?
        .pop_if_empty()
        .push("healthz");
    let request = http::client(&url)?.get(url.clone());
    let answer = http::send(request, &format!("cannot reach firman at {url}: is `firman serve` running?")).await?;
    if !answer.is_success() {
        return Err(CliError::failed(
            "unhealthy",
            format!("{url} answered with status {}", answer.status),
        ));
    }
    if session.printer.is_json() {
        return session.printer.json(&json!({ "healthy": true, "url": url.as_str() }));
    }
    session.printer.hint(&format!("{url} is well"));
    Ok(())
}

/// Where to reach a listener bound to `listen`: an unspecified address means this machine.
fn url_of(listen: &str) -> Result<Url, CliError> {
    let mut address: SocketAddr = listen.parse().map_err(|_| {
        CliError::usage(format!(
            "FIRMAN_LISTEN is not an address and a port such as 127.0.0.1:8080: {listen:?}; or name the listener with --url"
        ))
    })?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    http::parse_url(&format!("http://{address}"), "FIRMAN_LISTEN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_reached_on_this_machine() {
        for (listen, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("0.0.0.0:9000", "http://127.0.0.1:9000/"),
            ("[::]:9000", "http://[::1]:9000/"),
            ("10.0.0.5:80", "http://10.0.0.5/"),
        ] {
            assert_eq!(url_of(listen).unwrap().as_str(), url);
        }
        assert_eq!(url_of("localhost").unwrap_err().exit_code(), 2);
    }
}
