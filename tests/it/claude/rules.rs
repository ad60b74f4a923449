//! Every cause of a denial, by one fault in a token, rule or request that is otherwise good.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use firman::jose::ForeignKeySet;
use firman::jose::digest::base64url;
use firman::ports::time::UnixTime;
use firman::relying_party::claude::{
    Accepted, Denial, Denied, Evaluation, ExchangeRequest, FederationIssuer, FederationRule,
    ServiceAccount, WorkspaceId, access_token_lifetime, evaluate,
};
use firman::testing::TestKey;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const ORGANIZATION: &str = "550e8400-e29b-41d4-a716-446655440000";

/// Everything that bears on an exchange, as JSON, to be spoilt at one place.
#[derive(Clone)]
struct Case {
    header: Value,
    claims: Value,
    rule: Value,
    issuer: Value,
    request: Value,
    signer: TestKey,
    /// What goes out instead of the signed token.
    instead: Option<String>,
}

fn good() -> Case {
    let kid = TestKey::Es256.signing_key().kid().to_owned();
    Case {
        header: json!({"alg": "ES256", "typ": "JWT", "kid": kid}),
        claims: json!({
            "iss": "https://id.example.com", "sub": "agent:mailer", "aud": "https://api.anthropic.com",
            "iat": NOW, "nbf": NOW, "exp": NOW + 600, "jti": "jti-1",
            "acting_agent": "agent:mailer", "groups": ["deployers"], "level": 3,
        }),
        rule: json!({
            "id": "fdrl_01", "name": "mailer", "issuer_id": "fdis_01",
            "match": {
                "subject_prefix": "agent:mailer", "audience": "https://api.anthropic.com",
                "claims": {"acting_agent": "agent:mailer"},
            },
            "target": {"type": "service_account", "service_account_id": "svac_01"},
            "oauth_scope": "workspace:developer", "token_lifetime_seconds": 3600, "workspace_id": "default",
        }),
        issuer: json!({"id": "fdis_01", "name": "firman", "issuer_url": "https://id.example.com"}),
        request: json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "x",
            "federation_rule_id": "fdrl_01", "organization_id": ORGANIZATION, "service_account_id": "svac_01",
        }),
        signer: TestKey::Es256,
        instead: None,
    }
}

impl Case {
    fn token(&self) -> String {
        self.instead.clone().unwrap_or_else(|| {
            let (header, claims) = (self.header.to_string(), self.claims.to_string());
            self.signer
                .signing_key()
                .sign_parts(header.as_bytes(), claims.as_bytes())
                .unwrap()
        })
    }

    fn evaluate(&self) -> Result<Accepted, Denied> {
        let read = |value: &Value| value.as_object().unwrap().clone();
        let rule: FederationRule = serde_json::from_value(self.rule.clone()).unwrap();
        let issuer: FederationIssuer = serde_json::from_value(self.issuer.clone()).unwrap();
        let account: ServiceAccount = serde_json::from_value(json!({
            "id": "svac_01", "name": "mailer", "workspaces": [{"workspace_id": "wrkspc_member"}],
        }))
        .unwrap();
        let keys = [TestKey::Es256, TestKey::Rs256, TestKey::EdDsa]
            .map(|key| key.signing_key().public_jwk().to_value());
        let keys = json!({ "keys": keys }).to_string();
        let (_, request) = ExchangeRequest::parse(&read(&self.request)).unwrap();
        evaluate(&Evaluation {
            token: &self.token(),
            issuer: &issuer,
            rule: &rule,
            service_account: Some(&account),
            keys: &ForeignKeySet::parse_published(keys.as_bytes()).unwrap(),
            now: UnixTime(NOW),
            request: &request,
        })
    }

    /// The cause of the denial, with its detail.
    fn denial(&self) -> Option<(Denial, String)> {
        self.evaluate()
            .err()
            .map(|denied| (denied.denial, denied.detail))
    }
}

type Spoil = fn(&mut Case);

/// A cause, the one fault that leads to it, and the start of the message.
const FAULTS: &[(Denial, Spoil, &str)] = &[
    (
        Denial::RuleArchived,
        |c| c.rule["archived_at"] = json!("2027-01-01T00:00:00Z"),
        "fdrl_01 is archived",
    ),
    (
        Denial::TooLarge,
        |c| c.claims["padding"] = json!("x".repeat(16 * 1024)),
        "the token has 2",
    ),
    (
        Denial::Malformed,
        |c| c.instead = Some("two.parts".to_owned()),
        "the token is not a compact JWS",
    ),
    (
        Denial::Malformed,
        |c| c.instead = Some(String::new()),
        "the token is not a compact JWS",
    ),
    (
        Denial::Malformed,
        |c| c.claims["exp"] = json!("1800000600"),
        "`exp` must be a JSON number",
    ),
    (
        Denial::Malformed,
        |c| c.claims["jti"] = json!(7),
        "`jti` must be a string",
    ),
    (
        Denial::Malformed,
        |c| c.claims["aud"] = json!({}),
        "`aud` must be a string",
    ),
    (
        Denial::Algorithm,
        |c| c.header["alg"] = json!("HS256"),
        "`alg` is \"HS256\"",
    ),
    (
        Denial::Algorithm,
        |c| c.header["alg"] = json!("none"),
        "`alg` is \"none\"",
    ),
    (
        Denial::Algorithm,
        |c| c.header["alg"] = json!("ES512"),
        "`alg` is ES512; the key of that `kid` is for ES256",
    ),
    (
        Denial::Algorithm,
        |c| {
            c.signer = TestKey::EdDsa;
            c.header = json!({"alg": "EdDSA", "kid": TestKey::EdDsa.signing_key().kid()});
        },
        "`alg` is \"EdDSA\"",
    ),
    (
        Denial::Algorithm,
        |c| c.header["alg"] = json!("RS256"),
        "`alg` is RS256; the key of that `kid` is for ES256",
    ),
    (
        Denial::KidMissing,
        |c| {
            c.header.as_object_mut().unwrap().remove("kid");
        },
        "the header has no `kid`",
    ),
    (
        Denial::IssuerMismatch,
        |c| c.claims["iss"] = json!("https://id.example.com/"),
        "`iss` is \"https://id.example.com/\", registered is",
    ),
    (
        Denial::IssuerMismatch,
        |c| c.claims["iss"] = json!("http://id.example.com"),
        "`iss` is",
    ),
    (
        Denial::IssuerMismatch,
        |c| c.claims["iss"] = json!("https://ID.example.com"),
        "`iss` is",
    ),
    (
        Denial::IssuerMismatch,
        |c| c.claims["iss"] = Value::Null,
        "the token has no `iss`",
    ),
    (
        Denial::UnknownKid,
        |c| c.header["kid"] = json!("rotated"),
        "`kid` is \"rotated\"; known keys: ",
    ),
    (
        Denial::Signature,
        |c| c.signer = TestKey::Es256Second,
        "the key ",
    ),
    (
        Denial::SubMissing,
        |c| {
            c.claims.as_object_mut().unwrap().remove("sub");
        },
        "the token has no `sub`",
    ),
    (
        Denial::SubMissing,
        |c| c.claims["sub"] = json!(""),
        "the token has no `sub`",
    ),
    (
        Denial::ExpMissing,
        |c| {
            c.claims.as_object_mut().unwrap().remove("exp");
        },
        "the token has no `exp`",
    ),
    (
        Denial::IatMissing,
        |c| {
            c.claims.as_object_mut().unwrap().remove("iat");
        },
        "the token has no `iat`",
    ),
    (
        Denial::Expired,
        |c| {
            c.claims["exp"] = json!(NOW - 30);
            c.claims["iat"] = json!(NOW - 600);
        },
        "the token expired at 2027-01-15T07:59:30Z, 30 s before 2027-01-15T08:00:00Z",
    ),
    (
        Denial::NotYetValid,
        |c| c.claims["nbf"] = json!(NOW + 31),
        "`nbf` is 2027-01-15T08:00:31Z",
    ),
    (
        Denial::IssuedInFuture,
        |c| c.claims["iat"] = json!(NOW + 31),
        "`iat` is 2027-01-15T08:00:31Z",
    ),
    (
        Denial::Lifetime,
        |c| c.claims["exp"] = json!(NOW + 3601),
        "the token lives 3601 s; the issuer's maximum is 3600 s",
    ),
    (
        Denial::Lifetime,
        |c| c.issuer["max_jwt_lifetime_seconds"] = json!(599),
        "the token lives 600 s",
    ),
    (
        Denial::Lifetime,
        |c| c.claims["exp"] = json!(NOW),
        "the token lives 0 s",
    ),
    (
        Denial::Audience,
        |c| c.claims["aud"] = json!("https://api.anthropic.com/"),
        "`aud` is",
    ),
    (
        Denial::Audience,
        |c| c.claims["aud"] = json!(["https://a", "https://b"]),
        "`aud` is \"https://a, https://b\"",
    ),
    (
        Denial::Audience,
        |c| {
            c.claims.as_object_mut().unwrap().remove("aud");
        },
        "`aud` is missing",
    ),
    (
        Denial::Audience,
        |c| {
            c.rule["match"]["audience"] = Value::Null;
            c.claims["aud"] = json!("https://other.example");
        },
        "`aud` is \"https://other.example\"; the rule requires \"https://api.anthropic.com\"",
    ),
    (
        Denial::MatchSubjectPrefix,
        |c| c.claims["sub"] = json!("agent:mailer2"),
        "`sub` is \"agent:mailer2\"",
    ),
    (
        Denial::MatchSubjectPrefix,
        |c| c.claims["sub"] = json!("agent:Mailer"),
        "`sub` is",
    ),
    (
        Denial::MatchSubjectPrefix,
        |c| c.rule["match"]["subject_prefix"] = json!("agent:team-a.*"),
        "`sub` is",
    ),
    (
        Denial::MatchClaims,
        |c| c.claims["acting_agent"] = json!("agent:other"),
        "\"acting_agent\" is \"agent:other\"",
    ),
    (
        Denial::MatchClaims,
        |c| {
            c.claims.as_object_mut().unwrap().remove("acting_agent");
        },
        "\"acting_agent\" is missing",
    ),
    (
        Denial::MatchClaims,
        |c| c.rule["match"]["claims"] = json!({"groups": "deployers"}),
        "\"groups\" is",
    ),
    (
        Denial::MatchClaims,
        |c| c.rule["match"]["claims"] = json!({"level": "3"}),
        "\"level\" is \"3\"; the rule requires the string",
    ),
    (
        Denial::MatchCondition,
        |c| c.rule["match"]["condition"] = json!("claims.sub == 'agent:x'"),
        "the condition \"claims.sub == 'agent:x'\" is false",
    ),
    (
        Denial::MatchCondition,
        |c| c.rule["match"]["condition"] = json!("claims.act.sub == 'agent:x'"),
        "the condition \"claims.act.sub",
    ),
    (
        Denial::MatchCondition,
        |c| c.rule["match"]["condition"] = json!("claims.sub"),
        "the condition \"claims.sub\"",
    ),
    (
        Denial::ServiceAccountMismatch,
        |c| c.request["service_account_id"] = json!("svac_02"),
        "the request names svac_02",
    ),
    (
        Denial::WorkspaceIdRequired,
        |c| c.rule["workspaces"] = json!(["wrkspc_member"]),
        "the rule is enabled in 2 workspaces",
    ),
    (
        Denial::WorkspaceIdRequired,
        |c| c.rule["applies_to_all_workspaces"] = json!(true),
        "the rule applies to all",
    ),
    (
        Denial::WorkspaceNotAllowed,
        |c| c.request["workspace_id"] = json!("wrkspc_member"),
        "the rule is not enabled in",
    ),
    (
        Denial::WorkspaceNotAllowed,
        |c| c.rule["workspace_id"] = json!("wrkspc_other"),
        "the service account svac_01 is not a member",
    ),
];

/// What only the one who keeps the rules, fetches the keys and remembers the tokens can tell.
const NEEDS_MEMORY: [Denial; 3] = [
    Denial::RuleUnknown,
    Denial::JwksUnavailable,
    Denial::JtiReused,
];

#[test]
fn one_fault_is_denied_for_its_own_cause() {
    for (index, (cause, spoil, told)) in FAULTS.iter().enumerate() {
        let mut case = good();
        spoil(&mut case);
        let (denial, detail) = case
            .denial()
            .unwrap_or_else(|| panic!("{index} {cause}: accepted"));
        assert_eq!(denial, *cause, "{index}: {detail}");
        assert!(detail.starts_with(told), "{index} {cause}: {detail}");
    }
}

#[test]
fn every_cause_has_its_fault() {
    for denial in Denial::ALL {
        let is_here = FAULTS.iter().any(|(cause, ..)| cause == denial);
        assert_ne!(is_here, NEEDS_MEMORY.contains(denial), "{denial}");
    }
}

#[test]
fn a_detail_never_holds_the_token() {
    for (_, spoil, _) in FAULTS {
        let mut case = good();
        spoil(&mut case);
        let signature = case.token().rsplit('.').next().unwrap().to_owned();
        let (_, detail) = case.denial().unwrap();
        assert!(
            signature.len() < 20 || !detail.contains(&signature),
            "{detail}"
        );
    }
}

#[test]
fn thirty_seconds_are_forgiven_and_not_one_more() {
    for (claim, time) in [("exp", NOW - 29), ("nbf", NOW + 30), ("iat", NOW + 30)] {
        let mut case = good();
        if claim == "exp" {
            case.claims["iat"] = json!(NOW - 600);
        }
        case.claims[claim] = json!(time);
        assert_eq!(case.denial(), None, "{claim}");
    }
}

#[test]
fn a_good_token_is_accepted_with_what_it_buys() {
    let accepted = good().evaluate().unwrap();
    assert_eq!(accepted.access_lifetime, 1200);
    assert_eq!(accepted.jti.as_deref(), Some("jti-1"));
    assert_eq!(accepted.expires_at, UnixTime(NOW + 600));
    assert_eq!(
        accepted.workspace_id,
        Some(WorkspaceId::default_workspace())
    );
    assert_eq!(Value::Object(accepted.claims), good().claims);
}

#[test]
fn what_the_documentation_allows_is_accepted() {
    let allowed: [(&str, Spoil); 8] = [
        ("no jti", |c| {
            c.claims.as_object_mut().unwrap().remove("jti");
        }),
        ("no nbf", |c| {
            c.claims.as_object_mut().unwrap().remove("nbf");
        }),
        ("one audience of many", |c| {
            c.claims["aud"] = json!(["x", "https://api.anthropic.com"])
        }),
        ("a prefix", |c| {
            c.rule["match"]["subject_prefix"] = json!("agent:*")
        }),
        ("no audience in the rule", |c| {
            c.rule["match"]["audience"] = Value::Null
        }),
        ("a true condition", |c| {
            c.rule["match"]["condition"] = json!("'deployers' in claims.groups")
        }),
        ("a workspace of both", |c| {
            c.rule["workspaces"] = json!(["wrkspc_member"]);
            c.request["workspace_id"] = json!("wrkspc_member");
        }),
        ("RS256", |c| {
            c.signer = TestKey::Rs256;
            c.header = json!({"alg": "RS256", "kid": TestKey::Rs256.signing_key().kid()});
        }),
    ];
    for (what, change) in allowed {
        let mut case = good();
        change(&mut case);
        assert_eq!(case.denial(), None, "{what}");
    }
}

#[test]
fn a_token_of_another_agent_that_acts_for_this_subject_does_not_pass() {
    let mut delegated = good();
    delegated.claims["acting_agent"] = json!("agent:other");
    delegated.claims["act"] = json!({"sub": "agent:other"});
    assert_eq!(delegated.denial().unwrap().0, Denial::MatchClaims);
    delegated.rule["match"] =
        json!({"condition": "claims.sub == 'agent:mailer' && !has(claims.act)"});
    assert_eq!(delegated.denial().unwrap().0, Denial::MatchCondition);
}

#[test]
fn an_access_token_lives_at_most_twice_as_long_as_the_identity_token_and_never_under_a_minute() {
    for (rule, remaining, expected) in [
        (3600, -20, 60),
        (3600, 0, 60),
        (3600, 29, 60),
        (3600, 31, 62),
        (3600, 600, 1200),
        (600, 600, 600),
        (60, 600, 60),
        (86_400, i64::MAX, 86_400),
    ] {
        assert_eq!(
            access_token_lifetime(rule, remaining),
            expected,
            "{rule} {remaining}"
        );
    }
}

#[test]
fn a_request_that_is_not_as_documented_is_reported_by_its_field() {
    let request = |spoil: fn(&mut Value)| {
        let mut request = good().request;
        spoil(&mut request);
        let refused = ExchangeRequest::parse(request.as_object().unwrap()).unwrap_err();
        format!("{} {}", refused.field, refused.problem)
    };
    for (spoil, expected) in [
        (
            (|r| r["grant_type"] = json!("client_credentials")) as fn(&mut Value),
            "grant_type must be urn:ietf:params:oauth:grant-type:jwt-bearer",
        ),
        (|r| r["assertion"] = Value::Null, "assertion is required"),
        (
            |r| r["assertion"] = json!(["x"]),
            "assertion must be a string",
        ),
        (
            |r| r["federation_rule_id"] = json!("rule"),
            "federation_rule_id is not a well-formed fdrl_ tagged ID",
        ),
        (
            |r| r["organization_id"] = json!("org_1"),
            "organization_id is not a well-formed UUID",
        ),
        (
            |r| r["service_account_id"] = Value::Null,
            "service_account_id is required",
        ),
        (
            |r| r["workspace_id"] = json!("space"),
            "workspace_id is not a well-formed wrkspc_ tagged ID",
        ),
    ] {
        assert_eq!(request(spoil), expected);
    }
    let body = good().request;
    let (assertion, parsed) = ExchangeRequest::parse(body.as_object().unwrap()).unwrap();
    assert_eq!(parsed.to_body(&assertion), body);
}

#[test]
fn garbage_in_the_place_of_a_token_is_denied_and_does_no_harm() {
    let header = base64url(br#"{"alg":"ES256","kid":"k"}"#);
    for garbage in [
        "\0".to_owned(),
        "é.é.é".to_owned(),
        format!("{header}.{}.AA", base64url(b"[]")),
        format!("{header}.{}.AA", base64url(b"{\"iss\":1,\"iss\":2}")),
        format!("{header}..AA"),
        "Bearer x.y.z".to_owned(),
        ".".repeat(100),
    ] {
        let case = Case {
            instead: Some(garbage.clone()),
            ..good()
        };
        assert_eq!(case.denial().unwrap().0, Denial::Malformed, "{garbage}");
    }
}
