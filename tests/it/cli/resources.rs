//! Resources, roles and groups against a running issuer.

use insta::assert_snapshot;
use serde_json::json;

use super::live::Live;

#[test]
fn resources_are_registered_and_changed() {
    let live = Live::start();
    assert_snapshot!(live.run("resource add mail --identifier https://mail.example.com --scope read --lifetime 5m"), @"
    exit code 0
    ----- stdout
    name        mail
    identifier  https://mail.example.com
    profile     generic
    scopes      read
    lifetime    300 s
    algorithm   ES256
    typ         at+jwt
    delegation  allowed
    created     [TIME]
    id          [ID]
    ----- stderr
    Next: firman role add ROLE --grant mail
    ");
    assert_snapshot!(live.run("resource add claude --profile claude"), @"
    exit code 0
    ----- stdout
    name        claude
    identifier  https://api.anthropic.com
    profile     claude
    lifetime    600 s
    algorithm   ES256
    typ         JWT
    delegation  not allowed
    created     [TIME]
    id          [ID]
    ----- stderr
    Next: firman role add ROLE --grant claude
    ");
    assert_snapshot!(live.run("resource edit mail --add-scope send --algorithm RS256 --lifetime default"), @"
    exit code 0
    ----- stdout
    name        mail
    identifier  https://mail.example.com
    profile     generic
    scopes      read, send
    lifetime    900 s
    algorithm   RS256
    typ         at+jwt
    delegation  allowed
    created     [TIME]
    id          [ID]
    ----- stderr
    ");
    assert_snapshot!(live.run("resource list"), @r"
    exit code 0
    ----- stdout
    NAME    IDENTIFIER                 PROFILE  SCOPES      LIFETIME  ALGORITHM
    claude  https://api.anthropic.com  claude   -           600 s     ES256
    mail    https://mail.example.com   generic  read, send  900 s     RS256
    ----- stderr
    ");
    assert_snapshot!(live.run("resource show claude"), @"
    exit code 0
    ----- stdout
    name        claude
    identifier  https://api.anthropic.com
    profile     claude
    lifetime    600 s
    algorithm   ES256
    typ         JWT
    delegation  not allowed
    created     [TIME]
    id          [ID]
    ----- stderr
    No role grants it. Next: firman role add ROLE --grant claude
    ");
}

#[test]
fn a_resource_has_a_typ_for_its_tokens() {
    let live = Live::with_mail();
    live.json("resource add claude --profile claude");
    let edited = live.json("resource edit mail --typ jwt");
    assert_eq!(
        (&edited["typ"], &edited["token_typ"]),
        (&json!("JWT"), &json!("JWT"))
    );
    let edited = live.json("resource edit mail --typ default");
    assert_eq!(
        (&edited["typ"], &edited["token_typ"]),
        (&json!(null), &json!("at+jwt"))
    );
    assert_snapshot!(live.run("resource edit claude --typ at+jwt"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: typ: must be JWT for a resource with profile `claude`
    ");
    let desk = live.json("resource add desk --identifier urn:desk --typ JWT");
    assert_eq!(desk["token_typ"], "JWT");
    live.json("resource remove desk --yes");
}

#[test]
fn a_resource_that_cannot_be_is_refused() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("resource add mail --identifier https://other.example.com"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: a resource named `mail` exists
    hint: firman resource edit mail
    ");
    assert_snapshot!(live.run("resource add other --identifier https://mail.example.com"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the identifier `https://mail.example.com` belongs to the resource `mail`
    hint: firman resource show mail
    ");
    assert_snapshot!(live.run("resource add other"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: identifier: is required for a resource with profile `generic`: the URI that becomes `aud`, such as `https://api.example.com`
    ");
    assert_snapshot!(live.run("resource add claude --profile claude --lifetime 2h"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: lifetime: must be 60 to 3600 seconds for a resource with profile `claude`
    ");
    assert_snapshot!(live.run("resource remove mail --yes"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the resource `mail` is granted by: reader; a forced removal removes it from these roles
    hint: firman resource remove mail --force
    ");
}

#[test]
fn roles_are_made_and_changed() {
    let live = Live::start();
    live.json("resource add mail --identifier https://mail.example.com --scope read --scope send");
    assert_snapshot!(live.run("role add reader --grant https://mail.example.com=read --description 'Reads mail'"), @r"
    exit code 0
    ----- stdout
    name         reader
    description  Reads mail
    created      [TIME]
    id           [ID]

    RESOURCE  IDENTIFIER                SCOPES
    mail      https://mail.example.com  read
    ----- stderr
    Next: firman agent edit AGENT --add-role reader
    ");
    assert_snapshot!(live.run("role add reader"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: a role named `reader` exists
    hint: firman role edit reader
    ");
    assert_snapshot!(live.run("role add writer --grant mail=write"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: grants: the resource `mail` has the scopes read send, not `write`
    ");
    assert_snapshot!(live.run("role edit reader --grant mail"), @r"
    exit code 0
    ----- stdout
    name         reader
    description  Reads mail
    created      [TIME]
    id           [ID]

    RESOURCE  IDENTIFIER                SCOPES
    mail      https://mail.example.com  *
    ----- stderr
    ");
    assert_snapshot!(live.run("role list"), @r"
    exit code 0
    ----- stdout
    NAME    GRANTS  DESCRIPTION  CREATED
    reader  mail=*  Reads mail   [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("role remove reader --yes"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Removed reader.
    ");
}

#[test]
fn groups_are_made_and_changed() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("group add night-shift --description 'Works at night'"), @r"
    exit code 0
    ----- stdout
    name         night-shift
    description  Works at night
    members      0
    created      [TIME]
    id           [ID]
    ----- stderr
    Next: firman group edit night-shift --add-role ROLE
    ");
    assert_snapshot!(live.run("group edit night-shift --add-role reader"), @r"
    exit code 0
    ----- stdout
    name         night-shift
    description  Works at night
    roles        reader
    members      0
    created      [TIME]
    id           [ID]
    ----- stderr
    ");
    assert_snapshot!(live.run("group edit night-shift --add-role raeder"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: roles: role `raeder` not found
    hint: firman role list
    ");
    assert_snapshot!(live.run("group list"), @r"
    exit code 0
    ----- stdout
    NAME         ROLES   DESCRIPTION     CREATED
    night-shift  reader  Works at night  [TIME]
    ops          reader  -               [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("group show ops"), @r"
    exit code 0
    ----- stdout
    name     ops
    roles    reader
    members  0
    created  [TIME]
    id       [ID]
    ----- stderr
    It has no members. Next: firman agent edit AGENT --add-group ops
    ");
    assert_snapshot!(live.run("group remove night-shift --yes"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Removed night-shift.
    ");
}
