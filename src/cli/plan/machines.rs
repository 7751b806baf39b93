//! `plan --machines`: the time and the price of a run whose stages are done in shards.

use clap::Args;
use serde_json::{Value, json};

use super::{
    Plan, Speed,
    time::{Basis, words},
};
use crate::counted::counted;

/// The machines that a run is planned for.
#[derive(Args)]
pub(in crate::cli) struct MachineArgs {
    /// Estimate the time on N machines, with the teacher's stages in shards (`--shard`)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    machines: Option<u32>,
    /// Prompt processing and generation speed of the teacher on one machine, such as 4000,900
    ///
    /// In tokens per second, of all slots together. Without it, the speed that `promptmix bench`
    /// measured on this machine, or a guess.
    #[arg(long, value_name = "READ,WRITTEN", value_parser = speed)]
    teacher_tokens_per_second: Option<Speed>,
    /// Price of one machine per hour, in any currency: rent, or kilowatts times the price of a
    /// kilowatt-hour
    #[arg(long, value_name = "PRICE", value_parser = price)]
    price_per_hour: Option<f64>,
}

impl MachineArgs {
    /// The speed that the user gave.
    pub(super) fn speed(&self) -> Option<Speed> {
        self.teacher_tokens_per_second
    }

    /// The estimate for these machines, if the user asks for one.
    pub(super) fn estimate(&self, plan: &Plan) -> Option<Estimate> {
        let asked = self.machines.is_some() || self.price_per_hour.is_some();
        asked.then(|| Estimate::of(plan, self.machines.unwrap_or(1), self.price_per_hour))
    }
}

fn speed(text: &str) -> Result<Speed, String> {
    let form = || "expected two numbers above 0, such as 4000,900".to_owned();
    let (read, written) = text.split_once(',').ok_or_else(form)?;
    let number = |text: &str| match text.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err(form()),
    };
    Ok(Speed { read: number(read)?, written: number(written)?, basis: Basis::Given })
}

fn price(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(price) if price >= 0.0 && price.is_finite() => Ok(price),
        _ => Err("expected a number, such as 1.50".to_owned()),
    }
}

/// Seconds of the parts of a run. Those of the teacher are tokens by speed; a part in shards takes
/// its share on each machine.
pub(super) struct Estimate {
    machines: u32,
    price: Option<f64>,
    /// In shards, the time on each of the machines: generation, and the labels of texts.
    shared: [(&'static str, f64); 2],
    /// On one machine: the labels of the test set and of the check before the run, and the
    /// students.
    alone: [(&'static str, f64); 2],
    /// Whether the time of the students is among them.
    students_known: bool,
}

impl Estimate {
    fn of(plan: &Plan, machines: u32, price: Option<f64>) -> Self {
        let texts = plan.texts + plan.unlabelled.unwrap_or(0);
        let labels = plan.label_seconds();
        let in_shards = texts as f64 / plan.relabelling.count.max(1) as f64;
        let students = plan.training.time.as_ref().map(|time| time.seconds);
        let each = |seconds: f64| seconds / f64::from(machines);
        Self {
            machines,
            price,
            shared: [
                ("generation", each(plan.generation_seconds())),
                ("labels", each(labels * in_shards)),
            ],
            alone: [
                ("the test set and the check", labels * (1.0 - in_shards)),
                ("the students", students.unwrap_or(0.0)),
            ],
            students_known: students.is_ok(),
        }
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.shared.into_iter().chain(self.alone)
    }

    /// From the beginning to the end.
    fn seconds(&self) -> f64 {
        self.parts().map(|(_, seconds)| seconds).sum()
    }

    fn machine_hours(&self) -> f64 {
        let sum = |parts: [(&str, f64); 2]| parts.iter().map(|(_, seconds)| seconds).sum::<f64>();
        (sum(self.shared) * f64::from(self.machines) + sum(self.alone)) / 3600.0
    }

    fn longest(&self) -> (&'static str, f64) {
        let longest = self.parts().max_by(|one, other| one.1.total_cmp(&other.1));
        longest.expect("there are four parts")
    }

    pub(super) fn json(&self) -> Value {
        let minutes: Vec<Value> = self
            .parts()
            .map(|(part, seconds)| json!({"part": part, "minutes": seconds / 60.0}))
            .collect();
        json!({
            "machines": self.machines, "parts": minutes, "minutes": self.seconds() / 60.0,
            "students_known": self.students_known,
            "longest": self.longest().0, "machine_hours": self.machine_hours(),
            "price": self.price.map(|price| price * self.machine_hours()),
        })
    }

    pub(super) fn print(&self) {
        let list = |parts: [(&str, f64); 2]| {
            parts.map(|(part, seconds)| format!("{part} {}", words(seconds))).join(", ")
        };
        let line = |label: &str, text: String| println!("{label:<10}{text}");
        let machines = counted(self.machines as usize, "machine");
        line("shards", format!("on {machines}: {}", list(self.shared)));
        line("", format!("then on one: {}", list(self.alone)));
        let (longest, seconds) = self.longest();
        let share = 100.0 * seconds / self.seconds().max(f64::MIN_POSITIVE);
        let all = words(self.seconds());
        line("", format!("about {all} in all; the largest part: {longest} ({share:.0} %)"));
        if !self.students_known {
            line("", "without the time of the students, which is not known".to_owned());
        }
        let hours = self.machine_hours();
        let price = self.price.map(|price| format!(", which cost {:.2}", price * hours));
        let price = price.unwrap_or_default();
        line("", format!("{hours:.2} machine-hours{price}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_shards_shrink_and_the_others_stay() {
        let of = |machines: u32| Estimate {
            machines,
            price: Some(2.0),
            shared: [7200.0, 3600.0].map(|seconds| ("", seconds / f64::from(machines))),
            alone: [("the test set and the check", 600.0), ("the students", 1200.0)],
            students_known: true,
        };
        let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
        assert!(near(of(1).seconds(), 12_600.0) && near(of(12).seconds(), 2700.0));
        assert!(near(of(1).machine_hours(), 3.5) && near(of(12).machine_hours(), 3.5));
        assert_eq!(of(12).longest().0, "the students");
        assert_eq!(of(12).json()["price"], 7.0);
    }

    #[test]
    fn speeds_and_prices_are_checked() {
        assert!(speed("4000,900").is_ok_and(|it| it.read == 4000.0 && it.written == 900.0));
        for text in ["4000", "0,1", "1,-1", "inf,1", "a,b", "1,2,3"] {
            assert!(speed(text).is_err(), "{text}");
        }
        assert_eq!(price("1.5"), Ok(1.5));
        assert!(price("-1").is_err() && price("nan").is_err());
    }
}
