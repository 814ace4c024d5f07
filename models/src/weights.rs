//! Weights as safetensors, and checksums.

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

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

/// Writes tensors as little-endian f32, in the order of their names.
///
/// # Errors
/// A tensor whose dimensions do not fit its elements.
pub(crate) fn encode(params: &Params) -> Result<Vec<u8>, String> {
    let bytes: Vec<(&String, &Param, Vec<u8>)> = params
        .iter()
        .map(|(name, p)| (name, p, p.data.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, param, data) in &bytes {
        let view =
            TensorView::new(Dtype::F32, param.dims.clone(), data).map_err(|e| format!("{name}: {e}"))?;
        views.push(((*name).clone(), view));
    }
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

/// Reads tensors of f32.
///
/// # Errors
/// Damaged bytes, another element type, numbers that are not finite.
pub(crate) fn decode(bytes: &[u8]) -> Result<Params, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut params = Params::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("tensor {name}: 32-bit floats are expected"));
        }
        let (chunks, _) = view.data().as_chunks::<4>();
        let data: Vec<f32> = chunks.iter().map(|c| f32::from_le_bytes(*c)).collect();
        if data.iter().any(|v| !v.is_finite()) {
            return Err(format!("tensor {name}: an element is not finite"));
        }
        params.insert(name, Param { dims: view.shape().to_vec(), data });
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
        assert_eq!(decode(&encode(&params).unwrap()).unwrap(), params);
        let wrong = Params::from([("w".into(), Param { dims: vec![3], data: vec![1.0] })]);
        assert!(encode(&wrong).is_err());
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
