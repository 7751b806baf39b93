//! Safetensors: the length of the header, the header in JSON, then the tensors without gaps.
//!
//! The rules are those of the format's documentation and of the `safetensors` crate, which enforces
//! most of them too. In addition, a name that occurs twice is refused (readers differ in which of
//! the two counts), and shapes and names have a limit.

use std::{collections::BTreeMap, fmt, io::Read};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{CheckError, Fault};

/// The limit that the format defines.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Bytes of the header's length.
const LENGTH: u64 = 8;
const MAX_NAME_BYTES: usize = 4096;
const MAX_DIMENSIONS: usize = 16;

/// The content of a valid safetensors header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Safetensors {
    pub tensors: usize,
    /// Elements of all tensors.
    pub elements: u64,
}

/// Checks a file that is in memory or mapped.
///
/// # Errors
/// The first fault.
pub fn check(bytes: &[u8]) -> Result<Safetensors, Fault> {
    read(bytes, bytes.len() as u64).map_err(|stop| match stop {
        CheckError::Io(source) => Fault::new(source.to_string()),
        CheckError::Fault(fault) => fault,
    })
}

/// Reads and checks the header of a file of `length` bytes.
pub(super) fn read(mut file: impl Read, length: u64) -> Result<Safetensors, CheckError> {
    if length < LENGTH {
        return Err(Fault::new("it is too short for a safetensors file").into());
    }
    let mut size = [0; LENGTH as usize];
    file.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER_BYTES || size > length - LENGTH {
        let message = format!(
            "its header claims {size} bytes in a file of {length} (at most {MAX_HEADER_BYTES} are allowed)"
        );
        return Err(Fault::new(message).into());
    }
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    if !bytes.starts_with(b"{") {
        return Err(Fault::new("its header is not a JSON object").into());
    }
    let Tensors(tensors) = serde_json::from_slice(&bytes)
        .map_err(|error| Fault::new(format!("its header: {error}")))?;
    Ok(check_layout(&tensors, length - LENGTH - size)?)
}

/// Checks that the tensors cover `data` bytes without holes or overlaps.
fn check_layout(tensors: &BTreeMap<String, Tensor>, data: u64) -> Result<Safetensors, Fault> {
    let mut elements = 0u64;
    let mut in_order: Vec<(&String, &Tensor)> = tensors.iter().collect();
    in_order.sort_by_key(|(_, tensor)| tensor.data_offsets);
    let mut next = 0;
    for (name, tensor) in in_order {
        let fault = |what: &str| Fault::new(format!("the tensor {name:?} {what}"));
        if name.len() > MAX_NAME_BYTES {
            return Err(fault("has too long a name"));
        }
        let bits = bits(&tensor.dtype).ok_or_else(|| fault("has an unknown type"))?;
        if name.contains(char::is_control) {
            return Err(fault("has a control character in its name"));
        }
        let numbers = tensor.shape.iter().try_fold(1u64, |all, &size| all.checked_mul(size));
        let size = numbers.and_then(|numbers| numbers.checked_mul(bits));
        let (Some(numbers), Some(size)) = (numbers, size) else {
            return Err(fault("has more elements than can be counted"));
        };
        let (first, last) = tensor.data_offsets;
        if first != next {
            return Err(fault(if first < next { "overlaps another" } else { "leaves a hole" }));
        }
        if last > data {
            return Err(fault("does not lie inside the file"));
        }
        if !size.is_multiple_of(8) || last.checked_sub(first) != Some(size / 8) {
            return Err(fault("has a length that does not match its shape"));
        }
        next = last;
        elements = elements.checked_add(numbers).ok_or_else(|| fault("is too large"))?;
    }
    if next != data {
        return Err(Fault::new(format!("its tensors have {next} bytes, but {data} are there")));
    }
    Ok(Safetensors { tensors: tensors.len(), elements })
}

/// Bits of one element.
fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ"
        | "F8_E5M2FNUZ" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "I64" | "U64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Tensor {
    dtype: String,
    #[serde(deserialize_with = "bounded_shape")]
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Reads a shape of at most [`MAX_DIMENSIONS`]; stops at the first dimension too many.
fn bounded_shape<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
    struct Shape;
    impl<'de> Visitor<'de> for Shape {
        type Value = Vec<u64>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("the shape of a tensor")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u64>, A::Error> {
            let mut shape = Vec::new();
            while let Some(size) = items.next_element()? {
                if shape.len() == MAX_DIMENSIONS {
                    return Err(A::Error::custom("a tensor has too many dimensions"));
                }
                shape.push(size);
            }
            Ok(shape)
        }
    }
    from.deserialize_seq(Shape)
}

struct Tensors(BTreeMap<String, Tensor>);

/// `__metadata__`: strings by name; checked, not kept.
struct Metadata;

impl<'de> Deserialize<'de> for Tensors {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Tensors;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("tensors by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tensors, A::Error> {
                let mut tensors = BTreeMap::new();
                let mut has_metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == "__metadata__" {
                        map.next_value::<Option<Metadata>>()?;
                        std::mem::replace(&mut has_metadata, true)
                    } else {
                        let tensor = map.next_value()?;
                        tensors.insert(name.clone(), tensor).is_some()
                    };
                    if twice {
                        return Err(A::Error::custom(format!("{name:?} occurs twice")));
                    }
                }
                Ok(Tensors(tensors))
            }
        }
        from.deserialize_map(Names)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        BTreeMap::<String, String>::deserialize(from).map(|_| Self)
    }
}
