//! Mixing as the published code does it (`augment.unique_per_text`): each wanted text draws its own
//! classes and α, is asked for again and again until so many different texts are there, and one of
//! them is kept. That is four calls or more for one text; it is here for the comparison with the
//! paper. A reply with fewer lines than were asked for counts for what it holds.
//!
//! The published code has no bound. Here a text is given up after `augment.tries` times the requests
//! that would do if each reply brought only new texts, and one of what is there is kept.

use rand::Rng as _;

use super::{Method, ParsedText, PromptContext, PromptRequest, item, listed, mixup::Mix};
use crate::{
    dataset::AugmentedText,
    prompt::{PromptError, reply::ReplyFault},
    rng::Rng,
};

/// A text that is wanted, and what was found for it.
pub(crate) struct PendingText {
    mix: Mix,
    /// Counts the texts of its class.
    number: usize,
    /// Requests made for it.
    requests: usize,
    found: Vec<AugmentedText>,
}

impl PendingText {
    /// `augment.per_class` of each class; classes take turns.
    pub(crate) fn all(context: &PromptContext<'_>) -> Vec<Self> {
        let classes = context.task.classes.len();
        let pending = |number: usize, class: usize| {
            let mut rng = Rng::for_item(context.seed, "published", item(0, class, number));
            let mix = Mix::draw(context, class, &mut rng);
            Self { mix, number, requests: 0, found: Vec::new() }
        };
        (0..context.settings.per_class)
            .flat_map(|number| (0..classes).map(move |class| pending(number, class)))
            .collect()
    }

    /// The class that the text is to belong to for the most part.
    pub(crate) fn class(&self) -> usize {
        self.mix.major
    }

    /// The requests that are surely needed; none once enough is found or too much was asked.
    ///
    /// # Errors
    /// A template that does not render.
    pub(crate) fn asks(
        &mut self,
        context: &PromptContext<'_>,
    ) -> Result<Vec<PromptRequest>, PromptError> {
        let settings = context.settings;
        let requests = |texts: usize| texts.div_ceil(settings.texts_per_request);
        let most = settings.tries * requests(settings.unique_per_text);
        let needed = requests(settings.unique_per_text.saturating_sub(self.found.len()));
        let first = self.requests;
        self.requests += needed.min(most - first);
        let ask = |attempt: usize| {
            let (class, number) = (self.class(), self.number);
            let place = item(attempt, class, number);
            let mut rng = Rng::for_item(context.seed, "published.request", place);
            self.mix.ask(context, format!("{attempt}.{class}.{number}"), &mut rng)
        };
        (first..self.requests).map(ask).collect()
    }

    /// Takes a text up unless it is there already, and says whether it did.
    pub(crate) fn take(&mut self, row: AugmentedText) -> bool {
        let is_new = self.found.iter().all(|other| other.text != row.text);
        if is_new {
            self.found.push(row);
        }
        is_new
    }

    /// One of the texts found, each with the same probability. `seed` is that of the prompts.
    pub(crate) fn keep(mut self, seed: u64) -> Option<AugmentedText> {
        if self.found.is_empty() {
            return None;
        }
        let mut rng = Rng::for_item(seed, "published.kept", item(0, self.class(), self.number));
        Some(self.found.swap_remove(rng.random_range(0..self.found.len())))
    }
}

/// Asking as published, as far as it is that of a [`Method`]: later requests depend on what each
/// text's own have brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PaperMixup;

impl Method for PaperMixup {
    /// The requests with which a run begins.
    fn plan_round(
        &self,
        context: &PromptContext<'_>,
        _round: usize,
        _missing: &[usize],
    ) -> Result<Vec<PromptRequest>, PromptError> {
        let mut asks = Vec::new();
        for mut pending in PendingText::all(context) {
            asks.extend(pending.asks(context)?);
        }
        Ok(asks)
    }

    /// As many texts as the reply has lines, up to those asked for.
    fn read(
        &self,
        context: &PromptContext<'_>,
        ask: &PromptRequest,
        reply: &str,
        complete: bool,
    ) -> Result<Vec<ParsedText>, ReplyFault> {
        let lines = reply.lines().filter(|line| !line.trim().is_empty()).count();
        let count = if lines < ask.count { lines.max(1) } else { ask.count };
        listed(context, ask, count, reply, complete)
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
    fn a_short_list_counts_for_what_it_holds() {
        let sample = sample();
        let context = sample.context();
        let ask = &PaperMixup.plan_round(&context, 0, &[]).unwrap()[0];
        let read = |reply: &str| {
            let texts = PaperMixup.read(&context, ask, reply, true);
            texts.map(|texts| texts.into_iter().map(|text| text.text).collect::<Vec<_>>())
        };
        assert_eq!(read("1. one\n2. two").unwrap(), ["one", "two"]);
        assert_eq!(read("1. one\n2. two\n3. three").unwrap().len(), 3);
        assert_eq!(read("1. one\n2. two\n3. three\n4. four"), Err(ReplyFault::TooMany));
        assert_eq!(read("Sure!"), Err(ReplyFault::NotNumbered));
        assert!(read("").is_err());
    }

    fn text(text: &str) -> AugmentedText {
        AugmentedText { text: text.to_owned(), ..AugmentedText::default() }
    }

    #[test]
    fn a_text_is_asked_for_until_enough_are_found() {
        let sample = sample();
        let context = sample.context();
        let mut pending = PendingText::all(&context);
        let classes: Vec<usize> = pending.iter().map(PendingText::class).collect();
        assert_eq!(classes, [0, 1, 2, 0, 1, 2]);
        let pending = &mut pending[3];
        // 10 texts take 4 requests of 3 at least. They mix the same and differ in their streams.
        let asks = pending.asks(&context).unwrap();
        let ids: Vec<&str> = asks.iter().map(|ask| ask.id.as_str()).collect();
        assert_eq!(ids, ["0.0.1", "1.0.1", "2.0.1", "3.0.1"]);
        assert!(asks.iter().all(|ask| ask.mix == asks[0].mix && ask.shown == asks[0].shown));
        assert!(asks[1..].iter().all(|ask| ask.seed != asks[0].seed));
        // 6 different ones are found: 4 are missing, 2 requests. Letter case makes a difference.
        let new = ["a", "b", "a", "c", "A", "d", "e", "b"].map(|found| pending.take(text(found)));
        assert_eq!(new, [true, true, false, true, true, true, true, false]);
        assert_eq!(pending.asks(&context).unwrap().len(), 2);
        for found in ["f", "g", "h", "i"] {
            pending.take(text(found));
        }
        assert!(pending.asks(&context).unwrap().is_empty());
    }

    #[test]
    fn asking_comes_to_an_end() {
        let sample = sample();
        let context = sample.context();
        let mut pending = PendingText::all(&context).remove(0);
        let mut requests = 0;
        loop {
            let asks = pending.asks(&context).unwrap();
            if asks.is_empty() {
                break;
            }
            requests += asks.len();
            pending.take(text("always the same"));
        }
        // 3 tries of 4 requests.
        assert_eq!(requests, 12);
        assert_eq!(pending.keep(1).unwrap().text, "always the same");
        assert!(PendingText::all(&context).remove(0).keep(1).is_none());
    }

    #[test]
    fn each_text_found_may_be_the_one_that_is_kept() {
        let mut sample = sample();
        sample.settings.per_class = 200;
        let mut kept = [0_usize; 2];
        for mut pending in PendingText::all(&sample.context()) {
            pending.take(text("0"));
            pending.take(text("1"));
            kept[pending.keep(1).unwrap().text.parse::<usize>().unwrap()] += 1;
        }
        assert!(kept[0] + kept[1] == 600 && kept[0].abs_diff(300) < 60, "{kept:?}");
        assert_eq!(PaperMixup.plan_round(&sample.context(), 0, &[]).unwrap().len(), 600 * 4);
    }
}
