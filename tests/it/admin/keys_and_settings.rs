//! Signing keys, and the issuer's settings.

use super::*;

async fn keys(issuer: &TestIssuer, algorithm: &str) -> Vec<(String, String)> {
    let list = get(issuer, "/keys").await.json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let all = list["items"].as_array().expect("a list");
    all.iter()
        .filter(|key| key["algorithm"] == algorithm)
        .map(|key| (text(&key["kid"]), text(&key["state"])))
        .collect()
}

#[tokio::test]
async fn ad_026_two_rotations_at_once_make_one_key() {
    let issuer = TestIssuer::start().await;
    issuer.clock.advance(1);
    let body = json!({ "algorithm": "ES256" });
    let (a, b) = tokio::join!(
        post(&issuer, "/keys/rotate", body.clone()),
        post(&issuer, "/keys/rotate", body)
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "{a} {b}");
    let (made, refused) = if a.status == 201 { (a, b) } else { (b, a) };
    assert_problem(
        &refused,
        409,
        "conflict",
        "a new ES256 key is already prepared and will sign at 2027-01-15T08:15:01Z or later\nhint: firman key list",
    );
    let key = &made.json()["items"][0];
    assert_eq!(
        (&key["state"], &key["activates_at"], &key["algorithm"]),
        (&json!("prepared"), &json!(START + 901), &json!("ES256"))
    );
    let states: Vec<String> = keys(&issuer, "ES256")
        .await
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(states, ["active", "prepared"]);
    let unknown = post(&issuer, "/keys/rotate", json!({ "algorithm": "HS256" })).await;
    assert_problem(
        &unknown,
        400,
        "invalid",
        "algorithm: must be `ES256` or `RS256`",
    );
}

#[tokio::test]
async fn ad_027_a_revoked_key_is_replaced_at_once_and_is_not_revoked_twice() {
    let issuer = TestIssuer::start().await;
    let kid = keys(&issuer, "ES256").await[0].0.clone();
    let path = format!("/keys/{kid}/revoke");
    assert_eq!(
        kind_of(&post(&issuer, &path, json!({})).await),
        (400, "invalid".to_owned())
    );
    assert_problem(
        &post(&issuer, &path, json!({ "reason": " " })).await,
        400,
        "invalid",
        "reason: is empty",
    );
    let revoked = post(&issuer, &path, json!({ "reason": "left on a laptop" })).await;
    assert_eq!(revoked.status, 200, "{revoked}");
    let body = revoked.json();
    assert_eq!(
        (
            &body["revoked"]["kid"],
            &body["revoked"]["state"],
            &body["active"]["state"]
        ),
        (&json!(kid), &json!("revoked"), &json!("active"))
    );
    assert!(!issuer.get("/oauth2/jwks").await.text().contains(&kid));
    let again = post(&issuer, &path, json!({ "reason": "again" })).await;
    assert_problem(
        &again,
        409,
        "conflict",
        &format!("key `{kid}` is already retired from the JWKS"),
    );
    let entry = audited(&issuer, "&event=key.revoked", |_| true).await;
    assert_eq!(
        entry["detail"],
        json!({ "algorithm": "ES256", "was": "active", "reason": "left on a laptop" })
    );
}

#[tokio::test]
async fn the_settings_are_shown_and_edited_within_their_limits() {
    let issuer = TestIssuer::start().await;
    let shown = get(&issuer, "/issuer").await;
    let url = &issuer.url;
    assert_eq!(
        without_ids(shown.json()),
        json!({
            "id": "…", "slug": "default", "url": url, "subject_template": "agent:{name}", "default_lifetime": 900, "max_lifetime": 3600,
            "default_algorithm": "ES256", "assertion_audience": "issuer", "version": "…", "token_endpoint": format!("{url}/oauth2/token"),
            "jwks_uri": format!("{url}/oauth2/jwks"), "discovery": format!("{url}/.well-known/openid-configuration")
        })
    );
    for (body, detail) in [
        (
            json!({ "max_lifetime": 43201 }),
            "max_lifetime: must be 60 to 43200 seconds",
        ),
        (
            json!({ "default_lifetime": 3601 }),
            "default_lifetime: must be 60 to max_lifetime (3600) seconds",
        ),
        (
            json!({ "default_algorithm": "EdDSA" }),
            "default_algorithm: must be `ES256` or `RS256`",
        ),
    ] {
        assert_problem(
            &patch(&issuer, "/issuer", body).await,
            400,
            "invalid",
            detail,
        );
    }
    let edited = patch(
        &issuer,
        "/issuer",
        json!({ "default_lifetime": 300, "default_algorithm": "RS256" }),
    )
    .await;
    assert_eq!(
        (
            &edited.json()["default_lifetime"],
            &edited.json()["default_algorithm"]
        ),
        (&json!(300), &json!("RS256"))
    );
    assert_ne!(edited.header("etag"), shown.header("etag"));
    assert_eq!(get(&issuer, "/issuer").await.json(), edited.json());

    let long = json!({ "name": "api", "identifier": "https://api.example", "lifetime": 3000 });
    assert_eq!(post(&issuer, "/resources", long).await.status, 201);
    let detail = "the lifetime of tokens for the resource `api` is 3000 seconds, longer than the new `max_lifetime`
hint: firman resource edit api --lifetime 600";
    assert_problem(
        &patch(&issuer, "/issuer", json!({ "max_lifetime": 600 })).await,
        409,
        "conflict",
        detail,
    );
}
