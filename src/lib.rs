//! # promptmix: the map of the modules
//!
//! A few labelled examples and a description of each class go in. A local language model (the
//! *teacher*) writes new texts near the class boundaries and relabels them; a small transformer
//! (the *student*) is fine-tuned on the result. Data flows one way:
//!
//! ```text
//! task ──► augment ──► relabel ──► filter ──► student ──► eval ──► report
//! ```
//!
//! A module uses only what stands below it in this table; `tests/it/house.rs` reads the table and
//! the `use` lines of `src/` and fails where they differ.
//!
//! | module | what it is for |
//! |---|---|
//! | `cli` | the commands, one file each; the only place that prints |
//! | `compare` | every row of the paper's table on one task, over several seeds |
//! | `pipeline` | the stages of a run as functions, and the one loop that talks to the teacher |
//! | `report` | `report.json`, the HTML page, the model card; `report::build` turns a run folder into a report |
//! | `serve` | students behind an address: queue, batches, the formats of TEI, vLLM and KServe |
//! | `review` | the page on which a person decides on the texts of a run |
//! | `run` | the run folder: files, lock, ledger, replay. Storage only |
//! | `audit` | the ledger's chain, personal data and copied wording in what is trained on, masks |
//! | `filter` | junk, near-duplicates, copies of seeds, leaks from the test set |
//! | `selection` | which of many unlabelled texts the teacher is asked about |
//! | `relabel` | the candidate classes of a text, questions about it, probabilities from label scores, labels fused from several opinions |
//! | `augment` | how new text is made: mixup, and the baselines it is compared with |
//! | `dataset` | the rows that pass between the stages, and the variants of the result table |
//! | `config` | `task.toml` and flags become one validated `Settings`, built from the settings of each engine |
//! | `drift` | whether texts are like those on which a student was tested: numbers about these without any text, permutation tests |
//! | `student` | the network: checkpoints, engines (CPU, graph, 8 bits), training, a probe on frozen embeddings, classification, export |
//! | `teacher` | `trait Teacher`: llama.cpp, the supervised process it runs in, engines behind addresses, chat templates, grammar, replay |
//! | `bundle` | one signed archive that carries program, models and sources to a machine without a network |
//! | `models` | the model manifest and library: which file a name means, and whether it is what it should be |
//! | `embed` | `trait Embedder`, cosine similarity, a map of texts in two dimensions |
//! | `prompt` | renders the templates of `prompts/`, parses the replies |
//! | `template` | runs a Jinja template that somebody else wrote, within limits |
//! | `sheet` | texts for people to label in a spreadsheet, Label Studio or Argilla, and their answers |
//! | `task` | classes, seeds and test set; CSV, JSONL and Parquet readers; every fault named by file and line |
//! | `eval` | metrics, confidence intervals, calibration, diversity |
//! | `model_file` | checks the header of a GGUF or safetensors file before a parser sees it |
//! | `http` | an HTTP server: the listener, who may use a page, requests and responses |
//! | `pii` | finds e-mail addresses, phone numbers, IBANs and other personal data in a text |
//! | `sandbox`, `interrupt`, `fs`, `hash`, `memory`, `verbosity`, `hint`, `printable`, `caught`, `suggest`, `simd`, `rng`, `counted`, `auto`, `shard` | foundations: the socket filter, Ctrl-C, atomic writes, SHA-256, free memory, verbosity, error hints, text that is safe to print, panics of other crates, "did you mean", loops for AVX2 and AVX-512, keyed random streams, counts in sentences, numbers that may be `auto`, shares of a job |

// The commands print through `cli::printing`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod audit;
mod augment;
mod auto;
mod bundle;
mod caught;
pub mod cli;
mod compare;
mod config;
mod counted;
mod dataset;
mod drift;
mod embed;
mod eval;
mod filter;
mod fs;
mod hash;
mod hint;
mod http;
mod interrupt;
mod memory;
mod model_file;
mod models;
mod pii;
mod pipeline;
mod printable;
mod prompt;
mod relabel;
mod report;
mod review;
mod rng;
mod run;
mod sandbox;
mod selection;
mod serve;
mod shard;
mod sheet;
mod simd;
mod student;
mod suggest;
mod task;
mod teacher;
mod template;
mod verbosity;

pub use caught::catches_panics;
pub use verbosity::describe_panic;

/// What the fuzz targets and the end-to-end tests reach; no interface for anybody else.
#[doc(hidden)]
pub mod testing {
    pub use crate::{
        model_file::{Header, check_bytes, safetensors},
        prompt::reply::{parse_labelled_list, parse_list},
        report::{Report, render},
        run::ledger::{Entry, parse as parse_ledger},
        sandbox::install_here as install_sandbox,
        task::{Task, TaskError},
        teacher::{chat::ChatTemplate, llama::TokenEngine},
    };

    /// The texts of the file `name` with the content `bytes`; for a row without one, the reason. A
    /// fault of the file as a whole is the last item.
    pub fn read_rows(name: &str, bytes: &[u8]) -> impl Iterator<Item = Result<String, String>> {
        let columns = crate::task::Columns::texts(&[]);
        let origin = crate::task::Origin::Bytes(bytes);
        let (mut reader, faults) = match crate::task::Reader::open(name, origin, &columns, None) {
            Ok(reader) => (Some(reader), Vec::new()),
            Err(faults) => (None, faults),
        };
        let rows = std::iter::from_fn(move || match reader.as_mut()?.next_row() {
            Ok(row) => row.map(|row| match (row.text, row.faults.first()) {
                (Some(text), None) => Ok(text.value),
                (_, fault) => Err(fault.map(ToString::to_string).unwrap_or_default()),
            }),
            Err(fault) => {
                reader = None;
                Some(Err(fault.to_string()))
            }
        });
        rows.chain(faults.into_iter().map(|fault| Err(fault.to_string())))
    }

    /// Whether the reader of bundles accepts `bytes`.
    pub fn is_bundle(bytes: &[u8]) -> bool {
        crate::bundle::inspect(bytes).is_ok()
    }
    /// The token ids that a `tokenizer.json` makes of `text`, or why it is refused.
    pub fn tokenise(json: &[u8], text: &str, max_length: usize) -> Result<Vec<u32>, String> {
        crate::student::untrusted::tokenise(json, text, max_length).map_err(|it| it.to_string())
    }

    /// The classes that a `config.json` gives to a classifier of `rows` rows, or why it is refused.
    pub fn classes(json: &[u8], rows: usize) -> Result<Vec<String>, String> {
        crate::student::untrusted::classes(json, rows).map_err(|it| it.to_string())
    }
}
