//! What accounts hold, one label an account, for a bounded number of accounts.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// Accounts that are shown by themselves: those that hold most.
const SHOWN: usize = 100;
/// The label of all others together.
const OTHERS: &str = "others";

/// An account, by canonical id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Account {
    account: String,
}

/// What an account holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Buckets.
    pub buckets: i64,
    /// Objects that listings show.
    pub objects: i64,
    /// Versions that are no delete markers.
    pub versions: i64,
    /// Bytes of versions and of parts of open uploads.
    pub bytes: i64,
}

/// What accounts hold. Clones share the figures.
#[derive(Clone, Debug, Default)]
pub struct AccountMetrics {
    buckets: Family<Account, Gauge>,
    objects: Family<Account, Gauge>,
    versions: Family<Account, Gauge>,
    bytes: Family<Account, Gauge>,
    shown: Arc<Mutex<BTreeSet<String>>>,
}

impl Held {
    fn plus(self, other: Self) -> Self {
        Self {
            buckets: self.buckets.saturating_add(other.buckets),
            objects: self.objects.saturating_add(other.objects),
            versions: self.versions.saturating_add(other.versions),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl AccountMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("account_buckets", "Buckets of an account", self.buckets.clone());
        registry.register("account_objects", "Objects of an account", self.objects.clone());
        registry.register("account_versions", "Versions of an account's objects", self.versions.clone());
        registry.register("account_bytes", "Bytes that an account takes", self.bytes.clone());
    }

    /// Shows what these accounts hold. Of more than a hundred those with most bytes have labels of their own, the others
    /// one label together: figures of clients' making must not grow without end.
    pub fn show(&self, mut accounts: Vec<(String, Held)>) {
        accounts.sort_by(|(a, held_a), (b, held_b)| held_b.bytes.cmp(&held_a.bytes).then_with(|| a.cmp(b)));
        let rest = accounts.split_off(accounts.len().min(SHOWN));
        if !rest.is_empty() {
            let sum = rest.into_iter().fold(Held::default(), |sum, (_, held)| sum.plus(held));
            accounts.push((OTHERS.to_owned(), sum));
        }
        let mut shown = self.shown.lock();
        let now: BTreeSet<String> = accounts.iter().map(|(account, _)| account.clone()).collect();
        for account in shown.difference(&now) {
            let label = Account { account: account.clone() };
            for family in [&self.buckets, &self.objects, &self.versions, &self.bytes] {
                family.remove(&label);
            }
        }
        for (account, held) in accounts {
            let label = Account { account };
            let figures = [held.buckets, held.objects, held.versions, held.bytes];
            for (family, figure) in [&self.buckets, &self.objects, &self.versions, &self.bytes].into_iter().zip(figures)
            {
                family.get_or_create(&label).set(figure);
            }
        }
        *shown = now;
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    fn shown(metrics: &AccountMetrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        out
    }

    #[test]
    fn a_hundred_accounts_have_labels_and_the_others_one_together() {
        let metrics = AccountMetrics::default();
        let held = |bytes| Held { buckets: 1, objects: 2, versions: 3, bytes };
        metrics.show((0..250_i64).map(|number| (format!("id{number}"), held(number))).collect());
        let text = shown(&metrics);
        assert_eq!(text.lines().filter(|line| line.starts_with("account_bytes{")).count(), 101);
        assert!(text.contains("account_bytes{account=\"id249\"} 249\n"), "{text}");
        assert!(text.contains("account_buckets{account=\"others\"} 150\n"), "{text}");
        assert!(!text.contains("\"id149\""));
    }

    #[test]
    fn who_holds_nothing_any_more_is_gone() {
        let metrics = AccountMetrics::default();
        let held = Held { buckets: 1, ..Held::default() };
        metrics.show(vec![("a".to_owned(), held), ("b".to_owned(), held)]);
        metrics.show(vec![("b".to_owned(), Held { buckets: 2, ..held })]);
        let text = shown(&metrics);
        assert!(!text.contains("\"a\"") && text.contains("account_buckets{account=\"b\"} 2\n"), "{text}");
    }
}
