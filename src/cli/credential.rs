//! `firman credential`: how an agent proves itself. A client secret is shown once and never again; a
//! private key is made here, on the caller's machine, and never sent.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{AdminClient, Page, Query};
use super::duration::parse_duration;
use super::error::CliError;
use super::parse::{pairs, parse_id, parse_name, parse_pair};
use super::platform::{Workload, WorkloadArgs};
use super::print::{Table, date, date_and_distance, items, text};
use super::proof::{Proof, ProofArgs, SinkArgs, check_sink, hints};
use super::session::{Listing, Session};
use super::snippet::{Here, snippet};
use crate::ports::time::UnixTime;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Give an agent another credential
    Add(Box<AddArgs>),
    /// List an agent's credentials, or the live ones of all agents, oldest first
    List(ListArgs),
    /// Replace a credential; the old one works on for the overlap
    Rotate(RotateArgs),
    /// Withdraw a credential at once
    Revoke {
        /// The agent's name
        #[arg(value_name = "AGENT", value_parser = parse_name)]
        agent: String,
        /// The credential's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// The agent's name; all agents when left out
    #[arg(value_name = "AGENT", value_parser = parse_name)]
    agent: Option<String>,
    /// Only those that expire within this time (24h, 30d)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "agent")]
    expires_within: Option<u64>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").args(["secret", "public_key", "generate_key", "bundle", "federated"]).required(true).multiple(true))]
pub(super) struct AddArgs {
    /// The agent's name
    #[arg(value_name = "AGENT", value_parser = parse_name)]
    agent: String,
    #[command(flatten)]
    proof: ProofArgs,
    /// The `kid` that the client writes into its assertions; the key's RFC 7638 thumbprint when left out
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    #[command(flatten)]
    sink: SinkArgs,
    #[command(flatten)]
    federation: FederationArgs,
    /// How long it is good for (90s, 15m, 24h, 7d); for ever when left out
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// The agent's name
    #[arg(value_name = "AGENT", value_parser = parse_name)]
    agent: String,
    /// The id of the credential to replace; may be left out when one only is live
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: Option<String>,
    /// How long the old one works on; 0 ends it at once
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "24h")]
    overlap: u64,
    /// The new public key, for a public-key credential (JWK or PEM; `-` is stdin)
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Make the new ES256 key in this new file, for a public-key credential
    #[arg(long, value_name = "FILE", conflicts_with = "public_key")]
    generate_key: Option<PathBuf>,
    /// The `kid` of the new key, another than the old one's
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    #[command(flatten)]
    sink: SinkArgs,
    /// How long the new one is good for (24h, 90d); for ever when left out, whatever the old one had
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
}

/// Which tokens of a trusted issuer prove the agent: those that everything named here holds for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tokens of a trusted issuer")]
pub(super) struct FederationArgs {
    /// Take tokens of this trusted issuer
    #[arg(long, value_name = "TRUSTED-ISSUER", value_parser = parse_name, conflicts_with_all = ["proof", "secret_out", "bundle"])]
    federated: Option<String>,
    /// About exactly this subject
    #[arg(
        long,
        value_name = "SUBJECT",
        requires = "federated",
        conflicts_with = "subject_prefix"
    )]
    subject: Option<String>,
    /// About subjects that begin with this
    #[arg(long, value_name = "PREFIX", requires = "federated")]
    subject_prefix: Option<String>,
    /// With this claim; may be repeated
    #[arg(long = "claim", value_name = "CLAIM=VALUE", value_parser = parse_pair, requires = "federated")]
    claims: Vec<(String, String)>,
    /// For which this CEL condition over `claims` holds
    #[arg(long, value_name = "CEL", requires = "federated")]
    condition: Option<String>,
    #[command(flatten)]
    workload: WorkloadArgs,
}

impl FederationArgs {
    /// The match of the API's `NewCredential`.
    fn matching(&self, workload: Option<&Workload>) -> Result<Map<String, Value>, CliError> {
        let mut matching = workload.map(Workload::matching).unwrap_or_default();
        let own = [
            ("subject", &self.subject),
            ("subject_prefix", &self.subject_prefix),
            ("condition", &self.condition),
        ];
        for (name, value) in own {
            let Some(value) = value else { continue };
            if name.starts_with("subject") && matching.contains_key("subject") {
                return Err(CliError::usage(
                    "the workload's subject is known; leave out --subject and --subject-prefix",
                ));
            }
            matching.insert(name.to_owned(), json!(value));
        }
        if let Some(Value::Object(claims)) = pairs("--claim", &self.claims)? {
            let all = matching.entry("claims").or_insert_with(|| json!({}));
            if let Value::Object(all) = all {
                for (name, value) in claims {
                    if all.insert(name.clone(), value).is_some() {
                        return Err(CliError::usage(format!(
                            "the claim '{name}' is given twice"
                        )));
                    }
                }
            }
        }
        if matching.is_empty() {
            return Err(CliError::usage(
                "which of its tokens? Name the workload (--repo, --namespace, …; see --help), or --subject, --claim or --condition",
            ));
        }
        Ok(matching)
    }
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(*args, session).await,
        Command::List(args) => list(args, session).await,
        Command::Rotate(args) => rotate(args, session).await,
        Command::Revoke { agent, id } => {
            let answer = session
                .admin()?
                .post(&["agents", &agent, "credentials", &id, "revoke"], None)
                .await?;
            if session.printer.is_json() {
                return session.printer.json(&answer);
            }
            session.printer.facts(&facts(&answer))?;
            session
                .printer
                .hint("Revoked: the next token request with it is refused. Tokens already issued last until they expire.");
            Ok(())
        }
    }
}

async fn list(args: ListArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let Some(agent) = args.agent else {
        return list_all(args, session).await;
    };
    let answer = session
        .admin()?
        .get(&["agents", &agent, "credentials"], &Query::default())
        .await?;
    if session.printer.is_json() {
        return session.printer.json(&answer);
    }
    let nothing = format!(
        "{agent} has no credential. Next: firman credential add {agent} --generate-key {agent}.pem"
    );
    session.printer.table(&table(&answer, "items"), &nothing)
}

/// The live credentials of all agents.
async fn list_all(args: ListArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let now = session.now();
    let listing = Listing {
        path: &["credentials"],
        filter: Query::default().with("expires_within", args.expires_within),
        page: &args.page,
        columns: &["AGENT", "ID", "KIND", "KID", "AGE", "EXPIRES"],
        nothing: if args.expires_within.is_some() {
            "No live credential expires within that time."
        } else {
            "No agent has a live credential."
        },
    };
    let row = |credential: &Value| {
        let created = credential["created_at"].as_i64().map(UnixTime);
        vec![
            text(credential, "agent"),
            text(credential, "id"),
            text(credential, "kind"),
            text(credential, "kid"),
            created.map_or_else(String::new, |created| age(now.since(created))),
            date_and_distance(credential, "expires_at", now),
        ]
    };
    session.list_pages(listing, row).await
}

/// How old something is, in the largest whole unit.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    if let Some(trusted) = args.federation.federated.clone() {
        Proof::None.name(&mut Map::new(), args.kid.as_deref())?;
        return add_federated(args, &trusted, session).await;
    }
    if args.federation.workload.workload() != Ok(None) {
        return Err(CliError::usage(
            "a workload proves itself by tokens of a trusted issuer; name that too, with --federated",
        ));
    }
    let admin = session.admin()?;
    check_sink(&args.proof, &args.sink)?;
    let mut proof = Proof::prepare(&args.proof, &args.sink, &args.agent, &admin).await?;
    let mut body = proof.to_members().unwrap_or_default();
    proof.name(&mut body, args.kid.as_deref())?;
    if let Some(seconds) = args.expires_in {
        body.insert("expires_in".to_owned(), seconds.into());
    }
    let path = ["agents", &args.agent, "credentials"];
    let answer = proof.register(&admin, &path, body).await?;
    print_new(&answer, &proof, &admin, session).await
}

async fn add_federated(
    args: AddArgs,
    trusted: &str,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let workload = args
        .federation
        .workload
        .workload()
        .map_err(CliError::usage)?;
    let mut body = Map::new();
    body.insert("kind".to_owned(), json!("federated"));
    body.insert("trusted_issuer".to_owned(), json!(trusted));
    let matching = args.federation.matching(workload.as_ref())?;
    body.insert("match".to_owned(), Value::Object(matching));
    if let Some(seconds) = args.expires_in {
        body.insert("expires_in".to_owned(), seconds.into());
    }
    let admin = session.admin()?;
    let path = ["agents", &args.agent, "credentials"];
    let answer = admin.post(&path, Some(&Value::Object(body))).await?;
    if session.printer.is_json() {
        return session.printer.json(&answer);
    }
    let mut shown = vec![("client_id", text(&answer, "client_id"))];
    shown.extend(facts(&answer["credential"]));
    session.printer.facts(&shown)?;
    let caution = workload.as_ref().and_then(|workload| workload.caution);
    if let Some(caution) = caution {
        session.printer.hint(caution);
    }
    let known = admin
        .get(&["trusted-issuers", trusted], &Query::default())
        .await
        .unwrap_or_default();
    let here = Here {
        issuer: &admin.issuer_url().await,
        audience: &text(&known, "audience"),
        client_id: &args.agent,
    };
    let platform = workload.map(|workload| workload.platform);
    session.printer.hint("There is no secret to keep.");
    session.printer.hint(&snippet(platform, &here));
    Ok(())
}

/// The match of a federated credential on one line.
fn matched(credential: &Value) -> String {
    let matching = &credential["match"];
    let mut parts = Vec::new();
    for (name, label) in [
        ("subject", "sub"),
        ("subject_prefix", "sub starts with"),
        ("condition", "condition"),
    ] {
        if let Some(value) = matching[name].as_str() {
            parts.push(format!("{label} {value}"));
        }
    }
    for (name, value) in matching["claims"].as_object().into_iter().flatten() {
        parts.push(format!("{name} {}", value.as_str().unwrap_or_default()));
    }
    parts.join(", ")
}

/// The credential to replace: the one that was named, or the only live one of the kind that can be meant.
/// Of several, the only one that the overlap does not outlive: the others were rotated before.
async fn to_rotate(
    args: &RotateArgs,
    admin: &AdminClient,
    now: UnixTime,
) -> Result<(String, String), CliError> {
    let path = ["agents", &args.agent, "credentials"];
    let answer = admin.get(&path, &Query::default()).await?;
    let has_key = args.public_key.is_some() || args.generate_key.is_some();
    let all = items(&answer, "items");
    if let Some(id) = &args.id {
        let named = all.iter().find(|credential| text(credential, "id") == *id);
        let kind = named.map(|credential| text(credential, "kind"));
        return Ok((id.clone(), kind.unwrap_or_default()));
    }
    let fits = |credential: &&Value| {
        let kind = text(credential, "kind");
        text(credential, "status") == "live"
            && match (has_key, args.sink.secret_out.is_some()) {
                (true, _) => kind == "public_key",
                (false, true) => kind == "client_secret",
                (false, false) => kind == "public_key" || kind == "client_secret",
            }
    };
    let live: Vec<&Value> = all.iter().filter(fits).collect();
    match live.as_slice() {
        [one] => Ok((text(one, "id"), text(one, "kind"))),
        [] => {
            let lacks = match (has_key, args.sink.secret_out.is_some()) {
                (true, _) => "public key",
                (false, true) => "client secret",
                (false, false) => "credential that can be rotated",
            };
            let detail = format!("{} has no live {lacks}", args.agent);
            Err(CliError::failed("not_found", detail))
        }
        several => {
            let until = UnixTime(now.0.saturating_add_unsigned(args.overlap));
            let stays = |credential: &&&Value| {
                let expires = credential["expires_at"].as_i64();
                expires.is_none_or(|expires| expires > until.0)
            };
            let mut staying = several.iter().filter(stays);
            if let (Some(one), None) = (staying.next(), staying.next()) {
                return Ok((text(one, "id"), text(one, "kind")));
            }
            let mut detail = format!(
                "{} has {} live credentials that can be rotated; name one of:",
                args.agent,
                several.len()
            );
            for credential in several {
                let kid = text(credential, "kid");
                let expires = date(credential, "expires_at");
                detail.push_str(&format!(
                    "\n  {}  {}{}  created {}{}",
                    text(credential, "id"),
                    text(credential, "kind"),
                    if kid.is_empty() {
                        kid
                    } else {
                        format!(" {kid}")
                    },
                    date(credential, "created_at"),
                    if expires.is_empty() {
                        expires
                    } else {
                        format!(", expires {expires}")
                    },
                ));
            }
            Err(CliError::failed("ambiguous", detail))
        }
    }
}

async fn rotate(args: RotateArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let (id, kind) = to_rotate(&args, &admin, session.now()).await?;
    let has_key = args.public_key.is_some() || args.generate_key.is_some();
    if kind == "public_key"
        && !has_key
        && args.sink.secret_out.is_none()
        && args.sink.bundle.is_none()
    {
        let named = args.id.map(|id| format!(" {id}")).unwrap_or_default();
        return Err(CliError::usage(format!(
            "{agent} has a public key; a new key is required: firman credential rotate {agent}{named} --generate-key FILE",
            agent = args.agent
        )));
    }
    if args.sink.secret_out.is_some() && kind != "client_secret" {
        return Err(CliError::usage(format!(
            "--secret-out is for a client secret, and the credential {id} is not one"
        )));
    }
    let new = ProofArgs {
        secret: kind == "client_secret" && !has_key,
        public_key: args.public_key,
        generate_key: args.generate_key,
    };
    let mut proof = Proof::prepare(&new, &args.sink, &args.agent, &admin).await?;
    let mut body = Map::new();
    body.insert("overlap".to_owned(), args.overlap.into());
    if let Some(seconds) = args.expires_in {
        body.insert("expires_in".to_owned(), seconds.into());
    }
    if let Some(jwk) = proof.public_jwk() {
        body.insert("jwk".to_owned(), jwk);
    }
    proof.name(&mut body, args.kid.as_deref())?;
    let path = ["agents", &args.agent, "credentials", &id, "rotate"];
    let answer = proof.register(&admin, &path, body).await?;
    print_new(&answer, &proof, &admin, session).await?;
    let fate = if args.overlap == 0 {
        "works no longer".to_owned()
    } else {
        let until = date(&answer["replaced"], "expires_at");
        format!("works until {until}")
    };
    session
        .printer
        .hint(&format!("The old credential {id} {fate}."));
    Ok(())
}

/// Prints an answer that holds `credential`, `client_id` and perhaps `client_secret`.
async fn print_new(
    answer: &Value,
    proof: &Proof,
    admin: &AdminClient,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(answer);
    }
    let mut shown = vec![
        ("client_id", text(answer, "client_id")),
        ("client_secret", text(answer, "client_secret")),
    ];
    shown.extend(facts(&answer["credential"]));
    session.printer.facts(&shown)?;
    hints(&text(answer, "client_id"), proof, admin, session).await;
    Ok(())
}

/// The credentials in the array member `name`.
pub(super) fn table(object: &Value, name: &str) -> Table {
    let mut table = Table::new(&["ID", "KIND", "STATUS", "KID", "EXPIRES", "CREATED"]);
    for credential in items(object, name) {
        table.row([
            text(credential, "id"),
            text(credential, "kind"),
            text(credential, "status"),
            text(credential, "kid"),
            date(credential, "expires_at"),
            date(credential, "created_at"),
        ]);
    }
    table
}

fn facts(credential: &Value) -> Vec<(&'static str, String)> {
    vec![
        ("credential", text(credential, "id")),
        ("kind", text(credential, "kind")),
        ("kid", text(credential, "kid")),
        ("trusted issuer", text(credential, "trusted_issuer")),
        ("tokens with", matched(credential)),
        ("status", text(credential, "status")),
        ("expires", date(credential, "expires_at")),
        ("revoked", date(credential, "revoked_at")),
    ]
}
