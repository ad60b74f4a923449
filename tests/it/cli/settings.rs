//! Settings of the issuer and of the process, and its health.

use insta::assert_snapshot;

use super::live::Live;
use crate::process::Site;

#[test]
fn the_policy_for_the_audience_of_assertions_is_one_of_three() {
    let live = Live::start();
    assert_snapshot!(live.run("issuer edit --assertion-audience any"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value 'any' for '--assertion-audience <POLICY>'
      [possible values: issuer-as-string, issuer, issuer-or-token-endpoint]

    For more information, try '--help'.
    ");
    assert_snapshot!(live.run("agent add legacy --owner ops --assertion-audience inherit"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value 'inherit' for '--assertion-audience <POLICY>'
      [possible values: issuer-as-string, issuer, issuer-or-token-endpoint]

    For more information, try '--help'.
    ");
    assert_snapshot!(live.run("issuer edit --assertion-audience issuer-as-string"), @r"
    exit code 0
    ----- stdout
    url                 [ISSUER]
    slug                default
    subjects            agent:{name}
    default lifetime    900 s
    max lifetime        3600 s
    default algorithm   ES256
    assertion audience  issuer-as-string
    token endpoint      [ISSUER]/oauth2/token
    key set             [ISSUER]/oauth2/jwks
    discovery           [ISSUER]/.well-known/openid-configuration
    ----- stderr
    ");
}

#[test]
fn an_agents_policy_for_the_audience_of_assertions_is_set_shown_and_warned_about() {
    let live = Live::start();
    assert_snapshot!(live.run("agent add legacy --owner ops --assertion-audience issuer-or-token-endpoint"), @r"
    exit code 0
    ----- stdout
    name       legacy
    subject    agent:legacy
    owner      ops
    client_id  legacy
    ----- stderr
    warning: assertions for the token endpoint can be replayed. A server that names this token endpoint in its metadata gets assertions from clients that trust it, and this issuer accepts them (draft-ietf-oauth-rfc7523bis).
    hint: use this setting only for clients that cannot be changed; the page client-libraries has the line that sets the audience in each library
    Next: firman credential add legacy --generate-key legacy.pem
    ");
    assert_snapshot!(live.run("agent edit legacy --assertion-audience issuer"), @r"
    exit code 0
    ----- stdout
    name                legacy
    subject             agent:legacy
    status              active
    owner               ops
    assertion audience  issuer
    created             [TIME]
    id                  [ID]
    ----- stderr
    ");
    assert_snapshot!(live.run("agent edit legacy --assertion-audience inherit"), @r"
    exit code 0
    ----- stdout
    name     legacy
    subject  agent:legacy
    status   active
    owner    ops
    created  [TIME]
    id       [ID]
    ----- stderr
    ");
    // A reader of JSON is warned too.
    let warned =
        live.run("issuer edit --assertion-audience issuer-or-token-endpoint --output json");
    assert!(
        warned.contains("\"assertion_audience\": \"issuer-or-token-endpoint\""),
        "{warned}"
    );
    assert!(
        warned.contains("warning: assertions for the token endpoint can be replayed"),
        "{warned}"
    );
}

#[test]
fn the_issuers_settings_are_shown() {
    let live = Live::start();
    assert_snapshot!(live.run("issuer show"), @r"
    exit code 0
    ----- stdout
    url                 [ISSUER]
    slug                default
    subjects            agent:{name}
    default lifetime    900 s
    max lifetime        3600 s
    default algorithm   ES256
    assertion audience  issuer
    token endpoint      [ISSUER]/oauth2/token
    key set             [ISSUER]/oauth2/jwks
    discovery           [ISSUER]/.well-known/openid-configuration
    ----- stderr
    ");
}

#[test]
fn the_configuration_is_shown_with_where_each_value_is_from_and_checked() {
    let site = Site::new().with("FIRMAN_ISSUER_URL", "https://id.example.com");
    site.write("firman.toml", "[server]\nlisten = \"0.0.0.0:8080\"\n");
    assert_snapshot!(site.run(&["config", "show", "--config", "firman.toml"]), @"
    exit code 0
    ----- stdout
    KEY                             VALUE                   ORIGIN
    issuer.url                      https://id.example.com  environment variable FIRMAN_ISSUER_URL
    server.listen                   0.0.0.0:8080            firman.toml:2
    server.max_connections          800                     default
    server.drain_seconds            10                      default
    server.insecure_loopback_fetch  0                       default
    admin.listen                    127.0.0.1:8081          default
    admin.hosts                     -                       default
    database.url                    sqlite:data/firman.db   default
    data.dir                        data                    default
    keys.dir                        keys                    default
    keys.kek                        (not set)               default
    tokens.default_lifetime         900                     default
    tokens.max_lifetime             3600                    default
    tokens.default_algorithm        ES256                   default
    log.level                       info                    default
    log.format                      auto                    default
    client.url                      http://127.0.0.1:8081   default
    client.admin_token              (not set)               default
    ----- stderr
    ");
    let good = site.run(&[
        "config",
        "check",
        "--config",
        "firman.toml",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(good.code, Some(0), "{good}");
    assert_eq!(good.stderr, "The configuration is valid.\n");
    site.write("firman.toml", "[server]\nlisten = \"localhost\"\n");
    assert_snapshot!(site.run(&["config", "check", "--config", "firman.toml"]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: firman.toml:2: `server.listen` is not an IP address and a port: `localhost`
    hint: use `127.0.0.1:8080`, or `0.0.0.0:8080` for every address of this machine
    ");
}

#[test]
fn a_healthy_issuer_passes_its_health_check() {
    let live = Live::start();
    assert_snapshot!(live.run(&format!("healthcheck --url {}", live.issuer())), @r"
    exit code 0
    ----- stdout
    ----- stderr
    `[ISSUER]/healthz` is healthy
    ");
}
