//! Runs every command of the pages against the real binary, as a reader would from an empty directory, and
//! compares the output with the page.
//!
//! A block marked `sh` is run; the blocks of a page are one session. A `text` block after it is what must
//! appear, line by line, with `…` for what differs from run to run and any spacing. `toml` is a
//! configuration, `rust` the test in `embedding.rs`, `yaml` a CI job, whose `firman` commands must
//! exist. A block in another language stands in a program of `tests/sdk`, which runs it. A `console` block cannot be run here and stands in [`NOT_RUN`], so that none hides.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use firman::config::{Config, Overrides, Setting};
use firman::store::testing::fresh_postgres_database;
use rustix::process::{Pid, Signal, kill_process};

/// The program under test.
const FIRMAN: &str = env!("CARGO_BIN_EXE_firman");
/// The addresses that the pages use, where a test uses free ones.
const PUBLIC: &str = "127.0.0.1:8080";
const PRIVATE: &str = "127.0.0.1:8081";
/// Where `firman claude simulate` listens by default and on the pages, or a second issuer.
const SIMULATOR: &str = "127.0.0.1:8082";
/// The database that the pages use, where a test uses a fresh one.
const POSTGRES: &str = "postgres://firman:secret@db.example.com/firman";
/// A page that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// The first line of each block that is not run, by page: it builds, reaches outside, or needs a program
/// that need not be here.
const NOT_RUN: &[(&str, &str)] = &[
    ("README.md", "cargo install --path . --locked"),
    ("README.md", "docker build -t firman ."),
    ("README.md", "cargo run -- quickstart --exit"),
    (
        "README.md",
        r"firman exec --agent assistant --key assistant.pem \",
    ),
    ("docs/explanation/performance.md", "benches/load/run"),
    (
        "docs/explanation/performance.md",
        "cargo bench --bench token",
    ),
    (
        "docs/how-to/claude-agent.md",
        "export ANTHROPIC_IDENTITY_TOKEN_FILE=$PWD/claude.jwt",
    ),
    (
        "docs/how-to/claude-code.md",
        r"firman exec --issuer https://id.example.com --agent coder --key coder.pem \",
    ),
    (
        "docs/how-to/claude-code.md",
        "unset ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN",
    ),
    (
        "docs/how-to/claude.md",
        "export ANTHROPIC_ADMIN_TOKEN_FILE=$HOME/claude-admin-token",
    ),
    (
        "docs/how-to/claude.md",
        "firman claude verify --agent mailer --key mailer.pem --exchange",
    ),
    (
        "docs/how-to/claude.md",
        "firman publish-static --check https://keys.example.com",
    ),
    (
        "docs/how-to/delegation.md",
        r"firman token exchange --issuer http://127.0.0.1:8080 --client-id triage --secret-file triage.secret \",
    ),
    (
        "docs/how-to/integration-tests.md",
        "firman serve --config firman-test.toml",
    ),
    ("docs/how-to/postgresql.md", "createuser --pwprompt firman"),
    (
        "docs/how-to/postgresql.md",
        "curl -s http://127.0.0.1:8081/readyz",
    ),
    ("docs/how-to/production.md", "docker build -t firman ."),
    (
        "docs/how-to/register-an-agent.md",
        "openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out archiver.pem",
    ),
    (
        "docs/how-to/register-an-agent.md",
        r#"curl -s http://127.0.0.1:8080/oauth2/token -u "batch:$(cat batch.secret)" -d grant_type=client_credentials"#,
    ),
    ("docs/how-to/verify-tokens.md", "vault auth enable jwt"),
    (
        "docs/how-to/without-secrets.md",
        "kubectl get --raw /openid/v1/jwks >jwks.json",
    ),
    (
        "docs/how-to/without-secrets.md",
        "firman token get --issuer https://id.example.com --client-id mailer --assertion-file /var/run/secrets/firman/token",
    ),
    (
        "docs/how-to/without-secrets.md",
        "firman trusted-issuer add github --preset github --trust client_auth",
    ),
    (
        "docs/reference/claude-sdks.md",
        "firman claude diagnose --request-id req_… --at 5m",
    ),
    (
        "docs/reference/claude-sdks.md",
        "firman exec --agent mailer --key mailer.pem -- ant messages create …",
    ),
];

/// Languages of blocks that stand in a program below `tests/sdk`.
const FOREIGN: [&str; 7] = [
    "go",
    "java",
    "javascript",
    "properties",
    "python",
    "typescript",
    "xml",
];

/// Run before every page: the first failed command ends it, and all output goes into one stream.
const PRELUDE: &str = "set -euo pipefail\nexec 2>&1\n";

/// A fenced block of a page.
#[derive(Debug)]
struct Block {
    language: String,
    text: String,
    line: usize,
}

#[derive(Debug)]
struct Page {
    name: String,
    text: String,
    blocks: Vec<Block>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let name = path.strip_prefix(root()).expect("below the root");
        let text = fs::read_to_string(path).expect("a page");
        Self {
            name: name.display().to_string(),
            blocks: blocks(&text),
            text,
        }
    }

    fn of(&self, language: &str) -> impl Iterator<Item = &Block> {
        self.blocks
            .iter()
            .filter(move |block| block.language == language)
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), is_open) {
            (Some(language), false) => {
                is_open = true;
                blocks.push(Block {
                    language: language.to_owned(),
                    text: String::new(),
                    line: index + 1,
                });
            }
            (Some(_), true) => is_open = false,
            (None, true) => {
                let block = blocks.last_mut().expect("an open block");
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!is_open, "the last block is not closed");
    blocks
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<Page> {
    let mut paths = vec![
        root().join("README.md"),
        root().join("CHANGELOG.md"),
        root().join("CONTRIBUTING.md"),
        root().join("STYLE.md"),
        root().join("keys/README.md"),
    ];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    let mut pages: Vec<Page> = paths.iter().map(|path| Page::read(path)).collect();
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    pages
}

fn page(name: &str) -> Page {
    Page::read(&root().join(name))
}

// --- Running a page -------------------------------------------------------------------------------

/// Free addresses. Another process may bind them before firman does; firman then reports it.
fn free_addresses() -> [SocketAddr; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address"))
}

/// What a page says, with the addresses and the database of this run.
struct Rewriting(Vec<(&'static str, String)>);

impl Rewriting {
    fn apply(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}

/// Runs the `sh` blocks of a page in one session and compares what they print with the `text` blocks.
fn run(name: &str, database_url: Option<String>) {
    let page = page(name);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let [public, private, simulator] = free_addresses();
    let mut rewriting = Rewriting(vec![
        (PUBLIC, public.to_string()),
        (PRIVATE, private.to_string()),
        (SIMULATOR, simulator.to_string()),
    ]);
    rewriting.0.extend(database_url.map(|url| (POSTGRES, url)));
    let output = session(
        directory.path(),
        &script(&page, &rewriting),
        [public, private],
    );
    let mut printed = output.split("@@@ block ").skip(1);
    let mut last = String::new();
    let mut compared = 0;
    for block in &page.blocks {
        match block.language.as_str() {
            "sh" => last = printed.next().unwrap_or_default().to_owned(),
            "text" => {
                compared += 1;
                if let Some(missing) = missing(&rewriting.apply(&block.text), &last) {
                    panic!(
                        "{name}:{}: {missing:?} does not appear, in this order, in:\n{last}",
                        block.line
                    );
                }
            }
            _ => {}
        }
    }
    assert!(compared > 0, "{name} says of no command what it prints");
}

/// The page's commands as a reader pastes them: all at once, with no wait but those that the page shows.
fn script(page: &Page, rewriting: &Rewriting) -> String {
    let mut script = PRELUDE.to_owned();
    for block in page.of("sh") {
        script.push_str(&format!("printf '@@@ block {}\\n'\n", block.line));
        script.push_str(&rewriting.apply(&block.text));
    }
    script
}

/// Runs a script in `directory` and returns what it printed.
#[expect(
    clippy::disallowed_methods,
    reason = "the programs that commands need are found through PATH"
)]
fn session(directory: &Path, script: &str, [public, private]: [SocketAddr; 2]) -> String {
    let programs = Path::new(FIRMAN).parent().expect("a directory").display();
    let path = format!("{programs}:{}", std::env::var("PATH").expect("a PATH"));
    let printed = directory.join("printed");
    // A session of its own: servers that the page leaves in the background are found and ended by it.
    let mut bash = Command::new("setsid")
        .args(["bash", "-c", script])
        .current_dir(directory)
        .env_clear()
        .env("PATH", path)
        .env("HOME", directory)
        .env("FIRMAN_LISTEN", public.to_string())
        .env("FIRMAN_ADMIN_LISTEN", private.to_string())
        .stdin(Stdio::null())
        .stdout(fs::File::create(&printed).expect("a file for the output"))
        .spawn()
        .expect("bash starts");
    let deadline = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = bash.try_wait().expect("bash can be waited for") {
            break Some(status);
        }
        if Instant::now() > deadline {
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    end_session(bash.id());
    let output = fs::read_to_string(printed).expect("UTF-8 output");
    assert!(
        status.is_some_and(|status| status.success()),
        "a command failed or hung ({status:?}):\n{output}"
    );
    output
}

/// Ends what a page has left running: the processes of its session, whose leader was process `id`.
fn end_session(id: u32) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut left = processes_of_session(id);
    while !left.is_empty() {
        let signal = if Instant::now() < deadline {
            Signal::TERM
        } else {
            Signal::KILL
        };
        for process in left {
            // A process that has just ended needs no signal.
            let _ = kill_process(process, signal);
        }
        std::thread::sleep(Duration::from_millis(50));
        left = processes_of_session(id);
    }
}

fn processes_of_session(id: u32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("a Linux system");
    processes
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            // proc(5): after the name in brackets come state, parent, group and session.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            let is_left = fields.get(3)?.parse() == Ok(id) && *fields.first()? != "Z";
            is_left.then(|| Pid::from_raw(pid))?
        })
        .collect()
}

/// The first line of `expected` that `printed` does not have after the ones before it.
fn missing(expected: &str, printed: &str) -> Option<String> {
    let mut lines = printed.lines().map(one_spaced);
    expected
        .lines()
        .map(one_spaced)
        .find(|wanted| !lines.any(|line| is_like(&line, wanted)))
}

fn one_spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// True when `line` holds the parts of `wanted` between its `…`, in order.
fn is_like(line: &str, wanted: &str) -> bool {
    let mut rest = line;
    wanted.split('…').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

// --- The pages ------------------------------------------------------------------------------------

#[test]
fn a_line_that_is_not_printed_is_missed() {
    let printed = "a   b c\nkid  123 x\nlast\n";
    assert_eq!(missing("last\na b", printed), Some("a b".to_owned()));
    assert_eq!(missing("kid … y", printed), Some("kid … y".to_owned()));
    assert_eq!(missing("a b c\nkid … x\nla…", printed), None);
}

#[test]
fn the_readme_does_what_it_says() {
    run("README.md", None);
}

#[test]
fn the_guide_to_registering_does_what_it_says() {
    run("docs/how-to/register-an-agent.md", None);
}

#[test]
fn the_guide_to_client_libraries_does_what_it_says() {
    run("docs/how-to/client-libraries.md", None);
}

#[test]
fn the_guide_to_mcp_does_what_it_says() {
    run("docs/how-to/mcp.md", None);
}

#[test]
fn the_guide_to_verifying_does_what_it_says() {
    run("docs/how-to/verify-tokens.md", None);
}

#[test]
fn the_guide_to_claude_does_what_it_says() {
    run("docs/how-to/claude.md", None);
}

#[test]
fn the_guide_to_an_agent_of_claude_does_what_it_says() {
    run("docs/how-to/claude-agent.md", None);
}

#[test]
fn the_guide_to_trying_claude_locally_does_what_it_says() {
    run("docs/tutorials/try-claude-locally.md", None);
}

#[test]
fn the_guide_to_claude_code_does_what_it_says() {
    run("docs/how-to/claude-code.md", None);
}

#[test]
fn the_guide_to_moving_does_what_it_says() {
    run("docs/how-to/moving-to-firman.md", None);
}

#[test]
fn the_guide_to_ci_jobs_does_what_it_says() {
    run("docs/how-to/ci-jobs.md", None);
}

#[test]
fn the_guide_to_delegation_does_what_it_says() {
    run("docs/how-to/delegation.md", None);
}

#[test]
fn the_guide_to_agents_without_secrets_does_what_it_says() {
    run("docs/how-to/without-secrets.md", None);
}

#[test]
fn the_guide_to_rotation_does_what_it_says() {
    run("docs/how-to/rotate.md", None);
}

#[test]
fn the_guide_to_administrators_does_what_it_says() {
    run("docs/how-to/administrators.md", None);
}

#[test]
fn the_guide_to_revocation_does_what_it_says() {
    run("docs/how-to/revocation.md", None);
}

#[test]
fn the_guide_to_bound_tokens_does_what_it_says() {
    run("docs/how-to/dpop.md", None);
}

#[test]
fn the_guide_to_production_does_what_it_says() {
    run("docs/how-to/production.md", None);
}

#[test]
fn the_reference_of_the_configuration_does_what_it_says() {
    run("docs/reference/configuration.md", None);
}

#[test]
fn the_guide_to_integration_tests_does_what_it_says() {
    run("docs/how-to/integration-tests.md", None);
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration but its environment"
)]
async fn the_guide_to_postgresql_does_what_it_says() {
    let server = std::env::var("FIRMAN_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty()).expect(
        "this test needs a throw-away PostgreSQL: run scripts/test, or scripts/with-postgres cargo test --test it readme",
    );
    let url = fresh_postgres_database(&server)
        .await
        .expect("a fresh PostgreSQL database");
    tokio::task::spawn_blocking(|| run("docs/how-to/postgresql.md", Some(url)))
        .await
        .expect("the page is run");
}

#[test]
fn every_page_with_commands_is_run_and_what_is_not_run_is_listed() {
    let run = [
        "README.md",
        "docs/how-to/administrators.md",
        "docs/how-to/ci-jobs.md",
        "docs/how-to/claude-agent.md",
        "docs/how-to/claude-code.md",
        "docs/how-to/claude.md",
        "docs/how-to/client-libraries.md",
        "docs/how-to/delegation.md",
        "docs/how-to/dpop.md",
        "docs/how-to/integration-tests.md",
        "docs/how-to/mcp.md",
        "docs/how-to/moving-to-firman.md",
        "docs/how-to/postgresql.md",
        "docs/how-to/production.md",
        "docs/how-to/register-an-agent.md",
        "docs/how-to/revocation.md",
        "docs/how-to/rotate.md",
        "docs/how-to/verify-tokens.md",
        "docs/how-to/without-secrets.md",
        "docs/reference/configuration.md",
        "docs/tutorials/try-claude-locally.md",
    ];
    let mut with_commands = Vec::new();
    let mut not_run = Vec::new();
    for page in pages() {
        for block in &page.blocks {
            let known = [
                "sh",
                "text",
                "toml",
                "rust",
                "yaml",
                "console",
                "",
                "python",
                "javascript",
                "go",
                "java",
                "xml",
            ];
            let (name, line, language) = (&page.name, block.line, &block.language);
            assert!(
                known.contains(&language.as_str()) || FOREIGN.contains(&language.as_str()),
                "{name}:{line}: nothing is done with {language}"
            );
            let indented = block.text.lines().next().unwrap_or_default().to_owned();
            if language == "console" {
                not_run.push((name.clone(), indented));
            } else if language == "sh" && with_commands.last() != Some(name) {
                with_commands.push(name.clone());
            }
        }
    }
    assert_eq!(with_commands, run);
    let listed: Vec<(String, String)> = NOT_RUN
        .iter()
        .map(|(page, line)| ((*page).to_owned(), (*line).to_owned()))
        .collect();
    assert_eq!(not_run, listed);
}

#[test]
fn every_configuration_shown_is_good() {
    let mut shown = 0;
    for page in pages() {
        for block in page.of("toml") {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let file = directory.path().join("firman.toml");
            fs::write(&file, &block.text).expect("a file");
            let config = Config::load(Some(&file), &BTreeMap::new(), &Overrides::default());
            assert!(config.is_ok(), "{}:{}: {config:?}", page.name, block.line);
            shown += 1;
        }
    }
    assert!(shown >= 2);
}

#[test]
fn the_rust_example_is_the_one_that_is_compiled_and_run() {
    let compiled = include_str!("embedding.rs");
    let examples: Vec<(String, String)> = pages()
        .iter()
        .flat_map(|page| {
            page.of("rust")
                .map(|block| (page.name.clone(), block.text.clone()))
        })
        .collect();
    assert_eq!(examples.len(), 1, "{examples:?}");
    assert!(
        compiled.ends_with(&format!("\n\n{}", examples[0].1)),
        "tests/it/embedding.rs is not the example of the README"
    );
}

#[test]
fn every_block_in_another_language_is_in_a_program_that_runs() {
    let programs = programs(&root().join("tests/sdk"));
    assert!(programs.len() > 5, "the programs were not found");
    for page in pages() {
        for language in FOREIGN {
            for block in page.of(language) {
                let wanted = unindented(&block.text);
                let is_run = programs.iter().any(|program| program.contains(&wanted));
                let (name, line) = (&page.name, block.line);
                assert!(is_run, "{name}:{line} stands in no program of tests/sdk");
            }
        }
    }
}

/// The programs below a folder, each without its indentation; not what they have installed.
fn programs(folder: &Path) -> Vec<String> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !matches!(&*name, "node_modules" | ".venv" | "target" | "__pycache__") {
                programs.extend(self::programs(&path));
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            programs.push(unindented(&text));
        }
    }
    programs
}

fn unindented(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_table_of_the_configuration_is_whole_and_right() {
    let page = page("docs/reference/configuration.md");
    let (_, section) = page.text.split_once("## Settings").expect("the section");
    let rows: Vec<Vec<&str>> = section
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let defaults = Config::load(None, &BTreeMap::new(), &Overrides::default())
        .expect("the defaults")
        .show();
    let help = said_by(&["serve", "--help"]) + &said_by(&["--help"]);
    let mut flags = Vec::new();
    let mut keys = Vec::new();
    for row in &rows {
        let [key, variable, flag, default, meaning] = row[..] else {
            panic!("{row:?} has not five columns");
        };
        let [key, variable, flag, default] =
            [key, variable, flag, default].map(|cell| cell.trim_matches('`'));
        let setting = Setting::ALL
            .into_iter()
            .find(|setting| setting.key() == key);
        let setting = setting.unwrap_or_else(|| panic!("{key} is no setting"));
        let best = setting
            .short_variable()
            .map_or_else(|| setting.long_variable(), str::to_owned);
        assert_eq!(variable, best, "{key}");
        let shown = defaults.iter().find(|line| line.key == key);
        let shown = shown.map_or("", |line| line.value.as_str());
        assert_eq!(default, shown.trim_start_matches("(not set)"), "{key}");
        let says_file = meaning.contains(&format!("{variable}_FILE"));
        assert_eq!(says_file, setting.has_file_form(), "{key}: {meaning}");
        if !flag.is_empty() {
            assert!(help.contains(&format!("{flag} <")), "{key}: {flag}");
            flags.push(flag.to_owned());
        }
        keys.push(key);
    }
    assert_eq!(keys, Setting::ALL.map(Setting::key));
    // The other way round: every option that takes a value is in the table, but those that every command has.
    let mut options: Vec<String> = help
        .split_whitespace()
        .filter(|word| {
            word.starts_with("--") && !matches!(*word, "--output" | "--config" | "--ca-cert")
        })
        .map(|word| word.trim_end_matches(',').to_owned())
        .filter(|word| help.contains(&format!("{word} <")))
        .collect();
    options.sort_unstable();
    options.dedup();
    flags.sort_unstable();
    assert_eq!(flags, options);
}

#[test]
fn every_command_that_is_named_exists() {
    let mut tree = BTreeMap::new();
    for command in commands(&[]) {
        let below = commands(&[&command]);
        tree.insert(command, below);
    }
    assert!(tree.len() > 10, "{tree:?}");
    let mut named = 0;
    for page in pages() {
        for words in invocations(&page) {
            let [first, second] = [0, 1].map(|index| words.get(index).map_or("", String::as_str));
            let below = tree.get(first);
            let exists = below.is_some_and(|below| {
                below.is_empty() || second.is_empty() || below.iter().any(|one| one == second)
            });
            assert!(
                exists,
                "{}: there is no `firman {}`",
                page.name,
                words.join(" ")
            );
            named += 1;
        }
    }
    assert!(
        named > 40,
        "only {named} commands were found: the search is blind"
    );
}

/// The commands that `firman … --help` lists.
fn commands(path: &[&str]) -> Vec<String> {
    let mut line = path.to_vec();
    line.push("--help");
    let help = said_by(&line);
    let Some((_, list)) = help.split_once("Commands:\n") else {
        return Vec::new();
    };
    list.lines()
        .take_while(|line| !line.is_empty())
        // A description that goes on in a second line is further to the right.
        .filter_map(|line| {
            line.strip_prefix("  ")
                .filter(|rest| !rest.starts_with(' '))
        })
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn said_by(arguments: &[&str]) -> String {
    let output = Command::new(FIRMAN)
        .args(arguments)
        .env_clear()
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "firman {arguments:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The first two words after each `firman` in the code of a page, spans and blocks.
fn invocations(page: &Page) -> Vec<Vec<String>> {
    let mut code: Vec<&str> = page
        .blocks
        .iter()
        .filter(|block| matches!(block.language.as_str(), "sh" | "console" | "text" | "yaml"))
        .flat_map(|block| block.text.lines())
        .collect();
    code.extend(
        page.text
            .lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2)),
    );
    let is_word = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    };
    let mut found = Vec::new();
    for line in code {
        let words: Vec<&str> = line
            .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ';' | '\''))
            .collect();
        for (index, _) in words
            .iter()
            .enumerate()
            .filter(|(_, word)| **word == "firman")
        {
            let after: Vec<String> = words[index + 1..]
                .iter()
                .take(2)
                .take_while(|word| is_word(word))
                .map(|word| (*word).to_owned())
                .collect();
            if after.first().is_some_and(|word| word != "firman") {
                found.push(after);
            }
        }
    }
    found
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut followed = 0;
    for page in pages() {
        let path = root().join(&page.name);
        let folder = path.parent().expect("a folder");
        for (at, _) in page.text.match_indices("](") {
            let target = &page.text[at + 2..];
            let target = &target[..target.find(')').expect("a closed link")];
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                path.clone()
            } else {
                folder.join(file)
            };
            let name = &page.name;
            assert!(file.exists(), "{name} links to {target}: not found");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&file).expect("a page");
                assert!(
                    anchors(&text).iter().any(|one| one == anchor),
                    "{name} links to {target}: the page does not have that heading"
                );
            }
            followed += 1;
        }
    }
    assert!(followed > 40, "only {followed} links were found");
}

/// The anchors of a page's headings as GitHub makes them: lowercase, `-` for a space, other signs dropped.
fn anchors(text: &str) -> Vec<String> {
    let mut is_code = false;
    let headings = text.lines().filter(|line| {
        is_code ^= line.starts_with("```");
        !is_code && line.starts_with('#')
    });
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn a_heading_has_the_anchor_that_links_use() {
    let page = "# Claude's page\n```sh\n# a comment\n```\n### With `--apply`\n";
    assert_eq!(anchors(page), ["claudes-page", "with---apply"]);
}
