//! The admin API's client: sends requests, reads answers as the API's types and turns refusals into [`CliError`]. Knows
//! paths and JSON, no commands.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::access::{find_token, find_url, load_config, token_source};
use super::error::{CliError, OTHER_SERVER};
use super::http::{self, Reach};
use super::options::Globals;
use crate::api::issuer::Issuer;
use crate::api::list::List;
use crate::domain::remedy::Remedy;

/// Most items that the API gives at once.
const PAGE_MAX: u64 = 200;

/// A client of one issuer's admin API.
pub(super) struct AdminClient {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
    /// Where the token was found, for the hint when it is refused.
    token_source: String,
    reach: Reach,
}

impl AdminClient {
    /// Finds URL and token: flags, then environment and configuration file, then the files that
    /// `firman serve` leaves in its data directory.
    pub(super) fn find(
        globals: &Globals,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, CliError> {
        let config = load_config(globals, environment)?;
        let base = find_url(globals, &config)?;
        let reach = globals.reach(environment)?;
        reach.check_transport(&base)?;
        Ok(Self {
            http: reach.client(&base)?,
            base,
            token: find_token(&config)?,
            token_source: token_source(&config),
            reach,
        })
    }

    /// Whether `--insecure-http` was given, for hints.
    pub(super) fn is_insecure_http(&self) -> bool {
        self.reach.insecure_http
    }

    /// How the issuer is reached.
    pub(super) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// `GET`.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &Query,
    ) -> Result<T, CliError> {
        let call = Call {
            query,
            ..Call::default()
        };
        read(&self.call(Method::GET, path, call).await?.body)
    }

    /// `POST` with a JSON body.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        self.send(Method::POST, path, body, None).await
    }

    /// `POST` without a body: the path names the action.
    pub(super) async fn act<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, CliError> {
        read(&self.call(Method::POST, path, Call::default()).await?.body)
    }

    /// `PUT` with a JSON body, which replaces the object.
    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        self.send(Method::PUT, path, body, None).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
        if_match: Option<&str>,
    ) -> Result<T, CliError> {
        let body = serde_json::to_value(body)
            .map_err(|error| CliError::failed("request", error.to_string()))?;
        let call = Call {
            body: Some(&body),
            if_match,
            ..Call::default()
        };
        read(&self.call(method, path, call).await?.body)
    }

    /// `DELETE`, whose answer is empty.
    pub(super) async fn delete(&self, path: &[&str], query: &Query) -> Result<(), CliError> {
        self.call(
            Method::DELETE,
            path,
            Call {
                query,
                ..Call::default()
            },
        )
        .await?;
        Ok(())
    }

    /// Reads the object, sends the edit that `change` makes of it, and returns the new object. The edit holds
    /// only if nothing changed in between (`If-Match`); it is tried twice.
    pub(super) async fn edit<T: DeserializeOwned, E: Serialize>(
        &self,
        path: &[&str],
        change: impl Fn(&T) -> Result<E, CliError>,
    ) -> Result<Answer<T>, CliError> {
        match self.edit_once(path, &change).await {
            Err(error) if error.is_precondition_failed() => self.edit_once(path, &change).await,
            outcome => outcome,
        }
    }

    async fn edit_once<T: DeserializeOwned, E: Serialize>(
        &self,
        path: &[&str],
        change: &impl Fn(&T) -> Result<E, CliError>,
    ) -> Result<Answer<T>, CliError> {
        let current = self.call(Method::GET, path, Call::default()).await?;
        let body = change(&read(&current.body)?)?;
        let etag = current.etag.as_deref();
        self.send(Method::PATCH, path, &body, etag).await
    }

    /// Passes the items of each page to `take`, in the API's order, until the wanted number is reached. Returns
    /// the cursor of the rest; `None` when the list has ended. Every list is read here.
    pub(super) async fn each_page<T: DeserializeOwned>(
        &self,
        path: &[&str],
        filter: &Query,
        extent: &Extent,
        mut take: impl FnMut(Vec<T>) -> Result<(), CliError>,
    ) -> Result<Option<String>, CliError> {
        let mut cursor = extent.cursor.clone();
        let mut left = extent.most;
        loop {
            let mut query = filter.clone();
            query.push_some(
                "limit",
                Some(left.map_or(PAGE_MAX, |left| left.min(PAGE_MAX))),
            );
            query.push_some("cursor", cursor.as_deref());
            let List { items, next_cursor } = self.get::<List<T>>(path, &query).await?;
            left = left.map(|left| left.saturating_sub(items.len() as u64));
            take(items)?;
            if next_cursor.is_none() || left == Some(0) {
                return Ok(next_cursor);
            }
            if next_cursor == cursor {
                return Err(CliError::failed(
                    "http",
                    "the server returned the same page twice",
                ));
            }
            cursor = next_cursor;
        }
    }

    /// The issuer's URL, for hints. A caller without permission gets a placeholder.
    pub(super) async fn issuer_url(&self) -> String {
        let known = self.known_issuer_url().await;
        known.unwrap_or_else(|_| "ISSUER_URL".to_owned())
    }

    /// The issuer's URL, where a placeholder would be useless.
    pub(super) async fn known_issuer_url(&self) -> Result<String, CliError> {
        let issuer: Issuer = self.get(&["issuer"], &Query::default()).await?;
        Ok(issuer.url)
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        call: Call<'_>,
    ) -> Result<http::Answer, CliError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| CliError::usage(format!("`{}` is not the URL of a server", self.base)))?
            .pop_if_empty()
            .extend(["admin", "v1"])
            .extend(path);
        if !call.query.0.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query.0);
        }
        let mut request = self
            .http
            .request(method, url)
            .bearer_auth(self.token.expose_secret());
        if let Some(body) = call.body {
            request = request.json(body);
        }
        if let Some(if_match) = call.if_match {
            request = request.header("if-match", if_match);
        }
        let base = self.base.as_str().trim_end_matches('/');
        let answer = http::send(request, &format!("cannot reach firman at `{base}`"))
            .await
            .map_err(|error| {
                if error.is_unreachable() {
                    error.with_remedy(&Remedy::action(NOT_REACHED))
                } else {
                    error
                }
            })?;
        if answer.is_success() {
            return Ok(answer);
        }
        let refused = CliError::problem(answer.status, &answer.body);
        if answer.status == 401 {
            let source = &self.token_source;
            return Err(refused.with_remedy(&Remedy::action(format!(
                "check the admin token from {source}: it must be a token of this issuer that was not revoked"
            ))));
        }
        Err(refused)
    }
}

/// What helps when the server does not answer.
const NOT_REACHED: &str =
    "start the server with `firman serve`, or set its address with `--url` or `FIRMAN_URL`";

/// An object of the API as it came, with members that only a newer server knows; parsed as a `T` to print it
/// for a person. JSON output is never parsed, so that a program gets all of it with every version.
pub(super) struct Answer<T> {
    pub(super) raw: Value,
    known: PhantomData<T>,
}

impl<T: DeserializeOwned> Answer<T> {
    pub(super) fn of(raw: Value) -> Self {
        Self {
            raw,
            known: PhantomData,
        }
    }

    /// The members that this version knows.
    pub(super) fn read(&self) -> Result<T, CliError> {
        T::deserialize(&self.raw).map_err(|error| unreadable(&error))
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Answer<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::of)
    }
}

/// What a call carries besides method and path.
#[derive(Default)]
struct Call<'a> {
    query: &'a Query,
    body: Option<&'a Value>,
    if_match: Option<&'a str>,
}

/// Query parameters.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Default for &Query {
    fn default() -> Self {
        const { &Query(Vec::new()) }
    }
}

impl Query {
    /// Its parameters, in the order in which they were added.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Adds a parameter when there is a value.
    pub(super) fn push_some(&mut self, name: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0.push((name, value.to_string()));
        }
    }

    /// Adds a parameter when there is a value.
    pub(super) fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.push_some(name, value);
        self
    }
}

/// How much of a list to show.
#[derive(Debug, clap::Args)]
pub(super) struct Page {
    /// Print at most this many [default: 50, with `--output json` all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Continue after an earlier page: its `next_cursor`
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Print all of them
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    all: bool,
}

impl Page {
    /// The wanted number: that of the options, or else `most` items.
    pub(super) fn extent(&self, most: Option<u64>) -> Extent {
        Extent {
            cursor: self.cursor.clone(),
            most: if self.all { None } else { self.limit.or(most) },
        }
    }

    /// Whether the options name the wanted number.
    pub(super) fn says_how_many(&self) -> bool {
        self.all || self.limit.is_some()
    }
}

/// Where a list begins, and how much of it is wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Extent {
    /// `None`: at its beginning.
    pub(super) cursor: Option<String>,
    /// `None`: all of it.
    pub(super) most: Option<u64>,
}

impl Extent {
    /// The first `most`.
    pub(super) fn up_to(most: u64) -> Self {
        Self {
            cursor: None,
            most: Some(most),
        }
    }
}

/// The object in an answer's body.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, CliError> {
    let object: Map<String, Value> = serde_json::from_slice(body).map_err(|_| {
        CliError::failed("http", "the server's answer is not a JSON object")
            .with_remedy(&Remedy::action(OTHER_SERVER))
    })?;
    serde_json::from_value(Value::Object(object)).map_err(|error| unreadable(&error))
}

/// An answer that does not have the members that this version reads. A wrong value is not repeated: it may be secret.
fn unreadable(error: &serde_json::Error) -> CliError {
    let text = error.to_string();
    let missing = text
        .starts_with("missing field")
        .then(|| format!(": {text}"));
    let detail = format!(
        "the server's answer does not have the expected form{}",
        missing.unwrap_or_default()
    );
    CliError::failed("http", detail).with_remedy(&Remedy::action(
        "use the same version of firman here as on the server",
    ))
}
