//! The issuer's signing keys and those who hold a copy of them.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::live::Live;

#[test]
fn signing_keys_are_listed_rotated_and_revoked() {
    let live = Live::start();
    assert_snapshot!(live.run("key rotate --algorithm ES256"), @r"
    exit code 0
    ----- stdout
    KID                                          ALGORITHM  STATE     SINCE  UNTIL  ACTIVATES             WAITING FOR  CREATED
    [KEY]  ES256      prepared  -      -      [TIME]  -            [TIME]
    ----- stderr
    Published. Each key signs from the time it activates; nothing else needs to be done.
    ");
    assert_snapshot!(live.run("key rotate --algorithm ES256"), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: a new ES256 key is already prepared and will sign at [TIME] or later
    hint: firman key list
    ");
    let keys = live.json("key list");
    let states = |keys: &Value| -> Vec<String> {
        let items = keys["items"].as_array().unwrap();
        let mut states: Vec<String> = items
            .iter()
            .map(|key| format!("{} {}", key["algorithm"], key["state"]))
            .collect();
        states.sort_unstable();
        states
    };
    assert_eq!(
        states(&keys),
        [
            r#""ES256" "active""#,
            r#""ES256" "prepared""#,
            r#""RS256" "active""#
        ]
    );
    let active = |key: &&Value| key["algorithm"] == "ES256" && key["state"] == "active";
    let kid = keys["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(active)
        .unwrap()["kid"]
        .as_str()
        .unwrap();
    assert_snapshot!(live.run(&format!("key revoke {kid} --reason 'laptop stolen' --yes")), @r"
    exit code 0
    ----- stdout
    KID                                          ALGORITHM  STATE    SINCE                 UNTIL  ACTIVATES  WAITING FOR  CREATED
    [KEY]  ES256      revoked  [TIME]  -      -          -            [TIME]
    [KEY]  ES256      active   [TIME]  -      -          -            [TIME]
    ----- stderr
    ");
    assert_eq!(
        states(&live.json("key list")),
        [
            r#""ES256" "active""#,
            r#""ES256" "revoked""#,
            r#""RS256" "active""#
        ]
    );
    assert_snapshot!(live.run("key revoke nonesuch --reason none --yes"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: key `nonesuch` not found
    ");
}

#[test]
fn key_consumers_are_added_listed_and_removed() {
    let live = Live::start();
    assert_snapshot!(live.run("key consumer list"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    No key consumers: every relying party fetches the key set.
    ");
    assert_snapshot!(live.run("key consumer add claude --description 'inline at Claude'"), @r"
    exit code 0
    ----- stdout
    name         claude
    description  inline at Claude
    lacks        [KEY], [KEY]
    created      [TIME]
    ----- stderr
    Copy the issuer's key set to it, then acknowledge the copy.
    Next: firman key consumer ack claude
    ");
    assert_snapshot!(live.run("key consumer add claude"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: a key consumer named `claude` exists; choose another name
    ");
    assert_snapshot!(live.run("key consumer list"), @r"
    exit code 0
    ----- stdout
    NAME    HOLDS  LACKS   DESCRIPTION       CREATED
    claude  -      2 keys  inline at Claude  [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("key consumer ack claude --kid nonesuch"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: kids: contains `nonesuch`, which is not a published key; published: [KEY], [KEY]
    ");
    assert_snapshot!(live.run("key consumer remove claude"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: cannot ask for a confirmation without a terminal: Remove key consumer `claude`? New keys no longer wait for it. Without a new key, it rejects what that key signs.
    hint: add `--yes` to confirm
    ");
    assert_snapshot!(live.run("key consumer remove claude --yes"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Removed claude.
    ");
    assert_eq!(live.json("key consumer list")["items"], json!([]));
}

#[test]
fn a_new_key_waits_for_its_consumers_and_says_so() {
    let live = Live::start();
    live.json("key consumer add claude --description 'inline at Claude'");
    assert_snapshot!(live.run("key rotate --algorithm ES256"), @r"
    exit code 0
    ----- stdout
    KID                                          ALGORITHM  STATE     SINCE  UNTIL  ACTIVATES             WAITING FOR  CREATED
    [KEY]  ES256      prepared  -      -      [TIME]  claude       [TIME]
    ----- stderr
    Published. Each key also waits for claude. Update their copies of the key set, then run: firman key consumer ack NAME
    ");
    let keys = live.json("key list");
    let keys = keys["items"].as_array().unwrap();
    let key = |state: &str| {
        let found = keys
            .iter()
            .find(|key| key["algorithm"] == "ES256" && key["state"] == state);
        found.unwrap()["kid"].as_str().unwrap()
    };
    assert_snapshot!(live.run(&format!("key activate {}", key("prepared"))), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: key `[KEY]` may not sign before [TIME], when every verifier can have fetched it; this cannot be overridden
    ");
    assert_snapshot!(live.run(&format!("key consumer ack claude --kid {}", key("active"))), @r"
    exit code 0
    ----- stdout
    name         claude
    description  inline at Claude
    holds        [KEY]
    lacks        [KEY], [KEY]
    created      [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run(&format!("key revoke {} --reason leaked --yes", key("active"))), @r"
    exit code 0
    ----- stdout
    KID                                          ALGORITHM  STATE    SINCE                 UNTIL  ACTIVATES  WAITING FOR  CREATED
    [KEY]  ES256      revoked  [TIME]  -      -          -            [TIME]
    [KEY]  ES256      active   [TIME]  -      -          -            [TIME]
    ----- stderr
    The copies of these key consumers are outdated: claude. Update them, then run: firman key consumer ack NAME
    ");
    assert_snapshot!(live.run("key consumer ack claude"), @r"
    exit code 0
    ----- stdout
    name         claude
    description  inline at Claude
    holds        [KEY], [KEY]
    created      [TIME]
    ----- stderr
    ");
}
