//! The map of texts: one mark per text, with colour and shape for its class.
//!
//! Colour alone cannot distinguish ten classes, for colour-blind readers not even three. So classes
//! also differ in shape, and colours follow Okabe & Ito (2008), darkened or lightened by the style
//! sheet for contrast with the background. Seeds are larger and have a ring, test errors are
//! crosses. Each mark has its text as a `<title>`, which browsers show on hover.

use std::fmt::Write as _;

use super::{
    super::{Class, Map, Point, PointKind},
    across, escape,
};

/// Number of colours in the style sheet (`--c0` …); tasks with more classes use [`hue`].
pub(in super::super) const COLOURS: usize = 10;
/// Paths around the origin, of similar area: circle, square, triangle, diamond, inverted triangle.
const SHAPES: [&str; 5] = [
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M-3.5 -3.5h7v7h-7z",
    "M0 -4.8L4.7 3.4h-9.4z",
    "M0 -5L5 0L0 5L-5 0z",
    "M0 4.8L4.7 -3.4h-9.4z",
];
/// Maximum number of characters of a text in a mark's title.
const SHOWN: usize = 240;
/// With more seeds, rings are small.
const MANY_SEEDS: usize = 60;
/// Margin at each edge, so that no mark is cut off.
const MARGIN: f64 = 0.025;

/// The name of a kind of point, in the plural.
pub(in super::super) fn kind_name(kind: PointKind) -> &'static str {
    match kind {
        PointKind::Seed => "Seeds",
        PointKind::Synthetic => "Generated texts",
        PointKind::TestError => "Test errors",
    }
}

/// The CSS class of a kind of point.
pub(in super::super) fn kind_class(kind: PointKind) -> &'static str {
    match kind {
        PointKind::Seed => "seed",
        PointKind::Synthetic => "made",
        PointKind::TestError => "error",
    }
}

/// The points of `map` in a square; `label` describes the chart.
pub(in super::super) fn scatter(map: &Map, classes: &[Class], label: &str) -> String {
    let mut svg = format!(
        r#"<svg class="scatter" role="img" aria-label="{}" width="100%" height="100%" xmlns="http://www.w3.org/2000/svg"><defs>"#,
        escape(label)
    );
    // Large rings of many seeds would hide the points around them.
    let seeds = map.points.iter().filter(|point| point.kind == PointKind::Seed).count();
    let (ring, scale) = if seeds > MANY_SEEDS { (6.5, 0.9) } else { (9.5, 1.35) };
    for (number, path) in SHAPES.iter().enumerate() {
        let _ = write!(
            svg,
            r#"<path id="m{number}" d="{path}"/><g id="s{number}"><circle class="ring" r="{ring}"/><path d="{path}" transform="scale({scale})"/></g>"#
        );
    }
    svg.push_str(r#"<path id="mx" d="M-4.5 -4.5L4.5 4.5M4.5 -4.5L-4.5 4.5"/></defs>"#);
    for point in &map.points {
        mark(&mut svg, point, classes);
    }
    svg + "</svg>"
}

fn mark(svg: &mut String, point: &Point, classes: &[Class]) {
    let place = |value: f32| across(MARGIN + (1.0 - 2.0 * MARGIN) * f64::from(value));
    let class_name = |index: usize| classes.get(index).map_or("?", |class| class.name.as_str());
    let (x, y) = (place(point.x), 100.0 - place(point.y));
    let _ = write!(svg, r#"<use class="pt {} c{}"#, kind_class(point.kind), point.class);
    if let Some(predicted) = point.predicted {
        let _ = write!(svg, " p{predicted}");
    }
    let shape = point.class % SHAPES.len();
    let (id, kind) = match point.kind {
        PointKind::Seed => (format!("s{shape}"), "Seed"),
        PointKind::Synthetic => (format!("m{shape}"), "Generated"),
        PointKind::TestError => ("mx".into(), "Test error"),
    };
    let _ = write!(
        svg,
        r##"" href="#{id}" x="{x:.2}%" y="{y:.2}%"><title>{kind}: {}"##,
        escape(class_name(point.class))
    );
    if let Some(predicted) = point.predicted {
        let _ = write!(svg, ", predicted as {}", escape(class_name(predicted)));
    }
    let text: String = point.text.chars().take(SHOWN).collect();
    let ellipsis = if text.len() < point.text.len() { "…" } else { "" };
    let line = if text.is_empty() { "" } else { "\n" };
    let _ = write!(svg, "{line}{}{ellipsis}</title></use>", escape(&text));
}

/// The mark of a class for a legend.
pub(in super::super) fn class_mark(class: usize) -> String {
    let shape = class % SHAPES.len();
    format!(
        r##"<svg class="swatch" aria-hidden="true" width="14" height="14"><use class="pt c{class}" href="#m{shape}" x="7" y="7"/></svg>"##
    )
}

/// The mark of a kind of point for a legend.
pub(in super::super) fn kind_mark(kind: PointKind) -> String {
    let id = match kind {
        PointKind::Seed => "s0",
        PointKind::Synthetic => "m0",
        PointKind::TestError => "mx",
    };
    format!(
        r##"<svg class="swatch" aria-hidden="true" width="22" height="22"><use class="pt {}" href="#{id}" x="11" y="11"/></svg>"##,
        kind_class(kind)
    )
}

/// The hue of a class if there are more classes than colours: multiples of the golden angle, which
/// keeps consecutive classes far apart for any number of them.
pub(in super::super) fn hue(class: usize) -> f64 {
    (class as f64 * 137.507_764).rem_euclid(360.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f32, kind: PointKind, class: usize, predicted: Option<usize>) -> Point {
        Point { x, y: 1.0, kind, class, predicted, text: "a <b> & \"c\"".into() }
    }

    #[test]
    fn every_point_is_drawn_at_its_position_with_a_title() {
        let classes: Vec<Class> = ["one", "<two>"]
            .map(|name| Class { name: name.into(), description: String::new() })
            .to_vec();
        let points = vec![
            point(0.5, PointKind::Synthetic, 0, None),
            point(0.0, PointKind::TestError, 1, Some(0)),
            point(f32::NAN, PointKind::Seed, 9, None),
        ];
        let svg = scatter(&Map { points }, &classes, "Two texts");
        assert!(svg.contains(r##"class="pt made c0" href="#m0" x="50.00%" y="2.50%""##), "{svg}");
        assert!(svg.contains(r##"class="pt error c1 p0" href="#mx" x="2.50%""##), "{svg}");
        assert!(
            svg.contains("Test error: &lt;two&gt;, predicted as one\na &lt;b&gt; &amp;"),
            "{svg}"
        );
        assert!(svg.contains("Seed: ?") && !svg.contains("NaN"), "{svg}");
        assert_eq!(svg.matches("<use").count(), 3);
    }

    #[test]
    fn hues_of_consecutive_classes_differ() {
        for class in 0..100 {
            let apart = (hue(class + 1) - hue(class)).abs();
            assert!((90.0..=270.0).contains(&apart), "{class}: {apart}");
        }
    }
}
