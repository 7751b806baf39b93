//! Reads a bundle without trusting it: end, signature, index, and then segment for segment, each hashed
//! before it is decompressed and compared with the only tar that the index allows.

use std::{
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use zstd::{bulk::Decompressor, zstd_safe};

use super::{
    BundleError, CarriedModel, LONGEST_INDEX, PIECE, Summary, Watch,
    index::{FRAME_HEAD, Index, Kind, MARK, Member, TAIL, TAR_END, frame_head},
    keys,
};

/// Most places that one message names.
const NAMED: usize = 12;

/// Whose signature counts.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// That of the key inside: the content is whole, but anybody can have made it.
    Embedded,
    /// That of this key alone.
    Key(VerifyingKey),
}

/// Checks everything in the bundle at `path`; writes nothing.
///
/// # Errors
/// A verdict ([`BundleError::is_verdict`]) or a file that cannot be read.
pub(crate) fn verify(path: &Path, trust: &Trust, watch: Watch) -> Result<Summary, BundleError> {
    let mut bundle = Bundle::open_file(path, trust)?;
    bundle.walk(&mut Nowhere, watch)?;
    Ok(bundle.summary())
}

/// The same for a bundle in memory, with the key inside: what hostile bytes are tried on.
///
/// # Errors
/// A verdict.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Summary, BundleError> {
    let mut bundle = Bundle::open(Cursor::new(bytes), Path::new("memory"), &Trust::Embedded)?;
    bundle.walk(&mut Nowhere, &mut |_, _| {})?;
    Ok(bundle.summary())
}

/// Where the members' contents go.
pub(super) trait Sink {
    /// The next member begins.
    fn begin(&mut self, member: &Member) -> Result<(), BundleError>;
    /// Some of its bytes, each of them once and in order.
    fn data(&mut self, bytes: &[u8]) -> Result<(), BundleError>;
    /// It is whole, and its hash is right.
    fn end(&mut self) -> Result<(), BundleError>;
}

/// Where nothing is kept.
pub(super) struct Nowhere;

impl Sink for Nowhere {
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

/// A bundle whose index is authentic and makes sense.
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
        let file = std::fs::File::open(path).map_err(read)?;
        if file.metadata().map_err(read)?.is_dir() {
            return Err(read(io::ErrorKind::IsADirectory.into()));
        }
        Self::open(io::BufReader::new(file), path, trust)
    }
}

impl<R: Read + Seek> Bundle<R> {
    /// Reads the end of the file; allocates no more than the file is long.
    pub(super) fn open(mut file: R, path: &Path, trust: &Trust) -> Result<Self, BundleError> {
        let read = |source| BundleError::Read { path: path.to_owned(), source };
        let ending = |what| BundleError::End { what };
        let length = file.seek(SeekFrom::End(0)).map_err(read)?;
        let before_tail = length
            .checked_sub(TAIL)
            .filter(|left| *left > FRAME_HEAD)
            .ok_or_else(|| ending("it is too short"))?;
        let mut tail = [0; TAIL as usize];
        file.seek(SeekFrom::Start(before_tail)).map_err(read)?;
        file.read_exact(&mut tail).map_err(read)?;
        let (key, rest) = tail.split_at(32);
        let (signature, rest) = rest.split_at(64);
        let (size, mark) = rest.split_at(8);
        if mark != MARK {
            return Err(ending("the mark at its end is missing"));
        }
        let size = u64::from_le_bytes(size.try_into().expect("eight bytes"));
        let end = before_tail
            .checked_sub(FRAME_HEAD)
            .and_then(|room| room.checked_sub(size))
            .filter(|_| size <= LONGEST_INDEX)
            .ok_or_else(|| ending("the length of its index cannot be"))?;
        file.seek(SeekFrom::Start(end)).map_err(read)?;
        let mut head = [0; FRAME_HEAD as usize];
        file.read_exact(&mut head).map_err(read)?;
        if head != frame_head(size) {
            return Err(ending("the frame around its index does not fit"));
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

    /// Goes through all segments and gives the members' contents to `sink`. Once one segment is found
    /// changed, the others are only hashed, so that the message names them all.
    pub(super) fn walk(&mut self, sink: &mut dyn Sink, watch: Watch) -> Result<(), BundleError> {
        let Self { file, path, index, .. } = self;
        let read = |source| BundleError::Read { path: path.clone(), source };
        let total = index.segments.last().map_or(0, |segment| segment.offset + segment.length);
        let mut changed = Vec::new();
        let mut tape = Tape::new(index);
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
                tape.feed(&raw, sink)?;
            }
            watch(segment.offset + segment.length, total);
        }
        if changed.is_empty() {
            return tape.close(sink);
        }
        let mut places: Vec<String> =
            changed.iter().take(NAMED).map(|number| index.place(*number)).collect();
        if changed.len() > NAMED {
            places.push(format!("  and {} more places", changed.len() - NAMED));
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

/// The key whose signature over `json` is right, if it is the one that counts.
fn authenticate(
    json: &[u8],
    key: &[u8],
    signature: &[u8],
    trust: &Trust,
) -> Result<VerifyingKey, BundleError> {
    let changed = |what| BundleError::Index { what };
    let signature =
        Signature::from_slice(signature).map_err(|_| changed("its signature is none"))?;
    let embedded =
        <[u8; 32]>::try_from(key).ok().and_then(|key| VerifyingKey::from_bytes(&key).ok());
    let signed_by = |key: &VerifyingKey| key.verify_strict(json, &signature).is_ok();
    match (trust, embedded) {
        (Trust::Key(wanted), embedded) if signed_by(wanted) => match embedded {
            Some(embedded) if embedded.as_bytes() == wanted.as_bytes() => Ok(embedded),
            _ => Err(changed("the signature is that of your key, the key beside it is not")),
        },
        (Trust::Key(wanted), Some(embedded)) if signed_by(&embedded) => {
            Err(BundleError::OtherKey {
                found: keys::fingerprint(&embedded),
                wanted: keys::fingerprint(wanted),
            })
        }
        (Trust::Embedded, Some(embedded)) if signed_by(&embedded) => Ok(embedded),
        _ => Err(changed("its signature does not fit")),
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
        return Err(format!("states another size than the {size} bytes of the index"));
    }
    if zstd_safe::find_frame_compressed_size(packed) != Ok(packed.len()) {
        return Err("is not one frame".to_owned());
    }
    raw.clear();
    raw.reserve_exact(size as usize);
    // No more than the buffer holds is ever written, whatever the frame contains.
    debug_assert!(size <= PIECE as u64);
    let count = unpacker
        .decompress_to_buffer(packed, raw)
        .map_err(|error| format!("does not decompress: {error}"))?;
    if count as u64 == size { Ok(()) } else { Err(format!("holds {count} bytes, not {size}")) }
}

/// The tar that the index allows, as it is to come.
struct Tape<'a> {
    index: &'a Index,
    /// The member that comes, or is under way.
    next: usize,
    part: Part,
}

enum Part {
    /// Bytes that are known beforehand, and how many of them came.
    Known {
        bytes: Vec<u8>,
        at: usize,
        then: Then,
    },
    Content {
        left: u64,
        hash: Sha256,
    },
    Over,
}

#[derive(Clone, Copy)]
enum Then {
    Content,
    NextMember,
    Nothing,
}

impl<'a> Tape<'a> {
    fn new(index: &'a Index) -> Self {
        // An empty known part leads to the first member.
        let part = Part::Known { bytes: Vec::new(), at: 0, then: Then::NextMember };
        Self { index, next: 0, part }
    }

    fn feed(&mut self, mut raw: &[u8], sink: &mut dyn Sink) -> Result<(), BundleError> {
        loop {
            self.settle(sink)?;
            if raw.is_empty() {
                return Ok(());
            }
            match &mut self.part {
                Part::Known { bytes, at, .. } => {
                    let count = raw.len().min(bytes.len() - *at);
                    if raw[..count] != bytes[*at..*at + count] {
                        return Err(hostile(self.disagreement()));
                    }
                    *at += count;
                    raw = &raw[count..];
                }
                Part::Content { left, hash } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(raw.len());
                    hash.update(&raw[..count]);
                    sink.data(&raw[..count])?;
                    *left -= count as u64;
                    raw = &raw[count..];
                }
                Part::Over => return Err(hostile("something follows its last file".to_owned())),
            }
        }
    }

    /// Goes on to the next part as often as the present one is over.
    fn settle(&mut self, sink: &mut dyn Sink) -> Result<(), BundleError> {
        loop {
            match &mut self.part {
                Part::Known { bytes, at, then } if *at == bytes.len() => {
                    let then = *then;
                    self.part = match then {
                        Then::Content => {
                            let member = &self.index.members[self.next];
                            sink.begin(member)?;
                            Part::Content { left: member.size, hash: Sha256::new() }
                        }
                        Then::NextMember => self.header()?,
                        Then::Nothing => Part::Over,
                    };
                }
                Part::Content { left: 0, hash } => {
                    let member = &self.index.members[self.next];
                    if format!("{:x}", std::mem::take(hash).finalize()) != member.sha256 {
                        return Err(hostile(format!("{} has another sha256", member.path)));
                    }
                    sink.end()?;
                    self.next += 1;
                    let bytes = vec![0; member.padding() as usize];
                    self.part = Part::Known { bytes, at: 0, then: Then::NextMember };
                }
                _ => return Ok(()),
            }
        }
    }

    fn header(&self) -> Result<Part, BundleError> {
        Ok(match self.index.members.get(self.next) {
            Some(member) => {
                let bytes = member
                    .header()
                    .map_err(|error| hostile(format!("the name {:?}: {error}", member.path)))?;
                Part::Known { bytes, at: 0, then: Then::Content }
            }
            None => Part::Known { bytes: vec![0; TAR_END as usize], at: 0, then: Then::Nothing },
        })
    }

    fn disagreement(&self) -> String {
        match self.index.members.get(self.next) {
            Some(member) => format!(
                "the archive's own entry for {} says something else than the index",
                member.path
            ),
            None => "its archive does not end with its last file".to_owned(),
        }
    }

    fn close(mut self, sink: &mut dyn Sink) -> Result<(), BundleError> {
        self.settle(sink)?;
        match self.part {
            Part::Over => Ok(()),
            _ => Err(hostile("its archive ends too early".to_owned())),
        }
    }
}
