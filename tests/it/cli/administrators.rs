//! Administrators against a running issuer.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::live::Live;
use super::words;
use crate::process::Site;

#[test]
fn a_wrong_admin_token_is_refused() {
    let live = Live::start();
    let stranger = Site::new()
        .with("FIRMAN_URL", &format!("http://{}", live.server.private))
        .with("FIRMAN_ADMIN_TOKEN", "fma_wrong");
    let outcome = stranger.run(&["agent", "list"]);
    assert_snapshot!(live.redacted(&outcome.to_string()), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the token is not a valid administrator token
    hint: check the admin token from `client.admin_token` (`FIRMAN_ADMIN_TOKEN` or `FIRMAN_ADMIN_TOKEN_FILE`): it must be a token of this issuer that was not revoked
    ");
    let outcome = stranger.run(&["agent", "list", "-o", "json"]);
    assert_snapshot!(live.redacted(&outcome.to_string()), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"the token is not a valid administrator token","hint":"check the admin token from `client.admin_token` (`FIRMAN_ADMIN_TOKEN` or `FIRMAN_ADMIN_TOKEN_FILE`): it must be a token of this issuer that was not revoked","kind":"unauthorized","request_id":"[ID]","status":401}}
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
    error: administrator `nobody` not found
    ");
    assert_snapshot!(live.run("administrator revoke bootstrap --yes"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `bootstrap` is the last owner that does not expire; an issuer without an owner cannot rotate keys or manage administrators
    hint: firman administrator add NAME --role owner
    ");
    assert_snapshot!(live.run("administrator list"), @r"
    exit code 0
    ----- stdout
    NAME       ROLE   EXPIRES  REVOKED  CREATED
    bootstrap  owner  -        -        [TIME]
    ----- stderr
    ");
}

#[test]
fn what_an_administrator_cannot_be_is_refused() {
    let live = Live::start();
    let roles = "possible values: viewer, operator, owner";
    let life = "expires_in: must be 1 to 315360000 seconds";
    for (line, code, expected) in [
        ("administrator add olga", 2, "required arguments"),
        ("administrator add olga --role root", 2, roles),
        ("administrator add Olga --role viewer", 2, "'Olga'"),
        (
            "administrator add olga --role viewer --expires-in 0",
            1,
            life,
        ),
        ("administrator edit bootstrap", 2, "nothing to change"),
    ] {
        let outcome = live.site.run(&words(line));
        assert_eq!(outcome.code, Some(code), "{line}: {outcome}");
        assert!(outcome.stderr.contains(expected), "{line}: {outcome}");
    }
    live.site.write("taken.token", "mine");
    assert_snapshot!(live.run("administrator add olga --role viewer --out taken.token"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `taken.token` already exists
    hint: name another file, or move that one away
    ");
    assert_eq!(
        live.json("administrator list")["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn an_administrator_is_added_shown_edited_rotated_and_revoked() {
    let live = Live::start();
    assert_snapshot!(live.run("administrator add olga --role operator"), @r"
    exit code 0
    ----- stdout
    token    [ADMIN_TOKEN]
    name     olga
    role     operator
    created  [TIME]
    id       [ID]
    ----- stderr
    The token is shown once. Store it where only `olga` can read it.
    Next: FIRMAN_ADMIN_TOKEN_FILE=FILE firman administrator list
    ");
    assert_snapshot!(live.run("administrator edit olga --role viewer --expires-in 90d"), @r"
    exit code 0
    ----- stdout
    name     olga
    role     viewer
    expires  [TIME]
    created  [TIME]
    id       [ID]
    ----- stderr
    ");
    assert_snapshot!(live.run("administrator rotate olga --out olga.token"), @r"
    exit code 0
    ----- stdout
    name     olga
    role     viewer
    expires  [TIME]
    created  [TIME]
    id       [ID]
    ----- stderr
    The token is in `olga.token` and nowhere else. Let only `olga` read it.
    Next: FIRMAN_ADMIN_TOKEN_FILE=olga.token firman administrator list
    The old token is no longer accepted.
    ");
    assert_is_private(&live, "olga.token");
    let olga = Site::new()
        .with("FIRMAN_URL", &format!("http://{}", live.server.private))
        .with("FIRMAN_ADMIN_TOKEN", &token_in(&live, "olga.token"));
    assert_eq!(olga.run(&["agent", "list"]).code, Some(0));
    let refused = olga.run(&["administrator", "add", "x", "--role", "owner"]);
    assert_snapshot!(live.redacted(&refused.to_string()), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: an administrator with the role `owner` is required; `olga` is `viewer`
    ");
    assert_snapshot!(live.run("administrator revoke olga --yes"), @r"
    exit code 0
    ----- stdout
    name     olga
    role     viewer
    expires  [TIME]
    revoked  [TIME]
    created  [TIME]
    id       [ID]
    ----- stderr
    ");
    assert_eq!(olga.run(&["agent", "list"]).code, Some(1));
    assert_snapshot!(live.run("administrator add olga --role viewer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the name `olga` belonged to an administrator that was revoked; a name is never reused, because audit entries name their actor by it
    hint: choose another name
    ");
}

#[test]
fn an_administrators_token_goes_into_a_private_file() {
    let live = Live::start();
    let json = live.json("administrator add ci --role operator --token-file ci.token");
    assert_eq!(
        (&json["out"], json.get("token")),
        (&json!("ci.token"), None)
    );
    assert_eq!(json["administrator"]["name"], "ci");
    assert_is_private(&live, "ci.token");
}

#[test]
fn a_lost_token_is_recovered_while_the_server_runs() {
    insta::allow_duplicates! { recovers_beside_a_server(&Live::start()) }
}

#[test]
fn a_lost_token_is_recovered_while_the_server_runs_on_postgresql() {
    let site = Site::on_postgres();
    let server = site.start();
    let live = Live { site, server };
    insta::allow_duplicates! { recovers_beside_a_server(&live) }
}

fn recovers_beside_a_server(live: &Live) {
    std::fs::remove_file(live.site.path("data/admin-token")).expect("the file is there");
    assert_eq!(live.site.run(&["agent", "list"]).code, Some(1));
    assert_snapshot!(live.run("administrator recover --out new.token"), @r"
    exit code 0
    ----- stdout
    name     bootstrap
    role     owner
    created  [TIME]
    id       [ID]
    ----- stderr
    The token is in `new.token` and nowhere else. Let only `bootstrap` read it.
    Next: FIRMAN_ADMIN_TOKEN_FILE=new.token firman administrator list
    ");
    assert_is_private(live, "new.token");
    std::fs::rename(
        live.site.path("new.token"),
        live.site.path("data/admin-token"),
    )
    .expect("the new file is there");
    live.json("administrator add vera --role viewer");
    let made = live.json("administrator recover ann");
    assert_eq!(made["administrator"]["role"], "owner");
    assert!(
        made["token"].as_str().unwrap().starts_with("fma_"),
        "{made}"
    );
    assert_snapshot!(live.run("administrator recover vera"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: administrator `vera` is viewer, not owner
    hint: firman administrator recover NEW_NAME
    ");
    live.json("administrator revoke ann --yes");
    assert_snapshot!(live.run("administrator recover ann"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: administrator `ann` is revoked, permanently
    hint: firman administrator recover NEW_NAME
    ");
    let entries = live.json("audit list --actor system --limit 2");
    let told: Vec<Value> = entries["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| json!([entry["event"], entry["target"], entry["detail"]]))
        .collect();
    let detail = json!({ "role": "owner", "expires_at": null, "by": "recover" });
    assert_eq!(
        told,
        [
            json!(["administrator.created", "administrator:ann", detail]),
            json!(["administrator.rotated", "administrator:bootstrap", detail]),
        ]
    );
    let chain = live.site.run(&["audit", "verify"]);
    assert_eq!(chain.code, Some(0), "{chain}");
}

#[test]
fn a_lost_token_is_recovered_while_no_server_runs_with_the_right_key_alone() {
    let live = Live::start();
    let Live { site, server } = live;
    server.stop();
    let recovered = site.run(&["administrator", "recover", "--out", "new.token"]);
    assert_eq!(recovered.code, Some(0), "{recovered}");
    std::fs::rename(site.path("new.token"), site.path("data/admin-token")).unwrap();

    let key = std::fs::read_to_string(site.path("keys/kek")).unwrap();
    site.write("keys/kek", "A".repeat(43));
    let wrong = site.run(&["administrator", "recover", "--out", "other.token"]);
    assert_snapshot!(wrong, @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot decrypt pepper: the key-encryption key is not the one it was sealed with, or the database was changed
    hint: restore the key that belongs to this database
    ");
    std::fs::remove_file(site.path("keys/kek")).unwrap();
    let none = site.run(&["administrator", "recover", "--out", "other.token"]);
    assert_snapshot!(none, @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the key-encryption key `keys/kek` does not exist
    hint: restore the key that belongs to this database, or name it with `FIRMAN_KEYS_DIR`, `FIRMAN_KEK` or `FIRMAN_KEK_FILE`
    ");
    assert!(!site.path("other.token").exists(), "no file is left behind");
    assert!(!site.path("keys/kek").exists(), "no key is made");
    let elsewhere = site.run(&["administrator", "recover", "--data-dir", "elsewhere"]);
    assert_snapshot!(elsewhere, @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the database file `elsewhere/firman.db` does not contain an issuer
    hint: run this where `firman serve` runs, with the same configuration
    ");
    assert!(!site.path("elsewhere").exists(), "nothing is made");

    site.write("keys/kek", key);
    let _server = site.start();
    let listed = site.run(&["administrator", "list"]);
    assert_eq!(listed.code, Some(0), "the recovered token works: {listed}");
}

fn token_in(live: &Live, name: &str) -> String {
    let text = std::fs::read_to_string(live.site.path(name)).unwrap();
    text.trim_end().to_owned()
}

fn assert_is_private(live: &Live, name: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(live.site.path(name))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "{name}");
    assert!(token_in(live, name).starts_with("fma_"), "{name}");
}
