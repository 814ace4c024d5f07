//! What the server counts, for the operator's monitoring.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cavs_gallery::Counters;
use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry},
};

use crate::db::Connections;
use cavs_types::{Decision, SiteId};

/// One label with one of a few values.
type Label = [(&'static str, &'static str); 1];
/// The id of a site: operators make them, and they are few.
type SiteLabel = [(&'static str, String); 1];
/// Two of them.
type Labels = [(&'static str, &'static str); 2];

/// Counters and gauges. They carry no name of anybody and no label that a caller could make up.
pub struct Metrics {
    registry: Registry,
    sightings: Family<Label, Counter>,
    rejected: Family<Label, Counter>,
    decisions: Family<Label, Counter>,
    streams: Gauge,
    connected_twice: Counter,
    unknown_messages: Counter,
    matching: Histogram,
    turned_away: Counter,
    searches: Family<Label, Counter>,
    confirmations_changed: Counter,
    audits: Counter,
    audits_refuted: Counter,
    gallery: Family<Label, Gauge>,
    gallery_bytes: Gauge,
    quarantined: Gauge,
    sequence: Family<SiteLabel, Gauge>,
    threshold: Family<SiteLabel, Gauge<f64, AtomicU64>>,
    threshold_version: Family<SiteLabel, Gauge>,
    false_matches: Family<SiteLabel, Gauge<f64, AtomicU64>>,
    connections: Family<Labels, Gauge>,
    certificates: Family<Label, Gauge>,
    keyring_epoch: Gauge,
    webhook_attempts: Family<Label, Counter>,
    webhooks_disabled: Counter,
}

/// What is read when monitoring asks, rather than counted as it happens.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Templates and students in the galleries, and templates in their graphs.
    pub sizes: [usize; 3],
    /// Bytes of the exact stores.
    pub bytes: usize,
    /// Templates that are left out.
    pub quarantined: usize,
    /// How searches were answered.
    pub searches: Counters,
    /// What each site has of its own.
    pub sites: Vec<ObservedSite>,
    /// To the database, by whom they are for.
    pub connections: [(&'static str, Connections); 3],
    /// The newest epoch of the keyring.
    pub keyring_epoch: u32,
}

/// What a site has of its own.
#[derive(Debug, Clone, Copy)]
pub struct ObservedSite {
    /// Which.
    pub site: SiteId,
    /// Number of the latest change in its gallery.
    pub sequence: i64,
    /// Version of its thresholds in force.
    pub threshold_version: u32,
    /// Its accept threshold in force.
    pub accept: f32,
    /// Expected false matches per 1,000 strangers, where that is known.
    pub false_matches: Option<f64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("cavs");
        let r = &mut registry;
        // From a tenth of a millisecond to three seconds.
        let buckets = exponential_buckets(1e-4, 2.0, 16);
        Self {
            sightings: add(r, "sightings", "Sightings acknowledged, by outcome", Family::default()),
            rejected: add(r, "sightings_rejected", "Sightings rejected, by reason", Family::default()),
            decisions: add(r, "decisions", "Decisions on sightings", Family::default()),
            streams: add(r, "device_streams", "Open streams of devices", Gauge::default()),
            connected_twice: add(
                r,
                "devices_connected_twice",
                "Times that two starts of one device's agent were found alive at once",
                Counter::default(),
            ),
            unknown_messages: add(
                r,
                "device_messages_unknown",
                "Messages of devices that this server does not know",
                Counter::default(),
            ),
            matching: add(
                r,
                "matching_seconds",
                "Time to match a probe, as its share of its batch",
                Histogram::new(buckets),
            ),
            turned_away: add(
                r,
                "matching_turned_away",
                "Batches and pictures that matching had no room for",
                Counter::default(),
            ),
            searches: add(
                r,
                "gallery_searches",
                "Probes, by who answered: scan, graph, or both",
                Family::default(),
            ),
            confirmations_changed: add(
                r,
                "gallery_confirmations_changed",
                "Scans that changed what the graph had answered",
                Counter::default(),
            ),
            audits: add(
                r,
                "gallery_audits",
                "Decisive answers of the graph that were scanned",
                Counter::default(),
            ),
            audits_refuted: add(
                r,
                "gallery_audits_refuted",
                "Audited answers that the scan contradicted",
                Counter::default(),
            ),
            gallery: add(r, "gallery_size", "Templates, students, templates in the graph", Family::default()),
            gallery_bytes: add(r, "gallery_bytes", "Memory of the exact store", Gauge::default()),
            quarantined: add(
                r,
                "gallery_quarantined",
                "Templates of the database that are left out",
                Gauge::default(),
            ),
            sequence: add(
                r,
                "gallery_sequence",
                "Number of the latest change in a site's gallery",
                Family::default(),
            ),
            threshold: add(r, "accept_threshold", "Accept threshold in force", Family::default()),
            threshold_version: add(r, "threshold_version", "Version of the thresholds", Family::default()),
            false_matches: add(
                r,
                "false_matches_per_thousand",
                "Strangers, of 1,000, expected to be accepted; NaN where the gallery is too small to say",
                Family::default(),
            ),
            connections: add(r, "database_connections", "Connections to the database", Family::default()),
            certificates: add(
                r,
                "certificate_not_after_timestamp_seconds",
                "Until when a certificate holds, in Unix seconds",
                Family::default(),
            ),
            keyring_epoch: add(
                r,
                "keyring_epoch",
                "Newest epoch of the keyring: where it changes, the keyring has to be copied again",
                Gauge::default(),
            ),
            webhook_attempts: add(
                r,
                "webhook_attempts",
                "Messages sent to webhooks, by whether they were taken",
                Family::default(),
            ),
            webhooks_disabled: add(
                r,
                "webhooks_disabled",
                "Webhooks that were switched off, as they took nothing for days or wanted nothing more",
                Counter::default(),
            ),
            registry,
        }
    }
}

impl Metrics {
    /// Counts sightings that are committed now, or were before.
    pub fn acknowledged(&self, stored: usize, duplicates: usize) {
        self.sightings.get_or_create(&[("outcome", "stored")]).inc_by(stored as u64);
        self.sightings.get_or_create(&[("outcome", "duplicate")]).inc_by(duplicates as u64);
    }

    /// Counts a sighting that will never be accepted.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a decision on a sighting that was not there before.
    pub fn decided(&self, decision: Decision) {
        let decision = match decision {
            Decision::Accepted => "accepted",
            Decision::Pending => "pending",
            Decision::Unknown => "unknown",
        };
        self.decisions.get_or_create(&[("decision", decision)]).inc();
    }

    /// Notes how long a batch of probes was matched.
    pub fn matched(&self, probes: usize, took: Duration) {
        let share = took.as_secs_f64() / probes.max(1) as f64;
        (0..probes).for_each(|_| self.matching.observe(share));
    }

    /// Counts that two starts of one device's agent were found alive at once.
    pub fn connected_twice(&self) {
        self.connected_twice.inc();
    }

    /// Counts a message of a device that this server does not know.
    pub fn unknown_message(&self) {
        self.unknown_messages.inc();
    }

    /// Counts what matching had no room for.
    pub fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// Counts a stream of a device for as long as the guard lives.
    pub fn stream(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }

    /// Counts a message that was sent to a webhook.
    pub fn webhook_attempted(&self, is_taken: bool) {
        let outcome = if is_taken { "taken" } else { "failed" };
        self.webhook_attempts.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// A webhook was switched off.
    pub fn webhook_disabled(&self) {
        self.webhooks_disabled.inc();
    }

    /// Notes until when a certificate holds.
    pub fn certificate_ends(&self, of: &'static str, at: jiff::Timestamp) {
        self.certificates.get_or_create(&[("of", of)]).set(at.as_second());
    }

    /// Everything, in the text format of OpenMetrics.
    ///
    /// # Errors
    /// Never: writing to a string does not fail.
    pub fn render(&self, observed: Option<&Observed>) -> Result<String, fmt::Error> {
        if let Some(observed) = observed {
            self.observe(observed);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn observe(&self, observed: &Observed) {
        let Counters { exact, graph, confirmed, changed, audited, refuted } = observed.searches;
        for (by, count) in [("scan", exact), ("graph", graph), ("both", confirmed + audited)] {
            set(&self.searches.get_or_create(&[("by", by)]), count);
        }
        set(&self.confirmations_changed, changed);
        set(&self.audits, audited);
        set(&self.audits_refuted, refuted);
        for (of, size) in ["templates", "students", "graph"].into_iter().zip(observed.sizes) {
            self.gallery.get_or_create(&[("of", of)]).set(size as i64);
        }
        self.gallery_bytes.set(observed.bytes as i64);
        self.quarantined.set(observed.quarantined as i64);
        // An archived site is no longer there.
        self.sequence.clear();
        self.threshold.clear();
        self.threshold_version.clear();
        self.false_matches.clear();
        for one in &observed.sites {
            let site = [("site", one.site.to_string())];
            self.sequence.get_or_create(&site).set(one.sequence);
            self.threshold.get_or_create(&site).set(one.accept.into());
            self.threshold_version.get_or_create(&site).set(one.threshold_version.into());
            self.false_matches.get_or_create(&site).set(one.false_matches.unwrap_or(f64::NAN));
        }
        self.keyring_epoch.set(observed.keyring_epoch.into());
        for (of, Connections { open, idle, most, waiting }) in observed.connections {
            for (state, count) in [("open", open), ("idle", idle), ("most", most), ("waited_for", waiting)] {
                self.connections.get_or_create(&[("of", of), ("state", state)]).set(count as i64);
            }
        }
    }
}

/// A stream of a device that is open.
pub struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Sets a counter to what was counted elsewhere.
fn set(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_and_observed_is_in_the_text() {
        let metrics = Metrics::default();
        metrics.acknowledged(3, 1);
        metrics.rejected("EMBEDDING_INVALID");
        metrics.decided(Decision::Pending);
        metrics.matched(2, Duration::from_millis(3));
        metrics.certificate_ends("server", jiff::Timestamp::UNIX_EPOCH);
        metrics.turned_away();
        let stream = metrics.stream();
        let searches = Counters { exact: 1, graph: 2, confirmed: 3, changed: 1, audited: 1, refuted: 0 };
        let observed = Observed {
            sizes: [20, 5, 0],
            bytes: 1000,
            quarantined: 1,
            searches,
            sites: vec![ObservedSite {
                site: uuid::Uuid::nil().into(),
                sequence: 25,
                threshold_version: 2,
                accept: 0.5,
                false_matches: None,
            }],
            connections: ["people", "devices", "background"]
                .map(|of| (of, Connections { open: 3, idle: 2, most: 16, waiting: 0 })),
            keyring_epoch: 7,
        };
        let text = metrics.render(Some(&observed)).unwrap();
        for line in [
            "cavs_sightings_total{outcome=\"stored\"} 3",
            "cavs_sightings_rejected_total{reason=\"EMBEDDING_INVALID\"} 1",
            "cavs_decisions_total{decision=\"pending\"} 1",
            "cavs_matching_seconds_bucket{le=\"0.0016\"} 2",
            "cavs_matching_turned_away_total 1",
            "cavs_device_streams 1",
            "cavs_gallery_searches_total{by=\"both\"} 4",
            "cavs_gallery_confirmations_changed_total 1",
            "cavs_gallery_size{of=\"students\"} 5",
            "cavs_gallery_quarantined 1",
            "cavs_accept_threshold{site=\"00000000-0000-0000-0000-000000000000\"} 0.5",
            "cavs_false_matches_per_thousand{site=\"00000000-0000-0000-0000-000000000000\"} NaN",
            "cavs_database_connections{of=\"devices\",state=\"most\"} 16",
            "cavs_certificate_not_after_timestamp_seconds{of=\"server\"} 0",
            "cavs_keyring_epoch 7",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing:\n{text}");
        }
        drop(stream);
        assert!(metrics.render(None).unwrap().contains("cavs_device_streams 0"));
    }
}
