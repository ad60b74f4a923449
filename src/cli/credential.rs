//! `firman credential`: how an agent proves itself. A client secret is shown once and never again; a
//! private key is made here, on the caller's machine, and never sent.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{AdminClient, Query};
use super::duration::parse_duration;
use super::error::CliError;
use super::keyfile::{self, KeyFile};
use super::platform::{Here, Workload, WorkloadArgs, snippet};
use super::print::{Table, date, items, shell_word, text};
use super::trusted_issuer::pairs;
use super::{Session, parse_id, parse_name, parse_pair};
use crate::jose::PublicJwk;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Give an agent another credential
    Add(Box<AddArgs>),
    /// List an agent's credentials
    List {
        /// The agent's name
        #[arg(value_name = "AGENT", value_parser = parse_name)]
        agent: String,
    },
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

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").args(["secret", "public_key", "generate_key", "federated"]).required(true))]
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
    /// The id of the credential to replace
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: String,
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
    /// How long the new one is good for (24h, 90d); for ever when left out, whatever the old one had
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
}

/// Which tokens of a trusted issuer prove the agent: those that everything named here holds for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tokens of a trusted issuer")]
pub(super) struct FederationArgs {
    /// Take tokens of this trusted issuer
    #[arg(long, value_name = "TRUSTED-ISSUER", value_parser = parse_name)]
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
    Secret,
    /// Somebody's public key.
    Public(PublicJwk),
    /// A key pair of our making.
    Generated(KeyFile),
}

impl Proof {
    /// Reads or makes the key that the options name.
    pub(super) fn prepare(args: &ProofArgs) -> Result<Self, CliError> {
        if args.secret {
            return Ok(Self::Secret);
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
            Self::None | Self::Secret => Err(CliError::usage(
                "--kid names a public key; add --public-key FILE or --generate-key FILE",
            )),
            Self::Public(_) | Self::Generated(_) => {
                body.insert("kid".to_owned(), json!(kid));
                Ok(())
            }
        }
    }

    /// The members of the API's `NewCredential`; none when there is no credential.
    pub(super) fn to_members(&self) -> Option<Map<String, Value>> {
        let value = match self {
            Self::None => return None,
            Self::Secret => json!({ "kind": "client_secret" }),
            Self::Public(key) => json!({ "kind": "public_key", "jwk": key.to_value() }),
            Self::Generated(file) => {
                json!({ "kind": "public_key", "jwk": file.public().to_value() })
            }
        };
        value.as_object().cloned()
    }

    fn public_jwk(&self) -> Option<Value> {
        match self {
            Self::None | Self::Secret => None,
            Self::Public(key) => Some(key.to_value()),
            Self::Generated(file) => Some(file.public().to_value()),
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
        let Self::Generated(file) = self else {
            return outcome;
        };
        match outcome {
            Err(error) if error.is_certain() => Err(error),
            Err(error) => {
                file.keep();
                let path = file.path().display();
                Err(error.and(&format!("It is not known whether the key was registered; its private half stays in {path}")))
            }
            Ok(answer) => {
                file.keep();
                Ok(answer)
            }
        }
    }

    /// The option of `firman token get` that uses this credential.
    fn token_option(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Secret => "--secret-file FILE".to_owned(),
            Self::Public(_) => "--key FILE".to_owned(),
            Self::Generated(file) => {
                format!("--key {}", shell_word(&file.path().display().to_string()))
            }
        }
    }
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(*args, session).await,
        Command::List { agent } => {
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
    let mut proof = Proof::prepare(&args.proof)?;
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

async fn rotate(args: RotateArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let mut proof = Proof::prepare(&ProofArgs {
        secret: false,
        public_key: args.public_key,
        generate_key: args.generate_key,
    })?;
    let mut body = Map::new();
    body.insert("overlap".to_owned(), args.overlap.into());
    if let Some(seconds) = args.expires_in {
        body.insert("expires_in".to_owned(), seconds.into());
    }
    if let Some(jwk) = proof.public_jwk() {
        body.insert("jwk".to_owned(), jwk);
    }
    proof.name(&mut body, args.kid.as_deref())?;
    let path = ["agents", &args.agent, "credentials", &args.id, "rotate"];
    let answer = proof.register(&admin, &path, body).await?;
    if matches!(proof, Proof::None) {
        // Only a client secret rotates without a new key.
        proof = Proof::Secret;
    }
    print_new(&answer, &proof, &admin, session).await?;
    let fate = if args.overlap == 0 {
        "works no longer".to_owned()
    } else {
        let until = date(&answer["replaced"], "expires_at");
        format!("works until {until}")
    };
    session
        .printer
        .hint(&format!("The old credential {} {fate}.", args.id));
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
    match proof {
        Proof::None => {
            session.printer.next(&format!(
                "firman credential add {client_id} --generate-key {client_id}.pem"
            ));
            return;
        }
        Proof::Secret => session.printer.hint(
            "The client secret is shown once; store it now, where only the agent can read it.",
        ),
        Proof::Public(_) => {}
        Proof::Generated(file) => session.printer.hint(&format!(
            "The private key is in {} and nowhere else; give it to the agent alone.",
            file.path().display()
        )),
    }
    let insecure = if admin.is_insecure_http() {
        " --insecure-http"
    } else {
        ""
    };
    session.printer.next(&format!(
        "firman token get --issuer {} --client-id {client_id} {}{insecure}",
        shell_word(&admin.issuer_url().await),
        proof.token_option()
    ));
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
