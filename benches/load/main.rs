//! The whole-process load test: `benches/load/run`. Starts the release binary on loopback with a SQLite file of
//! its own, registers agents through the command line, signs every assertion beforehand, then sends them over
//! keep-alive connections and reports tokens a second, latency, processor time and memory. It measures, and
//! checks only that every request got its token. Bounded in count and in time.

#![expect(clippy::print_stdout, reason = "a report is what this program is for")]

mod server;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use firman::jose::{SigningAlgorithm, SigningKey};
use firman::ports::time::{Clock, SystemClock};
use serde_json::json;
use tokio::io::AsyncBufReadExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::server::Server;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long an answer may take before the run is aborted.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// The body of an answer is read completely; a token has at most 8 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Far enough ahead for any run, and inside the hour that an assertion may live.
const ASSERTION_LIFE_SECONDS: i64 = 1800;

/// Load test of the token endpoint: `private_key_jwt` to ES256, on SQLite.
#[derive(Parser)]
struct Options {
    /// Tokens to request, after a warm-up of a tenth as many.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    assertions: u32,
    /// Keep-alive connections, each with one request at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Agents that take turns.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    agents: u32,
    /// Stop sending after this many seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The argument that `cargo bench` passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let options = Options::parse();
    let server = Server::start().await?;
    let agents = register_agents(&server, options.agents).await?;
    println!("idle: {} MiB resident", server.usage()?.resident_mib());

    let warm_up = options.assertions.div_ceil(10);
    let signing = Instant::now();
    let mut requests = signed_requests(&server, &agents, warm_up + options.assertions)?;
    println!(
        "signed {} assertions in {:.1} s",
        requests.len(),
        signing.elapsed().as_secs_f64()
    );
    let measured = requests.split_off(usize::try_from(warm_up)?);

    let limit = Duration::from_secs(options.seconds);
    send(&server, requests, options.connections, limit).await?;
    let before = server.usage()?;
    let run = send(&server, measured, options.connections, limit).await?;
    let after = server.usage()?;
    report(
        &options,
        run,
        after.processor_seconds - before.processor_seconds,
    )?;
    println!(
        "memory: {} MiB resident, {} MiB at its peak",
        after.resident_mib(),
        after.peak_mib()
    );
    Ok(())
}

struct Agent {
    name: String,
    key: SigningKey,
}

async fn register_agents(server: &Server, count: u32) -> Outcome<Vec<Agent>> {
    server
        .command("resource add api --identifier https://api.example/ --scope read")
        .await?;
    server.command("role add reader --grant api=read").await?;
    let mut agents = Vec::new();
    for number in 0..count {
        let name = format!("load-{number}");
        let key = SigningKey::generate(SigningAlgorithm::Es256)?;
        server.write_file("key.jwk", &key.public_jwk().to_value().to_string())?;
        server
            .command(&format!(
                "agent add {name} --owner load --role reader --public-key key.jwk"
            ))
            .await?;
        agents.push(Agent { name, key });
    }
    Ok(agents)
}

/// Whole HTTP requests, ready to be written: signing them must not be measured.
fn signed_requests(server: &Server, agents: &[Agent], count: u32) -> Outcome<Vec<Vec<u8>>> {
    let now = SystemClock.now().0;
    (0..count)
        .zip(agents.iter().cycle())
        .map(|(number, agent)| {
            let claims = json!({
                "iss": agent.name, "sub": agent.name, "aud": server.issuer,
                "iat": now, "exp": now + ASSERTION_LIFE_SECONDS, "jti": format!("load-{number}"),
            });
            let assertion = agent.key.sign_compact("JWT", claims.to_string().as_bytes())?;
            let body = format!(
                "grant_type=client_credentials\
                 &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion={assertion}"
            );
            let request = format!(
                "POST /oauth2/token HTTP/1.1\r\nHost: {}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                server.address,
                body.len()
            );
            Ok(request.into_bytes())
        })
        .collect()
}

struct Run {
    elapsed: Duration,
    latencies: Vec<Duration>,
}

/// Sends every request over `connections` connections, until all are answered or `limit` has passed.
async fn send(
    server: &Server,
    requests: Vec<Vec<u8>>,
    connections: u32,
    limit: Duration,
) -> Outcome<Run> {
    let requests: Arc<[Vec<u8>]> = requests.into();
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        let stream = TcpStream::connect(server.address).await?;
        stream.set_nodelay(true)?;
        tasks.spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut latencies = Vec::new();
            while started.elapsed() < limit
                && let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let sent = Instant::now();
                tokio::time::timeout(ANSWER_DEADLINE, exchange(&mut stream, request)).await??;
                latencies.push(sent.elapsed());
            }
            Outcome::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(finished) = tasks.join_next().await {
        latencies.append(&mut finished??);
    }
    Ok(Run {
        elapsed: started.elapsed(),
        latencies,
    })
}

/// One request and its answer, which must be a token. Implements just enough HTTP for that: a client library
/// would use processor time of the server under test.
async fn exchange(stream: &mut BufReader<TcpStream>, request: &[u8]) -> Outcome<()> {
    stream.write_all(request).await?;
    let mut status = String::new();
    stream.read_line(&mut status).await?;
    let mut length = None;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err("the server closed the connection".into());
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse::<usize>()?);
        }
    }
    let length = length.ok_or("an answer without Content-Length")?;
    let mut body = vec![0; length.min(MAX_BODY_BYTES)];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8_lossy(&body);
    if !status.starts_with("HTTP/1.1 200") || !body.contains("\"access_token\"") {
        return Err(format!("no token: {} {body}", status.trim_end()).into());
    }
    Ok(())
}

fn report(options: &Options, mut run: Run, server_processor_seconds: f64) -> Outcome<()> {
    run.latencies.sort_unstable();
    let count = run.latencies.len();
    let milliseconds = |per_mille: usize| {
        let index = (count * per_mille / 1000).min(count.saturating_sub(1));
        run.latencies
            .get(index)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    let tokens = f64::from(u32::try_from(count)?);
    println!(
        "{count} tokens over {} connections from {} agents in {:.1} s",
        options.connections,
        options.agents,
        run.elapsed.as_secs_f64()
    );
    println!(
        "throughput: {:.0} tokens/s",
        tokens / run.elapsed.as_secs_f64()
    );
    println!(
        "latency: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
        milliseconds(500),
        milliseconds(990),
        milliseconds(999)
    );
    println!(
        "server: {:.0} µs of processor time a token",
        server_processor_seconds * 1e6 / tokens.max(1.0)
    );
    Ok(())
}
