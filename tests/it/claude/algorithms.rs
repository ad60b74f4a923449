//! Each algorithm that Claude accepts, at the simulation of it: signed by others (`jsonwebtoken`, and the
//! crypto library itself where that has no ES512), with the keys registered inline.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use firman::jose::ForeignAlgorithm;
use firman::jose::digest::base64url;
use firman::ports::time::{Clock as _, SystemClock};
use firman::relying_party::claude::{ALGORITHMS, JwksSource, LinkedIds, Setup};
use firman::testing::{ClaudeSimulator, ClaudeSimulatorOptions, TestKey};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

const ISSUER: &str = "https://id.corp.internal";

/// A simulation that holds one key of each kind, each under its kind's name.
struct Scene {
    claude: ClaudeSimulator,
    ids: LinkedIds,
    p521: EcdsaKeyPair,
    serial: std::cell::Cell<u32>,
}

impl Scene {
    async fn new() -> Self {
        let p521 = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
        let (x, y) = p521.public_key().as_ref()[1..].split_at(66);
        let mut keys = vec![
            json!({"kty": "EC", "crv": "P-521", "kid": "P-521", "x": base64url(x), "y": base64url(y)}),
        ];
        let named = |key: TestKey, kid: &str| {
            let mut jwk = key.signing_key().public_jwk().to_value();
            jwk["kid"] = json!(kid);
            // One RSA key is for six algorithms.
            jwk.as_object_mut().unwrap().remove("alg");
            jwk
        };
        keys.extend([
            named(TestKey::Es256, "P-256"),
            named(TestKey::Es384, "P-384"),
            named(TestKey::Rs256, "RSA"),
            named(TestKey::EdDsa, "Ed25519"),
        ]);
        let claude = ClaudeSimulator::start(ClaudeSimulatorOptions::default());
        let claude = claude.await.unwrap();
        let ids = claude.register(&Setup {
            jwks: JwksSource::Inline { keys },
            ..Setup::new("mailer", "agent:mailer", ISSUER)
        });
        let serial = std::cell::Cell::new(0);
        Self {
            claude,
            ids,
            p521,
            serial,
        }
    }

    fn claims(&self) -> Value {
        let now = SystemClock.now().0;
        self.serial.set(self.serial.get() + 1);
        json!({
            "iss": ISSUER, "sub": "agent:mailer", "acting_agent": "agent:mailer",
            "aud": "https://api.anthropic.com", "iat": now, "exp": now + 600, "jti": self.serial.get().to_string(),
        })
    }

    /// A token under `algorithm` by the key of its kind, which it names `kid`.
    fn token(&self, algorithm: &str, kid: &str) -> String {
        if algorithm == "ES512" {
            let header = json!({"alg": "ES512", "kid": kid}).to_string();
            let claims = self.claims().to_string();
            let input = format!(
                "{}.{}",
                base64url(header.as_bytes()),
                base64url(claims.as_bytes())
            );
            let signature = self.p521.sign(&SystemRandom::new(), input.as_bytes());
            return format!("{input}.{}", base64url(signature.unwrap().as_ref()));
        }
        let pem = |key: TestKey| key.signing_key().to_pkcs8_pem().unwrap();
        let key = match algorithm {
            "ES256" => EncodingKey::from_ec_pem(pem(TestKey::Es256).as_bytes()),
            "ES384" => EncodingKey::from_ec_pem(pem(TestKey::Es384).as_bytes()),
            "EdDSA" => EncodingKey::from_ed_pem(pem(TestKey::EdDsa).as_bytes()),
            "HS256" => Ok(EncodingKey::from_secret(b"secret")),
            _ => EncodingKey::from_rsa_pem(pem(TestKey::Rs256).as_bytes()),
        };
        let mut header = Header::new(algorithm.parse::<Algorithm>().unwrap());
        header.kid = Some(kid.to_owned());
        encode(&header, &self.claims(), &key.unwrap()).unwrap()
    }

    /// The status of the exchange and the reason in the history.
    async fn exchange(&self, token: &str) -> (u16, String) {
        let body = json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": token,
            "federation_rule_id": self.ids.rule_id,
            "organization_id": self.ids.organization_id,
            "service_account_id": self.ids.service_account_id,
        });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/v1/oauth/token", self.claude.url);
        let answer = client.post(url).json(&body).send().await.unwrap();
        let status = &self.claude.history()[0]["status"];
        let told = status["reason"].as_str().map_or(String::new(), |reason| {
            format!("{reason}: {}", status["detail"].as_str().unwrap())
        });
        (answer.status().as_u16(), told)
    }
}

fn kid(algorithm: &str) -> &'static str {
    match algorithm {
        "ES256" => "P-256",
        "ES384" => "P-384",
        "ES512" => "P-521",
        "EdDSA" => "Ed25519",
        _ => "RSA",
    }
}

/// `token` with another last claim under the old signature.
fn altered(token: &str, other: &str) -> String {
    let (_, signature) = token.rsplit_once('.').unwrap();
    let (input, _) = other.rsplit_once('.').unwrap();
    format!("{input}.{signature}")
}

#[tokio::test]
async fn eddsa_hmac_and_none_are_denied_with_the_reason() {
    let scene = Scene::new().await;
    let good = scene.token("ES256", "P-256");
    let (_, rest) = good.split_once('.').unwrap();
    let none = base64url(
        json!({"alg": "none", "kid": "P-256"})
            .to_string()
            .as_bytes(),
    );
    for (token, told) in [
        (
            scene.token("EdDSA", "Ed25519"),
            "algorithm: `alg` is \"EdDSA\"",
        ),
        (
            scene.token("HS256", "P-256"),
            "algorithm: `alg` is \"HS256\"",
        ),
        (format!("{none}.{rest}"), "algorithm: `alg` is \"none\""),
        (
            scene.token("ES256", "Ed25519"),
            "algorithm: `alg` is ES256; the key of that `kid` is for none that Claude accepts",
        ),
    ] {
        assert_eq!(scene.exchange(&token).await, (401, told.to_owned()));
    }
}

#[tokio::test]
async fn each_algorithm_of_claudes_is_accepted_and_its_forgeries_are_not() {
    assert_eq!(
        ForeignAlgorithm::ALL.map(ForeignAlgorithm::as_str),
        ALGORITHMS
    );
    let scene = Scene::new().await;
    for algorithm in ALGORITHMS {
        let (token, other) = (
            scene.token(algorithm, kid(algorithm)),
            scene.token(algorithm, kid(algorithm)),
        );
        let (status, told) = scene.exchange(&altered(&token, &other)).await;
        assert_eq!(status, 401, "{algorithm}");
        assert!(told.starts_with("signature: "), "{algorithm} {told}");

        let wrong = if kid(algorithm) == "P-256" {
            "P-384"
        } else {
            "P-256"
        };
        let (status, told) = scene.exchange(&scene.token(algorithm, wrong)).await;
        assert_eq!(status, 401, "{algorithm}");
        let start = format!("algorithm: `alg` is {algorithm}; the key of that `kid` is for ES");
        assert!(told.starts_with(&start), "{algorithm} {told}");

        assert_eq!(
            scene.exchange(&token).await,
            (200, String::new()),
            "{algorithm}"
        );
    }
}
