//! `firman claude diagnose`: gathers the evidence about a denied token (the token, the audit, the keys, the link,
//! the environment) and prints the likely causes. Reads only; never prints a token.

use clap::{ArgGroup, Args};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::base_url::BaseUrlArgs;
use super::facts::{self, Facts, Names, RuleArgs};
use super::probe::cause;
use super::read_back::{ReadBack, read_back};
use crate::api::agent::Agent;
use crate::cli::client::{AdminClient, Query};
use crate::cli::duration::{Instant, parse_instant};
use crate::cli::error::CliError;
use crate::cli::parse::parse_name;
use crate::cli::print::{harmless, items, text};
use crate::cli::published::{Discovered, fetch_keys};
use crate::cli::session::Session;
use crate::cli::token::{decode, read_token};
use crate::config;
use crate::jose::{PublicJwkSet, UnverifiedJws};
use crate::ports::time::UnixTime;
use crate::relying_party::claude::EXPECTED_AUDIENCE;
use crate::relying_party::claude::checks::{Link, Registered, Status};
use crate::relying_party::claude::diagnose::{
    BURST_SECONDS, Cause, Evidence, Fetch, Issuance, Signature, Token, rank,
};

/// The longest token that is read: longer than Claude accepts, to diagnose that too.
const TOKEN_MAX_BYTES: usize = 64 * 1024;
/// How long before a denial its token may have been issued: the profile's longest lifetime.
const LOOK_BACK_SECONDS: i64 = 3600;
/// How many issuances of an agent are examined.
const FETCHES_MAX: u32 = 200;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["token", "jti", "request_id"]).required(true))]
#[command(after_help = "Examples:
  firman claude diagnose - < /run/firman/claude-token
  firman claude diagnose --jti 0b6f… --at 2026-11-21T09:30:00Z")]
pub(in crate::cli) struct DiagnoseArgs {
    /// The denied token; `-` reads it from stdin
    #[arg(value_name = "JWT")]
    token: Option<String>,
    /// The token's id, as in Claude's authentication history
    #[arg(long, value_name = "JTI", allow_hyphen_values = true)]
    jti: Option<String>,
    /// The id of the denied request, if the token is not known; --at finds the token
    #[arg(long, value_name = "ID", requires = "at")]
    request_id: Option<String>,
    /// When it was denied: 2026-11-21T09:30:00Z, or 10m for ten minutes ago
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    at: Option<Instant>,
    /// Consider only tokens of this agent
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    agent: Option<String>,
    #[command(flatten)]
    base_url: BaseUrlArgs,
    #[command(flatten)]
    rule: RuleArgs,
}

/// The token in question and its audit record.
struct Found {
    token: Token,
    issuance: Issuance,
    /// The token itself, to verify its signature.
    jws: Option<String>,
    /// How it was found, if that is not obvious.
    remark: Option<String>,
}

pub(super) async fn run(args: DiagnoseArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let now = session.now();
    let refused_at = args.at.map(|at| at.resolve(now));
    let admin = session.admin()?;
    let facts = Facts::load(&admin).await?;
    let found = match (&args.token, &args.jti, refused_at) {
        (Some(argument), _, _) => by_token(&admin, argument).await?,
        (None, Some(jti), _) => by_jti(&admin, &facts, jti).await?,
        (None, None, Some(at)) => by_time(&admin, &facts, &args, at).await?,
        (None, None, None) => return Err(CliError::usage("`--request-id` requires `--at TIME`")),
    };
    let agent = agent_of(&found, &args);
    let link = match &agent {
        Some(agent) => facts::link(&admin, agent).await?,
        None => None,
    };
    let subject = match &agent {
        Some(agent) => {
            let agent: Agent = admin.get(&["agents", agent], &Query::default()).await?;
            agent.subject
        }
        None => String::new(),
    };
    let (audience, resource) = match facts::claude_resources(&admin).await?.as_slice() {
        [only] => (only.identifier.clone(), Some(only.name.clone())),
        _ => (EXPECTED_AUDIENCE.to_owned(), None),
    };
    let fetches = match &found.issuance {
        Issuance::Issued(fetch) => around(&admin, fetch, refused_at.unwrap_or(now)).await?,
        Issuance::Unknown | Issuance::Unasked => Vec::new(),
    };
    let (registered, missing) = registered(link.as_ref(), &args, session).await?;
    let mut expected = match &registered {
        Some(registered) => registered.expected(),
        None => args.rule.expected(&facts, &subject, Some(&audience)),
    };
    if subject.is_empty() && !expected.is_given {
        // For a token of an unknown agent no subject can be expected.
        expected.rule.subject_prefix = None;
        expected.rule.claims.clear();
    }
    let signature = match &found.jws {
        Some(jws) => signature(jws, &facts, expected.is_inline, session).await,
        None => Signature::Unchecked,
    };
    let evidence = Evidence {
        now,
        refused_at,
        token: found.token,
        signature,
        issuance: found.issuance,
        fetches,
        issuer: facts.issuer,
        keys: facts.keys,
        consumers: facts.consumers,
        link,
        registered,
        missing,
        expected,
        environment: config::claude_environment(),
    };
    if let Some(remark) = &found.remark {
        session.printer.hint(remark);
    }
    let names = Names {
        agent: agent.as_deref(),
        resource: resource.as_deref(),
    };
    report(&evidence, names, session)
}

/// What is registered at Claude, unless the rule was named; or the answer when it is not there.
async fn registered(
    link: Option<&Link>,
    args: &DiagnoseArgs,
    session: &mut Session<'_>,
) -> Result<(Option<Registered>, Option<String>), CliError> {
    if args.rule.is_named() {
        return Ok((None, None));
    }
    let base_url = args.base_url.resolve(session.environment)?;
    Ok(match read_back(link, &base_url, session).await? {
        ReadBack::Registered(registered) => (Some(*registered), None),
        ReadBack::Failed(check) if check.status == Status::Fail => (None, Some(check.seen)),
        ReadBack::Failed(check) => {
            session.printer.hint(&check.seen);
            (None, None)
        }
        ReadBack::Untried(_) => (None, None),
    })
}

/// The agent whose token it is: by the audit, else by `--agent`.
fn agent_of(found: &Found, args: &DiagnoseArgs) -> Option<String> {
    match &found.issuance {
        Issuance::Issued(fetch) => Some(fetch.agent.clone()),
        Issuance::Unknown | Issuance::Unasked => args.agent.clone(),
    }
}

async fn by_token(admin: &AdminClient, argument: &str) -> Result<Found, CliError> {
    let secret = read_token(argument)?;
    let text = secret.expose_secret();
    if text.len() > TOKEN_MAX_BYTES {
        return Err(CliError::failed(
            "token",
            format!("not a token: it has {} bytes", text.len()),
        ));
    }
    let bytes = Some(text.len());
    let (token, jws) = match decode(text) {
        Ok((header, claims)) => (
            Token {
                header,
                claims,
                bytes,
                fault: None,
            },
            Some(text.to_owned()),
        ),
        Err(error) => (
            Token {
                bytes,
                fault: Some(cause(&error)),
                ..Token::default()
            },
            None,
        ),
    };
    let issuance = match token.claims.get("jti").and_then(Value::as_str) {
        Some(jti) => entry(admin, jti)
            .await?
            .as_ref()
            .map_or(Issuance::Unknown, issued),
        None => Issuance::Unasked,
    };
    Ok(Found {
        token,
        issuance,
        jws,
        remark: None,
    })
}

async fn by_jti(admin: &AdminClient, facts: &Facts, jti: &str) -> Result<Found, CliError> {
    let unknown = || {
        let issuer = &facts.issuer;
        let detail = format!("`{issuer}` has not issued a token with the `jti` `{jti}`");
        CliError::failed("not_found", detail)
    };
    let entry = entry(admin, jti).await?.ok_or_else(unknown)?;
    Ok(remembered(&entry, facts))
}

/// The newest token for Claude that was issued before the denial.
async fn by_time(
    admin: &AdminClient,
    facts: &Facts,
    args: &DiagnoseArgs,
    at: UnixTime,
) -> Result<Found, CliError> {
    let query = Query::default()
        .with("event", Some("token.issued"))
        .with("agent", args.agent.as_deref())
        .with("since", Some(at.plus(-LOOK_BACK_SECONDS).0))
        .with("until", Some(at.plus(1).0))
        .with("limit", Some(FETCHES_MAX));
    let page = admin.get(&["audit"], &query).await?;
    let audiences: Vec<String> = facts::claude_resources(admin)
        .await?
        .into_iter()
        .map(|resource| resource.identifier)
        .collect();
    let request_id = args.request_id.as_deref().unwrap_or_default();
    let candidates: Vec<&Value> = items(&page, "items")
        .iter()
        .filter(|entry| audiences.contains(&text(&entry["detail"], "aud")))
        .collect();
    let ours = candidates
        .iter()
        .find(|entry| entry["request_id"] == request_id);
    let Some(newest) = ours.or_else(|| candidates.first()) else {
        return Err(CliError::failed(
            "not_found",
            format!(
                "no token for Claude was issued{} in the hour before {at}",
                args.agent
                    .as_ref()
                    .map_or(String::new(), |agent| format!(" to `{agent}`"))
            ),
        ));
    };
    let others = candidates.len() - 1;
    let mut found = remembered(newest, facts);
    found.remark = Some(format!(
        "Diagnosing the last token that was issued to {} before {at}, `jti` {}; {others} others in that hour{}.",
        text(newest, "actor"),
        text(newest, "token_id"),
        if others > 0 && args.agent.is_none() {
            " (select with `--agent`)"
        } else {
            ""
        },
    ));
    Ok(found)
}

/// The audit entry of an issuance.
async fn entry(admin: &AdminClient, jti: &str) -> Result<Option<Value>, CliError> {
    let query = Query::default().with("token_id", Some(jti));
    let page = admin.get(&["audit"], &query).await?;
    let issued = items(&page, "items")
        .iter()
        .find(|entry| entry["event"] == "token.issued" || entry["event"] == "id_token.issued");
    Ok(issued.cloned())
}

fn fetch_of(entry: &Value) -> Fetch {
    let actor = text(entry, "actor");
    Fetch {
        jti: text(entry, "token_id"),
        agent: actor.strip_prefix("agent:").unwrap_or(&actor).to_owned(),
        at: UnixTime(entry["at_ms"].as_i64().unwrap_or_default().div_euclid(1000)),
        address: text(entry, "address"),
    }
}

fn issued(entry: &Value) -> Issuance {
    Issuance::Issued(fetch_of(entry))
}

/// A token as far as the audit recorded it.
fn remembered(entry: &Value, facts: &Facts) -> Found {
    let detail = &entry["detail"];
    let fetch = fetch_of(entry);
    let claims = json!({
        "iss": facts.issuer,
        "sub": entry["target"],
        "aud": detail["aud"],
        "iat": fetch.at.0,
        "exp": detail["exp"],
        "jti": fetch.jti,
    });
    Found {
        token: Token {
            header: Map::from_iter([("kid".to_owned(), detail["kid"].clone())]),
            claims: facts::members(&claims),
            ..Token::default()
        },
        issuance: Issuance::Issued(fetch),
        jws: None,
        remark: None,
    }
}

/// Tokens for Claude that were issued to the same agent around that time, oldest first.
async fn around(
    admin: &AdminClient,
    fetch: &Fetch,
    until: UnixTime,
) -> Result<Vec<Fetch>, CliError> {
    let query = Query::default()
        .with("event", Some("token.issued"))
        .with("agent", Some(&fetch.agent))
        .with("since", Some(fetch.at.plus(-BURST_SECONDS).0))
        .with("until", Some(until.max(fetch.at).plus(1).0))
        .with("limit", Some(FETCHES_MAX));
    let page = admin.get(&["audit"], &query).await?;
    let mut fetches: Vec<Fetch> = items(&page, "items").iter().map(fetch_of).collect();
    fetches.reverse();
    Ok(fetches)
}

/// Whether the key that the token names signed it. The key set is fetched as Claude would fetch it.
async fn signature(jws: &str, facts: &Facts, is_inline: bool, session: &Session<'_>) -> Signature {
    let fetched = async {
        let issuer = Discovered::at(&facts.issuer, &session.reach()?).await?;
        fetch_keys(&issuer).await
    };
    let keys: PublicJwkSet = match fetched.await {
        Ok(keys) => keys,
        Err(_) if is_inline => return Signature::Unchecked,
        Err(error) => return Signature::NoKeySet(cause(&error)),
    };
    let Ok(unverified) = UnverifiedJws::parse(jws, TOKEN_MAX_BYTES) else {
        return Signature::Unchecked;
    };
    let named = |kid: Option<&str>| kid.is_some() && kid == unverified.unverified_kid();
    let mut candidates = keys.keys().iter().filter(|key| named(key.kid())).peekable();
    if candidates.peek().is_some() && candidates.all(|key| unverified.verify(key).is_err()) {
        return Signature::Broken;
    }
    Signature::Sound
}

fn report(
    evidence: &Evidence,
    names: Names<'_>,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let causes: Vec<Cause> = rank(evidence)
        .into_iter()
        .map(|cause| Cause {
            hint: names.fill(cause.hint),
            ..cause
        })
        .collect();
    if session.printer.is_json() {
        let jti = evidence.token.claims.get("jti");
        return session
            .printer
            .json(&json!({ "agent": names.agent, "jti": jti, "causes": causes }));
    }
    let places = (1..).zip(&causes);
    let lines: String = places.map(|(place, cause)| lines(place, cause)).collect();
    session.printer.write(&lines)
}

fn lines(place: usize, cause: &Cause) -> String {
    format!(
        "{place}. {} ({})\n   seen: {}\n   hint: {}\n",
        cause.cause,
        cause.likelihood.as_str(),
        harmless(&cause.evidence),
        harmless(&cause.hint.to_string()),
    )
}
