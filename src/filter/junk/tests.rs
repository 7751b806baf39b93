use super::*;
use crate::{
    augment::sample::{Sample, seed},
    prompt::{PromptForm, Prompts, WantedTexts, shown_classes},
    task::{LabelledText, Task, demo_task},
};

mod good;

const SEEDS: [(&str, usize); 3] = [
    ("How long will it take for my card to arrive?", 0),
    ("My refund is not showing up in my account", 1),
    ("please send me a new card", 0),
];

fn task(seeds: &[(&str, usize)]) -> Task {
    let seeds = seeds.iter().map(|(text, class)| seed(text, *class)).collect();
    let mut task = Sample::new(&["card_arrival", "Refund_not_showing_up", "fee"], seeds).task;
    task.classes[0].description = "when a card comes by post".to_owned();
    task
}

/// A request for texts of the first class, with all classes and their seeds.
fn prompt(task: &Task) -> String {
    let examples = |class| {
        let own = task.seeds.iter().filter(|seed| seed.label == class);
        own.map(|seed| seed.text.clone()).collect()
    };
    let all: Vec<usize> = (0..task.classes.len()).collect();
    let classes = shown_classes(task, &all, examples);
    Prompts::load(None)
        .unwrap()
        .mixup(PromptForm::default(), task, &classes, (0, 1), (90, 10), &WantedTexts::of(3))
        .unwrap()
}

fn judged(text: &str, seeds: &[(&str, usize)]) -> Verdict {
    let task = task(seeds);
    let prompt = prompt(&task);
    let reply = Reply::new(&prompt, Some(90), &[text]);
    judge(text, &reply.place(0), &Reference::new(&task, 500))
}

/// The verdicts on all lines of a reply.
fn judged_lines(lines: [&str; 3], seeds: &[(&str, usize)]) -> [Verdict; 3] {
    let task = task(seeds);
    let prompt = prompt(&task);
    let (reply, reference) = (Reply::new(&prompt, Some(90), &lines), Reference::new(&task, 500));
    [0, 1, 2].map(|at| judge(lines[at], &reply.place(at), &reference))
}

fn cleaned(text: &str, removed: &[Junk]) -> Verdict {
    Verdict::Cleaned(text.to_owned(), removed.to_vec())
}

/// Each form, and an example that makes it legitimate.
#[test]
fn junk_is_dropped_with_its_reason_unless_an_example_has_the_same_form() {
    let long = "my card ".repeat(80);
    let cases = [
        ("12", Junk::BareNumber, "7 3"),
        ("28 %.", Junk::BareNumber, "1.5"),
        ("Card arrival", Junk::ClassName, "card arrival"),
        ("card_arrival: Card arrival", Junk::ClassName, "fee"),
        ("When a card comes by post.", Junk::ClassName, "fee"),
        ("my card_arrival does not work", Junk::Identifier, "where is the mail_id"),
        ("Class: Fee", Junk::ClassName, "fee"),
        ("intent 2: fee", Junk::ClassName, "fee"),
        ("acc_pay", Junk::Identifier, "where is the mail_id"),
        ("acc_pay, card_used", Junk::Identifier, "where is the mail_id"),
        ("pto_used: pto used", Junk::Identifier, "where is the mail_id"),
        ("my card_refund is late", Junk::Identifier, "where is the mail_id"),
        ("Question 1", Junk::BareNumber, "ticket 7"),
        ("example 12:", Junk::BareNumber, "ticket 7"),
        ("N/A", Junk::Placeholder, "n/a"),
        ("(none)", Junk::Placeholder, "n/a"),
        ("I'm sorry, but I cannot help with that", Junk::Remark, "As an AI, I see"),
        ("I, as an AI language model, have no card.", Junk::Remark, "As an AI, I see"),
        ("Reset", Junk::SingleWord, "help"),
        ("GET /api/card HTTP/1.1", Junk::Code, "POST /login"),
        ("GET /api/income (28%)", Junk::Code, "POST /login"),
        ("<p>where is my card</p>", Junk::Code, "<i>this</i> or <i>that</i>"),
        ("where is my card</s>", Junk::Code, "<|end|> is in my mail"),
        ("[\"where is it\", \"help\"]", Junk::Code, "{\"a\": 1}"),
        ("```json", Junk::Code, "```look```"),
        ("Where is it? 2. I need a card.", Junk::SeveralTexts, "First. 2. Second thing."),
        ("Where is it? Assistant: It comes.", Junk::SeveralTexts, "I waited. AI: wait more"),
        ("my card 卡片 is gone", Junk::OtherScript, "my 卡片 is gone"),
        ("Fаilte to you all", Junk::OtherScript, "моя карта is gone"),
        ("Dear [Your Name], it came", Junk::Placeholder, "I am [last name] of Leeds"),
        ("my name is <name> and", Junk::Placeholder, "mail from <full name> came"),
        ("my card came, and then,", Junk::CutOff, "hello there,"),
        ("my card (the blue one is gone", Junk::CutOff, "I like it (not"),
        ("My questions are:", Junk::CutOff, "hello there:"),
        ("I like it (", Junk::CutOff, "hello there,"),
        (long.trim(), Junk::CutOff, "hello there,"),
        ("it is 90% card arrival, 10% fee", Junk::ClassNote, "70% fee, 5% card arrival"),
        ("I am 90% of class fee", Junk::ClassNote, "70% of class fee"),
    ];
    for (text, junk, legitimate) in cases {
        assert_eq!(judged(text, &SEEDS), Verdict::Drop(junk), "{text}");
        let with_form = [&SEEDS[..], &[(legitimate, 2)]].concat();
        assert_ne!(judged(text, &with_form), Verdict::Drop(junk), "{text} beside {legitimate}");
    }
    assert_eq!(judged("**", &SEEDS), Verdict::Drop(Junk::Empty));
    assert_eq!(judged("\"\"", &SEEDS), Verdict::Drop(Junk::Empty));
}

#[test]
fn what_surrounds_a_text_is_removed_unless_examples_have_it() {
    let cases = [
        ("\"where is my card?\"", "where is my card?", Junk::Quotes, "\"quoted text here\""),
        ("'I can't see it'", "I can't see it", Junk::Quotes, "'quoted text here'"),
        ("“where is my card?”", "where is my card?", Junk::Quotes, "“quoted text here”"),
        ("\"where is my card?", "where is my card?", Junk::Quotes, "\"quoted text here\""),
        ("- where is my card?", "where is my card?", Junk::ListMark, "- with a dash"),
        ("**where** is my card?", "where is my card?", Junk::Markdown, "this is **bold** text"),
        ("## where is my card?", "where is my card?", Junk::Markdown, "## a heading here"),
        ("`where is my card?`", "where is my card?", Junk::Markdown, "`the code here`"),
        ("*where is my card?*", "where is my card?", Junk::Markdown, "*this is slanted text*"),
        ("***where is my card?***", "where is my card?", Junk::Markdown, "*slanted text*"),
        ("** Card ** is gone", "Card is gone", Junk::Markdown, "this is **bold** text"),
        ("__where is my card?__", "where is my card?", Junk::Markdown, "__bold text__ here"),
        ("_where is my card?_", "where is my card?", Junk::Markdown, "*this is slanted text*"),
        ("is it __really my__ card?", "is it really my card?", Junk::Markdown, "__bold text__"),
        ("where is it? (Card arrival)", "where is it?", Junk::ClassNote, "I paid it. (fee)"),
        ("where is it (card_arrival).", "where is it.", Junk::ClassNote, "[fee] paid twice"),
        ("where is it? (90%)", "where is it?", Junk::ClassNote, "cheap now! (5%)"),
        ("(fee) where is it?", "where is it?", Junk::ClassNote, "[fee] paid twice"),
        ("where is it (90% card arrival, 10% fee)", "where is it", Junk::ClassNote, "So. (fee)"),
        ("90% - fee paid twice", "fee paid twice", Junk::ClassNote, "5% - fee. Is it right?"),
        ("User: where is my card?", "where is my card?", Junk::Label, "Customer: where is it"),
        ("Ticket 3: where is my card?", "where is my card?", Junk::Label, "ticket: it is gone"),
        ("card_arrival: where is it?", "where is it?", Junk::Label, "fee: paid it twice"),
        ("Card arrival - where is it?", "where is it?", Junk::Label, "Fee - paid it twice"),
        ("card_lost: where is it?", "where is it?", Junk::Label, "Fee - paid it twice"),
        ("Question: where is it?", "where is it?", Junk::Label, "Customer: where is it"),
        ("Example 3: where is it?", "where is it?", Junk::Label, "Customer: where is it"),
        ("where is my card - Fee", "where is my card", Junk::Label, "it is here - Fee"),
        ("where is it? – card arrival", "where is it?", Junk::Label, "it is here • fee"),
        ("where is it -> card_arrival", "where is it", Junk::Label, "it is here • fee"),
        ("where is it • fee", "where is it", Junk::Label, "it is here | fee"),
        ("where is it? Class: Fee", "where is it?", Junk::Label, "it is here | fee"),
        ("where is it (intent: fee)", "where is it", Junk::Label, "it is here, class: fee"),
    ];
    for (text, cleaned, junk, legitimate) in cases {
        let wanted = Verdict::Cleaned(cleaned.to_owned(), vec![junk]);
        assert_eq!(judged(text, &SEEDS), wanted, "{text}");
        let with_form = [&SEEDS[..], &[(legitimate, 2)]].concat();
        assert_ne!(judged(text, &with_form), wanted, "{text} beside {legitimate}");
    }
    let layers = judged("- \"**where is my card? (90%)**\"", &SEEDS);
    let removed = [Junk::ListMark, Junk::Quotes, Junk::Markdown, Junk::ClassNote];
    assert_eq!(layers, cleaned("where is my card?", &removed));
    assert_eq!(judged("Alan • Card arrival", &SEEDS), Verdict::Drop(Junk::SingleWord));
    assert_eq!(judged("N/A - Fee", &SEEDS), Verdict::Drop(Junk::Placeholder));
    // Nothing is left of some.
    assert_eq!(judged("**card_arrival:**", &SEEDS), Verdict::Drop(Junk::ClassName));
    assert_eq!(judged("(90% fee)", &SEEDS), Verdict::Drop(Junk::Empty));
}

/// `2. Mahnung` and `404: not found` begin like a line of a list.
#[test]
fn numbers_are_those_of_a_list_if_all_lines_of_the_reply_have_them() {
    let texts = ["where is my card?", "it is gone", "help me please"];
    let list = [Junk::ListMark];
    for marks in [["1. ", "2. ", "3. "], ["1) ", "2) ", "4) "], ["(a) ", "(b) ", "(c) "]] {
        let lines = [0, 1, 2].map(|at| format!("{}{}", marks[at], texts[at]));
        let lines = [0, 1, 2].map(|at| lines[at].as_str());
        assert_eq!(judged_lines(lines, &SEEDS), texts.map(|text| cleaned(text, &list)));
        let with_form = [&SEEDS[..], &[("1. with a number", 2)]].concat();
        assert!(judged_lines(lines, &with_form).iter().all(|verdict| *verdict == Verdict::Keep));
    }
    for lines in [
        ["1. FC Cologne is broke", texts[1], texts[2]],
        ["24. Dezember ist zu", "25. Dezember ist zu", "26. Dezember ist zu"],
        ["1: page not found", "404: page not found", "403: page not found"],
        ["1.5 GB of data is missing", "2.0 update broke it", "9.99 was charged twice"],
    ] {
        assert!(judged_lines(lines, &SEEDS).iter().all(|verdict| *verdict == Verdict::Keep));
    }
}

/// The second text of a list carries the number after that of its line.
#[test]
fn a_second_text_is_told_from_dates_and_lists_within_a_text() {
    let second = Verdict::Drop(Junk::SeveralTexts);
    let lines =
        ["Where is it? 2. I need it.", "It is gone. 3. Help me.", "It is late! 2. May is ok"];
    assert_eq!(judged_lines(lines, &SEEDS), [second.clone(), second, Verdict::Keep]);
    let lines =
        ["Not now. 24. Dezember is ok", "Two things. 1. None. 2. All.", "On the 3. 4. or 5."];
    assert!(judged_lines(lines, &SEEDS).iter().all(|verdict| *verdict == Verdict::Keep));
}

/// A share and the name of a class are junk only together with the request.
#[test]
fn shares_are_those_of_the_request() {
    for text in ["it is 70% card arrival, 30% fee", "a 10% fee", "I was charged more (10%)"] {
        assert_eq!(judged(text, &SEEDS), Verdict::Keep, "{text}");
    }
    let without_mix = |text: &str| {
        let task = task(&SEEDS);
        judge(text, &Reply::new("", None, &[text]).place(0), &Reference::new(&task, 500))
    };
    assert_eq!(without_mix("it is 90% card arrival, 10% fee"), Verdict::Keep);
    assert_eq!(without_mix("90% - fee paid twice"), Verdict::Keep);
}

#[test]
fn sentences_of_the_prompt_are_dropped_and_words_of_classes_are_not() {
    for text in [
        "Each belongs 70% to the class card_arrival and 30% to the class fee.",
        "Write 3 diverse short tickets, numbered, one per line.",
        "We sort tickets into these classes and want to tell them apart",
    ] {
        assert_eq!(judged(text, &SEEDS), Verdict::Drop(Junk::Echo), "{text}");
    }
    for text in [
        "Why is my refund not showing up?",
        "tell me when a card comes by post to Spain",
        "each of my cards belongs to another bank, where is the class of them?",
    ] {
        assert_eq!(judged(text, &SEEDS), Verdict::Keep, "{text}");
    }
}

#[test]
fn what_a_model_says_for_itself_is_told_from_what_people_say() {
    for text in [
        "As an AI language model, I don't have a bank account.",
        "I am just an AI, so I own no card.",
        "I'm an AI assistant created by a company",
        "It depends. As an AI assistant I have no opinion",
        "Sorry, I can't assist you with that request.",
        "I’m sorry, but I can’t assist with that.",
        "I apologize, but I am unable to generate such texts.",
        "I cannot fulfill your request.",
        "Unfortunately, I cannot provide any examples",
        "Sure! Here are three tickets",
        "Certainly, here are some examples of questions",
        "Als KI-Sprachmodell habe ich keine Karte",
        "En tant que modèle de langage, je ne peux pas",
    ] {
        assert_eq!(judged(text, &SEEDS), Verdict::Drop(Junk::Remark), "{text}");
    }
    for text in [
        "I'm sorry, but I cannot find my card",
        "Sorry, I cannot provide the receipt",
        "Unfortunately I cannot complete this request in the app",
        "I'm sorry, I can't help it",
        "your support said: I cannot help with that",
        "As an AI engineer, I need a second card",
        "As an AI student I am poor, may I pay less?",
        "Your AI assistant did not help me",
        "I am an artist and have no income",
        "Sure, here is my number again",
        "Here are the questions that your form asked me, and my answers",
    ] {
        assert_eq!(judged(text, &SEEDS), Verdict::Keep, "{text}");
    }
}

#[test]
fn people_s_texts_are_never_touched() {
    let demo = demo_task().unwrap();
    let reference = Reference::new(&demo, 500);
    let prompt = prompt(&demo);
    let reply = Reply::new(&prompt, Some(90), &[]);
    let mut count = 0;
    for LabelledText { text, .. } in demo.seeds.iter().chain(&demo.test).chain(&demo.pool) {
        count += 1;
        assert_eq!(judge(text, &reply.place(0), &reference), Verdict::Keep, "{text}");
    }
    assert!(count > 300, "{count}");
    for text in [
        "I owe 5 euros, not 50.",
        "\"Yes\" and \"no\" are both wrong",
        "e-mail me at a_b@example.org",
        "π is not 3",
        "What is 90% of 40?",
        "I arrived at gate 3. Where now?",
        "Request: a new card, please",
        "my card... help",
    ] {
        assert_eq!(judged(text, &SEEDS), Verdict::Keep, "{text}");
    }
}

#[test]
fn scripts_that_are_written_together_are_not_foreign() {
    let judged = |text: &str, example: &str| {
        let mut task = Sample::new(&["a1", "b1"], vec![seed(example, 0)]).task;
        task.classes.iter_mut().for_each(|class| class.description.clear());
        judge(text, &Reply::new("", None, &[]).place(0), &Reference::new(&task, 500))
    };
    assert_eq!(judged("カードが届きません wifi", "私のかーどはどこですか"), Verdict::Keep);
    assert_eq!(judged("wifi не работает", "карта не пришла"), Verdict::Keep);
    assert_eq!(judged("카드 卡片 어디", "카드 어디 있어요 a"), Verdict::Keep);
    assert_eq!(judged("карта 卡片 пришла", "карта не пришла"), Verdict::Drop(Junk::OtherScript));
}
