//! Metrics of one name by their labels. `prometheus_client`'s `Family` (0.25) neither lists its labels nor
//! has a `retain`, so it could not remove the metrics of keys and clients that a reload has removed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The metrics of one name by their labels. A clone shares them.
#[derive(Debug)]
pub(super) struct Series<L, M> {
    metrics: Arc<Mutex<BTreeMap<L, M>>>,
    create: fn() -> M,
}

impl<L: Ord, M: Clone> Series<L, M> {
    pub(super) fn new(create: fn() -> M) -> Self {
        Self { metrics: Arc::default(), create }
    }

    /// Returns the metric with these labels, and creates it if it does not exist.
    pub(super) fn with(&self, labels: L) -> M {
        self.lock().entry(labels).or_insert_with(self.create).clone()
    }

    /// Removes the metrics whose labels do not fulfil the condition.
    pub(super) fn retain(&self, condition: impl Fn(&L) -> bool) {
        self.lock().retain(|labels, _| condition(labels));
    }
}

impl<L, M> Series<L, M> {
    /// A panic elsewhere cannot leave the map half changed, so a poisoned lock is used as it is.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<L, M>> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Ord, M: Clone + Default> Default for Series<L, M> {
    fn default() -> Self {
        Self::new(M::default)
    }
}

impl<L, M> Clone for Series<L, M> {
    fn clone(&self) -> Self {
        Self { metrics: self.metrics.clone(), create: self.create }
    }
}

impl<L, M> EncodeMetric for Series<L, M>
where
    L: EncodeLabelSet,
    M: EncodeMetric + TypedMetric,
{
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, metric) in self.lock().iter() {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}
