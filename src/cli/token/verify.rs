//! `firman token verify`: checks a token as a relying party does. A relying party must know which issuer it trusts
//! and that the token is meant for it, so both are required.

use clap::Args;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{expose, read_token, revocation_list};
use crate::cli::error::CliError;
use crate::cli::published::{Discovered, check_signature, fetch_keys, refused};
use crate::cli::session::Session;
use crate::domain::settings::SKEW_SECONDS;
use crate::jose::json::parse_object;
use crate::jose::{Claims, UnverifiedJws, VerifiedJws};
use crate::ports::time::UnixTime;

/// The largest token accepted: the highest limit of the relying parties we know.
const TOKEN_MAX_BYTES: usize = 16 * 1024;

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    /// The file with the token (`-` is stdin), or the token itself
    #[arg(value_name = "FILE")]
    token: String,
    /// The trusted issuer's URL, exactly as it calls itself
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// The audience that the token must name: the resource's identifier
    #[arg(long, value_name = "AUDIENCE")]
    audience: String,
    /// Also read the issuer's revocation list, and reject a revoked token
    #[arg(long)]
    revocations: bool,
}

pub(super) async fn run(args: VerifyArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let token = read_token(&args.token)?;
    let issuer = Discovered::at(&args.issuer, &session.reach()?).await?;
    let (header, claims) = verify(&token, &issuer, &args.audience, session.now()).await?;
    if args.revocations {
        revocation_list::check(&issuer, &claims, session.now()).await?;
    }
    super::print(&header, &claims, true, session)?;
    let and_listed = if args.revocations {
        "not expired and not on the revocation list"
    } else {
        "and not expired"
    };
    session.printer.hint(&format!(
        "Verified: signed by {}, for {}, {and_listed}.",
        args.issuer, args.audience
    ));
    Ok(())
}

/// Verifies a token knowing only the issuer's URL, and returns its header and claims.
pub(in crate::cli) async fn verify(
    token: &SecretString,
    issuer: &Discovered,
    audience: &str,
    now: UnixTime,
) -> Result<(Map<String, Value>, Map<String, Value>), CliError> {
    let unverified =
        UnverifiedJws::parse(expose(token), TOKEN_MAX_BYTES).map_err(|error| refused(&error))?;
    let keys = fetch_keys(issuer).await?;
    let verified = check_signature(&unverified, &keys)?;
    check_claims(&verified, &issuer.name, audience, now)?;
    let (header, _) = super::inspect::decode(expose(token))?;
    let claims = parse_object(verified.payload()).map_err(|error| refused(&error))?;
    Ok((header, claims))
}

fn check_claims(
    token: &VerifiedJws,
    issuer: &str,
    audience: &str,
    now: UnixTime,
) -> Result<(), CliError> {
    let claims = Claims::parse(token).map_err(|error| refused(&error))?;
    if claims.issuer.as_deref() != Some(issuer) {
        return Err(refused(&format!(
            "`iss` is {:?}, not {issuer:?}",
            claims.issuer.unwrap_or_default()
        )));
    }
    if !claims
        .audience
        .as_ref()
        .is_some_and(|named| named.contains(audience))
    {
        let named: Vec<&str> = claims
            .audience
            .iter()
            .flat_map(|named| named.iter())
            .collect();
        return Err(refused(&format!(
            "the token is for {named:?} (`aud`), not for {audience:?}"
        )));
    }
    claims
        .check_times(now, SKEW_SECONDS)
        .map_err(|error| refused(&error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::{PublicJwkSet, SigningAlgorithm, SigningKey};

    const ISSUER: &str = "https://id.example.com";
    const AUDIENCE: &str = "https://api.example.com";
    const NOW: UnixTime = UnixTime(1_795_253_400);

    fn check(key: &SigningKey, claims: &Value, published: &SigningKey) -> String {
        let token = key
            .sign_compact("at+jwt", claims.to_string().as_bytes())
            .unwrap();
        let keys = PublicJwkSet::of(vec![published.public_jwk().clone()]).unwrap();
        let unverified = UnverifiedJws::parse(&token, TOKEN_MAX_BYTES).unwrap();
        let outcome = check_signature(&unverified, &keys)
            .and_then(|token| check_claims(&token, ISSUER, AUDIENCE, NOW));
        outcome.map_or_else(|error| error.text().unwrap(), |()| "ok".to_owned())
    }

    #[test]
    fn a_token_is_refused_with_its_reason() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let good = json!({"iss": ISSUER, "sub": "agent:mailer", "aud": AUDIENCE, "exp": NOW.0 + 60, "iat": NOW.0});
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        for (claims, expected) in [
            (
                with("iss", json!("https://id.example.com/")),
                "error: not valid: `iss` is \"https://id.example.com/\", not \"https://id.example.com\"",
            ),
            (
                with("aud", json!("https://other.example.com")),
                "error: not valid: the token is for [\"https://other.example.com\"] (`aud`), not for \"https://api.example.com\"",
            ),
            (
                with("aud", json!(1)),
                "error: not valid: `aud` must be a string or a non-empty array of strings",
            ),
            (
                with("exp", json!(NOW.0 - 60)),
                "error: not valid: the token has expired (`exp`); make a new one, and check the clock of the machine that makes it",
            ),
            (
                with("exp", json!("never")),
                "error: not valid: `exp` must be a JSON number: seconds since 1970, without quotes",
            ),
            (
                with("nbf", json!(NOW.0 + 600)),
                "error: not valid: the token is not valid yet (`nbf`); check the clock of the machine that makes it",
            ),
            (good.clone(), "ok"),
        ] {
            assert_eq!(check(&key, &claims, &key), expected);
        }
    }

    #[test]
    fn a_token_of_a_key_that_is_not_published_is_refused() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let other = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let outcome = check(&key, &json!({}), &other);
        assert!(
            outcome.starts_with(
                "error: not valid: the issuer does not publish a key for `ES256` with the token's `kid` (`"
            ),
            "{outcome}"
        );
    }
}
