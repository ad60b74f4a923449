//! `firman token get`: a `client_credentials` grant (RFC 6749 §4.4) with `client_secret_basic` or
//! `private_key_jwt` (OpenID Connect Core §9, RFC 7523).

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::{NoContext, Timestamp, Uuid};

use super::discovery::Issuer;
use super::expose;
use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::{Session, http, keyfile, parse_name};
use crate::jose::{SigningAlgorithm, SigningKey};
use crate::ports::time::UnixTime;

/// How long an assertion is good for: it is sent at once.
const ASSERTION_SECONDS: i64 = 60;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("proof").args(["secret_file", "key"]).required(true))]
pub(in crate::cli) struct GetArgs {
    /// The issuer's URL, exactly as it calls itself
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// The agent's name
    #[arg(long, value_name = "AGENT", value_parser = parse_name)]
    client_id: String,
    /// The file with its client secret (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The file with its private key, PEM or JWK (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The id under which the key is registered; its thumbprint when left out
    #[arg(long, value_name = "KID", requires = "key", allow_hyphen_values = true)]
    kid: Option<String>,
    /// What the token is for: a resource's identifier
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// Scopes, separated by spaces; all that are granted when left out
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// How long it is to live (90s, 15m)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
    /// Write it into this file (mode 0600, replaced as a whole) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
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
            out: None,
        }
    }
}

pub(super) async fn run(args: GetArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let proof = match (&args.secret_file, &args.key) {
        (Some(path), _) => Proof::Secret(keyfile::read_line(path, "client secret")?),
        (None, Some(path)) => Proof::Key(keyfile::read_private(path)?),
        (None, None) => return Err(CliError::usage("name --secret-file FILE or --key FILE")),
    };
    let issuer = Issuer::discover(&args.issuer, session.globals.insecure_http).await?;
    let now = session.now();
    let answer = request(&args, &proof, &issuer, now).await?;
    let token = answer["access_token"].as_str().ok_or_else(|| {
        CliError::failed("http", "the token endpoint's answer holds no access_token")
    })?;
    let expires_at = answer["expires_in"]
        .as_i64()
        .map(|seconds| now.plus(seconds));
    let mut shown = json!({
        "token_type": answer["token_type"],
        "expires_in": answer["expires_in"],
        "expires_at": expires_at.map(|time| time.0),
        "scope": answer["scope"],
    });
    if let Some(path) = &args.out {
        keyfile::write_atomically(path, format!("{token}\n").as_bytes())?;
        shown["out"] = json!(path.display().to_string());
        if session.printer.is_json() {
            return session.printer.json(&shown);
        }
        let until = expires_at.map_or(String::new(), |time| format!(", good until {time}"));
        session
            .printer
            .hint(&format!("Wrote the token into {}{until}", path.display()));
        return Ok(());
    }
    if session.printer.is_json() {
        shown["access_token"] = json!(token);
        if let Some(id_token) = answer["id_token"].as_str() {
            shown["id_token"] = json!(id_token);
        }
        return session.printer.json(&shown);
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CliError::failed(
            "http",
            "the token holds characters that no token holds",
        ));
    }
    session.printer.write(&format!("{token}\n"))
}

/// Asks the token endpoint.
pub(in crate::cli) async fn request(
    args: &GetArgs,
    proof: &Proof,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<Value, CliError> {
    let endpoint = issuer.endpoint("token_endpoint")?;
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
    let mut request = http::client(&endpoint)?.post(endpoint.clone());
    let assertion;
    match proof {
        Proof::Secret(secret) => {
            // RFC 6749 §2.3.1: both halves are form-encoded before they are joined.
            let encode = |text: &str| {
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
            };
            request = request.basic_auth(encode(&args.client_id), Some(encode(expose(secret))));
        }
        Proof::Key(key) => {
            assertion = make_assertion(key, args, &issuer.name, now)?;
            form.push(("client_id", &args.client_id));
            form.push(("client_assertion_type", ASSERTION_TYPE));
            form.push(("client_assertion", &assertion));
        }
    }
    let request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(http::form(&form));
    let answer = http::send(
        request,
        &format!("cannot reach the token endpoint {endpoint}"),
    )
    .await?;
    if !answer.is_success() {
        return Err(CliError::oauth(answer.status, &answer.body));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|_| CliError::failed("http", format!("the answer of {endpoint} is not JSON")))
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
    let seconds = u64::try_from(now.0).unwrap_or_default();
    let claims = Assertion {
        iss: &args.client_id,
        sub: &args.client_id,
        aud: issuer,
        jti: Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0)).to_string(),
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
            out: None,
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
