//! Classifies an endless input in constant memory, in the order of the texts.
//!
//! The input is read in windows. A window sorts its texts by length, so that large windows are
//! fast. The first window is a single text and each is four times the one before, so that the first
//! prediction is immediate. A window also ends where the input pauses, so that a client that writes
//! one line and waits for its prediction gets it.

use std::vec::IntoIter;

use super::{
    super::{Classifier, Result, StudentError},
    prediction::Prediction,
};

/// Texts in the largest window.
const TEXTS: usize = 4096;
/// Bytes of text in a window; the last text may exceed it.
const BYTES: usize = 4 << 20;
/// Growth from one window to the next.
const GROWTH: usize = 4;

/// Something to classify: a text, or a row with one.
pub(crate) trait Item {
    /// The text; `None` if there is none to classify.
    fn text(&self) -> Option<&str>;

    /// Roughly its bytes in memory.
    fn bytes(&self) -> usize {
        self.text().map_or(0, str::len)
    }
}

impl Item for String {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

/// A source of items. Every iterator over `Result<impl Item, _>` is one.
pub(crate) trait Texts {
    type Item: Item;
    type Error;

    /// The next item; `None` at the end.
    fn next_text(&mut self) -> Option<std::result::Result<Self::Item, Self::Error>>;

    /// Whether the next item is not available yet, as far as can be told without blocking.
    fn pauses(&self) -> bool {
        false
    }
}

impl<I, T, E> Texts for I
where
    I: Iterator<Item = std::result::Result<T, E>>,
    T: Item,
{
    type Item = T;
    type Error = E;

    fn next_text(&mut self) -> Option<std::result::Result<T, E>> {
        self.next()
    }
}

/// An item and its prediction, if it has a text.
type Answer<T> = (T, Option<Prediction>);

/// Predictions for a stream of items; see [`Classifier::stream`].
pub(crate) struct Stream<'a, T: Texts> {
    student: &'a Classifier,
    texts: T,
    /// Items in the next window.
    size: usize,
    answers: IntoIter<Answer<T::Item>>,
    /// An error of the input, returned after the predictions of the items before it.
    error: Option<T::Error>,
    over: bool,
}

impl Classifier {
    /// Classifies items as they arrive, in constant memory. The stream ends with the first error of
    /// the input or the student; predictions of the items before an input error are returned first.
    pub(crate) fn stream<T: Texts>(&self, texts: T) -> Stream<'_, T>
    where
        T::Error: From<StudentError>,
    {
        let answers = Vec::new().into_iter();
        Stream { student: self, texts, size: 1, answers, error: None, over: false }
    }
}

impl<T: Texts> Stream<'_, T> {
    /// Whether all computed predictions have been returned, so that the next one takes time: the
    /// moment to flush the output.
    pub(crate) fn drained(&self) -> bool {
        self.answers.len() == 0
    }

    /// Reads the next window from the input.
    fn window(&mut self) -> Vec<T::Item> {
        let mut window = Vec::new();
        let mut bytes = 0;
        while window.len() < self.size && bytes < BYTES {
            match self.texts.next_text() {
                Some(Ok(item)) => {
                    bytes += item.bytes();
                    window.push(item);
                }
                Some(Err(error)) => {
                    self.error = Some(error);
                    self.over = true;
                    break;
                }
                None => {
                    self.over = true;
                    break;
                }
            }
            if self.texts.pauses() {
                break;
            }
        }
        self.size = (self.size * GROWTH).min(TEXTS);
        window
    }

    fn predict(&mut self, window: Vec<T::Item>) -> Result<()> {
        let texts = window.iter().filter_map(Item::text).collect::<Vec<_>>();
        let mut results = self.student.classify(&texts)?.into_iter();
        let answer = |item: T::Item| {
            let prediction = item.text().and_then(|_| results.next());
            (item, prediction)
        };
        self.answers = window.into_iter().map(answer).collect::<Vec<_>>().into_iter();
        Ok(())
    }
}

impl<T: Texts> Iterator for Stream<'_, T>
where
    T::Error: From<StudentError>,
{
    type Item = std::result::Result<Answer<T::Item>, T::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(answer) = self.answers.next() {
                return Some(Ok(answer));
            }
            if self.over {
                return self.error.take().map(Err);
            }
            let window = self.window();
            if let Err(error) = self.predict(window) {
                (self.over, self.error) = (true, None);
                return Some(Err(error.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use candle_core::Device;

    use super::super::super::parity::fixture;
    use super::*;

    fn student() -> Classifier {
        Classifier::load(&fixture("bert"), &Device::Cpu).unwrap()
    }

    fn texts(count: usize) -> Vec<String> {
        let text = |at: usize| format!("card {}", "train money ".repeat(at * 7 % 13));
        (0..count).map(text).collect()
    }

    #[test]
    fn a_stream_equals_predict_in_the_order_of_the_texts() {
        let student = student();
        let texts = texts(300);
        let stream = student.stream(texts.iter().cloned().map(Result::Ok));
        let answers = stream.collect::<Result<Vec<_>>>().unwrap();
        assert_eq!(answers.len(), texts.len());
        for ((text, answer), shares) in
            texts.iter().zip(&answers).zip(student.predict(&texts).unwrap())
        {
            let (item, Some(answer)) = answer else { panic!("no prediction") };
            assert_eq!(text, item);
            assert_eq!(answer.probability, answer.probabilities[answer.class]);
            for (a, b) in answer.probabilities.iter().zip(shares) {
                assert!((a - b).abs() < 1e-6 && *a <= answer.probability);
            }
        }
        assert!(student.stream(std::iter::empty::<Result<String>>()).next().is_none());
    }

    #[test]
    fn windows_grow_and_no_text_is_read_before_it_is_needed() {
        let student = student();
        let taken = Cell::new(0);
        let count = |text| {
            taken.set(taken.get() + 1);
            Result::Ok(text)
        };
        let mut stream = student.stream(texts(100).into_iter().map(count));
        let mut seen = Vec::new();
        while stream.next().is_some() {
            if stream.drained() {
                seen.push(taken.get());
            }
        }
        assert_eq!(seen, [1, 5, 21, 85, 100]);
        // Two texts of more than half a window's bytes fill it.
        let long = "card ".repeat(BYTES / 8 + 1);
        taken.set(0);
        let mut stream = student.stream(vec![long; 9].into_iter().map(count));
        stream.nth(1);
        assert_eq!(taken.get(), 3);
    }

    /// Texts with a pause before every second one.
    struct Halting(IntoIter<String>);

    impl Texts for Halting {
        type Item = String;
        type Error = StudentError;

        fn next_text(&mut self) -> Option<Result<String>> {
            self.0.next().map(Ok)
        }

        fn pauses(&self) -> bool {
            self.0.len().is_multiple_of(2)
        }
    }

    #[test]
    fn a_window_ends_where_the_input_pauses() {
        let student = student();
        let mut stream = student.stream(Halting(texts(8).into_iter()));
        let mut left = Vec::new();
        while stream.next().is_some() {
            if stream.drained() {
                left.push(stream.texts.0.len());
            }
        }
        assert_eq!(left, [7, 6, 4, 2, 0]);
    }

    /// An item without a text if it is empty.
    struct Perhaps(String);

    impl Item for Perhaps {
        fn text(&self) -> Option<&str> {
            (!self.0.is_empty()).then_some(&self.0)
        }
    }

    #[test]
    fn an_item_without_a_text_gets_no_prediction_and_the_others_keep_theirs() {
        let student = student();
        let texts = ["my card", "", "the train", ""].map(str::to_owned);
        let items = texts.clone().map(|text| Result::Ok(Perhaps(text)));
        let answers = student.stream(items.into_iter()).collect::<Result<Vec<_>>>().unwrap();
        for ((item, prediction), text) in answers.into_iter().zip(texts) {
            assert_eq!(item.0, text);
            let alone = student.predict(std::slice::from_ref(&text)).unwrap().remove(0);
            let shares = prediction.map(|it| it.probabilities);
            assert_eq!(shares, (!text.is_empty()).then_some(alone));
        }
    }

    #[test]
    fn an_error_follows_the_predictions_before_it_and_ends_the_stream() {
        let student = student();
        let fault = || Err(StudentError::training("line 4"));
        let input = texts(3).into_iter().map(Ok).chain([fault(), Ok("never".to_owned())]);
        let answers = student.stream(input).collect::<Vec<_>>();
        assert_eq!(answers.len(), 4);
        assert!(answers[..3].iter().all(Result::is_ok));
        assert!(answers[3].as_ref().unwrap_err().to_string().contains("line 4"));
    }
}
