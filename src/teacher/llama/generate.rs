//! Writes replies, one wave of sequences at a time.

use llama_cpp_2::token::LlamaToken;

use super::{
    GenerateRequest, Generated, LlamaTeacher, MOST_SEQUENCES, TeacherError, WaveSink,
    batch::{Cell, evaluate, share_prefix},
    shared_prefix,
};
use crate::{
    rng::Rng,
    teacher::{Row, Sampler},
};

/// A reply in the making.
struct Reply<'a> {
    request: &'a GenerateRequest,
    prompt_tokens: usize,
    rng: Rng,
    sampler: Sampler,
    tokens: Vec<i32>,
    bytes: Vec<u8>,
    last: LlamaToken,
    generated: usize,
    complete: bool,
    running: bool,
}

pub(super) fn run(
    teacher: &LlamaTeacher,
    requests: &[GenerateRequest],
    done: &[bool],
    sink: WaveSink<'_, Generated>,
) -> Result<(), TeacherError> {
    let wave = teacher.options.batch.clamp(1, MOST_SEQUENCES - 1);
    let mut prompts = Vec::with_capacity(requests.len());
    for request in requests {
        let prompt = teacher.tokenize(&request.prompt, request.cue)?;
        teacher.check_length(&request.id, prompt.len() + request.max_tokens)?;
        prompts.push(prompt);
    }
    // Sized once for the hungriest wave; sharing a prefix only ever needs less.
    let cells = requests.chunks(wave).zip(prompts.chunks(wave)).map(|(requests, prompts)| {
        let replies: usize = requests.iter().map(|request| request.max_tokens).sum();
        replies + prompts.iter().map(Vec::len).sum::<usize>()
    });
    let Some(cells) = cells.max() else { return Ok(()) };
    let mut context = teacher.context(cells, wave.min(requests.len()) + 1)?;

    for first in (0..requests.len()).step_by(wave) {
        let range = first..requests.len().min(first + wave);
        if done[range.clone()].iter().all(|done| *done) {
            continue;
        }
        let prompts: Vec<&[LlamaToken]> =
            prompts[range.clone()].iter().map(Vec::as_slice).collect();
        let prefix = shared_prefix(&prompts);
        share_prefix(&mut context, &prompts[0][..prefix], prompts.len() + 1)?;

        let mut replies: Vec<Reply<'_>> = requests[range]
            .iter()
            .zip(&prompts)
            .map(|(request, prompt)| Reply::begin(request, prompt.len()))
            .collect();
        let sequences: Vec<[i32; 1]> = (1..=prompts.len() as i32).map(|number| [number]).collect();

        let mut cells = Vec::new();
        let mut owner = Vec::new();
        for (index, prompt) in prompts.iter().enumerate() {
            for (position, &token) in prompt.iter().enumerate().skip(prefix) {
                let logits = position + 1 == prompt.len();
                cells.push(Cell { token, position, sequences: &sequences[index], logits });
                owner.push(index);
            }
        }
        evaluate(&mut context, &cells, |cell, logits| {
            replies[owner[cell]].extend(teacher, logits);
        })?;
        while replies.iter().any(|reply| reply.running) {
            let (owner, cells): (Vec<usize>, Vec<Cell<'_>>) = replies
                .iter()
                .enumerate()
                .filter(|(_, reply)| reply.running)
                .map(|(index, reply)| (index, reply.next_cell(&sequences[index])))
                .unzip();
            evaluate(&mut context, &cells, |cell, logits| {
                replies[owner[cell]].extend(teacher, logits);
            })?;
        }
        sink(first, replies.into_iter().map(Reply::finish).collect())
            .map_err(TeacherError::Stopped)?;
    }
    Ok(())
}

impl<'a> Reply<'a> {
    fn begin(request: &'a GenerateRequest, prompt_tokens: usize) -> Self {
        Self {
            request,
            prompt_tokens,
            rng: Rng::for_item(request.seed, "sampling", 0),
            sampler: Sampler::default(),
            tokens: Vec::new(),
            bytes: request.cue.as_bytes().to_vec(),
            last: LlamaToken(0),
            generated: 0,
            complete: false,
            running: true,
        }
    }

    fn next_cell<'s>(&self, sequences: &'s [i32]) -> Cell<'s> {
        let position = self.prompt_tokens + self.generated - 1;
        Cell { token: self.last, position, sequences, logits: true }
    }

    /// Draws the next token and decides whether the reply ends with it.
    fn extend(&mut self, teacher: &LlamaTeacher, logits: &[f32]) {
        let row = Row { logits, banned: &teacher.banned, recent: &self.tokens };
        let Some(drawn) = self.sampler.draw(&self.request.sampling, row, &mut self.rng) else {
            self.running = false;
            return;
        };
        self.tokens.push(drawn);
        self.last = LlamaToken(drawn);
        self.generated += 1;
        let vocab = teacher.model.vocab();
        self.complete = vocab.is_eog(self.last);
        if !self.complete {
            self.bytes.extend(vocab.token_to_piece(self.last, false, None));
            self.complete = self.has_all_lines();
        }
        self.running = !self.complete && self.generated < self.request.max_tokens;
    }

    /// Whether as many lines as were asked for stand there, the last one closed by its newline.
    fn has_all_lines(&self) -> bool {
        let text = &self.bytes;
        let closed = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = text[..closed].split(|byte| *byte == b'\n');
        lines.filter(|line| !line.trim_ascii().is_empty()).count() >= self.request.lines
    }

    fn finish(self) -> Generated {
        Generated {
            text: String::from_utf8_lossy(&self.bytes).into_owned(),
            complete: self.complete,
            prompt_tokens: self.prompt_tokens,
            generated_tokens: self.generated,
        }
    }
}
