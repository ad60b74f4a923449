//! Pages of lists.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A list's answer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; `null` on the last.
    pub next_cursor: Option<String>,
}
