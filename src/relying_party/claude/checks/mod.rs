//! What `firman claude verify` makes of what it saw: each function takes what was fetched or looked up
//! and says in one line whether Claude can work with it, and what to do when not. No I/O: whoever asks
//! has resolved, connected and fetched. What Claude's reference leaves open is warned about, never failed.

mod documents;
mod reach;
mod registered;
mod standing;
mod token;

pub use documents::{PublishedKey, discovery, key_set};
pub use reach::{address, addresses, certificate, port, spelling};
pub use registered::{Ours, Registered};
pub use standing::{KeyConsumer, KeyState, clock, key_state};
pub use token::{Expected, Link, acts_in, exchange, judge, request, sample};

use serde::Serialize;
use url::Url;

use crate::ports::time::UnixTime;

/// The largest discovery document or key set that is read. Claude's own limit is not published; ours are
/// about 2 KiB.
pub const DOCUMENT_MAX_BYTES: usize = 64 * 1024;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it must be.
    Ok,
    /// It may work, or works for now.
    Warn,
    /// Claude refuses this.
    Fail,
}

impl Status {
    /// `ok`, `warn` or `fail`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line of the round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked: a word for programs.
    pub check: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was seen.
    pub seen: String,
    /// What to do; absent when there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    /// One that is as it must be.
    #[must_use]
    pub fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Ok,
            seen: seen.into(),
            advice: None,
        }
    }

    /// One that somebody should look at.
    #[must_use]
    pub fn warn(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: Status::Warn,
            advice: Some(advice.into()),
            ..Self::ok(check, seen)
        }
    }

    /// One that Claude refuses.
    #[must_use]
    pub fn fail(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: Status::Fail,
            ..Self::warn(check, seen, advice)
        }
    }

    /// The same as a warning where its failing does not matter for this set-up, with the reason.
    #[must_use]
    pub fn eased(self, reason: &str) -> Self {
        match self.status {
            Status::Ok | Status::Warn => self,
            Status::Fail => Self {
                status: Status::Warn,
                advice: Some(reason.to_owned()),
                ..self
            },
        }
    }
}

/// Who fetches discovery and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// Claude, over the public internet.
    ByClaude,
    /// A stand-in on this machine.
    ByStandIn,
    /// Nobody: Claude holds the keys inline.
    ByNobody,
}

impl Dialled {
    /// `check`, which is about whether the public internet reaches the issuer.
    #[must_use]
    pub fn reach(self, check: Check) -> Check {
        match self {
            Self::ByClaude => check,
            Self::ByStandIn => check
                .eased("Good enough for the stand-in on this machine; Claude itself refuses this."),
            Self::ByNobody => self.document(check),
        }
    }

    /// `check`, which is about a document that is fetched.
    #[must_use]
    pub fn document(self, check: Check) -> Check {
        match self {
            Self::ByClaude | Self::ByStandIn => check,
            Self::ByNobody => check
                .eased("No matter while the keys are registered inline: Claude does not fetch it."),
        }
    }
}

/// An answer as it came, redirects not followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// `Date`.
    pub date: Option<UnixTime>,
    /// `request-id`, which Claude sends.
    pub request_id: Option<String>,
    /// `anthropic-organization-id`, which its API sends.
    pub organization: Option<String>,
    /// `anthropic-workspace-id`, the same.
    pub workspace: Option<String>,
    /// Whether a stand-in says that it is one.
    pub is_simulation: bool,
    /// The body up to [`DOCUMENT_MAX_BYTES`].
    pub body: Vec<u8>,
    /// Whether there was more.
    pub is_cut: bool,
}

/// How two spellings of an issuer that must be equal differ; `None` when they are equal.
#[must_use]
pub fn difference(one: &str, other: &str) -> Option<&'static str> {
    if one == other {
        return None;
    }
    let bare = |text: &str| text.trim_end_matches('/').to_owned();
    let parts = |text: &str| Url::parse(text).ok();
    Some(if bare(one) == bare(other) {
        "they differ by a trailing slash"
    } else if bare(one).eq_ignore_ascii_case(&bare(other)) {
        "they differ in upper and lower case"
    } else {
        match (parts(one), parts(other)) {
            (Some(one), Some(other))
                if one.host() == other.host() && one.path() == other.path() =>
            {
                if one.scheme() == other.scheme() {
                    "they differ in the port"
                } else {
                    "they differ in the scheme"
                }
            }
            (Some(one), Some(other)) if one.host() == other.host() => "they differ in the path",
            (Some(_) | None, Some(_) | None) => "they are different issuers",
        }
    })
}

/// The beginning of an id, enough to tell it from its siblings.
#[must_use]
pub fn short(id: &str) -> String {
    const SHOWN: usize = 12;
    match id.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &id[..end]),
        None => id.to_owned(),
    }
}

fn shorts(ids: &[&str]) -> String {
    ids.iter()
        .map(|id| short(id))
        .collect::<Vec<_>>()
        .join(", ")
}
