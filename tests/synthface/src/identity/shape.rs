//! The continuous parameters of a head and how they spread over people.
//!
//! Lengths are in centimetres in the frame of the head: x to the picture's right, y up, z towards the
//! viewer, the origin midway between the eyes' heights and the ears. Means follow adult anthropometry
//! (Farkas 1994, "Anthropometry of the Head and Face"); the deviations were widened until a recognition
//! network told the heads apart.

use crate::math::Random;

/// One continuous parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// The field of [`Shape`].
    pub name: &'static str,
    /// Average over people.
    pub mean: f32,
    /// Standard deviation.
    pub deviation: f32,
    /// Smallest value that still makes a sound head.
    pub low: f32,
    /// Largest value that still makes a sound head.
    pub high: f32,
}

macro_rules! shape {
    ($($name:ident: $mean:literal, $deviation:literal, $low:expr, $high:literal, $doc:literal;)*) => {
        /// The measurements of one head; see [`PARAMETERS`] for their spread.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Shape {
            $(#[doc = $doc] pub $name: f32,)*
        }

        /// Every field of [`Shape`] in order.
        pub const PARAMETERS: &[Parameter] = &[
            $(Parameter {
                name: stringify!($name), mean: $mean, deviation: $deviation, low: $low, high: $high,
            },)*
        ];

        impl Shape {
            /// A random head.
            pub(crate) fn sample(random: &mut Random) -> Shape {
                Shape { $($name: ($mean + $deviation * random.normal()).clamp($low, $high),)* }
            }

            /// The values in the order of [`PARAMETERS`].
            pub fn values(&self) -> Vec<f32> {
                vec![$(self.$name,)*]
            }

            /// Brings every value back between its bounds.
            pub(crate) fn clamp(&mut self) {
                $(self.$name = self.$name.clamp($low, $high);)*
            }
        }
    };
}

shape! {
    skull_width: 7.35, 0.30, 6.6, 8.1, "Half-width of the cranium.";
    skull_height: 8.3, 0.30, 7.5, 9.0, "Half-height of the cranium.";
    skull_depth: 9.3, 0.25, 8.6, 10.0, "Half-depth of the cranium.";
    face_width: 6.25, 0.30, 5.5, 7.0, "Half-width of the middle face.";
    temple: 0.0, 0.25, -0.5, 0.5, "Depth of the hollow beside the forehead.";
    forehead: 0.0, 0.30, -0.7, 0.7, "How far the forehead bulges.";
    jaw_width: 4.7, 0.50, 3.5, 5.9, "Half-width of the jaw.";
    jaw_y: -7.0, 0.45, -8.0, -6.0, "Height of the jaw's angle.";
    chin_width: 1.7, 0.35, 1.0, 2.7, "Half-width of the chin.";
    chin_y: -10.3, 0.50, -11.5, -9.3, "Height of the chin.";
    chin_z: 7.3, 0.35, 6.4, 8.1, "How far the chin comes forward.";
    cleft: 0.0, 0.12, 0.0, 0.3, "Depth of the dimple in the chin.";
    neck_radius: 5.0, 0.45, 4.1, 6.1, "Radius of the neck.";
    cheekbone: 1.7, 0.25, 1.1, 2.3, "Size of the cheekbone.";
    cheekbone_y: -2.2, 0.35, -3.0, -1.4, "Height of the cheekbone.";
    cheekbone_x: 4.3, 0.25, 3.7, 4.9, "Distance of the cheekbone from the middle.";
    cheek_fat: 2.0, 0.40, 1.1, 2.9, "Fullness of the cheek.";
    brow_ridge: 0.75, 0.16, 0.4, 1.15, "Radius of the ridge over the eyes.";
    eye_x: 3.12, 0.17, 2.7, 3.55, "Half of the distance between the pupils.";
    eye_y: 0.0, 0.18, -0.4, 0.4, "Height of the eyes.";
    eye_z: 6.75, 0.16, 6.4, 7.1, "Depth of the eyeball's centre.";
    eye_radius: 1.22, 0.05, 1.1, 1.35, "Radius of the eyeball.";
    lid_width: 1.50, 0.11, 1.25, 1.78, "Half-length of the eye's opening.";
    lid_upper: 0.56, 0.11, 0.34, 0.80, "Rise of the upper lid over the middle.";
    lid_lower: 0.40, 0.08, 0.24, 0.60, "Drop of the lower lid.";
    lid_tilt: 0.05, 0.06, -0.10, 0.22, "Slant of the opening, radians, outer corner up.";
    lid_crease: 0.34, 0.13, 0.10, 0.65, "Distance of the crease above the opening.";
    eye_bag: 0.3, 0.3, 0.0, 1.0, "Strength of the bag under the eye.";
    lashes: 0.6, 0.25, 0.1, 1.0, "Darkness of the lash line.";
    iris_radius: 0.60, 0.035, 0.52, 0.70, "Radius of the iris.";
    brow_y: 1.95, 0.27, 1.40, 2.6, "Height of the eyebrow.";
    brow_thickness: 0.40, 0.13, 0.18, 0.80, "Half-thickness of the eyebrow.";
    brow_arch: 0.30, 0.20, -0.1, 0.8, "Arch of the eyebrow.";
    brow_tilt: -0.05, 0.22, -0.6, 0.5, "Rise of the eyebrow from its inner end to its outer.";
    brow_length: 4.1, 0.35, 3.2, 4.9, "Length of the eyebrow.";
    brow_inner: 1.15, 0.28, 0.5, 1.8, "Distance of the eyebrow's inner end from the middle.";
    brow_density: 0.80, 0.18, 0.3, 1.0, "Density of the eyebrow.";
    brow_darkness: 0.0, 0.3, -0.5, 0.5, "Darkness of the eyebrow beside the hair.";
    nose_y: -3.70, 0.42, -4.7, -2.8, "Height of the nose's base.";
    nose_z: 10.9, 0.38, 10.1, 11.8, "How far the tip of the nose comes forward.";
    nose_width: 1.82, 0.26, 1.3, 2.5, "Half-width over the nostrils' wings.";
    bridge_width: 0.80, 0.14, 0.5, 1.1, "Half-width of the bridge.";
    nose_tip: 0.92, 0.13, 0.65, 1.25, "Radius of the tip.";
    nose_upturn: 0.0, 0.22, -0.5, 0.6, "How far the tip points up.";
    nose_hump: 0.0, 0.20, -0.35, 0.45, "Height of the hump on the bridge.";
    nasion_z: 8.15, 0.25, 7.6, 8.8, "Depth of the bridge's root.";
    nostril: 0.36, 0.06, 0.22, 0.5, "Size of the nostril.";
    wing_radius: 0.78, 0.09, 0.55, 0.95, "Radius of the nostril's wing.";
    mouth_y: -7.15, 0.34, -7.9, -6.4, "Height of the mouth.";
    mouth_width: 2.55, 0.25, 2.0, 3.1, "Half-width of the mouth.";
    lip_upper: 0.58, 0.17, 0.25, 1.0, "Height of the upper lip.";
    lip_lower: 0.82, 0.20, 0.45, 1.30, "Height of the lower lip.";
    lip_fullness: 0.42, 0.13, 0.15, 0.75, "How far the lips come forward.";
    cupid_bow: 0.5, 0.25, 0.0, 1.0, "Strength of the upper lip's bow.";
    mouth_curve: 0.012, 0.020, -0.03, 0.05, "Rise of the mouth's corners, per centimetre.";
    lip_red: 0.5, 0.25, 0.0, 1.0, "Redness of the lips.";
    philtrum: 0.5, 0.25, 0.0, 1.0, "Depth of the groove under the nose.";
    muzzle: 0.6, 0.3, 0.0, 1.25, "How far the mouth's region comes forward.";
    blood: 0.5, 0.22, 0.0, 1.0, "Redness of cheeks and nose.";
    freckles: -0.3, 0.6, 0.0, 1.0, "Number of freckles.";
    blotches: 0.4, 0.25, 0.0, 1.0, "Unevenness of the skin.";
    oil: 0.5, 0.2, 0.1, 1.0, "Shine of the skin.";
    hue: 0.0, 0.4, -1.0, 1.0, "Warmth of the skin.";
    age: 0.25, 0.30, 0.0, 1.0, "Depth of the wrinkles.";
    ear_size: 1.0, 0.12, 0.78, 1.25, "Size of the ears.";
    ear_angle: 0.30, 0.15, 0.08, 0.65, "How far the ears stand off.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_a_sample_lies_between_its_bounds() {
        for seed in 0..200 {
            let shape = Shape::sample(&mut Random::new(seed, 0));
            for (value, parameter) in shape.values().iter().zip(PARAMETERS) {
                assert!((parameter.low..=parameter.high).contains(value), "{} = {value}", parameter.name);
            }
        }
    }
}
