//! Measures the engine's throughput on a workload like a run's: prompts with a long shared prefix
//! and a few tokens of their own, short replies. The tokens are random, so any model will do.

use std::time::Instant;

use llama_cpp_2::token::LlamaToken;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        GenerateRequest, LabelScoring, Sampling, TeacherError, Wanted,
        grammar::{self, GrammarCost},
        tokens::Question,
        trie::Trie,
    },
    DecodeMode, LlamaTeacher, generate, memory, score,
    session::RunStats,
};
use crate::rng::Rng;

/// One request at a time, each with its whole prompt evaluated.
const WITHOUT_REUSE: DecodeMode = DecodeMode::Sequential { reuse: false };

/// What to measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Workload {
    /// Tokens that all prompts share.
    pub shared: usize,
    /// Further tokens of each prompt.
    pub own: usize,
    /// Tokens of each reply.
    pub new: usize,
    pub items: usize,
    pub labels: usize,
    /// Minimum and maximum number of tokens of a label's name.
    pub label_tokens: (usize, usize),
    /// The kinds to measure; empty = the quick ones.
    pub only: Vec<Kind>,
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Replies in continuous batches.
    Generate,
    /// The same, one request at a time, each with its whole prompt evaluated.
    GenerateSingle,
    /// One reply per slot, all to the same prompt: pure decoding.
    Decode,
    /// Scores of a few labels.
    Labels,
    /// The same, one question at a time, each with its whole prompt evaluated.
    LabelsSingle,
    /// The alternative to scoring: ten tokens generated per question.
    LabelsGenerated,
    /// Scores of 77 labels of 1 to 8 tokens.
    #[serde(rename = "labels_77")]
    Labels77,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Generate,
        Self::GenerateSingle,
        Self::Decode,
        Self::Labels,
        Self::LabelsSingle,
        Self::LabelsGenerated,
        Self::Labels77,
    ];
    const QUICK: [Self; 3] = [Self::Generate, Self::Decode, Self::Labels];

    /// Its name on the command line and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::GenerateSingle => "generate_single",
            Self::Decode => "decode",
            Self::Labels => "labels",
            Self::LabelsSingle => "labels_single",
            Self::LabelsGenerated => "labels_generated",
            Self::Labels77 => "labels_77",
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measure {
    pub kind: Kind,
    pub items: usize,
    pub seconds: f64,
    pub items_per_second: f64,
    /// Tokens of all prompts (and candidate names), whether evaluated or shared.
    pub prompt_tokens_asked: usize,
    /// Of those, the tokens that were evaluated.
    pub prompt_tokens: usize,
    pub generated_tokens: usize,
    /// In the calls that read prompts, and in those that only decode.
    pub prompt_tokens_per_second: f64,
    pub decode_tokens_per_second: f64,
    /// Calls of `llama_decode`.
    pub decodes: usize,
    pub slots: usize,
    /// Allocated cells of the KV cache, and the maximum number that held tokens at the same time.
    pub cells: usize,
    pub cells_peak: usize,
    /// The shared prefix once, plus each slot's own tokens.
    pub cells_ideal: usize,
}

/// All measures of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BenchReport {
    pub model: String,
    pub sha256: String,
    pub parameters: u64,
    pub threads: usize,
    pub gpu: bool,
    pub slots: usize,
    pub workload: Workload,
    pub measures: Vec<Measure>,
    /// The cost of drawing a token, with a synthetic vocabulary of the model's size.
    pub sampling: GrammarCost,
    /// Peak memory of the engine's process in bytes; 0 = unknown.
    pub peak_memory_bytes: u64,
}

impl BenchReport {
    pub(crate) fn measure(&self, kind: Kind) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.kind == kind)
    }
}

impl LlamaTeacher {
    /// Runs `workload`; `on_measure` receives each measurement as soon as it is finished.
    pub(crate) fn bench(
        &mut self,
        workload: &Workload,
        mut on_measure: impl FnMut(&Measure),
    ) -> Result<BenchReport, TeacherError> {
        let kinds: &[Kind] = if workload.only.is_empty() { &Kind::QUICK } else { &workload.only };
        let bench = Bench::new(self, workload);
        bench.warm_up()?;
        let mut measures = Vec::with_capacity(kinds.len());
        for &kind in kinds {
            let measure = bench.measure(kind)?;
            on_measure(&measure);
            measures.push(measure);
        }
        Ok(BenchReport {
            model: self.identity.name.clone(),
            sha256: self.identity.sha256.clone(),
            parameters: self.identity.parameters,
            threads: self.threads(),
            gpu: self.gpu,
            slots: bench.slots,
            workload: workload.clone(),
            measures,
            sampling: grammar::cost(self.vocabulary.token_bytes.len()),
            peak_memory_bytes: crate::memory::peak(),
        })
    }

    /// The prompts of `workload` as token numbers, so that other programs can be measured with
    /// them.
    pub(crate) fn bench_prompts(&self, workload: &Workload) -> Vec<Vec<i32>> {
        let prompts = Bench::new(self, workload).prompts;
        prompts.iter().map(|prompt| prompt.iter().map(|token| token.0).collect()).collect()
    }
}

struct Bench<'a> {
    teacher: &'a LlamaTeacher,
    workload: &'a Workload,
    prompts: Vec<Vec<LlamaToken>>,
    slots: usize,
}

impl<'a> Bench<'a> {
    fn new(teacher: &'a LlamaTeacher, workload: &'a Workload) -> Self {
        let mut bench = Self { teacher, workload, prompts: Vec::new(), slots: 0 };
        bench.slots = teacher.slots(memory::default_slots(teacher.gpu));
        let shared = bench.tokens("bench shared", 0, workload.shared);
        bench.prompts = (0..workload.items as u64)
            .map(|item| [shared.clone(), bench.tokens("bench own", item, workload.own)].concat())
            .collect();
        bench
    }

    fn warm_up(&self) -> Result<(), TeacherError> {
        self.generate(&self.prompts[..self.prompts.len().min(2)], 4, DecodeMode::Batched)
            .map(|_| ())
    }

    fn measure(&self, kind: Kind) -> Result<Measure, TeacherError> {
        let Workload { new, labels, label_tokens, shared, .. } = *self.workload;
        let equal = vec![self.prompts[0][..shared.max(1)].to_vec(); self.slots];
        // One at a time is slow; a quarter of the items gives the same figures.
        let few = &self.prompts[..self.prompts.len().div_ceil(4)];
        let started = Instant::now();
        let (items, reply, names, stats) = match kind {
            Kind::Generate => self.generate(&self.prompts, new, DecodeMode::Batched)?,
            Kind::GenerateSingle => self.generate(few, new, WITHOUT_REUSE)?,
            Kind::Decode => self.generate(&equal, new, DecodeMode::Batched)?,
            Kind::LabelsGenerated => self.generate(&self.prompts, 10, DecodeMode::Batched)?,
            Kind::Labels => self.score(&self.prompts, labels, label_tokens, DecodeMode::Batched)?,
            Kind::LabelsSingle => self.score(few, labels, label_tokens, WITHOUT_REUSE)?,
            Kind::Labels77 => self.score(&self.prompts, 77, (1, 8), DecodeMode::Batched)?,
        };
        let seconds = started.elapsed().as_secs_f64();
        let generated = items * reply;
        let decode = stats.decode;
        // The last token of a reply is drawn but never evaluated.
        let evaluated = decode.tokens - (generated - items.min(generated));
        let per_second = |count: usize, seconds: f64| {
            if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
        };
        let own = if kind == Kind::Decode { 0 } else { self.workload.own };
        Ok(Measure {
            kind,
            items,
            seconds,
            items_per_second: per_second(items, seconds),
            prompt_tokens_asked: items * (shared + own + names),
            prompt_tokens: evaluated,
            generated_tokens: generated,
            prompt_tokens_per_second: per_second(
                decode.tokens - decode.decode_only_tokens,
                decode.seconds - decode.decode_only_seconds,
            ),
            decode_tokens_per_second: per_second(
                decode.decode_only_tokens,
                decode.decode_only_seconds,
            ),
            decodes: decode.calls,
            slots: stats.slots,
            cells: stats.cells,
            cells_peak: stats.peak,
            cells_ideal: shared + stats.slots.min(items) * (own + reply + names),
        })
    }

    /// Returns the number of items, tokens of each reply, tokens of the names, and the cost.
    fn generate(
        &self,
        prompts: &[Vec<LlamaToken>],
        new: usize,
        mode: DecodeMode,
    ) -> Result<(usize, usize, usize, RunStats), TeacherError> {
        let requests: Vec<GenerateRequest> = (0..prompts.len())
            .map(|item| GenerateRequest {
                id: format!("bench.{item}"),
                prompt: String::new(),
                cue: String::new(),
                lines: usize::MAX,
                longest: usize::MAX,
                constrained: false,
                seed: item as u64,
                max_tokens: new,
                sampling: Sampling::default(),
                wanted: Wanted::default(),
            })
            .collect();
        let stats = generate::run(self.teacher, &requests, prompts, mode, &mut |_| Ok(()))?;
        Ok((prompts.len(), new, 0, stats))
    }

    fn score(
        &self,
        prompts: &[Vec<LlamaToken>],
        labels: usize,
        (fewest, most): (usize, usize),
        mode: DecodeMode,
    ) -> Result<(usize, usize, usize, RunStats), TeacherError> {
        let names: Vec<Vec<LlamaToken>> = (0..labels)
            .map(|label| {
                let length = fewest + label % (most - fewest + 1);
                self.tokens("bench label", label as u64, length)
            })
            .collect();
        let trie = std::sync::Arc::new(Trie::new(&names, LabelScoring::Sequence));
        let nodes = trie.nodes.len() - 1;
        let questions: Vec<Question<'_>> = prompts
            .iter()
            .map(|prompt| Question { id: "bench", prompt: prompt.clone(), trie: trie.clone() })
            .collect();
        let stats = score::run(self.teacher, &questions, mode, &mut |_| Ok(()))?;
        Ok((prompts.len(), 0, nodes, stats))
    }

    /// `count` random text tokens, always the same for the same `stage` and `item`.
    fn tokens(&self, stage: &str, item: u64, count: usize) -> Vec<LlamaToken> {
        let Self { teacher, .. } = self;
        let mut rng = Rng::for_item(0, stage, item);
        let draw = || {
            let token = rng.random_range(0..teacher.vocabulary.token_bytes.len() as i32);
            Some(LlamaToken(token))
                .filter(|_| !teacher.vocabulary.control_and_ends.contains(&token))
        };
        std::iter::repeat_with(draw).flatten().take(count).collect()
    }
}
