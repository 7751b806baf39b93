//! A teacher's reply, with any count, limit and classes. The first four bytes choose those.
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
    let sound = |text: &str| {
        assert!(complete, "a reply that was cut off was taken");
        assert!(!text.trim().is_empty(), "an empty text was taken");
        assert_eq!(text, text.trim(), "a text has white space around it");
        assert!(text.chars().count() <= longest, "a text is too long");
        assert!(!text.contains(['\n', '\u{fffd}']), "a text is no line");
    };
    if let Ok(texts) = parse_list(reply, count, longest, complete) {
        assert_eq!(texts.len(), count);
        for (place, text) in texts.iter().enumerate() {
            sound(text);
            assert!(!texts[..place].contains(text), "a text was taken twice");
        }
    }
    if let Ok(texts) = parse_labelled_list(reply, names, count, longest, complete) {
        assert_eq!(texts.len(), count);
        for (text, class) in &texts {
            sound(text);
            assert!(*class < names.len(), "a class that was not shown");
            assert!(!text.contains("(class:"), "a text names its class");
        }
    }
});
