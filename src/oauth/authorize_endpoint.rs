//! `/oauth2/authorize`. Client libraries require the member `authorization_endpoint` in discovery, even those that
//! never send a browser there. The authorization-code grant is not supported yet: every request gets the same
//! page, which states this. Nothing of the request is read, so nothing is redirected or echoed.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};

use super::Shared;
use super::error::ErrorCode;

pub(super) fn route() -> MethodRouter<Shared> {
    any(refuse)
}

/// RFC 6749 §4.1.2.1: an error without a verified `redirect_uri` is shown, not redirected.
async fn refuse(State(shared): State<Shared>) -> Response {
    let error = ErrorCode::UnsupportedResponseType.as_str();
    let issuer = shared.issuer.url();
    let page = format!(
        "error: {error}\n\
         error_description: this issuer has no authorization-code grant\n\
         \n\
         Agents request tokens at {issuer}/oauth2/token\n"
    );
    (
        StatusCode::BAD_REQUEST,
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; frame-ancestors 'none'",
            ),
            (header::REFERRER_POLICY, "no-referrer"),
        ],
        page,
    )
        .into_response()
}
