//! CPU seconds and resident memory of processes, from `/proc`.

use anyhow::{Context, Result};

/// What the kernel counts in towards user space (USER_HZ), on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system seconds that these processes have used up to now, their threads included.
pub fn cpu_seconds(ids: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for id in ids {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))
            .with_context(|| format!("process {id} is gone"))?;
        ticks +=
            cpu_ticks(&stat).with_context(|| format!("odd line in /proc/{id}/stat: {stat}"))?;
    }
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Fields 14 and 15, counted behind the command's name, which may hold spaces.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory in MB (10^6 bytes).
pub fn resident_mb(ids: &[u32]) -> Result<f64> {
    let mut kibibytes = 0u64;
    for id in ids {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        kibibytes += line.trim().trim_end_matches(" kB").parse::<u64>()?;
    }
    Ok(kibibytes as f64 * 1_024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_behind_a_name_with_spaces() {
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20 0";
        assert_eq!(cpu_ticks(stat), Some(100));
        assert_eq!(cpu_ticks("nonsense"), None);
    }

    #[test]
    fn our_own_process_has_memory() {
        assert!(resident_mb(&[std::process::id()]).unwrap() > 0.5);
    }
}
