//! A stand-in for Claude's Admin API that keeps what it receives, reports its requests, and fails where a test
//! wants it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// What goes wrong at a request that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is refused and nothing happens.
    Refused,
    /// It happens, but the answer never arrives.
    AnswerLost,
}

#[derive(Debug, Default)]
struct State {
    families: [(&'static str, Vec<Value>); 3],
    members: Vec<(String, Value)>,
    asked: Vec<String>,
    posts: usize,
    fault: Option<(usize, Fault)>,
}

/// The stand-in.
pub(super) struct Claude {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
}

impl Claude {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let state = Arc::new(Mutex::new(State {
            families: [
                ("service_accounts", Vec::new()),
                ("federation_issuers", Vec::new()),
                ("federation_rules", Vec::new()),
            ],
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.expect("a connection"), &shared);
            }
        });
        Self { url, state }
    }

    /// The changing request with that number, from 1 on, goes wrong.
    pub(super) fn fail_at(&self, number: usize, fault: Fault) {
        let mut state = self.state.lock().expect("its state");
        state.fault = Some((state.posts + number, fault));
    }

    /// Adds an object that another client made.
    pub(super) fn put(&self, family: &str, object: Value) {
        let mut state = self.state.lock().expect("its state");
        state.family(family).push(object);
    }

    /// Changes every object of a family.
    pub(super) fn edit(&self, family: &str, edit: impl Fn(&mut Value)) {
        let mut state = self.state.lock().expect("its state");
        state.family(family).iter_mut().for_each(edit);
    }

    /// The objects of a family.
    pub(super) fn objects(&self, family: &str) -> Vec<Value> {
        let mut state = self.state.lock().expect("its state");
        state.family(family).clone()
    }

    /// The requests since the last time, each as its method, path and body.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("its state").asked)
    }

    /// Those of them that change something.
    pub(super) fn changes(&self) -> Vec<String> {
        let asked = self.asked().into_iter();
        asked.filter(|line| line.starts_with("POST")).collect()
    }
}

impl State {
    fn family(&mut self, name: &str) -> &mut Vec<Value> {
        let mut families = self.families.iter_mut();
        let found = families.find(|(family, _)| *family == name);
        &mut found.expect("a family").1
    }

    fn answer(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(path) = path.strip_prefix("/v1/organizations/") else {
            return error(404, "not_found_error", "no such page");
        };
        let parts: Vec<&str> = path.split('/').collect();
        match (method, &parts[..]) {
            ("GET", [family]) => self.page(family, query),
            ("GET", [_, id, "workspaces"]) => {
                let of = self.members.iter().filter(|(account, _)| account == id);
                let data: Vec<&Value> = of.map(|(_, member)| member).collect();
                (200, json!({ "data": data, "next_page": null }))
            }
            ("POST", [_, id, "workspaces"]) => {
                self.members.push(((*id).to_owned(), body.clone()));
                (200, body.clone())
            }
            ("POST", [family]) => self.create(family, body),
            ("POST", [family, id]) => {
                let mut objects = self.family(family).iter_mut();
                let Some(object) = objects.find(|object| object["id"] == *id) else {
                    return error(404, "not_found_error", "no such object");
                };
                for (name, value) in body.as_object().expect("an object") {
                    object[name] = value.clone();
                }
                (200, object.clone())
            }
            _ => error(404, "not_found_error", "no such page"),
        }
    }

    /// Two objects a page, so that every list of three has a second one.
    fn page(&mut self, family: &str, query: &str) -> (u16, Value) {
        let start = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("page="))
            .map_or(0, |page| page.parse::<usize>().expect("a page"));
        let objects = self.family(family);
        let data: Vec<Value> = objects.iter().skip(start).take(2).cloned().collect();
        let next = (start + 2 < objects.len()).then(|| (start + 2).to_string());
        (200, json!({ "data": data, "next_page": next }))
    }

    fn create(&mut self, family: &str, body: &Value) -> (u16, Value) {
        let objects = self.family(family);
        if objects.iter().any(|object| object["name"] == body["name"]) {
            return error(409, "conflict_error", "name: is taken");
        }
        let prefix = match family {
            "service_accounts" => "svac",
            "federation_issuers" => "fdis",
            _ => "fdrl",
        };
        let mut object = body.clone();
        object["id"] = json!(format!("{prefix}_{:02}", objects.len() + 1));
        object["archived_at"] = Value::Null;
        objects.push(object.clone());
        (200, object)
    }
}

fn error(status: u16, kind: &str, message: &str) -> (u16, Value) {
    let error = json!({ "type": kind, "message": message });
    (
        status,
        json!({ "type": "error", "error": error, "request_id": "req_01" }),
    )
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut request = String::new();
    reader.read_line(&mut request).expect("the request line");
    let mut words = request.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return;
    };
    let (mut length, mut authorization, mut version) = (0, String::new(), String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().expect("a length"),
            "authorization" => authorization = value.to_owned(),
            "anthropic-version" => version = value.to_owned(),
            _ => {}
        }
    }
    let mut content = vec![0; length];
    reader.read_exact(&mut content).expect("the body");
    let body: Value = serde_json::from_slice(&content).unwrap_or_default();
    let mut state = state.lock().expect("its state");
    let shown = if body.is_null() {
        format!("{method} {path}")
    } else {
        format!("{method} {path} {body}")
    };
    state.asked.push(shown);
    let is_post = method == "POST";
    state.posts += usize::from(is_post);
    let fault = match state.fault {
        Some((number, fault)) if is_post && number == state.posts => Some(fault),
        Some(_) | None => None,
    };
    let is_allowed = authorization == "Bearer sk-ant-oat01-good" && version == "2023-06-01";
    let (status, answer) = match fault {
        _ if !is_allowed => error(401, "authentication_error", "Authentication failed"),
        Some(Fault::Refused) => error(529, "overloaded_error", "Overloaded"),
        Some(Fault::AnswerLost) => {
            state.answer(&method, &path, &body);
            return;
        }
        None => state.answer(&method, &path, &body),
    };
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    stream
        .write_all(format!("{head}{answer}").as_bytes())
        .expect("the answer");
}
