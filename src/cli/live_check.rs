//! `keymux check --live`: tests each key with a free call to its provider.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{CommandOutput, check, load};
use crate::config::{Config, LoadOptions, Provider, problem};
use crate::upstream::probe::{self, Probe, ProbeReport, ProbeResult};
use crate::upstream::{CarryOver, Upstream};

/// The result of one call.
#[derive(Debug, Serialize)]
struct Row<'c> {
    provider: &'c str,
    key: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(flatten)]
    report: ProbeReport,
}

/// Tests all keys of a valid file; the output is a table, or with `json` a list. Reports the problems of an
/// invalid file as without `--live`. With `progress`, shows the progress on standard error.
pub(super) fn check(
    options: &LoadOptions,
    json: bool,
    colour: bool,
    progress: bool,
) -> CommandOutput {
    let loaded = load(options);
    let Some(config) = &loaded.config else {
        return CommandOutput::new(check::format_problems(&loaded, options, json, colour), false);
    };
    let rows = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let rows = runtime.block_on(probe_all(config, progress));
            // Does not wait for name lookups that hang.
            runtime.shutdown_background();
            rows
        }
        Err(error) => return CommandOutput::failed(format!("keymux: {error}\n"), 1),
    };
    let all_ok = rows.iter().all(|row| row.report.result == ProbeResult::Ok);
    if json {
        let mut text = serde_json::to_string_pretty(&rows).unwrap_or_default();
        text.push('\n');
        return CommandOutput::new(text, all_ok);
    }
    CommandOutput::new(problem::render(&loaded.problems, colour) + &table(&rows, colour), all_ok)
}

/// Makes all calls and returns their results in the order of the file.
async fn probe_all(config: &Config, progress: bool) -> Vec<Row<'_>> {
    let mut kept = CarryOver::default();
    let (mut rows, mut calls) = (Vec::new(), Vec::new());
    for provider in &config.providers {
        match Upstream::new(provider, &mut kept, None) {
            Ok(upstream) => {
                let upstream = Arc::new(upstream);
                let deadline = probe::deadline(&provider.timeouts);
                for probe in upstream.probes() {
                    let index = rows.len();
                    rows.push(Row::new(provider, &probe));
                    let upstream = upstream.clone();
                    calls.push((index, async move { upstream.probe(&probe, deadline).await }));
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
    let (indices, calls): (Vec<usize>, Vec<_>) = calls.into_iter().unzip();
    let (total, mut done) = (indices.len(), 0);
    show_progress(progress, done, total);
    probe::run_all(calls, |call, report| {
        rows[indices[call]].report = report;
        done += 1;
        show_progress(progress, done, total);
    })
    .await;
    rows
}

/// Shows the progress in a line that is cleared when all calls are finished.
fn show_progress(progress: bool, done: usize, total: usize) {
    if progress {
        let mut to = std::io::stderr().lock();
        let line =
            if done < total { format!("{done} of {total} calls finished") } else { String::new() };
        let _ = write!(to, "\r\u{1b}[K{line}");
        let _ = to.flush();
    }
}

impl<'c> Row<'c> {
    /// Returns the row of a call without a result.
    fn new(provider: &'c Provider, probe: &Probe) -> Self {
        Self {
            provider: &provider.name,
            key: &provider.keys[probe.key].name,
            region: probe.region.clone(),
            report: ProbeReport {
                result: ProbeResult::Unreachable,
                latency: Duration::ZERO,
                detail: None,
            },
        }
    }

    fn key_name(&self) -> String {
        let region = self.region.as_ref().map(|region| format!(" {region}")).unwrap_or_default();
        format!("{}/{}{region}", self.provider, self.key)
    }
}

/// Formats one line for each call, and a summary.
fn table(rows: &[Row<'_>], colour: bool) -> String {
    let names: Vec<String> = rows.iter().map(Row::key_name).collect();
    let width = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    let latencies: Vec<String> =
        rows.iter().map(|row| format!("{} ms", row.report.latency.as_millis())).collect();
    let results: Vec<String> = rows.iter().map(|row| display_name(row.report.result)).collect();
    let (first, second, third) = (width(&names), width(&results), width(&latencies));
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let result = colored(format!("{:second$}", results[index]), row.report.result, colour);
        let line = format!("{:first$}  {result}  {:>third$}", names[index], latencies[index]);
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
        *counts.entry(row.report.result).or_insert(0_usize) += 1;
    }
    let counts =
        counts.into_iter().map(|(result, count)| format!("{count} {}", display_name(result)));
    match rows.len() {
        0 => "no key is enabled\n".to_owned(),
        all => {
            let s = if all == 1 { "" } else { "s" };
            format!("{all} call{s}: {}\n", counts.collect::<Vec<_>>().join(", "))
        }
    }
}

fn display_name(result: ProbeResult) -> String {
    result.name().replace('_', " ")
}

fn colored(text: String, result: ProbeResult, colour: bool) -> String {
    match (colour, result) {
        (false, _) => text,
        (true, ProbeResult::Ok) => format!("\u{1b}[32m{text}\u{1b}[0m"),
        (true, _) => format!("\u{1b}[1m\u{1b}[91m{text}\u{1b}[0m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'c>(
        key: &'c str,
        region: Option<&str>,
        result: ProbeResult,
        detail: Option<&str>,
    ) -> Row<'c> {
        Row {
            provider: "main",
            key,
            region: region.map(str::to_owned),
            report: ProbeReport {
                result,
                latency: Duration::from_millis(12),
                detail: detail.map(str::to_owned),
            },
        }
    }

    #[test]
    fn the_table_is_aligned_and_has_a_summary() {
        let rows = [
            row("a", None, ProbeResult::Ok, None),
            row("bb", Some("us-east-1"), ProbeResult::BadCredential, Some("401 invalid_api_key")),
        ];
        let text = "main/a             ok              12 ms\n\
                    main/bb us-east-1  bad credential  12 ms  401 invalid_api_key\n\
                    2 calls: 1 ok, 1 bad credential\n";
        assert_eq!(table(&rows, false), text);
        assert!(table(&rows, true).contains("\u{1b}[32mok            \u{1b}[0m"));
        assert_eq!(table(&[], false), "no key is enabled\n");
    }
}
