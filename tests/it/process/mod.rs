//! The real program as a child process, on free loopback ports and in temporary directories: what it
//! does when it is killed, asked to stop, or started on what it cannot use, and what it writes down.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod bad_start;
mod config_check;
mod crash;
mod detach;
mod exec;
pub(crate) mod faults;
mod follow;
mod log;
mod stop;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use firman::ports::time::{Clock as _, SystemClock};
use firman::testing::TestKey;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// No wait is longer, also on a machine that is busy with other tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// The issuer of tests that restart: it stays the same whatever port the process gets.
const ISSUER: &str = "https://id.example.com";
/// The audience of the tokens of [`Server::register_mailer`].
const MAIL: &str = "https://mail.example.com";
/// The agent of [`Server::register_mailer`].
const MAILER: &str = "mailer";
const FREE_PORT: &str = "127.0.0.1:0";
const SERVE_ON_FREE_PORTS: [&str; 5] =
    ["serve", "--listen", FREE_PORT, "--admin-listen", FREE_PORT];
const ASSERTION_TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

/// Sets who may read and write a file.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A directory to run the program in, and the environment it gets: data and keys are below it.
pub(crate) struct Site {
    dir: TempDir,
    variables: BTreeMap<String, String>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            variables: BTreeMap::new(),
        }
    }

    /// One whose database is a fresh one on the PostgreSQL server for tests.
    pub(crate) fn on_postgres() -> Self {
        Self::new().with("FIRMAN_DATABASE_URL", &fresh_postgres_database())
    }

    /// The same with a variable of the environment set.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As a careful person writes a file: what holds a secret is read only when it is so.
        std::fs::write(&path, content).unwrap();
        set_mode(&path, 0o600);
    }

    fn command(&self, program: &Path, args: &[impl AsRef<str>]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args.iter().map(AsRef::as_ref))
            .current_dir(self.dir.path())
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command that ends without a signal.
    pub(crate) fn run(&self, args: &[impl AsRef<str>]) -> Outcome {
        self.outcome(self.command(Path::new(program()), args))
    }

    /// Runs another program that ends without a signal.
    pub(crate) fn run_program(&self, program: &str, args: &[impl AsRef<str>]) -> Outcome {
        self.outcome(self.command(Path::new(program), args))
    }

    fn outcome(&self, mut command: Command) -> Outcome {
        let mut child = Running(command.spawn().unwrap());
        let stdout = collect(child.0.stdout.take().unwrap());
        let stderr = collect(child.0.stderr.take().unwrap());
        let status = child.wait();
        Outcome {
            code: status.code(),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        }
    }

    /// Starts an issuer on free ports and waits until it answers.
    pub(crate) fn start(&self) -> Server {
        self.start_on(FREE_PORT)
    }

    /// The same with the public listener at an address.
    fn start_on(&self, public: &str) -> Server {
        let args = ["serve", "--listen", public, "--admin-listen", FREE_PORT];
        let mut command = self.command(Path::new(program()), &args);
        let mut child = Running(command.spawn().unwrap());
        let stdout = collect(child.0.stdout.take().unwrap());
        let (says_ready, ready) = mpsc::channel();
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        let lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            for line in lines {
                let line = line.unwrap();
                if let Some(addresses) = ready_line(&line) {
                    // No listener is left after the first.
                    let _ = says_ready.send(addresses);
                }
                written.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let (public, private) = match ready.recv_timeout(DEADLINE) {
            Ok(addresses) => addresses,
            Err(error @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                panic!("it did not start ({error}): {}", log.lock().unwrap())
            }
        };
        let admin_token = std::fs::read_to_string(self.path("data/admin-token")).unwrap();
        let server = Server {
            child,
            public,
            private,
            admin_token,
            log,
            readers: (reader, stdout),
        };
        server.wait_until_healthy();
        server
    }
}

/// Addresses of the public and the private listener, from the log's line that says they are open.
fn ready_line(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let event: Value = serde_json::from_str(line).ok()?;
    if event["message"] != "firman is ready" {
        return None;
    }
    let address = |name: &str| event[name].as_str()?.parse().ok();
    Some((address("public")?, address("private")?))
}

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_firman")
}

/// The URL of a migrated, empty database of its own.
pub(crate) fn fresh_postgres_database() -> String {
    let server = postgres_server();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(firman::store::testing::fresh_postgres_database(&server))
        .unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is told where its server is by the script that runs it"
)]
fn postgres_server() -> String {
    std::env::var("FIRMAN_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!(
            "FIRMAN_TEST_POSTGRES_URL is not set: run the tests by scripts/with-postgres cargo test"
        )
    })
}

fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
}

/// A command that runs on beside the test, with what it has written so far.
struct Background {
    child: Running,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: [JoinHandle<()>; 2],
}

impl Background {
    fn start(mut command: Command) -> Self {
        let mut child = Running(command.spawn().unwrap());
        let (stdout, stdout_reader) = gather(child.0.stdout.take().unwrap());
        let (stderr, stderr_reader) = gather(child.0.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
            readers: [stdout_reader, stderr_reader],
        }
    }

    fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// Waits until `condition` holds while the command runs.
    fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self) {
            let ended = self.child.0.try_wait().unwrap();
            let is_in_time = Instant::now() < deadline && ended.is_none();
            assert!(is_in_time, "{what}: {ended:?}: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child.0)
    }

    /// Waits for the end.
    fn ended(mut self) -> Outcome {
        let status = self.child.wait();
        for reader in self.readers {
            reader.join().unwrap();
        }
        let text = |text: &Mutex<String>| text.lock().unwrap().clone();
        Outcome {
            code: status.code(),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        }
    }
}

/// Reads line by line into a text that can be looked at meanwhile.
fn gather(stream: impl Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&text);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let line = line.unwrap();
            written.lock().unwrap().push_str(&format!("{line}\n"));
        }
    });
    (text, reader)
}

/// A child that does not outlive its test.
struct Running(Child);

impl Running {
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a command ended.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// What it printed, which must be JSON, when it succeeded without a word on stderr.
    pub(crate) fn json(&self) -> Value {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        let (stdout, stderr) = (&self.stdout, &self.stderr);
        write!(
            f,
            "exit code {code}\n----- stdout\n{stdout}----- stderr\n{stderr}"
        )
    }
}

/// A running issuer.
pub(crate) struct Server {
    child: Running,
    pub(crate) public: SocketAddr,
    pub(crate) private: SocketAddr,
    admin_token: String,
    log: Arc<Mutex<String>>,
    readers: (JoinHandle<()>, JoinHandle<String>),
}

impl Server {
    fn wait_until_healthy(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !exchange(self.public, "GET", "/healthz", &[], "")
            .is_ok_and(|reply| reply.status == 200)
        {
            assert!(Instant::now() < deadline, "it is not healthy");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL, and waits for the end.
    fn kill(mut self) {
        self.child.0.kill().unwrap();
        self.child.wait();
    }

    /// SIGTERM.
    fn terminate(&self) {
        // The shell has `kill` built in; a bare machine may have no program of that name.
        let status = Command::new("sh")
            .args(["-c", "kill -TERM $0"])
            .arg(self.child.0.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end: exit code, stdout and log.
    fn ended(mut self) -> Outcome {
        let status = self.child.wait();
        let (stderr, stdout) = self.readers;
        stderr.join().unwrap();
        Outcome {
            code: status.code(),
            stdout: stdout.join().unwrap(),
            stderr: self.log.lock().unwrap().clone(),
        }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(self) -> Outcome {
        self.terminate();
        self.ended()
    }

    /// Calls the admin API as the bootstrap administrator; `path` begins after `/admin/v1`.
    fn admin(&self, method: &str, path: &str, body: &Value) -> io::Result<Reply> {
        let authorization = format!("Bearer {}", self.admin_token);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        exchange(
            self.private,
            method,
            &format!("/admin/v1{path}"),
            &[
                ("authorization", &authorization),
                ("content-type", "application/json"),
            ],
            &body,
        )
    }

    fn create(&self, path: &str, body: &Value) -> Value {
        let reply = self.admin("POST", path, body).unwrap();
        let log = || self.log.lock().unwrap().clone();
        assert_eq!(reply.status, 201, "{}\n{}", reply.body, log());
        reply.json()
    }

    /// An agent with a key, a role and a resource.
    fn register_mailer(&self) {
        let resource = json!({"name": "mail", "identifier": MAIL, "scopes": ["read"]});
        self.create("/resources", &resource);
        let role = json!({"name": "reader", "grants": [{"resource": "mail"}]});
        self.create("/roles", &role);
        let jwk = TestKey::Es256.signing_key().public_jwk().to_value();
        let credential = json!({"kind": "public_key", "jwk": jwk});
        let agent =
            json!({"name": MAILER, "owner": "ops", "roles": ["reader"], "credential": credential});
        self.create("/agents", &agent);
    }

    /// Posts a form to the token endpoint.
    fn token(&self, form: &str) -> io::Result<Reply> {
        request_token(self.public, form)
    }

    /// The published keys.
    fn jwks(&self) -> Value {
        exchange(self.public, "GET", "/oauth2/jwks", &[], "")
            .unwrap()
            .json()
    }
}

fn request_token(public: SocketAddr, form: &str) -> io::Result<Reply> {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    exchange(public, "POST", "/oauth2/token", &headers, form)
}

/// The form that presents an assertion.
fn assertion_form(assertion: &str) -> String {
    format!(
        "grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion={assertion}"
    )
}

/// An assertion of [`MAILER`] that is good for most of an hour, so that only its use can spoil it.
fn assertion(jti: &str) -> String {
    let key = TestKey::Es256.signing_key();
    let header = json!({"alg": key.algorithm(), "kid": key.kid()});
    let now = unix_now();
    let claims = json!({"iss": MAILER, "sub": MAILER, "aud": ISSUER, "jti": jti, "iat": now, "exp": now + 3000});
    key.sign_parts(header.to_string().as_bytes(), claims.to_string().as_bytes())
        .unwrap()
}

fn unix_now() -> i64 {
    SystemClock.now().0
}

/// A whole answer.
struct Reply {
    status: u16,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// One request on a connection of its own. An answer that breaks off is an error.
fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Reply> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    let mut stream = connect(address)?;
    stream.write_all(
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
        .as_bytes(),
    )?;
    read_reply(&mut stream)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Reads to the end of the connection.
fn read_reply(stream: &mut TcpStream) -> io::Result<Reply> {
    let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    if length.and_then(|length| length.parse().ok()) != Some(body.len()) {
        return Err(broken());
    }
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(Reply {
        status: status.ok_or_else(broken)?,
        body: body.to_owned(),
    })
}
