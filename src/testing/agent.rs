//! Agents of a test, registered with their credentials.

use std::fmt;

use secrecy::ExposeSecret as _;

use super::{AssertionBuilder, START, TestIssuer, TestKey};
use crate::api::agent::NewAgent;
use crate::api::credential::NewCredential;
use crate::issuer::Caller;

/// An agent about to be registered.
#[derive(Debug)]
pub struct TestAgentBuilder<'i> {
    pub(super) issuer: &'i TestIssuer,
    pub(super) name: String,
    pub(super) roles: Vec<String>,
    pub(super) attributes: Vec<(String, String)>,
}

impl TestAgentBuilder<'_> {
    /// Adds a role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.roles.push(role.to_owned());
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Registers it with a public key.
    ///
    /// # Panics
    /// When the issuer refuses it.
    pub async fn with_public_key(self, key: TestKey) -> TestAgent {
        let jwk = key.signing_key().public_jwk().to_value();
        let (name, url) = (self.name.clone(), self.issuer.url.clone());
        self.register(NewCredential::public_key(jwk)).await;
        TestAgent {
            name,
            issuer_url: url,
            key: Some(key),
            secret: None,
        }
    }

    /// Registers it with a client secret.
    ///
    /// # Panics
    /// When the issuer refuses it.
    pub async fn with_secret(self) -> TestAgent {
        let (name, url) = (self.name.clone(), self.issuer.url.clone());
        let secret = self.register(NewCredential::client_secret()).await;
        TestAgent {
            name,
            issuer_url: url,
            key: None,
            secret,
        }
    }

    async fn register(self, credential: NewCredential) -> Option<String> {
        let new = NewAgent {
            name: self.name,
            owner: "team-test".to_owned(),
            roles: Some(self.roles),
            attributes: Some(self.attributes.into_iter().collect()),
            credential: Some(credential),
            ..NewAgent::default()
        };
        let created = self
            .issuer
            .issuer()
            .create_agent(&Caller::system(), new)
            .await
            .expect("a good agent");
        created
            .secret
            .map(|secret| secret.expose_secret().to_owned())
    }
}

/// A registered agent with its credential.
#[derive(Clone)]
pub struct TestAgent {
    /// Its `client_id`.
    pub name: String,
    issuer_url: String,
    key: Option<TestKey>,
    secret: Option<String>,
}

impl fmt::Debug for TestAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAgent")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl TestAgent {
    /// Its client secret.
    ///
    /// # Panics
    /// When it was registered with a key.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.secret.as_deref().expect("an agent with a secret")
    }

    /// A valid assertion, which the test can change; each has a new jti.
    ///
    /// # Panics
    /// When it was registered with a secret.
    #[must_use]
    pub fn assertion(&self) -> AssertionBuilder {
        self.assertion_at(START)
    }

    /// A valid assertion made at another second than [`START`].
    ///
    /// # Panics
    /// When it was registered with a secret.
    #[must_use]
    pub fn assertion_at(&self, now: i64) -> AssertionBuilder {
        AssertionBuilder::new(
            self.key.expect("an agent with a key"),
            &self.name,
            &self.issuer_url,
            now,
        )
    }
}
