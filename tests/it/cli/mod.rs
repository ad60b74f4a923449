//! The command line: each test is one command line with its exit code, stdout and stderr. Here run
//! those that need no issuer, or only one whose next answers are known.

mod administrators;
mod agent_side;
mod agents;
mod audit;
mod claude_links;
mod credentials;
mod delegations;
mod exchange;
mod json_output;
mod key_files;
mod live;
mod nouns;
mod offline;
mod quickstart;
mod resources;
mod scripted;
mod settings;
mod signing_keys;
mod tokens;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A client secret of the right shape, of no issuer.
const SECRET: &str = "fmn_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8rfHHWd";

/// An empty directory to run commands in, with an empty environment.
struct Shell {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Shell {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            variables: Vec::new(),
        }
    }

    /// The same with a variable of the environment set.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("a file in the temporary directory");
        crate::process::set_mode(&self.path(name), 0o600);
    }

    /// Runs `line`, split at spaces (`'…'` keeps them), and returns the whole outcome. Paths of the temporary
    /// directory are replaced.
    fn run(&self, line: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_firman"))
            .args(words(line))
            .current_dir(self.dir.path())
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).expect("UTF-8 output");
            text.replace(&self.dir.path().display().to_string(), "[DIR]")
        };
        format!(
            "exit code {}\n----- stdout\n{}----- stderr\n{}",
            output.status.code().expect("an exit code"),
            text(&output.stdout),
            text(&output.stderr)
        )
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .expect("the file")
        .permissions()
        .mode()
        & 0o777
}
