use std::{cell::RefCell, rc::Rc};

use adw::{prelude::*, subclass::prelude::*};
use gtk::{gdk, pango};
use relm4::{Sender, adw, gtk};

use super::Message;
use crate::{
    backend::{Interface, Network},
    networks::state_word,
    text::tr,
    widgets::widget,
};

widget! {
    /// A picture of what a container's interfaces are plugged into: interfaces on the left,
    /// networks on the right, cables between. An interface that is dragged to a network is
    /// to be plugged in there; the picture changes once it is.
    Wiring("GantryWiring") in "../../../data/ui/wiring.ui",
    extends adw::Bin [] by BinImpl [],
    implements [],
    {
        plugs: gtk::Box,
        sockets: gtk::Box,
        cables: gtk::DrawingArea,
    }
}

/// What an interface can be plugged into, with a word about it.
type Socket = (String, String);

/// A cable's two ends, and whether it carries anything.
type Cable = (gtk::Widget, gtk::Widget, bool);

impl Wiring {
    /// Shows these interfaces and networks, and sends where one is dragged to.
    pub(super) fn show(
        &self,
        interfaces: &[Interface],
        networks: &[Network],
        to: &Sender<Message>,
    ) {
        let parts = self.imp();
        for column in [&parts.plugs, &parts.sockets] {
            while let Some(child) = column.first_child() {
                column.remove(&child);
            }
        }
        let mut ends: Vec<(String, gtk::Widget)> = Vec::new();
        for (link, word) in sockets(interfaces, networks) {
            let socket = end("network-workgroup-symbolic", &link, &word);
            accept(&socket, &link, to);
            parts.sockets.append(&socket);
            ends.push((link, socket.upcast()));
        }
        let none = end("network-wired-disconnected-symbolic", &tr("Unplugged"), "");
        none.add_css_class("gantry-no-end");
        accept(&none, "", to);
        parts.sockets.append(&none);
        let mut cables: Vec<Cable> = Vec::new();
        for interface in interfaces {
            let plan = &interface.plan;
            let plug = end("network-wired-symbolic", &interface.title(), &plan.kind);
            if interface.has_plug() {
                give(&plug, interface.index);
            }
            parts.plugs.append(&plug);
            let socket = ends.iter().find(|(link, _)| *link == plan.link);
            if let Some((_, socket)) = socket {
                let live = interface.carrier != Some(false) && plan.up;
                cables.push((plug.upcast(), socket.clone(), live));
            }
        }
        let cables = Rc::new(RefCell::new(cables));
        parts.cables.set_draw_func(move |area, context, _, _| {
            for cable in cables.borrow().iter() {
                draw(area, context, cable);
            }
        });
    }
}

/// What there is to plug into: networks, and whatever else is plugged into already.
fn sockets(interfaces: &[Interface], networks: &[Network]) -> Vec<Socket> {
    let mut found: Vec<Socket> = networks
        .iter()
        .map(|network| {
            let words = [state_word(network), network.address(false).to_owned()];
            let words = words.into_iter().filter(|word| !word.is_empty());
            (network.name.clone(), words.collect::<Vec<_>>().join(" · "))
        })
        .collect();
    for interface in interfaces {
        let link = &interface.plan.link;
        if !link.is_empty() && !found.iter().any(|(known, _)| known == link) {
            found.push((link.clone(), tr("Interface of this computer")));
        }
    }
    found.sort();
    found
}

/// A place where a cable ends.
fn end(icon: &str, title: &str, word: &str) -> gtk::Box {
    let label = |text: &str, classes: &[&str]| {
        gtk::Label::builder()
            .label(text)
            .xalign(0.0)
            .ellipsize(pango::EllipsizeMode::End)
            .css_classes(classes.to_vec())
            .build()
    };
    let lines = gtk::Box::builder()
        .orientation(gtk::Orientation::Vertical)
        .hexpand(true)
        .valign(gtk::Align::Center)
        .build();
    lines.append(&label(title, &[]));
    if !word.is_empty() {
        lines.append(&label(word, &["caption", "dim-label"]));
    }
    let whole = gtk::Box::builder()
        .spacing(9)
        .css_classes(["card", "gantry-end"])
        .tooltip_text(title)
        .build();
    let icon = gtk::Image::from_icon_name(icon);
    icon.set_accessible_role(gtk::AccessibleRole::Presentation);
    whole.append(&icon);
    whole.append(&lines);
    whole
}

/// Lets the interface be dragged by its place.
fn give(plug: &gtk::Box, index: u32) {
    let source = gtk::DragSource::builder()
        .actions(gdk::DragAction::MOVE)
        .content(&gdk::ContentProvider::for_value(&index.to_value()))
        .build();
    source.connect_drag_begin(|source, _| {
        if let Some(widget) = source.widget() {
            let picture = gtk::WidgetPaintable::new(Some(&widget));
            source.set_icon(Some(&picture), 0, 0);
        }
    });
    plug.add_controller(source);
    plug.set_cursor_from_name(Some("grab"));
}

/// Has what is dropped here plugged in here.
fn accept(socket: &gtk::Box, link: &str, to: &Sender<Message>) {
    let target = gtk::DropTarget::new(u32::static_type(), gdk::DragAction::MOVE);
    let (link, to) = (link.to_owned(), to.clone());
    target.connect_drop(move |_, value, _, _| match value.get::<u32>() {
        Ok(index) => {
            to.emit(Message::AskPlug(index, link.clone()));
            true
        }
        Err(_) => false,
    });
    socket.add_controller(target);
}

/// Draws a cable that leaves and arrives level.
fn draw(area: &gtk::DrawingArea, context: &gtk::cairo::Context, (plug, socket, live): &Cable) {
    let (Some(from), Some(to)) = (plug.compute_bounds(area), socket.compute_bounds(area)) else {
        return;
    };
    // In a language that is read from the right, the columns are the other way round.
    let leftwards = from.x() > to.x();
    let (start, finish) = match leftwards {
        true => (from.x(), to.x() + to.width()),
        false => (from.x() + from.width(), to.x()),
    };
    let middle = |place: &gtk::graphene::Rect| f64::from(place.y() + place.height() / 2.0);
    let (start, finish) = (f64::from(start), f64::from(finish));
    let half = (finish - start) / 2.0;
    let colour = area.color();
    context.set_source_rgba(
        colour.red().into(),
        colour.green().into(),
        colour.blue().into(),
        if *live { 1.0 } else { 0.5 },
    );
    context.set_line_width(3.0);
    context.set_line_cap(gtk::cairo::LineCap::Round);
    context.set_dash(if *live { &[] } else { &[6.0, 6.0] }, 0.0);
    let (from, to) = (middle(&from), middle(&to));
    context.move_to(start, from);
    context.curve_to(start + half, from, finish - half, to, finish, to);
    if let Err(error) = context.stroke() {
        tracing::warn!("a cable could not be drawn: {error}");
    }
    for (x, y) in [(start, from), (finish, to)] {
        context.arc(x, y, 5.0, 0.0, std::f64::consts::TAU);
        if let Err(error) = context.fill() {
            tracing::warn!("a plug could not be drawn: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interface_is_plugged_into_is_in_the_picture() {
        let network = Network {
            name: "lxcbr0".into(),
            up: true,
            addresses: vec!["10.0.3.1/24".into()],
            ..Network::default()
        };
        let on = |link: &str| {
            let mut interface = Interface::default();
            interface.plan.link = link.to_owned();
            interface
        };
        let shown = sockets(&[on("lxcbr0"), on("enp4s0"), on("")], &[network]);
        let names: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["enp4s0", "lxcbr0"]);
        assert_eq!(shown[1].1, "Up · 10.0.3.1/24");
    }
}
