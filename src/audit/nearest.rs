//! How near the texts lie to the customer's by their embeddings: a paraphrase shares no words, and is
//! near all the same.

use rayon::prelude::*;

use super::{
    Near, Nearest, Text,
    reference_texts::{ReferenceTexts, Source},
};
use crate::embed::{EmbedError, Embedder, cosine};

/// Texts of the customer's that are compared with; where there are more, the seeds alone are.
const COMPARED: usize = 2000;
/// The nearest texts that are listed.
const LISTED: usize = 10;
/// What is told of the distribution.
const QUANTILES: [f64; 6] = [0.0, 0.25, 0.5, 0.75, 0.95, 1.0];

/// The nearest of the customer's texts to each of `texts`: seeds, and pool and test set too where `all`
/// are wanted and not too many. Nothing where there is nothing to compare.
///
/// # Errors
/// The embedder's own.
pub(crate) fn nearest(
    texts: &[Text<'_>],
    customer: &ReferenceTexts<'_>,
    all: bool,
    embedder: &dyn Embedder,
) -> Result<Option<Nearest>, EmbedError> {
    let mut compared: Vec<_> = customer.written().collect();
    if !all || compared.len() > COMPARED {
        compared.retain(|(origin, _)| origin.source == Source::Seed);
    }
    if texts.is_empty() || compared.is_empty() {
        return Ok(None);
    }
    let theirs: Vec<String> = compared.iter().map(|(_, text)| (*text).to_owned()).collect();
    let ours: Vec<String> = texts.iter().map(|text| text.text.to_owned()).collect();
    let (theirs, ours) = (embedder.embed(&theirs)?, embedder.embed(&ours)?);
    let nearest = |one: &Vec<f32>| {
        let mut best = (f32::MIN, 0);
        for (at, other) in theirs.iter().enumerate() {
            let likeness = cosine(one, other);
            if likeness > best.0 {
                best = (likeness, at);
            }
        }
        best
    };
    let found: Vec<(f32, usize)> = ours.par_iter().map(nearest).collect();
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|a, b| found[*b].0.total_cmp(&found[*a].0).then(a.cmp(b)));
    let few = order.iter().take(LISTED).map(|&at| Near {
        file: texts[at].file.to_owned(),
        line: texts[at].line,
        cosine: f64::from(found[at].0),
        source: compared[found[at].1].0.to_string(),
    });
    let mut sorted: Vec<f64> = found.iter().map(|(likeness, _)| f64::from(*likeness)).collect();
    sorted.sort_by(f64::total_cmp);
    Ok(Some(Nearest {
        compared_with: compared.len() as u64,
        quantiles: QUANTILES.map(|at| (at, quantile(&sorted, at))).to_vec(),
        few: few.collect(),
    }))
}

/// The value below which a share `at` of `sorted` lies, by the nearest rank.
fn quantile(sorted: &[f64], at: f64) -> f64 {
    let rank = (at * sorted.len() as f64).ceil() as usize;
    sorted[rank.saturating_sub(1).min(sorted.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reference_texts::Origin;

    /// A text's length and its number of `a`s, as a direction.
    struct Toy;

    impl Embedder for Toy {
        fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
            let a = |text: &String| text.matches('a').count() as f32;
            Ok(texts.iter().map(|text| vec![text.len() as f32, a(text)]).collect())
        }
    }

    #[test]
    fn quantiles_and_the_nearest_by_hand() {
        let origin = |source| Origin { source, number: 1 };
        let customer = ReferenceTexts {
            texts: vec![(origin(Source::Seed), "xx"), (origin(Source::Pool), "aa")],
        };
        let text = |line, text| Text { file: "train.jsonl", line, text };
        let texts = [text(1, "xxx"), text(2, "aaa"), text(3, "ax")];
        let all = nearest(&texts, &customer, true, &Toy).unwrap().unwrap();
        assert_eq!(all.compared_with, 2);
        assert_eq!((all.few[0].line, all.few[0].source.as_str()), (1, "seed 1"));
        assert_eq!((all.few[1].line, all.few[1].source.as_str()), (2, "pool 1"));
        // (2, 1) against (2, 2): 6 / sqrt(5 · 8).
        assert!((all.quantiles[0].1 - 6.0 / 40f64.sqrt()).abs() < 1e-6, "{:?}", all.quantiles);
        let seeds = nearest(&texts, &customer, false, &Toy).unwrap().unwrap();
        assert!((seeds.quantiles[0].1 - 0.5f64.sqrt()).abs() < 1e-6);
        assert!(nearest(&[], &customer, true, &Toy).unwrap().is_none());
    }
}
