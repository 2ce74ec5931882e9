//! Packs data/ui and the icons into the resource file that the program embeds.

fn main() {
    glib_build_tools::compile_resources(
        &["../data/ui", "../data/icons"],
        "../data/ui/gantry.gresource.xml",
        "gantry.gresource",
    );
}
