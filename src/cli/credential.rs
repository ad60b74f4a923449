//! `firman credential`: how an agent proves itself. A client secret is shown once and never again; a
//! private key is made here, on the caller's machine, and never sent.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::bundle;
use super::client::{AdminClient, Page, Query};
use super::duration::parse_duration;
use super::error::CliError;
use super::keyfile::{self, KeyFile, NewFile};
use super::platform::{Here, Workload, WorkloadArgs, snippet};
use super::print::{Table, date, date_and_distance, items, shell_word, text};
use super::trusted_issuer::pairs;
use super::{Listing, Session, parse_id, parse_name, parse_pair};
use crate::jose::PublicJwk;
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

/// What the agent will prove itself with.
#[derive(Debug, Args)]
#[group(id = "proof", multiple = false)]
pub(super) struct ProofArgs {
    /// Make a client secret; it is shown once
    #[arg(long)]
    pub(super) secret: bool,
    /// Register the public key in this file (JWK or PEM; `-` is stdin)
    #[arg(long, value_name = "FILE")]
    pub(super) public_key: Option<PathBuf>,
    /// Make an ES256 key, keep its private half in this new file and register the public half
    #[arg(long, value_name = "FILE")]
    pub(super) generate_key: Option<PathBuf>,
}

/// Where a new secret or key goes, besides a key file of its own.
#[derive(Debug, Default, Args)]
pub(super) struct SinkArgs {
    /// Write the client secret into this new file (mode 0600) instead of showing it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["public_key", "generate_key", "bundle"])]
    secret_out: Option<PathBuf>,
    /// Write issuer, name and credential into this new file (mode 0600), for `firman token get --bundle`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["public_key", "generate_key"])]
    bundle: Option<PathBuf>,
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

/// A credential before it is registered.
pub(super) enum Proof {
    /// None was asked for.
    None,
    /// The issuer is to make a secret.
    Secret(SecretSink),
    /// Somebody's public key.
    Public(PublicJwk),
    /// A key pair of our making, in a key file.
    Generated(KeyFile),
    /// A key pair of our making, in an agent bundle.
    Bundled(KeyFile),
}

/// Where the issuer's secret goes.
pub(super) enum SecretSink {
    /// To the one who asked.
    Shown,
    /// Into a file of its own.
    File(NewFile),
    /// Into an agent bundle, with the issuer's URL.
    Bundle(NewFile, String),
}

impl SecretSink {
    /// Keeps the secret of `answer`, and puts in its place where it is.
    fn keep(&mut self, answer: &mut Value) -> Result<(), CliError> {
        let client_id = text(answer, "client_id");
        let (file, member, issuer) = match self {
            Self::Shown => return Ok(()),
            Self::File(file) => (file, "secret_out", None),
            Self::Bundle(file, issuer) => (file, "bundle", Some(issuer.as_str())),
        };
        let Some(answer) = answer.as_object_mut() else {
            return Ok(());
        };
        let secret = match answer.remove("client_secret") {
            Some(Value::String(secret)) => Zeroizing::new(secret),
            Some(_) | None => {
                return Err(CliError::failed(
                    "http",
                    "the answer holds no client secret",
                ));
            }
        };
        let content = match issuer {
            Some(issuer) => bundle::with_secret(issuer, &client_id, &secret),
            None => Zeroizing::new(format!("{}\n", *secret)),
        };
        let id = text(&answer["credential"], "id");
        file.write(&content).map_err(|error| {
            error.and(&format!(
                "The credential {id} was made and its secret is lost: firman credential revoke {client_id} {id}"
            ))
        })?;
        file.keep();
        answer.insert(member.to_owned(), json!(file.path().display().to_string()));
        Ok(())
    }
}

impl Proof {
    /// Reads or makes the key that the options name, for the agent `client_id`.
    pub(super) async fn prepare(
        args: &ProofArgs,
        sink: &SinkArgs,
        client_id: &str,
        admin: &AdminClient,
    ) -> Result<Self, CliError> {
        if let Some(path) = &sink.bundle {
            let issuer = admin.known_issuer_url().await?;
            if args.secret {
                let file = NewFile::create(path)?;
                return Ok(Self::Secret(SecretSink::Bundle(file, issuer)));
            }
            let made = KeyFile::with(path, |key| bundle::with_key(&issuer, client_id, key));
            return made.map(Self::Bundled);
        }
        if let Some(path) = &sink.secret_out {
            return NewFile::create(path).map(|file| Self::Secret(SecretSink::File(file)));
        }
        if args.secret {
            return Ok(Self::Secret(SecretSink::Shown));
        }
        Ok(match (&args.public_key, &args.generate_key) {
            (Some(path), _) => Self::Public(keyfile::read_public(path)?),
            (None, Some(path)) => Self::Generated(KeyFile::generate(path)?),
            (None, None) => Self::None,
        })
    }

    /// Adds the `kid` that was asked for to the members of a new key.
    pub(super) fn name(
        &self,
        body: &mut Map<String, Value>,
        kid: Option<&str>,
    ) -> Result<(), CliError> {
        let Some(kid) = kid else { return Ok(()) };
        match self {
            Self::None | Self::Secret(_) => Err(CliError::usage(
                "--kid names a public key; add --public-key FILE or --generate-key FILE",
            )),
            Self::Public(_) | Self::Generated(_) | Self::Bundled(_) => {
                body.insert("kid".to_owned(), json!(kid));
                Ok(())
            }
        }
    }

    /// The members of the API's `NewCredential`; none when there is no credential.
    pub(super) fn to_members(&self) -> Option<Map<String, Value>> {
        let value = match self {
            Self::None => return None,
            Self::Secret(_) => json!({ "kind": "client_secret" }),
            Self::Public(key) => json!({ "kind": "public_key", "jwk": key.to_value() }),
            Self::Generated(file) | Self::Bundled(file) => {
                json!({ "kind": "public_key", "jwk": file.public().to_value() })
            }
        };
        value.as_object().cloned()
    }

    fn public_jwk(&self) -> Option<Value> {
        match self {
            Self::None | Self::Secret(_) => None,
            Self::Public(key) => Some(key.to_value()),
            Self::Generated(file) | Self::Bundled(file) => Some(file.public().to_value()),
        }
    }

    /// Sends the registration. The file of a generated key stays when the issuer has the public half,
    /// and when that is not known because the answer was lost.
    pub(super) async fn register(
        &mut self,
        admin: &AdminClient,
        path: &[&str],
        body: Map<String, Value>,
    ) -> Result<Value, CliError> {
        let outcome = admin.post(path, Some(&Value::Object(body))).await;
        let (file, is_bundle) = match self {
            Self::Secret(sink) => {
                let mut answer = outcome?;
                sink.keep(&mut answer)?;
                return Ok(answer);
            }
            Self::None | Self::Public(_) => return outcome,
            Self::Generated(file) => (file, false),
            Self::Bundled(file) => (file, true),
        };
        match outcome {
            Err(error) if error.is_certain() => Err(error),
            Err(error) => {
                file.keep();
                let path = file.path().display();
                Err(error.and(&format!("It is not known whether the key was registered; its private half stays in {path}")))
            }
            Ok(mut answer) => {
                file.keep();
                if is_bundle && let Some(answer) = answer.as_object_mut() {
                    let path = file.path().display().to_string();
                    answer.insert("bundle".to_owned(), json!(path));
                }
                Ok(answer)
            }
        }
    }

    /// The options of `firman token get` that use this credential of `client_id` at `issuer`.
    fn token_options(&self, issuer: &str, client_id: &str) -> String {
        let word = |path: &Path| shell_word(&path.display().to_string());
        let option = match self {
            Self::Bundled(file) => return format!("--bundle {}", word(file.path())),
            Self::Secret(SecretSink::Bundle(file, _)) => {
                return format!("--bundle {}", word(file.path()));
            }
            Self::None => String::new(),
            Self::Secret(SecretSink::Shown) => "--secret-file FILE".to_owned(),
            Self::Secret(SecretSink::File(file)) => format!("--secret-file {}", word(file.path())),
            Self::Public(_) => "--key FILE".to_owned(),
            Self::Generated(file) => format!("--key {}", word(file.path())),
        };
        format!(
            "--issuer {} --client-id {client_id} {option}",
            shell_word(issuer)
        )
    }

    /// What to do with the new credential.
    fn advice(&self) -> Option<String> {
        let alone = "and nowhere else; give it to the agent alone.";
        match self {
            Self::None | Self::Public(_) => None,
            Self::Secret(SecretSink::Shown) => Some(
                "The client secret is shown once; store it now, where only the agent can read it."
                    .to_owned(),
            ),
            Self::Secret(SecretSink::File(file)) => Some(format!(
                "The client secret is in {} {alone}",
                file.path().display()
            )),
            Self::Secret(SecretSink::Bundle(file, _)) => Some(format!(
                "The agent bundle with its client secret is {} {alone}",
                file.path().display()
            )),
            Self::Generated(file) => Some(format!(
                "The private key is in {} {alone}",
                file.path().display()
            )),
            Self::Bundled(file) => Some(format!(
                "The agent bundle with its private key is in {} {alone}",
                file.path().display()
            )),
        }
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

/// Refuses a place for a secret when no secret is made.
pub(super) fn check_sink(proof: &ProofArgs, sink: &SinkArgs) -> Result<(), CliError> {
    if sink.secret_out.is_some() && !proof.secret {
        return Err(CliError::usage("--secret-out needs --secret"));
    }
    Ok(())
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

/// Says what to do with a new credential.
pub(super) async fn hints(
    client_id: &str,
    proof: &Proof,
    admin: &AdminClient,
    session: &mut Session<'_>,
) {
    if let Proof::None = proof {
        session.printer.next(&format!(
            "firman credential add {client_id} --generate-key {client_id}.pem"
        ));
        return;
    }
    if let Some(advice) = proof.advice() {
        session.printer.hint(&advice);
    }
    let insecure = if admin.is_insecure_http() {
        " --insecure-http"
    } else {
        ""
    };
    let options = proof.token_options(&admin.issuer_url().await, client_id);
    session
        .printer
        .next(&format!("firman token get {options}{insecure}"));
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
