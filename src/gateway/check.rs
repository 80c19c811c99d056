//! Whether the providers take the keys, asked by the running program.

use std::sync::Arc;

use super::Gateway;
use crate::config::Key;
use crate::upstream::probe::{self, Report};

/// What came of one call.
#[derive(Debug)]
pub struct Checked {
    /// The key that was asked about.
    pub key: Arc<Key>,
    /// The region that was asked.
    pub region: Option<String>,
    /// What it says of the key.
    pub report: Report,
}

/// Asks about every enabled key with a free call; the answers in the order of the file. It changes
/// nothing of what requests do: a list of models may be had where a completion is not.
pub async fn check(gateway: Arc<Gateway>) -> Vec<Checked> {
    let mut asked = Vec::new();
    let mut calls = Vec::new();
    for (at, provider) in gateway.providers.iter().enumerate() {
        let deadline = probe::deadline(&gateway.config.providers[at].timeouts);
        for probe in provider.upstream.probes() {
            let key = provider.pool.keys()[probe.key].key.clone();
            asked.push((key, probe.region.clone()));
            let gateway = gateway.clone();
            calls.push(async move { gateway.providers[at].upstream.probe(&probe, deadline).await });
        }
    }
    let mut reports = vec![None; calls.len()];
    probe::all(calls, |at, report| reports[at] = Some(report)).await;
    let answered = asked.into_iter().zip(reports);
    let checked = answered
        .filter_map(|((key, region), report)| Some(Checked { key, region, report: report? }));
    checked.collect()
}
