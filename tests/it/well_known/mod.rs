//! The public documents: discovery and the JWKS, named after the cases (`dj_…`) they stand for.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod discovery;
mod jwks;

use firman::testing::Answer;

/// What every public document carries; the entity tag is checked apart.
#[track_caller]
fn assert_document_headers(answer: &Answer) {
    let names = [
        "cache-control",
        "content-type",
        "x-content-type-options",
        "access-control-allow-origin",
        "access-control-allow-credentials",
    ];
    assert_eq!(
        names.map(|name| answer.header(name)),
        [
            "public, max-age=300",
            "application/json",
            "nosniff",
            "*",
            ""
        ],
        "{answer}"
    );
    assert!(
        answer.header("etag").starts_with('"') && answer.header("etag").len() == 24,
        "{:?}",
        answer.headers
    );
}
