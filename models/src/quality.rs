use serde::Serialize;

/// Direction of a head relative to the camera, in degrees, estimated from five landmarks.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct HeadPose {
    /// Turned to the image's right is positive.
    pub yaw: f32,
    /// Looking up is positive.
    pub pitch: f32,
    /// Tilted clockwise in the image is positive.
    pub roll: f32,
}

/// Quality components of a face, each 0 (worst) to 100 (best), named as in ISO/IEC 29794-5.
///
/// The components are cheap estimates of what the standard names, not its reference algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Quality {
    /// Everything in one number: the worst component.
    pub unified_quality_score: u8,
    /// Distance between the eyes; 100 from 90 pixels.
    pub inter_eye_distance: u8,
    /// Head size; 100 from 200 pixels of box height.
    pub head_size: u8,
    /// Fine detail in the aligned face.
    pub sharpness: u8,
    /// Not too dark.
    pub under_exposure_prevention: u8,
    /// Not too bright.
    pub over_exposure_prevention: u8,
    /// Looking towards the camera, horizontally.
    pub head_pose_yaw: u8,
    /// Looking towards the camera, vertically.
    pub head_pose_pitch: u8,
    /// Upright.
    pub head_pose_roll: u8,
    /// The angles behind the three pose components.
    pub pose: HeadPose,
    /// Distance between the eyes, in pixels of the image.
    pub inter_eye_pixels: f32,
}
