//! `--output json`: one object on stdout.

use insta::assert_snapshot;

use super::live::Live;

#[test]
fn what_is_created_is_one_json_object_on_stdout() {
    let live = Live::start();
    assert_snapshot!(live.created("resource add mail --identifier https://mail.example.com --scope read"), @r#"
    {
      "algorithm": null,
      "allow_delegation": null,
      "created_at": [SECONDS],
      "delegation_allowed": true,
      "description": "",
      "dpop_required": false,
      "id": "[ID]",
      "identifier": "https://mail.example.com",
      "lifetime": null,
      "name": "mail",
      "profile": "generic",
      "scopes": [
        "read"
      ],
      "server": null,
      "token_algorithm": "ES256",
      "token_lifetime": 900,
      "token_typ": "at+jwt",
      "typ": null,
      "updated_at": [SECONDS],
      "version": 2
    }
    "#);
    assert_snapshot!(live.created("role add reader --grant mail"), @r#"
    {
      "created_at": [SECONDS],
      "description": "",
      "grants": [
        {
          "identifier": "https://mail.example.com",
          "resource": "mail",
          "scopes": "*"
        }
      ],
      "id": "[ID]",
      "name": "reader",
      "updated_at": [SECONDS],
      "version": 3
    }
    "#);
    assert_snapshot!(live.created("group add ops --role reader"), @r#"
    {
      "created_at": [SECONDS],
      "description": "",
      "id": "[ID]",
      "members": 0,
      "name": "ops",
      "roles": [
        "reader"
      ],
      "updated_at": [SECONDS],
      "version": 4
    }
    "#);
}

#[test]
fn a_registered_agent_is_one_json_object_on_stdout() {
    let live = Live::with_mail();
    assert_snapshot!(live.created("agent add mailer --owner ops --group ops --secret"), @r#"
    {
      "agent": {
        "assertion_audience": null,
        "attributes": {},
        "created_at": [SECONDS],
        "credentials": [
          {
            "created_at": [SECONDS],
            "expires_at": null,
            "id": "[ID]",
            "jwk": null,
            "kid": null,
            "kind": "client_secret",
            "not_before": [SECONDS],
            "revoked_at": null,
            "status": "live",
            "thumbprint": null
          }
        ],
        "description": "",
        "dpop_required": false,
        "effective_roles": [
          {
            "group": "ops",
            "role": "reader"
          }
        ],
        "expires_at": null,
        "groups": [
          "ops"
        ],
        "id": "[ID]",
        "last_token_at": null,
        "name": "mailer",
        "owner": "ops",
        "roles": [],
        "status": "active",
        "status_since": null,
        "subject": "agent:mailer",
        "updated_at": [SECONDS],
        "version": 5
      },
      "client_id": "mailer",
      "client_secret": "[SECRET]",
      "credential": {
        "created_at": [SECONDS],
        "expires_at": null,
        "id": "[ID]",
        "jwk": null,
        "kid": null,
        "kind": "client_secret",
        "not_before": [SECONDS],
        "revoked_at": null,
        "status": "live",
        "thumbprint": null
      }
    }
    "#);
}

#[test]
fn a_created_credential_is_one_json_object_on_stdout() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops");
    assert_snapshot!(live.created("credential add mailer --generate-key mailer.pem"), @r#"
    {
      "client_id": "mailer",
      "credential": {
        "created_at": [SECONDS],
        "expires_at": null,
        "id": "[ID]",
        "jwk": {
          "alg": "ES256",
          "crv": "P-256",
          "kid": "[KEY]",
          "kty": "EC",
          "x": "[KEY]",
          "y": "[KEY]"
        },
        "kid": "[KEY]",
        "kind": "public_key",
        "not_before": [SECONDS],
        "revoked_at": null,
        "status": "live",
        "thumbprint": "[KEY]"
      }
    }
    "#);
    assert_snapshot!(live.run("credential add nobody --secret -o json"), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"agent `nobody` not found","kind":"not_found","request_id":"[ID]","status":404}}
    "#);
}

#[test]
fn a_shown_agent_is_one_json_object_on_stdout() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --generate-key mailer.pem");
    assert_snapshot!(live.created("agent show mailer"), @r#"
    {
      "assertion_audience": null,
      "attributes": {},
      "created_at": [SECONDS],
      "credentials": [
        {
          "created_at": [SECONDS],
          "expires_at": null,
          "id": "[ID]",
          "jwk": {
            "alg": "ES256",
            "crv": "P-256",
            "kid": "[KEY]",
            "kty": "EC",
            "x": "[KEY]",
            "y": "[KEY]"
          },
          "kid": "[KEY]",
          "kind": "public_key",
          "not_before": [SECONDS],
          "revoked_at": null,
          "status": "live",
          "thumbprint": "[KEY]"
        }
      ],
      "description": "",
      "dpop_required": false,
      "effective_roles": [],
      "expires_at": null,
      "groups": [],
      "id": "[ID]",
      "last_token_at": null,
      "name": "mailer",
      "owner": "ops",
      "roles": [],
      "status": "active",
      "status_since": null,
      "subject": "agent:mailer",
      "updated_at": [SECONDS],
      "version": 5
    }
    "#);
}
