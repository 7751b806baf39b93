//! Trainings in parallel: how many at once, and with how many threads each.
//!
//! The matrices of a small student are too small to split: two cores on one training are barely
//! faster than one, while two trainings on one core each take half the time. A large student keeps
//! several cores busy, and its parallel trainings would evict each other's weights from the caches,
//! if they fit in memory at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{BaseModel, Result, StudentError};
use crate::hint::one_line;

/// Largest hidden size of a small student.
const SMALL: usize = 512;
/// Threads that a large student's matrices keep busy.
const THREADS: usize = 8;
/// Share of the free memory that all trainings together may take.
const MEMORY_SHARE: f64 = 0.9;

/// How many trainings run at once, and with how many threads each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parallelism {
    /// Trainings at once.
    pub workers: usize,
    /// Threads of each.
    pub threads: usize,
}

impl Parallelism {
    /// For `jobs` trainings of `base` that take up to `memory` bytes each. Results do not depend on
    /// it.
    pub(crate) fn new(base: &BaseModel, jobs: usize, memory: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if !base.device().is_cpu() {
            return Self { workers: 1, threads: cores };
        }
        Self::choose(base.config().hidden_size, jobs, cores, memory, crate::memory::available())
    }

    fn choose(hidden: usize, jobs: usize, cores: usize, memory: u64, free: Option<u64>) -> Self {
        let least = if hidden <= SMALL { 1 } else { cores.min(THREADS) };
        let fit = free.map_or(usize::MAX, |free| {
            (free as f64 * MEMORY_SHARE / memory.max(1) as f64) as usize
        });
        // A training that does not fit alone reports that itself.
        let workers = (cores / least).min(jobs).min(fit).max(1);
        let threads = if hidden <= SMALL { 1 } else { cores / workers };
        Self { workers, threads }
    }
}

/// Runs `work` on every job, as many at a time as `parallelism` has workers, and returns the
/// results in the order of the jobs. `work` runs inside its worker's own thread pool.
///
/// # Errors
/// A thread cannot be started. What `work` returns is passed on unchanged.
pub(crate) fn run_parallel<J, R>(
    parallelism: Parallelism,
    jobs: &[J],
    work: impl Fn(&J) -> R + Sync,
) -> Result<Vec<R>>
where
    J: Sync,
    R: Send,
{
    let fault = |error: rayon::ThreadPoolBuildError| StudentError::training(one_line(&error));
    let pools = (0..parallelism.workers.clamp(1, jobs.len().max(1)))
        .map(|_| {
            rayon::ThreadPoolBuilder::new().num_threads(parallelism.threads).build().map_err(fault)
        })
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
        result.expect("every job runs once, and a job that panics makes the scope panic")
    });
    Ok(results.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs_from_pools_of_one_thread() {
        let jobs = (0..9).collect::<Vec<u64>>();
        let parallelism = Parallelism { workers: 3, threads: 1 };
        let results = run_parallel(parallelism, &jobs, |&job| {
            std::thread::sleep(std::time::Duration::from_millis(9 - job));
            (job, rayon::current_num_threads())
        });
        assert_eq!(results.unwrap(), jobs.iter().map(|&job| (job, 1)).collect::<Vec<_>>());
        assert!(run_parallel(parallelism, &[], |&job: &u64| job).unwrap().is_empty());
    }

    #[test]
    fn small_students_get_a_core_each_and_large_ones_several() {
        let choose = |hidden, jobs, cores, free| {
            let Parallelism { workers, threads } =
                Parallelism::choose(hidden, jobs, cores, 1 << 30, free);
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
