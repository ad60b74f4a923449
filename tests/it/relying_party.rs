//! Strangers in Rust: `jsonwebtoken` as a relying party that knows the issuer's URL and its own name, and
//! the second implementations `p256` and `rsa`, which know only the numbers in the published key set.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use firman::jose::digest::decode_base64url;
use firman::ports::time::{Clock as _, SystemClock};
use firman::testing::{START, TestAgent, TestIssuer, TestKey};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use p256::ecdsa::signature::Verifier as _;
use reqwest::Method;
use rsa::sha2::Sha256;
use rsa::{BoxedUint, RsaPublicKey, pkcs1v15};
use serde_json::{Value, json};

/// Profile, algorithm and the `typ` that is then expected.
const KINDS: [(&str, &str, &str); 4] = [
    ("generic", "ES256", "at+jwt"),
    ("generic", "RS256", "at+jwt"),
    ("claude", "ES256", "JWT"),
    ("claude", "RS256", "JWT"),
];

/// Verifies as `jsonwebtoken`'s documentation says: key by `kid`, algorithm by the key, issuer, audience,
/// expiry.
pub(crate) fn verify(
    token: &str,
    jwks: &Value,
    (issuer, audience): (&str, &str),
) -> Result<Value, Error> {
    let jwks: JwkSet = serde_json::from_value(jwks.clone()).unwrap();
    let header = decode_header(token)?;
    let jwk = jwks.find(&header.kid.unwrap()).unwrap();
    let algorithm = jwk.common.key_algorithm.unwrap().to_string().parse()?;
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.leeway = 0;
    Ok(decode::<Value>(token, &DecodingKey::from_jwk(jwk)?, &validation)?.claims)
}

/// An issuer by the real time, which the strangers go by, with an agent for one resource.
struct Scene {
    issuer: TestIssuer,
    agent: TestAgent,
    audience: String,
}

impl Scene {
    async fn new(profile: &str, algorithm: &str) -> Self {
        let issuer = TestIssuer::start().await;
        issuer.clock.advance(now() - START);
        let mut resource = json!({"name": "mail", "profile": profile, "algorithm": algorithm});
        if profile == "generic" {
            resource["identifier"] = json!("https://mail.example.com");
        }
        let created = issuer
            .admin(Method::POST, "/resources", Some(&resource))
            .await;
        assert_eq!(created.status, 201, "{created}");
        let audience = created.json()["identifier"].as_str().unwrap().to_owned();
        issuer.role("reader", "mail", &[]).await;
        let agent = issuer
            .agent("mailer")
            .role("reader")
            .with_public_key(TestKey::EdDsa)
            .await;
        Self {
            issuer,
            agent,
            audience,
        }
    }

    async fn token_answer(&self, further: &[(&str, &str)]) -> Value {
        let assertion = self.agent.assertion_at(now()).build();
        let mut form = vec![
            ("grant_type", "client_credentials"),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &assertion),
        ];
        form.extend_from_slice(further);
        let answer = self.issuer.token(&form).await;
        assert_eq!(answer.status, 200, "{answer}");
        answer.json()
    }

    async fn token(&self) -> String {
        self.token_answer(&[]).await["access_token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// From the issuer's URL alone.
    async fn jwks(&self) -> Value {
        let get = async |url: &str| -> Value {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            client.get(url).send().await.unwrap().json().await.unwrap()
        };
        let url = format!("{}/.well-known/openid-configuration", self.issuer.url);
        let discovered = get(&url).await;
        assert_eq!(discovered["issuer"], self.issuer.url);
        get(discovered["jwks_uri"].as_str().unwrap()).await
    }
}

fn now() -> i64 {
    SystemClock.now().0
}

#[tokio::test]
async fn jsonwebtoken_refuses_a_token_for_another_audience_or_of_another_issuer() {
    let scene = Scene::new("generic", "ES256").await;
    let (token, jwks) = (scene.token().await, scene.jwks().await);
    let refusal = |issuer: &str, audience: &str| {
        verify(&token, &jwks, (issuer, audience))
            .unwrap_err()
            .into_kind()
    };
    assert!(matches!(
        refusal(&scene.issuer.url, "https://other.example.com"),
        ErrorKind::InvalidAudience
    ));
    assert!(matches!(
        refusal("https://id.example.com", &scene.audience),
        ErrorKind::InvalidIssuer
    ));
}

#[tokio::test]
async fn jsonwebtoken_refuses_a_token_that_another_key_of_that_kid_signed() {
    let scene = Scene::new("generic", "ES256").await;
    let (token, mut jwks) = (scene.token().await, scene.jwks().await);
    let other = TestKey::Es256.signing_key().public_jwk().to_value();
    for key in jwks["keys"].as_array_mut().unwrap() {
        if key["alg"] == "ES256" {
            key["x"] = other["x"].clone();
            key["y"] = other["y"].clone();
        }
    }
    let error = verify(&token, &jwks, (&scene.issuer.url, &scene.audience)).unwrap_err();
    assert!(matches!(error.into_kind(), ErrorKind::InvalidSignature));
}

#[tokio::test]
async fn jsonwebtoken_verifies_each_profile_with_each_algorithm() {
    for (profile, algorithm, typ) in KINDS {
        let scene = Scene::new(profile, algorithm).await;
        let (token, jwks) = (scene.token().await, scene.jwks().await);
        let header = decode_header(&token).unwrap();
        assert_eq!(
            (format!("{:?}", header.alg), header.typ.as_deref()),
            (algorithm.to_owned(), Some(typ))
        );
        let claims = verify(&token, &jwks, (&scene.issuer.url, &scene.audience)).unwrap();
        assert_eq!(claims["sub"], "agent:mailer", "{profile} {algorithm}");
        assert_eq!(
            claims["acting_agent"], "agent:mailer",
            "{profile} {algorithm}"
        );
    }
}

#[tokio::test]
async fn jsonwebtoken_verifies_an_id_token_as_the_agent_itself_would() {
    for (profile, algorithm, _) in KINDS {
        let scene = Scene::new(profile, algorithm).await;
        let answer = scene
            .token_answer(&[("scope", "openid"), ("resource", &scene.audience)])
            .await;
        let (jwks, url) = (scene.jwks().await, scene.issuer.url.as_str());
        let id_token = answer["id_token"].as_str().unwrap();
        let claims = verify(id_token, &jwks, (url, "mailer")).unwrap();
        assert_eq!(claims["sub"], "agent:mailer", "{profile} {algorithm}");
        let access = verify(
            answer["access_token"].as_str().unwrap(),
            &jwks,
            (url, &scene.audience),
        )
        .unwrap();
        assert_ne!(claims["jti"], access["jti"]);
    }
}

#[tokio::test]
async fn p256_and_rsa_verify_issued_tokens_from_the_numbers_in_the_key_set() {
    for (profile, algorithm, _) in KINDS {
        let scene = Scene::new(profile, algorithm).await;
        let (token, jwks) = (scene.token().await, scene.jwks().await);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = decode_base64url(signature).unwrap();
        let kid = decode_header(&token).unwrap().kid.unwrap();
        let keys = jwks["keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["kid"] == kid).unwrap();
        let verifies = |message: &[u8]| match algorithm {
            "ES256" => p256_verifies(key, message, &signature),
            _ => rsa_verifies(key, message, &signature),
        };
        assert!(verifies(message.as_bytes()), "{profile} {algorithm}");
        assert!(!verifies(b"another message"), "{profile} {algorithm}");
    }
}

fn number(key: &Value, member: &str) -> Vec<u8> {
    decode_base64url(key[member].as_str().unwrap()).unwrap()
}

fn p256_verifies(key: &Value, message: &[u8], signature: &[u8]) -> bool {
    let point = [vec![4], number(key, "x"), number(key, "y")].concat();
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).unwrap();
    let signature = p256::ecdsa::Signature::from_slice(signature).unwrap();
    key.verify(message, &signature).is_ok()
}

fn rsa_verifies(key: &Value, message: &[u8], signature: &[u8]) -> bool {
    let (n, e) = (number(key, "n"), number(key, "e"));
    let (n, e) = (
        BoxedUint::from_be_slice_vartime(&n),
        BoxedUint::from_be_slice_vartime(&e),
    );
    let key = pkcs1v15::VerifyingKey::<Sha256>::new(RsaPublicKey::new(n, e).unwrap());
    let signature = pkcs1v15::Signature::try_from(signature).unwrap();
    key.verify(message, &signature).is_ok()
}
