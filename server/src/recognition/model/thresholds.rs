use cavs_embedding::Similarity;
use cavs_types::ProtocolError;
use jiff::Timestamp;

/// From which similarity on a face is taken for somebody's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Lowest similarity that is accepted without a person.
    pub accept: Similarity,
    /// Lowest similarity that is worth a reviewer's time; at most `accept`.
    pub review: Similarity,
    /// Least distance to any other student, as a difference of cosines.
    pub margin: f32,
}

/// Thresholds, and since when they are in force.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdVersion {
    /// 0 is what the server's configuration and the model pack say; what people set counts from 1.
    pub version: u32,
    /// The thresholds.
    pub thresholds: Thresholds,
    /// Who set them, by user name, and when; `None` for version 0.
    pub set: Option<(String, Timestamp)>,
}

/// A change of thresholds: what is `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ThresholdChange {
    /// See [`Thresholds::accept`].
    pub accept: Option<f32>,
    /// See [`Thresholds::review`].
    pub review: Option<f32>,
    /// See [`Thresholds::margin`].
    pub margin: Option<f32>,
}

impl ThresholdChange {
    /// The thresholds after the change. The bounds are for a slip of the hand: outside of them, everybody
    /// or nobody would be accepted.
    ///
    /// # Errors
    /// `Missing` where nothing is to change, `Invalid` by field.
    pub fn apply(self, now: &Thresholds) -> Result<Thresholds, ProtocolError> {
        if self == Self::default() {
            return Err(ProtocolError::Missing { field: "accept" });
        }
        let within = |field, value: Option<f32>, standing: f32, (low, high): (f32, f32)| match value {
            None => Ok(standing),
            Some(value) if (low..=high).contains(&value) => Ok(value),
            Some(value) => Err(ProtocolError::invalid(field, format_args!("{value} is not {low} to {high}"))),
        };
        let accept = within("accept", self.accept, now.accept.get(), (0.05, 0.95))?;
        let review = within("review", self.review, now.review.get(), (0.0, 1.0))?;
        let margin = within("margin", self.margin, now.margin, (0.0, 0.5))?;
        if review > accept {
            let problem = format!("{review} exceeds the accept threshold {accept}: set it, too");
            return Err(ProtocolError::invalid("review", problem));
        }
        Ok(Thresholds { accept: Similarity::clamped(accept), review: Similarity::clamped(review), margin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_bounded_and_leave_the_rest() {
        let now =
            Thresholds { accept: Similarity::clamped(0.4), review: Similarity::clamped(0.3), margin: 0.05 };
        let change = |accept, review, margin| ThresholdChange { accept, review, margin }.apply(&now);
        let changed = change(Some(0.5), None, None).unwrap();
        assert_eq!(changed, Thresholds { accept: Similarity::clamped(0.5), ..now });
        for (wrong, problem) in [
            (change(None, None, None), "accept: is required"),
            (change(Some(0.0), None, None), "accept: 0 is not 0.05 to 0.95"),
            (change(Some(f32::NAN), None, None), "accept: NaN is not 0.05 to 0.95"),
            (change(Some(0.2), None, None), "review: 0.3 exceeds the accept threshold 0.2: set it, too"),
            (change(None, Some(-0.1), None), "review: -0.1 is not 0 to 1"),
            (change(None, None, Some(0.6)), "margin: 0.6 is not 0 to 0.5"),
        ] {
            assert_eq!(wrong.unwrap_err().to_string(), problem);
        }
    }
}
