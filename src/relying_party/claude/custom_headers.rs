//! `ANTHROPIC_CUSTOM_HEADERS`: headers that the SDKs add to each request, one per line, `Name: value`. A credential
//! among them silently takes precedence over federation.

/// The headers that carry a credential.
const CREDENTIALS: [&str; 2] = ["x-api-key", "authorization"];

/// The parsed value of `ANTHROPIC_CUSTOM_HEADERS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomHeaders {
    /// The names of the headers that are credentials, in lower case and in order, each once.
    pub credentials: Vec<&'static str>,
    /// The other lines, unchanged; `None` without any.
    pub others: Option<String>,
}

impl CustomHeaders {
    /// Parses the variable's value as the SDKs do: the name is a line up to its first colon, without regard to
    /// surrounding blanks and case.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        let mut credentials = Vec::new();
        let mut others = Vec::new();
        for line in value.split('\n') {
            let name = line.split_once(':').map(|(name, _)| name.trim());
            let credential = name.and_then(|name| {
                CREDENTIALS
                    .into_iter()
                    .find(|credential| name.eq_ignore_ascii_case(credential))
            });
            match credential {
                Some(credential) if credentials.contains(&credential) => {}
                Some(credential) => credentials.push(credential),
                None => others.push(line),
            }
        }
        let others = others.join("\n");
        Self {
            credentials,
            others: (!others.trim().is_empty()).then_some(others),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_however_they_are_written_and_the_rest_stays_as_it_is() {
        for (value, credentials, others) in [
            ("", &[][..], None),
            ("x-trace: 1", &[], Some("x-trace: 1")),
            ("not a header", &[], Some("not a header")),
            ("x-api-key-id: 1", &[], Some("x-api-key-id: 1")),
            (
                "x-note: authorization: none",
                &[],
                Some("x-note: authorization: none"),
            ),
            ("X-Api-Key: sk-1", &["x-api-key"], None),
            (" AUTHORIZATION :Bearer x\r", &["authorization"], None),
            (
                "x-a: 1\nauthorization: Bearer x\nx-b: 2\nx-api-key:\nX-API-KEY: 2\n",
                &["authorization", "x-api-key"],
                Some("x-a: 1\nx-b: 2\n"),
            ),
        ] {
            let parsed = CustomHeaders::parse(value);
            assert_eq!(parsed.credentials, credentials, "{value:?}");
            assert_eq!(parsed.others.as_deref(), others, "{value:?}");
        }
    }
}
