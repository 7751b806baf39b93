//! Column chart: the share of texts relabelled at each α.

use std::fmt::Write as _;

use super::{
    super::{
        AlphaShare,
        number::{count, share, whole_percent},
    },
    open,
};
use crate::eval::wilson;

/// A column for each α: the share relabelled, with Wilson's interval and the number of texts.
pub(in super::super) fn columns(by_alpha: &[AlphaShare]) -> String {
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
        let (y, interval) =
            (down(part), wilson(at.changed.min(at.total) as usize, at.total as usize));
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
                down(interval.low),
                down(interval.high)
            );
        }
        let _ = write!(
            svg,
            r#"<text class="value" x="{middle:.2}%" y="{:.1}" text-anchor="middle">{:.0}</text><text class="alpha" x="{middle:.2}%" y="{:.0}" text-anchor="middle">{:.2}</text><text class="tick" x="{middle:.2}%" y="{:.0}" text-anchor="middle">{}</text>"#,
            down(interval.high) - 6.0,
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

#[cfg(test)]
mod tests {
    use super::*;

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
