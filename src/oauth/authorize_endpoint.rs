//! `/oauth2/authorize`. Client libraries require the member `authorization_endpoint` in discovery, also
//! those that never send a browser there. There is no authorization-code grant yet: every request gets
//! one page that says so, and nothing of the request is read, so that nothing is redirected or echoed.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};

use super::Shared;
use super::error::ErrorCode;

pub(super) fn route() -> MethodRouter<Shared> {
    any(refuse)
}

/// RFC 6749 §4.1.2.1: an error for which no `redirect_uri` is verified is shown, not redirected.
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
