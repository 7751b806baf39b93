//! A model file's header, GGUF or safetensors, as its first bytes say.
//!
//! Beside panics: what our check lets pass, the `safetensors` crate takes too, and the numbers that a
//! sound header gives fit into the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promptmix::testing::{Header, check_bytes, safetensors};

fuzz_target!(|data: &[u8]| {
    match check_bytes(data) {
        Ok(Header::Gguf(header)) => {
            assert!(header.tensors * 33 <= data.len(), "more tensors than there is room for");
            assert!(
                header.vocabulary.len() * 8 <= data.len(),
                "more tokens than there is room for"
            );
            // At least a block of 18 bytes for 128 elements.
            assert!(header.elements / 8 <= data.len() as u64, "more elements than bytes allow");
            let _ = (header.vocabulary.bos(), header.vocabulary.eos(), header.vocabulary.control());
        }
        Ok(Header::Safetensors(header)) => {
            assert!(header.elements / 2 <= data.len() as u64, "more elements than bytes allow");
            let other = ::safetensors::SafeTensors::deserialize(data);
            let other = other.expect("what we let pass, the parser takes");
            assert_eq!(other.len(), header.tensors);
        }
        Err(fault) => assert!(!fault.message.is_empty() && !fault.hint.is_empty()),
    }
    let _ = safetensors::check(data);
});
