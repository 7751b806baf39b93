//! Wraps a user's turn in the model's own chat template.
//!
//! A GGUF brings the template its model was trained with, as Jinja. llama.cpp's own matcher is no
//! Jinja and gets many models wrong, so it is rendered by minijinja, made to behave as the renderer
//! of Hugging Face transformers ([`jinja`]). We only ever send one user turn, no tools, no system
//! message; reasoning is kept out of the reply ([`thinking`]); [`family`] knows how the well-known
//! families' templates render, so that `doctor` can say where one inside a file differs.
//!
//! The golden files in `tests/data/chat/` are written by transformers (`scripts/chat_golden.py`).

mod budget;
mod family;
mod jinja;
mod memory_limit;
#[cfg(test)]
mod tests;
mod thinking;

use std::collections::HashSet;

use minijinja::{Error, ErrorKind, Value, context};

pub(crate) use family::{Difference, Family, family};
pub(crate) use memory_limit::cage;
pub(crate) use thinking::{TAGS, is_tag, strip_thinking};

/// For models that bring no template: the most widely understood one.
pub(crate) const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// A compiled chat template with the special texts it may use.
pub struct ChatTemplate {
    engine: jinja::Engine,
    source: String,
    bos: String,
    eos: String,
    /// Texts that have a meaning to the model: a user's text may not smuggle one in.
    control: Vec<String>,
    /// Tells the template not to think.
    switches: Value,
}

impl ChatTemplate {
    /// Compiles `source`; `bos` and `eos` are the texts of those tokens, `control` those of all
    /// control tokens.
    ///
    /// # Errors
    /// A template that is no Jinja.
    pub fn new(
        source: String,
        bos: String,
        eos: String,
        mut control: Vec<String>,
    ) -> Result<Self, Error> {
        let engine = jinja::Engine::new(&source)?;
        // What marks a turn or a thought is not a control token in every file.
        control.extend(family(&source).into_iter().flat_map(Family::marks).map(|&m| m.to_owned()));
        let thoughts = TAGS.iter().filter(|t| source.contains(t.open) || source.contains(t.close));
        control.extend(thoughts.flat_map(|t| [t.open.to_owned(), t.close.to_owned()]));
        // One letter or mere white space cannot be broken up, and would be in every text.
        control.retain(|token| token.trim().chars().nth(1).is_some());
        let mut seen = HashSet::new();
        control.retain(|token| seen.insert(token.clone()));
        let switches = thinking::switches(&source);
        Ok(Self { engine, source, bos, eos, control, switches })
    }

    /// The text up to the point where the assistant's reply begins: outside of any thinking. Today's
    /// date, where a template writes it, is always 26 July 2024.
    ///
    /// # Errors
    /// A template that fails, refuses (`raise_exception`), takes too many steps, nests too deeply,
    /// piles up more than 16 MiB and 64 times its input in variables, or writes more than 1 MiB and
    /// eight times its input.
    pub fn render(&self, user: &str) -> Result<String, Error> {
        let mut prompt = self.expand(user)?;
        prompt += &thinking::closing(&prompt);
        Ok(prompt)
    }

    /// A fixed turn as the template writes it, which tells one template from another.
    ///
    /// # Errors
    /// As [`render`](Self::render), and a template that leaves out what the user says.
    pub fn probe(&self) -> Result<String, Error> {
        const PROBE: &str = "Which class is this text?\n\nText: It's \"late\"; 1 + 1 = 2";
        let prompt = self.render(PROBE)?;
        if prompt.contains(PROBE) {
            return Ok(prompt);
        }
        Err(Error::new(ErrorKind::InvalidOperation, "it leaves out what the user says"))
    }

    /// What the template itself writes.
    fn expand(&self, user: &str) -> Result<String, Error> {
        let user = self.defuse(user);
        let plain = self.turn(&user, user.as_str().into());
        if plain.as_ref().is_ok_and(|text| text.contains(user.trim())) {
            return plain;
        }
        // Some templates of models that also see pictures know a content of parts only.
        let parts = vec![context! { type => "text", text => user }];
        match self.turn(&user, parts.into()) {
            // A list that was printed as it is does not count.
            Ok(text) if text.contains(user.trim()) && !text.contains("{\"type\"") => Ok(text),
            _ => plain,
        }
    }

    fn turn(&self, user: &str, content: Value) -> Result<String, Error> {
        // transformers passes tools and documents even where there are none.
        let variables = context! {
            messages => [context! { role => "user", content => content }],
            tools => (),
            documents => (),
            add_generation_prompt => true,
            bos_token => self.bos,
            eos_token => self.eos,
            ..self.switches.clone()
        };
        memory_limit::within(user.len(), || self.engine.render(variables, user.len()))
    }

    /// Breaks up control tokens that stand in a user's text as plain characters, so that the
    /// tokenizer cannot take them for the real ones. None is left, whichever way they are nested.
    fn defuse(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // A space can in theory complete a token that holds one, so one round may not do.
        for _ in 0..4 {
            let mut clean = true;
            for token in &self.control {
                if text.contains(token.as_str()) {
                    clean = false;
                    text = text.replace(token.as_str(), &broken(token));
                }
            }
            if clean {
                return text;
            }
        }
        // Taking them out makes the text shorter each time, so this ends.
        while let Some(token) = self.control.iter().find(|token| text.contains(token.as_str())) {
            text = text.replace(token.as_str(), "");
        }
        text
    }

    /// The family whose marks the template has.
    pub fn family(&self) -> Option<Family> {
        family(&self.source)
    }

    /// How the template renders a fixed probe otherwise than every template that is known of its
    /// family; `None` if it does not, or if the family is unknown. A template can still treat other
    /// texts in another way.
    pub fn differs_from_known(&self) -> Option<Difference> {
        let family = self.family()?;
        let known = family.templates().iter().filter_map(|source| {
            let (bos, eos) = (self.bos.clone(), self.eos.clone());
            Self::new((*source).to_owned(), bos, eos, self.control.clone()).ok()
        });
        family::difference(family, self, known)
    }
}

/// A space after the first visible character.
fn broken(token: &str) -> String {
    let at = token.char_indices().skip_while(|(_, c)| c.is_whitespace()).nth(1);
    let (head, tail) = token.split_at(at.map_or(token.len(), |(at, _)| at));
    format!("{head} {tail}")
}
