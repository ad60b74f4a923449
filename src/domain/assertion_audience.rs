//! The required `aud` of a client assertion (RFC 7523 §3 item 3): a policy of the issuer that an agent can
//! override.

use std::fmt;

use serde::Serialize;

use super::Invalid;
use super::remedy::Remedy;
use crate::jose::jwt::Audience;

/// The accepted audiences of a client assertion. An array of several is never accepted: each server named in it
/// can present the assertion to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssertionAudience {
    /// The issuer as a string, never in an array (FAPI 2.0 Security Profile §5.3.2.1).
    IssuerAsString,
    /// The issuer, as a string or in an array of one, which means the same (RFC 7519 §4.1.3).
    #[default]
    Issuer,
    /// As [`AssertionAudience::Issuer`], or the URL of the token endpoint, which older client libraries use. A
    /// server that names this endpoint in its metadata can collect such assertions and replay them here
    /// (draft-ietf-oauth-rfc7523bis).
    IssuerOrTokenEndpoint,
}

/// Why the `aud` of an assertion is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongAudience {
    /// The sentence for the client.
    pub problem: String,
    /// The command that accepts such an audience, if one exists.
    pub remedy: Option<Remedy>,
}

/// The values that the audience of an assertion is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The issuer's URL.
    pub issuer: &'a str,
    /// Its token endpoint's URL.
    pub token_endpoint: &'a str,
    /// The agent's name, for the command that changes its policy.
    pub agent: &'a str,
}

impl AssertionAudience {
    /// Every policy, the strictest first.
    pub const ALL: [Self; 3] = [
        Self::IssuerAsString,
        Self::Issuer,
        Self::IssuerOrTokenEndpoint,
    ];

    /// The policy's name, on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IssuerAsString => "issuer-as-string",
            Self::Issuer => "issuer",
            Self::IssuerOrTokenEndpoint => "issuer-or-token-endpoint",
        }
    }

    /// The policy of that name.
    ///
    /// # Errors
    /// When no policy has it.
    pub fn parse(name: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == name)
            .ok_or_else(|| {
                Invalid::new(
                    "assertion_audience",
                    "must be `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`",
                )
            })
    }

    /// Checks the `aud` of an assertion whose signature verified.
    ///
    /// # Errors
    /// [`WrongAudience`]. It contains nothing of the assertion.
    pub fn check(
        self,
        audience: Option<&Audience>,
        expected: Expected<'_>,
    ) -> Result<(), WrongAudience> {
        let (accepts_array, accepts_endpoint) = match self {
            Self::IssuerAsString => (false, false),
            Self::Issuer => (true, false),
            Self::IssuerOrTokenEndpoint => (true, true),
        };
        let wrong = |fault: &str, accepting: Option<Self>| {
            Err(WrongAudience {
                problem: format!("{}{fault}", self.wants(expected)),
                remedy: accepting.map(|policy| {
                    Remedy::command(format!(
                        "agent edit {} --assertion-audience {}",
                        expected.agent,
                        policy.as_str()
                    ))
                }),
            })
        };
        let Some(audience) = audience else {
            return wrong("; it is missing", None);
        };
        let (named, is_array) = match audience {
            Audience::One(one) => (one.as_str(), false),
            Audience::Many(many) => match many.as_slice() {
                [one] => (one.as_str(), true),
                several => {
                    let fault = format!(" alone; it names {} audiences", several.len());
                    return wrong(&fault, None);
                }
            },
        };
        let (is_issuer, is_endpoint) = (named == expected.issuer, named == expected.token_endpoint);
        if is_endpoint && !accepts_endpoint {
            return wrong(
                ", not the token endpoint",
                Some(Self::IssuerOrTokenEndpoint),
            );
        }
        if !is_issuer && !is_endpoint {
            return wrong("; it names another audience", None);
        }
        if is_array && !accepts_array {
            return wrong(", not an array", Some(Self::Issuer));
        }
        Ok(())
    }

    /// The accepted audiences, as text.
    fn wants(self, expected: Expected<'_>) -> String {
        match self {
            Self::IssuerAsString => format!("`aud` must be the string {}", expected.issuer),
            Self::Issuer => format!("`aud` must be {}", expected.issuer),
            Self::IssuerOrTokenEndpoint => format!(
                "`aud` must be {} or {}",
                expected.issuer, expected.token_endpoint
            ),
        }
    }
}

impl fmt::Display for AssertionAudience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected<'static> = Expected {
        issuer: "https://id.example",
        token_endpoint: "https://id.example/oauth2/token",
        agent: "mailer",
    };

    fn one(text: &str) -> Option<Audience> {
        Some(Audience::One(text.to_owned()))
    }

    fn array(texts: &[&str]) -> Option<Audience> {
        Some(Audience::Many(
            texts.iter().map(|text| (*text).to_owned()).collect(),
        ))
    }

    #[test]
    fn each_policy_accepts_what_it_says_and_nothing_else() {
        let Expected {
            issuer,
            token_endpoint,
            ..
        } = EXPECTED;
        let cases = [
            (None, [false; 3]),
            (one("https://other.example"), [false; 3]),
            (one(""), [false; 3]),
            (one("https://id.example/"), [false; 3]),
            (one("https://id.example/oauth2/token/"), [false; 3]),
            (one("https://id.example/oauth2/introspect"), [false; 3]),
            (array(&[issuer, token_endpoint]), [false; 3]),
            (array(&[issuer, issuer]), [false; 3]),
            (array(&["https://other.example"]), [false; 3]),
            (one(issuer), [true; 3]),
            (array(&[issuer]), [false, true, true]),
            (one(token_endpoint), [false, false, true]),
            (array(&[token_endpoint]), [false, false, true]),
        ];
        for (audience, accepted) in cases {
            let checked = AssertionAudience::ALL
                .map(|policy| policy.check(audience.as_ref(), EXPECTED).is_ok());
            assert_eq!(checked, accepted, "{audience:?}");
        }
    }

    #[test]
    fn a_name_that_no_policy_has_is_refused() {
        for bad in ["", "Issuer", "token-endpoint", "issuer ", "any"] {
            assert!(AssertionAudience::parse(bad).is_err(), "{bad:?}");
        }
        for policy in AssertionAudience::ALL {
            assert_eq!(AssertionAudience::parse(policy.as_str()), Ok(policy));
        }
    }
}
