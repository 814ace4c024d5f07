//! Who somebody is: everything about a head that stays the same from picture to picture.

pub(crate) mod colour;
mod compare;
mod deform;
mod shape;
mod style;

pub(crate) use compare::distance as feature_distance;
pub(crate) use deform::Deformation;
pub use shape::{PARAMETERS, Parameter, Shape};
pub use style::{Beard, BeardCut, Glasses, Hair, HairCut, LensShape};

use crate::math::{Random, Vec3, lerp3, smoothstep};

/// A dark spot on the skin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mole {
    /// Position across and up, cm.
    pub(crate) x: f32,
    pub(crate) y: f32,
    /// Radius, cm.
    pub(crate) radius: f32,
}

/// A person who does not exist. The same seed always gives the same person.
#[derive(Clone, Debug)]
pub struct Identity {
    seed: u64,
    /// Measurements of the head.
    pub shape: Shape,
    /// From feminine (0) to masculine (1).
    pub masculinity: f32,
    /// From pale (0) to dark (1).
    pub melanin: f32,
    /// The hair.
    pub hair: Hair,
    /// The beard.
    pub beard: Beard,
    /// Glasses, if worn.
    pub glasses: Option<Glasses>,
    /// Linear RGB of the iris.
    pub iris: Vec3,
    /// Linear RGB of the skin.
    pub skin: Vec3,
    /// Linear RGB of brows and beard.
    pub brow_colour: Vec3,
    pub(crate) moles: Vec<Mole>,
    pub(crate) deformation: Deformation,
}

impl Identity {
    /// The person of this seed.
    pub fn from_seed(seed: u64) -> Identity {
        let mut shape = Shape::sample(&mut Random::new(seed, 1));
        let mut random = Random::new(seed, 2);
        let masculinity = smoothstep(0.2, 0.8, random.unit());
        lean(&mut shape, masculinity - 0.5);
        shape.clamp();
        let melanin = random.unit();
        let hair = Hair::sample(&mut random, masculinity, melanin, shape.age);
        let natural = if hair.cut == HairCut::Scarf {
            colour::hair(&mut random, melanin, shape.age)
        } else {
            hair.colour
        };
        let dark = colour::srgb(34.0, 25.0, 20.0);
        let brow_colour = lerp3(natural, dark, 0.45 + 0.4 * shape.brow_darkness.max(0.0));
        let iris = colour::iris(&mut random, melanin);
        let beard = Beard::sample(&mut random, masculinity);
        let glasses = Glasses::sample(&mut random);
        let spots = if random.chance(0.4) { 0 } else { 1 + random.below(3) };
        let moles = (0..spots)
            .map(|_| Mole {
                x: random.range(-5.0, 5.0),
                y: random.range(-9.5, 5.5),
                radius: random.range(0.06, 0.16),
            })
            .collect();
        let deformation = Deformation::sample(&mut Random::new(seed, 3));
        let skin = colour::skin(melanin, shape.hue);
        Identity {
            seed,
            shape,
            masculinity,
            melanin,
            hair,
            beard,
            glasses,
            iris,
            skin,
            brow_colour,
            moles,
            deformation,
        }
    }

    /// An identical twin of this person: the same head and skin, with hair, beard, glasses and spots of their own.
    #[must_use]
    pub fn twin(&self, seed: u64) -> Identity {
        let own = Identity::from_seed(seed);
        let mut random = Random::new(seed, 4);
        let hair = Hair::sample(&mut random, self.masculinity, self.melanin, self.shape.age);
        let natural = hair.cut != HairCut::Scarf && self.hair.cut != HairCut::Scarf;
        Identity {
            seed,
            hair: Hair { colour: if natural { self.hair.colour } else { hair.colour }, ..hair },
            beard: Beard::sample(&mut random, self.masculinity),
            glasses: own.glasses,
            moles: own.moles,
            ..self.clone()
        }
    }

    /// The seed that this person came from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How different two people look: 0 for the same person, about 1.4 for two random ones.
    pub fn distance(&self, other: &Identity) -> f32 {
        feature_distance(&self.features(), &other.features())
    }

    /// What [`Identity::distance`] compares.
    pub(crate) fn features(&self) -> Vec<f32> {
        compare::features(self)
    }

    /// Seed of the patterns on this person's skin and hair.
    pub(crate) fn pattern(&self) -> u32 {
        (self.seed ^ (self.seed >> 32)) as u32 ^ 0x5bd1_e995
    }
}

/// Moves the measurements that differ between women and men by `d`, from -0.5 to 0.5.
fn lean(shape: &mut Shape, d: f32) {
    shape.jaw_width += 0.5 * d;
    shape.chin_width += 0.35 * d;
    shape.brow_ridge += 0.25 * d;
    shape.brow_thickness += 0.14 * d;
    shape.brow_y -= 0.3 * d;
    shape.brow_arch -= 0.15 * d;
    shape.lip_upper -= 0.10 * d;
    shape.lip_lower -= 0.12 * d;
    shape.lip_red -= 0.3 * d;
    shape.lashes -= 0.5 * d;
    shape.lid_upper -= 0.06 * d;
    shape.nose_width += 0.15 * d;
    shape.neck_radius += 1.1 * d;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_person_and_another_seed_is_not() {
        let (a, b) = (Identity::from_seed(5), Identity::from_seed(5));
        assert_eq!(a.shape, b.shape);
        assert_eq!(a.skin, b.skin);
        assert_ne!(a.shape, Identity::from_seed(6).shape);
    }

    #[test]
    fn twins_share_what_they_were_born_with() {
        let person = Identity::from_seed(5);
        let twin = person.twin(6);
        assert_eq!((&twin.shape, twin.skin, twin.seed()), (&person.shape, person.skin, 6));
        assert!(person.distance(&twin) < 0.5, "{}", person.distance(&twin));
    }

    #[test]
    fn any_seed_makes_a_sound_person() {
        for seed in [0, 1, u64::MAX, u64::MAX / 2, 0x8000_0000_0000_0000] {
            let person = Identity::from_seed(seed);
            assert!(person.shape.values().iter().all(|value| value.is_finite()));
            assert!(person.skin.luminance() > 0.0);
        }
    }
}
