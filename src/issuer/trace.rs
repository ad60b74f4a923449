//! The origin of a token and everything made from it: up to its root and down the whole tree, with the agent that
//! requested each token and whether it is in force.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::domain::audit::{AuditEntry, AuditEvent, TokenDetail};
use crate::domain::id::{AgentId, DelegationId};
use crate::domain::name::Name;
use crate::domain::text;
use crate::ports::time::UnixTime;
use crate::store::{Exchanged, LineageRow, StoreError, Tx};

use super::line::{Endings, Line};
use super::revocations::TOKEN_ID_MAX_CHARS;
use super::{Issuer, IssuerError};

/// Most tokens of a trace: each costs several reads.
pub const TRACE_MAX: usize = 1000;

/// A tree of tokens.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The requested `jti`.
    pub asked: String,
    /// False when the tree has more than [`TRACE_MAX`] tokens; the path to the requested one is then among those
    /// shown.
    pub is_whole: bool,
    /// The root, then depth first everything made from it.
    pub tokens: Vec<TracedToken>,
}

/// A token of a tree. Unknown members are `None`.
#[derive(Clone, Debug)]
pub struct TracedToken {
    /// Its `jti`; the name of an external token.
    pub token_id: String,
    /// The token it was made from; `None` for the root.
    pub parent_id: Option<String>,
    /// Steps from the root.
    pub depth: usize,
    /// The trusted issuer of an external token.
    pub trusted_issuer: Option<String>,
    /// `access_token` or `id_token`.
    pub kind: Option<&'static str>,
    /// Its `sub`.
    pub subject: Option<String>,
    /// The agent that requested it.
    pub agent: Option<Name>,
    /// Its `aud`.
    pub audience: Option<String>,
    /// Its `scope`.
    pub scope: Option<String>,
    /// The delegation under which it was made.
    pub delegation: Option<DelegationId>,
    /// Its `iat`.
    pub issued_at: Option<UnixTime>,
    /// Its `exp`.
    pub expires_at: Option<UnixTime>,
    /// Whether it is in force; `None` for an external token that was not revoked here.
    pub state: Option<TokenState>,
    /// The request that it was issued in.
    pub request_id: Option<String>,
    /// The address of that request.
    pub address: Option<String>,
}

/// Whether a token is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It is in force.
    Active,
    /// It was revoked, individually or with all of a subject.
    Revoked,
    /// It has expired.
    Expired,
    /// An agent in it is not active, or its subject's issuer is no longer trusted.
    SwitchedOff,
}

impl TokenState {
    /// The state's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::SwitchedOff => "switched_off",
        }
    }
}

/// The path from the root to a token: everything that its state depends on.
#[derive(Clone)]
struct Way {
    depth: usize,
    principals: Vec<String>,
    /// True when an agent on it is not active, or the issuer of its subject is no longer trusted.
    is_off: bool,
    line: Line,
}

impl Way {
    fn meet(&mut self, subject: &str) {
        if !self.principals.iter().any(|known| known == subject) {
            self.principals.push(subject.to_owned());
        }
    }
}

/// The facts of an agent that a trace needs.
#[derive(Clone)]
struct Actor {
    name: Name,
    subject: String,
    is_active: bool,
}

struct Walk<'w> {
    issuer: &'w Issuer,
    tx: Tx,
    now: UnixTime,
    agents: HashMap<AgentId, Option<Actor>>,
    /// The tokens found, each with its path.
    found: Vec<(TracedToken, Way)>,
    is_whole: bool,
}

impl Issuer {
    /// The tree that a token belongs to.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`] when neither that token nor anything made from it was issued.
    pub async fn trace(&self, token_id: &str) -> Result<Trace, IssuerError> {
        let asked = text::filled_line("token_id", token_id, TOKEN_ID_MAX_CHARS)?;
        let mut walk = Walk {
            issuer: self,
            tx: self.read().await?.0,
            now: self.ports.clock.now(),
            agents: HashMap::new(),
            found: Vec::new(),
            is_whole: true,
        };
        let mut path = walk.tx.ancestry(&self.id, &asked, TRACE_MAX as i64).await?;
        // An older version did not record a row for the root.
        let root = match path.last().map(|row| (&row.token_id, &row.made)) {
            None => asked.clone(),
            Some((token_id, None)) => token_id.clone(),
            Some((_, Some(made))) => made.parent_id.clone(),
        };
        path.retain(|row| row.made.is_some());
        let way = walk.root(root.clone()).await?;
        walk.down(root, way, &path).await?;
        let (tokens, is_whole) = walk.judged().await?;
        let is_known = tokens.len() > 1 || tokens.iter().any(|token| token.kind.is_some());
        if is_known {
            Ok(Trace {
                asked,
                is_whole,
                tokens,
            })
        } else {
            Err(IssuerError::not_found("token", &asked))
        }
    }
}

impl Walk<'_> {
    /// Depth first, tokens on `path` before others, so that a cut never hides the requested token.
    async fn down(
        &mut self,
        root: String,
        way: Way,
        path: &[LineageRow],
    ) -> Result<(), StoreError> {
        let mut waiting: Vec<(LineageRow, Exchanged, Way)> = Vec::new();
        let mut parent = (root, way);
        loop {
            let room = TRACE_MAX - self.found.len();
            let limit = i64::try_from(room + 1).unwrap_or(i64::MAX);
            let mut children = self
                .tx
                .lineage_children(&self.issuer.id, &parent.0, limit)
                .await?;
            if children.len() > room {
                self.is_whole = false;
                children.truncate(room);
            }
            let is_below = |row: &&LineageRow| {
                let made = row.made.as_ref();
                made.is_some_and(|made| made.parent_id == parent.0)
            };
            if let Some(on_path) = path.iter().find(is_below) {
                children.retain(|child| child.token_id != on_path.token_id);
                children.insert(0, on_path.clone());
            }
            waiting.extend(children.into_iter().rev().filter_map(|mut child| {
                let made = child.made.take()?;
                Some((child, made, parent.1.clone()))
            }));
            let Some((row, made, mut way)) = waiting.pop() else {
                return Ok(());
            };
            if self.found.len() == TRACE_MAX {
                self.is_whole = false;
                return Ok(());
            }
            let token_id = row.token_id.clone();
            self.delegated(row, made, &mut way).await?;
            parent = (token_id, way);
        }
    }

    async fn root(&mut self, token_id: String) -> Result<Way, StoreError> {
        let entry = self.issuer.issue_entry(&mut self.tx, &token_id).await?;
        let mut token = blank(&token_id);
        let line = Line::of_root(token_id.clone(), Vec::new(), self.now);
        let mut way = Way {
            depth: 0,
            principals: Vec::new(),
            is_off: false,
            line,
        };
        match entry {
            None => {
                token.trusted_issuer = token_id.split_once(':').map(|(name, _)| name.to_owned());
            }
            Some(entry) => {
                way.meet(&entry.draft.target);
                if let Some(agent) = &entry.draft.agent {
                    token.agent = self.meet_agent(agent, &mut way).await?;
                }
                token.subject = Some(entry.draft.target.clone());
                let issued_at = entry.draft.at.seconds();
                token.issued_at = Some(issued_at);
                tell(&mut token, &entry);
                way.line = Line::of_root(token_id, way.principals.clone(), issued_at);
            }
        }
        self.found.push((token, way.clone()));
        Ok(way)
    }

    async fn delegated(
        &mut self,
        row: LineageRow,
        made: Exchanged,
        way: &mut Way,
    ) -> Result<(), StoreError> {
        way.depth += 1;
        way.meet(&row.subject);
        way.is_off |= !self.issuer.policy().vouches_for(&row.subject);
        let entry = self.issuer.issue_entry(&mut self.tx, &row.token_id).await?;
        let agent = self.meet_agent(&made.actor, way).await?;
        way.line = way.line.below(
            row.token_id.clone(),
            made.delegation.clone(),
            way.principals.clone(),
            row.issued_at,
        );
        let mut token = TracedToken {
            parent_id: Some(made.parent_id),
            depth: way.depth,
            subject: Some(row.subject),
            agent,
            delegation: Some(made.delegation),
            issued_at: Some(row.issued_at),
            expires_at: Some(row.expires_at),
            ..blank(&row.token_id)
        };
        if let Some(entry) = entry {
            tell(&mut token, &entry);
        }
        self.found.push((token, way.clone()));
        Ok(())
    }

    /// The tokens found, each with its state: everything that ends any of them is read at once.
    async fn judged(mut self) -> Result<(Vec<TracedToken>, bool), StoreError> {
        let lines: Vec<&Line> = self.found.iter().map(|(_, way)| &way.line).collect();
        let endings = Endings::read(&mut self.tx, &self.issuer.id, &lines, &[]).await?;
        self.tx.rollback().await?;
        let now = self.now;
        let tokens = self
            .found
            .into_iter()
            .map(|(mut token, way)| {
                let is_ended = endings.have_ended(&way.line);
                let is_over = token.expires_at.is_some_and(|expiry| now >= expiry);
                token.state = match (is_ended, is_over, way.is_off) {
                    (true, _, _) => Some(TokenState::Revoked),
                    // Nothing more is known about an external token.
                    (false, _, _) if token.kind.is_none() && token.parent_id.is_none() => None,
                    (false, true, _) => Some(TokenState::Expired),
                    (false, false, true) => Some(TokenState::SwitchedOff),
                    (false, false, false) => Some(TokenState::Active),
                };
                token
            })
            .collect();
        Ok((tokens, self.is_whole))
    }

    async fn meet_agent(
        &mut self,
        id: &AgentId,
        way: &mut Way,
    ) -> Result<Option<Name>, StoreError> {
        if !self.agents.contains_key(id) {
            let found = self.tx.aggregate(&self.issuer.id, id).await?;
            let actor = found.map(|found| Actor {
                is_active: found.agent.is_active(self.now),
                subject: found.agent.subject.as_str().to_owned(),
                name: found.agent.name,
            });
            self.agents.insert(id.clone(), actor);
        }
        let Some(actor) = self.agents.get(id).cloned().flatten() else {
            return Ok(None);
        };
        way.meet(&actor.subject);
        way.is_off |= !actor.is_active;
        Ok(Some(actor.name))
    }
}

fn blank(token_id: &str) -> TracedToken {
    TracedToken {
        token_id: token_id.to_owned(),
        parent_id: None,
        depth: 0,
        trusted_issuer: None,
        kind: None,
        subject: None,
        agent: None,
        audience: None,
        scope: None,
        delegation: None,
        issued_at: None,
        expires_at: None,
        state: None,
        request_id: None,
        address: None,
    }
}

/// Adds the facts from a token's audit entry.
fn tell(token: &mut TracedToken, entry: &AuditEntry) {
    let draft = &entry.draft;
    token.kind = Some(if draft.event == AuditEvent::IdTokenIssued {
        "id_token"
    } else {
        "access_token"
    });
    if let Some(detail) = TokenDetail::read(draft) {
        let told = |text: Cow<'_, str>| (!text.is_empty()).then(|| text.into_owned());
        token.audience = told(detail.aud);
        token.scope = told(detail.scope);
        token.expires_at.get_or_insert(UnixTime(detail.exp));
    }
    token.request_id = Some(draft.request_id.clone());
    token.address = Some(draft.address.clone());
}
