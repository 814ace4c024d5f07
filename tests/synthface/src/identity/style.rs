//! What a person wears on the head: hair, beard, glasses.

use super::colour;
use crate::math::{Random, Vec3};

/// How the hair is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HairCut {
    /// No hair.
    Bald,
    /// Clipped to a few millimetres.
    Buzz,
    /// A few centimetres, swept back.
    Short,
    /// Longer on top, parted at one side.
    Parted,
    /// Short, with a fringe over the forehead.
    Fringe,
    /// Thin on top, high at the temples.
    Receding,
    /// Round and dense.
    Afro,
    /// Down to the jaw, with a fringe.
    Bob,
    /// Over the shoulders.
    Long,
    /// Over the shoulders, with a fringe.
    LongFringe,
    /// Combed back into a bun.
    Bun,
    /// A headscarf that covers hair, ears and neck.
    Scarf,
}

impl HairCut {
    /// Whether hair hangs beside the neck.
    pub(crate) fn is_long(self) -> bool {
        matches!(self, HairCut::Long | HairCut::LongFringe | HairCut::Bob)
    }

    /// Whether hair covers the forehead.
    pub(crate) fn has_fringe(self) -> bool {
        matches!(self, HairCut::Fringe | HairCut::LongFringe | HairCut::Bob)
    }
}

/// Hair as one person wears it.
#[derive(Clone, Debug)]
pub struct Hair {
    /// How it is cut.
    pub cut: HairCut,
    /// Linear RGB of the hair, or of the scarf's cloth.
    pub colour: Vec3,
    /// Height of the hairline over the eyes, cm.
    pub line: f32,
    /// How far the temples recede, 0 to 1 (2 for [`HairCut::Receding`]).
    pub recede: f32,
    /// Volume, 0.6 to 1.6.
    pub volume: f32,
    /// Side and strength of the parting, -1 to 1.
    pub parting: f32,
    /// From straight (0) to curly (1).
    pub curl: f32,
}

/// How the beard is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeardCut {
    /// Shaved.
    None,
    /// A few days old.
    Stubble,
    /// Full and short.
    Short,
    /// Full and dense.
    Full,
    /// Upper lip only.
    Moustache,
    /// Chin and upper lip.
    Goatee,
}

/// A beard.
#[derive(Clone, Copy, Debug)]
pub struct Beard {
    /// How it is cut.
    pub cut: BeardCut,
    /// Share of the skin that it hides, 0.5 to 1.
    pub density: f32,
}

/// Shape of a spectacle frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LensShape {
    /// Rounded rectangle.
    Rectangular,
    /// Circle.
    Round,
    /// Wide oval.
    Oval,
}

/// A pair of glasses.
#[derive(Clone, Copy, Debug)]
pub struct Glasses {
    /// Shape of the lens.
    pub frame: LensShape,
    /// Linear RGB.
    pub colour: Vec3,
    /// Half-width and half-height of a lens and half-thickness of the rim, cm.
    pub size: [f32; 3],
}

/// The cuts that men, and women, mostly wear; a cut that is there twice is twice as common.
const MASCULINE: [HairCut; 15] = {
    use HairCut::*;
    [
        Bald, Buzz, Buzz, Short, Short, Short, Short, Parted, Parted, Fringe, Fringe, Afro, Receding,
        Receding, Short,
    ]
};
const FEMININE: [HairCut; 15] = {
    use HairCut::*;
    [Long, Long, Long, LongFringe, LongFringe, Parted, Bun, Bun, Afro, Scarf, Bob, Bob, Long, Short, Bun]
};

impl Hair {
    pub(crate) fn sample(random: &mut Random, masculinity: f32, melanin: f32, age: f32) -> Hair {
        let natural = colour::hair(random, melanin, age);
        let mut cut = if masculinity > 0.5 { random.pick(MASCULINE) } else { random.pick(FEMININE) };
        // Dense round hair does not grow on most pale heads.
        if cut == HairCut::Afro && melanin < 0.5 {
            cut = HairCut::Parted;
        }
        let (line, recede) = (random.range(5.6, 7.3), random.unit());
        let (volume, parting) = (random.range(0.6, 1.6), random.range(-1.0, 1.0));
        let curl = if melanin > 0.7 { random.range(0.6, 1.0) } else { random.range(0.0, 0.8) };
        let cloth = colour::muted(random, 0.03, 0.53, 0.4);
        let receding = cut == HairCut::Receding;
        Hair {
            cut,
            colour: if cut == HairCut::Scarf { cloth } else { natural },
            line: if receding { 8.4 } else { line },
            recede: if receding { 2.0 } else { recede },
            volume,
            parting,
            curl,
        }
    }
}

impl Beard {
    pub(crate) fn sample(random: &mut Random, masculinity: f32) -> Beard {
        let (which, density) = (random.unit(), random.range(0.5, 1.0));
        let cut = match which {
            _ if masculinity < 0.55 => BeardCut::None,
            w if w < 0.38 => BeardCut::None,
            w if w < 0.58 => BeardCut::Stubble,
            w if w < 0.76 => BeardCut::Short,
            w if w < 0.84 => BeardCut::Full,
            w if w < 0.92 => BeardCut::Moustache,
            _ => BeardCut::Goatee,
        };
        Beard { cut, density }
    }
}

impl Glasses {
    pub(crate) fn sample(random: &mut Random) -> Option<Glasses> {
        let (worn, frame, metal) = (
            random.unit(),
            random.pick([LensShape::Rectangular, LensShape::Round, LensShape::Oval]),
            random.unit(),
        );
        let size = [random.range(2.15, 2.55), random.range(1.55, 2.0), random.range(0.08, 0.19)];
        let bright = colour::muted(random, 0.02, 0.4, 0.2);
        let colour = match metal {
            m if m < 0.5 => colour::srgb(22.0, 20.0, 20.0),
            m if m < 0.7 => colour::srgb(90.0, 50.0, 28.0),
            m if m < 0.85 => colour::srgb(150.0, 140.0, 120.0),
            _ => bright,
        };
        (worn < 0.26).then_some(Glasses { frame, colour, size })
    }
}
