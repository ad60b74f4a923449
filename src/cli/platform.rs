//! The platforms whose workloads already have a token: what their documentation states about these tokens, and how
//! one workload is distinguished from another. Facts about other systems, in one place; the issuer knows none of
//! them.

use crate::api::credential::TokenMatch;

/// A platform as `--preset` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Platform {
    Kubernetes,
    Github,
    Gitlab,
    Google,
    Aws,
    Azure,
    Spiffe,
    Firman,
}

/// What a platform documents about its tokens.
pub(super) struct Documented {
    /// The issuer's URL, when all customers share one.
    pub(super) url: Option<&'static str>,
    /// Where to find the URL, or a caution.
    pub(super) note: &'static str,
    /// `typ` headers; the empty text for none.
    pub(super) types: &'static [&'static str],
    pub(super) is_single_use: bool,
    /// In seconds.
    pub(super) max_lifetime: u64,
}

impl Platform {
    pub(super) fn documented(self) -> Documented {
        match self {
            // kubernetes.io/docs/tasks/configure-pod-container/configure-service-account: no typ; a pod
            // reads one projected token again until the kubelet replaces it at 80 % of its life.
            Self::Kubernetes => Documented {
                url: None,
                note: "The URL is the `issuer` of: kubectl get --raw /.well-known/openid-configuration. If the URL cannot be reached from here, pass the keys: kubectl get --raw /openid/v1/jwks >jwks.json",
                types: &["", "JWT"],
                is_single_use: false,
                max_lifetime: 3600,
            },
            // docs.github.com/actions/reference/security/oidc: typ JWT, jti in each token.
            Self::Github => Documented {
                url: Some("https://token.actions.githubusercontent.com"),
                note: "All GitHub workflows get tokens from this issuer; the credential names the repository.",
                types: &["JWT"],
                is_single_use: true,
                max_lifetime: 3600,
            },
            // docs.gitlab.com/ci/secrets/id_token_authentication: one token for a job, as long as its timeout.
            Self::Gitlab => Documented {
                url: Some("https://gitlab.com"),
                note: "A token lives as long as its job may run: for jobs with a timeout above an hour, raise `--max-lifetime`. For your own GitLab, set `--iss`.",
                types: &["JWT"],
                is_single_use: false,
                max_lifetime: 3600,
            },
            // cloud.google.com/docs/authentication/get-id-token: no jti; the metadata server returns the same
            // token again.
            Self::Google => Documented {
                url: Some("https://accounts.google.com"),
                note: "All Google accounts get tokens from this issuer; the credential names the service account's unique id.",
                types: &["JWT"],
                is_single_use: false,
                max_lifetime: 3600,
            },
            // docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html: jti in each
            // token, 60 to 3600 seconds.
            Self::Aws => Documented {
                url: None,
                note: "The URL is your account's: aws iam get-outbound-web-identity-federation-info",
                types: &["JWT"],
                is_single_use: true,
                max_lifetime: 3600,
            },
            // learn.microsoft.com/entra/identity-platform/access-token-claims-reference: no jti; managed
            // identities get one token for 24 hours, dated five minutes back.
            Self::Azure => Documented {
                url: None,
                note: "The URL is https://login.microsoftonline.com/TENANT/v2.0 or https://sts.windows.net/TENANT/, as in `iss`; `--audience` is the application that the token is requested for.",
                types: &["JWT"],
                is_single_use: false,
                max_lifetime: 86_700,
            },
            // github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md §3: typ absent, JWT or JOSE; jti optional.
            Self::Spiffe => Documented {
                url: None,
                note: "The URL is spiffe:// and the trust domain; `--jwks` its bundle, or `--jwks-uri` its bundle endpoint. Send tokens with client_assertion_type urn:ietf:params:oauth:client-assertion-type:jwt-spiffe.",
                types: &["", "JWT", "JOSE"],
                is_single_use: false,
                max_lifetime: 3600,
            },
            // RFC 9068.
            Self::Firman => Documented {
                url: None,
                note: "The URL is the other issuer's. At the other issuer, register this issuer as a resource; the agent requests a token for it.",
                types: &["at+jwt"],
                is_single_use: true,
                max_lifetime: 3600,
            },
        }
    }
}

/// Selects a workload of a platform.
#[derive(Debug, Default, clap::Args)]
pub(super) struct WorkloadArgs {
    /// GitHub: the repository, as OWNER/NAME
    #[arg(long, value_name = "OWNER/NAME")]
    repo: Option<String>,
    /// GitHub: the deployment environment of the job
    #[arg(
        long,
        value_name = "NAME",
        requires = "repo",
        conflicts_with = "git_ref"
    )]
    environment: Option<String>,
    /// GitHub: the owner's numeric id, which never changes
    #[arg(long, value_name = "ID", requires = "repo")]
    owner_id: Option<String>,
    /// GitLab: the project, as GROUP/NAME
    #[arg(long, value_name = "GROUP/NAME", requires = "git_ref")]
    project: Option<String>,
    /// GitHub and GitLab: a branch, or refs/tags/TAG
    #[arg(long = "ref", value_name = "REF")]
    git_ref: Option<String>,
    /// Kubernetes: the namespace
    #[arg(long, value_name = "NAME", requires = "service_account")]
    namespace: Option<String>,
    /// Kubernetes: the service account
    #[arg(long, value_name = "NAME", requires = "namespace")]
    service_account: Option<String>,
    /// Google: the service account's unique id
    #[arg(long, value_name = "ID")]
    service_account_id: Option<String>,
    /// AWS: the role
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    /// Azure: the object id of the managed identity or service principal
    #[arg(long, value_name = "ID")]
    object_id: Option<String>,
    /// SPIFFE: the workload's id
    #[arg(long, value_name = "spiffe://…")]
    spiffe_id: Option<String>,
    /// Another firman: the agent's name there
    #[arg(long = "agent", value_name = "NAME")]
    remote_agent: Option<String>,
}

/// A workload, distinguished from others of its platform.
#[derive(Debug, PartialEq)]
pub(super) struct Workload {
    pub(super) platform: Platform,
    /// Its subject, when that alone identifies it.
    pub(super) subject: Option<String>,
    /// The claims that identify it otherwise.
    pub(super) claims: Vec<(&'static str, String)>,
    /// A caution for the user.
    pub(super) caution: Option<&'static str>,
}

impl WorkloadArgs {
    /// The workload that the options name, if any.
    pub(super) fn workload(&self) -> Result<Option<Workload>, String> {
        let candidates = [
            self.repo.as_deref().map(|repo| self.github(repo)),
            self.project.as_deref().map(|project| self.gitlab(project)),
            self.kubernetes().map(Ok),
            self.service_account_id
                .as_ref()
                .map(|id| Ok(exact(Platform::Google, id))),
            self.role_arn
                .as_ref()
                .map(|arn| Ok(exact(Platform::Aws, arn))),
            self.object_id.as_ref().map(|id| Ok(azure(id))),
            self.spiffe_id
                .as_ref()
                .map(|id| Ok(exact(Platform::Spiffe, id))),
            self.remote_agent
                .as_ref()
                .map(|name| Ok(exact(Platform::Firman, &agent_subject(name)))),
        ];
        let mut named = candidates.into_iter().flatten();
        let Some(first) = named.next() else {
            return match self.git_ref {
                Some(_) => Err("`--ref` requires `--repo` or `--project`".to_owned()),
                None => Ok(None),
            };
        };
        if named.next().is_some() {
            return Err("the options name workloads of several platforms".to_owned());
        }
        first.map(Some)
    }

    /// By claims and not by `sub`: repositories made since June 2026 have numbers in their `sub`
    /// (docs.github.com, "Immutable subject claims"), older ones do not, and owners can customise `sub`. The claims are
    /// the same in all of them.
    fn github(&self, repo: &str) -> Result<Workload, String> {
        let is_repo = repo.split_once('/').is_some_and(|(owner, name)| {
            !owner.is_empty() && !name.is_empty() && !name.contains('/')
        });
        if !is_repo {
            return Err("`--repo` must be `OWNER/NAME`".to_owned());
        }
        let mut claims = vec![("repository", repo.to_owned())];
        match (&self.environment, &self.git_ref) {
            (Some(environment), _) => claims.push(("environment", environment.clone())),
            (None, Some(git_ref)) => claims.push(("ref", full_ref(git_ref))),
            (None, None) => {
                return Err(
                    "`--repo` alone would accept every workflow of the repository, including pull requests: `--environment` or `--ref` is required".to_owned(),
                );
            }
        }
        let caution = match &self.owner_id {
            Some(id) => {
                claims.push(("repository_owner_id", id.clone()));
                None
            }
            None => Some(
                "Another account can register an abandoned owner name. Pin the owner's id too: --owner-id $(gh api users/OWNER --jq .id)",
            ),
        };
        Ok(Workload {
            platform: Platform::Github,
            subject: None,
            claims,
            caution,
        })
    }

    fn gitlab(&self, project: &str) -> Result<Workload, String> {
        if !project.contains('/') {
            return Err("`--project` must be `GROUP/NAME`".to_owned());
        }
        let git_ref = self.git_ref.as_deref().unwrap_or_default();
        let (ref_type, name) = match git_ref.strip_prefix("refs/tags/") {
            Some(tag) => ("tag", tag),
            None => (
                "branch",
                git_ref.strip_prefix("refs/heads/").unwrap_or(git_ref),
            ),
        };
        Ok(Workload {
            caution: Some(
                "This is the documented `sub`. For a project with a custom `sub`, use `--claim` instead.",
            ),
            ..exact(
                Platform::Gitlab,
                &format!("project_path:{project}:ref_type:{ref_type}:ref:{name}"),
            )
        })
    }

    fn kubernetes(&self) -> Option<Workload> {
        let (namespace, account) = (self.namespace.as_ref()?, self.service_account.as_ref()?);
        let subject = format!("system:serviceaccount:{namespace}:{account}");
        Some(exact(Platform::Kubernetes, &subject))
    }
}

fn exact(platform: Platform, subject: &str) -> Workload {
    Workload {
        platform,
        subject: Some(subject.to_owned()),
        claims: Vec::new(),
        caution: None,
    }
}

/// `sub` differs for one identity from application to application; `oid` does not.
fn azure(object_id: &str) -> Workload {
    Workload {
        platform: Platform::Azure,
        subject: None,
        claims: vec![("oid", object_id.to_owned())],
        caution: None,
    }
}

fn full_ref(git_ref: &str) -> String {
    if git_ref.starts_with("refs/") {
        git_ref.to_owned()
    } else {
        format!("refs/heads/{git_ref}")
    }
}

fn agent_subject(name: &str) -> String {
    if name.contains(':') {
        name.to_owned()
    } else {
        format!("agent:{name}")
    }
}

impl Workload {
    /// Which tokens are the workload's.
    pub(super) fn matching(&self) -> TokenMatch {
        let claims = self.claims.iter();
        TokenMatch {
            subject: self.subject.clone(),
            claims: claims
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            ..TokenMatch::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn args(change: impl FnOnce(&mut WorkloadArgs)) -> WorkloadArgs {
        let mut args = WorkloadArgs::default();
        change(&mut args);
        args
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_workload_that_is_not_told_from_others_is_refused() {
        for args in [
            args(|args| args.repo = some("octo-org/octo-repo")),
            args(|args| {
                args.repo = some("octo-repo");
                args.environment = some("prod");
            }),
            args(|args| {
                args.repo = some("a/b/c");
                args.environment = some("prod");
            }),
            args(|args| {
                args.project = some("project");
                args.git_ref = some("main");
            }),
            args(|args| args.git_ref = some("main")),
            args(|args| {
                args.object_id = some("1");
                args.role_arn = some("2");
            }),
        ] {
            assert!(args.workload().is_err(), "{args:?}");
        }
        assert_eq!(WorkloadArgs::default().workload(), Ok(None));
    }

    #[test]
    fn each_platform_tells_its_workloads_apart_by_what_it_documents() {
        let matching = |args: WorkloadArgs| {
            serde_json::to_value(args.workload().unwrap().unwrap().matching()).unwrap()
        };
        assert_eq!(
            matching(args(|args| {
                args.repo = some("octo-org/octo-repo");
                args.environment = some("prod");
                args.owner_id = some("65");
            })),
            json!({"claims": {"repository": "octo-org/octo-repo", "environment": "prod", "repository_owner_id": "65"}})
        );
        assert_eq!(
            matching(args(|args| {
                args.repo = some("octo-org/octo-repo");
                args.git_ref = some("main");
            })),
            json!({"claims": {"repository": "octo-org/octo-repo", "ref": "refs/heads/main"}})
        );
        for (git_ref, tail) in [
            ("main", "ref_type:branch:ref:main"),
            ("refs/heads/main", "ref_type:branch:ref:main"),
            ("refs/tags/v1", "ref_type:tag:ref:v1"),
        ] {
            assert_eq!(
                matching(args(|args| {
                    args.project = some("my-group/my-project");
                    args.git_ref = some(git_ref);
                })),
                json!({ "subject": format!("project_path:my-group/my-project:{tail}") })
            );
        }
        assert_eq!(
            matching(args(|args| {
                args.namespace = some("prod");
                args.service_account = some("mailer");
            })),
            json!({"subject": "system:serviceaccount:prod:mailer"})
        );
        assert_eq!(
            matching(args(|args| args.object_id = some("0d1c"))),
            json!({"claims": {"oid": "0d1c"}})
        );
        assert_eq!(
            matching(args(|args| args.remote_agent = some("mailer"))),
            json!({"subject": "agent:mailer"})
        );
    }
}
