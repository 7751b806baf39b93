//! A plan as JSON and as text.

use serde_json::{Value, json};

use super::{
    Plan, Training, machines,
    time::{Basis, duration},
};
use crate::{
    cli::error::warn,
    counted::{agree, counted, part},
    memory,
    pipeline::gold,
    report::{CutTexts, teacher_check},
    student::Coverage,
};

/// Number of prompts that the warning names.
const NAMED: usize = 5;

impl Plan {
    pub(super) fn json(&self) -> Value {
        let Self { generation, relabelling, training, .. } = self;
        let time = training.time.as_ref().ok();
        let train = json!({
            "students": training.students, "rows": training.rows, "steps": training.steps,
            "unused_seeds": training.unused_seeds, "unfamiliar": training.unfamiliar,
            "memory_bytes": training.memory,
            "max_length": training.length.map(|(limit, _)| limit),
            "known_texts": training.length.map(|(_, texts)| texts),
            "estimated_minutes": time.map(|time| time.seconds / 60.0),
            "measured": time.is_some_and(|time| time.measured),
        });
        json!({
            "teacher": self.teacher, "generate_calls": generation.count,
            "score_calls": relabelling.count, "label_calls": self.unlabelled,
            "prompt_tokens": generation.prompt_tokens + relabelling.prompt_tokens,
            "prompt_tokens_shared_once": self.read_tokens(),
            "generated_tokens": self.written_tokens, "estimated_minutes": self.seconds() / 60.0,
            "measured": self.speed.basis == Basis::Measured, "train": train, "settings": self.settings,
            "mixup_prompt": generation.example, "near_miss_prompt": self.near_miss,
            "relabel_prompt": relabelling.example,
            "too_long": self.too_long, "teacher_check": self.check,
        })
    }

    /// Prints the plan; with what it takes in `shards`, if the user asked for that.
    pub(super) fn print(&self, shards: Option<&machines::Estimate>) {
        self.warn();
        let Self { generation, relabelling, training, texts, .. } = self;
        let line = |label: &str, text: String| println!("{label:<10}{text}");
        let indented = |text: String| line("", text);
        let size = match self.teacher.parameters {
            0 => "of unknown size".to_owned(),
            parameters => format!("{:.3} billion parameters", parameters as f64 / 1e9),
        };
        line("teacher", format!("{} ({size})", self.teacher.name));
        if let Some(check) = &self.check {
            indented(format!("labels {}", check.summary()));
        }
        line(
            "generate",
            format!("{} for {}", counted(generation.count, "call"), counted(*texts, "text")),
        );
        indented(format!(
            "{} prompt tokens, {} of them to read (shared beginnings count once); about {} tokens to write",
            generation.prompt_tokens, generation.read_tokens, self.written_tokens
        ));
        line(
            "relabel",
            format!("{}, and {} of the test set", counted(*texts, "text"), self.test_texts),
        );
        if let Some(budget) = self.unlabelled {
            line("label", format!("at most {}", counted(budget, "unlabelled text")));
        }
        indented(format!(
            "{} prompt tokens, about {} of them to read",
            relabelling.prompt_tokens, relabelling.read_tokens
        ));
        line("train", training.summary());
        training.length_summary().into_iter().for_each(indented);
        let teacher = duration(self.seconds(), self.speed.basis, "--teacher");
        line("time", format!("teacher: {teacher}"));
        let students = match &training.time {
            Ok(time) => duration(time.seconds, Basis::of(time.measured), "--student"),
            Err(error) => format!("unknown: {error}"),
        };
        indented(format!("students: {students}\n"));
        if let Some(shards) = shards {
            shards.print();
        }
        println!("--- a request for new {}\n{}\n", self.items, generation.example);
        if let Some(prompt) = &self.near_miss {
            println!("--- a request for {} of no class\n{prompt}\n", self.items);
        }
        println!("--- a question for a label\n{}\n", relabelling.example);
        println!("--- settings\n{}", self.settings.to_toml());
    }

    /// Warns of prompts that are too long and of too little memory.
    fn warn(&self) {
        if let Some(message) = self.check.and_then(|check| check.warning()) {
            warn(&message, Some(teacher_check::HINT));
        }
        if !self.too_long.is_empty() {
            let count = self.too_long.len();
            let are = agree(count, "is", "are");
            let mut message = format!(
                "{} of those that were measured {are} too long for the teacher",
                counted(count, "prompt")
            );
            for prompt in self.too_long.iter().take(NAMED) {
                message += &format!("\n  {prompt}");
            }
            if self.too_long.len() > NAMED {
                message += "\n  …";
            }
            let hint = "use fewer seeds (`shots`), fewer classes per prompt (`augment.classes_shown`), shorter texts or a lower `augment.max_tokens`";
            warn(&message, Some(hint));
        }
        if let Some(message) = gold::unused_warning(self.training.unused_seeds) {
            warn(&message, Some(gold::UNUSED_HINT));
        }
        if let Some(message) = &self.training.unfamiliar {
            warn(message, Some(Coverage::HINT));
        }
        if let Some(free) = memory::available().filter(|free| *free < self.training.memory) {
            warn(
                &format!(
                    "a student takes up to {:.1} GB of memory, but only {:.1} GB are free",
                    self.training.memory as f64 / 1e9,
                    free as f64 / 1e9
                ),
                Some("lower student.micro_batch or student.max_length, or use a smaller student"),
            );
        }
    }
}

impl Training {
    fn summary(&self) -> String {
        let Self { students, rows, steps, .. } = self;
        let memory = match self.memory {
            0 => String::new(),
            bytes => format!(", each in up to {:.1} GB of memory", bytes as f64 / 1e9),
        };
        let (students, rows) = (counted(*students, "student"), counted(*rows, "text"));
        format!("{students} on up to {rows} each, {} in all{memory}", counted(*steps, "step"))
    }
}

impl Training {
    /// What a student reads of a text.
    fn length_summary(&self) -> Option<String> {
        let (limit, CutTexts { texts, cut }) = self.length?;
        Some(format!(
            "{limit} tokens of each text are read; {} {are} longer and {are} cut",
            part(cut as usize, texts as usize, "known text"),
            are = agree(cut as usize, "is", "are"),
        ))
    }
}
