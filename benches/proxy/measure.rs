//! What a process has used, where it may run, and what many figures say together.

use std::fs;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// CPU time of all threads so far, from `/proc/PID/task/*/schedstat` in nanoseconds
/// (Documentation/scheduler/sched-stats.rst). `stat` counts in ticks of 10 ms. A thread that ends
/// takes its time with it; none of the programs here ends one under load.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = text.split_ascii_whitespace().next().unwrap_or_default();
        nanos += on_cpu.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// `VmRSS` or `VmHWM` of `/proc/PID/status`, in MiB.
pub(crate) fn memory(process: u32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|value| value.trim().strip_suffix(" kB"));
    let kib: f64 = kib.ok_or_else(|| format!("/proc/{process}/status has no {field}"))?.parse()?;
    Ok(kib / 1024.0)
}

/// The cores: one for the proxies, the others for those who load them.
pub(crate) struct Cores {
    proxies: CpuSet,
    rest: CpuSet,
    split: bool,
}

impl Cores {
    /// What this process may use, divided. With one core there is nothing to divide.
    pub(crate) fn divide() -> Result<Self> {
        let mut rest = sched_getaffinity(None)?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|core| rest.is_set(*core));
        let mut proxies = rest;
        let split = rest.count() > 1;
        if let Some(last) = last.filter(|_| split) {
            proxies = CpuSet::new();
            proxies.set(last);
            rest.unset(last);
        }
        Ok(Self { proxies, rest, split })
    }

    pub(crate) fn are_split(&self) -> bool {
        self.split
    }

    /// This thread, and every process and thread that it starts from now on.
    pub(crate) fn use_that_of_proxies(&self) -> Result<()> {
        Ok(sched_setaffinity(None, &self.proxies)?)
    }

    /// See [`Cores::use_that_of_proxies`].
    pub(crate) fn use_the_rest(&self) -> Result<()> {
        Ok(sched_setaffinity(None, &self.rest)?)
    }
}

/// Figures of the same thing, sorted.
pub(crate) struct Figures(Vec<f64>);

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }
}

impl Figures {
    /// The middle one, of an even number the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        let upper = self.0.get(half).copied().unwrap_or(f64::NAN);
        if self.0.len().is_multiple_of(2) && half > 0 {
            f64::midpoint(self.0[half - 1], upper)
        } else {
            upper
        }
    }

    /// The smallest and the largest.
    pub(crate) fn range(&self) -> (f64, f64) {
        let or_nan = |figure: Option<&f64>| figure.copied().unwrap_or(f64::NAN);
        (or_nan(self.0.first()), or_nan(self.0.last()))
    }
}
