use std::{cell::Cell, rc::Rc};

use gtk::{glib, prelude::*};
use relm4::gtk;

/// Calls once a second while the widget is in sight.
pub fn each_second(widget: &impl IsA<gtk::Widget>, call: impl Fn() + 'static) {
    let call = Rc::new(call);
    let clock = Rc::new(Cell::new(None));
    let running = Rc::clone(&clock);
    widget.connect_map(move |_| {
        let call = Rc::clone(&call);
        let clock = glib::timeout_add_seconds_local(1, move || {
            call();
            glib::ControlFlow::Continue
        });
        running.set(Some(clock));
    });
    widget.connect_unmap(move |_| {
        if let Some(clock) = clock.take() {
            clock.remove();
        }
    });
}
