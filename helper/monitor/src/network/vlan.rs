//! A VLAN (IEEE 802.1Q) of an interface of the host.

use super::STEP;
use super::wire::{Ground, Wire};
use crate::failure::{At, Step};
use crate::netlink::NewKind;

/// Makes the interface; gives back its index in the container.
pub(super) fn make(wire: &Wire<'_>, id: u16, ground: &mut Ground<'_>) -> Step<u32> {
    let link = wire.link(ground)?;
    let kind = NewKind::Vlan {
        link: link.index,
        id,
    };
    let index = wire.make_on(&link, &kind, ground)?;
    if let Some(address) = wire.address {
        ground.inside.set_address(index, &address).at(STEP, || {
            format!("cannot set lxc.net.{}.hwaddr", wire.number)
        })?;
    }
    Ok(index)
}
