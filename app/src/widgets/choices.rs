use adw::prelude::*;
use relm4::{adw, gtk};

/// Makes a row offer these, of which one is chosen; the first where it is none of them.
pub fn offer<'a>(
    row: &adw::ComboRow,
    offered: impl IntoIterator<Item = (&'a str, &'a str)>,
    chosen: &str,
) {
    let (values, words): (Vec<&str>, Vec<&str>) = offered.into_iter().unzip();
    row.set_model(Some(&gtk::StringList::new(&words)));
    let place = values.iter().position(|value| *value == chosen);
    let place = place.and_then(|place| u32::try_from(place).ok());
    row.set_selected(place.unwrap_or_default());
}

/// The one of these that a row has chosen.
pub fn chosen<'a, T>(row: &adw::ComboRow, offered: &'a [T]) -> Option<&'a T> {
    let place = usize::try_from(row.selected()).ok()?;
    offered.get(place)
}
