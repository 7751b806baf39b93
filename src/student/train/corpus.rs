//! Token ids shared by all trainings of a run, whose students train on mostly the same texts.

use std::collections::HashMap;

use super::super::{BaseModel, Result};

/// Texts with their token ids.
#[derive(Debug)]
pub(crate) struct Corpus {
    ids: HashMap<String, Vec<u32>>,
    max_length: usize,
}

impl Corpus {
    /// Tokenises each of `texts` once, as [`BaseModel::tokenise`] does.
    ///
    /// # Errors
    /// As [`BaseModel::tokenise`].
    pub(crate) fn new<'a>(
        base: &BaseModel,
        texts: impl IntoIterator<Item = &'a str>,
        max_length: usize,
    ) -> Result<Self> {
        let mut texts = texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
        texts.sort_unstable();
        texts.dedup();
        let ids = base.tokenise(&texts, max_length)?;
        Ok(Self { ids: texts.into_iter().zip(ids).collect(), max_length })
    }

    /// The token ids of `texts`; tokenises them unless the corpus contains all of them.
    ///
    /// # Errors
    /// As [`BaseModel::tokenise`].
    pub(super) fn ids(
        corpus: Option<&Self>,
        base: &BaseModel,
        texts: &[&str],
        max_length: usize,
    ) -> Result<Vec<Vec<u32>>> {
        let known = corpus.filter(|corpus| corpus.max_length == max_length);
        let find = |text: &&str| known.and_then(|corpus| corpus.ids.get(*text)).cloned();
        if let Some(ids) = texts.iter().map(find).collect() {
            return Ok(ids);
        }
        let texts = texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        base.tokenise(&texts, max_length)
    }
}
