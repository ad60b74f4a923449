//! One request to the token endpoint, with the agent's proof and, where a token is bound to a key, the proof
//! of that key (RFC 9449).

use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use url::Url;
use uuid::{NoContext, Timestamp, Uuid};

use super::expose;
use super::identity::{JWT_BEARER, Proof};
use crate::cli::error::CliError;
use crate::cli::published::Discovered;
use crate::cli::{http, keyfile};
use crate::jose::{DpopProof, SigningAlgorithm, SigningKey};
use crate::ports::time::UnixTime;

/// Lifetime of an assertion: it is sent immediately.
const ASSERTION_SECONDS: i64 = 60;
/// One request for a token, sent again when the server asks for a nonce.
pub(super) struct Asking<'a> {
    pub(super) proof: &'a Proof,
    /// The grant with its parameters.
    pub(super) form: Vec<(&'static str, &'a str)>,
    /// The file with the key to bind the token to.
    pub(super) dpop_key: Option<&'a Path>,
    pub(super) now: UnixTime,
}

impl Asking<'_> {
    /// Sends the request to the token endpoint, and once more when the server requires its nonce in the proof of the
    /// key (RFC 9449 §8).
    ///
    /// # Errors
    /// A refusal of the endpoint, an unreadable file, an answer that is not JSON.
    pub(super) async fn send(&self, issuer: &Discovered) -> Result<Value, CliError> {
        let endpoint = issuer.endpoint("token_endpoint")?;
        let holder = match self.dpop_key {
            // Stdin may hold the credential and can be read only once.
            Some(path) if path == Path::new("-") => {
                return Err(CliError::usage("`--dpop-key` must name a file"));
            }
            Some(path) => Some(keyfile::read_private(path)?),
            None => None,
        };
        let place = Place {
            issuer,
            endpoint: &endpoint,
        };
        let mut answer = self.ask(&place, holder.as_ref(), None).await?;
        if holder.is_some() && is_challenge(&answer) {
            let nonce = answer.dpop_nonce.take();
            answer = self.ask(&place, holder.as_ref(), nonce).await?;
        }
        if !answer.is_success() {
            return Err(CliError::oauth(answer.status, &answer.body));
        }
        let body: Value = serde_json::from_slice(&answer.body).map_err(|_| {
            CliError::failed("http", format!("the answer of `{endpoint}` is not JSON"))
        })?;
        let token_type = body["token_type"].as_str().unwrap_or_default();
        // RFC 9449 §5: a client that relies on the binding must check for it.
        if holder.is_some() && !token_type.eq_ignore_ascii_case("DPoP") {
            return Err(CliError::failed(
                "dpop",
                "the issuer returned a token that is not bound to the key of `--dpop-key`",
            ));
        }
        Ok(body)
    }

    async fn ask(
        &self,
        place: &Place<'_>,
        holder: Option<&SigningKey>,
        nonce: Option<String>,
    ) -> Result<http::Answer, CliError> {
        let endpoint = place.endpoint;
        let mut form = self.form.clone();
        let mut request = place.issuer.client(endpoint)?.post(endpoint.clone());
        let made;
        match self.proof {
            Proof::Secret { client_id, secret } => {
                // RFC 6749 §2.3.1: both halves are form-encoded before they are joined.
                let encode = |text: &str| {
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                };
                request = request.basic_auth(encode(client_id), Some(encode(expose(secret))));
            }
            Proof::Key {
                client_id,
                key,
                kid,
            } => {
                let signer = Signer {
                    client_id,
                    key,
                    kid: kid.as_deref().unwrap_or_else(|| key.kid()),
                };
                made = signer.assertion(&place.issuer.name, self.now)?;
                form.push(("client_id", client_id));
                form.push(("client_assertion_type", JWT_BEARER));
                form.push(("client_assertion", &made));
            }
            Proof::Platform {
                client_id,
                token,
                assertion_type,
            } => {
                if let Some(client_id) = client_id {
                    form.push(("client_id", client_id));
                }
                form.push(("client_assertion_type", assertion_type));
                form.push(("client_assertion", expose(token)));
            }
        }
        if let Some(holder) = holder {
            request = request.header("dpop", self.make_proof(place, holder, nonce)?);
        }
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(http::form(&form));
        let unreachable = format!("cannot reach the token endpoint `{endpoint}`");
        http::send(request, &unreachable).await
    }

    /// The proof of holding the key, for this request (RFC 9449 §4.2).
    fn make_proof(
        &self,
        place: &Place<'_>,
        holder: &SigningKey,
        nonce: Option<String>,
    ) -> Result<String, CliError> {
        let mut uri = place.endpoint.clone();
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

/// Where the request goes.
struct Place<'a> {
    issuer: &'a Discovered,
    endpoint: &'a Url,
}

/// Whether the server requires its nonce in the proof.
fn is_challenge(answer: &http::Answer) -> bool {
    let error = serde_json::from_slice::<Value>(&answer.body)
        .is_ok_and(|body| body["error"] == "use_dpop_nonce");
    error && answer.status == 400 && answer.dpop_nonce.is_some()
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

/// An agent with its own key.
struct Signer<'a> {
    client_id: &'a str,
    key: &'a SigningKey,
    kid: &'a str,
}

impl Signer<'_> {
    /// The client assertion (RFC 7523 §3): issued by and about the agent, for this issuer only, for one use.
    fn assertion(&self, issuer: &str, now: UnixTime) -> Result<String, CliError> {
        let failed = |problem: String| CliError::failed("key", problem);
        let claims = Assertion {
            iss: self.client_id,
            sub: self.client_id,
            aud: issuer,
            jti: fresh_jti(now),
            iat: now.0,
            exp: now.plus(ASSERTION_SECONDS).0,
        };
        let header = Header {
            alg: self.key.algorithm(),
            kid: self.kid,
            typ: "JWT",
        };
        let header = serde_json::to_vec(&header).map_err(|error| failed(error.to_string()))?;
        let claims = serde_json::to_vec(&claims).map_err(|error| failed(error.to_string()))?;
        self.key
            .sign_parts(&header, &claims)
            .map_err(|problem| failed(problem.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::jose::UnverifiedJws;

    #[test]
    fn an_assertion_is_for_one_issuer_for_a_minute_and_for_once() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let signer = Signer {
            client_id: "mailer",
            key: &key,
            kid: key.kid(),
        };
        let now = UnixTime(1_795_253_400);
        let assertion = signer.assertion("https://id.example.com", now).unwrap();
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
        let again = signer.assertion("https://id.example.com", now).unwrap();
        let again = UnverifiedJws::parse(&again, 8192)
            .unwrap()
            .unverified_claims()
            .unwrap();
        assert_ne!(again["jti"], jti);
    }

    #[test]
    fn a_registered_key_id_takes_the_place_of_the_thumbprint() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let signer = Signer {
            client_id: "mailer",
            key: &key,
            kid: "mailer-2026",
        };
        let assertion = signer
            .assertion("https://id.example.com", UnixTime(0))
            .unwrap();
        let jws = UnverifiedJws::parse(&assertion, 8192).unwrap();
        assert_eq!(jws.unverified_kid(), Some("mailer-2026"));
    }
}
