//! Expectation maximisation after Dawid & Skene, "Maximum likelihood estimation of observer error
//! rates using the EM algorithm" (Applied Statistics 1979).

/// Iterations; the estimates change little after twenty.
const ITERATIONS: usize = 50;
/// The weight, in texts, with which what an annotator does in general counts for each class: few
/// texts of a class say little about it.
const PRIOR_TEXTS: f64 = 10.0;
/// What an annotator is believed to be before anything is known: right this often ...
const PRIOR_RELIABILITY: f64 = 0.7;
/// ... which counts like so many texts.
const PRIOR_WEIGHT: f64 = 10.0;

/// The labels that one annotator gives.
pub(super) struct Annotator<'a> {
    /// Of each text; `None` where it is silent.
    pub labels: Vec<Option<usize>>,
    /// Classes that are known for certain, each with the label that the annotator gave.
    pub known: &'a [(usize, usize)],
    /// Whether the text may be of the class that was mixed in instead.
    pub mixes_partner: bool,
}

/// The model: how each annotator errs, and the texts' classes.
pub(super) struct Model<'a> {
    classes: usize,
    log_shares: Vec<f64>,
    /// The class mixed into each text.
    partners: &'a [Option<usize>],
}

/// How one annotator errs.
struct Confusion {
    /// Logarithm of the probability of a label given the class, `[class][label]`.
    log: Vec<Vec<f64>>,
    /// Share of the partner among the classes of texts on which the annotator is wrong.
    partner: f64,
}

type Posteriors = Vec<Vec<f32>>;

impl<'a> Model<'a> {
    pub(super) fn new(classes: usize, shares: &[f64], partners: &'a [Option<usize>]) -> Self {
        Self { classes, log_shares: shares.iter().map(|share| share.ln()).collect(), partners }
    }

    /// The probability of each class for each text, `[texts][classes]`, starting from `before`, or
    /// else from one number for each annotator: how often it is right, whatever the class.
    pub(super) fn estimate(
        &self,
        annotators: &[Annotator<'_>],
        before: Option<&Posteriors>,
    ) -> Posteriors {
        let start = match before {
            Some(before) => before.clone(),
            None => self.iterate(annotators, self.first(annotators), false),
        };
        self.iterate(annotators, start, true)
    }

    /// Estimates confusion matrices and posteriors in turn, from the posteriors `start` on.
    fn iterate(
        &self,
        annotators: &[Annotator<'_>],
        start: Posteriors,
        by_class: bool,
    ) -> Posteriors {
        (0..ITERATIONS).fold(start, |before, _| self.step(annotators, &before, by_class))
    }

    /// The probability of each class for each text by these `annotators`, whose errors follow from
    /// the posteriors `before`.
    pub(super) fn step(
        &self,
        annotators: &[Annotator<'_>],
        before: &Posteriors,
        by_class: bool,
    ) -> Posteriors {
        let confusion: Vec<Confusion> = annotators
            .iter()
            .map(|annotator| self.confusion(annotator, before, by_class))
            .collect();
        self.posteriors(annotators, &confusion)
    }

    /// Posteriors by what the labelled examples say of the annotators: nothing is known of the
    /// texts yet.
    fn first(&self, annotators: &[Annotator<'_>]) -> Posteriors {
        let confusion: Vec<Confusion> = annotators
            .iter()
            .map(|annotator| Annotator { labels: Vec::new(), ..*annotator })
            .map(|annotator| self.confusion(&annotator, &Vec::new(), false))
            .collect();
        self.posteriors(annotators, &confusion)
    }

    /// The confusion matrix of an annotator, by class or (`by_class` unset) the same for all
    /// classes.
    fn confusion(
        &self,
        annotator: &Annotator<'_>,
        posteriors: &Posteriors,
        by_class: bool,
    ) -> Confusion {
        let classes = self.classes;
        let mut counts = vec![vec![0f64; classes]; classes];
        // A partner is as likely as any other class, unless the texts say otherwise.
        let mut partner = (1.0, (classes - 1) as f64);
        for ((label, posterior), mixed) in
            annotator.labels.iter().zip(posteriors).zip(self.partners)
        {
            let Some(label) = *label else { continue };
            for (class, p) in posterior.iter().enumerate() {
                counts[class][label] += f64::from(*p);
            }
            if let Some(mixed) = mixed.filter(|mixed| *mixed != label) {
                partner.0 += f64::from(posterior[mixed]);
                partner.1 += f64::from(1.0 - posterior[label]);
            }
        }
        for (class, label) in annotator.known {
            counts[*class][*label] += 1.0;
        }
        let general = General::of(&counts);
        let log = counts.into_iter().enumerate().map(|(class, counts)| {
            let row: Vec<f64> = counts
                .iter()
                .enumerate()
                .map(|(label, count)| {
                    let own = if by_class { *count } else { 0.0 };
                    own + PRIOR_TEXTS * general.probability(class, label)
                })
                .collect();
            let total: f64 = row.iter().sum();
            row.into_iter().map(|count| (count / total).ln()).collect()
        });
        Confusion { log: log.collect(), partner: partner.0 / partner.1 }
    }

    fn posteriors(&self, annotators: &[Annotator<'_>], confusion: &[Confusion]) -> Posteriors {
        let texts = 0..self.partners.len();
        texts
            .map(|text| {
                let mut logs = self.log_shares.clone();
                for (annotator, confusion) in annotators.iter().zip(confusion) {
                    let Some(label) = annotator.labels[text] else { continue };
                    logs.iter_mut().zip(&confusion.log).for_each(|(log, row)| *log += row[label]);
                    if annotator.mixes_partner {
                        self.favour_partner(text, label, confusion.partner, &mut logs);
                    }
                }
                let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = logs.iter().map(|log| (log - top).exp()).sum();
                logs.iter().map(|log| ((log - top).exp() / sum) as f32).collect()
            })
            .collect()
    }

    /// A text that is not of the class asked for is of its partner with probability `share`.
    fn favour_partner(&self, text: usize, label: usize, share: f64, logs: &mut [f64]) {
        let others = (self.classes - 1) as f64;
        let Some(mixed) = self.partners[text].filter(|mixed| *mixed != label) else { return };
        if self.classes < 3 {
            return;
        }
        for (class, log) in logs.iter_mut().enumerate().filter(|(class, _)| *class != label) {
            *log += match class == mixed {
                true => (share * others).ln(),
                false => ((1.0 - share) * others / (others - 1.0)).max(f64::MIN_POSITIVE).ln(),
            };
        }
    }
}

/// How an annotator errs whatever the class: how often it is right, and the labels that it gives
/// when it is wrong.
struct General {
    right: f64,
    /// Share of each label among the wrong ones.
    wrong: Vec<f64>,
}

impl General {
    /// Of the number of times that each class got each label.
    fn of(counts: &[Vec<f64>]) -> Self {
        let classes = counts.len();
        let (mut right, mut all) = (PRIOR_WEIGHT * PRIOR_RELIABILITY, PRIOR_WEIGHT);
        let mut wrong = vec![PRIOR_WEIGHT / classes as f64; classes];
        for (class, row) in counts.iter().enumerate() {
            for (label, count) in row.iter().enumerate() {
                all += count;
                if class == label {
                    right += count;
                } else {
                    wrong[label] += count;
                }
            }
        }
        let total: f64 = wrong.iter().sum();
        wrong.iter_mut().for_each(|count| *count /= total);
        Self { right: right / all, wrong }
    }

    /// The probability of `label` for a text of `class`.
    fn probability(&self, class: usize, label: usize) -> f64 {
        if class == label {
            return self.right;
        }
        let others = 1.0 - self.wrong[class];
        (1.0 - self.right) * self.wrong[label] / others.max(f64::MIN_POSITIVE)
    }
}
