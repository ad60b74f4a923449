//! `firman healthcheck`: whether the public listener answers, for a container's health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::json;
use url::Url;

use super::Session;
use super::client::load_config;
use super::error::CliError;
use super::http;

pub(super) async fn run(session: &mut Session<'_>) -> Result<(), CliError> {
    let mut url = match &session.globals.url {
        Some(url) => http::parse_url(url, "--url")?,
        None => url_of(load_config(session.globals, session.environment)?.listen())?,
    };
    url.path_segments_mut()
        .map_err(|()| CliError::usage("--url cannot be the URL of a server"))?
        .pop_if_empty()
        .push("healthz");
    let request = http::client(&url)?.get(url.clone());
    let answer = http::send(
        request,
        &format!("cannot reach firman at {url}: is `firman serve` running?"),
    )
    .await?;
    if !answer.is_success() {
        return Err(CliError::failed(
            "unhealthy",
            format!("{url} answered with status {}", answer.status),
        ));
    }
    if session.printer.is_json() {
        return session
            .printer
            .json(&json!({ "healthy": true, "url": url.as_str() }));
    }
    session.printer.hint(&format!("{url} is well"));
    Ok(())
}

/// Where to reach a listener bound to `address`: an unspecified one means this machine.
fn url_of(mut address: SocketAddr) -> Result<Url, CliError> {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    http::parse_url(&format!("http://{address}"), "server.listen")
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
            assert_eq!(url_of(listen.parse().unwrap()).unwrap().as_str(), url);
        }
    }
}
