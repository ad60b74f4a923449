//! `firman quickstart`: from nothing to a verified token in one command.
//!
//! Starts the issuer on loopback, registers a resource for Claude, a role and an agent with a fresh
//! key, gets a token over HTTP as the agent would, and verifies it as a relying party would, from
//! the issuer's URL alone. Runs again on the same data.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::error::CliError;
use super::keyfile::{self, KeyFile};
use super::published::Discovered;
use super::serve;
use super::session::Session;
use super::token::{self, ClientArgs, GetArgs, Proof};
use crate::api::agent::NewAgent;
use crate::api::credential::NewCredential;
use crate::api::resource::NewResource;
use crate::api::role::{NewGrant, NewRole};
use crate::config::{LogLevel, Overrides};
use crate::domain::agent::{Agent, AgentStatus};
use crate::domain::profile::Profile;
use crate::domain::remedy::Remedy;
use crate::issuer::{Caller, Issuer, IssuerError};
use crate::jose::{PublicJwk, SigningKey};

/// The agent, its role and its key file are called this.
const AGENT: &str = "quickstart";
/// The resource is called this.
const RESOURCE: &str = "claude";

/// Try firman: start an issuer, register an agent, get a token and verify it
///
/// Runs on this machine alone. Verifies the token as a relying party does, from the issuer's URL, and then keeps serving.
/// Run it again on the same data at any time.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  firman quickstart\n  firman quickstart --exit --data-dir /tmp/firman"
)]
pub(super) struct QuickstartArgs {
    /// Stop after the token is verified
    #[arg(long)]
    exit: bool,
    #[command(flatten)]
    settings: Overrides,
}

pub(super) async fn run(args: QuickstartArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let started = Instant::now();
    let config = serve::config(args.settings, session)?;
    // This command reports the steps; the log only reports problems.
    let level = match config.log_level {
        LogLevel::Info => LogLevel::Warn,
        chosen @ (LogLevel::Error | LogLevel::Warn | LogLevel::Debug | LogLevel::Trace) => chosen,
    };
    let running = serve::start(&config, level).await?;
    let process = &running.process;
    let key_file = config.data_dir.join(format!("{AGENT}.pem"));
    let issuer = Arc::clone(process.host().issuer());
    let proof = prove(&issuer, &key_file, session).await;
    let shown = proof.and_then(|proof| {
        let report = Report {
            issuer: issuer.url(),
            key_file: &key_file,
            data_dir: &config.data_dir,
            made: &running.made,
            milliseconds: started.elapsed().as_millis(),
            proof,
        };
        report.show(session, !args.exit)
    });
    if shown.is_ok() && !args.exit {
        running.stop.received().await;
    }
    running.process.stop().await;
    shown
}

/// A verified token, decoded.
struct ProvenToken {
    audience: String,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

async fn prove(
    issuer: &Arc<Issuer>,
    key_file: &Path,
    session: &Session<'_>,
) -> Result<ProvenToken, CliError> {
    let refused = |error: IssuerError| CliError::failed("quickstart", error.to_string());
    let (reach, now) = (&session.reach()?, session.now());
    let audience = register_resource(issuer).await.map_err(refused)?;
    register_role(issuer).await.map_err(refused)?;
    let key = register_agent(issuer, key_file).await?;

    // As the agent: over HTTP, knowing the issuer's URL, its own name and its key.
    let discovered = Discovered::at(issuer.url(), reach)
        .await
        .map_err(|error| not_at_its_url(error, issuer.url()))?;
    let request = GetArgs::for_resource(issuer.url(), ClientArgs::default(), &audience);
    let proof = Proof::Key {
        client_id: AGENT.to_owned(),
        key: Box::new(key),
        kid: None,
    };
    let answer = token::request(&request, &proof, &discovered, now).await?;
    let token = answer["access_token"].as_str().ok_or_else(|| {
        CliError::failed(
            "quickstart",
            "the answer of the token endpoint does not contain `access_token`",
        )
    })?;

    // As the relying party: over HTTP, knowing the issuer's URL and its own name.
    let stranger = Discovered::at(issuer.url(), reach).await?;
    let token = SecretString::from(token);
    let (header, claims) = token::verify(&token, &stranger, &audience, now).await?;
    let proven = ProvenToken {
        audience,
        header,
        claims,
    };
    proven.check_for_claude()?;
    Ok(proven)
}

/// With a public URL the request goes out to a proxy and back. On a first try that proxy may not exist yet.
fn not_at_its_url(error: CliError, issuer_url: &str) -> CliError {
    if issuer_url.starts_with("http://") {
        return error;
    }
    error.with_remedy(&Remedy::action(
        "route the issuer's URL to this process, or drop the URL to try firman on loopback",
    ))
}

impl ProvenToken {
    /// Checks what Claude's federation requires beyond signature, issuer, audience and expiry.
    fn check_for_claude(&self) -> Result<(), CliError> {
        let subject = self.claims.get("sub");
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str);
        let time = |name: &str| self.claims.get(name).and_then(Value::as_i64);
        let life = time("exp").zip(time("iat")).map(|(exp, iat)| exp - iat);
        let demands = [
            (
                "`typ` must be `JWT`",
                self.header.get("typ") == Some(&json!("JWT")),
            ),
            (
                "`alg` must be `ES256` or `RS256`",
                ["ES256", "RS256"]
                    .iter()
                    .any(|alg| self.header.get("alg") == Some(&json!(alg))),
            ),
            (
                "`kid` is required",
                self.header.get("kid").is_some_and(Value::is_string),
            ),
            (
                "`aud` must be one string",
                text("aud") == Some(&self.audience),
            ),
            (
                "`sub` must name the agent",
                text("sub") == Some(&format!("agent:{AGENT}")),
            ),
            (
                "`acting_agent` must be `sub`",
                subject.is_some() && self.claims.get("acting_agent") == subject,
            ),
            (
                "`jti` is required",
                text("jti").is_some_and(|jti| !jti.is_empty()),
            ),
            (
                "`exp` must be at most an hour after `iat`",
                life.is_some_and(|life| (1..=3600).contains(&life)),
            ),
        ];
        match demands.into_iter().find(|(_, is_met)| !is_met) {
            None => Ok(()),
            Some((demand, _)) => Err(CliError::failed(
                "quickstart",
                format!("Claude would reject the token: {demand}"),
            )),
        }
    }
}

/// Finds or creates the Claude resource and returns its audience.
async fn register_resource(issuer: &Arc<Issuer>) -> Result<String, IssuerError> {
    let found = match issuer.resource(RESOURCE).await {
        Err(IssuerError::NotFound { .. }) => {
            let new = NewResource {
                name: RESOURCE.to_owned(),
                profile: Some(Profile::Claude.as_str().to_owned()),
                description: Some("Claude, through workload identity federation".to_owned()),
                ..NewResource::default()
            };
            issuer.create_resource(&Caller::system(), new).await?
        }
        found => found?,
    };
    Ok(found.identifier)
}

async fn register_role(issuer: &Arc<Issuer>) -> Result<(), IssuerError> {
    match issuer.role(AGENT).await {
        Err(IssuerError::NotFound { .. }) => {
            let grants = vec![NewGrant {
                resource: RESOURCE.to_owned(),
                scopes: None,
            }];
            let new = NewRole {
                name: AGENT.to_owned(),
                description: Some("May call Claude".to_owned()),
                grants: Some(grants),
            };
            issuer.create_role(&Caller::system(), new).await.map(drop)
        }
        found => found.map(drop),
    }
}

/// Finds or creates the agent and its key in `key_file`.
async fn register_agent(issuer: &Arc<Issuer>, key_file: &Path) -> Result<SigningKey, CliError> {
    let refused = |error: IssuerError| CliError::failed("quickstart", error.to_string());
    let (key, mut fresh) = if key_file.exists() {
        (keyfile::read_private(key_file)?, None)
    } else {
        let fresh = KeyFile::generate(key_file)?;
        (keyfile::read_private(key_file)?, Some(fresh))
    };
    match issuer.agent(AGENT).await {
        Ok(known) => {
            check_is_active(&known.view.agent, issuer)?;
            let is_registered = known
                .credentials
                .iter()
                .any(|credential| credential.is_for(key.public_jwk()));
            if !is_registered {
                let credential = public_key(key.public_jwk());
                let added = issuer
                    .add_credential(&Caller::system(), AGENT, credential, None)
                    .await;
                added.map_err(refused)?;
            }
        }
        Err(IssuerError::NotFound { .. }) => {
            let new = NewAgent {
                name: AGENT.to_owned(),
                owner: "quickstart".to_owned(),
                description: Some("Registered by firman quickstart".to_owned()),
                roles: Some(vec![AGENT.to_owned()]),
                credential: Some(public_key(key.public_jwk())),
                ..NewAgent::default()
            };
            issuer
                .create_agent(&Caller::system(), new)
                .await
                .map_err(refused)?;
        }
        Err(error) => return Err(refused(error)),
    }
    if let Some(fresh) = &mut fresh {
        fresh.keep();
    }
    Ok(key)
}

/// The token endpoint does not tell the agent why it refuses, so check it here.
fn check_is_active(agent: &Agent, issuer: &Issuer) -> Result<(), CliError> {
    let remedy = match agent.status {
        AgentStatus::Removed { .. } => {
            Remedy::action("run `firman quickstart` with another `--data-dir`")
        }
        AgentStatus::Suspended { .. } => Remedy::action(format!(
            "run `firman serve`, then `firman agent resume {AGENT}`"
        )),
        AgentStatus::Active if agent.is_active(issuer.ports().clock.now()) => return Ok(()),
        AgentStatus::Active => Remedy::action(format!(
            "run `firman serve`, then `firman agent edit {AGENT} --expires-in never`"
        )),
    };
    let state = match agent.status {
        AgentStatus::Active => "expired",
        AgentStatus::Removed { .. } | AgentStatus::Suspended { .. } => agent.status.as_str(),
    };
    let fault = format!("the agent `{AGENT}` is {state}");
    Err(CliError::failed("quickstart", fault).with_remedy(&remedy))
}

fn public_key(jwk: &PublicJwk) -> NewCredential {
    NewCredential::public_key(jwk.to_value())
}

/// The outcome, for the user.
struct Report<'r> {
    issuer: &'r str,
    key_file: &'r Path,
    data_dir: &'r Path,
    made: &'r [PathBuf],
    milliseconds: u128,
    proof: ProvenToken,
}

impl Report<'_> {
    fn show(&self, session: &mut Session<'_>, keeps_serving: bool) -> Result<(), CliError> {
        let ProvenToken {
            audience,
            header,
            claims,
        } = &self.proof;
        if session.printer.is_json() {
            return session.printer.json(&json!({
                "issuer": self.issuer,
                "client_id": AGENT,
                "key_file": self.key_file.display().to_string(),
                "audience": audience,
                "verified": true,
                "header": header,
                "claims": claims,
                "first_token_milliseconds": u64::try_from(self.milliseconds).unwrap_or(u64::MAX),
            }));
        }
        let key_file = self.key_file.display();
        let text = format!(
            "issuer      {issuer}\n\
             agent       {AGENT} (key: {key_file})\n\
             token for   {audience}\n\
             first token {ms} ms after the start, verified from discovery and JWKS\n\n\
             header  {header:#}\n\
             claims  {claims:#}\n\n",
            issuer = self.issuer,
            ms = self.milliseconds,
            header = Value::from(header.clone()),
            claims = Value::from(claims.clone()),
        );
        session.printer.write(&text)?;
        if !self.made.is_empty() {
            let made: Vec<String> = self
                .made
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            session
                .printer
                .hint(&format!("First start: created {}.\n", made.join(", ")));
        }
        let at = self.at_data_dir();
        let serving = if keeps_serving {
            "In another terminal, try".to_owned()
        } else {
            format!("Start it with: firman serve --detach{at}. Then try")
        };
        session.printer.hint(&format!(
            "{serving}:\n  \
             firman token get --issuer {issuer} --client-id {AGENT} --key {key_file} --resource {audience}\n  \
             firman agent add my-agent --owner my-team --role {AGENT} --generate-key my-agent.pem{at}\n  \
             firman agent suspend {AGENT}{at}\n  \
             firman audit list{at}\n\n\
             To let Claude trust this issuer, register it as a Custom OIDC issuer with:\n  \
             issuer URL  {issuer}{reachability}\n  \
             subject     agent:{AGENT}    and claim acting_agent = agent:{AGENT}\n  \
             audience    {audience}",
            issuer = self.issuer,
            reachability = if self.issuer.starts_with("https://") {
                ""
            } else {
                "   (Claude needs a public https URL, or the keys of the JWKS inline. The URL of an issuer never changes: \
                 start another one with FIRMAN_ISSUER_URL=https://… and its own --data-dir)"
            },
        ));
        if keeps_serving {
            session.printer.hint("\nServing. Stop with Ctrl-C.");
        }
        Ok(())
    }

    /// The option with which the next commands find this issuer, unless its data are in `data`.
    fn at_data_dir(&self) -> String {
        if self.data_dir == Path::new("data") {
            String::new()
        } else {
            format!(" --data-dir {}", self.data_dir.display())
        }
    }
}
