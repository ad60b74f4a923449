//! The context of a command: the options, the environment, the printer and the time; and how lists are fetched
//! and shown.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::{AdminClient, Answer, Extent, Page, Query};
use super::error::CliError;
use super::http::Reach;
use super::options::Globals;
use super::print::{Printer, Table};
use crate::domain::remedy::Remedy;
use crate::ports::time::{Clock, SystemClock, UnixTime};

/// The context of a command: options, environment, output, time.
pub(super) struct Session<'a> {
    pub(super) globals: &'a Globals,
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) printer: Printer,
}

impl Session<'_> {
    /// The admin API of the issuer that options, environment and files point to.
    pub(super) fn admin(&self) -> Result<AdminClient, CliError> {
        AdminClient::find(self.globals, self.environment)
    }

    /// How the issuer is reached.
    pub(super) fn reach(&self) -> Result<Reach, CliError> {
        self.globals.reach(self.environment)
    }

    /// The current time.
    pub(super) fn now(&self) -> UnixTime {
        SystemClock.now()
    }

    /// Prints a list page by page: as one JSON object with all of its items, or as a table of the first ones
    /// and how to see more; `row` makes the cells of an item.
    pub(super) async fn list_pages<T: DeserializeOwned>(
        &mut self,
        listing: Listing<'_>,
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        let admin = self.admin()?;
        if self.printer.is_json() {
            let (page, filter) = (listing.page.extent(None), listing.filter);
            let mut list = self.printer.json_list();
            let next = admin
                .each_page(listing.path, &filter, &page, |items: Vec<Value>| {
                    items.iter().try_for_each(|item| list.item(item))
                })
                .await?;
            return list.end(next.as_deref());
        }
        self.list_table(&admin, listing, row).await
    }

    /// Prints the first items of a list as a table, and how to see more.
    pub(super) async fn list_table<T: DeserializeOwned>(
        &mut self,
        admin: &AdminClient,
        listing: Listing<'_>,
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        let Listing {
            path,
            filter,
            page,
            columns,
            nothing,
        } = listing;
        let mut table = Table::new(columns);
        let next = admin
            .each_page(
                path,
                &filter,
                &page.extent(Some(TABLE_ROWS)),
                |items: Vec<T>| {
                    items.iter().for_each(|item| table.row(row(item)));
                    Ok(())
                },
            )
            .await?;
        self.printer.table(&table, nothing)?;
        if let Some(cursor) = next {
            self.printer.hint(&there_are_more(&cursor));
        }
        Ok(())
    }

    /// Prints the first items that belong to an object, below it, and the command that lists all. Returns the
    /// first cell of each row.
    pub(super) async fn sample<T: DeserializeOwned>(
        &mut self,
        admin: &AdminClient,
        sample: Sample<'_, T>,
    ) -> Result<Vec<String>, CliError> {
        let Sample {
            path,
            filter,
            columns,
            all,
            nothing,
        } = sample;
        let mut found: Vec<T> = Vec::new();
        let next = admin
            .each_page(path, &filter, &Extent::up_to(COUNTED), |items| {
                found.extend(items);
                Ok(())
            })
            .await?;
        if found.is_empty() {
            if !nothing.is_empty() {
                self.printer.hint(nothing);
            }
            return Ok(Vec::new());
        }
        let row = |object: &T| columns.iter().map(|(_, text)| text(object)).collect();
        let rows: Vec<Vec<String>> = found.iter().take(SAMPLE_ROWS).map(row).collect();
        let names = rows.iter().filter_map(|row| row.first().cloned()).collect();
        let titles: Vec<&'static str> = columns.iter().map(|(title, _)| *title).collect();
        let mut table = Table::new(&titles);
        rows.into_iter().for_each(|row| table.row(row));
        self.printer.write("\n")?;
        self.printer.table(&table, "")?;
        let more = found.len().saturating_sub(SAMPLE_ROWS);
        if more > 0 {
            let at_least = if next.is_some() { "at least " } else { "" };
            self.printer
                .hint(&format!("and {at_least}{more} more: {all}"));
        }
        Ok(names)
    }

    /// Prints an answer as it came for a program. For a person, returns the object to print.
    pub(super) fn object<T: DeserializeOwned>(
        &mut self,
        answer: &Answer<T>,
    ) -> Result<Option<T>, CliError> {
        if self.printer.is_json() {
            self.printer.json(&answer.raw)?;
            return Ok(None);
        }
        answer.read().map(Some)
    }

    /// Asks for confirmation of an irreversible action; without a terminal, `--yes` is required.
    pub(super) fn confirm(&mut self, question: &str, yes: bool) -> Result<(), CliError> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let detail = format!("cannot ask for a confirmation without a terminal: {question}");
            return Err(
                CliError::usage(detail).with_remedy(&Remedy::action("add `--yes` to confirm"))
            );
        }
        self.printer.ask(&format!("{question} [y/N]"));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            Ok(())
        } else {
            Err(CliError::failed(
                "cancelled",
                "cancelled; nothing was changed",
            ))
        }
    }
}

/// Rows of a table without an option for the number.
const TABLE_ROWS: u64 = 50;

/// Rows of a table below an object that is shown.
const SAMPLE_ROWS: usize = 20;
/// How many are counted at most to state how many more exist.
const COUNTED: u64 = 200;

/// A title, and the text of one object below it.
pub(super) type SampleColumn<'l, T> = (&'static str, &'l dyn Fn(&T) -> String);

/// The items that belong to a shown object: the first ones, and how to see all.
pub(super) struct Sample<'l, T> {
    pub(super) path: &'l [&'l str],
    pub(super) filter: Query,
    /// Titles, and the text of one object below each.
    pub(super) columns: &'l [SampleColumn<'l, T>],
    /// The command that lists all.
    pub(super) all: &'l str,
    /// Printed when there is nothing.
    pub(super) nothing: &'l str,
}

/// A list of the API, and how it is shown.
pub(super) struct Listing<'l> {
    pub(super) path: &'l [&'l str],
    pub(super) filter: Query,
    pub(super) page: &'l Page,
    pub(super) columns: &'l [&'static str],
    /// Printed when there is nothing.
    pub(super) nothing: &'l str,
}

/// The hint below a table that does not show all.
fn there_are_more(cursor: &str) -> String {
    format!("There are more: add `--all`, or `--cursor {cursor}`")
}
