//! Administrators: what must be refused, then making, editing, rotating and revoking them.

use std::sync::Arc;

use firman::host::{Host, KekSource};
use firman::issuer::Ports;
use firman::ports::fetch::{HttpFetcher, Loopback};
use firman::testing::SeededRandom;

use super::engines::on_postgres;
use super::*;

const OWNERLESS: &str = "`bootstrap` is the last owner that does not expire; an issuer without an owner cannot rotate keys or manage administrators";

/// Makes an administrator over HTTP, and returns its `Authorization`.
async fn made(issuer: &TestIssuer, body: Value) -> String {
    let answer = post(issuer, "/administrators", body).await;
    assert_eq!(answer.status, 201, "{answer}");
    bearer(&answer)
}

fn bearer(answer: &Answer) -> String {
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    assert!(token.starts_with("fma_") && token.len() == 47, "{token}");
    format!("Bearer {token}")
}

/// The status of a call with that `Authorization`.
async fn status(issuer: &TestIssuer, authorization: &str, method: Method, path: &str) -> u16 {
    let headers = [("authorization", authorization)];
    let body = json!({});
    let body = (method != Method::GET).then_some(&body);
    call_with(issuer, (method, path), &headers, body)
        .await
        .status
}

/// The audit of administrators: actor, event, target, detail.
async fn entries(issuer: &TestIssuer) -> Vec<Value> {
    let page = get(issuer, "/audit?limit=200").await.json();
    let items = page["items"].as_array().expect("items").iter();
    let mut about: Vec<Value> = items
        .filter(|entry| {
            entry["event"]
                .as_str()
                .expect("an event")
                .starts_with("administrator.")
        })
        .map(|entry| {
            json!([
                entry["actor"],
                entry["event"],
                entry["target"],
                entry["detail"]
            ])
        })
        .collect();
    about.reverse();
    about
}

#[tokio::test]
async fn an_administrator_that_is_not_well_formed_is_refused() {
    let issuer = TestIssuer::start().await;
    let role = "role: must be `owner`, `operator` or `viewer`";
    let life = "expires_in: must be 1 to 315360000 seconds; leave it out for no expiry";
    for (body, detail) in [
        (json!({ "name": "olga", "role": "root" }), role),
        (json!({ "name": "olga", "role": "" }), role),
        (json!({ "name": "olga", "role": "Owner" }), role),
        (
            json!({ "name": "olga", "role": "viewer", "expires_in": 0 }),
            life,
        ),
        (
            json!({ "name": "olga", "role": "viewer", "expires_in": -1 }),
            life,
        ),
    ] {
        let answer = post(&issuer, "/administrators", body).await;
        assert_problem(&answer, 400, "invalid", detail);
    }
    for body in [
        json!({ "name": "Olga", "role": "viewer" }),
        json!({ "name": "a/b", "role": "viewer" }),
        json!({ "name": "", "role": "viewer" }),
        json!({ "name": "olga" }),
        json!({ "role": "viewer" }),
        json!({ "name": "olga", "role": "viewer", "token": "fma_chosen" }),
        json!({ "name": "olga", "role": "viewer", "expires_at": START + 60 }),
    ] {
        let answer = post(&issuer, "/administrators", body).await;
        assert_eq!(kind_of(&answer), (400, "invalid".to_owned()), "{answer}");
    }
    for (path, body) in [
        ("/administrators/bootstrap", json!({ "role": null })),
        ("/administrators/bootstrap", json!({ "name": "other" })),
        ("/administrators/bootstrap", json!({ "role": "root" })),
    ] {
        let answer = patch(&issuer, path, body).await;
        assert_eq!(kind_of(&answer), (400, "invalid".to_owned()), "{answer}");
    }
    for path in ["nobody", "%00", "Bootstrap"] {
        let edited = patch(&issuer, &format!("/administrators/{path}"), json!({})).await;
        assert_eq!(kind_of(&edited), (404, "not_found".to_owned()), "{edited}");
        for (method, verb) in [
            (Method::GET, ""),
            (Method::POST, "/rotate"),
            (Method::POST, "/revoke"),
        ] {
            let path = format!("/administrators/{path}{verb}");
            let answer = call(&issuer, method, &path).await;
            assert_eq!(kind_of(&answer), (404, "not_found".to_owned()), "{answer}");
        }
    }
    let all = get(&issuer, "/administrators").await.json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{all}");
}

#[tokio::test]
async fn an_administrator_is_made_shown_edited_and_revoked_and_all_of_it_is_audited() {
    let issuer = TestIssuer::start().await;
    let new = json!({ "name": "olga", "role": "operator", "expires_in": 60 });
    let created = post(&issuer, "/administrators", new.clone()).await;
    assert_eq!(created.header("location"), "/admin/v1/administrators/olga");
    let mut body = created.json();
    assert_ne!(body["token"].take(), Value::Null);
    let olga = json!({
        "id": "…", "name": "olga", "role": "operator", "expires_at": START + 60, "revoked_at": null, "created_at": START,
        "version": "…"
    });
    let shown = without_ids(body["administrator"].take());
    assert_eq!((created.status, shown), (201, olga.clone()));
    let read = get(&issuer, "/administrators/olga").await;
    assert_eq!(without_ids(read.json()), olga);
    assert_eq!(read.header("etag"), created.header("etag"));

    let again = post(&issuer, "/administrators", new.clone()).await;
    let hint = json!("firman administrator edit olga");
    let detail = "an administrator named `olga` exists";
    assert_hinted(&again, 409, "conflict", detail, &hint);

    let edit = json!({ "role": "viewer", "expires_in": null });
    let stale = call_with(
        &issuer,
        (Method::PATCH, "/administrators/olga"),
        &[
            ("authorization", &format!("Bearer {}", issuer.admin_token())),
            ("if-match", "\"v1\""),
        ],
        Some(&edit),
    )
    .await;
    assert_eq!(kind_of(&stale), (412, "precondition_failed".to_owned()));
    let edited = patch(&issuer, "/administrators/olga", edit).await.json();
    assert_eq!(
        (&edited["role"], &edited["expires_at"]),
        (&json!("viewer"), &Value::Null)
    );
    let same = patch(&issuer, "/administrators/olga", json!({ "role": "viewer" })).await;
    assert_eq!(same.json(), edited, "nothing differs: nothing is written");

    let revoked = call(&issuer, Method::POST, "/administrators/olga/revoke").await;
    assert_eq!(revoked.json()["revoked_at"], START, "{revoked}");
    let shown = get(&issuer, "/administrators/olga").await.json();
    assert_eq!(shown, revoked.json());
    let detail = "administrator `olga` is revoked, permanently";
    let hint = json!("firman administrator add NAME --role ROLE");
    let edited = patch(&issuer, "/administrators/olga", json!({})).await;
    assert_hinted(&edited, 409, "conflict", detail, &hint);
    let rotated = call(&issuer, Method::POST, "/administrators/olga/rotate").await;
    assert_hinted(&rotated, 409, "conflict", detail, &hint);
    let detail = "the name `olga` belonged to an administrator that was revoked; a name is never reused, because audit entries name their actor by it";
    let again = post(&issuer, "/administrators", new).await;
    let hint = json!("choose another name");
    assert_hinted(&again, 409, "conflict", detail, &hint);

    let by = "administrator:bootstrap";
    let of = "administrator:olga";
    let created = json!({ "role": "operator", "expires_at": START + 60 });
    let changed = json!({
        "role": { "from": "operator", "to": "viewer" }, "expires_at": { "from": START + 60, "to": null }
    });
    assert_eq!(
        entries(&issuer).await[1..],
        [
            json!([by, "administrator.created", of, created]),
            json!([by, "administrator.changed", of, changed]),
            json!([by, "administrator.revoked", of, { "role": "viewer" }]),
        ]
    );
}

#[tokio::test]
async fn a_rotated_token_opens_nothing_and_the_new_one_what_the_role_allows() {
    let issuer = TestIssuer::start().await;
    let old = made(
        &issuer,
        json!({ "name": "olga", "role": "operator", "expires_in": 60 }),
    )
    .await;
    assert_eq!(status(&issuer, &old, Method::GET, "/agents").await, 200);
    let rotated = call(&issuer, Method::POST, "/administrators/olga/rotate").await;
    let new = bearer(&rotated);
    assert_eq!(
        rotated.json()["administrator"]["expires_at"],
        START + 60,
        "the expiry stays"
    );
    assert_eq!(status(&issuer, &old, Method::GET, "/agents").await, 401);
    assert_eq!(status(&issuer, &new, Method::GET, "/agents").await, 200);

    issuer.clock.advance(60);
    assert_eq!(status(&issuer, &new, Method::GET, "/agents").await, 401);
    let expired = call(&issuer, Method::POST, "/administrators/olga/rotate").await;
    let hint = json!("firman administrator rotate olga --expires-in DURATION");
    let detail = "administrator `olga` has expired";
    assert_hinted(&expired, 409, "conflict", detail, &hint);
    let body = json!({ "expires_in": 30 });
    let renewed = post(&issuer, "/administrators/olga/rotate", body).await;
    let newest = bearer(&renewed);
    assert_eq!(status(&issuer, &newest, Method::GET, "/agents").await, 200);
    assert_eq!(status(&issuer, &new, Method::GET, "/agents").await, 401);
    let expiries: Vec<Value> = entries(&issuer).await[2..]
        .iter()
        .map(|entry| json!([entry[1], entry[3]]))
        .collect();
    assert_eq!(
        expiries,
        [
            json!(["administrator.rotated", { "role": "operator", "expires_at": START + 60 }]),
            json!(["administrator.rotated", { "role": "operator", "expires_at": START + 90 }]),
        ]
    );
    for entry in entries(&issuer).await {
        assert!(!entry.to_string().contains("fma_"), "{entry}");
    }
}

#[tokio::test]
async fn each_role_does_what_it_may_and_only_owners_manage_administrators() {
    let issuer = TestIssuer::start().await;
    let mut tokens = Vec::new();
    for role in ["viewer", "operator", "owner"] {
        tokens.push(made(&issuer, json!({ "name": role, "role": role })).await);
    }
    // Each call with what a viewer, an operator and an owner get; 400 and 404 are past the gate.
    for (method, path, expected) in [
        (Method::GET, "/administrators", [200, 200, 200]),
        (Method::GET, "/administrators/viewer", [200, 200, 200]),
        (Method::GET, "/audit", [200, 200, 200]),
        (Method::POST, "/agents", [403, 400, 400]),
        (Method::PATCH, "/groups/none", [403, 404, 404]),
        (Method::DELETE, "/roles/none", [403, 404, 404]),
        (Method::PATCH, "/issuer", [403, 403, 200]),
        (Method::POST, "/keys/none/revoke", [403, 403, 400]),
        (Method::POST, "/administrators", [403, 403, 400]),
        (Method::PATCH, "/administrators/none", [403, 403, 404]),
        (Method::POST, "/administrators/none/rotate", [403, 403, 404]),
        (Method::POST, "/administrators/none/revoke", [403, 403, 404]),
    ] {
        let mut seen = Vec::new();
        for token in &tokens {
            seen.push(status(&issuer, token, method.clone(), path).await);
        }
        assert_eq!(seen, expected, "{method} {path}");
    }
    let demoted = patch(
        &issuer,
        "/administrators/owner",
        json!({ "role": "viewer" }),
    )
    .await;
    assert_eq!(demoted.status, 200, "{demoted}");
    let path = "/administrators/viewer/revoke";
    assert_eq!(status(&issuer, &tokens[2], Method::POST, path).await, 403);
}

#[tokio::test]
async fn the_last_owner_that_does_not_expire_stays_what_it_is() {
    let issuer = TestIssuer::start().await;
    let hint = json!("firman administrator add NAME --role owner");
    made(
        &issuer,
        json!({ "name": "past", "role": "owner", "expires_in": 1 }),
    )
    .await;
    made(
        &issuer,
        json!({ "name": "soon", "role": "owner", "expires_in": 600 }),
    )
    .await;
    issuer.clock.advance(1);
    for edit in [
        json!({ "role": "operator" }),
        json!({ "role": "viewer", "expires_in": null }),
        json!({ "expires_in": 600 }),
    ] {
        let answer = patch(&issuer, "/administrators/bootstrap", edit).await;
        assert_hinted(&answer, 409, "conflict", OWNERLESS, &hint);
    }
    let body = json!({ "expires_in": 600 });
    let rotated = post(&issuer, "/administrators/bootstrap/rotate", body).await;
    assert_hinted(&rotated, 409, "conflict", OWNERLESS, &hint);
    let revoked = call(&issuer, Method::POST, "/administrators/bootstrap/revoke").await;
    assert_hinted(&revoked, 409, "conflict", OWNERLESS, &hint);

    let ann = made(&issuer, json!({ "name": "ann", "role": "owner" })).await;
    let path = "/administrators/bootstrap/revoke";
    assert_eq!(status(&issuer, &ann, Method::POST, path).await, 200);
    let answer = status(&issuer, &ann, Method::POST, "/administrators/ann/revoke").await;
    assert_eq!(answer, 409, "now it is the last");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_that_revoke_each_other_at_once_leave_one() {
    for round in 0..10 {
        let issuer = TestIssuer::start().await;
        let ann = made(&issuer, json!({ "name": "ann", "role": "owner" })).await;
        let bootstrap = format!("Bearer {}", issuer.admin_token());
        let (one, other) = tokio::join!(
            status(
                &issuer,
                &ann,
                Method::POST,
                "/administrators/bootstrap/revoke"
            ),
            status(
                &issuer,
                &bootstrap,
                Method::POST,
                "/administrators/ann/revoke"
            ),
        );
        // The loser is refused as the last owner's end, or because its own token has ended by then.
        let mut both = [one, other];
        both.sort_unstable();
        assert!(
            both == [200, 409] || both == [200, 401],
            "{round}: {both:?}"
        );
        let left = if one == 200 { &ann } else { &bootstrap };
        let all = status(&issuer, left, Method::GET, "/administrators").await;
        assert_eq!(all, 200, "{round}: one is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_administrator_is_refused_at_once_at_another_replica() {
    let a = on_postgres().await;
    let b = a.replica().await.unwrap();
    let olga = made(&a, json!({ "name": "olga", "role": "operator" })).await;
    let path = "/administrators";
    assert_eq!(status(&b, &olga, Method::GET, path).await, 200);
    let viewer = json!({ "role": "viewer" });
    assert_eq!(patch(&a, "/administrators/olga", viewer).await.status, 200);
    assert_eq!(status(&b, &olga, Method::POST, "/agents").await, 403);
    let revoked = call(&a, Method::POST, "/administrators/olga/revoke").await;
    assert_eq!(revoked.status, 200, "{revoked}");
    assert_eq!(status(&b, &olga, Method::GET, path).await, 401);
}

#[tokio::test]
async fn a_token_that_belongs_to_another_owner_is_not_handed_out_by_a_recovery() {
    let issuer = TestIssuer::start().await;
    let database = format!("sqlite:{}", issuer.folder().join("firman.db").display());
    let kek = KekSource::File(issuer.folder().join("keys/kek"));
    let recover = async |name: &str| {
        let ports = Ports {
            clock: Arc::clone(&issuer.clock) as _,
            // The same bits each time: a token is drawn that exists.
            random: Arc::new(SeededRandom::new(7)),
            fetcher: Arc::new(HttpFetcher::new(Loopback::Refused)),
        };
        Host::recover_owner(&database, &kek, name, ports).await
    };
    let first = recover("first").await.expect("a good recovery");
    let Err(refused) = recover("second").await else {
        panic!("the token of another owner was handed out");
    };
    assert_eq!(refused.to_string(), "could not make a new token; try again");
    let headers = format!("Bearer {}", first.token);
    assert_eq!(status(&issuer, &headers, Method::GET, "/agents").await, 200);
    let second = get(&issuer, "/administrators/second").await;
    assert_eq!(second.status, 404, "{second}");
}
