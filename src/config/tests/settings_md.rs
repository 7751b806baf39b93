//! `docs/settings.md`, generated: keys and texts come from the doc comments of the settings'
//! structs, defaults from [`Settings::default`].

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Expr, Fields, Item, ItemEnum, ItemStruct, Lit, Meta, Type};
use toml::{Table, Value};

use crate::config::Settings;

/// Where the structs and enums are that settings are made of.
const SOURCES: [&str; 4] = ["src/config", "src/prompt", "src/student", "src/teacher"];

const INTRO: &str = "\
# Settings

<!-- Generated from the doc comments in src/. Do not edit; regenerate it with
     PROMPTMIX_BLESS=1 cargo test --release --lib settings_md -->

A setting has the last of these values that is given:

1. its default;
2. its value in `task.toml`;
3. with `--paper`, the value that restores the published behaviour (`src/config/paper.rs` lists
   these values; sizes and lengths that `task.toml` sets win over them);
4. its value on the command line: `--set table.key=value`, or one of the short forms `--teacher`,
   `--student`, `--seed`, `--deterministic` and `--in-process`.

For example, with this in `task.toml`

```toml
[student]
model = \"distilbert-base-uncased\"
epochs = 3
```

`promptmix run my-task --set student.epochs=10` trains DistilBERT for 10 epochs and takes everything
else from the defaults. A string needs no quotes after `--set`. `promptmix plan my-task` prints the
resulting settings, and `settings.toml` in a run folder contains those of the run.

*Paper* in the descriptions means the value of Sahu et al. (2023), *published code* that of the code
that the authors released with it. *Unset* means that the key is absent.

";

const TASK: &str = "\
## The task

The top of `task.toml`, `[[class]]` and `[data]` describe the task. `text_column` and `label_column`
are shown with their defaults; a class without `description` is allowed but gives a warning.

```toml
";

#[test]
fn settings_md_is_up_to_date() {
    let page = Sources::read().page();
    let path = root().join("docs/settings.md");
    if std::env::var_os("PROMPTMIX_BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let different = page.lines().zip(found.lines()).find(|(wanted, found)| wanted != found);
    assert!(
        page == found,
        "docs/settings.md is not what the doc comments say (first difference: {different:?}); \
         regenerate it: PROMPTMIX_BLESS=1 cargo test --release --lib settings_md",
    );
}

/// Every struct and enum of [`SOURCES`] by its name.
struct Sources {
    structs: BTreeMap<String, Vec<ItemStruct>>,
    enums: BTreeMap<String, Vec<ItemEnum>>,
}

impl Sources {
    fn read() -> Self {
        let mut sources = Self { structs: BTreeMap::new(), enums: BTreeMap::new() };
        for path in SOURCES.iter().flat_map(|folder| rust_files(&root().join(folder))) {
            let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
            for item in file.items {
                match item {
                    Item::Struct(item) => {
                        sources.structs.entry(item.ident.to_string()).or_default().push(item);
                    }
                    Item::Enum(item) => {
                        sources.enums.entry(item.ident.to_string()).or_default().push(item);
                    }
                    _ => {}
                }
            }
        }
        sources
    }

    fn page(&self) -> String {
        let defaults = Table::try_from(Settings::default()).unwrap();
        let mut page = format!("{INTRO}{TASK}{}```\n", task_toml());
        for field in &self.fields("Settings") {
            let item = self.item(&field.kind);
            let table = defaults[&field.name].as_table().unwrap();
            let intro = text(&item.attrs);
            write!(page, "\n## `[{}]`\n\n{intro}\n", field.name).unwrap();
            self.table(&mut page, &field.name, &field.kind, table);
        }
        page
    }

    /// A section for every key of `table`, which the struct `kind` describes.
    fn table(&self, page: &mut String, name: &str, kind: &str, table: &Table) {
        for field in self.fields(kind) {
            if field.is_flattened {
                self.table(page, name, &field.kind, table);
                continue;
            }
            let key = format!("{name}.{}", field.name);
            assert!(!field.text.is_empty(), "{key} has no doc comment");
            write!(page, "\n### `{key}`\n\n{}\n\n", field.text).unwrap();
            let default = table.get(&field.name);
            match self.enums.get(&field.kind) {
                Some(items) => page.push_str(&values(only(&field.kind, items), default.unwrap())),
                None => match default {
                    Some(value) => writeln!(page, "Default: `{}`", short(value)).unwrap(),
                    None => page.push_str("Default: unset\n"),
                },
            }
        }
    }

    fn item(&self, name: &str) -> &ItemStruct {
        only(name, self.structs.get(name).map_or(&[], Vec::as_slice))
    }

    fn fields(&self, name: &str) -> Vec<Field> {
        let Fields::Named(fields) = &self.item(name).fields else { panic!("{name} has no fields") };
        let field = |field: &syn::Field| Field {
            name: field.ident.as_ref().unwrap().to_string(),
            kind: type_name(&field.ty),
            text: text(&field.attrs),
            is_flattened: serde_has(&field.attrs, "flatten"),
        };
        fields.named.iter().map(field).collect()
    }
}

struct Field {
    name: String,
    /// The last segment of the type's path, such as `KvType`.
    kind: String,
    text: String,
    is_flattened: bool,
}

fn only<'a, T>(name: &str, items: &'a [T]) -> &'a T {
    let [item] = items else { panic!("{} definitions of {name}", items.len()) };
    item
}

/// A value as in `task.toml`, small numbers as `4e-5`.
fn short(value: &Value) -> String {
    match value {
        Value::Float(number) if *number != 0.0 && number.abs() < 1e-3 => format!("{number:e}"),
        // A 32-bit number with the digits that it was written with.
        Value::Float(number) if f64::from(*number as f32) == *number => {
            Value::Float(format!("{:?}", *number as f32).parse().unwrap()).to_string()
        }
        other => other.to_string(),
    }
}

/// The values of an enum as a list, the default marked.
fn values(item: &ItemEnum, default: &Value) -> String {
    let mut list = String::from("Values:\n\n");
    for variant in &item.variants {
        let value = serde_case(&item.attrs, &variant.ident.to_string());
        let mark = if default.as_str() == Some(&value) { " (default)" } else { "" };
        let text = text(&variant.attrs).replace('\n', "\n  ");
        let text = if text.is_empty() { text } else { format!(": {text}") };
        writeln!(list, "- `{value}`{mark}{text}").unwrap();
    }
    assert!(list.contains("(default)"), "{} has no value {default}", item.ident);
    list
}

/// The doc comment in Markdown; links to items become plain code.
fn text(attributes: &[Attribute]) -> String {
    let line = |attribute: &Attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let lines: Vec<String> = attributes.iter().filter_map(line).collect();
    lines.join("\n").replace("[`", "`").replace("`]", "`")
}

/// The tokens inside `#[serde(...)]`.
fn serde_tokens(attributes: &[Attribute]) -> impl Iterator<Item = String> {
    let lists = attributes.iter().filter_map(|attribute| attribute.meta.require_list().ok());
    lists.filter(|list| list.path.is_ident("serde")).map(|list| list.tokens.to_string())
}

fn serde_has(attributes: &[Attribute], word: &str) -> bool {
    serde_tokens(attributes).any(|tokens| tokens.contains(word))
}

/// A variant's name as `#[serde(rename_all = "…")]` writes it.
fn serde_case(attributes: &[Attribute], variant: &str) -> String {
    let snake = serde_has(attributes, "snake_case");
    let mut value = String::new();
    for (at, letter) in variant.chars().enumerate() {
        if snake && at > 0 && letter.is_uppercase() {
            value.push('_');
        }
        value.extend(letter.to_lowercase());
    }
    value
}

fn type_name(kind: &Type) -> String {
    match kind {
        Type::Path(path) => path.path.segments.last().unwrap().ident.to_string(),
        _ => String::new(),
    }
}

/// The commented `task.toml` at the top of `src/task/mod.rs`.
fn task_toml() -> String {
    let source = fs::read_to_string(root().join("src/task/mod.rs")).unwrap();
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let block = lines.skip_while(|line| *line != "```toml").skip(1);
    let block: String =
        block.take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
    block.parse::<Table>().expect("the example in src/task/mod.rs is TOML");
    block
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
