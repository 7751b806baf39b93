//! The structure of `src/`, held to the map at the top of `src/lib.rs`: a module uses only what stands
//! below it there, no two files use each other in a circle, and no file grows too long.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use syn::{
    ItemMod, ItemUse, Macro, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

/// Most lines of a source file.
const FILE_LINES: usize = 500;
/// Most columns of a line.
const COLUMNS: usize = 100;

#[test]
fn modules_use_only_what_stands_below_them() {
    let house = House::read();
    let rows = house.map();
    let row_of = |module: &str| {
        rows.iter().position(|row| row.iter().any(|name| name == module)).unwrap_or_else(|| {
            panic!("src/{module} is not in the map at the top of src/lib.rs; give it a row")
        })
    };
    let mut upward = Vec::new();
    for arrow in &house.arrows {
        let (from, to) = (&arrow.from[0], &arrow.to[0]);
        if from != to && row_of(from) > row_of(to) {
            upward.push(format!("{arrow}: `{from}` stands below `{to}` in the map of src/lib.rs"));
        }
    }
    assert!(upward.is_empty(), "{} arrows run up:\n{}", upward.len(), upward.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let house = House::read();
    let mut graph: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for arrow in house.arrows.iter().filter(|arrow| !arrow.is_within_a_family()) {
        graph.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    let reaches = |from: &Module, goal: &Module| {
        let (mut open, mut seen) = (vec![from], BTreeSet::new());
        while let Some(module) = open.pop() {
            for &next in graph.get(module).into_iter().flatten() {
                if next == goal {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    };
    let circular: Vec<String> = house
        .arrows
        .iter()
        .filter(|arrow| !arrow.is_within_a_family() && reaches(&arrow.to, &arrow.from))
        .map(ToString::to_string)
        .collect();
    assert!(circular.is_empty(), "arrows that close a circle:\n{}", circular.join("\n"));
}

#[test]
fn modules_use_each_other_in_one_direction() {
    let house = House::read();
    let arrows: BTreeMap<(&str, &str), &Arrow> =
        house.arrows.iter().map(|arrow| ((&*arrow.from[0], &*arrow.to[0]), arrow)).collect();
    let both: Vec<String> = arrows
        .iter()
        .filter(|((from, to), _)| from < to)
        .filter_map(|((from, to), one)| Some(format!("{one}\n{}", arrows.get(&(*to, *from))?)))
        .collect();
    assert!(both.is_empty(), "modules that use each other:\n{}", both.join("\n"));
}

#[test]
fn files_and_lines_are_short() {
    let mut long = Vec::new();
    for path in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&path).expect("a source file is readable");
        let name = path.strip_prefix(root()).expect("it lies below the root").display();
        if text.lines().count() > FILE_LINES {
            long.push(format!("{name}: {} lines", text.lines().count()));
        }
        let wide = (1..).zip(text.lines()).filter(|(_, line)| {
            // Tables cannot be wrapped.
            let comment = line.trim_start();
            comment.starts_with("//")
                && !comment.starts_with("//! |")
                && line.chars().count() > COLUMNS
        });
        long.extend(wide.map(|(number, _)| format!("{name}:{number}: over {COLUMNS} columns")));
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder is readable") {
        let path = entry.expect("a source folder is readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// A module by its path from the crate's root: `["teacher", "llama"]`.
type Module = Vec<String>;

/// One file uses what another one defines.
struct Arrow {
    from: Module,
    to: Module,
    file: String,
    line: usize,
    what: String,
}

impl Arrow {
    /// Whether one of the two modules lies inside the other: the `mod.rs` of a folder holds the words
    /// that its files share, and hands out what they define.
    fn is_within_a_family(&self) -> bool {
        self.from.starts_with(&self.to) || self.to.starts_with(&self.from)
    }
}

impl fmt::Display for Arrow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{} uses crate::{}", self.file, self.line, self.what)
    }
}

/// All modules of the crate and the arrows between them; tests are left out.
struct House {
    arrows: Vec<Arrow>,
}

impl House {
    fn read() -> Self {
        let src = root().join("src");
        let mut files = BTreeMap::new();
        for path in rust_files(&src) {
            let relative = path.strip_prefix(&src).expect("it lies below src");
            let mut module: Module = relative
                .with_extension("")
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            if module.last().is_some_and(|last| last == "mod") {
                module.pop();
            }
            if module == ["lib"] || module == ["main"] || module.iter().any(|part| part == "tests")
            {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source file is readable");
            let parsed = syn::parse_file(&text).expect("a source file parses");
            let mut paths = Paths { module: module.clone(), found: Vec::new() };
            paths.visit_file(&parsed);
            files.insert(module, (format!("src/{}", relative.display()), paths.found));
        }
        let names: BTreeMap<Module, Vec<Found>> =
            files.iter().map(|(module, (_, found))| (module.clone(), found.clone())).collect();
        let mut arrows = Vec::new();
        for (module, (file, found)) in &files {
            for path in found {
                let Some(to) = defining_module(&path.path, &names, 0) else { continue };
                if to != *module {
                    arrows.push(Arrow {
                        from: module.clone(),
                        to,
                        file: file.clone(),
                        line: path.line,
                        what: path.path.join("::"),
                    });
                }
            }
        }
        Self { arrows }
    }

    /// The rows of the map in `src/lib.rs`, from the top: the modules that stand in each.
    fn map(&self) -> Vec<Vec<String>> {
        let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs is readable");
        let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | "));
        let names = rows.map(|row| {
            let cell = row.split('|').next().unwrap_or_default();
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        });
        names.filter(|row| !row.is_empty()).collect()
    }
}

/// A path from the crate's root that a file names.
#[derive(Clone)]
struct Found {
    path: Vec<String>,
    line: usize,
    /// The name that a re-export gives it, where it is one.
    exported: Option<String>,
}

/// The module whose file defines what `path` names: as deep as there are files, re-exports followed.
fn defining_module(
    path: &[String],
    files: &BTreeMap<Module, Vec<Found>>,
    depth: usize,
) -> Option<Module> {
    let length = (1..=path.len()).rev().find(|&length| files.contains_key(&path[..length]))?;
    let module = path[..length].to_vec();
    let Some(name) = path.get(length).filter(|_| depth < 8) else { return Some(module) };
    let exported = files[&module].iter().find(|found| found.exported.as_ref() == Some(name));
    let defined = exported.and_then(|found| defining_module(&found.path, files, depth + 1));
    defined.or(Some(module))
}

/// Gathers the paths of one file.
struct Paths {
    module: Module,
    found: Vec<Found>,
}

impl Paths {
    fn note(&mut self, segments: &[String], line: usize, exported: Option<String>) {
        let mut path = self.module.clone();
        let mut rest = segments;
        match segments.first().map(String::as_str) {
            Some("crate") => (path, rest) = (Vec::new(), &segments[1..]),
            Some("self") => rest = &segments[1..],
            Some("super") => {
                while rest.first().is_some_and(|first| first == "super") {
                    path.pop();
                    rest = &rest[1..];
                }
            }
            // Another crate, or a child of this module.
            _ => {}
        }
        path.extend(rest.iter().cloned());
        self.found.push(Found { path, line, exported });
    }

    fn walk(&mut self, tree: &UseTree, before: &mut Vec<String>, public: bool) {
        let export = |name: String| public.then_some(name);
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.walk(&path.tree, before, public);
                before.pop();
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.walk(item, before, public));
            }
            UseTree::Name(name) => {
                let mut path = before.clone();
                if name.ident != "self" {
                    path.push(name.ident.to_string());
                }
                let name = path.last().cloned().unwrap_or_default();
                self.note(&path, tree.span().start().line, export(name));
            }
            UseTree::Rename(rename) => {
                let mut path = before.clone();
                path.push(rename.ident.to_string());
                self.note(&path, tree.span().start().line, export(rename.rename.to_string()));
            }
            UseTree::Glob(_) => self.note(before, tree.span().start().line, None),
        }
    }
}

fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test_only(&item.attrs) {
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_test_only(&item.attrs) {
            let public = !matches!(item.vis, syn::Visibility::Inherited);
            self.walk(&item.tree, &mut Vec::new(), public);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if matches!(segments[0].as_str(), "crate" | "super") {
            self.note(&segments, path.span().start().line, None);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, _: &'ast Macro) {}
}
