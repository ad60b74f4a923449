//! Text to paste where an agent runs: Kubernetes, systemd, GitHub Actions. Each keeps one unused token in a file,
//! which the SDKs read at every exchange.

use super::setup::Setup;

/// A piece of text for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// Which platform.
    pub title: &'static str,
    /// What it is and where it goes.
    pub note: &'static str,
    /// The text.
    pub text: String,
}

impl Setup {
    /// The text for each platform; none for a team, because each runs one agent.
    #[must_use]
    pub fn snippets(&self) -> Vec<Snippet> {
        if self.is_team() {
            return Vec::new();
        }
        vec![self.systemd(), self.kubernetes(), self.github()]
    }

    /// The command that keeps an unused token in a file.
    fn watch_command(&self, key: &str, file: &str) -> Vec<String> {
        [
            "firman",
            "token",
            "get",
            "--issuer",
            &self.issuer_url,
            "--client-id",
            &self.agent,
            "--key",
            key,
            "--resource",
            &self.audience,
            "--out",
            file,
            "--watch",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Two units for systemd.
    #[must_use]
    pub fn systemd(&self) -> Snippet {
        let environment: String = self
            .environment()
            .into_iter()
            .map(|(name, value)| {
                format!(
                    "Environment={}\n",
                    systemd_quoted(&format!("{name}={value}"))
                )
            })
            .collect();
        // `%d` is the folder that systemd puts the credential in.
        let key = "%d/agent-key";
        let command: Vec<String> = self
            .watch_command(key, &self.token_file)
            .iter()
            .map(|word| {
                if word == key {
                    word.clone()
                } else {
                    systemd_quoted(word)
                }
            })
            .collect();
        let folder = folder_of(&self.token_file);
        let runtime = folder.strip_prefix("/run/").unwrap_or("firman");
        let text = format!(
            "# firman-claude-token.service\n[Service]\nType=notify\nExecStart={}\nLoadCredential=agent-key:/etc/firman/{}.pem\nRuntimeDirectory={runtime}\nRestart=always\n\n# in the agent's own unit\n[Unit]\nRequires=firman-claude-token.service\nAfter=firman-claude-token.service\n\n[Service]\nUnsetEnvironment=ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN\n{environment}",
            command.join(" "),
            self.agent,
        );
        Snippet {
            title: "systemd",
            note: "one unit keeps the token file fresh, the agent's unit reads it; both run as the same user",
            text,
        }
    }

    /// Part of a pod.
    #[must_use]
    pub fn kubernetes(&self) -> Snippet {
        let file = "/var/run/firman/claude-token";
        let here = Setup {
            token_file: file.to_owned(),
            ..self.clone()
        };
        let variables: String = here
            .environment()
            .into_iter()
            .map(|(name, value)| {
                format!(
                    "        - {{ name: {name}, value: {} }}\n",
                    json_quoted(&value)
                )
            })
            .collect();
        let command = self.watch_command("/var/run/firman-key/agent.pem", file);
        let command: Vec<String> = command.iter().map(|word| json_quoted(word)).collect();
        let text = format!(
            "spec:\n  initContainers:\n    - name: claude-token\n      image: firman\n      restartPolicy: Always\n      command: [{}]\n      startupProbe:\n        exec: {{ command: [\"test\", \"-s\", \"{file}\"] }}\n      volumeMounts:\n        - {{ name: claude-token, mountPath: /var/run/firman }}\n        - {{ name: agent-key, mountPath: /var/run/firman-key, readOnly: true }}\n  containers:\n    - name: agent\n      env:\n{variables}      volumeMounts:\n        - {{ name: claude-token, mountPath: /var/run/firman, readOnly: true }}\n  volumes:\n    - name: claude-token\n      emptyDir: {{ medium: Memory }}\n    - name: agent-key\n      secret: {{ secretName: {}, defaultMode: 0400 }}\n",
            command.join(", "),
            json_quoted(&format!("{}-key", self.agent)),
        );
        Snippet {
            title: "Kubernetes",
            note: "part of a pod's spec: a sidecar keeps the token file fresh, the agent reads it; both containers run as the same user",
            text,
        }
    }

    /// Steps of a GitHub Actions job.
    #[must_use]
    pub fn github(&self) -> Snippet {
        let file = "${{ runner.temp }}/claude-token";
        let here = Setup {
            token_file: file.to_owned(),
            ..self.clone()
        };
        let variables: String = here
            .environment()
            .into_iter()
            .map(|(name, value)| format!("      {name}: {}\n", json_quoted(&value)))
            .collect();
        let text = format!(
            "steps:\n  - name: Token for Claude\n    env:\n      AGENT_KEY: ${{{{ secrets.FIRMAN_AGENT_KEY }}}}\n    run: |\n      umask 077\n      printf '%s' \"$AGENT_KEY\" > \"$RUNNER_TEMP/agent.pem\"\n      firman token get --issuer {} --client-id {} --key \"$RUNNER_TEMP/agent.pem\" --resource {} --out \"$RUNNER_TEMP/claude-token\"\n      rm \"$RUNNER_TEMP/agent.pem\"\n  - name: The agent\n    env:\n{variables}    run: ./agent\n",
            shell_quoted(&self.issuer_url),
            shell_quoted(&self.agent),
            shell_quoted(&self.audience),
        );
        Snippet {
            title: "GitHub Actions",
            note: "for one process and one access token; otherwise run the job with `firman exec`",
            text,
        }
    }
}

fn folder_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn json_quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A word of a unit file, in which `%` and `$` are special.
fn systemd_quoted(text: &str) -> String {
    json_quoted(&text.replace('%', "%%").replace('$', "$$"))
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(index: usize) -> String {
        let setup = Setup::new("mailer", "agent:mailer", "https://id.example.com");
        setup.snippets()[index].text.clone()
    }

    #[test]
    fn the_systemd_text_is_two_units() {
        insta::assert_snapshot!(text(0), @r#"
        # firman-claude-token.service
        [Service]
        Type=notify
        ExecStart="firman" "token" "get" "--issuer" "https://id.example.com" "--client-id" "mailer" "--key" %d/agent-key "--resource" "https://api.anthropic.com" "--out" "/run/firman/claude-token" "--watch"
        LoadCredential=agent-key:/etc/firman/mailer.pem
        RuntimeDirectory=firman
        Restart=always

        # in the agent's own unit
        [Unit]
        Requires=firman-claude-token.service
        After=firman-claude-token.service

        [Service]
        UnsetEnvironment=ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN
        Environment="ANTHROPIC_FEDERATION_RULE_ID=fdrl_…"
        Environment="ANTHROPIC_ORGANIZATION_ID=<organization UUID>"
        Environment="ANTHROPIC_SERVICE_ACCOUNT_ID=svac_…"
        Environment="ANTHROPIC_IDENTITY_TOKEN_FILE=/run/firman/claude-token"
        "#);
    }

    #[test]
    fn the_kubernetes_text_is_part_of_a_pod() {
        insta::assert_snapshot!(text(1), @r#"
        spec:
          initContainers:
            - name: claude-token
              image: firman
              restartPolicy: Always
              command: ["firman", "token", "get", "--issuer", "https://id.example.com", "--client-id", "mailer", "--key", "/var/run/firman-key/agent.pem", "--resource", "https://api.anthropic.com", "--out", "/var/run/firman/claude-token", "--watch"]
              startupProbe:
                exec: { command: ["test", "-s", "/var/run/firman/claude-token"] }
              volumeMounts:
                - { name: claude-token, mountPath: /var/run/firman }
                - { name: agent-key, mountPath: /var/run/firman-key, readOnly: true }
          containers:
            - name: agent
              env:
                - { name: ANTHROPIC_FEDERATION_RULE_ID, value: "fdrl_…" }
                - { name: ANTHROPIC_ORGANIZATION_ID, value: "<organization UUID>" }
                - { name: ANTHROPIC_SERVICE_ACCOUNT_ID, value: "svac_…" }
                - { name: ANTHROPIC_IDENTITY_TOKEN_FILE, value: "/var/run/firman/claude-token" }
              volumeMounts:
                - { name: claude-token, mountPath: /var/run/firman, readOnly: true }
          volumes:
            - name: claude-token
              emptyDir: { medium: Memory }
            - name: agent-key
              secret: { secretName: "mailer-key", defaultMode: 0400 }
        "#);
    }

    #[test]
    fn the_github_text_is_two_steps() {
        insta::assert_snapshot!(text(2), @r#"
        steps:
          - name: Token for Claude
            env:
              AGENT_KEY: ${{ secrets.FIRMAN_AGENT_KEY }}
            run: |
              umask 077
              printf '%s' "$AGENT_KEY" > "$RUNNER_TEMP/agent.pem"
              firman token get --issuer 'https://id.example.com' --client-id 'mailer' --key "$RUNNER_TEMP/agent.pem" --resource 'https://api.anthropic.com' --out "$RUNNER_TEMP/claude-token"
              rm "$RUNNER_TEMP/agent.pem"
          - name: The agent
            env:
              ANTHROPIC_FEDERATION_RULE_ID: "fdrl_…"
              ANTHROPIC_ORGANIZATION_ID: "<organization UUID>"
              ANTHROPIC_SERVICE_ACCOUNT_ID: "svac_…"
              ANTHROPIC_IDENTITY_TOKEN_FILE: "${{ runner.temp }}/claude-token"
            run: ./agent
        "#);
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        assert_eq!(shell_quoted("a'b; rm"), r"'a'\''b; rm'");
        assert_eq!(systemd_quoted("a \"%i\" $X"), r#""a \"%%i\" $$X""#);
    }
}
