//! Number formats of the page. All spaces inside a number are non-breaking.

use crate::{counted::noun_for, eval::Interval};

/// Narrow no-break space, between a number and its unit.
const THIN: char = '\u{202f}';

/// `0.812` as `81.2 %`; NaN and infinity as a dash.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}{THIN}%", share * 100.0) } else { "–".into() }
}

/// `0.812` as `81 %`.
pub(super) fn whole_percent(share: f64) -> String {
    if share.is_finite() { format!("{:.0}{THIN}%", share * 100.0) } else { "–".into() }
}

/// The ends of an interval of shares: `79.0–83.1`.
pub(super) fn span(interval: Interval) -> String {
    format!("{:.1}–{:.1}", interval.low * 100.0, interval.high * 100.0)
}

/// A difference in percentage points with its sign: `+4.2`, `−0.3`, `0.0`.
pub(super) fn points(difference: f64) -> String {
    let rounded = (difference * 1000.0).round() / 10.0;
    match rounded {
        x if x > 0.0 => format!("+{x:.1}"),
        x if x < 0.0 => format!("−{:.1}", -x),
        _ => "0.0".into(),
    }
}

/// The ends of a difference: `+1.0 to +7.1`.
pub(super) fn points_span(interval: Interval) -> String {
    format!("{} to {}", points(interval.low), points(interval.high)).replace(' ', "\u{a0}")
}

/// `1234567` as `1,234,567`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count or a mean of counts, abbreviated: `7,302`, `649 k`, `12.3 M`.
pub(super) fn compact(n: f64) -> String {
    match n {
        n if !n.is_finite() || n < 0.0 => "–".into(),
        n if n < 9_999.5 => count(n.round() as u64),
        n if n < 999_500.0 => format!("{:.0}{THIN}k", n / 1e3),
        n if n < 99_950_000.0 => format!("{:.1}{THIN}M", n / 1e6),
        n => format!("{}{THIN}M", count((n / 1e6).round() as u64)),
    }
}

/// Items as a list within a sentence: `a, b and c`.
pub(super) fn listed<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// A count with its noun: `1 text`, `2 texts`.
pub(super) fn counted(n: u64, noun: &str) -> String {
    format!("{}\u{a0}{}", count(n), noun_for(n as usize, noun))
}

/// A duration: `4.2 s`, `3 min 12 s`, `2 h 05 min`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".into();
    }
    if seconds < 59.95 {
        return format!("{seconds:.1}{THIN}s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours}{THIN}h {minutes:02}{THIN}min")
    } else {
        format!("{minutes}{THIN}min {rest:02}{THIN}s")
    }
    .replace(' ', "\u{a0}")
}

/// `part` of `whole`, 0 to 1; 0 if `whole` is 0.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        assert_eq!(percent(0.8123), "81.2\u{202f}%");
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(points(0.0421), "+4.2");
        assert_eq!(points(-0.0031), "−0.3");
        assert_eq!(points(-0.0001), "0.0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "text"), "1\u{a0}text");
        assert_eq!(compact(702.4), "702");
        assert_eq!(compact(649_266.0), "649\u{202f}k");
        assert_eq!(compact(999_999.0), "1.0\u{202f}M");
        assert_eq!(compact(1_234_567_890.0), "1,235\u{202f}M");
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(duration(4.24), "4.2\u{202f}s");
        assert_eq!(duration(192.0), "3\u{202f}min\u{a0}12\u{202f}s");
        assert_eq!(duration(7500.0), "2\u{202f}h\u{a0}05\u{202f}min");
    }
}
