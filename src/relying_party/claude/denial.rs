//! Why an exchange is denied. Outwards Claude says `Authentication failed` to all of these; three of the codes
//! are published (`match_subject_prefix`, `jti_reused`, `workspace_id_required`), the others are named here in
//! their manner.

use std::fmt;

macro_rules! denials {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $explanation:literal;)+) => {
        /// A cause of a denial.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Denial {
            $($(#[$doc])* $name,)+
        }

        impl Denial {
            /// All causes, roughly in the order in which they are looked for.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The reason code.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// What it means and what to do.
            #[must_use]
            pub const fn explain(self) -> &'static str {
                match self {
                    $(Self::$name => $explanation,)+
                }
            }
        }
    };
}

denials! {
    /// The rule does not exist, or belongs to another organization.
    RuleUnknown, "rule_unknown",
        "there is no such federation rule in this organization; compare ANTHROPIC_FEDERATION_RULE_ID and ANTHROPIC_ORGANIZATION_ID with the rule's page in the Console";
    /// The rule is archived.
    RuleArchived, "rule_archived",
        "the rule is archived; create a new one and hand out its id";
    /// The assertion is over 16 KiB.
    TooLarge, "too_large",
        "the identity token is longer than 16 KiB; give the agent fewer groups, roles and attributes";
    /// The assertion is not a compact JWS with well-formed claims.
    Malformed, "malformed",
        "the identity token is not a well-formed JWT; look whether the token file holds exactly one token and nothing else";
    /// `alg` is none that Claude takes.
    Algorithm, "algorithm",
        "Claude does not take tokens signed with this algorithm; use ES256 or RS256 for the resource (firman resource edit … --algorithm ES256)";
    /// There is no `kid`.
    KidMissing, "kid_missing",
        "the token's header has no kid; Claude needs one to find the key";
    /// `iss` is not the registered issuer URL.
    IssuerMismatch, "issuer_mismatch",
        "iss is not the registered issuer URL, byte for byte; look for a trailing slash, http instead of https, a port or upper case";
    /// The keys could not be fetched.
    JwksUnavailable, "jwks_unavailable",
        "the issuer's keys could not be fetched; the discovery document and the key set must be reachable from the internet over https on port 443 without redirects (firman claude verify), or registered inline; after repeated failures Claude stops fetching until it is told to begin again (firman claude connect --apply)";
    /// No key of that `kid` is known.
    UnknownKid, "unknown_kid",
        "no known key has the token's kid; a key that was published less than a minute ago may not be known yet, and inline keys must be registered again after a rotation";
    /// The signature does not hold.
    Signature, "signature",
        "the signature is not valid for the key of that kid; another issuer or an altered token";
    /// There is no `sub`.
    SubMissing, "sub_missing",
        "the token has no sub";
    /// There is no `exp`.
    ExpMissing, "exp_missing",
        "the token has no exp";
    /// There is no `iat`.
    IatMissing, "iat_missing",
        "the token has no iat, which Claude needs to judge its lifetime";
    /// `exp` is past.
    Expired, "expired",
        "the token has expired; hand out a fresh one (firman token get --out FILE --watch keeps a file fresh) and compare the clocks";
    /// `nbf` is ahead.
    NotYetValid, "not_yet_valid",
        "nbf is in the future; compare the issuer's clock with the real time";
    /// `iat` is ahead.
    IssuedInFuture, "issued_in_future",
        "iat is in the future; compare the issuer's clock with the real time";
    /// `exp - iat` is over the issuer's maximum.
    Lifetime, "lifetime",
        "the token lives longer than the issuer's max_jwt_lifetime_seconds; shorten the resource's lifetime (firman resource edit … --lifetime 10m) or raise the maximum at Claude";
    /// `aud` does not hold the audience.
    Audience, "audience",
        "aud does not name the rule's audience; register the resource with exactly that identifier and ask for a token for it";
    /// `sub` does not match.
    MatchSubjectPrefix, "match_subject_prefix",
        "sub does not match the rule's subject_prefix, which is exact unless it ends in '*'; compare them, upper and lower case included";
    /// A pinned claim is another.
    MatchClaims, "match_claims",
        "a claim that the rule pins is missing, is another text, or is no top-level string; arrays and nested claims need a condition";
    /// The condition is not true.
    MatchCondition, "match_condition",
        "the rule's condition is not true for this token, or cannot be evaluated; ask for claims that may be missing with has()";
    /// The `jti` was used before.
    JtiReused, "jti_reused",
        "this token was exchanged before, and the issuer is registered with single-use jti; every exchange, in every process, needs a token of its own";
    /// The request names another account than the rule's.
    ServiceAccountMismatch, "service_account_mismatch",
        "the service account in the request is not the rule's target; compare ANTHROPIC_SERVICE_ACCOUNT_ID with the rule's page";
    /// Several workspaces, and none was chosen.
    WorkspaceIdRequired, "workspace_id_required",
        "the rule is enabled in more than one workspace; name one with ANTHROPIC_WORKSPACE_ID";
    /// The workspace is not the rule's or the account's.
    WorkspaceNotAllowed, "workspace_not_allowed",
        "the rule is not enabled in that workspace, or the service account is no member of it; add it to both, or choose another";
}

impl Denial {
    /// The cause of that reason code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|denial| denial.as_str() == code)
    }

    /// The denial with what was seen.
    #[must_use]
    pub fn because(self, detail: impl Into<String>) -> Denied {
        Denied {
            denial: self,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A denial with what was seen. The detail names claims and their values, never a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{denial}: {detail}")]
pub struct Denied {
    /// The cause.
    pub denial: Denial,
    /// What was seen and what was expected.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_own_and_reads_back() {
        for (index, denial) in Denial::ALL.iter().enumerate() {
            let code = denial.as_str();
            assert!(
                code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code}"
            );
            assert_eq!(Denial::parse(code), Some(*denial));
            assert!(
                !Denial::ALL[..index]
                    .iter()
                    .any(|other| other.as_str() == code)
            );
            assert!(!denial.explain().is_empty());
        }
        assert_eq!(Denial::parse("Authentication failed"), None);
    }
}
