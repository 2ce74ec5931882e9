//! Widgets that know nothing of containers.

pub mod ask;
mod palette;
mod template;
mod terminal;

pub(crate) use template::widget;

pub use terminal::Terminal;
