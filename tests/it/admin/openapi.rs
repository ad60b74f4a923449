//! The API's own description, and what follows from it.

use super::*;

#[tokio::test]
async fn every_described_operation_refuses_a_call_without_a_token() {
    let issuer = TestIssuer::start().await;
    let document = issuer
        .admin_raw(Method::GET, "/openapi.json", &[], "")
        .await;
    assert_eq!(
        (document.status, document.header("content-type")),
        (200, "application/json")
    );
    let document = document.json();
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1."))
    );
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let under = path
            .strip_prefix("/admin/v1")
            .unwrap_or_else(|| panic!("{path} is outside the base"));
        let under = under
            .replace("{name}", "x")
            .replace("{id}", "x")
            .replace("{kid}", "x");
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            assert_eq!(
                operation["security"],
                json!([{ "administrator_token": [] }]),
                "{method} {path}"
            );
            assert!(
                operation["responses"].get("default").is_some(),
                "{method} {path} tells no problem"
            );
            let answer = issuer
                .admin_raw(
                    method.clone(),
                    &under,
                    &[("content-type", "application/json")],
                    "{}",
                )
                .await;
            assert_eq!(
                kind_of(&answer),
                (401, "unauthorized".to_owned()),
                "{method} {path}"
            );
        }
    }
    assert_eq!(
        operations, 66,
        "an operation that is new must be looked at: who may call it?"
    );
}

#[tokio::test]
async fn the_document_has_what_openapi_demands() {
    let issuer = TestIssuer::start().await;
    let document = issuer
        .admin_raw(Method::GET, "/openapi.json", &[], "")
        .await
        .json();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(
                ids.insert(id.to_owned()),
                "{method} {path}: {id} is not unique"
            );
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"]
                        .as_str()
                        .is_some_and(|text| !text.is_empty()),
                    "{method} {path} {status} has no description"
                );
            }
        }
    }
    let schemas = &document["components"]["schemas"];
    let null = json!("null");
    for (schema, member) in [
        ("AgentEdit", "owner"),
        ("AgentEdit", "groups"),
        ("GroupEdit", "roles"),
        ("RoleEdit", "grants"),
        ("ResourceEdit", "scopes"),
        ("IssuerEdit", "max_lifetime"),
        ("DelegationEdit", "expires_at"),
        ("AdministratorEdit", "role"),
    ] {
        let types = &schemas[schema]["properties"][member]["type"];
        assert!(
            types.is_string(),
            "{schema}.{member} is refused as null, but: {types}"
        );
    }
    for (schema, member) in [
        ("AgentEdit", "expires_in"),
        ("AdministratorEdit", "expires_in"),
        ("ResourceEdit", "lifetime"),
        ("ResourceEdit", "algorithm"),
        ("ResourceEdit", "server"),
        ("ResourceEdit", "allow_delegation"),
    ] {
        let types = &schemas[schema]["properties"][member]["type"];
        assert!(
            types.as_array().is_some_and(|types| types.contains(&null)),
            "{schema}.{member} is taken as null, but: {types}"
        );
    }
}
