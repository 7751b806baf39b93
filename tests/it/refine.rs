//! `promptmix refine`: drafts are shown with what they change, asked for once, and accepted into
//! `task.toml` by a person.

use std::fs;

use serde_json::Value;

use crate::support::{TINY, TestDir, count, json};

/// A run of a task of which half the examples have the wrong label, so that the teacher is mistaken
/// about them.
pub(crate) fn run(dir: &TestDir) -> Vec<String> {
    let task = dir.task("");
    let line =
        |text: &str, label: &str| format!("{{\"text\": \"{text}\", \"label\": \"{label}\"}}\n");
    let seeds = [
        line("I forgot my password", "password_reset"),
        line("my password has expired", "password_reset"),
        line("the screen of my laptop is cracked", "password_reset"),
        line("the docking station is dead", "password_reset"),
        line("my keyboard is dead", "hardware_fault"),
        line("my mouse is broken", "hardware_fault"),
        line("please reset my password", "hardware_fault"),
        line("the password was refused", "hardware_fault"),
    ];
    dir.write("task/seeds.jsonl", seeds.concat());
    let toml = fs::read_to_string(task.join("task.toml")).unwrap();
    let toml = toml.replace("or new password\"", "or new password\" # mine, keep this");
    fs::write(task.join("task.toml"), format!("# the help desk\n{toml}")).unwrap();
    let run = ["run", task.to_str().unwrap(), "--out", "out"];
    let command = [&run[..], &TINY, &["--set", "student.texts=always"]].concat();
    dir.ok(&command);
    command.into_iter().map(str::to_owned).collect()
}

fn toml(dir: &TestDir) -> String {
    fs::read_to_string(dir.path("task/task.toml")).unwrap()
}

fn calls(dir: &TestDir) -> (usize, usize) {
    let ledger = dir.path("out/ledger.jsonl");
    (count(&ledger, "reply"), count(&ledger, "scores"))
}

/// The draft with a new description.
fn usable(refined: &Value) -> Option<&Value> {
    refined["drafts"].as_array().unwrap().iter().find(|draft| draft["new"].is_string())
}

#[test]
fn drafts_are_shown_asked_for_once_and_accepted_by_name() {
    let dir = TestDir::new();
    let command = run(&dir);
    let before = (toml(&dir), calls(&dir));
    let early = dir.fails(&["refine", "out", "--accept", "all"]);
    assert!(early.contains("out has no drafts") && early.contains("hint: "), "{early}");

    let refined: Value = serde_json::from_str(&dir.ok(&["refine", "out", "--json"])).unwrap();
    assert_eq!(refined, json(&dir.path("out/refined.json")));
    assert_eq!((&refined["examples"], refined["pairs"].as_array().unwrap().len()), (&8.into(), 1));
    assert!(refined["pairs"][0]["examples"].as_u64().unwrap() > 0, "{refined}");
    for draft in refined["drafts"].as_array().unwrap() {
        assert_eq!(draft["new"].is_string(), draft["usable"] != 0, "{draft}");
        let refused = draft["refused"].as_object().into_iter().flatten();
        let refused: u64 = refused.map(|(_, count)| count.as_u64().unwrap()).sum();
        assert_eq!(draft["usable"].as_u64().unwrap() + refused, 4, "{draft}");
        let Some(all) = draft["effect"].get("all") else { continue };
        let of = |name: &str| all[name].as_i64().unwrap();
        assert_eq!((of("examples"), &all["before"]), (8, &refined["right"]), "{draft}");
        assert_eq!(of("after") - of("before"), of("gained") - of("lost"), "{draft}");
        // At most half of the examples were shown to the teacher.
        assert!(draft["effect"]["unseen"]["examples"].as_u64().unwrap() >= 4, "{draft}");
    }
    assert_eq!(toml(&dir), before.0, "the task is as it was");
    let asked = calls(&dir);
    assert!(asked.0 == before.1.0 + 8 && asked.1 >= before.1.1 + 8, "{asked:?} {before:?}");

    // Again: nothing is asked, and the same is shown.
    let lines = fs::read(dir.path("out/ledger.jsonl")).unwrap();
    let shown = dir.ok(&["refine", "out"]);
    assert_eq!(fs::read(dir.path("out/ledger.jsonl")).unwrap(), lines);
    assert_eq!(json(&dir.path("out/refined.json")), refined);
    assert!(shown.contains("  check  ") && shown.contains("not drafted from: "), "{shown}");

    let draft = usable(&refined).expect("a draft");
    let (class, new) = (draft["class"].as_str().unwrap(), draft["new"].as_str().unwrap());
    assert!(shown.contains(&format!("  new    {new}\n")), "{shown}");
    let wrong = dir.fails(&["refine", "out", "--accept", &class[..6]]);
    assert!(wrong.contains("there is no draft for the class"), "{wrong}");
    assert_eq!(toml(&dir), before.0);
    let told = dir.ok(&["refine", "out", "--accept", class]);
    assert!(told.contains(&format!("the description of {class} is new")), "{told}");
    let (old, now) = (draft["old"].as_str().unwrap(), toml(&dir));
    let table: toml::Table = now.parse().unwrap();
    let classes = table["class"].as_array().unwrap();
    let accepted = classes.iter().find(|it| it["name"].as_str() == Some(class)).unwrap();
    assert_eq!(accepted["description"].as_str(), Some(new));
    assert!(now.contains("# the help desk") && now.contains("# mine, keep this"), "{now}");
    let changed = before.0.lines().zip(now.lines()).filter(|(a, b)| a != b).count();
    assert_eq!((changed, before.0.lines().count()), (1, now.lines().count()), "{now}");
    assert!(before.0.contains(old) && calls(&dir) == asked);

    // What is accepted already is no change; a task that says something else is left alone.
    let again = dir.ok(&["refine", "out", "--accept", class, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["accepted"], serde_json::json!([]));
    fs::write(dir.path("task/task.toml"), now.replace(new, "something else")).unwrap();
    let other = dir.fails(&["refine", "out", "--accept", class]);
    assert!(other.contains("is not the one that the draft is to replace"), "{other}");
    fs::write(dir.path("task/task.toml"), &now).unwrap();

    // The next run takes it up like any other change of the task.
    dir.ok(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let task = json(&dir.path("out/task.json"));
    let described = |task: &Value| {
        let classes = task["classes"].as_array().unwrap();
        classes.iter().any(|it| it["name"] == class && it["description"] == new)
    };
    assert!(described(&task), "{task}");
    dir.ok(&["audit", "out", "--no-nearest"]);
}

#[test]
fn only_what_was_shown_is_accepted() {
    let dir = TestDir::new();
    run(&dir);
    dir.ok(&["refine", "out"]);
    let path = dir.path("out/refined.json");
    let refined = json(&path);
    let draft = usable(&refined).expect("a draft");
    let (class, new) = (draft["class"].as_str().unwrap(), draft["new"].as_str().unwrap());
    let before = toml(&dir);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(new, "not what was shown")).unwrap();
    let errors = dir.fails(&["refine", "out", "--accept", class]);
    assert!(errors.contains("refined.json is not what was shown"), "{errors}");
    assert_eq!(toml(&dir), before);
    fs::write(&path, text).unwrap();
    // The task is elsewhere now.
    fs::rename(dir.path("task"), dir.path("moved")).unwrap();
    let errors = dir.fails(&["refine", "out", "--accept", class]);
    assert!(errors.contains("cannot read") && errors.contains("--task"), "{errors}");
    dir.ok(&["refine", "out", "--accept", class, "--task", "moved"]);
    assert_ne!(fs::read_to_string(dir.path("moved/task.toml")).unwrap(), before);
}
