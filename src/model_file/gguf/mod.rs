//! GGUF, versions 2 and 3: counts, metadata, tensor descriptions, then the tensors.
//!
//! What llama.cpp and its relatives had to mend is refused here whatever is linked:
//!
//! | what was believed | known as | rule here |
//! |---|---|---|
//! | the number of tensors, of keys, of elements of an array; a text's length | CVE-2024-21836, CVE-2024-23605, CVE-2024-21825, CVE-2024-23496 | each is held against the bytes that are left |
//! | that dimensions multiply without wrapping, and their bytes too | CVE-2024-21802, CVE-2026-33298 (GHSA-96jg-mvhq-q7q7), issue 27203 | checked products; all has to lie in the file |
//! | that padded sizes add up without wrapping | CVE-2025-53630 (GHSA-vgg9-87g3-85w8), CVE-2026-27940 (GHSA-3p4r-fq3f-q74v), issue 26978 | checked sums; offsets follow each other, the last ends in the file |
//! | more than four dimensions, none of a size of 0 | ggml pull request 709, whisper.cpp pull request 3864 | 1 to 4, each 1 at least |
//! | a tensor's type | ggml pull request 709 | a table of the known ones |
//! | a tensor that ends behind the file's end | CVE-2026-7482 (Ollama) | its end is held against the file's length |
//! | an alignment of any type and size | ggml pull request 1516 | a 32-bit power of two from 8 to 1 MiB |
//! | that scores and types of tokens are of one type and as many as the tokens | llama.cpp pull requests 20735, 26690 | both are checked |
//! | that a vocabulary is not smaller than the numbers of its special tokens, and no token longer than a piece may be | GHSA-g4cc-763q-h9h6, CVE-2025-49847 (GHSA-8wwf-w4qm-gpqr) | a least size for each kind; 64 KiB a token |
//! | that a byte token's text is a byte | llama.cpp issue 27226 | two hexadecimal digits |
//!
//! The layout is that of `ggml/include/gguf.h` and of the GGUF specification.

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

use super::{Fault, Stop};
use bytes::Bytes;
pub(crate) use vocabulary::Vocabulary;

/// How each GGUF begins.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";

const LONGEST_KEY: u64 = 65_535;
/// Such as a whole tokenizer.json; the longest known have some 30 MB.
const LONGEST_TEXT: u64 = 64 << 20;
const LONGEST_TEMPLATE: usize = 1 << 20;
/// `GGML_MAX_NAME` with its terminator.
const LONGEST_NAME: u64 = 63;
/// `GGML_MAX_DIMS`.
const MOST_DIMENSIONS: u32 = 4;
/// Arrays in arrays; llama.cpp knows none.
const DEEPEST: usize = 4;
/// `LLAMA_MAX_LAYERS`; with more, llama.cpp ends its process.
const MOST_BLOCKS: u64 = 512;
const MOST_ALIGNMENT: u64 = 1 << 20;
/// A key: its length, a letter, its type, a byte.
const LEAST_PAIR: u64 = 8 + 1 + 4 + 1;
/// A tensor: its name's length, a letter, one dimension, its type, its offset.
const LEAST_TENSOR: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// What a sound GGUF says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gguf {
    pub version: u32,
    pub tensors: usize,
    /// Elements of all tensors.
    pub elements: u64,
    pub architecture: Option<String>,
    pub name: Option<String>,
    /// Tokens that the model was trained to see at once.
    pub context_length: Option<u64>,
    pub chat_template: Option<String>,
    pub vocabulary: Vocabulary,
    /// Of a model of several files.
    pub split: Option<Split>,
}

/// A file's place in a model of several files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// From 0.
    pub number: u16,
    pub count: u16,
}

impl Split {
    /// All files of the model whose first part is at `path`, by the names that llama.cpp gives them;
    /// `None` if it is not the first part or has another name.
    pub fn parts(self, path: &Path) -> Option<Vec<PathBuf>> {
        let of = self.count;
        let name = path.file_name()?.to_str()?;
        let stem = name.strip_suffix(&format!("-00001-of-{of:05}.gguf"))?;
        let part = |number: u16| path.with_file_name(format!("{stem}-{number:05}-of-{of:05}.gguf"));
        (self.number == 0).then(|| (1..=of).map(part).collect())
    }
}

/// A value that is of use, or what is left of one that is not.
enum Value {
    Number(u64),
    Text(Vec<u8>),
    Other,
}

/// Reads and checks a whole header; `length` is the file's. Nothing is read of the tensors.
pub(super) fn read(file: impl Read, length: u64) -> Result<Gguf, Stop> {
    let mut file = Bytes::new(file, length);
    file.skip(MAGIC.len() as u64)?;
    let version = file.u32()?;
    version_known(version)?;
    let (tensors, pairs) = (file.u64()?, file.u64()?);
    file.room(pairs, LEAST_PAIR, || "the number of keys".into())?;
    file.room(tensors, LEAST_TENSOR, || "the number of tensors".into())?;

    let mut header = Gguf { version, ..Gguf::default() };
    let mut metadata = Metadata::default();
    let mut keys = HashSet::new();
    for _ in 0..pairs {
        let key = identifier(&mut file, LONGEST_KEY, "a key")?;
        metadata.take(&mut file, &key, &mut header)?;
        if let Some(key) = keys.replace(key) {
            return Err(Fault::new(format!("the key {key:?} is there twice")).into());
        }
    }
    metadata.finish(&mut header)?;
    describe_tensors(&mut file, tensors, metadata.alignment.unwrap_or(32), &mut header)?;
    Ok(header)
}

fn version_known(version: u32) -> Result<(), Fault> {
    match version {
        2 | 3 => Ok(()),
        1 => Err(Fault::hinted(
            "it is of the first version of GGUF, which nothing reads any more",
            "take a newer file of the same model",
        )),
        0x0200_0000 | 0x0300_0000 => Err(Fault::hinted(
            "its numbers are big-endian",
            "take the file for common machines (little-endian)",
        )),
        other => Err(Fault::hinted(
            format!("it is of version {other} of GGUF; 2 and 3 are known"),
            "a newer promptmix may know it; otherwise the file is damaged, fetch it again",
        )),
    }
}

/// A name: text, not empty, and without the zero byte at which C ends it.
fn identifier<R: Read>(file: &mut Bytes<R>, most: u64, what: &str) -> Result<String, Stop> {
    let bytes = file.text(most, || what.to_owned())?;
    match String::from_utf8(bytes) {
        Ok(name) if !name.is_empty() && !name.contains('\0') => Ok(name),
        _ => Err(Fault::new(format!("{what} is empty or no text")).into()),
    }
}

/// What the metadata say that the rest of the check depends on.
#[derive(Default)]
struct Metadata {
    alignment: Option<u64>,
    /// Keys that end in `.context_length`: which one counts is known in the end.
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
    ) -> Result<(), Stop> {
        let kind = file.u32()?;
        if header.vocabulary.take(file, key, kind)? {
            return Ok(());
        }
        let value = value(file, key, kind, 0)?;
        let wrong = || Fault::new(format!("{key} is of another type than it should be"));
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
                if length > LONGEST_TEMPLATE {
                    let message = format!(
                        "its chat template has {length} bytes, {LONGEST_TEMPLATE} at most are taken"
                    );
                    return Err(Fault::new(message).into());
                }
            }
            "split.count" => self.split.1 = Some(number(&value)?),
            "split.no" => self.split.0 = Some(number(&value)?),
            _ if key.ends_with(".context_length") => {
                self.context_lengths.push((key.to_owned(), number(&value)?));
            }
            _ if key.ends_with(".block_count") && number(&value)? > MOST_BLOCKS => {
                let message = format!("{key} is {}, {MOST_BLOCKS} at most", number(&value)?);
                return Err(Fault::new(message).into());
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&self, header: &mut Gguf) -> Result<(), Fault> {
        let alignment = self.alignment.unwrap_or(32);
        if !alignment.is_power_of_two() || !(8..=MOST_ALIGNMENT).contains(&alignment) {
            return Err(Fault::new(format!(
                "its alignment is {alignment}, not a power of two from 8 to {MOST_ALIGNMENT}"
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
                return Err(Fault::new(format!("it is part {number} of {count}, {most} at most")));
            }
            // Both are below 1000.
            header.split = Some(Split { number: number as u16, count: count as u16 });
        }
        header.vocabulary.check()
    }
}

/// Reads a value of any type.
fn value<R: Read>(file: &mut Bytes<R>, key: &str, kind: u32, depth: usize) -> Result<Value, Stop> {
    match kind {
        kind::UINT8 => Ok(Value::Number(file.array::<1>()?[0].into())),
        kind::UINT16 => Ok(Value::Number(u16::from_le_bytes(file.array()?).into())),
        kind::UINT32 => Ok(Value::Number(file.u32()?.into())),
        kind::UINT64 => Ok(Value::Number(file.u64()?)),
        kind::INT32 => Ok(whole(i32::from_le_bytes(file.array()?).into())),
        kind::INT64 => Ok(whole(i64::from_le_bytes(file.array()?))),
        kind::BOOL => {
            let [bool] = file.array()?;
            truth(key, bool)?;
            Ok(Value::Other)
        }
        kind::TEXT => Ok(Value::Text(file.text(LONGEST_TEXT, || key.to_owned())?)),
        kind::ARRAY => {
            array(file, key, depth)?;
            Ok(Value::Other)
        }
        _ => match kind::value_bytes(kind) {
            Some(bytes) => file.skip(bytes).map(|()| Value::Other),
            None => Err(Fault::new(format!("{key} is of the unknown type {kind}")).into()),
        },
    }
}

fn whole(number: i64) -> Value {
    u64::try_from(number).map_or(Value::Other, Value::Number)
}

fn truth(key: &str, byte: u8) -> Result<(), Fault> {
    if byte > 1 {
        return Err(Fault::new(format!("{key} is neither true nor false but {byte}")));
    }
    Ok(())
}

/// Passes over an array, element by element where their lengths differ.
fn array<R: Read>(file: &mut Bytes<R>, key: &str, depth: usize) -> Result<(), Stop> {
    if depth == DEEPEST {
        return Err(Fault::new(format!("{key} holds arrays in arrays in arrays")).into());
    }
    let (kind, count) = (file.u32()?, file.u64()?);
    elements(file, key, kind, count)?;
    match kind {
        kind::BOOL => {
            for _ in 0..count {
                let [bool] = file.array()?;
                truth(key, bool)?;
            }
        }
        kind::TEXT => {
            for _ in 0..count {
                let length = file.u64()?;
                file.room(length, 1, || format!("the bytes of a text of {key}"))?;
                file.skip(length)?;
            }
        }
        kind::ARRAY => {
            for _ in 0..count {
                array(file, key, depth + 1)?;
            }
        }
        // `elements` has seen that there is room, so this does not wrap.
        _ => file.skip(count * kind::value_bytes(kind).unwrap_or(0))?,
    }
    Ok(())
}

/// Holds an array's count against the bytes that follow.
fn elements<R: Read>(file: &Bytes<R>, key: &str, kind: u32, count: u64) -> Result<(), Fault> {
    let least = match kind {
        // Its length at least.
        kind::TEXT => 8,
        // Its type and its length.
        kind::ARRAY => 12,
        _ => kind::value_bytes(kind)
            .ok_or_else(|| Fault::new(format!("{key} is an array of the unknown type {kind}")))?,
    };
    file.room(count, least, || format!("the elements of {key}"))
}

/// Reads the descriptions of the tensors and holds them against the rest of the file.
fn describe_tensors<R: Read>(
    file: &mut Bytes<R>,
    count: u64,
    alignment: u64,
    header: &mut Gguf,
) -> Result<(), Stop> {
    // Once more: the metadata are behind us.
    file.room(count, LEAST_TENSOR, || "the number of tensors".into())?;
    // A file of several may hold the metadata alone.
    if count == 0 && header.split.is_none() {
        return Err(Fault::hinted("it holds no tensors", "take the file with the weights").into());
    }
    let mut names = HashSet::new();
    // Where the next one has to begin, from the start of the data, and where the last one ends.
    let (mut next, mut end) = (0u64, 0u64);
    for _ in 0..count {
        let name = identifier(file, LONGEST_NAME, "a tensor's name")?;
        let (numbers, bytes) = measures(file, &name)?;
        let offset = file.u64()?;
        if offset != next {
            let why = if !offset.is_multiple_of(alignment) {
                "is not aligned"
            } else if offset < next {
                "lies on another tensor"
            } else {
                "leaves a hole"
            };
            let message = format!("the tensor {name} {why}: it begins at {offset}, {next} is due");
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
            return Err(Fault::new(format!("the tensor {name} is there twice")).into());
        }
    }
    let start = file.at().next_multiple_of(alignment);
    let found = file.length().saturating_sub(start);
    if found < end {
        let message = format!("its tensors need {end} bytes, {found} are there: it was cut short");
        return Err(Fault::new(message).into());
    }
    if count > 0 && found > next {
        let message = format!("{} bytes follow the last tensor", found - end);
        return Err(Fault::new(message).into());
    }
    Ok(())
}

/// Dimensions and type of a tensor, as its elements and its bytes.
fn measures<R: Read>(file: &mut Bytes<R>, name: &str) -> Result<(u64, u64), Stop> {
    let dimensions = file.u32()?;
    if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
        let message = format!("the tensor {name} has {dimensions} dimensions, 1 to 4 are possible");
        return Err(Fault::new(message).into());
    }
    let (mut numbers, mut row) = (1u64, 0);
    for dimension in 0..dimensions {
        let size = file.u64()?;
        if dimension == 0 {
            row = size;
        }
        // ggml counts in signed numbers.
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
        let message = format!("the tensor {name} is of the unknown type {kind}");
        return Err(Fault::new(message).into());
    };
    if !row.is_multiple_of(elements) {
        let message =
            format!("the tensor {name} has rows of {row}, not whole blocks of {elements}");
        return Err(Fault::new(message).into());
    }
    let bytes = (numbers / elements).checked_mul(size);
    let bytes = bytes.filter(|&bytes| i64::try_from(bytes).is_ok());
    let message = || format!("the tensor {name} has more bytes than can be counted");
    Ok((numbers, bytes.ok_or_else(|| Fault::new(message()))?))
}
