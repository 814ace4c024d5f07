//! Rows that are written together: each column by its name beside where its values come from, and one array
//! of values as its parameter.

use jiff::{Timestamp, civil::Date};
use serde::Serialize;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

/// A value that knows the type of its column.
pub(crate) trait ColumnValue: ToSql + Sync + Send {
    /// The column's type in SQL.
    const SQL_TYPE: &'static str;
}

macro_rules! column_values {
    ($($rust:ty = $sql:literal,)*) => {
        $(impl ColumnValue for $rust {
            const SQL_TYPE: &'static str = $sql;
        })*
    };
}

column_values! {
    Uuid = "uuid",
    bool = "boolean",
    i32 = "integer",
    i64 = "bigint",
    f32 = "real",
    &str = "text",
    String = "text",
    &[u8] = "bytea",
    Date = "date",
    Timestamp = "timestamptz",
}

impl<T: Serialize + std::fmt::Debug + Send + Sync> ColumnValue for Json<T> {
    const SQL_TYPE: &'static str = "jsonb";
}

impl<T: ColumnValue> ColumnValue for Option<T> {
    const SQL_TYPE: &'static str = T::SQL_TYPE;
}

/// A batch of rows as columns.
pub(crate) struct Batch<'a, R> {
    rows: &'a [R],
    columns: Vec<(&'static str, &'static str)>,
    values: Vec<Box<dyn ToSql + Sync + Send + 'a>>,
}

impl<'a, R> Batch<'a, R> {
    /// Of these rows; no columns yet.
    pub(crate) const fn of(rows: &'a [R]) -> Self {
        Self { rows, columns: Vec::new(), values: Vec::new() }
    }

    /// Adds a column with its value of each row.
    #[must_use]
    pub(crate) fn column<T: ColumnValue + 'a>(
        mut self,
        name: &'static str,
        value: impl Fn(&'a R) -> T,
    ) -> Self {
        self.columns.push((name, T::SQL_TYPE));
        self.values.push(Box::new(self.rows.iter().map(value).collect::<Vec<T>>()));
        self
    }

    /// The columns' names, as a list of SQL.
    pub(crate) fn names(&self) -> String {
        self.list(|name| name.to_owned())
    }

    /// The columns of [`Self::source`], as a list of SQL.
    pub(crate) fn given(&self) -> String {
        self.list(|name| format!("given.{name}"))
    }

    fn list(&self, item: impl Fn(&str) -> String) -> String {
        self.columns.iter().map(|(name, _)| item(name)).collect::<Vec<_>>().join(", ")
    }

    /// The rows, as an item of SQL's `FROM` of the name `given`.
    pub(crate) fn source(&self) -> String {
        let array = |(index, (_, sql_type)): (usize, &(_, &str))| format!("${}::{sql_type}[]", index + 1);
        let arrays: Vec<String> = self.columns.iter().enumerate().map(array).collect();
        format!("unnest({}) AS given ({})", arrays.join(", "), self.names())
    }

    /// The parameters of [`Self::source`].
    pub(crate) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|values| -> &(dyn ToSql + Sync) { &**values }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_beside_their_values() {
        let rows = [(1_i64, Some(0.5_f32)), (2, None)];
        let batch = Batch::of(&rows).column("sequence", |row| row.0).column("liveness", |row| row.1);
        assert_eq!(
            (batch.names(), batch.given()),
            ("sequence, liveness".into(), "given.sequence, given.liveness".into())
        );
        assert_eq!(batch.source(), "unnest($1::bigint[], $2::real[]) AS given (sequence, liveness)");
        assert_eq!(format!("{:?}", batch.parameters()), "[[1, 2], [Some(0.5), None]]");
    }
}
