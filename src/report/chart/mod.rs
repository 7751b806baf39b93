//! Charts as inline SVG: bars and whiskers here, each other kind in a file of its own.
//!
//! There is no `viewBox`: horizontal lengths are percentages of the available width and vertical
//! lengths are pixels, so a chart fills any screen or page while its text keeps its size. Colours
//! are CSS classes with values for light mode, dark mode and print.

mod columns;
mod coverage;
mod grid;
mod reliability;
mod scatter;

use std::fmt::Write as _;

pub(super) use columns::columns;
pub(super) use coverage::coverage;
pub(super) use grid::grid;
pub(super) use reliability::reliability;
pub(super) use scatter::{COLOURS, class_mark, hue, kind_class, kind_mark, kind_name, scatter};

use crate::eval::Interval;

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

/// A share as a horizontal position in percent, clamped to the canvas.
fn across(share: f64) -> f64 {
    if share.is_finite() { (share * 100.0).clamp(0.0, 100.0) } else { 0.0 }
}

fn open(height: u32, class: &str, title: &str) -> String {
    format!(
        r#"<svg class="{class}" role="img" width="100%" height="{height}" xmlns="http://www.w3.org/2000/svg"><title>{}</title>"#,
        escape(title)
    )
}

/// Top and bottom of the area of [`frame`].
const TOP: f64 = 8.0;
const FLOOR: f64 = 208.0;

/// The height of the share `part` in a [`frame`] whose vertical axis begins at `bottom`.
fn down(part: f64, bottom: f64) -> f64 {
    FLOOR - (FLOOR - TOP) * across((part - bottom) / (1.0 - bottom)) / 100.0
}

/// The lines and ticks of two axes in percent: the horizontal one from 0, the vertical one from
/// `bottom`, both to 100.
fn frame(svg: &mut String, bottom: f64) {
    for quarter in 0..=4 {
        let part = bottom + (1.0 - bottom) * f64::from(quarter) / 4.0;
        let (y, x) = (down(part, bottom), quarter * 25);
        let line = if quarter == 0 { "floor" } else { "grid" };
        let anchor = ["start", "middle", "middle", "middle", "end"][quarter as usize];
        let _ = write!(
            svg,
            r#"<line class="{line}" x1="0" x2="100%" y1="{y:.1}" y2="{y:.1}"/><text class="tick" x="-8" y="{:.1}" text-anchor="end">{:.0}</text><text class="tick" x="{x}%" y="{:.0}" text-anchor="{anchor}">{x}</text>"#,
            y + 4.0,
            100.0 * part,
            FLOOR + 17.0
        );
    }
}

/// A bar from 0 to 100 % with its interval as a whisker; `class` is its CSS class, `chance` a
/// dashed line.
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

/// A difference as a dot with a whisker, on a scale from -`reach` to `reach`.
pub(super) fn difference(interval: Interval, reach: f64, title: &str) -> String {
    let place = |value: f64| across(0.5 + value / (2.0 * reach));
    let mut svg = open(30, "bar", title);
    for edge in [0, 100] {
        let _ = write!(svg, r#"<line class="grid" x1="{edge}%" x2="{edge}%" y1="0" y2="30"/>"#);
    }
    svg.push_str(r#"<line class="zero" x1="50%" x2="50%" y1="0" y2="30"/>"#);
    let class = if interval.shows_difference() { "dot" } else { "dot unsure" };
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

/// A mean as a bar and its range as a whisker, on a scale from 0 to `scale`.
pub(super) fn spread(range: Interval, scale: f64, class: &str, title: &str) -> String {
    let part = |value: f64| if scale > 0.0 { across(value / scale) } else { 0.0 };
    let mut svg = open(22, "bar", title);
    let _ = write!(
        svg,
        r#"<rect class="track" x="0" y="4" width="100%" height="14" rx="2"/><rect class="{class}" x="0" y="4" width="{:.2}%" height="14" rx="2"/><g transform="translate(0 -7)">"#,
        part(range.mean)
    );
    whisker(&mut svg, part(range.low), part(range.high));
    svg + "</g></svg>"
}

/// A horizontal interval at height 18, with a halo that keeps it legible on any bar.
fn whisker(svg: &mut String, low: f64, high: f64) {
    for class in ["halo", "whisker"] {
        let _ = write!(
            svg,
            r#"<line class="{class}" x1="{low:.2}%" x2="{high:.2}%" y1="18" y2="18"/><line class="{class}" x1="{low:.2}%" x2="{low:.2}%" y1="13" y2="23"/><line class="{class}" x1="{high:.2}%" x2="{high:.2}%" y1="13" y2="23"/>"#
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_begins_at_its_bottom_and_stays_within_itself() {
        let mut svg = String::new();
        frame(&mut svg, 0.8);
        for wanted in [">80</text>", ">85</text>", ">100</text>", r#"y1="58.0""#, r#"x="75%""#] {
            assert!(svg.contains(wanted), "{wanted}: {svg}");
        }
        assert_eq!(svg.matches(r#"class="floor""#).count(), 1);
        assert_eq!(
            [0.5, 0.8, 0.9, 1.0].map(|part| down(part, 0.8).round()),
            [208.0, 208.0, 108.0, 8.0]
        );
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_and_within_the_canvas() {
        let svg = bar(Interval::new(0.812, 0.79, 1.2), "student", Some(0.5), "a < b");
        assert!(
            svg.contains(r#"width="81.20%""#) && svg.contains(r#"x1="79.00%" x2="100.00%""#),
            "{svg}"
        );
        assert!(svg.contains("<title>a &lt; b</title>") && svg.contains(r#"role="img""#));
        assert!(svg.contains(r#"class="chance" x1="50.00%""#));
        let lost = bar(Interval::new(f64::NAN, 0.0, 0.0), "student", None, "");
        assert!(!lost.contains("NaN"));
    }
}
