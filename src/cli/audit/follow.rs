//! `firman audit list --follow`: requests new entries repeatedly. It waits for a server that is down, restarted
//! or moved; no entry is lost, because requests name the number of the last entry.

use std::time::Duration;

use serde_json::Value;

use super::{COLUMNS, ListArgs, row};
use crate::api::audit::{AuditEntry, AuditTail};
use crate::cli::client::{AdminClient, Answer, Extent, Query};
use crate::cli::error::CliError;
use crate::cli::print::{harmless, items};
use crate::cli::serve::StopSignals;
use crate::cli::session::Session;

/// Pause between two requests to a server without new entries.
const PACE: Duration = Duration::from_secs(1);
/// Entries in one answer: the API's maximum.
const AT_ONCE: u64 = 200;
/// Maximum number of earlier entries with which `--since` begins.
const EARLIER_MAX: u64 = 10_000;
/// Minimum widths of the columns: rows are printed before the next are known.
const WIDTHS: [usize; COLUMNS.len()] = [6, 24, 18, 24, 24, 30, 0];

pub(super) async fn run(args: &ListArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let stop = StopSignals::catch()?;
    tokio::select! {
        () = stop.received() => Ok(()),
        ended = follow(args, session) => ended,
    }
}

async fn follow(args: &ListArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let filter = args.filter.query();
    let mut after = match (args.after, args.filter.since) {
        (Some(after), _) => Some(after),
        // The newest number first, so that no entry falls between the earlier and the new ones.
        (None, since) => {
            let newest = tail(&admin, &filter, None).await?.read()?.after;
            header(session)?;
            if since.is_some() {
                earlier(args, &admin, newest, session).await?;
            }
            Some(newest)
        }
    };
    if args.after.is_some() {
        header(session)?;
    }
    let mut is_lost = false;
    loop {
        let asked = match session.admin() {
            Ok(admin) => tail(&admin, &filter, after).await,
            Err(error) => Err(error),
        };
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) if error.is_passing() => {
                if !is_lost {
                    let why = error.text().unwrap_or_default();
                    session.printer.warn(&format!("{why}\nwaiting for it"));
                    is_lost = true;
                }
                tokio::time::sleep(PACE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if is_lost {
            let from = after.map_or_else(String::new, |after| {
                format!(", continuing after entry {after}")
            });
            session.printer.warn(&format!("firman answers again{from}"));
            is_lost = false;
        }
        for entry in items(&answer.raw, "items") {
            show(entry, session)?;
        }
        let AuditTail {
            after: last,
            caught_up,
            ..
        } = answer.read()?;
        after = Some(last);
        if caught_up {
            tokio::time::sleep(PACE).await;
        }
    }
}

async fn tail(
    admin: &AdminClient,
    filter: &Query,
    after: Option<i64>,
) -> Result<Answer<AuditTail>, CliError> {
    let query = filter
        .clone()
        .with("after", after)
        .with("limit", Some(AT_ONCE));
    admin.get(&["audit", "tail"], &query).await
}

/// Prints the entries since the given time, up to entry `newest`, the oldest first.
async fn earlier(
    args: &ListArgs,
    admin: &AdminClient,
    newest: i64,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let filter = args.filter.query_between(session.now());
    let mut found = Vec::new();
    let next = admin
        .each_page(
            &["audit"],
            &filter,
            &Extent::up_to(EARLIER_MAX),
            |entries| {
                found.extend(entries);
                Ok(())
            },
        )
        .await?;
    if next.is_some() {
        session.printer.warn(&format!(
            "Only the last {EARLIER_MAX} entries since then; `firman audit export` has all."
        ));
    }
    for entry in found.iter().rev() {
        if Answer::<AuditEntry>::of(Value::clone(entry)).read()?.seq <= newest {
            show(entry, session)?;
        }
    }
    Ok(())
}

fn header(session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return Ok(());
    }
    let columns: Vec<String> = COLUMNS.map(str::to_owned).to_vec();
    session.printer.write(&line(&columns))
}

fn show(entry: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json_line(entry);
    }
    let entry = Answer::<AuditEntry>::of(entry.clone()).read()?;
    session.printer.write(&line(&row(&entry)))
}

fn line(cells: &[String]) -> String {
    let cells = cells.iter().zip(WIDTHS).map(|(cell, width)| {
        let cell = if cell.is_empty() { "-" } else { cell };
        format!("{:width$}", harmless(cell))
    });
    let line = cells.collect::<Vec<_>>().join("  ");
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_aligned_with_the_header_and_harmless() {
        let cells = [
            "7",
            "2026-11-21T09:30:00.000Z",
            "agent.changed",
            "administrator:bootstrap",
            "agent:a\u{1b}",
            "",
            "owner: a → b",
        ];
        let row = line(&cells.map(str::to_owned));
        let header = line(&COLUMNS.map(str::to_owned));
        assert!(row.contains("agent:a\\u{1b}"), "{row}");
        assert_eq!(
            header.find("EVENT"),
            row.find("agent.changed"),
            "{header}{row}"
        );
        assert!(row.ends_with("  owner: a → b\n"), "{row}");
    }
}
