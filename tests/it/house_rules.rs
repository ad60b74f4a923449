//! The map of `docs/architecture.md`, enforced: who may import whom, which library belongs to which
//! room, who alone makes what. Reads the sources as text, without comments and strings.

mod circles;
mod shape;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from left to right. Each may import those in a later row; rooms of one row never import
/// each other.
const ROWS: [&[&str]; 11] = [
    &["cli", "testing"],
    &["server"],
    &["oauth", "admin"],
    &["host"],
    &["issuer"],
    &["store", "relying_party"],
    &["api"],
    &["domain"],
    &["jose"],
    // Beside the map: only `server` and `cli` use it, and it uses only `ports`, to read secrets from files.
    &["config"],
    &["ports"],
];
/// The files that may read the configuration.
const CONFIGURED: [&str; 2] = ["server", "cli"];

/// The one file of the program that uses what is made for tests: there the simulation is the product.
const SIMULATION: (&str, &str) = ("cli/claude/simulate.rs", "testing");

/// What is allowed only in some places: the words, their paths, and why.
const CONFINED: [Confined; 9] = [
    Confined {
        words: "axum::",
        places: &["server", "oauth", "admin", "testing"],
        why: "HTTP stays in the rooms that speak it",
    },
    Confined {
        words: "sqlx::",
        places: &["store"],
        why: "SQL lives in one room",
    },
    Confined {
        words: "clap::",
        places: &["cli", "config"],
        why: "the command line is parsed where it is run",
    },
    Confined {
        words: "aws_lc_rs::",
        places: CRYPTO,
        why: "cryptography stays where it is reviewed",
    },
    Confined {
        words: "argon2::",
        places: CRYPTO,
        why: "cryptography stays where it is reviewed",
    },
    Confined {
        words: "subtle::",
        places: CRYPTO,
        why: "cryptography stays where it is reviewed",
    },
    Confined {
        words: "std::env",
        places: &["config", "main.rs"],
        why: "the environment is read once",
    },
    Confined {
        words: "AuthenticatedClient {",
        places: &["issuer/authenticate"],
        why: "authentication cannot be bypassed",
    },
    Confined {
        words: "Authorization {",
        places: &["issuer/authorize"],
        why: "authorization cannot be bypassed",
    },
];
const CRYPTO: &[&str] = &["jose", "issuer/secrets.rs", "issuer/sealing.rs"];

struct Confined {
    words: &'static str,
    places: &'static [&'static str],
    why: &'static str,
}

/// A line that is not where the map says.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, rule } = self;
        write!(f, "src/{file}:{line}: {rule}; see docs/architecture.md")
    }
}

/// Checks one file, named by its path below `src/`.
fn check(file: &str, source: &str) -> Vec<Violation> {
    let code = without_comments_and_strings(source);
    let mut violations = Vec::new();
    let mut report = |offset: usize, rule: String| {
        let line = code[..offset].matches('\n').count() + 1;
        violations.push(Violation {
            file: file.to_owned(),
            line,
            rule,
        });
    };
    let room = room_of(file);
    for (offset, other) in imports(file, &code) {
        if (file, other) == SIMULATION {
            continue;
        }
        if let Some(problem) = forbidden(room, other) {
            report(offset, problem);
        }
    }
    for Confined { words, places, why } in CONFINED {
        let is_at_home = places.iter().any(|place| {
            let rest = file.strip_prefix(place);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
        });
        if is_at_home {
            continue;
        }
        for (offset, _) in code.match_indices(words) {
            if !makes_or_uses(&code, offset) {
                continue;
            }
            let places = places.join(", ");
            report(
                offset,
                format!(
                    "`{}` stands only in {places}: {why}",
                    words.trim_end_matches([':', ' ', '{'])
                ),
            );
        }
    }
    violations
}

/// False for the tail of a longer name (`OtherAuthorization {`), a declaration (`struct X {`) and an
/// implementation (`impl X {`, `for X {`).
fn makes_or_uses(code: &str, offset: usize) -> bool {
    let before = &code[..offset];
    if before.ends_with(is_name) {
        return false;
    }
    let last_word = before.trim_end().rsplit(|c| !is_name(c)).next();
    let is_declaration = matches!(last_word, Some("struct" | "enum" | "impl" | "for"));
    // `-> Authorization {` is a return type.
    !is_declaration && !before.trim_end().ends_with("->")
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The room a file is in; `main.rs` and `lib.rs` are above all rooms.
fn room_of(file: &str) -> Option<&str> {
    let first = file.split('/').next().unwrap_or_default();
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(room, "main" | "lib")).then_some(room)
}

fn row(room: &str) -> Option<usize> {
    ROWS.iter().position(|rooms| rooms.contains(&room))
}

/// Why `room` may not import `other`, if it may not.
fn forbidden(room: Option<&str>, other: &str) -> Option<String> {
    let room = room?;
    let (Some(from), Some(to)) = (row(room), row(other)) else {
        let unknown = if row(room).is_none() { room } else { other };
        return Some(format!("`{unknown}` is not a room of the map"));
    };
    if room == other {
        return None;
    }
    if other == "config" {
        return (!CONFIGURED.contains(&room)).then(|| {
            format!(
                "`{room}` reads the configuration; only {} do",
                CONFIGURED.join(" and ")
            )
        });
    }
    if from >= to {
        return Some(format!("`{room}` imports `{other}`, against the arrows"));
    }
    None
}

/// The rooms that the code names, with where: `crate::room`, `crate::{room, other::thing}`, and
/// `super::room` where `super` is the crate itself.
fn imports<'c>(file: &str, code: &'c str) -> Vec<(usize, &'c str)> {
    let is_folder_root = file.ends_with("/mod.rs");
    let depth = file.split('/').count() - usize::from(is_folder_root);
    let up = "super::".repeat(depth);
    let mut found = Vec::new();
    for prefix in ["crate::", "firman::", &up] {
        for (offset, _) in code.match_indices(prefix) {
            let before = &code[..offset];
            if before.ends_with(is_name) || before.ends_with(':') {
                continue;
            }
            let start = offset + prefix.len();
            let names = names_after(code, start);
            // `super` is the crate only when it leads to a room; an inline module's `super` does not.
            let is_crate = prefix != up;
            found.extend(
                names
                    .into_iter()
                    .filter(|(_, name)| is_crate || row(name).is_some()),
            );
        }
    }
    found
}

/// The first names after a path's `::`: one, or those of a `{…}` group.
fn names_after(code: &str, start: usize) -> Vec<(usize, &str)> {
    let name_at = |at: usize| {
        let length = code[at..].find(|c| !is_name(c)).unwrap_or(code.len() - at);
        (at, &code[at..at + length])
    };
    if !code[start..].starts_with('{') {
        return vec![name_at(start)];
    }
    let (mut names, mut level, mut expects_name) = (Vec::new(), 0, false);
    for (offset, c) in code[start..].char_indices() {
        match c {
            '{' => {
                level += 1;
                expects_name = level == 1;
            }
            '}' if level == 1 => break,
            '}' => level -= 1,
            ',' if level == 1 => expects_name = true,
            c if expects_name && is_name(c) => {
                names.push(name_at(start + offset));
                expects_name = false;
            }
            _ => {}
        }
    }
    names
}

/// The source with comments, strings and characters blanked out; lines stay where they are.
fn without_comments_and_strings(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            quoted_length(rest)
        } else if let Some(length) = raw_string_length(rest, code.chars().last()) {
            length
        } else if c == '\'' {
            character_length(rest)
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        let blanked = rest[..length]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' });
        code.extend(blanked);
        rest = &rest[length..];
    }
    code
}

fn quoted_length(rest: &str) -> usize {
    let mut escaped = false;
    for (offset, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return offset + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// The length of `r"…"` or `r#"…"#` at the start of `rest`, unless its `r` ends a name.
fn raw_string_length(rest: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| is_name(c) && c != 'b') {
        return None;
    }
    let hashes = rest.strip_prefix('r')?;
    let count = hashes.find(|c| c != '#')?;
    let body = hashes[count..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(count));
    let open = rest.len() - body.len();
    Some(
        body.find(&end)
            .map_or(rest.len(), |at| open + at + end.len()),
    )
}

/// The length of a character literal; 1 for the quote of a lifetime.
fn character_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some(_)) => rest[3..].find('\'').map_or(1, |at| at + 4),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// A file as far as its tests; nothing of a file of tests.
fn before_tests<'s>(path: &Path, source: &'s str) -> &'s str {
    if path.ends_with("tests.rs") {
        return "";
    }
    let end = source.find("#[cfg(test)]\nmod tests {");
    &source[..end.unwrap_or(source.len())]
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_code_keeps_to_the_map() {
    let src = root().join("src");
    let mut violations = Vec::new();
    let mut imports_seen = 0;
    for path in sources(&src) {
        let file = path
            .strip_prefix(&src)
            .expect("below src")
            .display()
            .to_string();
        let source = fs::read_to_string(&path).expect("a source file");
        imports_seen += imports(&file, &without_comments_and_strings(&source)).len();
        violations.extend(check(&file, &source).iter().map(ToString::to_string));
    }
    assert!(
        imports_seen > 100,
        "the checker sees only {imports_seen} imports: it is blind"
    );
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_method_of_the_store_is_named_in_a_conformance_case() {
    let read = |path: &PathBuf| {
        without_comments_and_strings(&fs::read_to_string(path).expect("a source file"))
    };
    let cases: String = sources(&root().join("tests/conformance"))
        .iter()
        .map(read)
        .collect();
    let mut methods = 0;
    let mut missing = Vec::new();
    for path in sources(&root().join("src/store")) {
        // An error runs no statement; what tests borrow is run by them.
        if path.ends_with("error.rs") || path.ends_with("testing.rs") {
            continue;
        }
        let code = read(&path);
        for marker in ["pub fn ", "pub async fn "] {
            for (at, _) in code.match_indices(marker) {
                let (_, method) = names_after(&code, at + marker.len())[0];
                methods += 1;
                let is_named = [".", "::"]
                    .iter()
                    .any(|before| cases.contains(&format!("{before}{method}(")));
                if !is_named {
                    missing.push(method.to_owned());
                }
            }
        }
    }
    assert!(
        methods > 40,
        "the checker sees only {methods} methods: it is blind"
    );
    assert!(
        missing.is_empty(),
        "no case in tests/conformance calls {}: every store method runs on both engines; see docs/architecture.md",
        missing.join(", ")
    );
}

/// A file, its text, and what is to be said about it.
const BAD: [(&str, &str, &str); 14] = [
    (
        "store/agents.rs",
        "use crate::domain::agent::Agent;\nuse crate::issuer::Issuer;",
        "src/store/agents.rs:2: `store` imports `issuer`, against the arrows; see docs/architecture.md",
    ),
    (
        "oauth/form.rs",
        "fn f() -> crate::admin::Problem {}",
        "src/oauth/form.rs:1: `oauth` imports `admin`, against the arrows; see docs/architecture.md",
    ),
    (
        "cli/serve.rs",
        "use crate::{\n    domain::name::Name,\n    testing::{TestIssuer, TestKey},\n};",
        "src/cli/serve.rs:3: `cli` imports `testing`, against the arrows; see docs/architecture.md",
    ),
    (
        "issuer/mod.rs",
        "use super::host::Host;",
        "src/issuer/mod.rs:1: `issuer` imports `host`, against the arrows; see docs/architecture.md",
    ),
    (
        "issuer/mint.rs",
        "use super::super::host::Host;",
        "src/issuer/mint.rs:1: `issuer` imports `host`, against the arrows; see docs/architecture.md",
    ),
    (
        "issuer/mint.rs",
        "use crate::config::Config;",
        "src/issuer/mint.rs:1: `issuer` reads the configuration; only server and cli do; see docs/architecture.md",
    ),
    (
        "config/parse.rs",
        "use crate::domain::settings::SKEW_SECONDS;",
        "src/config/parse.rs:1: `config` imports `domain`, against the arrows; see docs/architecture.md",
    ),
    (
        "lounge.rs",
        "use crate::domain::name::Name;",
        "src/lounge.rs:1: `lounge` is not a room of the map; see docs/architecture.md",
    ),
    (
        "issuer/mint.rs",
        "/* one\n two */\nuse axum::Json;",
        "src/issuer/mint.rs:3: `axum` stands only in server, oauth, admin, testing: HTTP stays in the rooms that speak it; see docs/architecture.md",
    ),
    (
        "issuer/mint.rs",
        "const Q: char = '\"';\nfn f() { sqlx::query(\"sqlx::\"); }",
        "src/issuer/mint.rs:2: `sqlx` stands only in store: SQL lives in one room; see docs/architecture.md",
    ),
    (
        "issuer/mint.rs",
        "use aws_lc_rs::hmac;",
        "src/issuer/mint.rs:1: `aws_lc_rs` stands only in jose, issuer/secrets.rs, issuer/sealing.rs: cryptography stays where it is reviewed; see docs/architecture.md",
    ),
    (
        "cli/serve.rs",
        "let home = std::env::var(\"HOME\");",
        "src/cli/serve.rs:1: `std::env` stands only in config, main.rs: the environment is read once; see docs/architecture.md",
    ),
    (
        "issuer/mint.rs",
        "let client = AuthenticatedClient { aggregate };",
        "src/issuer/mint.rs:1: `AuthenticatedClient` stands only in issuer/authenticate: authentication cannot be bypassed; see docs/architecture.md",
    ),
    (
        "oauth/token_endpoint.rs",
        "Ok(Authorization { target })",
        "src/oauth/token_endpoint.rs:1: `Authorization` stands only in issuer/authorize: authorization cannot be bypassed; see docs/architecture.md",
    ),
];

#[test]
fn the_checker_finds_what_is_wrong() {
    for (file, source, expected) in BAD {
        let found: Vec<String> = check(file, source)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, [expected], "{file}: {source}");
    }
}

#[test]
fn the_checker_leaves_alone_what_is_right() {
    for (file, source) in [
        (
            "oauth/form.rs",
            "use crate::issuer::{Caller, Issuer};\nuse super::Shared;",
        ),
        (
            "admin/roles.rs",
            "use super::issuer::show; // crate::oauth::x\n/// crate::oauth::y",
        ),
        ("cli/config.rs", "use crate::config::Config;"),
        (
            "store/rows.rs",
            "const A: &str = \"crate::cli axum:: \\\" std::env\";",
        ),
        (
            "store/rows.rs",
            "const A: &str = r#\"use crate::cli; \" axum::\"#; fn f<'a>(b: &'a str) {}",
        ),
        ("issuer/mint.rs", "fn f() -> Authorization { decide() }"),
        ("issuer/sealing.rs", "use aws_lc_rs::aead::Nonce;"),
        (
            "main.rs",
            "fn main() { firman::cli::run(std::env::args_os()); }",
        ),
    ] {
        assert_eq!(check(file, source), [], "{file}: {source}");
    }
}
