//! What a noun of the command line is: where the API has it, the columns of its list, and the facts that `show`
//! prints. The verbs list, show and remove are the same for every noun; each noun's differences are in its own
//! file.

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::client::{Answer, Page, Query};
use super::error::CliError;
use super::parse::parse_name;
use super::print::Table;
use super::session::{Listing, Session};
use crate::api::list::List;
use crate::ports::time::UnixTime;

/// A column or a fact: its title, and its text for one object at a point in time.
pub(super) type Cell<T> = (&'static str, fn(&T, UnixTime) -> String);

/// A noun whose objects the API describes as `T`.
pub(super) struct Noun<T: 'static> {
    /// Its name in sentences: `group`.
    pub(super) name: &'static str,
    /// Its path in the API: `groups`.
    pub(super) path: &'static str,
    /// The columns of its list.
    pub(super) columns: &'static [Cell<T>],
    /// The facts that are printed of one; empty texts are omitted.
    pub(super) facts: &'static [Cell<T>],
}

/// One object, by its name.
#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// Its name
    #[arg(value_parser = parse_name)]
    pub(super) name: String,
}

/// What to remove.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// Its name
    #[arg(value_parser = parse_name)]
    pub(super) name: String,
    /// Remove it even if it is in use; what depends on it ends or loses it
    #[arg(long)]
    pub(super) force: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,
}

/// Part of a list.
pub(super) struct Asked<'a> {
    pub(super) filter: Query,
    pub(super) page: &'a Page,
    /// Printed when there is nothing.
    pub(super) nothing: &'a str,
}

impl<T: DeserializeOwned> Noun<T> {
    /// Prints a list.
    pub(super) async fn list(
        &self,
        asked: Asked<'_>,
        session: &mut Session<'_>,
    ) -> Result<(), CliError> {
        let titles: Vec<&'static str> = self.columns.iter().map(|(title, _)| *title).collect();
        let listing = Listing {
            path: &[self.path],
            filter: asked.filter,
            page: asked.page,
            columns: &titles,
            nothing: asked.nothing,
        };
        let now = session.now();
        session
            .list_pages(listing, |object: &T| cells(self.columns, object, now))
            .await
    }

    /// Prints one object, and returns it for a person, who is shown more.
    pub(super) async fn show(
        &self,
        name: &str,
        session: &mut Session<'_>,
    ) -> Result<Option<T>, CliError> {
        let path = [self.path, name];
        let answer = session.admin()?.get(&path, &Query::default()).await?;
        self.print(&answer, session)
    }

    /// Prints the object of an answer: its facts, or as it came. Returns it for a person, who is shown more.
    pub(super) fn print(
        &self,
        answer: &Answer<T>,
        session: &mut Session<'_>,
    ) -> Result<Option<T>, CliError> {
        print_as(self.facts, answer, session)
    }

    /// Removes an object after a confirmation.
    pub(super) async fn remove(
        &self,
        args: &RemoveArgs,
        session: &mut Session<'_>,
    ) -> Result<(), CliError> {
        let question = format!("Remove {} {}?", self.name, args.name);
        self.remove_after(&question, args, session).await
    }

    /// Removes an object after this question.
    pub(super) async fn remove_after(
        &self,
        question: &str,
        args: &RemoveArgs,
        session: &mut Session<'_>,
    ) -> Result<(), CliError> {
        let admin = session.admin()?;
        session.confirm(question, args.yes)?;
        let query = Query::default().with("force", args.force.then_some(true));
        admin.delete(&[self.path, &args.name], &query).await?;
        removed(&args.name, session)
    }
}

/// Prints the object of an answer: these facts of it, or as it came. Returns it for a person, who is shown
/// more.
pub(super) fn print_as<T: DeserializeOwned>(
    facts: &[Cell<T>],
    answer: &Answer<T>,
    session: &mut Session<'_>,
) -> Result<Option<T>, CliError> {
    let Some(object) = session.object(answer)? else {
        return Ok(None);
    };
    print_facts(facts, &object, session)?;
    Ok(Some(object))
}

/// Prints a list that came in one answer: these columns of it, or as it came. Returns its items for a person,
/// who is shown more.
pub(super) fn print_list<T: DeserializeOwned>(
    columns: &[Cell<T>],
    list: &Answer<List<T>>,
    nothing: &str,
    session: &mut Session<'_>,
) -> Result<Vec<T>, CliError> {
    let Some(List { items, .. }) = session.object(list)? else {
        return Ok(Vec::new());
    };
    let table = table(columns, &items, session.now());
    session.printer.table(&table, nothing)?;
    Ok(items)
}

/// Prints these facts of an object.
pub(super) fn print_facts<T>(
    facts: &[Cell<T>],
    object: &T,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let now = session.now();
    let facts = facts.iter();
    let facts: Vec<(&str, String)> = facts
        .map(|(title, text)| (*title, text(object, now)))
        .collect();
    session.printer.facts(&facts)
}

/// The cells of a row.
pub(super) fn cells<T>(columns: &[Cell<T>], object: &T, now: UnixTime) -> Vec<String> {
    columns.iter().map(|(_, text)| text(object, now)).collect()
}

/// A table of some objects.
pub(super) fn table<'o, T: 'o>(
    columns: &[Cell<T>],
    objects: impl IntoIterator<Item = &'o T>,
    now: UnixTime,
) -> Table {
    let titles: Vec<&'static str> = columns.iter().map(|(title, _)| *title).collect();
    let mut table = Table::new(&titles);
    for object in objects {
        table.row(cells(columns, object, now));
    }
    table
}

/// Reports a removal. The API's answer is empty, so JSON readers get an object of this program.
pub(super) fn removed(name: &str, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(&json!({ "removed": name }));
    }
    session.printer.hint(&format!("Removed {name}."));
    Ok(())
}

/// `required`, or nothing.
pub(super) fn dpop(required: bool) -> String {
    if required { "required" } else { "" }.to_owned()
}
