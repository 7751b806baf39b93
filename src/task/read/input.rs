//! From the bytes of a file or a pipe to lines and JSON values in UTF-8, in constant memory.
//!
//! Unpacks gzip and converts what spreadsheets write: UTF-8 and UTF-16 with a byte-order mark,
//! UTF-16 without one, Windows-1252. What it had to guess stands in [`Input::notes`].

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read},
};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};
use flate2::bufread::MultiGzDecoder;

use super::super::{
    fault::{Fault, Place, Problem},
    limits::MAX_ROW,
};

/// Bytes that are read ahead: the capacity of a pipe.
const AHEAD: usize = 64 << 10;

type Bytes<'a> = Box<dyn Read + Send + 'a>;

/// A line with its line break, or one value of a JSON array.
pub(super) struct Part {
    pub text: String,
    /// Where it starts, both from 1.
    pub place: (usize, usize),
    /// Why it cannot be used, and where.
    pub fault: Option<Fault>,
}

pub(super) struct Input<'a> {
    pub name: String,
    /// What was guessed about the bytes, such as "UTF-16".
    pub notes: Vec<String>,
    bytes: BufReader<Bytes<'a>>,
    /// Line and column of the next byte, both from 1.
    place: (usize, usize),
    /// Bytes read so far.
    offset: usize,
    /// Lines that were given back.
    queue: VecDeque<Part>,
}

impl<'a> Input<'a> {
    /// # Errors
    /// The bytes cannot be read, or are in an encoding that is not supported.
    pub(super) fn new(name: &str, bytes: impl Read + Send + 'a) -> Result<Self, Fault> {
        let mut input = Self {
            name: name.to_owned(),
            notes: Vec::new(),
            bytes: BufReader::with_capacity(AHEAD, Box::new(bytes)),
            place: (1, 1),
            offset: 0,
            queue: VecDeque::new(),
        };
        if input.ahead()?.starts_with(b"\x1f\x8b") {
            input.replace(|bytes| Box::new(MultiGzDecoder::new(bytes)));
        }
        match mark(input.ahead()?) {
            Some(Mark::Utf8) => {
                input.bytes.consume(3);
                input.offset = 3;
            }
            Some(Mark::Utf32) => {
                return Err(input.fault((1, 1), Problem::Utf32));
            }
            None => {
                if let Some(encoding) = guess(input.ahead()?) {
                    input.notes.push(encoding.name().replace("windows", "Windows"));
                    input.replace(|bytes| Box::new(Utf8::new(bytes, encoding)));
                }
            }
        }
        Ok(input)
    }

    fn replace(&mut self, make: impl FnOnce(BufReader<Bytes<'a>>) -> Bytes<'a>) {
        let empty = BufReader::with_capacity(0, Box::new(io::empty()) as Bytes<'a>);
        let bytes = std::mem::replace(&mut self.bytes, empty);
        self.bytes = BufReader::with_capacity(AHEAD, make(bytes));
    }

    /// The next bytes without consuming them; empty at the end.
    pub(super) fn ahead(&mut self) -> Result<&[u8], Fault> {
        match self.bytes.fill_buf() {
            Ok(_) => Ok(self.bytes.buffer()),
            Err(error) => {
                let (path, message) = (self.name.clone(), error.to_string());
                Err(self.fault((0, 0), Problem::Unreadable { path, message }))
            }
        }
    }

    /// The bytes that are at hand without blocking; `None` if a whole line is.
    pub(super) fn at_hand(&self) -> Option<&[u8]> {
        self.queue.is_empty().then(|| self.bytes.buffer())
    }

    pub(super) fn fault(&self, place: (usize, usize), problem: Problem) -> Fault {
        Fault { place: Place::new(&self.name, place), problem }
    }

    /// The lines `lines` are read again next.
    pub(super) fn give_back(&mut self, lines: impl DoubleEndedIterator<Item = Part>) {
        lines.rev().for_each(|line| self.queue.push_front(line));
    }

    /// The next line with its line break; `None` at the end. With `lone_cr`, a carriage return
    /// without a line feed ends a line, too. Of a line longer than [`MAX_ROW`] only the fault is
    /// kept.
    pub(super) fn line(&mut self, lone_cr: bool) -> Result<Option<Part>, Fault> {
        if let Some(line) = self.queue.pop_front() {
            return Ok(Some(line));
        }
        let mut line = Collected::at(self.place, self.offset);
        loop {
            let ahead = self.ahead()?;
            let feed = ahead.first() == Some(&b'\n');
            if ahead.is_empty() || (line.last == b'\r' && !feed && lone_cr) {
                break;
            }
            let end = |byte: &u8| *byte == b'\n' || (lone_cr && *byte == b'\r');
            let taken = ahead.iter().position(end).map_or(ahead.len(), |at| at + 1);
            line.add(&ahead[..taken]);
            self.bytes.consume(taken);
            if line.last == b'\n' {
                break;
            }
        }
        self.offset += line.length;
        if line.length == 0 {
            return Ok(None);
        }
        let part = self.part(line);
        self.place = (self.place.0 + 1, 1);
        Ok(Some(part))
    }

    /// The next value of a JSON array or of a sequence of JSON values: everything up to the comma,
    /// the white space or the bracket after it. `None` at the closing bracket or the end of the
    /// file.
    pub(super) fn json_value(&mut self) -> Result<Option<Part>, Fault> {
        let start = loop {
            match self.ahead()?.first() {
                None | Some(b']') => return Ok(None),
                Some(b',') => self.skip(),
                Some(byte) if byte.is_ascii_whitespace() => self.skip(),
                Some(_) => break self.place,
            }
        };
        let mut value = Collected::at(start, self.offset);
        let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
        while let Some(&byte) = self.ahead()?.first() {
            let ends = byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}');
            if depth == 0 && !quoted && ends {
                break;
            }
            value.add(&[byte]);
            self.skip();
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'{' | b'[' if !quoted => depth += 1,
                b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && !quoted && matches!(byte, b'}' | b']' | b'"') {
                break;
            }
        }
        // A stray closing brace is a value of its own: it must not be met for ever.
        if value.length == 0 {
            value.add(b"}");
            self.skip();
        }
        Ok(Some(self.part(value)))
    }

    /// The next byte that is not white space, which is consumed.
    pub(super) fn symbol(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            let Some(&byte) = self.ahead()?.first() else { return Ok(None) };
            self.skip();
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
        }
    }

    /// The place of the next byte.
    pub(super) fn here(&self) -> (usize, usize) {
        self.place
    }

    /// Consumes a byte that was seen with [`Self::ahead`].
    fn skip(&mut self) {
        match self.bytes.buffer().first() {
            Some(b'\n') => self.place = (self.place.0 + 1, 1),
            // Columns count characters: the further bytes of one do not count.
            Some(byte) if byte & 0xc0 == 0x80 => {}
            _ => self.place.1 += 1,
        }
        self.bytes.consume(1);
        self.offset += 1;
    }

    fn part(&self, collected: Collected) -> Part {
        let Collected { bytes, place, offset, length, .. } = collected;
        if length > MAX_ROW {
            let fault = Some(self.fault(place, Problem::RowTooLong));
            return Part { text: String::new(), place, fault };
        }
        match String::from_utf8(bytes) {
            Ok(text) => Part { text, place, fault: None },
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let bytes = error.as_bytes();
                let before = String::from_utf8_lossy(&bytes[..valid]);
                let (line, column) = super::Lines::of(&before).place(valid);
                let column = if line == 1 { place.1 + column - 1 } else { column };
                let problem = Problem::NotUtf8 { byte: bytes[valid], offset: offset + valid };
                let fault = Some(self.fault((place.0 + line - 1, column), problem));
                Part { text: String::from_utf8_lossy(bytes).into_owned(), place, fault }
            }
        }
    }
}

/// The bytes of a part, of which at most [`MAX_ROW`] are kept.
struct Collected {
    bytes: Vec<u8>,
    place: (usize, usize),
    offset: usize,
    length: usize,
    last: u8,
}

impl Collected {
    fn at(place: (usize, usize), offset: usize) -> Self {
        Self { bytes: Vec::new(), place, offset, length: 0, last: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.last = bytes.last().copied().unwrap_or(self.last);
        if self.length <= MAX_ROW {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

enum Mark {
    Utf8,
    Utf32,
}

/// A byte-order mark other than those of UTF-16, which [`guess`] knows.
fn mark(bytes: &[u8]) -> Option<Mark> {
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => Some(Mark::Utf8),
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some(Mark::Utf32),
        _ => None,
    }
}

/// The encoding of a file that starts with `bytes`; `None` for UTF-8.
fn guess(bytes: &[u8]) -> Option<&'static Encoding> {
    match bytes {
        [0xff, 0xfe, ..] => return Some(UTF_16LE),
        [0xfe, 0xff, ..] => return Some(UTF_16BE),
        _ => {}
    }
    // Half of the bytes of most texts in UTF-16 are zero; UTF-8 has none.
    let zeros = |from: usize| bytes.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let many = bytes.len() / 5;
    match (even, odd) {
        (0, 0) => is_windows_1252(bytes).then_some(WINDOWS_1252),
        _ if bytes.len() >= 4 && odd > many && even * 8 < odd => Some(UTF_16LE),
        _ if bytes.len() >= 4 && even > many && odd * 8 < even => Some(UTF_16BE),
        _ => None,
    }
}

/// Whether `bytes` have accented letters, none of which is UTF-8, as in a western language: few,
/// and none of the five bytes that Windows-1252 leaves open.
fn is_windows_1252(bytes: &[u8]) -> bool {
    let high = bytes.iter().filter(|byte| !byte.is_ascii()).count();
    let letters = bytes.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let open = |byte: &u8| [0x81, 0x8d, 0x8f, 0x90, 0x9d].contains(byte);
    high > 0
        && high * 4 < letters
        && !bytes.iter().any(open)
        && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_some())
        && bytes.utf8_chunks().all(|chunk| chunk.valid().is_ascii())
}

/// Converts to UTF-8.
struct Utf8<R> {
    bytes: R,
    decoder: Decoder,
    text: Vec<u8>,
    /// Bytes of `text` that were returned.
    returned: usize,
    over: bool,
}

impl<R: BufRead> Utf8<R> {
    fn new(bytes: R, encoding: &'static Encoding) -> Self {
        let (decoder, text) = (encoding.new_decoder_with_bom_removal(), Vec::new());
        Self { bytes, decoder, text, returned: 0, over: false }
    }

    fn decode(&mut self) -> io::Result<()> {
        let bytes = self.bytes.fill_buf()?;
        self.over = bytes.is_empty();
        self.text.resize(AHEAD, 0);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.text, self.over);
        self.bytes.consume(read);
        self.text.truncate(written);
        self.returned = 0;
        if let DecoderResult::Malformed(..) = result {
            let message = format!("it is not valid {}", self.decoder.encoding().name());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.over &= result == DecoderResult::InputEmpty;
        Ok(())
    }
}

impl<R: BufRead> Read for Utf8<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.returned == self.text.len() && !self.over {
            self.decode()?;
        }
        let taken = (self.text.len() - self.returned).min(out.len());
        out[..taken].copy_from_slice(&self.text[self.returned..self.returned + taken]);
        self.returned += taken;
        Ok(taken)
    }
}
