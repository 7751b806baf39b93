//! L-BFGS (Liu & Nocedal 1989): minimises a smooth convex function from its values and gradients.

use std::collections::VecDeque;

/// Pairs of steps and changes of the gradient that approximate the curvature.
const MEMORY: usize = 10;
/// Share of the decrease that the gradient predicts which a step must reach (Armijo's rule).
const SUFFICIENT: f64 = 1e-4;
/// Halvings of a step before the search gives up.
const HALVINGS: usize = 30;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub iterations: usize,
    /// Relative decrease of the value below which an iteration is the last.
    pub tolerance: f64,
}

/// One step with the change of the gradient along it.
struct Pair {
    step: Vec<f32>,
    change: Vec<f32>,
    /// 1 / (step · change).
    scale: f64,
}

/// Moves `point` to a minimum of `function`, which returns its value at a point and writes the
/// gradient into the second argument. Deterministic: the same input gives the same bits.
pub(super) fn minimise(
    point: &mut Vec<f32>,
    limits: Limits,
    mut function: impl FnMut(&[f32], &mut [f32]) -> f64,
) {
    let mut gradient = vec![0f32; point.len()];
    let mut value = function(point, &mut gradient);
    let mut pairs: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    let mut next_gradient = vec![0f32; point.len()];
    for _ in 0..limits.iterations {
        let direction = direction(&gradient, &pairs);
        let slope = dot(&gradient, &direction);
        // Also ends where the value is not a number.
        if slope.is_nan() || slope >= 0.0 {
            return;
        }
        // Without a curvature the gradient says nothing about the length of a step.
        let mut length = if pairs.is_empty() { 1.0 / norm(&gradient).max(1.0) } else { 1.0 };
        let mut found = None;
        for _ in 0..HALVINGS {
            let next = moved(point, &direction, length);
            let next_value = function(&next, &mut next_gradient);
            if next_value <= value + SUFFICIENT * length * slope {
                found = Some((next, next_value));
                break;
            }
            length /= 2.0;
        }
        let Some((next, next_value)) = found else { return };
        let step = difference(&next, point);
        let change = difference(&next_gradient, &gradient);
        let curvature = dot(&step, &change);
        if curvature > f64::EPSILON * dot(&change, &change) {
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.push_back(Pair { step, change, scale: 1.0 / curvature });
        }
        let decrease = value - next_value;
        *point = next;
        value = next_value;
        std::mem::swap(&mut gradient, &mut next_gradient);
        if decrease <= limits.tolerance * value.abs().max(f64::MIN_POSITIVE) {
            return;
        }
    }
}

/// The direction of descent: the gradient times the approximate inverse Hessian, negated, by the
/// two loops of Nocedal (1980).
fn direction(gradient: &[f32], pairs: &VecDeque<Pair>) -> Vec<f32> {
    let mut direction: Vec<f32> = gradient.iter().map(|value| -value).collect();
    let mut shares = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let share = pair.scale * dot(&pair.step, &direction);
        add(&mut direction, -share, &pair.change);
        shares.push(share);
    }
    if let Some(Pair { change, scale, .. }) = pairs.back() {
        let factor = 1.0 / (scale * dot(change, change));
        direction.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
    }
    for (pair, share) in pairs.iter().zip(shares.into_iter().rev()) {
        let other = pair.scale * dot(&pair.change, &direction);
        add(&mut direction, share - other, &pair.step);
    }
    direction
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

/// `to + factor · values`, in place.
fn add(to: &mut [f32], factor: f64, values: &[f32]) {
    let sums = to.iter_mut().zip(values);
    sums.for_each(|(to, value)| *to = (f64::from(*to) + factor * f64::from(*value)) as f32);
}

fn moved(point: &[f32], direction: &[f32], length: f64) -> Vec<f32> {
    let mut next = point.to_vec();
    add(&mut next, length, direction);
    next
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badly_scaled_bowl_is_descended_to_its_minimum() {
        // (x - 3)² + 100·(y + 2)².
        let mut point = vec![0f32, 0.0];
        let limits = Limits { iterations: 50, tolerance: 1e-12 };
        minimise(&mut point, limits, |at, gradient| {
            let (x, y) = (at[0] - 3.0, at[1] + 2.0);
            gradient.copy_from_slice(&[2.0 * x, 200.0 * y]);
            f64::from(x * x + 100.0 * y * y)
        });
        assert!((point[0] - 3.0).abs() < 1e-3 && (point[1] + 2.0).abs() < 1e-3, "{point:?}");
    }
}
