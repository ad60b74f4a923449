//! The database fails under the real program and heals: meanwhile and afterwards revocation and suspension
//! hold, `/readyz` says how things are, and tokens flow again without a restart.

pub(crate) mod disk;
mod rounds;

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use disk::{EIO, ENOSPC, EROFS, ETIMEDOUT, Faults, FaultyDisk, SmallDisk};

/// How long a fault lasts: every connection meets it, and the process's own maintenance.
const LONG: Duration = Duration::from_millis(5500);
/// A blink, as of a network volume: some connections meet it, each a few times.
const SHORT: Duration = Duration::from_millis(500);
/// How long healing may take on a machine that runs other tests. What it takes alone is printed.
const HEALED_WITHIN: Duration = Duration::from_secs(5);
/// Two seconds, and as much again for a machine that runs other tests.
const READY_ANSWERS_WITHIN: Duration = Duration::from_secs(4);
/// Requests of a kind after healing: every connection of every pool gets some of them.
const EACH: usize = 24;
/// Clients of each kind while the fault lasts.
const CLIENTS: usize = 4;

/// An agent with a secret.
#[derive(Clone)]
struct Agent {
    name: String,
    secret: String,
}

/// What a test does to an issuer, around the answers it looks at.
struct Round<'s> {
    server: &'s Server,
    name: &'static str,
    lasts: Duration,
}

/// Status and body of the answers to one question, each kind once, with its count.
type Answers = BTreeMap<String, usize>;

impl Server {
    fn register(&self, name: &str) -> io::Result<Option<Agent>> {
        let credential = json!({"kind": "client_secret"});
        let agent =
            json!({"name": name, "owner": "ops", "roles": ["reader"], "credential": credential});
        let reply = self.admin("POST", "/agents", &agent)?;
        Ok((reply.status == 201).then(|| Agent {
            name: name.to_owned(),
            secret: reply.json()["client_secret"].as_str().unwrap().to_owned(),
        }))
    }

    fn registered(&self, name: &str) -> Agent {
        self.register(name).unwrap().unwrap()
    }

    fn suspend(&self, agent: &Agent) -> io::Result<Reply> {
        self.admin(
            "POST",
            &format!("/agents/{}/suspend", agent.name),
            &Value::Null,
        )
    }

    fn ready(&self) -> io::Result<Reply> {
        let asked = Instant::now();
        let reply = exchange(self.private, "GET", "/readyz", &[], "");
        let took = asked.elapsed();
        assert!(took < READY_ANSWERS_WITHIN, "/readyz took {took:?}");
        reply
    }

    /// Lines of the log with that message, and their errors.
    fn errors_logged(&self, message: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let events = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events
            .filter(|event| event["message"] == message)
            .map(|event| event["error"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Agent {
    fn ask(&self, server: &Server, path: &str, form: &str) -> io::Result<Reply> {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let (name, secret) = (&self.name, &self.secret);
        let form = format!("client_id={name}&client_secret={secret}&{form}");
        exchange(server.public, "POST", path, &headers, &form)
    }

    fn get_token(&self, server: &Server) -> io::Result<Reply> {
        self.ask(server, "/oauth2/token", "grant_type=client_credentials")
    }

    fn token(&self, server: &Server) -> String {
        let reply = self.get_token(server).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    fn introspect(&self, server: &Server, token: &str) -> io::Result<Reply> {
        self.ask(server, "/oauth2/introspect", &format!("token={token}"))
    }

    fn revoke(&self, server: &Server, token: &str) -> io::Result<Reply> {
        self.ask(server, "/oauth2/revoke", &format!("token={token}"))
    }
}

/// The issuer's answers to the questions that matter, counted by answer.
#[derive(Debug, Default)]
struct Seen {
    revoked: Answers,
    suspended: Answers,
    newcomers: Answers,
    ready: Answers,
}

/// An answer in a few words, without what differs each time.
fn in_short(reply: &io::Result<Reply>) -> String {
    let Ok(reply) = reply else {
        return "no answer".to_owned();
    };
    let status = reply.status;
    let Ok(body) = serde_json::from_str::<Value>(&reply.body) else {
        return status.to_string();
    };
    let said = ["active", "reason", "error", "status"]
        .iter()
        .find_map(|name| body.get(name));
    match said {
        Some(said) => format!("{status} {said}"),
        None => status.to_string(),
    }
}

fn count(answers: &mut Answers, reply: &io::Result<Reply>) {
    *answers.entry(in_short(reply)).or_default() += 1;
}

fn add(to: &mut Answers, answers: Answers) {
    for (answer, count) in answers {
        *to.entry(answer).or_default() += count;
    }
}

/// True when every answer is one of `allowed`, and there was one at all.
fn only(answers: &Answers, allowed: &[&str]) -> bool {
    !answers.is_empty()
        && answers
            .keys()
            .all(|answer| allowed.contains(&answer.as_str()))
}

/// Asks `clients` times at once until `question` has been answered for as long as `goes_on`.
fn counted(
    clients: usize,
    goes_on: impl Fn(usize) -> bool + Sync,
    question: impl Fn() -> io::Result<Reply> + Sync,
) -> Answers {
    let mut all = Answers::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut answers = Answers::new();
                    for number in 0.. {
                        if !goes_on(number) {
                            break;
                        }
                        count(&mut answers, &question());
                    }
                    answers
                })
            })
            .collect();
        for client in clients {
            add(&mut all, client.join().unwrap());
        }
    });
    all
}

/// Agents and tokens as they are before the fault.
struct Cast {
    caller: Agent,
    /// A token that is revoked, and whose revocation was answered.
    revoked: String,
    /// An agent that got tokens, is in every cache, and is suspended.
    suspended: Agent,
    /// Tokens and agents that are ended after the fault.
    to_revoke: String,
    to_suspend: Agent,
    /// Agents that no cache holds yet.
    strangers: Vec<Agent>,
}

impl Cast {
    fn on(server: &Server) -> Self {
        let resource = json!({"name": "mail", "identifier": MAIL, "scopes": ["read"]});
        server.create("/resources", &resource);
        server.create(
            "/roles",
            &json!({"name": "reader", "grants": [{"resource": "mail"}]}),
        );
        let caller = server.registered("caller");
        let (revoked, to_revoke) = (caller.token(server), caller.token(server));
        let (suspended, to_suspend) = (server.registered("gone"), server.registered("leaving"));
        suspended.token(server);
        to_suspend.token(server);
        assert_eq!(caller.revoke(server, &revoked).unwrap().status, 200);
        assert_eq!(server.suspend(&suspended).unwrap().status, 200);
        let strangers = (0..32)
            .map(|number| server.registered(&format!("stranger-{number}")))
            .collect();
        Self {
            caller,
            revoked,
            suspended,
            to_revoke,
            to_suspend,
            strangers,
        }
    }
}

impl Round<'_> {
    /// Traffic of every kind while `fault` is on, which `begin` and `end` make. What was answered meanwhile.
    fn during(&self, cast: &Cast, begin: impl FnOnce(), end: impl FnOnce()) -> Seen {
        let (server, on) = (self.server, AtomicBool::new(true));
        let goes_on = |_| on.load(Ordering::SeqCst);
        let next = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            begin();
            let revoked = scope.spawn(|| {
                counted(CLIENTS, goes_on, || {
                    cast.caller.introspect(server, &cast.revoked)
                })
            });
            let suspended =
                scope.spawn(|| counted(CLIENTS, goes_on, || cast.suspended.get_token(server)));
            let newcomers = scope.spawn(|| {
                counted(CLIENTS, goes_on, || {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    cast.strangers[number % cast.strangers.len()].get_token(server)
                })
            });
            let ready = scope.spawn(|| counted(1, goes_on, || server.ready()));
            let ends = Instant::now() + self.lasts;
            while Instant::now() < ends {
                std::thread::sleep(Duration::from_millis(5));
            }
            on.store(false, Ordering::SeqCst);
            end();
            Seen {
                revoked: revoked.join().unwrap(),
                suspended: suspended.join().unwrap(),
                newcomers: newcomers.join().unwrap(),
                ready: ready.join().unwrap(),
            }
        })
    }

    /// How long after the fault it takes until a token is issued and `/readyz` answers 200; `None`: longer
    /// than [`HEALED_WITHIN`].
    fn heals(&self, cast: &Cast) -> Option<Duration> {
        let began = Instant::now();
        loop {
            let token = cast.caller.get_token(self.server);
            let ready = self.server.ready();
            if token.is_ok_and(|reply| reply.status == 200)
                && ready.is_ok_and(|reply| reply.status == 200)
            {
                return Some(began.elapsed());
            }
            if began.elapsed() > HEALED_WITHIN {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends a token and an agent, registers another, and asks about all of them.
    fn after(&self, cast: &Cast) -> Seen {
        let server = self.server;
        let times = |number| number < EACH;
        let mut seen = Seen::default();
        let ended = cast.caller.revoke(server, &cast.to_revoke);
        if !ended.as_ref().is_ok_and(|reply| reply.status == 200) {
            count(&mut seen.revoked, &ended);
        }
        let ended = server.suspend(&cast.to_suspend);
        if !ended.as_ref().is_ok_and(|reply| reply.status == 200) {
            count(&mut seen.suspended, &ended);
        }
        for token in [&cast.revoked, &cast.to_revoke] {
            let answers = counted(CLIENTS, times, || cast.caller.introspect(server, token));
            add(&mut seen.revoked, answers);
        }
        for agent in [&cast.suspended, &cast.to_suspend] {
            let answers = counted(CLIENTS, times, || agent.get_token(server));
            add(&mut seen.suspended, answers);
        }
        for number in 0..8 {
            match server.register(&format!("newcomer-{number}")) {
                Ok(Some(newcomer)) => count(&mut seen.newcomers, &newcomer.get_token(server)),
                Ok(None) | Err(_) => {
                    *seen
                        .newcomers
                        .entry("not registered".to_owned())
                        .or_default() += 1;
                }
            }
        }
        seen.ready = counted(1, |number| number < 3, || server.ready());
        seen
    }

    /// The whole round: what must hold holds, or the table of what was answered says what did not.
    fn run(&self, cast: &Cast, begin: impl FnOnce(), end: impl FnOnce()) -> Seen {
        let during = self.during(cast, begin, end);
        let healed = self.heals(cast);
        let after = self.after(cast);
        let table = format!(
            "{}\n  during {during:?}\n  healed after {healed:?}\n  after  {after:?}\n",
            self.name
        );
        #[expect(
            clippy::print_stdout,
            reason = "with --nocapture the rounds show what was answered"
        )]
        {
            println!("{table}");
        }
        const INVALID: &str = "401 \"invalid_client\"";
        const BUSY: &str = "503 \"temporarily_unavailable\"";
        let holds = [
            (
                "a revoked token is not active meanwhile",
                only(&during.revoked, &["200 false", BUSY]),
            ),
            (
                "a suspended agent gets no token meanwhile",
                only(
                    &during.suspended,
                    &[INVALID, BUSY, "429 \"temporarily_unavailable\""],
                ),
            ),
            (
                "an agent that there is is not unknown meanwhile",
                only(&during.newcomers, &["200", BUSY]),
            ),
            ("it heals", healed.is_some()),
            (
                "a revoked token stays inactive",
                only(&after.revoked, &["200 false"]),
            ),
            (
                "a suspended agent gets no token",
                only(
                    &after.suspended,
                    &[INVALID, "429 \"temporarily_unavailable\""],
                ),
            ),
            ("a new agent gets a token", only(&after.newcomers, &["200"])),
            ("it is ready again", only(&after.ready, &["200 \"ready\""])),
        ];
        let broken: Vec<&str> = holds
            .iter()
            .filter(|(_, holds)| !holds)
            .map(|(what, _)| *what)
            .collect();
        assert!(broken.is_empty(), "{broken:#?}\n{table}");
        during
    }
}

/// `/readyz` answered 503, and named the cause in one of these words each time. (In the first second a proof of
/// before still counts.)
fn assert_not_ready(during: &Seen, causes: &[&str]) {
    let ready = &during.ready;
    let refused = ready
        .keys()
        .filter(|answer| answer.starts_with("503 "))
        .count();
    assert!(refused > 0, "{ready:?}");
    for answer in ready.keys().filter(|answer| answer.starts_with("503 ")) {
        assert!(
            causes.iter().any(|cause| answer.contains(cause)),
            "{answer}"
        );
    }
}
