//! The cost of one token by its parts: the signature, the check of an assertion, and a whole request through
//! the router on a SQLite file, alone and with others in one commit.

use std::hint::black_box;

use axum::Extension;
use axum::body::Body;
use axum::http::Request;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use firman::issuer::Caller;
use firman::issuer::authenticate::PresentedCredential;
use firman::issuer::authorize::Authorization;
use firman::issuer::authorize::client_credentials::{ClientCredentialsRequest, authorize};
use firman::jose::{PublicJwk, SigningAlgorithm, SigningKey, UnverifiedJws};
use firman::ports::request::{PeerAddr, RequestId};
use firman::ports::time::UnixMillis;
use firman::testing::{START, TestAgent, TestIssuer, TestKey};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

fn sign(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sign");
    let claims = vec![b'x'; 400];
    for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256] {
        let key = SigningKey::generate(algorithm).expect("a key");
        group.bench_function(algorithm.as_str(), |bencher| {
            bencher.iter(|| black_box(key.sign_compact("at+jwt", &claims)));
        });
    }
    group.finish();
}

fn verify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify assertion");
    for key in [TestKey::Es256, TestKey::Rs256, TestKey::EdDsa] {
        let signing = key.signing_key();
        let claims =
            br#"{"iss":"a","sub":"a","aud":"https://id.example","exp":1800000060,"jti":"1"}"#;
        let assertion = signing.sign_compact("JWT", claims).expect("a signature");
        let jwk = PublicJwk::from_value(&signing.public_jwk().to_value()).expect("a key");
        group.bench_function(signing.algorithm().as_str(), |bencher| {
            bencher.iter(|| {
                let unverified = UnverifiedJws::parse(&assertion, 8192).expect("well-formed");
                black_box(unverified.verify(&jwk).expect("good"))
            });
        });
    }
    group.finish();
}

struct Scene {
    issuer: TestIssuer,
    agent: TestAgent,
}

impl Scene {
    async fn new() -> Self {
        let issuer = TestIssuer::start().await;
        issuer.resource("api", &["read", "write"]).await;
        issuer.role("reader", "api", &[]).await;
        let agent = issuer
            .agent("mailer")
            .role("reader")
            .with_public_key(TestKey::Es256)
            .await;
        Self { issuer, agent }
    }

    async fn authorization(&self) -> Authorization {
        let issuer = self.issuer.issuer();
        let presented = PresentedCredential::Assertion {
            unverified_client_id: None,
            unverified_assertion: self.agent.assertion().build().into(),
        };
        let now = issuer.ports().clock.now();
        let client = issuer.authenticate(&presented, now).await.expect("proven");
        let request = ClientCredentialsRequest::default();
        authorize(&client, &request, None, &issuer.policy(), now).expect("granted")
    }

    fn form(&self) -> String {
        let assertion = self.agent.assertion().build();
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        format!(
            "grant_type=client_credentials&client_assertion_type={kind}&client_assertion={assertion}"
        )
    }
}

fn mint(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let scene = runtime.block_on(Scene::new());
    let authorization = runtime.block_on(scene.authorization());
    let caller = Caller::system();
    criterion.bench_function("mint ES256", |bencher| {
        bencher.iter_batched(
            || authorization.clone(),
            |authorization| {
                black_box(scene.issuer.issuer().mint(
                    authorization,
                    &caller,
                    UnixMillis(START * 1000),
                ))
            },
            BatchSize::SmallInput,
        );
    });
}

fn request(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let scene = runtime.block_on(Scene::new());
    let router = firman::oauth::router(scene.issuer.issuer())
        .layer(Extension(RequestId("bench".to_owned())))
        .layer(Extension(PeerAddr(([127, 0, 0, 1], 1).into())));
    let ask = |form: String| {
        let router = router.clone();
        async move {
            let request = Request::post("/oauth2/token")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(form))
                .expect("a request");
            let answer = router.oneshot(request).await.expect("an answer");
            assert_eq!(answer.status(), 200);
        }
    };
    let mut group = criterion.benchmark_group("token request");
    for together in [1_u64, 64] {
        group.throughput(Throughput::Elements(together));
        group.bench_function(format!("{together} at once"), |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || (0..together).map(|_| scene.form()).collect::<Vec<_>>(),
                |forms| {
                    let asked: Vec<_> = forms
                        .into_iter()
                        .map(|form| tokio::spawn(ask(form)))
                        .collect();
                    async move {
                        for answer in asked {
                            answer.await.expect("a whole answer");
                        }
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, sign, verify, mint, request);
criterion_main!(benches);
