//! Reading each format, and the places of faults.

use std::{fs, sync::Arc};

use ::parquet::{
    basic::Compression,
    data_type::{ByteArray, ByteArrayType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::*;
use crate::hint::Hint;

mod exports;
mod pipes;

/// The rows and the faults (as `place: message`) of an embedded file.
fn read(name: &str, bytes: &[u8]) -> (Vec<Row>, Vec<String>) {
    read_columns(name, bytes, &Columns::labelled(&[], None, ColumnSettings::Manifest))
}

fn read_columns(name: &str, bytes: &[u8], columns: &Columns) -> (Vec<Row>, Vec<String>) {
    let source = Source { name: name.to_owned(), bytes: Cow::Borrowed(bytes) };
    let mut faults = Faults::default();
    let rows = labelled(&source, columns, &mut faults);
    let faults = faults.0.iter();
    let faults = faults.map(|fault| format!("{}: {}", fault.place, fault.problem));
    (rows, faults.collect())
}

fn pairs(rows: &[Row]) -> Vec<(&str, &str)> {
    rows.iter().map(|row| (row.text.value.as_str(), row.label.value.as_str())).collect()
}

fn places(row: &Row) -> [(usize, usize); 2] {
    [(row.text.line, row.text.column), (row.label.line, row.label.column)]
}

#[test]
fn csv_gives_values_and_places() {
    let csv = "id,label,text\n1,a,plain\n\n2,b,\"two\nlines, \"\"quoted\"\" 🙂\"\n3,\"c\",é\n";
    for csv in [csv.to_owned(), csv.replace('\n', "\r\n")] {
        let (rows, faults) = read("x.csv", csv.as_bytes());
        assert_eq!(faults, Vec::<String>::new());
        let quoted = rows[1].text.value.replace("\r\n", "\n");
        assert_eq!(quoted, "two\nlines, \"quoted\" 🙂");
        assert_eq!(pairs(&rows)[0], ("plain", "a"));
        assert_eq!(pairs(&rows)[2], ("é", "c"));
        assert_eq!(places(&rows[0]), [(2, 5), (2, 3)]);
        assert_eq!(places(&rows[1]), [(4, 5), (4, 3)]);
        assert_eq!(places(&rows[2]), [(6, 7), (6, 3)]);
    }
}

#[test]
fn csv_without_a_last_line_break_and_with_empty_cells() {
    let (rows, faults) = read("x.csv", b"text,label\n,a\nb,");
    assert_eq!(faults, ["x.csv:2:1: empty text", "x.csv:3:3: empty label in column \"label\""]);
    assert_eq!(rows, []);
    let (rows, _) = read("x.csv", b"text,label\n,a\nb,c");
    assert_eq!(pairs(&rows), [("b", "c")]);
    assert_eq!(places(&rows[0]), [(3, 1), (3, 3)]);
}

#[test]
fn invalid_csv_lines_are_reported_and_the_others_read() {
    let csv = "text,label\nhello, world,a\n\"x\" y,b\nlone\ngood,c\nz,\"open\n1,2\n";
    let (rows, faults) = read("x.csv", csv.as_bytes());
    assert_eq!(
        faults,
        [
            "x.csv:2:1: invalid CSV: 3 fields, but the header line has 2",
            "x.csv:3:4: invalid CSV: text after the closing quote",
            "x.csv:4:1: invalid CSV: 1 field, but the header line has 2",
            "x.csv:6:3: invalid CSV: the quote that opens here is never closed",
        ]
    );
    // Reading goes on behind the line in which the quote opens.
    assert_eq!(pairs(&rows), [("good", "c"), ("1", "2")]);
    // The next quote only seems to close it.
    let csv = "text,label\n\"open, again,a\n\"fine\",b\n\"two\nlines\",c\n";
    let (rows, faults) = read("x.csv", csv.as_bytes());
    assert_eq!(faults, ["x.csv:2:1: invalid CSV: the quote that opens here is never closed"]);
    assert_eq!(pairs(&rows), [("fine", "b"), ("two\nlines", "c")]);
}

#[test]
fn a_missing_column_lists_those_that_exist() {
    let (_, faults) = read("x.csv", b"words,label,id\na,b,1\n");
    assert_eq!(faults, ["x.csv:1:1: no column \"text\""]);
    let missing = |found: &[&str], setting: &'static str| {
        let found = found.iter().map(|name| (*name).to_owned()).collect();
        let column = "text".to_owned();
        Problem::MissingColumn { column, found, setting, in_header: false }.hint().into_owned()
    };
    assert_eq!(
        missing(&["words", "label"], "--text-column"),
        "found \"words\", \"label\"; name the column with --text-column"
    );
    let hint = missing(&["I forgot my password", "vpn"], "text_column under [data]");
    assert!(hint.starts_with("found \"vpn\" and 1 that may be text"), "{hint}");
    assert!(hint.ends_with("name the column with text_column under [data]"), "{hint}");
    let (_, faults) = read("x.jsonl", b"{\"text\": \"a\"}\n  {}\n");
    assert_eq!(
        faults,
        [
            "x.jsonl:1:1: no column \"label\"",
            "x.jsonl:2:3: no column \"text\"",
            "x.jsonl:2:3: no column \"label\"",
        ]
    );
}

#[test]
fn jsonl_gives_values_and_places() {
    let jsonl = "{\"text\": \"caf\\u00e9 \\\"🙂\\\"\", \"label\": \"a\"}\r\n\r\n\
        \t{\"id\": [{\"text\": \":\"}, 1], \"label\" :  \"b{\", \"é\": \"\\\\\", \"text\":\"x\\ny\"}";
    let (rows, faults) = read("x.jsonl", jsonl.as_bytes());
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(pairs(&rows), [("café \"🙂\"", "a"), ("x\ny", "b{")]);
    assert_eq!(places(&rows[0]), [(1, 10), (1, 38)]);
    assert_eq!(places(&rows[1]), [(3, 64), (3, 40)]);
    for row in &rows {
        let line = jsonl.split('\n').nth(row.text.line - 1).unwrap();
        let rest: String = line.chars().skip(row.text.column - 1).collect();
        assert!(rest.starts_with("\"caf") || rest.starts_with("\"x\\ny"));
        let rest: String = line.chars().skip(row.label.column - 1).collect();
        assert!(rest.starts_with("\"a\"}") || rest.starts_with("\"b{\", "));
    }
}

#[test]
fn invalid_json_lines_are_reported_and_the_others_read() {
    let jsonl = "{\"text\": \"é\", \"label\": }\n{\"text\": \"a\", \"label\": \"b\"}\n\
        {\"text\": 5, \"label\": null}\n \"text\"\n{'text': 'a'}\n";
    let (rows, faults) = read("x.jsonl", jsonl.as_bytes());
    assert_eq!(
        faults,
        [
            "x.jsonl:1:24: invalid JSON: expected value",
            "x.jsonl:3:10: text must be a string, found a number",
            "x.jsonl:3:22: label must be a string or a number, found null",
            "x.jsonl:4:2: a row must be a JSON object, found a string",
            "x.jsonl:5:2: invalid JSON: key must be a string",
        ]
    );
    assert_eq!(pairs(&rows), [("a", "b")]);
}

#[test]
fn bytes_that_are_not_utf8_are_reported_with_their_place() {
    let latin = b"text,label\n\xc3\xa9t\xe9,a\n";
    let (_, faults) = read("x.csv", latin);
    assert_eq!(faults, ["x.csv:2:3: not UTF-8: byte 0xe9 at offset 14"]);
    let (_, faults) = read("x.csv", b"\xff\xfe\0\0t\0\0\0");
    assert_eq!(faults, ["x.csv:1:1: the file is in UTF-32"]);
    // Cyrillic in a code page is not taken for a western language.
    let (_, faults) = read("x.csv", b"text,label\n\xcf\xf0\xe8\xe2\xe5\xf2,a\n");
    assert_eq!(faults, ["x.csv:2:1: not UTF-8: byte 0xcf at offset 11"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    let (rows, faults) = read("x.csv", b"\xef\xbb\xbftext,label\na,b\n,b\n");
    assert_eq!(faults, ["x.csv:3:1: empty text"]);
    assert_eq!(pairs(&rows), [("a", "b")]);
    let (rows, _) = read("x.jsonl", b"\xef\xbb\xbf{\"text\": \"a\", \"label\": \"b\"}");
    assert_eq!(pairs(&rows), [("a", "b")]);
}

#[test]
fn empty_files_and_unknown_extensions_are_faults() {
    let empty = |name: &str| format!("{name}: the file contains no texts");
    assert_eq!(read("x.csv", b"").1, [empty("x.csv")]);
    assert_eq!(read("x.csv", b"text,label\n").1, [empty("x.csv")]);
    assert_eq!(read("x.jsonl", b" \r\n").1, [empty("x.jsonl")]);
    assert_eq!(read("x.parquet", b"").1, [empty("x.parquet")]);
    for name in ["x.doc", "x", "x.txt"] {
        let (_, faults) = read(name, b"a");
        assert_eq!(faults, [format!("{name}: the format of {name:?} is not supported")]);
    }
}

/// Writes a number column, labels (`None`: null) and texts, two rows per row group.
fn parquet(path: &Path, schema: &str, rows: &[(&[u8], Option<&str>)], compression: Compression) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for rows in rows.chunks(2) {
        let mut group = writer.next_row_group().unwrap();
        let ids: Vec<i64> = (0..rows.len() as i64).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let labels: Vec<ByteArray> =
            rows.iter().filter_map(|row| row.1.map(ByteArray::from)).collect();
        let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.1.is_some())).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&labels, Some(&levels), None).unwrap();
        column.close().unwrap();
        let texts: Vec<ByteArray> = rows.iter().map(|row| row.0.to_vec().into()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

const STRINGS: &str =
    "message m { required int64 id; optional binary label (UTF8); required binary text (UTF8); }";
const BYTES: &str = "message m { required int64 id; optional binary label; required binary text; }";

#[test]
fn parquet_gives_values_and_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let rows: [(&[u8], _); 3] = [
        ("first".as_bytes(), Some("a")),
        ("é 🙂\nb".as_bytes(), Some("b")),
        ("third".as_bytes(), Some("a")),
    ];
    let packed = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(Default::default()),
        Compression::GZIP(Default::default()),
    ];
    for compression in packed {
        for schema in [STRINGS, BYTES] {
            parquet(&path, schema, &rows, compression);
            let rows = read_labelled(&path).unwrap();
            assert_eq!(pairs(&rows), [("first", "a"), ("é 🙂\nb", "b"), ("third", "a")]);
            assert_eq!(places(&rows[2]), [(3, 3), (3, 2)]);
        }
    }
    let texts = read_texts(&path).unwrap();
    assert_eq!(texts[1].value, "é 🙂\nb");
}

#[test]
fn parquet_faults_name_row_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let name = path.display().to_string();
    let rows: [(&[u8], _); 3] = [(b"", Some("a")), (b"x", None), (b"caf\xe9", Some("a"))];
    parquet(&path, BYTES, &rows, Compression::UNCOMPRESSED);
    let error = |text: &str, label: &str| {
        let columns = Columns::labelled(&[text.to_owned()], Some(label), ColumnSettings::Flags);
        super::read(&path, |source, faults| labelled(source, &columns, faults)).unwrap_err()
    };
    let message = |text: &str, label: &str| error(text, label).to_string();
    let places = |message: String| -> Vec<String> {
        message.lines().map(|line| line.replace(&name, "x.parquet")).collect()
    };
    assert_eq!(
        places(message("text", "label")),
        [
            "x.parquet:1:3: empty text",
            "x.parquet:2:2: label must be a string or a number, found null",
            "x.parquet:3:3: not UTF-8: byte 0xe9 at offset 3",
        ]
    );
    let missing = error("body", "label");
    assert!(missing.to_string().contains("x.parquet: no column \"body\""));
    let hint = missing.hint().unwrap();
    assert!(hint.starts_with("found \"id\", \"label\", \"text\""), "{hint}");
    assert_eq!(
        places(message("id", "label"))[0],
        "x.parquet:1:1: id must be a string, found a number"
    );
}

#[test]
fn a_truncated_parquet_file_is_a_fault_wherever_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let rows: [(&[u8], _); 2] = [(b"one", Some("a")), (b"two", Some("b"))];
    parquet(&path, STRINGS, &rows, Compression::SNAPPY);
    let whole = fs::read(&path).unwrap();
    for length in 1..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = read_labelled(&path).unwrap_err().to_string();
        assert!(error.contains("x.parquet: invalid Parquet: "), "{length}: {error}");
    }
}

#[test]
fn plain_text_is_read_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.txt");
    fs::write(&path, "first, \"line\"\r\n🙂\nlast").unwrap();
    let texts = read_texts(&path).unwrap();
    let values: Vec<&str> = texts.iter().map(|cell| cell.value.as_str()).collect();
    assert_eq!(values, ["first, \"line\"", "🙂", "last"]);
    fs::write(&path, "a\n\nb\n").unwrap();
    let error = read_texts(&path).unwrap_err().to_string();
    assert!(error.contains("x.txt:2:1: empty text"));
    fs::write(&path, "").unwrap();
    let error = read_texts(&path).unwrap_err().to_string();
    assert!(error.contains("x.txt: the file contains no texts"));
    let error = read_texts(&folder.path().join("y.txt")).unwrap_err();
    assert!(error.to_string().contains("y.txt: no such file"));
}

#[test]
fn texts_are_read_from_a_column_without_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    fs::write(&path, "body\n\"a, b\"\nc\n").unwrap();
    let texts = read_texts(&path).unwrap();
    assert_eq!(texts[0].value, "a, b");
    assert_eq!((texts[1].line, texts[1].column), (3, 1));
}

#[test]
fn places_count_characters() {
    let lines = Lines::of("é🙂x\n\ny");
    assert_eq!(lines.place(0), (1, 1));
    assert_eq!(lines.place(2), (1, 2));
    assert_eq!(lines.place(6), (1, 3));
    assert_eq!(lines.place(8), (2, 1));
    assert_eq!(lines.place(9), (3, 1));
    assert_eq!(lines.place(10), (3, 2));
}
