//! `firman token get`: a `client_credentials` grant (RFC 6749 §4.4) with `client_secret_basic` or
//! `private_key_jwt` (OpenID Connect Core §9, RFC 7523), once or again and again.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;
use uuid::{NoContext, Timestamp, Uuid};

use super::discovery::Issuer;
use super::expose;
use super::watch::{Minted, Source, Watch, facts, mint};
use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::notify::Supervisor;
use crate::cli::serve::StopSignals;
use crate::cli::{Session, http, keyfile, parse_name};
use crate::jose::{DpopProof, SigningAlgorithm, SigningKey};
use crate::ports::time::UnixTime;

/// How long an assertion is good for: it is sent at once.
const ASSERTION_SECONDS: i64 = 60;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[derive(Debug, Args)]
pub(in crate::cli) struct GetCommand {
    #[command(flatten)]
    args: GetArgs,
    /// Write it into this file (mode 0600, replaced as a whole) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Go on: keep a fresh and unused token in the file, until told to stop
    #[arg(long, requires = "out")]
    watch: bool,
}

/// What is asked for, of whom, and as whom.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("proof").args(["secret_file", "key"]).required(true))]
pub(in crate::cli) struct GetArgs {
    /// The issuer's URL, exactly as it calls itself
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) issuer: String,
    /// The agent's name
    #[arg(long, value_name = "AGENT", value_parser = parse_name)]
    pub(in crate::cli) client_id: String,
    /// The file with its client secret (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) secret_file: Option<PathBuf>,
    /// The file with its private key, PEM or JWK (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: Option<PathBuf>,
    /// The id under which the key is registered; its thumbprint when left out
    #[arg(long, value_name = "KID", requires = "key", allow_hyphen_values = true)]
    pub(in crate::cli) kid: Option<String>,
    /// What the token is for: a resource's identifier
    #[arg(long, value_name = "RESOURCE")]
    pub(in crate::cli) resource: Option<String>,
    /// Scopes, separated by spaces; all that are granted when left out
    #[arg(long, value_name = "SCOPES")]
    pub(in crate::cli) scope: Option<String>,
    /// How long it is to live (90s, 15m)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(in crate::cli) expires_in: Option<u64>,
    /// Bind the token to this private key, PEM or JWK (RFC 9449): without the key it is worth nothing
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) dpop_key: Option<PathBuf>,
}

/// How the agent proves itself.
pub(in crate::cli) enum Proof {
    Secret(SecretString),
    Key(SigningKey),
}

impl GetArgs {
    /// What `quickstart` asks for: everything that is granted at a resource.
    pub(in crate::cli) fn for_resource(issuer: &str, client_id: &str, resource: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            secret_file: None,
            key: None,
            kid: None,
            resource: Some(resource.to_owned()),
            scope: None,
            expires_in: None,
            dpop_key: None,
        }
    }

    /// The credential in the file that was named.
    pub(in crate::cli) fn proof(&self) -> Result<Proof, CliError> {
        match (&self.secret_file, &self.key) {
            (Some(path), _) => Ok(Proof::Secret(keyfile::read_line(path, "client secret")?)),
            (None, Some(path)) => Ok(Proof::Key(keyfile::read_private(path)?)),
            (None, None) => Err(CliError::usage("name --secret-file FILE or --key FILE")),
        }
    }

    /// Whether the credential comes from stdin, which can be read but once.
    pub(in crate::cli) fn is_proof_on_stdin(&self) -> bool {
        let file = self.secret_file.as_deref().or(self.key.as_deref());
        file == Some(Path::new("-"))
    }
}

pub(super) async fn run(command: GetCommand, session: &mut Session<'_>) -> Result<(), CliError> {
    let GetCommand { args, out, watch } = command;
    let insecure_http = session.globals.insecure_http;
    match out {
        Some(path) if watch => {
            let source = Source::new(args, insecure_http)?;
            keep(&source, &path, session).await
        }
        out => {
            let minted = mint(&args, &args.proof()?, insecure_http).await?;
            match out {
                Some(path) => write(&minted, &path, session),
                None => print(&minted, session),
            }
        }
    }
}

/// Keeps a token in the file until a signal comes.
async fn keep(source: &Source, path: &Path, session: &mut Session<'_>) -> Result<(), CliError> {
    let stop = StopSignals::catch()?;
    let supervisor = Supervisor::find(session.environment);
    let printer = &mut session.printer;
    let mut watch = Watch::new(source, path, supervisor, printer);
    let ended = tokio::select! {
        () = stop.received() => None,
        error = async {
            match watch.start(printer).await {
                Ok(()) => {
                    watch.announce(printer);
                    watch.keep(printer).await
                }
                Err(error) => error,
            }
        } => Some(error),
    };
    watch.stop(printer);
    ended.map_or(Ok(()), Err)
}

fn write(minted: &Minted, path: &Path, session: &mut Session<'_>) -> Result<(), CliError> {
    keyfile::write_atomically(path, format!("{}\n", expose(&minted.text)).as_bytes())?;
    if session.printer.is_json() {
        let mut shown = facts(minted);
        shown["out"] = json!(path.display().to_string());
        return session.printer.json(&shown);
    }
    let until = minted
        .expires_at()
        .map_or(String::new(), |time| format!(", good until {time}"));
    session
        .printer
        .hint(&format!("Wrote the token into {}{until}", path.display()));
    Ok(())
}

fn print(minted: &Minted, session: &mut Session<'_>) -> Result<(), CliError> {
    if !session.printer.is_json() {
        return session
            .printer
            .write(&format!("{}\n", expose(&minted.text)));
    }
    let mut shown = facts(minted);
    shown["access_token"] = json!(expose(&minted.text));
    if let Some(id_token) = minted.answer["id_token"].as_str() {
        shown["id_token"] = json!(id_token);
    }
    session.printer.json(&shown)
}

/// Asks the token endpoint. A server that wants its nonce in the proof of a key says so first, and is asked
/// once more (RFC 9449 §8).
pub(in crate::cli) async fn request(
    args: &GetArgs,
    proof: &Proof,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<Value, CliError> {
    let endpoint = issuer.endpoint("token_endpoint")?;
    let holder = match args.dpop_key.as_deref() {
        // Stdin may hold the credential, and is read but once.
        Some(path) if path == Path::new("-") => {
            return Err(CliError::usage("--dpop-key must be a file"));
        }
        Some(path) => Some(keyfile::read_private(path)?),
        None => None,
    };
    let asking = Asking {
        args,
        proof,
        issuer: &issuer.name,
        endpoint: &endpoint,
        now,
    };
    let mut answer = asking.ask(holder.as_ref(), None).await?;
    if holder.is_some() && is_challenge(&answer) {
        let nonce = answer.dpop_nonce.take();
        answer = asking.ask(holder.as_ref(), nonce).await?;
    }
    if !answer.is_success() {
        return Err(CliError::oauth(answer.status, &answer.body));
    }
    let body: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| CliError::failed("http", format!("the answer of {endpoint} is not JSON")))?;
    let token_type = body["token_type"].as_str().unwrap_or_default();
    // RFC 9449 §5: whoever counts on the binding must look whether there is one.
    if holder.is_some() && !token_type.eq_ignore_ascii_case("DPoP") {
        return Err(CliError::failed(
            "dpop",
            "the issuer gave a token that is not bound to the key of --dpop-key",
        ));
    }
    Ok(body)
}

/// Whether the server wants a nonce of its own in the proof.
fn is_challenge(answer: &http::Answer) -> bool {
    let error = serde_json::from_slice::<Value>(&answer.body)
        .is_ok_and(|body| body["error"] == "use_dpop_nonce");
    error && answer.status == 400 && answer.dpop_nonce.is_some()
}

/// One request for a token, as often as it must be sent.
struct Asking<'a> {
    args: &'a GetArgs,
    proof: &'a Proof,
    issuer: &'a str,
    endpoint: &'a Url,
    now: UnixTime,
}

impl Asking<'_> {
    async fn ask(
        &self,
        holder: Option<&SigningKey>,
        nonce: Option<String>,
    ) -> Result<http::Answer, CliError> {
        let Self { args, endpoint, .. } = self;
        let expires_in = args.expires_in.map(|seconds| seconds.to_string());
        let mut form = vec![("grant_type", "client_credentials")];
        for (name, value) in [
            ("resource", &args.resource),
            ("scope", &args.scope),
            ("expires_in", &expires_in),
        ] {
            if let Some(value) = value {
                form.push((name, value));
            }
        }
        let mut request = http::client(endpoint)?.post((*endpoint).clone());
        let assertion;
        match self.proof {
            Proof::Secret(secret) => {
                // RFC 6749 §2.3.1: both halves are form-encoded before they are joined.
                let encode = |text: &str| {
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                };
                request = request.basic_auth(encode(&args.client_id), Some(encode(expose(secret))));
            }
            Proof::Key(key) => {
                assertion = make_assertion(key, args, self.issuer, self.now)?;
                form.push(("client_id", &args.client_id));
                form.push(("client_assertion_type", ASSERTION_TYPE));
                form.push(("client_assertion", &assertion));
            }
        }
        if let Some(holder) = holder {
            request = request.header("dpop", self.make_proof(holder, nonce)?);
        }
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(http::form(&form));
        let unreachable = format!("cannot reach the token endpoint {endpoint}");
        http::send(request, &unreachable).await
    }

    /// The proof of holding the key, for this request (RFC 9449 §4.2).
    fn make_proof(&self, holder: &SigningKey, nonce: Option<String>) -> Result<String, CliError> {
        let mut uri = self.endpoint.clone();
        uri.set_query(None);
        uri.set_fragment(None);
        let proof = DpopProof {
            jkt: holder.public_jwk().thumbprint().to_owned(),
            jti: fresh_jti(self.now),
            htm: "POST".to_owned(),
            htu: uri.to_string(),
            issued_at: self.now,
            nonce,
        };
        proof
            .sign(holder)
            .map_err(|problem| CliError::failed("key", problem.to_string()))
    }
}

fn fresh_jti(now: UnixTime) -> String {
    let seconds = u64::try_from(now.0).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0)).to_string()
}

#[derive(Serialize)]
struct Header<'a> {
    alg: SigningAlgorithm,
    kid: &'a str,
    typ: &'a str,
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
}

/// The client assertion (RFC 7523 §3): from and about the agent, for this issuer alone, for once.
fn make_assertion(
    key: &SigningKey,
    args: &GetArgs,
    issuer: &str,
    now: UnixTime,
) -> Result<String, CliError> {
    let failed = |problem: String| CliError::failed("key", problem);
    let claims = Assertion {
        iss: &args.client_id,
        sub: &args.client_id,
        aud: issuer,
        jti: fresh_jti(now),
        iat: now.0,
        exp: now.plus(ASSERTION_SECONDS).0,
    };
    let header = Header {
        alg: key.algorithm(),
        kid: args.kid.as_deref().unwrap_or_else(|| key.kid()),
        typ: "JWT",
    };
    let header = serde_json::to_vec(&header).map_err(|error| failed(error.to_string()))?;
    let claims = serde_json::to_vec(&claims).map_err(|error| failed(error.to_string()))?;
    key.sign_parts(&header, &claims)
        .map_err(|problem| failed(problem.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::jose::UnverifiedJws;

    fn args() -> GetArgs {
        GetArgs {
            issuer: "https://id.example.com".to_owned(),
            client_id: "mailer".to_owned(),
            secret_file: None,
            key: None,
            kid: None,
            resource: None,
            scope: None,
            expires_in: None,
            dpop_key: None,
        }
    }

    #[test]
    fn an_assertion_is_for_one_issuer_for_a_minute_and_for_once() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let now = UnixTime(1_795_253_400);
        let assertion = make_assertion(&key, &args(), "https://id.example.com", now).unwrap();
        let jws = UnverifiedJws::parse(&assertion, 8192).unwrap();
        let verified = jws.verify(key.public_jwk()).unwrap();
        assert_eq!(
            verified.header().kid.as_deref(),
            Some(key.public_jwk().thumbprint())
        );
        let mut claims: Map<String, Value> = serde_json::from_slice(verified.payload()).unwrap();
        let jti = claims.remove("jti").unwrap();
        assert_eq!(
            Value::Object(claims),
            json!({"iss": "mailer", "sub": "mailer", "aud": "https://id.example.com", "iat": 1_795_253_400, "exp": 1_795_253_460})
        );
        let again = make_assertion(&key, &args(), "https://id.example.com", now).unwrap();
        let again = UnverifiedJws::parse(&again, 8192)
            .unwrap()
            .unverified_claims()
            .unwrap();
        assert_ne!(again["jti"], jti);
    }

    #[test]
    fn a_registered_key_id_takes_the_place_of_the_thumbprint() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let args = GetArgs {
            kid: Some("mailer-2026".to_owned()),
            ..args()
        };
        let assertion = make_assertion(&key, &args, "https://id.example.com", UnixTime(0)).unwrap();
        let jws = UnverifiedJws::parse(&assertion, 8192).unwrap();
        assert_eq!(jws.unverified_kid(), Some("mailer-2026"));
    }
}
