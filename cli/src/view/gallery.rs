use cavs_proto::v1;
use cavs_types::{GalleryMode, Grouping, RateBasis};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    layout::{facts, moment, similarity, table},
    time, word,
};
use crate::printer::{Report, Style};

/// The gallery of the server that answered.
#[derive(Debug, Serialize)]
pub struct GalleryView {
    /// The model pack whose faces are compared.
    pub pack_digest: String,
    /// Components of an embedding.
    pub dimension: u32,
    /// `auto`, `exact` or `hnsw`.
    pub mode: &'static str,
    /// `best` or `mean`.
    pub grouping: &'static str,
    /// Templates that can be found.
    pub templates: u64,
    /// Students that have at least one.
    pub students: u64,
    /// Templates of the database that are left out.
    pub quarantined: u64,
    /// Bytes of the exact store.
    pub memory_bytes: u64,
    /// Number of the latest change in it.
    pub sequence: i64,
    /// Changes applied since it was loaded.
    pub epoch: u64,
    /// The graph, where the mode keeps one.
    pub graph: Option<GraphView>,
    /// How probes were answered since the server started.
    pub searches: SearchesView,
    /// The thresholds in force on this server.
    pub thresholds: ThresholdsView,
    /// What its own faces say; none where there are too few.
    pub calibration: Option<CalibrationView>,
    /// What the wanted rate costs; none where the accept threshold follows none.
    pub rate_cost: Option<RateCostView>,
}

/// The graph of a gallery.
#[derive(Debug, Serialize)]
pub struct GraphView {
    /// Templates that it knows; 0 while there is none.
    pub templates: u64,
    /// Templates that it does not know yet.
    pub waiting: u64,
    /// Whether it is worked on.
    pub busy: bool,
    /// Times that it was built.
    pub builds: u64,
}

/// How probes were answered.
#[derive(Debug, Serialize)]
pub struct SearchesView {
    /// By the exact scan alone.
    pub exact: u64,
    /// By the graph alone.
    pub graph: u64,
    /// By the graph, confirmed by the scan.
    pub confirmed: u64,
    /// Confirmations that changed the outcome.
    pub changed: u64,
    /// Decisive answers of the graph that were scanned all the same.
    pub audited: u64,
    /// Audited ones that the scan contradicted.
    pub refuted: u64,
}

/// One version of a pack's thresholds.
#[derive(Debug, Clone, Serialize)]
pub struct ThresholdsView {
    /// 0: from the server's configuration and the model pack, or only tried.
    pub version: u32,
    /// Lowest similarity that is accepted without a person.
    pub accept: f32,
    /// Lowest similarity that is worth a reviewer's time.
    pub review: f32,
    /// Least distance to any other student.
    pub margin: f32,
    /// RFC 3339; none for version 0.
    pub set_time: Option<Timestamp>,
    /// User name; empty for version 0, and where a server set it for a wanted rate.
    pub set_by: String,
    /// The rate that the accept threshold follows; none where somebody has said it.
    pub rate: Option<RateView>,
    /// Least liveness that is accepted without a person; none where nobody asks.
    pub liveness: Option<f32>,
}

/// Why an accept threshold is what it is, where it follows a wanted rate.
#[derive(Debug, Clone, Serialize)]
pub struct RateView {
    /// Strangers, of 1,000, that may be accepted.
    pub false_matches_per_thousand: f64,
    /// `gallery`: its own faces say so; `pack`: the model pack's table for its size; `floor`: the lowest that may be.
    pub basis: &'static str,
    /// Templates of the gallery, when it was set.
    pub templates: u32,
}

/// What a wanted rate costs in work of people.
#[derive(Debug, Serialize)]
pub struct RateCostView {
    /// The lowest accept threshold that may be.
    pub floor: f32,
    /// The latest sightings, at most 10,000.
    pub sightings: u32,
    /// Those of them that the floor would accept and the threshold in force leaves to a person.
    pub left_to_people: u32,
}

/// What a gallery's own faces say about false matches.
#[derive(Debug, Serialize)]
pub struct CalibrationView {
    /// Templates that were looked up.
    pub samples: u32,
    /// RFC 3339.
    pub time: Option<Timestamp>,
    /// Strangers, of 1,000, expected to be accepted.
    pub false_matches_per_thousand: f64,
}

/// A suggested threshold.
#[derive(Debug, Serialize)]
pub struct SuggestionView {
    /// The accept threshold.
    pub accept: f32,
    /// Strangers, of 1,000, expected to be accepted by it.
    pub false_matches_per_thousand: f64,
    /// The thresholds in force.
    pub in_force: ThresholdsView,
    /// What it was concluded from.
    pub calibration: Option<CalibrationView>,
}

/// What other thresholds do.
#[derive(Debug, Serialize)]
pub struct ThresholdChangeView {
    /// In force before.
    pub before: SideView,
    /// In force after; of version 0 where they were only tried.
    pub after: SideView,
}

/// Thresholds, and what they do.
#[derive(Debug, Serialize)]
pub struct SideView {
    /// The thresholds that were applied.
    pub thresholds: ThresholdsView,
    /// Strangers, of 1,000, expected to be accepted; none where the gallery is too small to say.
    pub false_matches_per_thousand: Option<f64>,
    /// Of the latest sightings, those taken for somebody.
    pub accepted: u32,
    /// Those left to a person.
    pub pending: u32,
    /// Those taken for nobody.
    pub unknown: u32,
}

/// Versions of thresholds.
#[derive(Debug, Serialize)]
pub struct ThresholdList {
    /// Newest first.
    pub thresholds: Vec<ThresholdsView>,
}

impl From<v1::Gallery> for GalleryView {
    fn from(gallery: v1::Gallery) -> Self {
        let searches = gallery.searches.unwrap_or_default();
        Self {
            pack_digest: gallery.pack_digest,
            dimension: gallery.dimension,
            mode: word(gallery.mode, GalleryMode::as_str),
            grouping: word(gallery.grouping, Grouping::as_str),
            templates: gallery.templates,
            students: gallery.students,
            quarantined: gallery.quarantined,
            memory_bytes: gallery.memory_bytes,
            sequence: gallery.sequence,
            epoch: gallery.epoch,
            graph: gallery.graph.map(|graph| GraphView {
                templates: graph.templates,
                waiting: graph.waiting,
                busy: graph.busy,
                builds: graph.builds,
            }),
            searches: SearchesView {
                exact: searches.exact,
                graph: searches.graph,
                confirmed: searches.confirmed,
                changed: searches.changed,
                audited: searches.audited,
                refuted: searches.refuted,
            },
            thresholds: gallery.thresholds.unwrap_or_default().into(),
            calibration: gallery.calibration.map(Into::into),
            rate_cost: gallery.rate_cost.map(|cost| {
                let v1::RateCost { floor, sightings, left_to_people } = cost;
                RateCostView { floor, sightings, left_to_people }
            }),
        }
    }
}

impl From<v1::Thresholds> for ThresholdsView {
    fn from(thresholds: v1::Thresholds) -> Self {
        let v1::Thresholds { version, accept, review, margin, set_time, set_by, rate, liveness } = thresholds;
        let rate = rate.map(|rate| RateView {
            false_matches_per_thousand: rate.false_matches_per_thousand,
            basis: word(rate.basis, RateBasis::as_str),
            templates: rate.templates,
        });
        Self { version, accept, review, margin, set_time: time(set_time.as_ref()), set_by, rate, liveness }
    }
}

impl From<v1::Calibration> for CalibrationView {
    fn from(calibration: v1::Calibration) -> Self {
        let v1::Calibration { samples, time: at, false_matches_per_thousand } = calibration;
        Self { samples, time: time(at.as_ref()), false_matches_per_thousand }
    }
}

impl From<v1::SuggestThresholdResponse> for SuggestionView {
    fn from(found: v1::SuggestThresholdResponse) -> Self {
        Self {
            accept: found.accept,
            false_matches_per_thousand: found.false_matches_per_thousand,
            in_force: found.in_force.unwrap_or_default().into(),
            calibration: found.calibration.map(Into::into),
        }
    }
}

impl From<v1::PreviewThresholdsResponse> for ThresholdChangeView {
    fn from(done: v1::PreviewThresholdsResponse) -> Self {
        let side = |thresholds: Option<v1::Thresholds>, rate, decisions: Option<v1::DecisionCounts>| {
            let v1::DecisionCounts { accepted, pending, unknown } = decisions.unwrap_or_default();
            let thresholds = thresholds.unwrap_or_default().into();
            SideView { thresholds, false_matches_per_thousand: rate, accepted, pending, unknown }
        };
        Self {
            before: side(done.before, done.false_matches_before, done.decisions_before),
            after: side(done.after, done.false_matches_after, done.decisions_after),
        }
    }
}

impl From<v1::ListThresholdsResponse> for ThresholdList {
    fn from(found: v1::ListThresholdsResponse) -> Self {
        Self { thresholds: found.thresholds.into_iter().map(Into::into).collect() }
    }
}

impl Report for GalleryView {
    fn table(&self, style: &Style) -> String {
        let SearchesView { exact, graph, confirmed, changed, audited, refuted } = &self.searches;
        let searches = format!("{exact} by the scan, {graph} by the graph, {confirmed} by both");
        let graph = match &self.graph {
            None => "none".to_owned(),
            Some(graph) => {
                let busy = if graph.busy { ", being built" } else { "" };
                format!("{} templates, {} waiting{busy}", graph.templates, graph.waiting)
            }
        };
        let calibration = self.calibration.as_ref();
        let rate = calibration.map_or_else(
            || "unknown: the gallery is too small".to_owned(),
            |c| format!("{} of 1,000 strangers ({} samples)", rate(c.false_matches_per_thousand), c.samples),
        );
        facts(
            style,
            &[
                ("templates", self.templates.to_string()),
                ("students", self.students.to_string()),
                ("quarantined", self.quarantined.to_string()),
                ("mode", self.mode.to_owned()),
                ("grouping", self.grouping.to_owned()),
                ("graph", graph),
                ("memory", format!("{:.1} MB", self.memory_bytes as f64 / 1e6)),
                ("sequence", self.sequence.to_string()),
                ("epoch", self.epoch.to_string()),
                ("searches", searches),
                ("confirmations", format!("{confirmed}, of which {changed} changed the answer")),
                ("audits", format!("{audited}, of which {refuted} contradicted the graph")),
                ("thresholds", self.thresholds.label()),
                ("false matches", rate),
                ("wanted", self.wanted()),
                ("pack", self.pack_digest.clone()),
            ],
        )
    }
}

impl GalleryView {
    /// The wanted rate, what follows from it, and what it costs.
    fn wanted(&self) -> String {
        let Some(wanted) = &self.thresholds.rate else {
            return "no rate: the accept threshold was set".to_owned();
        };
        let follows = wanted.label();
        match &self.rate_cost {
            Some(RateCostView { floor, sightings, left_to_people }) if *sightings > 0 => format!(
                "{follows}; {left_to_people} of the latest {sightings} sightings wait for a person that {} would accept",
                similarity(*floor)
            ),
            _ => follows,
        }
    }
}

impl RateView {
    fn label(&self) -> String {
        let Self { false_matches_per_thousand, basis, templates } = self;
        let wanted = rate(*false_matches_per_thousand);
        match *basis {
            "gallery" => format!("{wanted} of 1,000, by the gallery's own {templates} templates"),
            "pack" => format!("{wanted} of 1,000, by the pack's table for {templates} templates"),
            _ => format!("{wanted} of 1,000, met by the lowest threshold"),
        }
    }
}

impl ThresholdsView {
    fn label(&self) -> String {
        let Self { version, accept, review, margin, .. } = self;
        let [accept, review, margin] = [accept, review, margin].map(|value| similarity(*value));
        let liveness =
            self.liveness.map(|least| format!(", liveness {}", similarity(least))).unwrap_or_default();
        format!("accept {accept}, review {review}, margin {margin}{liveness} (version {version})")
    }
}

impl Report for SuggestionView {
    fn table(&self, style: &Style) -> String {
        let line = |accept, false_matches| {
            format!("{} ({} false matches of 1,000)", similarity(accept), rate(false_matches))
        };
        let calibration = self.calibration.as_ref();
        let now = calibration.map(|c| line(self.in_force.accept, c.false_matches_per_thousand));
        facts(
            style,
            &[
                ("suggested", line(self.accept, self.false_matches_per_thousand)),
                ("in force", now.unwrap_or_default()),
                ("samples", calibration.map(|c| c.samples.to_string()).unwrap_or_default()),
            ],
        )
    }
}

impl Report for ThresholdChangeView {
    fn table(&self, style: &Style) -> String {
        let row =
            |name: &str, of: fn(&SideView) -> String| [name.to_owned(), of(&self.before), of(&self.after)];
        let rows = vec![
            [
                "version".to_owned(),
                self.before.thresholds.version.to_string(),
                match self.after.thresholds.version {
                    0 => "not set".to_owned(),
                    version => version.to_string(),
                },
            ],
            row("accept", |side| similarity(side.thresholds.accept)),
            row("review", |side| similarity(side.thresholds.review)),
            row("margin", |side| similarity(side.thresholds.margin)),
            row("liveness", |side| side.thresholds.liveness.map(similarity).unwrap_or_default()),
            row("false matches of 1,000", |side| {
                side.false_matches_per_thousand.map(rate).unwrap_or_default()
            }),
            row("sightings accepted", |side| side.accepted.to_string()),
            row("sightings pending", |side| side.pending.to_string()),
            row("sightings unknown", |side| side.unknown.to_string()),
        ];
        table(style, ["THRESHOLDS", "BEFORE", "AFTER"], rows)
    }
}

impl Report for ThresholdList {
    const ROWS: Option<&'static str> = Some("thresholds");

    fn table(&self, style: &Style) -> String {
        let rows = self.thresholds.iter().map(|one| {
            let by = match one.set_by.as_str() {
                "" if one.version == 0 || one.rate.is_none() => "configuration",
                "" => "rate",
                name => name,
            };
            [
                one.version.to_string(),
                similarity(one.accept),
                similarity(one.review),
                similarity(one.margin),
                moment(style, one.set_time),
                by.to_owned(),
                one.rate.as_ref().map(RateView::label).unwrap_or_default(),
            ]
        });
        table(style, ["VERSION", "ACCEPT", "REVIEW", "MARGIN", "SET", "BY", "FOLLOWS"], rows.collect())
    }
}

/// Three digits that count.
fn rate(per_thousand: f64) -> String {
    match per_thousand {
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate if rate >= 0.01 => format!("{rate:.2}"),
        rate if rate > 0.0 => format!("{rate:.1e}"),
        _ => "0".to_owned(),
    }
}
