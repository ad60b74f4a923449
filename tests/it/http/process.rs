//! What needs a process of its own: the limit on descriptors, the log.

use std::process::Stdio;

use firman::config::{LogFormat, LogLevel};
use firman::server::telemetry;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::*;

/// Serves until its standard input ends, with JSON logs.
#[tokio::test]
#[ignore = "started by the other tests of this file"]
async fn child() {
    telemetry::init(LogFormat::Json, LogLevel::Info).unwrap();
    let limits = Limits {
        max_connections: 10_000,
        header_read_timeout: DEADLINE,
        idle_timeout: DEADLINE,
        ..short_limits()
    };
    let server = TestServer::with(limits, HostPolicy::AnySingle).await;
    println!("\nlistening on {}", server.address);
    let end =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    end.await.unwrap().unwrap();
    server.stop.send(true).unwrap();
    within(server.serving).await.unwrap();
}

/// Starts [`child`] with at most this many descriptors.
async fn start(descriptors: u32) -> (Child, TestServer) {
    let mut child = Command::new("sh")
        .args(["-c", &format!(r#"ulimit -n {descriptors}; exec "$0" "$@""#)])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "http::process::child",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = within(lines.next_line())
            .await
            .unwrap()
            .expect("the child says where it listens");
        if let Some(address) = line.strip_prefix("listening on ") {
            break address.parse().unwrap();
        }
    };
    // Read on, so that the child can write on.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, TestServer::at(address))
}

/// Stops it and returns its log, times redacted.
async fn log(mut child: Child) -> Vec<Value> {
    drop(child.stdin.take());
    let output = within(child.wait_with_output()).await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")));
    lines
        .map(|mut line: Value| {
            for key in ["timestamp", "latency_us"] {
                if let Some(value) = line.get_mut(key) {
                    *value = Value::from("…");
                }
            }
            line
        })
        .collect()
}

#[tokio::test]
async fn ht_003_idle_connections_beyond_the_descriptors_do_not_stop_a_server() {
    let (child, server) = start(64).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(server.connect().await);
    }

    assert!(server.is_alive().await);

    drop(idle);
    let warnings: Vec<Value> = log(child)
        .await
        .into_iter()
        .filter(|line| line["level"] == "WARN")
        .collect();
    assert_eq!(
        warnings,
        [json!({
            "timestamp": "…",
            "level": "WARN",
            "message": "cannot accept connections; closing old ones",
            "error": "Too many open files (os error 24)",
            "address": server.address.to_string(),
            "target": "firman::server::accept",
        })]
    );
}

#[tokio::test]
async fn the_log_has_one_json_line_a_request_and_nothing_the_client_wrote() {
    let (child, server) = start(256).await;
    for request in [
        "GET /ping?code=hunter2 HTTP/1.1\r\nAuthorization: Bearer hunter2",
        "HUNTER2 /hunter2 HTTP/1.1\r\nX-Request-Id: hunter2",
        "GET /panic HTTP/1.1",
    ] {
        server
            .exchange(format!(
                "{request}\r\nHost: hunter2\r\nConnection: close\r\n\r\n"
            ))
            .await;
    }

    let lines = log(child).await;

    let id = |n: u8| format!("01a3185c-5000-7000-8000-00000000000{n}");
    let span = |n: u8, method: &str, route: Option<&str>| match route {
        Some(route) => {
            json!({"name": "request", "request_id": id(n), "method": method, "route": route})
        }
        None => json!({"name": "request", "request_id": id(n), "method": method}),
    };
    let answered = |level: &str, status: u16, span: Value| {
        json!({"timestamp": "…", "level": level, "message": "answered", "status": status, "latency_us": "…",
               "target": "firman::server::exchange", "span": span})
    };
    let panicked = span(3, "GET", Some("/panic"));
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert_eq!(
        lines[0],
        answered("INFO", 200, span(1, "GET", Some("/ping")))
    );
    assert_eq!(lines[1], answered("INFO", 404, span(2, "other", None)));
    assert_eq!(lines[2]["message"], "panic");
    assert_eq!(lines[2]["reason"], "a fault in a handler");
    assert_eq!(lines[2]["span"], panicked);
    assert_eq!(
        lines[3],
        json!({"timestamp": "…", "level": "ERROR", "message": "a handler panicked",
               "target": "firman::server::exchange", "span": panicked})
    );
    assert_eq!(lines[4], answered("ERROR", 500, panicked));
}
