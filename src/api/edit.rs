//! What a member of an edit says by not being there.

use serde::{Deserialize, Deserializer};

/// Reads a member that is present, so that `null` differs from a member that is left out.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
