//! Skin: its colour, what grows on it, and how light comes back out of it.

use super::Surface;
use crate::head::HairModel;
use crate::identity::colour::srgb;
use crate::identity::{BeardCut, HairCut};
use crate::math::{
    LANES, Lanes, Vec3, bump, cells, fractal_noise, lerp, lerp3, noise, noises, power, smoothstep, vec3,
};
use crate::render::Figure;
use crate::view::Light;

/// Colour and shine of a point of skin.
struct Skin {
    colour: Vec3,
    gloss: f32,
}

pub(super) fn shade(figure: &Figure<'_>, light: &Light, mut at: Surface) -> Vec3 {
    let skin = paint(figure, &at);
    at.normal = pores(figure, &at);
    let key = at.key(light);
    // Light that enters skin comes out beside: red furthest, so shadows have soft red edges. The widths
    // are a wrap-lighting fit to the profiles of d'Eon and Luebke, GPU Gems 3, chapter 14.
    let wrap = |w: f32| ((key + w) / (1.0 + w)).max(0.0);
    let diffuse = vec3(wrap(0.34), wrap(0.16), wrap(0.10));
    let shadow = vec3(at.lit.sqrt() * 0.55 + at.lit * 0.45, at.lit, at.lit);
    let crevice = vec3(at.open.sqrt() * 0.5 + at.open * 0.5, at.open, at.open);
    let sky = lerp(0.55, 1.0, 0.5 + 0.5 * at.normal.dot(figure.up));
    let ambient = light.ambient * crevice * sky;
    let fresnel = at.fresnel();
    let facing = at.normal.dot(at.halfway(light.key_from)).max(0.0);
    let highlight = (power(facing, 14) * 0.35 + power(facing, 48) * 0.65)
        * skin.gloss
        * (0.075 + fresnel)
        * at.lit
        * key.max(0.0).sqrt();
    skin.colour * (light.key * diffuse * shadow + ambient + at.fill(light)) * 0.80
        + light.key * (highlight * 0.9)
        + light.ambient * (fresnel * 0.5 * skin.gloss * at.open * 0.35)
}

/// The normal with the relief of pores and fine wrinkles.
fn pores(figure: &Figure<'_>, at: &Surface) -> Vec3 {
    let fine = at.resolves(0.16);
    if fine <= 0.0 {
        return at.normal;
    }
    let seed = figure.head.identity.pattern() + 61;
    // Scale of the differences, cm: a fraction of a pore.
    const STEP: f32 = 0.07;
    let axes = [vec3(STEP, 0.0, 0.0), vec3(0.0, STEP, 0.0), vec3(0.0, 0.0, STEP), Vec3::default()];
    let Lanes([x, y, z, here]) = noises(Vec3::gather(|i| (at.head + axes[i]) * 5.5), [seed; LANES]);
    let slope = vec3(x - here, y - here, z - here) * (1.0 / STEP);
    (at.normal - slope * (fine * (0.008 + 0.011 * figure.head.identity.shape.age))).normalized()
}

fn paint(figure: &Figure<'_>, at: &Surface) -> Skin {
    let identity = figure.head.identity;
    let (p, q, seed) = (&identity.shape, at.model, identity.pattern());
    let s = q.mirrored();
    let front = smoothstep(2.0, 5.0, q.z);

    let mut colour = identity.skin;
    colour = colour * (1.0 + p.blotches * 0.26 * fractal_noise(at.head * 0.45, 3, seed));
    let mottle = 0.10 * p.blotches * fractal_noise(at.head * 1.9, 2, seed + 3);
    colour = colour * vec3(1.0 + 0.4 * mottle, 1.0 + mottle, 1.0 + mottle);
    let grain = at.resolves(0.2);
    if grain > 0.0 {
        colour = colour * (1.0 + 0.03 * grain * noise(at.head * 9.0, seed + 9));
    }

    let cheeks = 0.85 * bump((s - vec3(3.9, -3.4, 6.5)).length(), 2.3);
    let nose = 0.8 * bump((s - vec3(0.0, p.nose_y, p.nose_z - 0.5)).length(), 1.6);
    let chin = 0.35 * bump((s - vec3(0.0, p.chin_y, 8.0)).length(), 1.8);
    let ears = 0.6 * smoothstep(6.8, 7.6, s.x) * smoothstep(-6.0, -4.0, s.y);
    let red = (cheeks + nose + chin + ears) * (0.25 + p.blood) * (1.0 - 0.55 * identity.melanin);
    colour = colour * vec3(1.0 + 0.05 * red, 1.0 - 0.22 * red, 1.0 - 0.18 * red);

    let mut gloss = 0.55 + 0.45 * p.oil;
    if front > 0.0 {
        colour = around_eyes(figure, colour, s, front);
        colour = spots(figure, at, colour, front);
        colour = wrinkles(figure, colour, q, s);
        (colour, gloss) = lips(figure, colour, gloss, q, s, seed);
        (colour, gloss) = brows(figure, colour, gloss, q, s, seed);
    }
    (colour, gloss) = beard(figure, colour, gloss, q, s, seed);
    colour = scalp(figure, colour, q, mottle);
    Skin { colour, gloss }
}

/// Shadowed sockets, lash lines and the crease of the lid.
fn around_eyes(figure: &Figure<'_>, colour: Vec3, s: Vec3, front: f32) -> Vec3 {
    let p = &figure.head.identity.shape;
    let eye = figure.head.eyes.centre;
    let from = vec3((s.x - eye.x) * 0.75, s.y - eye.y + 0.15, 0.0).length();
    let dark = bump(from, 1.5) * front * (0.3 + 0.5 * p.eye_bag);
    let mut colour = colour * lerp3(Vec3::splat(1.0), vec3(0.84, 0.74, 0.74), dark);
    if (s - eye).length() < 3.0 {
        let o = figure.head.eyes.opening(s);
        let upper = smoothstep(-0.12, 0.08, s.y - eye.y);
        let lash = bump(o, 0.10 + 0.05 * p.lashes) * upper * (0.45 + 0.5 * p.lashes);
        colour = colour * lerp3(Vec3::splat(1.0), vec3(0.10, 0.08, 0.08), lash);
        colour = colour * (1.0 - 0.32 * bump(o, 0.09) * (1.0 - upper));
        let crease = bump(o - p.lid_crease, 0.09) * upper * 0.6;
        colour = colour * lerp3(Vec3::splat(1.0), vec3(0.70, 0.58, 0.55), crease);
    }
    colour
}

/// Freckles and moles.
fn spots(figure: &Figure<'_>, at: &Surface, colour: Vec3, front: f32) -> Vec3 {
    let identity = figure.head.identity;
    let (p, s, seed) = (&identity.shape, at.model.mirrored(), identity.pattern());
    let mut colour = colour;
    if p.freckles > 0.02 {
        let (distance, which) = cells(at.head * 2.6, seed + 21);
        let there = smoothstep(0.30, 0.12, distance)
            * smoothstep(1.0 - p.freckles * 0.9, 1.05 - p.freckles * 0.9, which)
            * (bump((s - vec3(2.8, -2.4, 7.5)).length(), 3.4) + 0.15)
            * front;
        colour = lerp3(colour, colour * vec3(0.66, 0.50, 0.40), (there * 0.8).min(1.0));
    }
    for mole in &identity.moles {
        let distance = vec3(at.model.x - mole.x, at.model.y - mole.y, 0.0).length();
        let there = smoothstep(mole.radius * 1.25, mole.radius * 0.7, distance) * front;
        colour = lerp3(colour, colour * vec3(0.28, 0.20, 0.18), there);
    }
    colour
}

/// Lines of the forehead, at the eyes' corners, between the brows and beside the mouth.
fn wrinkles(figure: &Figure<'_>, colour: Vec3, q: Vec3, s: Vec3) -> Vec3 {
    let (p, smile) = (&figure.head.identity.shape, figure.expression.smile.max(0.0));
    let mut shade = 1.0 - figure.head.mouth.nasolabial(s) * (0.06 + 0.16 * p.age + 0.10 * smile);
    if p.age > 0.05 {
        let wobble = 0.12 * noise(vec3(q.x * 0.8, 3.0, 0.0), figure.head.identity.pattern());
        for line in 0..3 {
            let y = 3.3 + line as f32 - 0.012 * s.x * s.x + wobble;
            shade *= 1.0 - 0.20 * p.age * bump(q.y - y, 0.09) * smoothstep(4.5, 2.5, s.x);
        }
        let x = s.x - (figure.head.eyes.centre.x + p.lid_width + 0.25);
        for line in -1..=1 {
            let y = s.y - figure.head.eyes.centre.y - line as f32 * x * 0.45;
            let there = bump(y, 0.07) * smoothstep(0.0, 0.2, x) * smoothstep(1.5, 0.7, x);
            shade *= 1.0 - 0.18 * (p.age + 0.4 * smile) * there;
        }
        let frown = bump((s.x - 0.35).abs(), 0.09) * smoothstep(1.0, 1.3, q.y) * smoothstep(2.6, 2.0, q.y);
        shade *= 1.0 - 0.22 * p.age * frown;
    }
    colour * shade
}

/// The red of the lips and the dark line between them.
fn lips(figure: &Figure<'_>, colour: Vec3, gloss: f32, q: Vec3, s: Vec3, seed: u32) -> (Vec3, f32) {
    let (identity, mouth) = (figure.head.identity, &figure.head.mouth);
    let lips = mouth.lips(s);
    if lips.across >= 1.1 || q.z < 6.0 || (q.y - mouth.y).abs() > 3.0 {
        return (colour, gloss);
    }
    const EDGE: f32 = 0.14;
    let upper = smoothstep(1.0 + EDGE * 1.3, 1.0 - EDGE, lips.upper) * smoothstep(-0.8, -0.05, lips.upper);
    let lower = smoothstep(1.0 + EDGE, 1.0 - EDGE * 1.4, lips.lower) * smoothstep(-0.8, -0.05, lips.lower);
    let red = upper.max(lower) * smoothstep(1.04, 0.93, lips.across);
    let amount = identity.shape.lip_red;
    let tint = identity.skin * lerp3(vec3(0.86, 0.60, 0.58), vec3(0.80, 0.38, 0.40), amount);
    let blood = srgb(150.0, 72.0, 70.0) * (identity.skin.luminance() / 0.35).clamp(0.35, 1.1);
    let chap = 1.0 + 0.10 * noise(vec3(q.x * 7.0, q.y * 1.2, 0.0), seed);
    let shaded = if lips.upper > 0.0 { 0.86 } else { 1.0 };
    let lip = lerp3(tint, blood, 0.25 + 0.2 * amount) * (chap * shaded);
    let mut colour = lerp3(colour, lip, red * 0.92);
    if lips.gap < 0.02 {
        let seam = bump(q.y - lips.line, 0.07) * smoothstep(1.07, 0.92, lips.across) * 0.85;
        colour = colour * lerp3(Vec3::splat(1.0), vec3(0.30, 0.17, 0.16), seam);
    }
    let (x, y) = mouth.corner();
    colour = colour * (1.0 - 0.30 * bump(vec3(s.x - x, s.y - y, 0.0).length(), 0.25));
    (colour, lerp(gloss, 1.1, red))
}

fn brows(figure: &Figure<'_>, colour: Vec3, gloss: f32, q: Vec3, s: Vec3, seed: u32) -> (Vec3, f32) {
    let identity = figure.head.identity;
    let p = &identity.shape;
    let along = (s.x - p.brow_inner) / p.brow_length;
    if !(-0.12..1.1).contains(&along) || (q.y - p.brow_y).abs() > 2.5 {
        return (colour, gloss);
    }
    let from_peak = (along - 0.62) / 0.62;
    let middle =
        p.brow_y + figure.expression.brow + p.brow_arch * (1.0 - from_peak * from_peak) + p.brow_tilt * along;
    let thickness =
        p.brow_thickness * smoothstep(-0.12, 0.12, along) * (1.0 - 0.72 * smoothstep(0.45, 1.05, along));
    let height = (q.y - middle) / thickness.max(0.03);
    let side = if q.x > 0.0 { 0.0 } else { 7.0 };
    let hairs = noise(vec3(s.x * 7.0 - q.y * 5.0, s.x * 1.5 + q.y * 3.0, side), seed + 31);
    let there = smoothstep(1.25, 0.45, height.abs() + 0.35 * hairs)
        * smoothstep(-0.12, 0.02, along)
        * smoothstep(1.1, 0.85, along)
        * p.brow_density;
    let cover = (there * (0.85 + 0.3 * hairs)).clamp(0.0, 1.0);
    (lerp3(colour, identity.brow_colour, cover), gloss * (1.0 - 0.7 * there))
}

/// The beard, or the shade of a shaved one.
fn beard(figure: &Figure<'_>, colour: Vec3, gloss: f32, q: Vec3, s: Vec3, seed: u32) -> (Vec3, f32) {
    let identity = figure.head.identity;
    let beard = &identity.beard;
    if (beard.cut == BeardCut::None && identity.masculinity < 0.75) || q.y > 1.0 || q.z < -4.0 {
        return (colour, gloss);
    }
    let region = beard_region(figure, s, seed);
    let mut colour = colour;
    if identity.masculinity > 0.6 {
        let shaved = region * 0.45 * (identity.masculinity - 0.4);
        colour = colour * lerp3(Vec3::splat(1.0), vec3(0.80, 0.82, 0.86), shaved);
    }
    let density = match beard.cut {
        BeardCut::None => return (colour, gloss),
        BeardCut::Stubble => 0.40,
        BeardCut::Short => 0.85,
        BeardCut::Full => 0.97,
        BeardCut::Moustache | BeardCut::Goatee => 0.90,
    } * beard.density;
    let strands = 0.5 + 0.5 * noise(vec3(q.x * 8.0, q.y * 2.6, q.z * 6.0), seed + 41);
    let patches = 0.5 + 0.5 * noise(q * 1.3, seed + 43);
    let cover = (region * density * (0.55 + 0.6 * strands) * (0.7 + 0.5 * patches)).clamp(0.0, 0.97);
    let natural =
        if identity.hair.cut == HairCut::Scarf { identity.brow_colour } else { identity.hair.colour };
    (lerp3(colour, lerp3(natural, identity.brow_colour, 0.5), cover), gloss * (1.0 - 0.8 * cover))
}

/// Where this cut of beard grows, 0 to 1.
fn beard_region(figure: &Figure<'_>, s: Vec3, seed: u32) -> f32 {
    let (p, mouth) = (&figure.head.identity.shape, &figure.head.mouth);
    let lips = mouth.lips(s);
    let on_lips =
        lips.across < 1.1 && ((-0.5..1.05).contains(&lips.upper) || (-0.5..1.05).contains(&lips.lower));
    if on_lips {
        return 0.0;
    }
    let ragged = 0.35 * noise(s * 1.1, seed + 51);
    let (w, y) = (mouth.width, mouth.y);
    let moustache = smoothstep(y + 0.2, y + 0.55, s.y)
        * smoothstep(p.nose_y - 0.75, p.nose_y - 1.15, s.y)
        * smoothstep(w + 0.7, w + 0.1, s.x + 0.2 * ragged);
    let beside = smoothstep(w - 0.3, w + 0.1, s.x)
        * smoothstep(w + 0.9, w + 0.4, s.x)
        * smoothstep(y + 0.5, y - 0.1, s.y)
        * smoothstep(y - 3.2, y - 2.2, s.y);
    let side = moustache.max(beside);
    let under = y - mouth.lower;
    let chin = smoothstep(under - 0.35, under - 0.8, s.y + 0.3 * ragged) * smoothstep(2.6, 1.6, s.x);
    let upper_edge = y + 1.2 + 3.6 * smoothstep(3.0, 6.6, s.x) - 1.6 * bump(s.x - 3.3, 1.2);
    let full = smoothstep(upper_edge + 0.5, upper_edge - 0.6, s.y + ragged)
        * smoothstep(-0.6, 0.6, s.z - 0.3)
        * smoothstep(-13.2, -11.6, s.y);
    let region = match figure.head.identity.beard.cut {
        BeardCut::Moustache => moustache,
        BeardCut::Goatee => side.max(chin),
        BeardCut::None | BeardCut::Stubble | BeardCut::Short | BeardCut::Full => {
            let above_mouth = s.y > y + 0.2 && s.x < w && moustache < 0.01;
            full.max(side) * if above_mouth { smoothstep(w - 0.4, w + 0.5, s.x) } else { 1.0 }
        }
    };
    region * smoothstep(1.0, 3.5, s.z + 2.0)
}

/// The darker skin under clipped or thin hair.
fn scalp(figure: &Figure<'_>, colour: Vec3, q: Vec3, mottle: f32) -> Vec3 {
    let identity = figure.head.identity;
    let clipped = matches!(identity.hair.cut, HairCut::Buzz | HairCut::Receding);
    let strength = if clipped { 0.6 } else { 0.35 };
    let Some(model) = figure.head.hair.as_ref().filter(|_| q.y > -3.0) else {
        return colour;
    };
    let under = smoothstep(0.6, -0.8, model.past_hairline(q) / HairModel::SLOPE + 3.0 * mottle);
    lerp3(colour, identity.hair.colour, under * strength)
}
