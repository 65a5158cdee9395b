//! The process, by the names that every Prometheus client library gives: read from `/proc` when the page is written.
//! Where there is no `/proc`, these families are not there.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Result};

use super::Families;

/// Registers the process's families.
pub(super) fn register(families: &mut Families) -> Result<()> {
    families.register(Process::new()?).map(drop)
}

#[derive(Clone)]
struct Process {
    cpu: Desc,
    started: Gauge,
    resident: Gauge,
    virtual_bytes: Gauge,
    fds: Gauge,
    fds_max: Gauge,
}

const CPU: (&str, &str) = ("process_cpu_seconds_total", "Time that the process spent on processors, seconds.");

impl Process {
    fn new() -> Result<Self> {
        let cpu = Counter::new(CPU.0, CPU.1)?;
        Ok(Self {
            cpu: cpu.desc().into_iter().next().cloned().ok_or_else(|| prometheus::Error::Msg("a counter describes itself".to_owned()))?,
            started: Gauge::new("process_start_time_seconds", "When the process started, seconds since 1970.")?,
            resident: Gauge::new("process_resident_memory_bytes", "Memory that the process has in RAM, bytes.")?,
            virtual_bytes: Gauge::new("process_virtual_memory_bytes", "Address space of the process, bytes.")?,
            fds: Gauge::new("process_open_fds", "Open file descriptors.")?,
            fds_max: Gauge::new("process_max_fds", "The limit of open file descriptors.")?,
        })
    }

    fn gauges(&self) -> [&Gauge; 5] {
        [&self.started, &self.resident, &self.virtual_bytes, &self.fds, &self.fds_max]
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        std::iter::once(&self.cpu).chain(self.gauges().into_iter().flat_map(Collector::desc)).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(seen) = Seen::look() else { return Vec::new() };
        self.started.set(seen.started_s);
        self.resident.set(seen.resident_bytes);
        self.virtual_bytes.set(seen.virtual_bytes);
        self.fds.set(seen.fds);
        self.fds_max.set(seen.fds_max);
        let mut families: Vec<MetricFamily> = self.gauges().into_iter().flat_map(Collector::collect).collect();
        // A counter cannot be set: this one is made anew each time, of the kernel's own count.
        if let Ok(cpu) = Counter::new(CPU.0, CPU.1) {
            cpu.inc_by(seen.cpu_s);
            families.extend(cpu.collect());
        }
        families
    }
}

/// One look at `/proc`.
struct Seen {
    cpu_s: f64,
    started_s: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    fds: f64,
    fds_max: f64,
}

impl Seen {
    fn look() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let Stat { cpu_ticks, start_ticks, virtual_bytes, resident_pages } = Stat::parse(&stat)?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot_s: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        // Reading the folder opens it.
        let fds = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
        let fds_max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Some(Self {
            cpu_s: cpu_ticks / ticks,
            started_s: boot_s + start_ticks / ticks,
            resident_bytes: resident_pages * rustix::param::page_size() as f64,
            virtual_bytes,
            fds: fds as f64,
            fds_max: fds_max.map_or(f64::INFINITY, |max| max as f64),
        })
    }
}

/// What is wanted of `/proc/self/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is a name in brackets, and may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field.checked_sub(3)?)?.parse::<f64>().ok();
        Some(Self {
            cpu_ticks: number(14)? + number(15)?,
            start_ticks: number(22)?,
            virtual_bytes: number(23)?,
            resident_pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_looks_like_fields_is_read_right() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 3 0 4711 9000000 250 18446744073709551615";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat, Stat { cpu_ticks: 42.0, start_ticks: 4711.0, virtual_bytes: 9e6, resident_pages: 250.0 });
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let seen = Seen::look().unwrap();
        assert!(seen.resident_bytes > 1e5 && seen.virtual_bytes >= seen.resident_bytes && seen.fds >= 3.0 && seen.fds_max >= seen.fds);
        assert!(seen.started_s > 0.0);
    }
}
