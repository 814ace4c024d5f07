use serde::{Deserialize, Serialize};

macro_rules! components {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// Quality components of a face, each 0 (worst) to 100 (best), named after ISO/IEC 29794-5.
        ///
        /// The components are cheap estimates of what the standard names, not its reference algorithms.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Quality {
            $($(#[$doc])* pub $name: u8,)*
        }

        impl Quality {
            /// A face whose components are all the same.
            #[must_use]
            pub const fn uniform(value: u8) -> Self {
                Self { $($name: value),* }
            }

            /// Every component with its name, the unified score first.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u8)> + use<> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

components! {
    /// Everything in one number: the worst component.
    unified_score
    /// Distance between the eyes; 100 from 90 pixels, as the standard asks of portraits.
    inter_eye_distance
    /// Height of the face; 100 from 200 pixels.
    head_size
    /// Fine detail in the aligned face.
    sharpness
    /// Not too dark.
    under_exposure_prevention
    /// Not too bright.
    over_exposure_prevention
    /// Looking towards the camera, horizontally.
    head_pose_yaw
    /// Looking towards the camera, vertically.
    head_pose_pitch
    /// Upright; 50 at half a quarter turn, 0 where the landmarks can't be a face's.
    head_pose_roll
    /// How sure the pack's refiner is that the landmarks are those of an upright face; 50 where they just
    /// pass, 100 where the pack has no refiner.
    #[serde(default = "best")]
    landmark_confidence
}

/// Of what was written before there were refiners.
const fn best() -> u8 {
    Quality::BEST
}

impl Quality {
    /// What a component can be at best.
    pub const BEST: u8 = 100;

    /// Least confidence in landmarks that may be an upright face's.
    pub const LEAST_CONFIDENCE: u8 = 50;

    /// Least roll component of a face that is tilted by half a quarter turn at most: beyond it, the next
    /// turn of the picture is nearer, and what a detector makes of its landmarks is another face.
    const LEAST_ROLL: u8 = 50;

    /// Whether the face stands upright enough to be compared; faces whose landmarks can't be a face's
    /// have no roll component.
    #[must_use]
    pub const fn is_upright(&self) -> bool {
        self.head_pose_roll >= Self::LEAST_ROLL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_have_the_names_that_json_gives_them() {
        let json = r#"{"unified_score":1,"inter_eye_distance":2,"head_size":3,"sharpness":4,"under_exposure_prevention":5,"over_exposure_prevention":6,"head_pose_yaw":7,"head_pose_pitch":8,"head_pose_roll":50,"landmark_confidence":60}"#;
        let quality: Quality = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&quality).unwrap(), json);
        let named: Vec<_> = quality.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        assert_eq!(format!("{{{}}}", named.join(",")), json);
        let older = json.replace(r#","landmark_confidence":60"#, "");
        let quality: Quality = serde_json::from_str(&older).unwrap();
        assert_eq!(quality.landmark_confidence, Quality::BEST);
    }

    #[test]
    fn half_a_quarter_turn_is_upright() {
        let of_roll = |head_pose_roll| Quality { head_pose_roll, ..Quality::uniform(0) };
        assert!(of_roll(50).is_upright() && !of_roll(49).is_upright());
    }
}
