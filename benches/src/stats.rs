//! Medians and geometric means.

use serde::Serialize;

/// What a set of samples comes to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// The summary of `samples`, or `None` if there are none.
pub fn summary(samples: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let mut sorted: Vec<f64> = samples.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let (&min, &max) = (sorted.first()?, sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    };
    Some(Summary { median, min, max })
}

/// The geometric mean of positive `ratios`, or `None` if there are none.
pub fn geometric_mean(ratios: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut logarithms, mut count) = (0.0, 0u32);
    for ratio in ratios {
        logarithms += ratio.ln();
        count += 1;
    }
    (count > 0).then(|| (logarithms / f64::from(count)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(
            summary([4.0, 1.0, 2.0, 8.0]),
            Some(Summary {
                median: 3.0,
                min: 1.0,
                max: 8.0
            })
        );
        assert_eq!(
            summary([4.0, 1.0, 9.0]).map(|summary| summary.median),
            Some(4.0)
        );
        assert_eq!(summary([]), None);
    }

    #[test]
    fn half_and_double_have_the_mean_one() {
        let mean = geometric_mean([0.5, 2.0]).unwrap();
        assert!((mean - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean([]), None);
    }
}
