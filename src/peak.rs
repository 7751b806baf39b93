//! The most memory that this process held, as Linux counts it.

use std::fs;

/// The most bytes that this process held in memory at once, since it began or since [`forget`]; 0
/// where the system does not say.
pub fn bytes() -> u64 {
    let peak = fs::read_to_string("/proc/self/status").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    peak.unwrap_or(0) << 10
}

/// Begins anew: what [`bytes`] says from here on leaves out what was before. Where the system cannot
/// do it, it stays the peak of the whole process.
pub fn forget() {
    // Linux: 5 resets the peak to what is held now (proc_pid_clear_refs(5)).
    let _ = fs::write("/proc/self/clear_refs", "5");
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_counts_what_was_touched() {
        let before = bytes();
        let held = vec![1_u8; 64 << 20];
        assert!(std::hint::black_box(&held).iter().all(|&byte| byte == 1));
        assert!(before > 0 && bytes() >= 64 << 20, "{before} {}", bytes());
    }
}
