//! An IP address of its own on an interface of the host, whose MAC address it
//! shares.

use super::wire::{Ground, Wire};
use crate::failure::Step;
use crate::netlink::NewKind;
use gantry_core::values::network::{IpvlanIsolation, IpvlanMode};

/// Makes the interface; gives back its index in the container.
pub(super) fn make(
    wire: &Wire<'_>,
    mode: IpvlanMode,
    isolation: IpvlanIsolation,
    ground: &mut Ground<'_>,
) -> Step<u32> {
    let link = wire.link(ground)?;
    wire.refuse_port(&link, ground)?;
    // IPVLAN_MODE_* and IPVLAN_F_* of linux/if_link.h
    let mode = match mode {
        IpvlanMode::L2 => 0,
        IpvlanMode::L3 => 1,
        IpvlanMode::L3s => 2,
    };
    let flags = match isolation {
        IpvlanIsolation::Bridge => 0,
        IpvlanIsolation::Private => 1,
        IpvlanIsolation::Vepa => 2,
    };
    let kind = NewKind::Ipvlan {
        link: link.index,
        mode,
        flags,
    };
    wire.make_on(&link, &kind, ground)
}
