//! Resources: the audiences of access tokens.

use crate::jose::algorithm::SigningAlgorithm;
use crate::ports::time::UnixTime;

use super::Invalid;
use super::id::{AgentId, ResourceId};
use super::name::Name;
use super::profile::Profile;
use super::scope::Scopes;
use super::settings::{IssuerSettings, LIFETIME_CEILING_SECONDS, LIFETIME_FLOOR_SECONDS};
use super::token_typ::TokenTyp;

/// Longest resource identifier, in bytes.
pub const IDENTIFIER_MAX_BYTES: usize = 512;
/// Prefix of identifiers that only firman itself registers.
pub const RESERVED_IDENTIFIER_PREFIX: &str = "urn:firman:";

/// An audience of access tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Stable id.
    pub id: ResourceId,
    /// A short name for people and for role grants; unique among resources that are not removed.
    pub name: Name,
    /// The value of `aud`; unique among resources that are not removed.
    pub identifier: Identifier,
    /// What it is; may be empty.
    pub description: String,
    /// The requirements of its relying party.
    pub profile: Profile,
    /// Its scopes.
    pub scopes: Scopes,
    /// Default lifetime of its tokens in seconds; `None`: the profile's or issuer's default.
    pub lifetime: Option<i64>,
    /// The algorithm of its tokens; `None`: the issuer's default if the profile accepts it, otherwise the
    /// profile's first.
    pub algorithm: Option<SigningAlgorithm>,
    /// The `typ` header of its tokens; `None`: the profile's default.
    pub typ: Option<TokenTyp>,
    /// Whether its tokens may be made by token exchange; `None`: the profile's default.
    pub allow_delegation: Option<bool>,
    /// The agent that is the resource server: it may introspect tokens for this resource, and exchange tokens that
    /// it received.
    pub server: Option<AgentId>,
    /// Whether its tokens must be bound to a key (RFC 9449).
    pub dpop_required: bool,
    /// The issuer's registry version at its last change.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixTime,
    /// When it was last changed.
    pub updated_at: UnixTime,
    /// When it was removed, if it was.
    pub removed_at: Option<UnixTime>,
}

impl Resource {
    /// The `typ` header of its tokens.
    #[must_use]
    pub fn token_typ(&self) -> TokenTyp {
        let taken = self.profile.demands().typs;
        self.typ
            .or_else(|| taken.first().copied())
            .unwrap_or(TokenTyp::AccessToken)
    }

    /// Whether its tokens may be made by token exchange.
    #[must_use]
    pub fn allows_delegation(&self) -> bool {
        self.allow_delegation
            .unwrap_or(self.profile.demands().allow_delegation)
    }

    /// Whether and when its tokens are bound to a key.
    #[must_use]
    pub fn binding(&self) -> Binding {
        if self.dpop_required {
            Binding::Required
        } else if self.profile.demands().takes_bound_tokens {
            Binding::Offered
        } else {
            Binding::Impossible
        }
    }

    /// The lifetime in seconds of its tokens without `expires_in` in the request.
    #[must_use]
    pub fn default_lifetime(&self, settings: &IssuerSettings) -> i64 {
        self.lifetime
            .or(self.profile.demands().default_lifetime)
            .unwrap_or(settings.default_lifetime)
            .min(self.max_lifetime(settings))
    }

    /// The longest lifetime of its tokens, in seconds.
    #[must_use]
    pub fn max_lifetime(&self, settings: &IssuerSettings) -> i64 {
        self.profile
            .demands()
            .max_lifetime
            .map_or(settings.max_lifetime, |cap| cap.min(settings.max_lifetime))
    }

    /// The algorithm of its tokens: its own, or the issuer's default if the profile accepts it, otherwise the
    /// profile's first.
    #[must_use]
    pub fn signing_algorithm(&self, settings: &IssuerSettings) -> SigningAlgorithm {
        let accepted = self.profile.demands().algorithms;
        self.algorithm.unwrap_or_else(|| {
            if accepted.contains(&settings.default_algorithm) {
                settings.default_algorithm
            } else {
                let first = accepted.first().copied();
                first.unwrap_or(settings.default_algorithm)
            }
        })
    }
}

/// Whether tokens are bound to the key of a proof (RFC 9449 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Tokens requested with a proof are bound.
    Offered,
    /// Every token is bound; a request without a proof is rejected.
    Required,
    /// Tokens are never bound, and a request with a proof is rejected: the relying party does not check the
    /// binding, so it would not protect the token.
    Impossible,
    /// Never bound, with or without a proof: an ID token is for the agent itself.
    None,
}

/// A resource identifier (RFC 8707 §2): an absolute URI without a fragment, stored byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(String);

impl Identifier {
    /// Parses an identifier for a resource that a person registers.
    ///
    /// # Errors
    /// When it is not an absolute URI, has a fragment, is too long or is reserved for firman.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // RFC 8141 §3.1: the scheme and the namespace of a URN are case-insensitive.
        let is_reserved = text
            .get(..RESERVED_IDENTIFIER_PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_IDENTIFIER_PREFIX));
        if is_reserved {
            return Err(Invalid::new(
                "identifier",
                "starts with `urn:firman:`, which is reserved for firman's own resources",
            ));
        }
        let problem = if text.len() > IDENTIFIER_MAX_BYTES {
            "is longer than 512 characters"
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            "contains a character that is not printable ASCII"
        } else if text.contains(['"', '<', '>', '\\', '^', '`', '{', '|', '}']) {
            "contains one of the characters \" < > \\ ^ ` { | }, which a URI must percent-encode (RFC 3986 section 2)"
        } else if text.contains('#') {
            "has a fragment, which RFC 8707 section 2 forbids"
        } else if url::Url::parse(text).is_err() {
            "is not an absolute URI such as `https://api.example.com` or `urn:example:api`"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Invalid::new("identifier", problem))
    }

    /// An identifier from the database, or a reserved one.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a resource's identifier against the audiences of known relying parties: such a party compares `aud` byte
/// for byte and accepts only tokens of its own profile.
///
/// # Errors
/// When it is the audience of another profile, or differs from one only in case or by a trailing slash.
pub fn check_audience(identifier: &Identifier, profile: Profile) -> Result<(), Invalid> {
    let plain = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
    let text = identifier.as_str();
    for owner in Profile::ALL {
        let Some(audience) = owner.demands().default_identifier else {
            continue;
        };
        if plain(text) != plain(audience) {
            continue;
        }
        if text != audience {
            return Err(Invalid::new(
                "identifier",
                format!(
                    "is not {audience}, which the relying party of profile `{}` compares byte for byte; leave out the identifier to use it",
                    owner.as_str()
                ),
            ));
        }
        if profile != owner {
            return Err(Invalid::new(
                "identifier",
                format!(
                    "belongs to the relying party of profile `{0}`, which rejects other tokens; create the resource with profile `{0}`",
                    owner.as_str()
                ),
            ));
        }
    }
    Ok(())
}

/// Checks a resource's own lifetime against its profile's and the issuer's limits.
///
/// # Errors
/// When it is below a minute, above the issuer's maximum, or above the relying party's.
pub fn check_lifetime(lifetime: i64, profile: Profile, issuer_max: i64) -> Result<i64, Invalid> {
    let max = profile
        .demands()
        .max_lifetime
        .map_or(issuer_max, |cap| cap.min(issuer_max))
        .min(LIFETIME_CEILING_SECONDS);
    if (LIFETIME_FLOOR_SECONDS..=max).contains(&lifetime) {
        return Ok(lifetime);
    }
    Err(Invalid::new(
        "lifetime",
        format!(
            "must be {LIFETIME_FLOOR_SECONDS} to {max} seconds for a resource with profile `{}`",
            profile.as_str()
        ),
    ))
}

/// Checks whether a resource may require bound tokens.
///
/// # Errors
/// When the relying party accepts bearer tokens only.
pub fn check_dpop_required(required: bool, profile: Profile) -> Result<bool, Invalid> {
    if !required || profile.demands().takes_bound_tokens {
        return Ok(required);
    }
    Err(Invalid::new(
        "dpop_required",
        format!(
            "must be false for a resource with profile `{}`, whose relying party accepts bearer tokens only",
            profile.as_str()
        ),
    ))
}

/// Checks whether an agent may be a resource's server.
///
/// # Errors
/// When the relying party is an outside service: its tokens would become exchangeable for that agent.
pub fn check_server(profile: Profile) -> Result<(), Invalid> {
    if profile.demands().default_identifier.is_none() {
        return Ok(());
    }
    Err(Invalid::new(
        "server",
        format!(
            "must be left out for a resource with profile `{}`: its server is the relying party, not an agent",
            profile.as_str()
        ),
    ))
}

/// Checks a resource's own algorithm against its profile.
///
/// # Errors
/// When the relying party does not verify that algorithm, or the issuer does not sign with it.
pub fn check_algorithm(
    algorithm: SigningAlgorithm,
    profile: Profile,
) -> Result<SigningAlgorithm, Invalid> {
    let allowed = profile.demands().algorithms;
    if allowed.contains(&algorithm) {
        return Ok(algorithm);
    }
    let names = allowed
        .iter()
        .map(|a| a.as_str())
        .collect::<Vec<_>>()
        .join(" or ");
    Err(Invalid::new(
        "algorithm",
        format!(
            "must be {names} for a resource with profile `{}`",
            profile.as_str()
        ),
    ))
}

/// Checks the `typ` header of a resource's tokens against its profile.
///
/// # Errors
/// When the relying party does not accept it, or access tokens never have it.
pub fn check_typ(text: &str, profile: Profile) -> Result<TokenTyp, Invalid> {
    let allowed = profile.demands().typs;
    match TokenTyp::parse(text) {
        Some(typ) if allowed.contains(&typ) => Ok(typ),
        Some(_) | None => {
            let names: Vec<_> = allowed.iter().map(|typ| typ.as_str()).collect();
            Err(Invalid::new(
                "typ",
                format!(
                    "must be {} for a resource with profile `{}`",
                    names.join(" or "),
                    profile.as_str()
                ),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_an_absolute_uri_without_fragment() {
        for bad in [
            "",
            "api",
            "/api",
            "https://a.example/#x",
            "https://a example",
            "urn:firman:admin",
            "URN:Firman:admin",
            "https://a.example/\"",
            "https://a.example/\\b",
            "https://a.example/{id}",
            &format!("https://a/{}", "x".repeat(512)),
        ] {
            assert!(Identifier::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in [
            "https://api.anthropic.com",
            "urn:example:api",
            "https://api.example/",
        ] {
            assert_eq!(Identifier::parse(good).expect("good").as_str(), good);
        }
    }

    #[test]
    fn the_audience_of_a_relying_party_is_its_profiles_and_exact() {
        let check = |text: &str, profile| {
            let identifier = Identifier::parse(text).expect("a good identifier");
            check_audience(&identifier, profile).map_err(|invalid| invalid.to_string())
        };
        assert_eq!(
            check("https://api.anthropic.com", Profile::Generic).expect_err("refused"),
            "identifier: belongs to the relying party of profile `claude`, which rejects other tokens; create the resource with profile `claude`"
        );
        for bad in ["https://api.anthropic.com/", "https://API.anthropic.com"] {
            for profile in Profile::ALL {
                assert_eq!(
                    check(bad, profile).expect_err("refused"),
                    "identifier: is not https://api.anthropic.com, which the relying party of profile `claude` compares byte for byte; leave out the identifier to use it"
                );
            }
        }
        // A rule may name another audience; only Claude can check that.
        for (good, profile) in [
            ("https://api.anthropic.com", Profile::Claude),
            ("api://claude", Profile::Claude),
            ("https://api.anthropic.com/v1", Profile::Generic),
        ] {
            assert_eq!(check(good, profile), Ok(()));
        }
    }

    #[test]
    fn a_claude_resource_keeps_to_what_claude_takes() {
        assert_eq!(
            check_lifetime(7200, Profile::Claude, 43_200)
                .expect_err("refused")
                .to_string(),
            "lifetime: must be 60 to 3600 seconds for a resource with profile `claude`"
        );
        assert_eq!(
            check_algorithm(SigningAlgorithm::EdDsa, Profile::Claude)
                .expect_err("refused")
                .to_string(),
            "algorithm: must be ES256 or RS256 for a resource with profile `claude`"
        );
        for bad in ["at+jwt", "jwt", ""] {
            assert_eq!(
                check_typ(bad, Profile::Claude)
                    .expect_err("refused")
                    .to_string(),
                "typ: must be JWT for a resource with profile `claude`"
            );
        }
        assert_eq!(check_typ("JWT", Profile::Claude), Ok(TokenTyp::Jwt));
        assert_eq!(check_lifetime(3600, Profile::Claude, 43_200), Ok(3600));
        assert_eq!(
            check_dpop_required(true, Profile::Claude)
                .expect_err("refused")
                .to_string(),
            "dpop_required: must be false for a resource with profile `claude`, whose relying party accepts bearer tokens only"
        );
        for (required, profile) in [(false, Profile::Claude), (true, Profile::Generic)] {
            assert_eq!(check_dpop_required(required, profile), Ok(required));
        }
    }
}
