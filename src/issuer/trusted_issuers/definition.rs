//! The definition of a trusted issuer: its defaults, edits, and the checks of the whole.

use std::collections::BTreeMap;

use url::Url;

use crate::api::trusted_issuer::{NewTrustedIssuer, TrustedIssuerEdit};
use crate::api::warning::Warning;
use crate::domain::agent::{DESCRIPTION_MAX_CHARS, parse_attributes};
use crate::domain::remedy::Remedy;
use crate::domain::trusted_issuer::{
    CLAIM_MAX_BYTES, DEFAULT_MAX_LIFETIME_SECONDS, ENTRIES_MAX, JtiPolicy, KeySource,
    MAX_LIFETIME_CEILING_SECONDS, SPIFFE_SCHEME, TrustDefinition, URL_MAX_BYTES, check_claims,
};
use crate::domain::{Invalid, text};
use crate::issuer::Issuer;
use crate::issuer::trusted_keys::KeysError;
use crate::jose::jwk_error::listed;
use crate::ports::fetch::FetchError;

impl Issuer {
    /// The definition of a new trusted issuer. Omitted members are not trusted, or have their defaults.
    pub(super) fn defined(&self, new: NewTrustedIssuer) -> Result<TrustDefinition, Invalid> {
        let trust = Trust::parse(&new.trust.unwrap_or_default())?;
        // JWT-SVID §3: `typ` is absent, JWT or JOSE. Every other issuer writes JWT.
        let types: &[&str] = if new.url.starts_with(SPIFFE_SCHEME) {
            &["", "JWT", "JOSE"]
        } else {
            &["JWT"]
        };
        Ok(TrustDefinition {
            description: new.description.unwrap_or_default(),
            audience: new.audience.unwrap_or_else(|| self.url.clone()),
            keys: new.keys.unwrap_or(KeySource::Discovery),
            client_auth: trust.client_auth,
            subject: trust.subject,
            actor: trust.actor,
            accept_act: new.accept_act.unwrap_or(false),
            max_lifetime: new.max_lifetime.unwrap_or(DEFAULT_MAX_LIFETIME_SECONDS),
            types: new
                .types
                .unwrap_or_else(|| types.iter().map(|&typ| typ.to_owned()).collect()),
            jti: parse_jti(new.jti.as_deref())?.unwrap_or(JtiPolicy::SingleUse),
            required_claims: new.required_claims.unwrap_or_default(),
            subject_claim: new.subject_claim.unwrap_or_else(|| "sub".to_owned()),
            claims: new.claims.unwrap_or_default(),
        })
    }

    pub(super) fn check_trusted_url(
        &self,
        url: &str,
        definition: &TrustDefinition,
    ) -> Result<(), Invalid> {
        let refused = |problem: &str| Err(Invalid::new("url", problem));
        if url.len() > URL_MAX_BYTES || !url.bytes().all(|b| b.is_ascii_graphic()) {
            return refused(
                "is longer than 512 bytes, or contains a character that is not printable ASCII",
            );
        }
        if same_place(url, &self.url) {
            return refused(
                "is this issuer's own URL; its tokens need no trust and cannot authenticate a client",
            );
        }
        if let Some(domain) = url.strip_prefix(SPIFFE_SCHEME) {
            return check_trust_domain(domain, definition);
        }
        let is_web = Url::parse(url).is_ok_and(|parsed| {
            matches!(parsed.scheme(), "http" | "https")
                && parsed.query().is_none()
                && parsed.fragment().is_none()
                && parsed.username().is_empty()
                && parsed.password().is_none()
        });
        if !is_web {
            return refused(
                "must be an `https` URL without query, fragment and user, exactly as in `iss`, or `spiffe://` and a trust domain",
            );
        }
        match &definition.keys {
            KeySource::Discovery => self.check_fetched("url", url),
            // The URL is not fetched, so one that only its own network reaches is accepted.
            KeySource::Inline { .. } | KeySource::JwksUri { .. } => {
                if url.starts_with("https://") || self.ports.fetcher.check(url).is_ok() {
                    Ok(())
                } else {
                    refused("must begin with `https://`")
                }
            }
        }
    }

    fn check_fetched(&self, field: &'static str, url: &str) -> Result<(), Invalid> {
        match self.ports.fetcher.check(url) {
            Ok(()) => Ok(()),
            Err(FetchError::Refused(why) | FetchError::Failed(why)) => Err(Invalid::new(
                field,
                format!(
                    "must not be fetched: {why}; keys are fetched from public `https` addresses only"
                ),
            )
            .with_remedy(Remedy::action("register the keys themselves with `--jwks`"))),
        }
    }

    /// Checks the whole definition of an issuer after every change.
    pub(super) fn checked(
        &self,
        url: &str,
        mut definition: TrustDefinition,
    ) -> Result<TrustDefinition, Invalid> {
        definition.description = text::line(
            "description",
            &definition.description,
            DESCRIPTION_MAX_CHARS,
        )?;
        definition.audience = text::filled_line("audience", &definition.audience, CLAIM_MAX_BYTES)?;
        let longest = MAX_LIFETIME_CEILING_SECONDS;
        if !(1..=longest).contains(&definition.max_lifetime) {
            return Err(Invalid::new(
                "max_lifetime",
                format!("must be 1 to {longest} seconds"),
            ));
        }
        check_types(&definition.types)?;
        check_claims("required_claims", &definition.required_claims)?;
        check_claims("claims", &definition.claims)?;
        parse_attributes(&definition.claims)
            .map_err(|invalid| Invalid::new("claims", invalid.problem))?;
        let subject_claim = BTreeMap::from([(definition.subject_claim.clone(), "x".to_owned())]);
        check_claims("subject_claim", &subject_claim)?;
        if let KeySource::JwksUri { url } = &definition.keys {
            if url.len() > URL_MAX_BYTES {
                return Err(Invalid::new("jwks_uri", "is longer than 512 bytes"));
            }
            self.check_fetched("jwks_uri", url)?;
        }
        if url.starts_with(SPIFFE_SCHEME) && (definition.subject || definition.actor) {
            return Err(Invalid::new(
                "trust",
                "a SPIFFE trust domain can only be trusted for `client_auth`: its tokens are about workloads",
            ));
        }
        Ok(definition)
    }

    /// Fetches the keys as for a token. A permanent fault is an error; a temporary one is a warning.
    pub(super) async fn try_keys(
        &self,
        url: &str,
        definition: &TrustDefinition,
    ) -> Result<Option<Warning>, Invalid> {
        let field = match &definition.keys {
            KeySource::Inline { .. } => "jwks",
            KeySource::JwksUri { .. } => "jwks_uri",
            KeySource::Discovery => "url",
        };
        match self.trusted_keys.try_out(url, &definition.keys).await {
            Ok(skipped) if skipped.is_empty() => Ok(None),
            Ok(skipped) => Ok(Some(Warning::new(format!(
                "its key set has entries that cannot be used, and tokens signed with them are rejected: {}",
                listed(&skipped)
            )))),
            Err(error @ KeysError::Unavailable { .. }) => Ok(Some(Warning::new(format!(
                "{error}; firman fetches again when a token arrives"
            )))),
            Err(error @ (KeysError::Refused { .. } | KeysError::Wrong(_))) => {
                Err(Invalid::new(field, format!("cannot be used: {error}")))
            }
        }
    }
}

/// An edit whose words are known.
pub(super) struct ParsedEdit {
    edit: TrustedIssuerEdit,
    trust: Option<Trust>,
    jti: Option<JtiPolicy>,
}

impl ParsedEdit {
    pub(super) fn parse(edit: TrustedIssuerEdit) -> Result<Self, Invalid> {
        Ok(Self {
            trust: edit.trust.as_deref().map(Trust::parse).transpose()?,
            jti: parse_jti(edit.jti.as_deref())?,
            edit,
        })
    }

    pub(super) fn names_keys(&self) -> bool {
        self.edit.keys.is_some()
    }

    /// The definition after the edit; what the edit leaves out stays.
    pub(super) fn applied(&self, before: TrustDefinition) -> TrustDefinition {
        let edit = self.edit.clone();
        let trust = self.trust.unwrap_or(Trust {
            client_auth: before.client_auth,
            subject: before.subject,
            actor: before.actor,
        });
        TrustDefinition {
            description: edit.description.unwrap_or(before.description),
            audience: edit.audience.unwrap_or(before.audience),
            keys: edit.keys.unwrap_or(before.keys),
            client_auth: trust.client_auth,
            subject: trust.subject,
            actor: trust.actor,
            accept_act: edit.accept_act.unwrap_or(before.accept_act),
            max_lifetime: edit.max_lifetime.unwrap_or(before.max_lifetime),
            types: edit.types.unwrap_or(before.types),
            jti: self.jti.unwrap_or(before.jti),
            required_claims: edit.required_claims.unwrap_or(before.required_claims),
            subject_claim: edit.subject_claim.unwrap_or(before.subject_claim),
            claims: edit.claims.unwrap_or(before.claims),
        }
    }
}

/// What an issuer's tokens may be, as the member `trust` lists it.
#[derive(Clone, Copy)]
struct Trust {
    client_auth: bool,
    subject: bool,
    actor: bool,
}

const CLIENT_AUTH: &str = "client_auth";
const SUBJECT: &str = "subject";
const ACTOR: &str = "actor";

impl Trust {
    fn parse(names: &[String]) -> Result<Self, Invalid> {
        let is_known = |name: &String| [CLIENT_AUTH, SUBJECT, ACTOR].contains(&name.as_str());
        if !names.iter().all(is_known) {
            return Err(Invalid::new(
                "trust",
                "must contain only `client_auth`, `subject` and `actor`",
            ));
        }
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        Ok(Self {
            client_auth: has(CLIENT_AUTH),
            subject: has(SUBJECT),
            actor: has(ACTOR),
        })
    }
}

/// What an issuer is trusted for, as the member `trust` lists it.
pub(super) fn trusted_for(definition: &TrustDefinition) -> Vec<String> {
    let trust = [
        (CLIENT_AUTH, definition.client_auth),
        (SUBJECT, definition.subject),
        (ACTOR, definition.actor),
    ];
    trust
        .into_iter()
        .filter(|(_, is_trusted)| *is_trusted)
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn parse_jti(text: Option<&str>) -> Result<Option<JtiPolicy>, Invalid> {
    match text {
        None => Ok(None),
        Some("single-use") => Ok(Some(JtiPolicy::SingleUse)),
        Some("reusable") => Ok(Some(JtiPolicy::Reusable)),
        Some(_) => Err(Invalid::new("jti", "must be `single-use` or `reusable`")),
    }
}

/// Whether two URLs lead to the same place, whatever their spelling.
fn same_place(one: &str, other: &str) -> bool {
    let place = |text: &str| {
        Url::parse(text).map_or_else(
            |_| text.to_owned(),
            |url| url.as_str().trim_end_matches('/').to_owned(),
        )
    };
    place(one) == place(other)
}

/// SPIFFE ID §2.1: lower-case letters, digits, `.`, `-` and `_`, no port and no path.
fn check_trust_domain(domain: &str, definition: &TrustDefinition) -> Result<(), Invalid> {
    let is_domain = !domain.is_empty()
        && domain.len() <= 255
        && domain.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_')
        });
    if !is_domain {
        return Err(Invalid::new(
            "url",
            "must be `spiffe://` and a trust domain alone, such as `spiffe://example.org`",
        ));
    }
    match &definition.keys {
        KeySource::Inline { .. } | KeySource::JwksUri { .. } => Ok(()),
        KeySource::Discovery => Err(Invalid::new(
            "jwks",
            "is missing: a trust domain has no discovery document",
        )
        .with_remedy(Remedy::action(
            "add its bundle with `--jwks`, or the URL of its bundle endpoint with `--jwks-uri`",
        ))),
    }
}

fn check_types(types: &[String]) -> Result<(), Invalid> {
    let is_type = |text: &String| {
        text.len() <= 100
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_' | b'!'))
    };
    if types.is_empty() || types.len() > ENTRIES_MAX || !types.iter().all(is_type) {
        return Err(Invalid::new(
            "types",
            "must be 1 to 16 media types without `application/`, such as `JWT`; the empty text stands for a token without `typ`",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_is_recognised_in_every_spelling() {
        for other in [
            "https://id.example.com",
            "https://id.example.com/",
            "https://ID.example.com:443//",
        ] {
            assert!(same_place("https://id.example.com", other), "{other}");
        }
        for other in ["https://id.example.com/a", "https://id.example.com:8443"] {
            assert!(!same_place("https://id.example.com", other), "{other}");
        }
    }

    #[test]
    fn a_type_is_a_media_type_without_its_prefix() {
        for bad in ["application/jwt", "J W T", "é", "a\nb"] {
            assert!(check_types(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(check_types(&[]).is_err());
        assert!(check_types(&[String::new(), "at+jwt".to_owned()]).is_ok());
    }
}
