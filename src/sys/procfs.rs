//! Other processes, as `/proc` shows them.

use super::process::own_pid;
use nix::time::ClockId;
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// When a process started, for comparison with others of this boot: clock ticks,
/// and the pid where those are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started(u64, i32);

impl Started {
    /// Whether the process of `self` came after that of `other`. Pids are given out in
    /// turn, and begin anew at `most`: within a tick (10 ms) they do not go halfway round.
    pub fn is_after(self, other: Started, most: i32) -> bool {
        if self.0 != other.0 {
            return self.0 > other.0;
        }
        let ahead = (self.1 - other.1).rem_euclid(most);
        ahead > 0 && ahead < most / 2
    }
}

/// The number that no pid reaches.
pub fn most_pids() -> i32 {
    static MOST: OnceLock<i32> = OnceLock::new();
    *MOST.get_or_init(|| {
        let read = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok();
        // The default of small machines.
        read.and_then(|text| text.trim().parse().ok()).unwrap_or(32768)
    })
}

/// Whether what is mounted on `/proc` shows the PID namespace of this process.
pub fn is_ours() -> bool {
    std::fs::read_link("/proc/self").is_ok_and(|own| own == Path::new(&own_pid().to_string()))
}

/// Facts from `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    parent: i32,
    started: u64,
}

/// Reads the line of `/proc/<pid>/stat`. The command name in it may hold anything.
fn parse_stat(line: &str) -> Option<Stat> {
    let rest = &line[line.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    // `starttime` is the 22nd field, the state was the 3rd.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, started })
}

fn stat(pid: i32) -> Option<Stat> {
    let line = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&line))
}

/// When a process started; `None` when it is gone.
pub fn started(pid: i32) -> Option<Started> {
    stat(pid).map(|found| Started(found.started, pid))
}

/// When this process was started, in nanoseconds since the epoch; a little late
/// rather than early. The kernel tells it in ticks, and that it was no later than the processor
/// time ago which it has used.
pub fn process_start() -> i64 {
    let ticks = stat(std::process::id() as i32).map(|found| found.started);
    let boot_clock = nix::time::clock_gettime(ClockId::CLOCK_BOOTTIME);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let used = nix::time::clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map_or(0, |used| used.tv_sec() * 1_000_000_000 + used.tv_nsec());
    let latest = now.as_nanos() as i64 - used;
    match (ticks, boot_clock) {
        (Some(ticks), Ok(clock)) => {
            // USER_HZ is 100 on every architecture that /proc is read on.
            let since_boot = (ticks as i64 + 1) * 10_000_000;
            let uptime = clock.tv_sec() * 1_000_000_000 + clock.tv_nsec();
            latest.min(now.as_nanos() as i64 - uptime + since_boot)
        }
        _ => latest,
    }
}

/// The memory of a process in bytes, what it shares divided by those it shares
/// it with (PSS).
pub fn memory(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let amount = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(amount.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// How many pages of this process a clone shares until one of both writes there: those
/// that are resident, without those of files.
pub fn own_pages() -> u64 {
    let mut buffer = [0; 128];
    let length = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut buffer));
    let text = length.ok().and_then(|length| std::str::from_utf8(&buffer[..length]).ok());
    let mut fields = text.unwrap_or_default().split(' ').map(|field| field.parse().unwrap_or(0));
    let (_, resident, of_files) = (fields.next(), fields.next(), fields.next());
    resident.unwrap_or(0u64).saturating_sub(of_files.unwrap_or(0))
}

/// What a process is doing, by the kernel's letters; `None` when it is gone.
pub fn state(pid: i32) -> Option<u8> {
    stat(pid).map(|found| found.state)
}

/// Whether a process is stopped by job control.
pub fn is_stopped(pid: i32) -> bool {
    state(pid) == Some(b'T')
}

/// The processor time that a process has used.
pub fn processor_time(pid: i32) -> Duration {
    ClockId::pid_cpu_clock_id(Pid::from_raw(pid))
        .and_then(ClockId::now)
        .map_or(Duration::ZERO, Duration::from)
}

/// Whether a process is there and has not ended yet.
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|found| !matches!(found.state, b'Z' | b'X'))
}

/// Whether a process has one of these files (device, inode) open for writing.
pub fn writes(pid: i32, files: &[(u64, u64)]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        // The permissions of the link are those that the file was opened with.
        let writable = descriptor.metadata().is_ok_and(|link| link.mode() & 0o200 != 0);
        writable
            && std::fs::metadata(descriptor.path())
                .is_ok_and(|file| files.contains(&(file.dev(), file.ino())))
    })
}

/// The children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match std::fs::read_to_string(thread.path().join("children")) {
            Ok(list) => found.extend(list.split_ascii_whitespace().flat_map(str::parse::<i32>)),
            Err(_) => return children_by_scan(pid),
        }
    }
    found
}

/// As [`children`], for kernels without `CONFIG_PROC_CHILDREN`.
fn children_by_scan(pid: i32) -> Vec<i32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|candidate| stat(*candidate).is_some_and(|found| found.parent == pid))
        .collect()
}

/// The name of a process, as the kernel has it; empty when it is gone.
pub fn name(pid: i32) -> String {
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(name.trim_ascii_end()).into_owned()
}

/// Whether this process has subprocesses now.
pub fn has_children() -> bool {
    let own = own_pid();
    std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"))
        .is_ok_and(|children| !children.trim().is_empty())
}

/// Everything that descends from the `roots`, apart from `except` and what descends
/// from those.
pub fn descendants(roots: &[Pid], except: &HashSet<i32>) -> Vec<i32> {
    let mut found = Vec::new();
    let mut ahead: Vec<i32> = roots.iter().map(|root| root.as_raw()).collect();
    while let Some(parent) = ahead.pop() {
        for child in children(parent) {
            if !except.contains(&child) && !found.contains(&child) {
                found.push(child);
                ahead.push(child);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_was_started_before_it_did_what_it_has_done() {
        let used = nix::time::clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
        let start = process_start();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let used = used.tv_sec() * 1_000_000_000 + used.tv_nsec();
        assert!(start <= now.as_nanos() as i64 - used);
    }

    #[test]
    fn pids_of_one_tick_are_in_the_order_in_which_they_are_given_out() {
        let most = 32768;
        assert!(Started(7, 400).is_after(Started(7, 399), most));
        assert!(!Started(7, 399).is_after(Started(7, 400), most));
        assert!(!Started(7, 400).is_after(Started(7, 400), most));
        assert!(Started(7, 301).is_after(Started(7, 32767), most));
        assert!(!Started(7, 32767).is_after(Started(7, 301), most));
        assert!(Started(8, 301).is_after(Started(7, 400), most));
    }

    #[test]
    fn a_command_name_cannot_confuse_the_parser() {
        let line =
            "4242 (a) R 1 (b)) S 17 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1";
        assert_eq!(parse_stat(line), Some(Stat { state: b'S', parent: 17, started: 987_654 }));
        assert_eq!(parse_stat("4242 (x"), None);
        assert_eq!(parse_stat("4242 (x) S"), None);
    }

    #[test]
    fn our_own_children_are_found_both_ways() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let own = Pid::this().as_raw();
        assert!(children(own).contains(&pid));
        assert!(children_by_scan(own).contains(&pid));
        assert!(descendants(&[Pid::this()], &HashSet::new()).contains(&pid));
        assert!(!descendants(&[Pid::this()], &HashSet::from([pid])).contains(&pid));
        assert!(started(pid).unwrap().is_after(started(own).unwrap(), most_pids()));
        assert!(is_alive(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_alive(pid));
    }
}
