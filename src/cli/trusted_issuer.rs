//! `firman trusted-issuer`: other issuers whose tokens are believed, and for what.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{Page, Query};
use super::duration::parse_duration;
use super::error::CliError;
use super::keyfile;
use super::noun::removed;
use super::parse::{nothing_to_change, pairs, parse_name, parse_pair};
use super::platform::Platform;
use super::print::{date, items, names, text};
use super::session::{Listing, Session};
use super::words::{Words, all_of, parse_words};
use crate::domain::name::Name;
use crate::ports::secret_file::Readers;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Trust an issuer: with what --trust says, and with nothing else
    Add(AddArgs),
    /// List trusted issuers
    List(Page),
    /// Show a trusted issuer
    Show {
        /// Its name
        #[arg(value_parser = parse_name)]
        name: String,
    },
    /// Change what is believed of a trusted issuer
    Edit(EditArgs),
    /// Trust an issuer no longer; its name is never given out again
    Remove {
        /// Its name
        #[arg(value_parser = parse_name)]
        name: String,
        /// Even if credentials or delegations rest on it, which are revoked
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// A name for it, or its URL, after whose host it is named
    #[arg(value_name = "NAME|URL")]
    target: String,
    /// What `iss` of its tokens is, byte for byte; or spiffe://TRUST-DOMAIN
    #[arg(long, value_name = "URL")]
    iss: Option<String>,
    /// What is documented of this platform's tokens; other options win
    #[arg(long, value_enum)]
    preset: Option<Platform>,
    /// What it is trusted with: client_auth, subject, actor (`a,b`, `"a b"`, or repeat the option). Left out: with nothing
    #[arg(long, value_name = "USES", value_parser = parse_uses)]
    trust: Vec<Words>,
    #[command(flatten)]
    tokens: TokenArgs,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: String,
    /// All that it is trusted with: client_auth, subject, actor (`a,b`, `"a b"`, or repeat the option); 'none' alone for nothing
    #[arg(long, value_name = "USES", value_parser = parse_uses_or_none)]
    trust: Vec<Words>,
    /// Fetch its keys where its discovery document says
    #[arg(long, conflicts_with_all = ["jwks", "jwks_uri"])]
    discovery: bool,
    #[command(flatten)]
    tokens: TokenArgs,
}

fn parse_uses(text: &str) -> Result<Words, String> {
    known_uses(text, &["client_auth", "subject", "actor"])
}

fn parse_uses_or_none(text: &str) -> Result<Words, String> {
    known_uses(text, &["client_auth", "subject", "actor", "none"])
}

fn known_uses(text: &str, known: &[&str]) -> Result<Words, String> {
    let words = parse_words(text)?;
    let unknown = words
        .clone()
        .into_vec()
        .into_iter()
        .find(|word| !known.contains(&word.as_str()));
    match unknown {
        None => Ok(words),
        Some(word) => Err(format!("{word:?} is not one of {}", known.join(", "))),
    }
}

/// What its tokens must be.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// What it is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What `aud` must be, alone [default: this issuer's URL]
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Its keys, a JWK Set in this file; nothing is fetched then
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks: Option<PathBuf>,
    /// Where its keys are, when not where its discovery document says
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// How long its tokens may live (15m, 1h) [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_lifetime: Option<u64>,
    /// The `typ` values that its tokens may have, 'none' for tokens without (`a,b`, `"a b"`, or repeat the option) [default: JWT]
    #[arg(long = "typ", value_name = "TYPES", value_parser = parse_words)]
    types: Vec<Words>,
    /// Take each token once: it must have a `jti` (the default)
    #[arg(long, conflicts_with = "reusable")]
    single_use: bool,
    /// Take a token for all its life
    #[arg(long)]
    reusable: bool,
    /// Accept subject tokens that hold an `act`: its actors are carried on under this issuer's `iss`
    #[arg(long, conflicts_with = "no_accept_act")]
    accept_act: bool,
    /// Refuse subject tokens that hold an `act` (the default)
    #[arg(long)]
    no_accept_act: bool,
    /// A claim that every token must have; may be repeated
    #[arg(long = "require", value_name = "CLAIM=VALUE", value_parser = parse_pair)]
    required: Vec<(String, String)>,
    /// The claim that names the subject [default: sub]
    #[arg(long, value_name = "CLAIM")]
    subject_claim: Option<String>,
    /// An attribute of tokens minted for its subjects, and the claim it is taken from; may be repeated
    #[arg(long = "map", value_name = "ATTRIBUTE=CLAIM", value_parser = parse_pair)]
    mapped: Vec<(String, String)>,
}

impl TokenArgs {
    /// The members of the API's object that the options name.
    fn members(&self) -> Result<Map<String, Value>, CliError> {
        let keys = match (&self.jwks, &self.jwks_uri) {
            (Some(path), _) => Some(json!({ "type": "inline", "jwks": key_set(path)? })),
            (None, Some(url)) => Some(json!({ "type": "jwks_uri", "url": url })),
            (None, None) => None,
        };
        let types: Vec<String> = all_of(&self.types)
            .into_iter()
            .map(|typ| if typ == "none" { String::new() } else { typ })
            .collect();
        let jti = match (self.single_use, self.reusable) {
            (true, _) => Some(json!("single-use")),
            (_, true) => Some(json!("reusable")),
            (false, false) => None,
        };
        let accept_act = match (self.accept_act, self.no_accept_act) {
            (true, _) => Some(json!(true)),
            (false, true) => Some(json!(false)),
            (false, false) => None,
        };
        let optional = [
            (
                "description",
                self.description.as_ref().map(|text| json!(text)),
            ),
            ("audience", self.audience.as_ref().map(|text| json!(text))),
            ("keys", keys),
            ("max_lifetime", self.max_lifetime.map(Value::from)),
            ("types", (!types.is_empty()).then(|| json!(types))),
            ("jti", jti),
            ("accept_act", accept_act),
            ("required_claims", pairs("--require", &self.required)?),
            (
                "subject_claim",
                self.subject_claim.as_ref().map(|text| json!(text)),
            ),
            ("claims", pairs("--map", &self.mapped)?),
        ];
        Ok(optional
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect())
    }
}

fn key_set(path: &Path) -> Result<Value, CliError> {
    let text = keyfile::read_text(path, Readers::Anyone)?;
    let set = crate::jose::json::parse_object(text.as_bytes()).map_err(|error| {
        CliError::failed(
            "invalid",
            format!("{} {error}; it must hold a JWK Set", path.display()),
        )
    })?;
    Ok(Value::Object(set))
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(args, session).await,
        Command::List(page) => {
            let listing = Listing {
                path: &["trusted-issuers"],
                filter: Query::default(),
                page: &page,
                columns: &["NAME", "URL", "TRUSTED WITH", "TOKENS", "KEYS"],
                nothing: "No issuer is trusted. Next: firman trusted-issuer add NAME --preset kubernetes --iss URL --trust client_auth",
            };
            let row = |trusted: &Value| {
                vec![
                    text(trusted, "name"),
                    text(trusted, "url"),
                    trusted_with(trusted),
                    text(trusted, "jti"),
                    keys(trusted),
                ]
            };
            session.list_pages(listing, row).await
        }
        Command::Show { name } => {
            let trusted = session
                .admin()?
                .get(&["trusted-issuers", &name], &Query::default())
                .await?;
            print(&trusted, session)
        }
        Command::Edit(args) => edit(args, session).await,
        Command::Remove { name, force, yes } => {
            let admin = session.admin()?;
            session.confirm(
                &format!("Trust {name} no longer? Its name is never given out again."),
                yes,
            )?;
            let query = Query::default().with("force", force.then_some(true));
            admin.delete(&["trusted-issuers", &name], &query).await?;
            removed(&name, session)
        }
    }
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let trust = all_of(&args.trust);
    let documented = args.preset.map(Platform::documented);
    let (name, url) = if args.target.contains("://") {
        (named_after(&args.target)?, Some(args.target.clone()))
    } else {
        (args.target.clone(), args.iss.clone())
    };
    let known = documented.as_ref().and_then(|documented| documented.url);
    let Some(url) = url.or_else(|| known.map(str::to_owned)) else {
        let note = documented.map_or("It is what stands in `iss` of its tokens.", |documented| {
            documented.note
        });
        return Err(CliError::usage(format!(
            "which issuer is '{name}'? Give its URL with --iss. {note}"
        )));
    };
    let mut body = Map::new();
    if let Some(documented) = &documented {
        body.insert("types".to_owned(), json!(documented.types));
        body.insert("max_lifetime".to_owned(), json!(documented.max_lifetime));
        let jti = if documented.is_single_use {
            "single-use"
        } else {
            "reusable"
        };
        body.insert("jti".to_owned(), json!(jti));
    }
    body.insert("name".to_owned(), json!(name));
    body.insert("url".to_owned(), json!(url));
    body.insert("trust".to_owned(), json!(trust));
    body.extend(args.tokens.members()?);
    let trusted = session
        .admin()?
        .post(&["trusted-issuers"], Some(&Value::Object(body)))
        .await?;
    print(&trusted, session)?;
    if let Some(documented) = documented {
        session.printer.hint(documented.note);
    }
    if trust.iter().any(|using| using == "client_auth") {
        session.printer.next(&format!(
            "firman credential add AGENT --federated {name} --subject SUBJECT"
        ));
    }
    Ok(())
}

/// `token.actions.githubusercontent.com` for its URL.
fn named_after(url: &str) -> Result<String, CliError> {
    let host = url::Url::parse(url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_ascii_lowercase));
    host.filter(|host| Name::parse(host).is_ok())
        .ok_or_else(|| {
            CliError::usage(format!(
                "{url:?} gives no name; give one, and the URL with --iss"
            ))
        })
}

async fn edit(args: EditArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut body = args.tokens.members()?;
    if args.discovery {
        body.insert("keys".to_owned(), json!({ "type": "discovery" }));
    }
    if !args.trust.is_empty() {
        let mut trust = all_of(&args.trust);
        if trust.iter().any(|using| using == "none") {
            if trust.len() > 1 {
                return Err(CliError::usage("--trust none stands alone"));
            }
            trust.clear();
        }
        body.insert("trust".to_owned(), json!(trust));
    }
    if body.is_empty() {
        return Err(nothing_to_change());
    }
    let trusted = session
        .admin()?
        .edit(&["trusted-issuers", &args.name], |_| Ok(body.clone()))
        .await?;
    print(&trusted, session)
}

fn trusted_with(trusted: &Value) -> String {
    match names(trusted, "trust") {
        empty if empty.is_empty() => "nothing".to_owned(),
        names => names,
    }
}

fn accepted(trusted: &Value) -> String {
    let is_accepted = trusted["accept_act"].as_bool().unwrap_or_default();
    if is_accepted { "accepted" } else { "refused" }.to_owned()
}

fn keys(trusted: &Value) -> String {
    let keys = &trusted["keys"];
    match text(keys, "type").as_str() {
        "jwks_uri" => text(keys, "url"),
        "inline" => format!("{} given", items(&keys["jwks"], "keys").len()),
        _ => "discovery".to_owned(),
    }
}

fn listed(object: &Value, name: &str) -> String {
    let pairs = object[name].as_object().into_iter().flatten();
    pairs
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(", ")
}

fn print(trusted: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(trusted);
    }
    let types: Vec<&str> = items(trusted, "types")
        .iter()
        .filter_map(Value::as_str)
        .map(|typ| if typ.is_empty() { "none" } else { typ })
        .collect();
    session.printer.facts(&[
        ("name", text(trusted, "name")),
        ("url", text(trusted, "url")),
        ("description", text(trusted, "description")),
        ("trusted with", trusted_with(trusted)),
        ("audience", text(trusted, "audience")),
        ("keys", keys(trusted)),
        (
            "max lifetime",
            format!("{} s", text(trusted, "max_lifetime")),
        ),
        ("typ", types.join(", ")),
        ("tokens are", text(trusted, "jti")),
        ("foreign act", accepted(trusted)),
        ("required", listed(trusted, "required_claims")),
        ("subject claim", text(trusted, "subject_claim")),
        ("attributes", listed(trusted, "claims")),
        ("created", date(trusted, "created_at")),
        ("id", text(trusted, "id")),
    ])?;
    for warning in super::print::texts(trusted, "warnings") {
        session.printer.hint(&format!("Note: {warning}."));
    }
    Ok(())
}
