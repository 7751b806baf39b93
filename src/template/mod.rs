//! Runs a Jinja template that somebody else wrote: the chat template in a model file, the prompts
//! of a task.
//!
//! Such a template is untrusted code. It has no loader, so it reaches no file and no other
//! template, and it is limited in steps, depth and output, in the memory of its variables
//! ([`budget`]), in its time and, in processes that may be aborted, by the kernel
//! ([`process_limit`]).

pub(crate) mod budget;
mod constants;
mod operators;
pub(crate) mod process_limit;

use std::sync::Arc;

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Value,
    machinery::{CompiledTemplate, TemplateConfig, Vm, WhitespaceConfig, make_string_output},
};

/// Maximum number of steps; the largest real template takes a few thousand.
const FUEL: u64 = 1_000_000;
/// Maximum size of the output from texts between tags. A template with long texts gets fewer steps.
const MAX_RAW_BYTES: u64 = 256 << 20;
/// Maximum depth of recursion.
const MAX_DEPTH: usize = 64;
/// Maximum size of the output in bytes, plus [`PER_INPUT_BYTE`] times the input.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
const PER_INPUT_BYTE: usize = 8;

/// A template and the environment with everything that it may call.
pub(crate) struct Template {
    name: &'static str,
    environment: Environment<'static>,
    source: String,
    white_space: WhitespaceConfig,
}

impl Template {
    /// Compiles `source` in an environment of its own, which charges what it does to the budget of
    /// a rendering. `plain` is the same environment without charges.
    ///
    /// # Errors
    /// A source that is not Jinja, and constants that are too large.
    pub(crate) fn new(
        name: &'static str,
        source: String,
        plain: &'static Environment<'static>,
        white_space: WhitespaceConfig,
    ) -> Result<Self, Error> {
        let mut environment = plain.clone();
        environment.set_recursion_limit(MAX_DEPTH);
        // In debug mode errors would show variables, which hold the user's text.
        environment.set_debug(false);
        budget::install(&mut environment, plain);
        operators::install(&mut environment, plain);
        let mut template = Self { name, environment, source, white_space };
        constants::check(&template.source, white_space)?;
        let (_, longest) = process_limit::within(template.source.len(), || {
            template.compile().map(|(_, longest)| ((), longest))
        })?;
        let fuel = FUEL.min(MAX_RAW_BYTES / longest.max(1) as u64);
        template.environment.set_fuel(Some(fuel));
        Ok(template)
    }

    /// The template with its budget instrumentation, and the length of the longest text between
    /// tags.
    fn compile(&self) -> Result<(CompiledTemplate<'_>, usize), Error> {
        let config = TemplateConfig {
            syntax_config: Default::default(),
            ws_config: self.white_space,
            default_auto_escape: Arc::new(|_| AutoEscape::None),
        };
        let mut template = CompiledTemplate::new(self.name, &self.source, &config)?;
        let longest = operators::instrument(&mut template);
        Ok((template, longest))
    }

    /// Renders the template; `input` is the length of the user's text in bytes.
    ///
    /// # Errors
    /// A template that fails or exceeds a limit.
    pub(crate) fn render(&self, variables: Value, input: usize) -> Result<String, Error> {
        process_limit::within(input, || self.render_here(variables, input))
    }

    fn render_here(&self, variables: Value, input: usize) -> Result<String, Error> {
        let (template, _) = self.compile()?;
        let limit = MAX_OUTPUT_BYTES + PER_INPUT_BYTE * input;
        let mut text = String::new();
        budget::reset(input);
        Vm::new(&self.environment).eval(
            &template.instructions,
            variables,
            &template.blocks,
            &mut make_string_output(&mut text),
            AutoEscape::None,
        )?;
        if text.len() > limit {
            return Err(Error::new(
                ErrorKind::WriteFailure,
                format!("the template writes more than {limit} bytes"),
            ));
        }
        Ok(text)
    }
}
