//! Rows as Apache Parquet: a group of rows is kept in memory until it is written, column by column.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};

use crate::{Cell, Document, FileError, Kind};

/// Rows of a group: what readers skip or read as a whole.
const GROUP: usize = 50_000;

/// Rows of columns, as they come.
pub struct ParquetRows<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    /// Of the group that is not written yet, by column.
    group: Vec<Vec<Cell>>,
}

fn failed(error: impl std::fmt::Display) -> FileError {
    FileError::failed("Parquet", error)
}

impl<W: Write + Send> ParquetRows<W> {
    /// Begins a file whose rows are called `row`, with columns of these names and kinds; any value may be missing.
    ///
    /// # Errors
    /// It can't be written, or two columns have one name.
    pub fn new<'a>(
        out: W,
        row: &str,
        columns: impl IntoIterator<Item = (&'a str, Kind)>,
    ) -> Result<Self, FileError> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let fields = columns.into_iter().map(|(name, kind)| field(name, kind).map(Arc::new));
        let fields = fields.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let group = vec![Vec::new(); fields.len()];
        let schema = Type::group_type_builder(row).with_fields(fields).build().map_err(failed)?;
        let writer =
            SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
        Ok(Self { writer, group })
    }

    /// Writes a row: a cell for each column.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&mut self, row: impl IntoIterator<Item = Cell>) -> Result<(), FileError> {
        self.group.iter_mut().zip(row).for_each(|(column, cell)| column.push(cell));
        if self.group.first().is_some_and(|column| column.len() >= GROUP) {
            self.write_group().map_err(failed)?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// It can't be written.
    pub fn finish(mut self) -> Result<W, FileError> {
        self.write_group().and_then(|()| self.writer.into_inner()).map_err(failed)
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.group.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let mut rows = self.writer.next_row_group()?;
        for cells in &mut self.group {
            let Some(mut column) = rows.next_column()? else { break };
            write_column(column.untyped(), &std::mem::take(cells))?;
            column.close()?;
        }
        rows.close()?;
        Ok(())
    }
}

/// A report's first table as a file of Parquet.
///
/// # Errors
/// It can't be written.
pub fn parquet_document(document: &Document) -> Result<Vec<u8>, FileError> {
    let columns = document.table.columns.iter().map(|column| (column.name.as_str(), column.kind));
    let mut rows = ParquetRows::new(Vec::new(), document.report, columns)?;
    document.table.rows.iter().try_for_each(|row| rows.write(row.iter().cloned()))?;
    rows.finish()
}

fn field(name: &str, kind: Kind) -> Result<Type, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Text | Kind::Mark => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Real | Kind::Rate => (Physical::DOUBLE, None),
        Kind::Integer => (Physical::INT64, None),
        Kind::Flag => (Physical::BOOLEAN, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
    };
    Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()
}

/// Values that are there, and for each row whether it has one.
fn write_column(writer: &mut ColumnWriter<'_>, cells: &[Cell]) -> Result<(), ParquetError> {
    let mut texts: Vec<ByteArray> = Vec::new();
    let mut reals: Vec<f64> = Vec::new();
    let mut integers: Vec<i64> = Vec::new();
    let mut flags: Vec<bool> = Vec::new();
    let present: Vec<i16> = cells
        .iter()
        .map(|cell| {
            let before = texts.len() + reals.len() + integers.len() + flags.len();
            match cell {
                Cell::Text(text) => texts.extend(text.as_deref().map(ByteArray::from)),
                Cell::Mark(mark) => texts.extend(mark.map(|(mark, _)| ByteArray::from(mark.as_str()))),
                Cell::Real(number) => reals.extend(number),
                Cell::Rate(rate) => reals.extend(rate.map(crate::Rate::percent)),
                Cell::Integer(number) => integers.extend(number),
                Cell::Flag(flag) => flags.push(*flag),
                Cell::Time(time) => integers.extend(time.map(|time| time.as_microsecond())),
            }
            i16::from(texts.len() + reals.len() + integers.len() + flags.len() > before)
        })
        .collect();
    let levels = Some(present.as_slice());
    match writer {
        ColumnWriter::ByteArrayColumnWriter(writer) => writer.write_batch(&texts, levels, None),
        ColumnWriter::DoubleColumnWriter(writer) => writer.write_batch(&reals, levels, None),
        ColumnWriter::Int64ColumnWriter(writer) => writer.write_batch(&integers, levels, None),
        ColumnWriter::BoolColumnWriter(writer) => writer.write_batch(&flags, levels, None),
        ColumnWriter::Int32ColumnWriter(_)
        | ColumnWriter::Int96ColumnWriter(_)
        | ColumnWriter::FloatColumnWriter(_)
        | ColumnWriter::FixedLenByteArrayColumnWriter(_) => {
            Err(ParquetError::General("a column of a kind that the schema has not".to_owned()))
        }
    }
    .map(drop)
}

#[cfg(test)]
mod tests {
    use parquet::{
        file::reader::{FileReader, SerializedFileReader},
        record::RowAccessor,
    };

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let columns = [
            ("id", Kind::Text),
            ("time", Kind::Time),
            ("flag", Kind::Flag),
            ("liveness", Kind::Real),
            ("sequence", Kind::Integer),
            ("nobody", Kind::Text),
            ("mark", Kind::Mark),
            ("share", Kind::Rate),
        ];
        let row = |n: usize| {
            [
                Cell::Text(Some(format!("id {n}"))),
                Cell::Time(Some(jiff::Timestamp::from_microsecond(1_700_000_000_123_456).unwrap())),
                Cell::Flag(n.is_multiple_of(2)),
                Cell::Real(n.is_multiple_of(3).then_some(0.9)),
                Cell::Integer(Some(n as i64)),
                Cell::Text(None),
                Cell::Mark(Some((cavs_types::Mark::LeftEarly, false))),
                Cell::Rate(crate::Rate::of_permille(933)),
            ]
        };
        let mut rows = ParquetRows::new(Vec::new(), "thing", columns).unwrap();
        (0..GROUP + 7).for_each(|n| rows.write(row(n)).unwrap());
        let file = bytes::Bytes::from(rows.finish().unwrap());

        let reader = SerializedFileReader::new(file).unwrap();
        assert_eq!((reader.num_row_groups(), reader.metadata().file_metadata().num_rows()), (2, 50_007));
        for (n, row) in reader.get_row_iter(None).unwrap().enumerate() {
            let row = row.unwrap();
            assert_eq!(row.get_string(0).unwrap(), &format!("id {n}"));
            assert_eq!(row.get_timestamp_micros(1).unwrap(), 1_700_000_000_123_456);
            assert_eq!(row.get_bool(2).unwrap(), n.is_multiple_of(2));
            assert_eq!(row.get_double(3).ok(), n.is_multiple_of(3).then_some(0.9));
            assert_eq!(row.get_long(4).unwrap(), n as i64);
            assert!(row.get_string(5).is_err(), "nobody knows");
            assert_eq!(
                (row.get_string(6).unwrap().as_str(), row.get_double(7).unwrap()),
                ("left_early", 93.3)
            );
        }
    }
}
