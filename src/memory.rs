//! How much memory is free, as Linux says.

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
    Some(read("max")?.saturating_sub(read("current")?))
}
