//! Requests in the tokens of a model: its chat template and its tokenizer, whatever they are read
//! from.

use std::{collections::HashMap, sync::Arc};

use llama_cpp_2::token::LlamaToken;

use super::{
    GenerateRequest, LabelScoring, Measured, ScoreRequest, TeacherError, TeacherIdentity,
    chat::ChatTemplate, trie::Trie,
};

/// A question in tokens.
pub(super) struct Question<'a> {
    /// Names it in errors.
    pub id: &'a str,
    pub prompt: Vec<LlamaToken>,
    /// Its candidates.
    pub trie: Arc<Trie>,
}

/// The chat template and the tokenizer of a model.
pub(super) trait PromptTokenizer {
    fn identity(&self) -> &TeacherIdentity;

    fn template(&self) -> &ChatTemplate;

    /// Maximum number of tokens of a prompt and its reply together.
    fn longest(&self) -> usize;

    /// The tokens of a whole prompt, with the control tokens that it contains. Most templates write
    /// the begin-of-text token themselves; it is added where the model wants one and the template
    /// wrote none.
    fn prompt_tokens(&self, prompt: &str) -> Vec<LlamaToken>;

    /// The tokens of a text alone, none of which is a control token.
    fn text_tokens(&self, text: &str) -> Vec<LlamaToken>;

    /// Sets the maximum number of tokens of a prompt and its reply together.
    #[cfg(all(target_os = "linux", feature = "remote"))]
    fn limit_context(&mut self, tokens: usize);

    /// Number of tokens in the model's vocabulary, where it is known.
    #[cfg(all(target_os = "linux", feature = "remote"))]
    fn vocabulary(&self) -> Option<usize>;

    /// The tokens that end a turn.
    #[cfg(all(target_os = "linux", feature = "remote"))]
    fn ends(&self) -> Vec<i32>;

    /// The whole prompt up to the reply, as text, including the chat template.
    fn render(&self, user: &str) -> Result<String, TeacherError> {
        self.template().render(user).map_err(|error| TeacherError::ChatTemplate {
            model: self.identity().name.clone(),
            message: format!("{error:#}"),
        })
    }

    /// Tokens of the rendered prompt followed by `cue`.
    fn tokenize(&self, user: &str, cue: &str) -> Result<Vec<LlamaToken>, TeacherError> {
        Ok(self.prompt_tokens(&(self.render(user)? + cue)))
    }

    /// Each of `prompts` as the model receives it, and its length in tokens.
    fn measure(&self, prompts: &[String]) -> Result<Vec<Measured>, TeacherError> {
        let measure = |prompt: &String| {
            let rendered = self.render(prompt)?;
            let tokens = self.prompt_tokens(&rendered).len();
            Ok(Measured { rendered, tokens })
        };
        prompts.iter().map(measure).collect()
    }

    /// The tokens of the prompts of `requests`: id, user's turn, cue and tokens beyond the prompt.
    ///
    /// # Errors
    /// An empty prompt, and one that needs a longer context than the model was trained for.
    fn prompts<'r>(
        &self,
        requests: &mut dyn Iterator<Item = (&'r String, &'r str, &'r str, usize)>,
    ) -> Result<Vec<Vec<LlamaToken>>, TeacherError> {
        let limit = self.longest();
        let mut prompts = Vec::new();
        for (id, user, cue, beyond) in requests {
            let prompt = self.tokenize(user, cue)?;
            let needed = prompt.len() + beyond;
            if needed > limit {
                let model = self.identity().name.clone();
                return Err(TeacherError::TooLong { id: id.clone(), needed, limit, model });
            }
            if prompt.is_empty() {
                return Err(TeacherError::Empty { id: id.clone() });
            }
            prompts.push(prompt);
        }
        Ok(prompts)
    }

    /// The tokens of the prompts and cues of `requests`.
    ///
    /// # Errors
    /// As [`prompts`](Self::prompts).
    fn reply_prompts(
        &self,
        requests: &[GenerateRequest],
    ) -> Result<Vec<Vec<LlamaToken>>, TeacherError> {
        self.prompts(&mut requests.iter().map(|request| {
            (&request.id, request.prompt.as_str(), &*request.cue, request.max_tokens)
        }))
    }

    /// `requests` in tokens. Those with the same candidates share one trie.
    ///
    /// # Errors
    /// As [`prompts`](Self::prompts).
    fn questions<'r>(
        &self,
        requests: &'r [ScoreRequest],
    ) -> Result<Vec<Question<'r>>, TeacherError> {
        let prompts = self.prompts(&mut requests.iter().map(|request| {
            let longest = request.candidates.iter().map(String::len).max().unwrap_or(0);
            (&request.id, request.prompt.as_str(), "", longest)
        }))?;
        let mut known: HashMap<(&[String], LabelScoring), Arc<Trie>> = HashMap::new();
        let mut trie = |request: &'r ScoreRequest| {
            let (names, scoring) = (request.candidates.as_slice(), request.scoring);
            let new = || {
                let names: Vec<_> = names.iter().map(|name| self.text_tokens(name)).collect();
                Arc::new(Trie::new(&names, scoring))
            };
            Arc::clone(known.entry((names, scoring)).or_insert_with(new))
        };
        let question = |(request, prompt): (&'r ScoreRequest, _)| Question {
            id: &request.id,
            prompt,
            trie: trie(request),
        };
        Ok(requests.iter().zip(prompts).map(question).collect())
    }
}
