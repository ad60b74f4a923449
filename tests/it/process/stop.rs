//! SIGTERM: accepted requests are finished, new ones are not accepted.

use firman::testing::decoded_part;

use super::crash::issued_token_ids;
use super::*;

const IN_FLIGHT: usize = 50;

#[test]
fn ht_011_sigterm_lets_fifty_requests_finish_and_accepts_no_new_ones_on_sqlite() {
    stops_gracefully(Site::new());
}

#[test]
fn ht_011_sigterm_lets_fifty_requests_finish_and_accepts_no_new_ones_on_postgresql() {
    stops_gracefully(Site::on_postgres());
}

#[test]
fn sigterm_without_any_request_ends_it_at_once_with_nothing_on_stdout() {
    let outcome = Site::new().start().stop();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), ""),
        "{outcome}"
    );
}

fn stops_gracefully(site: Site) {
    let site = site.with("FIRMAN_ISSUER_URL", ISSUER);
    let server = site.start();
    server.register_mailer();
    let public = server.public;
    let in_flight: Vec<(TcpStream, String)> = (0..IN_FLIGHT)
        .map(|number| begin_request(public, number))
        .collect();

    server.terminate();
    let deadline = Instant::now() + DEADLINE;
    while connect(public).is_ok() {
        assert!(Instant::now() < deadline, "it still takes connections");
        std::thread::sleep(Duration::from_millis(5));
    }
    let tokens: Vec<String> = in_flight
        .into_iter()
        .map(|(mut stream, form)| {
            stream.write_all(form.as_bytes()).unwrap();
            let reply = read_reply(&mut stream).unwrap();
            assert_eq!(reply.status, 200, "{}", reply.body);
            reply.json()["access_token"].as_str().unwrap().to_owned()
        })
        .collect();
    let outcome = server.ended();

    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), ""),
        "{outcome}"
    );
    let server = site.start();
    let issued = issued_token_ids(&site);
    let received: Vec<String> = tokens
        .iter()
        .map(|token| decoded_part(token, 1)["jti"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(issued, received.into_iter().collect());
    server.stop();
}

/// A request whose headers the server has read: it asks for the body. Returns what is to be sent yet.
fn begin_request(public: SocketAddr, number: usize) -> (TcpStream, String) {
    let form = assertion_form(&assertion(&format!("jti-{number}")));
    let mut stream = connect(public).unwrap();
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nhost: {public}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        form.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected);
    (stream, form)
}
