//! The engine as a supervised child process.
//!
//! llama.cpp aborts its process on many occasions (a failed assertion, no memory, a lost driver),
//! and it can hang. So the engine runs in a child process of the same binary, the *worker*
//! ([`serve()`]), and a crash costs only the batch in flight. The supervisor restarts the worker,
//! sends the unanswered requests again, finds the request that crashes the worker, reports it as
//! skipped and continues with the others.

mod bench;
mod process;
mod protocol;
mod queue;
mod serve;
mod supervisor;
mod worker_pool;

pub(crate) use bench::{bench, bench_prompts};
pub(crate) use serve::serve;
pub(crate) use supervisor::Supervised;
pub(crate) use worker_pool::Launch;
