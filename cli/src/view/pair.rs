use cavs_proto::v1;
use cavs_types::ConfusableKind;
use jiff::Timestamp;
use serde::Serialize;

use super::{StudentRefView, layout::moment, time, word};
use crate::{
    list::List,
    printer::{Report, Style},
    text::sanitised,
};

/// Two students who are taken for one another.
#[derive(Debug, Clone, Serialize)]
pub struct PairView {
    /// One of them.
    pub first: StudentRefView,
    /// The other.
    pub second: StudentRefView,
    /// `twins` or `confused`.
    pub kind: &'static str,
    /// Name of the user who said or corrected it.
    pub noted_by: String,
    /// RFC 3339.
    pub note_time: Option<Timestamp>,
}

/// Confusable pairs.
#[derive(Debug)]
pub struct PairList;

impl From<v1::ConfusablePair> for PairView {
    fn from(pair: v1::ConfusablePair) -> Self {
        let v1::ConfusablePair { first, second, kind, noted_by, note_time } = pair;
        Self {
            first: first.unwrap_or_default().into(),
            second: second.unwrap_or_default().into(),
            kind: word(kind, ConfusableKind::as_str),
            noted_by,
            note_time: time(note_time.as_ref()),
        }
    }
}

impl Report for PairView {
    fn table(&self, _style: &Style) -> String {
        format!(
            "{} and {} look alike: a face that may be either's goes to a person",
            sanitised(&self.first.label()),
            sanitised(&self.second.label())
        )
    }
}

impl List for PairList {
    type Entry = PairView;
    const FIELD: &'static str = "pairs";
    const NAME: &'static str = "pairs";
    const HEADER: &'static [&'static str] = &["STUDENT", "OTHER", "KIND", "NOTED BY", "NOTED"];

    fn cells(pair: &PairView, style: &Style) -> Vec<String> {
        vec![
            pair.first.label(),
            pair.second.label(),
            pair.kind.to_owned(),
            pair.noted_by.clone(),
            moment(style, pair.note_time),
        ]
    }
}
