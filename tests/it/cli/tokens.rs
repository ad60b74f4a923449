//! Tokens from a running issuer, by secret, by key, bound to a key.

use firman::testing::decoded_part;
use insta::assert_snapshot;

use super::live::Live;

#[test]
fn a_token_is_had_by_secret_with_what_is_granted_and_no_more() {
    let live = Live::with_mail();
    let issuer = live.issuer();
    let clerk = live.json("agent add clerk --owner ops --role reader --secret");
    live.site
        .write("secret", clerk["client_secret"].as_str().unwrap());
    assert_snapshot!(live.created(&format!("token get --issuer {issuer} --client-id clerk --secret-file secret --expires-in 5m")), @r#"
    {
      "access_token": "[JWT]",
      "expires_at": [SECONDS],
      "expires_in": 300,
      "scope": "read",
      "token_type": "Bearer"
    }
    "#);
    assert_snapshot!(live.run(&format!("token get --issuer {issuer} --client-id clerk --secret-file secret --scope send")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: not granted for https://mail.example.com: send; granted: read (invalid_scope)
    ");
}

#[test]
fn a_token_had_by_key_is_verified_and_refused_for_another_audience() {
    let live = Live::with_mail();
    let issuer = live.issuer();
    live.json("agent add mailer --owner ops --group ops --generate-key mailer.pem");
    let get = format!(
        "token get --issuer {issuer} --client-id mailer --key mailer.pem --resource https://mail.example.com --out token"
    );
    live.json(&get);
    let token = std::fs::read_to_string(live.site.path("token")).unwrap();
    let token = token.trim();
    assert_snapshot!(live.created(&format!("token verify {token} --issuer {issuer} --audience https://mail.example.com")), @r#"
    {
      "claims": {
        "acting_agent": "agent:mailer",
        "aud": "https://mail.example.com",
        "client_id": "mailer",
        "exp": [SECONDS],
        "groups": [
          "ops"
        ],
        "iat": [SECONDS],
        "iss": "[ISSUER]",
        "jti": "[JTI]",
        "nbf": [SECONDS],
        "owner": "ops",
        "roles": [
          "reader"
        ],
        "scope": "read",
        "sub": "agent:mailer",
        "sub_profile": "ai_agent"
      },
      "header": {
        "alg": "ES256",
        "kid": "[KEY]",
        "typ": "at+jwt"
      },
      "verified": true
    }
    "#);
    assert_snapshot!(live.run(&format!("token verify {token} --issuer {issuer} --audience https://other.example.com")), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    error: not valid: the token is for ["https://mail.example.com"] (`aud`), not for "https://other.example.com"
    "#);
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(86));
    assert_snapshot!(live.run(&format!("token verify {forged} --issuer {issuer} --audience https://mail.example.com")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: not valid: the signature is not valid
    ");
}

#[test]
fn a_token_is_bound_to_a_key_in_a_file_and_says_so() {
    let live = Live::with_mail();
    let issuer = live.issuer();
    live.json("agent add mailer --owner ops --group ops --generate-key mailer.pem");
    let get = format!("token get --issuer {issuer} --client-id mailer --key mailer.pem");
    assert_snapshot!(live.run(&format!("{get} --dpop-key -")), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `--dpop-key` must name a file
    ");
    assert_snapshot!(live.run(&format!("{get} --dpop-key nowhere.pem")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot read `nowhere.pem`: no such file or directory
    ");
    assert_snapshot!(live.created(&format!("{get} --dpop-key mailer.pem")), @r#"
    {
      "access_token": "[JWT]",
      "expires_at": [SECONDS],
      "expires_in": 900,
      "scope": "read",
      "token_type": "DPoP"
    }
    "#);
    let shown = live.json(&format!("{get} --dpop-key mailer.pem"));
    let token = shown["access_token"].as_str().unwrap();
    let agent = live.json("agent show mailer");
    let claims = decoded_part(token, 1);
    // A key without a name is registered under its thumbprint.
    assert_eq!(claims["cnf"]["jkt"], agent["credentials"][0]["kid"]);
}
