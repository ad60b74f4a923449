//! Reads the statements out of the source of `src/store/`, so that none can be left out of the test:
//! every constant, `macro_rules!` and row list that makes SQL is worked out here as the compiler does
//! it, and a text that looks like SQL and is in none of them fails the test.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Rooms without a statement on a table of the schema: the engines' own settings, test databases, and the
/// frame of row lists, which [`Source::row_list`] puts round their constants.
const WITHOUT_STATEMENTS: [&str; 4] = ["engine.rs", "rows.rs", "testing.rs", "transaction.rs"];
/// What no text begins with or holds but SQL.
const LOOKS_LIKE_SQL: [&str; 9] = [
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "DELETE ",
    "WITH ",
    "WHERE ",
    " FROM ",
    "ORDER BY ",
    "VALUES ",
];
/// Rows of a list in the statement that is explained; one alone would be an equality.
const ROWS: usize = 4;

/// The statements by name: the file or folder and the constant, such as `audit LAST_TOKEN`.
pub(super) fn statements() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut statements = BTreeMap::new();
    for path in entries(&folder) {
        let file = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if WITHOUT_STATEMENTS.contains(&file) {
            continue;
        }
        let room = file.trim_end_matches(".rs");
        for (name, sql) in Source::new(room, &code(&path)).statements() {
            let other = statements.insert(format!("{room} {name}"), sql);
            assert!(other.is_none(), "two statements are `{room} {name}`");
        }
    }
    statements
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of the store");
    entries
        .map(|entry| entry.expect("an entry of the store's folder").path())
        .collect()
}

/// The code of a file before its tests; of a folder, that of all its files, which share macros and names.
fn code(path: &Path) -> String {
    if path.is_dir() {
        return entries(path).iter().map(|path| code(path)).collect();
    }
    let source = std::fs::read_to_string(path).expect("a source file of the store");
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    code.to_owned()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

struct Source<'s> {
    room: &'s str,
    tokens: Vec<Token>,
    /// Parameter and body of each macro.
    macros: HashMap<String, (String, usize)>,
    /// Where the texts are that a statement holds.
    used: BTreeSet<usize>,
}

impl<'s> Source<'s> {
    fn new(room: &'s str, code: &str) -> Self {
        Self {
            room,
            tokens: tokens(code),
            macros: HashMap::new(),
            used: BTreeSet::new(),
        }
    }

    fn statements(mut self) -> Vec<(String, String)> {
        self.find_macros();
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            if self.word(at) == Some("const") && self.are(at + 2, &[":", "&", "str", "="]) {
                let name = self.word(at + 1).unwrap_or_default().to_owned();
                found.push((name, self.value(at + 6, None).0));
            } else if self.word(at) == Some("static")
                && self.are(at + 2, &[":", "LazyLock", "<", "RowLists", ">", "="])
            {
                let name = self.word(at + 1).unwrap_or_default().to_owned();
                found.push((name, self.row_list(at + 8)));
            }
        }
        found.retain(|(_, text)| looks_like_sql(text));
        for (at, token) in self.tokens.iter().enumerate() {
            if let Token::Text(text) = token
                && looks_like_sql(text)
            {
                assert!(
                    self.used.contains(&at),
                    "{}.rs holds SQL outside of a constant, where the plan test cannot find it: {text}",
                    self.room
                );
            }
        }
        found
    }

    /// `macro_rules! NAME { ($PARAMETER:…) => { BODY }; }`
    fn find_macros(&mut self) {
        for at in 0..self.tokens.len() {
            if self.word(at) == Some("macro_rules") && self.are(at + 3, &["{", "(", "$"]) {
                let name = self.word(at + 2).unwrap_or_default().to_owned();
                let parameter = self.word(at + 6).unwrap_or_default().to_owned();
                self.macros.insert(name, (parameter, at + 13));
            }
        }
    }

    /// The text of the expression at `at`, and where it ends: a literal, `concat!`, a macro of this file
    /// or the macro's parameter.
    fn value(&mut self, at: usize, parameter: Option<(&str, &str)>) -> (String, usize) {
        match self.tokens.get(at).cloned() {
            Some(Token::Text(text)) => {
                self.used.insert(at);
                (text, at + 1)
            }
            Some(Token::Sign('$'))
                if parameter.is_some_and(|(name, _)| self.word(at + 1) == Some(name)) =>
            {
                (parameter.unwrap_or_default().1.to_owned(), at + 2)
            }
            Some(Token::Word(name)) if self.are(at + 1, &["!", "("]) => {
                let (arguments, end) = self.arguments(at + 3, parameter);
                if name == "concat" {
                    return (arguments.concat(), end);
                }
                let (of_macro, body) = self.macros.get(&name).cloned().unwrap_or_else(|| {
                    panic!("{}.rs: the plan test does not know {name}!", self.room)
                });
                let argument = arguments.concat();
                (self.value(body, Some((&of_macro, &argument))).0, end)
            }
            other => panic!(
                "{}.rs: the plan test cannot read {other:?} in a statement",
                self.room
            ),
        }
    }

    /// The arguments up to the closing parenthesis, and where that ends; numbers as their digits.
    fn arguments(
        &mut self,
        mut at: usize,
        parameter: Option<(&str, &str)>,
    ) -> (Vec<String>, usize) {
        let mut arguments = Vec::new();
        while !self.are(at, &[")"]) {
            if let Some(number) = self
                .word(at)
                .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            {
                arguments.push(number.to_owned());
                at += 1;
            } else {
                let (value, end) = self.value(at, parameter);
                arguments.push(value);
                at = end;
            }
            if self.are(at, &[","]) {
                at += 1;
            }
        }
        (arguments, at + 1)
    }

    /// What `rows.rs` makes of `RowLists::…(…)` behind `at`, for PostgreSQL and [`ROWS`] rows.
    fn row_list(&mut self, at: usize) -> String {
        let made = (at..self.tokens.len())
            .find(|at| self.are(*at, &["RowLists", ":", ":"]))
            .unwrap_or_default()
            + 3;
        let constructor = self.word(made).unwrap_or_default().to_owned();
        let arguments = self.arguments(made + 2, None).0;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match (constructor.as_str(), arguments.as_slice()) {
            ("values", [insert, columns, rest]) => {
                let columns: usize = columns.parse().expect("a number of columns");
                let rows: Vec<String> = (0..ROWS)
                    .map(|row| format!("({})", binds(row * columns, columns)))
                    .collect();
                format!("{insert} VALUES {} {rest}", rows.join(", "))
            }
            ("of_issuer", [select, column]) => {
                format!(
                    "{select} WHERE issuer_id = $1 AND {column} IN ({})",
                    binds(1, ROWS)
                )
            }
            _ => panic!(
                "{}.rs: the plan test does not know RowLists::{constructor}",
                self.room
            ),
        }
    }

    fn word(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some(Token::Word(word)) => Some(word),
            Some(Token::Text(_) | Token::Sign(_)) | None => None,
        }
    }

    fn are(&self, at: usize, expected: &[&str]) -> bool {
        expected
            .iter()
            .enumerate()
            .all(|(offset, expected)| match self.tokens.get(at + offset) {
                Some(Token::Word(word)) => word == expected,
                Some(Token::Sign(sign)) => expected.len() == 1 && expected.starts_with(*sign),
                Some(Token::Text(_)) | None => false,
            })
    }
}

fn looks_like_sql(text: &str) -> bool {
    LOOKS_LIKE_SQL.iter().any(|words| text.contains(words))
}

fn binds(before: usize, count: usize) -> String {
    let binds: Vec<String> = (1..=count)
        .map(|bind| format!("${}", before + bind))
        .collect();
    binds.join(", ")
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if first == '"' {
            let (text, behind) = literal(&rest[1..]);
            tokens.push(Token::Text(text));
            rest = behind;
        } else if first == '\'' {
            // A character such as '"' must not open a text; a lifetime has no second quote.
            let length = rest.strip_prefix("'\\").map_or_else(
                || {
                    rest.char_indices()
                        .nth(2)
                        .filter(|(_, c)| *c == '\'')
                        .map_or(1, |(at, _)| at + 1)
                },
                |escaped| escaped[1..].find('\'').map_or(1, |at| at + 4),
            );
            rest = &rest[length..];
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..length].to_owned()));
            rest = &rest[length..];
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// A text behind its opening quote, and what follows it.
fn literal(rest: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, &rest[at + 1..]),
            '\\' => match characters.next() {
                Some((_, '\n')) => {
                    // A line that goes on: the white space that the next begins with is left out.
                    let (more, behind) = literal(characters.as_str().trim_start());
                    return (text + &more, behind);
                }
                Some((_, escaped)) => text.push(escaped),
                None => break,
            },
            other => text.push(other),
        }
    }
    panic!("a text without its end")
}
