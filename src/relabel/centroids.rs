//! Class centroids in embedding space. They give the candidate classes of a text and the nearest
//! other classes of a class.

use crate::{
    embed::{EmbedError, Embedder, centroid, cosine},
    task::{Class, LabelledText, Task},
};

/// For each class, the other classes from nearest to farthest: by the cosine of their centroids
/// (mean embedding of name, description and `seeds`), ties in the order of the task.
///
/// # Errors
/// The embedder fails.
pub(crate) fn nearest_classes(
    task: &Task,
    seeds: &[LabelledText],
    embedder: &dyn Embedder,
) -> Result<Vec<Vec<usize>>, EmbedError> {
    let centroids = centroids(task, seeds, embedder)?;
    let others = |(class, own): (usize, &Vec<f32>)| {
        let mut ranked = ranked(own, &centroids);
        ranked.retain(|other| *other != class);
        ranked
    };
    Ok(centroids.iter().enumerate().map(others).collect())
}

/// The class of each of `texts` by the most similar centroid: a classifier that needs no teacher.
///
/// # Errors
/// The embedder fails.
pub(crate) fn nearest_class(
    task: &Task,
    seeds: &[LabelledText],
    texts: &[String],
    embedder: &dyn Embedder,
) -> Result<Vec<usize>, EmbedError> {
    let centroids = centroids(task, seeds, embedder)?;
    let nearest = |embedding: &Vec<f32>| ranked(embedding, &centroids)[0];
    Ok(embedder.embed(texts)?.iter().map(nearest).collect())
}

/// The centroid of each class, of unit length: mean embedding of its name, description and `seeds`.
pub(super) fn centroids(
    task: &Task,
    seeds: &[LabelledText],
    embedder: &dyn Embedder,
) -> Result<Vec<Vec<f32>>, EmbedError> {
    let mut centroids = Vec::with_capacity(task.classes.len());
    for (index, class) in task.classes.iter().enumerate() {
        let mut anchors = class_words(class);
        let seeds = seeds.iter().filter(|seed| seed.label == index);
        anchors.extend(seeds.map(|seed| seed.text.clone()));
        let embedded = embedder.embed(&anchors)?;
        // Every class has a name, so there is always a centroid.
        centroids.extend(centroid(embedded.iter().map(Vec::as_slice)));
    }
    Ok(centroids)
}

/// What the task says of a class: its name and its description, if it has one.
pub(crate) fn class_words(class: &Class) -> Vec<String> {
    let description = Some(&class.description).filter(|text| !text.is_empty()).cloned();
    [readable(&class.shown())].into_iter().chain(description).collect()
}

/// A class name with blanks between its words.
pub(super) fn readable(name: &str) -> String {
    name.replace(['_', '-'], " ")
}

/// The indices of `vectors`, most similar to `embedding` first, ties in order.
pub(super) fn ranked(embedding: &[f32], vectors: &[Vec<f32>]) -> Vec<usize> {
    let mut ranked: Vec<(usize, f32)> =
        vectors.iter().map(|vector| cosine(embedding, vector)).enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.into_iter().map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        augment::sample::{Sample, seed},
        embed::fake_embedder::FakeEmbedder,
    };

    #[test]
    fn the_nearest_class_comes_first() {
        // Name, description and seed of each class: 10 and 30 and 50 (30 on average), 80, 40, 200.
        let seeds = vec![seed("x", 0), seed("y", 1)];
        let mut sample = Sample::new(&["lost_card", "PIN", "fee", "other"], seeds);
        for class in &mut sample.task.classes[1..] {
            class.description.clear();
        }
        let embedder = FakeEmbedder(vec![
            ("lost card", 10.0),
            ("described as lost_card", 30.0),
            ("x", 50.0),
            ("PIN", 80.0),
            ("y", 80.0),
            ("fee", 40.0),
            ("other", 200.0),
        ]);
        let nearest = nearest_classes(&sample.task, &sample.seeds, &embedder).unwrap();
        assert_eq!(nearest, [[2, 1, 3], [2, 0, 3], [0, 1, 3], [1, 2, 0]]);
        // 0, 50 and 200 degrees; the centroids are at 30, 80, 40 and 200.
        let texts = ["unknown", "x", "other"].map(str::to_owned);
        let classes = nearest_class(&sample.task, &sample.seeds, &texts, &embedder).unwrap();
        assert_eq!(classes, [0, 2, 3]);
    }
}
