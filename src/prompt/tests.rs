use super::*;

fn rendered(source: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("relabel.j2"), source).unwrap();
    let prompts = Prompts::load(Some(folder.path())).map_err(|error| error.to_string())?;
    let values = context! { text => "a private text", list => ["a private text"] };
    prompts.render("relabel.j2", values).map_err(|error| error.to_string())
}

#[test]
fn a_tasks_prompt_is_limited_in_steps_memory_and_output() {
    for source in [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='yyyy') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set x = range(99999)|list %}{% for i in range(90000) %}{% if x == x %}{% endif %}{% endfor %}",
        "{% include 'relabel.j2' %}",
        "{% include '/etc/passwd' %}",
    ] {
        let begun = std::time::Instant::now();
        assert!(rendered(source).is_err(), "{source}");
        assert!(begun.elapsed().as_secs() < 30, "{source}");
    }
    assert_eq!(
        rendered("{{ text }}: {{ 1 < 2 and 'x' in ['x'] }}").unwrap(),
        "a private text: True"
    );
}

#[test]
fn a_description_that_repeats_the_name_is_not_shown() {
    let mut task = crate::augment::sample::Sample::new(&["card_arrival"], Vec::new()).task;
    let mut shown = |description: &str| {
        task.classes[0].description = description.to_owned();
        shown_classes(&task, &[0], |_| Vec::new()).remove(0).description
    };
    assert_eq!(shown("Card arrival."), "");
    assert_eq!(shown("card_arrival"), "");
    assert_eq!(shown("card arrival by post"), "card arrival by post");
}

#[test]
fn an_error_of_a_prompt_quotes_no_text() {
    for source in [
        "\n{% include text %}",
        "\n{{ text|int }}",
        "\n{{ 1 + text }}",
        "\n{{ [1]|map(text)|list }}",
        "\n{{ list|sum }}",
        "\n{{ text.foo() }}",
        "\n{% import text as x %}",
    ] {
        let error = rendered(source).unwrap_err();
        assert!(!error.contains("private"), "{source}: {error}");
        assert!(error.contains("(line 2)"), "{source}: {error}");
    }
}
