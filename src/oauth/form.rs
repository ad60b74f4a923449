//! `application/x-www-form-urlencoded` as the token endpoint accepts it (RFC 6749 §3.2 and appendix B): each
//! parameter at most once, empty ones ignored, every byte decoded strictly. `resource` and `audience` may be
//! repeated (RFC 8707 §2, RFC 8693 §2.1); the grant judges the values.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};

use super::error::OAuthError;

/// Most parameters of one request; the supported grants need ten.
const PARAMETERS_MAX: usize = 64;

/// Parsed parameters. The values are not verified.
#[derive(Debug, Default)]
pub(super) struct Form {
    parameters: BTreeMap<String, String>,
    /// Every value of [`TARGETS`] that is not empty, in order.
    targets: Vec<String>,
}

/// The parameters that name what a token is for.
const TARGETS: [&str; 2] = ["resource", "audience"];

impl Form {
    /// Parses a request body.
    ///
    /// # Errors
    /// `invalid_request` for another media type, a repeated parameter or a malformed encoding.
    pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, OAuthError> {
        let media_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(OAuthError::invalid_request(
                "`Content-Type` must be `application/x-www-form-urlencoded`",
            ));
        }
        let mut seen = BTreeMap::new();
        let mut targets = Vec::new();
        for pair in body.split(|&b| b == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |&b| b == b'=');
            let name = halves.next().and_then(decode);
            let value = halves.next().map_or(Some(String::new()), decode);
            let (Some(name), Some(value)) = (name, value) else {
                return Err(OAuthError::invalid_request(
                    "a parameter is not percent-encoded UTF-8",
                ));
            };
            if seen.len() + targets.len() >= PARAMETERS_MAX {
                return Err(OAuthError::invalid_request(format!(
                    "more than {PARAMETERS_MAX} parameters"
                )));
            }
            if TARGETS.contains(&name.as_str()) {
                targets.push(value);
                continue;
            }
            if seen.contains_key(&name) {
                return Err(OAuthError::invalid_request("a parameter is repeated"));
            }
            seen.insert(name, value);
        }
        seen.retain(|_, value| !value.is_empty());
        targets.retain(|value| !value.is_empty());
        Ok(Self {
            parameters: seen,
            targets,
        })
    }

    /// Every value of `resource` and `audience` that is not empty, in the order of the request.
    pub(super) fn targets(&self) -> &[String] {
        &self.targets
    }

    /// The value of a parameter, if it was sent and is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// True when a parameter was sent and is not empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }
}

/// Decodes one name or value: `+` is a space, `%XX` a byte. `None` for a malformed escape or bytes that are not
/// UTF-8.
pub(super) fn decode(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(*rest.next()?).to_digit(16)?;
                let low = char::from(*rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_escapes_are_refused_and_good_ones_decoded() {
        for bad in ["%", "%z", "%zz", "%4", "%ff", "%c3%28", "%+1"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(decode(b"a+b%2Bc%3a%C3%A9"), Some("a b+c:é".to_owned()));
    }
}
