//! Label-by-label counts as a shaded table or, with many classes, as a heat map and a list of the
//! largest cells. A table rather than an image, so that names wrap, can be searched and are
//! available to screen readers.

use minijinja::Value;
use serde::Serialize;

use super::{
    Class, chart,
    number::{count, percent, share},
};

/// Maximum number of classes for a table of numbers to be legible.
const LARGEST_TABLE: usize = 16;
/// Maximum number of classes for horizontal column heads.
const LARGEST_UPRIGHT: usize = 3;
/// Maximum length of a column head: horizontal (it wraps) and rotated.
const HEADS: (usize, usize) = (48, 24);
/// Cells listed beside a heat map.
const LISTED: usize = 15;

/// The values for the template, which escapes every text.
#[derive(Debug, Serialize)]
pub(crate) struct Matrix {
    /// Column heads; empty if the matrix is shown as a heat map.
    heads: Vec<Head>,
    /// Whether column heads are horizontal.
    upright: bool,
    rows: Vec<Line>,
    /// The heat map of a large matrix.
    map: Option<Value>,
    /// The largest cells off the diagonal of a large matrix.
    flows: Vec<Flow>,
}

#[derive(Debug, Serialize)]
struct Head {
    name: String,
    /// The name, truncated to fit; the row of the same class has the full name.
    short: String,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    total: String,
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Cell {
    count: String,
    title: String,
    /// `same` on the diagonal, `other` off it, `none` for nothing.
    kind: &'static str,
    /// Share of the row in percent, which determines the shade.
    level: u32,
}

#[derive(Debug, Serialize)]
struct Flow {
    from: String,
    to: String,
    count: String,
    share: String,
}

impl Matrix {
    /// The table of `counts`, `[from][to]` in the order of `classes`; missing entries count as 0.
    /// `None` if all counts are 0.
    pub(crate) fn new(classes: &[Class], counts: &[Vec<u64>], title: &str) -> Option<Self> {
        let at = |row: usize, column: usize| {
            counts.get(row).and_then(|row| row.get(column)).copied().unwrap_or(0)
        };
        let size = classes.len();
        let total: u64 =
            (0..size).map(|row| (0..size).map(|column| at(row, column)).sum::<u64>()).sum();
        if total == 0 {
            return None;
        }
        if size > LARGEST_TABLE {
            return Some(Self::large(classes, counts, title));
        }
        let upright = size <= LARGEST_UPRIGHT;
        let head = if upright { HEADS.0 } else { HEADS.1 };
        let rows = (0..size)
            .map(|row| {
                let whole: u64 = (0..size).map(|column| at(row, column)).sum();
                let cells = (0..size)
                    .map(|column| {
                        let n = at(row, column);
                        let level = (share(n, whole) * 100.0).round() as u32;
                        Cell {
                            count: count(n),
                            title: format!(
                                "{} → {}: {} of {} ({})",
                                classes[row].name,
                                classes[column].name,
                                count(n),
                                count(whole),
                                percent(share(n, whole))
                            ),
                            kind: match (n, row == column) {
                                (0, _) => "none",
                                (_, true) => "same",
                                (_, false) => "other",
                            },
                            level,
                        }
                    })
                    .collect();
                Line { name: classes[row].name.clone(), total: count(whole), cells }
            })
            .collect();
        Some(Self {
            heads: classes
                .iter()
                .map(|class| Head { name: class.name.clone(), short: shorten(&class.name, head) })
                .collect(),
            upright,
            rows,
            map: None,
            flows: Vec::new(),
        })
    }

    fn large(classes: &[Class], counts: &[Vec<u64>], title: &str) -> Self {
        let size = classes.len();
        let mut flows: Vec<(u64, u64, usize, usize)> = Vec::new();
        for (from, row) in counts.iter().take(size).enumerate() {
            let whole = row.iter().take(size).sum();
            for (to, &n) in row.iter().take(size).enumerate() {
                if n > 0 && from != to {
                    flows.push((n, whole, from, to));
                }
            }
        }
        flows.sort_by_key(|&(n, _, from, to)| (std::cmp::Reverse(n), from, to));
        let flows = flows
            .into_iter()
            .take(LISTED)
            .map(|(n, whole, from, to)| Flow {
                from: classes[from].name.clone(),
                to: classes[to].name.clone(),
                count: count(n),
                share: percent(share(n, whole)),
            })
            .collect();
        let map = Some(Value::from_safe_string(chart::grid(counts, size, title)));
        Self { heads: Vec::new(), upright: false, rows: Vec::new(), map, flows }
    }
}

/// The name in at most `most` characters, truncated with an ellipsis.
fn shorten(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(most - 1).collect();
    short.truncate(short.trim_end().len());
    short + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(n: usize) -> Vec<Class> {
        (0..n).map(|n| Class { name: format!("c{n}"), description: String::new() }).collect()
    }

    #[test]
    fn cells_are_shaded_by_their_row() {
        let matrix = Matrix::new(&classes(2), &[vec![30, 10], vec![0, 5]], "").unwrap();
        assert_eq!(matrix.rows[0].cells[0].level, 75);
        assert_eq!(matrix.rows[0].cells[1].kind, "other");
        assert_eq!(matrix.rows[1].cells[0].kind, "none");
        assert!(matrix.rows[0].cells[1].title.starts_with("c0 → c1: 10 of 40 (25.0"));
        assert!(matrix.upright);
    }

    #[test]
    fn long_heads_are_truncated_between_characters() {
        assert_eq!(shorten("wifi_problem", 24), "wifi_problem");
        assert_eq!(shorten(&"ü".repeat(30), 24), format!("{}…", "ü".repeat(23)));
        assert_eq!(shorten("two words and many more of them", 24), "two words and many more…");
    }

    #[test]
    fn a_ragged_matrix_counts_as_zeros_and_an_empty_one_is_not_shown() {
        assert_eq!(Matrix::new(&classes(3), &[vec![1]], "").unwrap().rows[2].total, "0");
        assert!(Matrix::new(&classes(3), &[], "").is_none());
    }

    #[test]
    fn many_classes_become_a_heat_map_and_a_list() {
        let mut counts = vec![vec![0; 77]; 77];
        (0..77).for_each(|class| counts[class][class] = 30);
        counts[3][9] = 12;
        counts[5][6] = 20;
        let matrix = Matrix::new(&classes(77), &counts, "").unwrap();
        assert!(matrix.map.is_some() && matrix.rows.is_empty());
        let flows: Vec<_> = matrix.flows.iter().map(|flow| (&*flow.from, &*flow.to)).collect();
        assert_eq!(flows, [("c5", "c6"), ("c3", "c9")]);
        assert_eq!(matrix.flows[0].share, percent(0.4));
    }
}
