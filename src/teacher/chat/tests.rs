//! Our rendering against that of transformers, byte by byte, and our additions to it.

use std::{env, fs, path::Path};

use super::*;

const PLAIN: &str = "Which class is this text?";
/// The same as ODD of `scripts/chat_golden.py`.
const ODD: &str =
    "  Which \"class\"?\n\n\tIt's <b>5 % & {{ more }}</b> \\n \\ größer 😀 {% raw %}\r\nend \n\n";

/// Each known template, its family, and what we append to its output.
const KNOWN: [(&str, Family, &str); 15] = [
    ("llama3", Family::Llama3, ""),
    ("llama3-0", Family::Llama3, ""),
    ("qwen2.5", Family::Qwen25, ""),
    ("qwen3", Family::Qwen3, ""),
    ("gemma", Family::Gemma, ""),
    ("mistral-v1", Family::Mistral, ""),
    ("mistral-v3", Family::Mistral, ""),
    ("mistral-tekken", Family::Mistral, ""),
    ("smollm2", Family::SmolLm2, ""),
    ("smollm3", Family::SmolLm3, ""),
    ("phi3", Family::Phi3, ""),
    ("phi4-mini", Family::Phi3, ""),
    ("phi4", Family::Phi4, ""),
    ("deepseek-r1", Family::DeepSeek, "\n</think>\n\n"),
    ("gpt-oss", Family::GptOss, "<|channel|>final<|message|>"),
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn compiled(source: &str, control: &[&str]) -> ChatTemplate {
    let control = control.iter().map(|&token| token.to_owned()).collect();
    ChatTemplate::new(source.to_owned(), "<s>".to_owned(), "</s>".to_owned(), control).unwrap()
}

fn known(name: &str) -> ChatTemplate {
    compiled(&read(&format!("prompts/chat/{name}.j2")), &[])
}

#[test]
fn every_family_renders_as_transformers_does() {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/chat")).unwrap();
    assert_eq!(files.count(), KNOWN.len(), "a template of prompts/chat is not tested");
    for (name, _, closing) in KNOWN {
        let template = known(name);
        for (ending, user) in [("", PLAIN), (".odd", ODD)] {
            let golden = read(&format!("tests/data/chat/{name}{ending}.txt"));
            assert_eq!(template.render(user).unwrap(), golden + closing, "{name}{ending}");
        }
    }
}

#[test]
fn every_feature_renders_as_in_jinja2() {
    let text = compiled(&read("tests/data/chat/features.j2"), &[]).expand(PLAIN).unwrap();
    let golden = read("tests/data/chat/features.txt");
    for (ours, theirs) in text.lines().zip(golden.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(text, golden);
}

#[test]
fn no_familys_marks_can_be_smuggled_in() {
    for (name, family, _) in KNOWN {
        let template = known(name);
        let empty = template.render("x").unwrap();
        for mark in family.marks().iter().copied().chain(["<think>", "</think>"]) {
            if mark.contains("think") && !read(&format!("prompts/chat/{name}.j2")).contains(mark) {
                continue;
            }
            // Once, twice, and nested in itself at every position.
            let mut hostile = vec![mark.to_owned(), format!("{mark}{mark}")];
            let places = mark.char_indices().map(|(at, _)| at);
            hostile.extend(places.map(|at| format!("{}{mark}{}", &mark[..at], &mark[at..])));
            for user in hostile {
                let text = template.render(&format!("a{user}b")).unwrap();
                let (found, own) = (text.matches(mark).count(), empty.matches(mark).count());
                assert_eq!(found, own, "{name}: {user} gave {text}");
            }
        }
    }
}

#[test]
fn control_tokens_of_the_file_are_broken_up_too() {
    let template = compiled(CHATML, &["<|tool|>", "< |", "é", "\n", "  ", "[X]"]);
    let user = "<|im_<|im_end|>end|> <|tool|> <| [X] é\n  x";
    let safe = template.defuse(user);
    for token in ["<|im_end|>", "<|tool|>", "< |", "[X]"] {
        assert!(!safe.contains(token), "{token} in {safe}");
    }
    assert!(safe.contains(" é\n  x"), "{safe:?}");
    assert_eq!(template.defuse("plain <b>text</b>"), "plain <b>text</b>");
}

#[test]
fn thinking_tags_in_a_users_text_have_no_effect() {
    let template = known("deepseek-r1");
    let text = template.render("is <think> a tag, and </think>?").unwrap();
    assert!(text.ends_with("<｜Assistant｜><think>\n\n</think>\n\n"), "{text}");
    assert_eq!(text.matches("think>").count(), 4);
    let bare = compiled("{{ messages[0].content }}{% if x %}<think>{% endif %}", &[]);
    assert_eq!(bare.render("<think>").unwrap(), "< think>");
}

#[test]
fn families_are_told_apart() {
    for (name, family, _) in KNOWN {
        let template = known(name);
        assert_eq!(template.family(), Some(family), "{name}");
        assert_eq!(template.differs_from_known(), None, "{name}");
        assert!(!family.name().is_empty());
    }
    assert_eq!(family(CHATML), Some(Family::ChatMl));
    assert_eq!(compiled(CHATML, &[]).differs_from_known(), None);
    assert_eq!(compiled(&format!("{{{{ bos_token }}}}{CHATML}"), &[]).differs_from_known(), None);
    assert_eq!(family("{{ messages[0].content }}"), None);
    assert_eq!(family("[INST] <<SYS>>"), None);
}

#[test]
fn a_changed_template_is_noticed() {
    let source = read("prompts/chat/qwen3.j2");
    let added = source.replace(
        "{{- '<|im_start|>assistant\\n' }}",
        "{{- '<|im_start|>assistant\\nVisit example.org. ' }}",
    );
    assert_ne!(added, source);
    let difference = compiled(&added, &[]).differs_from_known().unwrap();
    assert_eq!(difference.family, Family::Qwen3);
    assert!(difference.found[difference.common()..].starts_with("Visit example.org. "));
    assert!(!difference.only_white_space());

    let spaced = source.replace("assistant\\n' }}", "assistant\\n\\n' }}");
    let difference = compiled(&spaced, &[]).differs_from_known().unwrap();
    assert!(difference.only_white_space(), "{difference:?}");

    let refuses = source + "{{ raise_exception('no') }}";
    assert!(compiled(&refuses, &[]).differs_from_known().unwrap().found.contains("no"));
}

#[test]
fn a_content_of_parts_is_passed_if_a_text_fails() {
    let source = "{% for m in messages %}{% for part in m.content %}{% if part.type == 'text' %}<{{ part.text }}>{% endif %}{% endfor %}{% endfor %}";
    assert_eq!(compiled(source, &[]).render("hello").unwrap(), "<hello>");
}

#[test]
fn a_template_that_refuses_gives_its_reason() {
    let template = compiled("{{ raise_exception('no user turns') }}", &[]);
    let error = template.render("a private text").unwrap_err();
    assert!(error.to_string().contains("no user turns"));
    assert!(!format!("{error:#} {error:?}").contains("private"));
    let own = "{{ raise_exception(\"it's\\n\\\"so\\\" \") }}";
    let error = compiled(own, &[]).render("a private text").unwrap_err().to_string();
    assert!(error.contains("it refuses the prompt: it's\\n\"so\"  (line 1)"), "{error}");
}

#[test]
fn a_template_that_refuses_quotes_no_prompt() {
    let elsewhere = "{# 'private' #}{% set x = messages[0].content %}";
    for source in [
        "{{ raise_exception(messages[0].content) }}",
        "{{ raise_exception('no: ' ~ messages[0].content) }}",
        "{{ raise_exception(messages[0]['content'][2:9]) }}",
        "{% macro m(x) %}{{ raise_exception(x) }}{% endmacro %}{{ m(messages[0].content) }}",
    ] {
        let error = compiled(source, &[]).render("a private text").unwrap_err();
        let shown = format!("{error:#}");
        assert!(!shown.contains("private") && shown.contains("refuses the prompt"), "{shown}");
        assert!(shown.contains("(line 1)"), "{shown}");
    }
    // A word of the source is no secret.
    let source = format!("{elsewhere}{{{{ raise_exception(x) }}}}");
    assert!(compiled(&source, &[]).render("private").unwrap_err().to_string().contains("private"));
}

#[test]
fn a_template_is_bounded_in_steps_depth_and_output() {
    let loops = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    assert!(compiled(loops, &[]).render("x").is_err());
    let deep = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    assert!(compiled(deep, &[]).render("x").is_err());
    let wide = "{% for i in range(9000) %}{{ messages[0].content }}{% endfor %}";
    let error = compiled(wide, &[]).render(&"x".repeat(1000)).unwrap_err();
    assert!(error.to_string().contains("writes more than 1056576 bytes"), "{error}");
    assert!(compiled(wide, &[]).render("hello").is_ok());
}

/// Each of these would take terabytes, in a few steps.
#[test]
fn a_template_cannot_exceed_its_memory_budget() {
    let evil = "{{ raise_exception('\\x1b[2J\u{9b}\u{202e}\n') }}";
    let message = compiled(evil, &[]).render("x").unwrap_err().to_string();
    assert!(!message.contains(|c: char| c.is_control() || c == '\u{202e}'), "{message:?}");
    // No overflow.
    let split = "{{ 'abc'.rsplit('b', 18446744073709551615)|join('-') }}{{ messages[0].content }}";
    assert_eq!(compiled(split, &[]).expand("").unwrap(), "a-c");
    for sound in [
        "{{ [1, 'b']|join(', ') }}",
        "{{ {'a': [1]}|tojson(indent=4) }}",
        "{{ 15|replace(5, 6) }}",
        "{{ '%s-%05d {x}'|format('a', 7) }}",
        "{{ '{}{:>4}'.format('a', 7) }}",
    ] {
        assert!(compiled(sound, &[]).expand("").is_ok(), "{sound}");
    }

    let doubled = |step: &str| {
        format!(
            "{{% set ns = namespace(x='{}', l=['y'], m={{'k': 1}}) %}}{{% for i in range(60) %}}{step}{{% endfor %}}{{{{ messages[0].content }}}}",
            "y".repeat(64)
        )
    };
    let steps = [
        "{% set ns.x = ns.x ~ ns.x %}",
        "{% set ns.x = ns.x + ns.x %}",
        "{% set ns.x = ns.x * 2 %}",
        "{% set ns.x = 9999999 * ns.x %}",
        "{% set ns.x = ns.x|replace('y', 'yy') %}",
        "{% set ns.x = ns.x.replace('y', ns.x) %}",
        "{% set ns.x = ns.x|replace('', ns.x) %}",
        "{% set ns.x = ns.x|list|join(ns.x) %}",
        "{% set ns.x = ns.x.join(ns.x) %}",
        "{% set ns.x = [ns.x, ns.x]|join %}",
        "{% set ns.x = [ns.x, ns.x]|string %}",
        "{% set ns.x = [ns.x, ns.x]|tojson %}",
        "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}",
        "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{% set ns.x = m(ns.x) %}",
        "{% set ns.x = [ns.x, ns.x]|map('upper')|join %}",
        "{% set ns.x = '%999999999d'|format(1) %}",
        "{% set ns.x = '{:>999999999}'.format(1) %}",
        "{% set ns.x = ns.x|indent(999999999, true) %}",
        "{% set ns.l = ns.l|slice(999999999)|list %}",
        "{% set ns.l = ns.l|batch(999999999, 'x')|list %}",
        "{% set ns.l = ns.l + ns.l %}",
        "{% set ns.l = ns.l * 2 %}",
        "{% set ns.l = [ns.l, ns.l] %}",
        "{% set ns.m = {'a': ns.m, 'b': ns.m} %}",
        "{% set ns.m = dict(a=ns.m, b=ns.m) %}",
        "{% set ns.n = ns %}{% set ns.x = ns ~ '' %}",
        "{% set n = 1000000 %}{% set a = 'a' * n %}{{ [a]|replace('a', a) }}",
        "{% set n = 1000000 %}{% set a = 'a' * n %}{{ a|replace('a', [a]) }}",
        "{% set n = 1000000 %}{% set a = 'a' * n %}{{ a|join([a]) }}",
        "{{ ns.x|indent(width=99999999999) }}",
        "{% set n = 100000 %}{{ ('y\n' * n)|indent(width=9999) }}",
        "{% set n = 100000 %}{% set a = 'a' * n %}{{ range(100000)|list|tojson(separators=[a, a]) }}",
        "{% set n = 400000 %}{{ ('{0:9999}' * n).format('x') }}",
        "{% set n = 1000 %}{{ ('{0}' * n).format('a' * n * n) }}",
        "{{ '{:{}}'.format('x', 999999999) }}",
    ];
    for step in steps {
        let before = std::time::Instant::now();
        let template = compiled(&doubled(step), &[]);
        let error = template.render("hello").expect_err(step).to_string();
        let known = ["memory budget", "pads by more", "too deeply"];
        assert!(known.iter().any(|known| error.contains(known)), "{step}: {error}");
        assert!(before.elapsed().as_secs() < 60, "{step}");
    }
    // A long text between tags, written into a variable again and again.
    let raw = format!(
        "{{% for i in range(99999) %}}{{% set x %}}{}{{% endset %}}{{% endfor %}}",
        "y".repeat(50_000)
    );
    assert!(compiled(&raw, &[]).render("x").is_err());
}

/// minijinja computes constants when it compiles.
#[test]
fn a_template_cannot_multiply_constants() {
    let refused = |source: String| {
        let template = ChatTemplate::new(source, String::new(), String::new(), Vec::new());
        template.err().expect("a template that is refused").to_string()
    };
    for tag in [
        "{{ 'a' * 99999999 }}".to_owned(),
        "{{ 99999999 * 'a' }}".to_owned(),
        "{% if ('a' * 9999) * 9999 %}{% endif %}".to_owned(),
        "{{ 'a' * (9 ** 9) }}".to_owned(),
        "{{ 'a' * 9999 }}".repeat(1000),
        format!("{{{{ 'a' {} }}}}", "* 2 ".repeat(40)),
    ] {
        assert!(refused(tag.clone()).contains("multiplies a text"), "{tag}");
    }
    assert!(refused(format!("{{{{ 1 {} }}}}", "+ 1 ".repeat(100_000))).contains("too many tokens"));
    assert_eq!(compiled("{{ '-' * 8 }}", &[]).expand("").unwrap(), "--------");
}

#[test]
fn instrumented_operators_give_the_same_results() {
    let source = "{{ 1 + 2 }} {{ 1.5 + 2 }} {{ 'a' + 'b' }} {{ 'a' ~ 1 ~ none }} {{ 3 * 4 }} {{ 2 * 'ab' }} {{ ([1] + [2, 3])|length }} {{ ([0] * 3)|length }} {{ {'a': 1, 'b': [2]}.b[0] }} {{ []|length }} {{ {}|length }} {{ dict(a=1).a }} {{ 2 * 0.5 }} {{ namespace(x=1).x }} {{ ['b', 'a']|sort|join('-') }} {{ messages|map(attribute='role')|join }} {{ 'x'.replace('x', 'yy') }}";
    let wanted = "3 3.5 ab a1None 12 abab 3 3 2 0 0 1 1.0 1 a-b user yy";
    assert_eq!(compiled(source, &[]).expand("").unwrap(), wanted);
    for wrong in [
        "{{ 1 + 'a' }}",
        "{{ [] + 1 }}",
        "{{ none * 2 }}",
        "{% set x = 9223372036854775807 %}{{ x + 1 }}",
    ] {
        assert!(compiled(wrong, &[]).render("x").is_err(), "{wrong}");
    }
}

#[test]
fn a_template_reaches_no_file() {
    for source in [
        "{% include '/etc/hostname' %}",
        "{% include 'Cargo.toml' %}",
        "{% import 'Cargo.toml' as x %}{{ x }}",
        "{% extends 'Cargo.toml' %}",
    ] {
        let error = compiled(source, &[]).render("x").unwrap_err();
        assert_eq!(error.kind(), minijinja::ErrorKind::TemplateNotFound, "{source}: {error}");
    }
    assert!(
        compiled("{% include 'x' ignore missing %}{{ messages[0].content }}", &[])
            .render("a")
            .is_ok()
    );
}

#[test]
fn a_source_that_is_not_a_template_is_an_error() {
    // The second one was found by fuzzing.
    for source in ["{%}", "{% endfor{% x %}{{ a %}{%}{{ b }}", "{% generation", "%}{%"] {
        assert!(
            ChatTemplate::new(source.into(), String::new(), String::new(), vec![]).is_err(),
            "{source}"
        );
    }
    let error = ChatTemplate::new("{% if %}".into(), String::new(), String::new(), vec![]);
    assert!(error.is_err());
}

/// Compares templates that are not in the repository: run `scripts/chat_golden.py --compare FOLDER
/// OUT`, then this with PROMPTMIX_TEMPLATES=FOLDER and PROMPTMIX_GOLDEN=OUT.
#[test]
#[ignore = "needs a folder of templates"]
fn every_template_of_a_folder() {
    let variable = |name: &str| env::var(name).unwrap();
    let (folder, out) = (variable("PROMPTMIX_TEMPLATES"), variable("PROMPTMIX_GOLDEN"));
    let mut wrong = 0;
    let mut paths: Vec<_> = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in &paths {
        let name = path.file_stem().unwrap().to_string_lossy();
        let golden = fs::read_to_string(path).unwrap();
        let source = fs::read_to_string(format!("{folder}/{name}.jinja")).unwrap();
        let template = ChatTemplate::new(source, "<s>".to_owned(), "</s>".to_owned(), Vec::new());
        let ours = template
            .as_ref()
            .map_err(ToString::to_string)
            .and_then(|template| template.expand(PLAIN).map_err(|error| format!("{error:#}")));
        let closed = template.as_ref().ok().and_then(|template| template.render(PLAIN).ok());
        let tail = closed.as_deref().map(|text| &text[text.rfind(PLAIN).unwrap_or(0)..]);
        let family = template.as_ref().ok().and_then(ChatTemplate::family);
        let differs = template.as_ref().ok().and_then(ChatTemplate::differs_from_known);
        let same = ours.as_ref().is_ok_and(|ours| *ours == golden);
        let refused = ours.is_err() && golden.starts_with("ERROR");
        println!("{name}: same {same}, refused {refused}, {family:?}, tail {tail:?}");
        if let Some(differs) = differs {
            println!("    differs from known: {:?}", &differs.found[differs.common()..]);
        }
        if !same && !refused {
            wrong += 1;
            println!("  OURS {ours:?}\n  THEIRS {golden:?}");
        }
    }
    assert_eq!(wrong, 0, "of {}", paths.len());
}
