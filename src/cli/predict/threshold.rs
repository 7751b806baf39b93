//! Which answers are given: the least probability, chosen for a promised accuracy or named, and the
//! least share of held-out texts that are as far from the training texts.

use super::{super::error::CommandError, PredictArgs};
use crate::{
    counted::part,
    eval::{Answer, Answered, NoThreshold, choose_threshold},
    student::{Classifier, Prediction, StudentError},
    task::read_labelled,
};

/// When a text gets no label.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rule {
    /// The least probability.
    pub below: Option<f32>,
    /// The least share of held-out texts that are as far.
    pub scope: Option<f32>,
}

impl Rule {
    /// Whether there is any.
    pub(super) fn abstains(self) -> bool {
        self.below.is_some() || self.scope.is_some()
    }

    /// Whether the text is too far from the training texts.
    pub(super) fn is_outside(self, prediction: &Prediction) -> bool {
        match (self.scope, prediction.in_scope) {
            (Some(least), Some(share)) => share < least,
            _ => false,
        }
    }

    /// Whether the label is not probable enough.
    pub(super) fn is_unsure(self, prediction: &Prediction) -> bool {
        self.below.is_some_and(|below| prediction.probability < below)
    }
}

/// The rule that the flags ask for, and what to tell about how it came about.
///
/// # Errors
/// The student does not know what a flag needs; no threshold keeps the promise.
pub(super) fn rule(
    args: &PredictArgs,
    student: &Classifier,
) -> anyhow::Result<(Rule, Vec<String>)> {
    let mut notes = Vec::new();
    if args.min_in_scope.is_some() {
        let scope = student.confidence().scope().ok_or_else(|| {
            CommandError::new(
                "--min-in-scope: this student does not tell how far a text is from its training texts",
                "students that `promptmix run` or `train` of this version writes do; train it again",
            )
        })?;
        notes.push(format!("in_scope compares with {}", scope.compared_with()));
    }
    let rule = Rule { below: args.abstain_below, scope: args.min_in_scope };
    let Some(target) = args.target_accuracy else { return Ok((rule, notes)) };
    let (answers, of) = match &args.calibration {
        Some(file) => (labelled_answers(args, student, rule)?, file.display().to_string()),
        None => (kept_answers(args, student)?, "the test set".to_owned()),
    };
    let chosen = choose_threshold(&answers, target, args.confidence_level);
    let chosen = chosen.map_err(|why| {
        let hint = match why {
            NoThreshold::TooFew { needed, .. } => format!(
                "label at least {needed} texts that it was not trained on and name their file with --calibration, or lower --target-accuracy"
            ),
            NoThreshold::TooManyErrors { .. } => "lower --target-accuracy, train a better student, or label more texts for --calibration; --abstain-below takes a threshold that promises nothing".to_owned(),
        };
        CommandError::new(why.to_string(), hint)
    })?;
    notes.push(tell(&chosen, target, args.confidence_level, &of));
    Ok((Rule { below: Some(chosen.threshold), ..rule }, notes))
}

/// How the threshold was chosen; `of` names the labelled texts.
fn tell(chosen: &Answered, target: f64, level: f64, of: &str) -> String {
    format!(
        "labels from a probability of {:.4} on: {} of {of} get one ({:.1} %), {:.1} % of them the right one; for new texts of the same kind at least {:.1} % are promised (confidence level {:.0} %)",
        chosen.threshold,
        part(chosen.answered, chosen.texts, "text"),
        100.0 * chosen.coverage(),
        100.0 * chosen.accuracy(),
        100.0 * target,
        100.0 * level,
    )
}

/// The answers to the test set that are kept with the student.
fn kept_answers(args: &PredictArgs, student: &Classifier) -> anyhow::Result<Vec<Answer>> {
    let changed = [
        (args.fast, "--fast"),
        (args.max_length.is_some(), "--max-length"),
        (args.min_in_scope.is_some(), "--min-in-scope"),
    ];
    if let Some((_, flag)) = changed.into_iter().find(|(given, _)| *given) {
        return Err(CommandError::new(
            format!("--target-accuracy with {flag} needs --calibration FILE"),
            format!(
                "the answers that are kept with the student are those without {flag}; name a file of labelled texts that it was not trained on"
            ),
        )
        .into());
    }
    let answers = student.confidence().held_out();
    if answers.is_empty() {
        return Err(CommandError::new(
            "--target-accuracy: no answers to labelled texts are kept with this student",
            "name a file of labelled texts that it was not trained on with --calibration; a run of a task with a test set keeps them",
        )
        .into());
    }
    Ok(answers.to_vec())
}

/// The student's answers to the texts of --calibration, without those that are outside.
fn labelled_answers(
    args: &PredictArgs,
    student: &Classifier,
    rule: Rule,
) -> anyhow::Result<Vec<Answer>> {
    let Some(file) = &args.calibration else { return Ok(Vec::new()) };
    let labels = student.labels();
    let mut texts = Vec::new();
    let mut gold = Vec::new();
    for row in read_labelled(file)? {
        let class = labels.iter().position(|label| *label == row.label.value).ok_or_else(|| {
            CommandError::new(
                format!(
                    "{}, line {}: the student has no class \"{}\"",
                    file.display(),
                    row.label.line,
                    row.label.value
                ),
                format!("its classes are {}", labels.join(", ")),
            )
        })?;
        gold.push(class);
        texts.push(row.text.value);
    }
    let stream = student.stream(texts.into_iter().map(Ok::<_, StudentError>));
    let mut answers = Vec::with_capacity(gold.len());
    for (answer, class) in stream.zip(gold) {
        if let (_, Some(prediction)) = answer?
            && !rule.is_outside(&prediction)
        {
            answers.push((prediction.probability, prediction.class == class));
        }
    }
    Ok(answers)
}
