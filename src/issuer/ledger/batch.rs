//! One batch of the ledger in one transaction: check each record under the head row, mark its assertions as used,
//! write the tokens that it ends, chain its audit entries, commit.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::domain::audit::{AuditDraft, chain};
use crate::store::{Head, StoreError, Tx, UsedAssertion};

use super::super::Issuer;
use super::super::authorize::Basis;
use super::super::line::{Endings, Line};
use super::{Request, Verdict};

impl Issuer {
    /// One transaction: check, mark, chain, commit. Returns the verdicts in the order of the requests.
    pub(super) async fn record_together(
        &self,
        requests: &mut [Request],
        refusals: Vec<AuditDraft>,
    ) -> Result<Vec<Verdict>, StoreError> {
        let mut tx = self.store.write().await?;
        let head = tx
            .lock_head(&self.id)
            .await?
            .ok_or_else(|| StoreError::corrupt("the issuer's head row is missing"))?;
        self.registry
            .refresh_locked(&mut tx, &self.id, &head, &self.sealing)
            .await?;
        let mut verdicts = self.judge(&mut tx, &head, requests).await?;
        self.mark_assertions(&mut tx, requests, &mut verdicts)
            .await?;
        let ended = self.write_ends(&mut tx, requests, &mut verdicts).await?;
        let mut lineage = Vec::new();
        let mut drafts = Vec::new();
        let mut newest_iat = None;
        for (request, verdict) in requests.iter_mut().zip(&verdicts) {
            if *verdict == Verdict::Recorded {
                lineage.append(&mut request.record.lineage);
                drafts.append(&mut request.record.drafts);
                newest_iat = newest_iat.max(request.record.issued_at);
            }
        }
        tx.insert_lineage(&self.id, &lineage).await?;
        drafts.extend(refusals);
        let entries = chain(self.id.as_str(), head.chain(), drafts);
        if let Some(last) = entries.last() {
            tx.append_audit(&self.id, &entries).await?;
            tx.set_head(&self.id, last.into(), newest_iat).await?;
        }
        tx.commit().await?;
        if ended {
            self.kept_list.is_outdated();
        }
        Ok(verdicts)
    }

    /// Checks under the head row whether what each decision rests on is unchanged.
    async fn judge(
        &self,
        tx: &mut Tx,
        head: &Head,
        requests: &[Request],
    ) -> Result<Vec<Verdict>, StoreError> {
        let versions = self.versions(tx, head, requests).await?;
        let mut verdicts: Vec<Verdict> = requests
            .iter()
            .map(|request| {
                if request.reply.is_closed() {
                    // Its caller is gone: a token that cannot leave is not recorded, and its assertion stays
                    // usable for the client's next attempt.
                    Verdict::Unavailable
                } else if is_current(head, &request.record.basis, &versions) {
                    Verdict::Recorded
                } else {
                    Verdict::Stale
                }
            })
            .collect();
        let current = || {
            requests
                .iter()
                .zip(&verdicts)
                .filter(|(_, verdict)| **verdict == Verdict::Recorded)
                .map(|(request, _)| &request.record)
        };
        let lines: Vec<&Line> = current()
            .filter_map(|record| record.made_from.as_ref())
            .collect();
        if lines.is_empty() {
            return Ok(verdicts);
        }
        let endings = Endings::read(tx, &self.id, &lines, &[]).await?;
        for (request, verdict) in requests.iter().zip(&mut verdicts) {
            if *verdict == Verdict::Recorded
                && let Some(line) = &request.record.made_from
                && endings.have_ended(line)
            {
                *verdict = Verdict::Revoked;
            }
        }
        Ok(verdicts)
    }

    /// The versions of the agents that the outdated decisions rest on, in one statement.
    async fn versions(
        &self,
        tx: &mut Tx,
        head: &Head,
        requests: &[Request],
    ) -> Result<HashMap<String, i64>, StoreError> {
        let mut versions = HashMap::new();
        let mut unknown = BTreeSet::new();
        let older = requests
            .iter()
            .map(|request| &request.record.basis)
            .filter(|basis| basis.version < head.registry_version);
        for agent in older.flat_map(|basis| &basis.agents) {
            match self.registry.cached_version(&agent.name) {
                Some(version) => {
                    versions.insert(agent.id.as_str().to_owned(), version);
                }
                None => {
                    unknown.insert(agent.id.as_str());
                }
            }
        }
        let unknown: Vec<&str> = unknown.into_iter().collect();
        let read = tx.agent_versions(&self.id, &unknown).await?;
        versions.extend(
            read.into_iter()
                .map(|(id, version)| (id.as_str().to_owned(), version)),
        );
        Ok(versions)
    }

    /// Writes the ends of tokens. Returns whether any of them had not ended before.
    async fn write_ends(
        &self,
        tx: &mut Tx,
        requests: &[Request],
        verdicts: &mut [Verdict],
    ) -> Result<bool, StoreError> {
        let wanted: Vec<&str> = requests
            .iter()
            .filter_map(|request| Some(request.record.ends.as_ref()?.token_id.as_str()))
            .collect();
        if wanted.is_empty() {
            return Ok(false);
        }
        let endings = Endings::read(tx, &self.id, &[], &wanted).await?;
        let mut in_batch = HashSet::new();
        let mut ends = Vec::new();
        for (request, verdict) in requests.iter().zip(verdicts) {
            if *verdict == Verdict::Recorded
                && let Some(token) = &request.record.ends
            {
                if !endings.is_revoked(&token.token_id) && in_batch.insert(&token.token_id) {
                    ends.push(token.clone());
                } else {
                    *verdict = Verdict::EndedBefore;
                }
            }
        }
        tx.revoke_tokens(&self.id, &ends).await?;
        Ok(!ends.is_empty())
    }

    /// Marks the assertions of the records that are accepted; those already marked are replays.
    async fn mark_assertions(
        &self,
        tx: &mut Tx,
        requests: &[Request],
        verdicts: &mut [Verdict],
    ) -> Result<(), StoreError> {
        let mut in_batch = HashSet::new();
        let mut marks = Vec::new();
        for (request, verdict) in requests.iter().zip(verdicts.iter_mut()) {
            if *verdict != Verdict::Recorded {
                continue;
            }
            let spends = &request.record.spends;
            if let Some(spent) = spends.iter().find(|spent| in_batch.contains(&spent.digest)) {
                *verdict = Verdict::Replayed(spent.what);
                continue;
            }
            for spent in spends {
                if in_batch.insert(spent.digest) {
                    marks.push(UsedAssertion {
                        digest: spent.digest,
                        token_id: request.record.id.clone(),
                        expires_at: spent.expires_at,
                    });
                }
            }
        }
        if marks.is_empty() {
            return Ok(());
        }
        let marked = tx.insert_used_assertions(&self.id, &marks).await?;
        if marked == marks.len() as u64 {
            return Ok(());
        }
        let digests: Vec<[u8; 16]> = marks.iter().map(|mark| mark.digest).collect();
        let token_ids: Vec<String> = marks.into_iter().map(|mark| mark.token_id).collect();
        let won: HashSet<[u8; 16]> = tx
            .used_assertion_winners(&self.id, &token_ids, &digests)
            .await?
            .into_iter()
            .collect();
        for (request, verdict) in requests.iter().zip(verdicts.iter_mut()) {
            // A request that set one mark and failed at another leaves the first one used: it presented that
            // assertion.
            if *verdict == Verdict::Recorded
                && let Some(lost) = request
                    .record
                    .spends
                    .iter()
                    .find(|spent| !won.contains(&spent.digest))
            {
                *verdict = Verdict::Replayed(lost.what);
            }
        }
        Ok(())
    }
}

fn is_current(head: &Head, basis: &Basis, versions: &HashMap<String, i64>) -> bool {
    if basis.version == head.registry_version {
        return true;
    }
    // A basis newer than the head means that the database was rolled back.
    if basis.version > head.registry_version || head.policy_version > basis.version {
        return false;
    }
    basis.agents.iter().all(|agent| {
        versions
            .get(agent.id.as_str())
            .is_some_and(|version| *version <= basis.version)
    })
}
