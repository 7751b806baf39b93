//! Reads a bundle without trusting it: the end, the signature, the index, then segment by segment.
//! Each segment is hashed before it is decompressed, and then compared with the only tar that the
//! index allows.

use std::{
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use zstd::{bulk::Decompressor, zstd_safe};

use super::{
    BundleError, CarriedModel, MAX_INDEX_BYTES, Progress, SEGMENT_BYTES, Summary,
    index::{FRAME_HEADER_BYTES, Index, Kind, MAGIC, Member, TAIL_BYTES, TAR_END, frame_header},
    keys,
};

/// Maximum number of changed segments that one message lists.
const MAX_PLACES: usize = 12;

/// The key that must have signed a bundle.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// The key inside the bundle: this proves that the content is intact, not who made it.
    Embedded,
    /// This key and no other.
    Key(VerifyingKey),
}

/// Verifies everything in the bundle at `path`; writes nothing.
///
/// # Errors
/// The bundle is refused ([`BundleError::is_verdict`]), or the file cannot be read.
pub(crate) fn verify(
    path: &Path,
    trust: &Trust,
    progress: Progress,
) -> Result<Summary, BundleError> {
    let mut bundle = Bundle::open_file(path, trust)?;
    bundle.walk(&mut Discard, progress)?;
    Ok(bundle.summary())
}

/// [`verify`] for a bundle in memory, with the key inside it. Tests and fuzzing use it.
///
/// # Errors
/// The bundle is refused.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Summary, BundleError> {
    let mut bundle = Bundle::open(Cursor::new(bytes), Path::new("memory"), &Trust::Embedded)?;
    bundle.walk(&mut Discard, &mut |_, _| {})?;
    Ok(bundle.summary())
}

/// Receives the contents of the members.
pub(super) trait Sink {
    /// Begins the next member.
    fn begin(&mut self, member: &Member) -> Result<(), BundleError>;
    /// Receives the next bytes of the member.
    fn data(&mut self, bytes: &[u8]) -> Result<(), BundleError>;
    /// Ends the member, after its hash was verified.
    fn end(&mut self) -> Result<(), BundleError>;
}

/// Keeps nothing.
pub(super) struct Discard;

impl Sink for Discard {
    fn begin(&mut self, _: &Member) -> Result<(), BundleError> {
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), BundleError> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), BundleError> {
        Ok(())
    }
}

/// A bundle with an authentic and consistent index.
pub(super) struct Bundle<R> {
    file: R,
    path: std::path::PathBuf,
    length: u64,
    index: Index,
    signer: VerifyingKey,
}

impl Bundle<io::BufReader<std::fs::File>> {
    pub(super) fn open_file(path: &Path, trust: &Trust) -> Result<Self, BundleError> {
        let read = |source| BundleError::Read { path: path.to_owned(), source };
        let file = crate::fs::open_regular(path).map_err(read)?;
        Self::open(io::BufReader::new(file), path, trust)
    }
}

impl<R: Read + Seek> Bundle<R> {
    /// Reads and verifies the end of the file. Allocates no more than the length of the file.
    pub(super) fn open(mut file: R, path: &Path, trust: &Trust) -> Result<Self, BundleError> {
        let read = |source| BundleError::Read { path: path.to_owned(), source };
        let ending = |what| BundleError::End { what };
        let length = file.seek(SeekFrom::End(0)).map_err(read)?;
        let before_tail = length
            .checked_sub(TAIL_BYTES)
            .filter(|left| *left > FRAME_HEADER_BYTES)
            .ok_or_else(|| ending("it is too short"))?;
        let mut tail = [0; TAIL_BYTES as usize];
        file.seek(SeekFrom::Start(before_tail)).map_err(read)?;
        file.read_exact(&mut tail).map_err(read)?;
        let (key, rest) = tail.split_at(32);
        let (signature, rest) = rest.split_at(64);
        let (size, mark) = rest.split_at(8);
        if mark != MAGIC {
            return Err(ending("the magic number at its end is missing"));
        }
        let size = u64::from_le_bytes(size.try_into().expect("eight bytes"));
        let end = before_tail
            .checked_sub(FRAME_HEADER_BYTES)
            .and_then(|left| left.checked_sub(size))
            .filter(|_| size <= MAX_INDEX_BYTES)
            .ok_or_else(|| ending("the length of its index is impossible"))?;
        file.seek(SeekFrom::Start(end)).map_err(read)?;
        let mut head = [0; FRAME_HEADER_BYTES as usize];
        file.read_exact(&mut head).map_err(read)?;
        if head != frame_header(size) {
            return Err(ending("the header of the frame around its index is wrong"));
        }
        let mut json = vec![0; size as usize];
        file.read_exact(&mut json).map_err(read)?;
        let signer = authenticate(&json, key, signature, trust)?;
        let index = Index::parse(&json, end)?;
        Ok(Self { file, path: path.to_owned(), length, index, signer })
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Verifies all segments and passes the contents of the members to `sink`. After the first
    /// changed segment the others are only hashed, so that the message can list all changed ones.
    pub(super) fn walk(
        &mut self,
        sink: &mut dyn Sink,
        progress: Progress,
    ) -> Result<(), BundleError> {
        let Self { file, path, index, .. } = self;
        let read = |source| BundleError::Read { path: path.clone(), source };
        let total = index.segments.last().map_or(0, |segment| segment.offset + segment.length);
        let mut changed = Vec::new();
        let mut tar = ExpectedTar::new(index);
        let mut unpacker = Decompressor::new().map_err(read)?;
        let (mut packed, mut raw) = (Vec::new(), Vec::new());
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        for (number, segment) in index.segments.iter().enumerate() {
            packed.resize(segment.length as usize, 0);
            file.read_exact(&mut packed).map_err(read)?;
            if crate::hash::of_bytes(&packed) != segment.sha256 {
                changed.push(number);
            } else if changed.is_empty() {
                unpack(&mut unpacker, &packed, segment.raw, &mut raw)
                    .map_err(|what| hostile(format!("segment {number} {what}")))?;
                tar.feed(&raw, sink)?;
            }
            progress(segment.offset + segment.length, total);
        }
        if changed.is_empty() {
            return tar.close(sink);
        }
        let mut places: Vec<String> =
            changed.iter().take(MAX_PLACES).map(|number| index.describe_segment(*number)).collect();
        if changed.len() > MAX_PLACES {
            places.push(format!("  and {} more", changed.len() - MAX_PLACES));
        }
        Err(BundleError::Changed { places })
    }

    pub(super) fn summary(&self) -> Summary {
        let Index { members, models, created_by, built_for, .. } = &self.index;
        let count = |kind| members.iter().filter(|member| member.kind == kind).count();
        let size = |path: &str| {
            members.iter().find(|member| member.path == path).map_or(0, |member| member.size)
        };
        Summary {
            created_by: created_by.clone(),
            built_for: built_for.clone(),
            signer: keys::fingerprint(&self.signer),
            packed: self.length,
            unpacked: members.iter().map(|member| member.size).sum(),
            members: members.len(),
            sources: count(Kind::Source),
            program: count(Kind::Program) > 0,
            models: models
                .iter()
                .map(|model| CarriedModel {
                    role: model.role,
                    name: model.name.clone(),
                    licence: model.licence.clone(),
                    bytes: model.files.iter().map(|(_, path)| size(path)).sum(),
                })
                .collect(),
        }
    }
}

fn hostile(what: String) -> BundleError {
    BundleError::Hostile { what }
}

/// Returns the key that signed `json`, if it is the trusted one.
fn authenticate(
    json: &[u8],
    key: &[u8],
    signature: &[u8],
    trust: &Trust,
) -> Result<VerifyingKey, BundleError> {
    let changed = |what| BundleError::Index { what };
    let signature =
        Signature::from_slice(signature).map_err(|_| changed("it has no valid signature"))?;
    let embedded =
        <[u8; 32]>::try_from(key).ok().and_then(|key| VerifyingKey::from_bytes(&key).ok());
    let signed_by = |key: &VerifyingKey| key.verify_strict(json, &signature).is_ok();
    match (trust, embedded) {
        (Trust::Key(wanted), embedded) if signed_by(wanted) => match embedded {
            Some(embedded) if embedded.as_bytes() == wanted.as_bytes() => Ok(embedded),
            _ => Err(changed("the signature is from your key, but the key beside it is another")),
        },
        (Trust::Key(wanted), Some(embedded)) if signed_by(&embedded) => {
            Err(BundleError::OtherKey {
                found: keys::fingerprint(&embedded),
                wanted: keys::fingerprint(wanted),
            })
        }
        (Trust::Embedded, Some(embedded)) if signed_by(&embedded) => Ok(embedded),
        _ => Err(changed("its signature does not match")),
    }
}

/// Decompresses one authentic frame into `raw`, which then holds exactly `size` bytes.
fn unpack(
    unpacker: &mut Decompressor,
    packed: &[u8],
    size: u64,
    raw: &mut Vec<u8>,
) -> Result<(), String> {
    let stated = zstd_safe::get_frame_content_size(packed).ok().flatten();
    if stated != Some(size) {
        return Err(format!("states another size than the {size} bytes in the index"));
    }
    if zstd_safe::find_frame_compressed_size(packed) != Ok(packed.len()) {
        return Err("is not one frame".to_owned());
    }
    raw.clear();
    raw.reserve_exact(size as usize);
    // zstd never writes beyond the capacity of the buffer, whatever the frame contains.
    debug_assert!(size <= SEGMENT_BYTES as u64);
    let count = unpacker
        .decompress_to_buffer(packed, raw)
        .map_err(|error| format!("does not decompress: {error}"))?;
    if count as u64 == size { Ok(()) } else { Err(format!("holds {count} bytes, not {size}")) }
}

/// The only tar that the index allows, and how much of it has been read.
struct ExpectedTar<'a> {
    index: &'a Index,
    /// The current or next member.
    next: usize,
    part: TarPart,
}

enum TarPart {
    /// Bytes that are known in advance, and how many of them have been read.
    Known {
        bytes: Vec<u8>,
        at: usize,
        after: After,
    },
    Content {
        left: u64,
        hash: Sha256,
    },
    End,
}

#[derive(Clone, Copy)]
enum After {
    Content,
    NextMember,
    Nothing,
}

impl<'a> ExpectedTar<'a> {
    fn new(index: &'a Index) -> Self {
        // An empty known part that leads to the first member.
        let part = TarPart::Known { bytes: Vec::new(), at: 0, after: After::NextMember };
        Self { index, next: 0, part }
    }

    fn feed(&mut self, mut raw: &[u8], sink: &mut dyn Sink) -> Result<(), BundleError> {
        loop {
            self.advance(sink)?;
            if raw.is_empty() {
                return Ok(());
            }
            match &mut self.part {
                TarPart::Known { bytes, at, .. } => {
                    let count = raw.len().min(bytes.len() - *at);
                    if raw[..count] != bytes[*at..*at + count] {
                        return Err(hostile(self.difference()));
                    }
                    *at += count;
                    raw = &raw[count..];
                }
                TarPart::Content { left, hash } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(raw.len());
                    hash.update(&raw[..count]);
                    sink.data(&raw[..count])?;
                    *left -= count as u64;
                    raw = &raw[count..];
                }
                TarPart::End => return Err(hostile("data follows its last file".to_owned())),
            }
        }
    }

    /// Moves to the next part while the current one is complete.
    fn advance(&mut self, sink: &mut dyn Sink) -> Result<(), BundleError> {
        loop {
            match &mut self.part {
                TarPart::Known { bytes, at, after } if *at == bytes.len() => {
                    let after = *after;
                    self.part = match after {
                        After::Content => {
                            let member = &self.index.members[self.next];
                            sink.begin(member)?;
                            TarPart::Content { left: member.size, hash: Sha256::new() }
                        }
                        After::NextMember => self.header()?,
                        After::Nothing => TarPart::End,
                    };
                }
                TarPart::Content { left: 0, hash } => {
                    let member = &self.index.members[self.next];
                    if format!("{:x}", std::mem::take(hash).finalize()) != member.sha256 {
                        return Err(hostile(format!("{} has another sha256", member.path)));
                    }
                    sink.end()?;
                    self.next += 1;
                    let bytes = vec![0; member.padding() as usize];
                    self.part = TarPart::Known { bytes, at: 0, after: After::NextMember };
                }
                _ => return Ok(()),
            }
        }
    }

    fn header(&self) -> Result<TarPart, BundleError> {
        Ok(match self.index.members.get(self.next) {
            Some(member) => {
                let bytes = member
                    .header()
                    .map_err(|error| hostile(format!("the name {:?}: {error}", member.path)))?;
                TarPart::Known { bytes, at: 0, after: After::Content }
            }
            None => {
                TarPart::Known { bytes: vec![0; TAR_END as usize], at: 0, after: After::Nothing }
            }
        })
    }

    fn difference(&self) -> String {
        match self.index.members.get(self.next) {
            Some(member) => {
                format!("the archive's own entry for {} differs from the index", member.path)
            }
            None => "its archive does not end with its last file".to_owned(),
        }
    }

    fn close(mut self, sink: &mut dyn Sink) -> Result<(), BundleError> {
        self.advance(sink)?;
        match self.part {
            TarPart::End => Ok(()),
            _ => Err(hostile("its archive ends too early".to_owned())),
        }
    }
}
