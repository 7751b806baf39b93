//! Retries requests that failed for a transient reason.

use std::{thread, time::Duration};

use crate::models::ModelError;

/// Attempts in a row without a single byte before giving up.
const MAX_ATTEMPTS: u32 = 4;

/// Why a request failed.
pub(super) enum Failure {
    /// Another attempt may succeed: the connection was lost, or the server is busy.
    Transient(Box<ModelError>),
    Permanent(Box<ModelError>),
}

impl Failure {
    pub(super) fn transient(error: ModelError) -> Self {
        Self::Transient(Box::new(error))
    }

    pub(super) fn permanent(error: ModelError) -> Self {
        Self::Permanent(Box::new(error))
    }
}

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause before the next attempt: 0.4, 0.8, 1.6 seconds. A router that restarts takes
    /// longer, but the next pull resumes the download.
    ///
    /// # Errors
    /// A permanent failure, or the last transient one.
    pub(super) fn after(&mut self, failure: Failure) -> Result<Duration, ModelError> {
        match failure {
            Failure::Transient(_) if self.failures + 1 < MAX_ATTEMPTS => {
                self.failures += 1;
                Ok(Duration::from_millis(200 << self.failures))
            }
            Failure::Transient(error) | Failure::Permanent(error) => Err(*error),
        }
    }

    /// Starts counting again, after progress was made.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Repeats `request` until it succeeds, fails permanently, or has failed [`MAX_ATTEMPTS`] times.
pub(super) fn retry<T>(request: impl FnMut() -> Result<T, Failure>) -> Result<T, ModelError> {
    retry_with(thread::sleep, request)
}

fn retry_with<T>(
    mut sleep: impl FnMut(Duration),
    mut request: impl FnMut() -> Result<T, Failure>,
) -> Result<T, ModelError> {
    let mut backoff = Backoff::default();
    loop {
        match request() {
            Ok(response) => return Ok(response),
            Err(failure) => sleep(backoff.after(failure)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> ModelError {
        ModelError::Offline { by: "x".into(), hint: "y".into() }
    }

    #[test]
    fn retries_end() {
        // The number of requests and the pauses in ms; request number `permanent` fails for good.
        let count = |permanent: u32| {
            let (mut requests, mut pauses) = (0, Vec::new());
            let result: Result<(), _> = retry_with(
                |pause| pauses.push(pause.as_millis()),
                || {
                    requests += 1;
                    assert!(requests < 100, "it never ends");
                    let transient = requests != permanent;
                    Err(match transient {
                        true => Failure::transient(error()),
                        false => Failure::permanent(error()),
                    })
                },
            );
            assert!(result.is_err());
            (requests, pauses)
        };
        assert_eq!(count(0), (4, vec![400, 800, 1600]));
        assert_eq!(count(2), (2, vec![400]));
        assert_eq!(count(1), (1, vec![]));
    }

    #[test]
    fn the_last_attempt_may_succeed() {
        let mut requests = 0;
        let response = retry_with(
            |_| {},
            || {
                requests += 1;
                if requests < 4 { Err(Failure::transient(error())) } else { Ok(requests) }
            },
        );
        assert_eq!(response.ok(), Some(4));
    }

    #[test]
    fn progress_resets_the_count() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            assert!(backoff.after(Failure::transient(error())).is_ok());
            backoff.reset();
        }
        for _ in 1..MAX_ATTEMPTS {
            assert!(backoff.after(Failure::transient(error())).is_ok());
        }
        assert!(backoff.after(Failure::transient(error())).is_err());
    }
}
