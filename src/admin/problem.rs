//! The API's errors: RFC 9457 problem details. Each has a fixed kind, a sentence with the fault, often a hint,
//! and the request's id. The private cause of an internal fault is logged with that id and never sent.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse;

use crate::api::problem::Problem as ProblemBody;
use crate::domain::Invalid;
use crate::domain::administrator::NotAdmitted;
use crate::domain::remedy::Remedy;
use crate::issuer::IssuerError;
use crate::ports::cause::with_causes;
use crate::ports::request::RequestId;

/// The kinds of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Invalid,
    Conflict,
    PreconditionFailed,
    UnsupportedMediaType,
    TooLarge,
    ResultNotShown,
    Unconfirmed,
    Unavailable,
}

impl Kind {
    fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ResultNotShown | Self::Unconfirmed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn name_and_title(self) -> (&'static str, &'static str) {
        match self {
            Self::Unauthorized => (
                "unauthorized",
                "The call does not carry a valid administrator token",
            ),
            Self::Forbidden => ("forbidden", "The administrator may not do this"),
            Self::NotFound => ("not_found", "Not found"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", "The path does not accept this method")
            }
            Self::Invalid => ("invalid", "The request is not well-formed"),
            Self::Conflict => ("conflict", "The state of the registry forbids it"),
            Self::PreconditionFailed => ("precondition_failed", "The object has changed"),
            Self::UnsupportedMediaType => ("unsupported_media_type", "The body is not JSON"),
            Self::TooLarge => ("too_large", "The body is too large"),
            Self::ResultNotShown => (
                "result_not_shown",
                "The change was made; its result cannot be shown",
            ),
            Self::Unconfirmed => ("unconfirmed", "The change may have been made"),
            Self::Unavailable => ("unavailable", "Temporarily unavailable"),
        }
    }
}

/// A problem to answer with; [`finish`] writes it, because it knows the request's id.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    field: Option<String>,
    hint: Option<String>,
    /// True when a token was sent and is not valid (RFC 6750 §3.1).
    token_was_sent: bool,
    private_cause: Option<String>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            field: None,
            hint: None,
            token_was_sent: false,
            private_cause: None,
        }
    }

    pub(super) fn unauthorized(detail: &str, token_was_sent: bool) -> Self {
        Self {
            token_was_sent,
            ..Self::new(Kind::Unauthorized, detail)
        }
    }

    /// The same with what to do about it.
    pub(super) fn with_remedy(self, remedy: &Remedy) -> Self {
        Self {
            hint: Some(remedy.to_string()),
            ..self
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(Kind::NotFound, "not found")
            .with_remedy(&Remedy::action("see the paths at `/admin/v1/openapi.json`"))
    }

    /// A member or parameter that is not well-formed.
    pub(super) fn invalid(field: impl Into<String>, problem: &str) -> Self {
        let field = field.into();
        Self {
            detail: format!("{field}: {problem}"),
            field: Some(field),
            ..Self::new(Kind::Invalid, "")
        }
    }

    /// Writes the problem over `response`, whose headers (such as `Allow`) stay.
    fn write(self, response: &mut Response<Body>, request_id: &str) {
        if let Some(cause) = &self.private_cause {
            tracing::error!(request_id, cause, "a call to the admin API failed");
        }
        let (name, title) = self.kind.name_and_title();
        let body = ProblemBody {
            kind: format!("urn:firman:problem:{name}"),
            title: title.to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail,
            request_id: request_id.to_owned(),
            field: self.field,
            hint: self.hint,
        };
        let written = Json(body).into_response();
        *response.status_mut() = self.kind.status();
        *response.body_mut() = written.into_body();
        let headers = response.headers_mut();
        headers.remove(axum::http::header::CONTENT_LENGTH);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self.kind {
            Kind::Unauthorized => {
                let challenge = if self.token_was_sent {
                    r#"Bearer realm="firman", error="invalid_token""#
                } else {
                    r#"Bearer realm="firman""#
                };
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Kind::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Kind::Forbidden
            | Kind::NotFound
            | Kind::MethodNotAllowed
            | Kind::Invalid
            | Kind::Conflict
            | Kind::PreconditionFailed
            | Kind::UnsupportedMediaType
            | Kind::TooLarge
            | Kind::ResultNotShown
            | Kind::Unconfirmed => {}
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self {
            hint: invalid.remedy.map(|remedy| remedy.to_string()),
            ..Self::invalid(invalid.field, &invalid.problem)
        }
    }
}

impl From<NotAdmitted> for Problem {
    fn from(refused: NotAdmitted) -> Self {
        let detail = refused.to_string();
        match refused {
            NotAdmitted::Unknown | NotAdmitted::Revoked | NotAdmitted::Expired => {
                Self::unauthorized(&detail, true)
            }
            NotAdmitted::RoleTooLow { .. } => Self::new(Kind::Forbidden, detail),
        }
    }
}

impl From<IssuerError> for Problem {
    fn from(error: IssuerError) -> Self {
        let detail = error.to_string();
        let hint = error.remedy().map(|remedy| remedy.to_string());
        let refused = |kind, detail| Self {
            hint,
            ..Self::new(kind, detail)
        };
        match error {
            IssuerError::Invalid(invalid) => invalid.into(),
            IssuerError::NotFound { .. } => Self::new(Kind::NotFound, detail),
            IssuerError::Conflict { .. } => refused(Kind::Conflict, detail),
            IssuerError::Stale { .. } => refused(Kind::PreconditionFailed, detail),
            IssuerError::NotAdmitted(refused) => refused.into(),
            IssuerError::NotShown { source, .. } => {
                let detail = format!("{detail}; see the log under this request id");
                Self {
                    private_cause: Some(with_causes(&*source)),
                    ..refused(Kind::ResultNotShown, detail)
                }
            }
            IssuerError::Unconfirmed(cause) => Self {
                private_cause: Some(with_causes(&*cause)),
                ..refused(Kind::Unconfirmed, detail)
            },
            IssuerError::Unavailable(cause) => {
                let detail = "temporarily unavailable; nothing was changed";
                Self {
                    private_cause: Some(with_causes(&*cause)),
                    ..Self::new(Kind::Unavailable, detail)
                        .with_remedy(&Remedy::action("try again in a second"))
                }
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes problems with the request's id, turns the router's own refusals into problems, and forbids caches to
/// store an answer.
pub(super) async fn finish(request: Request, next: Next) -> Response<Body> {
    let request_id = request
        .extensions()
        .get::<RequestId>()
        .map_or_else(String::new, |id| id.0.clone());
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| {
        (response.status() == StatusCode::METHOD_NOT_ALLOWED).then(|| {
            Problem::new(
                Kind::MethodNotAllowed,
                "this path does not accept this method",
            )
            .with_remedy(&Remedy::action("use a method of the `Allow` header"))
        })
    });
    if let Some(problem) = problem {
        problem.write(&mut response, &request_id);
    }
    response
        .headers_mut()
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The answer to a path that is not routed.
pub(super) async fn not_routed() -> Problem {
    Problem::not_found()
}
