//! Wraps a user's turn in the model's own chat template.
//!
//! A GGUF contains the template that its model was trained with, in Jinja. llama.cpp does not
//! interpret Jinja but matches known templates, and gets many models wrong. So the template is
//! rendered by minijinja, which [`jinja`] makes behave like the renderer of Hugging Face
//! transformers. A prompt is always one user turn, without tools or a system message; [`thinking`]
//! keeps reasoning out of the reply. `family` knows how the templates of well-known families
//! render, so that `doctor` can show where the template in a file differs.
//!
//! The golden files in `tests/data/chat/` are written by transformers (`scripts/chat_golden.py`).

mod family;
mod jinja;
#[cfg(test)]
mod tests;
mod thinking;

use std::collections::HashSet;

use minijinja::{Error, ErrorKind, Value, context};

use crate::template::Template;

pub(crate) use family::{Difference, Family, family};
pub(crate) use thinking::{TAGS, is_tag, strip_thinking};

/// For models without a template: the most widely understood one.
pub(crate) const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// A compiled chat template with the special tokens it may use.
pub struct ChatTemplate {
    engine: Template,
    source: String,
    bos: String,
    eos: String,
    /// Texts of control tokens, marks and thinking tags: a user's text may not smuggle one in.
    control: Vec<String>,
    /// The variables that tell the template not to think.
    switches: Value,
}

impl ChatTemplate {
    /// Compiles `source`; `bos` and `eos` are the texts of those tokens, `control` those of all
    /// control tokens.
    ///
    /// # Errors
    /// A template that is not valid Jinja.
    pub fn new(
        source: String,
        bos: String,
        eos: String,
        mut control: Vec<String>,
    ) -> Result<Self, Error> {
        let engine = jinja::compile(&source)?;
        // The marks of turns and thoughts are not control tokens in every file.
        control.extend(family(&source).into_iter().flat_map(Family::marks).map(|&m| m.to_owned()));
        let thoughts = TAGS.iter().filter(|t| source.contains(t.open) || source.contains(t.close));
        control.extend(thoughts.flat_map(|t| [t.open.to_owned(), t.close.to_owned()]));
        // A single character or white space cannot be broken up, and would be in every text.
        control.retain(|token| token.trim().chars().nth(1).is_some());
        let mut seen = HashSet::new();
        control.retain(|token| seen.insert(token.clone()));
        let switches = thinking::switches(&source);
        Ok(Self { engine, source, bos, eos, control, switches })
    }

    /// The text up to the point where the assistant's reply begins, outside any thinking. Today's
    /// date, if a template writes it, is always 26 July 2024.
    ///
    /// # Errors
    /// A template that fails, refuses (`raise_exception`), takes too many steps, nests too deeply,
    /// creates values of more than 16 MiB plus 64 times its input, or writes more than 1 MiB plus
    /// eight times its input.
    pub fn render(&self, user: &str) -> Result<String, Error> {
        let mut prompt = self.expand(user)?;
        prompt += &thinking::closing(&prompt);
        Ok(prompt)
    }

    /// A fixed turn as the template renders it, which tells templates apart.
    ///
    /// # Errors
    /// As [`render`](Self::render), and a template that omits the user's text.
    pub fn probe(&self) -> Result<String, Error> {
        const PROBE: &str = "Which class is this text?\n\nText: It's \"late\"; 1 + 1 = 2";
        let prompt = self.render(PROBE)?;
        if prompt.contains(PROBE) {
            return Ok(prompt);
        }
        Err(Error::new(ErrorKind::InvalidOperation, "it omits the user's text"))
    }

    /// The output of the template itself.
    fn expand(&self, user: &str) -> Result<String, Error> {
        let user = self.defuse(user);
        let plain = self.turn(&user, user.as_str().into());
        if plain.as_ref().is_ok_and(|text| text.contains(user.trim())) {
            return plain;
        }
        // Some templates of multimodal models accept only a content that is a list of parts.
        let parts = vec![context! { type => "text", text => user }];
        match self.turn(&user, parts.into()) {
            // It does not count if the template printed the list itself.
            Ok(text) if text.contains(user.trim()) && !text.contains("{\"type\"") => Ok(text),
            _ => plain,
        }
    }

    fn turn(&self, user: &str, content: Value) -> Result<String, Error> {
        // transformers passes tools and documents even if there are none.
        let variables = context! {
            messages => [context! { role => "user", content => content }],
            tools => (),
            documents => (),
            add_generation_prompt => true,
            bos_token => self.bos,
            eos_token => self.eos,
            ..self.switches.clone()
        };
        let rendered = self.engine.render(variables, user.len());
        rendered.map_err(|error| jinja::in_own_words(error, &self.source))
    }

    /// Breaks up control tokens that are spelled out in a user's text, so that the tokenizer cannot
    /// take them for real ones. None is left, however they are nested.
    fn defuse(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // The inserted space can in theory complete a token with a space, so one round may not
        // suffice.
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
        // Each removal makes the text shorter, so this ends.
        while let Some(token) = self.control.iter().find(|token| text.contains(token.as_str())) {
            text = text.replace(token.as_str(), "");
        }
        text
    }

    /// The family of the template, recognised by its marks.
    pub fn family(&self) -> Option<Family> {
        family(&self.source)
    }

    /// How the template's rendering of a fixed probe differs from those of all known templates of
    /// its family. `None` if one of them renders the same, or if the family is unknown. The
    /// template may still treat other texts differently.
    pub fn differs_from_known(&self) -> Option<Difference> {
        let family = self.family()?;
        let known = family.templates().iter().filter_map(|source| {
            let (bos, eos) = (self.bos.clone(), self.eos.clone());
            Self::new((*source).to_owned(), bos, eos, self.control.clone()).ok()
        });
        family::difference(family, self, known)
    }
}

/// `token` with a space after its first visible character.
fn broken(token: &str) -> String {
    let at = token.char_indices().skip_while(|(_, c)| c.is_whitespace()).nth(1);
    let (head, tail) = token.split_at(at.map_or(token.len(), |(at, _)| at));
    format!("{head} {tail}")
}
