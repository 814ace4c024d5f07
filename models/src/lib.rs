//! Face detection, alignment and embedding with candle: model packs and the frame-to-faces pipeline.
