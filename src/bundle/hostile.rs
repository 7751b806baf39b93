//! Bundles as an attacker or a broken disk would make them. Most bundles with a false index have a
//! valid signature, since that must not be enough.

use ed25519_dalek::SigningKey;
use serde_json::Value;

use super::{
    BundleError, Destinations, SEGMENT_BYTES, Trust, import,
    index::{FORMAT, Index, Kind, Member, ModelEntry, Segment, TAR_END},
    inspect,
    write::{Writer, frame, sealed},
};
use crate::{hint::Hint, models::Role};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn member(path: &str, content: &[u8]) -> Member {
    Member {
        path: path.to_owned(),
        kind: Kind::Note,
        mode: "0644".to_owned(),
        size: content.len() as u64,
        sha256: crate::hash::of_bytes(content),
    }
}

/// The tar of `members`, even of those with a name that is refused.
fn tar(members: &[(Member, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (member, content) in members {
        bytes.extend(member.header().unwrap_or_else(|_| vec![0; 512]));
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len() + member.padding() as usize, 0);
    }
    bytes.resize(bytes.len() + TAR_END as usize, 0);
    bytes
}

/// A bundle of these frames, each with the number of tar bytes that it claims; `tamper` falsifies
/// the index before it is signed.
fn signed(
    members: Vec<Member>,
    frames: &[(Vec<u8>, u64)],
    tamper: impl FnOnce(&mut Index),
) -> Vec<u8> {
    let mut segments = Vec::new();
    let mut bytes = Vec::new();
    for (frame, raw) in frames {
        let (offset, length) = (bytes.len() as u64, frame.len() as u64);
        segments.push(Segment { offset, length, raw: *raw, sha256: crate::hash::of_bytes(frame) });
        bytes.extend_from_slice(frame);
    }
    let mut index = Index {
        format: FORMAT.to_owned(),
        created_by: "somebody".to_owned(),
        built_for: String::new(),
        models: Vec::new(),
        members,
        segments,
    };
    tamper(&mut index);
    bytes.extend(index.signed(&key()).unwrap());
    bytes
}

/// A bundle of these members in one frame.
fn plain(members: &[(Member, &[u8])], tamper: impl FnOnce(&mut Index)) -> Vec<u8> {
    let tar = tar(members);
    let frames = [(frame(&tar, 3).unwrap(), tar.len() as u64)];
    signed(members.iter().map(|(member, _)| member.clone()).collect(), &frames, tamper)
}

fn two() -> [(Member, &'static [u8]); 2] {
    [(member("a.txt", b"first"), b"first"), (member("b/c.txt", b"second"), b"second")]
}

/// The message with which a signed bundle is refused.
fn refusal(bytes: &[u8]) -> String {
    match inspect(bytes) {
        Err(BundleError::Hostile { what }) => what,
        other => panic!("{other:?}"),
    }
}

/// A bundle as the program creates it: small members, and a large one of several segments.
fn honest() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    // Incompressible, like weights.
    let mut state = 1u64;
    let weights: Vec<u8> = (0..SEGMENT_BYTES + 300_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let mut add = |path: &str, kind, content: &[u8]| {
        writer.add((path, kind, false), content.len() as u64, content, &mut |_| {}).unwrap();
    };
    add("README.md", Kind::Note, b"read me");
    add("models/teacher/x/x.gguf", Kind::Model, &weights);
    add("empty", Kind::Note, b"");
    add(&format!("{}/long", "folder/".repeat(30)).replace("//", "/"), Kind::Source, b"deep down");
    let files = vec![("x.gguf".to_owned(), "models/teacher/x/x.gguf".to_owned())];
    let model =
        ModelEntry { role: Role::Teacher, name: "x".to_owned(), licence: "MIT".to_owned(), files };
    writer.finish(vec![model], String::new(), &key()).unwrap().0
}

#[test]
fn honest_bundles_pass() {
    let summary = inspect(&plain(&two(), |_| {})).unwrap();
    assert_eq!((summary.members, summary.unpacked), (2, 11));
    let summary = inspect(&honest()).unwrap();
    assert_eq!(summary.members, 4);
    assert_eq!(summary.models[0].bytes, SEGMENT_BYTES as u64 + 300_000);
    assert_eq!(honest(), honest());
}

#[test]
fn other_programs_unpack_the_same() {
    let bytes = honest();
    // zstd skips the footer.
    let tar = zstd::stream::decode_all(bytes.as_slice()).unwrap();
    let mut archive = tar::Archive::new(tar.as_slice());
    let names: Vec<(String, u64)> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
            (entry.path().unwrap().to_str().unwrap().to_owned(), entry.size())
        })
        .collect();
    assert_eq!(names.len(), 4);
    assert_eq!(names[1], ("models/teacher/x/x.gguf".to_owned(), SEGMENT_BYTES as u64 + 300_000));
    assert_eq!(names[3].1, 9);
    assert!(names[3].0.ends_with("folder/long") && names[3].0.len() > 200);
}

#[test]
fn an_unsafe_name_is_refused() {
    for path in
        ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:evil", "nul", "evil\0.txt"]
    {
        let what = refusal(&plain(&[(member(path, b"x"), b"x")], |_| {}));
        assert!(what.contains("the name"), "{path}: {what}");
    }
}

#[test]
fn duplicate_and_clashing_names_are_refused() {
    for (one, other) in [("a", "a"), ("a/b", "A/b"), ("a", "a/b")] {
        let members = [(member(one, b"1"), &b"1"[..]), (member(other, b"2"), &b"2"[..])];
        assert!(refusal(&plain(&members, |_| {})).contains("the name"));
    }
}

#[test]
fn an_entry_that_is_not_a_regular_file_is_refused() {
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Char,
        tar::EntryType::Directory,
    ] {
        let member = member("a.txt", b"");
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("a.txt").unwrap();
        header.set_link_name("/etc/passwd").unwrap();
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(bytes.len() + TAR_END as usize, 0);
        let frames = [(frame(&bytes, 3).unwrap(), bytes.len() as u64)];
        let what = refusal(&signed(vec![member], &frames, |_| {}));
        assert!(what.contains("a.txt differs from the index"), "{what}");
    }
}

#[test]
fn an_entry_that_differs_from_the_index_is_refused() {
    let message = |tamper: fn(&mut Index)| refusal(&plain(&two(), tamper));
    assert!(message(|index| index.members[1].path = "b/d.txt".to_owned()).contains("b/d.txt"));
    assert!(message(|index| index.members[0].mode = "0755".to_owned()).contains("a.txt"));
    assert!(message(|index| index.members[0].mode = "4755".to_owned()).contains("mode"));
    assert!(message(|index| index.members[0].size = 6).contains("a.txt"));
    assert!(
        message(|index| index.members[0].sha256 = crate::hash::of_bytes(b"other"))
            .contains("a.txt has another sha256")
    );
    assert!(message(|index| index.members[0].sha256.clear()).contains("a.txt has no sha256"));
    assert!(message(|index| index.members.swap(0, 1)).contains("b/c.txt"));
    assert!(message(|index| drop(index.members.pop())).contains("its members"));
    assert!(
        message(|index| index.members[0].size = u64::MAX).contains("larger than can be counted")
    );
    assert!(message(|index| index.members[0].size = 1 << 40).contains("its members"));
    assert!(message(|index| index.format = "promptmix-bundle-9".to_owned()).contains("format"));
}

#[test]
fn data_after_the_last_file_is_refused() {
    let mut bytes = tar(&two());
    let length = bytes.len();
    bytes[length - 1] = 1;
    let frames = [(frame(&bytes, 3).unwrap(), length as u64)];
    let members = two().map(|(member, _)| member).to_vec();
    assert!(refusal(&signed(members, &frames, |_| {})).contains("does not end with its last file"));
}

#[test]
fn bombs_are_refused() {
    let honest = tar(&two());
    let size = honest.len() as u64;
    let members = || two().map(|(member, _)| member).to_vec();
    let bomb = frame(&vec![0; 200 << 20], 3).unwrap();
    let what = refusal(&signed(members(), &[(bomb.clone(), size)], |_| {}));
    assert!(what.contains("states another size"), "{what}");
    // The header of the frame claims the same false size as the index, in four bytes.
    let mut liar = bomb;
    assert_eq!(liar[4] >> 6, 2, "the size does not have four bytes");
    let at = if liar[4] & 0x20 == 0 { 6 } else { 5 };
    liar[at..at + 4].copy_from_slice(&(size as u32).to_le_bytes());
    let what = refusal(&signed(members(), &[(liar, size)], |_| {}));
    assert!(what.contains("decompress"), "{what}");
    // No size at all.
    let mut silent = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    std::io::Write::write_all(&mut silent, &honest).unwrap();
    let silent = silent.finish().unwrap();
    let what = refusal(&signed(members(), &[(silent, size)], |_| {}));
    assert!(what.contains("states another size"), "{what}");
    // Two frames in one segment.
    let double = [frame(&honest, 3).unwrap(), frame(b"more", 3).unwrap()].concat();
    assert!(refusal(&signed(members(), &[(double, size)], |_| {})).contains("not one frame"));
    // The sizes are true, but the content is a bomb.
    let zeros = vec![0; SEGMENT_BYTES];
    let packed = frame(&zeros, 3).unwrap();
    let big = Member { size: 100 * SEGMENT_BYTES as u64, ..member("zeros", b"") };
    let mut frames = vec![(packed, SEGMENT_BYTES as u64); 100];
    frames.push((frame(&[0; 1536], 3).unwrap(), 1536));
    assert!(refusal(&signed(vec![big], &frames, |_| {})).contains("bomb"));
}

#[test]
fn segments_that_do_not_tile_the_file_are_refused() {
    let tar = tar(&two());
    let (one, other) = tar.split_at(1024);
    let frames = [(frame(one, 3).unwrap(), 1024), (frame(other, 3).unwrap(), other.len() as u64)];
    let members = || two().map(|(member, _)| member).to_vec();
    assert!(inspect(&signed(members(), &frames, |_| {})).is_ok());
    let message = |tamper: fn(&mut Index)| refusal(&signed(members(), &frames, tamper));
    assert!(message(|index| index.segments[1].offset -= 1).contains("segment 1 begins"));
    assert!(message(|index| index.segments[1].offset = 0).contains("segment 1 begins"));
    assert!(message(|index| index.segments[0].offset = u64::MAX).contains("segment 0 begins"));
    assert!(message(|index| index.segments[1].length += 1).contains("end at byte"));
    assert!(message(|index| index.segments[1].length = u64::MAX).contains("segment 1 has"));
    assert!(message(|index| index.segments[1].raw = u64::MAX).contains("segment 1 claims"));
    assert!(message(|index| index.segments[1].raw += 512).contains("its members"));
    assert!(message(|index| drop(index.segments.pop())).contains("end at byte"));
    assert!(message(|index| index.segments.swap(0, 1)).contains("begins"));
    // The frames are swapped, and so are their entries in the index.
    let swapped = [frames[1].clone(), frames[0].clone()];
    assert!(refusal(&signed(members(), &swapped, |_| {})).contains("a.txt"));
}

#[test]
fn models_with_invalid_files_are_refused() {
    let model = |name: &str, file: &str, path: &str| ModelEntry {
        role: Role::Teacher,
        name: name.to_owned(),
        licence: String::new(),
        files: vec![(file.to_owned(), path.to_owned())],
    };
    for bad in [
        model("x", "x.gguf", "b/c.txt"),
        model("x", "x.gguf", "missing"),
        model("x", "../x.gguf", "a.txt"),
        model("../x", "x.gguf", "a.txt"),
        model("x/y", "x.gguf", "a.txt"),
        model("x y", "x.gguf", "a.txt"),
        model("-x", "x.gguf", "a.txt"),
        ModelEntry {
            files: vec![
                ("x.gguf".to_owned(), "a.txt".to_owned()),
                ("y.gguf".to_owned(), "a.txt".to_owned()),
            ],
            ..model("x", "", "")
        },
        ModelEntry { files: Vec::new(), ..model("x", "", "") },
    ] {
        let bytes = plain(&two(), |index| {
            index.members[0].kind = Kind::Model;
            index.models.push(bad);
        });
        assert!(refusal(&bytes).contains('x'));
    }
}

#[test]
fn members_and_names_belong_to_one_model_each() {
    let entry = |name: &str, path: &str| ModelEntry {
        role: Role::Teacher,
        name: name.to_owned(),
        licence: String::new(),
        files: vec![("x.gguf".to_owned(), path.to_owned())],
    };
    let bundle = |models: Vec<ModelEntry>| {
        plain(&two(), |index| {
            index.members.iter_mut().for_each(|member| member.kind = Kind::Model);
            index.models = models;
        })
    };
    assert!(inspect(&bundle(vec![entry("x", "a.txt"), entry("y", "b/c.txt")])).is_ok());
    let twice = refusal(&bundle(vec![entry("x", "a.txt"), entry("y", "a.txt")]));
    assert!(twice.contains("belongs to another file"), "{twice}");
    let twice = refusal(&bundle(vec![entry("x", "a.txt"), entry("X", "b/c.txt")]));
    assert!(twice.contains("twice"), "{twice}");
}

#[test]
fn control_characters_are_refused_and_not_shown() {
    let evil = "\u{1b}]0;owned\u{7} \u{9b}2J \u{202e}";
    let model = || ModelEntry {
        role: Role::Teacher,
        name: "x".to_owned(),
        licence: evil.to_owned(),
        files: vec![("x.gguf".to_owned(), "a.txt".to_owned())],
    };
    for bytes in [
        plain(&two(), |index| index.created_by = evil.to_owned()),
        plain(&two(), |index| index.built_for = evil.to_owned()),
        plain(&two(), |index| index.created_by = "x".repeat(201)),
        plain(&two(), |index| index.format = evil.to_owned()),
        plain(&two(), |index| index.members[0].path = format!("a{evil}")),
        plain(&two(), |index| index.members[0].mode = evil.to_owned()),
        plain(&two(), |index| {
            index.members[0].kind = Kind::Model;
            index.models.push(model());
        }),
        sealed(b"", format!("{{\"{evil}\":1}}").as_bytes()),
    ] {
        let what = refusal(&bytes);
        let is_control = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!what.contains(is_control), "{what:?}");
    }
}

#[test]
fn an_index_that_is_not_canonical_is_refused() {
    let tar = tar(&two());
    let packed = frame(&tar, 3).unwrap();
    let whole = plain(&two(), |_| {});
    let json = &whole[packed.len() + 8..whole.len() - 112];
    let again = |json: &[u8]| sealed(&packed, json);
    assert_eq!(again(json), whole);
    let text = String::from_utf8(json.to_vec()).unwrap();
    for tampered in [
        format!(" {text}"),
        text.replacen("0644", "\\u0030644", 1),
        text.replacen('{', "{\"more\":1,", 1),
        text.replacen("\"models\":[]", "\"models\":[],\"models\":[]", 1),
        "[".repeat(100_000),
        "{}".to_owned(),
        String::new(),
    ] {
        assert!(refusal(&again(tampered.as_bytes())).contains("index"));
    }
}

#[test]
fn a_changed_signed_index_never_panics() {
    let whole = plain(&two(), |_| {});
    let packed = frame(&tar(&two()), 3).unwrap();
    let json = whole[packed.len() + 8..whole.len() - 112].to_vec();
    for at in 0..json.len() {
        for new in [b'0', b'9', b'"', b'-', b'/', 0xff] {
            let mut tampered = json.clone();
            tampered[at] = new;
            let bytes = sealed(&packed, &tampered);
            if let Err(error) = inspect(&bytes) {
                assert!(error.is_verdict(), "{error}");
            }
        }
    }
}

#[test]
fn every_changed_byte_is_located() {
    let bytes = honest();
    let footer = bytes.len() - footer_length(&bytes);
    // Everything in the small segments and the footer, samples in the large ones.
    let places =
        (0..bytes.len()).filter(|at| *at < 200 || *at + 2500 > footer || at % 100_003 == 0);
    let mut tried = 0;
    for at in places.step_by(11) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let error = inspect(&flipped).unwrap_err();
        assert!(error.is_verdict(), "byte {at}: {error}");
        let message = error.to_string();
        if at >= footer {
            assert!(message.contains("the index of the bundle"), "byte {at}: {message}");
        } else {
            assert!(
                message.contains(&format!("bytes {}", start(&bytes, at))),
                "byte {at}: {message}"
            );
            assert!(
                ["README.md", "models/teacher/x/x.gguf", "folder/long"]
                    .iter()
                    .any(|name| message.contains(name)),
                "byte {at}: {message}"
            );
        }
        tried += 1;
    }
    assert!(tried > 200);
}

fn footer_length(bytes: &[u8]) -> usize {
    let size = &bytes[bytes.len() - 16..bytes.len() - 8];
    u64::from_le_bytes(size.try_into().unwrap()) as usize + 8 + 112
}

/// The first byte of the segment that contains byte `at`.
fn start(bytes: &[u8], at: usize) -> u64 {
    let from = bytes.len() - footer_length(bytes) + 8;
    let json: Value = serde_json::from_slice(&bytes[from..bytes.len() - 112]).unwrap();
    let starts =
        json["segments"].as_array().unwrap().iter().map(|one| one["offset"].as_u64().unwrap());
    starts.filter(|start| *start <= at as u64).max().unwrap()
}

#[test]
fn truncated_and_extended_bundles_are_refused() {
    let bytes = plain(&two(), |_| {});
    for end in 0..bytes.len() {
        assert!(inspect(&bytes[..end]).unwrap_err().is_verdict(), "cut at {end}");
        assert!(inspect(&bytes[end..][1..]).unwrap_err().is_verdict(), "without the first {end}");
    }
    for added in [&b"x"[..], &[0; 112], &bytes] {
        let (before, after) = ([added, &bytes].concat(), [&bytes, added].concat());
        assert!(inspect(&before).unwrap_err().is_verdict());
        assert!(inspect(&after).unwrap_err().is_verdict());
    }
}

/// The check needs only the index: nothing is unpacked before it.
#[test]
fn a_student_without_a_tokenizer_is_refused_by_import() {
    let files = ["config.json", "model.safetensors", "tokenizer_config.json"];
    let mut writer = Writer::new(Vec::new());
    let path = |file: &str| format!("models/student/x/{file}");
    for file in files {
        writer.add((&path(file), Kind::Model, false), 2, &b"{}"[..], &mut |_| {}).unwrap();
    }
    let files = files.map(|file| (file.to_owned(), path(file))).into();
    let (role, name, licence) = (Role::Student, "x".to_owned(), "MIT".to_owned());
    let model = ModelEntry { role, name, licence, files };
    let bytes = writer.finish(vec![model], String::new(), &key()).unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle");
    std::fs::write(&file, bytes).unwrap();
    let error = import(&file, &Trust::Embedded, Destinations::default(), &mut |_, _| {});
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "x has no tokenizer.json or vocab.txt");
    assert!(error.hint().is_some() && !error.is_verdict());
}

#[test]
fn a_false_length_of_the_index_is_refused() {
    let mut bytes = plain(&two(), |_| {});
    let at = bytes.len() - 16;
    for claim in [0, 1, u64::MAX, u64::MAX - 120, 1 << 40, super::MAX_INDEX_BYTES] {
        bytes[at..at + 8].copy_from_slice(&claim.to_le_bytes());
        assert!(matches!(inspect(&bytes), Err(BundleError::End { .. })));
    }
}
