use adw::prelude::*;
use relm4::{adw, gtk};

/// Says, to eyes and to others, whether what stands in a row is wrong.
pub fn mark_row(row: &adw::EntryRow, wrong: bool) {
    let state = match wrong {
        true => gtk::AccessibleInvalidState::True,
        false => gtk::AccessibleInvalidState::False,
    };
    match wrong {
        true => row.add_css_class("error"),
        false => row.remove_css_class("error"),
    }
    row.upcast_ref::<gtk::Widget>()
        .update_state(&[gtk::accessible::State::Invalid(state)]);
}

/// Says above a form what is wrong in it, if anything is.
pub fn show_fault(banner: &adw::Banner, said: Option<&str>) {
    if let Some(said) = said {
        if banner.title() != said || !banner.is_revealed() {
            let widget: &gtk::Widget = banner.upcast_ref();
            widget.announce(said, gtk::AccessibleAnnouncementPriority::Medium);
        }
        // What goes out of sight keeps its words until it has.
        banner.set_title(said);
    }
    banner.set_revealed(said.is_some());
}
