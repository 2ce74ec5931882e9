//! Widgets that know nothing of containers.

mod actions;
pub mod ask;
mod clock;
mod palette;
mod property_row;
mod states;
mod template;
mod terminal;

pub(crate) use template::widget;

pub use actions::install_actions;
pub use clock::each_second;
pub use property_row::PropertyRow;
pub use states::States;
pub use terminal::Terminal;
