//! Weights as safetensors, and checksums.

use candle_core::{DType, Device};
use half::f16;
use safetensors::{Dtype, tensor::TensorView};

use crate::graph::{Param, Params};

/// SHA-256 as 64 hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    sha256(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// The number format in which weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Single,
    /// 16-bit floats: half the size.
    Half,
}

/// Writes tensors, in the order of their names.
///
/// # Errors
/// A tensor whose dimensions do not fit its elements, or an element beyond a 16-bit float.
pub(crate) fn encode(params: &Params, precision: Precision) -> Result<Vec<u8>, String> {
    let mut bytes: Vec<(&String, &Param, Vec<u8>)> = Vec::with_capacity(params.len());
    for (name, param) in params {
        let data = match precision {
            Precision::Single => param.data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Precision::Half => {
                let halves: Vec<f16> = param.data.iter().map(|v| f16::from_f32(*v)).collect();
                if halves.iter().any(|v| !v.is_finite()) {
                    return Err(format!("tensor {name}: an element is too large for 16 bits"));
                }
                halves.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
        };
        bytes.push((name, param, data));
    }
    let kind = match precision {
        Precision::Single => Dtype::F32,
        Precision::Half => Dtype::F16,
    };
    let mut views = Vec::with_capacity(bytes.len());
    for (name, param, data) in &bytes {
        let view = TensorView::new(kind, param.dims.clone(), data).map_err(|e| format!("{name}: {e}"))?;
        views.push(((*name).clone(), view));
    }
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

/// Reads tensors of 32-bit or 16-bit floats.
///
/// # Errors
/// Damaged bytes, another element type, numbers that are not finite.
pub(crate) fn decode(bytes: &[u8]) -> Result<Params, String> {
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|e| e.to_string())?;
    let mut params = Params::new();
    for (name, tensor) in tensors {
        if ![DType::F32, DType::F16].contains(&tensor.dtype()) {
            return Err(format!("tensor {name}: floats of 32 or 16 bits are expected"));
        }
        let data = tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1::<f32>());
        let data = data.map_err(|e| format!("tensor {name}: {e}"))?;
        if data.iter().any(|v| !v.is_finite()) {
            return Err(format!("tensor {name}: an element is not finite"));
        }
        params.insert(name, Param { dims: tensor.dims().to_vec(), data });
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tensors_round_trip() {
        let params =
            Params::from([("w".into(), Param { dims: vec![2, 2], data: vec![1.0, -2.0, 0.5, 4.0] })]);
        for precision in [Precision::Single, Precision::Half] {
            assert_eq!(decode(&encode(&params, precision).unwrap()).unwrap(), params);
            let wrong = Params::from([("w".into(), Param { dims: vec![3], data: vec![1.0] })]);
            assert!(encode(&wrong, precision).is_err());
        }
        let large = Params::from([("w".into(), Param { dims: vec![1], data: vec![1e6] })]);
        assert!(encode(&large, Precision::Half).unwrap_err().contains("too large"));
    }

    #[test]
    fn halves_are_read() {
        let values = [1.0f32, -0.5, 65504.0, 6.1e-5];
        let bytes: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F16, vec![2, 2], &bytes).unwrap();
        let file = safetensors::serialize([("w", view)], None).unwrap();
        let params = decode(&file).unwrap();
        assert_eq!(params["w"].dims, [2, 2]);
        for (read, wanted) in params["w"].data.iter().zip(values) {
            assert!((read - wanted).abs() <= wanted.abs() / 1024.0, "{read} {wanted}");
        }
        let infinite = f16::INFINITY.to_le_bytes();
        let view = TensorView::new(Dtype::F16, vec![1], &infinite).unwrap();
        assert!(decode(&safetensors::serialize([("w", view)], None).unwrap()).is_err());
        let whole = [0; 8];
        let view = TensorView::new(Dtype::I64, vec![1], &whole).unwrap();
        assert!(decode(&safetensors::serialize([("w", view)], None).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0u64..400) {
            let _ = decode(&bytes);
            // With a header length that fits, so that the JSON behind it is read.
            let _ = decode(&[&length.to_le_bytes(), &bytes[..]].concat());
        }
    }
}
