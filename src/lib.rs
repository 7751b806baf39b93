//! # promptmix: the map of the house
//!
//! A few labelled examples and a description of each class go in; a local language model (the
//! *teacher*) writes new texts near the class boundaries and relabels them; a small transformer
//! (the *student*) is fine-tuned on the result. Data flows one way:
//!
//! ```text
//! task ──► augment ──► relabel ──► filter ──► student ──► eval ──► report
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`task`] | classes, seeds and test set; CSV, JSONL and Parquet readers; every fault named by file and line |
//! | [`config`] | `task.toml` and flags become one validated `Settings`; every default is visible there |
//! | [`prompt`] | renders the templates of `prompts/`, parses the replies |
//! | [`teacher`] | the `Teacher` seam; `teacher::llama` is the engine on llama.cpp, `teacher::worker` the supervised process it runs in, `teacher::replay` answers from a recording |
//! | [`augment`] | how new text is made: mixup, and its rivals |
//! | [`relabel`] | nearest classes and label scores |
//! | [`filter`] | near-duplicates, copies of seeds, leaks from the test set |
//! | [`audit`] | the ledger's chain, personal data and copied wording in what is trained on, masks |
//! | [`embed`] | sentence embeddings, their map in two dimensions, neighbouring words |
//! | [`student`] | encoders, optimiser, trainer, predictor, Hugging Face checkpoints, ONNX |
//! | [`eval`] | metrics, confidence intervals, calibration, diversity |
//! | [`report`] | `report.json` and one HTML page |
//! | [`run`] | the run folder: stages, ledger, resume, and the report and model card of what came out |
//! | [`compare`] | every row of the paper's table on one task, over several seeds |
//! | [`store`] | the model manifest, where models are found, how they are checked |
//! | [`bundle`] | one signed archive that carries program, models and sources to a machine without a network |
//! | [`sandbox`] | takes the network away from the process |
//! | [`interrupt`] | Ctrl-C: what is waited for before the program ends |
//! | [`voice`] | how much is said on stderr; raw text with `-vv` alone |
//! | `vector` | loops over long rows, compiled for AVX2 and AVX-512 as well: exponentials, sums, maxima |
//! | `private`, `digest` | files for their owner alone that are replaced whole; the SHA-256 of a file |
//! | `memory` | how much memory is free, and the most that this process held |
//! | [`cli`] | the commands; the only place that prints |

pub mod audit;
pub mod augment;
pub mod bundle;
pub mod cli;
pub mod compare;
pub mod config;
pub mod dataset;
pub mod embed;
pub mod eval;
pub mod filter;
mod fs;
mod hash;
mod hint;
pub mod interrupt;
mod memory;
pub mod model_file;
pub mod models;
pub mod pii;
pub mod pipeline;
pub mod prompt;
pub mod relabel;
pub mod report;
pub mod rng;
pub mod run;
pub mod sandbox;
mod simd;
pub mod student;
pub mod task;
pub mod teacher;
pub mod verbosity;
