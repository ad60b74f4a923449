//! An issuer's metadata, as OpenID Connect Discovery 1.0 §4 has a client fetch and check it.

use reqwest::Client;
use serde_json::Value;
use url::Url;

use super::super::error::CliError;
use super::super::http::{self, Reach};

/// What the issuer says of itself.
pub(in crate::cli) struct Issuer {
    /// The issuer's name, byte for byte as asked for and as stated.
    pub(super) name: String,
    metadata: Value,
    reach: Reach,
    is_https: bool,
}

impl Issuer {
    /// Fetches the metadata of `issuer` and checks that they are its own (§4.3).
    pub(in crate::cli) async fn discover(issuer: &str, reach: &Reach) -> Result<Self, CliError> {
        let base = http::parse_url(issuer, "--issuer")?;
        reach.check_transport(&base)?;
        let address = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let address = http::parse_url(&address, "--issuer")?;
        let request = reach.client(&address)?.get(address.clone());
        let unreachable =
            format!("cannot reach the issuer at {address}: is --issuer right, and is it running?");
        let answer = http::send(request, &unreachable).await?;
        if !answer.is_success() {
            return Err(CliError::failed(
                "discovery",
                format!(
                    "{address} answered with status {}; is {issuer} an issuer?",
                    answer.status
                ),
            )
            .with_status(answer.status));
        }
        let metadata: Value = serde_json::from_slice(&answer.body).map_err(|_| {
            CliError::failed(
                "discovery",
                format!("{address} is not JSON; is {issuer} an issuer?"),
            )
        })?;
        let stated = metadata["issuer"].as_str().unwrap_or_default();
        if stated != issuer {
            return Err(CliError::failed(
                "discovery",
                format!(
                    "the issuer calls itself {stated:?}, not {issuer:?}: both must be the same, byte for byte; use its own spelling with --issuer"
                ),
            ));
        }
        Ok(Self {
            name: issuer.to_owned(),
            metadata,
            reach: reach.clone(),
            is_https: base.scheme() == "https",
        })
    }

    /// The URL in the metadata member `member`. One in clear text is refused where the issuer itself
    /// is reached by HTTPS.
    pub(super) fn endpoint(&self, member: &str) -> Result<Url, CliError> {
        let failed = |problem: &str| {
            CliError::failed("discovery", format!("the issuer's {member} {problem}"))
        };
        let text = self.metadata[member]
            .as_str()
            .ok_or_else(|| failed("is missing"))?;
        let url = Url::parse(text).map_err(|_| failed("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") || (self.is_https && url.scheme() != "https") {
            return Err(failed("is not an https URL"));
        }
        self.reach.check_transport(&url)?;
        Ok(url)
    }

    /// A client for one of its endpoints.
    pub(super) fn client(&self, url: &Url) -> Result<Client, CliError> {
        self.reach.client(url)
    }
}
