//! Many trainings at once: how many side by side, and with how many threads each.
//!
//! The matrices of a small student are too small to share: two cores on one training are barely
//! faster than one, while two trainings on a core each are done in half the time. Those of a large
//! one keep several cores busy, and side by side its weights would be pushed out of each other's
//! caches, if the memory holds them at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{BaseModel, Result, StudentError};

/// Up to this hidden size a student is small.
const SMALL: usize = 512;
/// Threads that a large student's matrices keep busy.
const THREADS: usize = 8;
/// Share of the free memory that trainings may take together.
const SHARE: f64 = 0.9;

/// How many trainings run side by side, and with how many threads each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crew {
    /// Trainings side by side.
    pub workers: usize,
    /// Threads of each.
    pub threads: usize,
}

impl Crew {
    /// For `jobs` trainings of `base` that take up to `need` bytes of memory each. The results do
    /// not depend on it.
    pub(crate) fn new(base: &BaseModel, jobs: usize, need: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if !base.device().is_cpu() {
            return Self { workers: 1, threads: cores };
        }
        Self::choose(base.config().hidden_size, jobs, cores, need, crate::memory::available())
    }

    fn choose(hidden: usize, jobs: usize, cores: usize, need: u64, free: Option<u64>) -> Self {
        let least = if hidden <= SMALL { 1 } else { cores.min(THREADS) };
        let fit =
            free.map_or(usize::MAX, |free| (free as f64 * SHARE / need.max(1) as f64) as usize);
        // One that does not fit alone says so itself.
        let workers = (cores / least).min(jobs).min(fit).max(1);
        let threads = if hidden <= SMALL { 1 } else { cores / workers };
        Self { workers, threads }
    }
}

/// Runs `work` on every job, as many at a time as `crew` has workers, and returns the results in the
/// order of the jobs. Each worker has a thread pool of its own, which all that `work` calls runs in.
///
/// # Errors
/// Only where a thread cannot be started; what `work` returns is passed on as it is.
pub(crate) fn side_by_side<J, R>(
    crew: Crew,
    jobs: &[J],
    work: impl Fn(&J) -> R + Sync,
) -> Result<Vec<R>>
where
    J: Sync,
    R: Send,
{
    let fault = |error: rayon::ThreadPoolBuildError| StudentError::Training(error.to_string());
    let pools = (0..crew.workers.clamp(1, jobs.len().max(1)))
        .map(|_| rayon::ThreadPoolBuilder::new().num_threads(crew.threads).build().map_err(fault))
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
        let crew = Crew { workers: 3, threads: 1 };
        let results = side_by_side(crew, &jobs, |&job| {
            std::thread::sleep(std::time::Duration::from_millis(9 - job));
            (job, rayon::current_num_threads())
        });
        assert_eq!(results.unwrap(), jobs.iter().map(|&job| (job, 1)).collect::<Vec<_>>());
        assert!(side_by_side(crew, &[], |&job: &u64| job).unwrap().is_empty());
    }

    #[test]
    fn small_students_get_a_core_each_and_large_ones_several() {
        let choose = |hidden, jobs, cores, free| {
            let Crew { workers, threads } = Crew::choose(hidden, jobs, cores, 1 << 30, free);
            (workers, threads)
        };
        assert_eq!(choose(384, 15, 4, None), (4, 1));
        assert_eq!(choose(384, 2, 4, None), (2, 1));
        assert_eq!(choose(768, 15, 2, None), (1, 2));
        assert_eq!(choose(768, 15, 16, None), (2, 8));
        assert_eq!(choose(768, 1, 16, None), (1, 16));
        // Memory for two and a half, and for less than one.
        assert_eq!(choose(384, 15, 8, Some(5 << 29)), (2, 1));
        assert_eq!(choose(384, 15, 8, Some(1 << 29)), (1, 1));
    }
}
