//! What a subject token was made from, as the rows of its line record it; for an external token, its actors and
//! the row that makes it the root of a new line.

use serde_json::{Map, Value};

use super::super::AuthorizationError;
use super::ParentToken;
use crate::domain::actor::ActorChain;
use crate::domain::remedy::Remedy;
use crate::domain::scope::{Scopes, join_scopes, parse_scopes};
use crate::domain::trusted_issuer::CLAIM_MAX_BYTES;
use crate::issuer::external_token::ExternalToken;
use crate::issuer::line::{STEPS_MAX, Traced};
use crate::issuer::own_token::OwnToken;
use crate::ports::time::UnixTime;
use crate::store::LineageRow;

/// Audience and scopes of one token issued here: an upper bound for that audience in everything made from it.
#[derive(Clone, Debug)]
pub(super) struct PassedOn {
    pub(super) audience: String,
    pub(super) scopes: Scopes,
}

/// What a subject token issued here inherits from the tokens that it was made from.
pub(super) struct SubjectOrigin {
    pub(super) parent: ParentToken,
    pub(super) passed_on: Vec<PassedOn>,
    pub(super) proven: Map<String, Value>,
}

/// The origin according to the rows of a token's line. A root issued here states it in its own claims.
pub(super) fn traced_origin(
    token: &OwnToken,
    traced: Option<Traced>,
) -> Result<SubjectOrigin, String> {
    const UNKNOWN: &str = "subject_token: the record of its origin is missing; get a new token";
    let Traced { line, rows } = traced.ok_or_else(|| UNKNOWN.to_owned())?;
    let mut passed_on = vec![PassedOn {
        audience: token.audience.clone(),
        scopes: token.scopes.clone(),
    }];
    let mut proven = Map::new();
    for row in &rows {
        if let Some(claims) = &row.proven {
            if row.subject != token.subject {
                return Err(UNKNOWN.to_owned());
            }
            proven = claims
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value.clone())))
                .collect();
            continue;
        }
        // A row of an older version does not record what may be passed on.
        if row.audience.is_empty() {
            return Err(UNKNOWN.to_owned());
        }
        let scopes = match row.scopes.as_str() {
            "" => Scopes::new(),
            scopes => parse_scopes(scopes).map_err(|_| UNKNOWN.to_owned())?,
        };
        let audience = row.audience.clone();
        passed_on.push(PassedOn { audience, scopes });
    }
    let depth = rows.first().map_or(0, |row| row.depth);
    if depth >= STEPS_MAX {
        return Err(format!(
            "subject_token: it is the result of {depth} exchanges, and at most {STEPS_MAX} are allowed; exchange an earlier token"
        ));
    }
    let root = rows.is_empty().then(|| LineageRow {
        token_id: token.token_id.clone(),
        made: None,
        root_id: token.token_id.clone(),
        depth: 0,
        subject: token.subject.clone(),
        audience: token.audience.clone(),
        scopes: join_scopes(&token.scopes),
        proven: None,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
    });
    Ok(SubjectOrigin {
        parent: ParentToken { line, root, depth },
        passed_on,
        proven,
    })
}

/// The actors of an external token. A token with `act` is rejected unless its issuer is trusted for that: dropping
/// `act` would hide the actors and shorten the chain.
pub(super) fn foreign_actors(token: &ExternalToken) -> Result<ActorChain, AuthorizationError> {
    let trusted = &token.trusted;
    match token.claims.other.get("act") {
        None => Ok(ActorChain::default()),
        Some(act) if trusted.definition.accept_act => ActorChain::parse_foreign(act, &trusted.url)
            .map_err(|error| {
                AuthorizationError::invalid_request(format!("subject_token: {error}"))
            }),
        Some(_) => Err(AuthorizationError::invalid_request(format!(
            "subject_token: `act` is not accepted from the trusted issuer `{}`",
            trusted.name
        ))
        .with_remedy(Remedy::command(format!(
            "trusted-issuer edit {} --accept-act",
            trusted.name
        )))),
    }
}

/// The row of an external token, the root of everything made from it, with the claims that later exchanges may
/// need: strings that a delegation can name.
pub(super) fn outside_root(
    token: &ExternalToken,
    subject: &str,
    issued_at: UnixTime,
) -> LineageRow {
    let proven = token
        .claims
        .other
        .iter()
        .filter(|(name, _)| name.len() <= CLAIM_MAX_BYTES)
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .filter(|(_, value)| value.len() <= CLAIM_MAX_BYTES)
        .collect();
    LineageRow {
        token_id: token.reference.clone(),
        made: None,
        root_id: token.reference.clone(),
        depth: 0,
        subject: subject.to_owned(),
        audience: String::new(),
        scopes: String::new(),
        proven: Some(proven),
        issued_at,
        expires_at: token.expires_at,
    }
}
