//! `refine`: for the classes that the teacher takes for each other most often it drafts sharper
//! descriptions of each. Each draft that is of use ([`super::draft`]) is measured on the labelled
//! examples that [`teacher_check`](super::teacher_check) asks about, in pairs: the same questions
//! with the present description and with the new one. Of the drafts of a class the best is kept.
//!
//! A draft that repeats the examples it was made from would look good on these, so at most half of
//! them are shown, and what changes is also counted on the others alone. Nothing changes in the
//! task: a user accepts drafts into `task.toml`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Context, Event, Pipeline, PipelineError, Watch,
    calls::{self, ScoreCalls, TextCalls},
    draft::{LONGEST, Reader, Useless},
    mistaken::{Evidence, Pair, Shown, run_texts},
    teacher_check::TeacherTest,
};
use crate::{
    counted::{counted, part},
    dataset::{Draft, Effect, MistakenPair, Refinement, Verdict},
    embed::Embedder,
    prompt::{one_line, shown_classes},
    run::{RunFolder, names},
    task::Task,
    teacher::{GenerateRequest, Generated, Sampling, ScoreRequest, Scored, Teacher, Wanted},
};

/// The stage under which the ledger lists the calls.
const STAGE: &str = "refine";
/// Examples of each of the two classes in a prompt: a few are enough to see what they share, and
/// two lists of long texts still fit a small context.
const SHOWN: usize = 5;
/// Characters of an example that are shown.
const EXAMPLE: usize = 200;
/// Tokens of a reply: of English, more than [`LONGEST`] characters have.
const TOKENS: usize = 100;
/// The temperature of all drafts but the first, which is the most probable one: lower ones repeat
/// each other.
const TEMPERATURE: f32 = 0.8;

impl Pipeline<'_> {
    /// Asks for `drafts` descriptions of each class of the `count` most mistaken pairs, measures
    /// them, and writes the best of each class to `refined.json`. What the ledger has is not asked
    /// again. The embedder is needed only if questions name some of the classes.
    ///
    /// # Errors
    /// No labelled example, a recording as the teacher, and whatever stops the teacher, the
    /// embedder or the disk.
    pub(crate) fn refine(
        &mut self,
        teacher: &mut dyn Teacher,
        count: usize,
        drafts: usize,
    ) -> Result<Refinement, PipelineError> {
        let seeds = self.seeds();
        let (run, context, embedder, watch) = self.split(&seeds);
        if !teacher.scores_any_text() {
            return Err(PipelineError::RecordedDescriptions);
        }
        let mut measure = Measure { run, context, embedder, teacher, watch };
        let test = measure.test(&[])?;
        let scored = test.ask(measure.run, measure.teacher, &mut *measure.watch)?;
        let now = test.classes(&scored.ok_or(PipelineError::RecordedDescriptions)?);
        let examples = test.examples().zip(&now);
        let evidence = Evidence {
            task: context.task,
            examples: examples.map(|((text, gold), now)| (text.to_owned(), gold, *now)).collect(),
            texts: run_texts(measure.run, context.task)?,
        };
        let gold: Vec<usize> = evidence.examples.iter().map(|(_, gold, _)| *gold).collect();
        let right = gold.iter().zip(&now).filter(|(gold, now)| **now == Some(**gold)).count();
        let summary = format!("{} correct", part(right, gold.len(), "label"));
        (measure.watch)(Event::End { summary });

        let mut pairs = evidence.pairs();
        pairs.truncate(count);
        let mut drafts = measure.drafts(&plans(&evidence, &pairs), drafts)?;
        measure.effects(&gold, &now, &mut drafts)?;
        let together = measure.together(&gold, &now, &drafts)?;
        let refinement = Refinement {
            examples: gold.len(),
            right,
            texts: evidence.judged_texts(),
            pairs: pairs.iter().map(|pair| mistaken_pair(context.task, pair)).collect(),
            drafts: drafts.into_iter().map(|drafted| drafted.draft).collect(),
            together,
        };
        measure.finish(&refinement)?;
        Ok(refinement)
    }
}

fn mistaken_pair(task: &Task, pair: &Pair) -> MistakenPair {
    let name = |class: usize| task.classes[class].name.clone();
    let Pair { classes: (a, b), examples, texts } = *pair;
    MistakenPair { classes: [name(a), name(b)], examples, texts }
}

/// What drafts of a class are asked for with.
struct Plan {
    class: usize,
    other: usize,
    /// Texts of the two.
    shown: [Shown; 2],
}

/// A plan for each class of `pairs`; one that is in several pairs is told from the class that it
/// is mistaken for most.
fn plans(evidence: &Evidence<'_>, pairs: &[Pair]) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    for Pair { classes: (a, b), .. } in pairs {
        for (class, other) in [(*a, *b), (*b, *a)] {
            if plans.iter().all(|plan| plan.class != class) {
                let shown =
                    [(class, other), (other, class)].map(|(of, to)| evidence.shown(of, to, SHOWN));
                plans.push(Plan { class, other, shown });
            }
        }
    }
    plans
}

/// The drafts of a class, and the places of the examples that their prompt showed.
struct Drafted {
    class: usize,
    seen: BTreeSet<usize>,
    /// Those that are of use, each once.
    usable: Vec<String>,
    draft: Draft,
}

/// What descriptions are drafted and measured with.
struct Measure<'a> {
    run: &'a mut RunFolder,
    context: Context<'a>,
    embedder: Option<&'a dyn Embedder>,
    teacher: &'a mut dyn Teacher,
    watch: Watch<'a>,
}

impl Measure<'_> {
    /// The questions about the labelled examples, with these descriptions of classes in place of
    /// the present ones.
    fn test(&mut self, new: &[(usize, &str)]) -> Result<TeacherTest, PipelineError> {
        let mut task = self.context.task.clone();
        for (class, description) in new {
            (*description).clone_into(&mut task.classes[*class].description);
        }
        let context = Context { task: &task, ..self.context };
        let test = TeacherTest::new(&context, self.teacher, self.embedder)?;
        test.ok_or(PipelineError::NothingToCheck)
    }

    /// Asks for `count` drafts by each of `plans`.
    fn drafts(&mut self, plans: &[Plan], count: usize) -> Result<Vec<Drafted>, PipelineError> {
        let task = self.context.task;
        let mut requests = Vec::new();
        for plan in plans {
            requests.extend(self.requests(plan, count)?);
        }
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let cues: Vec<String> = requests.iter().map(|request| request.cue.clone()).collect();
        let parse = |item: usize, reply: &Generated| {
            let Plan { class, shown, .. } = &plans[item / count];
            let examples = shown.iter().flat_map(|shown| &shown.texts).map(String::as_str);
            let examples: Vec<&str> = examples.collect();
            let reader = Reader { task, class: *class, cue: &cues[item], examples: &examples };
            Ok(reader.read(reply))
        };
        let calls = TextCalls { parse: &parse };
        let answered =
            calls::ask(&calls, STAGE, self.run, requests, self.teacher, &mut *self.watch)?;
        let readings: Vec<Result<String, Useless>> = answered
            .into_iter()
            .map(|call| call.reading.and_then(Result::ok).unwrap_or(Err(Useless::Skipped)))
            .collect();
        let drafted = |(plan, readings): (&Plan, &[_])| sorted(task, plan, readings);
        Ok(plans.iter().zip(readings.chunks(count)).map(drafted).collect())
    }

    /// The requests for `count` drafts.
    fn requests(&self, plan: &Plan, count: usize) -> Result<Vec<GenerateRequest>, PipelineError> {
        let Context { task, prompts, .. } = self.context;
        let Plan { class, other, shown } = plan;
        let texts: BTreeMap<usize, &Shown> = [*class, *other].into_iter().zip(shown).collect();
        let cut = |text: &String| one_line(text).chars().take(EXAMPLE).collect();
        let classes = shown_classes(task, &[*class, *other], |class| {
            texts[&class].texts.iter().map(cut).collect()
        });
        let (prompt, cue) = prompts.describe(task, &classes[0], &classes[1])?;
        let request = |number: usize| GenerateRequest {
            id: format!("{STAGE}.{class}.{number}"),
            prompt: prompt.clone(),
            cue: cue.clone(),
            lines: 1,
            longest: LONGEST,
            constrained: false,
            seed: number as u64,
            max_tokens: TOKENS,
            sampling: Sampling {
                temperature: if number == 0 { 0.0 } else { TEMPERATURE },
                ..Sampling::default()
            },
            wanted: Wanted::default(),
        };
        Ok((0..count).map(request).collect())
    }

    /// Measures each draft alone and keeps the best of each class.
    fn effects(
        &mut self,
        gold: &[usize],
        now: &[Option<usize>],
        drafts: &mut [Drafted],
    ) -> Result<(), PipelineError> {
        let mut tests = Vec::new();
        for Drafted { class, usable, .. } in &*drafts {
            for new in usable {
                tests.push(self.test(&[(*class, new.as_str())])?);
            }
        }
        let mut answers = self.ask(&tests)?.into_iter();
        for Drafted { seen, usable, draft, .. } in drafts {
            let measured = usable.drain(..).zip(answers.by_ref());
            let measured = measured.map(|(new, then)| (new, effect(gold, now, &then, seen)));
            // Of equals the first, which is the more probable one.
            let best = measured.reduce(|best, next| match rank(&next.1) > rank(&best.1) {
                true => next,
                false => best,
            });
            (draft.new, draft.effect) = best.unzip();
        }
        Ok(())
    }

    /// The effect of all drafts together that are not worse; `None` if they are fewer than two.
    fn together(
        &mut self,
        gold: &[usize],
        now: &[Option<usize>],
        drafts: &[Drafted],
    ) -> Result<Option<Effect>, PipelineError> {
        let usable = || drafts.iter().filter(|it| it.draft.acceptable().is_some());
        let new: Vec<(usize, &str)> =
            usable().filter_map(|it| Some((it.class, it.draft.acceptable()?))).collect();
        if new.len() < 2 {
            return Ok(None);
        }
        let test = self.test(&new)?;
        let answers = self.ask(&[test])?;
        let seen = usable().flat_map(|it| it.seen.iter().copied()).collect();
        Ok(answers.first().map(|then| effect(gold, now, then, &seen)))
    }

    /// The teacher's classes of the examples in each of `tests`.
    fn ask(&mut self, tests: &[TeacherTest]) -> Result<Vec<Vec<Option<usize>>>, PipelineError> {
        let requests: Vec<Vec<ScoreRequest>> = tests.iter().map(TeacherTest::requests).collect();
        let lengths: Vec<usize> = requests.iter().map(Vec::len).collect();
        let all: Vec<ScoreRequest> = requests.into_iter().flatten().collect();
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let answered =
            calls::ask(&ScoreCalls, STAGE, self.run, all, self.teacher, &mut *self.watch)?;
        let mut scored = answered.into_iter().map(|call| call.reading);
        let classes = |(test, length): (&TeacherTest, usize)| {
            let own: Vec<Option<Scored>> = scored.by_ref().take(length).collect();
            test.classes(&own)
        };
        Ok(tests.iter().zip(lengths).map(classes).collect())
    }

    fn finish(&mut self, refinement: &Refinement) -> Result<(), PipelineError> {
        let json = serde_json::to_vec_pretty(refinement).expect("names and counts are JSON");
        self.run.write(names::REFINED, &json)?;
        let drafts = refinement.drafts.iter().filter(|draft| draft.new.is_some()).count();
        let counts = [
            ("examples", refinement.examples),
            ("right", refinement.right),
            ("pairs", refinement.pairs.len()),
            ("drafts", drafts),
        ];
        self.run.finish_stage(STAGE, &counts, &[names::REFINED], Vec::new())?;
        if !refinement.pairs.is_empty() {
            let pairs = counted(refinement.pairs.len(), "pair");
            let summary = format!("{} for {pairs} of classes", counted(drafts, "description"));
            (self.watch)(Event::End { summary });
        }
        Ok(())
    }
}

/// The drafts of `plan`, those that are of use apart from the others.
fn sorted(task: &Task, plan: &Plan, readings: &[Result<String, Useless>]) -> Drafted {
    let Plan { class, other, shown } = plan;
    let mut usable: Vec<String> = Vec::new();
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    for reading in readings {
        let useless = match reading {
            Ok(new) if usable.contains(new) => Useless::Repeated,
            Ok(new) => {
                usable.push(new.clone());
                continue;
            }
            Err(useless) => *useless,
        };
        *refused.entry(useless.to_string()).or_default() += 1;
    }
    let draft = Draft {
        class: task.classes[*class].name.clone(),
        against: task.classes[*other].name.clone(),
        old: task.classes[*class].description.clone(),
        new: None,
        usable: usable.len(),
        refused,
        effect: None,
    };
    let seen = shown.iter().flat_map(|shown| shown.places.iter().copied()).collect();
    Drafted { class: *class, seen, usable, draft }
}

/// The better of two drafts has the higher rank.
fn rank(effect: &Effect) -> (bool, usize, usize) {
    (effect.verdict() != Verdict::Worse, effect.all.after, effect.unseen.after)
}

/// What changed between the answers `now` and `then` about examples of the classes `gold`, of which
/// those at the places `seen` were shown to the teacher when it wrote.
fn effect(
    gold: &[usize],
    now: &[Option<usize>],
    then: &[Option<usize>],
    seen: &BTreeSet<usize>,
) -> Effect {
    let mut effect = Effect::default();
    for (at, gold) in gold.iter().enumerate() {
        let [before, after] = [now, then].map(|answers| answers[at] == Some(*gold));
        effect.all.count(before, after);
        if !seen.contains(&at) {
            effect.unseen.count(before, after);
        }
    }
    effect
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        config::Settings,
        dataset::{Paired, Verdict},
        pipeline::scripted_teacher::{ScriptedTeacher, pipeline},
        run::ledger::Entry,
    };

    /// Four examples of each of three classes, of which two are shown.
    fn sample() -> Sample {
        let words = ["one", "two", "three", "four"];
        let seeds = (0..12).map(|n| seed(&format!("{} of {}", words[n % 4], n / 4), n / 4));
        Sample::new(&["a", "b", "c"], seeds.collect())
    }

    /// A teacher that takes all of `b` for `a` unless `b` is described as "sharp", and all of `c`
    /// for `b` if it is described as "blunt".
    fn teacher(replies: [&'static [&'static str]; 3]) -> ScriptedTeacher<'static> {
        let mut teacher = ScriptedTeacher::new(move |request| {
            let class = ["class a in", "class b in", "class c in"];
            let at = class.iter().position(|class| request.prompt.contains(class)).unwrap();
            assert_eq!(request.sampling.temperature == 0.0, request.seed == 0);
            format!("{} {}\n", request.cue, replies[at][request.seed as usize])
        });
        teacher.scorer = Box::new(|request| match &request.text {
            text if text.ends_with('0') => vec![0.8, 0.1, 0.1],
            text if text.ends_with('1')
                && request.prompt.contains("- b: tickets that are sharp") =>
            {
                vec![0.1, 0.8, 0.1]
            }
            text if text.ends_with('1') => vec![0.6, 0.3, 0.1],
            _ if request.prompt.contains("- a: tickets that are blunt") => vec![0.1, 0.8, 0.1],
            _ => vec![0.1, 0.1, 0.8],
        });
        teacher
    }

    fn settings() -> Settings {
        let mut settings = Settings::default();
        settings.relabel.calibration = crate::config::Calibration::None;
        settings
    }

    #[test]
    fn each_draft_is_measured_alone_in_pairs_and_asked_for_once() {
        let folder = tempfile::tempdir().unwrap();
        let (sample, settings) = (sample(), settings());
        let mut teacher = teacher([&["are blunt."], &["are sharp. As is c."], &[]]);
        let mut found = Vec::new();
        for _ in 0..2 {
            let mut run = pipeline(folder.path(), &sample, &settings, |_| {});
            found.push(run.refine(&mut teacher, 3, 1).unwrap());
        }
        assert_eq!(found[0], found[1]);
        let Refinement { examples, right, texts, pairs, drafts, together } = found.remove(0);
        assert_eq!((examples, right, texts), (12, 8, 0));
        let classes = ["a".to_owned(), "b".to_owned()];
        assert_eq!(pairs, [MistakenPair { classes, examples: 4, texts: 0 }]);
        let paired = |examples, before, after, gained, lost| Paired {
            examples,
            before,
            after,
            gained,
            lost,
        };
        let [a, b] = <[Draft; 2]>::try_from(drafts).unwrap();
        assert_eq!((a.class.as_str(), a.new.as_deref()), ("a", Some("tickets that are blunt")));
        assert_eq!(a.old, "described as a");
        // All four of c are lost; two of a and two of b were shown.
        let effect = a.effect.unwrap();
        assert_eq!(effect.all, paired(12, 8, 4, 0, 4));
        assert_eq!(effect.unseen, paired(8, 6, 2, 0, 4));
        assert_eq!((effect.verdict(), a.acceptable()), (Verdict::Worse, None));
        assert_eq!(b.new.as_deref(), Some("tickets that are sharp"));
        assert_eq!(b.acceptable(), b.new.as_deref());
        assert_eq!(b.effect.unwrap().all, paired(12, 8, 12, 4, 0));
        assert_eq!(b.effect.unwrap().unseen, paired(8, 6, 8, 2, 0));
        assert_eq!(together, None, "one is left");
        // The check, and once more for each of two drafts.
        assert_eq!((teacher.replies, teacher.scores), (2, 36));
        let run = pipeline(folder.path(), &sample, &settings, |_| {}).run;
        assert!(run.is_as_recorded(names::REFINED));
        let stages = run.ledger().entries().iter();
        let stages = stages.filter(|it| matches!(it, Entry::Stage { stage, .. } if stage == STAGE));
        assert_eq!(stages.count(), 1);
        std::fs::write(folder.path().join(names::REFINED), "{}").unwrap();
        assert!(!run.is_as_recorded(names::REFINED));
    }

    #[test]
    fn of_several_drafts_the_best_is_kept_and_what_is_of_no_use_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (sample, settings) = (sample(), settings());
        let mut teacher = teacher([
            &["are like one of 0?", "are blunt", "are something else", "are something else"],
            &["are dull", "are grey", "are plain", "are sharp"],
            &[],
        ]);
        let mut run = pipeline(folder.path(), &sample, &settings, |_| {});
        let found = run.refine(&mut teacher, 1, 4).unwrap();
        let [a, b] = <[Draft; 2]>::try_from(found.drafts).unwrap();
        assert_eq!(a.new.as_deref(), Some("tickets that are something else"), "none is lost");
        let refused = [("it is a question", 1), ("it repeats another draft", 1)];
        assert_eq!(a.refused, refused.map(|(why, count)| (why.to_owned(), count)).into());
        assert_eq!((a.usable, b.usable, b.refused.len()), (2, 4, 0));
        assert_eq!(b.new.as_deref(), Some("tickets that are sharp"));
        // The check, six drafts, and the two that are kept together.
        assert_eq!((teacher.replies, teacher.scores), (8, 12 * 8));
        let all = found.together.unwrap().all;
        assert_eq!((all.before, all.after), (8, 12));
    }

    #[test]
    fn without_a_mistake_or_with_a_useless_reply_there_is_no_draft() {
        let (sample, settings) = (sample(), settings());
        let of = |teacher: &mut ScriptedTeacher<'_>| {
            let folder = tempfile::tempdir().unwrap();
            let mut run = pipeline(folder.path(), &sample, &settings, |_| {});
            run.refine(teacher, 3, 1)
        };
        let mut perfect = ScriptedTeacher::new(|_| panic!("nothing is to be written"));
        perfect.scorer = Box::new(|request| {
            (0..3)
                .map(|class| if request.text.ends_with(&class.to_string()) { 0.8 } else { 0.1 })
                .collect()
        });
        let found = of(&mut perfect).unwrap();
        assert_eq!((found.right, found.pairs.len(), found.drafts.len()), (12, 0, 0));
        let found = of(&mut teacher([&["ask for a?"], &["belong to b"], &[]])).unwrap();
        let refused: Vec<&str> =
            found.drafts.iter().flat_map(|it| it.refused.keys().map(String::as_str)).collect();
        assert_eq!(refused, ["it is a question", "it says no more than the names"]);
        assert!(found.drafts.iter().all(|it| it.new.is_none() && it.effect.is_none()));
        let mut off = settings.clone();
        off.teacher.check = 0;
        let folder = tempfile::tempdir().unwrap();
        let mut run = pipeline(folder.path(), &sample, &off, |_| {});
        let refused = run.refine(&mut teacher([&[], &[], &[]]), 3, 1).unwrap_err();
        assert!(matches!(refused, PipelineError::NothingToCheck), "{refused}");
    }
}
