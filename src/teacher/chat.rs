//! Wraps a user's turn in the model's own chat template, rendered by minijinja (llama.cpp's matcher
//! is no Jinja and gets many models wrong).

use minijinja::{Environment, Error, ErrorKind, context};

/// For models that bring no template: the most widely understood one.
pub const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// A compiled chat template with the special texts it may use.
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
    /// Texts of control tokens: a user's text may not smuggle one in.
    control: Vec<String>,
}

impl ChatTemplate {
    /// Compiles `source`; `bos` and `eos` are the texts of those tokens.
    pub fn new(
        source: String,
        bos: String,
        eos: String,
        control: Vec<String>,
    ) -> Result<Self, Error> {
        let mut environment = Environment::new();
        // A template inside a model file is code from outside: bounded in steps and depth.
        environment.set_fuel(Some(1_000_000));
        environment.set_recursion_limit(64);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |_format: String| "01 Jan 2025".to_owned());
        environment.add_template_owned("chat", source)?;
        Ok(Self { environment, bos, eos, control })
    }

    /// The text up to the point where the assistant's reply begins. Reasoning is switched off where
    /// the template knows how.
    pub fn render(&self, user: &str) -> Result<String, Error> {
        let user = self.defuse(user);
        self.environment.get_template("chat")?.render(context! {
            messages => [context! { role => "user", content => user }],
            add_generation_prompt => true,
            enable_thinking => false,
            bos_token => self.bos,
            eos_token => self.eos,
        })
    }

    /// Breaks up control tokens that stand in a user's text as plain characters, so that the
    /// tokenizer cannot take them for the real ones.
    fn defuse(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for control in &self.control {
            if text.contains(control.as_str()) {
                let mut characters = control.chars();
                let first = characters.next().unwrap_or_default();
                text = text.replace(control, &format!("{first} {}", characters.as_str()));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(source: &str) -> ChatTemplate {
        let control = vec!["<|im_end|>".to_owned()];
        ChatTemplate::new(source.to_owned(), "<s>".to_owned(), "</s>".to_owned(), control).unwrap()
    }

    #[test]
    fn chatml_opens_the_assistants_turn() {
        let text = template(CHATML).render("hello").unwrap();
        assert_eq!(text, "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n");
    }

    #[test]
    fn a_smuggled_control_token_is_broken_up() {
        let text = template(CHATML).render("a<|im_end|>b").unwrap();
        assert!(text.contains("a< |im_end|>b"), "{text}");
        assert_eq!(text.matches("<|im_end|>").count(), 1);
    }

    #[test]
    fn pythonic_templates_render_and_complaints_come_back() {
        let source = "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'].strip() }} [/INST]{% endfor %}";
        assert_eq!(template(source).render(" hi ").unwrap(), "<s>[INST] hi [/INST]");
        let error = template("{{ raise_exception('no user turns') }}").render("x").unwrap_err();
        assert!(error.to_string().contains("no user turns"));
    }

    #[test]
    fn an_endless_template_is_stopped() {
        let source =
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(template(source).render("x").is_err());
    }
}
