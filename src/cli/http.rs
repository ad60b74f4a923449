//! HTTP as every command speaks it: no redirects (a token must not follow one), no proxy from the
//! environment, deadlines, and answers of bounded size.

use std::time::Duration;

use reqwest::{Certificate, Client, RequestBuilder, redirect};
use url::Url;

use super::error::CliError;
use crate::domain::remedy::Remedy;
use crate::ports::address::is_loopback;
use crate::ports::cause;

/// A server that accepts no connection in this time is unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any intended answer time of the server, shorter than a person's patience.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer read: a page of 200 agents with every field full stays below.
const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) dpop_nonce: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// True for 2xx.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// How this command reaches the issuer: what it may send in clear text, and which authorities it trusts.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// Whether credentials may go over plain HTTP to another machine.
    pub(super) insecure_http: bool,
    /// The certificate authorities to trust instead of the system's.
    pub(super) ca_cert_pem: Option<String>,
}

impl Reach {
    /// A client for `url`.
    pub(super) fn client(&self, url: &Url) -> Result<Client, CliError> {
        client_trusting(url, self.ca_cert_pem.as_deref())
    }

    /// Refuses to send a credential in clear text to another machine without `--insecure-http`.
    pub(super) fn check_transport(&self, url: &Url) -> Result<(), CliError> {
        check_transport(url, self.insecure_http)
    }
}

/// A client for `url`. Certificates are loaded only for `https`, so that plain HTTP on loopback
/// works where the system has none (a slim container).
pub(super) fn client(url: &Url) -> Result<Client, CliError> {
    client_trusting(url, None)
}

/// The same; with `ca_cert_pem` it trusts only the certificate authorities in it.
pub(super) fn client_trusting(url: &Url, ca_cert_pem: Option<&str>) -> Result<Client, CliError> {
    let failed = |error: reqwest::Error| {
        CliError::failed(
            "tls",
            format!("cannot prepare HTTPS: {}", innermost(&error)),
        )
    };
    let builder = Client::builder()
        .user_agent(concat!("firman/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT);
    let builder = match (url.scheme(), ca_cert_pem) {
        ("https", None) => builder,
        ("https", Some(pem)) => {
            let roots = Certificate::from_pem_bundle(pem.as_bytes()).map_err(failed)?;
            builder.tls_certs_only(roots)
        }
        _ => builder.tls_certs_only([]),
    };
    builder.build().map_err(failed)
}

/// Parses an `http` or `https` URL without credentials, query or fragment; `what` names it in the
/// error.
pub(super) fn parse_url(text: &str, what: &str) -> Result<Url, CliError> {
    let problem = match Url::parse(text) {
        Err(error) => format!("is not a URL ({error})"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            "is not an http or https URL".to_owned()
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "contains a user name or password".to_owned()
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            "contains a query or a fragment".to_owned()
        }
        Ok(url) => return Ok(url),
    };
    Err(
        CliError::usage(format!("{what} {problem}: `{}`", text.escape_debug()))
            .with_remedy(&Remedy::action("use a URL like `https://id.example.com`")),
    )
}

/// Refuses to send a credential in clear text to another machine without `--insecure-http`.
pub(super) fn check_transport(url: &Url, insecure_http: bool) -> Result<(), CliError> {
    if url.scheme() == "https" || insecure_http || is_loopback(url) {
        return Ok(());
    }
    let fault = format!(
        "`{url}` is plain HTTP to another machine: others on the network can read the credential"
    );
    Err(
        CliError::failed("insecure_http", fault).with_remedy(&Remedy::action(
            "use https, or add `--insecure-http` in a network that you trust",
        )),
    )
}

/// Sends a request and reads the answer. `unreachable` is the fault when the connection fails.
pub(super) async fn send(request: RequestBuilder, unreachable: &str) -> Result<Answer, CliError> {
    let mut response = request.send().await.map_err(|error| {
        let reason = innermost(&error);
        if error.is_connect() {
            CliError::unreachable(format!("{unreachable} ({reason})"))
        } else if error.is_timeout() {
            CliError::failed(
                "timeout",
                format!("no answer within {} s", TOTAL_TIMEOUT.as_secs()),
            )
        } else {
            CliError::failed("http", format!("the request failed: {reason}"))
        }
    })?;
    let status = response.status().as_u16();
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let (etag, content_type) = (header("etag"), header("content-type"));
    let dpop_nonce = header("dpop-nonce");
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| {
            CliError::failed(
                "http",
                format!(
                    "the connection closed before the answer was complete: {}",
                    innermost(&error)
                ),
            )
        })?;
        let Some(chunk) = chunk else { break };
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX_BYTES {
            return Err(CliError::failed("http", "the answer is larger than 16 MiB")
                .with_remedy(&Remedy::action("check the URL")));
        }
    }
    Ok(Answer {
        status,
        etag,
        content_type,
        dpop_nonce,
        body,
    })
}

/// The innermost cause, an error of the operating system in its own words.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let error = cause::innermost(error);
    match error.downcast_ref::<std::io::Error>() {
        Some(error) => super::error::reason(error),
        None => error.to_string(),
    }
}

/// `application/x-www-form-urlencoded` (RFC 6749 appendix B).
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    form.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_a_server_is_refused() {
        for text in [
            "",
            "127.0.0.1:8081",
            "localhost:8081",
            "file:///etc/passwd",
            "http://a:b@host/",
            "https://host/?a=b",
            "https://host/#x",
        ] {
            assert!(parse_url(text, "the URL").is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_credential_goes_in_clear_text_to_this_machine_only() {
        for (url, allowed) in [
            ("https://id.example.com", true),
            ("http://127.0.0.1:8081", true),
            ("http://[::1]:8081", true),
            ("http://localhost:8081", true),
            ("http://10.0.0.5:8081", false),
            ("http://a.localhost:8081", false),
            ("http://[::ffff:127.0.0.1]:8081", false),
            ("http://localhost.example.com", false),
            ("http://id.example.com", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(check_transport(&url, false).is_ok(), allowed, "{url}");
            assert!(check_transport(&url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_form_escapes_what_would_end_a_value() {
        assert_eq!(
            form(&[("scope", "a b"), ("resource", "https://x/?a=b&c")]),
            "scope=a+b&resource=https%3A%2F%2Fx%2F%3Fa%3Db%26c"
        );
    }
}
