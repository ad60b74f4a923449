//! Audit entries and the hash chain that links them.
//!
//! Each issuer has one chain: entry *n* contains the SHA-256 over its own content and the hash of entry *n-1*, so
//! that a changed, removed or inserted row is detected. The hashed bytes are a versioned, length-prefixed
//! encoding; fixed vectors in the tests below pin it.

mod detail;
mod event;

use serde::Serialize;

use crate::jose::digest::sha256;
use crate::ports::time::UnixMillis;

use super::id::AgentId;

pub use detail::{Answer, EndDetail, KeyDetail, RefusalDetail, TokenDetail};
pub use event::AuditEvent;

/// An entry before it has a place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditDraft {
    /// When it happened.
    pub at: UnixMillis,
    /// The event.
    pub event: AuditEvent,
    /// The actor: `agent:NAME`, `administrator:NAME`, `system`, or `unknown`.
    pub actor: String,
    /// The target: `agent:NAME`, `role:NAME`, `key:KID`, an audience …; may be empty.
    pub target: String,
    /// The agent concerned, if one is.
    pub agent: Option<AgentId>,
    /// The `jti` of the token concerned, if one is.
    pub token_id: Option<String>,
    /// The id of the request; empty for actions of the process itself.
    pub request_id: String,
    /// The peer's IP address; empty for actions of the process itself.
    pub address: String,
    /// Further facts, a JSON object as text. Never a secret, a complete token or a private key.
    pub detail: String,
}

impl AuditDraft {
    /// An entry without a target and outside any request. `detail` must serialize to a JSON object.
    #[must_use]
    pub fn new(
        at: UnixMillis,
        event: AuditEvent,
        actor: impl Into<String>,
        detail: &impl Serialize,
    ) -> Self {
        Self {
            at,
            event,
            actor: actor.into(),
            target: String::new(),
            agent: None,
            token_id: None,
            request_id: String::new(),
            address: String::new(),
            // An object with string keys always serializes.
            detail: serde_json::to_string(detail).unwrap_or_else(|_| "{}".to_owned()),
        }
    }
}

/// An entry in its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number in the issuer's chain, from 1, without gaps.
    pub seq: i64,
    /// Its content.
    pub draft: AuditDraft,
    /// The hash over its content and its predecessor's hash.
    pub hash: [u8; 32],
}

/// The hash before the first entry of a chain.
pub const GENESIS: [u8; 32] = [0; 32];

/// The last entry of a chain, which the next one follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Its number; 0 before the first entry.
    pub seq: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl ChainHead {
    /// The head of an empty chain.
    pub const START: Self = Self {
        seq: 0,
        hash: GENESIS,
    };
}

impl From<&AuditEntry> for ChainHead {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            hash: entry.hash,
        }
    }
}

/// Version of the encoding under the hash; a change of [`chain_hash`] needs a new one.
const ENCODING: &[u8] = b"firman-audit-1";

/// The hash of an entry: SHA-256 over encoding name, issuer id, previous hash, number, time and every text field,
/// each prefixed by its length. An absent field and an empty one differ.
#[must_use]
pub fn chain_hash(issuer_id: &str, previous: &[u8; 32], seq: i64, draft: &AuditDraft) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(256 + draft.detail.len());
    put(&mut bytes, ENCODING);
    put(&mut bytes, issuer_id.as_bytes());
    bytes.extend_from_slice(previous);
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&draft.at.0.to_be_bytes());
    put(&mut bytes, draft.event.as_str().as_bytes());
    put(&mut bytes, draft.actor.as_bytes());
    put(&mut bytes, draft.target.as_bytes());
    put_optional(&mut bytes, draft.agent.as_ref().map(AgentId::as_str));
    put_optional(&mut bytes, draft.token_id.as_deref());
    put(&mut bytes, draft.request_id.as_bytes());
    put(&mut bytes, draft.address.as_bytes());
    put(&mut bytes, draft.detail.as_bytes());
    sha256(&bytes)
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
    bytes.extend_from_slice(field);
}

fn put_optional(bytes: &mut Vec<u8>, field: Option<&str>) {
    match field {
        Some(text) => {
            bytes.push(1);
            put(bytes, text.as_bytes());
        }
        None => bytes.push(0),
    }
}

/// Appends drafts after `head`, in order.
#[must_use]
pub fn chain(issuer_id: &str, head: ChainHead, drafts: Vec<AuditDraft>) -> Vec<AuditEntry> {
    let ChainHead { mut seq, mut hash } = head;
    drafts
        .into_iter()
        .map(|draft| {
            seq += 1;
            hash = chain_hash(issuer_id, &hash, seq, &draft);
            AuditEntry { seq, draft, hash }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vectors, computed independently with Python:
    // from hashlib import sha256;P=lambda t:len(t.encode()).to_bytes(8,'big')+t.encode();O=lambda t:b'\0' if t is None else b'\1'+P(t);H=lambda i,p,n,a,e,ac,tg,ag,tk,rq,ad,d:sha256(P('firman-audit-1')+P(i)+p+n.to_bytes(8,'big')+a.to_bytes(8,'big')+P(e)+P(ac)+P(tg)+O(ag)+O(tk)+P(rq)+P(ad)+P(d)).hexdigest()
    // FILLED = H('issuer-1',bytes(range(32)),7,1800000000123,'token.issued','agent:mailer','agent:mailer','agent-1','AaIAiJ52','request-1','192.0.2.7','{"audience":"https://reports.example","owner":"Équipe"}')
    // SPARSE = H('issuer-1',bytes(32),1,1800000000000,'issuer.created','system','',None,None,'','','{}')
    const FILLED: &str = "e823a9e92524ba4b3cc777c4744e4759b01648fc427182557fbb566e829709eb";
    const SPARSE: &str = "7c986391cbdae4679b0b40b8246de7f477ef7be06db1f7ece3dc93caa95337b4";

    fn filled() -> AuditDraft {
        AuditDraft {
            at: UnixMillis(1_800_000_000_123),
            event: AuditEvent::TokenIssued,
            actor: "agent:mailer".to_owned(),
            target: "agent:mailer".to_owned(),
            agent: Some(AgentId::from_text("agent-1")),
            token_id: Some("AaIAiJ52".to_owned()),
            request_id: "request-1".to_owned(),
            address: "192.0.2.7".to_owned(),
            detail: r#"{"audience":"https://reports.example","owner":"Équipe"}"#.to_owned(),
        }
    }

    fn sparse() -> AuditDraft {
        let at = UnixMillis(1_800_000_000_000);
        AuditDraft::new(
            at,
            AuditEvent::IssuerCreated,
            "system",
            &serde_json::json!({}),
        )
    }

    fn hex(hash: [u8; 32]) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn filled_hash(draft: &AuditDraft) -> String {
        let previous = std::array::from_fn(|index| u8::try_from(index).unwrap());
        hex(chain_hash("issuer-1", &previous, 7, draft))
    }

    #[test]
    fn no_two_different_entries_share_a_hash() {
        let mut changed = vec![AuditDraft {
            at: UnixMillis(1_800_000_000_124),
            ..filled()
        }];
        changed.push(AuditDraft {
            event: AuditEvent::IdTokenIssued,
            ..filled()
        });
        // A byte that moves across a field boundary changes the lengths.
        changed.push(AuditDraft {
            actor: "agent:mailera".to_owned(),
            target: "gent:mailer".to_owned(),
            ..filled()
        });
        for (agent, token_id) in [
            (None, Some("AaIAiJ52")),
            (Some(""), Some("AaIAiJ52")),
            (Some("agent-1"), None),
            (Some("agent-1"), Some("")),
        ] {
            changed.push(AuditDraft {
                agent: agent.map(AgentId::from_text),
                token_id: token_id.map(ToOwned::to_owned),
                ..filled()
            });
        }
        let mut hashes: Vec<String> = changed.iter().map(filled_hash).collect();
        hashes.push(filled_hash(&filled()));
        let total = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), total);
    }

    #[test]
    fn the_encoding_under_the_hash_stands_still() {
        assert_eq!(filled_hash(&filled()), FILLED);
        assert_eq!(hex(chain_hash("issuer-1", &GENESIS, 1, &sparse())), SPARSE);
    }
}
