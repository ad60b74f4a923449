//! `firman healthcheck`: whether this data directory's issuer answers, for scripts and for a container's health
//! check. Another program on the same address does not count.

use serde_json::json;

use super::access::load_config;
use super::error::CliError;
use super::session::Session;
use super::{http, serving};
use crate::domain::remedy::Remedy;

pub(super) async fn run(session: &mut Session<'_>) -> Result<(), CliError> {
    let mut url = match &session.globals.url {
        Some(url) => http::parse_url(url, "--url")?,
        None => {
            let config = load_config(session.globals, session.environment)?;
            http::parse_url(&serving::expect(&config.data_dir)?.public, "serving.json")?
        }
    };
    url.path_segments_mut()
        .map_err(|()| CliError::usage("`--url` is not the URL of a server"))?
        .pop_if_empty()
        .push("healthz");
    let request = session.reach()?.client(&url)?.get(url.clone());
    let answer = http::send(request, &format!("cannot reach firman at `{url}`"))
        .await
        .map_err(|error| error.with_remedy(&Remedy::command("serve --detach")))?;
    if !answer.is_success() {
        return Err(CliError::failed(
            "unhealthy",
            format!("`{url}` answered with status {}", answer.status),
        ));
    }
    if session.printer.is_json() {
        return session
            .printer
            .json(&json!({ "healthy": true, "url": url.as_str() }));
    }
    session.printer.hint(&format!("`{url}` is healthy"));
    Ok(())
}
