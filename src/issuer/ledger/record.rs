//! The unit of commit for one request, and how a minted token becomes one.

use crate::domain::audit::AuditDraft;
use crate::ports::time::UnixTime;
use crate::store::{Exchanged, LineageRow, RevokedToken};

use super::super::authorize::Basis;
use super::super::line::Line;
use super::super::mint::{IssuedToken, Minted};
use super::super::single_use::SpentAssertion;

/// Everything that one request commits, or nothing.
#[derive(Debug, Default)]
pub(in crate::issuer) struct Record {
    /// What the decision rests on.
    pub(in crate::issuer) basis: Basis,
    /// A unique id: the `jti` of the token, if it has one.
    pub(in crate::issuer) id: String,
    /// The single-use marks to set.
    pub(in crate::issuer) spends: Vec<SpentAssertion>,
    /// The line of the subject token: nothing on it may be ended.
    pub(in crate::issuer) made_from: Option<Line>,
    /// The rows that record the origin of a new token.
    pub(in crate::issuer) lineage: Vec<LineageRow>,
    /// The `iat` of a new token.
    pub(in crate::issuer) issued_at: Option<UnixTime>,
    /// A token to end.
    pub(in crate::issuer) ends: Option<RevokedToken>,
    /// The audit entries.
    pub(in crate::issuer) drafts: Vec<AuditDraft>,
}

impl Minted {
    /// The ledger's record, and the tokens, which are released only when the record is durable.
    pub(in crate::issuer) fn into_record(self) -> (Record, IssuedToken) {
        let lineage = self.lineage();
        let (basis, spends, delegated) = self.authorization.into_parts();
        let record = Record {
            basis,
            id: self.token_id,
            spends,
            made_from: delegated.map(|delegated| delegated.parent.line),
            lineage,
            issued_at: Some(self.issued_at),
            ends: None,
            drafts: self.drafts,
        };
        (record, self.issued)
    }

    /// The row of a delegated token and, for the first token made from a root, the root's row.
    fn lineage(&self) -> Vec<LineageRow> {
        let Some(delegated) = self.authorization.delegated() else {
            return Vec::new();
        };
        let parent = &delegated.parent;
        let own = LineageRow {
            token_id: self.token_id.clone(),
            made: Some(Exchanged {
                parent_id: parent.line.token_id().to_owned(),
                delegation: delegated.delegation.clone(),
                actor: self.authorization.agent().id.clone(),
            }),
            root_id: parent.line.root_id().to_owned(),
            depth: parent.depth + 1,
            subject: delegated.subject.clone(),
            audience: self.authorization.target().audience.clone(),
            scopes: self.issued.scope.clone(),
            proven: None,
            issued_at: self.issued_at,
            expires_at: self.issued_at.plus(self.authorization.lifetime()),
        };
        parent.root.iter().cloned().chain([own]).collect()
    }
}
