//! Client authentication, shared by the endpoints for clients. `issuer/authenticate/` verifies; this file turns
//! its outcome into a response.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::issuer::admission::Admission;
use crate::issuer::authenticate::{AuthenticatedClient, AuthenticationError, PresentedCredential};
use crate::issuer::{Caller, Issuer};

use super::error::OAuthError;
use super::form::Form;
use super::in_flight::Place;
use super::refusal::{Refusal, refuse, replayed};
use super::{Shared, client_auth};

/// Deadline of a response: after it the database counts as unavailable. The request is then dropped, and the
/// ledger does not record a request without a waiting caller.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The authenticated client of a request that issues no token: authenticated as at the token endpoint (RFC 7662
/// §2.1), its assertion marked as used, with its place among the client's requests in flight.
pub(super) async fn admitted(
    shared: &Shared,
    caller: &Caller,
    headers: &HeaderMap,
    form: &Form,
) -> Result<(AuthenticatedClient, Place), OAuthError> {
    let presented = client_auth::parse(headers, form)?;
    // A stale proof is verified again on fresh rows until the deadline.
    loop {
        let client = authenticate(shared, &presented, caller).await?;
        let place = shared.in_flight.place(&client.aggregate().agent.id).await;
        let admission = shared.issuer.admit(&client).await;
        match admission.map_err(|error| OAuthError::unavailable().because(error))? {
            Admission::Admitted => return Ok((client, place)),
            Admission::Stale => {}
            Admission::Replayed(what) => {
                let (issuer, agent) = (&shared.issuer, client.aggregate());
                return Err(replayed(issuer, agent, caller, what, Value::Null));
            }
        }
    }
}

/// Rejects any method but POST at an endpoint for clients.
pub(super) fn post_only(endpoint: &str) -> Response {
    let body = json!({ "error": "invalid_request", "error_description": format!("the {endpoint} accepts only POST") });
    (
        StatusCode::METHOD_NOT_ALLOWED,
        [(header::ALLOW, "POST"), (header::CACHE_CONTROL, "no-store")],
        Json(body),
    )
        .into_response()
}

/// Authenticates. A rejection that a newer row could change is decided once more on fresh rows.
pub(super) async fn authenticate(
    shared: &Shared,
    presented: &PresentedCredential,
    caller: &Caller,
) -> Result<AuthenticatedClient, OAuthError> {
    let issuer = &shared.issuer;
    let basis = issuer.registry_version();
    let mut result = issuer
        .authenticate(presented, issuer.ports().clock.now())
        .await;
    if matches!(
        result,
        Err(AuthenticationError::Refused {
            rests_on_state: true,
            ..
        } | AuthenticationError::Assertion {
            rests_on_state: true,
            ..
        } | AuthenticationError::External {
            rests_on_state: true,
            ..
        })
    ) && renewed(issuer, basis).await?
    {
        result = issuer
            .authenticate(presented, issuer.ports().clock.now())
            .await;
    }
    match result {
        Ok(client) => Ok(client),
        Err(AuthenticationError::Refused {
            reason,
            unverified_client_id,
            ..
        }) => {
            let claimed = unverified_client_id.unwrap_or_default();
            issuer.note_unproven(&reason, &claimed, caller);
            if shared.refusals.is_exceeded(&caller.address, &claimed) {
                return Err(OAuthError::slow_down());
            }
            Err(OAuthError::invalid_client().because(reason))
        }
        Err(AuthenticationError::Assertion {
            problem,
            remedy,
            client,
            ..
        }) => {
            let answer = OAuthError::invalid_assertion(problem.clone());
            let refusal = Refusal {
                answer: &answer,
                reason: &problem,
                hint: remedy.as_ref(),
                facts: Value::Null,
            };
            refuse(issuer, &client, caller, refusal);
            Err(answer)
        }
        Err(AuthenticationError::External {
            problem, claimed, ..
        }) => {
            issuer.note_unproven(&problem, &claimed, caller);
            if shared.refusals.is_exceeded(&caller.address, &claimed) {
                return Err(OAuthError::slow_down());
            }
            Err(OAuthError::invalid_assertion(problem))
        }
        Err(AuthenticationError::Unavailable(source)) => {
            Err(OAuthError::unavailable().because(source))
        }
    }
}

/// Updates the cache from the database; true when it is then newer than the basis of the rejection.
pub(super) async fn renewed(issuer: &Issuer, basis: i64) -> Result<bool, OAuthError> {
    issuer
        .renew(basis)
        .await
        .map_err(|error| OAuthError::unavailable().because(error))
}
