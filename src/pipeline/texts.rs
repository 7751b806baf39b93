//! What asking for new texts shares between [`super::generate`] and [`super::paper`]: one round of
//! requests, the counts, and the texts that are kept.

use super::{
    Event, PipelineError, Watch,
    calls::{self, Answered, TextCalls},
};
use crate::{
    augment::{Method, ParsedText, PromptContext, PromptRequest},
    config::AugmentSettings,
    dataset::AugmentedText,
    prompt::reply::{LIST_CUE, ReplyFault},
    run::{RunFolder, key},
    task::Task,
    teacher::{GenerateRequest, Teacher, Wanted},
};

/// New texts, and what it took to get them.
pub(crate) struct Generation {
    /// At most as many of each class as wanted; `id` counts them.
    pub texts: Vec<AugmentedText>,
    pub counts: Counts,
    /// Keys of the calls in the ledger.
    pub keys: Vec<String>,
}

/// What became of the texts that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub calls: usize,
    /// Replies that were not of the form asked for.
    pub refused: usize,
    /// Texts asked for.
    pub asked: usize,
    /// Texts found in the replies.
    pub parsed: usize,
    /// Of those, texts that differ from all earlier ones.
    pub unique: usize,
    /// Of those, texts that were still wanted.
    pub kept: usize,
}

impl Counts {
    /// Counts the reply to `request`; its texts as rows, each with its class. A refused reply has
    /// none.
    pub(super) fn rows(
        &mut self,
        task: &Task,
        request: &PromptRequest,
        texts: Option<Vec<ParsedText>>,
        teacher_sha256: &str,
    ) -> Vec<(usize, AugmentedText)> {
        self.calls += 1;
        self.asked += request.count;
        let Some(texts) = texts else {
            self.refused += 1;
            return Vec::new();
        };
        self.parsed += texts.len();
        let row =
            |ParsedText { text, class }| (class, row(task, request, text, class, teacher_sha256));
        texts.into_iter().map(row).collect()
    }

    pub(crate) fn entries(&self) -> [(&'static str, usize); 6] {
        let Self { calls, refused, asked, parsed, unique, kept } = *self;
        [
            ("calls", calls),
            ("refused", refused),
            ("asked", asked),
            ("parsed", parsed),
            ("unique", unique),
            ("kept", kept),
        ]
    }
}

/// The key of a call and the texts of its reply; `None` if the reply is refused or its request was
/// given up.
pub(super) type ParsedReply = (String, Option<Vec<ParsedText>>);

/// The replies to `requests`, parsed by `method`.
pub(super) fn parsed_replies(
    run: &mut RunFolder,
    context: &PromptContext<'_>,
    method: &dyn Method,
    requests: &[PromptRequest],
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Vec<ParsedReply>, PipelineError> {
    let task = context.task;
    let AugmentSettings { sampling, max_tokens, constrained, longest, .. } = *context.settings;
    let name = |class: usize| task.classes[class].name.clone();
    let call = |request: &PromptRequest| GenerateRequest {
        id: request.id.clone(),
        prompt: request.prompt.clone(),
        cue: LIST_CUE.to_owned(),
        lines: request.count,
        longest,
        constrained,
        seed: request.seed,
        max_tokens,
        sampling,
        wanted: Wanted {
            major: name(request.major),
            minor: request.mix.map_or_else(String::new, |(minor, _)| name(minor)),
        },
    };
    let calls = requests.iter().map(call).collect();
    let parse = |item: usize, reply: &crate::teacher::Generated| {
        method.parse(context, &requests[item], &reply.text, reply.complete)
    };
    let answered =
        calls::ask(&TextCalls { parse: &parse }, "generate", run, calls, teacher, watch)?;
    let texts = |Answered { key, reading }: Answered<Result<_, ReplyFault>>| {
        (key, reading.and_then(Result::ok))
    };
    Ok(answered.into_iter().map(texts).collect())
}

/// Keeps the first `wanted` texts of each pile; there is one pile for each class, or one for all. A
/// warning names the piles that fall short.
pub(super) fn keep_wanted(
    task: &Task,
    mut piles: Vec<Vec<AugmentedText>>,
    wanted: usize,
    tries: usize,
    mut counts: Counts,
    watch: Watch<'_>,
) -> (Vec<AugmentedText>, Counts) {
    let all = piles.len() == 1;
    for (pile, texts) in piles.iter_mut().enumerate() {
        if texts.len() < wanted {
            watch(Event::Warning {
                message: format!(
                    "{}: {} of {wanted} texts after {tries} rounds of requests",
                    if all { "all classes" } else { &task.classes[pile].name },
                    texts.len(),
                ),
                hint: Some("raise augment.tries for more rounds".to_owned()),
            });
        }
        texts.truncate(wanted);
    }
    let mut texts: Vec<AugmentedText> = piles.into_iter().flatten().collect();
    for (id, row) in texts.iter_mut().enumerate() {
        row.id = id;
    }
    counts.kept = texts.len();
    (texts, counts)
}

/// The row of a text in the reply to `request`.
fn row(
    task: &Task,
    request: &PromptRequest,
    text: String,
    class: usize,
    teacher_sha256: &str,
) -> AugmentedText {
    let name = |class: usize| task.classes[class].name.clone();
    AugmentedText {
        id: 0,
        text,
        major: name(class),
        minor: request.mix.map(|(minor, _)| name(minor)),
        alpha: request.mix.map(|(_, percent)| f64::from(percent) / 100.0),
        shown: request.shown.iter().map(|class| name(*class)).collect(),
        request_id: Some(request.id.clone()),
        seed: Some(request.seed),
        prompt_sha256: Some(key(&request.prompt)),
        teacher_sha256: Some(teacher_sha256.to_owned()),
    }
}
