//! Notifies the service manager (sd_notify(3)): sends datagrams to the socket that the variable `NOTIFY_SOCKET`
//! names. Without that variable it does nothing.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use serde_json::Value;

/// A service manager that does not read must not block this process.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The field of a readiness notification with facts as one JSON object. Not systemd's, which ignores
/// fields that it does not know; `--detach` reads it.
pub(super) const DETAILS: &str = "X_FIRMAN_DETAILS";

/// The program that started this process and receives notifications.
pub(super) struct Supervisor {
    address: Option<String>,
}

impl Supervisor {
    /// The one that the environment names.
    pub(super) fn find(environment: &BTreeMap<String, String>) -> Self {
        let address = environment.get("NOTIFY_SOCKET");
        Self {
            address: address.filter(|address| !address.is_empty()).cloned(),
        }
    }

    /// One that receives nothing.
    pub(super) fn none() -> Self {
        Self { address: None }
    }

    /// Ready.
    pub(super) fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)))
    }

    /// Ready; `details` is for [`super::detach`].
    pub(super) fn ready_with(&self, status: &str, details: &Value) -> io::Result<()> {
        let status = one_line(status);
        self.send(&format!("READY=1\nSTATUS={status}\n{DETAILS}={details}"))
    }

    /// The state, for `systemctl status`.
    pub(super) fn status(&self, status: &str) -> io::Result<()> {
        self.send(&format!("STATUS={}", one_line(status)))
    }

    /// Stopping.
    pub(super) fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1")
    }

    fn send(&self, state: &str) -> io::Result<()> {
        let Some(address) = &self.address else {
            return Ok(());
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        socket
            .send_to_addr(state.as_bytes(), &parse(address)?)
            .map(drop)
    }
}

/// A state ends at the end of its line.
fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

/// A path, or with `@` in front a name in Linux's abstract namespace.
fn parse(address: &str) -> io::Result<SocketAddr> {
    if address.starts_with('/') {
        return SocketAddr::from_pathname(address);
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = address.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt as _;
        return SocketAddr::from_abstract_name(name);
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "it is neither a path nor an abstract name",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor(address: &str) -> Supervisor {
        let variable = ("NOTIFY_SOCKET".to_owned(), address.to_owned());
        Supervisor::find(&BTreeMap::from([variable]))
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn an_address_that_is_no_socket_is_an_error_and_none_is_not() {
        for address in ["relative", "vsock:2:1234", "/nowhere/at/all"] {
            assert!(supervisor(address).ready("x").is_err(), "{address}");
        }
        assert!(supervisor("").ready("x").is_ok());
        assert!(Supervisor::none().ready("x").is_ok());
    }

    #[test]
    fn states_arrive_in_one_datagram_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let supervisor = supervisor(path.to_str().unwrap());
        supervisor.ready("good until\nMAINPID=1").unwrap();
        supervisor.status("trying again").unwrap();
        supervisor.stopping().unwrap();
        supervisor
            .ready_with("good", &serde_json::json!({ "a": "b\nc" }))
            .unwrap();
        assert_eq!(received(&socket), "READY=1\nSTATUS=good until MAINPID=1");
        assert_eq!(received(&socket), "STATUS=trying again");
        assert_eq!(received(&socket), "STOPPING=1");
        assert_eq!(
            received(&socket),
            "READY=1\nSTATUS=good\nX_FIRMAN_DETAILS={\"a\":\"b\\nc\"}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_is_understood() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("firman-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        supervisor(&format!("@{name}")).stopping().unwrap();
        assert_eq!(received(&socket), "STOPPING=1");
    }
}
