//! `date_trunc` of times in UTC by arithmetic.
//!
//! DataFusion's own takes every time with a zone apart into a calendar date, in UTC as well, where hours
//! and days all have the same length. Views ask for the hour of every call, which would cost more than
//! reading it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::error::Result;
use datafusion::functions::datetime::date_trunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The zone of every time in a lake.
const UTC: &str = "UTC";

/// DataFusion's function, to which times in UTC are shown as times without a zone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    inner: Arc<ScalarUDF>,
}

/// The function, to be registered in place of DataFusion's.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(DateTrunc { inner: date_trunc() })
}

/// The same times said to be of another zone, or of none.
fn in_zone(times: &ArrayRef, zone: Option<&str>) -> ArrayRef {
    let times: PrimitiveArray<TimestampMicrosecondType> = times.as_primitive().clone();
    Arc::new(times.with_timezone_opt(zone))
}

fn is_utc(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == UTC)
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(input)
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Array(times)) = arguments.args.get(1).filter(|it| is_utc(&it.data_type())) else {
            return self.inner.invoke_with_args(arguments);
        };
        arguments.args[1] = ColumnarValue::Array(in_zone(times, None));
        for field in arguments.arg_fields.iter_mut().skip(1).chain([&mut arguments.return_field]) {
            let zoneless = DataType::Timestamp(TimeUnit::Microsecond, None);
            *field = Arc::new(field.as_ref().clone().with_data_type(zoneless));
        }
        Ok(match self.inner.invoke_with_args(arguments)? {
            ColumnarValue::Array(truncated) => ColumnarValue::Array(in_zone(&truncated, Some(UTC))),
            scalar @ ColumnarValue::Scalar(_) => scalar,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn times_are_truncated_as_datafusion_does() -> Result<(), Box<dyn std::error::Error>> {
        let times =
            [Some(1_762_083_000_123_456), None, Some(0), Some(-1), Some(-3_600_000_001), Some(1_772_323_199_999_999)];
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"));
        let theirs = SessionContext::new();
        let ours = SessionContext::new();
        ours.register_udf(super::function());
        for unit in ["second", "minute", "hour", "day", "week", "month", "year"] {
            let sql = format!("SELECT date_trunc('{unit}', t) AS truncated FROM times");
            let mut answers = Vec::new();
            for context in [&theirs, &ours] {
                context.register_batch("times", RecordBatch::try_from_iter([("t", Arc::clone(&times))])?)?;
                answers.push(context.sql(&sql).await?.collect().await?);
                context.deregister_table("times")?;
            }
            assert_eq!(answers[0], answers[1], "{unit}");
            assert_eq!(answers[1][0].column(0).as_primitive::<super::TimestampMicrosecondType>().len(), times.len());
        }
        Ok(())
    }
}
