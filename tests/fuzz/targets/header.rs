//! A model file's header, GGUF or safetensors, depending on its first bytes.
//!
//! Checks, besides panics: the `safetensors` crate accepts every header that our check accepts, and
//! the counts in an accepted header fit into the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promptmix::testing::{Header, check_bytes, safetensors};

fuzz_target!(|data: &[u8]| {
    match check_bytes(data) {
        Ok(Header::Gguf(header)) => {
            assert!(header.tensors * 33 <= data.len(), "more tensors than fit into the file");
            assert!(
                header.vocabulary.len() * 8 <= data.len(),
                "more tokens than fit into the file"
            );
            // The densest block type needs 18 bytes for 128 elements.
            assert!(header.elements / 8 <= data.len() as u64, "more elements than bytes allow");
            let _ = (header.vocabulary.bos(), header.vocabulary.eos(), header.vocabulary.control());
        }
        Ok(Header::Safetensors(header)) => {
            assert!(header.elements / 2 <= data.len() as u64, "more elements than bytes allow");
            let other = ::safetensors::SafeTensors::deserialize(data);
            let other = other.expect("the parser accepts what our check accepts");
            assert_eq!(other.len(), header.tensors);
        }
        Err(fault) => assert!(!fault.message.is_empty() && !fault.hint.is_empty()),
    }
    let _ = safetensors::check(data);
});
