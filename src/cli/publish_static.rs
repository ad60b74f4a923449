//! `firman publish-static`: discovery and key set as plain files, for a web host that relying parties
//! can reach where they cannot reach the issuer; and whether such a copy is stale.
//!
//! A copy is only as current as its last publication: relying parties that use it reject tokens of a key that it
//! does not have yet, and accept tokens of a revoked key until the copy drops it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::error::CliError;
use super::http;
use super::keyfile;
use super::print::shell_word;
use super::published::Published;
use super::session::Session;
use crate::domain::remedy::Remedy;
use crate::relying_party::claude::check_dialled_url;

const DISCOVERY_FILE: &str = ".well-known/openid-configuration";
const KEY_SET_FILE: &str = "oauth2/jwks";
/// The media type of both files (OpenID Connect Discovery 1.0 §4.2).
const CONTENT_TYPE: &str = "application/json";

/// Publish discovery and keys as static files on a web host
///
/// For relying parties, such as Claude, that cannot reach the issuer. --check tells whether a published copy is stale.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  firman publish-static ./site --base https://static.example.com\n  firman publish-static --check https://static.example.com"
)]
pub(super) struct PublishArgs {
    /// The directory that the web host serves
    #[arg(
        value_name = "DIR",
        required_unless_present = "check",
        conflicts_with = "check"
    )]
    directory: Option<PathBuf>,
    /// The issuer [default: the one behind the admin API]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Fetch from this address when the issuer's own URL cannot be reached from here
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The directory's public URL, Claude's discovery base [default: the issuer's URL]
    #[arg(long, value_name = "URL", conflicts_with = "check")]
    base: Option<String>,
    /// Compare the copy published at this URL with the issuer; exit code 1 when it is stale
    #[arg(long, value_name = "URL")]
    check: Option<String>,
}

pub(super) async fn run(args: PublishArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let issuer = match &args.issuer {
        Some(issuer) => issuer.clone(),
        None => own_url(session).await?,
    };
    match (&args.check, &args.directory) {
        (Some(copy), _) => check(copy, &issuer, args.from.as_deref(), session).await,
        (None, Some(directory)) => publish(directory, &issuer, &args, session).await,
        (None, None) => Err(CliError::usage(
            "name the directory to write into, or a published copy with `--check`",
        )),
    }
}

/// The URL of the issuer behind the admin API.
async fn own_url(session: &Session<'_>) -> Result<String, CliError> {
    session.admin()?.known_issuer_url().await
}

async fn publish(
    directory: &Path,
    issuer: &str,
    args: &PublishArgs,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let base = public_base(args.base.as_deref(), issuer)?;
    let published = Published::of(issuer, args.from.as_deref(), &session.reach()?).await?;
    let document = with_jwks_uri(&published.metadata, &base);
    // The key set first: a discovery document must never point to a missing key set.
    let files = [
        (KEY_SET_FILE, published.key_set.clone()),
        (DISCOVERY_FILE, document),
    ];
    let mut written = Vec::new();
    for (name, content) in &files {
        written.push((*name, write(directory, name, content)?));
    }
    let copy = WrittenCopy {
        issuer,
        base: &base,
        files: written,
        kids: published.kids(),
    };
    copy.report(session)?;
    let again = format!(
        "firman publish-static {} --base {}",
        shell_word(&directory.display().to_string()),
        shell_word(&base)
    );
    session.printer.hint(&format!(
        "Serve both files as {CONTENT_TYPE}, without a redirect. Set the type: the names have no extension.\n\
         The copy does not follow the issuer. Publish again after each `firman key revoke`, and within 15 minutes of each\n\
         `firman key rotate`, before the new key signs: {again}\n\
         To make new keys wait for the copy, register it: firman key consumer add static-copy"
    ));
    if let Err(invalid) = check_dialled_url("discovery_base", &base, false) {
        session.printer.warn(&format!(
            "warning: Claude does not fetch from this address: {invalid}"
        ));
    }
    session.printer.next(&format!(
        "firman publish-static --check {}",
        shell_word(&base)
    ));
    Ok(())
}

/// Where the copy will be, without a trailing slash. A copy that points back to an unreachable issuer would be
/// useless.
fn public_base(base: Option<&str>, issuer: &str) -> Result<String, CliError> {
    if let Some(base) = base {
        http::parse_url(base, "`--base`")?;
        return Ok(base.trim_end_matches('/').to_owned());
    }
    match check_dialled_url("issuer_url", issuer, false) {
        Ok(()) => Ok(issuer.to_owned()),
        Err(invalid) => Err(CliError::usage(format!(
            "`--base` is required: the issuer's own URL `{issuer}` cannot serve the copy: {invalid}"
        ))
        .with_remedy(&Remedy::action(
            "name the directory's public URL with `--base`",
        ))),
    }
}

/// The document with its `jwks_uri` where the copy will be. The `issuer` stays: it must equal `iss`.
fn with_jwks_uri(metadata: &Map<String, Value>, base: &str) -> Vec<u8> {
    let mut document = metadata.clone();
    document.insert(
        "jwks_uri".to_owned(),
        json!(format!("{base}/{KEY_SET_FILE}")),
    );
    format!("{:#}\n", Value::Object(document)).into_bytes()
}

/// Writes a file below `directory`, unless it has that content; returns whether it was written.
fn write(directory: &Path, name: &str, content: &[u8]) -> Result<bool, CliError> {
    let path = directory.join(name);
    if fs::read(&path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| CliError::file(parent, "create", &error))?;
    }
    keyfile::write_public(&path, content)?;
    Ok(true)
}

/// A copy that was written.
struct WrittenCopy<'c> {
    issuer: &'c str,
    /// Where the directory will be on the web.
    base: &'c str,
    /// Each file, and whether it changed.
    files: Vec<(&'static str, bool)>,
    kids: Vec<String>,
}

impl WrittenCopy<'_> {
    fn report(&self, session: &mut Session<'_>) -> Result<(), CliError> {
        let Self { issuer, base, .. } = self;
        if session.printer.is_json() {
            let files: Vec<Value> = self
                .files
                .iter()
                .map(|(name, is_new)| {
                    json!({ "path": name, "url": format!("{base}/{name}"), "changed": is_new })
                })
                .collect();
            return session.printer.json(&json!({
                "issuer": issuer,
                "discovery_base": base,
                "content_type": CONTENT_TYPE,
                "kids": self.kids,
                "files": files,
            }));
        }
        let mut facts = vec![
            ("issuer", (*issuer).to_owned()),
            ("discovery base", (*base).to_owned()),
            ("keys", self.kids.join(", ")),
        ];
        for (name, is_new) in &self.files {
            let word = if *is_new { "written" } else { "unchanged" };
            facts.push((word, (*name).to_owned()));
        }
        session.printer.facts(&facts)
    }
}

/// How a copy differs from the issuer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    missing: Vec<String>,
    extra: Vec<String>,
    problems: Vec<String>,
}

async fn check(
    copy: &str,
    issuer: &str,
    from: Option<&str>,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let live = Published::of(issuer, from, &session.reach()?).await?;
    let published = Published::at(copy, &session.reach()?).await?;
    let comparison = compare(&live, &published);
    let is_current = comparison.problems.is_empty();
    if session.printer.is_json() {
        session.printer.json(&json!({
            "issuer": issuer,
            "copy": copy,
            "current": is_current,
            "missing_kids": comparison.missing,
            "extra_kids": comparison.extra,
            "problems": comparison.problems,
        }))?;
    } else {
        let word = if is_current { "current" } else { "stale" };
        session.printer.facts(&[
            ("copy", copy.to_owned()),
            ("issuer", issuer.to_owned()),
            ("status", word.to_owned()),
            ("keys", published.kids().join(", ")),
            ("missing", comparison.missing.join(", ")),
            ("withdrawn", comparison.extra.join(", ")),
        ])?;
    }
    if is_current {
        return Ok(());
    }
    let fault = format!(
        "the copy at `{copy}` is stale: {}",
        comparison.problems.join("; ")
    );
    let base = shell_word(copy.trim_end_matches('/'));
    let remedy = Remedy::command(format!("publish-static DIR --base {base}"));
    Err(CliError::failed("stale", fault).with_remedy(&remedy))
}

fn compare(live: &Published, copy: &Published) -> Comparison {
    let mut comparison = Comparison::default();
    let problems = &mut comparison.problems;
    if copy.issuer() != live.issuer() {
        problems.push(format!(
            "its issuer is `{}`, not `{}`",
            copy.issuer().escape_debug(),
            live.issuer().escape_debug()
        ));
    }
    let keys = |of: &Published| -> BTreeMap<String, BTreeSet<String>> {
        let mut keys: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for (kid, key) in of.keys() {
            let named = keys.entry(kid.to_owned()).or_default();
            named.insert(key.thumbprint().to_owned());
        }
        keys
    };
    let (here, there) = (keys(live), keys(copy));
    for (kid, thumbprints) in &here {
        match there.get(kid) {
            None => comparison.missing.push(kid.clone()),
            Some(others) if others != thumbprints => {
                problems.push(format!(
                    "its key `{kid}` differs from the issuer's key with that id"
                ));
            }
            Some(_) => {}
        }
    }
    for skipped in copy.skipped() {
        problems.push(format!("it has an unusable entry: {skipped}"));
    }
    comparison.extra = there
        .into_keys()
        .filter(|kid| !here.contains_key(kid))
        .collect();
    if !comparison.missing.is_empty() {
        problems.push("keys are missing, so tokens signed with them are rejected".to_owned());
    }
    if !comparison.extra.is_empty() {
        problems.push("it has withdrawn keys, which relying parties still trust".to_owned());
    }
    let is_json = |content_type: &Option<String>| {
        let essence = content_type.as_deref().unwrap_or_default();
        let essence = essence.split(';').next().unwrap_or_default().trim();
        essence == CONTENT_TYPE || essence == "application/jwk-set+json"
    };
    for (file, content_type) in [DISCOVERY_FILE, KEY_SET_FILE]
        .iter()
        .zip(&copy.content_types)
    {
        if !is_json(content_type) {
            let served = content_type.as_deref().unwrap_or("an unknown type");
            problems.push(format!(
                "`{file}` is served as `{served}`, not as `{CONTENT_TYPE}`"
            ));
        }
    }
    comparison
}
