//! Rows that arrive one after the other, and what a pipe is taken for.

use std::{
    collections::VecDeque,
    io::{self, Read},
};

use super::{
    super::{Format, Origin, Reader},
    *,
};

/// Gives one chunk at a time, as a client that waits for each answer writes it. To ask for more
/// than there is would block for ever.
struct Chunks(VecDeque<&'static str>);

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let chunk = self.0.pop_front().expect("a read that blocks for ever");
        out[..chunk.len()].copy_from_slice(chunk.as_bytes());
        Ok(chunk.len())
    }
}

fn open<'a>(origin: Origin<'a>, format: Option<Format>) -> Reader<'a> {
    Reader::open("x", origin, &Columns::texts(&[]), format).ok().unwrap()
}

#[test]
fn a_pipe_pauses_before_a_row_that_has_not_arrived() {
    for (chunks, format) in [
        (["one\n", "two\n"], Format::Text),
        (["{\"text\": \"one\"}\n\n", "{\"text\": \"two\"}\n"], Format::Json),
        (["[{\"text\": \"one\"},\n", "{\"text\": \"two\"}]\n"], Format::Json),
        (["[\n{\"text\": \"one\"}", "\n,{\"text\": \"two\"}\n]"], Format::Json),
        (["{\n\"text\": \"one\"\n}\n", "{\"text\": \"two\"}\n"], Format::Json),
        (["text\none\n\n", "two\n"], Format::Csv),
        (["text\r\none\r\n", "two\r\n"], Format::Csv),
        (["text\rone\rtw", "o\r\n"], Format::Csv),
    ] {
        let mut reader = open(Origin::Pipe(Box::new(Chunks(chunks.into()))), Some(format));
        for wanted in ["one", "two"] {
            let text = reader.next_row().ok().unwrap().unwrap().text.unwrap().value;
            assert_eq!(text, wanted, "{chunks:?}");
            assert!(reader.pauses(), "{chunks:?}");
        }
    }
}

#[test]
fn rows_that_have_arrived_are_taken_together() {
    for text in [
        "[{\"text\":\"one\"},{\"text\":\"two\"},{\"text\":\"three\"}]",
        "text\rone\rtwo\rthree\r",
        "one\ntwo\nthree",
    ] {
        let format = (!text.starts_with(['[', 't'])).then_some(Format::Text);
        let format = format.or(text.starts_with('t').then_some(Format::Csv));
        let pipe = open(Origin::Pipe(Box::new(text.as_bytes())), format);
        for (mut reader, is_pipe) in
            [(pipe, true), (open(Origin::Bytes(text.as_bytes()), format), false)]
        {
            let mut pauses = Vec::new();
            while reader.next_row().ok().unwrap().is_some() {
                pauses.push(reader.pauses());
            }
            // A pipe may hold back the end of its last line.
            assert!(pauses.len() == 3 && !pauses[0], "{text} {is_pipe} {pauses:?}");
            assert!(is_pipe || !pauses[1] && !pauses[2], "{text} {pauses:?}");
        }
    }
}

#[test]
fn a_sentence_is_no_header() {
    let texts = |text: &str| -> Vec<String> {
        let mut reader = open(Origin::Pipe(Box::new(text.as_bytes())), None);
        std::iter::from_fn(|| reader.next_row().ok().unwrap())
            .map(|row| row.text.map_or_else(|| "no text".to_owned(), |text| text.value))
            .collect()
    };
    for lines in [
        "I wrote a mail, text, and a letter\nmy card\nthe train\n",
        "I wrote a mail, text, and a letter\nmy, own, card\n",
        "please, text, me\nmy card\n",
        "please, text, me\r\n\r\nmy card\r\n",
        "mail; text\nmy card; it is lost; help\n",
    ] {
        let wanted: Vec<&str> =
            lines.lines().map(|it| if it.is_empty() { "no text" } else { it }).collect();
        assert_eq!(texts(lines), wanted);
    }
    for (table, wanted) in [
        ("text\nmy card\n", &["my card"][..]),
        ("id,text,date of mail\n1,my card,today", &["my card"]),
        ("id,text\r\n\"1\",\"my\r\ncard\"\r\n", &["my\r\ncard"]),
        ("id\ttext\n1\tmy, card\n2\n", &["my, card", "no text"]),
        ("id,text", &[]),
    ] {
        assert_eq!(texts(table), wanted, "{table}");
    }
}

#[test]
fn a_value_of_white_space_alone_is_a_fault() {
    for content in ["[\u{b}", "[{\"text\": \"a\"}, \u{b}\u{b}]", "{\"text\": \"a\"}\n\u{2028}\n"] {
        let rows: Vec<_> = crate::testing::read_rows("x.json", content.as_bytes()).collect();
        assert!(rows.iter().any(Result::is_err) || rows.len() == 1, "{rows:?}");
    }
}
