//! How large data files, rows and texts may be. Larger ones are faults, so that no input takes more
//! memory or time than a stated bound.

/// Bytes of a row: a line, a record or an object.
pub(super) const MAX_ROW: usize = 16 << 20;
/// Bytes of a text. A tokenizer needs some fifty times as much.
pub(super) const MAX_TEXT: usize = 1 << 20;
/// Rows of a file with labels: a small Parquet file may unpack to any number.
pub(super) const MAX_ROWS: usize = 1_000_000;
/// Faults of a file after which reading ends: nobody fixes more of them at a time.
pub(super) const MAX_FAULTS: usize = 1000;
/// Bytes of a file that is read into memory, and those of all its rows.
pub(super) const MAX_FILE: usize = 1 << 30;
/// Characters of the name of a class: every prompt and every answer has it.
pub(super) const MAX_NAME: usize = 200;
