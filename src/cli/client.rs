//! The admin API's client: finds the private listener and a token, sends, and turns refusals into
//! [`CliError`]. Knows paths and JSON, no commands.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::error::CliError;
use super::http::{self, Reach};
use super::keyfile;
use super::options::Globals;
use crate::config::{Config, Overrides};
use crate::ports::secret_file::{self, Readers, SecretFileError};

/// Most items that the API gives at once.
const PAGE_MAX: u64 = 200;

/// Talks to one issuer's admin API.
pub(super) struct AdminClient {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
    /// Where the token was found, for whom it is refused.
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
    pub(super) async fn get(&self, path: &[&str], query: &Query) -> Result<Value, CliError> {
        let answer = self
            .call(
                Method::GET,
                path,
                Call {
                    query,
                    ..Call::default()
                },
            )
            .await?;
        object(&answer.body)
    }

    /// `POST` with a JSON body, or with none.
    pub(super) async fn post(
        &self,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        let answer = self
            .call(
                Method::POST,
                path,
                Call {
                    body,
                    ..Call::default()
                },
            )
            .await?;
        object(&answer.body)
    }

    /// `PUT` with a JSON body: what is there is replaced.
    pub(super) async fn put(&self, path: &[&str], body: &Value) -> Result<Value, CliError> {
        let answer = self
            .call(
                Method::PUT,
                path,
                Call {
                    body: Some(body),
                    ..Call::default()
                },
            )
            .await?;
        object(&answer.body)
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

    /// Reads the object, lets `change` say which members it wants, and sends them on the condition
    /// that nobody changed the object meanwhile; once more when somebody did.
    pub(super) async fn edit(
        &self,
        path: &[&str],
        change: impl Fn(&Value) -> Result<Map<String, Value>, CliError>,
    ) -> Result<Value, CliError> {
        match self.edit_once(path, &change).await {
            Err(error) if error.is_precondition_failed() => self.edit_once(path, &change).await,
            outcome => outcome,
        }
    }

    async fn edit_once(
        &self,
        path: &[&str],
        change: &impl Fn(&Value) -> Result<Map<String, Value>, CliError>,
    ) -> Result<Value, CliError> {
        let current = self.call(Method::GET, path, Call::default()).await?;
        let body = Value::Object(change(&object(&current.body)?)?);
        let call = Call {
            body: Some(&body),
            if_match: current.etag.as_deref(),
            ..Call::default()
        };
        object(&self.call(Method::PATCH, path, call).await?.body)
    }

    /// Hands the items of each page to `take`, in the API's order, until as many as are wanted have come.
    /// Returns the cursor of what was left out; `None` when there is nothing more. Everything that reads a
    /// list reads it here.
    pub(super) async fn each_page(
        &self,
        path: &[&str],
        filter: &Query,
        extent: &Extent,
        mut take: impl FnMut(Vec<Value>) -> Result<(), CliError>,
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
            let mut answer = self.get(path, &query).await?;
            if let Value::Array(items) = answer["items"].take() {
                left = left.map(|left| left.saturating_sub(items.len() as u64));
                take(items)?;
            }
            let next = answer["next_cursor"].as_str().map(str::to_owned);
            if next.is_none() || left == Some(0) {
                return Ok(next);
            }
            if next == cursor {
                return Err(CliError::failed(
                    "http",
                    "the server gave the same page twice; stopped",
                ));
            }
            cursor = next;
        }
    }

    /// The issuer's URL, for hints. A caller who may not read it gets a placeholder.
    pub(super) async fn issuer_url(&self) -> String {
        let answer = self.get(&["issuer"], &Query::default()).await;
        let url = answer
            .ok()
            .and_then(|issuer| issuer["url"].as_str().map(str::to_owned));
        url.unwrap_or_else(|| "ISSUER_URL".to_owned())
    }

    /// The issuer's URL, where a placeholder would be of no use.
    pub(super) async fn known_issuer_url(&self) -> Result<String, CliError> {
        let answer = self.get(&["issuer"], &Query::default()).await?;
        answer["url"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| CliError::failed("http", "the admin API does not tell the issuer's URL"))
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        call: Call<'_>,
    ) -> Result<http::Answer, CliError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| CliError::usage(format!("{} cannot be the URL of a server", self.base)))?
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
        let unreachable = format!(
            "cannot reach firman at {}: is `firman serve` running? Set --url or FIRMAN_URL",
            self.base.as_str().trim_end_matches('/')
        );
        let answer = http::send(request, &unreachable).await?;
        if answer.is_success() {
            Ok(answer)
        } else {
            let refused = CliError::problem(answer.status, &answer.body);
            if answer.status == 401 {
                let source = &self.token_source;
                return Err(refused.and(&format!(
                    "It came from {source}: is it of this issuer, and was it revoked?"
                )));
            }
            Err(refused)
        }
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
    /// At most so many [default: 50, with `--output json` all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on after an earlier page: its `next_cursor`
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    all: bool,
}

impl Page {
    /// What is wanted: what the options say, or else `most` items.
    pub(super) fn extent(&self, most: Option<u64>) -> Extent {
        Extent {
            cursor: self.cursor.clone(),
            most: if self.all { None } else { self.limit.or(most) },
        }
    }

    /// Whether the options say how much is wanted.
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

fn object(body: &[u8]) -> Result<Value, CliError> {
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        )
        | Err(_) => Err(CliError::failed(
            "http",
            "the answer is not a JSON object; is the URL that of firman's private listener?",
        )),
    }
}

/// The configuration as the flags, the environment and its file have it.
pub(super) fn load_config(
    globals: &Globals,
    environment: &BTreeMap<String, String>,
) -> Result<Config, CliError> {
    let flags = Overrides::default().with_data_dir(globals.data_dir.as_deref());
    Config::load(globals.config.as_deref(), environment, &flags)
        .map_err(|error| CliError::failed("config", error.to_string()))
}

/// The flag, the setting, the address that the running server wrote down, the default.
fn find_url(globals: &Globals, config: &Config) -> Result<Url, CliError> {
    if let Some(url) = &globals.url {
        return http::parse_url(url, "--url");
    }
    if is_set(config, "client.url") {
        return http::parse_url(&config.client_url, "client.url");
    }
    let path = config.data_dir.join("admin-url");
    match fs::read_to_string(&path) {
        Ok(url) => http::parse_url(url.trim(), &path.display().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            http::parse_url(&config.client_url, "client.url")
        }
        Err(error) => Err(CliError::file(&path, "read", &error)),
    }
}

/// Whether somebody set `key`, rather than its default being in force.
fn is_set(config: &Config, key: &str) -> bool {
    let shown = config.show();
    shown
        .iter()
        .any(|setting| setting.key == key && setting.origin != "default")
}

/// The setting, or the file that the server made at its first start.
fn find_token(config: &Config) -> Result<SecretString, CliError> {
    if let Some(token) = &config.admin_token {
        return bearer(token.expose_secret(), &token_source(config));
    }
    let path = config.data_dir.join("admin-token");
    match secret_file::read_text(&path, Readers::OwnerOnly) {
        Ok(token) => bearer(&token, &token_source(config)),
        Err(SecretFileError::Unreadable { source: error, .. }) => Err(CliError::failed(
            "no_token",
            format!(
                "no admin token: FIRMAN_ADMIN_TOKEN and FIRMAN_ADMIN_TOKEN_FILE are not set, and {} cannot be read ({}). `firman serve` makes that file at its first start; run this where it is, or name its directory with --data-dir",
                path.display(),
                super::error::reason(&error)
            ),
        )),
        Err(
            error @ (SecretFileError::TooLarge { .. }
            | SecretFileError::NotText { .. }
            | SecretFileError::Exposed { .. }),
        ) => Err(keyfile::refused(error)),
    }
}

fn token_source(config: &Config) -> String {
    match &config.admin_token {
        Some(_) => "client.admin_token (FIRMAN_ADMIN_TOKEN or FIRMAN_ADMIN_TOKEN_FILE)".to_owned(),
        None => config.data_dir.join("admin-token").display().to_string(),
    }
}

/// A token as it may stand in a header (RFC 6750 §2.1).
fn bearer(text: &str, source: &str) -> Result<SecretString, CliError> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CliError::failed(
            "no_token",
            format!("{source} holds no admin token: expected one word of printable ASCII"),
        ));
    }
    Ok(token.to_owned().into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(data_dir: &Path, pairs: &[(&str, &str)]) -> Config {
        let environment = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let globals = Globals {
            data_dir: Some(data_dir.to_str().unwrap().to_owned()),
            ..Globals::for_test()
        };
        load_config(&globals, &environment).unwrap()
    }

    #[test]
    fn a_missing_token_names_every_place_that_was_tried() {
        let error = find_token(&config(Path::new("no-such-dir"), &[])).unwrap_err();
        insta::assert_snapshot!(error.text().unwrap(), @"error: no admin token: FIRMAN_ADMIN_TOKEN and FIRMAN_ADMIN_TOKEN_FILE are not set, and no-such-dir/admin-token cannot be read (no such file or directory). `firman serve` makes that file at its first start; run this where it is, or name its directory with --data-dir");
    }

    #[test]
    fn a_token_that_cannot_stand_in_a_header_is_refused_without_showing_it() {
        let config = config(Path::new("x"), &[("FIRMAN_ADMIN_TOKEN", "top secret")]);
        insta::assert_snapshot!(find_token(&config).unwrap_err().text().unwrap(), @"error: client.admin_token (FIRMAN_ADMIN_TOKEN or FIRMAN_ADMIN_TOKEN_FILE) holds no admin token: expected one word of printable ASCII");
    }

    #[test]
    fn the_url_comes_from_the_flag_then_the_environment_then_the_file_then_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let with = |url: Option<&str>, pairs: &[(&str, &str)]| {
            let globals = Globals {
                url: url.map(str::to_owned),
                ..Globals::for_test()
            };
            find_url(&globals, &config(dir.path(), pairs))
                .unwrap()
                .to_string()
        };
        assert_eq!(with(None, &[]), "http://127.0.0.1:8081/");
        assert_eq!(
            with(None, &[("FIRMAN_ADMIN_LISTEN", "0.0.0.0:9000")]),
            "http://127.0.0.1:9000/"
        );
        fs::write(dir.path().join("admin-url"), "http://127.0.0.1:9001\n").unwrap();
        assert_eq!(with(None, &[]), "http://127.0.0.1:9001/");
        let variable = [("FIRMAN_URL", "http://127.0.0.1:9002")];
        assert_eq!(with(None, &variable), "http://127.0.0.1:9002/");
        assert_eq!(
            with(Some("http://127.0.0.1:9003"), &variable),
            "http://127.0.0.1:9003/"
        );
    }

    #[test]
    fn the_token_comes_from_the_environment_then_from_the_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let write = |path: &Path, text: &str| keyfile::write_atomically(path, text.as_bytes());
        write(&file, "from-file\n").unwrap();
        write(&dir.path().join("admin-token"), "from-data\n").unwrap();
        let with = |pairs: &[(&str, &str)]| {
            find_token(&config(dir.path(), pairs))
                .unwrap()
                .expose_secret()
                .to_owned()
        };
        assert_eq!(with(&[]), "from-data");
        assert_eq!(
            with(&[("FIRMAN_ADMIN_TOKEN_FILE", file.to_str().unwrap())]),
            "from-file"
        );
        assert_eq!(with(&[("FIRMAN_ADMIN_TOKEN", "direct")]), "direct");
    }
}
