//! What supervisor and worker say to each other: frames of a length (u32, little-endian) and as many
//! bytes of JSON, commands through the worker's stdin, reports through its stdout.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::teacher::{
    GenerateRequest, Generated, Measured, ScoreRequest, Scored, Step, TeacherError,
    TeacherIdentity,
    llama::{
        LlamaOptions,
        bench::{BenchReport, Measure, Workload},
    },
};

/// Longest frame in bytes. A piece of work is cut far below it (see the supervisor); a length beyond
/// it is no length but stray output.
pub(super) const LONGEST: usize = 512 << 20;

/// What the worker is told. `Load` comes first and once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Command {
    Load { path: PathBuf, options: LlamaOptions },
    Measure(Vec<String>),
    Generate(Vec<GenerateRequest>),
    Score(Vec<ScoreRequest>),
    Bench(Workload),
    BenchPrompts(Workload),
}

/// What the worker says. Each command ends with `Loaded`, `Measured`, `Finished`, `Benched`,
/// `BenchPrompts` or `Failed`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    Loaded(TeacherIdentity),
    Measured(Vec<Measured>),
    Generated(Step<Generated>),
    Scored(Step<Scored>),
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
    if length > LONGEST {
        return Err(invalid(format!("a message of {length} bytes is too long")));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    output.write_all(&frame)?;
    output.flush()
}

/// Reads one frame; `None` where the other side closed the pipe between two frames.
pub(super) fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match input.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(torn()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(invalid(format!("a message claims to be {length} bytes long")));
    }
    let mut body = Vec::new();
    input.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(torn());
    }
    serde_json::from_slice(&body).map(Some).map_err(|error| {
        invalid(format!("a message cannot be read: {}", crate::verbosity::json_fault(&error)))
    })
}

fn torn() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the pipe ended in the middle of a message")
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let mut bytes = Vec::new();
        let scored =
            Scored { log_probs: vec![-0.1, f32::MIN], tokens: vec![1, 2], prompt_tokens: 3 };
        write(&mut bytes, &Report::Scored(Step::Done(vec![(7, scored.clone())]))).unwrap();
        write(&mut bytes, &Command::Measure(vec!["größer\n\u{0}".into()])).unwrap();
        let mut input = &bytes[..];
        match read(&mut input).unwrap() {
            Some(Report::Scored(Step::Done(done))) => assert_eq!(done, [(7, scored)]),
            other => panic!("{other:?}"),
        }
        match read(&mut input).unwrap() {
            Some(Command::Measure(prompts)) => assert_eq!(prompts, ["größer\n\u{0}"]),
            other => panic!("{other:?}"),
        }
        assert!(read::<Command>(&mut input).unwrap().is_none());
    }

    #[test]
    fn errors_travel() {
        let mut bytes = Vec::new();
        let error =
            TeacherError::TooLong { id: "0.1.2".into(), needed: 9, limit: 8, model: "m".into() };
        let text = error.to_string();
        write(&mut bytes, &Report::Failed(error)).unwrap();
        match read(&mut &bytes[..]).unwrap() {
            Some(Report::Failed(error)) => assert_eq!(error.to_string(), text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn torn_and_stray_frames_are_named() {
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
