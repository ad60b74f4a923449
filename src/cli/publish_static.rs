//! `firman publish-static`: discovery and key set as plain files, for a web host that relying parties
//! can reach where they cannot reach the issuer; and whether such a copy is stale.
//!
//! The copy is only as good as its last publication: a key that signs before the copy has it is refused
//! by whoever trusts the copy, and a revoked key stays trusted until the copy loses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::Query;
use super::error::CliError;
use super::http;
use super::keyfile;
use super::print::shell_word;
use super::published::Published;
use super::session::Session;
use crate::relying_party::claude::check_dialled_url;

const DISCOVERY_FILE: &str = ".well-known/openid-configuration";
const KEY_SET_FILE: &str = "oauth2/jwks";
/// What both must be served as (OpenID Connect Discovery 1.0 §4.2).
const CONTENT_TYPE: &str = "application/json";

#[derive(Debug, Args)]
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
    /// Where the issuer answers, when it cannot be reached at its own URL from here
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Where the directory will be on the web, which is Claude's discovery base [default: the issuer's URL]
    #[arg(long, value_name = "URL", conflicts_with = "check")]
    base: Option<String>,
    /// Compare the copy that is published there with the issuer; exit code 1 when it is stale
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
            "name the directory to write into, or a published copy with --check",
        )),
    }
}

/// The URL of the issuer behind the admin API.
async fn own_url(session: &Session<'_>) -> Result<String, CliError> {
    let issuer = session.admin()?.get(&["issuer"], &Query::default()).await?;
    match issuer["url"].as_str() {
        Some(url) => Ok(url.to_owned()),
        None => Err(CliError::failed(
            "http",
            "the issuer has no URL; is this firman's private listener?",
        )),
    }
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
    // The key set first: a discovery document never points to what is not there yet.
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
        "Serve both as {CONTENT_TYPE}, without a redirect: neither name has an ending, so that a web host would guess.\n\
         A copy does not follow the issuer. Publish again after each `firman key rotate` (within 15 minutes, before the\n\
         new key signs) and `firman key revoke`: {again}\n\
         New keys wait for the copy if you register it: firman key consumer add static-copy"
    ));
    if let Err(invalid) = check_dialled_url("discovery_base", &base, false) {
        session.printer.warn(&format!(
            "warning: Claude does not fetch it there: {invalid}"
        ));
    }
    session.printer.next(&format!(
        "firman publish-static --check {}",
        shell_word(&base)
    ));
    Ok(())
}

/// Where the copy will be, without a trailing slash. A copy that points back to an issuer which
/// nobody outside can reach would be of no use.
fn public_base(base: Option<&str>, issuer: &str) -> Result<String, CliError> {
    if let Some(base) = base {
        http::parse_url(base, "--base")?;
        return Ok(base.trim_end_matches('/').to_owned());
    }
    match check_dialled_url("issuer_url", issuer, false) {
        Ok(()) => Ok(issuer.to_owned()),
        Err(invalid) => Err(CliError::usage(format!(
            "--base is missing: the address where the directory will be on the web. It cannot be the issuer's own, {issuer}: {invalid}"
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

/// Writes a file below `directory`, unless it has that content; tells whether it was written.
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

/// What a copy has and lacks.
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
    Err(CliError::failed(
        "stale",
        format!(
            "the copy at {copy} is stale: {}. Publish again: firman publish-static DIR --base {}",
            comparison.problems.join("; "),
            shell_word(copy.trim_end_matches('/'))
        ),
    ))
}

fn compare(live: &Published, copy: &Published) -> Comparison {
    let mut comparison = Comparison::default();
    let problems = &mut comparison.problems;
    if copy.issuer() != live.issuer() {
        problems.push(format!(
            "its issuer is {:?}, not {:?}",
            copy.issuer(),
            live.issuer()
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
                problems.push(format!("its key {kid} is another key of that name"));
            }
            Some(_) => {}
        }
    }
    for skipped in copy.skipped() {
        problems.push(format!("it has an entry that cannot be used: {skipped}"));
    }
    comparison.extra = there
        .into_keys()
        .filter(|kid| !here.contains_key(kid))
        .collect();
    if !comparison.missing.is_empty() {
        problems.push("it lacks keys whose tokens are refused there".to_owned());
    }
    if !comparison.extra.is_empty() {
        problems.push(
            "it has keys that the issuer has withdrawn and that are still trusted there".to_owned(),
        );
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
            let served = content_type.as_deref().unwrap_or("nothing in particular");
            problems.push(format!(
                "{file} is served as {served}, not as {CONTENT_TYPE}"
            ));
        }
    }
    comparison
}
