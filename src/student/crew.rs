//! Many trainings at once: one processor core each, instead of one after another on all of them.
//!
//! The matrices of a small student are too small to share: two cores on one training are barely
//! faster than one, while two trainings on a core each are done in half the time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Result, StudentError};

/// Runs `work` on every job, `workers` at a time, and returns the results in the order of the
/// jobs. Each worker has a thread pool of one thread, which all that `work` calls runs in.
///
/// # Errors
/// Only where a thread cannot be started; what `work` returns is passed on as it is.
pub fn side_by_side<J, R>(
    workers: usize,
    jobs: &[J],
    work: impl Fn(&J) -> R + Sync,
) -> Result<Vec<R>>
where
    J: Sync,
    R: Send,
{
    let fault = |error: rayon::ThreadPoolBuildError| StudentError::Training(error.to_string());
    let pools = (0..workers.clamp(1, jobs.len().max(1)))
        .map(|_| rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(fault))
        .collect::<Result<Vec<_>>>()?;
    let next = AtomicUsize::new(0);
    let results = jobs.iter().map(|_| Mutex::new(None)).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        for pool in &pools {
            let (next, results, work) = (&next, &results, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { return };
                    let result = pool.install(|| work(job));
                    *results[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                }
            });
        }
    });
    let results = results.into_iter().map(|slot| {
        let result = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        result.expect("every job is taken once, and a job that panics ends the scope in a panic")
    });
    Ok(results.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs_from_pools_of_one_thread() {
        let jobs = (0..9).collect::<Vec<u64>>();
        let results = side_by_side(3, &jobs, |&job| {
            std::thread::sleep(std::time::Duration::from_millis(9 - job));
            (job, rayon::current_num_threads())
        });
        assert_eq!(results.unwrap(), jobs.iter().map(|&job| (job, 1)).collect::<Vec<_>>());
        assert!(side_by_side(3, &[], |&job: &u64| job).unwrap().is_empty());
    }
}
