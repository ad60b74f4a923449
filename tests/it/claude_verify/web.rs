//! A web server that answers each path as scripted, as often as it is requested.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// What is sent for a path.
#[derive(Clone, Default)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) headers: &'static str,
    pub(super) body: String,
}

impl Page {
    pub(super) fn json(body: impl ToString) -> Self {
        Self {
            status: 200,
            headers: "content-type: application/json\r\n",
            body: body.to_string(),
        }
    }
}

/// Answers until the test's process ends.
pub(super) struct Web {
    pub(super) url: String,
}

impl Web {
    /// `{URL}` in a page is the server's own address; other paths get 404.
    pub(super) fn start(pages: &[(&'static str, Page)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let pages: BTreeMap<&str, Page> = pages.iter().cloned().collect();
        let own = url.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that hangs up early ends its own connection, not the server.
                let _ = stream.and_then(|stream| answer(stream, &pages, &own));
            }
        });
        Self { url }
    }
}

fn answer(mut stream: TcpStream, pages: &BTreeMap<&str, Page>, own: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let missing = Page {
        status: 404,
        ..Page::default()
    };
    let page = pages.get(path).unwrap_or(&missing);
    let body = page.body.replace("{URL}", own);
    write!(
        stream,
        "HTTP/1.1 {} X\r\ncontent-length: {}\r\nconnection: close\r\n{}\r\n{body}",
        page.status,
        body.len(),
        page.headers
    )
}
