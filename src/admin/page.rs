//! Pages of lists: a limit, and an opaque cursor that states where the next page begins. A cursor belongs to
//! one list.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

pub(super) use crate::api::list::List;
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::issuer::Issuer;
use crate::issuer::page::Page;
use crate::jose::digest::{base64url, decode_base64url};

use super::json::shown;
use super::problem::{Kind, Problem};

/// Default number of items in a page.
const LIMIT_DEFAULT: i64 = 50;
/// Most items in a page: some 200 KiB of agents.
const LIMIT_MAX: i64 = 200;
/// Longest accepted cursor, in bytes: a list's name and the longest subject.
const CURSOR_MAX_BYTES: usize = 512;

/// The parameters of a query. An unknown or repeated one is rejected.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Issuer>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Issuer>) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => {
                let words = rejection.body_text();
                let said = shown(words.trim_start_matches("Failed to deserialize query string: "));
                Err(Problem::new(
                    Kind::Invalid,
                    format!("the query is malformed: {said}"),
                ))
            }
        }
    }
}

/// The parameters of a plain list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// Items of a page, 1 to 200; 50 by default.
    #[param(minimum = 1, maximum = 200)]
    pub(super) limit: Option<i64>,
    /// `next_cursor` of the previous page.
    pub(super) cursor: Option<String>,
}

impl<T> List<T> {
    /// A list without pages.
    pub(super) fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }

    /// A page of `list`; the next one begins at `next`.
    pub(super) fn up_to(list: &str, items: Vec<T>, next: Option<String>) -> Self {
        Self {
            items,
            next_cursor: next.map(|key| base64url(format!("{list}:{key}").as_bytes())),
        }
    }

    /// A page of `list`; `key` is an item's place in it.
    pub(super) fn page(list: &str, page: Page<T>, key: impl Fn(&T) -> String) -> Self {
        Self::of(list, page, key, std::convert::identity)
    }

    /// A page of `list`; `show` renders an item and `key` is its place.
    pub(super) fn of<I>(
        list: &str,
        page: Page<I>,
        key: impl Fn(&I) -> String,
        show: impl Fn(I) -> T,
    ) -> Self {
        let next = page.items.last().filter(|_| page.more).map(key);
        Self::up_to(list, page.items.into_iter().map(show).collect(), next)
    }
}

/// Checks a page's size.
pub(super) fn limit(asked: Option<i64>) -> Result<i64, Problem> {
    match asked {
        None => Ok(LIMIT_DEFAULT),
        Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::invalid(
            "limit",
            &format!("must be 1 to {LIMIT_MAX}"),
        )),
    }
}

/// The name in a cursor of `list`.
pub(super) fn after_name(list: &str, cursor: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(key) = key_of(list, cursor)? else {
        return Ok(None);
    };
    Name::parse(&key)
        .map(|name| Some(name.as_str().to_owned()))
        .map_err(|_| forged())
}

/// The id in a cursor of `list`.
pub(super) fn after_id(list: &str, cursor: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(key) = key_of(list, cursor)? else {
        return Ok(None);
    };
    let is_id = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_id { Ok(Some(key)) } else { Err(forged()) }
}

/// The number in a cursor of `list`.
pub(super) fn before_number(list: &str, cursor: Option<&str>) -> Result<Option<i64>, Problem> {
    let Some(key) = key_of(list, cursor)? else {
        return Ok(None);
    };
    key.parse::<i64>()
        .ok()
        .filter(|number| *number > 0)
        .map(Some)
        .ok_or_else(forged)
}

/// The text in a cursor of `list`.
pub(super) fn after_text(list: &str, cursor: Option<&str>) -> Result<Option<String>, Problem> {
    key_of(list, cursor)
}

fn key_of(list: &str, cursor: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    if cursor.len() > CURSOR_MAX_BYTES {
        return Err(forged());
    }
    let decoded = decode_base64url(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(forged)?;
    let key = decoded
        .strip_prefix(list)
        .and_then(|rest| rest.strip_prefix(':'))
        .ok_or_else(forged)?;
    Ok(Some(key.to_owned()))
}

/// A cursor that is not from this list.
pub(super) fn forged() -> Problem {
    Problem::invalid("cursor", "is not a cursor of this list").with_remedy(&Remedy::action(
        "send `next_cursor` unchanged, or omit `cursor` to start again",
    ))
}
