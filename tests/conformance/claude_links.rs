//! Links of agents to their objects at Claude.

use firman::domain::claude_link::{
    ClaudeLink, ClaudeObjects, IssuerObjectId, OrganizationId, RuleId, ServiceAccountId,
    WorkspaceId,
};
use firman::domain::id::AgentId;
use firman::store::{Store, StoreError};

use crate::support::{NOW, agent, home, issuers, name, other, read, write};

fn link(agent_name: &str) -> ClaudeLink {
    ClaudeLink {
        agent: agent(agent_name).id,
        objects: ClaudeObjects {
            rule: RuleId::parse("fdrl_01AbC").unwrap(),
            organization: OrganizationId::parse("2f1c0d6e-8f0a-4b7e-9c53-0a1b2c3d4e5f").unwrap(),
            service_account: ServiceAccountId::parse("svac_01AbC").unwrap(),
            workspace: None,
            issuer: None,
            token_lifetime: None,
        },
        version: 2,
        created_at: NOW,
        updated_at: NOW,
    }
}

pub(crate) async fn an_agent_has_at_most_one_claude_link(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &agent("mailer")).await.unwrap());
    assert!(
        tx.insert_claude_link(&home(), &link("mailer"))
            .await
            .unwrap()
    );
    let mut second = link("mailer");
    second.objects.rule = RuleId::parse("fdrl_02").unwrap();
    assert!(!tx.insert_claude_link(&home(), &second).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(
        read(store)
            .await
            .claude_link(&home(), &agent("mailer").id)
            .await
            .unwrap(),
        Some(link("mailer"))
    );
}

pub(crate) async fn a_claude_link_needs_its_agent(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&other(), &agent("mailer")).await.unwrap());
    let error = tx
        .insert_claude_link(&home(), &link("mailer"))
        .await
        .expect_err("the agent is another issuer's");
    assert!(matches!(error, StoreError::Rejected(_)), "{error:?}");
}

pub(crate) async fn a_claude_links_change_on_a_stale_version_changes_nothing(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &agent("mailer")).await.unwrap());
    assert!(
        tx.insert_claude_link(&home(), &link("mailer"))
            .await
            .unwrap()
    );
    let mut changed = link("mailer");
    changed.objects.rule = RuleId::parse("fdrl_02").unwrap();
    changed.version = 3;
    let id = agent("mailer").id;
    assert!(!tx.update_claude_link(&home(), &changed, 3).await.unwrap());
    assert!(!tx.update_claude_link(&other(), &changed, 2).await.unwrap());
    assert!(!tx.delete_claude_link(&home(), &id, 3).await.unwrap());
    assert!(!tx.delete_claude_link(&other(), &id, 2).await.unwrap());
    let nul = AgentId::from_text("agent-mailer\0");
    assert!(!tx.delete_claude_link(&home(), &nul, 2).await.unwrap());
    assert_eq!(
        tx.claude_link(&home(), &id).await.unwrap(),
        Some(link("mailer"))
    );
    assert!(tx.update_claude_link(&home(), &changed, 2).await.unwrap());
    assert!(tx.delete_claude_link(&home(), &id, 3).await.unwrap());
    assert_eq!(tx.claude_link(&home(), &id).await.unwrap(), None);
}

pub(crate) async fn claude_links_read_back_whole_by_the_agents_name(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    for agent_name in ["mailer", "a.b", "a-b", "unlinked"] {
        assert!(tx.insert_agent(&home(), &agent(agent_name)).await.unwrap());
    }
    for agent_name in ["mailer", "a.b", "a-b"] {
        assert!(
            tx.insert_claude_link(&home(), &link(agent_name))
                .await
                .unwrap()
        );
    }
    let whole = ClaudeLink {
        objects: ClaudeObjects {
            rule: RuleId::parse("fdrl_02").unwrap(),
            organization: OrganizationId::parse("00000000-0000-4000-8000-000000000000").unwrap(),
            service_account: ServiceAccountId::parse("svac_02").unwrap(),
            workspace: Some(WorkspaceId::parse("default").unwrap()),
            issuer: Some(IssuerObjectId::parse("fdis_02").unwrap()),
            token_lifetime: Some(600),
        },
        version: 3,
        updated_at: NOW.plus(5),
        ..link("mailer")
    };
    assert!(tx.update_claude_link(&home(), &whole, 2).await.unwrap());
    tx.commit().await.unwrap();

    let mut tx = read(store).await;
    assert_eq!(
        tx.claude_links_page(&home(), None, 2).await.unwrap(),
        [(name("a-b"), link("a-b")), (name("a.b"), link("a.b"))]
    );
    assert_eq!(
        tx.claude_links_page(&home(), Some("a.b"), 2).await.unwrap(),
        [(name("mailer"), whole)]
    );
    assert!(
        tx.claude_links_page(&other(), None, 9)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        tx.claude_link(&home(), &agent("unlinked").id)
            .await
            .unwrap(),
        None
    );
}
