//! GGUF, versions 2 and 3: counts, metadata, tensor descriptions, then the tensors.
//!
//! The vulnerabilities that were fixed in llama.cpp and its relatives are excluded here, whatever
//! version is linked:
//!
//! | what was trusted | known as | rule here |
//! |---|---|---|
//! | the number of tensors, of keys, of elements of an array; a string's length | CVE-2024-21836, CVE-2024-23605, CVE-2024-21825, CVE-2024-23496 | each is compared with the bytes that are left |
//! | that products of dimensions, and their bytes, do not overflow | CVE-2024-21802, CVE-2026-33298 (GHSA-96jg-mvhq-q7q7), issue 27203 | checked products; every tensor lies in the file |
//! | that sums of padded sizes do not overflow | CVE-2025-53630 (GHSA-vgg9-87g3-85w8), CVE-2026-27940 (GHSA-3p4r-fq3f-q74v), issue 26978 | checked sums; offsets follow each other, the last ends in the file |
//! | that there are at most four dimensions, none of size 0 | ggml pull request 709, whisper.cpp pull request 3864 | 1 to 4, each at least 1 |
//! | a tensor's type | ggml pull request 709 | a table of the known types |
//! | that a tensor ends before the file does | CVE-2026-7482 (Ollama) | its end is compared with the file's length |
//! | the type and size of the alignment | ggml pull request 1516 | a 32-bit power of two from 8 to 1 MiB |
//! | that scores and types of tokens have the right type and match the tokens in number | llama.cpp pull requests 20735, 26690 | both are checked |
//! | that a vocabulary contains the ids of its special tokens, and that tokens are short | GHSA-g4cc-763q-h9h6, CVE-2025-49847 (GHSA-8wwf-w4qm-gpqr) | a minimum size for each kind; at most 64 KiB a token |
//! | that a byte token spells a byte | llama.cpp issue 27226 | two hexadecimal digits |
//!
//! The layout follows `ggml/include/gguf.h` and the GGUF specification.

mod bytes;
mod kind;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::{
    collections::HashSet,
    io::Read,
    path::{Path, PathBuf},
};

use super::{CheckError, Fault};
use bytes::Bytes;
pub(crate) use vocabulary::Vocabulary;

/// The first bytes of every GGUF.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";

const MAX_KEY_BYTES: u64 = 65_535;
/// Some models embed a whole tokenizer.json; the longest known has about 30 MB.
const MAX_STRING_BYTES: u64 = 64 << 20;
const MAX_TEMPLATE_BYTES: usize = 1 << 20;
/// `GGML_MAX_NAME` without the terminating zero.
const MAX_NAME_BYTES: u64 = 63;
/// `GGML_MAX_DIMS`.
const MAX_DIMENSIONS: u32 = 4;
/// Nesting of arrays; llama.cpp supports none.
const MAX_DEPTH: usize = 4;
/// `LLAMA_MAX_LAYERS`; with more, llama.cpp aborts the process.
const MAX_BLOCKS: u64 = 512;
const MAX_ALIGNMENT: u64 = 1 << 20;
/// A key: its length, one character, its type, one byte.
const MIN_PAIR_BYTES: u64 = 8 + 1 + 4 + 1;
/// A tensor: the length of its name, one character, the number of dimensions, one dimension, its
/// type, its offset.
const MIN_TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// The content of a valid GGUF header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gguf {
    pub version: u32,
    pub tensors: usize,
    /// Elements of all tensors.
    pub elements: u64,
    pub architecture: Option<String>,
    pub name: Option<String>,
    /// Tokens that the model was trained to process at once.
    pub context_length: Option<u64>,
    pub chat_template: Option<String>,
    pub vocabulary: Vocabulary,
    /// For a file of a split model.
    pub split: Option<Split>,
}

/// A file's position in a split model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// From 0.
    pub number: u16,
    pub count: u16,
}

impl Split {
    /// All files of the model that begins at `path`, under the names that llama.cpp gives them;
    /// `None` if `path` is not the first part or has another name.
    pub fn parts(self, path: &Path) -> Option<Vec<PathBuf>> {
        let of = self.count;
        let name = path.file_name()?.to_str()?;
        let stem = name.strip_suffix(&format!("-00001-of-{of:05}.gguf"))?;
        let part = |number: u16| path.with_file_name(format!("{stem}-{number:05}-of-{of:05}.gguf"));
        (self.number == 0).then(|| (1..=of).map(part).collect())
    }
}

/// A value, as far as the check needs it.
enum Value {
    Number(u64),
    Text(Vec<u8>),
    Other,
}

/// Reads and checks the header of a file of `length` bytes. The tensors are not read.
pub(super) fn read(file: impl Read, length: u64) -> Result<Gguf, CheckError> {
    let mut file = Bytes::new(file, length);
    file.skip(MAGIC.len() as u64)?;
    let version = file.u32()?;
    check_version(version)?;
    let (tensors, pairs) = (file.u64()?, file.u64()?);
    file.check_count(pairs, MIN_PAIR_BYTES, || "the number of keys".into())?;
    file.check_count(tensors, MIN_TENSOR_BYTES, || "the number of tensors".into())?;

    let mut header = Gguf { version, ..Gguf::default() };
    let mut metadata = Metadata::default();
    let mut keys = HashSet::new();
    for _ in 0..pairs {
        let key = identifier(&mut file, MAX_KEY_BYTES, "a key")?;
        metadata.take(&mut file, &key, &mut header)?;
        if let Some(key) = keys.replace(key) {
            return Err(Fault::new(format!("the key {key:?} occurs twice")).into());
        }
    }
    metadata.finish(&mut header)?;
    describe_tensors(&mut file, tensors, metadata.alignment.unwrap_or(32), &mut header)?;
    Ok(header)
}

fn check_version(version: u32) -> Result<(), Fault> {
    match version {
        2 | 3 => Ok(()),
        1 => Err(Fault::hinted(
            "it has the first version of GGUF, which no program reads any more",
            "use a newer file of the same model",
        )),
        0x0200_0000 | 0x0300_0000 => Err(Fault::hinted(
            "its numbers are big-endian",
            "use the little-endian file of the model",
        )),
        other => Err(Fault::hinted(
            format!("it has version {other} of GGUF; supported are 2 and 3"),
            "try a newer promptmix; if there is none, the file is damaged: fetch it again",
        )),
    }
}

/// Reads a name: text, not empty, and without control characters. C would end it at a zero byte.
fn identifier<R: Read>(file: &mut Bytes<R>, most: u64, what: &str) -> Result<String, CheckError> {
    let bytes = file.string(most, || what.to_owned())?;
    match String::from_utf8(bytes) {
        Ok(name) if !name.is_empty() && !name.contains(char::is_control) => Ok(name),
        _ => Err(Fault::new(format!("{what} is empty or not text")).into()),
    }
}

/// The metadata on which the rest of the check depends.
#[derive(Default)]
struct Metadata {
    alignment: Option<u64>,
    /// Keys that end in `.context_length`; the architecture, which may come later, selects one.
    context_lengths: Vec<(String, u64)>,
    split: (Option<u64>, Option<u64>),
}

impl Metadata {
    /// Reads the value of `key`.
    fn take<R: Read>(
        &mut self,
        file: &mut Bytes<R>,
        key: &str,
        header: &mut Gguf,
    ) -> Result<(), CheckError> {
        let kind = file.u32()?;
        if header.vocabulary.take(file, key, kind)? {
            return Ok(());
        }
        let value = value(file, key, kind, 0)?;
        let wrong = || Fault::new(format!("{key} has the wrong type"));
        let text = |value: Value| match value {
            Value::Text(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        let number = |value: &Value| match value {
            Value::Number(number) => Ok(*number),
            _ => Err(wrong()),
        };
        match key {
            "general.alignment" if kind != kind::UINT32 => return Err(wrong().into()),
            "general.alignment" => self.alignment = Some(number(&value)?),
            "general.architecture" => header.architecture = text(value)?,
            "general.name" => header.name = text(value)?,
            "tokenizer.chat_template" => {
                header.chat_template = text(value)?;
                let length = header.chat_template.as_ref().map_or(0, String::len);
                if length > MAX_TEMPLATE_BYTES {
                    let message = format!(
                        "its chat template has {length} bytes; at most {MAX_TEMPLATE_BYTES} are allowed"
                    );
                    return Err(Fault::new(message).into());
                }
            }
            "split.count" => self.split.1 = Some(number(&value)?),
            "split.no" => self.split.0 = Some(number(&value)?),
            _ if key.ends_with(".context_length") => {
                self.context_lengths.push((key.to_owned(), number(&value)?));
            }
            _ if key.ends_with(".block_count") && number(&value)? > MAX_BLOCKS => {
                let message =
                    format!("{key} is {}; at most {MAX_BLOCKS} are allowed", number(&value)?);
                return Err(Fault::new(message).into());
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&self, header: &mut Gguf) -> Result<(), Fault> {
        let alignment = self.alignment.unwrap_or(32);
        if !alignment.is_power_of_two() || !(8..=MAX_ALIGNMENT).contains(&alignment) {
            return Err(Fault::new(format!(
                "its alignment is {alignment}, not a power of two from 8 to {MAX_ALIGNMENT}"
            )));
        }
        if let Some(architecture) = &header.architecture {
            let wanted = format!("{architecture}.context_length");
            let found = self.context_lengths.iter().find(|(key, _)| *key == wanted);
            header.context_length = found.map(|(_, length)| *length);
        }
        if let (number, Some(count @ 2..)) = self.split {
            let number = number.unwrap_or(0);
            let most = 1000;
            if number >= count || count > most {
                return Err(Fault::new(format!(
                    "it is part {number} of {count}; at most {most} are allowed"
                )));
            }
            // Both are at most 1000.
            header.split = Some(Split { number: number as u16, count: count as u16 });
        }
        header.vocabulary.check()
    }
}

/// Reads a value of any type.
fn value<R: Read>(
    file: &mut Bytes<R>,
    key: &str,
    kind: u32,
    depth: usize,
) -> Result<Value, CheckError> {
    match kind {
        kind::UINT8 => Ok(Value::Number(file.array::<1>()?[0].into())),
        kind::UINT16 => Ok(Value::Number(u16::from_le_bytes(file.array()?).into())),
        kind::UINT32 => Ok(Value::Number(file.u32()?.into())),
        kind::UINT64 => Ok(Value::Number(file.u64()?)),
        kind::INT32 => Ok(non_negative(i32::from_le_bytes(file.array()?).into())),
        kind::INT64 => Ok(non_negative(i64::from_le_bytes(file.array()?))),
        kind::BOOL => {
            let [bool] = file.array()?;
            check_bool(key, bool)?;
            Ok(Value::Other)
        }
        kind::STRING => Ok(Value::Text(file.string(MAX_STRING_BYTES, || key.to_owned())?)),
        kind::ARRAY => {
            array(file, key, depth)?;
            Ok(Value::Other)
        }
        _ => match kind::value_bytes(kind) {
            Some(bytes) => file.skip(bytes).map(|()| Value::Other),
            None => Err(Fault::new(format!("{key} has the unknown type {kind}")).into()),
        },
    }
}

fn non_negative(number: i64) -> Value {
    u64::try_from(number).map_or(Value::Other, Value::Number)
}

fn check_bool(key: &str, byte: u8) -> Result<(), Fault> {
    if byte > 1 {
        return Err(Fault::new(format!("{key} is {byte}, neither true nor false")));
    }
    Ok(())
}

/// Skips an array, element by element if their lengths differ.
fn array<R: Read>(file: &mut Bytes<R>, key: &str, depth: usize) -> Result<(), CheckError> {
    if depth == MAX_DEPTH {
        return Err(Fault::new(format!("{key} nests arrays too deeply")).into());
    }
    let (kind, count) = (file.u32()?, file.u64()?);
    check_elements(file, key, kind, count)?;
    match kind {
        kind::BOOL => {
            for _ in 0..count {
                let [bool] = file.array()?;
                check_bool(key, bool)?;
            }
        }
        kind::STRING => {
            for _ in 0..count {
                let length = file.u64()?;
                file.check_count(length, 1, || format!("the length of a string in {key}"))?;
                file.skip(length)?;
            }
        }
        kind::ARRAY => {
            for _ in 0..count {
                array(file, key, depth + 1)?;
            }
        }
        // `check_elements` has compared the product with the length of the file: no overflow.
        _ => file.skip(count * kind::value_bytes(kind).unwrap_or(0))?,
    }
    Ok(())
}

/// Compares the count of an array with the bytes that are left.
fn check_elements<R: Read>(file: &Bytes<R>, key: &str, kind: u32, count: u64) -> Result<(), Fault> {
    let least = match kind {
        // At least its length.
        kind::STRING => 8,
        // At least its type and its length.
        kind::ARRAY => 12,
        _ => kind::value_bytes(kind)
            .ok_or_else(|| Fault::new(format!("{key} is an array of the unknown type {kind}")))?,
    };
    file.check_count(count, least, || format!("the number of elements of {key}"))
}

/// Reads the descriptions of the tensors and compares them with the rest of the file.
fn describe_tensors<R: Read>(
    file: &mut Bytes<R>,
    count: u64,
    alignment: u64,
    header: &mut Gguf,
) -> Result<(), CheckError> {
    // Once more, since the metadata have used up some of the bytes.
    file.check_count(count, MIN_TENSOR_BYTES, || "the number of tensors".into())?;
    // A file of a split model may hold only metadata.
    if count == 0 && header.split.is_none() {
        return Err(Fault::hinted("it holds no tensors", "use the file with the weights").into());
    }
    let mut names = HashSet::new();
    // Offsets from the start of the data: where the next tensor must begin, where the last one
    // ends.
    let (mut next, mut end) = (0u64, 0u64);
    for _ in 0..count {
        let name = identifier(file, MAX_NAME_BYTES, "a tensor's name")?;
        let (numbers, bytes) = tensor_size(file, &name)?;
        let offset = file.u64()?;
        if offset != next {
            let why = if !offset.is_multiple_of(alignment) {
                "is not aligned"
            } else if offset < next {
                "overlaps another tensor"
            } else {
                "leaves a hole"
            };
            let message =
                format!("the tensor {name} {why}: it begins at {offset}, expected {next}");
            return Err(Fault::new(message).into());
        }
        let far = || Fault::new(format!("the tensor {name} does not lie inside the file"));
        end = offset.checked_add(bytes).ok_or_else(far)?;
        if end > file.length() {
            return Err(far().into());
        }
        next = end.checked_next_multiple_of(alignment).ok_or_else(far)?;
        header.elements = header.elements.checked_add(numbers).ok_or_else(far)?;
        header.tensors += 1;
        if let Some(name) = names.replace(name) {
            return Err(Fault::new(format!("the tensor {name} occurs twice")).into());
        }
    }
    let start = file.at().next_multiple_of(alignment);
    let found = file.length().saturating_sub(start);
    if found < end {
        let message =
            format!("its tensors need {end} bytes, but {found} are there: it was cut short");
        return Err(Fault::new(message).into());
    }
    if count > 0 && found > next {
        let message = format!("{} bytes follow the last tensor", found - end);
        return Err(Fault::new(message).into());
    }
    Ok(())
}

/// Reads the dimensions and type of a tensor and returns its number of elements and of bytes.
fn tensor_size<R: Read>(file: &mut Bytes<R>, name: &str) -> Result<(u64, u64), CheckError> {
    let dimensions = file.u32()?;
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        let message = format!("the tensor {name} has {dimensions} dimensions; 1 to 4 are possible");
        return Err(Fault::new(message).into());
    }
    let (mut numbers, mut row) = (1u64, 0);
    for dimension in 0..dimensions {
        let size = file.u64()?;
        if dimension == 0 {
            row = size;
        }
        // ggml counts in signed integers.
        let product = numbers.checked_mul(size).filter(|&product| i64::try_from(product).is_ok());
        numbers = match product {
            Some(product) if product > 0 => product,
            _ => {
                let message = format!("the tensor {name} has a dimension of {size}");
                return Err(Fault::new(message).into());
            }
        };
    }
    let kind = file.u32()?;
    let Some((elements, size)) = kind::block(kind) else {
        let message = format!("the tensor {name} has the unknown type {kind}");
        return Err(Fault::new(message).into());
    };
    if !row.is_multiple_of(elements) {
        let message =
            format!("the tensor {name} has rows of {row} elements, not whole blocks of {elements}");
        return Err(Fault::new(message).into());
    }
    let bytes = (numbers / elements).checked_mul(size);
    let bytes = bytes.filter(|&bytes| i64::try_from(bytes).is_ok());
    let message = || format!("the tensor {name} has more bytes than can be counted");
    Ok((numbers, bytes.ok_or_else(|| Fault::new(message()))?))
}
