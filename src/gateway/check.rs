//! Tests the keys with their providers, on request of the running program.

use std::sync::Arc;

use super::Gateway;
use crate::config::Key;
use crate::upstream::probe::{self, ProbeReport};

/// The result of one call.
#[derive(Debug)]
pub struct Checked {
    /// The key that was tested.
    pub key: Arc<Key>,
    /// The region that was called.
    pub region: Option<String>,
    /// The result.
    pub report: ProbeReport,
}

/// Tests every enabled key with a free call. Returns the results in the order of the file. It does not change the
/// state of the keys: a list of models may work where a completion does not.
pub async fn check(gateway: Arc<Gateway>) -> Vec<Checked> {
    let mut keys = Vec::new();
    let mut calls = Vec::new();
    for (at, provider) in gateway.providers.iter().enumerate() {
        let deadline = probe::deadline(&gateway.config.providers[at].timeouts);
        for probe in provider.upstream.probes() {
            let key = provider.pool.keys()[probe.key].key.clone();
            keys.push((key, probe.region.clone()));
            let gateway = gateway.clone();
            calls.push(async move { gateway.providers[at].upstream.probe(&probe, deadline).await });
        }
    }
    let mut reports = vec![None; calls.len()];
    probe::run_all(calls, |at, report| reports[at] = Some(report)).await;
    let results = keys.into_iter().zip(reports);
    let checked = results
        .filter_map(|((key, region), report)| Some(Checked { key, region, report: report? }));
    checked.collect()
}
