//! How different two people look.

use super::{BeardCut, HairCut, Identity, PARAMETERS};

/// Weights of the groups of features, as shares of the squared distance. The deformation field moves a
/// recognition network most, what can be shaved or taken off least.
const SHAPE: f32 = 0.45;
const FIELD: f32 = 0.40;
const COLOUR: f32 = 0.10;
const WORN: f32 = 0.05;

/// Features scaled so that the squared distance of two random people is 2 on average.
pub(crate) fn features(identity: &Identity) -> Vec<f32> {
    let shape: Vec<f32> = identity
        .shape
        .values()
        .iter()
        .zip(PARAMETERS)
        .map(|(value, parameter)| (value - parameter.mean) / parameter.deviation)
        .collect();
    let field: Vec<f32> = identity.deformation.signature().collect();
    // Melanin is uniform on [0, 1), whose deviation is 1/sqrt(12).
    let colour = [(identity.melanin - 0.5) * 3.46, (identity.masculinity - 0.5) * 2.3];
    let flag = |on: bool| if on { 1.0 } else { -1.0 };
    let worn = [
        flag(identity.glasses.is_some()),
        flag(!matches!(identity.beard.cut, BeardCut::None | BeardCut::Stubble)),
        flag(identity.hair.cut == HairCut::Scarf),
    ];
    let mut all = Vec::with_capacity(shape.len() + field.len() + 5);
    for (group, weight) in
        [(&shape[..], SHAPE), (&field[..], FIELD), (&colour[..], COLOUR), (&worn[..], WORN)]
    {
        let scale = (weight / group.len() as f32).sqrt();
        all.extend(group.iter().map(|value| value * scale));
    }
    all
}

/// Euclidean distance of two results of [`features`].
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_random_people_are_about_root_two_apart() {
        let people: Vec<_> = (0..60).map(|seed| features(&Identity::from_seed(seed))).collect();
        let mut all = Vec::new();
        for (i, a) in people.iter().enumerate() {
            all.extend(people[..i].iter().map(|b| distance(a, b)));
        }
        let mean = all.iter().sum::<f32>() / all.len() as f32;
        assert!((1.2..1.5).contains(&mean), "{mean}");
    }
}
