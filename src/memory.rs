//! Available memory, and the peak memory of this process, as Linux reports them.

/// Bytes that can be allocated: the machine's available memory, in a container at most what its
/// limit leaves. `None` if the system does not report it.
pub(crate) fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some((kilobytes << 10).min(left_by_cgroup().unwrap_or(u64::MAX)))
}

/// Bytes left below the limit of the control group; `None` without a limit.
fn left_by_cgroup() -> Option<u64> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    // The kernel's file cache can be reclaimed, so it counts as free.
    let stat = std::fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    Some(read("max")?.saturating_sub(read("current")?.saturating_sub(file_cache(&stat))))
}

/// Bytes of cached files, from the text of a `memory.stat`.
fn file_cache(stat: &str) -> u64 {
    let of = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|bytes| bytes.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    of("inactive_file") + of("active_file")
}

/// Peak resident memory of this process in bytes, since its start or the last [`reset_peak`]; 0 if
/// the system does not report it.
pub(crate) fn peak() -> u64 {
    let peak = std::fs::read_to_string("/proc/self/status").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    peak.unwrap_or(0) << 10
}

/// Resets [`peak`]. Where the system cannot do that, it remains the peak of the whole process.
pub(crate) fn reset_peak() {
    // Linux: 5 resets the peak to the current resident memory (proc_pid_clear_refs(5)).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn cached_files_count_as_free() {
        let stat = "anon 7\nfile 99\ninactive_anon 3\nactive_file 20\ninactive_file 5\n";
        assert_eq!(file_cache(stat), 25);
        assert_eq!(file_cache(""), 0);
    }

    #[test]
    fn the_peak_includes_memory_that_was_touched() {
        let before = peak();
        let held = vec![1_u8; 64 << 20];
        assert!(std::hint::black_box(&held).iter().all(|&byte| byte == 1));
        assert!(before > 0 && peak() >= 64 << 20, "{before} {}", peak());
    }
}
