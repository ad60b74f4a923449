//! Resources.

use firman::domain::scope::Scope;
use firman::testing::decoded_part;

use super::*;
use crate::oauth2::{basic, by_basic};

#[tokio::test]
async fn a_resource_is_made_shown_edited_and_listed() {
    let issuer = TestIssuer::start().await;
    let new = json!({ "name": "api", "identifier": "https://api.example", "description": "the API", "scopes": ["write", "read"] });
    let created = post(&issuer, "/resources", new).await;
    let resource = json!({
        "id": "…", "name": "api", "identifier": "https://api.example", "description": "the API", "profile": "generic",
        "scopes": ["read", "write"], "lifetime": null, "algorithm": null, "token_lifetime": 900, "token_algorithm": "ES256", "typ": null, "token_typ": "at+jwt",
        "allow_delegation": null, "delegation_allowed": true, "server": null, "dpop_required": false,
        "created_at": START, "updated_at": START, "version": "…"
    });
    assert_eq!(
        (created.status, without_ids(created.json())),
        (201, resource)
    );
    let edited = patch(
        &issuer,
        "/resources/api",
        json!({ "lifetime": 120, "algorithm": "RS256", "scopes": ["read"] }),
    )
    .await
    .json();
    assert_eq!(
        (
            &edited["token_lifetime"],
            &edited["token_algorithm"],
            &edited["scopes"]
        ),
        (&json!(120), &json!("RS256"), &json!(["read"]))
    );
    let reset = patch(
        &issuer,
        "/resources/api",
        json!({ "lifetime": null, "algorithm": null }),
    )
    .await
    .json();
    assert_eq!(
        (&reset["token_lifetime"], &reset["token_algorithm"]),
        (&json!(900), &json!("ES256"))
    );
    assert_eq!(get(&issuer, "/resources/api").await.json(), reset);
    assert_eq!(
        get(&issuer, "/resources").await.json(),
        json!({ "items": [reset], "next_cursor": null })
    );
}

#[tokio::test]
async fn a_claude_resource_needs_no_identifier_and_keeps_to_what_claude_accepts() {
    let issuer = TestIssuer::start().await;
    let created = post(
        &issuer,
        "/resources",
        json!({ "name": "claude", "profile": "claude" }),
    )
    .await
    .json();
    assert_eq!(
        (&created["identifier"], &created["token_lifetime"]),
        (&json!("https://api.anthropic.com"), &json!(600))
    );
    let long = patch(&issuer, "/resources/claude", json!({ "lifetime": 7200 })).await;
    assert_problem(
        &long,
        400,
        "invalid",
        "lifetime: must be 60 to 3600 seconds for a resource with profile `claude`",
    );
    let algorithm = patch(
        &issuer,
        "/resources/claude",
        json!({ "algorithm": "EdDSA" }),
    )
    .await;
    assert_problem(
        &algorithm,
        400,
        "invalid",
        "algorithm: must be ES256 or RS256 for a resource with profile `claude`",
    );
}

#[tokio::test]
async fn what_is_not_well_formed_or_taken_is_refused_with_the_reason() {
    let issuer = TestIssuer::start().await;
    issuer.resource("api", &[]).await;
    for (body, status, kind, detail) in [
        (
            json!({ "name": "x" }),
            400,
            "invalid",
            "identifier: is required for a resource with profile `generic`: the URI that becomes `aud`, such as `https://api.example.com`",
        ),
        (
            json!({ "name": "x", "identifier": "x", "profile": "azure" }),
            400,
            "invalid",
            "profile: must be generic or claude",
        ),
        (
            json!({ "name": "x", "identifier": "https://x.example", "scopes": ["openid"] }),
            400,
            "invalid",
            "scopes: contains `openid`, which OpenID Connect defines and which needs no grant",
        ),
        (
            json!({ "name": "x", "identifier": "https://x.example", "scopes": ["read", "a,b"] }),
            400,
            "invalid",
            "scopes: contains `a,b`: a scope name must not contain a comma, which separates scopes in lists",
        ),
        (
            json!({ "name": "x", "identifier": "https://x.example", "scopes": ["*"] }),
            400,
            "invalid",
            "scopes: contains a scope that is `*`, which stands for all scopes in role grants",
        ),
        (
            json!({ "name": "x", "identifier": "https://x.example", "algorithm": "none" }),
            400,
            "invalid",
            "algorithm: must be ES256 or RS256 for a resource with profile `generic`",
        ),
        (
            json!({ "name": "api", "identifier": "https://x.example" }),
            409,
            "conflict",
            "a resource named `api` exists\nhint: firman resource edit api",
        ),
        (
            json!({ "name": "x", "identifier": "https://api.example" }),
            409,
            "conflict",
            "the identifier `https://api.example` belongs to the resource `api`\nhint: firman resource show api",
        ),
    ] {
        assert_problem(
            &post(&issuer, "/resources", body).await,
            status,
            kind,
            detail,
        );
    }
    let rename = patch(
        &issuer,
        "/resources/api",
        json!({ "identifier": "https://other.example" }),
    )
    .await;
    assert_eq!(kind_of(&rename), (400, "invalid".to_owned()));
}

#[tokio::test]
async fn a_resource_has_a_typ_for_its_tokens() {
    let issuer = TestIssuer::start().await;
    for (body, detail) in [
        (
            json!({ "name": "x", "identifier": "https://x.example", "typ": "jwt" }),
            "typ: must be at+jwt or JWT for a resource with profile `generic`",
        ),
        (
            json!({ "name": "x", "profile": "claude", "typ": "at+jwt" }),
            "typ: must be JWT for a resource with profile `claude`",
        ),
    ] {
        let refused = post(&issuer, "/resources", body).await;
        assert_problem(&refused, 400, "invalid", detail);
    }
    let new = json!({ "name": "api", "identifier": "https://api.example", "scopes": ["read"], "typ": "JWT" });
    let created = post(&issuer, "/resources", new).await.json();
    assert_eq!(
        (&created["typ"], &created["token_typ"]),
        (&json!("JWT"), &json!("JWT"))
    );
    let entry = audited(&issuer, "&event=resource.created", |_| true).await;
    assert_eq!(entry["detail"]["typ"], "JWT");
    issuer.role("reader", "api", &[]).await;
    let agent = issuer.agent("reader").role("reader").with_secret().await;
    let server = issuer.agent("server").with_secret().await;
    let edit = json!({ "server": "server" });
    assert_eq!(patch(&issuer, "/resources/api", edit).await.status, 200);

    for (typ, expected) in [
        (json!("JWT"), "JWT"),
        (json!("at+jwt"), "at+jwt"),
        (Value::Null, "at+jwt"),
        (json!("JWT"), "JWT"),
    ] {
        let edited = patch(&issuer, "/resources/api", json!({ "typ": typ })).await;
        assert_eq!(
            (&edited.json()["typ"], &edited.json()["token_typ"]),
            (&typ, &json!(expected))
        );
        let answer = by_basic(&issuer, "reader", agent.secret(), &[]).await;
        let token = answer.assert_issued();
        assert_eq!(decoded_part(&token, 0)["typ"], expected);
        // The issuer itself knows the token, whatever it calls itself.
        let form = format!("token={token}");
        let proof = basic("server", server.secret());
        let headers = [
            ("authorization", proof.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let introspected = issuer
            .send(Method::POST, "/oauth2/introspect", &headers, form)
            .await;
        assert_eq!(introspected.json()["active"], true, "{typ}");
    }
    let entry = audited(&issuer, "&event=resource.changed", |entry| {
        entry["detail"]["typ"]["from"] == "JWT"
    })
    .await;
    assert_eq!(
        entry["detail"],
        json!({ "typ": { "from": "JWT", "to": "at+jwt" } })
    );
}

#[tokio::test]
async fn an_identifier_is_a_uri_that_means_nothing_else() {
    let issuer = TestIssuer::start().await;
    for (identifier, detail) in [
        (
            json!(issuer.url),
            "identifier: is the issuer's own URL, which needs no resource\nhint: request the scope `openid` for a token for the issuer itself",
        ),
        (
            json!("URN:Firman:admin"),
            "identifier: starts with `urn:firman:`, which is reserved for firman's own resources",
        ),
        (
            json!("https://x.example/\""),
            "identifier: contains one of the characters \" < > \\ ^ ` { | }, which a URI must percent-encode (RFC 3986 section 2)",
        ),
    ] {
        let new = json!({ "name": "x", "identifier": identifier });
        assert_problem(
            &post(&issuer, "/resources", new).await,
            400,
            "invalid",
            detail,
        );
    }
}

#[tokio::test]
async fn ad_025_a_resource_in_use_is_removed_only_by_force_and_its_name_may_be_used_again() {
    let issuer = TestIssuer::start().await;
    issuer.resource("api", &["read"]).await;
    issuer.role("reader", "api", &[]).await;
    let detail = "the resource `api` is granted by: reader; a forced removal removes it from these roles\nhint: firman resource remove api --force";
    assert_problem(
        &call(&issuer, Method::DELETE, "/resources/api").await,
        409,
        "conflict",
        detail,
    );
    assert_problem(
        &call(&issuer, Method::DELETE, "/resources/api?force=false").await,
        409,
        "conflict",
        detail,
    );
    assert_eq!(
        call(&issuer, Method::DELETE, "/resources/api?force=true")
            .await
            .status,
        204
    );
    assert_eq!(
        get(&issuer, "/roles/reader").await.json()["grants"],
        json!([])
    );
    assert_eq!(
        audited(&issuer, "&event=role.changed", |_| true).await["detail"],
        json!({ "grant_removed": "api" })
    );
    assert_problem(
        &get(&issuer, "/resources/api").await,
        404,
        "not_found",
        "resource `api` not found",
    );
    issuer.resource("api", &["read"]).await;
    assert_eq!(
        get(&issuer, "/roles/reader").await.json()["grants"],
        json!([]),
        "the new one is another one"
    );
}

#[tokio::test]
async fn a_scope_with_a_comma_from_before_stays_usable_and_no_new_one_is_made() {
    let issuer = TestIssuer::start().await;
    issuer.resource("api", &["read"]).await;
    let store = issuer.host().store();
    let mut tx = store.write().await.expect("a working store");
    let id = tx.issuers().await.expect("a working store")[0].id.clone();
    tx.lock_head(&id).await.expect("a working store");
    let mut api = tx
        .resource_by_name(&id, "api")
        .await
        .expect("a working store")
        .expect("api");
    let expected = api.version;
    api.scopes
        .insert(Scope::parse("a,b").expect("RFC 6749 allows it"));
    assert!(
        tx.update_resource(&id, &api, expected)
            .await
            .expect("a working store")
    );
    tx.commit().await.expect("a working store");

    let kept = patch(
        &issuer,
        "/resources/api",
        json!({ "scopes": ["a,b", "write"] }),
    )
    .await;
    assert_eq!(kept.json()["scopes"], json!(["a,b", "write"]), "{kept}");
    let role = json!({ "name": "odd", "grants": [{ "resource": "api", "scopes": ["a,b"] }] });
    assert_eq!(post(&issuer, "/roles", role).await.status, 201);
    assert_problem(
        &patch(
            &issuer,
            "/resources/api",
            json!({ "scopes": ["a,b", "c,d"] }),
        )
        .await,
        400,
        "invalid",
        "scopes: contains `c,d`: a scope name must not contain a comma, which separates scopes in lists",
    );
}
