//! How close the texts are to the reference texts in embedding space: a paraphrase may share no
//! words with its source and still be close to it.

use rayon::prelude::*;

use super::{
    Near, Nearest, Text,
    reference_texts::{ReferenceSource, ReferenceTexts},
};
use crate::embed::{EmbedError, Embedder, cosine};

/// Most reference texts to compare with; if there are more, only the seeds are used.
const MAX_COMPARED: usize = 2000;
/// Number of the nearest texts that are listed.
const LISTED: usize = 10;
/// The quantiles reported of the cosines.
const QUANTILES: [f64; 6] = [0.0, 0.25, 0.5, 0.75, 0.95, 1.0];

/// Finds the reference text nearest to each of `texts` among the seeds or, with `all`, among seeds,
/// pool and test set if there are at most [`MAX_COMPARED`]. `None` if there is nothing to compare.
///
/// # Errors
/// An error of the embedder.
pub(crate) fn nearest(
    texts: &[Text<'_>],
    references: &ReferenceTexts<'_>,
    all: bool,
    embedder: &dyn Embedder,
) -> Result<Option<Nearest>, EmbedError> {
    let mut compared: Vec<_> = references.labelled().collect();
    if !all || compared.len() > MAX_COMPARED {
        compared.retain(|(id, _)| id.source == ReferenceSource::Seed);
    }
    if texts.is_empty() || compared.is_empty() {
        return Ok(None);
    }
    let reference_texts: Vec<String> =
        compared.iter().map(|(_, text)| (*text).to_owned()).collect();
    let own_texts: Vec<String> = texts.iter().map(|text| text.text.to_owned()).collect();
    let (references, embedded) = (embedder.embed(&reference_texts)?, embedder.embed(&own_texts)?);
    let nearest = |one: &Vec<f32>| {
        let mut best = (f32::MIN, 0);
        for (at, other) in references.iter().enumerate() {
            let similarity = cosine(one, other);
            if similarity > best.0 {
                best = (similarity, at);
            }
        }
        best
    };
    let found: Vec<(f32, usize)> = embedded.par_iter().map(nearest).collect();
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|a, b| found[*b].0.total_cmp(&found[*a].0).then(a.cmp(b)));
    let few = order.iter().take(LISTED).map(|&at| Near {
        file: texts[at].file.to_owned(),
        line: texts[at].line,
        cosine: f64::from(found[at].0),
        source: compared[found[at].1].0.to_string(),
    });
    let mut sorted: Vec<f64> = found.iter().map(|(similarity, _)| f64::from(*similarity)).collect();
    sorted.sort_by(f64::total_cmp);
    Ok(Some(Nearest {
        compared_with: compared.len() as u64,
        quantiles: QUANTILES.map(|at| (at, quantile(&sorted, at))).to_vec(),
        few: few.collect(),
    }))
}

/// The `at` quantile (0 to 1) of `sorted`, by the nearest-rank method.
fn quantile(sorted: &[f64], at: f64) -> f64 {
    let rank = (at * sorted.len() as f64).ceil() as usize;
    sorted[rank.saturating_sub(1).min(sorted.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reference_texts::ReferenceId;

    /// Embeds a text as (its length, its number of `a`s).
    struct Toy;

    impl Embedder for Toy {
        fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
            let a = |text: &String| text.matches('a').count() as f32;
            Ok(texts.iter().map(|text| vec![text.len() as f32, a(text)]).collect())
        }
    }

    #[test]
    fn quantiles_and_nearest_texts_equal_those_worked_out_by_hand() {
        let id = |source| ReferenceId { source, number: 1 };
        let references = ReferenceTexts {
            texts: vec![(id(ReferenceSource::Seed), "xx"), (id(ReferenceSource::Pool), "aa")],
        };
        let text = |line, text| Text { file: "train.jsonl", line, text };
        let texts = [text(1, "xxx"), text(2, "aaa"), text(3, "ax")];
        let all = nearest(&texts, &references, true, &Toy).unwrap().unwrap();
        assert_eq!(all.compared_with, 2);
        assert_eq!((all.few[0].line, all.few[0].source.as_str()), (1, "seed 1"));
        assert_eq!((all.few[1].line, all.few[1].source.as_str()), (2, "pool 1"));
        // (2, 1) against (2, 2): 6 / sqrt(5 · 8).
        assert!((all.quantiles[0].1 - 6.0 / 40f64.sqrt()).abs() < 1e-6, "{:?}", all.quantiles);
        let seeds = nearest(&texts, &references, false, &Toy).unwrap().unwrap();
        assert!((seeds.quantiles[0].1 - 0.5f64.sqrt()).abs() < 1e-6);
        assert!(nearest(&[], &references, true, &Toy).unwrap().is_none());
    }
}
