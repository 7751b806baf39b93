//! A chat template from a model file, which is untrusted code, and a user's text after a zero byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promptmix::testing::ChatTemplate;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (source, user) = text.split_once('\0').unwrap_or((text, "hello"));
    let control = vec!["<|end|>".to_owned()];
    if let Ok(template) = ChatTemplate::new(source.into(), "<s>".into(), "</s>".into(), control) {
        if let Ok(prompt) = template.render(user) {
            assert!(prompt.len() <= (1 << 21) + 16 * user.len(), "a prompt over the limit");
        }
        let _ = template.differs_from_known();
    }
});
