use relm4::{adw, gtk::gdk::RGBA};
use vte4::TerminalExtManual as _;

/// GNOME's sixteen terminal colours: black to white, then the bright ones.
const COLOURS: [u32; 16] = [
    0x24_1f31, 0xc0_1c28, 0x2e_c27e, 0xf5_c211, 0x1e_78e4, 0x98_41bb, 0x0a_b9dc, 0xc0_bfbc,
    0x5e_5c64, 0xed_333b, 0x57_e389, 0xf8_e45c, 0x51_a1ff, 0xc0_61cb, 0x4f_d2fd, 0xf6_f5f4,
];
/// The same for a white ground, where yellow and cyan are darker to be read.
const COLOURS_ON_LIGHT: [u32; 16] = [
    0x24_1f31, 0xc0_1c28, 0x1a_7f4b, 0x9c_6e03, 0x1a_5fb4, 0x81_3d9c, 0x0a_7c94, 0x77_767b,
    0x5e_5c64, 0xc0_1c28, 0x26_a269, 0xae_7b03, 0x1e_78e4, 0x98_41bb, 0x0b_8fab, 0x9a_9996,
];

/// Dresses a terminal as the rest of the window is dressed, dark or light.
pub(super) fn apply(terminal: &vte4::Terminal, style: &adw::StyleManager) {
    let (foreground, background, colours) = if style.is_dark() {
        (0xff_ffff, 0x1d_1d20, COLOURS)
    } else {
        (0x24_1f31, 0xff_ffff, COLOURS_ON_LIGHT)
    };
    let colours = colours.map(colour);
    let colours: Vec<&RGBA> = colours.iter().collect();
    terminal.set_colors(
        Some(&colour(foreground)),
        Some(&colour(background)),
        &colours,
    );
}

fn colour(rgb: u32) -> RGBA {
    let [_, red, green, blue] = rgb.to_be_bytes().map(|part| f32::from(part) / 255.0);
    RGBA::new(red, green, blue, 1.0)
}
