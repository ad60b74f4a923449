//! Lists of agents.

use crate::domain::Invalid;
use crate::domain::agent::AgentStatus;
use crate::issuer::directory::Directory;
use crate::issuer::page::Page;
use crate::issuer::{Issuer, IssuerError};
use crate::ports::time::UnixTime;
use crate::store::{AgentFilter, Among, HeldBy, Window};

use super::AgentView;

/// Which agents a list shows.
#[derive(Debug, Default)]
pub struct AgentQuery {
    /// `active`, `suspended` or `removed`; `None`: all that are not removed.
    pub status: Option<String>,
    /// Name of a group they belong to.
    pub group: Option<String>,
    /// Name of a role that they hold.
    pub role: Option<String>,
    /// Only agents with a direct assignment of the role; otherwise also those that hold it through a group.
    pub direct: bool,
    /// Part of the name.
    pub search: Option<String>,
}

impl AgentQuery {
    /// The key that the pages of this query are ordered by.
    #[must_use]
    pub fn order(&self) -> AgentOrder {
        if self.group.is_some() || self.role.is_some() {
            AgentOrder::Id
        } else {
            AgentOrder::Name
        }
    }
}

/// The order of a list of agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentOrder {
    /// By name: all agents.
    Name,
    /// By id, the order of registration: for the members of a group or a role, so that the cost of a page does not
    /// depend on the number of other agents.
    Id,
}

impl Issuer {
    /// Agents in the order of the query, those after `after`: a name or an id, depending on [`AgentQuery::order`].
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a filter that no agent can match.
    pub async fn agents(
        &self,
        query: &AgentQuery,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<AgentView>, IssuerError> {
        let filter = AgentFilter {
            status: query.status.as_deref().map(known_status).transpose()?,
            name_contains: query.search.as_deref().map(parse_search).transpose()?,
        };
        if query.direct && query.role.is_none() {
            return Err(Invalid::new("direct", "narrows `role`; name a role with it").into());
        }
        let (mut tx, _) = self.read().await?;
        let directory = Directory::load(&mut tx, &self.id).await?;
        let group = query
            .group
            .as_deref()
            .map(|name| directory.group_named("group", name))
            .transpose()?;
        let role = query
            .role
            .as_deref()
            .map(|name| directory.role_named("role", name))
            .transpose()?;
        let passing = match role {
            Some(role) if !query.direct => directory.groups_passing(role),
            Some(_) | None => Vec::new(),
        };
        let held = role.map(|role| HeldBy {
            role: &role.id,
            groups: &passing,
        });
        let among = match (group, held) {
            (None, None) => None,
            (Some(group), None) => Some(Among::Group(&group.id)),
            (None, Some(held)) => Some(Among::Role(held)),
            (Some(group), Some(held)) => Some(Among::Both(&group.id, held)),
        };
        let agents = match among {
            None => tx.agents_page(&self.id, &filter, after, limit + 1).await?,
            Some(among) => {
                let window = Window {
                    after,
                    limit: limit + 1,
                };
                tx.agents_among(&self.id, among, &filter, window).await?
            }
        };
        tx.rollback().await?;
        Ok(Page::cut(
            agents
                .into_iter()
                .map(|agent| AgentView::of(agent, &directory))
                .collect(),
            limit,
        ))
    }
}

fn known_status(text: &str) -> Result<&'static str, Invalid> {
    let at = UnixTime(0);
    [
        AgentStatus::Active,
        AgentStatus::Suspended { at },
        AgentStatus::Removed { at },
    ]
    .into_iter()
    .map(AgentStatus::as_str)
    .find(|status| *status == text)
    .ok_or_else(|| Invalid::new("status", "must be `active`, `suspended` or `removed`"))
}

fn parse_search(text: &str) -> Result<String, Invalid> {
    let text = text.trim().to_ascii_lowercase();
    let fits = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
    if fits && text.len() <= crate::domain::name::NAME_MAX_BYTES {
        return Ok(text);
    }
    Err(Invalid::new(
        "search",
        "contains a character that names cannot have: they consist of a-z, 0-9, `-` and `.`",
    ))
}
