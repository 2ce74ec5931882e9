//! The program `gantry`.

fn main() {
    gantry::run();
}
