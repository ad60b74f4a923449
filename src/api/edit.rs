//! Optional members of an edit: `null` and absence differ.

use serde::{Deserialize, Deserializer};

/// Deserializes a member that is present, so that `null` differs from an absent member.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
