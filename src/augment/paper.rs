//! Mixup as in the published code (`augment.unique_per_text`): each text to generate draws its own
//! classes and α, the teacher is asked until `unique_per_text` different texts have come back, and
//! one of them is kept. That takes four calls or more per text; it is here for the comparison with
//! the paper. A reply with fewer lines than requested is accepted with the texts it has.
//!
//! The published code has no limit. Here, the number of requests for a text is at most
//! `augment.tries` times the number that is needed if every text in every reply is new; after that,
//! one of the texts found so far is kept.

use rand::Rng as _;

use super::{Method, ParsedText, PromptContext, PromptRequest, item, mixup::Mix, parse_numbered};
use crate::{
    dataset::AugmentedText,
    prompt::{PromptError, reply::ReplyFault},
    rng::Rng,
};

/// A text to generate and the candidates found for it so far.
pub(crate) struct PendingText {
    mix: Mix,
    /// Number of the text within its class.
    number: usize,
    /// Number of requests made so far.
    requests: usize,
    found: Vec<AugmentedText>,
}

impl PendingText {
    /// `missing[class]` texts of each class; classes take turns. The texts of a class are numbered
    /// from `first`: other numbers draw other classes and ratios.
    pub(crate) fn all(context: &PromptContext<'_>, missing: &[usize], first: usize) -> Vec<Self> {
        let pending = |number: usize, class: usize| {
            let mut rng = Rng::for_item(context.seed, "published", item(0, class, number));
            let mix = Mix::draw(context, class, &mut rng);
            Self { mix, number, requests: 0, found: Vec::new() }
        };
        let most = missing.iter().copied().max().unwrap_or(0);
        let classes =
            |number: usize| (0..missing.len()).filter(move |class| number < missing[*class]);
        (0..most)
            .flat_map(|number| classes(number).map(move |class| (first + number, class)))
            .map(|(number, class)| pending(number, class))
            .collect()
    }

    /// The class that the text should mostly belong to.
    pub(crate) fn class(&self) -> usize {
        self.mix.major
    }

    /// The minimum number of further requests; none if enough texts are found or the limit is
    /// reached.
    ///
    /// # Errors
    /// A template does not render.
    pub(crate) fn next_requests(
        &mut self,
        context: &PromptContext<'_>,
    ) -> Result<Vec<PromptRequest>, PromptError> {
        let settings = context.settings;
        let requests = |texts: usize| texts.div_ceil(settings.texts_per_request);
        let most = settings.tries * requests(settings.unique_per_text);
        let needed = requests(settings.unique_per_text.saturating_sub(self.found.len()));
        let first = self.requests;
        self.requests += needed.min(most - first);
        let request = |attempt: usize| {
            let (class, number) = (self.class(), self.number);
            let place = item(attempt, class, number);
            let mut rng = Rng::for_item(context.seed, "published.request", place);
            self.mix.request(context, format!("{attempt}.{class}.{number}"), &mut rng)
        };
        (first..self.requests).map(request).collect()
    }

    /// Adds a text unless an equal one was found before. Returns whether it was new.
    pub(crate) fn add(&mut self, row: AugmentedText) -> bool {
        let is_new = self.found.iter().all(|other| other.text != row.text);
        if is_new {
            self.found.push(row);
        }
        is_new
    }

    /// One of the texts found, all with the same probability. `seed` is that of the prompts.
    pub(crate) fn pick(mut self, seed: u64) -> Option<AugmentedText> {
        if self.found.is_empty() {
            return None;
        }
        let mut rng = Rng::for_item(seed, "published.kept", item(0, self.class(), self.number));
        Some(self.found.swap_remove(rng.random_range(0..self.found.len())))
    }
}

/// The part of the published procedure that fits [`Method`]. Later requests depend on the replies
/// for each text, which `pipeline::paper` handles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PaperMixup;

impl Method for PaperMixup {
    /// The first requests of a run.
    fn plan_round(
        &self,
        context: &PromptContext<'_>,
        _round: usize,
        missing: &[usize],
    ) -> Result<Vec<PromptRequest>, PromptError> {
        let mut requests = Vec::new();
        for mut pending in PendingText::all(context, missing, 0) {
            requests.extend(pending.next_requests(context)?);
        }
        Ok(requests)
    }

    /// As many texts as the reply has lines, up to the number requested.
    fn parse(
        &self,
        context: &PromptContext<'_>,
        request: &PromptRequest,
        reply: &str,
        complete: bool,
    ) -> Result<Vec<ParsedText>, ReplyFault> {
        let lines = reply.lines().filter(|line| !line.trim().is_empty()).count();
        let count = if lines < request.count { lines.max(1) } else { request.count };
        parse_numbered(context, request, count, reply, complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::sample::{Sample, seed};

    fn sample() -> Sample {
        let mut sample = Sample::new(&["a", "b", "c"], vec![seed("x", 0), seed("y", 0)]);
        (sample.settings.per_class, sample.settings.unique_per_text) = (2, 10);
        sample
    }

    #[test]
    fn a_short_list_is_accepted() {
        let sample = sample();
        let context = sample.context();
        let request = &PaperMixup.plan_round(&context, 0, &[2; 3]).unwrap()[0];
        let parse = |reply: &str| {
            let texts = PaperMixup.parse(&context, request, reply, true);
            texts.map(|texts| texts.into_iter().map(|text| text.text).collect::<Vec<_>>())
        };
        assert_eq!(parse("1. one\n2. two").unwrap(), ["one", "two"]);
        assert_eq!(parse("1. one\n2. two\n3. three").unwrap().len(), 3);
        assert_eq!(parse("1. one\n2. two\n3. three\n4. four"), Err(ReplyFault::TooMany));
        assert_eq!(parse("Sure!"), Err(ReplyFault::NotNumbered));
        assert!(parse("").is_err());
    }

    fn text(text: &str) -> AugmentedText {
        AugmentedText { text: text.to_owned(), ..AugmentedText::default() }
    }

    #[test]
    fn requests_continue_until_enough_texts_are_found() {
        let sample = sample();
        let context = sample.context();
        let mut pending = PendingText::all(&context, &[2; 3], 0);
        let classes: Vec<usize> = pending.iter().map(PendingText::class).collect();
        assert_eq!(classes, [0, 1, 2, 0, 1, 2]);
        let pending = &mut pending[3];
        // 10 texts need at least 4 requests of 3, all of the same mix with different random
        // streams.
        let requests = pending.next_requests(&context).unwrap();
        let ids: Vec<&str> = requests.iter().map(|request| request.id.as_str()).collect();
        assert_eq!(ids, ["0.0.1", "1.0.1", "2.0.1", "3.0.1"]);
        let (first, others) = requests.split_first().unwrap();
        assert!(others.iter().all(|other| other.mix == first.mix && other.shown == first.shown));
        assert!(others.iter().all(|other| other.seed != first.seed));
        // 6 different ones are found, letter case included; the missing 4 need 2 requests.
        let new = ["a", "b", "a", "c", "A", "d", "e", "b"].map(|found| pending.add(text(found)));
        assert_eq!(new, [true, true, false, true, true, true, true, false]);
        assert_eq!(pending.next_requests(&context).unwrap().len(), 2);
        for found in ["f", "g", "h", "i"] {
            pending.add(text(found));
        }
        assert!(pending.next_requests(&context).unwrap().is_empty());
    }

    #[test]
    fn the_number_of_requests_is_limited() {
        let sample = sample();
        let context = sample.context();
        let mut pending = PendingText::all(&context, &[2; 3], 0).remove(0);
        let mut count = 0;
        loop {
            let requests = pending.next_requests(&context).unwrap();
            if requests.is_empty() {
                break;
            }
            count += requests.len();
            pending.add(text("always the same"));
        }
        // 3 tries of 4 requests.
        assert_eq!(count, 12);
        assert_eq!(pending.pick(1).unwrap().text, "always the same");
        assert!(PendingText::all(&context, &[2; 3], 0).remove(0).pick(1).is_none());
    }

    #[test]
    fn every_text_found_is_equally_likely_to_be_kept() {
        let mut sample = sample();
        sample.settings.per_class = 200;
        let mut kept = [0_usize; 2];
        for mut pending in PendingText::all(&sample.context(), &[200; 3], 0) {
            pending.add(text("0"));
            pending.add(text("1"));
            kept[pending.pick(1).unwrap().text.parse::<usize>().unwrap()] += 1;
        }
        assert!(kept[0] + kept[1] == 600 && kept[0].abs_diff(300) < 60, "{kept:?}");
        assert_eq!(PaperMixup.plan_round(&sample.context(), 0, &[200; 3]).unwrap().len(), 600 * 4);
    }
}
