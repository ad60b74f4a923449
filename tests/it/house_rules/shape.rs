//! Sizes and shapes: files that can be read in one go, and structs where a tuple or a nested result would
//! leave the reader to guess.

use std::collections::BTreeMap;
use std::fs;

use super::{before_tests, is_name, root, sources, without_comments_and_strings};

/// Lines of a file before its tests.
const LINES_MAX: usize = 400;

/// Files that are longer, with how long each may be. May only shrink.
const LONGER: &[(&str, usize)] = &[
    ("issuer/agents.rs", 580),
    ("issuer/credentials.rs", 661),
    ("issuer/delegations.rs", 741),
    ("issuer/resources.rs", 529),
    ("issuer/trusted_issuers.rs", 616),
    ("store/agents.rs", 647),
    ("store/credentials.rs", 431),
    ("store/lineage.rs", 482),
];

/// Files with functions that take a tuple, with how many. May only shrink.
const TUPLES: &[(&str, usize)] = &[
    ("issuer/delegations.rs", 1),
    ("issuer/revocation_list.rs", 2),
    ("store/agents.rs", 1),
    ("store/delegations.rs", 1),
    ("store/lineage.rs", 1),
    ("store/trusted_issuer_keys.rs", 1),
];

/// Files with a `Result` in a `Result`. May only shrink.
const NESTED: &[&str] = &[];

/// The functions that take a tuple, directly or behind a reference.
fn takes_a_tuple(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(is_name) {
            continue;
        }
        let rest = &code[at + "fn ".len()..];
        let name: String = rest.chars().take_while(|&c| is_name(c)).collect();
        let Some(parameters) = parameters(&rest[name.len()..]) else {
            continue;
        };
        for parameter in parameters {
            let kind = kind(parameter).trim_start();
            let kind = kind.trim_start_matches('&').trim_start();
            let kind = match kind.strip_prefix('\'') {
                Some(lifetime) => lifetime.trim_start_matches(is_name).trim_start(),
                None => kind,
            };
            let kind = kind.strip_prefix("mut ").unwrap_or(kind).trim_start();
            if kind.starts_with('(') && !kind.starts_with("(dyn ") && !kind.starts_with("()") {
                found.push(name.clone());
            }
        }
    }
    found
}

/// The parameters after a function's name, which its generics may follow.
fn parameters(rest: &str) -> Option<Vec<&str>> {
    let (mut level, mut start, mut found, mut before) = (0, None, Vec::new(), ' ');
    for (at, c) in rest.char_indices() {
        match (c, start) {
            ('<' | '(' | '[' | '{', None | Some(_)) => {
                level += 1;
                if c == '(' && level == 1 {
                    start = Some(at + 1);
                }
            }
            ('>', _) if before == '-' || before == '=' => {}
            ('>' | ')' | ']' | '}', _) => {
                level -= 1;
                if level == 0
                    && let Some(start) = start
                {
                    found.push(&rest[start..at]);
                    return Some(found);
                }
            }
            (',', Some(begun)) if level == 1 => {
                found.push(&rest[begun..at]);
                start = Some(at + 1);
            }
            (';', None) => return None,
            _ => {}
        }
        before = c;
    }
    None
}

/// The type of a parameter: what follows the colon that is not in its pattern.
fn kind(parameter: &str) -> &str {
    let mut level = 0;
    let mut characters = parameter.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '(' | '[' | '{' => level += 1,
            ')' | ']' | '}' => level -= 1,
            ':' if characters.peek().is_some_and(|(_, next)| *next == ':') => {
                characters.next();
            }
            ':' if level == 0 => return &parameter[at + 1..],
            _ => {}
        }
    }
    ""
}

/// Every file below `src/` as far as its tests, by its path there.
fn files() -> Vec<(String, String)> {
    let src = root().join("src");
    let read = |path: &std::path::PathBuf| {
        let file = path.strip_prefix(&src).expect("below src");
        let source = fs::read_to_string(path).expect("a source file");
        let source = before_tests(path, &source).to_owned();
        (file.display().to_string(), source)
    };
    sources(&src).iter().map(read).collect()
}

/// What is more than allowed, and what is allowed in vain.
fn problems(
    found: &BTreeMap<String, usize>,
    allowed: &[(&str, usize)],
    otherwise: usize,
    what: &str,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (file, count) in found {
        let known = allowed.iter().find(|(known, _)| known == file);
        let most = known.map_or(otherwise, |(_, most)| *most);
        if *count > most {
            problems.push(format!("src/{file} has {count} {what}, more than {most}"));
        }
    }
    for (file, _) in allowed {
        if found.get(*file).is_none_or(|count| *count <= otherwise) {
            problems.push(format!(
                "src/{file} needs no exception any longer: remove it here"
            ));
        }
    }
    problems
}

#[test]
fn no_file_is_longer_than_400_lines_before_its_tests() {
    let lines: BTreeMap<String, usize> = files()
        .into_iter()
        .map(|(file, source)| (file, source.lines().count()))
        .collect();
    assert!(lines.len() > 100, "the checker is blind");
    let problems = problems(&lines, LONGER, LINES_MAX, "lines before its tests");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn no_function_takes_a_tuple_and_no_result_is_in_a_result() {
    let (mut tuples, mut nested) = (BTreeMap::new(), Vec::new());
    for (file, source) in files() {
        let code = without_comments_and_strings(&source);
        if code.contains("Result<Result<") {
            nested.push(file.clone());
        }
        let found = takes_a_tuple(&code);
        if !found.is_empty() {
            println!("{file}: {}", found.join(", "));
            tuples.insert(file, found.len());
        }
    }
    let mut problems = problems(
        &tuples,
        TUPLES,
        0,
        "tuples as parameters, where a struct is missing",
    );
    if nested != NESTED {
        problems.push(format!(
            "a Result in a Result: {nested:?}, where {NESTED:?} are allowed, no more and no fewer"
        ));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_checker_tells_tuples_from_what_looks_like_them() {
    for (code, expected) in [
        ("fn f(a: (u8, u8)) {}", true),
        (
            "fn f<'a, F: Fn(u8) -> u8>(a: u8, (b, c): &'a mut (u8, u8)) {}",
            true,
        ),
        (
            "pub async fn f(\n    &self,\n    (a, b): (A<'_>, B),\n) -> C {}",
            true,
        ),
        ("fn f(a: &(dyn Error + 'static)) {}", false),
        ("fn f(a: impl Fn(u8, u8) -> (u8, u8)) -> (u8, u8) {}", false),
        ("fn f(a: &[(u8, u8)], b: Option<(u8, u8)>) {}", false),
        ("fn f(Path((a, b)): Path<(A, B)>) {}", false),
        ("fn f(S { a, .. }: S, (): ()) {}", false),
    ] {
        assert_eq!(!takes_a_tuple(code).is_empty(), expected, "{code}");
    }
}
