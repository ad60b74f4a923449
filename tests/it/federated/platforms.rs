//! Good tokens of each platform, in the claims that it documents.

use insta::assert_snapshot;

use super::*;

/// The detail of the newest issuance, with what differs from run to run taken out.
async fn issued_detail(issuer: &TestIssuer) -> Value {
    let entries = audited(issuer, "token.issued").await;
    let mut detail: Value =
        serde_json::from_str(&entries.last().expect("an entry").draft.detail).expect("JSON");
    for name in ["kid", "credential", "exp"] {
        assert!(!detail[name].is_null(), "{detail}");
        detail[name] = json!(format!("[{name}]"));
    }
    if detail["external"]["reference"].is_string() {
        detail["external"]["reference"] = json!("[reference]");
    }
    detail
}

/// Trusts `url` as `name`, federates an agent with `matching`, presents `claims` and returns the audit of the
/// token.
async fn accepted(
    (name, url, further): (&str, &str, Value),
    matching: Value,
    (typ, claims): (Option<&str>, Value),
) -> Value {
    let issuer = mail_issuer().await;
    let added = trust(&issuer, name, url, further).await;
    assert_eq!(added.status, 201, "{added}");
    federate(&issuer, "worker", name, matching).await;
    let claims = with(&claims, json!({ "aud": issuer.url }));
    let token = signed(TestKey::Rs256, typ, &claims);
    for client_id in [None, Some("worker")] {
        let fresh = with(&claims, json!({ "jti": format!("{client_id:?}") }));
        let token = if claims["jti"].is_null() {
            token.clone()
        } else {
            signed(TestKey::Rs256, typ, &fresh)
        };
        let answer = present(&issuer, client_id, &token).await;
        assert_eq!(answer.claims()["sub"], "agent:worker");
        assert_eq!(answer.claims()["acting_agent"], "agent:worker");
    }
    issued_detail(&issuer).await["external"].clone()
}

#[tokio::test]
async fn a_workflow_of_github_gets_a_token_and_the_audit_says_whose_run_it_was() {
    let issuer = github_issuer().await;
    let token = signed(TestKey::Rs256, Some("JWT"), &github_claims(&issuer.url));
    let answer = present(&issuer, None, &token).await;
    assert_eq!(answer.claims()["sub"], "agent:deployer");
    assert_snapshot!(issued_detail(&issuer).await, @r#"{"aud":"https://mail.example","credential":"[credential]","exp":"[exp]","external":{"reference":"[reference]","subject":"repo:octo-org/octo-repo:environment:prod","trusted_issuer":"github"},"grant_type":"client_credentials","kid":"[kid]","method":"private_key_jwt","scope":"read send"}"#);
}

#[tokio::test]
async fn a_repository_with_immutable_numbers_in_its_subject_is_the_same_repository() {
    // docs.github.com/en/actions/reference/security/oidc, "Immutable subject claims".
    let issuer = github_issuer().await;
    let claims = with(
        &github_claims(&issuer.url),
        json!({ "sub": "repo:octo-org@65/octo-repo@74:environment:prod" }),
    );
    let token = signed(TestKey::Rs256, Some("JWT"), &claims);
    let answer = present(&issuer, None, &token).await;
    assert_eq!(answer.claims()["sub"], "agent:deployer");
}

/// The claims of kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin, "Bound service
/// account tokens", as a projected volume has them.
fn kubernetes_claims(audience: &str) -> Value {
    json!({
        "aud": [audience],
        "exp": START + 3600,
        "iat": START,
        "iss": "https://kubernetes.default.svc.cluster.local",
        "jti": "aed34954-b33a-4142-b1ec-389d6bbb4936",
        "kubernetes.io": {
            "namespace": "prod",
            "node": { "name": "node-1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced" },
            "pod": { "name": "mailer-7b9c", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33" },
            "serviceaccount": { "name": "mailer", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af" },
        },
        "nbf": START,
        "sub": "system:serviceaccount:prod:mailer",
    })
}

#[tokio::test]
async fn a_pod_uses_one_projected_token_a_hundred_times_in_its_hour() {
    let issuer = mail_issuer().await;
    let url = "https://kubernetes.default.svc.cluster.local";
    let further = json!({ "types": ["", "JWT"], "jti": "reusable" });
    assert_eq!(trust(&issuer, "cluster", url, further).await.status, 201);
    let matching = json!({ "subject": "system:serviceaccount:prod:mailer" });
    federate(&issuer, "mailer", "cluster", matching).await;
    let token = signed(TestKey::Rs256, None, &kubernetes_claims(&issuer.url));
    for _ in 0..100 {
        let _ = present(&issuer, Some("mailer"), &token)
            .await
            .assert_issued();
        issuer.clock.advance(35);
    }
    issuer.clock.advance(200);
    assert_snapshot!(refusal(&present(&issuer, Some("mailer"), &token).await), @r#"401 {"error":"invalid_client","error_description":"the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"}"#);
}

#[tokio::test]
async fn the_pod_of_another_service_account_is_unknown_here() {
    let issuer = mail_issuer().await;
    let url = "https://kubernetes.default.svc.cluster.local";
    let further = json!({ "types": ["", "JWT"], "jti": "reusable" });
    assert_eq!(trust(&issuer, "cluster", url, further).await.status, 201);
    let matching = json!({ "subject": "system:serviceaccount:prod:mailer" });
    federate(&issuer, "mailer", "cluster", matching).await;
    let claims = with(
        &kubernetes_claims(&issuer.url),
        json!({ "sub": "system:serviceaccount:prod:mailer2" }),
    );
    let token = signed(TestKey::Rs256, None, &claims);
    assert_snapshot!(refusal(&present(&issuer, None, &token).await), @r#"401 {"error":"invalid_client","error_description":"no agent has a live federated credential that matches the token of the trusted issuer `cluster` with the subject system:serviceaccount:prod:mailer2"}"#);
    assert_snapshot!(refusal(&present(&issuer, Some("mailer"), &token).await), @r#"401 {"error":"invalid_client","error_description":"no live federated credential of the client that `client_id` names matches the token of the trusted issuer `cluster` with the subject system:serviceaccount:prod:mailer2"}"#);
}

#[tokio::test]
async fn a_job_of_gitlab_gets_a_token() {
    // docs.gitlab.com/ci/secrets/id_token_authentication, "Token payload".
    let claims = json!({
        "namespace_id": "72", "namespace_path": "my-group", "project_id": "20", "project_path": "my-group/my-project",
        "user_id": "1", "user_login": "sample-user", "pipeline_id": "574", "pipeline_source": "push", "job_id": "302",
        "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
        "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b", "iat": START, "nbf": START - 5, "exp": START + 3600,
        "iss": "https://gitlab.com", "sub": "project_path:my-group/my-project:ref_type:branch:ref:main",
    });
    let external = accepted(
        ("gitlab", "https://gitlab.com", json!({ "jti": "reusable" })),
        json!({ "subject": "project_path:my-group/my-project:ref_type:branch:ref:main" }),
        (Some("JWT"), claims),
    )
    .await;
    assert_eq!(
        external["subject"],
        "project_path:my-group/my-project:ref_type:branch:ref:main"
    );
}

#[tokio::test]
async fn a_machine_of_google_gets_a_token() {
    // cloud.google.com/compute/docs/instances/verifying-instance-identity, "Standard token format": no jti.
    let claims = json!({
        "iss": "https://accounts.google.com", "iat": START, "exp": START + 3600,
        "sub": "107517467455664443765", "azp": "107517467455664443765",
        "email": "agents@my-project.iam.gserviceaccount.com", "email_verified": true,
    });
    let external = accepted(
        (
            "google",
            "https://accounts.google.com",
            json!({ "jti": "reusable" }),
        ),
        json!({ "subject": "107517467455664443765" }),
        (Some("JWT"), claims),
    )
    .await;
    assert_eq!(external["subject"], "107517467455664443765");
}

#[tokio::test]
async fn a_role_of_aws_gets_a_token() {
    // docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html.
    let url = "https://abc123-def456-ghi789-jkl012.tokens.sts.global.api.aws";
    let claims = json!({
        "iss": url, "sub": "arn:aws:iam::123456789012:role/DataProcessingRole", "iat": START, "exp": START + 900,
        "jti": "xyz123-def456-ghi789-jkl012",
        "https://sts.amazonaws.com/": {
            "aws_account": "123456789012", "source_region": "us-east-1", "org_id": "o-abc1234567",
            "principal_tags": { "environment": "production" },
        },
    });
    let external = accepted(
        ("aws", url, json!({})),
        json!({
            "subject": "arn:aws:iam::123456789012:role/DataProcessingRole",
            "condition": "claims['https://sts.amazonaws.com/'].aws_account == '123456789012'",
        }),
        (Some("JWT"), claims),
    )
    .await;
    assert_eq!(external["trusted_issuer"], "aws");
}

#[tokio::test]
async fn a_managed_identity_of_azure_gets_a_token() {
    // learn.microsoft.com/entra/identity-platform/access-token-claims-reference: no jti; dated back by five
    // minutes and good for a day.
    let url = "https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/";
    let claims = json!({
        "iss": url, "iat": START - 300, "nbf": START - 300, "exp": START + 86_400, "aio": "E2ZgYJ",
        "appid": "00001111-aaaa-2222-bbbb-3333cccc4444", "appidacr": "2", "idp": url, "idtyp": "app",
        "oid": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb", "sub": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
        "tid": "aaaabbbb-0000-cccc-1111-dddd2222eeee", "uti": "AbCdEfGhIjKl", "ver": "1.0",
    });
    let external = accepted(
        (
            "azure",
            url,
            json!({ "jti": "reusable", "max_lifetime": 86_700 }),
        ),
        json!({ "claims": { "oid": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb" } }),
        (Some("JWT"), claims),
    )
    .await;
    assert_eq!(external["subject"], "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb");
}

#[tokio::test]
async fn an_agent_of_another_firman_is_an_agent_here() {
    let here = mail_issuer().await;
    let there = TestIssuer::start().await;
    let added = trust(
        &here,
        "there",
        &there.url,
        json!({ "keys": { "type": "discovery" }, "types": ["at+jwt"] }),
    )
    .await;
    assert_eq!(added.status, 201, "{added}");
    federate(
        &here,
        "guest",
        "there",
        json!({ "subject": "agent:traveller" }),
    )
    .await;
    let resource = json!({ "name": "here", "identifier": here.url, "scopes": ["enter"] });
    let made = there
        .admin(Method::POST, "/resources", Some(&resource))
        .await;
    assert_eq!(made.status, 201, "{made}");
    there.role("traveller", "here", &[]).await;
    let traveller = there
        .agent("traveller")
        .role("traveller")
        .with_public_key(TestKey::Es256)
        .await;
    let token = there
        .token_with(&traveller.assertion().build())
        .await
        .assert_issued();
    let answer = present(&here, None, &token).await;
    assert_eq!(answer.claims()["sub"], "agent:guest");
    assert_snapshot!(refusal(&present(&here, None, &token).await), @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
}

/// github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md §3: `sub`, `aud`, `exp` and nothing else.
fn svid(subject: &str, audience: &str) -> String {
    let claims = json!({ "sub": subject, "aud": [audience], "exp": START + 300 });
    signed(TestKey::Rs256, None, &claims)
}

async fn spiffe_issuer() -> TestIssuer {
    let issuer = mail_issuer().await;
    let mut bundle = key_set(&[TestKey::Rs256]);
    bundle["keys"][0]["use"] = json!("jwt-svid");
    bundle["spiffe_sequence"] = json!(1);
    bundle["spiffe_refresh_hint"] = json!(300);
    let further = json!({
        "keys": { "type": "inline", "jwks": bundle }, "types": ["", "JWT", "JOSE"], "jti": "reusable",
    });
    let added = trust(&issuer, "mesh", "spiffe://example.org", further).await;
    assert_eq!(added.status, 201, "{added}");
    let matching = json!({ "subject": "spiffe://example.org/ns/prod/mailer" });
    federate(&issuer, "mailer", "mesh", matching).await;
    issuer
}

#[tokio::test]
async fn a_jwt_svid_proves_its_workload() {
    let issuer = spiffe_issuer().await;
    let subject = "spiffe://example.org/ns/prod/mailer";
    let token = svid(subject, &issuer.url);
    for client_id in [None, Some("mailer"), Some(subject)] {
        let answer = present_as(&issuer, JWT_SPIFFE, client_id, &token).await;
        assert_eq!(answer.claims()["sub"], "agent:mailer");
    }
    assert_snapshot!(issued_detail(&issuer).await, @r#"{"aud":"https://mail.example","credential":"[credential]","exp":"[exp]","external":{"reference":"[reference]","subject":"spiffe://example.org/ns/prod/mailer","trusted_issuer":"mesh"},"grant_type":"client_credentials","kid":"[kid]","method":"spiffe_jwt","scope":"read send"}"#);
}

#[tokio::test]
async fn a_jwt_svid_of_another_trust_domain_or_under_another_type_is_refused() {
    let issuer = spiffe_issuer().await;
    for subject in [
        "spiffe://example.org.evil.example/ns/prod/mailer",
        "spiffe://example.organ/ns/prod/mailer",
        "spiffe://example.org",
        "https://example.org/ns/prod/mailer",
    ] {
        let token = svid(subject, &issuer.url);
        let answer = present_as(&issuer, JWT_SPIFFE, None, &token).await;
        assert_eq!(refusal(&answer), crate::oauth2::REFUSED, "{subject}");
    }
    let token = svid("spiffe://example.org/ns/prod/mailer", &issuer.url);
    let answer = present(&issuer, None, &token).await;
    assert_eq!(refusal(&answer), crate::oauth2::REFUSED);
    // A token of a web issuer does not become one of a trust domain by saying so.
    let github = github_issuer().await;
    let token = signed(TestKey::Rs256, Some("JWT"), &github_claims(&github.url));
    let answer = present_as(&github, JWT_SPIFFE, None, &token).await;
    assert_eq!(refusal(&answer), crate::oauth2::REFUSED);
}
