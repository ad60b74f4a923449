//! The audit against a running issuer.

use insta::assert_snapshot;

use super::live::Live;

#[test]
fn the_audit_is_listed_verified_and_exported() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --role reader --generate-key mailer.pem");
    live.json(&format!(
        "token get --issuer {} --client-id mailer --key mailer.pem",
        live.issuer()
    ));
    assert_snapshot!(live.run("audit list"), @"
    exit code 0
    ----- stdout
    SEQ  AT                        EVENT                  ACTOR                    TARGET                                           TOKEN                           DETAIL
    10   [TIME]  token.issued           agent:mailer             agent:mailer                                     [JTI]  aud=https://mail.example.com credential=[ID] ex…
    9    [TIME]  credential.added       administrator:bootstrap  agent:mailer                                     -                               credential: id=[ID] kind=public_key thumbprint=…
    8    [TIME]  agent.created          administrator:bootstrap  agent:mailer                                     -                               owner=ops roles=reader subject=agent:mailer
    7    [TIME]  group.created          administrator:bootstrap  group:ops                                        -                               roles=reader
    6    [TIME]  role.created           administrator:bootstrap  role:reader                                      -                               grants: mail=read
    5    [TIME]  resource.created       administrator:bootstrap  resource:mail                                    -                               identifier=https://mail.example.com profile=generic scopes=read, send
    4    [TIME]  administrator.created  system                   administrator:bootstrap                          -                               role=owner
    3    [TIME]  key.activated          system                   key:[KEY]  -                               algorithm=RS256
    2    [TIME]  key.activated          system                   key:[KEY]  -                               algorithm=ES256
    1    [TIME]  issuer.created         system                   issuer:default                                   -                               url=[ISSUER]
    ----- stderr
    ");
    assert_snapshot!(live.run("audit list --agent mailer --event token.issued"), @"
    exit code 0
    ----- stdout
    SEQ  AT                        EVENT         ACTOR         TARGET        TOKEN                           DETAIL
    10   [TIME]  token.issued  agent:mailer  agent:mailer  [JTI]  aud=https://mail.example.com credential=[ID] ex…
    ----- stderr
    ");
    assert_snapshot!(live.run("audit verify"), @r"
    exit code 0
    ----- stdout
    chain    whole
    entries  10
    head     [HASH]
    ----- stderr
    ");
    assert_snapshot!(live.run("audit export --event token.issued"), @r#"
    exit code 0
    ----- stdout
    {"actor":"agent:mailer","address":"127.0.0.1","agent_id":"[ID]","at":"[TIME]","at_ms":[MILLIS],"detail":{"aud":"https://mail.example.com","credential":"[ID]","exp":[SECONDS],"grant_type":"client_credentials","kid":"[KEY]","method":"private_key_jwt","scope":"read"},"event":"token.issued","hash":"[HASH]","request_id":"[ID]","seq":10,"target":"agent:mailer","token_id":"[JTI]"}
    ----- stderr
    "#);
}
