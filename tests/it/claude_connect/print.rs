//! What `claude connect` prints.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Live, ORGANIZATION, PRIVATE_ISSUER, PUBLIC_ISSUER};

/// The codes of an object's warnings.
fn codes(printed: &Value) -> Vec<String> {
    let warnings = printed["warnings"].as_array().expect("warnings").iter();
    warnings
        .map(|warning| warning["code"].as_str().expect("a code").to_owned())
        .collect()
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_asked() {
    let live = Live::start();
    for line in [
        "claude connect",
        "claude connect --agent ../x",
        "claude connect --agent mailer --scope org:owner",
        "claude connect --agent mailer --organization org_01",
        "claude connect --agent mailer --service-account Mailer!",
        "claude connect --agent mailer --workspace main",
        "claude connect --agent mailer --act-for user:*",
        "claude connect --agent ops*",
        "claude connect --agent ops.* --act-for user:ada",
        "claude connect --agent ops.* --format env",
        "claude connect --agent ops.* --format terraform-vars",
        "claude connect --agent mailer --inline-keys --discovery-base https://keys.example.com",
        "claude connect --agent mailer --yes",
        "claude connect --agent mailer --format yaml",
        "claude connect --agent mailer --format env --output json",
    ] {
        let outcome = live.outcome(line);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(2), ""),
            "{line}"
        );
    }
}

#[test]
fn a_resource_that_is_not_for_claude_is_refused() {
    let live = Live::start();
    live.json("agent add mailer --owner ops --secret");
    live.json("resource add mail --identifier https://mail.example.com");
    assert_snapshot!(live.run("claude connect --agent nobody"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: agent `nobody` not found
    ");
    assert_snapshot!(live.run("claude connect --agent mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: resource `claude` not found
    hint: firman resource add claude --profile claude
    ");
    assert_snapshot!(live.run("claude connect --agent mailer --resource mail"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the resource `mail` has the profile `generic`, not `claude`
    hint: firman resource add claude --profile claude
    ");
}

#[test]
fn a_private_issuer_whose_keys_cannot_be_fetched_is_reported_with_a_hint() {
    let live = Live::with_mailer(PRIVATE_ISSUER);
    let outcome = live.run("claude connect --agent mailer");
    let told = outcome.contains("name the address where the issuer answers with `--from`");
    assert!(outcome.starts_with("exit code 1") && told, "{outcome}");
}

#[test]
fn without_a_format_an_overview_is_printed_and_the_formats_are_listed() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    assert_snapshot!(live.run("claude connect --agent mailer"), @r"
    exit code 0
    ----- stdout
    agent            mailer
    issuer           https://id.example.com
    keys             by discovery
    rule             agent-mailer-6894ea70
    subject          agent:mailer
    acting agent     agent:mailer
    audience         https://api.anthropic.com
    service account  agent-mailer-6894ea70
    scope            workspace:developer
    workspace        default
    token lifetime   600 s
    ----- stderr
    Next: repeat the command with one of
      --organization UUID --apply  make the setup at Claude
      --format console             print the fields of Claude's Console
      --format api                 print the requests of its Admin API
      --format terraform-vars      print the values as a .tfvars file
    For the place where the agent runs: --format env, profile, systemd, kubernetes or github
    ");
}

#[test]
#[expect(clippy::too_many_lines, reason = "each format is shown whole, once")]
fn each_format_is_printed_alone() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    assert_snapshot!(live.run("claude connect --agent mailer --format console"), @r#"
    exit code 0
    ----- stdout
    Issuer name                      firman-id-example-com-de96f5b6
    Issuer URL                       https://id.example.com
    JWKS source                      Discovery
    Maximum identity-token lifetime  3600 s
    Service account                  agent-mailer-6894ea70
    Rule name                        agent-mailer-6894ea70
    Match type                       Static
    Subject prefix                   agent:mailer
    Claims                           acting_agent = agent:mailer
    or Match type CEL                claims.sub == "agent:mailer" && claims.acting_agent == "agent:mailer" && !has(claims.act)
    Audience                         https://api.anthropic.com
    OAuth scope                      workspace:developer
    Workspace                        default
    Token lifetime                   600 s
    ----- stderr
    In Claude's Console: Settings, Workload identity, Connect workload, Custom OIDC.
    "#);
    assert_snapshot!(live.run("claude connect --agent mailer --format api"), @r#"
    exit code 0
    ----- stdout
    POST /v1/organizations/service_accounts
    {
      "name": "agent-mailer-6894ea70"
    }
    POST /v1/organizations/federation_issuers
    {
      "check_jti": true,
      "issuer_url": "https://id.example.com",
      "jwks": {
        "type": "discovery"
      },
      "max_jwt_lifetime_seconds": 3600,
      "name": "firman-id-example-com-de96f5b6"
    }
    POST /v1/organizations/federation_rules
    {
      "issuer_id": "fdis_…",
      "match": {
        "audience": "https://api.anthropic.com",
        "claims": {
          "acting_agent": "agent:mailer"
        },
        "subject_prefix": "agent:mailer"
      },
      "name": "agent-mailer-6894ea70",
      "oauth_scope": "workspace:developer",
      "target": {
        "service_account_id": "svac_…",
        "type": "service_account"
      },
      "token_lifetime_seconds": 600,
      "workspace_id": "default"
    }
    # Or the same rule by a CEL condition, which also refuses tokens with act
    POST /v1/organizations/federation_rules
    {
      "issuer_id": "fdis_…",
      "match": {
        "audience": "https://api.anthropic.com",
        "condition": "claims.sub == \"agent:mailer\" && claims.acting_agent == \"agent:mailer\" && !has(claims.act)"
      },
      "name": "agent-mailer-6894ea70",
      "oauth_scope": "workspace:developer",
      "target": {
        "service_account_id": "svac_…",
        "type": "service_account"
      },
      "token_lifetime_seconds": 600,
      "workspace_id": "default"
    }
    ----- stderr
    "#);
    assert_snapshot!(live.run("claude connect --agent mailer --format profile"), @r#"
    exit code 0
    ----- stdout
    {
      "authentication": {
        "federation_rule_id": "fdrl_…",
        "identity_token": {
          "path": "/run/firman/claude-token",
          "source": "file"
        },
        "service_account_id": "svac_…",
        "type": "oidc_federation"
      },
      "base_url": "https://api.anthropic.com",
      "organization_id": "<organization UUID>",
      "version": "1.0"
    }
    ----- stderr
    Save it as ~/.config/anthropic/configs/mailer.json, writable only by its owner, and set ANTHROPIC_PROFILE=mailer.
    warning: the ids at Claude are not known yet
    hint: firman claude connect --agent mailer --organization UUID --apply
    "#);
    assert_snapshot!(live.run("claude connect --agent mailer --format systemd"), @r#"
    exit code 0
    ----- stdout
    # firman-claude-token.service
    [Service]
    Type=notify
    ExecStart="firman" "token" "get" "--issuer" "https://id.example.com" "--client-id" "mailer" "--key" %d/agent-key "--resource" "https://api.anthropic.com" "--out" "/run/firman/claude-token" "--watch"
    LoadCredential=agent-key:/etc/firman/mailer.pem
    RuntimeDirectory=firman
    Restart=always

    # in the agent's own unit
    [Unit]
    Requires=firman-claude-token.service
    After=firman-claude-token.service

    [Service]
    UnsetEnvironment=ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN
    Environment="ANTHROPIC_FEDERATION_RULE_ID=fdrl_…"
    Environment="ANTHROPIC_ORGANIZATION_ID=<organization UUID>"
    Environment="ANTHROPIC_SERVICE_ACCOUNT_ID=svac_…"
    Environment="ANTHROPIC_IDENTITY_TOKEN_FILE=/run/firman/claude-token"
    ----- stderr
    systemd: one unit keeps the token file fresh, the agent's unit reads it; both run as the same user.
    warning: the ids at Claude are not known yet
    hint: firman claude connect --agent mailer --organization UUID --apply
    "#);
    assert_snapshot!(live.run("claude connect --agent mailer --format kubernetes"), @r#"
    exit code 0
    ----- stdout
    spec:
      initContainers:
        - name: claude-token
          image: firman
          restartPolicy: Always
          command: ["firman", "token", "get", "--issuer", "https://id.example.com", "--client-id", "mailer", "--key", "/var/run/firman-key/agent.pem", "--resource", "https://api.anthropic.com", "--out", "/var/run/firman/claude-token", "--watch"]
          startupProbe:
            exec: { command: ["test", "-s", "/var/run/firman/claude-token"] }
          volumeMounts:
            - { name: claude-token, mountPath: /var/run/firman }
            - { name: agent-key, mountPath: /var/run/firman-key, readOnly: true }
      containers:
        - name: agent
          env:
            - { name: ANTHROPIC_FEDERATION_RULE_ID, value: "fdrl_…" }
            - { name: ANTHROPIC_ORGANIZATION_ID, value: "<organization UUID>" }
            - { name: ANTHROPIC_SERVICE_ACCOUNT_ID, value: "svac_…" }
            - { name: ANTHROPIC_IDENTITY_TOKEN_FILE, value: "/var/run/firman/claude-token" }
          volumeMounts:
            - { name: claude-token, mountPath: /var/run/firman, readOnly: true }
      volumes:
        - name: claude-token
          emptyDir: { medium: Memory }
        - name: agent-key
          secret: { secretName: "mailer-key", defaultMode: 0400 }
    ----- stderr
    Kubernetes: part of a pod's spec: a sidecar keeps the token file fresh, the agent reads it; both containers run as the same user.
    warning: the ids at Claude are not known yet
    hint: firman claude connect --agent mailer --organization UUID --apply
    "#);
    assert_snapshot!(live.run("claude connect --agent mailer --format github"), @r#"
    exit code 0
    ----- stdout
    steps:
      - name: Token for Claude
        env:
          AGENT_KEY: ${{ secrets.FIRMAN_AGENT_KEY }}
        run: |
          umask 077
          printf '%s' "$AGENT_KEY" > "$RUNNER_TEMP/agent.pem"
          firman token get --issuer 'https://id.example.com' --client-id 'mailer' --key "$RUNNER_TEMP/agent.pem" --resource 'https://api.anthropic.com' --out "$RUNNER_TEMP/claude-token"
          rm "$RUNNER_TEMP/agent.pem"
      - name: The agent
        env:
          ANTHROPIC_FEDERATION_RULE_ID: "fdrl_…"
          ANTHROPIC_ORGANIZATION_ID: "<organization UUID>"
          ANTHROPIC_SERVICE_ACCOUNT_ID: "svac_…"
          ANTHROPIC_IDENTITY_TOKEN_FILE: "${{ runner.temp }}/claude-token"
        run: ./agent
    ----- stderr
    GitHub Actions: for one process and one access token; otherwise run the job with `firman exec`.
    warning: the ids at Claude are not known yet
    hint: firman claude connect --agent mailer --organization UUID --apply
    "#);
}

#[test]
fn a_private_issuers_keys_are_given_inline_and_kept_account_of() {
    let live = Live::with_mailer(PRIVATE_ISSUER);
    let line = format!("claude connect --agent mailer --from {}", live.public());
    assert_snapshot!(live.run(&format!("{line} --format console")), @r#"
    exit code 0
    ----- stdout
    Issuer name                      firman-id-corp-internal-1250e5fc
    Issuer URL                       https://id.corp.internal
    JWKS source                      Inline (the bare array of keys)
    JWKS                             [{"alg":"ES256","crv":"P-256","kid":"[KEY]","kty":"EC","use":"sig","x":"[KEY]","y":"[KEY]"},{"alg":"RS256","e":"AQAB","kid":"[KEY]","kty":"RSA","n":"[KEY]","use":"sig"}]
    Maximum identity-token lifetime  3600 s
    Service account                  agent-mailer-6894ea70
    Rule name                        agent-mailer-6894ea70
    Match type                       Static
    Subject prefix                   agent:mailer
    Claims                           acting_agent = agent:mailer
    or Match type CEL                claims.sub == "agent:mailer" && claims.acting_agent == "agent:mailer" && !has(claims.act)
    Audience                         https://api.anthropic.com
    OAuth scope                      workspace:developer
    Workspace                        default
    Token lifetime                   600 s
    ----- stderr
    warning: Claude does not refresh inline keys. After each rotation update the keys at Claude, then acknowledge them: only then does the new key sign
    hint: firman key consumer ack claude-default
    In Claude's Console: Settings, Workload identity, Connect workload, Custom OIDC.
    Recorded this copy of the keys as the key consumer `claude-default`. A new key signs only after you have updated
    the keys at Claude and acknowledged them.
    hint: firman key consumer ack claude-default
    "#);

    let printed = live.json(&line);
    assert_eq!(printed["key_consumer"], "claude-default");
    let keys = printed["issuer"]["jwks"]["keys"].as_array();
    assert_eq!(keys.map(Vec::len), Some(2), "{printed}");
    assert_eq!(codes(&printed), ["inline_keys"]);
    let consumers = live.json("key consumer list");
    let consumers = consumers["items"].as_array().expect("a list");
    assert_eq!(consumers.len(), 1, "{consumers:?}");
    assert_eq!(consumers[0]["name"], "claude-default");
    assert_eq!(consumers[0]["acknowledged"], json!([]));
}

#[test]
fn the_rule_of_a_pair_pins_both_and_is_printed_beside_its_condition() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    let printed = live.json("claude connect --agent mailer --act-for user:okta:ada");
    assert_snapshot!(format!("{:#}", printed["rule"]), @r#"
    {
      "issuer_id": "fdis_…",
      "match": {
        "audience": "https://api.anthropic.com",
        "claims": {
          "acting_agent": "agent:mailer"
        },
        "subject_prefix": "user:okta:ada"
      },
      "name": "agent-mailer-for-user-okta-ada-28fb4c83",
      "oauth_scope": "workspace:developer",
      "target": {
        "service_account_id": "svac_…",
        "type": "service_account"
      },
      "token_lifetime_seconds": 600,
      "workspace_id": "default"
    }
    "#);
    assert_snapshot!(format!("{:#}", printed["rule_by_condition"]["match"]), @r#"
    {
      "audience": "https://api.anthropic.com",
      "condition": "claims.sub == \"user:okta:ada\" && has(claims.act) && claims.act.sub == \"agent:mailer\" && !has(claims.act.act)"
    }
    "#);
}

#[test]
fn a_published_copy_is_named_as_discovery_base() {
    let live = Live::with_mailer(PRIVATE_ISSUER);
    let line = "claude connect --agent mailer --discovery-base https://keys.example.com/";
    let printed = live.json(line);
    assert_eq!(
        printed["issuer"]["jwks"],
        json!({ "type": "discovery", "discovery_base": "https://keys.example.com" })
    );
    assert_eq!(printed["issuer"]["issuer_url"], PRIVATE_ISSUER);
    assert_eq!(printed["key_consumer"], Value::Null);
    assert_eq!(codes(&printed), Vec::<String>::new());
}

#[test]
fn json_has_the_same_parts() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    let printed = live.json("claude connect --agent mailer");
    let names: Vec<&String> = printed.as_object().expect("an object").keys().collect();
    assert_snapshot!(format!("{names:?}"), @r#"["act_for", "agent", "console", "environment", "issuer", "key_consumer", "members", "profile", "rule", "rule_by_condition", "service_account", "snippets", "subject", "warnings"]"#);
    assert_snapshot!(format!("{:#}", printed["environment"]), @r#"
    {
      "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_…",
      "ANTHROPIC_IDENTITY_TOKEN_FILE": "/run/firman/claude-token",
      "ANTHROPIC_ORGANIZATION_ID": "<organization UUID>",
      "ANTHROPIC_SERVICE_ACCOUNT_ID": "svac_…"
    }
    "#);
    assert_eq!(printed["warnings"], json!([]));
}

#[test]
fn values_for_other_tools_are_printed_alone() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    assert_snapshot!(live.run("claude connect --agent mailer --format terraform-vars"), @r#"
    exit code 0
    ----- stdout
    claude_issuer_name = "firman-id-example-com-de96f5b6"
    claude_issuer_url = "https://id.example.com"
    claude_jwks_json = "{\"type\":\"discovery\"}"
    claude_rule_name = "agent-mailer-6894ea70"
    claude_subject = "agent:mailer"
    claude_acting_agent = "agent:mailer"
    claude_audience = "https://api.anthropic.com"
    claude_oauth_scope = "workspace:developer"
    claude_workspace_id = "default"
    claude_max_jwt_lifetime_seconds = 3600
    claude_token_lifetime_seconds = 600
    ----- stderr
    "#);
    assert_snapshot!(live.run(&format!("claude connect --agent mailer --format env --organization {ORGANIZATION} --service-account svac_01 --token-file /run/mailer/jwt")), @r"
    exit code 0
    ----- stdout
    ANTHROPIC_FEDERATION_RULE_ID='fdrl_…'
    ANTHROPIC_ORGANIZATION_ID=00000000-0000-4000-8000-000000000001
    ANTHROPIC_SERVICE_ACCOUNT_ID=svac_01
    ANTHROPIC_IDENTITY_TOKEN_FILE=/run/mailer/jwt
    ----- stderr
    warning: the ids at Claude are not known yet
    hint: firman claude connect --agent mailer --organization UUID --apply
    ");
}

#[test]
fn who_prints_an_overview_or_the_agents_side_alone_has_taken_no_copy_of_the_keys() {
    let live = Live::with_mailer(PRIVATE_ISSUER);
    let consumers = || {
        live.json("key consumer list")["items"]
            .as_array()
            .map(Vec::len)
    };
    for format in ["text", "env", "profile", "systemd", "kubernetes", "github"] {
        let line = format!(
            "claude connect --agent mailer --from {} --format {format}",
            live.public()
        );
        assert_eq!(live.outcome(&line).code, Some(0));
        assert_eq!(consumers(), Some(0), "{format}");
    }
    live.json(&format!(
        "claude connect --agent mailer --from {}",
        live.public()
    ));
    assert_eq!(consumers(), Some(1));
    for format in ["console", "api", "terraform-vars"] {
        live.json("key consumer remove claude-default --yes");
        let line = format!(
            "claude connect --agent mailer --from {} --format {format}",
            live.public()
        );
        assert_eq!(live.outcome(&line).code, Some(0));
        assert_eq!(consumers(), Some(1), "{format}");
    }
}

#[test]
fn the_account_that_was_chosen_is_among_the_fields_of_the_console() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    for account in ["svac_01", "robots"] {
        let line = format!("claude connect --agent mailer --service-account {account}");
        let fields = live.json(&line)["console"].clone();
        let field = json!({ "field": "Service account", "value": account });
        assert!(
            fields.as_array().expect("fields").contains(&field),
            "{fields}"
        );
    }
}

#[test]
fn linked_ids_stand_where_they_belong_unless_others_are_named() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    live.json(&format!("claude link mailer --rule fdrl_01 --organization {ORGANIZATION} --service-account svac_01 --workspace wrkspc_01"));
    assert_snapshot!(live.run("claude connect --agent mailer --format env"), @r"
    exit code 0
    ----- stdout
    ANTHROPIC_FEDERATION_RULE_ID=fdrl_01
    ANTHROPIC_ORGANIZATION_ID=00000000-0000-4000-8000-000000000001
    ANTHROPIC_SERVICE_ACCOUNT_ID=svac_01
    ANTHROPIC_IDENTITY_TOKEN_FILE=/run/firman/claude-token
    ANTHROPIC_WORKSPACE_ID=wrkspc_01
    ----- stderr
    ");
    assert_snapshot!(live.run("claude connect --agent mailer --format profile --token-file /run/mailer/jwt"), @r#"
    exit code 0
    ----- stdout
    {
      "authentication": {
        "federation_rule_id": "fdrl_01",
        "identity_token": {
          "path": "/run/mailer/jwt",
          "source": "file"
        },
        "service_account_id": "svac_01",
        "type": "oidc_federation"
      },
      "base_url": "https://api.anthropic.com",
      "organization_id": "00000000-0000-4000-8000-000000000001",
      "version": "1.0",
      "workspace_id": "wrkspc_01"
    }
    ----- stderr
    Save it as ~/.config/anthropic/configs/mailer.json, writable only by its owner, and set ANTHROPIC_PROFILE=mailer.
    "#);
    let other = "00000000-0000-4000-8000-000000000002";
    let printed = live.json(&format!(
        "claude connect --agent mailer --organization {other}"
    ));
    assert_eq!(printed["environment"]["ANTHROPIC_ORGANIZATION_ID"], other);
    assert_eq!(
        printed["environment"]["ANTHROPIC_FEDERATION_RULE_ID"],
        "fdrl_…"
    );
    let pair = live.json("claude connect --agent mailer --act-for user:ada");
    assert_eq!(
        pair["environment"]["ANTHROPIC_FEDERATION_RULE_ID"],
        "fdrl_…"
    );
}

#[test]
fn everything_too_wide_or_in_the_way_is_warned_about() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    let warned =
        |options: &str| codes(&live.json(&format!("claude connect --agent mailer{options}")));
    assert_eq!(warned(""), Vec::<String>::new());
    assert_eq!(warned(" --scope org:admin"), ["admin_scope"]);
    assert_eq!(warned(" --token-lifetime 60s"), ["short_access_token"]);
    assert_eq!(
        warned(" --discovery-base https://10.0.0.5"),
        ["not_reachable"]
    );
    assert_eq!(
        warned(&format!(" --inline-keys --from {}", live.public())),
        ["inline_keys"]
    );
    assert_eq!(warned(" --act-for user:ada"), ["no_delegation"]);
    live.json("role edit claude-user --revoke-grant claude");
    assert_eq!(warned(""), ["not_granted"]);
    live.json("agent suspend mailer");
    assert_eq!(warned(""), ["agent_inactive"]);
}

/// A certificate as far as its text goes.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

#[test]
fn a_private_authority_that_is_none_or_has_no_use_is_refused() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    let key = CERTIFICATE.replace("CERTIFICATE", "EC PRIVATE KEY");
    live.site.write("both.pem", format!("{CERTIFICATE}{key}"));
    live.site.write("text.pem", "no certificate");
    live.site.write("ca.pem", CERTIFICATE);
    assert_snapshot!(live.run("claude connect --agent mailer --ca-cert both.pem"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `both.pem` must contain only certificates, not a private key
    ");
    assert_snapshot!(live.run("claude connect --agent mailer --ca-cert text.pem"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `text.pem` is not certificates in PEM: it does not contain a PEM block (a line that starts with `-----BEGIN`)
    ");
    let inline = live.outcome("claude connect --agent mailer --inline-keys --ca-cert ca.pem");
    assert_eq!(inline.code, Some(2), "{inline}");
    drop(live);
    let live = Live::with_mailer(PRIVATE_ISSUER);
    live.site.write("ca.pem", CERTIFICATE);
    assert_snapshot!(live.run("claude connect --agent mailer --ca-cert ca.pem"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `--ca-cert` applies to keys that Claude fetches, and it cannot reach https://id.corp.internal
    hint: name the URL of a copy with `--discovery-base`, or drop `--ca-cert`
    ");
}

#[test]
fn a_private_authority_goes_into_the_console_and_the_requests() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    live.site.write("ca.pem", CERTIFICATE);
    let printed = live.json("claude connect --agent mailer --ca-cert ca.pem");
    assert_eq!(
        printed["issuer"]["jwks"],
        json!({ "type": "discovery", "ca_cert_pem": CERTIFICATE })
    );
    let copy = "--discovery-base https://keys.example.com --ca-cert ca.pem";
    let printed = live.json(&format!("claude connect --agent mailer {copy}"));
    assert_eq!(
        printed["issuer"]["jwks"],
        json!({ "type": "discovery", "discovery_base": "https://keys.example.com", "ca_cert_pem": CERTIFICATE })
    );
    let page = live.outcome("claude connect --agent mailer --format console --ca-cert ca.pem");
    let field = format!("\nCA certificate\n{CERTIFICATE}Maximum identity-token lifetime");
    assert!(page.stdout.contains(&field), "{page}");
}
