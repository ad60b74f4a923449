//! `firman trusted-issuer`: other issuers, what they are trusted with, and what their tokens must be.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::client::{Answer, Page, Query};
use super::duration::parse_duration;
use super::error::CliError;
use super::keyfile;
use super::noun::{Asked, NameArgs, Noun, RemoveArgs};
use super::parse::{nothing_to_change, parse_pair, seconds, unique};
use super::platform::Platform;
use super::print::{pairs, time};
use super::session::Session;
use super::words::{Words, all_of, parse_words};
use crate::api::trusted_issuer::{NewTrustedIssuer, TrustedIssuer, TrustedIssuerEdit};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::trusted_issuer::KeySource;
use crate::ports::secret_file::Readers;

const TRUSTED_ISSUER: Noun<TrustedIssuer> = Noun {
    name: "trusted issuer",
    path: "trusted-issuers",
    columns: &[
        ("NAME", |trusted, _| trusted.name.clone()),
        ("URL", |trusted, _| trusted.url.clone()),
        ("TRUSTED WITH", |trusted, _| trusted_with(trusted)),
        ("TOKENS", |trusted, _| trusted.jti.clone()),
        ("KEYS", |trusted, _| keys(trusted)),
    ],
    facts: &[
        ("name", |trusted, _| trusted.name.clone()),
        ("url", |trusted, _| trusted.url.clone()),
        ("description", |trusted, _| trusted.description.clone()),
        ("trusted with", |trusted, _| trusted_with(trusted)),
        ("audience", |trusted, _| trusted.audience.clone()),
        ("keys", |trusted, _| keys(trusted)),
        ("max lifetime", |trusted, _| {
            format!("{} s", trusted.max_lifetime)
        }),
        ("typ", |trusted, _| types(trusted)),
        ("tokens are", |trusted, _| trusted.jti.clone()),
        ("foreign act", |trusted, _| accepted(trusted)),
        ("required", |trusted, _| pairs(&trusted.required_claims)),
        ("subject claim", |trusted, _| trusted.subject_claim.clone()),
        ("attributes", |trusted, _| pairs(&trusted.claims)),
        ("created", |trusted, _| time(trusted.created_at)),
        ("id", |trusted, _| trusted.id.clone()),
    ],
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Trust another issuer's tokens, for what --trust names and nothing else
    #[command(
        after_help = "Examples:\n  firman trusted-issuer add github --preset github --trust client_auth\n  firman trusted-issuer add okta --iss https://acme.okta.com --trust subject"
    )]
    Add(Box<AddArgs>),
    /// List trusted issuers and what they are trusted with
    #[command(after_help = "Examples:\n  firman trusted-issuer list")]
    List(Page),
    /// Show a trusted issuer and what its tokens must be
    #[command(after_help = "Examples:\n  firman trusted-issuer show github")]
    Show(NameArgs),
    /// Change what a trusted issuer is trusted with and what its tokens must be
    #[command(
        after_help = "Examples:\n  firman trusted-issuer edit okta --trust subject,actor\n  firman trusted-issuer edit okta --max-lifetime 15m"
    )]
    Edit(Box<EditArgs>),
    /// Stop trusting an issuer; with --force the credentials and delegations that depend on it are revoked
    #[command(
        after_help = "Examples:\n  firman trusted-issuer remove github\n  firman trusted-issuer remove github --force --yes"
    )]
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// A name for it, or its URL, which gives it the name of the host
    #[arg(value_name = "NAME|URL")]
    target: String,
    /// The `iss` of its tokens, byte for byte; or spiffe://TRUST-DOMAIN
    #[arg(long, value_name = "URL")]
    iss: Option<String>,
    /// Use the documented properties of this platform's tokens; other options override them
    #[arg(long, value_enum)]
    preset: Option<Platform>,
    /// What it is trusted with: client_auth, subject, actor (`a,b`, `"a b"`, or repeat the option) [default: nothing]
    #[arg(long, value_name = "USES", value_parser = parse_uses)]
    trust: Vec<Words>,
    #[command(flatten)]
    tokens: TokenArgs,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    #[command(flatten)]
    issuer: NameArgs,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, Default, PartialEq, Args)]
struct Changes {
    /// All that it is trusted with: client_auth, subject, actor (`a,b`, `"a b"`, or repeat the option); `none` alone for nothing
    #[arg(long, value_name = "USES", value_parser = parse_uses_or_none)]
    trust: Vec<Words>,
    /// Fetch its keys from where its discovery document says
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
        Some(word) => Err(format!("`{word}` is not one of {}", known.join(", "))),
    }
}

/// What its tokens must be.
#[derive(Debug, Default, PartialEq, Args)]
struct TokenArgs {
    /// What it is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The only `aud` that its tokens may have [default: this issuer's URL]
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Use the keys in this file, a JWK Set, and fetch none
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks: Option<PathBuf>,
    /// Fetch its keys from this URL instead of the one in its discovery document
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// The longest lifetime its tokens may have (15m, 1h) [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_lifetime: Option<u64>,
    /// The `typ` values that its tokens may have, `none` for tokens without one (`a,b`, `"a b"`, or repeat the option) [default: JWT]
    #[arg(long = "typ", value_name = "TYPES", value_parser = parse_words)]
    types: Vec<Words>,
    /// Accept each token once and require a `jti` (the default)
    #[arg(long, conflicts_with = "reusable")]
    single_use: bool,
    /// Accept a token until it expires, any number of times
    #[arg(long)]
    reusable: bool,
    /// Accept subject tokens with an `act` claim; its actors are kept under this issuer's `iss`
    #[arg(long, conflicts_with = "no_accept_act")]
    accept_act: bool,
    /// Reject subject tokens with an `act` claim (the default)
    #[arg(long)]
    no_accept_act: bool,
    /// Require this claim in every token; may be repeated
    #[arg(long = "require", value_name = "CLAIM=VALUE", value_parser = parse_pair)]
    required: Vec<(String, String)>,
    /// The claim that names the subject [default: sub]
    #[arg(long, value_name = "CLAIM")]
    subject_claim: Option<String>,
    /// An attribute of the tokens issued for its subjects, and the claim it is copied from; may be repeated
    #[arg(long = "map", value_name = "ATTRIBUTE=CLAIM", value_parser = parse_pair)]
    mapped: Vec<(String, String)>,
}

impl TokenArgs {
    /// The members of an edit that the options name; a new trusted issuer has the same.
    fn edit(&self) -> Result<TrustedIssuerEdit, CliError> {
        let keys = match (&self.jwks, &self.jwks_uri) {
            (Some(path), _) => Some(key_set(path)?),
            (None, Some(url)) => Some(KeySource::JwksUri { url: url.clone() }),
            (None, None) => None,
        };
        let types = all_of(&self.types).into_iter();
        let types: Vec<String> = types
            .map(|typ| if typ == "none" { String::new() } else { typ })
            .collect();
        let jti = match (self.single_use, self.reusable) {
            (true, _) => Some("single-use".to_owned()),
            (_, true) => Some("reusable".to_owned()),
            (false, false) => None,
        };
        Ok(TrustedIssuerEdit {
            description: self.description.clone(),
            audience: self.audience.clone(),
            keys,
            trust: None,
            accept_act: (self.accept_act || self.no_accept_act).then_some(self.accept_act),
            max_lifetime: seconds(self.max_lifetime),
            types: (!types.is_empty()).then_some(types),
            jti,
            required_claims: unique("the claim", &self.required)?,
            subject_claim: self.subject_claim.clone(),
            claims: unique("the attribute", &self.mapped)?,
        })
    }
}

fn key_set(path: &Path) -> Result<KeySource, CliError> {
    let text = keyfile::read_text(path, Readers::Anyone)?;
    let set = crate::jose::json::parse_object(text.as_bytes()).map_err(|error| {
        CliError::failed(
            "invalid",
            format!("`{}` is not a JWK Set: it {error}", path.display()),
        )
    })?;
    Ok(KeySource::Inline { jwks: set.into() })
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(*args, session).await,
        Command::List(page) => {
            let asked = Asked {
                filter: Query::default(),
                page: &page,
                nothing: "No trusted issuers. Next: firman trusted-issuer add NAME --preset kubernetes --iss URL --trust client_auth",
            };
            TRUSTED_ISSUER.list(asked, session).await
        }
        Command::Show(args) => {
            let path = ["trusted-issuers", &args.name];
            let trusted = session.admin()?.get(&path, &Query::default()).await?;
            print(&trusted, session)
        }
        Command::Edit(args) => edit(&args.issuer.name, &args.changes, session).await,
        Command::Remove(args) => {
            let name = &args.name;
            let question = format!("Stop trusting `{name}`? Its name is never used again.");
            TRUSTED_ISSUER.remove_after(&question, &args, session).await
        }
    }
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let documented = args.preset.map(Platform::documented);
    let (name, url) = if args.target.contains("://") {
        (named_after(&args.target)?, Some(args.target.clone()))
    } else {
        (args.target.clone(), args.iss.clone())
    };
    let known = documented.as_ref().and_then(|documented| documented.url);
    let Some(url) = url.or_else(|| known.map(str::to_owned)) else {
        let note = documented.map_or("it is the `iss` of its tokens", |known| known.note);
        let error = CliError::usage(format!("the URL of `{name}` is required"));
        let remedy = Remedy::action(format!("add `--iss URL`; {note}"));
        return Err(error.with_remedy(&remedy));
    };
    let typed = args.tokens.edit()?;
    let preset = documented.as_ref();
    let types = preset.map(|preset| preset.types.iter().map(ToString::to_string).collect());
    let jti = preset.map(|preset| {
        let jti = if preset.is_single_use {
            "single-use"
        } else {
            "reusable"
        };
        jti.to_owned()
    });
    let lifetime = preset.and_then(|preset| seconds(Some(preset.max_lifetime)));
    let new = NewTrustedIssuer {
        name,
        url,
        description: typed.description,
        audience: typed.audience,
        keys: typed.keys,
        trust: Some(all_of(&args.trust)),
        accept_act: typed.accept_act,
        max_lifetime: typed.max_lifetime.or(lifetime),
        types: typed.types.or(types),
        jti: typed.jti.or(jti),
        required_claims: typed.required_claims,
        subject_claim: typed.subject_claim,
        claims: typed.claims,
    };
    let trusted = session.admin()?.post(&["trusted-issuers"], &new).await?;
    print(&trusted, session)?;
    if let Some(documented) = documented {
        session.printer.hint(documented.note);
    }
    if new
        .trust
        .iter()
        .flatten()
        .any(|using| using == "client_auth")
    {
        session.printer.next(&format!(
            "firman credential add AGENT --federated {} --subject SUBJECT",
            new.name
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
            let error = CliError::usage(format!("the host of `{url}` cannot be a name"));
            error.with_remedy(&Remedy::action(
                "name the issuer, and add the URL with `--iss`",
            ))
        })
}

async fn edit(name: &str, changes: &Changes, session: &mut Session<'_>) -> Result<(), CliError> {
    if *changes == Changes::default() {
        return Err(nothing_to_change("trusted-issuer edit"));
    }
    let mut trust = all_of(&changes.trust);
    if trust.iter().any(|using| using == "none") {
        if trust.len() > 1 {
            return Err(CliError::usage(
                "`none` cannot be combined with other values of `--trust`",
            ));
        }
        trust.clear();
    }
    let edit = |_: &TrustedIssuer| {
        let edit = changes.tokens.edit()?;
        Ok(TrustedIssuerEdit {
            trust: (!changes.trust.is_empty()).then(|| trust.clone()),
            keys: if changes.discovery {
                Some(KeySource::Discovery)
            } else {
                edit.keys
            },
            ..edit
        })
    };
    let path = ["trusted-issuers", name];
    let trusted = session.admin()?.edit(&path, edit).await?;
    print(&trusted, session)
}

fn trusted_with(trusted: &TrustedIssuer) -> String {
    if trusted.trust.is_empty() {
        "nothing".to_owned()
    } else {
        trusted.trust.join(", ")
    }
}

fn types(trusted: &TrustedIssuer) -> String {
    let types = trusted.types.iter();
    let types: Vec<&str> = types
        .map(|typ| if typ.is_empty() { "none" } else { typ })
        .collect();
    types.join(", ")
}

fn accepted(trusted: &TrustedIssuer) -> String {
    let text = if trusted.accept_act {
        "accepted"
    } else {
        "refused"
    };
    text.to_owned()
}

fn keys(trusted: &TrustedIssuer) -> String {
    match &trusted.keys {
        KeySource::Discovery => "discovery".to_owned(),
        KeySource::JwksUri { url } => url.clone(),
        KeySource::Inline { jwks } => {
            let count = jwks["keys"].as_array().map_or(0, Vec::len);
            format!("{count} given")
        }
    }
}

fn print(answer: &Answer<TrustedIssuer>, session: &mut Session<'_>) -> Result<(), CliError> {
    let shown = TRUSTED_ISSUER.print(answer, session)?;
    for warning in shown.iter().flat_map(|trusted| &trusted.warnings) {
        session.printer.warning(warning);
    }
    Ok(())
}
