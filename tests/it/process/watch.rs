//! `firman token get --watch`: the file always holds a whole, unused token, whatever happens to the
//! issuer, the agent or the disk meanwhile.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;

use firman::testing::decoded_part;
use rustix::process::{Resource, Rlimit, prlimit};

use super::*;
use crate::federated::{key_set, signed};

/// A site with an issuer, and an agent with a secret at a resource.
struct Watched {
    site: Site,
    server: Server,
    /// How the agent proves itself.
    proof: [&'static str; 2],
}

impl Watched {
    fn start() -> Self {
        Self::at(Site::new())
    }

    fn at(site: Site) -> Self {
        let server = site.start();
        let resource = json!({"name": "claude", "profile": "claude"});
        server.create("/resources", &resource);
        let role = json!({"name": "claude-user", "grants": [{"resource": "claude"}]});
        server.create("/roles", &role);
        let jwk = TestKey::Es256.signing_key().public_jwk().to_value();
        let agent = json!({
            "name": MAILER, "owner": "ops", "roles": ["claude-user"],
            "credential": {"kind": "public_key", "jwk": jwk}
        });
        server.create("/agents", &agent);
        site.write(
            "mailer.pem",
            TestKey::Es256
                .signing_key()
                .to_pkcs8_pem()
                .unwrap()
                .as_bytes(),
        );
        Self {
            site,
            server,
            proof: ["--key", "mailer.pem"],
        }
    }

    /// Lets the agent prove itself by a platform's token in `platform.jwt` from now on, each taken once.
    fn by_platform(&mut self) {
        let trusted = json!({
            "name": "platform", "url": "https://platform.example.com", "trust": ["client_auth"],
            "keys": { "type": "inline", "jwks": key_set(&[TestKey::Rs256]) },
        });
        self.server.create("/trusted-issuers", &trusted);
        let credential = json!({
            "kind": "federated", "trusted_issuer": "platform", "match": { "subject": "mailer-1" }
        });
        let path = format!("/agents/{MAILER}/credentials");
        self.server.create(&path, &credential);
        self.proof = ["--assertion-file", "platform.jwt"];
    }

    fn platform_token(&self, jti: &str) {
        let now = SystemClock.now().0;
        let claims = json!({
            "iss": "https://platform.example.com", "sub": "mailer-1", "jti": jti, "iat": now,
            "exp": now + 600, "aud": format!("http://{}", self.server.public),
        });
        let token = signed(TestKey::Rs256, Some("JWT"), &claims);
        self.site.write("platform.jwt", token);
    }

    fn args(&self) -> Vec<String> {
        let issuer = format!("http://{}", self.server.public);
        [
            "token",
            "get",
            "--issuer",
            &issuer,
            "--client-id",
            MAILER,
            self.proof[0],
            self.proof[1],
            "--out",
            "token.jwt",
            "--watch",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn watch(&self) -> Background {
        Background::start(self.site.command(Path::new(program()), &self.args()))
    }

    /// Starts to watch, and waits until it says that the token is there.
    fn watch_until_ready(&self) -> Background {
        let mut watch = self.watch();
        watch.wait_until("it is ready", |watch| {
            watch.stderr().contains("holds a token")
        });
        watch
    }

    fn file(&self) -> PathBuf {
        self.site.path("token.jwt")
    }

    /// Which file it is, if it exists. An inode alone is reused by the next file.
    fn which(&self) -> Option<(u64, i64, i64)> {
        use std::os::unix::fs::MetadataExt as _;
        let file = std::fs::metadata(self.file()).ok()?;
        Some((file.ino(), file.mtime(), file.mtime_nsec()))
    }

    /// Reads the file as a consumer does: its token's id.
    fn read(&self) -> String {
        self.read_if_there().expect("a token")
    }

    /// The same, unless the file was removed.
    fn read_if_there(&self) -> Option<String> {
        read_if_there(&self.file())
    }

    /// Reads the file, and waits until another token replaces it.
    fn read_and_wait(&self, watch: &mut Background) -> String {
        let before = self.which();
        let read = self.read();
        watch.wait_until("another token", |_| ![None, before].contains(&self.which()));
        read
    }
}

/// The id of the token in a file, which must be whole; `None` when the file does not exist.
fn read_if_there(path: &Path) -> Option<String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{error}"),
    };
    let token = text.strip_suffix('\n').unwrap();
    Some(decoded_part(token, 1)["jti"].as_str().unwrap().to_owned())
}

#[test]
fn after_a_read_another_token_is_in_place() {
    let watched = Watched::start();
    let mut watch = watched.watch_until_ready();
    let mode = std::fs::metadata(watched.file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut read: Vec<String> = (0..4).map(|_| watched.read_and_wait(&mut watch)).collect();
    read.sort();
    read.dedup();
    assert_eq!(read.len(), 4, "{}", watch.stderr());

    watch.signal(Signal::TERM);
    let outcome = watch.ended();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), ""),
        "{outcome}"
    );
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{outcome}");
    assert!(
        lines[0].starts_with("token.jwt holds a token, valid until "),
        "{outcome}"
    );
    assert!(lines[0].ends_with("and after each read"), "{outcome}");
    assert!(
        lines[1].starts_with("Stopped; token.jwt keeps its last token, valid until "),
        "{outcome}"
    );
    // Nothing but the token stays behind.
    let names = std::fs::read_dir(watched.file().parent().unwrap()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(
        !names.into_iter().any(|name| name.starts_with('.')),
        "{outcome}"
    );
}

#[test]
fn a_platforms_token_is_read_anew_for_each_request() {
    let mut watched = Watched::start();
    watched.by_platform();
    watched.platform_token("first");
    let mut watch = watched.watch_until_ready();
    // The first was used for the token in the file, so that no spare is ready.
    watch.wait_until("the platform's token is refused the second time", |watch| {
        watch.stderr().contains("(invalid_client)")
    });
    watched.platform_token("second");
    let read = watched.read_and_wait(&mut watch);
    assert_ne!(read, watched.read(), "{}", watch.stderr());
}

#[test]
fn a_client_after_the_other_finds_an_unused_token_for_as_many_as_come_in_a_row() {
    let watched = Watched::start();
    let mut watch = watched.watch_until_ready();
    let mut read: Vec<String> = (0..40).map(|_| watched.read_and_wait(&mut watch)).collect();
    read.sort();
    read.dedup();
    assert_eq!(read.len(), 40, "{}", watch.stderr());
}

#[test]
fn a_reader_that_reads_in_a_loop_gets_no_more_than_the_limit_and_is_reported() {
    let watched = Watched::start();
    let mut watch = watched.watch_until_ready();
    let start = Instant::now();
    let mut read = std::collections::BTreeSet::new();
    let mut was_away = false;
    watch.wait_until("all of the burst was read", |_| {
        for _ in 0..20 {
            match watched.read_if_there() {
                Some(id) => drop(read.insert(id)),
                None => was_away = true,
            }
        }
        read.len() > 60 && was_away
    });
    // Sixty at once, and two a second.
    let limit = 60.0 + 2.0 * start.elapsed().as_secs_f64() + 1.0;
    assert!(read.len() as f64 <= limit, "{} of {limit}", read.len());
    watch.wait_until("a warning", |watch| {
        watched.read_if_there();
        watch
            .stderr()
            .contains("was read twice before its token was replaced")
    });
    watch.signal(Signal::INT);
    assert_eq!(watch.ended().code, Some(0));
}

#[test]
fn a_file_that_another_process_removed_is_put_back() {
    let watched = Watched::start();
    let mut watch = watched.watch_until_ready();
    std::fs::remove_file(watched.file()).unwrap();
    watch.wait_until("the file", |_| watched.file().exists());
    watched.read();
}

#[test]
fn while_an_issuer_is_away_no_used_token_stays_and_it_is_found_again() {
    let watched = Watched::start();
    let mut watch = watched.watch_until_ready();
    let public = watched.server.public.to_string();
    let Watched { site, server, .. } = watched;
    let file = site.path("token.jwt");
    server.stop();
    // The spare replaces the first; then no spare is left.
    let mut read = Vec::new();
    watch.wait_until("it says so", |watch| {
        read.extend(read_if_there(&file));
        watch.stderr().contains("error: cannot reach `http://")
    });
    watch.wait_until("the used token is gone", |_| {
        read.extend(read_if_there(&file));
        !file.exists()
    });
    watch.wait_until("it says so", |watch| {
        watch
            .stderr()
            .contains(". token.jwt was read and is absent until the next token; trying again in ")
    });

    let server = site.start_on(&public);
    watch.wait_until("another token", |_| file.exists());
    assert!(!read.contains(&read_if_there(&file).unwrap()));
    watch.wait_until("it says so", |watch| {
        watch.stderr().contains("The issuer issues tokens again")
    });
    server.stop();
}

#[test]
fn it_starts_before_its_issuer_does() {
    let watched = Watched::start();
    let args = watched.args();
    let public = watched.server.public.to_string();
    let Watched { site, server, .. } = watched;
    server.stop();
    let mut watch = Background::start(site.command(Path::new(program()), &args));
    watch.wait_until("it waits", |watch| {
        watch
            .stderr()
            .contains("token.jwt holds no token yet; trying again in 1 s")
    });
    assert!(!site.path("token.jwt").exists());
    let server = site.start_on(&public);
    watch.wait_until("a token", |watch| watch.stderr().contains("holds a token"));
    server.stop();
}

#[test]
fn an_agent_that_is_refused_at_the_start_ends_it() {
    let watched = Watched::start();
    suspend(&watched.server, true);
    let outcome = watched.watch().ended();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(1), ""),
        "{outcome}"
    );
    assert!(
        outcome.stderr.starts_with("error: the issuer refused: "),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("(invalid_client)"), "{outcome}");
    assert!(!watched.file().exists());
}

#[test]
fn an_agent_that_is_suspended_later_keeps_trying_loudly() {
    let watched = Watched::start();
    let mut watch = watched.watch_until_ready();
    suspend(&watched.server, true);
    let refusals = |watch: &Background| watch.stderr().matches("(invalid_client)").count();
    watch.wait_until("it says so each time", |watch| {
        watched.read_if_there();
        refusals(watch) >= 2
    });
    suspend(&watched.server, false);
    watch.wait_until("it says so", |watch| {
        watch.stderr().contains("The issuer issues tokens again")
    });
    watch.wait_until("a token", |_| watched.file().exists());
    watched.read_and_wait(&mut watch);
}

fn suspend(server: &Server, is_suspended: bool) {
    let verb = if is_suspended { "suspend" } else { "resume" };
    let path = format!("/agents/{MAILER}/{verb}");
    let reply = server.admin("POST", &path, &Value::Null).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// A limit on the size of files stands for a full disk: a write fails, and who runs the test need not
/// be root. A shell makes the program ignore the signal that comes with it.
#[test]
fn a_full_disk_leaves_no_used_token_and_is_survived() {
    let watched = Watched::start();
    let mut args = vec![
        "-c".to_owned(),
        "trap '' XFSZ; exec \"$0\" \"$@\"".to_owned(),
    ];
    args.push(program().to_owned());
    args.extend(watched.args());
    let mut watch = Background::start(watched.site.command(Path::new("/bin/sh"), &args));
    watch.wait_until("it is ready", |watch| {
        watch.stderr().contains("holds a token")
    });

    let limit = |bytes| {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(watch.pid()), Resource::Fsize, limit).unwrap();
    };
    limit(Some(16));
    let old = watched.read();
    watch.wait_until("it says so", |watch| {
        watch.stderr().contains("error: cannot write `token.jwt`: ")
    });
    watch.wait_until("the used token is gone", |_| !watched.file().exists());

    prlimit(
        Some(watch.pid()),
        Resource::Fsize,
        Rlimit {
            current: None,
            maximum: None,
        },
    )
    .unwrap();
    watch.wait_until("it says so", |watch| {
        watch.stderr().contains("token.jwt can be written again")
    });
    watch.wait_until("a token", |_| watched.file().exists());
    assert_ne!(watched.read(), old);
}

#[test]
fn a_place_that_cannot_be_written_ends_it_at_the_start() {
    let watched = Watched::start();
    let mut args = watched.args();
    let out = args.iter().position(|arg| arg == "token.jwt").unwrap();
    args[out] = "nowhere/token.jwt".to_owned();
    let outcome = watched.site.run(&args);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome
            .stderr
            .ends_with("error: cannot write `nowhere/token.jwt`: no such file or directory\n"),
        "{outcome}"
    );
}

#[test]
fn the_service_manager_is_notified_when_the_token_is_there_and_when_it_ends() {
    let site = Site::new();
    let socket = UnixDatagram::bind(site.path("notify")).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = site.path("notify").to_str().unwrap().to_owned();
    let watched = Watched::at(site.with("NOTIFY_SOCKET", &address));
    let told = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let served = told();
    assert!(
        served.starts_with("READY=1\nSTATUS=http://127.0.0.1:"),
        "{served}"
    );
    let watch = watched.watch();
    let ready = told();
    assert!(
        ready.starts_with("READY=1\nSTATUS=token.jwt holds a token, valid until "),
        "{ready}"
    );
    watched.read();
    watch.signal(Signal::TERM);
    assert_eq!(watch.ended().code, Some(0));
    let mut last = told();
    while last.starts_with("STATUS=") {
        last = told();
    }
    assert_eq!(last, "STOPPING=1");
}
