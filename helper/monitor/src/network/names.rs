//! Names of interfaces.

use super::STEP;
use crate::failure::{At, Step};
use crate::sys;

/// `veth` and six letters or digits.
pub(super) fn random_name() -> Step<String> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let random = sys::random::<6>().at(STEP, || "cannot draw a random name".to_owned())?;
    let letter = |byte: u8| {
        LETTERS
            .get(usize::from(byte) % LETTERS.len())
            .copied()
            .map_or('0', char::from)
    };
    Ok(format!(
        "veth{}",
        random.map(letter).iter().collect::<String>()
    ))
}
