//! A token of the agent, or one with the claims that it would get, judged by the rule.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::super::facts::{self, Names};
use super::{Ground, Round, VerifyArgs};
use crate::api::agent::Agent;
use crate::api::explanation::Explanation;
use crate::api::resource::Resource;
use crate::cli::client::{AdminClient, Query};
use crate::cli::error::CliError;
use crate::cli::published::Discovered;
use crate::cli::session::Session;
use crate::cli::token::{self, ClientArgs, GetArgs};
use crate::domain::remedy::Remedy;
use crate::jose::{ForeignKeySet, SigningAlgorithm, SigningKey};
use crate::ports::time::UnixTime;
use crate::relying_party::claude::checks::{self, Check, Expected, Status};
use crate::relying_party::claude::{JwksSource, check_rule, is_team_rule, rule_warnings};

/// What the agent's tokens contain, according to the admin API.
pub(super) struct Sample {
    subject: String,
    identifier: String,
    algorithm: String,
    lifetime: i64,
    claims: Value,
}

/// Whether the agent may request a token for Claude, and its claims.
pub(super) async fn agent(
    args: &VerifyArgs,
    admin: &AdminClient,
    round: &mut Round,
) -> Result<Option<Sample>, CliError> {
    let name = args.agent.as_str();
    let agent: Agent = admin.get(&["agents", name], &Query::default()).await?;
    let resources = facts::claude_resources(admin).await?;
    let named = |one: &Resource| args.resource.as_ref().is_none_or(|name| one.name == *name);
    let mut refusal = None;
    for resource in resources.into_iter().filter(named) {
        let query = Query::default().with("resource", Some(&resource.name));
        let explained: Explanation = admin.get(&["agents", name, "explain"], &query).await?;
        let Some(claims) = explained.claims else {
            let why = explained.refusal.map(|refusal| refusal.error_description);
            refusal = Some(why.unwrap_or_default());
            continue;
        };
        let identifier = resource.identifier;
        round.add(Check::ok(
            "agent",
            format!(
                "`{name}` may request tokens for `{identifier}` ({})",
                resource.name
            ),
        ));
        return Ok(Some(Sample {
            subject: agent.subject,
            identifier,
            algorithm: resource.token_algorithm,
            lifetime: resource.token_lifetime,
            claims,
        }));
    }
    round.add(match refusal {
        Some(why) => Check::fail(
            "agent",
            format!("the issuer refuses `{name}` a token: {why}"),
            Remedy::command(format!("agent explain {name}")),
        ),
        None => Check::fail(
            "agent",
            match &args.resource {
                Some(name) => format!("`{name}` is not a resource with the profile `claude`"),
                None => "no resource has the profile `claude`".to_owned(),
            },
            Remedy::command("resource add claude --profile claude"),
        ),
    });
    Ok(None)
}

/// A token to judge: the agent's own, or one with the claims that it would get.
pub(super) struct Candidate {
    pub(super) token: SecretString,
    /// The key of a token that was signed only for this check.
    own_key: Option<SigningKey>,
}

pub(super) async fn of(
    args: &VerifyArgs,
    sample: &Sample,
    ground: &Ground,
    session: &Session<'_>,
) -> Result<Candidate, CliError> {
    if args.secret_file.is_none() && args.key.is_none() {
        return unsigned(sample, session.now());
    }
    let client = ClientArgs {
        client_id: Some(args.agent.clone()),
        secret_file: args.secret_file.clone(),
        key: args.key.clone(),
        ..ClientArgs::default()
    };
    let proof = client.proof()?;
    let issuer = &ground.facts.issuer;
    let discovered = Discovered::at(issuer, &session.reach()?).await?;
    let request = GetArgs::for_resource(issuer, client, &sample.identifier);
    let answer = token::request(&request, &proof, &discovered, session.now()).await?;
    let token = answer["access_token"].as_str().unwrap_or_default();
    Ok(Candidate {
        token: token.to_owned().into(),
        own_key: None,
    })
}

/// The claims of `agent explain` with times, signed by a key made for this check: the same code judges them.
fn unsigned(sample: &Sample, now: UnixTime) -> Result<Candidate, CliError> {
    let failed = |problem: String| CliError::failed("token", problem);
    let algorithm = SigningAlgorithm::parse(&sample.algorithm)
        .ok_or_else(|| failed(format!("`{}` is not an algorithm", sample.algorithm)))?;
    let key = SigningKey::generate(algorithm).map_err(|error| failed(error.to_string()))?;
    let mut claims = sample.claims.clone();
    claims["iat"] = json!(now.0);
    claims["nbf"] = json!(now.0);
    claims["exp"] = json!(now.plus(sample.lifetime).0);
    // A rule does not depend on its value.
    claims["jti"] = json!("not-issued");
    let token = key
        .sign_compact("JWT", claims.to_string().as_bytes())
        .map_err(|error| failed(error.to_string()))?;
    Ok(Candidate {
        token: token.into(),
        own_key: Some(key),
    })
}

/// What a token is judged with.
pub(super) struct Judgement<'j> {
    pub(super) args: &'j VerifyArgs,
    pub(super) sample: &'j Sample,
    pub(super) ground: &'j Ground,
    /// The published key set, if it could be fetched.
    pub(super) published: Option<&'j [u8]>,
}

impl Judgement<'_> {
    /// Judges the token by the rule as Claude would.
    pub(super) fn of(&self, candidate: &Candidate, round: &mut Round) {
        let (args, sample) = (self.args, self.sample);
        let expected = args.rule.expected(
            &self.ground.facts,
            &sample.subject,
            Some(&sample.identifier),
        );
        let registered = self.ground.read_back.registered();
        let rule = registered.map_or(&expected.rule, |registered| &registered.rule.match_);
        if let Err(invalid) = check_rule(rule) {
            round.add(Check::fail(
                "rule",
                format!(
                    "Claude rejects this rule: `{}` {}",
                    invalid.field, invalid.problem
                ),
                Remedy::command(format!("claude connect --agent {}", args.agent)),
            ));
            return;
        }
        for warning in rule_warnings(rule, sample.claims.as_object()) {
            let check = Check::ok("rule", warning.text);
            // `connect --agent 'ops.*'` makes such a rule on purpose.
            let is_meant = warning.code == "prefix" && is_team_rule(rule);
            round.add(if is_meant {
                check
            } else {
                Check {
                    status: Status::Warn,
                    hint: warning.hint,
                    ..check
                }
            });
        }
        let keys = match self.keys_for(candidate) {
            Ok(keys) => keys,
            Err(check) => return round.add(check),
        };
        round.add(self.verdict(candidate, &expected, &keys, round.now));
    }

    /// By the registered rule if it was read back, else by the expected one.
    fn verdict(
        &self,
        candidate: &Candidate,
        expected: &Expected,
        keys: &ForeignKeySet,
        now: UnixTime,
    ) -> Check {
        let what = if candidate.own_key.is_some() {
            "a token with the claims of `firman agent explain`"
        } else {
            "the agent's token"
        };
        let token = candidate.token.expose_secret();
        let (Some(registered), Some(link)) =
            (self.ground.read_back.registered(), &self.ground.link)
        else {
            let judged = checks::judge(token, expected, keys, now);
            return self.named(checks::sample(what, expected.origin(), &judged));
        };
        let request = match checks::request(link) {
            Ok(request) => request,
            Err(invalid) => {
                return Check::fail(
                    "token",
                    format!("the link's `{}` {}", invalid.field, invalid.problem),
                    Remedy::command("claude link --help"),
                );
            }
        };
        let judged = registered.judge(token, &request, keys, now);
        let mut check = self.named(checks::sample(what, "the rule at Claude", &judged));
        if let Err(denied) = &judged
            && denied.denial.is_of_registration()
        {
            let apply = format!("claude connect --agent {} --apply", self.args.agent);
            check.hint = Some(Remedy::command(apply));
        }
        check
    }

    /// `check` with the names of agent and resource in its hint.
    fn named(&self, mut check: Check) -> Check {
        let names = Names {
            agent: Some(&self.args.agent),
            resource: self.args.resource.as_deref(),
        };
        check.hint = check.hint.take().map(|hint| names.fill(hint));
        check
    }

    /// The keys to verify the token with: its own, those registered inline, or those published.
    fn keys_for(&self, candidate: &Candidate) -> Result<ForeignKeySet, Check> {
        let inline = self.ground.key_source().and_then(JwksSource::inline_set);
        let keys = match (&candidate.own_key, inline, self.published) {
            (Some(key), _, _) => {
                let own = json!({ "keys": [key.public_jwk().to_value()] }).to_string();
                ForeignKeySet::parse_published(own.as_bytes())
            }
            (None, Some(inline), _) => inline,
            (None, None, Some(body)) => ForeignKeySet::parse_published(body),
            (None, None, None) => {
                return Err(Check::warn(
                    "token",
                    "the agent has a token, but without the key set its signature cannot be verified",
                    Remedy::action("fix the checks that failed before this one"),
                ));
            }
        };
        keys.map_err(|problem| {
            Check::fail(
                "token",
                format!("the key set is not usable: {problem}"),
                Remedy::action("serve the issuer's own key set"),
            )
        })
    }
}
