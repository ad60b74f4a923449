//! The one place where the command line speaks: data on stdout, hints and errors on stderr, tables or JSON.
//! Text from outside is made harmless before it reaches a terminal: control characters and those that reorder
//! or hide text become visible escapes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::Value;

use super::error::CliError;
use crate::api::warning::Warning;
pub(super) use crate::domain::text::harmless;
use crate::domain::text::is_unshowable;
pub(super) use crate::ports::secret_file::shell_word;
use crate::ports::time::UnixTime;

/// How data is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Aligned columns for people.
    Table,
    /// The admin API's own objects for programs.
    Json,
}

/// Writes a command's data, hints and errors.
pub(super) struct Printer {
    format: Format,
    data: Box<dyn Write + Send>,
    hints: Box<dyn Write + Send>,
}

impl Printer {
    /// One that writes to the process's stdout and stderr.
    pub(super) fn stdio(format: Format) -> Self {
        Self {
            format,
            data: Box::new(io::stdout()),
            hints: Box::new(io::stderr()),
        }
    }

    /// True when the reader is a program.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes one JSON object as data, indented.
    pub(super) fn json(&mut self, value: &Value) -> Result<(), CliError> {
        let text = format!("{value:#}\n");
        self.write(&harmless_json(&text))
    }

    /// Writes one JSON object as data on a line of its own.
    pub(super) fn json_line(&mut self, value: &Value) -> Result<(), CliError> {
        let text = format!("{value}\n");
        self.write(&harmless_json(&text))
    }

    /// Begins a list of the API as one JSON object, whose items are written as they come.
    pub(super) fn json_list(&mut self) -> JsonList<'_> {
        JsonList {
            printer: self,
            items: 0,
        }
    }

    /// Writes a table as data; without rows, prints `nothing` on stderr.
    pub(super) fn table(&mut self, table: &Table, nothing: &str) -> Result<(), CliError> {
        if table.rows.is_empty() {
            self.hint(nothing);
            return Ok(());
        }
        self.write(&table.to_string())
    }

    /// Writes name-value pairs as data, values aligned; pairs with an empty value are omitted.
    pub(super) fn facts(&mut self, facts: &[(&str, String)]) -> Result<(), CliError> {
        let shown = || facts.iter().filter(|(_, value)| !value.is_empty());
        let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value) in shown() {
            let _ = writeln!(text, "{name:width$}  {}", harmless(value));
        }
        self.write(&text)
    }

    /// Writes text of several lines as data, made harmless.
    pub(super) fn lines(&mut self, text: &str) -> Result<(), CliError> {
        self.write(&harmless_lines(text))
    }

    /// Writes text as data, as it is.
    pub(super) fn write(&mut self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes as data, as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.data.write_all(bytes)?;
        self.data.flush()?;
        Ok(())
    }

    /// Prints a note on stderr, only for people.
    pub(super) fn hint(&mut self, text: &str) {
        if !self.is_json() {
            self.warn(text);
        }
    }

    /// Prints a warning and what helps, for people: the JSON has both as members.
    pub(super) fn warning(&mut self, warning: &Warning) {
        self.hint(&format!("warning: {}", warning.text));
        if let Some(hint) = &warning.hint {
            self.hint(&format!("hint: {hint}"));
        }
    }

    /// Prints the next command to try.
    pub(super) fn next(&mut self, command: &str) {
        self.hint(&format!("Next: {command}"));
    }

    /// Prints on stderr an important note, for people and programs.
    pub(super) fn warn(&mut self, text: &str) {
        // A command does not fail because stderr is closed or full.
        let _ = writeln!(self.hints, "{}", harmless_lines(text));
    }

    /// Asks a question on stderr, without ending the line.
    pub(super) fn ask(&mut self, question: &str) {
        let _ = write!(self.hints, "{} ", harmless_lines(question));
        let _ = self.hints.flush();
    }

    /// Prints on stderr why the command failed.
    pub(super) fn error(&mut self, error: &CliError) {
        if self.is_json() {
            if let Some(value) = error.json() {
                let _ = writeln!(self.hints, "{}", harmless_json(&value.to_string()));
            }
        } else if let Some(text) = error.text() {
            self.warn(&text);
        }
    }
}

/// A list as one JSON object, `{"items": […], "next_cursor": …}`: only one item is in memory at a time,
/// whatever its length. Nothing is written before the first item has come.
pub(super) struct JsonList<'p> {
    printer: &'p mut Printer,
    items: u64,
}

impl JsonList<'_> {
    /// Writes one item.
    pub(super) fn item(&mut self, item: &Value) -> Result<(), CliError> {
        let before = if self.items == 0 {
            "{\n  \"items\": [\n    "
        } else {
            ",\n    "
        };
        self.items += 1;
        let text = format!("{item:#}").replace('\n', "\n    ");
        self.printer
            .write(&harmless_json(&format!("{before}{text}")))
    }

    /// Ends the list. `next_cursor`: that of the rest.
    pub(super) fn end(self, next_cursor: Option<&str>) -> Result<(), CliError> {
        let before = if self.items == 0 {
            "{\n  \"items\": []"
        } else {
            "\n  ]"
        };
        let next = Value::from(next_cursor);
        self.printer.write(&harmless_json(&format!(
            "{before},\n  \"next_cursor\": {next}\n}}\n"
        )))
    }
}

/// Rows under a header, each column as wide as its widest cell, two spaces between.
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub(super) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; an empty cell is shown as `-`, so that columns can be counted by programs too.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                harmless(&cell)
            }
        });
        self.rows.push(cells.collect());
    }

    /// Adds a line about the row above, in the last column; the cells before it are blank.
    pub(super) fn note(&mut self, text: &str) {
        let mut cells = vec![String::new(); self.header.len() - 1];
        cells.push(harmless(text));
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
                widest.max(self.header[column].len())
            })
            .collect();
        let header: Vec<String> = self.header.iter().map(ToString::to_string).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let line: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// [`harmless`], but with line ends: for texts of this program around names from outside.
fn harmless_lines(text: &str) -> String {
    text.split('\n')
        .map(harmless)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The same for JSON text, where such characters can only occur in strings and have their own escape;
/// serde_json itself escapes only those below U+0020.
fn harmless_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unshowable(c) && c != '\n' {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The text member `name` of an object of the API; empty when absent or null.
pub(super) fn text(object: &Value, name: &str) -> String {
    match &object[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

/// The elements of the array member `name`; none when it is absent.
pub(super) fn items<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object[name].as_array().map_or(&[], Vec::as_slice)
}

/// The member `name`, Unix seconds, as a date; empty when absent or null.
pub(super) fn date(object: &Value, name: &str) -> String {
    time(object[name].as_i64())
}

/// Unix seconds as a date; empty when there are none.
pub(super) fn time(seconds: impl Into<Option<i64>>) -> String {
    seconds
        .into()
        .map_or_else(String::new, |seconds| UnixTime(seconds).to_string())
}

/// A date and how far away it is.
pub(super) fn time_and_distance(seconds: impl Into<Option<i64>>, now: UnixTime) -> String {
    seconds
        .into()
        .map_or_else(String::new, |seconds| when(UnixTime(seconds), now))
}

/// The date of something that happened and how long ago that was: never in the future, although the server's
/// clock may be ahead of this one.
pub(super) fn time_and_age(seconds: impl Into<Option<i64>>, now: UnixTime) -> String {
    let time = seconds.into().map(UnixTime);
    time.map_or_else(String::new, |time| when(time, now.max(time)))
}

/// A state and since when: `suspended since 2026-11-21T09:30:00Z`.
pub(super) fn state(status: &str, since: Option<i64>) -> String {
    match since {
        Some(since) => format!("{status} since {}", time(since)),
        None => status.to_owned(),
    }
}

/// `team=mail, level=2`.
pub(super) fn pairs(map: &BTreeMap<String, String>) -> String {
    let pairs = map.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(", ")
}

/// `2026-11-21T09:30:00Z (in 14 min)`.
pub(super) fn when(time: UnixTime, now: UnixTime) -> String {
    let distance = time.since(now);
    let size = match distance.unsigned_abs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    };
    match distance {
        0 => format!("{time} (now)"),
        1.. => format!("{time} (in {size})"),
        ..0 => format!("{time} ({size} ago)"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Pipe(Arc<Mutex<Vec<u8>>>);

    impl Pipe {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printer(format: Format) -> (Printer, Pipe, Pipe) {
        let (data, hints) = (Pipe::default(), Pipe::default());
        let printer = Printer {
            format,
            data: Box::new(data.clone()),
            hints: Box::new(hints.clone()),
        };
        (printer, data, hints)
    }

    #[test]
    fn what_steers_a_terminal_is_escaped_in_json_and_reads_back_the_same() {
        let value = json!({"owner": "a\x1b]0;x\x07\u{9b}\u{7f}\u{202e}\u{e0041}é"});
        let (mut printer, data, _) = printer(Format::Json);
        printer.json(&value).unwrap();
        let text = data.text();
        assert!(
            text.chars().all(|c| c == '\n' || !is_unshowable(c)),
            "{text:?}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let mut table = Table::new(&["NAME", "STATUS", "OWNER"]);
        table.row(["mailer".to_owned(), "active".to_owned(), "ops".to_owned()]);
        table.row([
            "team-a.triage-bot".to_owned(),
            "suspended".to_owned(),
            String::new(),
        ]);
        insta::assert_snapshot!(table, @r"
        NAME               STATUS     OWNER
        mailer             active     ops
        team-a.triage-bot  suspended  -
        ");
    }

    #[test]
    fn a_list_written_item_by_item_is_the_object_as_a_whole() {
        let items = [
            json!({"name": "a", "roles": ["x", "y"]}),
            json!({"name": "b\n\u{202e}"}),
        ];
        for count in [0, 1, 2] {
            for next in [None, Some("c2")] {
                let (mut by_item, streamed, _) = printer(Format::Json);
                let mut list = by_item.json_list();
                for item in &items[..count] {
                    list.item(item).unwrap();
                }
                list.end(next).unwrap();
                let (mut at_once, whole, _) = printer(Format::Json);
                at_once
                    .json(&json!({"items": items[..count], "next_cursor": next}))
                    .unwrap();
                assert_eq!(
                    streamed.text(),
                    whole.text(),
                    "{count} items, then {next:?}"
                );
            }
        }
    }

    #[test]
    fn an_empty_table_is_said_on_stderr_only() {
        let (mut printer, data, hints) = printer(Format::Table);
        printer.table(&Table::new(&["NAME"]), "no agents").unwrap();
        assert_eq!(
            (data.text(), hints.text()),
            (String::new(), "no agents\n".to_owned())
        );
    }

    #[test]
    fn hints_are_for_people_and_errors_for_both() {
        let (mut printer, data, hints) = printer(Format::Json);
        printer.hint("Next: firman agent list");
        printer.error(&CliError::failed("conflict", "no"));
        assert_eq!(data.text(), "");
        assert_eq!(
            hints.text(),
            "{\"error\":{\"detail\":\"no\",\"kind\":\"conflict\"}}\n"
        );
    }

    #[test]
    fn facts_without_a_value_are_left_out() {
        let (mut printer, data, _) = printer(Format::Table);
        printer
            .facts(&[
                ("name", "mailer".to_owned()),
                ("description", String::new()),
                ("status", "active".to_owned()),
            ])
            .unwrap();
        assert_eq!(data.text(), "name    mailer\nstatus  active\n");
    }

    #[test]
    fn distances_are_told_in_a_fitting_unit() {
        let now = UnixTime(1_795_253_400);
        for (seconds, shown) in [
            (0, "2026-11-21T09:30:00Z (now)"),
            (1, "2026-11-21T09:30:01Z (in 1 s)"),
            (-180, "2026-11-21T09:27:00Z (3 min ago)"),
            (-90, "2026-11-21T09:28:30Z (90 s ago)"),
            (900, "2026-11-21T09:45:00Z (in 15 min)"),
            (-86_400, "2026-11-20T09:30:00Z (24 h ago)"),
            (30 * 86_400, "2026-12-21T09:30:00Z (in 30 days)"),
        ] {
            assert_eq!(when(now.plus(seconds), now), shown);
        }
        for (at, shown) in [
            (now.0, "2026-11-21T09:30:00Z (now)"),
            (now.0 + 2, "2026-11-21T09:30:02Z (now)"),
            (now.0 - 200, "2026-11-21T09:26:40Z (3 min ago)"),
        ] {
            assert_eq!(time_and_age(at, now), shown);
        }
    }

    #[test]
    fn a_word_is_quoted_only_when_the_shell_would_split_it() {
        assert_eq!(shell_word("keys/mailer.pem"), "keys/mailer.pem");
        assert_eq!(shell_word("my key's.pem"), r"'my key'\''s.pem'");
        assert_eq!(shell_word(""), "''");
    }
}
