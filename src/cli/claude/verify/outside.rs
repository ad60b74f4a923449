//! What anyone sees of the issuer from outside: name, address, port, certificate, discovery, keys.

use url::Url;

use super::super::probe::{self, Unreached};
use super::{Ground, Round, VerifyArgs};
use crate::cli::error::CliError;
use crate::cli::http;
use crate::domain::remedy::Remedy;
use crate::relying_party::claude::JwksSource;
use crate::relying_party::claude::checks::{self, Check, Fetched};

/// Checks all of them; returns the body of the key set, if there is one.
pub(super) async fn look(
    args: &VerifyArgs,
    ground: &Ground,
    round: &mut Round,
) -> Result<Option<Vec<u8>>, CliError> {
    let issuer = &ground.facts.issuer;
    round.add(checks::spelling(issuer));
    let (registered_base, key_set_url) = match ground.key_source() {
        Some(JwksSource::Discovery { discovery_base, .. }) => (discovery_base.as_deref(), None),
        Some(JwksSource::ExplicitUrl { url, .. }) => (None, Some(url.as_str())),
        Some(JwksSource::Inline { .. }) | None => (None, None),
    };
    let base = args.discovery_base.as_deref().or(registered_base);
    let key_set_url = key_set_url.filter(|_| args.discovery_base.is_none());
    let base = http::parse_url(key_set_url.or(base).unwrap_or(issuer), "the discovery base")?;
    round.add_reach(checks::address("address", &base));
    let host = base.host_str().unwrap_or_default().to_owned();
    let addresses = probe::resolve(&base).await;
    round.add_reach(checks::addresses(&host, &addresses));
    if addresses.is_empty() {
        return Ok(None);
    }
    let port = base.port_or_known_default().unwrap_or(443);
    let connected = probe::connect(&addresses, port).await;
    let outcome = connected
        .as_ref()
        .map_or_else(|reason| Err(reason.as_str()), |()| Ok(()));
    round.add_document(checks::port(&host, port, outcome));
    if connected.is_err() {
        return Ok(None);
    }
    if key_set_url.is_some() {
        return Ok(key_set(&base, &base, round).await);
    }
    let metadata = format!(
        "{}/.well-known/openid-configuration",
        base.as_str().trim_end_matches('/')
    );
    let metadata = http::parse_url(&metadata, "--discovery-base")?;
    let Some(answer) = fetch("discovery", &metadata, round).await else {
        return Ok(None);
    };
    round.add_document(checks::clock(&host, answer.date, round.now));
    match checks::discovery(issuer, &metadata, &answer) {
        Ok((check, jwks_uri)) => {
            round.add(check);
            Ok(key_set(&jwks_uri, &base, round).await)
        }
        Err(check) => {
            round.add_document(check);
            Ok(None)
        }
    }
}

/// The key set at the `jwks_uri` of discovery.
async fn key_set(jwks_uri: &Url, base: &Url, round: &mut Round) -> Option<Vec<u8>> {
    if jwks_uri.origin() != base.origin() {
        round.add_reach(checks::address("jwks_uri", jwks_uri));
    }
    if !matches!(jwks_uri.scheme(), "http" | "https") {
        return None;
    }
    let answer = fetch("jwks", jwks_uri, round).await?;
    match checks::key_set(jwks_uri, &answer) {
        Ok((check, _)) => {
            round.add(check);
            Some(answer.body)
        }
        Err(check) => {
            round.add_document(check);
            None
        }
    }
}

/// Fetches a document; the certificate is one check for each https host.
async fn fetch(check: &'static str, url: &Url, round: &mut Round) -> Option<Fetched> {
    let host = url.host_str().unwrap_or_default();
    match probe::get(url, round.ca_cert_pem.as_deref()).await {
        Ok(answer) => {
            let verified = checks::certificate(host, Ok(()));
            if url.scheme() == "https" && !round.checks.contains(&verified) {
                round.add(verified);
            }
            Some(answer)
        }
        Err(Unreached::Certificate(reason)) => {
            round.add_document(checks::certificate(host, Err(&reason)));
            None
        }
        Err(Unreached::Other(reason)) => {
            round.add_document(Check::fail(
                check,
                format!("`{url}` does not answer: {reason}"),
                Remedy::action("check the issuer and the proxy in front of it"),
            ));
            None
        }
    }
}
