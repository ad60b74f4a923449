//! What a command can end with besides success, and how it is printed: on stderr as `error: …` and `hint: …`, or as one
//! JSON object with `--output json`. Only data goes to stdout, so that a pipe never has to distinguish data from errors.

use std::io;

use serde_json::{Map, Value, json};

use crate::config::ConfigError;
use crate::domain::Invalid;
use crate::domain::remedy::Remedy;
use crate::host::HostError;
pub(super) use crate::ports::cause::reason;
use crate::ports::cause::with_causes;
use crate::server::ServerError;

const UNREACHABLE: &str = "unreachable";

/// What helps when an answer is not one of the admin API.
pub(super) const OTHER_SERVER: &str =
    "check that `--url` is the address of firman's private listener";

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) enum CliError {
    /// The command line is not valid: exit code 2.
    Usage(Box<Fault>),
    /// It was refused, or something failed: exit code 1.
    Failed(Box<Fault>),
    /// The reader of the output has closed it (`firman agent list | head`): not an error.
    ClosedPipe,
    /// A command that this one ran ended with that exit code and printed its own errors.
    Ended(u8),
}

/// What happened, why, and what to do next.
#[derive(Debug)]
pub(super) struct Fault {
    /// A word for programs: the admin API's problem kind, an OAuth error code, or one of ours.
    kind: String,
    /// The sentence for people. Never holds a secret or a token.
    detail: String,
    /// HTTP status, when an answer was the reason.
    status: Option<u16>,
    /// The member or parameter at fault, when the server named one.
    field: Option<String>,
    /// What to do about it: a command line or one action, without `hint:` before it.
    hint: Option<String>,
    /// What to look for in the server's log.
    request_id: Option<String>,
}

impl Fault {
    fn new(kind: &str, detail: String) -> Self {
        Self {
            kind: kind.to_owned(),
            detail,
            status: None,
            field: None,
            hint: None,
            request_id: None,
        }
    }
}

impl CliError {
    /// A command line that is not valid.
    pub(super) fn usage(detail: impl Into<String>) -> Self {
        Self::Usage(Box::new(Fault::new("usage", detail.into())))
    }

    /// A failure; `kind` is a stable word for programs.
    pub(super) fn failed(kind: &str, detail: impl Into<String>) -> Self {
        Self::Failed(Box::new(Fault::new(kind, detail.into())))
    }

    /// A file that could not be read or written.
    pub(super) fn file(path: &std::path::Path, action: &str, error: &io::Error) -> Self {
        Self::failed(
            "file",
            format!("cannot {action} `{}`: {}", path.display(), reason(error)),
        )
    }

    /// The refusal in an answer of the admin API (RFC 9457). For an answer that is not a problem document (the page of a
    /// proxy, for example), the status is all there is.
    pub(super) fn problem(status: u16, body: &[u8]) -> Self {
        let body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let kind = text("type").and_then(|urn| urn.strip_prefix("urn:firman:problem:"));
        let detail = text("detail").or_else(|| text("title")).map_or_else(
            || format!("the server answered with status {status} without an explanation"),
            str::to_owned,
        );
        let is_problem = kind.is_some() || text("detail").is_some();
        let is_elsewhere = !is_problem && status < 500;
        let hint = text("hint").or(is_elsewhere.then_some(OTHER_SERVER));
        Self::Failed(Box::new(Fault {
            kind: kind.unwrap_or("http").to_owned(),
            detail,
            status: Some(status),
            field: text("field").map(str::to_owned),
            hint: hint.map(str::to_owned),
            request_id: text("request_id").map(str::to_owned),
        }))
    }

    /// The refusal in a token endpoint's answer (RFC 6749 §5.2).
    pub(super) fn oauth(status: u16, body: &[u8]) -> Self {
        let body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let Some(code) = text("error") else {
            return Self::Failed(Box::new(Fault {
                status: Some(status),
                ..Fault::new(
                    "http",
                    format!("the token endpoint answered with status {status} and no OAuth error"),
                )
            }));
        };
        let detail = match text("error_description") {
            Some(description) => format!("the issuer refused: {description} ({code})"),
            None => format!("the issuer refused: {code}"),
        };
        Self::Failed(Box::new(Fault {
            status: Some(status),
            ..Fault::new(code, detail)
        }))
    }

    /// The refusal in an answer of another API than ours.
    pub(super) fn answered(kind: &str, detail: String, status: u16) -> Self {
        Self::Failed(Box::new(Fault {
            status: Some(status),
            ..Fault::new(kind, detail)
        }))
    }

    /// The status of the answer that was the reason.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Failed(fault) => fault.status,
            Self::Usage(_) | Self::ClosedPipe | Self::Ended(_) => None,
        }
    }

    /// The same with the status of the answer that was the reason.
    pub(super) fn with_status(mut self, status: u16) -> Self {
        match &mut self {
            Self::Usage(fault) | Self::Failed(fault) => fault.status = Some(status),
            Self::ClosedPipe | Self::Ended(_) => {}
        }
        self
    }

    /// True when the same request may succeed later without any change: there was no answer, or the answer was a fault of
    /// the server or a rate limit.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Failed(fault) => match fault.status {
                Some(status) => status >= 500 || matches!(status, 408 | 429),
                None => matches!(fault.kind.as_str(), UNREACHABLE | "timeout" | "http"),
            },
            Self::Usage(_) | Self::ClosedPipe | Self::Ended(_) => false,
        }
    }

    /// True for a stale `If-Match` (RFC 9110 §15.5.13).
    pub(super) fn is_precondition_failed(&self) -> bool {
        match self {
            Self::Failed(fault) => fault.status == Some(412),
            Self::Usage(_) | Self::ClosedPipe | Self::Ended(_) => false,
        }
    }

    /// True when the object does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Failed(fault) if fault.status == Some(404))
    }

    /// Whether the server accepted no connection.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Failed(fault) if fault.kind == UNREACHABLE)
    }

    /// The same with this hint, if there is one.
    pub(super) fn with_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.with_remedy(&Remedy::action(hint)),
            None => self,
        }
    }

    /// The same with this remedy, which replaces an earlier one.
    pub(super) fn with_remedy(mut self, remedy: &Remedy) -> Self {
        match &mut self {
            Self::Usage(fault) | Self::Failed(fault) => fault.hint = Some(remedy.to_string()),
            Self::ClosedPipe | Self::Ended(_) => {}
        }
        self
    }

    /// The same with another sentence after the detail.
    pub(super) fn and(mut self, sentence: &str) -> Self {
        match &mut self {
            Self::Usage(fault) | Self::Failed(fault) => {
                let end = if fault.detail.ends_with(['.', '?']) {
                    ""
                } else {
                    "."
                };
                fault.detail = format!("{}{end} {sentence}", fault.detail);
            }
            Self::ClosedPipe | Self::Ended(_) => {}
        }
        self
    }

    /// The same with the name of what it is about, unless the detail has it.
    pub(super) fn about(mut self, name: &str) -> Self {
        match &mut self {
            Self::Usage(fault) | Self::Failed(fault) => {
                let quoted = [format!("`{name}`"), format!("'{name}'")];
                if !quoted.iter().any(|name| fault.detail.contains(name)) {
                    fault.detail = format!("{name}: {}", fault.detail);
                }
            }
            Self::ClosedPipe | Self::Ended(_) => {}
        }
        self
    }

    /// True when the request certainly had no effect: it was refused, or never sent. When the answer was lost, this is
    /// unknown.
    pub(super) fn is_certain(&self) -> bool {
        match self {
            Self::Failed(fault) => fault.status.is_some() || fault.kind == UNREACHABLE,
            Self::Usage(_) | Self::ClosedPipe | Self::Ended(_) => true,
        }
    }

    /// A server that accepts no connection.
    pub(super) fn unreachable(detail: String) -> Self {
        Self::failed(UNREACHABLE, detail)
    }

    /// The process's exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Ended(code) => *code,
        }
    }

    /// The lines for people; `None` when there is nothing to say.
    pub(super) fn text(&self) -> Option<String> {
        let fault = self.fault()?;
        let mut text = format!("error: {}", fault.detail);
        if let Some(field) = &fault.field
            && !fault.detail.contains(field.as_str())
        {
            text.push_str(&format!("\n  field: {field}"));
        }
        if let Some(hint) = &fault.hint {
            text.push_str(&format!("\nhint: {hint}"));
        }
        // Only for a fault of the server is its log the next place to look.
        if let Some(request_id) = &fault.request_id
            && fault.status.is_some_and(|status| status >= 500)
        {
            text.push_str(&format!("\n  request id: {request_id}"));
        }
        Some(text)
    }

    /// The object for programs: `{"error": {"kind", "detail", …}}`.
    pub(super) fn json(&self) -> Option<Value> {
        let fault = self.fault()?;
        let mut error = Map::new();
        error.insert("kind".to_owned(), json!(fault.kind));
        error.insert("detail".to_owned(), json!(fault.detail));
        if let Some(status) = fault.status {
            error.insert("status".to_owned(), json!(status));
        }
        if let Some(field) = &fault.field {
            error.insert("field".to_owned(), json!(field));
        }
        if let Some(hint) = &fault.hint {
            error.insert("hint".to_owned(), json!(hint));
        }
        if let Some(request_id) = &fault.request_id {
            error.insert("request_id".to_owned(), json!(request_id));
        }
        Some(json!({ "error": error }))
    }

    fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Usage(fault) | Self::Failed(fault) => Some(fault),
            Self::ClosedPipe | Self::Ended(_) => None,
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::failed("config", error.to_string()).with_hint(error.hint())
    }
}

impl From<HostError> for CliError {
    fn from(error: HostError) -> Self {
        let fault = Self::failed("start", with_causes(&error));
        match error.remedy() {
            Some(remedy) => fault.with_remedy(&remedy),
            None => fault,
        }
    }
}

impl From<ServerError> for CliError {
    fn from(error: ServerError) -> Self {
        Self::failed("start", error.to_string()).with_remedy(&error.remedy())
    }
}

impl From<Invalid> for CliError {
    /// A value of the command line that is not well-formed.
    fn from(invalid: Invalid) -> Self {
        let error = Self::usage(invalid.to_string());
        match &invalid.remedy {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        }
    }
}

impl From<io::Error> for CliError {
    /// Errors of our own output; [`CliError::file`] is for those of files, with their path.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::failed(
                "output",
                format!("cannot write the output: {}", reason(&error)),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_printed_by_its_detail() {
        let body = br#"{"type":"urn:firman:problem:conflict","title":"Conflict","status":409,"detail":"the name `mailer` was used before","request_id":"r-1","field":"name"}"#;
        let error = CliError::problem(409, body);
        insta::assert_snapshot!(error.text().unwrap(), @"error: the name `mailer` was used before");
        insta::assert_snapshot!(error.json().unwrap(), @r#"{"error":{"detail":"the name `mailer` was used before","field":"name","kind":"conflict","request_id":"r-1","status":409}}"#);
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn a_remedy_is_printed_apart_from_the_fault() {
        let body = br#"{"type":"urn:firman:problem:conflict","title":"Conflict","status":409,"detail":"2 agents are in the group `ops`","hint":"firman group remove ops --force"}"#;
        let error = CliError::problem(409, body);
        insta::assert_snapshot!(error.text().unwrap(), @r"
        error: 2 agents are in the group `ops`
        hint: firman group remove ops --force
        ");
        insta::assert_snapshot!(error.json().unwrap(), @r#"{"error":{"detail":"2 agents are in the group `ops`","hint":"firman group remove ops --force","kind":"conflict","status":409}}"#);
        let own =
            CliError::usage("nothing to change").with_remedy(&Remedy::command("group edit --help"));
        insta::assert_snapshot!(own.text().unwrap(), @r"
        error: nothing to change
        hint: firman group edit --help
        ");
    }

    #[test]
    fn a_fault_of_the_server_names_the_request_id() {
        let body = br#"{"type":"urn:firman:problem:unavailable","title":"Unavailable","status":503,"detail":"the database did not answer; try again","request_id":"r-2"}"#;
        insta::assert_snapshot!(CliError::problem(503, body).text().unwrap(), @r"
        error: the database did not answer; try again
          request id: r-2
        ");
    }

    #[test]
    fn a_page_that_is_not_a_problem_document_is_printed_by_its_status() {
        insta::assert_snapshot!(CliError::problem(404, b"<html>Not Found</html>").text().unwrap(), @r"
        error: the server answered with status 404 without an explanation
        hint: check that `--url` is the address of firman's private listener
        ");
    }

    #[test]
    fn an_oauth_error_keeps_its_code() {
        let body = br#"{"error":"invalid_scope","error_description":"scope 'write' is not granted; granted: read"}"#;
        let error = CliError::oauth(400, body);
        insta::assert_snapshot!(error.text().unwrap(), @"error: the issuer refused: scope 'write' is not granted; granted: read (invalid_scope)");
        insta::assert_snapshot!(error.json().unwrap(), @r#"{"error":{"detail":"the issuer refused: scope 'write' is not granted; granted: read (invalid_scope)","kind":"invalid_scope","status":400}}"#);
    }

    #[test]
    fn only_a_passing_fault_is_worth_another_try() {
        let refused = |status| CliError::oauth(status, br#"{"error":"invalid_client"}"#);
        let discovery = || CliError::failed("discovery", "it calls itself otherwise");
        for (error, is_passing) in [
            (CliError::unreachable("no server".to_owned()), true),
            (CliError::failed("timeout", "no answer"), true),
            (CliError::failed("http", "the answer broke off"), true),
            (refused(503), true),
            (refused(429), true),
            (discovery().with_status(502), true),
            (refused(401), false),
            (refused(400), false),
            (discovery(), false),
            (discovery().with_status(404), false),
            (CliError::failed("file", "no such file"), false),
            (CliError::usage("what?"), false),
            (CliError::ClosedPipe, false),
            (CliError::Ended(3), false),
        ] {
            assert_eq!(error.is_passing(), is_passing, "{error:?}");
        }
    }

    #[test]
    fn the_exit_code_of_a_command_that_was_run_is_passed_on_silently() {
        assert_eq!(CliError::Ended(143).exit_code(), 143);
        assert_eq!(CliError::Ended(143).text(), None);
    }

    #[test]
    fn a_closed_pipe_is_not_an_error() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit_code(), 0);
        assert_eq!(error.text(), None);
    }
}
