//! How much memory is free, and the most that this process held, as Linux says.

/// Bytes that can be taken: the machine's available memory, and in a container at most what its
/// limit leaves. `None` where the system does not say.
pub(crate) fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some((kilobytes << 10).min(left_to_this_group().unwrap_or(u64::MAX)))
}

/// What a container may still take, where this is one with a limit.
fn left_to_this_group() -> Option<u64> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    // What the kernel keeps of files for the case that they are read again is free to be taken.
    let stat = std::fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    Some(read("max")?.saturating_sub(read("current")?.saturating_sub(file_cache(&stat))))
}

/// Bytes of files in memory, from a `memory.stat`.
fn file_cache(stat: &str) -> u64 {
    let of = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|bytes| bytes.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    of("inactive_file") + of("active_file")
}

/// The most bytes that this process held in memory at once, since it began or since
/// [`forget_peak`]; 0 where the system does not say.
pub(crate) fn peak() -> u64 {
    let peak = std::fs::read_to_string("/proc/self/status").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    peak.unwrap_or(0) << 10
}

/// Begins anew: what [`peak`] says from here on leaves out what was before. Where the system cannot
/// do it, it stays the peak of the whole process.
pub(crate) fn forget_peak() {
    // Linux: 5 resets the peak to what is held now (proc_pid_clear_refs(5)).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn files_in_memory_count_as_free() {
        let stat = "anon 7\nfile 99\ninactive_anon 3\nactive_file 20\ninactive_file 5\n";
        assert_eq!(file_cache(stat), 25);
        assert_eq!(file_cache(""), 0);
    }

    #[test]
    fn the_peak_counts_what_was_touched() {
        let before = peak();
        let held = vec![1_u8; 64 << 20];
        assert!(std::hint::black_box(&held).iter().all(|&byte| byte == 1));
        assert!(before > 0 && peak() >= 64 << 20, "{before} {}", peak());
    }
}
