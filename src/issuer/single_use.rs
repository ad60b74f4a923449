//! What is accepted only once (RFC 7523 §3 item 7, RFC 9449 §11.1): the mark that identifies a replay, and the
//! limits that keep marks small and short-lived. The ledger sets the marks in the transaction that records the
//! result.

use crate::domain::settings::SKEW_SECONDS;
use crate::jose::digest::sha256;
use crate::jose::jwt::Claims;
use crate::ports::time::UnixTime;

/// Longest assertion or token of a trusted issuer, in bytes; checked before parsing.
pub const ASSERTION_MAX_BYTES: usize = 8 * 1024;
/// How far in the future an assertion may expire, in seconds: its `jti` is kept that long.
pub const ASSERTION_MAX_AHEAD_SECONDS: i64 = 3600;
/// Longest `jti`, in bytes.
pub const JTI_MAX_BYTES: usize = 256;

/// The single-use mark of an assertion, set when its token is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpentAssertion {
    /// Over the principal and its `jti`, so that no byte in a `jti` can affect the database.
    pub digest: [u8; 16],
    /// Until when a replay must be detected.
    pub expires_at: UnixTime,
    /// What it marks.
    pub what: Spent,
}

/// What is accepted only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// The client's credential.
    ClientAssertion,
    /// A subject token of a trusted issuer.
    SubjectToken,
    /// An actor token of a trusted issuer.
    ActorToken,
    /// A proof of holding a key (RFC 9449 §11.1).
    DpopProof,
}

impl SpentAssertion {
    /// The mark of `jti` from `principal` (a kind and an id, neither with a NUL), which expires at `expires_at`.
    /// It marks a client assertion until [`SpentAssertion::as_of`] changes that.
    pub(super) fn of(principal: [&str; 2], jti: &str, expires_at: UnixTime) -> Self {
        let mut marked = Vec::with_capacity(jti.len() + 64);
        for part in principal {
            marked.extend_from_slice(part.as_bytes());
            marked.push(0);
        }
        marked.extend_from_slice(jti.as_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&sha256(&marked)[..16]);
        // Kept past `exp` by the skew: until then it would still be accepted.
        Self {
            digest,
            expires_at: expires_at.plus(SKEW_SECONDS + 1),
            what: Spent::ClientAssertion,
        }
    }

    /// The same mark for something else.
    pub(super) fn as_of(self, what: Spent) -> Self {
        Self { what, ..self }
    }
}

/// The `jti` for single use; `None` when it is missing, empty or longer than [`JTI_MAX_BYTES`].
pub(super) fn jti(claims: &Claims) -> Option<&str> {
    let jti = claims.jwt_id.as_deref()?;
    (1..=JTI_MAX_BYTES).contains(&jti.len()).then_some(jti)
}

/// Whether an assertion or token may have been used before the issuer was restored at `restored_at` from a backup
/// without its mark. Without `iat` the result is true while one from before the restore could still be valid: its
/// lifetime is at most `longest_life` seconds.
pub(super) fn may_predate_restore(
    claims: &Claims,
    restored_at: UnixTime,
    longest_life: i64,
    now: UnixTime,
) -> bool {
    match claims.issued_at {
        Some(issued_at) => issued_at <= restored_at,
        None => now <= restored_at.plus(longest_life + SKEW_SECONDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    #[test]
    fn a_jti_that_is_missing_empty_or_too_long_marks_nothing() {
        for (given, usable) in [
            (None, false),
            (Some(String::new()), false),
            (Some("j".repeat(JTI_MAX_BYTES + 1)), false),
            (Some("é".repeat(JTI_MAX_BYTES / 2) + "j"), false),
            (Some("j".to_owned()), true),
            (Some("\0".to_owned()), true),
            (Some("j".repeat(JTI_MAX_BYTES)), true),
        ] {
            let claims = Claims {
                jwt_id: given.clone(),
                ..Claims::default()
            };
            let expected = given.as_deref().filter(|_| usable);
            assert_eq!(jti(&claims), expected, "{given:?}");
        }
    }

    #[test]
    fn what_may_have_been_used_before_a_restore_is_recognised() {
        // Restored and issued this many seconds ago, with a lifetime of 100 seconds.
        for (restored, issued, expected) in [
            (10, Some(11), true),
            (10, Some(10), true),
            (10, Some(9), false),
            (10, Some(-5), false),
            (0, None, true),
            (100 + SKEW_SECONDS, None, true),
            (100 + SKEW_SECONDS + 1, None, false),
            (1_000_000, Some(1_000_000), true),
            (1_000_000, Some(0), false),
        ] {
            let claims = Claims {
                issued_at: issued.map(|ago| NOW.plus(-ago)),
                ..Claims::default()
            };
            let found = may_predate_restore(&claims, NOW.plus(-restored), 100, NOW);
            assert_eq!(found, expected, "restored {restored}, issued {issued:?}");
        }
    }

    #[test]
    fn only_the_same_jti_of_the_same_principal_has_the_same_mark() {
        let mark = |principal, jti| SpentAssertion::of(principal, jti, NOW).digest;
        let first = mark(["private_key_jwt", "a"], "1");
        assert_eq!(first, mark(["private_key_jwt", "a"], "1"));
        for (principal, jti) in [
            (["private_key_jwt", "a"], "2"),
            (["private_key_jwt", "b"], "1"),
            (["trusted_issuer", "a"], "1"),
            (["private_key_jwt", "a1"], ""),
            (["private_key_jwt", ""], "a1"),
            (["private_key_jwt", "a"], "1\0"),
            (["private_key_jwt", "a"], "\u{0}1"),
            (["private_key_jwta", ""], "1"),
        ] {
            assert_ne!(first, mark(principal, jti), "{principal:?} {jti:?}");
        }
    }

    #[test]
    fn a_mark_outlives_the_last_moment_at_which_its_assertion_is_accepted() {
        let claims = Claims {
            expires_at: Some(NOW),
            ..Claims::default()
        };
        let mark = SpentAssertion::of(["dpop", "k"], "1", NOW);
        let last = (0..).find(|ahead| claims.check_times(NOW.plus(*ahead), SKEW_SECONDS).is_err());
        assert!(mark.expires_at > NOW.plus(last.unwrap()));
        assert_eq!(mark.as_of(Spent::DpopProof).expires_at, mark.expires_at);
        assert_eq!(mark.as_of(Spent::DpopProof).what, Spent::DpopProof);
        assert_eq!(mark.what, Spent::ClientAssertion);
    }
}
