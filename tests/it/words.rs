//! The words that `STYLE.md` rules out, counted by line in the sources and the pages.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Rules 3 to 5 of `STYLE.md`: whole words, in any case.
const AVOIDED: &[&str] = &[
    "nobody",
    "somebody",
    "anybody",
    "whoever",
    "whomever",
    "at present",
    "as yet",
    "for ever",
    "any more",
    "is had with",
    "came of it",
    "such a thing",
    "no such thing",
    "there is no",
    "there are no",
    "is no",
    "is believed",
    "are believed",
    "be believed",
    "was believed",
    "is taken",
    "are taken",
    "be taken",
    "was taken",
    "is told",
    "are told",
    "be told",
    "was told",
    "given out",
    "says of",
    "said of",
    "unless said",
    "by itself",
];

/// Lines with such a word that may stay, by page: those that quote the words.
const ALLOWED: &[(&str, usize)] = &[("STYLE.md", 16)];

#[test]
fn no_line_is_added_that_the_style_rules_out() {
    let mut hits: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in texts() {
        let text = fs::read_to_string(root().join(&path)).expect("a text");
        for (index, line) in text.lines().enumerate() {
            if let Some(word) = avoided(line) {
                let hit = format!("{path}:{}: `{word}`: {}", index + 1, line.trim());
                hits.entry(place(&path)).or_default().push(hit);
            }
        }
    }
    let counts: Vec<(&str, usize)> = hits
        .iter()
        .map(|(place, lines)| (place.as_str(), lines.len()))
        .collect();
    for (place, lines) in &hits {
        let allowed = ALLOWED
            .iter()
            .find(|(name, _)| name == place)
            .map_or(0, |(_, count)| *count);
        assert!(
            lines.len() <= allowed,
            "{place}: {} lines, {allowed} allowed; see STYLE.md\n{}\nall counts: {counts:?}",
            lines.len(),
            lines.join("\n")
        );
    }
}

#[test]
fn the_search_finds_whole_words_in_any_case() {
    let cases = [
        ("/// Nobody reads it.", Some("nobody")),
        ("the key is told, and", Some("is told")),
        ("a \"thing\"; Whoever has it", Some("whoever")),
        ("// Who asks is answered", Some("Who …")),
        ("It ended. Who asks", Some("Who …")),
        ("## Who may do it?", None),
        ("for every agent", None),
        ("is_taken, the key is no longer there", None),
    ];
    for (line, expected) in cases {
        assert_eq!(avoided(line), expected, "{line}");
    }
}

/// The first word of a line that is avoided.
fn avoided(line: &str) -> Option<&'static str> {
    let words: Vec<String> = line
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '\'')))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let text = format!(" {} ", words.join(" ")).replace(" is no longer ", " is not ");
    let found = AVOIDED
        .iter()
        .find(|avoided| text.contains(&format!(" {avoided} ")));
    found.copied().or_else(|| begins_with_who(line))
}

/// A statement that begins with *Who*. A question in a heading is not one.
fn begins_with_who(line: &str) -> Option<&'static str> {
    let is_found = line.match_indices("Who ").any(|(at, _)| {
        let before = line[..at].trim_end();
        at == 0 || before.ends_with(['/', '!', '.', ':']) || before == "//!"
    });
    is_found.then_some("Who …")
}

/// A room of `src/`, or a page.
fn place(path: &str) -> String {
    let mut parts = path.split('/');
    match (parts.next(), parts.next()) {
        (Some("src"), Some(room)) => format!("src/{room}"),
        _ => path.to_owned(),
    }
}

/// The sources and the pages, by their paths below the root.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = fs::read_dir(root())
        .expect("the root")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .collect();
    let mut folders = vec!["src".to_owned(), "docs".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = format!("{folder}/{}", entry.file_name().display());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.ends_with(".rs") || path.ends_with(".md") {
                texts.push(path);
            }
        }
    }
    assert!(texts.len() > 100, "the search is blind");
    texts
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
