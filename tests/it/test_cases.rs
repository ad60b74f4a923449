//! `docs/test-cases.md` describes every case whose id is used in a test's name or in a comment.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The families of cases, as they begin a test's name.
const FAMILIES: [&str; 7] = ["te", "ca", "tx", "ad", "dj", "ht", "fa"];

#[test]
fn every_case_that_a_test_is_named_after_is_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/test-cases.md")).unwrap();
    let described: BTreeSet<String> = page.lines().flat_map(row_ids).collect();
    let mut used = BTreeSet::new();
    for folder in ["src", "tests/it", "tests/conformance"] {
        collect(&root.join(folder), &mut used);
    }
    assert!(used.len() > 150, "the ids are not found any more");
    let missing: Vec<&String> = used.difference(&described).collect();
    assert!(missing.is_empty(), "add to docs/test-cases.md: {missing:?}");
}

#[test]
fn ranges_and_lists_of_ids_are_read_whole() {
    let of_name = |name: &str| ids_of_name(name).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(
        of_name("ca_009_to_012_an_expiry"),
        "CA-009 CA-010 CA-011 CA-012"
    );
    assert_eq!(of_name("te_002_and_003_a_grant_type"), "TE-002 TE-003");
    assert_eq!(
        of_name("ca_016_ca_018_and_ca_019_an_issuer"),
        "CA-016 CA-018 CA-019"
    );
    assert_eq!(of_name("rs_256_is_an_algorithm"), "");
    assert_eq!(
        row_ids("| CA-055 to CA-057 | Keys | Why |").join(" "),
        "CA-055 CA-056 CA-057"
    );
    assert_eq!(
        ids_of_comment("//! HT-012, HT-014 and more").join(" "),
        "HT-012 HT-014"
    );
    assert_eq!(ids_of_comment("SHA-256, RFC-001").join(" "), "");
}

/// The ids that the first cell of a row of the page names.
fn row_ids(line: &str) -> Vec<String> {
    let first = line
        .strip_prefix("| ")
        .and_then(|row| row.split(" |").next());
    first.map(ids_of_comment).unwrap_or_default()
}

fn collect(folder: &Path, used: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, used);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("it/test_cases.rs")
        {
            for line in fs::read_to_string(&path).unwrap().lines() {
                if let Some((_, name)) = line.split_once("fn ") {
                    used.extend(ids_of_name(name));
                }
                if let Some((_, comment)) = line.split_once("//") {
                    used.extend(ids_of_comment(comment));
                }
            }
        }
    }
}

/// `ca_009_to_012_…` is CA-009 to CA-012.
fn ids_of_name(name: &str) -> BTreeSet<String> {
    let mut ids = Ids::default();
    for word in name.split('_') {
        match word {
            "and" => {}
            "to" => ids.is_range = true,
            family if FAMILIES.contains(&family) => ids.family = family.to_owned(),
            number => match number.parse::<u32>() {
                Ok(number) if word.len() == 3 && !ids.family.is_empty() => ids.push(number),
                Ok(_) | Err(_) => break,
            },
        }
    }
    ids.found.into_iter().collect()
}

/// `CA-006 to CA-023` and single ids in a text.
fn ids_of_comment(text: &str) -> Vec<String> {
    let mut ids = Ids::default();
    for word in text.split(|separator: char| separator != '-' && !separator.is_alphanumeric()) {
        match word.split_once('-') {
            Some((family, number))
                if FAMILIES.contains(&family.to_lowercase().as_str())
                    && family == family.to_uppercase() =>
            {
                ids.family = family.to_lowercase();
                if let Ok(number) = number.parse() {
                    ids.push(number);
                }
            }
            _ if word.is_empty() => {}
            _ => ids.is_range = word == "to" && !ids.found.is_empty(),
        }
    }
    ids.found
}

/// The ids read so far.
#[derive(Default)]
struct Ids {
    family: String,
    last: u32,
    is_range: bool,
    found: Vec<String>,
}

impl Ids {
    /// One more number, or the end of a range that began with the last one.
    fn push(&mut self, number: u32) {
        let first = if self.is_range { self.last + 1 } else { number };
        let family = self.family.to_uppercase();
        self.found
            .extend((first..=number).map(|number| format!("{family}-{number:03}")));
        (self.last, self.is_range) = (number, false);
    }
}
