use super::*;
use crate::model_file::{Header, check_bytes};

/// The parts of a GGUF, put together by [`TestGguf::bytes`].
struct TestGguf {
    version: u32,
    pairs: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    /// False numbers of tensors and keys.
    counts: (Option<u64>, Option<u64>),
    alignment: usize,
    data: usize,
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key.as_bytes())[..], &kind.to_le_bytes(), value].concat()
}

fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
}

fn tensor(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut out = text(name.as_bytes());
    out.extend((shape.len() as u32).to_le_bytes());
    shape.iter().for_each(|size| out.extend(size.to_le_bytes()));
    out.extend(kind.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}

impl TestGguf {
    /// A valid file with two small tensors.
    fn new() -> Self {
        Self {
            version: 3,
            pairs: vec![pair("general.architecture", kind::STRING, &text(b"llama"))],
            tensors: vec![tensor("a", &[3, 2], 0, 0), tensor("b", &[32, 2], 2, 32)],
            counts: (None, None),
            alignment: 32,
            data: 32 + 36,
        }
    }

    fn with(key: &str, kind: u32, value: &[u8]) -> Self {
        let mut gguf = Self::new();
        gguf.pairs.push(pair(key, kind, value));
        gguf
    }

    fn with_tensors(tensors: Vec<Vec<u8>>, data: usize) -> Self {
        Self { tensors, data, ..Self::new() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.counts.0.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.counts.1.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        out.extend(self.pairs.concat());
        out.extend(self.tensors.concat());
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.resize(out.len() + self.data, 7);
        out
    }

    fn read(&self) -> Result<Gguf, String> {
        match check_bytes(&self.bytes()) {
            Ok(Header::Gguf(header)) => Ok(*header),
            Ok(Header::Safetensors(_)) => panic!("it was taken for safetensors"),
            Err(fault) => Err(fault.message),
        }
    }

    #[track_caller]
    fn refused(&self, why: &str) {
        let message = self.read().expect_err(why);
        assert!(message.contains(why), "wanted {why:?}, got {message:?}");
    }
}

fn strings(texts: &[&[u8]]) -> Vec<u8> {
    array(
        kind::STRING,
        texts.len() as u64,
        &texts.iter().flat_map(|t| text(t)).collect::<Vec<u8>>(),
    )
}

#[test]
fn a_valid_header_is_read() {
    let mut gguf = TestGguf::with("llama.context_length", kind::UINT32, &1024u32.to_le_bytes());
    gguf.pairs.push(pair("bert.context_length", kind::UINT32, &9u32.to_le_bytes()));
    gguf.pairs.push(pair("general.name", kind::STRING, &text("Löwe".as_bytes())));
    gguf.pairs.push(pair("tokenizer.chat_template", kind::STRING, &text(b"{{ a }}")));
    gguf.pairs.push(pair(
        "nested",
        kind::ARRAY,
        &array(kind::ARRAY, 1, &array(kind::BOOL, 1, &[1])),
    ));
    let tokens: [&[u8]; 5] = [b"", b"<s>", b"</s>", b"<0x0A>", b"\xff\xfe"];
    gguf.pairs.push(pair("tokenizer.ggml.model", kind::STRING, &text(b"llama")));
    gguf.pairs.push(pair("tokenizer.ggml.tokens", kind::ARRAY, &strings(&tokens)));
    let types = [2i32, 3, 3, 6, 1].map(i32::to_le_bytes).concat();
    gguf.pairs.push(pair("tokenizer.ggml.token_type", kind::ARRAY, &array(kind::INT32, 5, &types)));
    gguf.pairs.push(pair("tokenizer.ggml.bos_token_id", kind::UINT32, &1u32.to_le_bytes()));
    gguf.pairs.push(pair("tokenizer.ggml.eos_token_id", kind::UINT32, &2u32.to_le_bytes()));
    let header = gguf.read().unwrap();
    assert_eq!((header.version, header.tensors, header.elements), (3, 2, 6 + 64));
    assert_eq!(header.architecture.as_deref(), Some("llama"));
    assert_eq!(header.name.as_deref(), Some("Löwe"));
    assert_eq!(header.context_length, Some(1024));
    assert_eq!(header.chat_template.as_deref(), Some("{{ a }}"));
    assert_eq!((header.vocabulary.bos(), header.vocabulary.eos()), ("<s>".into(), "</s>".into()));
    assert_eq!(header.vocabulary.control(), ["<s>", "</s>"]);
    assert_eq!(header.vocabulary.len(), 5);
    assert_eq!(TestGguf { version: 2, ..TestGguf::new() }.read().unwrap().version, 2);
}

#[test]
fn unknown_versions_are_refused() {
    TestGguf { version: 1, ..TestGguf::new() }.refused("first version");
    TestGguf { version: 0, ..TestGguf::new() }.refused("version 0");
    TestGguf { version: 4, ..TestGguf::new() }.refused("version 4");
    TestGguf { version: 3u32.swap_bytes(), ..TestGguf::new() }.refused("big-endian");
}

#[test]
fn counts_are_compared_with_the_file() {
    for huge in [u64::MAX, 1 << 63, (1 << 60) + 1, 1 << 40, 20] {
        TestGguf { counts: (Some(huge), None), ..TestGguf::new() }.refused("number of tensors");
        TestGguf { counts: (None, Some(huge)), ..TestGguf::new() }.refused("number of keys");
        let wide = array(kind::UINT64, huge, &[0; 8]);
        TestGguf::with("a", kind::ARRAY, &array(kind::ARRAY, huge, &wide)).refused("elements of a");
        TestGguf::with("a", kind::ARRAY, &array(kind::STRING, huge.max(1000), &[]))
            .refused("elements of a");
    }
    // 2^61 elements of 8 bytes wrap to 0 bytes.
    TestGguf::with("a", kind::ARRAY, &array(kind::UINT64, 1 << 61, &[])).refused("elements of a");
    for huge in [u64::MAX, 1 << 63, MAX_STRING_BYTES + 1] {
        TestGguf::with("a", kind::STRING, &huge.to_le_bytes()).refused(" bytes long; at most");
        TestGguf::with(
            "tokenizer.ggml.tokens",
            kind::ARRAY,
            &array(kind::STRING, 1, &huge.to_le_bytes()),
        )
        .refused("a token is ");
    }
    TestGguf::with("a", kind::STRING, &1_000u64.to_le_bytes()).refused("the length of a is ");
    TestGguf::with("a", kind::ARRAY, &array(kind::STRING, 1, &u64::MAX.to_le_bytes()))
        .refused("the length of a string in a");
    let many = array(kind::STRING, (1 << 22) + 1, &[0; 64]);
    TestGguf::with("tokenizer.ggml.tokens", kind::ARRAY, &many).refused("at most");
    // A key of u64::MAX bytes.
    let mut gguf = TestGguf::new();
    gguf.pairs.push(u64::MAX.to_le_bytes().to_vec());
    gguf.refused("a key is ");
}

#[test]
fn keys_are_texts_and_unique() {
    TestGguf::with("general.architecture", kind::UINT8, &[1]).refused("wrong type");
    TestGguf::with("general.architecture", kind::STRING, &text(b"x")).refused("occurs twice");
    TestGguf::with("", kind::UINT8, &[1]).refused("a key is empty");
    // C would end the name at the zero and read another key.
    TestGguf::with("general.alignment\0", kind::UINT32, &[0; 4]).refused("a key is empty");
    let mut gguf = TestGguf::new();
    gguf.pairs.push([&text(b"\xff\xfe")[..], &kind::UINT8.to_le_bytes(), &[1]].concat());
    gguf.refused("not text");
    TestGguf::with(&"k".repeat(65_536), kind::UINT8, &[1]).refused("at most 65535");
    assert!(TestGguf::with(&"k".repeat(65_535), kind::UINT8, &[1]).read().is_ok());
}

#[test]
fn values_have_known_types() {
    TestGguf::with("a", 13, &[0; 8]).refused("unknown type 13");
    TestGguf::with("a", u32::MAX, &[0; 8]).refused("unknown type");
    TestGguf::with("a", kind::ARRAY, &array(13, 1, &[0; 8]))
        .refused("array of the unknown type 13");
    TestGguf::with("a", kind::BOOL, &[2]).refused("neither true nor false");
    TestGguf::with("a", kind::ARRAY, &array(kind::BOOL, 3, &[0, 1, 9]))
        .refused("neither true nor false");
    let nested = |depth| {
        (0..depth).fold(vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], |inner, _| {
            array(kind::ARRAY, 1, &inner)
        })
    };
    assert!(TestGguf::with("a", kind::ARRAY, &nested(3)).read().is_ok());
    TestGguf::with("a", kind::ARRAY, &nested(4)).refused("nests arrays");
    TestGguf::with("general.name", kind::STRING, &text(b"\xff")).refused("wrong type");
    TestGguf::with("llama.block_count", kind::UINT32, &513u32.to_le_bytes()).refused("at most 512");
    let long = text(&vec![b'x'; MAX_TEMPLATE_BYTES + 1]);
    TestGguf::with("tokenizer.chat_template", kind::STRING, &long).refused("chat template");
}

#[test]
fn the_alignment_is_a_small_power_of_two() {
    let with = |alignment: u32| {
        TestGguf::with("general.alignment", kind::UINT32, &alignment.to_le_bytes())
    };
    for alignment in [0, 1, 4, 24, 33, 1 << 21, 1 << 31] {
        with(alignment).refused("its alignment is");
    }
    TestGguf::with("general.alignment", kind::UINT64, &32u64.to_le_bytes()).refused("wrong type");
    let sound = TestGguf {
        alignment: 8,
        tensors: vec![tensor("a", &[3], 0, 0), tensor("b", &[1], 0, 16)],
        data: 20,
        ..with(8)
    };
    assert!(sound.read().is_ok());
    TestGguf { alignment: 64, ..with(64) }.refused("b is not aligned");
}

#[test]
fn tensor_names_are_short_and_unique() {
    let named = |name: &str| TestGguf::with_tensors(vec![tensor(name, &[1], 0, 0)], 4);
    assert!(named(&"n".repeat(63)).read().is_ok());
    named(&"n".repeat(64)).refused("at most 63");
    named("").refused("name is empty");
    named("a\0b").refused("name is empty");
    let twice = vec![tensor("a", &[1], 0, 0), tensor("a", &[1], 0, 32)];
    TestGguf::with_tensors(twice, 36).refused("occurs twice");
    TestGguf::with_tensors(Vec::new(), 0).refused("no tensors");
}

#[test]
fn shapes_do_not_overflow() {
    let shaped = |shape: &[u64], kind| TestGguf::with_tensors(vec![tensor("a", shape, kind, 0)], 4);
    TestGguf::with_tensors(vec![tensor("a", &[], 0, 0)], 64).refused("has 0 dimensions");
    shaped(&[1, 1, 1, 1, 1], 0).refused("has 5 dimensions");
    assert!(shaped(&[1, 1, 1, 1], 0).read().is_ok());
    shaped(&[0], 0).refused("dimension of 0");
    shaped(&[4, 0], 0).refused("dimension of 0");
    shaped(&[1 << 63], 24).refused("dimension of");
    shaped(&[1 << 32, 1 << 32], 24).refused("dimension of");
    // Wraps to a negative number of elements in signed arithmetic (llama.cpp issue 27203).
    shaped(&[i64::MAX as u64, 2], 24).refused("dimension of 2");
    // 2^64 - 16 bytes, which padding rounds to 0 (llama.cpp issue 26978).
    shaped(&[4, 1_073_741_823, 1_073_741_825], 0).refused("more bytes than can be counted");
    // 2^42 + 1 rows, as in llama.cpp pull request 18674.
    shaped(&[1152, (1 << 42) + 1], 8).refused("does not lie inside");
    shaped(&[33], 2).refused("not whole blocks of 32");
    shaped(&[128], 12).refused("not whole blocks of 256");
    for kind in [4, 5, 31, 36, 38, 43, u32::MAX] {
        shaped(&[256], kind).refused("unknown type");
    }
}

#[test]
fn tensors_follow_each_other_inside_the_file() {
    let at = |second| {
        TestGguf::with_tensors(vec![tensor("a", &[16], 0, 0), tensor("b", &[16], 0, second)], 128)
    };
    assert!(at(64).read().is_ok());
    at(32).refused("b overlaps another");
    at(0).refused("b overlaps another");
    at(65).refused("b is not aligned");
    at(96).refused("b leaves a hole");
    at(1 << 40).refused("b leaves a hole");
    at(u64::MAX - 31).refused("b leaves a hole");
    TestGguf::with_tensors(vec![tensor("a", &[16], 0, 64)], 128).refused("a leaves a hole");
    TestGguf { data: 127, ..at(64) }.refused("cut short");
    TestGguf { data: 129, ..at(64) }.refused("bytes follow the last tensor");
    // The last one may be padded or not.
    let odd = |data| TestGguf::with_tensors(vec![tensor("a", &[3], 0, 0)], data);
    assert!(odd(12).read().is_ok() && odd(32).read().is_ok());
    odd(33).refused("bytes follow");
    odd(11).refused("cut short");
    // Sizes that add up to 2^64 (CVE-2025-53630).
    let half = vec![tensor("a", &[1 << 60], 27, 0), tensor("b", &[1 << 60], 27, 1 << 63)];
    TestGguf::with_tensors(half, 64).refused("can be counted");
    let large = vec![tensor("a", &[1 << 40], 24, 0)];
    TestGguf::with_tensors(large, 64).refused("a does not lie inside");
}

fn vocabulary(model: &str, tokens: &[&[u8]]) -> TestGguf {
    let mut gguf = TestGguf::with("tokenizer.ggml.model", kind::STRING, &text(model.as_bytes()));
    gguf.pairs.push(pair("tokenizer.ggml.tokens", kind::ARRAY, &strings(tokens)));
    gguf
}

#[test]
fn the_parts_of_a_vocabulary_match() {
    let four: [&[u8]; 4] = [b"a", b"b", b"c", b"<0x0G>"];
    assert!(vocabulary("llama", &four).read().is_ok());
    vocabulary("llama", &four[..3]).refused("at least 4");
    vocabulary("gpt2", &four).refused("at least 12");
    vocabulary("llama", &[b"a", b"b", b"c", b"a"]).refused("occurs twice");
    let with = |key: &str, kind, count: u64, bytes: &[u8]| {
        let mut gguf = vocabulary("llama", &four);
        gguf.pairs.push(pair(
            &format!("tokenizer.ggml.{key}"),
            kind::ARRAY,
            &array(kind, count, bytes),
        ));
        gguf
    };
    assert!(with("scores", kind::FLOAT32, 4, &[0; 16]).read().is_ok());
    with("scores", kind::FLOAT32, 3, &[0; 12]).refused("3 scores for 4 tokens");
    // One byte each, where llama.cpp reads four (llama.cpp pull request 26690).
    with("scores", kind::UINT8, 4, &[0; 4]).refused("wrong type");
    with("token_type", kind::UINT8, 4, &[0; 4]).refused("wrong type");
    with("token_type", kind::INT32, 2, &[0; 8]).refused("2 types for 4 tokens");
    // Byte tokens: `<0x-1>` caused a write before a buffer (llama.cpp issue 27226).
    let types = [1i32, 1, 1, 6].map(i32::to_le_bytes).concat();
    with("token_type", kind::INT32, 4, &types).refused("is not a byte");
    TestGguf::with("tokenizer.ggml.tokens", kind::ARRAY, &array(kind::UINT8, 4, &[0; 4]))
        .refused("wrong type");
    TestGguf::with("tokenizer.ggml.bos_token_id", kind::STRING, &text(b"x")).refused("wrong type");
}

#[test]
fn a_file_of_a_split_model_may_hold_only_metadata() {
    let part = |number: u16, count: u16| {
        let mut gguf = TestGguf::with("split.no", kind::UINT16, &number.to_le_bytes());
        gguf.pairs.push(pair("split.count", kind::UINT16, &count.to_le_bytes()));
        gguf.tensors.clear();
        gguf.data = 0;
        gguf
    };
    let split = part(0, 3).read().unwrap().split.unwrap();
    let parts = split.parts(Path::new("/m/x-00001-of-00003.gguf")).unwrap();
    assert_eq!(parts[2], Path::new("/m/x-00003-of-00003.gguf"));
    assert_eq!(split.parts(Path::new("/m/x.gguf")), None);
    assert_eq!(part(1, 3).read().unwrap().split.unwrap().parts(&parts[0]), None);
    part(3, 3).refused("part 3 of 3");
    part(0, 1001).refused("at most 1000");
    part(0, 1).refused("no tensors");
}
