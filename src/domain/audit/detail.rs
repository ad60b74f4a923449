//! The detail of an audit entry, one type per family of events. The text of a detail is under the hash chain:
//! members are sorted by name, as in every detail written so far, and absent members are omitted.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::jose::algorithm::SigningAlgorithm;

use super::AuditDraft;

/// Of `token.issued` and `id_token.issued`: what was issued, and why. Read only when an administrator asks about a
/// token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenDetail<'d> {
    /// The `act` claim of a delegated token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub act: Option<Value>,
    /// The `aud` claim.
    #[serde(borrow, default)]
    pub aud: Cow<'d, str>,
    /// The id of the credential that the agent authenticated with.
    #[serde(borrow, default)]
    pub credential: Cow<'d, str>,
    /// The id of the delegation that it was made under.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delegation: Option<Cow<'d, str>>,
    /// The `exp` claim, in Unix seconds.
    pub exp: i64,
    /// The token of a trusted issuer that authenticated the agent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub external: Option<Value>,
    /// The grant type of the request.
    #[serde(borrow, default)]
    pub grant_type: Cow<'d, str>,
    /// The thumbprint of the key that the token is bound to (RFC 9449 §6).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub jkt: Option<Cow<'d, str>>,
    /// The key that signed it.
    #[serde(borrow, default)]
    pub kid: Cow<'d, str>,
    /// The method that the agent authenticated with.
    #[serde(borrow, default)]
    pub method: Cow<'d, str>,
    /// The granted scopes, space-separated.
    #[serde(borrow, default)]
    pub scope: Cow<'d, str>,
    /// The `jti` of the token that it was made from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject_token: Option<Cow<'d, str>>,
}

impl<'d> TokenDetail<'d> {
    /// Reads the detail of an issued token's entry; `None` when it has another form.
    #[must_use]
    pub fn read(draft: &'d AuditDraft) -> Option<Self> {
        serde_json::from_str(&draft.detail).ok()
    }
}

/// Of `token.revoked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EndDetail {
    /// The token's `exp` claim, in Unix seconds: after it nothing is left to revoke.
    pub exp: i64,
}

/// Of `key.prepared`, `key.activated`, `key.retired` and `key.revoked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyDetail<'d> {
    algorithm: SigningAlgorithm,
    #[serde(skip_serializing_if = "<[Name]>::is_empty")]
    overridden_consumers: &'d [Name],
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'d str>,
}

impl<'d> KeyDetail<'d> {
    /// A key that was prepared or retired, or one of an issuer's first keys.
    #[must_use]
    pub fn of(algorithm: SigningAlgorithm) -> Self {
        Self {
            algorithm,
            overridden_consumers: &[],
            reason: None,
            was: None,
            why: None,
        }
    }

    /// A prepared key that starts signing: why, and which consumers had not acknowledged it.
    #[must_use]
    pub fn activated(algorithm: SigningAlgorithm, why: &'d str, overridden: &'d [Name]) -> Self {
        Self {
            overridden_consumers: overridden,
            why: Some(why),
            ..Self::of(algorithm)
        }
    }

    /// A revoked key: its previous state, and the administrator's reason.
    #[must_use]
    pub fn revoked(algorithm: SigningAlgorithm, was: &'d str, reason: &'d str) -> Self {
        Self {
            reason: Some(reason),
            was: Some(was),
            ..Self::of(algorithm)
        }
    }
}

/// The response to a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'d> {
    /// By the OAuth listener, with this error code.
    Error(&'d str),
    /// By the admin API, with this HTTP status.
    Status(u16),
}

/// Of `token.refused`, `client.refused` and `admin.refused`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalDetail<'d> {
    /// The response to the caller.
    pub answer: Answer<'d>,
    /// Why; not part of the response.
    pub reason: &'d str,
    /// What an administrator can do about it.
    pub hint: Option<&'d Remedy>,
    /// Further facts, such as the requested audience.
    pub facts: Map<String, Value>,
}

impl<'d> RefusalDetail<'d> {
    /// A refusal without further facts.
    #[must_use]
    pub fn new(answer: Answer<'d>, reason: &'d str) -> Self {
        Self {
            answer,
            reason,
            hint: None,
            facts: Map::new(),
        }
    }
}

impl Serialize for RefusalDetail<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = self.facts.clone();
        // A fact may not replace the answer or the reason.
        match self.answer {
            Answer::Error(code) => members.insert("error".to_owned(), code.into()),
            Answer::Status(status) => members.insert("status".to_owned(), status.into()),
        };
        members.insert("reason".to_owned(), self.reason.into());
        if let Some(hint) = self.hint {
            members.insert("hint".to_owned(), hint.to_string().into());
        }
        members.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::audit::AuditEvent;
    use crate::ports::time::UnixMillis;

    fn draft(detail: &impl Serialize) -> AuditDraft {
        AuditDraft::new(UnixMillis(0), AuditEvent::TokenIssued, "system", detail)
    }

    fn text(detail: &impl Serialize) -> String {
        draft(detail).detail
    }

    fn plain() -> TokenDetail<'static> {
        TokenDetail {
            act: None,
            aud: "https://reports.example".into(),
            credential: "credential-1".into(),
            delegation: None,
            exp: 1_800_000_300,
            external: None,
            grant_type: "client_credentials".into(),
            jkt: None,
            kid: "key-1".into(),
            method: "private_key_jwt".into(),
            scope: "read \"all\"".into(),
            subject_token: None,
        }
    }

    #[test]
    fn the_bytes_of_a_tokens_detail_stand_still() {
        let full = TokenDetail {
            act: Some(json!({ "sub": "agent:a", "iss": "https://id.example" })),
            delegation: Some("delegation-1".into()),
            external: Some(json!({ "sub": "s", "issuer": "github" })),
            jkt: Some("thumbprint".into()),
            subject_token: Some("AaIAiJ52".into()),
            ..plain()
        };
        assert_eq!(
            text(&plain()),
            r#"{"aud":"https://reports.example","credential":"credential-1","exp":1800000300,"grant_type":"client_credentials","kid":"key-1","method":"private_key_jwt","scope":"read \"all\""}"#
        );
        assert_eq!(
            text(&full),
            r#"{"act":{"iss":"https://id.example","sub":"agent:a"},"aud":"https://reports.example","credential":"credential-1","delegation":"delegation-1","exp":1800000300,"external":{"issuer":"github","sub":"s"},"grant_type":"client_credentials","jkt":"thumbprint","kid":"key-1","method":"private_key_jwt","scope":"read \"all\"","subject_token":"AaIAiJ52"}"#
        );
        for detail in [plain(), full] {
            // The text must equal that of a map with sorted keys, as written before this type existed.
            assert_eq!(text(&detail), json!(detail).to_string());
            assert_eq!(TokenDetail::read(&draft(&detail)), Some(detail));
        }
    }

    #[test]
    fn the_bytes_of_the_other_details_stand_still() {
        let consumers = [Name::parse("claude").unwrap()];
        let es256 = SigningAlgorithm::Es256;
        let refused = RefusalDetail {
            facts: Map::from_iter([("aud".to_owned(), json!("https://mail"))]),
            ..RefusalDetail::new(Answer::Error("invalid_target"), "not granted")
        };
        for (detail, expected) in [
            (text(&EndDetail { exp: 7 }), r#"{"exp":7}"#),
            (text(&KeyDetail::of(es256)), r#"{"algorithm":"ES256"}"#),
            (
                text(&KeyDetail::activated(es256, "due", &[])),
                r#"{"algorithm":"ES256","why":"due"}"#,
            ),
            (
                text(&KeyDetail::activated(es256, "due", &consumers)),
                r#"{"algorithm":"ES256","overridden_consumers":["claude"],"why":"due"}"#,
            ),
            (
                text(&KeyDetail::revoked(es256, "active", "leaked")),
                r#"{"algorithm":"ES256","reason":"leaked","was":"active"}"#,
            ),
            (
                text(&refused),
                r#"{"aud":"https://mail","error":"invalid_target","reason":"not granted"}"#,
            ),
            (
                text(&RefusalDetail::new(Answer::Status(403), "role too low")),
                r#"{"reason":"role too low","status":403}"#,
            ),
        ] {
            assert_eq!(detail, expected);
        }
    }

    #[test]
    fn an_entry_without_an_expiry_is_not_that_of_a_token() {
        assert_eq!(TokenDetail::read(&draft(&json!({ "aud": "a" }))), None);
        let later = draft(&json!({ "exp": 5, "later": true }));
        assert_eq!(TokenDetail::read(&later).map(|detail| detail.exp), Some(5));
    }
}
