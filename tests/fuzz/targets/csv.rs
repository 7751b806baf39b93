//! CSV. The first byte chooses: read the bytes as a file, or write rows made of them and read those.
//!
//! Checks, besides panics: rows that were written with any of the separators are read as they were,
//! and no row is both answered and refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promptmix::testing::read_rows;

const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    if choice & 1 == 0 {
        let name = ["x.csv", "x.tsv", "x.txt", "x.json", "x.csv.gz"][usize::from(choice >> 1) % 5];
        for row in read_rows(name, data) {
            match row {
                Ok(text) => assert!(!text.trim().is_empty(), "an empty text was accepted"),
                Err(reason) => assert!(reason.starts_with(name), "{reason}"),
            }
        }
        return;
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let separator = SEPARATORS[usize::from(choice >> 1) % SEPARATORS.len()];
    let end = if choice & 64 == 0 { "\n" } else { "\r\n" };
    let texts: Vec<&str> = text.split('\0').filter(|text| !text.trim().is_empty()).collect();
    let mut file = format!("id{separator}text{end}");
    for (number, text) in texts.iter().enumerate() {
        file += &format!("{number}{separator}{}{end}", quoted(text));
    }
    let found: Result<Vec<String>, String> = read_rows("x.csv", file.as_bytes()).collect();
    let found = found.expect("what was written can be read");
    assert_eq!(found, texts);
});
