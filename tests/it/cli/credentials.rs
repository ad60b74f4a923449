//! Credentials against a running issuer: limits, rotation, key ids.

use insta::assert_snapshot;
use serde_json::Value;

use super::live::Live;

#[test]
fn a_third_client_secret_is_refused_until_one_is_revoked() {
    let live = Live::with_mail();
    let first = live.json("agent add mailer --owner ops --secret");
    assert_snapshot!(live.run("credential add mailer --secret --expires-in 7d"), @r"
    exit code 0
    ----- stdout
    client_id      mailer
    client_secret  [SECRET]
    credential     [ID]
    kind           client_secret
    status         live
    expires        [TIME]
    ----- stderr
    The client secret is shown once. Store it now, where only the agent can read it.
    Next: firman token get --issuer [ISSUER] --client-id mailer --secret-file FILE
    ");
    assert_snapshot!(live.run("credential add mailer --secret"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the agent `mailer` already has 2 live client secrets, one in use and one to rotate to; revoke the one no longer in use first: [ID] or [ID]
    ");
    let id = first["credential"]["id"].as_str().unwrap();
    assert_snapshot!(live.run(&format!("credential revoke mailer {id}")), @r"
    exit code 0
    ----- stdout
    credential  [ID]
    kind        client_secret
    status      revoked
    revoked     [TIME]
    ----- stderr
    Revoked. New token requests with it are refused. Tokens that were already issued stay valid until they expire.
    ");
    assert_snapshot!(live.run("credential list mailer"), @r"
    exit code 0
    ----- stdout
    ID                                    KIND           STATUS   KID  EXPIRES               CREATED
    [ID]  client_secret  revoked  -    -                     [TIME]
    [ID]  client_secret  live     -    [TIME]  [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("credential revoke mailer nonesuch"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: credential `nonesuch` not found
    ");
}

#[test]
fn a_rotated_secret_works_beside_the_new_one_for_the_overlap() {
    let live = Live::with_mail();
    let first = live.json("agent add mailer --owner ops --role reader --secret");
    let id = first["credential"]["id"].as_str().unwrap();
    let second = live.json(&format!("credential rotate mailer {id} --overlap 1h"));
    let get = |answer: &Value| {
        live.site
            .write("secret", answer["client_secret"].as_str().unwrap());
        live.run(&format!(
            "token get --issuer {} --client-id mailer --secret-file secret",
            live.issuer()
        ))
    };
    assert_eq!(get(&first), get(&second));
    assert_snapshot!(get(&second), @r"
    exit code 0
    ----- stdout
    [JWT]
    ----- stderr
    ");
    let id = second["credential"]["id"].as_str().unwrap();
    assert_snapshot!(live.run(&format!("credential rotate mailer {id} --overlap 0s")), @r"
    exit code 0
    ----- stdout
    client_id      mailer
    client_secret  [SECRET]
    credential     [ID]
    kind           client_secret
    status         live
    ----- stderr
    The client secret is shown once. Store it now, where only the agent can read it.
    Next: firman token get --issuer [ISSUER] --client-id mailer --secret-file FILE
    The old credential `[ID]` has ended.
    ");
    assert_snapshot!(get(&second), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: client authentication failed (invalid_client)
    ");
}

#[test]
fn a_rotated_key_needs_a_new_key_file() {
    let live = Live::with_mail();
    let first = live.json("agent add mailer --owner ops --generate-key old.pem");
    let id = first["credential"]["id"].as_str().unwrap();
    assert_snapshot!(live.run(&format!("credential rotate mailer {id}")), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `mailer` has a public key; a new key is required
    hint: firman credential rotate mailer [ID] --generate-key FILE
    ");
    assert_snapshot!(live.run("credential rotate mailer"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `mailer` has a public key; a new key is required
    hint: firman credential rotate mailer --generate-key FILE
    ");
    assert_snapshot!(live.run(&format!("credential rotate mailer {id} --generate-key old.pem")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `old.pem` already exists
    hint: name another file, or move that one away
    ");
    assert_snapshot!(live.run(&format!("credential rotate mailer {id} --generate-key new.pem")), @r"
    exit code 0
    ----- stdout
    client_id   mailer
    credential  [ID]
    kind        public_key
    kid         [KEY]
    status      live
    ----- stderr
    The private key is in `new.pem` and nowhere else. Let only the agent read it.
    Next: firman token get --issuer [ISSUER] --client-id mailer --key new.pem
    The old credential `[ID]` is valid until [TIME].
    ");
}

#[test]
fn a_key_gets_the_kid_that_was_asked_for() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("agent add mailer --owner ops --role reader --kid one"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `--kid` is only for a public key
    hint: add --public-key FILE or --generate-key FILE
    ");
    assert_snapshot!(live.run("agent add mailer --owner ops --role reader --secret --kid one"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `--kid` is only for a public key
    hint: add --public-key FILE or --generate-key FILE
    ");
    assert_snapshot!(live.run("agent add mailer --owner ops --role reader --generate-key mailer.pem --kid one"), @r"
    exit code 0
    ----- stdout
    name       mailer
    subject    agent:mailer
    owner      ops
    roles      reader
    client_id  mailer
    kid        one
    ----- stderr
    The private key is in `mailer.pem` and nowhere else. Let only the agent read it.
    Next: firman token get --issuer [ISSUER] --client-id mailer --key mailer.pem
    ");
    assert_snapshot!(live.run("credential add mailer --generate-key second.pem --kid one"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `kid` `one` names another key of this agent (credential `[ID]`); choose another `kid`, or revoke that credential first
    ");
    assert!(!live.site.path("second.pem").exists());
    assert_snapshot!(live.run("credential add mailer --generate-key second.pem --kid two"), @r"
    exit code 0
    ----- stdout
    client_id   mailer
    credential  [ID]
    kind        public_key
    kid         two
    status      live
    ----- stderr
    The private key is in `second.pem` and nowhere else. Let only the agent read it.
    Next: firman token get --issuer [ISSUER] --client-id mailer --key second.pem
    ");
    // The key file does not know the name, and the thumbprint does as well.
    let issuer = live.issuer();
    live.json(&format!(
        "token get --issuer {issuer} --client-id mailer --key second.pem"
    ));
}
