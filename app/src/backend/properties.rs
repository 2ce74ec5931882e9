use std::collections::HashMap;

use zbus::zvariant::{OwnedValue, Value};

/// The properties of one interface, as signals and answers carry them.
pub(super) type Properties = HashMap<String, OwnedValue>;

/// Sets `field` when `properties` have `key` with a value of its type.
pub(super) fn read<T>(properties: &Properties, key: &str, field: &mut T)
where
    T: TryFrom<Value<'static>>,
{
    let Some(value) = properties.get(key) else {
        return;
    };
    match value.try_to_owned().map(Value::from).map(T::try_from) {
        Ok(Ok(value)) => *field = value,
        _ => tracing::warn!("the helper's property {key} has an unexpected type"),
    }
}
