// SPDX-License-Identifier: Apache-2.0
//! The first pass of a search: sums in binary32, by the widest vector instructions that the machine has. What they are
//! wrong by is bounded: see `search.rs`.

use std::sync::OnceLock;

/// Sums of `q` with each of several rows, which begin `stride` elements apart.
type Pass = fn(q: &[f32], rows: &[f32], stride: usize, sums: &mut [f32]);

/// The two passes of this machine.
#[derive(Clone, Copy)]
pub(super) struct Passes {
    /// Squared differences.
    pub(super) squares: Pass,
    /// Products.
    pub(super) products: Pass,
}

const WIDE: usize = 32;
const NARROW: usize = 8;

/// `d * d` or `q * x`, added to `sum`; with one rounding where the machine can.
#[inline(always)]
fn step<const SQUARE: bool, const FUSED: bool>(q: f32, x: f32, sum: f32) -> f32 {
    let (a, b) = match SQUARE {
        true => (q - x, q - x),
        false => (q, x),
    };
    match FUSED {
        true => a.mul_add(b, sum),
        false => a * b + sum,
    }
}

#[inline(always)]
fn row<const SQUARE: bool, const FUSED: bool>(q: &[f32], x: &[f32]) -> f32 {
    let mut wide = [0.0_f32; WIDE];
    let (q_wide, q) = q.as_chunks::<WIDE>();
    let (x_wide, x) = x.as_chunks::<WIDE>();
    for (q, x) in q_wide.iter().zip(x_wide) {
        for i in 0..WIDE {
            wide[i] = step::<SQUARE, FUSED>(q[i], x[i], wide[i]);
        }
    }
    let mut sums = [0.0_f32; NARROW];
    for i in 0..NARROW {
        sums[i] = (wide[i] + wide[i + 8]) + (wide[i + 16] + wide[i + 24]);
    }
    let (q_narrow, q) = q.as_chunks::<NARROW>();
    let (x_narrow, x) = x.as_chunks::<NARROW>();
    for (q, x) in q_narrow.iter().zip(x_narrow) {
        for i in 0..NARROW {
            sums[i] = step::<SQUARE, FUSED>(q[i], x[i], sums[i]);
        }
    }
    let mut sum = 0.0;
    for (q, x) in q.iter().zip(x) {
        sum = step::<SQUARE, FUSED>(*q, *x, sum);
    }
    let [a, b, c, d, e, f, g, h] = sums;
    sum + (((a + e) + (b + f)) + ((c + g) + (d + h)))
}

#[inline(always)]
fn all<const SQUARE: bool, const FUSED: bool>(
    q: &[f32],
    rows: &[f32],
    stride: usize,
    sums: &mut [f32],
) {
    for (sum, x) in sums.iter_mut().zip(rows.chunks(stride)) {
        // The last row may come without the rest of its slot.
        *sum = row::<SQUARE, FUSED>(q, &x[..q.len()]);
    }
}

fn plain_squares(q: &[f32], rows: &[f32], stride: usize, sums: &mut [f32]) {
    all::<true, false>(q, rows, stride, sums);
}

fn plain_products(q: &[f32], rows: &[f32], stride: usize, sums: &mut [f32]) {
    all::<false, false>(q, rows, stride, sums);
}

const PLAIN: Passes = Passes {
    squares: plain_squares,
    products: plain_products,
};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Passes, all};

    macro_rules! compiled_for {
        ($module:ident, $features:literal) => {
            /// The same code, compiled for these instructions. Safe to call where the machine has them: it does
            /// nothing but arithmetic on what it is given.
            mod $module {
                use super::all;

                #[target_feature(enable = $features)]
                fn fused<const SQUARE: bool>(
                    q: &[f32],
                    rows: &[f32],
                    stride: usize,
                    sums: &mut [f32],
                ) {
                    all::<SQUARE, true>(q, rows, stride, sums);
                }

                // SAFETY (both): `detect` hands these out only after it has asked the processor for the features.
                #[allow(unsafe_code)]
                pub(super) fn squares(q: &[f32], rows: &[f32], stride: usize, sums: &mut [f32]) {
                    unsafe { fused::<true>(q, rows, stride, sums) }
                }

                #[allow(unsafe_code)]
                pub(super) fn products(q: &[f32], rows: &[f32], stride: usize, sums: &mut [f32]) {
                    unsafe { fused::<false>(q, rows, stride, sums) }
                }
            }
        };
    }

    compiled_for!(avx2, "avx2,fma");
    compiled_for!(avx512, "avx512f,avx512vl,avx2,fma");

    pub(super) fn detect() -> Option<Passes> {
        let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let has_avx512 =
            has_avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        if has_avx512 {
            Some(Passes {
                squares: avx512::squares,
                products: avx512::products,
            })
        } else if has_avx2 {
            Some(Passes {
                squares: avx2::squares,
                products: avx2::products,
            })
        } else {
            None
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod x86 {
    pub(super) fn detect() -> Option<super::Passes> {
        None
    }
}

/// The passes of this machine.
pub(super) fn passes() -> Passes {
    static FOUND: OnceLock<Passes> = OnceLock::new();
    *FOUND.get_or_init(|| x86::detect().unwrap_or(PLAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn every_way_of_summing_is_near_the_exact_sum() {
        for dimension in [1, 3, 7, 8, 16, 31, 33, 40, 128, 129, 768, 2048] {
            let stride = (dimension + 3) & !3;
            let q = elements(dimension, 3);
            let rows = elements(stride * 5, 9);
            let mut every = vec![PLAIN, passes()];
            every.extend(x86::detect());
            for Passes { squares, products } in every {
                let (mut got, mut got_products) = ([0.0; 5], [0.0; 5]);
                squares(&q, &rows, stride, &mut got);
                products(&q, &rows, stride, &mut got_products);
                for (i, x) in rows.chunks(stride).enumerate() {
                    let pairs = || q.iter().zip(x);
                    let want: f64 = pairs().map(|(q, x)| f64::from(q - x).powi(2)).sum();
                    assert!((f64::from(got[i]) - want).abs() <= want * 1e-5);
                    let want: f64 = pairs().map(|(q, x)| f64::from(*q) * f64::from(*x)).sum();
                    let size: f64 = pairs().map(|(q, x)| f64::from(q * x).abs()).sum();
                    assert!((f64::from(got_products[i]) - want).abs() <= size * 1e-5);
                }
            }
        }
    }
}
