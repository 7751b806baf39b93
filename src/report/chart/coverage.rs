//! Selective classification: accuracy by the share of texts that are answered, the surest first.

use std::fmt::Write as _;

use super::{
    super::number::{count, percent},
    across, down, frame, open,
};
use crate::eval::{Answered, least_accuracy};

/// The curve from the surest texts to all, and below it the lower end of the interval at the
/// confidence level `level`; the vertical axis begins at a multiple of 10 % below both.
pub(in super::super) fn coverage(curve: &[Answered], level: f64, title: &str) -> String {
    let mut svg = open(236, "coverage", title);
    let least = |point: &Answered| least_accuracy(point.correct, point.answered, level);
    let lowest = curve.iter().map(least).fold(1.0, f64::min);
    let bottom = ((lowest * 10.0).floor() / 10.0).clamp(0.0, 0.9);
    frame(&mut svg, bottom);
    let down = |part: f64| down(part, bottom);
    let place = |point: &Answered| across(point.coverage());
    for pair in curve.windows(2) {
        for (class, height) in [
            ("chance", &least as &dyn Fn(&Answered) -> f64),
            ("sure", &Answered::accuracy as &dyn Fn(&Answered) -> f64),
        ] {
            let _ = write!(
                svg,
                r#"<line class="{class}" x1="{:.2}%" x2="{:.2}%" y1="{:.1}" y2="{:.1}"/>"#,
                place(&pair[0]),
                place(&pair[1]),
                down(height(&pair[0])),
                down(height(&pair[1]))
            );
        }
    }
    for point in curve {
        let _ = write!(
            svg,
            r#"<circle class="dot" cx="{:.2}%" cy="{:.1}" r="3.5"><title>From a probability of {:.3} on: {} of {} texts are answered, {} of them correctly</title></circle>"#,
            place(point),
            down(point.accuracy()),
            point.threshold,
            count(point.answered as u64),
            count(point.texts as u64),
            percent(point.accuracy())
        );
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_at_their_coverage_and_accuracy() {
        let point = |answered, correct| Answered { threshold: 0.5, answered, correct, texts: 1000 };
        let svg = coverage(&[point(250, 250), point(1000, 850)], 0.95, "a < b");
        // The lower end of the interval for 850 of 1000 lies between 80 and 90 %.
        assert!(svg.contains(r#"cx="25.00%" cy="8.0""#), "{svg}");
        assert!(svg.contains(r#"cx="100.00%" cy="158.0""#), "three quarters from 100 to 80: {svg}");
        assert!(svg.contains(">80</text>") && svg.contains("a &lt; b"), "{svg}");
        assert_eq!(svg.matches(r#"class="sure""#).count(), 1);
        let empty = coverage(&[], 0.95, "");
        assert!(!empty.contains("NaN") && !empty.contains("inf"));
    }
}
