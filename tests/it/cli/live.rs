//! A running issuer that command lines find by its data directory, as on a user's machine. What they print is
//! compared without ids, keys and times.

use serde_json::Value;

use super::words;
use crate::process::{Server, Site};

/// An issuer with a directory to run commands in.
pub(super) struct Live {
    pub(super) site: Site,
    pub(super) server: Server,
}

impl Live {
    pub(super) fn start() -> Self {
        let site = Site::new();
        let server = site.start();
        Self { site, server }
    }

    /// One with a resource, a role that grants it, and a group that has the role.
    pub(super) fn with_mail() -> Self {
        let live = Self::start();
        live.json(
            "resource add mail --identifier https://mail.example.com --scope read --scope send",
        );
        live.json("role add reader --grant mail=read");
        live.json("group add ops --role reader");
        live
    }

    pub(super) fn run(&self, line: &str) -> String {
        self.redacted(&self.site.run(&words(line)).to_string())
    }

    /// What a command prints with `--output json`, which says nothing on stderr.
    pub(super) fn json(&self, line: &str) -> Value {
        self.site
            .run(&words(&format!("{line} --output json")))
            .json()
    }

    /// The same as text to compare.
    pub(super) fn created(&self, line: &str) -> String {
        self.redacted(&format!("{:#}\n", self.json(line)))
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.server.public)
    }

    pub(super) fn redacted(&self, text: &str) -> String {
        let admin = format!("http://{}", self.server.private);
        redacted(
            &text
                .replace(&self.issuer(), "[ISSUER]")
                .replace(&admin, "[ADMIN]"),
        )
    }
}

/// `text` without what differs from run to run.
pub(super) fn redacted(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let is_token = rest.starts_with("eyJ");
        let is_time = time_length(rest);
        let length = is_time.unwrap_or_else(|| {
            let end = rest.find(|c: char| !(is_word(c) || is_token && c == '.'));
            end.unwrap_or(rest.len())
        });
        if length == 0 {
            shown.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(length);
        shown.push_str(if is_time.is_some() {
            "[TIME]"
        } else {
            name_of(word).unwrap_or(word)
        });
        rest = after;
    }
    shown
}

/// The length of an RFC 3339 time in UTC at the start of `text`.
fn time_length(text: &str) -> Option<usize> {
    let length = text.find('Z')? + 1;
    let pattern = "dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = |pattern: String| {
        let digits = text[..length].replace(|c: char| c.is_ascii_digit(), "d");
        digits == pattern
    };
    (fits(pattern.to_owned()) || fits(pattern.replace(".ddd", ""))).then_some(length)
}

/// What a word is when it is made by chance or by the clock.
fn name_of(word: &str) -> Option<&'static str> {
    let all = |test: fn(&u8) -> bool| word.bytes().all(|byte| test(&byte));
    let is_random = word.bytes().any(|b| b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_lowercase());
    match word.len() {
        _ if word.starts_with("fmn_") => Some("[SECRET]"),
        47 if word.starts_with("fma_") => Some("[ADMIN_TOKEN]"),
        _ if word.starts_with("eyJ") => Some("[JWT]"),
        10 if all(u8::is_ascii_digit) => Some("[SECONDS]"),
        13 if all(u8::is_ascii_digit) => Some("[MILLIS]"),
        36 if word.matches('-').count() == 4 => Some("[ID]"),
        64 if all(u8::is_ascii_hexdigit) => Some("[HASH]"),
        30 if is_random => Some("[JTI]"),
        43 if is_random => Some("[KEY]"),
        _ => None,
    }
}
