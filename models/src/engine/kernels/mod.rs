//! The inner loops, one source for all instruction sets.
//!
//! This is the only module with `unsafe`. Two things need it: the instruction sets, which are
//! detected once ([`Isa::detect`]) before any function compiled for them is called; and loads and
//! stores without bounds checks, whose bounds the safe entry points ([`conv()`], [`winograd()`],
//! [`depthwise_row`], [`pool_row`]) check once for the whole call. Tests compare every instruction set with the
//! portable one on random shapes.

#![allow(unsafe_code, reason = "SIMD; see the module's description")]

mod conv;
mod depthwise;
mod finish;
mod pool;
#[cfg(test)]
mod tests;
mod vector;
mod winograd;

pub(crate) use self::{
    conv::{PackedConv, Walk, conv},
    depthwise::{PackedDepthwise, RowShape, depthwise_row},
    finish::{Finish, Fused},
    pool::{PoolRow, Pooling, pool_row},
    winograd::{Form, PackedWinograd, Padded, winograd},
};

use self::vector::{Portable, Vector};

/// An instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Isa {
    /// All that this machine has, the best first.
    pub(crate) fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
                all.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Self::Neon);
        }
        all.push(Self::Portable);
        all
    }

    /// The best that this machine has.
    pub(crate) fn detect() -> Self {
        Self::available()[0]
    }

    /// Elements of a register.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => vector::x86::Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => vector::x86::Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => vector::arm::Neon::LANES,
            Self::Portable => Portable::LANES,
        }
    }

    const fn tiles(self) -> [usize; 4] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => vector::x86::Avx512::TILES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => vector::x86::Avx2::TILES,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => vector::arm::Neon::TILES,
            Self::Portable => Portable::TILES,
        }
    }
}

/// Calls a kernel that is generic over [`Vector`], compiled for an instruction set, with a `Job`.
macro_rules! dispatch {
    ($isa:expr, $kernel:ident, $job:expr) => {
        // SAFETY: a value of `Isa` other than `Portable` exists only where `Isa::available` found
        // the instruction set; what else the kernel needs was checked by its entry point.
        match $isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                #[target_feature(enable = "avx512f,avx2,fma")]
                unsafe fn compiled(job: Job<'_, '_>) {
                    unsafe { $kernel::<super::vector::x86::Avx512>(job) }
                }
                unsafe { compiled($job) }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                #[target_feature(enable = "avx2,fma")]
                unsafe fn compiled(job: Job<'_, '_>) {
                    unsafe { $kernel::<super::vector::x86::Avx2>(job) }
                }
                unsafe { compiled($job) }
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => {
                #[target_feature(enable = "neon")]
                unsafe fn compiled(job: Job<'_, '_>) {
                    unsafe { $kernel::<super::vector::arm::Neon>(job) }
                }
                unsafe { compiled($job) }
            }
            Isa::Portable => unsafe { $kernel::<super::vector::Portable>($job) },
        }
    };
}
use dispatch;
