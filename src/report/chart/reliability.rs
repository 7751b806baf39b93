//! Reliability diagrams: accuracy by confidence in bins (Guo et al. 2017).

use std::fmt::Write as _;

use super::{
    super::number::{count, percent, whole_percent},
    FLOOR, TOP, down, frame, open,
};
use crate::eval::{Bin, Calibration};

/// Bins with fewer answers are drawn pale.
const FEW: usize = 10;

/// Top and bottom of the chart below the diagram: the number of answers in each bin.
const COUNTS: (f64, f64) = (236.0, 282.0);

/// Bars of accuracy by confidence with the diagonal, and the number of answers of each bar; `class`
/// is the CSS class of the bars.
pub(in super::super) fn reliability(calibration: &Calibration, class: &str, title: &str) -> String {
    let mut svg = open(296, "reliability", title);
    frame(&mut svg, 0.0);
    let down = |part: f64| down(part, 0.0);
    let step = 100.0 / calibration.bins.len().max(1) as f64;
    let most = calibration.bins.iter().map(|bin| bin.rows).max().unwrap_or(0).max(1);
    for (place, bin) in calibration.bins.iter().enumerate().filter(|(_, bin)| bin.rows > 0) {
        column(&mut svg, bin, (place as f64 * step, step), class, down(bin.accuracy));
        let (left, right) = (place as f64 * step + step * 0.08, (place as f64 + 0.92) * step);
        let y = down(bin.confidence);
        let _ = write!(
            svg,
            r#"<line class="halo" x1="{left:.2}%" x2="{right:.2}%" y1="{y:.1}" y2="{y:.1}"/><line class="sure" x1="{left:.2}%" x2="{right:.2}%" y1="{y:.1}" y2="{y:.1}"/>"#
        );
        let height = (COUNTS.1 - COUNTS.0) * bin.rows as f64 / most as f64;
        let middle = (place as f64 + 0.5) * step;
        let _ = write!(
            svg,
            r#"<rect class="rows" x="{left:.2}%" y="{:.1}" width="{:.2}%" height="{height:.1}"/><svg x="{middle:.2}%" y="{:.0}" overflow="visible"><text class="tick rows" transform="rotate(-90)" x="3" y="3.5">{}</text></svg>"#,
            COUNTS.1 - height,
            right - left,
            COUNTS.1,
            count(bin.rows as u64)
        );
    }
    let _ = write!(
        svg,
        r#"<line class="chance" x1="0" x2="100%" y1="{FLOOR}" y2="{TOP}"/><text class="tick" x="-8" y="{0:.0}" text-anchor="end">n</text><line class="floor" x1="0" x2="100%" y1="{0:.0}" y2="{0:.0}"/></svg>"#,
        COUNTS.1
    );
    svg
}

fn column(svg: &mut String, bin: &Bin, (left, step): (f64, f64), class: &str, y: f64) {
    let faint = if bin.rows < FEW { " faint" } else { "" };
    let _ = write!(
        svg,
        r#"<rect class="{class}{faint}" x="{:.2}%" y="{y:.1}" width="{:.2}%" height="{:.1}"><title>Confidence {} to {}: {} answers, mean confidence {}, accuracy {}</title></rect>"#,
        left + step * 0.08,
        step * 0.84,
        FLOOR - y,
        whole_percent(left / 100.0),
        whole_percent((left + step) / 100.0),
        count(bin.rows as u64),
        percent(bin.confidence),
        percent(bin.accuracy),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_the_position_of_their_bin_and_the_height_of_its_accuracy() {
        let bins = vec![
            Bin::default(),
            Bin { rows: 4, confidence: 0.4, accuracy: 0.5 },
            Bin { rows: 20, confidence: 0.6, accuracy: 1.0 },
            Bin { rows: 40, confidence: 0.9, accuracy: 0.75 },
        ];
        let svg = reliability(&Calibration { ece: 0.1, bins }, "student", "a < b");
        // Half of the 200 pixels above the floor at 208.
        assert!(svg.contains(r#"class="student faint" x="27.00%" y="108.0""#), "{svg}");
        assert!(svg.contains(r#"class="student" x="52.00%" y="8.0""#), "{svg}");
        assert_eq!(svg.matches(r#"class="sure""#).count(), 3, "an empty bin draws nothing");
        assert!(svg.contains(">40</text>") && svg.contains("a &lt; b"));
        let empty = reliability(&Calibration { ece: 0.0, bins: Vec::new() }, "student", "");
        assert!(!empty.contains("NaN") && !empty.contains("inf"));
    }
}
