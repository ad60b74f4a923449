//! `firman claude verify`: goes round from the outside as Claude would, from the name in the DNS to the
//! exchange, and says one line per check. Never prints a token.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::base_url::{BaseUrl, BaseUrlArgs};
use super::facts::{self, Facts, RuleArgs};
use super::ids::IdArgs;
use super::probe::{self, Unreached, told};
use super::read_back::{ReadBack, read_back};
use super::team;
use crate::cli::client::{AdminClient, Query};
use crate::cli::error::CliError;
use crate::cli::parse::parse_name;
use crate::cli::print::{harmless, text};
use crate::cli::session::Session;
use crate::cli::token::{self, ClientArgs, GetArgs};
use crate::cli::{http, keyfile, published};
use crate::jose::{ForeignKeySet, SigningAlgorithm, SigningKey, UnverifiedJws};
use crate::ports::address::is_loopback;
use crate::ports::time::UnixTime;
use crate::relying_party::claude::checks::{self, Check, Dialled, Fetched, Link, Ours, Status};
use crate::relying_party::claude::{
    API_VERSION, ASSERTION_MAX_BYTES, JwksSource, check_rule, is_team_rule, rule_warnings,
};

/// What the SDKs say with an exchange.
const EXCHANGE_BETA: &str = "oauth-2025-04-20,oidc-federation-2026-04-01";
/// What they say with every other call.
const OAUTH_BETA: &str = "oauth-2025-04-20";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("proof").args(["secret_file", "key"]))]
pub(in crate::cli) struct VerifyArgs {
    /// The agent
    #[arg(long, value_name = "NAME", value_parser = team::parse_one_agent)]
    agent: String,
    /// The file with its private key, to get a token as the agent does (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The file with its client secret, to get a token as the agent does (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The resource that stands for Claude, when there are several with that profile
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    resource: Option<String>,
    #[command(flatten)]
    rule: RuleArgs,
    /// Where Claude looks for discovery, when the issuer is published elsewhere
    #[arg(long, value_name = "URL", conflicts_with = "inline")]
    discovery_base: Option<String>,
    /// The private certificate authorities (PEM) that Claude is told to trust for it [default: those registered]
    #[arg(long, value_name = "FILE", conflicts_with = "inline")]
    ca_cert: Option<PathBuf>,
    /// Try the exchange too, with a fresh token
    #[arg(long, requires = "proof")]
    exchange: bool,
    #[command(flatten)]
    base_url: BaseUrlArgs,
    #[command(flatten)]
    link: LinkArgs,
}

/// Ids at Claude, where they are not linked or others are meant.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ids at Claude [default: those of `firman claude link`]")]
struct LinkArgs {
    #[command(flatten)]
    ids: IdArgs,
}

impl LinkArgs {
    /// What is linked, with what was said instead; `None` when an id is missing.
    fn over(&self, linked: Option<Link>) -> Option<Link> {
        let linked = linked.unwrap_or_default();
        let named = self.ids.clone();
        let link = Link {
            rule: named.rule.map_or(linked.rule, String::from),
            organization: named
                .place
                .organization
                .map_or(linked.organization, String::from),
            service_account: named
                .service_account
                .map_or(linked.service_account, String::from),
            workspace: named.place.workspace.map(String::from).or(linked.workspace),
            token_lifetime: linked.token_lifetime,
        };
        let is_whole = [&link.rule, &link.organization, &link.service_account]
            .iter()
            .all(|id| !id.is_empty());
        is_whole.then_some(link)
    }
}

/// The round: what was seen so far.
struct Round {
    checks: Vec<Check>,
    dialled: Dialled,
    now: UnixTime,
    /// The private authorities that alone are trusted, if there are any.
    ca_cert_pem: Option<String>,
}

impl Round {
    fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Adds a check of something that is fetched, which is no matter when nobody fetches.
    fn add_document(&mut self, check: Check) {
        let check = self.dialled.document(check);
        self.add(check);
    }

    /// Adds a check of whether the public internet reaches something.
    fn add_reach(&mut self, check: Check) {
        let check = self.dialled.reach(check);
        self.add(check);
    }

    fn count(&self, status: Status) -> usize {
        let of = self.checks.iter().filter(|check| check.status == status);
        of.count()
    }
}

/// What the round rests on, whatever it sees.
struct Ground {
    facts: Facts,
    link: Option<Link>,
    base_url: BaseUrl,
    read_back: ReadBack,
}

impl Ground {
    /// Where Claude takes the keys from, when that was read back.
    fn key_source(&self) -> Option<&JwksSource> {
        let registered = self.read_back.registered();
        registered.map(|registered| &registered.issuer.jwks)
    }

    /// Who fetches the keys.
    fn dialled(&self, args: &VerifyArgs) -> Dialled {
        let is_inline = self
            .key_source()
            .is_some_and(|source| matches!(source, JwksSource::Inline { .. }));
        if is_inline || args.rule.is_inline() {
            Dialled::ByNobody
        } else if is_loopback(self.base_url.url()) {
            Dialled::ByStandIn
        } else {
            Dialled::ByClaude
        }
    }

    fn ca_cert_pem(&self, args: &VerifyArgs) -> Result<Option<String>, CliError> {
        match (&args.ca_cert, self.key_source()) {
            (Some(path), _) => keyfile::read_ca_cert(path).map(Some),
            (None, source) => Ok(source.and_then(JwksSource::ca_cert_pem).map(str::to_owned)),
        }
    }
}

/// What the agent's tokens are to be, by the admin API.
struct Sample {
    subject: String,
    identifier: String,
    algorithm: String,
    lifetime: i64,
    claims: Value,
}

pub(super) async fn run(args: VerifyArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let base_url = args.base_url.resolve(session.environment)?;
    http::check_transport(base_url.url(), session.globals.insecure_http)?;
    let admin = session.admin()?;
    let linked = facts::link(&admin, &args.agent).await?;
    let link = args.link.over(linked);
    let read_back = if args.rule.is_said() {
        ReadBack::Unasked("leave out --inline and the other options about the rule")
    } else {
        read_back(link.as_ref(), &base_url, session).await?
    };
    let ground = Ground {
        facts: Facts::load(&admin).await?,
        link,
        base_url,
        read_back,
    };
    let mut round = Round {
        checks: Vec::new(),
        dialled: ground.dialled(&args),
        now: session.now(),
        ca_cert_pem: ground.ca_cert_pem(&args)?,
    };
    let published = look_from_outside(&args, &ground, &mut round).await?;
    look_at_registered(&args, &ground, &mut round);
    let facts = &ground.facts;
    round.add(checks::key_state(
        &facts.keys,
        &facts.consumers,
        &facts.key_consumer,
        round.dialled,
    ));
    let mut fresh = None;
    if let Some(sample) = agent(&args, &admin, &mut round).await? {
        match token_of(&args, &sample, &ground, session).await {
            Ok(token) => {
                judge(
                    &args,
                    (&sample, &token),
                    &ground,
                    published.as_deref(),
                    &mut round,
                );
                fresh = Some(token);
            }
            Err(error) => round.add(Check::fail(
                "token",
                told(&error),
                "This is between the agent and this issuer; Claude was not asked.",
            )),
        }
    }
    if args.exchange {
        exchange(&ground, fresh.as_ref(), &mut round).await?;
    }
    report(&args.agent, &ground.read_back, &round, session)
}

/// What was read back of the rule, its issuer and its account.
fn look_at_registered(args: &VerifyArgs, ground: &Ground, round: &mut Round) {
    match (&ground.read_back, &ground.link) {
        (ReadBack::Registered(registered), Some(link)) => {
            let checks = registered.checks(&Ours {
                agent: &args.agent,
                issuer_url: &ground.facts.issuer,
                keys: &ground.facts.keys,
                link,
            });
            round.checks.extend(checks);
        }
        (ReadBack::Failed(check), _) => round.add(check.clone()),
        (ReadBack::Registered(_) | ReadBack::Unasked(_), _) => {}
    }
}

/// Name, address, port, certificate, discovery, keys: the body of the key set, when there is one.
async fn look_from_outside(
    args: &VerifyArgs,
    ground: &Ground,
    round: &mut Round,
) -> Result<Option<Vec<u8>>, CliError> {
    let issuer = &ground.facts.issuer;
    round.add(checks::spelling(issuer));
    let (registered_base, key_set_url) = match ground.key_source() {
        Some(JwksSource::Discovery { discovery_base, .. }) => (discovery_base.as_deref(), None),
        Some(JwksSource::ExplicitUrl { url, .. }) => (None, Some(url.as_str())),
        Some(JwksSource::Inline { .. }) | None => (None, None),
    };
    let base = args.discovery_base.as_deref().or(registered_base);
    let key_set_url = key_set_url.filter(|_| args.discovery_base.is_none());
    let base = http::parse_url(key_set_url.or(base).unwrap_or(issuer), "the discovery base")?;
    round.add_reach(checks::address("address", &base));
    let host = base.host_str().unwrap_or_default().to_owned();
    let addresses = probe::resolve(&base).await;
    round.add_reach(checks::addresses(&host, &addresses));
    if addresses.is_empty() {
        return Ok(None);
    }
    let port = base.port_or_known_default().unwrap_or(443);
    let connected = probe::connect(&addresses, port).await;
    let outcome = connected
        .as_ref()
        .map_or_else(|reason| Err(reason.as_str()), |()| Ok(()));
    round.add_document(checks::port(&host, port, outcome));
    if connected.is_err() {
        return Ok(None);
    }
    if key_set_url.is_some() {
        return Ok(key_set(&base, &base, round).await);
    }
    let metadata = format!(
        "{}/.well-known/openid-configuration",
        base.as_str().trim_end_matches('/')
    );
    let metadata = http::parse_url(&metadata, "--discovery-base")?;
    let Some(answer) = fetch("discovery", &metadata, round).await else {
        return Ok(None);
    };
    round.add_document(checks::clock(&host, answer.date, round.now));
    match checks::discovery(issuer, &metadata, &answer) {
        Ok((check, jwks_uri)) => {
            round.add(check);
            Ok(key_set(&jwks_uri, &base, round).await)
        }
        Err(check) => {
            round.add_document(check);
            Ok(None)
        }
    }
}

/// The key set where discovery says it is.
async fn key_set(jwks_uri: &Url, base: &Url, round: &mut Round) -> Option<Vec<u8>> {
    if jwks_uri.origin() != base.origin() {
        round.add_reach(checks::address("jwks_uri", jwks_uri));
    }
    if !matches!(jwks_uri.scheme(), "http" | "https") {
        return None;
    }
    let answer = fetch("jwks", jwks_uri, round).await?;
    match checks::key_set(jwks_uri, &answer) {
        Ok((check, _)) => {
            round.add(check);
            Some(answer.body)
        }
        Err(check) => {
            round.add_document(check);
            None
        }
    }
}

/// Fetches a document; the certificate is told once for each host that is asked by https.
async fn fetch(check: &'static str, url: &Url, round: &mut Round) -> Option<Fetched> {
    let host = url.host_str().unwrap_or_default();
    match probe::get(url, round.ca_cert_pem.as_deref()).await {
        Ok(answer) => {
            let told = checks::certificate(host, Ok(()));
            if url.scheme() == "https" && !round.checks.contains(&told) {
                round.add(told);
            }
            Some(answer)
        }
        Err(Unreached::Certificate(reason)) => {
            round.add_document(checks::certificate(host, Err(&reason)));
            None
        }
        Err(Unreached::Other(reason)) => {
            round.add_document(Check::fail(
                check,
                format!("{url} gives no answer: {reason}"),
                "Is the issuer, or the proxy in front of it, well?",
            ));
            None
        }
    }
}

/// Whether the agent may have a token for Claude, and what it would say.
async fn agent(
    args: &VerifyArgs,
    admin: &AdminClient,
    round: &mut Round,
) -> Result<Option<Sample>, CliError> {
    let name = args.agent.as_str();
    let agent = admin.get(&["agents", name], &Query::default()).await?;
    let resources = facts::claude_resources(admin).await?;
    let named = |one: &&Value| {
        args.resource
            .as_ref()
            .is_none_or(|name| one["name"] == name.as_str())
    };
    let candidates: Vec<&Value> = resources.iter().filter(named).collect();
    let mut refusal = None;
    for resource in &candidates {
        let query = Query::default().with("resource", resource["name"].as_str());
        let explained: Value = admin.get(&["agents", name, "explain"], &query).await?;
        if explained["claims"].is_null() {
            refusal = Some(text(&explained["refusal"], "error_description"));
            continue;
        }
        let identifier = text(resource, "identifier");
        round.add(Check::ok(
            "agent",
            format!(
                "{name} may have tokens for {identifier} ({})",
                text(resource, "name")
            ),
        ));
        return Ok(Some(Sample {
            subject: text(&agent, "subject"),
            identifier,
            algorithm: text(resource, "token_algorithm"),
            lifetime: resource["token_lifetime"].as_i64().unwrap_or_default(),
            claims: explained["claims"].clone(),
        }));
    }
    round.add(match refusal {
        Some(why) => Check::fail(
            "agent",
            format!("{name} would be refused: {why}"),
            format!("Look at: firman agent explain {name}"),
        ),
        None => Check::fail(
            "agent",
            "there is no such resource with profile claude",
            "Add one and grant it: firman resource add claude --profile claude",
        ),
    });
    Ok(None)
}

/// A token to look at: one that the agent gets, or one with the claims it would get, signed by nobody.
struct Candidate {
    token: SecretString,
    /// The key of a token that was signed for this look only.
    own_key: Option<SigningKey>,
}

async fn token_of(
    args: &VerifyArgs,
    sample: &Sample,
    ground: &Ground,
    session: &Session<'_>,
) -> Result<Candidate, CliError> {
    if args.secret_file.is_none() && args.key.is_none() {
        return unsigned(sample, session.now());
    }
    let client = ClientArgs {
        client_id: Some(args.agent.clone()),
        secret_file: args.secret_file.clone(),
        key: args.key.clone(),
        ..ClientArgs::default()
    };
    let proof = client.proof()?;
    let issuer = &ground.facts.issuer;
    let discovered = published::Discovered::at(issuer, &session.reach()?).await?;
    let request = GetArgs::for_resource(issuer, client, &sample.identifier);
    let answer = token::request(&request, &proof, &discovered, session.now()).await?;
    let token = answer["access_token"].as_str().unwrap_or_default();
    Ok(Candidate {
        token: token.to_owned().into(),
        own_key: None,
    })
}

/// The claims that `explain` tells, with times, under a key made for the occasion: the rules are judged
/// by the same code, whoever signed.
fn unsigned(sample: &Sample, now: UnixTime) -> Result<Candidate, CliError> {
    let failed = |problem: String| CliError::failed("token", problem);
    let algorithm = SigningAlgorithm::parse(&sample.algorithm)
        .ok_or_else(|| failed(format!("{} is no algorithm", sample.algorithm)))?;
    let key = SigningKey::generate(algorithm).map_err(|error| failed(error.to_string()))?;
    let mut claims = sample.claims.clone();
    claims["iat"] = json!(now.0);
    claims["nbf"] = json!(now.0);
    claims["exp"] = json!(now.plus(sample.lifetime).0);
    // A real one gets its own; which it is does not matter to a rule.
    claims["jti"] = json!("not-issued");
    let token = key
        .sign_compact("JWT", claims.to_string().as_bytes())
        .map_err(|error| failed(error.to_string()))?;
    Ok(Candidate {
        token: token.into(),
        own_key: Some(key),
    })
}

/// Judges the token by the rule, as Claude would.
fn judge(
    args: &VerifyArgs,
    (sample, candidate): (&Sample, &Candidate),
    ground: &Ground,
    published: Option<&[u8]>,
    round: &mut Round,
) {
    let expected = args
        .rule
        .expected(&ground.facts, &sample.subject, Some(&sample.identifier));
    let registered = ground.read_back.registered();
    let rule = registered.map_or(&expected.rule, |registered| &registered.rule.match_);
    if let Err(invalid) = check_rule(rule) {
        round.add(Check::fail(
            "rule",
            format!(
                "Claude refuses this rule: {} {}",
                invalid.field, invalid.problem
            ),
            "firman claude connect prints one that it takes.",
        ));
        return;
    }
    for warning in rule_warnings(rule, sample.claims.as_object()) {
        // `connect --agent 'ops.*'` makes it so, on purpose.
        if warning.code == "prefix" && is_team_rule(rule) {
            round.add(Check::ok("rule", warning.text));
        } else {
            round.add(Check::warn("rule", warning.code, warning.text));
        }
    }
    let keys = match keys_for(candidate, ground, published) {
        Ok(keys) => keys,
        Err(check) => return round.add(check),
    };
    let what = if candidate.own_key.is_some() {
        "a token as firman agent explain tells it"
    } else {
        "the token that the agent got"
    };
    let token = candidate.token.expose_secret();
    let (Some(registered), Some(link)) = (registered, &ground.link) else {
        let judged = checks::judge(token, &expected, &keys, round.now);
        let mut check = checks::sample(what, expected.origin(), &judged);
        name_in(&mut check, args);
        return round.add(check);
    };
    match checks::request(link) {
        Ok(request) => {
            let judged = registered.judge(token, &request, &keys, round.now);
            let mut check = checks::sample(what, "the rule at Claude", &judged);
            name_in(&mut check, args);
            if let Some(advice) = &mut check.advice
                && judged.is_err()
                && !advice.contains("--apply")
            {
                advice.push_str(&format!(
                    ". To have it put right, or to be told why not: `firman claude connect --agent {} --apply`",
                    args.agent
                ));
            }
            round.add(check);
        }
        Err(invalid) => round.add(Check::fail(
            "token",
            format!("{} {}", invalid.field, invalid.problem),
            "Correct it with: firman claude link",
        )),
    }
}

/// Puts the agent's name and the resource's where an advice leaves them open.
fn name_in(check: &mut Check, args: &VerifyArgs) {
    let resource = args.resource.as_deref();
    let named = |advice: String| facts::named(&advice, Some(&args.agent), resource);
    check.advice = check.advice.take().map(named);
}

/// The keys that the token is to be verified with: its own, those that Claude holds, those published.
fn keys_for(
    candidate: &Candidate,
    ground: &Ground,
    published: Option<&[u8]>,
) -> Result<ForeignKeySet, Check> {
    let inline = ground.key_source().and_then(JwksSource::inline_set);
    let keys = match (&candidate.own_key, inline, published) {
        (Some(key), _, _) => {
            let own = json!({ "keys": [key.public_jwk().to_value()] }).to_string();
            ForeignKeySet::parse_published(own.as_bytes())
        }
        (None, Some(inline), _) => inline,
        (None, None, Some(body)) => ForeignKeySet::parse_published(body),
        (None, None, None) => {
            return Err(Check::warn(
                "token",
                "the agent got a token; its signature could not be checked without the key set",
                "Repair what failed above first.",
            ));
        }
    };
    keys.map_err(|problem| {
        Check::fail(
            "token",
            format!("the key set is not acceptable: {problem}"),
            "Serve the issuer's own key set.",
        )
    })
}

/// The real exchange: what only Claude can say. The access token is dropped unseen.
async fn exchange(
    ground: &Ground,
    candidate: Option<&Candidate>,
    round: &mut Round,
) -> Result<(), CliError> {
    const NAME: &str = "exchange";
    let Some(link) = &ground.link else {
        round.add(Check::fail(
            NAME,
            "rule, organization or service account is not known",
            "Record them: firman claude link AGENT --rule fdrl_… --organization UUID --service-account svac_…",
        ));
        return Ok(());
    };
    let Some(candidate) = candidate else {
        round.add(Check::fail(
            NAME,
            "there is no token to exchange",
            "Repair what failed above first.",
        ));
        return Ok(());
    };
    let request = match checks::request(link) {
        Ok(request) => request,
        Err(invalid) => {
            round.add(Check::fail(
                NAME,
                format!("{} {}", invalid.field, invalid.problem),
                "Correct it with: firman claude link",
            ));
            return Ok(());
        }
    };
    let token = candidate.token.expose_secret();
    let url = endpoint(ground, &["v1", "oauth", "token"])?;
    let call = http::client(&url)?
        .post(url.clone())
        .header("anthropic-version", API_VERSION)
        .header("anthropic-beta", EXCHANGE_BETA)
        .json(&request.to_body(token));
    let base = ground.base_url.as_str().trim_end_matches('/');
    match probe::send(call).await {
        Ok(answer) => {
            round.add(checks::clock(base, answer.date, round.now));
            let jti = unverified_jti(token);
            let check = checks::exchange(base, jti.as_deref(), &answer);
            let is_granted = check.status == Status::Ok;
            round.add(check);
            if is_granted {
                first_call(ground, link, &answer, round).await?;
            }
        }
        Err(Unreached::Certificate(reason) | Unreached::Other(reason)) => round.add(Check::fail(
            NAME,
            format!("{base} gives no answer: {reason}"),
            "Is --base-url right, and may this machine reach it?",
        )),
    }
    Ok(())
}

fn endpoint(ground: &Ground, path: &[&str]) -> Result<Url, CliError> {
    let mut url = ground.base_url.url().clone();
    url.path_segments_mut()
        .map_err(|()| CliError::usage("--base-url cannot be the URL of a server"))?
        .pop_if_empty()
        .extend(path);
    Ok(url)
}

/// Lists models with the access token, which costs nothing: the answer says in whose name the token acts.
async fn first_call(
    ground: &Ground,
    link: &Link,
    exchanged: &Fetched,
    round: &mut Round,
) -> Result<(), CliError> {
    let body: Value = serde_json::from_slice(&exchanged.body).unwrap_or_default();
    let token: SecretString = text(&body, "access_token").into();
    let mut url = endpoint(ground, &["v1", "models"])?;
    url.set_query(Some("limit=1"));
    let call = http::client(&url)?
        .get(url)
        .bearer_auth(token.expose_secret())
        .header("anthropic-version", API_VERSION)
        .header("anthropic-beta", OAUTH_BETA);
    let base = ground.base_url.as_str().trim_end_matches('/');
    // A rule for one workspace leads there, whether the request names it or not.
    let registered = ground.read_back.registered();
    let only = registered.and_then(|found| match found.rule.enabled_workspaces().as_slice() {
        [only] if !found.rule.applies_to_all_workspaces => Some(only.to_string()),
        _ => None,
    });
    let workspace = link.workspace.clone().or(only);
    round.add(match probe::send(call).await {
        Ok(answer) => checks::acts_in(base, &link.organization, workspace.as_deref(), &answer),
        Err(Unreached::Certificate(reason) | Unreached::Other(reason)) => Check::warn(
            "workspace",
            format!("{base} gives no answer to a call with the access token: {reason}"),
            "Repeat the check.",
        ),
    });
    Ok(())
}

/// The token's own id, to find it in the audit.
fn unverified_jti(token: &str) -> Option<String> {
    let jws = UnverifiedJws::parse(token, ASSERTION_MAX_BYTES).ok()?;
    let claims = jws.unverified_claims().ok()?;
    claims["jti"].as_str().map(str::to_owned)
}

/// One line per check, or the list of them; an error when one failed.
fn report(
    agent: &str,
    read_back: &ReadBack,
    round: &Round,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let failed = round.count(Status::Fail);
    if session.printer.is_json() {
        session.printer.json(&json!({
            "agent": agent,
            "ok": failed == 0,
            "read_back": read_back.registered().is_some(),
            "checks": round.checks,
        }))?;
    } else {
        let lines: String = round.checks.iter().map(line).collect();
        session.printer.write(&lines)?;
    }
    if let ReadBack::Unasked(how) = read_back {
        session.printer.hint(&format!(
            "Checked the expected rule, not the registered one.\nhint: to check the registered one, {how}"
        ));
    }
    if failed > 0 {
        return Err(CliError::failed(
            "verify",
            format!("{failed} of {} checks failed", round.checks.len()),
        ));
    }
    match round.count(Status::Warn) {
        0 => session.printer.hint("Claude can work with this."),
        warned => session
            .printer
            .hint(&format!("Nothing failed; {warned} to look at.")),
    }
    Ok(())
}

fn line(check: &Check) -> String {
    let Check {
        check,
        status,
        seen,
        advice,
    } = check;
    let advice = advice
        .as_ref()
        .map_or(String::new(), |advice| format!(" → {advice}"));
    format!(
        "{:4}  {check:9}  {}\n",
        status.as_str(),
        harmless(&format!("{seen}{advice}"))
    )
}
