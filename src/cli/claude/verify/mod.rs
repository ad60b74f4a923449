//! `firman claude verify`: checks from the outside what Claude will see, from the DNS name to the exchange, one
//! line per check. Never prints a token.

mod exchange;
mod outside;
mod token;

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde_json::json;

use super::base_url::{BaseUrl, BaseUrlArgs};
use super::facts::{self, Facts, RuleArgs};
use super::ids::IdArgs;
use super::probe::cause;
use super::read_back::{ReadBack, read_back};
use super::team;
use crate::cli::error::CliError;
use crate::cli::parse::parse_name;
use crate::cli::print::harmless;
use crate::cli::session::Session;
use crate::cli::{http, keyfile};
use crate::domain::remedy::Remedy;
use crate::ports::address::is_loopback;
use crate::ports::time::UnixTime;
use crate::relying_party::claude::JwksSource;
use crate::relying_party::claude::checks::{self, Check, Dialled, Link, Ours, Status};
use token::Judgement;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("proof").args(["secret_file", "key"]))]
#[command(after_help = "Examples:
  firman claude verify --agent mailer
  firman claude verify --agent mailer --key mailer.pem --exchange")]
pub(in crate::cli) struct VerifyArgs {
    /// The agent
    #[arg(long, value_name = "NAME", value_parser = team::parse_one_agent)]
    agent: String,
    /// The agent's private key file, to request a token as the agent does (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The agent's client secret file, to request a token as the agent does (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The resource for Claude, if several have the profile claude
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    resource: Option<String>,
    #[command(flatten)]
    rule: RuleArgs,
    /// Where Claude fetches discovery, if not at the issuer URL
    #[arg(long, value_name = "URL", conflicts_with = "inline")]
    discovery_base: Option<String>,
    /// The private CA certificates (PEM) registered at Claude for it [default: read back]
    #[arg(long, value_name = "FILE", conflicts_with = "inline")]
    ca_cert: Option<PathBuf>,
    /// Exchange a new token at Claude as the last check
    #[arg(long, requires = "proof")]
    exchange: bool,
    #[command(flatten)]
    base_url: BaseUrlArgs,
    #[command(flatten)]
    link: LinkArgs,
}

/// Ids at Claude that are not linked, or differ from the link.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ids at Claude [default: those of `firman claude link`]")]
struct LinkArgs {
    #[command(flatten)]
    ids: IdArgs,
}

impl LinkArgs {
    /// The link with the named ids in place of its own; `None` when an id is missing.
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

/// The checks so far.
struct Round {
    checks: Vec<Check>,
    dialled: Dialled,
    now: UnixTime,
    /// The only certificate authorities to trust, if set.
    ca_cert_pem: Option<String>,
}

impl Round {
    fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Adds a check of something that Claude fetches, unless the keys are inline.
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

/// What is known before the first check.
struct Ground {
    facts: Facts,
    link: Option<Link>,
    base_url: BaseUrl,
    read_back: ReadBack,
}

impl Ground {
    /// Where Claude gets the keys, when that was read back.
    fn key_source(&self) -> Option<&JwksSource> {
        let registered = self.read_back.registered();
        registered.map(|registered| &registered.issuer.jwks)
    }

    /// The party that fetches the keys.
    fn dialled(&self, args: &VerifyArgs) -> Dialled {
        let is_inline = self
            .key_source()
            .is_some_and(|source| matches!(source, JwksSource::Inline { .. }));
        if is_inline || args.rule.is_inline() {
            Dialled::Inline
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

pub(super) async fn run(args: VerifyArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let base_url = args.base_url.resolve(session.environment)?;
    http::check_transport(base_url.url(), session.globals.insecure_http)?;
    let admin = session.admin()?;
    let linked = facts::link(&admin, &args.agent).await?;
    let link = args.link.over(linked);
    let read_back = if args.rule.is_named() {
        ReadBack::Untried(Remedy::action(
            "drop `--inline` and the other rule options to check the registered rule",
        ))
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
    let published = outside::look(&args, &ground, &mut round).await?;
    look_at_registered(&args, &ground, &mut round);
    let facts = &ground.facts;
    round.add(checks::key_state(
        &facts.keys,
        &facts.consumers,
        &facts.key_consumer,
        round.dialled,
    ));
    let mut fresh = None;
    if let Some(sample) = token::agent(&args, &admin, &mut round).await? {
        match token::of(&args, &sample, &ground, session).await {
            Ok(token) => {
                let judgement = Judgement {
                    args: &args,
                    sample: &sample,
                    ground: &ground,
                    published: published.as_deref(),
                };
                judgement.of(&token, &mut round);
                fresh = Some(token);
            }
            Err(error) => round.add(Check::fail(
                "token",
                format!("this issuer refused the agent a token: {}", cause(&error)),
                Remedy::command(format!("agent explain {}", args.agent)),
            )),
        }
    }
    if args.exchange {
        exchange::exchange(&ground, fresh.as_ref(), &mut round).await?;
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
        (ReadBack::Registered(_) | ReadBack::Untried(_), _) => {}
    }
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
    if let ReadBack::Untried(hint) = read_back {
        session.printer.hint(&format!(
            "Checked the expected rule, not the registered one.\nhint: {hint}"
        ));
    }
    if failed > 0 {
        return Err(CliError::failed(
            "verify",
            format!("{failed} of {} checks failed", round.checks.len()),
        ));
    }
    match round.count(Status::Warn) {
        0 => session.printer.hint("All checks passed."),
        warned => session
            .printer
            .hint(&format!("No check failed; warnings: {warned}.")),
    }
    Ok(())
}

fn line(check: &Check) -> String {
    let Check {
        check,
        status,
        seen,
        hint,
    } = check;
    let mut line = format!("{:4}  {check:9}  {}\n", status.as_str(), harmless(seen));
    if let Some(hint) = hint {
        line.push_str(&format!("      hint: {}\n", harmless(&hint.to_string())));
    }
    line
}
