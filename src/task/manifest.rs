//! Parses `task.toml`: every key with its place, without reading the files it names.
//!
//! It does not use serde, which stops at the first fault and does not keep the places of valid
//! values. The tables of later stages are kept unparsed.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{
    fault::{Problem, ROOT_KEYS},
    limits::MAX_NAME,
    names,
    read::{ColumnSettings, Columns, Faults, LabelColumn, Lines},
};

/// The file's name in faults.
pub(super) const FILE: &str = "task.toml";

/// The keys of a class.
const CLASS_KEYS: [&str; 5] = ["name", "title", "description", "formerly", "none_of_these"];
/// The tables that are read here.
const TABLES: [&str; 2] = ["class", "data"];
/// The tables of later stages.
const SETTINGS: [&str; 8] =
    ["teacher", "augment", "relabel", "label", "filter", "student", "run", "audit"];

/// A value and its line and column.
pub(super) type Placed<T> = (T, (usize, usize));

/// The number of seeds per class that the file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shots {
    /// Some of each class: what is shown where the file says nothing.
    Some,
    /// All of each class.
    All,
    /// Exactly this many.
    Exactly(usize),
}

pub(super) struct ClassEntry {
    pub name: Placed<String>,
    pub title: Option<String>,
    pub description: String,
    /// The name before it was renamed.
    pub formerly: Option<Placed<String>>,
    /// Where it says that its texts belong to none of the others, if it does.
    pub none_of_these: Option<(usize, usize)>,
}

/// A file of labelled texts.
pub(super) struct DataFile {
    pub name: String,
    /// Where `task.toml` names it.
    pub place: (usize, usize),
    pub columns: Columns,
}

pub(super) struct Manifest {
    pub name: Option<String>,
    pub item: String,
    pub items: String,
    pub shots: Placed<Shots>,
    pub classes: Vec<ClassEntry>,
    /// Whether all declared classes are in `classes`. If not, an unknown label may belong to a
    /// class that could not be read, and is no fault.
    pub classes_valid: bool,
    pub seeds: Option<DataFile>,
    pub test: Option<DataFile>,
    pub pool: Option<DataFile>,
    /// Its columns have no label.
    pub unlabelled: Option<DataFile>,
    pub settings: toml::Table,
}

/// Reads the tables of one file and collects their faults.
struct Parser<'a> {
    lines: Lines<'a>,
    faults: &'a mut Faults,
}

type Entry<'t, 'i> = &'t Spanned<DeValue<'i>>;

/// Parses `task.toml`; `None` if it is not valid TOML.
pub(super) fn parse(text: &str, faults: &mut Faults) -> Option<Manifest> {
    let lines = Lines::of(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    let whole = toml::from_str::<toml::Table>(text);
    let late = whole.as_ref().err().filter(|_| errors.is_empty());
    for error in errors.iter().chain(late) {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        faults.add(FILE, lines.place(at), Problem::InvalidToml { message });
    }
    let settings = whole.ok().filter(|_| errors.is_empty())?;
    let settings =
        settings.into_iter().filter(|(key, _)| SETTINGS.contains(&key.as_str())).collect();

    Some(Parser { lines, faults }.root(root.get_ref(), settings))
}

/// The line and column of the key at `path` (one key per table), or of the nearest table above it.
pub(super) fn place_of(text: &str, path: &[&str]) -> (usize, usize) {
    let (root, _) = DeTable::parse_recoverable(text);
    let mut table = root.get_ref();
    let mut at = 0;
    for &key in path {
        let Some((key, value)) = table.get_key_value(key) else {
            break;
        };
        at = key.span().start;
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    Lines::of(text).place(at)
}

impl Parser<'_> {
    fn root(&mut self, root: &DeTable<'_>, settings: toml::Table) -> Manifest {
        for (key, value) in root {
            if SETTINGS.contains(&&**key.get_ref()) {
                self.table(key.get_ref(), value);
            } else {
                self.check_key(key, FILE, &[&ROOT_KEYS[..], &TABLES].concat(), &SETTINGS);
            }
        }
        let item = self.string(root, "item");
        let item = item.map_or_else(|| "message".to_owned(), |(item, _)| item);
        let items = self.string(root, "items");
        let items = items.map_or_else(|| format!("{item}s"), |(items, _)| items);
        let (classes, classes_valid) = self.classes(root);
        let mut manifest = Manifest {
            name: self.string(root, "name").map(|(name, _)| name),
            item,
            items,
            shots: self.shots(root),
            classes,
            classes_valid,
            seeds: None,
            test: None,
            pool: None,
            unlabelled: None,
            settings,
        };
        if let Some(data) = root.get("data").and_then(|data| self.table("data", data)) {
            const KNOWN: [&str; 6] =
                ["seeds", "test", "pool", "unlabelled", "text_column", "label_column"];
            for key in data.keys() {
                self.check_key(key, "[data]", &KNOWN, &[]);
            }
            let mut columns = Columns::labelled(&[], None, ColumnSettings::Manifest);
            self.add_columns(data, &mut columns);
            manifest.seeds = self.data_file(data, "seeds", &columns);
            manifest.test = self.data_file(data, "test", &columns);
            manifest.pool = self.data_file(data, "pool", &columns);
            columns.label = None;
            manifest.unlabelled = self.data_file(data, "unlabelled", &columns);
        }
        manifest
    }

    /// The classes, and whether all of them could be read.
    fn classes(&mut self, root: &DeTable<'_>) -> (Vec<ClassEntry>, bool) {
        let before = self.faults.0.len();
        let mut classes: Vec<ClassEntry> = Vec::new();
        let mut declared = 0;
        match root.get("class").map(|value| (value, value.get_ref())) {
            Some((_, DeValue::Array(entries))) => {
                declared = entries.len();
                for entry in entries {
                    if let Some(class) = self.class(entry, &classes) {
                        classes.push(class);
                    }
                }
            }
            Some((value, _)) => self.wrong_type("class", "tables, each under [[class]]", value),
            None => {}
        }
        self.check_former_names(&classes);
        if self.faults.0.len() == before && declared < 2 {
            let problem = Problem::TooFewClasses { found: declared };
            self.faults.add(FILE, (1, 1), problem);
        }
        (classes, self.faults.0.len() == before)
    }

    fn class(&mut self, entry: Entry<'_, '_>, others: &[ClassEntry]) -> Option<ClassEntry> {
        let table = self.table("class", entry)?;
        for key in table.keys() {
            self.check_key(key, "[[class]]", &CLASS_KEYS, &[]);
        }
        let description = self.string(table, "description");
        let description = description.map_or_else(String::new, |(text, _)| text.trim().to_owned());
        if !table.contains_key("name") {
            let problem = Problem::MissingKey { table: "[[class]]", key: "name" };
            self.add(entry.span().start, problem);
        }
        let (name, place) = self.string(table, "name")?;
        if let Some(reason) = bad_name(&name) {
            let problem = Problem::BadClassName { class: name, reason };
            self.faults.add(FILE, place, problem);
            return None;
        }
        let folded = names::folded(&name);
        if let Some(first) = others.iter().find(|other| names::folded(&other.name.0) == folded) {
            let (other, line) = (first.name.0.clone(), first.name.1.0);
            let problem = match other == name {
                true => Problem::DuplicateClass { class: name, first: line },
                false => Problem::TwinClass { class: name, other, line },
            };
            self.faults.add(FILE, place, problem);
            return None;
        }
        let formerly = self.string(table, "formerly");
        let title = self.title(table, (&name, place), others)?;
        let none_of_these = self.none_of_these(table, others)?;
        Some(ClassEntry { name: (name, place), title, description, formerly, none_of_these })
    }

    /// Where the class in `table` says that it is for texts of no other class, if it does; `None`
    /// after a fault.
    fn none_of_these(
        &mut self,
        table: &DeTable<'_>,
        others: &[ClassEntry],
    ) -> Option<Option<(usize, usize)>> {
        const KEY: &str = "none_of_these";
        let Some(value) = table.get(KEY) else { return Some(None) };
        let DeValue::Boolean(is_set) = value.get_ref() else {
            self.wrong_type(KEY, "true or false", value);
            return None;
        };
        let place = is_set.then(|| self.lines.place(value.span().start));
        let first = others.iter().find(|other| other.none_of_these.is_some());
        if let (Some(place), Some(ClassEntry { name: (other, _), .. })) = (place, first) {
            self.faults.add(FILE, place, Problem::SecondNoneOfThese { other: other.clone() });
            return None;
        }
        Some(place)
    }

    /// The title of the class `name`, if it has one; `None` after a fault.
    fn title(
        &mut self,
        table: &DeTable<'_>,
        (name, place): (&str, (usize, usize)),
        others: &[ClassEntry],
    ) -> Option<Option<String>> {
        let title = self.string(table, "title");
        let place = title.as_ref().map_or(place, |(_, place)| *place);
        let title = title.map(|(title, _)| title);
        let shown = |name: &str, title: Option<&String>| {
            names::folded(title.map_or(name, String::as_str)).replace('_', " ")
        };
        let own = shown(name, title.as_ref());
        let twin = others.iter().find(|other| shown(&other.name.0, other.title.as_ref()) == own);
        let class = title.clone().unwrap_or_else(|| name.to_owned());
        let problem = if let Some(reason) = title.as_deref().and_then(bad_name) {
            Problem::BadClassName { class, reason }
        } else if let Some(other) = twin {
            Problem::TwinClass { class, other: other.name.0.clone(), line: other.name.1.0 }
        } else {
            return Some(title);
        };
        self.faults.add(FILE, place, problem);
        None
    }

    /// Adds a fault for each former name that is in use, or that two classes claim.
    fn check_former_names(&mut self, classes: &[ClassEntry]) {
        for (number, class) in classes.iter().enumerate() {
            let Some((name, place)) = &class.formerly else { continue };
            let claims = |other: &ClassEntry| {
                other.formerly.as_ref().is_some_and(|(former, _)| former == name)
            };
            let reason = if classes.iter().any(|other| other.name.0 == *name) {
                "is the name of a class of this task"
            } else if classes[..number].iter().any(claims) {
                "is the former name of another class, too"
            } else {
                continue;
            };
            let problem = Problem::BadFormerName { name: name.clone(), reason };
            self.faults.add(FILE, *place, problem);
        }
    }

    /// The file `key` of `[data]`: its name, or a table with its name and its own columns.
    fn data_file(&mut self, data: &DeTable<'_>, key: &str, columns: &Columns) -> Option<DataFile> {
        let value = data.get(key)?;
        let place = self.lines.place(value.span().start);
        let mut columns = columns.clone();
        let DeValue::Table(table) = value.get_ref() else {
            let (name, place) = self.string(data, key)?;
            return Some(DataFile { name, place, columns });
        };
        let known = ["file", "text_column", "label_column"];
        let known = if columns.label.is_some() { &known[..] } else { &known[..2] };
        for key in table.keys() {
            self.check_key(key, "a file of [data]", known, &[]);
        }
        if !table.contains_key("file") {
            let problem = Problem::MissingKey { table: "the table of the file", key: "file" };
            self.add(value.span().start, problem);
        }
        self.add_columns(table, &mut columns);
        self.string(table, "file").map(|(name, _)| DataFile { name, place, columns })
    }

    /// Sets the columns that `table` names.
    fn add_columns(&mut self, table: &DeTable<'_>, columns: &mut Columns) {
        match table.get("text_column").map(|value| (value, value.get_ref())) {
            Some((value, DeValue::Array(names))) => {
                let texts = names.iter().map(|name| name.get_ref().as_str().map(str::to_owned));
                match texts.collect::<Option<Vec<String>>>() {
                    Some(names) if !names.is_empty() => columns.text = names,
                    _ => self.wrong_type("text_column", "a string or an array of strings", value),
                }
            }
            Some((_, DeValue::String(name))) => columns.text = vec![name.to_string()],
            Some((value, _)) => {
                self.wrong_type("text_column", "a string or an array of strings", value);
            }
            None => {}
        }
        if let Some((name, _)) = self.string(table, "label_column") {
            columns.label = Some(LabelColumn::Named(name));
        }
    }

    fn shots(&mut self, root: &DeTable<'_>) -> Placed<Shots> {
        let Some(value) = root.get("shots") else {
            return (Shots::Some, (0, 0));
        };
        let place = self.lines.place(value.span().start);
        let shots = match value.get_ref() {
            DeValue::String(word) if word == "all" => Some(Shots::All),
            DeValue::Integer(number) => {
                usize::from_str_radix(number.as_str(), number.radix()).ok().map(Shots::Exactly)
            }
            _ => None,
        };
        if shots.is_none() {
            self.wrong_type("shots", "a whole number from 0, or \"all\"", value);
        }
        (shots.unwrap_or(Shots::Some), place)
    }

    fn string(&mut self, table: &DeTable<'_>, key: &str) -> Option<Placed<String>> {
        let value = table.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, "a string", value);
            return None;
        };
        Some((text.to_owned(), self.lines.place(value.span().start)))
    }

    fn table<'t, 'i>(&mut self, key: &str, value: Entry<'t, 'i>) -> Option<&'t DeTable<'i>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        self.wrong_type(key, "a table", value);
        None
    }

    /// Adds a fault unless `known` contains `key`; the fault suggests the keys of `also`, too.
    fn check_key(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        table: &'static str,
        known: &[&'static str],
        also: &[&'static str],
    ) {
        let name: &str = key.get_ref();
        if !known.contains(&name) {
            let problem =
                Problem::UnknownKey { key: name.to_owned(), table, known: [known, also].concat() };
            self.add(key.span().start, problem);
        }
    }

    fn wrong_type(&mut self, what: &str, expected: &'static str, value: Entry<'_, '_>) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(number) if number.as_str().starts_with('-') => "a negative number",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let problem = Problem::WrongType { what: what.to_owned(), expected, found };
        self.add(value.span().start, problem);
    }

    fn add(&mut self, at: usize, problem: Problem) {
        self.faults.add(FILE, self.lines.place(at), problem);
    }
}

/// Why `name` cannot be used for a class in a prompt; `None` if it can.
pub(super) fn bad_name(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        Some("is empty")
    } else if name.contains(['\n', '\r']) {
        Some("contains a line break")
    } else if name.contains(char::is_control) {
        Some("contains a control character")
    } else if name.trim() != name {
        Some("starts or ends with white space")
    } else if name.chars().nth(MAX_NAME).is_some() {
        Some("has more than 200 characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::task::{Class, Task};

    #[test]
    fn prompts_call_a_class_by_its_title_or_by_its_name_in_words() {
        let toml = |second: &str| {
            format!(
                "[[class]]\nname = \"card_arrival\"\n[[class]]\nname = \"vpn\"\n{second}\n\
                 [data]\nseeds = \"s.csv\"\n"
            )
        };
        let files = [("s.csv", &b"text,label\na,vpn\nb,card_arrival\n"[..])];
        let task = Task::load_embedded(&toml("title = \"VPN access\""), &files).unwrap();
        let shown: Vec<String> = task.classes.iter().map(Class::shown).collect();
        assert_eq!(shown, ["card arrival", "VPN access"]);
        assert_eq!(task.classes[1].described(), "VPN access: ");
        let faults =
            Task::load_embedded(&toml("title = \"Card Arrival\""), &files).unwrap_err().to_string();
        let wanted =
            "task.toml:5:9: class \"Card Arrival\" looks like class \"card_arrival\" on line 2";
        assert!(faults.contains(wanted), "{faults}");
    }

    #[test]
    fn a_class_that_is_none_of_the_others_needs_no_example_and_no_description() {
        let load = |flag: &str, shots: &str| {
            let toml = format!(
                "shots = {shots}\n[[class]]\nname = \"vpn\"\ndescription = \"remote\"\n\
                 [[class]]\nname = \"wifi\"\ndescription = \"network\"\n\
                 [[class]]\nname = \"other\"\n{flag}\n[data]\nseeds = \"s.csv\"\n"
            );
            let files = [("s.csv", &b"text,label\na,vpn\nb,vpn\nc,wifi\nd,wifi\n"[..])];
            Task::load_embedded(&toml, &files).map_err(|error| error.to_string())
        };
        let task = load("none_of_these = true", "2").unwrap();
        assert_eq!((task.none_of_these(), task.warnings.len()), (Some(2), 0));
        assert_eq!(task.named_classes().collect::<Vec<_>>(), [0, 1]);
        assert_eq!((task.even_shots(), task.draw_seeds(1).len()), (2, 4));
        assert!(load("none_of_these = true", "\"all\"").unwrap().with_shots(2).is_ok());
        let refused = load("none_of_these = false", "2").unwrap_err();
        assert!(refused.contains("class \"other\" has no seed"), "{refused}");
        let refused = load("none_of_these = 1", "2").unwrap_err();
        assert!(refused.contains("none_of_these must be true or false"), "{refused}");
        let second = "none_of_these = true\n[[class]]\nname = \"else\"\nnone_of_these = true";
        let wanted = "task.toml:13:17: class \"other\" has none_of_these = true already";
        assert_eq!(load(second, "2").unwrap_err(), wanted);

        // Texts of the class with and without the mark are of different classes.
        let mut plain = task.clone();
        plain.classes[2].none_of_these = false;
        assert_ne!(task.classes[2].described(), plain.classes[2].described());
    }
}
