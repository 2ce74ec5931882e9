//! A MAC address of its own on an interface of the host.

use super::STEP;
use super::wire::{Ground, Wire};
use crate::failure::{At, Step};
use crate::netlink::NewKind;
use gantry_core::values::network::MacvlanMode;

/// Makes the interface; gives back its index in the container.
pub(super) fn make(wire: &Wire<'_>, mode: MacvlanMode, ground: &mut Ground<'_>) -> Step<u32> {
    let link = wire.link(ground)?;
    wire.refuse_port(&link, ground)?;
    // MACVLAN_MODE_* of linux/if_link.h
    let mode = match mode {
        MacvlanMode::Private => 1,
        MacvlanMode::Vepa => 2,
        MacvlanMode::Bridge => 4,
        MacvlanMode::Passthru => 8,
    };
    let kind = NewKind::Macvlan {
        link: link.index,
        mode,
    };
    let index = wire.make_on(&link, &kind, ground)?;
    if let Some(address) = wire.address {
        // Not when it is made: in passthru mode it then gets the link's.
        ground.inside.set_address(index, &address).at(STEP, || {
            format!("cannot set lxc.net.{}.hwaddr", wire.number)
        })?;
    }
    Ok(index)
}
