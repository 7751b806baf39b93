//! Estimates the time of a run's students from measurements on this machine, or roughly from their
//! size.

use super::{Kind, Measure, StudentBenchReport};
use crate::student::{BaseModel, model_spec::ModelSpec};

/// Floating-point operations per second and core of a recent CPU on small networks: a rough guess,
/// and reported as one, for students that `bench` has not measured.
const FLOPS: f64 = 4e10;

/// The students of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Planned {
    pub students: usize,
    /// Optimiser steps of all students.
    pub steps: usize,
    pub tokens_per_step: f64,
    /// Texts to classify, summed over all students.
    pub texts: usize,
    pub tokens_per_text: f64,
}

/// An estimated time and its origin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub seconds: f64,
    /// Whether it is based on `promptmix bench` on this machine rather than on the model's size.
    pub measured: bool,
}

/// The time of `planned` for students of `base`; `report` holds its measurements, if there are any.
pub(crate) fn estimate(
    base: &BaseModel,
    report: Option<&StudentBenchReport>,
    planned: &Planned,
) -> Estimate {
    if let Some(seconds) = report.and_then(|report| by_report(report, planned)) {
        return Estimate { seconds, measured: true };
    }
    let spec = ModelSpec::encoder(base.config());
    // Embedding look-ups take no multiplications.
    let dense = (spec.parameters() - spec.words_kept * spec.hidden) as f64;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = cores.min(planned.students.max(1)) as f64;
    let trained = planned.steps as f64 * planned.tokens_per_step;
    let classified = planned.texts as f64 * planned.tokens_per_text;
    let seconds = dense * (6.0 * trained + 2.0 * classified) / (FLOPS * workers);
    Estimate { seconds, measured: false }
}

fn by_report(report: &StudentBenchReport, planned: &Planned) -> Option<f64> {
    // One student uses all threads; several use one each.
    let kind = if planned.students < report.threads { Kind::Train } else { Kind::Students };
    let per_token = |kind: Kind| {
        let Measure { seconds, tokens, .. } = *report.measure(kind)?;
        (seconds > 0.0 && tokens > 0).then(|| seconds / tokens as f64)
    };
    let train = planned.steps as f64 * planned.tokens_per_step * per_token(kind)?;
    let classify = planned.texts as f64 * planned.tokens_per_text * per_token(Kind::Classify)?;
    Some(train + classify)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::{Workload, measure};
    use super::*;
    use crate::student::parity::fixture;

    #[test]
    fn estimates_use_the_measured_speed_or_a_guess() {
        let base = BaseModel::load(&fixture("bert"), &Device::Cpu).unwrap();
        let measures = [(Kind::Train, 1.0), (Kind::Classify, 0.1), (Kind::Students, 0.5)]
            .map(|(kind, seconds)| measure(kind, 10, 100, seconds));
        let report = StudentBenchReport {
            model: String::new(),
            sha256: String::new(),
            parameters: 0,
            threads: 2,
            gpu: false,
            classes: 2,
            workload: Workload::default(),
            measures: measures.into(),
            peak_memory_bytes: 0,
        };
        let planned = Planned {
            students: 9,
            steps: 20,
            tokens_per_step: 50.0,
            texts: 30,
            tokens_per_text: 10.0,
        };
        let found = estimate(&base, Some(&report), &planned);
        assert!(found.measured && (found.seconds - (5.0 + 0.3)).abs() < 1e-9, "{found:?}");
        let alone = estimate(&base, Some(&report), &Planned { students: 1, ..planned });
        assert!((alone.seconds - (10.0 + 0.3)).abs() < 1e-9, "{alone:?}");
        let guess = estimate(&base, None, &planned);
        assert!(!guess.measured && guess.seconds > 0.0 && guess.seconds < 1.0, "{guess:?}");
    }
}
