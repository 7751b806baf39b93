//! The heat map of a matrix of many classes.

use std::fmt::Write as _;

use super::{super::number::share, escape};

/// A matrix that is too large for numbers: one small square per non-zero cell, shaded by its share
/// of the row.
pub(in super::super) fn grid(matrix: &[Vec<u64>], classes: usize, title: &str) -> String {
    let mut svg = format!(
        r#"<svg class="map" role="img" viewBox="0 0 {classes} {classes}" xmlns="http://www.w3.org/2000/svg"><title>{}</title><rect class="track" width="{classes}" height="{classes}"/>"#,
        escape(title)
    );
    for (row, counts) in matrix.iter().take(classes).enumerate() {
        let whole: u64 = counts.iter().sum();
        for (column, &n) in counts.iter().take(classes).enumerate().filter(|(_, n)| **n > 0) {
            let class = if row == column { "student" } else { "changed" };
            let _ = write!(
                svg,
                r#"<rect class="{class}" x="{column}" y="{row}" width="1" height="1" opacity="{:.2}"/>"#,
                0.15 + 0.85 * share(n, whole)
            );
        }
    }
    svg + "</svg>"
}
