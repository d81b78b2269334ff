//! Statistics of samples, in whole numbers.

/// Fewer samples than these tell nothing about how far they spread.
const ENOUGH: usize = 4;
/// How long a bar is for the plain path, and how long it gets.
const UNIT: u64 = 10;
const LONGEST: u64 = 15;

/// What the samples of one measurement say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// The middle.
    pub median: u64,
    /// Below it are a quarter of the samples.
    pub low: u64,
    /// Above it are a quarter of the samples.
    pub high: u64,
    /// How many there are.
    pub samples: usize,
}

impl Summary {
    /// Of samples in any order.
    pub fn of(samples: Vec<u64>) -> Self {
        let sorted = sorted(samples);
        Self {
            median: median(&sorted),
            low: quantile(&sorted, 1, 4),
            high: quantile(&sorted, 3, 4),
            samples: sorted.len(),
        }
    }

    /// The width of the middle half, in percent of the median.
    pub fn spread(&self) -> u64 {
        percent(self.high.saturating_sub(self.low), self.median)
    }

    /// Whether it can't be told which of the two is larger: their middle halves overlap, or there are too few
    /// samples.
    pub fn unclear(&self, other: &Self) -> bool {
        let few = self.samples.min(other.samples) < ENOUGH;
        few || self.low <= other.high && other.low <= self.high
    }
}

/// `part` in percent of `whole`, rounded; 0 of 0 is 0.
pub fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).saturating_add(whole / 2).checked_div(whole).unwrap_or(0)
}

/// A bar of ten is as much as `plain`; one that would be longer than fifteen ends there with a `+`.
pub fn bar(value: u64, plain: u64) -> String {
    let len = percent(value.saturating_mul(UNIT), plain).saturating_add(50) / 100;
    match len > LONGEST {
        true => "#".repeat(LONGEST as usize) + "+",
        false => "#".repeat(len as usize),
    }
}

/// The samples in rising order.
pub fn sorted(mut samples: Vec<u64>) -> Vec<u64> {
    xhop_asm::sort(&mut samples);
    samples
}

/// The middle one; of two in the middle, what is between them.
pub fn median(sorted: &[u64]) -> u64 {
    quantile(sorted, 1, 2)
}

/// What `part` of `of` samples are below; between two samples, in proportion. 0 if there are none.
pub fn quantile(sorted: &[u64], part: u64, of: u64) -> u64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0 };
    let place = (last as u64).saturating_mul(part);
    let (at, rest) = ((place / of) as usize, place % of);
    let sample = |at: usize| sorted.get(at.min(last)).copied().unwrap_or(0);
    let (low, high) = (sample(at), sample(at + 1));
    low + (high - low).saturating_mul(rest) / of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0);
        assert_eq!(median(&[7]), 7);
        assert_eq!(median(&sorted(vec![9, 1, 5])), 5);
        assert_eq!(median(&sorted(vec![8, 2, 4, 100])), 6);
        assert_eq!(median(&[u64::MAX - 2, u64::MAX]), u64::MAX - 1);
    }

    #[test]
    fn quantiles() {
        let hundred: Vec<u64> = (0..=100).collect();
        assert_eq!([1, 50, 99, 100].map(|part| quantile(&hundred, part, 100)), [1, 50, 99, 100]);
        // Between the third (30) and the fourth (40) of four: a quarter of the way, and so on.
        assert_eq!([1, 2, 3].map(|part| quantile(&[10, 20, 30, 40], part, 4)), [17, 25, 32]);
        assert_eq!(quantile(&[3], 99, 100), 3);
    }

    #[test]
    fn spreads() {
        let summary = Summary::of(vec![130, 100, 120, 110, 90]);
        assert_eq!(summary, Summary { median: 110, low: 100, high: 120, samples: 5 });
        assert_eq!(summary.spread(), 18);
        assert_eq!(Summary::of(vec![5; 9]).spread(), 0);
        assert_eq!(Summary::of(Vec::new()), Summary::default());
        assert_eq!(Summary::default().spread(), 0);
    }

    #[test]
    fn what_overlaps_is_unclear() {
        let of = |low, high| Summary { median: (low + high) / 2, low, high, samples: ENOUGH };
        assert!(of(10, 20).unclear(&of(15, 30)) && of(15, 30).unclear(&of(10, 20)));
        assert!(of(10, 40).unclear(&of(20, 30)) && of(20, 30).unclear(&of(10, 40)));
        assert!(of(10, 20).unclear(&of(20, 30)));
        assert!(!of(10, 20).unclear(&of(21, 30)) && !of(21, 30).unclear(&of(10, 20)));
        // However far apart they are.
        let few = Summary { samples: ENOUGH - 1, ..of(1000, 1000) };
        assert!(of(10, 20).unclear(&few) && few.unclear(&of(10, 20)));
    }

    #[test]
    fn bars() {
        let len = |value, plain| bar(value, plain).len();
        assert_eq!(bar(100, 100), "##########");
        assert_eq!([0, 4, 5, 14, 15, 95, 104].map(|v| len(v, 100)), [0, 0, 1, 1, 2, 10, 10]);
        assert_eq!(bar(154, 100), "###############");
        for more in [155, 9999, u64::MAX] {
            assert_eq!(bar(more, 100), "###############+");
        }
        assert_eq!(bar(5, 0), "");
    }

    #[test]
    fn percents() {
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(2, 3), 67);
        assert_eq!(percent(0, 0), 0);
    }
}
