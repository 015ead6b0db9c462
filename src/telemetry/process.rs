//! What the process itself uses, under the names of Prometheus' own client libraries (spec/core.md 5), read from `/proc` when it is
//! scraped. Where there is no `/proc` there are no such series.

use std::fmt::Error;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks a second in `/proc`: `USER_HZ`, which the kernel keeps at 100 for every architecture that Serin runs on.
const TICKS: f64 = 100.0;

/// Reads this process.
#[derive(Debug)]
pub(super) struct Process;

/// One reading.
#[derive(Debug, Clone, PartialEq, Default)]
struct Reading {
    cpu_seconds: Option<f64>,
    /// Since the epoch.
    start_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    virtual_bytes: Option<f64>,
    open_files: Option<f64>,
    most_files: Option<f64>,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Reading {
            cpu_seconds,
            start_seconds,
            resident_bytes,
            virtual_bytes,
            open_files,
            most_files,
        } = read();
        if let Some(seconds) = cpu_seconds {
            let help = "Total user and system CPU time spent in seconds.";
            let metric = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        for (name, help, value) in [
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                start_seconds,
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
                virtual_bytes,
            ),
            ("process_open_fds", "Number of open file descriptors.", open_files),
            (
                "process_max_fds",
                "Maximum number of open file descriptors.",
                most_files,
            ),
        ] {
            if let Some(value) = value {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)?;
            }
        }
        Ok(())
    }
}

fn read() -> Reading {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let open_files = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    Reading {
        open_files: open_files.and_then(|count| u32::try_from(count).ok()).map(f64::from),
        ..parse(
            &text("/proc/self/stat"),
            &text("/proc/stat"),
            &text("/proc/self/status"),
            &text("/proc/self/limits"),
        )
    }
}

fn parse(stat: &str, machine: &str, status: &str, limits: &str) -> Reading {
    // The second field is the program's name in parentheses, which may hold blanks: count from behind it (proc_pid_stat(5)).
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let seconds = |number: usize| Some(fields.get(number - 3)?.parse::<f64>().ok()? / TICKS);
    let boot: Option<f64> = value(machine, "btime");
    Reading {
        cpu_seconds: seconds(14).zip(seconds(15)).map(|(user, system)| user + system),
        start_seconds: boot.zip(seconds(22)).map(|(boot, since)| boot + since),
        resident_bytes: value(status, "VmRSS:").map(|kib| kib * 1024.0),
        virtual_bytes: value(status, "VmSize:").map(|kib| kib * 1024.0),
        open_files: None,
        most_files: value(limits, "Max open files"),
    }
}

/// The first number behind a word at the beginning of a line.
fn value(text: &str, word: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_taken_from_the_right_fields() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 9 0 1000 123456 789 10";
        let status = "Name:\tserin\nVmSize:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(
            parse(stat, "cpu 1 2\nbtime 1700000000\n", status, limits),
            Reading {
                cpu_seconds: Some(2.0),
                start_seconds: Some(1_700_000_010.0),
                resident_bytes: Some(1_048_576.0),
                virtual_bytes: Some(2_097_152.0),
                open_files: None,
                most_files: Some(1024.0),
            }
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(parse("", "", "", "Max open files unlimited"), Reading::default());
    }
}
