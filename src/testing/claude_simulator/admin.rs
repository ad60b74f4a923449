//! `/v1/organizations/{service_accounts,federation_issuers,federation_rules}`: create, list, show, update (by
//! POST), archive, and the workspaces of accounts and rules.

use axum::body::Bytes;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;

use super::Shared;
use super::answer::{ApiError, ok, respond};
use super::caller::{administrator, check_version};
use super::exchange::json_object;
use super::registry::{Family, ObjectPath, Selection};
use crate::ports::request::RequestId;

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

/// Answers with the result of `act` for an authenticated caller.
macro_rules! answer {
    ($shared:expr, $id:expr, $headers:expr, $act:expr) => {{
        let outcome = administrator(&$shared, &$headers).and_then(|caller| {
            check_version(&$headers)?;
            $act(caller)
        });
        respond(outcome.map(|value: Value| ok(&value)), &$id)
    }};
}

pub(super) async fn list(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path(family): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    answer!(shared, id, headers, |_| {
        let family = Family::parse(&family)?;
        let selection = selection(family, query.as_deref().unwrap_or_default())?;
        shared.registry().list(family, &selection)
    })
}

pub(super) async fn create(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path(family): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer!(shared, id, headers, |caller| {
        let family = Family::parse(&family)?;
        let stamp = shared.stamp();
        let body = json_object(&body)?;
        shared.registry().create(family, body, caller, &stamp)
    })
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path((family, object)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer!(shared, id, headers, |_| {
        shared.registry().show(Family::parse(&family)?, &object)
    })
}

pub(super) async fn update(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path((family, object)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer!(shared, id, headers, |caller| {
        let family = Family::parse(&family)?;
        let now = shared.stamp().now_text();
        let body = json_object(&body)?;
        shared.registry().update(
            &ObjectPath {
                family,
                id: &object,
            },
            body,
            caller,
            &now,
        )
    })
}

pub(super) async fn archive(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path((family, object)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer!(shared, id, headers, |_| {
        let family = Family::parse(&family)?;
        let now = shared.stamp().now_text();
        shared.registry().archive(family, &object, &now)
    })
}

pub(super) async fn workspaces(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path((family, object)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer!(shared, id, headers, |_| {
        let family = Family::parse(&family)?;
        shared.registry().workspaces(family, &object)
    })
}

pub(super) async fn add_workspace(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path((family, object)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer!(shared, id, headers, |_| {
        let family = Family::parse(&family)?;
        let body = json_object(&body)?;
        shared.registry().add_workspace(
            &ObjectPath {
                family,
                id: &object,
            },
            body,
        )
    })
}

pub(super) async fn remove_workspace(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path((family, object, workspace)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    answer!(shared, id, headers, |_| {
        let family = Family::parse(&family)?;
        shared.registry().remove_workspace(
            &ObjectPath {
                family,
                id: &object,
            },
            &workspace,
        )
    })
}

/// Reads a list's query. Not documented: that an unknown parameter is refused.
fn selection(family: Family, query: &str) -> Result<Selection, ApiError> {
    let mut selection = Selection {
        limit: LIMIT_DEFAULT,
        after: None,
        include_archived: false,
        issuer_id: None,
    };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match (name.as_ref(), family) {
            ("limit", _) => {
                let limit = value.parse().ok();
                selection.limit = limit
                    .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                    .ok_or_else(|| ApiError::invalid("limit: must be 1 to 100"))?;
            }
            ("page", _) => selection.after = Some(value.into_owned()),
            ("include_archived", _) => {
                selection.include_archived = value
                    .parse()
                    .map_err(|_| ApiError::invalid("include_archived: must be true or false"))?;
            }
            ("issuer_id", Family::Rules) => selection.issuer_id = Some(value.into_owned()),
            _ => {
                return Err(ApiError::invalid(format!(
                    "{}: unknown parameter",
                    name.escape_debug()
                )));
            }
        }
    }
    Ok(selection)
}
