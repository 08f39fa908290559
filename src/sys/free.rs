//! How much memory is free.

use std::fs::read_to_string;
use std::path::Path;

/// Bytes that processes of this session could take without others having to give any up:
/// what the kernel says is available or, where a control group has less left, that.
pub fn free_memory() -> Option<u64> {
    let available = field(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? * 1024;
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(groups.lines().filter_map(left_in).fold(available, u64::min))
}

/// What is left in a group, named as `/proc/self/cgroup` does, and in those around it.
fn left_in(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, limit, used) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max", "anon"),
        "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "total_rss"),
        _ => return None,
    };
    // A container may be shown its group by a path that leads nowhere there.
    let groups = Path::new(path).ancestors().filter_map(|group| {
        let folder = Path::new(root).join(group.strip_prefix("/").unwrap_or(group));
        let limit: u64 = read_to_string(folder.join(limit)).ok()?.trim().parse().ok()?;
        let used = field(&read_to_string(folder.join("memory.stat")).ok()?, used)?;
        Some(limit.saturating_sub(used))
    });
    groups.min()
}

/// The number after a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    lines.find_map(|mut words| (words.next()? == name).then(|| words.next()?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_some_and_no_more_than_the_machine_has() {
        let total = field(&read_to_string("/proc/meminfo").unwrap(), "MemTotal:").unwrap() * 1024;
        let free = free_memory().unwrap();
        assert!(0 < free && free <= total, "{free} of {total}");
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        assert_eq!(field("file 1\nanon_thp 2\nanon 3\n", "anon"), Some(3));
        assert_eq!(field("anon\n", "anon"), None);
    }
}
