//! Classifies an endless input in constant memory, in the order of the texts.
//!
//! The input is read in windows. A window sorts its texts by length, so that large windows are
//! fast. The first window is a single text and each is four times the one before, so that the first
//! prediction is immediate. A window also ends where the input pauses, so that a client that writes
//! one line and waits for its prediction gets it.

use std::vec::IntoIter;

use super::super::{Classifier, Result, StudentError};

/// Texts in the largest window.
const TEXTS: usize = 4096;
/// Bytes of text in a window; the last text may exceed it.
const BYTES: usize = 4 << 20;
/// Growth from one window to the next.
const GROWTH: usize = 4;

/// A source of texts. Every iterator over `Result<String, _>` is one.
pub(crate) trait Texts {
    type Error;

    /// The next text; `None` at the end.
    fn next_text(&mut self) -> Option<std::result::Result<String, Self::Error>>;

    /// Whether the next text is not available yet, as far as can be told without blocking.
    fn pauses(&self) -> bool {
        false
    }
}

impl<I, E> Texts for I
where
    I: Iterator<Item = std::result::Result<String, E>>,
{
    type Error = E;

    fn next_text(&mut self) -> Option<std::result::Result<String, E>> {
        self.next()
    }
}

/// A text and its prediction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prediction {
    /// The text.
    pub text: String,
    /// Index of the most probable class in the labels.
    pub class: usize,
    /// Its probability.
    pub probability: f32,
    /// The probability of each class, `[classes]`.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    fn new(text: String, probabilities: Vec<f32>) -> Self {
        let class = largest(&probabilities);
        let probability = probabilities[class];
        Self { text, class, probability, probabilities }
    }
}

/// Index of the largest value; the first one if several are equal.
pub(crate) fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// Predictions for a stream of texts; see [`Classifier::stream`].
pub(crate) struct Stream<'a, T: Texts> {
    student: &'a Classifier,
    texts: T,
    /// Texts in the next window.
    size: usize,
    predictions: IntoIter<Prediction>,
    /// An error of the input, returned after the predictions of the texts before it.
    error: Option<T::Error>,
    over: bool,
}

impl Classifier {
    /// Classifies texts as they arrive, in constant memory. The stream ends with the first error of
    /// the input or the student; predictions of the texts before an input error are returned first.
    pub(crate) fn stream<T: Texts>(&self, texts: T) -> Stream<'_, T>
    where
        T::Error: From<StudentError>,
    {
        Stream {
            student: self,
            texts,
            size: 1,
            predictions: Vec::new().into_iter(),
            error: None,
            over: false,
        }
    }
}

impl<T: Texts> Stream<'_, T> {
    /// Whether all computed predictions have been returned, so that the next one takes time: the
    /// moment to flush the output.
    pub(crate) fn drained(&self) -> bool {
        self.predictions.len() == 0
    }

    /// Reads the next window from the input.
    fn window(&mut self) -> Vec<String> {
        let mut window = Vec::new();
        let mut bytes = 0;
        while window.len() < self.size && bytes < BYTES {
            match self.texts.next_text() {
                Some(Ok(text)) => {
                    bytes += text.len();
                    window.push(text);
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

    fn predict(&mut self, window: Vec<String>) -> Result<()> {
        let probabilities = self.student.predict(&window)?;
        let predictions = window.into_iter().zip(probabilities);
        let predictions = predictions.map(|(text, shares)| Prediction::new(text, shares));
        self.predictions = predictions.collect::<Vec<_>>().into_iter();
        Ok(())
    }
}

impl<T: Texts> Iterator for Stream<'_, T>
where
    T::Error: From<StudentError>,
{
    type Item = std::result::Result<Prediction, T::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(prediction) = self.predictions.next() {
                return Some(Ok(prediction));
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
            assert_eq!(*text, answer.text);
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
