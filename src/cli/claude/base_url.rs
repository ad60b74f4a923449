//! The URL of Claude's API: `--base-url`, else `ANTHROPIC_BASE_URL` as Claude's SDKs read it, else Claude itself;
//! and whether an admin token may be sent there.

use std::collections::BTreeMap;

use clap::Args;
use url::Url;

use crate::cli::error::CliError;
use crate::cli::http;
use crate::cli::print::shell_word;
use crate::domain::remedy::Remedy;
use crate::ports::address::is_loopback;
use crate::relying_party::claude::BASE_URL;

/// The variable that Claude's SDKs read.
const VARIABLE: &str = "ANTHROPIC_BASE_URL";
const OPTION: &str = "--base-url";

#[derive(Debug, Args)]
pub(super) struct BaseUrlArgs {
    /// The URL of Claude's API or a simulator [default: ANTHROPIC_BASE_URL, else https://api.anthropic.com]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
}

/// Where the URL comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Option,
    Environment,
    Default,
}

/// The URL that requests to Claude go to.
#[derive(Clone, Debug)]
pub(super) struct BaseUrl {
    url: Url,
    text: String,
    origin: Origin,
}

impl BaseUrlArgs {
    /// The URL in force: option, then environment, then Claude's own. An empty variable counts as not set.
    ///
    /// # Errors
    /// When it is not the URL of a server.
    pub(super) fn resolve(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Result<BaseUrl, CliError> {
        let set = environment.get(VARIABLE).filter(|url| !url.is_empty());
        let (text, origin) = match (&self.base_url, set) {
            (Some(named), _) => (named.as_str(), Origin::Option),
            (None, Some(set)) => (set.as_str(), Origin::Environment),
            (None, None) => (BASE_URL, Origin::Default),
        };
        Ok(BaseUrl {
            url: http::parse_url(text, what(origin))?,
            text: text.to_owned(),
            origin,
        })
    }
}

fn what(origin: Origin) -> &'static str {
    match origin {
        Origin::Environment => VARIABLE,
        Origin::Option | Origin::Default => OPTION,
    }
}

impl BaseUrl {
    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The option or variable that sets it.
    pub(super) fn what(&self) -> &'static str {
        what(self.origin)
    }

    /// Whether it is Claude itself.
    pub(super) fn is_claude(&self) -> bool {
        self.text.trim_end_matches('/') == BASE_URL
    }

    /// ` --base-url URL` for a following command; empty for Claude itself.
    pub(super) fn option(&self) -> String {
        if self.is_claude() {
            String::new()
        } else {
            format!(" {OPTION} {}", shell_word(&self.text))
        }
    }

    /// Refuses to send an admin token to a host that the caller may not expect: it goes to Claude, to the host
    /// that the command line names, or to this machine. The variable is often set for something else (a gateway,
    /// another project), and the token administers a whole organization.
    ///
    /// # Errors
    /// When only the environment names that host, or when others could read the token on its way.
    pub(super) fn check_admin_token(&self) -> Result<(), CliError> {
        let is_here = is_loopback(&self.url);
        let is_claude =
            Url::parse(BASE_URL).is_ok_and(|claude| claude.origin() == self.url.origin());
        if self.origin == Origin::Environment && !is_here && !is_claude {
            return Err(CliError::usage(format!(
                "the admin token is not sent to `{}`, which only `{VARIABLE}` names",
                self.text
            ))
            .with_remedy(&Remedy::action(format!(
                "add `{OPTION} {}` to send it there",
                shell_word(&self.text)
            ))));
        }
        if self.url.scheme() != "https" && !is_here {
            return Err(CliError::usage(format!(
                "`{}` `{}` is plain HTTP to another machine: others on the network can read the token",
                self.what(),
                self.text
            ))
            .with_remedy(&Remedy::action("use https")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(option: Option<&str>, variable: Option<&str>) -> Result<BaseUrl, CliError> {
        let args = BaseUrlArgs {
            base_url: option.map(str::to_owned),
        };
        let set = variable.map(|url| (VARIABLE.to_owned(), url.to_owned()));
        args.resolve(&set.into_iter().collect())
    }

    #[test]
    fn the_option_goes_before_the_variable_and_the_variable_before_claude() {
        let (here, there) = ("http://127.0.0.1:8082", "https://gateway.example.com");
        for (option, variable, expected) in [
            (Some(here), Some(there), here),
            (None, Some(there), there),
            (None, Some(""), BASE_URL),
            (None, None, BASE_URL),
        ] {
            let url = resolved(option, variable).ok().unwrap();
            assert_eq!(url.as_str(), expected);
        }
        let refused = resolved(None, Some("gateway")).unwrap_err().text().unwrap();
        assert!(
            refused.contains("ANTHROPIC_BASE_URL is not a URL"),
            "{refused}"
        );
        assert_eq!(
            resolved(None, Some(there)).ok().unwrap().option(),
            " --base-url https://gateway.example.com"
        );
        assert_eq!(
            resolved(Some("https://api.anthropic.com/"), None)
                .ok()
                .unwrap()
                .option(),
            ""
        );
    }

    #[test]
    fn an_admin_token_goes_to_a_host_of_the_environment_only_when_the_command_line_names_it_too() {
        let there = "https://gateway.example.com";
        for (option, variable, is_sent) in [
            (None, None, true),
            (None, Some("https://api.anthropic.com/"), true),
            (None, Some("http://127.0.0.1:8082"), true),
            (None, Some(there), false),
            (None, Some("https://api.anthropic.com.example.com"), false),
            (None, Some("https://api.anthropic.com:8443"), false),
            (Some(there), None, true),
            (Some(there), Some(there), true),
            (Some("http://10.0.0.5:9000"), None, false),
            (Some("http://api.anthropic.com"), None, false),
        ] {
            let url = resolved(option, variable).ok().unwrap();
            assert_eq!(url.check_admin_token().is_ok(), is_sent, "{url:?}");
        }
    }
}
