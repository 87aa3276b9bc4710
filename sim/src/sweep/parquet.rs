//! The table of all runs as a Parquet file.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::table::{ResultRow, ResultTable};

/// A column's values; none where a row has none.
enum Column {
    Text(Vec<Option<String>>),
    Whole(Vec<Option<i64>>),
    Number(Vec<Option<f64>>),
}

impl ResultTable {
    /// As a Parquet file: axes whose values are all numbers, and metrics, as doubles.
    ///
    /// # Errors
    /// When it cannot be written, which memory does not refuse.
    pub fn parquet(&self) -> anyhow::Result<Vec<u8>> {
        let columns = self.all_columns();
        let fields =
            self.columns().zip(&columns).map(|(name, column)| Ok(Arc::new(column.of(name)?)));
        let fields = fields.collect::<anyhow::Result<_>>()?;
        let schema = Type::group_type_builder("results").with_fields(fields).build()?;
        // The file says nothing of when or where it was written.
        let properties = WriterProperties::builder().set_created_by("qpmux".to_owned()).build();
        let mut bytes = Vec::new();
        let mut file =
            SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))?;
        let mut group = file.next_row_group()?;
        for column in &columns {
            match column {
                Column::Text(values) => {
                    let bytes = values.iter().map(|text| text.as_deref().map(ByteArray::from));
                    write::<ByteArrayType>(&mut group, bytes.collect())?;
                }
                Column::Whole(values) => write::<Int64Type>(&mut group, values.clone())?,
                Column::Number(values) => write::<DoubleType>(&mut group, values.clone())?,
            }
        }
        group.close()?;
        file.close()?;
        Ok(bytes)
    }

    fn all_columns(&self) -> Vec<Column> {
        let of = |value: &dyn Fn(&ResultRow) -> Option<String>| {
            Column::Text(self.rows.iter().map(value).collect())
        };
        let mut columns: Vec<Column> = (0..self.axes.len()).map(|axis| self.axis(axis)).collect();
        let seeds = self.rows.iter().map(|row| i64::try_from(row.seed).ok());
        columns.push(Column::Whole(seeds.collect()));
        columns.push(of(&|row| Some(row.run.clone())));
        columns.push(of(&|row| Some(row.status.to_owned())));
        columns.push(of(&|row| row.error.clone()));
        for name in &self.metrics {
            let values = self.rows.iter().map(|row| row.metrics.get(name).copied());
            columns.push(Column::Number(values.collect()));
        }
        columns
    }

    fn axis(&self, axis: usize) -> Column {
        let numbers: Option<Vec<Option<f64>>> =
            self.rows.iter().map(|row| row.at[axis].parse().ok().map(Some)).collect();
        match numbers {
            Some(numbers) => Column::Number(numbers),
            None => Column::Text(self.rows.iter().map(|row| Some(row.at[axis].clone())).collect()),
        }
    }
}

impl Column {
    /// Its place in the schema.
    fn of(&self, name: &str) -> anyhow::Result<Type> {
        let (physical, logical) = match self {
            Column::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Column::Whole(_) => (Physical::INT64, None),
            Column::Number(_) => (Physical::DOUBLE, None),
        };
        let builder = Type::primitive_type_builder(name, physical).with_logical_type(logical);
        Ok(builder.with_repetition(Repetition::OPTIONAL).build()?)
    }
}

/// Writes a column: the values that there are, and for each row whether there is one.
fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    values: Vec<Option<T::T>>,
) -> anyhow::Result<()> {
    let there: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    let Some(mut column) = group.next_column()? else { anyhow::bail!("too many columns") };
    column.typed::<T>().write_batch(&values, Some(&there), None)?;
    column.close()?;
    Ok(())
}
