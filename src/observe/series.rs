//! One metric for each set of labels. The library's own `Family` cannot take a name away again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The metrics of one name by their labels. A clone shares them.
#[derive(Debug)]
pub(super) struct Series<L, M> {
    known: Arc<Mutex<BTreeMap<L, M>>>,
    make: fn() -> M,
}

impl<L: Ord, M: Clone> Series<L, M> {
    pub(super) fn new(make: fn() -> M) -> Self {
        Self { known: Arc::default(), make }
    }

    /// The metric with these labels, which counts for as long as it is not taken away.
    pub(super) fn with(&self, labels: L) -> M {
        self.known().entry(labels).or_insert_with(self.make).clone()
    }

    /// Takes away all whose labels are not wanted any more.
    pub(super) fn keep(&self, wanted: impl Fn(&L) -> bool) {
        self.known().retain(|labels, _| wanted(labels));
    }
}

impl<L, M> Series<L, M> {
    /// A panic elsewhere leaves the map as good as it was.
    fn known(&self) -> MutexGuard<'_, BTreeMap<L, M>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Ord, M: Clone + Default> Default for Series<L, M> {
    fn default() -> Self {
        Self::new(M::default)
    }
}

impl<L, M> Clone for Series<L, M> {
    fn clone(&self) -> Self {
        Self { known: self.known.clone(), make: self.make }
    }
}

impl<L, M> EncodeMetric for Series<L, M>
where
    L: EncodeLabelSet,
    M: EncodeMetric + TypedMetric,
{
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, metric) in self.known().iter() {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    fn is_empty(&self) -> bool {
        self.known().is_empty()
    }
}
