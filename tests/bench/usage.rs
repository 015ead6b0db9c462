//! What a process took of the machine, as the kernel counted it.
//!
//! Source: the manual page proc(5).

use std::fmt;

use crate::harness::Outcome;

/// Ticks a second in which the kernel tells CPU times; the same on every Linux since long.
const TICKS: f64 = 100.0;

/// So far, or at the moment.
pub struct Usage {
    /// In user code and in the kernel for it, since its start.
    pub cpu_seconds: f64,
    /// Resident, in megabytes of 1,024 KB.
    pub memory: f64,
    /// How much of it is the process's own, and not pages of the program's file.
    pub own: f64,
    /// The most that was ever resident, in the same unit.
    pub peak: f64,
}

impl Usage {
    /// Of a process.
    pub fn of(id: u32) -> Outcome<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The program's name stands in brackets and may have spaces; utime and stime are the 12th and 13th word after it.
        let (_, words) = stat.rsplit_once(") ").ok_or("a stat file without a name")?;
        let mut ticks = 0.0;
        for word in words.split(' ').skip(11).take(2) {
            ticks += word.parse::<f64>()?;
        }
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        Ok(Self {
            cpu_seconds: ticks / TICKS,
            memory: megabytes(&status, "VmRSS:")?,
            own: megabytes(&status, "RssAnon:")?,
            peak: megabytes(&status, "VmHWM:")?,
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu_seconds,
            memory,
            own,
            peak,
        } = self;
        write!(
            f,
            "{memory:.1} MB of memory, {own:.1} MB its own, at most {peak:.1} MB, {cpu_seconds:.1} s of CPU"
        )
    }
}

/// How many processes wanted a core in the last 1, 5 and 15 minutes, on the whole machine.
pub fn load_average() -> Outcome<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let words: Vec<&str> = text.split(' ').take(3).collect();
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{} on {cores} cores", words.join(", ")))
}

fn megabytes(status: &str, name: &str) -> Outcome<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: f64 = kilobytes
        .ok_or_else(|| format!("no {name} in a status file"))?
        .parse()?;
    Ok(kilobytes / 1024.0)
}
