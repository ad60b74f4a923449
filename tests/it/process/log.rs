//! The log at its most verbose level: everything but secrets.

use firman::jose::digest::base64url;

use super::crash::audited;
use super::*;

#[test]
fn no_secret_reaches_the_log_on_sqlite() {
    keeps_secrets(Site::new(), Vec::new());
}

#[test]
fn no_secret_reaches_the_log_on_postgresql() {
    // The server for tests lets everybody in, whatever the password.
    let url = fresh_postgres_database().replacen('@', ":hunter2-database@", 1);
    let site = Site::new().with("FIRMAN_DATABASE_URL", &url);
    keeps_secrets(site, vec!["hunter2-database".to_owned()]);
}

#[test]
fn the_log_holds_the_reason_that_a_client_before_its_signature_does_not_see() {
    let site = Site::new().with("FIRMAN_ISSUER_URL", ISSUER);
    let server = site.start();
    server.register_mailer();
    let key = TestKey::Es256.signing_key();
    let header = json!({"alg": "ES256", "crit": ["exp"]}).to_string();
    let claims =
        json!({"iss": MAILER, "sub": MAILER, "aud": ISSUER, "jti": "1", "exp": unix_now() + 60});
    let critical = key
        .sign_parts(header.as_bytes(), claims.to_string().as_bytes())
        .unwrap();
    let reply = server.token(&assertion_form(&critical)).unwrap();
    assert_eq!(
        (reply.status, reply.json()["error_description"].as_str()),
        (401, Some("client authentication failed"))
    );
    let log = server.stop().stderr;
    let reason = r#""reason":"the header member `crit` is not supported; leave it out""#;
    assert!(log.contains(reason), "{log}");
}

fn keeps_secrets(site: Site, mut secrets: Vec<String>) {
    let kek = base64url(&[0x5a; 32]);
    let site = site
        .with("FIRMAN_ISSUER_URL", ISSUER)
        .with("FIRMAN_KEK", &kek)
        .with("FIRMAN_LOG", "trace");
    let server = site.start();
    secrets.extend([kek, server.admin_token.clone()]);
    server.register_mailer();
    secrets.extend(present_secrets(&server));
    secrets.extend(present_assertions(&server));
    secrets.extend(register_private_keys(&server));
    secrets.extend(present_admin_tokens(&server));
    let audit = audited_text(&site);
    let outcome = server.stop();

    assert_eq!(outcome.code, Some(0), "{outcome}");
    // It did talk about these requests.
    let answers = outcome.stderr.matches(r#""message":"answered""#).count();
    assert!(answers > 20, "{}", outcome.stderr);
    for secret in secrets {
        assert!(secret.len() >= 8, "{secret} would be found by chance");
        for (place, text) in [("log", &outcome.stderr), ("audit", &audit)] {
            assert!(
                !text.contains(&secret),
                "the {place} holds {secret}:\n{text}"
            );
        }
    }
}

fn audited_text(site: &Site) -> String {
    let events = ["agent.created", "token.issued", "token.refused"];
    let entries = events.iter().flat_map(|event| audited(site, event));
    entries.map(|entry| entry.to_string()).collect()
}

/// A token in whole and in part: a signature alone is as telling.
fn parts(token: &str) -> Vec<String> {
    let mut parts: Vec<String> = token.split('.').skip(1).map(str::to_owned).collect();
    parts.push(token.to_owned());
    parts
}

fn present_secrets(server: &Server) -> Vec<String> {
    let agent = json!({"name": "clerk", "owner": "ops", "roles": ["reader"], "credential": {"kind": "client_secret"}});
    let secret = server.create("/agents", &agent)["client_secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let form = "grant_type=client_credentials&client_id=clerk&client_secret=";
    let reply = server.token(&format!("{form}{secret}")).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    let mut found = parts(reply.json()["access_token"].as_str().unwrap());
    let wrong = format!("fmn_{}", "A".repeat(49));
    for bad in [
        format!("{form}hunter2-garbage"),
        format!("{form}{wrong}"),
        format!("{form}{secret}&client_secret={secret}"),
        format!("{form}{secret}&scope=hunter2-scope"),
        format!("{form}{secret}&resource=hunter2-resource"),
        format!("grant_type=hunter2-grant&client_id=clerk&client_secret={secret}"),
        format!("hunter2-field={secret}"),
    ] {
        assert_refused(&server.token(&bad).unwrap());
    }
    let basic = firman::jose::digest::base64url(format!("clerk:{secret}").as_bytes());
    let headers = [
        ("authorization", format!("Basic {basic}")),
        (
            "content-type",
            "application/x-www-form-urlencoded".to_owned(),
        ),
    ];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let form = "grant_type=client_credentials";
    exchange(server.public, "POST", "/oauth2/token", &headers, form).unwrap();
    let query = format!("/oauth2/token?client_id=clerk&client_secret={secret}");
    assert_refused(&exchange(server.public, "GET", &query, &[], "").unwrap());
    assert_refused(&exchange(server.public, "GET", &format!("/{secret}"), &[], "").unwrap());
    found.extend([
        secret,
        wrong,
        basic,
        "hunter2-garbage".to_owned(),
        "hunter2-field".to_owned(),
    ]);
    found
}

fn present_assertions(server: &Server) -> Vec<String> {
    let good = assertion("hunter2-jti");
    let reply = server.token(&assertion_form(&good)).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    let mut found = parts(reply.json()["access_token"].as_str().unwrap());
    let key = TestKey::Es256Second.signing_key();
    let header = json!({"alg": "ES256", "kid": TestKey::Es256.signing_key().kid()}).to_string();
    let claims = json!({"iss": MAILER, "sub": MAILER, "aud": ISSUER, "jti": "hunter2-forged", "exp": unix_now() + 60});
    let forged = key
        .sign_parts(header.as_bytes(), claims.to_string().as_bytes())
        .unwrap();
    let other_audience = {
        let key = TestKey::Es256.signing_key();
        let claims = json!({"iss": MAILER, "sub": MAILER, "aud": "https://other.example.com", "jti": "hunter2-other", "exp": unix_now() + 60});
        key.sign_parts(header.as_bytes(), claims.to_string().as_bytes())
            .unwrap()
    };
    let torn = good[..good.len() - 9].to_owned();
    for bad in [&good, &forged, &other_audience, &torn] {
        assert_refused(&server.token(&assertion_form(bad)).unwrap());
    }
    found.extend(
        [good, forged, other_audience]
            .iter()
            .flat_map(|token| parts(token)),
    );
    found
}

/// A user pastes the wrong half of a key pair.
fn register_private_keys(server: &Server) -> Vec<String> {
    let d = "hunter2-private-d-870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE";
    let mut jwk = TestKey::Es256Third.signing_key().public_jwk().to_value();
    jwk["d"] = json!(d);
    let pem = TestKey::Es256Third
        .signing_key()
        .to_pkcs8_pem()
        .unwrap()
        .to_string();
    let body =
        |credential: Value| json!({"name": "careless", "owner": "ops", "credential": credential});
    for bad in [
        body(json!({"kind": "public_key", "jwk": jwk})),
        body(json!({"kind": "public_key", "jwk": pem})),
        body(json!({"kind": "public_key", "pem": pem})),
        body(json!({"kind": "public_key", "jwk": {"kty": "oct", "k": d}})),
        json!({"name": "careless", "owner": "ops", "attributes": {"team": "mail"}, "credential": pem}),
    ] {
        assert_refused(&server.admin("POST", "/agents", &bad).unwrap());
    }
    let mut found: Vec<String> = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::to_owned)
        .collect();
    found.push(d.to_owned());
    found
}

fn present_admin_tokens(server: &Server) -> Vec<String> {
    let wrong = format!("fma_{}", "B".repeat(43));
    for authorization in [
        format!("Bearer {wrong}"),
        "Bearer hunter2-bearer".to_owned(),
        "hunter2-scheme x".to_owned(),
    ] {
        let headers = [("authorization", authorization.as_str())];
        assert_refused(&exchange(server.private, "GET", "/admin/v1/agents", &headers, "").unwrap());
    }
    let authorization = format!("Bearer {}", server.admin_token);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let torn = r#"{"name": "hunter2-torn", "owner": "#;
    assert_refused(&exchange(server.private, "POST", "/admin/v1/agents", &headers, torn).unwrap());
    vec![
        wrong,
        "hunter2-bearer".to_owned(),
        "hunter2-scheme".to_owned(),
        "hunter2-torn".to_owned(),
    ]
}

fn assert_refused(reply: &Reply) {
    assert!(
        (400..500).contains(&reply.status),
        "{} {}",
        reply.status,
        reply.body
    );
}
