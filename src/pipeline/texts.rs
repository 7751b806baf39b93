//! What asking for new texts shares between [`super::generate`] and [`super::paper`]: one round of
//! requests, the counts, and the texts that are kept.

use std::cmp::Reverse;

use super::{
    Event, PipelineError, Watch,
    calls::{self, Answered, TextCalls},
    screen::{self, JunkRow, Screen},
};
use crate::{
    augment::{Method, ParsedText, PromptContext, PromptRequest},
    config::AugmentSettings,
    counted::{counted, part},
    dataset::AugmentedText,
    filter::junk::Reply,
    prompt::reply::{LIST_CUE, ReplyFault},
    run::{KeptTexts, RunFolder, key},
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
    /// The texts that were dropped or cleaned.
    pub junk: Vec<JunkRow>,
}

impl Generation {
    /// The counts of the stage as the ledger keeps them, with those of each reason for junk.
    pub(super) fn entries(&self) -> Vec<(String, usize)> {
        let counts = self.counts.entries().into_iter();
        let counts = counts.map(|(name, count)| (name.to_owned(), count));
        let reasons = screen::reasons(&self.junk).into_iter();
        let named = reasons.map(|(why, count)| (format!("{}{why}", screen::COUNTED), count));
        counts.chain(named).collect()
    }

    /// The junk among the texts, in words that follow those about the replies; empty without any.
    pub(super) fn junk_summary(&self) -> String {
        let Counts { parsed, junk, cleaned, .. } = self.counts;
        let mut summary = String::new();
        if junk > 0 {
            let mut reasons: Vec<_> = screen::reasons(&self.junk).into_iter().collect();
            reasons.sort_by_key(|(_, count)| Reverse(*count));
            let why: Vec<String> =
                reasons.iter().map(|(why, count)| format!("{count} {why}")).collect();
            summary = format!("; {} junk ({})", part(junk, parsed, "text"), why.join(", "));
        }
        if cleaned > 0 {
            summary += &format!("; {cleaned} cleaned");
        }
        summary
    }
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
    /// Of those, texts dropped as junk.
    pub junk: usize,
    /// Of the others, texts of which something was removed.
    pub cleaned: usize,
    /// Of those that are no junk, texts that differ from all earlier ones.
    pub unique: usize,
    /// Of those, texts that were still wanted.
    pub kept: usize,
    /// Texts that were kept when the task changed; they count as asked, parsed and unique, too.
    pub taken_up: usize,
}

impl Counts {
    /// Counts the reply to `request`; its texts as rows, each with its class, as far as `screen`
    /// lets them pass. A refused reply has none.
    pub(super) fn rows(
        &mut self,
        screen: &mut Screen,
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
        let lines: Vec<&str> = texts.iter().map(|line| line.text.as_str()).collect();
        let share = request.mix.map(|(_, percent)| percent);
        let reply = Reply::new(&request.prompt, share, &lines);
        let row =
            |ParsedText { text, class }| (class, row(task, request, text, class, teacher_sha256));
        let rows = texts.into_iter().map(row).enumerate();
        let passed = rows
            .filter_map(|(at, (class, row))| Some((class, screen.pass(&reply.place(at), row)?)))
            .collect();
        (self.junk, self.cleaned) = screen.counts();
        passed
    }

    /// Counts `texts` that are there already.
    pub(super) fn take_up(&mut self, texts: usize) {
        self.taken_up += texts;
        self.asked += texts;
        self.parsed += texts;
    }

    pub(crate) fn entries(&self) -> Vec<(&'static str, usize)> {
        let Self { calls, refused, asked, parsed, junk, cleaned, unique, kept, taken_up } = *self;
        let mut entries = vec![
            ("calls", calls),
            ("refused", refused),
            ("asked", asked),
            ("parsed", parsed),
            ("junk", junk),
            ("cleaned", cleaned),
            ("unique", unique),
            ("kept", kept),
        ];
        entries.extend((taken_up > 0).then_some(("taken_up", taken_up)));
        entries
    }
}

/// The key of a call and the texts of its reply; `None` if the reply is refused or its request was
/// given up.
pub(super) type ParsedReply = (String, Option<Vec<ParsedText>>);

/// The call that `request` becomes.
pub(super) fn call(context: &PromptContext<'_>, request: &PromptRequest) -> GenerateRequest {
    let AugmentSettings { sampling, constrained, .. } = *context.settings;
    let (longest, max_tokens) = (context.settings.longest(), context.settings.max_tokens());
    let name = |class: usize| context.task.classes[class].name.clone();
    GenerateRequest {
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
            minor: request.partner().map_or_else(String::new, name),
        },
    }
}

/// The replies to `requests`, parsed by `method`.
pub(super) fn parsed_replies(
    run: &mut RunFolder,
    context: &PromptContext<'_>,
    method: &dyn Method,
    requests: &[PromptRequest],
    teacher: &mut dyn Teacher,
    watch: Watch<'_>,
) -> Result<Vec<ParsedReply>, PipelineError> {
    let calls = requests.iter().map(|request| call(context, request)).collect();
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

/// New texts by the pile that they fill: one for each class, or one for all.
pub(super) struct Piles {
    pub texts: Vec<Vec<AugmentedText>>,
    /// Number of texts that each pile is to hold.
    pub wanted: Vec<usize>,
    /// How many at the beginning of each pile were there before.
    kept: Vec<usize>,
    next_id: usize,
}

impl Piles {
    /// Piles for `per_class` texts of each class, with those of `kept` in them. If the teacher
    /// chooses the classes there is one pile.
    pub(super) fn new(
        task: &Task,
        per_class: usize,
        one_for_all: bool,
        kept: Option<&KeptTexts>,
    ) -> Self {
        let classes = task.classes.len();
        let (piles, each) =
            if one_for_all { (1, per_class * classes) } else { (classes, per_class) };
        let (mut texts, mut wanted) = (vec![Vec::new(); piles], vec![each; piles]);
        for row in kept.iter().flat_map(|kept| &kept.kept) {
            let class = task.class_index(&row.major).unwrap_or_default();
            texts[class.min(piles - 1)].push(row.clone());
        }
        for (name, count) in kept.iter().flat_map(|kept| &kept.withdrawn) {
            let class = task.class_index(name).unwrap_or_default().min(piles - 1);
            wanted[class] = wanted[class].saturating_sub(*count);
        }
        // A row that a person moved to a class displaces none of those that were there.
        for (wanted, texts) in wanted.iter_mut().zip(&texts) {
            let by_person = texts.iter().filter(|row| row.by.is_some()).count();
            *wanted = (*wanted).max(texts.len().min(*wanted + by_person));
        }
        let kept_of_each = texts.iter().map(Vec::len).collect();
        Self { texts, wanted, kept: kept_of_each, next_id: kept.map_or(0, |kept| kept.next_id) }
    }

    /// The number of texts that each pile lacks.
    pub(super) fn missing(&self) -> Vec<usize> {
        let wanted = self.texts.iter().zip(&self.wanted);
        wanted.map(|(texts, wanted)| wanted.saturating_sub(texts.len())).collect()
    }

    /// The first `wanted` texts of each pile.
    pub(super) fn wanted_rows(self) -> Vec<AugmentedText> {
        let piles = self.texts.into_iter().zip(self.wanted);
        piles.flat_map(|(texts, wanted)| texts.into_iter().take(wanted)).collect()
    }

    /// Keeps the first `wanted` texts of each pile and numbers the new ones. A warning names the
    /// piles that fall short.
    pub(super) fn keep_wanted(
        self,
        task: &Task,
        tries: usize,
        mut counts: Counts,
        watch: Watch<'_>,
    ) -> (Vec<AugmentedText>, Counts) {
        let all = self.texts.len() == 1;
        let mut rows = Vec::new();
        let mut next_id = self.next_id;
        for (pile, mut texts) in self.texts.into_iter().enumerate() {
            let wanted = self.wanted[pile];
            if texts.len() < wanted {
                watch(Event::Warning {
                    message: format!(
                        "{}: {} after {} of requests",
                        if all { "all classes" } else { &task.classes[pile].name },
                        part(texts.len(), wanted, "text"),
                        counted(tries, "round"),
                    ),
                    hint: Some("raise augment.tries for more rounds".to_owned()),
                });
            }
            for row in texts.iter_mut().take(wanted).skip(self.kept[pile]) {
                row.id = next_id;
                next_id += 1;
            }
            texts.truncate(wanted);
            rows.extend(texts);
        }
        counts.kept = rows.len();
        (rows, counts)
    }
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
        minor: request.partner().map(name),
        alpha: request.mix.map(|(_, percent)| f64::from(percent) / 100.0),
        shown: request.shown.iter().map(|class| name(*class)).collect(),
        request_id: Some(request.id.clone()),
        seed: Some(request.seed),
        prompt_sha256: Some(key(&request.prompt)),
        teacher_sha256: Some(teacher_sha256.to_owned()),
        ..AugmentedText::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        dataset::Author,
    };

    #[test]
    fn a_row_that_a_person_moved_displaces_no_other() {
        let task = Sample::new(&["a", "b"], vec![seed("x", 0), seed("y", 1)]).task;
        let row = |text: &str, by| AugmentedText {
            text: text.to_owned(),
            major: "b".to_owned(),
            by,
            ..AugmentedText::default()
        };
        let person = Some(Author::Person);
        let rows = vec![row("moved", person), row("1", None), row("2", None), row("3", None)];
        let kept = KeptTexts { kept: rows, ..KeptTexts::default() };
        let of = |per_class| Piles::new(&task, per_class, false, Some(&kept));
        assert_eq!(of(3).wanted, [3, 4]);
        let texts: Vec<String> = of(3).wanted_rows().into_iter().map(|row| row.text).collect();
        assert_eq!(texts, ["moved", "1", "2", "3"]);
        // A lower number of texts is still what was asked for.
        assert_eq!(of(1).wanted, [1, 2]);
        assert_eq!(of(5).missing(), [5, 1]);
    }
}
