//! How lists are asked for: the conditions that a request sets and no others, so that each has its index.

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::{
    db::DatabaseError,
    page::{COUNTED, Total},
};

/// The conditions of a query, with their parameters.
#[derive(Default)]
pub(crate) struct Conditions<'a> {
    sql: Vec<String>,
    parameters: Vec<(&'a (dyn ToSql + Sync), Type)>,
}

impl<'a> Conditions<'a> {
    /// Adds a condition without parameters.
    pub(crate) fn also(&mut self, sql: &str) {
        self.sql.push(sql.to_owned());
    }

    /// Adds a condition; each `?` in it is a parameter, in their order.
    pub(crate) fn with(&mut self, sql: &str, parameters: &[(&'a (dyn ToSql + Sync), Type)]) {
        let mut numbered = String::with_capacity(sql.len() + 4);
        let mut given = self.parameters.len();
        for c in sql.chars() {
            if c == '?' {
                given += 1;
                numbered.push_str(&format!("${given}"));
            } else {
                numbered.push(c);
            }
        }
        self.sql.push(numbered);
        self.parameters.extend_from_slice(parameters);
    }

    /// Adds a condition where there is a value for it.
    pub(crate) fn with_value<T: ToSql + Sync>(&mut self, sql: &str, value: &'a Option<T>, kind: Type) {
        if let Some(value) = value {
            self.with(sql, &[(value, kind)]);
        }
    }

    /// As `WHERE ...`; nothing where there are no conditions.
    pub(crate) fn sql(&self) -> String {
        if self.sql.is_empty() { String::new() } else { format!(" WHERE {}", self.sql.join(" AND ")) }
    }

    /// What the conditions choose, in an order, no more than a number of rows. One round trip, and planned for
    /// these very values.
    pub(crate) async fn rows(
        &self,
        client: &Object,
        select: &str,
        order: &str,
        most: i64,
    ) -> Result<Vec<Row>, DatabaseError> {
        let sql = format!("{select}{} ORDER BY {order} LIMIT {most}", self.sql());
        Ok(client.query_typed(&sql, &self.parameters).await?)
    }

    /// As [`Self::rows`], locked until the transaction ends; rows that others have locked are passed over.
    pub(crate) async fn unlocked_rows(
        &self,
        transaction: &Transaction<'_>,
        select: &str,
        order: &str,
        most: i64,
    ) -> Result<Vec<Row>, DatabaseError> {
        let chosen = self.sql();
        let sql = format!("{select}{chosen} ORDER BY {order} LIMIT {most} FOR NO KEY UPDATE SKIP LOCKED");
        Ok(transaction.query_typed(&sql, &self.parameters).await?)
    }

    /// As [`Self::rows`], of a table under its alias that others are joined to. Those are joined to the chosen rows
    /// alone, whatever the planner thinks of how many there are.
    pub(crate) async fn joined_rows(
        &self,
        client: &Object,
        from: &ListSource<'_>,
        order: &str,
        most: i64,
    ) -> Result<Vec<Row>, DatabaseError> {
        Ok(client.query_typed(&self.joined(from, order, most), &self.parameters).await?)
    }

    fn joined(
        &self,
        ListSource { columns, table, alias, joined }: &ListSource<'_>,
        order: &str,
        most: i64,
    ) -> String {
        let chosen = self.sql();
        format!(
            "SELECT {columns} FROM (SELECT * FROM {table} {alias}{chosen} ORDER BY {order} LIMIT {most}) AS {alias}
             {joined} ORDER BY {order}"
        )
    }

    /// Whether they choose more than a number of rows of a table.
    pub(crate) async fn choose_more_than(
        &self,
        client: &Object,
        most: i64,
        table: &str,
    ) -> Result<bool, DatabaseError> {
        let sql = format!("SELECT FROM {table}{} OFFSET {most} LIMIT 1", self.sql());
        Ok(!client.query_typed(&sql, &self.parameters).await?.is_empty())
    }

    /// How the database would come by [`Self::rows`].
    #[cfg(test)]
    pub(crate) async fn plan(&self, client: &Object, select: &str, order: &str) -> String {
        self.explain(client, &format!("{select}{} ORDER BY {order} LIMIT 51", self.sql())).await
    }

    /// How the database would come by [`Self::joined_rows`].
    #[cfg(test)]
    pub(crate) async fn joined_plan(&self, client: &Object, from: &ListSource<'_>, order: &str) -> String {
        self.explain(client, &self.joined(from, order, 51)).await
    }

    #[cfg(test)]
    async fn explain(&self, client: &Object, sql: &str) -> String {
        let sql = format!("EXPLAIN (COSTS OFF) {sql}");
        let rows = client.query_typed(&sql, &self.parameters).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
    }

    /// How many rows of a table they choose.
    pub(crate) async fn count(&self, client: &Object, table: &str) -> Result<Total, DatabaseError> {
        let (conditions, most) = (self.sql(), COUNTED + 1);
        let sql = format!("SELECT count(*) FROM (SELECT FROM {table}{conditions} LIMIT {most}) AS counted");
        let row = client.query_typed_one(&sql, &self.parameters).await?;
        Ok(Total::counted(row.try_get::<_, i64>(0)?.unsigned_abs()))
    }
}

/// What a list with joined tables is read from.
pub(crate) struct ListSource<'a> {
    /// Of all tables.
    pub(crate) columns: &'a str,
    /// The table that conditions and order are about.
    pub(crate) table: &'a str,
    /// By which these and the columns name it.
    pub(crate) alias: &'a str,
    /// `JOIN`s that leave each of the table's rows as one.
    pub(crate) joined: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_number_their_parameters() {
        let (room, none) = (Some("Room 1"), None::<&str>);
        let mut conditions = Conditions::default();
        assert_eq!(conditions.sql(), "");
        conditions.also("in_queue");
        conditions.with_value("classroom = ?", &room, Type::TEXT);
        conditions.with_value("name = ?", &none, Type::TEXT);
        conditions.with("(a, b) < (?, ?)", &[(&room, Type::TEXT), (&room, Type::TEXT)]);
        assert_eq!(conditions.sql(), " WHERE in_queue AND classroom = $1 AND (a, b) < ($2, $3)");
        assert_eq!(conditions.parameters.len(), 3);
    }
}
