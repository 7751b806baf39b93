//! Counts of gold and predicted classes, and macro-F1.

/// The margins of a confusion matrix that F1 needs; cheap enough to refill for every resample.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub hits: Vec<usize>,
    pub gold: Vec<usize>,
    pub predicted: Vec<usize>,
}

impl Tally {
    pub(super) fn new(classes: usize) -> Self {
        Self { hits: vec![0; classes], gold: vec![0; classes], predicted: vec![0; classes] }
    }

    pub(super) fn clear(&mut self) {
        self.hits.fill(0);
        self.gold.fill(0);
        self.predicted.fill(0);
    }

    /// Counts a row of class `gold`, predicted as class `predicted`, `times` times.
    pub(super) fn add(&mut self, gold: usize, predicted: usize, times: usize) {
        self.gold[gold] += times;
        self.predicted[predicted] += times;
        if gold == predicted {
            self.hits[gold] += times;
        }
    }

    /// Unweighted mean F1 of the classes with gold rows, 0 to 1; 0 if there is none.
    ///
    /// A class that the test set lacks neither helps nor harms; predicting it still costs the
    /// recall of the true class.
    pub(super) fn macro_f1(&self) -> f64 {
        let supported = (0..self.gold.len()).filter(|&class| self.gold[class] > 0);
        let (sum, count) =
            supported.fold((0.0, 0_usize), |(sum, count), class| (sum + self.f1(class), count + 1));
        if count == 0 { 0.0 } else { sum / count as f64 }
    }

    /// F1 = 2·hits / (gold + predicted) of a class with gold rows.
    pub(super) fn f1(&self, class: usize) -> f64 {
        2.0 * self.hits[class] as f64 / (self.gold[class] + self.predicted[class]) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(gold: &[usize], predicted: &[usize], classes: usize) -> Tally {
        let mut tally = Tally::new(classes);
        gold.iter().zip(predicted).for_each(|(&gold, &predicted)| tally.add(gold, predicted, 1));
        tally
    }

    #[test]
    fn six_rows_by_hand() {
        // class 0: 2 of 3 found, predicted 3 times; class 1: 1 of 2, predicted twice; class 2:
        // found.
        let tally = tally(&[0, 0, 0, 1, 1, 2], &[0, 0, 1, 1, 0, 2], 3);
        assert_eq!((&tally.hits[..], tally.hits.iter().sum::<usize>()), (&[2, 1, 1][..], 4));
        assert_eq!((&tally.gold[..], &tally.predicted[..]), (&[3, 2, 1][..], &[3, 2, 1][..]));
        for (class, expected) in [2.0 / 3.0, 0.5, 1.0].into_iter().enumerate() {
            assert!((tally.f1(class) - expected).abs() < 1e-12);
        }
        assert!((tally.macro_f1() - (2.0 / 3.0 + 0.5 + 1.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_class_without_support_is_left_out_of_the_mean() {
        let tally = tally(&[0, 0, 1], &[0, 2, 1], 4);
        // class 0: precision 1, recall 1/2, F1 2/3; class 1: 1; classes 2 and 3 have no gold row.
        assert!((tally.macro_f1() - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
        assert_eq!((tally.hits[2], tally.gold[2]), (0, 0));
        assert_eq!((tally.hits[3], tally.gold[3]), (0, 0));
        assert_eq!(Tally::new(3).macro_f1(), 0.0);
    }

    #[test]
    fn counts_are_weighted_and_cleared() {
        let mut tally = Tally::new(2);
        tally.add(0, 0, 3);
        tally.add(1, 0, 1);
        // class 0: 2·3 / (3 + 4); class 1: 0.
        assert!((tally.macro_f1() - 6.0 / 7.0 / 2.0).abs() < 1e-12);
        tally.clear();
        assert_eq!(tally.macro_f1(), 0.0);
    }
}
