//! What differs between two states of a task: classes, examples and test texts that came, went or
//! changed. Texts count, not files: another column name or file format is no change.
//!
//! A class was renamed if the new task says so (`formerly = "old name"`), or if one class that is
//! gone and one that is new have the same description or the same examples. Where that fits more
//! than one class, nothing is guessed: the class is removed, another is added, and
//! [`TaskChange::unclear`] names them.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{LabelledText, Task, is_false};

/// The difference between two states of a task. Classes are given by name; names are those of the
/// later task, except in [`Self::removed`] and on the left of [`Self::renamed`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskChange {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Former and present name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<String, String>,
    /// Classes whose description changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub described: Vec<String>,
    /// Removed classes that may be one of several added ones: (former name, candidates).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unclear: Unclear,
    /// Whether the classes that stay stand in another order.
    #[serde(skip_serializing_if = "is_false")]
    pub reordered: bool,
    #[serde(skip_serializing_if = "TextsChange::is_empty")]
    pub seeds: TextsChange,
    #[serde(skip_serializing_if = "TextsChange::is_empty")]
    pub test: TextsChange,
    #[serde(skip_serializing_if = "TextsChange::is_empty")]
    pub pool: TextsChange,
    /// Examples per class in prompts, before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shots: Option<(usize, usize)>,
    /// Whether `item` or `items` changed.
    #[serde(skip_serializing_if = "is_false")]
    pub words: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub name: bool,
}

/// The difference between two lists of labelled texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextsChange {
    pub added: usize,
    pub removed: usize,
    /// Texts of both lists that have another label now; a renamed class is the same label.
    pub relabelled: usize,
    /// Whether the texts are the same in another order.
    pub reordered: bool,
}

impl TaskChange {
    /// What differs in `after` from `before`.
    pub(crate) fn between(before: &Task, after: &Task) -> Self {
        let names = |task: &Task| -> Vec<String> {
            task.classes.iter().map(|class| class.name.clone()).collect()
        };
        let (old, new) = (names(before), names(after));
        let mut removed: Vec<String> =
            old.iter().filter(|name| !new.contains(name)).cloned().collect();
        let mut added: Vec<String> =
            new.iter().filter(|name| !old.contains(name)).cloned().collect();
        let (renamed, unclear) = renames(before, after, &removed, &added);
        removed.retain(|name| !renamed.contains_key(name));
        added.retain(|name| !renamed.values().any(|now| now == name));
        let now = |name: &String| renamed.get(name).unwrap_or(name).clone();

        let stay: Vec<String> = old.iter().map(now).filter(|name| new.contains(name)).collect();
        let reordered = !stay.iter().eq(new.iter().filter(|name| stay.contains(name)));
        let description = |task: &Task, name: &str| {
            task.class_index(name).map(|class| task.classes[class].described().into_owned())
        };
        let described = old
            .iter()
            .filter(|name| {
                let then = description(before, name);
                description(after, &now(name)).is_some_and(|text| Some(text) != then)
            })
            .map(now)
            .collect();
        let texts = |old: &[LabelledText], new: &[LabelledText]| {
            let labelled = |task: &Task, texts: &[LabelledText]| -> Vec<(String, String)> {
                let name = |label: usize| task.classes[label].name.clone();
                texts.iter().map(|text| (text.text.clone(), name(text.label))).collect()
            };
            let old = labelled(before, old).into_iter().map(|(text, label)| (text, now(&label)));
            TextsChange::between(&old.collect::<Vec<_>>(), &labelled(after, new))
        };
        Self {
            described,
            unclear,
            reordered,
            seeds: texts(&before.seeds, &after.seeds),
            test: texts(&before.test, &after.test),
            pool: texts(&before.pool, &after.pool),
            shots: (before.shots != after.shots).then_some((before.shots, after.shots)),
            words: (&before.item, &before.items) != (&after.item, &after.items),
            name: before.name != after.name,
            added,
            removed,
            renamed,
        }
    }

    /// Whether nothing that counts differs.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The present name of the class that was called `name`; `None` if it was removed.
    pub(crate) fn present_name<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self.renamed.get(name) {
            Some(now) => Some(now),
            None => (!self.removed.iter().any(|gone| gone == name)).then_some(name),
        }
    }

    /// Whether prompts can differ: everything but the test set, the pool and the task's name.
    pub(crate) fn reaches_prompts(&self) -> bool {
        let harmless = Self {
            test: self.test,
            pool: self.pool,
            name: self.name,
            unclear: self.unclear.clone(),
            ..Self::default()
        };
        *self != harmless
    }

    /// The changes in words, one phrase for each.
    pub(crate) fn phrases(&self) -> Vec<String> {
        let mut phrases: Vec<String> =
            self.added.iter().map(|name| format!("class `{name}` added")).collect();
        phrases.extend(self.removed.iter().map(|name| format!("class `{name}` removed")));
        let renamed = self.renamed.iter();
        phrases.extend(renamed.map(|(old, new)| format!("class `{old}` renamed to `{new}`")));
        let described = self.described.iter();
        phrases.extend(described.map(|name| format!("description of `{name}` changed")));
        phrases.extend(self.reordered.then(|| "order of the classes changed".to_owned()));
        phrases.extend(self.seeds.phrase("example", "examples"));
        phrases.extend(self.test.phrase("test text", "test texts"));
        phrases.extend(self.pool.phrase("text of the pool", "texts of the pool"));
        phrases.extend(self.shots.map(|(old, new)| format!("shots {new} instead of {old}")));
        phrases.extend(self.words.then(|| "`item` or `items` changed".to_owned()));
        phrases.extend(self.name.then(|| "name changed".to_owned()));
        phrases
    }
}

impl TextsChange {
    /// What differs in `after` from `before`; both hold pairs of a text and its label.
    fn between(before: &[(String, String)], after: &[(String, String)]) -> Self {
        let mut old: HashMap<&str, Vec<&str>> = HashMap::new();
        for (text, label) in before {
            old.entry(text).or_default().push(label);
        }
        let mut unmatched = Vec::new();
        for (text, label) in after {
            let labels = old.get_mut(text.as_str());
            let same = labels.and_then(|labels| {
                let place = labels.iter().position(|other| other == label)?;
                Some(labels.swap_remove(place))
            });
            if same.is_none() {
                unmatched.push(text.as_str());
            }
        }
        let (mut added, mut relabelled) = (0, 0);
        for text in unmatched {
            match old.get_mut(text).and_then(Vec::pop) {
                Some(_) => relabelled += 1,
                None => added += 1,
            }
        }
        let removed = old.values().map(Vec::len).sum();
        let same = added == 0 && relabelled == 0 && removed == 0;
        Self { added, removed, relabelled, reordered: same && before != after }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Such as "3 examples added, 1 removed"; `None` if nothing changed. The texts are called
    /// `one` and `many`.
    fn phrase(&self, one: &str, many: &str) -> Option<String> {
        let Self { added, removed, relabelled, reordered } = *self;
        if reordered {
            return Some(format!("{many} in another order"));
        }
        let mut parts = Vec::new();
        for (count, how) in [(added, "added"), (removed, "removed"), (relabelled, "relabelled")] {
            let what = if count == 1 { one } else { many };
            match count {
                0 => {}
                count if parts.is_empty() => parts.push(format!("{count} {what} {how}")),
                count => parts.push(format!("{count} {how}")),
            }
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Removed classes that may be one of several added ones: former name, candidates.
type Unclear = Vec<(String, Vec<String>)>;

/// The renamed classes among `removed` and `added`, and those for which several fit.
fn renames(
    before: &Task,
    after: &Task,
    removed: &[String],
    added: &[String],
) -> (BTreeMap<String, String>, Unclear) {
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    for class in &after.classes {
        if let Some(former) = class.formerly.as_ref()
            && removed.contains(former)
            && added.contains(&class.name)
        {
            renamed.insert(former.clone(), class.name.clone());
        }
    }
    let open = |names: &[String], taken: &dyn Fn(&String) -> bool| -> Vec<String> {
        names.iter().filter(|name| !taken(name)).cloned().collect()
    };
    let gone = open(removed, &|name| renamed.contains_key(name));
    // A class that says what it was called before is no candidate for another one.
    let come = open(added, &|name| {
        let class = after.class_index(name).map(|class| &after.classes[class]);
        class.is_some_and(|class| class.formerly.is_some())
    });
    let fits = |old: &String, new: &String| is_same_class(before, old, after, new);
    let mut unclear = Vec::new();
    for old in &gone {
        let candidates: Vec<String> = come.iter().filter(|new| fits(old, new)).cloned().collect();
        let rivals = candidates.iter().flat_map(|new| gone.iter().filter(|other| fits(other, new)));
        match candidates.as_slice() {
            [] => {}
            [only] if rivals.count() == 1 => {
                renamed.insert(old.clone(), only.clone());
            }
            _ => unclear.push((old.clone(), candidates)),
        }
    }
    (renamed, unclear)
}

/// Whether class `old` of `before` and class `new` of `after` have the same description, or the
/// same examples: those of `old` that are still there, at least half of them, all belong to `new`.
fn is_same_class(before: &Task, old: &str, after: &Task, new: &str) -> bool {
    let (Some(old), Some(new)) = (before.class_index(old), after.class_index(new)) else {
        return false;
    };
    let description = &before.classes[old].description;
    if !description.is_empty() && *description == after.classes[new].description {
        return true;
    }
    let texts: HashSet<&str> = before.seeds_of(old).map(|seed| seed.text.as_str()).collect();
    let left: Vec<&LabelledText> =
        after.seeds.iter().filter(|seed| texts.contains(seed.text.as_str())).collect();
    2 * left.len() >= texts.len().max(1) && left.iter().all(|seed| seed.label == new)
}

#[cfg(test)]
mod tests;
