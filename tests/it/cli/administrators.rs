//! Administrators against a running issuer.

use insta::assert_snapshot;

use super::live::Live;
use crate::process::Site;

#[test]
fn a_wrong_admin_token_is_refused() {
    let live = Live::start();
    let stranger = Site::new()
        .with("FIRMAN_URL", &format!("http://{}", live.server.private))
        .with("FIRMAN_ADMIN_TOKEN", "fma_wrong");
    let outcome = stranger.run(&["agent", "list"]);
    assert_snapshot!(live.redacted(&outcome.to_string()), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: the token is not, or no longer, an administrator's
    hint: check the admin token from client.admin_token (FIRMAN_ADMIN_TOKEN or FIRMAN_ADMIN_TOKEN_FILE): it must be a token of this issuer that was not revoked
    ");
    let outcome = stranger.run(&["agent", "list", "-o", "json"]);
    assert_snapshot!(live.redacted(&outcome.to_string()), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"the token is not, or no longer, an administrator's","hint":"check the admin token from client.admin_token (FIRMAN_ADMIN_TOKEN or FIRMAN_ADMIN_TOKEN_FILE): it must be a token of this issuer that was not revoked","kind":"unauthorized","request_id":"[ID]","status":401}}
    "#);
}

#[test]
fn the_last_owner_is_listed_and_cannot_be_revoked() {
    let live = Live::start();
    assert_snapshot!(live.run("administrator list"), @r"
    exit code 0
    ----- stdout
    NAME       ROLE   EXPIRES  REVOKED  CREATED
    bootstrap  owner  -        -        [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("administrator revoke nobody --yes"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: there is no administrator 'nobody'
    ");
    assert_snapshot!(live.run("administrator revoke bootstrap --yes"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: 'bootstrap' is the last owner: without one nobody could rotate a key or revoke anybody; make another owner first
    ");
    assert_snapshot!(live.run("administrator list"), @r"
    exit code 0
    ----- stdout
    NAME       ROLE   EXPIRES  REVOKED  CREATED
    bootstrap  owner  -        -        [TIME]
    ----- stderr
    ");
}
