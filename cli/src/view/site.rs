use cavs_proto::v1;
use cavs_types::{EnrollmentGate, Role};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    layout::{facts, moment},
    time, word,
};
use crate::{
    list::List,
    printer::{Report, Style},
};

/// A school or a company location.
#[derive(Debug, Clone, Serialize)]
pub struct SiteView {
    /// UUID.
    pub id: String,
    /// Name; unique.
    pub name: String,
    /// What whoever asks may do there: `admin`, `reviewer`, `viewer` or `capture`.
    pub role: &'static str,
    /// What its clocks show, as `Europe/Berlin`.
    pub time_zone: String,
    /// RFC 3339.
    pub create_time: Option<Timestamp>,
    /// Since when it can only be looked at; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_time: Option<Timestamp>,
}

/// How strictly a site looks at faces before they become templates.
#[derive(Debug, Serialize)]
pub struct EnrollmentGateView {
    /// `off`, `standard` or `strict`.
    pub gate: &'static str,
}

impl From<v1::EnrollmentPolicy> for EnrollmentGateView {
    fn from(policy: v1::EnrollmentPolicy) -> Self {
        Self { gate: word(policy.gate, EnrollmentGate::as_str) }
    }
}

impl Report for EnrollmentGateView {
    fn table(&self, style: &Style) -> String {
        facts(style, &[("gate", self.gate.to_owned())])
    }
}

/// Sites, ordered by name.
#[derive(Debug)]
pub struct SiteList;

impl From<v1::Site> for SiteView {
    fn from(site: v1::Site) -> Self {
        let v1::Site { id, name, create_time, archive_time, role, time_zone } = site;
        let (create_time, archive_time) = (time(create_time.as_ref()), time(archive_time.as_ref()));
        Self { id, name, role: word(role, Role::as_str), time_zone, create_time, archive_time }
    }
}

impl Report for SiteView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("name", self.name.clone()),
                ("your role", self.role.to_owned()),
                ("time zone", self.time_zone.clone()),
                ("created", moment(style, self.create_time)),
                ("archived", moment(style, self.archive_time)),
                ("id", self.id.clone()),
            ],
        )
    }
}

impl List for SiteList {
    type Entry = SiteView;
    const FIELD: &'static str = "sites";
    const NAME: &'static str = "sites";
    const HEADER: &'static [&'static str] = &["NAME", "YOUR ROLE", "ARCHIVED", "ID"];

    fn cells(site: &SiteView, style: &Style) -> Vec<String> {
        vec![site.name.clone(), site.role.to_owned(), moment(style, site.archive_time), site.id.clone()]
    }
}
