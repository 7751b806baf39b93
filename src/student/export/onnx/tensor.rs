//! Tensors of the interpreter and the arithmetic of its operators, after the ONNX operator
//! specification (opset 17). Plain loops: this is a second opinion, not an engine.

use rayon::prelude::*;

/// Numbers in row-major order under a shape, outermost first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor<T> {
    pub shape: Vec<usize>,
    pub data: Vec<T>,
}

/// What flows along the edges of a graph.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Float(Tensor<f32>),
    Int(Tensor<i64>),
}

impl<T: Copy + Send + Sync> Tensor<T> {
    pub(super) fn new(shape: &[usize], data: Vec<T>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self { shape: shape.to_vec(), data }
    }

    pub(super) fn map<U>(&self, change: impl Fn(T) -> U) -> Tensor<U> {
        let data = self.data.iter().map(|&value| change(value)).collect();
        Tensor { shape: self.shape.clone(), data }
    }

    /// Slices along `axis` by their numbers; `shape` is that of the numbers.
    pub(super) fn gather(&self, axis: usize, numbers: &Tensor<i64>) -> Option<Self> {
        let size = *self.shape.get(axis)?;
        let inner: usize = self.shape[axis + 1..].iter().product();
        let outer: usize = self.shape[..axis].iter().product();
        let mut data = Vec::with_capacity(outer * numbers.data.len() * inner);
        for block in 0..outer {
            for &number in &numbers.data {
                let number = if number < 0 { number + size as i64 } else { number };
                let number = usize::try_from(number).ok().filter(|number| *number < size)?;
                data.extend_from_slice(&self.data[(block * size + number) * inner..][..inner]);
            }
        }
        let shape = [&self.shape[..axis], &numbers.shape, &self.shape[axis + 1..]].concat();
        Some(Self { shape, data })
    }

    /// Rows `start..end` of the outermost axis, both bounds cut to its size.
    pub(super) fn slice(&self, start: i64, end: i64) -> Option<Self> {
        let size = *self.shape.first()?;
        let bound = |at: i64| (if at < 0 { at + size as i64 } else { at }).clamp(0, size as i64);
        let (start, end) = (bound(start) as usize, bound(end).max(bound(start)) as usize);
        let inner: usize = self.shape[1..].iter().product();
        let shape = [&[end - start], &self.shape[1..]].concat();
        Some(Self { shape, data: self.data[start * inner..end * inner].to_vec() })
    }

    /// The same numbers under another shape: 0 keeps a size, one -1 takes what is left.
    pub(super) fn reshape(&self, wanted: &[i64]) -> Option<Self> {
        let mut shape = Vec::new();
        for (axis, &size) in wanted.iter().enumerate() {
            shape.push(match size {
                0 => *self.shape.get(axis)?,
                -1 => usize::MAX,
                size => usize::try_from(size).ok()?,
            });
        }
        if let Some(open) = shape.iter().position(|&size| size == usize::MAX) {
            shape[open] = 1;
            let known: usize = shape.iter().product();
            shape[open] = self.data.len().checked_div(known)?;
        }
        (shape.iter().product::<usize>() == self.data.len())
            .then(|| Self { shape, data: self.data.clone() })
    }

    /// Axes of size one at the places `axes` of the result.
    pub(super) fn unsqueeze(&self, axes: &[i64]) -> Option<Self> {
        let rank = self.shape.len() + axes.len();
        let mut old = self.shape.iter();
        let shape = (0..rank).map(|axis| {
            let new = axes.iter().any(|&at| at == axis as i64 || at + rank as i64 == axis as i64);
            if new { Some(1) } else { old.next().copied() }
        });
        Some(Self { shape: shape.collect::<Option<_>>()?, data: self.data.clone() })
    }

    /// Axis `axis` of the result is axis `order[axis]` of this.
    pub(super) fn transpose(&self, order: &[i64]) -> Option<Self> {
        if order.len() != self.shape.len() {
            return None;
        }
        let strides = strides(&self.shape);
        let axes: Vec<usize> = order
            .iter()
            .map(|&axis| usize::try_from(axis).ok().filter(|axis| *axis < order.len()))
            .collect::<Option<_>>()?;
        let shape: Vec<usize> = axes.iter().map(|&axis| self.shape[axis]).collect();
        let steps: Vec<usize> = axes.iter().map(|&axis| strides[axis]).collect();
        let data = places(&shape, &steps).map(|place| self.data[place]).collect();
        Some(Self { shape, data })
    }
}

impl Tensor<f32> {
    /// `change` over both, whose shapes are broadcast.
    pub(super) fn zip(&self, other: &Self, change: impl Fn(f32, f32) -> f32) -> Option<Self> {
        let shape = broadcast(&self.shape, &other.shape)?;
        let (left, right) = (stretched(&self.shape, &shape), stretched(&other.shape, &shape));
        let pairs = places(&shape, &left).zip(places(&shape, &right));
        let data = pairs.map(|(a, b)| change(self.data[a], other.data[b])).collect();
        Some(Self { shape, data })
    }

    /// Matrix product over the last two axes; the axes before them are broadcast.
    pub(super) fn matmul(&self, other: &Self) -> Option<Self> {
        let (rows, inner) = matrix(&self.shape)?;
        let (other_inner, columns) = matrix(&other.shape)?;
        if inner != other_inner {
            return None;
        }
        let left_batch = &self.shape[..self.shape.len() - 2];
        let right_batch = &other.shape[..other.shape.len() - 2];
        let batch = broadcast(left_batch, right_batch)?;
        let left: Vec<usize> = places(&batch, &stretched(left_batch, &batch)).collect();
        let right: Vec<usize> = places(&batch, &stretched(right_batch, &batch)).collect();
        let mut data = vec![0f32; left.len() * rows * columns];
        if columns > 0 {
            data.par_chunks_mut(columns).enumerate().for_each(|(at, out)| {
                let (block, row) = (at / rows, at % rows);
                let a = &self.data[(left[block] * rows + row) * inner..][..inner];
                let b = &other.data[right[block] * inner * columns..][..inner * columns];
                for (&factor, b) in a.iter().zip(b.chunks_exact(columns)) {
                    for (out, b) in out.iter_mut().zip(b) {
                        *out += factor * b;
                    }
                }
            });
        }
        Some(Self { shape: [&batch[..], &[rows, columns]].concat(), data })
    }

    /// Applies `change` to each row of the last axis.
    pub(super) fn rows(&self, change: impl Fn(&mut [f32])) -> Self {
        let mut result = self.clone();
        let width = self.shape.last().copied().unwrap_or(1).max(1);
        result.data.chunks_exact_mut(width).for_each(change);
        result
    }

    /// Sums over `axis`, which goes.
    pub(super) fn sum(&self, axis: usize) -> Option<Self> {
        let size = *self.shape.get(axis)?;
        let inner: usize = self.shape[axis + 1..].iter().product();
        let outer: usize = self.shape[..axis].iter().product();
        let mut data = vec![0f32; outer * inner];
        for block in 0..outer {
            for at in 0..size {
                let row = &self.data[(block * size + at) * inner..][..inner];
                for (sum, value) in data[block * inner..][..inner].iter_mut().zip(row) {
                    *sum += value;
                }
            }
        }
        Some(Self { shape: [&self.shape[..axis], &self.shape[axis + 1..]].concat(), data })
    }
}

/// Softmax of one row.
pub(super) fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|value| *value = (*value - largest).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
}

/// Layer norm of one row (Ba et al. 2016), summed in double precision.
pub(super) fn layer_norm(row: &mut [f32], scale: &[f32], bias: &[f32], epsilon: f32) {
    let count = row.len() as f64;
    let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = row.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    let root = (variance + f64::from(epsilon)).sqrt();
    for ((value, &scale), &bias) in row.iter_mut().zip(scale).zip(bias) {
        *value = ((f64::from(*value) - mean) / root) as f32 * scale + bias;
    }
}

/// The error function: 2/√π · e^(-x²) · Σ 2ⁿ·x²ⁿ⁺¹ / (1·3·5···(2n+1)) (DLMF 7.6.2), whose terms
/// are all of one sign.
pub(super) fn erf(x: f32) -> f32 {
    let x = f64::from(x);
    if x.is_nan() || x.abs() > 6.0 {
        return if x.is_nan() { f32::NAN } else { x.signum() as f32 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    (std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum) as f32
}

fn matrix(shape: &[usize]) -> Option<(usize, usize)> {
    match shape {
        [.., rows, columns] => Some((*rows, *columns)),
        _ => None,
    }
}

/// Distance in memory between neighbours on each axis.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// The common shape of two that are broadcast.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (a, b) if a == b || b == 1 => Some(a),
            (1, b) => Some(b),
            _ => None,
        })
        .collect()
}

/// Strides that walk `shape` as if it were `wanted`: 0 along what is repeated.
fn stretched(shape: &[usize], wanted: &[usize]) -> Vec<usize> {
    let mut steps = vec![0; wanted.len() - shape.len()];
    steps.extend(
        strides(shape)
            .into_iter()
            .zip(shape)
            .map(|(stride, &size)| if size == 1 { 0 } else { stride }),
    );
    steps
}

/// Places in memory of all elements of `shape` under `steps`, in row-major order.
fn places<'a>(shape: &'a [usize], steps: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    let mut at = vec![0; shape.len()];
    let mut place = 0;
    let count: usize = shape.iter().product();
    (0..count).map(move |_| {
        let here = place;
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            place += steps[axis];
            if at[axis] < shape[axis] {
                break;
            }
            place -= steps[axis] * shape[axis];
            at[axis] = 0;
        }
        here
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(shape: &[usize], data: &[f32]) -> Tensor<f32> {
        Tensor::new(shape, data.to_vec())
    }

    fn counted(shape: &[usize]) -> Tensor<f32> {
        let count = shape.iter().product::<usize>();
        Tensor::new(shape, (0..count).map(|n| n as f32).collect())
    }

    #[test]
    fn shapes_are_broadcast() {
        let sum = floats(&[2, 1], &[10.0, 20.0]).zip(&floats(&[3], &[1.0, 2.0, 3.0]), |a, b| a + b);
        assert_eq!(sum, Some(floats(&[2, 3], &[11.0, 12.0, 13.0, 21.0, 22.0, 23.0])));
        let number = floats(&[], &[2.0]);
        assert_eq!(
            number.zip(&floats(&[2], &[5.0, 7.0]), |a, b| a - b),
            Some(floats(&[2], &[-3.0, -5.0]))
        );
        assert_eq!(counted(&[2]).zip(&counted(&[3]), |a, _| a), None);
    }

    #[test]
    fn products_by_hand() {
        let b = floats(&[2, 2], &[5.0, 6.0, 7.0, 8.0]);
        let a = floats(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(a.matmul(&b), Some(floats(&[1, 2, 2], &[19.0, 22.0, 43.0, 50.0])));
        // Two batches, each with its own right side.
        let a = floats(&[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
        let b = floats(&[2, 2, 1], &[1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(a.matmul(&b), Some(floats(&[2, 1, 1], &[21.0, 4300.0])));
        assert_eq!(a.matmul(&floats(&[3, 1], &[0.0; 3])), None);
    }

    #[test]
    fn parts_are_taken_and_turned() {
        let x = counted(&[2, 3]);
        let turned = floats(&[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(x.transpose(&[1, 0]), Some(turned));
        let y = counted(&[2, 2, 2]).transpose(&[2, 0, 1]).unwrap();
        assert_eq!(y.data, [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
        assert_eq!(x.slice(1, 9), Some(floats(&[1, 3], &[3.0, 4.0, 5.0])));
        assert_eq!(x.slice(-1, 2), x.slice(1, 2));
        let numbers = Tensor::new(&[1, 2], vec![1, 0]);
        let rows = floats(&[1, 2, 3], &[3.0, 4.0, 5.0, 0.0, 1.0, 2.0]);
        assert_eq!(x.gather(0, &numbers), Some(rows));
        let first = Tensor::new(&[], vec![0]);
        assert_eq!(x.gather(1, &first), Some(floats(&[2], &[0.0, 3.0])));
        assert_eq!(x.gather(0, &Tensor::new(&[1], vec![2])), None);
        assert_eq!(x.reshape(&[0, 1, -1]).unwrap().shape, [2, 1, 3]);
        assert_eq!(x.reshape(&[4, 2]), None);
        assert_eq!(x.unsqueeze(&[1, 2]).unwrap().shape, [2, 1, 1, 3]);
        assert_eq!(x.sum(0), Some(floats(&[3], &[3.0, 5.0, 7.0])));
        assert_eq!(x.sum(1), Some(floats(&[2], &[3.0, 12.0])));
    }

    #[test]
    fn rows_by_hand() {
        // e^0 : e^ln 3 = 1 : 3, and padding takes nothing.
        let mut row = [0.0, 3f32.ln(), f32::MIN];
        softmax(&mut row);
        assert!((row[0] - 0.25).abs() < 1e-6 && (row[1] - 0.75).abs() < 1e-6 && row[2] == 0.0);
        // Mean 2, variance 1.
        let mut row = [1.0, 3.0];
        layer_norm(&mut row, &[10.0, 100.0], &[1.0, 2.0], 0.0);
        assert_eq!(row, [-9.0, 102.0]);
        let mut row = [1.0, 3.0];
        layer_norm(&mut row, &[1.0, 1.0], &[0.0, 0.0], 3.0);
        assert_eq!(row, [-0.5, 0.5]);
        // Abramowitz and Stegun, table 7.1.
        for (x, wanted) in [
            (0.0, 0.0),
            (0.5, 0.520_499_9),
            (1.0, 0.842_700_8),
            (2.0, 0.995_322_3),
            (-3.5, -0.999_999_3),
            (9.0, 1.0),
        ] {
            assert!((erf(x) - wanted).abs() < 1e-7, "erf {x} = {}", erf(x));
        }
        assert!(erf(f32::NAN).is_nan());
    }
}
