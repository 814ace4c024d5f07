use std::{fmt, str::FromStr};

use cavs_types::ProtocolError;
use uuid::Uuid;

use crate::text;

/// Longest name of a term, a holiday, a group or a session, in characters.
const LONGEST_NAME: usize = 200;

/// How a term, a group or a room is named in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleKey<I> {
    /// By our id.
    Id(I),
    /// By its name.
    Name(String),
}

/// A group, a room or a term as others name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRef<I> {
    /// Made by the server.
    pub id: I,
    /// As people call it.
    pub name: String,
}

/// Which state of something somebody has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleVersion(pub i64);

impl ScheduleVersion {
    /// As an etag.
    #[must_use]
    pub fn etag(self) -> String {
        self.0.to_string()
    }

    /// Reads an etag; empty is none.
    ///
    /// # Errors
    /// `Invalid`: it is no etag.
    pub fn from_etag(etag: &str) -> Result<Option<Self>, ProtocolError> {
        if etag.is_empty() {
            return Ok(None);
        }
        let version =
            etag.parse().map_err(|_| ProtocolError::invalid("etag", "is none of the schedule's"))?;
        Ok(Some(Self(version)))
    }
}

/// Where a page of a list goes on: after the item that has this key, and of those with this key after this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPosition<K> {
    /// What the list is ordered by.
    pub key: K,
    /// Of the last item.
    pub id: Uuid,
}

impl<K: fmt::Display> fmt::Display for ListPosition<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.key)
    }
}

impl<K: FromStr> FromStr for ListPosition<K> {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let parsed = text.split_once(' ').and_then(|(id, key)| Some((id.parse().ok()?, key.parse().ok()?)));
        let (id, key) =
            parsed.ok_or_else(|| ProtocolError::invalid("page_token", "is no position in a list"))?;
        Ok(Self { key, id })
    }
}

/// A name of a session as it is stored: at most 200 characters; may be empty.
///
/// # Errors
/// `Invalid`.
pub fn session_name(field: &'static str, typed: &str) -> Result<String, ProtocolError> {
    text::name(field, typed, LONGEST_NAME)
}

/// A name of a term, a holiday or a group as it is stored: at most 200 characters.
///
/// # Errors
/// `Missing` or `Invalid`.
pub fn schedule_name(field: &'static str, typed: &str) -> Result<String, ProtocolError> {
    text::required(field, text::name(field, typed, LONGEST_NAME)?)
}
