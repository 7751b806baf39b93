//! Files as spreadsheets, libraries and attackers write them.

use super::*;

/// The rows of the task of the next tests, whatever the file is called and however it is written.
const TWO: [(&str, &str); 2] = [("the café; \"late\"", "a"), ("second", "b")];

#[test]
fn files_as_spreadsheets_and_libraries_write_them_are_read() {
    let csv = "text,label\n\"the café; \"\"late\"\"\",a\nsecond,b\n";
    let semicolons = csv.replace(",a", ";a").replace(",b", ";b").replace("text,", "text;");
    let quoted = csv.replace("text,label", "\"text\",\"label\"");
    let quoted_semicolons = semicolons.replace("text;label", "\"text\";\"label\"");
    let quoted_tabs = "\"text\"\t\"label\"\n\"the café; \"\"late\"\"\"\t\"a\"\n\"second\"\t\"b\"\n";
    let row_names = "\"\";\"text\";\"label\"\r\n\"1\";\"the café; \"\"late\"\"\";\"a\"\r\n\"2\";\"second\";\"b\"\r\n";
    let tabs = semicolons.replace("t;label", "t\tlabel").replace(";a", "\ta").replace(";b", "\tb");
    let spaced = csv.replace(",label", ", label").replace(",a", ", a").replace(",b", ", b");
    let headers = csv.replace("text,label", " Text ,LABEL");
    let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    };
    let latin: Vec<u8> = csv.chars().map(|c| c as u32 as u8).collect();
    let gzip = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        std::io::Write::write_all(&mut packed, bytes).unwrap();
        packed.finish().unwrap()
    };
    let objects = TWO.map(|(text, label)| serde_json::json!({"text": text, "label": label}));
    let pretty = serde_json::to_string_pretty(&objects).unwrap();
    let lines = objects.each_ref().map(ToString::to_string).join("\n");
    let blocks = objects.each_ref().map(|it| serde_json::to_string_pretty(it).unwrap()).join("\n");
    let bytes = |text: &str| text.as_bytes().to_vec();
    for (name, bytes) in [
        ("x.csv", bytes(csv)),
        ("x.csv", bytes(&csv.replace('\n', "\r"))),
        ("x.csv", bytes(&format!("\u{feff}{semicolons}"))),
        ("x.csv", bytes(&format!("sep=;\r\n{semicolons}"))),
        ("x.csv", bytes(&tabs)),
        ("x.csv", bytes(&spaced)),
        ("x.csv", bytes(&headers)),
        ("x.csv", bytes(&format!("{csv},\n,\n"))),
        ("x.csv", bytes(&quoted)),
        ("x.csv", bytes(&format!("\u{feff}{quoted_semicolons}"))),
        ("x.csv", bytes(&format!("\"sep=;\"\r\n{quoted_semicolons}"))),
        ("x.csv", bytes(&quoted_tabs.replace('\t', "|"))),
        ("x.csv", bytes(quoted_tabs)),
        ("x.tsv", bytes(quoted_tabs)),
        ("x.txt", bytes(quoted_tabs)),
        ("x.csv", bytes(row_names)),
        ("x.csv.gz", gzip(row_names.as_bytes())),
        ("x.csv", row_names.chars().map(|c| c as u32 as u8).collect()),
        ("x.csv", utf16(row_names, u16::to_le_bytes)),
        ("x.tsv", bytes(&tabs)),
        ("x.txt", bytes(&tabs)),
        ("export", bytes(csv)),
        ("x.csv", latin),
        ("x.csv", utf16(&format!("\u{feff}{csv}"), u16::to_le_bytes)),
        ("x.csv", utf16(&format!("\u{feff}{semicolons}"), u16::to_be_bytes)),
        ("x.txt", utf16(&tabs, u16::to_le_bytes)),
        ("x.csv", utf16(csv, u16::to_be_bytes)),
        ("x.csv.gz", gzip(csv.as_bytes())),
        ("x.csv", gzip(&utf16(&format!("\u{feff}{csv}"), u16::to_le_bytes))),
        ("x.json", bytes(&pretty)),
        ("x.jsonl", bytes(&pretty)),
        ("x.json", bytes(&serde_json::to_string(&objects).unwrap())),
        ("x.json", bytes(&lines)),
        ("x.ndjson", bytes(&lines)),
        ("x.csv", bytes(&lines)),
        ("x.json", bytes(&blocks)),
        ("x.jsonl.gz", gzip(lines.as_bytes())),
    ] {
        let (rows, faults) = read(name, &bytes);
        assert_eq!(faults, Vec::<String>::new(), "{name} {bytes:?}");
        assert_eq!(pairs(&rows), TWO, "{name} {bytes:?}");
    }
}

#[test]
fn quoted_names_of_columns_may_hold_separators_quotes_and_line_breaks() {
    for (header, separator) in [
        ("\"id, number\",\"text\",\"label\"", ","),
        ("\"id; number\";\"text\";\"label\"", ";"),
        ("\"id;\nnumber\";text;\"label\"", ";"),
        ("\"the \"\"id\"\"\"\ttext\t\"label\"", "\t"),
        ("id, \"text\", \"label\"", ", "),
        ("\"a, b\", \"text\", \"label\"", ", "),
        ("size 5\",text,label", ","),
        ("\"x\",\"text\",\"label\"", ","),
        // Another separator takes the second quote for one that opens a name.
        ("a;\"b,text,label", ","),
    ] {
        let quoted = format!("1{separator}\"two\nlines, \"\"q\"\"; x\"{separator}\"a\"");
        let csv = format!("{header}\n{quoted}\n2{separator}plain{separator}b\n");
        for csv in [csv.clone(), format!("\u{feff}{csv}"), csv.replace('\n', "\r\n")] {
            let (rows, faults) = read("x.csv", csv.as_bytes());
            assert_eq!(faults, Vec::<String>::new(), "{csv}");
            assert_eq!(rows[0].text.value.replace('\r', ""), "two\nlines, \"q\"; x", "{csv}");
            assert_eq!((&*rows[1].text.value, &*rows[1].label.value), ("plain", "b"), "{csv}");
        }
    }
}

#[test]
fn a_header_that_no_separator_splits_is_a_fault_of_the_first() {
    for (header, fault) in [
        ("\"text\" x,label", "x.csv:1:7: invalid CSV: text after the closing quote"),
        ("text,\"label", "x.csv:1:6: invalid CSV: the quote that opens here is never closed"),
        ("\"text,label", "x.csv:1:1: invalid CSV: the quote that opens here is never closed"),
    ] {
        let csv = format!("{header}\na,b\n");
        assert_eq!(read("x.csv", csv.as_bytes()).1, [fault], "{header}");
    }
}

#[test]
fn what_was_guessed_is_told() {
    let note = |name: &str, bytes: &[u8], columns: &Columns| {
        let mut reader = Reader::open(name, Origin::Bytes(bytes), columns, None).ok().unwrap();
        while let Ok(Some(_)) = reader.next_row() {}
        reader.note()
    };
    let labelled = Columns::labelled(&[], None, ColumnSettings::Flags);
    let told = |name: &str, text: &str| note(name, text.as_bytes(), &labelled);
    assert_eq!(told("x.csv", "\u{feff}text,label\na,b\n"), None);
    assert_eq!(told("x.csv", "text;label\na;b\n").unwrap(), "x.csv: separated by \";\"");
    assert_eq!(
        told("x.csv", "id\tBetreff\tNachricht\tKategorie\n1\ta\tb\tc\n").unwrap(),
        "x.csv: separated by tabs, text from \"Betreff\" and \"Nachricht\", label from \"Kategorie\""
    );
    assert_eq!(
        told("x.csv", "{\"text\": \"a\", \"intent\": 1}").unwrap(),
        "x.csv: read as JSON, label from \"intent\""
    );
    assert_eq!(
        told("x.csv", "feedback,class\na,b\n").unwrap(),
        "x.csv: text from \"feedback\", label from \"class\""
    );
    assert_eq!(
        note("x.csv", b"text,label\ncaf\xe9,b\n", &labelled).unwrap(),
        "x.csv: Windows-1252"
    );
    let texts = Columns::texts(&[]);
    assert_eq!(note("x.txt", b"[the] card\n{my} card\n", &texts), None);
    assert_eq!(note("x.txt", b"id,text\n1,a\n", &texts).unwrap(), "x.txt: read as CSV");
}

#[test]
fn texts_of_several_columns_are_joined_by_a_blank_line() {
    let columns = Columns::labelled(
        &["Subject".to_owned(), "body".to_owned()],
        Some("label"),
        ColumnSettings::Flags,
    );
    let csv = "subject,label,body\nCard,a,It is lost\n,b,Only a body\nOnly a subject,c, \n,d,\n";
    let (rows, faults) = read_columns("x.csv", csv.as_bytes(), &columns);
    assert_eq!(faults, ["x.csv:5:1: empty text"]);
    assert_eq!(
        pairs(&rows),
        [("Card\n\nIt is lost", "a"), ("Only a body", "b"), ("Only a subject", "c")]
    );
    let jsonl = "{\"Subject\": \"Card\", \"body\": \"lost\", \"label\": \"a\"}\n\
        {\"body\": \"no subject\", \"label\": \"b\"}\n{\"Subject\": null, \"label\": \"c\"}\n";
    let (rows, faults) = read_columns("x.jsonl", jsonl.as_bytes(), &columns);
    assert_eq!(faults, ["x.jsonl:3:13: empty text"]);
    assert_eq!(pairs(&rows), [("Card\n\nlost", "a"), ("no subject", "b")]);
}

#[test]
fn a_column_that_occurs_twice_is_a_fault() {
    let fault = |name: &str, text: &str| read(name, text.as_bytes()).1;
    let twice = |place: &str| vec![format!("{place}: more than one column \"text\"")];
    assert_eq!(fault("x.csv", "text,label,text\na,b,c\n"), twice("x.csv:1:1"));
    let jsonl = "{\"text\": \"a\", \"label\": \"b\", \"text\": \"c\"}\n";
    assert_eq!(fault("x.jsonl", jsonl), twice("x.jsonl:1:37"));
    // Spellings that look alike are as good as the same name; other columns may repeat.
    for (header, fault) in [
        ("Text,label,TEXT", "more than one column \"text\": \"Text\", \"TEXT\""),
        ("text,label,Text ", "more than one column \"text\": \"text\", \"Text \""),
        ("text,label,Label", "more than one column \"label\": \"label\", \"Label\""),
        (
            "subject,Subject,body,label",
            "more than one column \"subject\": \"subject\", \"Subject\"",
        ),
    ] {
        let row = vec!["a"; header.split(',').count()].join(",");
        let (rows, faults) = read("x.csv", format!("{header}\n{row}\n").as_bytes());
        assert_eq!((rows.len(), faults), (0, vec![format!("x.csv:1:1: {fault}")]), "{header}");
    }
    let jsonl = b"{\"text\": \"a\", \"Label\": \"b\", \"label\": \"c\"}";
    let wanted = "x.jsonl:1:1: more than one column \"label\": \"Label\", \"label\"";
    assert_eq!(read("x.jsonl", jsonl).1, [wanted]);
    assert_eq!(read("x.csv", b"text,label,x,x,X\na,b,1,2,3\n").1, Vec::<String>::new());
    // One that the user names as it is spelled is meant.
    let named = ["Text".to_owned()];
    let columns = Columns::labelled(&named, Some("label"), ColumnSettings::Flags);
    let (rows, faults) = read_columns("x.csv", b"text,Text,Label,label\na,b,c,d\n", &columns);
    assert_eq!((pairs(&rows), faults.len()), (vec![("b", "d")], 0));
}

#[test]
fn labels_that_are_empty_are_faults_with_their_place() {
    let faults = |name: &str, text: &str| read(name, text.as_bytes()).1;
    let csv = "text,intent\nhello,a\nwhat now,\nwhy,\" \"\n";
    let empty = "empty label in column \"intent\"";
    assert_eq!(
        faults("x.csv", csv),
        [format!("x.csv:3:10: {empty}"), format!("x.csv:4:5: {empty}")]
    );
    let jsonl = "{\"text\": \"a\", \"intent\": \"\"}\n";
    assert_eq!(faults("x.jsonl", jsonl), [format!("x.jsonl:1:25: {empty}")]);
}

#[test]
fn a_file_without_a_header_line_is_told_from_one_with_other_names() {
    let columns = Columns::labelled(&[], None, ColumnSettings::Flags);
    let mut faults = Faults::default();
    let source = Source { name: "x.csv".to_owned(), bytes: b"hello there,a\nwhat now,b\n".into() };
    labelled(&source, &columns, &mut faults);
    let hint = faults.0[0].problem.hint().into_owned();
    assert!(hint.contains("add a header line if the file has none"), "{hint}");
    assert!(!hint.contains("hello"), "{hint}");
}

#[test]
fn fasttext_is_read_with_one_label_per_text() {
    let text = "__label__a hello there \n__label__two words, not one\n__label__a __label__b x\nnone\n__label__a\n";
    let (rows, faults) = read("train.txt", text.as_bytes());
    assert_eq!(pairs(&rows), [("hello there", "a"), ("words, not one", "two")]);
    assert_eq!((rows[1].text.column, rows[1].label.column), (14, 10));
    assert_eq!(
        faults,
        [
            "train.txt:3:10: the text has 2 labels",
            "train.txt:4:1: no column \"label\"",
            "train.txt:5:1: empty text"
        ]
    );
}

#[test]
fn csv_in_a_file_that_is_called_json_is_read_as_csv() {
    let (rows, faults) = read("x.jsonl", b"text,label\na,b\n");
    assert_eq!((pairs(&rows), faults.len()), (vec![("a", "b")], 0));
}

#[test]
fn numbers_and_booleans_are_labels_with_one_spelling() {
    let labels = |name: &str, text: &str| -> Vec<String> {
        let (rows, faults) = read(name, text.as_bytes());
        assert_eq!(faults, Vec::<String>::new());
        rows.into_iter().map(|row| row.label.value).collect()
    };
    assert_eq!(labels("x.csv", "text,label\na,1\nb,1.0\nc,0.5\n"), ["1", "1", "0.5"]);
    let jsonl = "{\"text\":\"a\",\"label\":2}\n{\"text\":\"b\",\"label\":2.0}\n\
        {\"text\":\"c\",\"label\":true}\n{\"text\":\"d\",\"label\":\"-3.00\"}\n";
    assert_eq!(labels("x.jsonl", jsonl), ["2", "2", "true", "-3"]);
}

#[test]
fn damaged_json_arrays_are_faults() {
    for (text, wanted) in [
        (
            "[{\"text\": \"a\", \"label\": \"b\"}",
            "x.json:1:1: invalid JSON: the array that opens here is never closed",
        ),
        (
            "[{\"text\": \"a\", \"label\": \"b\"}] x",
            "x.json:1:31: invalid JSON: text after the end of the array",
        ),
        ("[\n{\"text\": \"a\",\n \"label\": }]", "x.json:3:11: invalid JSON: expected value"),
        (
            "[{\"text\": \"a\", \"label\": \"b\"}, 5, }]",
            "x.json:1:31: a row must be a JSON object, found a number",
        ),
    ] {
        let (_, faults) = read("x.json", text.as_bytes());
        assert_eq!(faults[0], wanted, "{text}");
    }
}

#[test]
fn rows_and_texts_have_a_longest_length() {
    let columns = Columns::texts(&[]);
    let faults = |name: &str, bytes: &[u8]| -> Vec<String> {
        let mut reader = Reader::open(name, Origin::Bytes(bytes), &columns, None).ok().unwrap();
        let mut found = Vec::new();
        while let Some(row) = reader.next_row().ok().unwrap() {
            let fault = row.faults.first();
            found.push(fault.map_or_else(|| "read".to_owned(), |it| it.problem.to_string()));
        }
        found
    };
    let row = "a".repeat(crate::task::limits::MAX_ROW + 1);
    let text = "a".repeat(crate::task::limits::MAX_TEXT + 1);
    let long = ["read", "the row is longer than 16 MiB", "the text is longer than 1 MiB", "read"];
    let lines = format!("one\n{row}\n{text}\nlast\n");
    assert_eq!(faults("x.txt", lines.as_bytes()), long);
    let csv = format!("text\none\n\"{row}\"\n\"{text}\"\nlast\n");
    assert_eq!(faults("x.csv", csv.as_bytes()), long);
    let object = |text: &str| format!("{{\"text\": \"{text}\"}}");
    let jsonl = ["one", &row, &text, "last"].map(object).join("\n");
    assert_eq!(faults("x.jsonl", jsonl.as_bytes()), long);
    assert_eq!(faults("x.json", format!("[{}]", jsonl.replace('\n', ",")).as_bytes()), long);
}

#[test]
fn the_rows_and_faults_of_a_file_are_bounded() {
    let csv = format!("text,label\n{}", "a,b\n".repeat(crate::task::limits::MAX_ROWS + 1));
    let (_, faults) = read("x.csv", csv.as_bytes());
    assert_eq!(faults, ["x.csv:1000002:1: the file has more than 1000000 rows"]);
    let csv = format!("text,label\n{}", "a\n".repeat(5000));
    assert_eq!(read("x.csv", csv.as_bytes()).1.len(), crate::task::limits::MAX_FAULTS);
}

#[test]
fn a_file_of_open_quotes_takes_linear_time() {
    let begun = std::time::Instant::now();
    let quotes = format!("text,label\n\"\"\"\n{}", "\"\"\n".repeat(400_000));
    let (_, faults) = read("x.csv", quotes.as_bytes());
    assert!(faults[0].starts_with("x.csv:2:1: "), "{}", faults[0]);
    let fields = format!("text,label\n{}\n", ",".repeat(4_000_000));
    assert_eq!(read("x.csv", fields.as_bytes()).1.len(), 1);
    // Quadratic time would be half an hour; a busy machine is no fault.
    assert!(begun.elapsed().as_secs() < 120);
}

#[test]
fn class_names_come_from_the_metadata_of_hugging_face() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let schema = "message m { required int64 label; required binary text (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let features =
        r#"{"info": {"features": {"label": {"names": ["zero", "one"], "_type": "ClassLabel"}}}}"#;
    let pair =
        ::parquet::file::metadata::KeyValue::new("huggingface".to_owned(), features.to_owned());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![pair])).build();
    let file = fs::File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[1, 0, -1], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let texts = ["a", "b", "c"].map(ByteArray::from);
    column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let (rows, faults) = read("x.parquet", &fs::read(&path).unwrap());
    assert_eq!(pairs(&rows), [("a", "one"), ("b", "zero")]);
    assert_eq!(faults, ["x.parquet:3:1: -1 is not the number of a class"]);
}

#[test]
fn a_parquet_file_cannot_claim_or_unpack_to_more_than_fits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let rows: [(&[u8], _); 2] = [(b"one", Some("a")), (b"two", Some("b"))];
    parquet(&path, STRINGS, &rows, Compression::ZSTD(Default::default()));
    let whole = fs::read(&path).unwrap();
    // Every byte in turn: no panic, no hang, no memory.
    for at in 0..whole.len() {
        for value in [0, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = read("x.parquet", &damaged);
        }
    }
    let text = vec![b'a'; 200 << 20];
    parquet(&path, STRINGS, &[(&text, Some("a"))], Compression::ZSTD(Default::default()));
    let (_, faults) = read("x.parquet", &fs::read(&path).unwrap());
    assert_eq!(
        faults,
        ["x.parquet: invalid Parquet: row group 1: a page unpacks to more than 128 MiB"]
    );
}
