//! No circles between the files of `src/`: a file that can only be read together with its readers is one
//! file in two pieces. An edge is a path in the code before the tests, in a `use` or where it is used, and
//! leads to the file that defines the thing, through re-exports. A module and those below it are one
//! address, so that what `mod.rs` and its children use of each other does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{before_tests, is_name, root, sources, without_comments_and_strings};

/// Circles that are still there, by the files in them. May only shrink.
const STANDING: &[&[&str]] = &[];

type Module = Vec<String>;

/// The modules of a crate that are files, with what each uses.
#[derive(Default)]
struct Graph {
    edges: BTreeMap<Module, BTreeSet<Module>>,
}

impl Graph {
    /// Of files by their path below `src/`, with their code.
    fn of(files: &[(String, String)]) -> Self {
        let modules: BTreeMap<Module, &str> = files
            .iter()
            .filter(|(file, _)| file != "main.rs")
            .map(|(file, code)| (module_of(file), code.as_str()))
            .collect();
        let mut exports = BTreeMap::new();
        let mut used: Vec<(Module, Module)> = Vec::new();
        for (module, code) in &modules {
            let (declarations, body) = uses(code);
            let mut names = BTreeMap::new();
            for declaration in declarations {
                for leaf in leaves(&declaration.tree) {
                    let Some(path) = absolute(module, &leaf.path, &modules) else {
                        continue;
                    };
                    if declaration.is_public {
                        exports.insert((module.clone(), leaf.name.clone()), path.clone());
                    } else {
                        used.push((module.clone(), path.clone()));
                    }
                    names.insert(leaf.name, path);
                }
            }
            for path in paths(&body) {
                let imported = names.get(&path[0]).map(|start| {
                    let rest = path[1..].iter().cloned();
                    start.iter().cloned().chain(rest).collect()
                });
                let found = imported.or_else(|| absolute(module, &path, &modules));
                used.extend(found.map(|path| (module.clone(), path)));
            }
        }
        let mut graph = Self::default();
        for (module, path) in used {
            let target = defined_in(&path, &modules, &exports);
            let is_kin = target.starts_with(&module) || module.starts_with(&target);
            if !is_kin {
                graph.edges.entry(module).or_default().insert(target);
            }
        }
        graph
    }

    fn reachable(&self, from: &Module) -> BTreeSet<&Module> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&Module> = self.edges.get(from).into_iter().flatten().collect();
        while let Some(module) = open.pop() {
            if seen.insert(module) {
                open.extend(self.edges.get(module).into_iter().flatten());
            }
        }
        seen
    }

    /// The circles, each as the sorted names of its modules.
    fn circles(&self) -> BTreeSet<Vec<String>> {
        let reach: BTreeMap<&Module, BTreeSet<&Module>> = self
            .edges
            .keys()
            .map(|module| (module, self.reachable(module)))
            .collect();
        let mut circles = BTreeSet::new();
        for (module, seen) in &reach {
            let circle: Vec<String> = seen
                .iter()
                .filter(|other| reach.get(*other).is_some_and(|back| back.contains(module)))
                .map(|other| other.join("/"))
                .collect();
            if !circle.is_empty() {
                circles.insert(circle);
            }
        }
        circles
    }

    /// The levels inside a room: files on the longest way from file to file, a circle counted as one file.
    fn levels(&self, room: &str) -> usize {
        fn height(
            graph: &Graph,
            module: &Module,
            room: &str,
            known: &mut BTreeMap<Module, usize>,
        ) -> usize {
            if let Some(height) = known.get(module) {
                return *height;
            }
            // Those on the way here are in a circle with this one.
            known.insert(module.clone(), 0);
            let mut below = 0;
            for other in graph.edges.get(module).into_iter().flatten() {
                if other.first().is_some_and(|first| first == room) {
                    below = below.max(height(graph, other, room, known));
                }
            }
            known.insert(module.clone(), below + 1);
            below + 1
        }
        let mut known = BTreeMap::new();
        let inside = self.edges.keys().filter(|module| module[0] == room);
        inside
            .map(|module| height(self, module, room, &mut known))
            .max()
            .unwrap_or(0)
    }
}

fn module_of(file: &str) -> Module {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" {
        return Vec::new();
    }
    path.split('/').map(str::to_owned).collect()
}

/// The path from the crate on; `None` for one of another crate.
fn absolute(module: &Module, path: &[String], modules: &BTreeMap<Module, &str>) -> Option<Module> {
    let mut start = module.clone();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" | "firman" => return Some(rest[1..].to_vec()),
        "self" => rest = &rest[1..],
        "super" => {
            while let Some((first, tail)) = rest.split_first()
                && first == "super"
            {
                start.pop()?;
                rest = tail;
            }
        }
        child => {
            let mut path = start.clone();
            path.push(child.to_owned());
            if !modules.contains_key(&path) {
                return None;
            }
        }
    }
    start.extend(rest.iter().cloned());
    Some(start)
}

/// The file that defines what a path names, through the re-exports on the way.
fn defined_in(
    path: &[String],
    modules: &BTreeMap<Module, &str>,
    exports: &BTreeMap<(Module, String), Module>,
) -> Module {
    let mut path = path.to_vec();
    // More re-exports than that in a row would be a circle of them.
    for _ in 0..8 {
        let mut depth = 0;
        while depth < path.len() && modules.contains_key(&path[..=depth]) {
            depth += 1;
        }
        let (module, rest) = path.split_at(depth);
        let exported = rest
            .first()
            .and_then(|name| exports.get(&(module.to_vec(), name.clone())));
        match exported {
            Some(target) => path = target.iter().chain(&rest[1..]).cloned().collect(),
            None => return module.to_vec(),
        }
    }
    path
}

struct Declaration {
    tree: String,
    is_public: bool,
}

/// The `use` declarations, and the code without them.
fn uses(code: &str) -> (Vec<Declaration>, String) {
    let (mut declarations, mut body) = (Vec::new(), String::new());
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let (before, from) = rest.split_at(at);
        body.push_str(before);
        let ends_name = before.ends_with(is_name);
        let Some(end) = from.find(';').filter(|_| !ends_name) else {
            body.push_str("use ");
            rest = &from["use ".len()..];
            continue;
        };
        let line = before.rsplit('\n').next().unwrap_or_default();
        declarations.push(Declaration {
            tree: from["use ".len()..end].to_owned(),
            is_public: line.trim_start().starts_with("pub"),
        });
        rest = &from[end..];
    }
    body.push_str(rest);
    (declarations, body)
}

struct Leaf {
    path: Module,
    name: String,
}

/// The paths of a `use` tree, each with the name that it has in the file.
fn leaves(tree: &str) -> Vec<Leaf> {
    let tree = tree.trim();
    if let Some((before, group)) = tree.split_once('{') {
        let inside = group.trim_end().strip_suffix('}').unwrap_or(group);
        let prefix = segments(before);
        let mut found = Vec::new();
        for part in parts(inside) {
            for leaf in leaves(part) {
                let mut path = prefix.clone();
                path.extend(leaf.path);
                if path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                let name = match leaf.name.as_str() {
                    "self" => path.last().cloned().unwrap_or_default(),
                    _ => leaf.name,
                };
                found.push(Leaf { path, name });
            }
        }
        return found;
    }
    let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
    let path = segments(path);
    let name = match alias.trim() {
        "" => path.last().cloned(),
        alias => Some(alias.to_owned()),
    };
    name.map(|name| Leaf { path, name }).into_iter().collect()
}

fn segments(path: &str) -> Module {
    let names = path.split("::").map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The parts of a group between its outer commas.
fn parts(group: &str) -> Vec<&str> {
    let (mut found, mut level, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' => level -= 1,
            ',' if level == 0 => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&group[start..]);
    found.retain(|part| !part.trim().is_empty());
    found
}

/// The paths of two names or more in code.
fn paths(body: &str) -> Vec<Module> {
    let mut found = Vec::new();
    let mut rest = body;
    while let Some(start) = rest.find(is_name) {
        let is_tail = rest[..start].ends_with("::");
        rest = &rest[start..];
        let end = rest
            .find(|c: char| !is_name(c) && c != ':')
            .unwrap_or(rest.len());
        let path = segments(&rest[..end]);
        if path.len() > 1 && !is_tail && rest[..end].contains("::") {
            found.push(path);
        }
        rest = &rest[end..];
    }
    found
}

fn graph() -> Graph {
    let src = root().join("src");
    let files: Vec<(String, String)> = sources(&src)
        .iter()
        .map(|path| {
            let file = path.strip_prefix(&src).expect("below src");
            let source = fs::read_to_string(path).expect("a source file");
            let code = without_comments_and_strings(before_tests(path, &source));
            (file.display().to_string(), code)
        })
        .collect();
    Graph::of(&files)
}

#[test]
fn no_files_need_each_other_in_a_circle() {
    let graph = graph();
    let edges: usize = graph.edges.values().map(BTreeSet::len).sum();
    assert!(
        edges > 500,
        "the checker sees only {edges} edges: it is blind"
    );
    let circles = graph.circles();
    println!(
        "{} circles; {} levels inside issuer/",
        circles.len(),
        graph.levels("issuer")
    );
    let mut problems = Vec::new();
    for circle in &circles {
        let is_known = STANDING
            .iter()
            .any(|known| circle.iter().all(|file| known.contains(&file.as_str())));
        if !is_known {
            problems.push(format!("a circle between files: {}", circle.join(", ")));
        }
    }
    for known in STANDING {
        let is_there = circles
            .iter()
            .any(|circle| circle.iter().map(String::as_str).eq(known.iter().copied()));
        if !is_there {
            problems.push(format!("no longer a circle, shorten STANDING: {known:?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_counter_of_circles_sees_through_groups_re_exports_and_bare_paths() {
    let files = |sources: &[(&str, &str)]| -> Graph {
        let files: Vec<(String, String)> = sources
            .iter()
            .map(|(file, code)| ((*file).to_owned(), (*code).to_owned()))
            .collect();
        Graph::of(&files)
    };
    let graph = files(&[
        ("lib.rs", "pub mod a; pub mod b;"),
        (
            "a/mod.rs",
            "mod one;\nmod two;\npub use one::One;\nuse two::Two;",
        ),
        ("a/one.rs", "use super::{two::{self, Two as T}, Parent};"),
        ("a/two.rs", "fn f() -> crate::b::B { }"),
        ("b.rs", "use std::fmt;\nuse crate::a::One;"),
    ]);
    let expected = ["a/one", "a/two", "b"].map(str::to_owned).to_vec();
    assert_eq!(graph.circles(), BTreeSet::from([expected]));
    assert_eq!(graph.levels("b"), 1);
    let graph = files(&[
        ("a/mod.rs", "mod one;\nmod two;\nuse one::One;"),
        ("a/one.rs", "use super::Parent;\nuse super::two::Two;"),
        ("a/two.rs", "fn f() { self::g(); }"),
    ]);
    assert_eq!(graph.circles(), BTreeSet::new());
    assert_eq!(graph.levels("a"), 2);
}
