//! `keymux check --live`: whether the providers take the keys.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Said, check, load};
use crate::config::{Config, LoadOptions, Provider, problem};
use crate::upstream::probe::{self, Finding, Probe, Report};
use crate::upstream::{Kept, Upstream};

/// One call as it is told.
#[derive(Debug, Serialize)]
struct Row<'c> {
    provider: &'c str,
    key: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(flatten)]
    report: Report,
}

/// A file with an error is told of as without `--live`; of a good
/// one, with `json` the list of keys. While the calls run, `progress` is shown on standard error.
pub(super) fn check(options: &LoadOptions, json: bool, colour: bool, progress: bool) -> Said {
    let loaded = load(options);
    let Some(config) = &loaded.config else {
        return Said::new(check::said(&loaded, options, json, colour), false);
    };
    let rows = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let rows = runtime.block_on(ask(config, progress));
            // Without a wait for lookups of names that hang.
            runtime.shutdown_background();
            rows
        }
        Err(error) => return Said::failed(format!("keymux: {error}\n"), 1),
    };
    let good = rows.iter().all(|row| row.report.finding == Finding::Ok);
    if json {
        let mut text = serde_json::to_string_pretty(&rows).unwrap_or_default();
        text.push('\n');
        return Said::new(text, good);
    }
    Said::new(problem::render(&loaded.problems, colour) + &table(&rows, colour), good)
}

/// Makes all calls, and puts what they came to in the order of the file.
async fn ask(config: &Config, progress: bool) -> Vec<Row<'_>> {
    let mut kept = Kept::default();
    let (mut rows, mut calls) = (Vec::new(), Vec::new());
    for provider in &config.providers {
        match Upstream::new(provider, &mut kept, None) {
            Ok(upstream) => {
                let upstream = Arc::new(upstream);
                let deadline = probe::deadline(&provider.timeouts);
                for probe in upstream.probes() {
                    let place = rows.len();
                    rows.push(Row::new(provider, &probe));
                    let upstream = upstream.clone();
                    calls.push((place, async move { upstream.probe(&probe, deadline).await }));
                }
            }
            Err(error) => {
                let enabled = (0..provider.keys.len()).filter(|key| provider.keys[*key].enabled);
                rows.extend(enabled.map(|key| {
                    let mut row = Row::new(provider, &Probe { key, region: None });
                    row.report.detail = Some(error.to_string());
                    row
                }));
            }
        }
    }
    let (places, calls): (Vec<usize>, Vec<_>) = calls.into_iter().unzip();
    let (all, mut done) = (places.len(), 0);
    show(progress, done, all);
    probe::all(calls, |at, report| {
        rows[places[at]].report = report;
        done += 1;
        show(progress, done, all);
    })
    .await;
    rows
}

/// How far it has come, in a line that is gone when all is done.
fn show(progress: bool, done: usize, all: usize) {
    if progress {
        let mut to = std::io::stderr().lock();
        let line =
            if done < all { format!("{done} of {all} calls answered") } else { String::new() };
        let _ = write!(to, "\r\u{1b}[K{line}");
        let _ = to.flush();
    }
}

impl<'c> Row<'c> {
    /// A call that nothing has come of yet.
    fn new(provider: &'c Provider, probe: &Probe) -> Self {
        Self {
            provider: &provider.name,
            key: &provider.keys[probe.key].name,
            region: probe.region.clone(),
            report: Report { finding: Finding::Unreachable, latency: Duration::ZERO, detail: None },
        }
    }

    fn subject(&self) -> String {
        let region = self.region.as_ref().map(|region| format!(" {region}")).unwrap_or_default();
        format!("{}/{}{region}", self.provider, self.key)
    }
}

/// A line for each call, and one that counts them.
fn table(rows: &[Row<'_>], colour: bool) -> String {
    let subjects: Vec<String> = rows.iter().map(Row::subject).collect();
    let wide = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    let latencies: Vec<String> =
        rows.iter().map(|row| format!("{} ms", row.report.latency.as_millis())).collect();
    let results: Vec<String> = rows.iter().map(|row| words(row.report.finding)).collect();
    let (first, second, third) = (wide(&subjects), wide(&results), wide(&latencies));
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let result = painted(format!("{:second$}", results[at]), row.report.finding, colour);
        let line = format!("{:first$}  {result}  {:>third$}", subjects[at], latencies[at]);
        let detail =
            row.report.detail.as_ref().map(|detail| format!("  {detail}")).unwrap_or_default();
        let _ = writeln!(text, "{line}{detail}");
    }
    text + &summary(rows)
}

/// `3 calls: 2 ok, 1 bad credential`
fn summary(rows: &[Row<'_>]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for row in rows {
        *counts.entry(row.report.finding).or_insert(0_usize) += 1;
    }
    let counts = counts.into_iter().map(|(result, count)| format!("{count} {}", words(result)));
    match rows.len() {
        0 => "no key is enabled\n".to_owned(),
        all => {
            let s = if all == 1 { "" } else { "s" };
            format!("{all} call{s}: {}\n", counts.collect::<Vec<_>>().join(", "))
        }
    }
}

fn words(finding: Finding) -> String {
    finding.name().replace('_', " ")
}

fn painted(text: String, finding: Finding, colour: bool) -> String {
    match (colour, finding) {
        (false, _) => text,
        (true, Finding::Ok) => format!("\u{1b}[32m{text}\u{1b}[0m"),
        (true, _) => format!("\u{1b}[1m\u{1b}[91m{text}\u{1b}[0m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'c>(
        key: &'c str,
        region: Option<&str>,
        finding: Finding,
        detail: Option<&str>,
    ) -> Row<'c> {
        Row {
            provider: "main",
            key,
            region: region.map(str::to_owned),
            report: Report {
                finding,
                latency: Duration::from_millis(12),
                detail: detail.map(str::to_owned),
            },
        }
    }

    #[test]
    fn lines_are_aligned_and_counted() {
        let rows = [
            row("a", None, Finding::Ok, None),
            row("bb", Some("us-east-1"), Finding::BadCredential, Some("401 invalid_api_key")),
        ];
        let text = "main/a             ok              12 ms\n\
                    main/bb us-east-1  bad credential  12 ms  401 invalid_api_key\n\
                    2 calls: 1 ok, 1 bad credential\n";
        assert_eq!(table(&rows, false), text);
        assert!(table(&rows, true).contains("\u{1b}[32mok            \u{1b}[0m"));
        assert_eq!(table(&[], false), "no key is enabled\n");
    }
}
