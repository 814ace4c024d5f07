//! What is expected of mistakes.

use cavs_proto::v1;
use serde::Serialize;

/// How many faces are expected to be taken for somebody's whose they are not.
#[derive(Debug, Serialize)]
pub struct FalseMatchesView {
    /// Faces that were seen.
    pub faces: u64,
    /// If all of them were strangers'; `null`: nobody can say.
    pub at_most: Option<f64>,
    /// Of those who are expected; `null` where nobody is.
    pub roster: Option<ScopeRateView>,
    /// Of everybody of the site.
    pub site: ScopeRateView,
}

/// How often a stranger is accepted as one of some people.
#[derive(Debug, Serialize)]
pub struct ScopeRateView {
    /// Of those people.
    pub templates: u32,
    /// The similarity that is accepted.
    pub threshold: f32,
    /// Strangers, of 1,000; `null`: nobody can say.
    pub per_thousand: Option<f64>,
}

impl From<v1::FalseMatches> for FalseMatchesView {
    fn from(of: v1::FalseMatches) -> Self {
        let rate = |of: v1::ScopeRate| ScopeRateView {
            templates: of.templates,
            threshold: of.threshold,
            per_thousand: of.per_thousand,
        };
        let (roster, site) = (of.roster.map(rate), rate(of.site.unwrap_or_default()));
        Self { faces: of.faces, at_most: of.at_most, roster, site }
    }
}

impl FalseMatchesView {
    /// In a line; nothing where nobody can say.
    pub(super) fn text(&self) -> Option<String> {
        let at_most = self.at_most?;
        // Below, the figure says no more than that it is small.
        let at_most =
            if at_most < 0.001 { "fewer than 0.001".to_owned() } else { format!("at most {at_most:.3}") };
        let of = |rate: &ScopeRateView, of: &str| {
            let per_thousand = rate.per_thousand.unwrap_or_default();
            format!(
                "{per_thousand:.2} of 1,000 strangers at {:.3} among {} templates of the {of}",
                rate.threshold, rate.templates
            )
        };
        let rates = self.roster.iter().map(|rate| of(rate, "roster")).chain([of(&self.site, "site")]);
        Some(format!(
            "expected false matches: {at_most}, if the {} faces seen were strangers' ({})",
            self.faces,
            rates.collect::<Vec<_>>().join("; ")
        ))
    }
}
