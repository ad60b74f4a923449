//! One page of a list.

/// Some items of a list, and whether more follow.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// True when more items follow.
    pub more: bool,
}

impl<T> Page<T> {
    /// A page from at most `limit + 1` items: the extra one shows that more follow.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }
}
