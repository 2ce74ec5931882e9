//! Widgets that know nothing of containers.

mod actions;
pub mod ask;
mod choices;
mod clock;
mod faults;
pub mod files;
mod form_frame;
mod palette;
mod property_row;
mod rows;
mod search_list;
mod states;
mod template;
mod terminal;
pub mod wait;

pub(crate) use template::widget;

pub use actions::install_actions;
pub use choices::{chosen, offer};
pub use clock::each_second;
pub use faults::{mark_row, show_fault};
pub use form_frame::FormFrame;
pub use property_row::PropertyRow;
pub use rows::{Rows, with_button};
pub use search_list::{SearchList, SearchRow};
pub use states::States;
pub use terminal::Terminal;
