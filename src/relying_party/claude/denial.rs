//! Why an exchange is denied. Claude answers `Authentication failed` to all of these; three of the codes are
//! published (`match_subject_prefix`, `jti_reused`, `workspace_id_required`), the others are named here alike.

use std::fmt;

use crate::domain::remedy::Remedy;

macro_rules! denials {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $explanation:literal, $kind:ident($remedy:literal);)+) => {
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

            /// What it means.
            #[must_use]
            pub const fn explain(self) -> &'static str {
                match self {
                    $(Self::$name => $explanation,)+
                }
            }

            /// What to do. `AGENT` and `RESOURCE` stand for the names in question.
            #[must_use]
            pub fn remedy(self) -> Remedy {
                match self {
                    $(Self::$name => Remedy::$kind($remedy.to_owned()),)+
                }
            }
        }
    };
}

denials! {
    /// The rule does not exist, or belongs to another organization.
    RuleUnknown, "rule_unknown",
        "the federation rule does not exist in this organization",
        Command("claude links");
    /// The rule is archived.
    RuleArchived, "rule_archived",
        "the rule is archived",
        Command("claude connect --agent AGENT --apply");
    /// The assertion is over 16 KiB.
    TooLarge, "too_large",
        "the identity token is longer than 16 KiB",
        Action("give the agent fewer groups, roles and attributes");
    /// The assertion is not a compact JWS with well-formed claims.
    Malformed, "malformed",
        "the identity token is not a well-formed JWT",
        Action("check that the token file holds one token and nothing else");
    /// Claude does not accept this `alg`.
    Algorithm, "algorithm",
        "Claude does not accept tokens signed with this algorithm",
        Command("resource edit RESOURCE --algorithm ES256");
    /// The header has no `kid`.
    KidMissing, "kid_missing",
        "the token's header has no `kid`, which Claude requires to find the key",
        Action("exchange a token that this issuer minted");
    /// `iss` is not the registered issuer URL.
    IssuerMismatch, "issuer_mismatch",
        "`iss` is not the registered issuer URL, byte for byte",
        Command("issuer show");
    /// The keys could not be fetched.
    JwksUnavailable, "jwks_unavailable",
        "Claude could not fetch the issuer's keys",
        Command("claude verify --agent AGENT");
    /// No key of that `kid` is known.
    UnknownKid, "unknown_kid",
        "Claude knows no key with the token's `kid`",
        Command("claude connect --agent AGENT --apply");
    /// The signature does not verify.
    Signature, "signature",
        "the signature does not verify with the key of that `kid`",
        Action("exchange a token that this issuer minted");
    /// `sub` is missing.
    SubMissing, "sub_missing",
        "the token has no `sub`",
        Action("exchange a token that this issuer minted");
    /// `exp` is missing.
    ExpMissing, "exp_missing",
        "the token has no `exp`",
        Action("exchange a token that this issuer minted");
    /// `iat` is missing.
    IatMissing, "iat_missing",
        "the token has no `iat`, which Claude requires",
        Action("exchange a token that this issuer minted");
    /// `exp` is past.
    Expired, "expired",
        "the token has expired",
        Command("token get --out FILE --watch");
    /// `nbf` is ahead.
    NotYetValid, "not_yet_valid",
        "`nbf` is in the future",
        Action("synchronize the issuer's clock (NTP)");
    /// `iat` is ahead.
    IssuedInFuture, "issued_in_future",
        "`iat` is in the future",
        Action("synchronize the issuer's clock (NTP)");
    /// `exp - iat` is over the issuer's maximum.
    Lifetime, "lifetime",
        "the token lives longer than the issuer's `max_jwt_lifetime_seconds`",
        Command("resource edit RESOURCE --lifetime 10m");
    /// `aud` does not hold the audience.
    Audience, "audience",
        "`aud` does not contain the rule's audience",
        Command("token get --resource AUDIENCE");
    /// `sub` does not match.
    MatchSubjectPrefix, "match_subject_prefix",
        "`sub` does not match the rule's `subject_prefix`, which is exact unless it ends in `*`",
        Command("claude connect --agent AGENT --format console");
    /// A pinned claim differs.
    MatchClaims, "match_claims",
        "a claim that the rule pins is missing, differs, or is not a top-level string",
        Command("claude connect --agent AGENT --apply");
    /// The condition is not true.
    MatchCondition, "match_condition",
        "the rule's condition is false for this token, or cannot be evaluated",
        Action("correct the rule's condition in the Console, with `has()` around claims that may be missing");
    /// The `jti` was used before.
    JtiReused, "jti_reused",
        "this token was exchanged before, and the issuer requires a new `jti` for each exchange",
        Command("exec --agent AGENT --key FILE -- COMMAND");
    /// The request names another account than the rule's.
    ServiceAccountMismatch, "service_account_mismatch",
        "the service account in the request is not the rule's target",
        Action("set `ANTHROPIC_SERVICE_ACCOUNT_ID` to the rule's service account");
    /// Several workspaces, and none was chosen.
    WorkspaceIdRequired, "workspace_id_required",
        "the rule is enabled in more than one workspace, and the request names none",
        Action("set `ANTHROPIC_WORKSPACE_ID` to one of the rule's workspaces");
    /// The workspace is not the rule's or the account's.
    WorkspaceNotAllowed, "workspace_not_allowed",
        "the rule is not enabled in that workspace, or the service account is not a member of it",
        Action("enable the workspace on the rule and add the service account to it in the Console");
}

impl Denial {
    /// Whether what is registered at Claude does not fit the token, so that `connect --apply` can correct it.
    #[must_use]
    pub fn is_of_registration(self) -> bool {
        match self {
            Self::RuleUnknown
            | Self::RuleArchived
            | Self::IssuerMismatch
            | Self::UnknownKid
            | Self::Lifetime
            | Self::Audience
            | Self::MatchSubjectPrefix
            | Self::MatchClaims
            | Self::MatchCondition
            | Self::ServiceAccountMismatch
            | Self::WorkspaceIdRequired
            | Self::WorkspaceNotAllowed => true,
            Self::TooLarge
            | Self::Malformed
            | Self::Algorithm
            | Self::KidMissing
            | Self::JwksUnavailable
            | Self::Signature
            | Self::SubMissing
            | Self::ExpMissing
            | Self::IatMissing
            | Self::Expired
            | Self::NotYetValid
            | Self::IssuedInFuture
            | Self::JtiReused => false,
        }
    }

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
            assert!(!denial.explain().is_empty() && !denial.remedy().to_string().is_empty());
            assert!(
                !denial.explain().contains(';'),
                "the remedy is apart: {code}"
            );
        }
        assert_eq!(Denial::parse("Authentication failed"), None);
    }
}
