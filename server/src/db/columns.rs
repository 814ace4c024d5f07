//! How values are written in columns, and read from them.

use std::str::FromStr;

use cavs_embedding::PackDigest;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::Row;

use super::DatabaseError;

/// Reads a text column that holds a value of a closed vocabulary.
pub(crate) fn read_text<T: FromStr>(
    row: &Row,
    table: &'static str,
    column: &'static str,
) -> Result<T, DatabaseError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| DatabaseError::Damaged { table, column, value: text.to_owned() })
}

/// Reads the column `time_zone`: what the clocks of a site show.
pub(crate) fn read_zone(row: &Row) -> Result<TimeZone, DatabaseError> {
    let name: &str = row.try_get("time_zone")?;
    let damaged = |_| DatabaseError::Damaged { table: "sites", column: "time_zone", value: name.to_owned() };
    TimeZone::get(name).map_err(damaged)
}

/// Reads a JSON column.
pub(crate) fn read_json<T: DeserializeOwned>(
    row: &Row,
    table: &'static str,
    column: &'static str,
) -> Result<T, DatabaseError> {
    let value: Value = row.try_get(column)?;
    serde_json::from_value(value).map_err(|error| DatabaseError::Damaged {
        table,
        column,
        value: error.to_string(),
    })
}

/// Reads the column `pack_digest`.
pub(crate) fn read_digest(table: &'static str, bytes: &[u8]) -> Result<PackDigest, DatabaseError> {
    let damaged =
        || DatabaseError::Damaged { table, column: "pack_digest", value: format!("{} bytes", bytes.len()) };
    Ok(PackDigest::from_bytes(bytes.try_into().map_err(|_| damaged())?))
}

/// Counters and sequence numbers are `bigint` in the database: what exceeds it is cut off there.
pub(crate) fn to_bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As [`to_bigint`], for `integer`.
pub(crate) fn to_integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
