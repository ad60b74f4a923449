//! An issuer behind a certificate of a private authority: what `claude verify` and the stand-in make of it.
//! The certificates were made for these tests alone and are good for `localhost` until 2120.

use std::sync::Arc;

use firman::testing::{ClaudeSimulator, ClaudeSimulatorOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::{Live, check, told};
use crate::process::Site;

const AUTHORITY: &str = include_str!("private_authority/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("private_authority/localhost.pem");
const KEY: &[u8] = include_bytes!("private_authority/localhost.key");
const ADMIN_TOKEN: &str = "sk-ant-oat01-admin";

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("its key");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.expect("they belong together")))
}

/// Serves discovery, and the key set at any other path, by https. Returns its URL.
async fn serve(issuer: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let url = format!("https://localhost:{port}");
    let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{url}/jwks") }).to_string();
    let client = reqwest::Client::builder().tls_certs_only([]).no_proxy();
    let keys = client.build().expect("a client");
    let keys = keys.get(format!("{issuer}/oauth2/jwks")).send().await;
    let keys = keys.expect("an answer").text().await.expect("a key set");
    let acceptor = acceptor();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate hangs up: its matter.
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = answer(stream, &metadata, &keys).await;
            }
        }
    });
    url
}

async fn answer(
    mut stream: TlsStream<TcpStream>,
    metadata: &str,
    keys: &str,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let is_metadata = request.starts_with(b"GET /.well-known/");
    let body = if is_metadata { metadata } else { keys };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_behind_a_private_authority_are_fetched_when_it_is_named_and_not_before() {
    let live = Live::at(Site::new().with("ANTHROPIC_ADMIN_TOKEN", ADMIN_TOKEN));
    live.site.write("authority.pem", AUTHORITY);
    let url = serve(&live.issuer()).await;
    let claude = ClaudeSimulator::start(ClaudeSimulatorOptions {
        admin_token: Some(ADMIN_TOKEN.to_owned()),
        ..ClaudeSimulatorOptions::default()
    });
    let claude = claude.await.expect("a free port");
    let apply = |further: &str| -> Value {
        live.json(&format!(
            "claude connect --agent mailer --discovery-base {url}{further} --organization {} --base-url {} --apply --yes",
            claude.organization_id, claude.url
        ))
    };
    let verify = || {
        let base = &claude.url;
        live.verify(&format!("--key mailer.pem --exchange --base-url {base}"))
    };

    apply("");
    let (code, checks) = verify();
    assert_eq!(code, Some(1));
    let tls = told(&checks, "tls");
    assert!(
        tls.starts_with("fail: no trusted connection to `localhost`: "),
        "{tls}"
    );
    assert_eq!(check(&checks, "exchange")["status"], "fail", "{checks:#?}");
    let denied = &claude.history()[0]["status"];
    assert_eq!(denied["reason"], "jwks_unavailable", "{denied}");

    let applied = apply(" --ca-cert authority.pem");
    assert_eq!(applied["applied"][1]["action"], "change", "{applied}");
    // It is read back from there, so that it needs no flag here.
    let (code, checks) = verify();
    assert_eq!(code, Some(0), "{checks:#?}");
    assert_eq!(
        told(&checks, "tls"),
        "ok: the certificate chain and the name `localhost` verify"
    );
    assert_eq!(check(&checks, "exchange")["status"], "ok", "{checks:#?}");
    let again = apply(" --ca-cert authority.pem");
    assert_eq!(again["applied"][1]["action"], "keep", "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_that_fetches_trusts_the_authority_that_is_named() {
    let live = Live::at(Site::new());
    live.site.write("authority.pem", AUTHORITY);
    let url = serve(&live.issuer()).await;
    for (line, reached) in [
        (format!("healthcheck --url {url}"), "is healthy"),
        (format!("agent list --url {url}"), "expected form"),
        (
            format!("token verify e30.e30. --issuer {url} --audience x"),
            "the issuer calls itself",
        ),
        (
            format!("token get --issuer {url} --client-id mailer --key mailer.pem"),
            "the issuer calls itself",
        ),
    ] {
        let outcome = live.run(&line);
        let refused = outcome.stderr.contains("certificate");
        assert!(refused && outcome.code == Some(1), "{outcome}");
        let outcome = live.run(&format!("{line} --ca-cert authority.pem"));
        assert!(outcome.stderr.contains(reached), "{outcome}");
    }
    let site = Site::new().with("FIRMAN_CA_CERT", "authority.pem");
    site.write("authority.pem", AUTHORITY);
    let outcome = site.run(&["healthcheck", "--url", &url]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
}
