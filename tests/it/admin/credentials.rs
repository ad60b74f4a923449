//! Credentials.

use firman::testing::TestKey;

use super::*;

fn secret() -> Value {
    json!({ "kind": "client_secret" })
}

fn public_key(key: TestKey) -> Value {
    json!({ "kind": "public_key", "jwk": key.signing_key().public_jwk().to_value() })
}

async fn with_agent() -> TestIssuer {
    let issuer = TestIssuer::start().await;
    issuer.resource("api", &["read"]).await;
    issuer.role("reader", "api", &[]).await;
    assert_eq!(
        post(
            &issuer,
            "/agents",
            json!({ "name": "mailer", "owner": "x", "roles": ["reader"] })
        )
        .await
        .status,
        201
    );
    issuer
}

async fn token_status(issuer: &TestIssuer, secret: &str) -> u16 {
    issuer
        .token(&[
            ("grant_type", "client_credentials"),
            ("client_id", "mailer"),
            ("client_secret", secret),
        ])
        .await
        .status
}

#[tokio::test]
async fn ad_019_and_020_a_secret_is_shown_once_and_nowhere_else() {
    let issuer = with_agent().await;
    let added = post(&issuer, "/agents/mailer/credentials", secret()).await;
    assert_eq!(added.status, 201, "{added}");
    let secret = added.json()["client_secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("fmn_"));
    assert_eq!(token_status(&issuer, &secret).await, 200);
    let id = added.json()["credential"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    post(
        &issuer,
        &format!("/agents/mailer/credentials/{id}/rotate"),
        json!({}),
    )
    .await;
    for path in [
        "/agents",
        "/agents/mailer",
        "/agents/mailer/credentials",
        "/audit?limit=200",
        "/keys",
        "/administrators",
        "/openapi.json",
        "/issuer",
    ] {
        let text = get(&issuer, path).await.text();
        for never in [
            secret.as_str(),
            &secret[4..20],
            "argon2id",
            "token_digest",
            "\"d\":",
            "PRIVATE KEY",
            &issuer.admin_token(),
        ] {
            assert!(!text.contains(never), "{path} shows {never}");
        }
    }
    assert_eq!(
        kind_of(&get(&issuer, &format!("/agents/mailer/credentials/{id}")).await),
        (404, "not_found".to_owned())
    );
}

#[tokio::test]
async fn a_public_key_is_shown_with_the_kid_to_use() {
    let issuer = with_agent().await;
    let jwk = TestKey::Es256.signing_key().public_jwk().to_value();
    let added = post(
        &issuer,
        "/agents/mailer/credentials",
        public_key(TestKey::Es256),
    )
    .await
    .json();
    let thumbprint = TestKey::Es256
        .signing_key()
        .public_jwk()
        .thumbprint()
        .to_owned();
    let credential = without_ids(added["credential"].clone());
    let kid = jwk["kid"].as_str().unwrap_or(&thumbprint).to_owned();
    assert_eq!(
        credential,
        json!({
            "id": "…", "kind": "public_key", "kid": kid, "jwk": jwk, "thumbprint": thumbprint, "not_before": START,
            "expires_at": null, "revoked_at": null, "status": "live", "created_at": START
        })
    );
    assert_eq!(added["client_id"], "mailer");
    assert!(added.get("client_secret").is_none());
}

#[tokio::test]
async fn a_key_that_cannot_be_trusted_is_refused_with_the_reason() {
    let issuer = with_agent().await;
    for (body, detail) in [
        (
            json!({ "kind": "public_key" }),
            "jwk: is missing: a `public_key` credential requires the public key as `jwk` or `pem`",
        ),
        (
            json!({ "kind": "password" }),
            "kind: must be `client_secret`, `public_key` or `federated`",
        ),
        (
            json!({ "kind": "client_secret", "pem": "x" }),
            "kind: is `client_secret`, which the issuer makes: leave out `jwk`, `pem`, `trusted_issuer` and `match`",
        ),
        (
            json!({ "kind": "public_key", "pem": "x", "jwk": {} }),
            "pem: was sent together with `jwk`; send the key in one form",
        ),
        (
            json!({ "kind": "client_secret", "expires_in": 0 }),
            "expires_in: must be 1 to 315360000 seconds; leave it out for no expiry",
        ),
        (
            json!({ "kind": "public_key", "jwk": { "kty": "oct", "k": "AAAA" } }),
            "jwk: `kty` `oct` is a shared secret, not a public key\nhint: use an EC, RSA or OKP key",
        ),
        (
            json!({ "kind": "public_key", "jwk": { "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA" } }),
            "jwk: the key is a private key (member `d`) and no longer secret\nhint: generate a new key and send only its public key",
        ),
    ] {
        assert_problem(
            &post(&issuer, "/agents/mailer/credentials", body).await,
            400,
            "invalid",
            detail,
        );
    }
    let unknown = post(
        &issuer,
        "/agents/mailer/credentials",
        json!({ "kind": "client_secret", "secret": "mine" }),
    )
    .await;
    assert_eq!(kind_of(&unknown), (400, "invalid".to_owned()));
    assert_eq!(
        get(&issuer, "/agents/mailer/credentials").await.json(),
        json!({ "items": [], "next_cursor": null })
    );
}

#[tokio::test]
async fn one_key_belongs_to_one_agent() {
    let issuer = with_agent().await;
    let added = post(
        &issuer,
        "/agents/mailer/credentials",
        public_key(TestKey::Es256),
    )
    .await
    .json();
    assert_eq!(
        post(&issuer, "/agents", json!({ "name": "other", "owner": "x" }))
            .await
            .status,
        201
    );
    for agent in ["mailer", "other"] {
        let again = post(
            &issuer,
            &format!("/agents/{agent}/credentials"),
            public_key(TestKey::Es256),
        )
        .await;
        assert_eq!(kind_of(&again), (409, "conflict".to_owned()), "{again}");
    }
    let id = added["credential"]["id"].as_str().unwrap();
    assert_eq!(
        kind_of(
            &call(
                &issuer,
                Method::POST,
                &format!("/agents/other/credentials/{id}/revoke")
            )
            .await
        ),
        (404, "not_found".to_owned())
    );
    let revoked = call(
        &issuer,
        Method::POST,
        &format!("/agents/mailer/credentials/{id}/revoke"),
    )
    .await;
    assert_eq!(
        (&revoked.json()["status"], &revoked.json()["revoked_at"]),
        (&json!("revoked"), &json!(START))
    );
    assert_eq!(
        post(
            &issuer,
            "/agents/other/credentials",
            public_key(TestKey::Es256)
        )
        .await
        .status,
        201,
        "a revoked key is free again"
    );
}

#[tokio::test]
async fn an_agent_has_two_live_secrets_at_most_and_the_error_names_both() {
    let issuer = with_agent().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        issuer.clock.advance(1);
        let added = post(&issuer, "/agents/mailer/credentials", secret()).await;
        ids.push(
            added.json()["credential"]["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let detail = format!(
        "the agent `mailer` already has 2 live client secrets, one in use and one to rotate to; revoke the one no longer in use first: {} or {}",
        ids[0], ids[1]
    );
    assert_problem(
        &post(&issuer, "/agents/mailer/credentials", secret()).await,
        409,
        "conflict",
        &detail,
    );
    let rotated = post(
        &issuer,
        &format!("/agents/mailer/credentials/{}/rotate", ids[0]),
        json!({}),
    )
    .await;
    assert_problem(&rotated, 409, "conflict", &detail);
    let rotated = post(
        &issuer,
        &format!("/agents/mailer/credentials/{}/rotate", ids[0]),
        json!({ "overlap": 0 }),
    )
    .await;
    assert_eq!(rotated.status, 201, "{rotated}");
    assert_eq!(rotated.json()["replaced"]["status"], "expired");
}

#[tokio::test]
async fn a_rotated_secret_stays_good_for_the_overlap_and_no_longer() {
    let issuer = with_agent().await;
    let added = post(&issuer, "/agents/mailer/credentials", secret())
        .await
        .json();
    let (id, old) = (
        added["credential"]["id"].as_str().unwrap(),
        added["client_secret"].as_str().unwrap(),
    );
    let path = format!("/agents/mailer/credentials/{id}/rotate");
    let rotated = post(&issuer, &path, json!({ "overlap": 100 })).await.json();
    let new = rotated["client_secret"].as_str().unwrap();
    assert_eq!(
        (
            &rotated["replaced"]["id"],
            &rotated["replaced"]["expires_at"]
        ),
        (&json!(id), &json!(START + 100))
    );
    assert_eq!(rotated["credential"]["expires_at"], Value::Null);
    assert_eq!(
        (
            token_status(&issuer, old).await,
            token_status(&issuer, new).await
        ),
        (200, 200)
    );
    issuer.clock.advance(100);
    assert_eq!(
        (
            token_status(&issuer, old).await,
            token_status(&issuer, new).await
        ),
        (401, 200)
    );
    let detail = format!("credential `{id}` is revoked or expired; add a new one instead");
    assert_problem(
        &post(&issuer, &path, json!({})).await,
        409,
        "conflict",
        &detail,
    );
    let unknown = post(&issuer, "/agents/mailer/credentials/%00/rotate", json!({})).await;
    assert_eq!(kind_of(&unknown), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_key_is_rotated_to_a_key_and_a_secret_to_a_secret() {
    let issuer = with_agent().await;
    let key = post(
        &issuer,
        "/agents/mailer/credentials",
        public_key(TestKey::Es256),
    )
    .await
    .json();
    let shared = post(&issuer, "/agents/mailer/credentials", secret())
        .await
        .json();
    let rotate = |of: &Value| {
        format!(
            "/agents/mailer/credentials/{}/rotate",
            of["credential"]["id"].as_str().unwrap()
        )
    };
    let new =
        json!({ "jwk": TestKey::Es256Second.signing_key().public_jwk().to_value(), "overlap": 60 });
    let missing = "jwk: is missing: a public key is replaced by a public key, as `jwk` or `pem`";
    assert_problem(
        &post(&issuer, &rotate(&key), json!({})).await,
        400,
        "invalid",
        missing,
    );
    let unwanted = "jwk: must be left out: a client secret is replaced by a client secret, which the issuer makes";
    assert_problem(
        &post(&issuer, &rotate(&shared), new.clone()).await,
        400,
        "invalid",
        unwanted,
    );
    let rotated = post(&issuer, &rotate(&key), new).await;
    assert_eq!(rotated.status, 201, "{rotated}");
    assert_eq!(rotated.json()["credential"]["kind"], "public_key");
    let overlap = post(&issuer, &rotate(&shared), json!({ "overlap": -1 })).await;
    assert_problem(
        &overlap,
        400,
        "invalid",
        "overlap: must be 0 to 315360000 seconds",
    );
}

#[tokio::test]
async fn a_revoked_secret_opens_nothing_and_stays_revoked() {
    let issuer = with_agent().await;
    let added = post(&issuer, "/agents/mailer/credentials", secret())
        .await
        .json();
    let path = format!(
        "/agents/mailer/credentials/{}/revoke",
        added["credential"]["id"].as_str().unwrap()
    );
    let secret = added["client_secret"].as_str().unwrap();
    assert_eq!(token_status(&issuer, secret).await, 200);
    assert_eq!(
        call(&issuer, Method::POST, &path).await.json()["status"],
        "revoked"
    );
    assert_eq!(token_status(&issuer, secret).await, 401);
    issuer.clock.advance(5);
    assert_eq!(
        call(&issuer, Method::POST, &path).await.json()["revoked_at"],
        START,
        "twice is once"
    );
}

#[tokio::test]
async fn a_replacement_lives_as_long_as_requested() {
    let issuer = with_agent().await;
    let added = post(&issuer, "/agents/mailer/credentials", secret())
        .await
        .json();
    let id = added["credential"]["id"].as_str().unwrap();
    let path = format!("/agents/mailer/credentials/{id}/rotate");
    for expires_in in [
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(0.5),
        json!("60"),
    ] {
        let refused = post(&issuer, &path, json!({ "expires_in": expires_in })).await;
        assert_eq!(
            kind_of(&refused),
            (400, "invalid".to_owned()),
            "{expires_in}"
        );
    }
    let rotated = post(&issuer, &path, json!({ "overlap": 0, "expires_in": 60 }))
        .await
        .json();
    let new = rotated["client_secret"].as_str().unwrap();
    assert_eq!(rotated["credential"]["expires_at"], START + 60);
    assert_eq!(token_status(&issuer, new).await, 200);
    issuer.clock.advance(60);
    assert_eq!(token_status(&issuer, new).await, 401);
}

#[tokio::test]
async fn the_live_credentials_of_all_agents_are_listed_in_pages() {
    let issuer = with_agent().await;
    post(&issuer, "/agents", json!({ "name": "clerk", "owner": "x" })).await;
    for (agent, body) in [
        ("mailer", secret()),
        ("clerk", public_key(TestKey::Es256)),
        (
            "clerk",
            json!({ "kind": "client_secret", "expires_in": 60 }),
        ),
    ] {
        issuer.clock.advance(1);
        let added = post(&issuer, &format!("/agents/{agent}/credentials"), body).await;
        assert_eq!(added.status, 201, "{added}");
    }
    let list = async |query: &str| {
        let page = get(&issuer, &format!("/credentials{query}")).await.json();
        let items = page["items"].as_array().unwrap().iter();
        let shown: Vec<String> = items
            .map(|item| format!("{} {}", item["agent"], item["kind"]).replace('"', ""))
            .collect();
        (shown, page["next_cursor"].as_str().map(str::to_owned))
    };
    let all = [
        "mailer client_secret",
        "clerk public_key",
        "clerk client_secret",
    ];
    assert_eq!(list("").await.0, all);
    let (first, cursor) = list("?limit=2").await;
    assert_eq!(first, all[..2]);
    let (rest, end) = list(&format!("?limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!(
        (rest.as_slice(), end),
        (
            &all[2..].iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..],
            None
        )
    );
    assert_eq!(list("?expires_within=60").await.0, all[2..]);
    assert_eq!(list("?expires_within=58").await.0, [""; 0]);
    for query in [
        "?expires_within=-1",
        "?cursor=x",
        "?limit=0",
        "?status=live",
    ] {
        let refused = get(&issuer, &format!("/credentials{query}")).await;
        assert_eq!(refused.status, 400, "{query}: {refused}");
    }
}
