//! Inventory reports in figures.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// How inventory reports come along.
#[derive(Clone, Debug, Default)]
pub struct InventoryMetrics {
    /// Reports that are being written.
    pub running: Gauge,
    /// Reports written whole.
    pub reports: Counter,
    /// Reports given up: the destination is gone, is full, or does not permit them.
    pub failures: Counter,
    /// Rows that are in files of reports.
    pub rows: Counter,
}

impl InventoryMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("inventory_running", "Inventory reports being written", self.running.clone());
        registry.register("inventory_reports", "Inventory reports written", self.reports.clone());
        registry.register("inventory_failures", "Inventory reports given up", self.failures.clone());
        registry.register("inventory_rows", "Rows written into inventory reports", self.rows.clone());
    }
}
