//! A token's line, from the token up to its root, and whether it is ended: by a revocation of any token on the
//! line, or by a mark on one of its delegations or subjects. Introspection, exchange and the ledger read the line
//! upward; ending a token writes one row.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::domain::id::{DelegationId, IssuerId};
use crate::domain::subject::trust_of_user;
use crate::ports::time::UnixTime;
use crate::store::{EndKind, LineageRow, StoreError, Tx};

use super::Issuer;
use super::own_token::OwnToken;

/// Most exchanges between a token and its root. The number of actors is limited, but an agent that exchanges its
/// own token adds none, and each step makes the token longer.
pub(crate) const STEPS_MAX: i64 = 16;
/// Most rows above a token that are read: the number of exchanges that older versions allowed.
const ROWS_MAX: i64 = 128;

/// What can end a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its `jti` first, its root last.
    token_ids: Vec<String>,
    /// The delegations under which it and the tokens above it were made, and when; newest first.
    made: Vec<(DelegationId, UnixTime)>,
    /// Its subject and actors and, for a user of a trusted issuer, the trust in that issuer.
    subjects: Vec<String>,
    issued_at: UnixTime,
    /// Another name of an external root; a revocation of that name counts too.
    alias: Option<String>,
}

impl Line {
    /// The same line, also ended by a revocation of `alias`.
    #[must_use]
    pub(crate) fn also_named(self, alias: Option<String>) -> Self {
        Self { alias, ..self }
    }

    /// The line of a token that was not made from another. `principals`: its subject and actors.
    #[must_use]
    pub(crate) fn of_root(token_id: String, principals: Vec<String>, issued_at: UnixTime) -> Self {
        Self {
            token_ids: vec![token_id],
            made: Vec::new(),
            subjects: with_trust(principals),
            issued_at,
            alias: None,
        }
    }

    /// The line of a token from its row, the first in `rows`, and the rows above it. `None` if a row is missing:
    /// an unknown part of the line counts as ended.
    fn of_rows(rows: &[LineageRow], principals: Vec<String>, issued_at: UnixTime) -> Option<Self> {
        // More rows than are read: the rest of the line is unknown.
        if rows.len() > usize::try_from(ROWS_MAX).unwrap_or(usize::MAX) {
            return None;
        }
        let mut token_ids: Vec<String> = rows.iter().map(|row| row.token_id.clone()).collect();
        match &rows.last()?.made {
            None => {}
            // A row of an older version, which did not record roots.
            Some(made) if rows.last()?.root_id.is_empty() => {
                token_ids.push(made.parent_id.clone());
            }
            Some(_) => return None,
        }
        let made = rows
            .iter()
            .filter_map(|row| Some((row.made.as_ref()?.delegation.clone(), row.issued_at)))
            .collect();
        Some(Self {
            token_ids,
            made,
            subjects: with_trust(principals),
            issued_at,
            alias: None,
        })
    }

    /// The line of a token made from the first token of this line.
    #[must_use]
    pub(crate) fn below(
        &self,
        token_id: String,
        delegation: DelegationId,
        principals: Vec<String>,
        issued_at: UnixTime,
    ) -> Self {
        Self {
            token_ids: [vec![token_id], self.token_ids.clone()].concat(),
            made: [vec![(delegation, issued_at)], self.made.clone()].concat(),
            subjects: with_trust(principals),
            issued_at,
            alias: None,
        }
    }

    /// The `jti` of the token itself.
    #[must_use]
    pub(crate) fn token_id(&self) -> &str {
        self.token_ids.first().map_or("", String::as_str)
    }

    /// The root: the first `jti`, or the name of an external token.
    #[must_use]
    pub(crate) fn root_id(&self) -> &str {
        self.token_ids.last().map_or("", String::as_str)
    }

    /// The tokens from this one to the one below the root, newest first; empty for a root.
    #[must_use]
    pub(crate) fn below_root(&self) -> &[String] {
        self.token_ids
            .split_last()
            .map_or(&[], |(_, below_root)| below_root)
    }

    /// The delegations that the line was made under, newest first, each once.
    #[must_use]
    pub(crate) fn delegations(&self) -> Vec<DelegationId> {
        let mut seen = BTreeSet::new();
        self.made
            .iter()
            .filter(|(delegation, _)| seen.insert(delegation.as_str()))
            .map(|(delegation, _)| delegation.clone())
            .collect()
    }
}

fn with_trust(mut subjects: Vec<String>) -> Vec<String> {
    let trusts: Vec<String> = subjects
        .iter()
        .filter_map(|subject| trust_of_user(subject))
        .map(str::to_owned)
        .collect();
    subjects.extend(trusts);
    subjects
}

/// The ends in the database that concern some lines.
pub(crate) struct Endings {
    revoked: HashSet<String>,
    subjects: HashMap<String, UnixTime>,
    delegations: HashMap<String, UnixTime>,
}

impl Endings {
    /// Reads everything that ends any of `lines`, and which of the token ids in `also` were revoked: two
    /// statements for up to 256 names each.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) async fn read(
        tx: &mut Tx,
        issuer: &IssuerId,
        lines: &[&Line],
        also: &[&str],
    ) -> Result<Self, StoreError> {
        let token_ids: BTreeSet<&str> = lines
            .iter()
            .flat_map(|line| line.token_ids.iter().chain(&line.alias).map(String::as_str))
            .chain(also.iter().copied())
            .collect();
        let keys: BTreeSet<&str> = lines
            .iter()
            .flat_map(|line| {
                let made = line.made.iter().map(|(delegation, _)| delegation.as_str());
                made.chain(line.subjects.iter().map(String::as_str))
            })
            .collect();
        let token_ids: Vec<&str> = token_ids.into_iter().collect();
        let keys: Vec<&str> = keys.into_iter().collect();
        let revoked = tx.revoked_among(issuer, &token_ids).await?;
        let mut endings = Self {
            revoked: revoked.into_iter().collect(),
            subjects: HashMap::new(),
            delegations: HashMap::new(),
        };
        for mark in tx.end_marks_among(issuer, &keys).await? {
            let marks = match mark.kind {
                EndKind::Subject => &mut endings.subjects,
                EndKind::Delegation => &mut endings.delegations,
            };
            marks.insert(mark.key, mark.not_before);
        }
        Ok(endings)
    }

    /// Whether this token itself was revoked.
    #[must_use]
    pub(crate) fn is_revoked(&self, token_id: &str) -> bool {
        self.revoked.contains(token_id)
    }

    /// Whether the first token of the line is ended.
    #[must_use]
    pub(crate) fn have_ended(&self, line: &Line) -> bool {
        let until = |marks: &HashMap<String, UnixTime>, key: &str, issued_at: UnixTime| {
            marks
                .get(key)
                .is_some_and(|not_before| *not_before >= issued_at)
        };
        line.token_ids
            .iter()
            .chain(&line.alias)
            .any(|id| self.is_revoked(id))
            || line.made.iter().any(|(delegation, issued_at)| {
                until(&self.delegations, delegation.as_str(), *issued_at)
            })
            || line
                .subjects
                .iter()
                .any(|subject| until(&self.subjects, subject, line.issued_at))
    }
}

/// A token issued here, with its origin.
pub(super) struct Traced {
    pub(super) line: Line,
    /// Its row and those above it; empty for a root.
    pub(super) rows: Vec<LineageRow>,
}

impl Issuer {
    /// The origin of a token issued here; `None` when a row of its line is missing. Reads nothing for a root.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn traced(&self, token: &OwnToken) -> Result<Option<Traced>, StoreError> {
        if token.actors.is_empty() {
            return Ok(Some(self.traced_root(token)));
        }
        let (mut tx, _) = self.read().await?;
        let traced = self.line(&mut tx, token).await?;
        tx.rollback().await?;
        Ok(traced)
    }

    /// Every exchanged token has an actor, the agent that presented it; this token has none.
    fn traced_root(&self, token: &OwnToken) -> Traced {
        let principals = token.principals(&self.url);
        Traced {
            line: Line::of_root(token.token_id.clone(), principals, token.issued_at),
            rows: Vec::new(),
        }
    }

    /// [`Issuer::traced`], within a transaction.
    async fn line(&self, tx: &mut Tx, token: &OwnToken) -> Result<Option<Traced>, StoreError> {
        if token.actors.is_empty() {
            return Ok(Some(self.traced_root(token)));
        }
        let rows = tx.ancestry(&self.id, &token.token_id, ROWS_MAX).await?;
        let line = Line::of_rows(&rows, token.principals(&self.url), token.issued_at);
        Ok(line.map(|line| Traced { line, rows }))
    }

    /// Whether a token issued here is ended, or its origin is unknown.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn is_ended(&self, tx: &mut Tx, token: &OwnToken) -> Result<bool, StoreError> {
        let Some(Traced { line, .. }) = self.line(tx, token).await? else {
            return Ok(true);
        };
        let endings = Endings::read(tx, &self.id, &[&line], &[]).await?;
        Ok(endings.have_ended(&line))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::id::AgentId;
    use crate::store::Exchanged;

    use super::*;

    fn row(token_id: &str, parent: Option<(&str, &str)>, issued_at: i64) -> LineageRow {
        LineageRow {
            token_id: token_id.to_owned(),
            made: parent.map(|(parent_id, delegation)| Exchanged {
                parent_id: parent_id.to_owned(),
                delegation: DelegationId::from_text(delegation),
                actor: AgentId::from_text("a"),
            }),
            root_id: "root".to_owned(),
            depth: 0,
            subject: "user:login:ada".to_owned(),
            audience: "https://mail.example".to_owned(),
            scopes: String::new(),
            proven: None,
            issued_at: UnixTime(issued_at),
            expires_at: UnixTime(issued_at + 600),
        }
    }

    fn line() -> Line {
        let rows = [
            row("leaf", Some(("mid", "d2")), 30),
            row("mid", Some(("root", "d1")), 20),
            row("root", None, 10),
        ];
        let principals = vec!["user:login:ada".to_owned(), "agent:b".to_owned()];
        Line::of_rows(&rows, principals, UnixTime(30)).unwrap()
    }

    fn endings() -> Endings {
        Endings {
            revoked: HashSet::new(),
            subjects: HashMap::new(),
            delegations: HashMap::new(),
        }
    }

    #[test]
    fn a_line_ends_with_any_token_on_it() {
        for (revoked, ends) in [
            ("leaf", true),
            ("mid", true),
            ("root", true),
            ("side", false),
        ] {
            let mut endings = endings();
            endings.revoked.insert(revoked.to_owned());
            assert_eq!(endings.have_ended(&line()), ends, "{revoked}");
        }
    }

    #[test]
    fn a_mark_on_a_delegation_counts_from_when_the_token_under_it_was_made() {
        for (delegation, not_before, ends) in [
            ("d1", 19, false),
            ("d1", 20, true),
            ("d2", 20, false),
            ("d2", 30, true),
            ("d3", 99, false),
        ] {
            let mut endings = endings();
            let at = UnixTime(not_before);
            endings.delegations.insert(delegation.to_owned(), at);
            assert_eq!(
                endings.have_ended(&line()),
                ends,
                "{delegation} {not_before}"
            );
        }
    }

    #[test]
    fn a_mark_on_a_subject_counts_from_when_the_token_itself_was_made() {
        for (subject, not_before, ends) in [
            ("user:login:ada", 29, false),
            ("user:login:ada", 30, true),
            ("agent:b", 30, true),
            ("user:login:", 30, true),
            ("user:login:bob", 99, false),
            ("agent:c", 99, false),
        ] {
            let mut endings = endings();
            let at = UnixTime(not_before);
            endings.subjects.insert(subject.to_owned(), at);
            assert_eq!(endings.have_ended(&line()), ends, "{subject} {not_before}");
        }
    }

    #[test]
    fn a_root_from_outside_ends_by_either_of_its_names() {
        let line = Line::of_root("login:a".to_owned(), Vec::new(), UnixTime(30))
            .also_named(Some("login:b".to_owned()));
        assert_eq!(line.root_id(), "login:a");
        for (revoked, ends) in [("login:a", true), ("login:b", true), ("login:c", false)] {
            let mut endings = endings();
            endings.revoked.insert(revoked.to_owned());
            assert_eq!(endings.have_ended(&line), ends, "{revoked}");
        }
    }

    #[test]
    fn a_line_with_a_missing_row_is_none() {
        let principals = || vec!["user:login:ada".to_owned()];
        assert_eq!(Line::of_rows(&[], principals(), UnixTime(30)), None);
        let cut = [
            row("leaf", Some(("mid", "d2")), 30),
            row("mid", Some(("root", "d1")), 20),
        ];
        assert_eq!(Line::of_rows(&cut, principals(), UnixTime(30)), None);
        // An older version recorded neither roots nor `root_id`.
        let older = cut.map(|row| LineageRow {
            root_id: String::new(),
            ..row
        });
        let line = Line::of_rows(&older, principals(), UnixTime(30)).unwrap();
        assert_eq!(line.token_ids, ["leaf", "mid", "root"]);
    }
}
