//! The protocol between supervisor and worker: commands on the worker's stdin, reports on its
//! stdout. A message is a frame: a length (u32, little-endian) and that many bytes of JSON.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[cfg(all(target_os = "linux", feature = "remote"))]
use crate::teacher::remote::RemoteOptions;
use crate::teacher::{
    EngineEvent, GenerateRequest, Generated, Measured, ScoreRequest, Scored, TeacherError,
    TeacherIdentity,
    llama::{
        LlamaOptions,
        bench::{BenchReport, Measure, Workload},
    },
};

/// Maximum length of a frame in bytes. The supervisor keeps work items far below it; a larger
/// length is stray output, not a frame.
const MAX_FRAME_BYTES: usize = 512 << 20;

/// What the supervisor sends to the worker: `Load` or `LoadRemote` first and exactly once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Command {
    Load {
        path: PathBuf,
        options: LlamaOptions,
    },
    /// The same for an engine behind addresses.
    #[cfg(all(target_os = "linux", feature = "remote"))]
    LoadRemote {
        path: PathBuf,
        options: RemoteOptions,
    },
    Measure(Vec<String>),
    Generate(Vec<GenerateRequest>),
    Score(Vec<ScoreRequest>),
    Bench(Workload),
    BenchPrompts(Workload),
}

/// What the worker sends to the supervisor. The last report of each command is `Loaded`,
/// `Measured`, `Finished`, `Benched`, `BenchPrompts` or `Failed`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    Loaded(TeacherIdentity),
    Measured(Vec<Measured>),
    Generated(EngineEvent<Generated>),
    Scored(EngineEvent<Scored>),
    Measure(Measure),
    Benched(Box<BenchReport>),
    BenchPrompts(Vec<Vec<i32>>),
    Finished,
    Failed(TeacherError),
}

/// Writes one frame and flushes it.
pub(super) fn write(output: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME_BYTES {
        return Err(invalid(format!("a message of {length} bytes is too long")));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    output.write_all(&frame)?;
    output.flush()
}

/// Reads one frame; `None` if the other side closed the pipe between two frames.
pub(super) fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match input.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(truncated()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(invalid(format!("a message claims to be {length} bytes long")));
    }
    let mut body = Vec::new();
    input.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(truncated());
    }
    serde_json::from_slice(&body).map(Some).map_err(|error| {
        invalid(format!("a message cannot be read: {}", crate::verbosity::json_fault(&error)))
    })
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the pipe ended in the middle of a message")
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;

    #[test]
    fn frames_survive_the_round_trip() {
        let mut bytes = Vec::new();
        let scored =
            Scored { log_probs: vec![-0.1, f32::MIN], tokens: vec![1, 2], prompt_tokens: 3 };
        write(&mut bytes, &Report::Scored(EngineEvent::Done(vec![(7, scored.clone())]))).unwrap();
        write(&mut bytes, &Command::Measure(vec!["größer\n\u{0}".into()])).unwrap();
        let mut input = &bytes[..];
        match read(&mut input).unwrap() {
            Some(Report::Scored(EngineEvent::Done(done))) => assert_eq!(done, [(7, scored)]),
            other => panic!("{other:?}"),
        }
        match read(&mut input).unwrap() {
            Some(Command::Measure(prompts)) => assert_eq!(prompts, ["größer\n\u{0}"]),
            other => panic!("{other:?}"),
        }
        assert!(read::<Command>(&mut input).unwrap().is_none());
    }

    #[test]
    fn errors_survive_the_round_trip_with_their_hints() {
        for error in [
            TeacherError::TooLong { id: "0.1.2".into(), needed: 9, limit: 8, model: "m".into() },
            TeacherError::Unsound { message: "bad".into(), hint: Some("fetch it".into()) },
            TeacherError::Worker { message: "ended".into(), hint: "try again".into() },
        ] {
            let (message, hint) = (error.to_string(), error.hint().unwrap().into_owned());
            let mut bytes = Vec::new();
            write(&mut bytes, &Report::Failed(error)).unwrap();
            match read(&mut &bytes[..]).unwrap() {
                Some(Report::Failed(error)) => {
                    assert_eq!(error.to_string(), message);
                    assert_eq!(error.hint().unwrap(), hint);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn truncated_and_stray_frames_are_errors() {
        let mut bytes = Vec::new();
        write(&mut bytes, &Report::Finished).unwrap();
        for end in 1..bytes.len() {
            let error = read::<Report>(&mut &bytes[..end]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}");
        }
        let message = |bytes: &[u8]| read::<Report>(&mut &bytes[..]).unwrap_err().to_string();
        assert!(message(b"llama_model_load: error").contains("claims to be"));
        assert!(message(b"\x02\0\0\0xx").contains("cannot be read"));
    }
}
