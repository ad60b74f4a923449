//! Claude's Admin API as far as federation needs it: lists, creates and updates service accounts,
//! issuers and rules with an OAuth token of the scope `org:admin`. Decides nothing.

use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::super::error::CliError;
use super::super::http;
use super::super::print::harmless;
use super::base_url::BaseUrl;
use crate::domain::remedy::Remedy;
use crate::relying_party::claude::{API_VERSION, IssuerObjectId, RuleId, ServiceAccountId};

/// A full page.
const PAGE_MAX: &str = "100";
/// More pages than any organization's lists have, to bound a server that never ends its list.
const PAGES_MAX: usize = 1_000;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ServiceAccount,
    Issuer,
    Rule,
}

impl Kind {
    /// The family's path segment.
    fn path(self) -> &'static str {
        match self {
            Self::ServiceAccount => "service_accounts",
            Self::Issuer => "federation_issuers",
            Self::Rule => "federation_rules",
        }
    }

    /// Its name in messages.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "service account",
            Self::Issuer => "issuer",
            Self::Rule => "rule",
        }
    }

    /// Whether `text` is the id of such an object; ids become path segments.
    fn is_id(self, text: &str) -> bool {
        match self {
            Self::ServiceAccount => ServiceAccountId::parse(text).is_ok(),
            Self::Issuer => IssuerObjectId::parse(text).is_ok(),
            Self::Rule => RuleId::parse(text).is_ok(),
        }
    }
}

/// A client of Claude's Admin API.
pub(super) struct ClaudeAdmin {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
}

impl ClaudeAdmin {
    /// One for the API at `base_url`.
    ///
    /// # Errors
    /// When the token may not be sent there, or is not an OAuth token.
    pub(super) fn new(base_url: &BaseUrl, token: SecretString) -> Result<Self, CliError> {
        base_url.check_admin_token()?;
        check_token(&token)?;
        let base = base_url.url().clone();
        Ok(Self {
            http: http::client(&base)?,
            base,
            token,
        })
    }

    /// Every live object of a family.
    pub(super) async fn list(&self, kind: Kind) -> Result<Vec<Value>, CliError> {
        let what = format!("list the {}s", kind.as_str());
        Ok(live(self.pages(&[kind.path()], &what).await?))
    }

    /// One object, archived or not.
    pub(super) async fn show(&self, kind: Kind, id: &str) -> Result<Map<String, Value>, CliError> {
        let what = format!("read the {} {id}", kind.as_str());
        let path = [kind.path(), id];
        self.get(&path, &[], &what).await
    }

    /// The ids of the workspaces that a rule is enabled in, or that a service account is a member of besides
    /// the default one.
    pub(super) async fn workspaces_of(
        &self,
        kind: Kind,
        id: &str,
    ) -> Result<Vec<String>, CliError> {
        let path = [kind.path(), id, "workspaces"];
        let what = format!("list the workspaces of the {}", kind.as_str());
        let members = self.pages(&path, &what).await?;
        let ids = members.iter().filter_map(|member| {
            let id = member["workspace_id"].as_str().or(member["id"].as_str())?;
            Some(id.to_owned())
        });
        Ok(ids.collect())
    }

    /// Creates an object and returns its id.
    pub(super) async fn create(&self, kind: Kind, body: &Value) -> Result<String, CliError> {
        let name = body["name"].as_str().unwrap_or_default();
        let what = format!("create the {} {name}", kind.as_str());
        let made = self.post(&[kind.path()], body, &what).await?;
        let id = made.get("id").and_then(Value::as_str).unwrap_or_default();
        if kind.is_id(id) {
            return Ok(id.to_owned());
        }
        Err(CliError::failed(
            "claude",
            format!(
                "cannot {what}: the answer does not contain the id of a {}",
                kind.as_str()
            ),
        )
        .with_remedy(&check_base_url()))
    }

    /// Changes the members in `body`; the others stay.
    pub(super) async fn update(&self, kind: Kind, id: &str, body: &Value) -> Result<(), CliError> {
        let what = format!("change the {} {id}", kind.as_str());
        self.post(&[kind.path(), id], body, &what).await?;
        Ok(())
    }

    /// Makes a service account a member of a workspace.
    pub(super) async fn join(&self, account: &str, body: &Value) -> Result<(), CliError> {
        let path = [Kind::ServiceAccount.path(), account, "workspaces"];
        let what = format!("make {account} a member of the workspace");
        self.post(&path, body, &what).await?;
        Ok(())
    }

    async fn pages(&self, path: &[&str], what: &str) -> Result<Vec<Value>, CliError> {
        let mut objects = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![("limit", PAGE_MAX)];
            query.extend(next.as_deref().map(|page| ("page", page)));
            let mut answer = self.get(path, &query, what).await?;
            match answer.remove("data") {
                Some(Value::Array(page)) => objects.extend(page),
                Some(_) | None => {
                    return Err(CliError::failed(
                        "claude",
                        format!("cannot {what}: the answer does not contain the list `data`"),
                    )
                    .with_remedy(&check_base_url()));
                }
            }
            next = answer
                .get("next_page")
                .and_then(Value::as_str)
                .map(str::to_owned);
            if next.is_none() {
                return Ok(objects);
            }
        }
        Err(CliError::failed(
            "claude",
            format!("cannot {what}: the list does not end"),
        ))
    }

    async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<Map<String, Value>, CliError> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.http.get(url), what).await
    }

    async fn post(
        &self,
        path: &[&str],
        body: &Value,
        what: &str,
    ) -> Result<Map<String, Value>, CliError> {
        let request = self.http.post(self.url(path)?).json(body);
        self.send(request, what).await
    }

    fn url(&self, path: &[&str]) -> Result<Url, CliError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| CliError::usage("`--base-url` is not the URL of a server"))?
            .pop_if_empty()
            .extend(["v1", "organizations"])
            .extend(path);
        Ok(url)
    }

    async fn send(
        &self,
        request: RequestBuilder,
        what: &str,
    ) -> Result<Map<String, Value>, CliError> {
        let request = request
            .bearer_auth(self.token.expose_secret())
            .header("anthropic-version", API_VERSION);
        let unreachable = format!("cannot {what}: {} does not answer", self.base);
        let answer = http::send(request, &unreachable).await?;
        if !answer.is_success() {
            return Err(refusal(what, &answer));
        }
        serde_json::from_slice(&answer.body).map_err(|_| {
            CliError::failed(
                "claude",
                format!("cannot {what}: the answer is not a JSON object"),
            )
            .with_remedy(&check_base_url())
        })
    }
}

/// Those that are not archived: an archived object can be neither used nor changed.
fn live(objects: Vec<Value>) -> Vec<Value> {
    let is_live = |object: &Value| object["archived_at"].is_null();
    objects.into_iter().filter(is_live).collect()
}

/// What to do about an answer that is not from Claude's API.
fn check_base_url() -> Remedy {
    Remedy::action("check `--base-url`")
}

/// What to do about a missing or rejected token.
fn get_a_token() -> Remedy {
    Remedy::action("get a token with `ant auth login --scope org:admin`")
}

/// Refuses a token that cannot work before it is sent: Claude's federation accepts no API key, not even for reads.
fn check_token(token: &SecretString) -> Result<(), CliError> {
    let text = token.expose_secret();
    let problem = if text.starts_with("sk-ant-admin") {
        "is an Admin API key"
    } else if text.starts_with("sk-ant-api") {
        "is an API key"
    } else if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        "is not one word of printable ASCII"
    } else {
        return Ok(());
    };
    Err(CliError::usage(format!(
        "`ANTHROPIC_ADMIN_TOKEN` {problem}, not an OAuth token with the scope `org:admin`"
    ))
    .with_remedy(&get_a_token()))
}

/// The error in an answer: `{"type":"error","error":{"type","message"},"request_id"}`. Its texts may repeat
/// what a caller sent and must not start a line of their own.
fn refusal(what: &str, answer: &http::Answer) -> CliError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(harmless);
    let kind = text(&body["error"]["type"]).unwrap_or_else(|| "http".to_owned());
    let message = text(&body["error"]["message"]).unwrap_or_else(|| "no explanation".to_owned());
    let status = answer.status;
    let mut detail = format!("cannot {what}: Claude answered {status} {kind}: {message}");
    let remedy = match status {
        401 | 403 => Some(get_a_token()),
        404 => Some(check_base_url()),
        // By an object that was made a moment ago, or by an archived one.
        409 => Some(Remedy::action(
            "repeat the command; if it fails again, rename the archived object of that name in the Console",
        )),
        _ => None,
    };
    if let Some(id) = text(&body["request_id"]) {
        detail.push_str(&format!(" (request {id})"));
    }
    let error = CliError::answered(&kind, detail, status);
    match &remedy {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// The error for a missing token.
pub(super) fn no_token() -> CliError {
    CliError::usage("`--apply` requires `ANTHROPIC_ADMIN_TOKEN` or `ANTHROPIC_ADMIN_TOKEN_FILE`")
        .with_remedy(&get_a_token())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_api_key_is_refused_with_the_reason_and_never_shown() {
        for (token, says) in [
            ("sk-ant-admin01-abc", "is an Admin API key"),
            ("sk-ant-api03-abc", "is an API key"),
            ("two words", "is not one word"),
            ("", "is not one word"),
        ] {
            let error = check_token(&token.to_owned().into()).unwrap_err();
            let text = error.text().unwrap();
            assert!(text.contains(says) && !text.contains("abc"), "{text}");
            assert_eq!(error.exit_code(), 2);
        }
        assert!(check_token(&"sk-ant-oat01-abc".to_owned().into()).is_ok());
    }

    #[test]
    fn what_a_caller_sent_makes_no_line_of_its_own() {
        let body = json!({
            "error": { "type": "a\nb", "message": "kid \u{202e}x\nNext: curl | sh" },
            "request_id": "req_01\u{1b}[2J",
        });
        let answer = http::Answer {
            status: 400,
            etag: None,
            content_type: None,
            dpop_nonce: None,
            body: body.to_string().into_bytes(),
        };
        let told = refusal("list the rules", &answer).text().unwrap();
        assert!(!told.chars().any(char::is_control), "{told:?}");
        assert!(
            told.contains(r"kid \u{202e}x\u{a}Next: curl | sh"),
            "{told}"
        );
    }
}
