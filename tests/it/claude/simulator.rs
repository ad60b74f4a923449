//! The simulation over HTTP, with a real issuer before it: both live by the same clock.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;

use firman::relying_party::claude::{Denial, JwksSource, LinkedIds, Setup};
use firman::testing::{
    Answer, ClaudeSimulator, ClaudeSimulatorOptions, SeededRandom, TestAgent, TestIssuer, TestKey,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// An issuer with an agent that may reach Claude, and a simulation that trusts it.
struct Scene {
    issuer: TestIssuer,
    agent: TestAgent,
    claude: ClaudeSimulator,
    ids: LinkedIds,
    made: std::cell::Cell<i64>,
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn call(method: Method, url: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
    let mut request = http().request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer {
        status,
        headers,
        body: response.bytes().await.unwrap().to_vec(),
    }
}

impl Scene {
    async fn new() -> Self {
        Self::with(|options| options, |setup| setup).await
    }

    async fn with(
        change: impl Fn(ClaudeSimulatorOptions) -> ClaudeSimulatorOptions,
        set_up: impl Fn(Setup) -> Setup,
    ) -> Self {
        let issuer = TestIssuer::start().await;
        let resource = json!({"name": "claude", "profile": "claude"});
        let created = issuer
            .admin(Method::POST, "/resources", Some(&resource))
            .await;
        assert_eq!(created.status, 201, "{created}");
        issuer.role("messages", "claude", &[]).await;
        let agent = issuer
            .agent("mailer")
            .role("messages")
            .with_public_key(TestKey::Es256)
            .await;
        let options = change(ClaudeSimulatorOptions {
            clock: Arc::clone(&issuer.clock) as _,
            random: Arc::new(SeededRandom::new(7)),
            admin_token: Some("admin".to_owned()),
            ..ClaudeSimulatorOptions::default()
        });
        let claude = ClaudeSimulator::start(options).await.unwrap();
        let setup = set_up(Setup::new("mailer", "agent:mailer", &issuer.url));
        let ids = claude.register(&setup);
        Self {
            issuer,
            agent,
            claude,
            ids,
            made: std::cell::Cell::new(0),
        }
    }

    fn advance(&self, seconds: i64) {
        self.issuer.clock.advance(seconds);
        self.made.set(self.made.get() + seconds);
    }

    /// A fresh identity token.
    async fn token(&self) -> String {
        let assertion = self
            .agent
            .assertion_at(firman::testing::START + self.made.get())
            .build();
        self.issuer.token_with(&assertion).await.assert_issued()
    }

    fn request(&self, assertion: &str) -> Value {
        json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": assertion,
            "federation_rule_id": self.ids.rule_id,
            "organization_id": self.ids.organization_id,
            "service_account_id": self.ids.service_account_id,
        })
    }

    async fn exchange(&self, body: &Value) -> Answer {
        let url = format!("{}/v1/oauth/token", self.claude.url);
        call(Method::POST, &url, &[], Some(body)).await
    }

    async fn exchange_fresh(&self) -> Answer {
        let token = self.token().await;
        self.exchange(&self.request(&token)).await
    }

    async fn access_token(&self) -> String {
        self.exchange_fresh().await.assert_issued()
    }

    async fn message(&self, access_token: &str) -> Answer {
        let body = json!({
            "model": "claude-x", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}],
        });
        let authorization = format!("Bearer {access_token}");
        let url = format!("{}/v1/messages", self.claude.url);
        let headers = [("authorization", authorization.as_str()), VERSION];
        call(Method::POST, &url, &headers, Some(&body)).await
    }

    async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.admin_as("Bearer admin", method, path, body).await
    }

    async fn admin_as(
        &self,
        authorization: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let url = format!("{}/v1/organizations/{path}", self.claude.url);
        call(
            method,
            &url,
            &[("authorization", authorization), VERSION],
            body,
        )
        .await
    }

    /// The reason in the newest entry of the history.
    fn reason(&self) -> String {
        let history = self.claude.history();
        history[0]["status"]["reason"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    }
}

/// Status and message of an error in Claude's form.
fn told(answer: &Answer) -> String {
    let body = answer.json();
    assert_eq!(body["type"], "error", "{answer}");
    assert_eq!(body["request_id"], answer.header("request-id"), "{answer}");
    assert_eq!(answer.header("x-simulation"), "firman", "{answer}");
    let text = |member: &str| {
        body["error"][member]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    format!("{} {}: {}", answer.status, text("type"), text("message"))
}

#[tokio::test]
async fn every_denial_is_the_same_opaque_answer_and_its_reason_is_in_the_history() {
    let scene = Scene::new().await;
    let token = scene.token().await;
    let spoilt = |member: &str, value: &str| {
        let mut request = scene.request(&token);
        request[member] = json!(value);
        request
    };
    for (request, reason) in [
        (spoilt("federation_rule_id", "fdrl_unknown"), "rule_unknown"),
        (
            spoilt("organization_id", "11111111-1111-4111-8111-111111111111"),
            "rule_unknown",
        ),
        (
            spoilt("service_account_id", "svac_other"),
            "service_account_mismatch",
        ),
        (
            spoilt("workspace_id", "wrkspc_other"),
            "workspace_not_allowed",
        ),
        (spoilt("assertion", "x.y.z"), "malformed"),
        (spoilt("assertion", &"x".repeat(16 * 1024 + 1)), "too_large"),
    ] {
        let answer = scene.exchange(&request).await;
        assert_eq!(
            told(&answer),
            "401 authentication_error: Authentication failed",
            "{reason}"
        );
        assert_eq!(answer.json().as_object().unwrap().len(), 3, "{answer}");
        assert_eq!(scene.reason(), reason);
    }
    // None of these used the token up.
    assert_eq!(scene.exchange(&scene.request(&token)).await.status, 200);
    assert_eq!(scene.reason(), "none");
}

#[tokio::test]
async fn a_token_is_accepted_once() {
    let scene = Scene::new().await;
    let token = scene.token().await;
    assert_eq!(scene.exchange(&scene.request(&token)).await.status, 200);
    for _ in 0..2 {
        let again = scene.exchange(&scene.request(&token)).await;
        assert_eq!(
            told(&again),
            "401 authentication_error: Authentication failed"
        );
        assert_eq!(scene.reason(), "jti_reused");
    }
    let jti = firman::testing::decoded_part(&token, 1)["jti"].clone();
    assert_eq!(
        scene.claude.history()[0]["event_data"]["oidc_token"]["jti"],
        jti
    );
    assert_eq!(scene.exchange_fresh().await.status, 200);
}

#[tokio::test]
async fn an_archived_rule_stops_exchanges_and_leaves_access_tokens_alone() {
    let scene = Scene::new().await;
    let access = scene.access_token().await;
    scene.claude.archive_rule(&scene.ids);
    assert_eq!(scene.exchange_fresh().await.status, 401);
    assert_eq!(scene.reason(), "rule_archived");
    assert_eq!(scene.message(&access).await.status, 200);
}

#[tokio::test]
async fn an_expired_token_is_denied_after_the_tolerance() {
    let scene = Scene::new().await;
    let (early, late) = (scene.token().await, scene.token().await);
    scene.advance(600 + 29);
    let answer = scene.exchange(&scene.request(&early)).await;
    assert_eq!(answer.json()["expires_in"], 60, "{answer}");
    scene.advance(1);
    assert_eq!(scene.exchange(&scene.request(&late)).await.status, 401);
    assert_eq!(scene.reason(), "expired");
}

#[tokio::test]
async fn a_lifetime_above_the_maximum_is_denied() {
    let shorter = |setup| Setup {
        max_jwt_lifetime_seconds: 599,
        ..setup
    };
    let scene = Scene::with(|options| options, shorter).await;
    assert_eq!(scene.exchange_fresh().await.status, 401);
    assert_eq!(scene.reason(), "lifetime");
}

#[tokio::test]
async fn a_request_that_is_not_as_documented_is_reported_and_leaves_no_entry() {
    let scene = Scene::new().await;
    let mut malformed = scene.request("x.y.z");
    malformed["federation_rule_id"] = json!("mailer");
    let answer = scene.exchange(&malformed).await;
    assert_eq!(
        told(&answer),
        "400 invalid_request_error: federation_rule_id is not a well-formed fdrl_ tagged ID"
    );
    let answer = scene.exchange(&json!([])).await;
    assert_eq!(
        told(&answer),
        "400 invalid_request_error: the request body is not a JSON object"
    );
    let url = format!("{}/v1/oauth/token", scene.claude.url);
    let answer = call(Method::GET, &url, &[], None).await;
    assert_eq!(told(&answer), "404 not_found_error: GET here not found");
    assert_eq!(scene.claude.history(), Vec::<Value>::new());
}

#[tokio::test]
async fn with_explain_the_reason_is_in_the_answer() {
    let explained = |options| ClaudeSimulatorOptions {
        explain: true,
        ..options
    };
    let scene = Scene::with(explained, |setup| setup).await;
    let mut request = scene.request(&scene.token().await);
    request["service_account_id"] = json!("svac_other");
    let answer = scene.exchange(&request).await;
    assert_eq!(
        told(&answer),
        "401 authentication_error: Authentication failed"
    );
    let body = answer.json();
    assert_eq!(body["simulation"]["reason"], "service_account_mismatch");
    let remedy = Denial::ServiceAccountMismatch.remedy();
    assert_eq!(body["simulation"]["hint"], remedy.to_string());
    // The SDKs keep this member and drop the one above.
    let detail = body["simulation"]["detail"].as_str().unwrap();
    assert_eq!(
        body["error_description"],
        format!("service_account_mismatch: {detail}. hint: {remedy}")
    );
}

#[tokio::test]
async fn without_explain_the_answer_is_the_opaque_one_to_the_byte() {
    let scene = Scene::new().await;
    let mut request = scene.request(&scene.token().await);
    request["service_account_id"] = json!("svac_other");
    let answer = scene.exchange(&request).await;
    assert_eq!(answer.status, 401);
    let id = answer.header("request-id");
    assert_eq!(
        answer.text(),
        format!(
            r#"{{"error":{{"message":"Authentication failed","type":"authentication_error"}},"request_id":"{id}","type":"error"}}"#
        )
    );
}

#[tokio::test]
async fn each_exchange_is_reported_to_subscribers() {
    let scene = Scene::new().await;
    let mut watched = scene.claude.exchanges();
    let issued = scene.exchange_fresh().await;
    let denied = scene.exchange(&scene.request("no.token.atall")).await;
    let malformed = scene.exchange(&json!({})).await;
    let rule = scene.ids.rule_id.as_str();
    let mut told = Vec::new();
    for answer in [&issued, &denied, &malformed] {
        let line = watched.recv().await.unwrap().to_string();
        told.push(
            line.replace(answer.header("request-id"), "[ID]")
                .replace(rule, "[RULE]"),
        );
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    2027-01-15T08:00:00Z  issued   agent:mailer  [RULE]  for 600 s  [ID]
    2027-01-15T08:00:00Z  denied   -  [RULE]  malformed: the header of the token is not canonical base64url: unused bits of the last character are set  [ID]
    2027-01-15T08:00:00Z  denied   -  -  invalid_request_error: grant_type is required  [ID]
    ");
}

#[tokio::test]
async fn an_issuer_that_fails_again_and_again_is_paused_until_someone_resumes_it() {
    let nobody = |setup| Setup {
        jwks: JwksSource::ExplicitUrl {
            url: "http://127.0.0.1:9/jwks".to_owned(),
            ca_cert_pem: None,
        },
        ..setup
    };
    let scene = Scene::with(|options| options, nobody).await;
    let path = format!(
        "federation_issuers/{}",
        scene.ids.issuer_id.as_ref().unwrap()
    );
    let shown = async || scene.admin(Method::GET, &path, None).await.json();
    let detail = || {
        let history = scene.claude.history();
        history[0]["status"]["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(shown().await["poll_status"], Value::Null);
    for failures in 1..=5 {
        // A burst within one minute is one failed poll.
        for _ in 0..2 {
            assert_eq!(scene.exchange_fresh().await.status, 401);
            assert_eq!(scene.reason(), "jwks_unavailable");
        }
        let issuer = shown().await;
        assert_eq!(issuer["poll_status"]["consecutive_failures"], failures);
        assert_eq!(issuer["poll_status"]["last_fetched_at"], Value::Null);
        assert_eq!(issuer["jwks_polling_disabled_at"].is_null(), failures < 5);
        scene.advance(60);
    }
    assert!(detail().starts_with("fetching of the keys is paused since "));

    // That the issuer is well again is not noticed.
    let jwks = json!({ "jwks": { "type": "discovery" } });
    let changed = scene.admin(Method::POST, &path, Some(&jwks)).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert_eq!(scene.exchange_fresh().await.status, 401);
    assert!(detail().starts_with("fetching of the keys is paused since "));
    let pause = json!({ "jwks_polling_disabled": true });
    let refused = scene.admin(Method::POST, &path, Some(&pause)).await;
    assert_eq!(
        told(&refused),
        "400 invalid_request_error: jwks_polling_disabled: can only be set to false"
    );
    let resume = json!({ "jwks_polling_disabled": false });
    let resumed = scene.admin(Method::POST, &path, Some(&resume)).await;
    assert_eq!(resumed.json()["jwks_polling_disabled_at"], Value::Null);
    assert_eq!(scene.exchange_fresh().await.status, 200);
    let status = shown().await["poll_status"].clone();
    assert_eq!(status["consecutive_failures"], 0, "{status}");
    assert!(status["last_fetched_at"].is_string() && status["next_poll_at"].is_string());
}

#[tokio::test]
async fn a_private_authority_is_kept_and_one_that_is_none_refused() {
    let scene = Scene::new().await;
    let path = format!(
        "federation_issuers/{}",
        scene.ids.issuer_id.as_ref().unwrap()
    );
    let set = async |pem: &str| {
        let body = json!({ "jwks": { "type": "discovery", "ca_cert_pem": pem } });
        scene.admin(Method::POST, &path, Some(&body)).await
    };
    let key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
    assert_eq!(
        told(&set(key).await),
        "400 invalid_request_error: ca_cert_pem: must contain only certificates, not a private key"
    );
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let kept = set(pem).await.json();
    assert_eq!(kept["jwks"]["ca_cert_pem"], pem, "{kept}");
    // The issuer is fetched by plain HTTP here, where no authority matters.
    assert_eq!(scene.exchange_fresh().await.status, 200);
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_named_as_the_cause() {
    let nobody = |setup| Setup {
        jwks: JwksSource::ExplicitUrl {
            url: "http://127.0.0.1:9/jwks".to_owned(),
            ca_cert_pem: None,
        },
        ..setup
    };
    let scene = Scene::with(|options| options, nobody).await;
    assert_eq!(scene.exchange_fresh().await.status, 401);
    assert_eq!(scene.reason(), "jwks_unavailable");
}

#[tokio::test]
async fn a_new_key_may_be_unknown_for_a_minute_and_inline_keys_for_ever() {
    let scene = Scene::new().await;
    assert_eq!(scene.exchange_fresh().await.status, 200);
    let other = TestKey::Es256Third.signing_key();
    let unknown = |scene: &Scene, issued_at: i64| {
        let claims = json!({
            "iss": scene.issuer.url, "sub": "agent:mailer", "acting_agent": "agent:mailer",
            "aud": "https://api.anthropic.com", "iat": issued_at, "exp": issued_at + 600,
        });
        other
            .sign_compact("JWT", claims.to_string().as_bytes())
            .unwrap()
    };
    let token = unknown(&scene, firman::testing::START);
    assert_eq!(scene.exchange(&scene.request(&token)).await.status, 401);
    assert_eq!(scene.reason(), "unknown_kid");

    let jwk = |key: TestKey| {
        let key = key.signing_key();
        key.public_jwk().to_jwks_entry(key.kid(), key.algorithm())
    };
    let path = format!(
        "federation_issuers/{}",
        scene.ids.issuer_id.as_ref().unwrap()
    );
    let inline = json!({"jwks": {"type": "inline", "keys": [jwk(TestKey::Es256Third)]}});
    let changed = scene.admin(Method::POST, &path, Some(&inline)).await;
    assert_eq!(changed.status, 200, "{changed}");
    // Without a jti it is accepted repeatedly.
    for _ in 0..2 {
        assert_eq!(scene.exchange(&scene.request(&token)).await.status, 200);
    }
    assert_eq!(scene.exchange_fresh().await.status, 401);
    assert_eq!(scene.reason(), "unknown_kid");
}

#[tokio::test]
async fn a_message_is_answered_for_the_service_account_until_the_token_expires() {
    let scene = Scene::new().await;
    let refused = scene.message("sk-ant-oat01-nobody").await;
    assert_eq!(
        told(&refused),
        "401 authentication_error: Invalid bearer token"
    );
    let url = format!("{}/v1/messages", scene.claude.url);
    let key = [("x-api-key", "sk-ant-api03-x"), VERSION];
    let refused = call(Method::POST, &url, &key, Some(&json!({}))).await;
    assert!(
        told(&refused).starts_with("401 authentication_error: invalid x-api-key"),
        "{refused}"
    );

    let access = scene.access_token().await;
    let answer = scene.message(&access).await;
    let mut body = answer.json();
    assert_eq!(
        body["content"][0]["text"],
        format!("simulated answer for {}", scene.ids.service_account_id)
    );
    body["id"] = json!("msg_…");
    body["content"] = json!("…");
    insta::assert_snapshot!(body, @r#"{"content":"…","id":"msg_…","model":"claude-x","role":"assistant","stop_reason":"end_turn","stop_sequence":null,"type":"message","usage":{"input_tokens":1,"output_tokens":4}}"#);
    scene.advance(600);
    assert_eq!(
        told(&scene.message(&access).await),
        "401 authentication_error: OAuth token has expired"
    );
}

#[tokio::test]
async fn a_message_may_be_streamed_and_models_are_listed() {
    let scene = Scene::new().await;
    let authorization = format!("Bearer {}", scene.access_token().await);
    let headers = [("authorization", authorization.as_str()), VERSION];
    let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], "stream": true});
    let url = format!("{}/v1/messages", scene.claude.url);
    let answer = call(Method::POST, &url, &headers, Some(&body)).await;
    let events: Vec<&str> = ["message_start", "content_block_delta", "message_stop"].into();
    let text = answer.text();
    assert!(
        events
            .iter()
            .all(|event| text.contains(&format!("event: {event}\n"))),
        "{text}"
    );
    let url = format!("{}/v1/models", scene.claude.url);
    let models = call(Method::GET, &url, &headers, None).await;
    assert_eq!(
        models.json()["data"][0]["id"],
        "claude-simulated",
        "{models}"
    );
    let unversioned = call(Method::GET, &url, &headers[..1], None).await;
    assert_eq!(
        told(&unversioned),
        "400 invalid_request_error: anthropic-version: header is required"
    );
}

#[tokio::test]
async fn the_admin_api_accepts_an_oauth_token_of_an_administrator_only() {
    let scene = Scene::new().await;
    let access = format!("Bearer {}", scene.access_token().await);
    for (authorization, expected) in [
        ("", "401 authentication_error: an OAuth bearer token"),
        (
            "Bearer nobody",
            "401 authentication_error: Invalid bearer token",
        ),
        (
            "Bearer sk-ant-admin01-x",
            "401 authentication_error: Admin API keys cannot be used",
        ),
        (
            &access,
            "403 permission_error: the token's scope does not cover",
        ),
    ] {
        let answer = scene
            .admin_as(authorization, Method::GET, "federation_rules", None)
            .await;
        assert!(told(&answer).starts_with(expected), "{answer}");
    }
    let url = format!("{}/v1/organizations/federation_rules", scene.claude.url);
    let key = [("x-api-key", "sk-ant-admin01-x"), VERSION];
    let answer = call(Method::GET, &url, &key, None).await;
    assert!(
        told(&answer).starts_with("401 authentication_error: Admin API keys"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_workload_that_administers_may_do_less_than_a_person() {
    let admin = |setup| Setup {
        oauth_scope: "org:admin".to_owned(),
        ..setup
    };
    let scene = Scene::with(|options| options, admin).await;
    let workload = format!("Bearer {}", scene.access_token().await);
    let post = async |path: &str, body: Value| {
        let answer = scene
            .admin_as(&workload, Method::POST, path, Some(&body))
            .await;
        if answer.status == 200 {
            "200".to_owned()
        } else {
            told(&answer)
        }
    };
    let issuer = format!(
        "federation_issuers/{}",
        scene.ids.issuer_id.as_ref().unwrap()
    );
    let rule = format!("federation_rules/{}", scene.ids.rule_id);
    for (path, body, expected) in [
        (
            "service_accounts",
            json!({"name": "a", "role": "admin"}),
            "403 permission_error: a workload may create developer",
        ),
        (
            issuer.as_str(),
            json!({"check_jti": false}),
            "403 permission_error: an OAuth token may not update an issuer",
        ),
        (
            rule.as_str(),
            json!({"token_lifetime_seconds": 60}),
            "403 permission_error: oauth_scope: org:admin cannot be",
        ),
        ("service_accounts", json!({"name": "a"}), "200"),
    ] {
        let told = post(path, body).await;
        assert!(told.starts_with(expected), "{path}: {told}");
    }
    // A person's token is an OAuth token too.
    let by_a_person = scene
        .admin(Method::POST, &issuer, Some(&json!({"check_jti": false})))
        .await;
    assert!(
        told(&by_a_person).starts_with("403 permission_error: an OAuth token may not update"),
        "{by_a_person}"
    );
    let message = scene.message(workload.trim_start_matches("Bearer ")).await;
    assert!(
        told(&message).starts_with("403 permission_error: the token's scope"),
        "{message}"
    );
}

#[tokio::test]
async fn the_admin_api_refuses_what_claude_refuses() {
    let scene = Scene::new().await;
    let rule = |change: fn(&mut Value)| {
        let mut rule = json!({
            "name": "other", "issuer_id": scene.ids.issuer_id, "match": {"subject_prefix": "agent:other"},
            "target": {"type": "service_account", "service_account_id": scene.ids.service_account_id},
            "oauth_scope": "workspace:developer", "workspace_id": "default",
        });
        change(&mut rule);
        rule
    };
    let name = Setup::new("mailer", "agent:mailer", &scene.issuer.url).name();
    for (family, body, expected) in [
        ("service_accounts", json!({"name": "Mailer"}), "400 invalid_request_error: name: must be 1 to 255 characters of a-z, 0-9 and `-`".to_owned()),
        ("service_accounts", json!({"name": name}), format!("409 invalid_request_error: name: {name} is already in use in this organization")),
        ("service_accounts", json!({"name": "a", "owner": "me"}), "400 invalid_request_error: owner: unknown field".to_owned()),
        ("service_accounts", json!({}), "400 invalid_request_error: missing field `name`".to_owned()),
        ("federation_issuers", json!({"name": "a", "issuer_url": "http://id.example.com"}), "400 invalid_request_error: issuer_url: url must use https scheme".to_owned()),
        ("federation_issuers", json!({"name": "a", "issuer_url": "https://id.example.com", "max_jwt_lifetime_seconds": 176_401}), "400 invalid_request_error: max_jwt_lifetime_seconds: must be 1 to 176400".to_owned()),
        ("federation_issuers", json!({"name": "a", "issuer_url": "https://x", "jwks": {"type": "inline", "keys": {"keys": []}}}), "400 invalid_request_error: jwks".to_owned()),
        ("federation_rules", rule(|r| r["match"] = json!({"audience": "x"})), "400 invalid_request_error: match: must have at least one".to_owned()),
        ("federation_rules", rule(|r| r["match"] = json!({"subject_prefix": "*"})), "400 invalid_request_error: match.subject_prefix: must not be `*` alone".to_owned()),
        ("federation_rules", rule(|r| r["match"] = json!({"condition": "true"})), "400 invalid_request_error: match.condition is always true".to_owned()),
        ("federation_rules", rule(|r| r["token_lifetime_seconds"] = json!(59)), "400 invalid_request_error: token_lifetime_seconds: must be 60 to 86400".to_owned()),
        ("federation_rules", rule(|r| r["workspace_id"] = Value::Null), "400 invalid_request_error: one of workspace_id and applies_to_all_workspaces is required".to_owned()),
        ("federation_rules", rule(|r| r["oauth_scope"] = json!("org:admin")), "403 permission_error: oauth_scope: org:admin cannot be granted".to_owned()),
        ("federation_rules", rule(|r| r["issuer_id"] = json!("fdis_none")), "404 not_found_error: federation issuer not found".to_owned()),
        ("federation_rules", rule(|r| r["attributes"] = json!({"a": 1})), "400 invalid_request_error: attributes: must be empty".to_owned()),
    ] {
        let answer = scene.admin(Method::POST, family, Some(&body)).await;
        assert!(told(&answer).starts_with(&expected), "{body}: {answer}");
    }
}

#[tokio::test]
async fn objects_in_use_are_not_archived_and_archived_ones_not_updated() {
    let scene = Scene::new().await;
    let account = format!("service_accounts/{}", scene.ids.service_account_id);
    let issuer = format!(
        "federation_issuers/{}",
        scene.ids.issuer_id.as_ref().unwrap()
    );
    let rule = format!("federation_rules/{}", scene.ids.rule_id);
    for object in [&account, &issuer] {
        let answer = scene
            .admin(Method::POST, &format!("{object}/archive"), None)
            .await;
        assert!(
            told(&answer).starts_with("400 invalid_request_error: the "),
            "{answer}"
        );
    }
    let foreign = json!({"issuer_id": "fdis_other"});
    let answer = scene.admin(Method::POST, &rule, Some(&foreign)).await;
    assert_eq!(
        told(&answer),
        "400 invalid_request_error: issuer_id: cannot be changed"
    );
    let first = scene
        .admin(Method::POST, &format!("{rule}/archive"), None)
        .await;
    scene.advance(5);
    let second = scene
        .admin(Method::POST, &format!("{rule}/archive"), None)
        .await;
    assert_eq!(
        first.json()["archived_at"],
        second.json()["archived_at"],
        "{second}"
    );
    let change = json!({"token_lifetime_seconds": 60});
    let answer = scene.admin(Method::POST, &rule, Some(&change)).await;
    assert_eq!(
        told(&answer),
        "400 invalid_request_error: the federation rule is archived and cannot be updated"
    );
    let answer = scene
        .admin(Method::POST, &format!("{issuer}/archive"), None)
        .await;
    assert_eq!(answer.status, 200, "{answer}");
}

#[tokio::test]
async fn an_update_replaces_the_match_and_works_at_the_next_exchange() {
    let scene = Scene::new().await;
    let rule = format!("federation_rules/{}", scene.ids.rule_id);
    let change =
        json!({"match": {"condition": "'nobody' in claims.groups"}, "token_lifetime_seconds": 300});
    let answer = scene.admin(Method::POST, &rule, Some(&change)).await;
    assert_eq!(answer.json()["match"], change["match"], "{answer}");
    assert_eq!(scene.exchange_fresh().await.status, 401);
    assert_eq!(scene.reason(), "match_condition");
    let change = json!({"match": {"condition": "'messages' in claims.roles"}});
    scene.admin(Method::POST, &rule, Some(&change)).await;
    let answer = scene.exchange_fresh().await;
    assert_eq!(answer.json()["expires_in"], 300, "{answer}");
}

#[tokio::test]
async fn a_second_workspace_makes_the_choice_necessary() {
    let scene = Scene::new().await;
    let workspace = json!({"workspace_id": "wrkspc_two"});
    let rule = format!("federation_rules/{}/workspaces", scene.ids.rule_id);
    let account = format!(
        "service_accounts/{}/workspaces",
        scene.ids.service_account_id
    );
    assert_eq!(
        scene
            .admin(Method::POST, &rule, Some(&workspace))
            .await
            .status,
        200
    );
    assert_eq!(scene.exchange_fresh().await.status, 401);
    assert_eq!(scene.reason(), "workspace_id_required");
    let chosen = async || {
        let mut request = scene.request(&scene.token().await);
        request["workspace_id"] = json!("wrkspc_two");
        scene.exchange(&request).await
    };
    assert_eq!(chosen().await.status, 401);
    assert_eq!(scene.reason(), "workspace_not_allowed");
    assert_eq!(
        scene
            .admin(Method::POST, &account, Some(&workspace))
            .await
            .status,
        200
    );
    let answer = chosen().await;
    assert_eq!(answer.status, 200, "{answer}");
    let message = scene.message(&answer.assert_issued()).await;
    assert_eq!(message.header("anthropic-workspace-id"), "wrkspc_two");
    let organization = scene.claude.organization_id.as_str();
    assert_eq!(message.header("anthropic-organization-id"), organization);
    // Neither on a 401 nor in the Admin API.
    let unknown = scene.message("sk-ant-oat01-unknown").await;
    let listed = scene.admin(Method::GET, "federation_rules", None).await;
    for answer in [unknown, listed] {
        assert!(!answer.headers.contains_key("anthropic-workspace-id"));
        assert!(!answer.headers.contains_key("anthropic-organization-id"));
    }
    let removed = scene
        .admin(Method::DELETE, &format!("{rule}/wrkspc_two"), None)
        .await;
    assert_eq!(removed.status, 200, "{removed}");
    assert_eq!(scene.exchange_fresh().await.status, 200);
}

#[tokio::test]
async fn lists_come_in_pages_without_archived_objects() {
    let scene = Scene::new().await;
    for number in 0..4 {
        let body = json!({"name": format!("account-{number}")});
        let created = scene
            .admin(Method::POST, "service_accounts", Some(&body))
            .await;
        assert_eq!(created.status, 200, "{created}");
        if number == 1 {
            let path = format!(
                "service_accounts/{}/archive",
                created.json()["id"].as_str().unwrap()
            );
            scene.admin(Method::POST, &path, None).await;
        }
    }
    let mut seen = BTreeSet::new();
    let mut page = String::new();
    let mut pages = 0;
    loop {
        let path = format!("service_accounts?limit=2{page}");
        let answer = scene.admin(Method::GET, &path, None).await.json();
        let data = answer["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        seen.extend(
            data.iter()
                .map(|account| account["name"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        let Some(next) = answer["next_page"].as_str() else {
            break;
        };
        page = format!("&page={next}");
    }
    assert_eq!((pages, seen.len()), (2, 4), "{seen:?}");
    let all = scene
        .admin(Method::GET, "service_accounts?include_archived=true", None)
        .await;
    assert_eq!(all.json()["data"].as_array().unwrap().len(), 5);
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "page=svac_none",
        "archived=1",
    ] {
        let answer = scene
            .admin(Method::GET, &format!("service_accounts?{query}"), None)
            .await;
        assert!(
            told(&answer).starts_with("400 invalid_request_error: "),
            "{query}: {answer}"
        );
    }
    let none = scene
        .admin(Method::GET, "federation_rules?issuer_id=fdis_none", None)
        .await;
    assert_eq!(none.json(), json!({"data": [], "next_page": null}));
}

#[tokio::test]
async fn the_history_is_open_to_the_person_at_this_machine_and_to_no_other_host_name() {
    let scene = Scene::new().await;
    let access = scene.access_token().await;
    let url = format!("{}/simulator/history", scene.claude.url);
    let answer = call(Method::GET, &url, &[], None).await;
    let entry = &answer.json()["data"][0];
    assert_eq!(entry["status"]["outcome"], "success", "{answer}");
    assert_eq!(
        entry["event_data"]["federation_rule_id"],
        json!(scene.ids.rule_id)
    );
    assert!(!answer.text().contains(&access));
    let rebound = call(Method::GET, &url, &[("host", "rebound.example")], None).await;
    assert_eq!(rebound.status, 421, "{rebound}");
}

#[tokio::test]
async fn the_command_serves_says_that_it_is_a_simulation_and_stays_on_loopback() {
    let program = env!("CARGO_BIN_EXE_firman");
    let outside = tokio::process::Command::new(program)
        .args(["claude", "simulate", "--listen", "0.0.0.0:0"])
        .output()
        .await
        .unwrap();
    assert_eq!(outside.status.code(), Some(2));
    let mut child = tokio::process::Command::new(program)
        .args([
            "claude",
            "simulate",
            "--listen",
            "127.0.0.1:0",
            "--output",
            "json",
            "--admin-token",
            "t",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let shown: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(shown["admin_token"], "t");
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let banner = errors.next_line().await.unwrap().unwrap();
    assert!(
        banner.starts_with("SIMULATION: this is not Claude."),
        "{banner}"
    );
    let url = format!(
        "{}/v1/organizations/federation_rules",
        shown["url"].as_str().unwrap()
    );
    let answer = call(
        Method::GET,
        &url,
        &[("authorization", "Bearer t"), VERSION],
        None,
    )
    .await;
    assert_eq!(answer.json(), json!({"data": [], "next_page": null}));
    assert_eq!(answer.header("x-simulation"), "firman");
    // What a caller sends steers no terminal and makes no line of its own.
    let exchange = format!("{}/v1/oauth/token", shown["url"].as_str().unwrap());
    let claims = json!({"sub": "agent:a\nissued \u{202e}\u{1b}[2J"});
    let key = firman::jose::SigningKey::generate(firman::jose::SigningAlgorithm::Es256).unwrap();
    let request = json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": key.sign_compact("JWT", claims.to_string().as_bytes()).unwrap(),
        "federation_rule_id": "fdrl_01",
        "organization_id": shown["organization_id"],
        "service_account_id": "svac_01",
    });
    let denied = call(Method::POST, &exchange, &[], Some(&request)).await;
    let line = errors.next_line().await.unwrap().unwrap();
    let (_, told) = line.split_once("  ").unwrap();
    assert_eq!(
        told.replace(denied.header("request-id"), "[ID]"),
        r"denied   agent:a\u{a}issued \u{202e}\u{1b}[2J  fdrl_01  rule_unknown: the rule fdrl_01 does not exist  [ID]"
    );
    child.kill().await.unwrap();
}
