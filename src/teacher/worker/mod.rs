//! The engine as a supervised child process.
//!
//! llama.cpp ends the process it runs in on quite a few occasions (a failed assertion, memory that
//! runs out, a driver that goes away), and it can hang. So it runs in a child of the same binary,
//! the *worker* ([`serve`]), and a death costs the batch in flight: the supervisor starts the
//! worker anew, asks again what was not answered, finds the request that kills it, gives that one up
//! by name, and goes on.

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
