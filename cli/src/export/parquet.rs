//! Rows as Apache Parquet: a group of rows is kept in memory until it is written, column by column.

use std::{io::Write, sync::Arc};

use cavs_proto::v1;
use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};

use super::{COLUMNS, Kind, Value, failed};
use crate::error::CliError;

/// Rows of a group: what readers skip or read as a whole.
const GROUP: usize = 50_000;

pub(crate) struct ParquetRows<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    /// Of the group that is not written yet, by column.
    group: Vec<Vec<Value>>,
}

impl<W: Write + Send> ParquetRows<W> {
    pub(super) fn new(out: W) -> Result<Self, CliError> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let schema = schema().map_err(|error| failed(&error))?;
        let writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))
            .map_err(|error| failed(&error))?;
        Ok(Self { writer, group: vec![Vec::new(); COLUMNS.len()] })
    }

    pub(super) fn write(&mut self, sightings: &[v1::Sighting]) -> Result<(), CliError> {
        for sighting in sightings {
            for (column, values) in COLUMNS.iter().zip(&mut self.group) {
                values.push((column.value)(sighting));
            }
            if self.group.first().is_some_and(|values| values.len() >= GROUP) {
                self.write_group().map_err(|error| failed(&error))?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, CliError> {
        self.write_group().and_then(|()| self.writer.into_inner()).map_err(|error| failed(&error))
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.group.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let mut rows = self.writer.next_row_group()?;
        for values in &mut self.group {
            let Some(mut column) = rows.next_column()? else { break };
            write_column(column.untyped(), &std::mem::take(values))?;
            column.close()?;
        }
        rows.close()?;
        Ok(())
    }
}

fn schema() -> Result<Type, ParquetError> {
    let fields = COLUMNS.iter().map(|column| {
        let (physical, logical) = match column.kind {
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Real => (Physical::DOUBLE, None),
            Kind::Integer => (Physical::INT64, None),
            Kind::Flag => (Physical::BOOLEAN, None),
            Kind::Time => {
                let time = LogicalType::timestamp(true, TimeUnit::MICROS);
                (Physical::INT64, Some(time))
            }
        };
        let field = Type::primitive_type_builder(column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        field.build().map(Arc::new)
    });
    Type::group_type_builder("sighting").with_fields(fields.collect::<Result<_, _>>()?).build()
}

/// Values that are there, and for each row whether it has one.
fn write_column(writer: &mut ColumnWriter<'_>, values: &[Value]) -> Result<(), ParquetError> {
    let mut texts: Vec<ByteArray> = Vec::new();
    let mut reals: Vec<f64> = Vec::new();
    let mut integers: Vec<i64> = Vec::new();
    let mut flags: Vec<bool> = Vec::new();
    let present: Vec<i16> = values
        .iter()
        .map(|value| {
            let before = texts.len() + reals.len() + integers.len() + flags.len();
            match value {
                Value::Text(text) => texts.extend(text.as_deref().map(ByteArray::from)),
                Value::Real(number) => reals.extend(number),
                Value::Integer(number) => integers.extend(number),
                Value::Flag(flag) => flags.push(*flag),
                Value::Time(time) => integers.extend(time.map(|time| time.as_microsecond())),
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
        let sighting = |n: usize| v1::Sighting {
            id: format!("id {n}"),
            capture_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_456_000 }),
            has_evidence: n.is_multiple_of(2),
            liveness: n.is_multiple_of(3).then_some(0.9),
            sequence: n as u64,
            ..v1::Sighting::default()
        };
        let mut rows = ParquetRows::new(Vec::new()).unwrap();
        let all: Vec<_> = (0..GROUP + 7).map(sighting).collect();
        all.chunks(500).for_each(|some| rows.write(some).unwrap());
        let file = bytes::Bytes::from(rows.finish().unwrap());

        let reader = SerializedFileReader::new(file).unwrap();
        assert_eq!((reader.num_row_groups(), reader.metadata().file_metadata().num_rows()), (2, 50_007));
        let place = |name: &str| COLUMNS.iter().position(|column| column.name == name).unwrap();
        for (n, row) in reader.get_row_iter(None).unwrap().enumerate() {
            let row = row.unwrap();
            assert_eq!(row.get_string(place("sighting_id")).unwrap(), &format!("id {n}"));
            assert_eq!(row.get_timestamp_micros(place("capture_time")).unwrap(), 1_700_000_000_123_456);
            assert_eq!(row.get_bool(place("has_evidence")).unwrap(), n.is_multiple_of(2));
            assert_eq!(row.get_double(place("liveness")).ok(), n.is_multiple_of(3).then_some(0.9));
            assert_eq!(row.get_long(place("sequence")).unwrap(), n as i64);
            assert!(row.get_string(place("student_name")).is_err(), "nobody knows");
        }
    }
}
