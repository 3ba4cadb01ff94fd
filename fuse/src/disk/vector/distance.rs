// SPDX-License-Identifier: Apache-2.0
//! Distances, to the bit (section 12.4). Everything is binary64, in eight lanes, in one order: the compiler may use
//! whatever vector instructions it has, the result is the same.

use super::Metric;

/// Lanes of a sum.
const LANES: usize = 8;

/// The sum of `term(q[i], x[i])`, in the document's order.
#[inline(always)]
fn sum(q: &[f32], x: &[f32], term: impl Fn(f32, f32) -> f64) -> f64 {
    let mut s = [0.0_f64; LANES];
    let (q8, q_rest) = q.as_chunks::<LANES>();
    let (x8, x_rest) = x.as_chunks::<LANES>();
    for (q, x) in q8.iter().zip(x8) {
        for lane in 0..LANES {
            s[lane] += term(q[lane], x[lane]);
        }
    }
    for (lane, (q, x)) in q_rest.iter().zip(x_rest).enumerate() {
        s[lane] += term(*q, *x);
    }
    let s = [s[0] + s[4], s[1] + s[5], s[2] + s[6], s[3] + s[7]];
    let s = [s[0] + s[2], s[1] + s[3]];
    s[0] + s[1]
}

#[inline(always)]
fn product(q: f32, x: f32) -> f64 {
    f64::from(q) * f64::from(x)
}

#[inline(always)]
fn square(q: f32, x: f32) -> f64 {
    let d = f64::from(q - x);
    d * d
}

/// The squared length of a vector.
#[must_use]
pub fn norm2(x: &[f32]) -> f64 {
    sum(x, x, product)
}

/// The distance of two vectors of finite elements and the same length. Never NaN, never -0.
#[must_use]
pub fn distance(metric: Metric, q: &[f32], x: &[f32]) -> f64 {
    match metric {
        Metric::L2 => sum(q, x, square),
        Metric::InnerProduct => 0.0 - sum(q, x, product),
        Metric::Cosine => {
            let (qq, xx) = (norm2(q), norm2(x));
            if qq == 0.0 || xx == 0.0 {
                return 1.0;
            }
            1.0 - sum(q, x, product) / (qq.sqrt() * xx.sqrt())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_come_out_as_on_paper() {
        let (q, x) = ([1.0, 2.0, 3.0], [2.0, 0.0, 3.5]);
        assert_eq!(distance(Metric::L2, &q, &x).to_bits(), 5.25_f64.to_bits());
        assert_eq!(distance(Metric::InnerProduct, &q, &x), -12.5);
        let cosine = 1.0 - 12.5 / (14_f64.sqrt() * 16.25_f64.sqrt());
        assert_eq!(distance(Metric::Cosine, &q, &x), cosine);
        assert_eq!(distance(Metric::Cosine, &[0.0; 3], &x), 1.0);
        assert_eq!(
            distance(Metric::L2, &[f32::MAX], &[f32::MIN]),
            f64::INFINITY
        );
    }

    #[test]
    fn a_product_of_nothing_is_plus_zero() {
        for x in [0.0, -1.0, 1.0] {
            let zero = distance(Metric::InnerProduct, &[0.0], &[x]);
            assert_eq!(zero.to_bits(), 0, "not +0 for {x}");
        }
    }

    #[test]
    fn the_difference_is_rounded_to_binary32_before_it_is_squared() {
        let (q, x) = (1.0_f32, 1.0e-8_f32);
        assert_eq!(distance(Metric::L2, &[q], &[x]), 1.0);
    }

    #[test]
    fn the_order_of_the_lanes_is_the_documents() {
        // 17 elements: lane 0 has three terms, the others two.
        let x: Vec<f32> = (0..17_i16).map(|i| 1.0 + f32::from(i) * 0.37).collect();
        let q: Vec<f32> = x.iter().map(|x| x * 1.7 + 0.1).collect();
        let mut s = [0.0_f64; 8];
        for i in 0..17 {
            s[i % 8] += f64::from(q[i]) * f64::from(x[i]);
        }
        for j in 0..4 {
            s[j] += s[j + 4];
        }
        for j in 0..2 {
            s[j] += s[j + 2];
        }
        let want = -(s[0] + s[1]);
        assert_eq!(
            distance(Metric::InnerProduct, &q, &x).to_bits(),
            want.to_bits()
        );
    }
}
