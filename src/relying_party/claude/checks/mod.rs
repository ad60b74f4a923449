//! The checks of `firman claude verify`: each function gets what was fetched or looked up and returns one
//! line: whether Claude can work with it and what to do if not. No I/O here; the caller resolves, connects and
//! fetches. What Claude's reference leaves open is a warning, never a failure.

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

use super::demands::difference;
use crate::domain::remedy::Remedy;
use crate::ports::time::UnixTime;

/// The largest discovery document or key set that is read. Claude's own limit is not published; ours are
/// about 2 KiB.
pub const DOCUMENT_MAX_BYTES: usize = 64 * 1024;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As Claude requires.
    Ok,
    /// It may work, or works only for now.
    Warn,
    /// Claude rejects this.
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

/// One check and its result.
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
    pub hint: Option<Remedy>,
}

impl Check {
    /// A check that passed.
    #[must_use]
    pub fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Ok,
            seen: seen.into(),
            hint: None,
        }
    }

    /// A check that a person should look at.
    #[must_use]
    pub fn warn(check: &'static str, seen: impl Into<String>, hint: Remedy) -> Self {
        Self {
            status: Status::Warn,
            hint: Some(hint),
            ..Self::ok(check, seen)
        }
    }

    /// A check of something that Claude rejects.
    #[must_use]
    pub fn fail(check: &'static str, seen: impl Into<String>, hint: Remedy) -> Self {
        Self {
            status: Status::Fail,
            ..Self::warn(check, seen, hint)
        }
    }

    /// A failure that does not matter for this setup as a warning, with the reason.
    #[must_use]
    pub fn eased(self, reason: &str) -> Self {
        match self.status {
            Status::Ok | Status::Warn => self,
            Status::Fail => Self {
                status: Status::Warn,
                seen: format!("{} ({reason})", self.seen),
                ..self
            },
        }
    }
}

/// The party that fetches discovery and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// Claude, over the public internet.
    ByClaude,
    /// A stand-in on this machine.
    ByStandIn,
    /// No one: the keys are registered inline at Claude.
    Inline,
}

impl Dialled {
    /// `check`, which is about whether the public internet reaches the issuer.
    #[must_use]
    pub fn reach(self, check: Check) -> Check {
        match self {
            Self::ByClaude => check,
            Self::ByStandIn => check.eased("the simulator accepts this, Claude does not"),
            Self::Inline => self.document(check),
        }
    }

    /// `check`, which is about a document that is fetched.
    #[must_use]
    pub fn document(self, check: Check) -> Check {
        match self {
            Self::ByClaude | Self::ByStandIn => check,
            Self::Inline => check.eased("not used: the keys are registered inline"),
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
    /// Whether the answer is from a simulator.
    pub is_simulation: bool,
    /// The body up to [`DOCUMENT_MAX_BYTES`].
    pub body: Vec<u8>,
    /// Whether there was more.
    pub is_cut: bool,
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
