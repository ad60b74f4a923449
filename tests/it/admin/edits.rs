//! What edits answer with while others edit or remove the same thing: each with what it wrote itself, as if it
//! were alone, and never with what a later reading would find.

use std::sync::Arc;

use firman::testing::TestKey;

use super::*;

const ROUNDS: usize = 10;
const EDITS: usize = 6;

/// A kind of thing that is edited: where it is, and what the audit calls an edit of it.
#[derive(Clone, Copy)]
struct Kind {
    path: &'static str,
    changed: &'static str,
    /// The answer to an edit of one that was removed.
    gone: u16,
}

const KINDS: [Kind; 5] = [
    Kind {
        path: "/groups",
        changed: "group.changed",
        gone: 404,
    },
    Kind {
        path: "/roles",
        changed: "role.changed",
        gone: 404,
    },
    // A removed agent is still shown, and an edit of it names the reason.
    Kind {
        path: "/agents",
        changed: "agent.changed",
        gone: 409,
    },
    Kind {
        path: "/resources",
        changed: "resource.changed",
        gone: 404,
    },
    Kind {
        path: "/trusted-issuers",
        changed: "trusted_issuer.changed",
        gone: 404,
    },
];

impl Kind {
    /// Makes one of that name and returns its path.
    async fn make(self, issuer: &TestIssuer, name: &str) -> String {
        let body = match self.path {
            "/agents" => json!({ "name": name, "owner": "Ops" }),
            "/resources" => {
                json!({ "name": name, "identifier": format!("https://{name}.example") })
            }
            "/trusted-issuers" => {
                let key = TestKey::EdDsa.signing_key().public_jwk().to_value();
                let keys = json!({ "type": "inline", "jwks": { "keys": [key] } });
                json!({ "name": name, "url": format!("https://{name}.example"), "keys": keys })
            }
            _ => json!({ "name": name }),
        };
        let made = post(issuer, self.path, body).await;
        assert_eq!(made.status, 201, "{made}");
        format!("{}/{name}", self.path)
    }
}

/// An answer to an edit, with the description that the edit gave.
struct Edited {
    description: String,
    answer: Answer,
}

impl Edited {
    /// That the answer shows what this edit wrote, at the version that it made.
    fn assert_own(&self) {
        let Self {
            description,
            answer,
        } = self;
        assert_eq!(answer.status, 200, "{answer}");
        let body = answer.json();
        assert_eq!(body["description"], json!(description), "{answer}");
        let version = format!("\"v{}\"", body["version"]);
        assert_eq!(answer.header("etag"), version, "{answer}");
    }
}

/// Edits one thing many times at once, and removes it meanwhile if that is asked for.
async fn edited_at_once(issuer: &Arc<TestIssuer>, path: &str, is_removed: bool) -> Vec<Edited> {
    let mut edits = tokio::task::JoinSet::new();
    for number in 0..EDITS {
        let (issuer, path) = (Arc::clone(issuer), path.to_owned());
        let description = format!("{path} {number}");
        edits.spawn(async move {
            let body = json!({ "description": description });
            let answer = patch(&issuer, &path, body).await;
            Edited {
                description,
                answer,
            }
        });
    }
    if is_removed {
        let removed = call(issuer, Method::DELETE, path).await;
        assert_eq!(removed.status, 204, "{removed}");
    }
    edits.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_answers_with_what_it_wrote() {
    let issuer = Arc::new(TestIssuer::start().await);
    for kind in KINDS {
        let path = kind.make(&issuer, "x").await;
        for _ in 0..ROUNDS {
            let edits = edited_at_once(&issuer, &path, false).await;
            let mut versions = Vec::new();
            for edit in &edits {
                edit.assert_own();
                versions.push(edit.answer.json()["version"].as_i64());
            }
            versions.sort_unstable();
            versions.dedup();
            assert_eq!(
                versions.len(),
                EDITS,
                "two edits of {path} made one version"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_finds_nothing_to_edit_changed_nothing() {
    let issuer = Arc::new(TestIssuer::start().await);
    for kind in KINDS {
        let (mut written, mut refused) = (0, 0);
        let mut edits = Vec::new();
        for round in 0..ROUNDS {
            let path = kind.make(&issuer, &format!("x{round}")).await;
            edits.extend(edited_at_once(&issuer, &path, true).await);
        }
        let entries = get(&issuer, &format!("/audit?limit=200&event={}", kind.changed))
            .await
            .json();
        let audited: Vec<&Value> = entries["items"]
            .as_array()
            .expect("entries")
            .iter()
            .map(|entry| &entry["detail"]["description"]["to"])
            .collect();
        for edit in &edits {
            let is_audited = audited.contains(&&json!(edit.description));
            if edit.answer.status == kind.gone {
                refused += 1;
                assert!(
                    !is_audited,
                    "{} and yet written: {}",
                    edit.answer, edit.description
                );
            } else {
                written += 1;
                edit.assert_own();
                assert!(is_audited, "not audited: {}", edit.description);
            }
        }
        assert_eq!(audited.len(), written);
        println!("{}: {written} written, {refused} refused", kind.path);
    }
}
