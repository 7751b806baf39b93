//! Texts of many tasks, as people write them. None is junk, though many look like some.

use crate::{
    augment::sample::{Sample, seed},
    filter::junk::{Reference, Reply, Verdict, judge},
    prompt::{PromptForm, Prompts, WantedTexts, shown_classes},
};

/// A task whose seeds have no form of junk, so that no rule is off.
struct Domain {
    classes: [&'static str; 2],
    seeds: [&'static str; 2],
    texts: &'static [&'static str],
}

const BANK: Domain = Domain {
    classes: ["fee", "refund"],
    seeds: ["why do I pay for this transfer", "when do I get my money back"],
    texts: &[
        "I paid a 3% fee",
        "I want a 100% refund",
        "a 10% fee was taken, is that normal?",
        "why a 90% refund only",
        "9.99 was charged twice",
        "2.0 update broke the app",
        "they took 5 euros (fee)",
        "why was I charged extra (10%)?",
        "10% - is that normal for a transfer?",
        "50%: that is what you promised me",
        "****1234 was charged twice",
        "card **** **** **** 1234 is blocked",
        "the cards **1234 and **5678 are mine",
        "-5 euros on my account, why?",
        "- 5 euros again on my account",
        "IBAN DE89 3704 0044 0532 0130 00 is not accepted",
        "Hello, I need my money back. Regards, Anna (customer since 2012)",
        "Dear Sir or Madam, the payment failed again. Best, J. Smith",
        "[URGENT] the transfer never arrived",
        "Fwd: [EXTERNAL] your invoice is overdue",
        "I have two problems. 1. The card is lost. 2. The app fails.",
        "Two things: 1) no money 2) no answer",
        "How much is it? €5 or $6?",
        "the agent said: no",
        "I asked an agent. Agent: Smith. No answer since.",
        "refund, please (order 12-3456/A)",
        "they took 5 euros - fee",
        "I got half of it - refund or not?",
        "ticket 4711",
        "I am sorry, but I cannot pay this fee",
    ],
};

const HELP: Domain = Domain {
    classes: ["network", "software"],
    seeds: ["the wifi is slow today", "my laptop does not start"],
    texts: &[
        "404: page not found",
        "1.5 GB of data is missing",
        "3.11: cannot install it",
        "1. FC Cologne site does not load",
        "set JAVA_HOME to what?",
        "the folder old_files is full",
        "do_not_reply sends me mail every day",
        "Output: nothing at all on my monitor",
        "my topic: network",
        "please open report_2024 for me",
        "user anna_b cannot log in",
        "SSID home_net_5G is gone",
        "System: Windows 11, crashes on start",
        "[solved] the printer works again",
        "the log says [error] and nothing else",
        "my files are at https://files.example.org/shared/",
        "the path ends in /",
        "monitor has a size of 27\"",
        "product AB-1234_X does not ship",
        "my key ends with 3F2A-",
        "# of users is wrong in the panel",
        "A) is greyed out, B) works",
        "(c) 2020 is still in the footer",
        "10 kΩ resistor or a 5 μF capacitor?",
        "what does ¯\\_(ツ)_/¯ mean in the log",
        "the page shows \"你好\" instead of hello",
    ],
};

const CODE: Domain = Domain {
    classes: ["python", "web"],
    seeds: ["how do I sort a list", "the button does not react"],
    texts: &[
        "why is 2 ** 3 not 6?",
        "is 2**3**2 equal to 512?",
        "f(**kwargs) and g(**options) differ how?",
        "What does `yield` do in a generator?",
        "why does this fail: for i in range(10):",
        "int x = 5;",
        "what is wrong with x =",
        "function foo() {",
        "print(x gives a syntax error",
        "__init__ is not called in my class",
        "__name__ and __file__ differ how?",
        "is _x or x_ the private one",
        "x = 2 ** n ** 2 is what",
        "** is the power operator, and ** binds first",
        "my_func: what does it return?",
        "how to map a -> b in a lambda",
        "*args and **kwargs, what are they",
        "> 100 requests per second, how?",
        ">>> import foo fails",
        "-- comments do not work in my query",
        "How do I center a <div>?",
        "What is the </p> tag for?",
        "std::vector<int>() does not compile",
        "[\"a\", \"b\"] is not sorted, why?",
        "GET /api/users returns 500 since Monday",
        "git clone <url> asks for a password",
        "f'{name}' prints the braces",
        "def f(x): return x ** 2 if x else None",
        "rename my_list to your_list everywhere",
        "**kwargs is a dict, and so is **options",
    ],
};

const QUESTIONS: Domain = Domain {
    classes: ["numeric", "human"],
    seeds: ["how far is the moon from here", "who wrote this old novel"],
    texts: &[
        "What is 90% of 40?",
        "What is the ΔT between the two?",
        "what is \\frac{a}{b} for b = 0",
        "is 1 in [0, 1) or not",
        "does the interval (a, b] hold b",
        "How many years passed from 1914 to 1918?",
        "Who said \"I am [sic] the state\"?",
        "What does \"λόγος\" mean?",
        "How do you say \"привет\" in Greek?",
        "what is the charge of Na+ or blood type AB-",
        "|x| = 3 has how many solutions",
        "2 + 2 = 5 is by whom?",
        "The capital of France is ____",
        "1984: who wrote it?",
        "7 of 9, who played her?",
        "3. is which ordinal in German?",
        "Who is No. 1. in tennis?",
        "Who played Agent 47?",
        "What does N/A mean?",
        "is a class - in biology - above an order",
    ],
};

const REVIEWS: Domain = Domain {
    classes: ["positive", "negative"],
    seeds: ["a film that I will see again", "it was a waste of an evening"],
    texts: &[
        "my flight is cancelled :(",
        "my flight is not cancelled :)",
        "so sad :-( never again",
        "broken on arrival ;(",
        "sold out again :((((",
        "no words :'(",
        "meh :[",
        "(: best day ever",
        "10/10",
        "👍👍👍",
        "Amazing!",
        "*sigh* not again",
        "I *really* loved it",
        "5 stars (60% cotton, 40% polyester)",
        "cheap and good (20% off)",
        "Not bad :/",
        "it is <3",
        "rock 'n' roll at its best",
        "f**k this s**t",
        "“Great”, they said. “Fun”, they said.",
    ],
};

const GERMAN: Domain = Domain {
    classes: ["Termin", "Rechnung"],
    seeds: ["wann kann ich vorbeikommen", "ich habe zu viel bezahlt"],
    texts: &[
        "24. Dezember ist zu",
        "2. Mahnung erhalten, aber längst bezahlt",
        "Es klappt nicht am Montag. 24. Dezember passt nicht.",
        "Geht es am 1. oder 2. Mai?",
        "1. Klasse oder 2. Klasse?",
        "19,99 € wurden doppelt abgebucht",
        "Größe 42, Straße 7, 3. Stock",
        "Er sagte: „Morgen“ und legte auf",
        "Preis: 20 € (inkl. 19 % MwSt.)",
        "Sehr geehrte Damen und Herren, die Rechnung fehlt. Mit freundlichen Grüßen, K. Möller",
        "2. Termin bitte verschieben",
        "8:30 Uhr geht nicht",
    ],
};

const FRENCH: Domain = Domain {
    classes: ["livraison", "paiement"],
    seeds: ["quand arrive mon colis", "ma carte est encore bloquée"],
    texts: &[
        "Où est mon colis ?",
        "— Bonjour, c'est pour quand ?",
        "Il a dit « demain » et rien n'est arrivé",
        "1er mai : fermé ?",
        "J'ai payé 12,50 € (frais de 3 %)",
        "n° 12 ou n° 14 ?",
        "c'est l'œuvre d'un fou",
        "2 colis sur 3 sont là ; où est l'autre ?",
    ],
};

#[test]
fn good_texts_of_many_tasks_are_neither_dropped_nor_changed() {
    let domains = [BANK, HELP, CODE, QUESTIONS, REVIEWS, GERMAN, FRENCH];
    assert!(domains.iter().map(|domain| domain.texts.len()).sum::<usize>() >= 120);
    let mut wrong = Vec::new();
    for Domain { classes, seeds, texts } in domains {
        let rows = (0..2).map(|class| seed(seeds[class], class)).collect();
        let mut task = Sample::new(&classes, rows).task;
        task.classes.iter_mut().for_each(|class| class.description.clear());
        let shown = shown_classes(&task, &[0, 1], |class| vec![seeds[class].to_owned()]);
        let reference = Reference::new(&task, 500);
        for share in [95, 90, 60, 50, 100] {
            let prompts = Prompts::load(None).unwrap();
            let prompt = prompts
                .mixup(
                    PromptForm::default(),
                    &task,
                    &shown,
                    (0, 1),
                    (share, 100 - share),
                    &WantedTexts::of(3),
                )
                .unwrap();
            for (text, place) in texts.iter().flat_map(|text| (0..3).map(move |at| (*text, at))) {
                let mut lines = ["something else", "and another thing", "the last of them"];
                lines[place] = text;
                let reply = Reply::new(&prompt, Some(share), &lines);
                let verdict = judge(text, &reply.place(place), &reference);
                if verdict != Verdict::Keep {
                    wrong.push(format!("{text} at {place}, {share} %: {verdict:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn texts_without_letters_are_kept_beside_examples_without() {
    let judged = |text: &str, example: &str| {
        let mut task = Sample::new(&["yes", "no"], vec![seed(example, 0)]).task;
        task.classes.iter_mut().for_each(|class| class.description.clear());
        judge(text, &Reply::new("", None, &[text]).place(0), &Reference::new(&task, 500))
    };
    assert_eq!(judged("?!", "???"), Verdict::Keep);
    assert_eq!(judged("👎", "👍👍"), Verdict::Keep);
    assert_eq!(judged("42", "7"), Verdict::Keep);
    assert_ne!(judged("?!", "what do you mean"), Verdict::Keep);
    assert_ne!(judged("42", "what do you mean"), Verdict::Keep);
}

#[test]
fn languages_without_spaces_have_no_single_words() {
    let mut task = Sample::new(&["a1", "b1"], vec![seed("我的卡丢了， 怎么办", 0)]).task;
    task.classes.iter_mut().for_each(|class| class.description.clear());
    let reference = Reference::new(&task, 500);
    for text in ["我的卡在哪里", "iPhone 15 Pro Max", "ok"] {
        let verdict = judge(text, &Reply::new("", None, &[text]).place(0), &reference);
        let single = text == "ok";
        assert_eq!(verdict != Verdict::Keep, single, "{text}");
    }
}
