use rand::{Rng as _, seq::IndexedRandom as _};

use super::*;
use crate::{
    prompt::reply::LIST_CUE,
    rng::Rng,
    teacher::sampler::{LogitsRow, Sampler, Sampling},
};

fn vocabulary(texts: impl IntoIterator<Item = Vec<u8>>) -> TokenBytes {
    let special = [(b"</s>".to_vec(), TokenRole::End), (b"<s>".to_vec(), TokenRole::Control)];
    TokenBytes::new(
        special.into_iter().chain(texts.into_iter().map(|text| (text, TokenRole::Text))),
    )
}

fn all_bytes() -> impl Iterator<Item = Vec<u8>> {
    (0..=255).map(|byte| vec![byte])
}

/// Tokens that tokenizers have and tokens that nobody would want in one: parts of characters,
/// quotes, notes, several lines in one token, every kind of space.
fn odd_tokens(rng: &mut Rng) -> Vec<Vec<u8>> {
    const PARTS: [&str; 40] = [
        " ", "  ", "\n", "\n\n", "\n\n\n", "\n2", "\n2.", ".\n2. ", "1", "2.", "10", "a", "b", "A",
        " a", "ab", "the", " card", "é", "日本", "🙂", "\u{a0}", "\u{3000}", "\u{fffd}",
        "\u{2028}", "\r", "\t", "\"", "“", "”", "'", "«", "»", "(", ")", " (50% a", "%)", ".", ":",
        "\u{7}",
    ];
    let mut tokens: Vec<Vec<u8>> = PARTS.iter().map(|part| part.as_bytes().to_vec()).collect();
    for _ in 0..150 {
        let count = rng.random_range(1..4);
        let mut token: Vec<u8> =
            (0..count).flat_map(|_| PARTS.choose(rng).unwrap().bytes()).collect();
        if rng.random_bool(0.2) {
            token.pop();
        }
        if rng.random_bool(0.1) && !token.is_empty() {
            token.remove(0);
        }
        if rng.random_bool(0.1) {
            token.push(rng.random());
        }
        tokens.push(token);
    }
    tokens
}

/// Writes a reply of tokens that `propose` names, or of any other allowed token after too many
/// refusals. Returns it with its number of tokens.
fn write(
    grammar: ListGrammar,
    tokens: &TokenBytes,
    rng: &mut Rng,
    propose: impl Fn(&mut Rng) -> i32,
) -> (String, usize) {
    let mut state = grammar.begin(LIST_CUE).unwrap();
    let mut reply = LIST_CUE.as_bytes().to_vec();
    let mut mask = Vec::new();
    for count in 1.. {
        let proposed = (0..50).map(|_| propose(rng)).find(|token| tokens.accepts(&state, *token));
        let token = proposed.unwrap_or_else(|| {
            tokens.mask(&state, &mut mask);
            let allowed: Vec<i32> =
                (0..tokens.len() as i32).filter(|token| mask[*token as usize]).collect();
            *allowed.choose(rng).unwrap_or_else(|| panic!("a dead end: {state:?}"))
        });
        if tokens.is_end(token) {
            return (String::from_utf8(reply).unwrap(), count);
        }
        reply.extend(tokens.bytes(token));
        assert!(state.advance(tokens.bytes(token)));
        if state.is_complete() {
            return (String::from_utf8(reply).unwrap(), count);
        }
    }
    unreachable!()
}

#[test]
fn any_choice_of_accepted_tokens_gives_a_reply_that_parses_within_its_bounds() {
    let mut rng = Rng::for_item(1, "grammar", 0);
    for round in 0..4000 {
        let odd = odd_tokens(&mut rng);
        let tokens = vocabulary(all_bytes().chain(odd));
        let (lines, longest) = (rng.random_range(1..13), rng.random_range(8..40));
        let mut grammar = ListGrammar::new(lines, longest);
        let budget = grammar.least_budget() + rng.random_range(0..1 + 8 * (round % 20));
        if round % 4 > 0 {
            grammar = grammar.with_budget(budget);
        }
        // Only bytes, only longer tokens, or both; sometimes without the end of the turn.
        let last = tokens.len() as i32;
        let liked = [2..258, 258..last, 2..last, 0..last][rng.random_range(0..4)].clone();
        let propose = |rng: &mut Rng| rng.random_range(liked.clone());
        let (reply, count) = write(grammar, &tokens, &mut rng, propose);
        let texts = parse_list(&reply, lines, longest, true).unwrap_or_else(|fault| {
            panic!("{fault}: {reply:?}");
        });
        assert!(texts.iter().all(|text| text.chars().count() <= longest), "{longest}: {reply:?}");
        assert!(round % 4 == 0 || count <= budget, "{count} of {budget}: {reply:?}");
    }
}

#[test]
fn the_mask_equals_the_automaton() {
    let mut rng = Rng::for_item(2, "grammar", 0);
    for _ in 0..100 {
        let odd = odd_tokens(&mut rng);
        let tokens = vocabulary(all_bytes().chain(odd));
        let grammar = ListGrammar::new(rng.random_range(1..12), rng.random_range(8..20));
        let budget = grammar.least_budget() + rng.random_range(0..60);
        let mut state = grammar.with_budget(budget).begin(LIST_CUE).unwrap();
        let mut mask = Vec::new();
        while !state.is_complete() {
            tokens.mask(&state, &mut mask);
            for token in 2..tokens.len() as i32 {
                let bytes = tokens.bytes(token);
                assert_eq!(mask[token as usize], state.accepts(bytes), "{bytes:?} in {state:?}");
            }
            assert_eq!((mask[0], mask[1]), (state.may_end(), false));
            let allowed: Vec<i32> =
                (2..tokens.len() as i32).filter(|token| mask[*token as usize]).collect();
            state.advance(tokens.bytes(*allowed.choose(&mut rng).unwrap()));
        }
    }
}

#[test]
fn the_least_budget_is_enough_and_one_token_less_is_not() {
    // 36 letters and digits, so that a list of more than 36 lines runs out of one-letter texts.
    let alphabet = (b'a'..=b'z').chain(b'0'..=b'9').chain(*b".\n");
    let tokens = vocabulary(alphabet.map(|byte| vec![byte]));
    let mut rng = Rng::for_item(3, "grammar", 0);
    for lines in [1, 2, 9, 10, 11, 40] {
        let grammar = ListGrammar::new(lines, 8);
        let least = grammar.least_budget();
        for _ in 0..100 {
            // The first letter, wherever it is allowed, makes the texts collide.
            let first = rng.random_bool(0.5);
            let grammar = grammar.with_budget(least);
            let (reply, count) = write(grammar, &tokens, &mut rng, |rng| {
                if first { 2 } else { rng.random_range(2..tokens.len() as i32) }
            });
            parse_list(&reply, lines, 1000, true).unwrap();
            assert!(count <= least);
        }
        let state = grammar.with_budget(least - 1).begin(LIST_CUE).unwrap();
        let mut mask = Vec::new();
        tokens.mask(&state, &mut mask);
        assert!(!mask.contains(&true), "{lines}");
    }
    // "a", newline; "2.b", newline.
    assert_eq!(ListGrammar::new(2, 50).least_budget(), 2 + 4);
}

/// Whether a list of two lines may begin with `reply`, byte by byte and as one token.
fn is_accepted(reply: &str) -> bool {
    let begun = || ListGrammar::new(2, 20).begin("").unwrap();
    let mut state = begun();
    let singly = reply.bytes().all(|byte| state.advance(&[byte]));
    assert_eq!(singly, begun().accepts(reply.as_bytes()), "{reply:?}");
    singly
}

#[test]
fn lists_that_parse_are_accepted_as_far_as_they_go() {
    for reply in ["1. my card is lost\n2. where?", "1) \"a\" (50% x, 50% y)\n\n2:b\n", "1.5 km\n2."]
    {
        assert!(is_accepted(&reply[..reply.len().min(24)]), "{reply:?}");
    }
    let state = |reply: &str| {
        let mut state = ListGrammar::new(2, 99).begin(LIST_CUE).unwrap();
        assert!(state.advance(reply.as_bytes()));
        (state.may_end(), state.is_complete())
    };
    assert_eq!(state(" a\n"), (false, false));
    assert_eq!(state(" a\n2. \""), (false, false));
    assert_eq!(state(" a\n2. \"A\""), (false, false));
    assert_eq!(state(" a\n2. b"), (true, false));
    assert_eq!(state(" a\n2. b\n"), (true, true));
}

#[test]
fn what_would_not_parse_is_refused() {
    for reply in [
        "\n1.",
        "2.",
        "1 ",
        "1.\n",
        "1.  a",
        "1. \u{a0}a",
        "1. \u{3000}",
        "1. \"\"\n",
        "1. ?\n",
        "1. (50% a)\n",
        "1. a\n\n\n",
        "1. a\n3",
        "1. a\n2. \"A\" (90% x)\n",
        "1. a\n2. b\n3",
        "1. a\r",
        "1. a\u{85}",
        "1. a\u{2028}",
        "1. a\u{fffd}",
        "1. 123456789012345678901",
        "1. 123456789012345678901\n",
    ] {
        assert!(!is_accepted(reply), "{reply:?}");
    }
    let mut state = ListGrammar::new(1, 20).begin(LIST_CUE).unwrap();
    assert!(!state.accepts(b"\xc0\xaf") && !state.accepts(b"\xed\xa0") && !state.accepts(b""));
    // A line cannot end in the middle of a character.
    assert!(state.advance(b" a\xe6\x97") && !state.may_end());
    assert!(!state.accepts(b"\n") && !state.accepts(b"b") && state.accepts(b"\xa5 b\n"));
}

#[test]
fn a_line_may_use_its_share_of_the_tokens_and_no_more() {
    // 30 tokens for three lines: ten for the first, including its newline.
    let mut state = ListGrammar::new(3, 99).with_budget(30).begin(LIST_CUE).unwrap();
    for _ in 0..9 {
        assert!(state.advance(b" word"));
    }
    assert!(!state.accepts(b" word") && state.accepts(b"\n") && state.accepts(b".\n2. word"));
    // A short line leaves more to the others: 29 tokens for two.
    let mut state = ListGrammar::new(3, 99).with_budget(30).begin(LIST_CUE).unwrap();
    assert!(state.advance(b" word\n2."));
    for _ in 0..13 {
        assert!(state.advance(b" a b"));
    }
    assert!(!state.accepts(b" a b") && state.accepts(b"\n"));
}

#[test]
fn drawn_replies_parse_and_depend_on_the_seed_alone() {
    let mut rng = Rng::for_item(5, "grammar", 0);
    let odd = odd_tokens(&mut rng);
    let tokens = vocabulary(all_bytes().chain(odd));
    for sampling in [
        Sampling::default(),
        Sampling { top_k: 5, ..Sampling::default() },
        Sampling { min_p: 0.2, repeat_penalty: 1.2, ..Sampling::default() },
        Sampling { temperature: 0.0, ..Sampling::default() },
    ] {
        for seed in 0..60 {
            let draw = || {
                let mut rng = Rng::for_item(seed, "draw", 0);
                let mut model = Rng::for_item(seed, "model", 0);
                let mut sampler = Sampler::default();
                let mut state = ListGrammar::new(3, 30).with_budget(40).begin(LIST_CUE).unwrap();
                let (mut reply, mut drawn) = (LIST_CUE.as_bytes().to_vec(), Vec::new());
                while !state.is_complete() {
                    let logits: Vec<f32> =
                        (0..tokens.len()).map(|_| 9.0 * model.random::<f32>()).collect();
                    let row = LogitsRow { logits: &logits, banned: &[], recent: &drawn };
                    let token =
                        draw_constrained(&mut sampler, &sampling, row, &state, &tokens, &mut rng)
                            .unwrap();
                    drawn.push(token);
                    if tokens.is_end(token) {
                        break;
                    }
                    assert!(state.advance(tokens.bytes(token)));
                    reply.extend(tokens.bytes(token));
                }
                assert!(drawn.len() <= 40);
                // The stream moved by one number per token.
                let mut other = Rng::for_item(seed, "draw", 0);
                for _ in &drawn {
                    let _: f64 = other.random();
                }
                assert_eq!(rng.random::<u64>(), other.random::<u64>());
                String::from_utf8(reply).unwrap()
            };
            let reply = draw();
            assert!(parse_list(&reply, 3, 1000, true).is_ok(), "{reply:?}");
            assert_eq!(reply, draw());
        }
    }
}

#[test]
#[ignore = "a measurement: prints microseconds per token"]
fn cost_per_token() {
    for vocabulary in [8_000, 32_000, 49_152, 151_936] {
        println!("{:?}", cost(vocabulary));
    }
}
