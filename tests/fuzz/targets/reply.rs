//! A teacher's reply. The first four bytes choose the count, the length limit, the classes and
//! whether the reply is complete.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promptmix::testing::{parse_labelled_list, parse_list};

const NAMES: [&[&str]; 4] =
    [&["lost card", "PIN (new)", "lost"], &["a", "b"], &["", "é", ")"], &["(class: a", "a", "%)"]];

fuzz_target!(|data: &[u8]| {
    let Some((&[count, longest, names, complete], reply)) = data.split_first_chunk() else {
        return;
    };
    let Ok(reply) = std::str::from_utf8(reply) else { return };
    let (count, longest) = (usize::from(count), usize::from(longest) * 4);
    let names = NAMES[usize::from(names) % NAMES.len()];
    let complete = complete & 1 == 1;
    let check = |text: &str| {
        assert!(complete, "an incomplete reply was accepted");
        assert!(!text.trim().is_empty(), "an empty text was accepted");
        assert_eq!(text, text.trim(), "a text has white space around it");
        assert!(text.chars().count() <= longest, "a text is too long");
        assert!(!text.contains(['\n', '\u{fffd}']), "a text is not a single line");
    };
    if let Ok(texts) = parse_list(reply, count, longest, complete) {
        assert_eq!(texts.len(), count);
        for (place, text) in texts.iter().enumerate() {
            check(text);
            assert!(!texts[..place].contains(text), "a text was accepted twice");
        }
    }
    if let Ok(texts) = parse_labelled_list(reply, names, count, longest, complete) {
        assert_eq!(texts.len(), count);
        for (text, class) in &texts {
            check(text);
            assert!(*class < names.len(), "a class that does not exist");
            assert!(!text.contains("(class:"), "a text contains its class");
        }
    }
});
