//! The whole way with a spreadsheet export as a bank has it: e-mails of 20 to 300 words in 8
//! classes, subject and body in two columns, separated by semicolons, with a byte-order mark, 3 to
//! 30 examples a class. Nobody edits a file on the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{TestDir, json, rows};

/// A class: its name, subjects, and sentences that say what it is about.
struct Kind {
    name: &'static str,
    subjects: [&'static str; 3],
    core: [&'static str; 4],
}

const KINDS: [Kind; 8] = [
    Kind {
        name: "card_lost",
        subjects: ["Card lost", "My debit card is gone", "Please block my card"],
        core: [
            "I lost my {colour} card {place} and cannot find it anywhere.",
            "My wallet with the {colour} card was stolen {place}.",
            "Please block the card that ends in {digits} at once.",
            "Send a replacement for the missing card to my address in {town}.",
        ],
    },
    Kind {
        name: "card_declined",
        subjects: ["Payment refused", "Card does not work", "Declined at the till"],
        core: [
            "The terminal {place} refused my {colour} card although there is money on the account.",
            "My card was declined three times {place}.",
            "The shop in {town} said that the card ending in {digits} is not accepted.",
            "Why does the payment of {amount} not go through?",
        ],
    },
    Kind {
        name: "transfer_missing",
        subjects: ["Where is my transfer?", "Money has not arrived", "Transfer of {amount}"],
        core: [
            "I sent {amount} to my landlord in {town} and it has not arrived.",
            "The transfer with the reference {digits} left my account days ago.",
            "The recipient has not received the {amount} that I wired.",
            "Please trace the missing transfer and tell me where the money is.",
        ],
    },
    Kind {
        name: "login_problem",
        subjects: ["Cannot log in", "Online banking locked", "Password not accepted"],
        core: [
            "Online banking says that my password is wrong.",
            "I am locked out of the app since I was {place}.",
            "The code {digits} that I got by text message is not accepted at login.",
            "Please unlock my access to online banking.",
        ],
    },
    Kind {
        name: "fee_question",
        subjects: ["Charge on my statement", "Why this fee?", "Account fee of {amount}"],
        core: [
            "My statement shows a fee of {amount} that I do not understand.",
            "Why was I charged {amount} for withdrawing cash {place}?",
            "Please refund the monthly charge, the account was to be free.",
            "Which fees apply when I use the {colour} card abroad?",
        ],
    },
    Kind {
        name: "loan_request",
        subjects: ["Loan for a kitchen", "Question about a mortgage", "Credit of {amount}"],
        core: [
            "We would like to borrow {amount} for a house in {town}.",
            "What interest do you offer for a loan of {amount}?",
            "Please send me the documents for a consumer loan.",
            "Can I repay the mortgage with the number {digits} early?",
        ],
    },
    Kind {
        name: "address_change",
        subjects: ["New address", "We have moved", "Change of name and address"],
        core: [
            "We have moved to {town} and our address has changed.",
            "Please send all letters to the new address from next month.",
            "My phone number has changed, the new one ends in {digits}.",
            "Which form do I need to change my name after the wedding?",
        ],
    },
    Kind {
        name: "close_account",
        subjects: ["Closing my account", "Termination", "Please close account {digits}"],
        core: [
            "I want to close my account at the branch in {town}.",
            "Please terminate the savings account that ends in {digits}.",
            "Transfer the remaining {amount} to my new bank and close everything.",
            "We no longer need the joint account; how do we cancel it?",
        ],
    },
];

/// Sentences that any e-mail may have.
const FILLER: [&str; 10] = [
    "I have been a customer of your branch in {town} for many years.",
    "I tried the telephone hotline, but nobody answered; I waited for half an hour.",
    "My colleague \"{name}\" told me to write to this address.",
    "On {day} I was in {town} and could not take care of it.",
    "As I am travelling next week, a quick answer would help me a lot.",
    "I have attached a copy of the letter that I received on {day}.",
    "Please call me back in the afternoon, as I work until three o'clock.",
    "This is the second time that I write about this matter.",
    "Thank you in advance for your help; I look forward to your reply.",
    "If you need anything else from me, please let me know by e-mail.",
];

const SLOTS: [(&str, &[&str]); 8] = [
    ("{colour}", &["blue", "gold", "black", "silver"]),
    ("{place}", &["at the station", "in the supermarket", "on holiday", "at the petrol station"]),
    ("{digits}", &["4471", "0938", "7712", "5506", "1289"]),
    ("{town}", &["Graz", "Lyon", "Porto", "Gent", "Malmö", "Kraków"]),
    ("{amount}", &["120 euros", "1,250.00 EUR", "35 euros", "18,000 euros"]),
    ("{day}", &["Monday", "the third of May", "Friday", "Thursday morning"]),
    ("{name}", &["Mr Novak", "Ms Silva", "Mr O'Brien", "Ms Berg"]),
    ("{greeting}", &["Dear Sir or Madam,", "Hello,", "Good morning,", "Dear team,"]),
];

/// Draws by a linear congruential generator: the same e-mails on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn filled(&mut self, template: &str) -> String {
        let mut text = template.to_owned();
        for (slot, values) in SLOTS {
            while text.contains(slot) {
                text = text.replacen(slot, values[self.below(values.len())], 1);
            }
        }
        text
    }

    /// Subject and body of an e-mail, together of about `words` words.
    fn mail(&mut self, kind: &Kind, words: usize) -> (String, String) {
        let subject = kind.subjects[self.below(kind.subjects.len())];
        let subject = self.filled(subject);
        let core = kind.core[self.below(kind.core.len())];
        let mut body = format!("{}\n\n{}", self.filled("{greeting}"), self.filled(core));
        while body.split_whitespace().count() + 4 < words {
            let sentence = match self.below(3) {
                0 => kind.core[self.below(kind.core.len())],
                _ => FILLER[self.below(FILLER.len())],
            };
            let joint = if self.below(4) == 0 { "\n\n" } else { " " };
            body = format!("{body}{joint}{}", self.filled(sentence));
        }
        let name = self.filled("{name}");
        (subject, format!("{body}\n\nRegards,\n{name}"))
    }
}

/// `rows` as a spreadsheet in Europe writes them.
fn export(header: &str, rows: &[Vec<String>]) -> String {
    let cell = |text: &String| match text.contains([';', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.clone(),
    };
    let line = |row: &Vec<String>| row.iter().map(cell).collect::<Vec<_>>().join(";");
    let lines: Vec<String> = rows.iter().map(line).collect();
    format!("\u{feff}{header}\r\n{}\r\n", lines.join("\r\n"))
}

#[test]
fn a_spreadsheet_of_emails_becomes_a_classifier_and_its_answers_a_spreadsheet() {
    let dir = TestDir::new();
    let mut dice = Dice(7);
    let mut examples = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        let mut seen = BTreeSet::new();
        let count = 3 + number * 27 / 7;
        while seen.len() < count {
            // The longest have 300 words, most far fewer.
            let words = if seen.len() == 2 { 290 } else { 20 + dice.below(60) };
            let (subject, body) = dice.mail(kind, words);
            if seen.insert(body.to_lowercase()) {
                let id = format!("{}", 1000 + examples.len());
                examples.push(vec![id, subject, kind.name.to_owned(), body]);
            }
        }
    }
    let count = examples.len();
    dir.write("mails.csv", export("ID;Subject;Category;Body", &examples));
    let output = dir.run(&["init", "mails.csv", "bank"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        errors,
        "mails.csv: separated by \";\", text from \"Subject\" and \"Body\", label from \"Category\"\n"
    );
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("bank: 8 classes"));
    let seeds = rows(&dir.path("bank/seeds.jsonl"));
    assert_eq!(seeds.len(), count);
    assert_eq!(seeds[0]["text"], format!("{}\n\n{}", examples[0][1], examples[0][3]));

    // The models are named, and little is asked of them; no flag is about lengths.
    dir.ok(&[
        "run",
        "bank",
        "--out",
        "run",
        "--teacher",
        "pocket",
        "--student",
        "pocket",
        "--set",
        "augment.per_class=2",
        "--set",
        "run.seeds=1",
        "--set",
        "student.epochs=1",
        "--set",
        "teacher.slots=4",
    ]);
    assert_eq!(json(&dir.path("run/report.json"))["task"]["classes"].as_array().unwrap().len(), 8);

    let new: Vec<Vec<String>> = (0..20)
        .map(|number| {
            let (subject, body) = dice.mail(&KINDS[number % 8], 20 + 13 * number);
            vec![format!("N{number}"), subject, body]
        })
        .collect();
    dir.write("new.csv", export("Nr;Subject;Body", &new));
    let answers = dir.ok(&["predict", "--model", "run", "--file", "new.csv", "--to", "csv"]);
    assert!(!answers.starts_with('\u{feff}'));
    let mut reader = csv::Reader::from_reader(answers.as_bytes());
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let added = ["label", "probability", "in_scope", "truncated", "reason"];
    assert_eq!(header, [&["Nr", "Subject", "Body"][..], &added].concat());
    let found: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(found.len(), new.len());
    let mut counts = BTreeMap::new();
    for (answer, mail) in found.iter().zip(&new) {
        assert_eq!(answer.iter().take(3).collect::<Vec<_>>(), *mail);
        assert!(KINDS.iter().any(|kind| kind.name == &answer[3]), "{answer:?}");
        let probability: f64 = answer[4].parse().unwrap();
        assert!((0.0..=1.0).contains(&probability));
        *counts.entry(answer[6].to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts.values().sum::<i32>(), 20);
}
