//! Bars, whiskers and columns as inline SVG.
//!
//! No `viewBox`: lengths across are percent of the width at hand and lengths down are pixels, so a
//! chart fills a phone or a sheet of paper while its letters keep their size. Colours are classes that
//! the page's style sheet fills in, for light, dark and print.

use std::fmt::Write as _;

use super::AlphaShare;
use super::number::{count, share, whole_percent};
use crate::eval::{Interval, wilson};

/// Escapes a text for element content and quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A share as a place across, kept on the canvas.
fn across(share: f64) -> f64 {
    if share.is_finite() { (share * 100.0).clamp(0.0, 100.0) } else { 0.0 }
}

fn open(height: u32, class: &str, title: &str) -> String {
    format!(
        r#"<svg class="{class}" role="img" width="100%" height="{height}" xmlns="http://www.w3.org/2000/svg"><title>{}</title>"#,
        escape(title)
    )
}

/// One bar of 0 to 100 % with its interval as a whisker; `class` colours it, `chance` is a dashed line.
pub(super) fn bar(interval: Interval, class: &str, chance: Option<f64>, title: &str) -> String {
    let mut svg = open(36, "bar", title);
    for quarter in 0..=4 {
        let _ =
            write!(svg, r#"<line class="grid" x1="{0}%" x2="{0}%" y1="0" y2="36"/>"#, quarter * 25);
    }
    let _ = write!(
        svg,
        r#"<rect class="{class}" x="0" y="9" width="{:.2}%" height="18" rx="2"/>"#,
        across(interval.mean)
    );
    if let Some(chance) = chance {
        let _ = write!(
            svg,
            r#"<line class="chance" x1="{0:.2}%" x2="{0:.2}%" y1="0" y2="36"/>"#,
            across(chance)
        );
    }
    whisker(&mut svg, across(interval.low), across(interval.high));
    svg + "</svg>"
}

/// The scale below a stack of [`bar`]s.
pub(super) fn scale() -> String {
    let mut svg =
        String::from(r#"<svg class="bar scale" aria-hidden="true" width="100%" height="18">"#);
    for quarter in 0..=4 {
        let anchor = ["start", "middle", "middle", "middle", "end"][quarter];
        let unit = if quarter == 4 { "\u{202f}%" } else { "" };
        let _ = write!(
            svg,
            r#"<text x="{0}%" y="13" text-anchor="{anchor}">{0}{unit}</text>"#,
            quarter * 25
        );
    }
    svg + "</svg>"
}

/// A difference as a dot with a whisker about zero, on a scale of `±reach`.
pub(super) fn difference(interval: Interval, reach: f64, title: &str) -> String {
    let place = |value: f64| across(0.5 + value / (2.0 * reach));
    let mut svg = open(30, "bar", title);
    for edge in [0, 100] {
        let _ = write!(svg, r#"<line class="grid" x1="{edge}%" x2="{edge}%" y1="0" y2="30"/>"#);
    }
    svg.push_str(r#"<line class="zero" x1="50%" x2="50%" y1="0" y2="30"/>"#);
    let class = if interval.includes_zero() { "dot unsure" } else { "dot" };
    svg.push_str(r#"<g transform="translate(0 -3)">"#);
    whisker(&mut svg, place(interval.low), place(interval.high));
    svg.push_str("</g>");
    let _ =
        write!(svg, r#"<circle class="{class}" cx="{:.2}%" cy="15" r="5"/>"#, place(interval.mean));
    svg + "</svg>"
}

/// A plain bar of `share` of the width.
pub(super) fn plain(part: f64, class: &str, title: &str) -> String {
    let mut svg = open(22, "bar", title);
    svg.push_str(r#"<rect class="track" x="0" y="4" width="100%" height="14" rx="2"/>"#);
    let _ = write!(
        svg,
        r#"<rect class="{class}" x="0" y="4" width="{:.2}%" height="14" rx="2"/>"#,
        across(part)
    );
    svg + "</svg>"
}

/// An interval across at height 18, with a halo that keeps it legible on any bar.
fn whisker(svg: &mut String, low: f64, high: f64) {
    for class in ["halo", "whisker"] {
        let _ = write!(
            svg,
            r#"<line class="{class}" x1="{low:.2}%" x2="{high:.2}%" y1="18" y2="18"/><line class="{class}" x1="{low:.2}%" x2="{low:.2}%" y1="13" y2="23"/><line class="{class}" x1="{high:.2}%" x2="{high:.2}%" y1="13" y2="23"/>"#
        );
    }
}

/// Columns: the share relabelled by α, with Wilson's interval and the number of texts.
pub(super) fn columns(by_alpha: &[AlphaShare]) -> String {
    const TOP: f64 = 22.0;
    const FLOOR: f64 = 192.0;
    let mut title = String::from("Share of texts whose label changed, by α:");
    for at in by_alpha {
        let _ = write!(
            title,
            " {:.2}: {} of {};",
            at.alpha,
            whole_percent(share(at.changed, at.total)),
            count(at.total)
        );
    }
    let mut svg = open(234, "columns", title.trim_end_matches(';'));
    let down = |part: f64| FLOOR - (FLOOR - TOP) * part.clamp(0.0, 1.0);
    for quarter in 0..=4 {
        let part = f64::from(quarter) / 4.0;
        let y = down(part);
        let class = if quarter == 0 { "floor" } else { "grid" };
        let _ = write!(svg, r#"<line class="{class}" x1="0" x2="100%" y1="{y:.1}" y2="{y:.1}"/>"#);
        let _ = write!(
            svg,
            r#"<text class="tick" x="-8" y="{:.1}" text-anchor="end">{}</text>"#,
            y + 4.0,
            quarter * 25
        );
    }
    let step = 100.0 / by_alpha.len().max(1) as f64;
    let width = (step * 0.6).min(9.0);
    for (place, at) in by_alpha.iter().enumerate().filter(|(_, at)| at.total > 0) {
        let middle = step * (place as f64 + 0.5);
        let part = share(at.changed, at.total);
        let (y, sure) = (down(part), wilson(at.changed.min(at.total) as usize, at.total as usize));
        let _ = write!(
            svg,
            r#"<rect class="changed" x="{:.2}%" y="{y:.1}" width="{width:.2}%" height="{:.1}"/>"#,
            middle - width / 2.0,
            FLOOR - y
        );
        for class in ["halo", "whisker"] {
            let _ = write!(
                svg,
                r#"<line class="{class}" x1="{middle:.2}%" x2="{middle:.2}%" y1="{:.1}" y2="{:.1}"/>"#,
                down(sure.low),
                down(sure.high)
            );
        }
        let _ = write!(
            svg,
            r#"<text class="value" x="{middle:.2}%" y="{:.1}" text-anchor="middle">{:.0}</text><text class="alpha" x="{middle:.2}%" y="{:.0}" text-anchor="middle">{:.2}</text><text class="tick" x="{middle:.2}%" y="{:.0}" text-anchor="middle">{}</text>"#,
            down(sure.high) - 6.0,
            part * 100.0,
            FLOOR + 19.0,
            at.alpha,
            FLOOR + 37.0,
            count(at.total)
        );
    }
    let _ = write!(
        svg,
        r#"<text class="tick" x="-8" y="{:.0}" text-anchor="end">α</text><text class="tick" x="-8" y="{:.0}" text-anchor="end">n</text></svg>"#,
        FLOOR + 19.0,
        FLOOR + 37.0
    );
    svg
}

/// A matrix too large for numbers: one small square per cell that holds anything, shaded by row.
pub(super) fn map(matrix: &[Vec<u64>], classes: usize, title: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_stays_on_the_canvas() {
        let svg =
            bar(Interval { mean: 0.812, low: 0.79, high: 1.2 }, "student", Some(0.5), "a < b");
        assert!(
            svg.contains(r#"width="81.20%""#) && svg.contains(r#"x1="79.00%" x2="100.00%""#),
            "{svg}"
        );
        assert!(svg.contains("<title>a &lt; b</title>") && svg.contains(r#"role="img""#));
        assert!(svg.contains(r#"class="chance" x1="50.00%""#));
        let lost = bar(Interval { mean: f64::NAN, low: 0.0, high: 0.0 }, "student", None, "");
        assert!(!lost.contains("NaN"));
    }

    #[test]
    fn columns_name_every_alpha_and_skip_empty_ones() {
        let svg = columns(&[
            AlphaShare { alpha: 0.55, total: 40, changed: 10 },
            AlphaShare { alpha: 0.6, total: 0, changed: 0 },
        ]);
        assert!(svg.contains("0.55: 25\u{202f}% of 40; 0.60: 0\u{202f}% of 0</title>"), "{svg}");
        assert!(svg.contains(r#"y="149.5""#), "a quarter of 170 above the floor at 192: {svg}");
        assert_eq!(svg.matches("<rect").count(), 1);
        assert!(!columns(&[]).contains("inf"));
    }
}
