//! The middle of some figures, with how far they spread.

use serde::Deserialize;

/// Figures of one thing, measured many times.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Those figures.
    pub fn of(figures: Vec<f64>) -> Self {
        Self(figures)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The figure that this part of them does not exceed (nearest rank); nothing of nothing.
    pub fn rank(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// The middle; of an even count the mean of both.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let half = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[half],
            _ => (sorted[half - 1] + sorted[half]) / 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_between_the_two_of_an_even_count() {
        assert_eq!(Samples::of(vec![9.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Samples::of(vec![4.0, 1.0, 2.0, 9.0]).median(), 3.0);
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn a_rank_is_a_figure_that_was_measured() {
        let samples = Samples::of((1..=10).map(f64::from).collect());
        assert_eq!((samples.rank(0.0), samples.rank(0.9), samples.rank(1.0)), (1.0, 9.0, 10.0));
        assert_eq!(samples.count(), 10);
    }
}
