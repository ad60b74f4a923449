//! The causes of an error. Libraries wrap the reason that a person needs in the names of their layers.

use std::error::Error;
use std::io;

/// The innermost error, which names the cause; those above it name the layers that it passed.
#[must_use]
pub(crate) fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

/// An error and its causes, in one line, without a cause whose text is already there.
#[must_use]
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause
            .downcast_ref::<io::Error>()
            .map_or_else(|| cause.to_string(), reason);
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The operating system's message in lower case, without Rust's `(os error 2)`.
#[must_use]
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    fn layers(texts: &[&'static str]) -> Layer {
        let (first, rest) = texts.split_first().unwrap();
        let below = (!rest.is_empty()).then(|| Box::new(layers(rest)));
        Layer(first, below)
    }

    #[test]
    fn the_innermost_cause_is_found_and_the_line_repeats_nothing() {
        let error = layers(&["sending: no route", "no route", "os error 113"]);
        assert_eq!(innermost(&error).to_string(), "os error 113");
        assert_eq!(with_causes(&error), "sending: no route: os error 113");
        assert_eq!(with_causes(&layers(&["alone"])), "alone");
    }
}
