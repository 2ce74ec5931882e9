//! Components in a real window, without a bus: what the helper says is fed in.
//!
//! GTK belongs to one thread, so this program runs its tests one after the other
//! itself, and says so where there is no display to run them on.
// The lints know tests by their attribute, which these cannot have.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};

use adw::prelude::*;
use gantry::{
    backend::{Absence, Backend, Container, Finding, Job, NewContainer},
    computer::FindingRow,
    widgets::{States, Terminal},
    window::{ContainerItem, ContainerList, JobItem, JobsButton},
};
use gantry_api::{ContainerState, JobState};
use relm4::{adw, gtk};

const TESTS: [(&str, fn()); 9] = [
    (
        "a_row_keeps_its_place_while_its_container_changes",
        a_row_keeps_its_place_while_its_container_changes,
    ),
    (
        "the_search_keeps_the_selection_for_later",
        the_search_keeps_the_selection_for_later,
    ),
    ("the_list_follows_its_group", the_list_follows_its_group),
    (
        "a_view_says_which_of_its_states_it_is_in",
        a_view_says_which_of_its_states_it_is_in,
    ),
    (
        "a_state_is_told_by_a_word_and_an_icon",
        a_state_is_told_by_a_word_and_an_icon,
    ),
    (
        "a_job_shows_how_far_it_is_and_how_it_ended",
        a_job_shows_how_far_it_is_and_how_it_ended,
    ),
    (
        "a_terminal_shows_what_its_pty_says_and_follows_its_size",
        a_terminal_shows_what_its_pty_says_and_follows_its_size,
    ),
    (
        "of_a_remedy_the_command_is_copied",
        of_a_remedy_the_command_is_copied,
    ),
    (
        "a_request_without_a_bus_is_an_error_at_once",
        a_request_without_a_bus_is_an_error_at_once,
    ),
];

fn main() -> ExitCode {
    eprintln!("\nrunning {} tests", TESTS.len());
    if gtk::init().is_err() {
        for (name, _) in TESTS {
            eprintln!("test {name} ... ignored, there is no display: use xvfb-run");
        }
        eprintln!(
            "\ntest result: ok. 0 passed; 0 failed; {} ignored",
            TESTS.len()
        );
        return ExitCode::SUCCESS;
    }
    adw::init().expect("libadwaita starts where GTK did");
    gantry::register_resources().expect("the resources are whole");
    let mut failed = 0;
    for (name, test) in TESTS {
        let ok = catch_unwind(AssertUnwindSafe(test)).is_ok();
        failed += usize::from(!ok);
        eprintln!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    eprintln!(
        "\ntest result: {word}. {} passed; {failed} failed; 0 ignored",
        TESTS.len() - failed
    );
    ExitCode::from(u8::from(failed > 0))
}

/// Runs GTK's main loop until the condition holds; whether it did in time.
fn wait_until(condition: impl Fn() -> bool) -> bool {
    let context = gtk::glib::MainContext::default();
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        if condition() {
            return true;
        }
        if !context.iteration(false) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    condition()
}

fn container(name: &str, state: ContainerState) -> Container {
    let mut container = Container::new(&format!("/c/{name}"), name);
    container.state = state;
    container
}

fn list_of(names: &[&str]) -> (gtk::ListView, ContainerList) {
    let view = gtk::ListView::default();
    let mut list = ContainerList::new(&view);
    list.replace(
        names
            .iter()
            .map(|name| container(name, ContainerState::Stopped))
            .collect(),
    );
    (view, list)
}

fn selection(view: &gtk::ListView) -> gtk::SingleSelection {
    view.model()
        .and_downcast()
        .expect("a list with a selection")
}

fn names(view: &gtk::ListView) -> Vec<String> {
    let items = selection(view)
        .iter::<gtk::glib::Object>()
        .flatten()
        .collect::<Vec<_>>();
    items
        .iter()
        .filter_map(|item| item.downcast_ref::<ContainerItem>())
        .map(ContainerItem::name)
        .collect()
}

fn a_row_keeps_its_place_while_its_container_changes() {
    let (view, mut list) = list_of(&["web1", "db", "mail"]);
    assert_eq!(names(&view), ["db", "mail", "web1"]);
    list.select(Some("/c/mail"));
    let row = selection(&view).selected_item().expect("a selected row");

    list.put(container("mail", ContainerState::Running));
    list.put(container("a-new-one", ContainerState::Stopped));
    let gone = list.replace(vec![
        container("mail", ContainerState::Frozen),
        container("web1", ContainerState::Stopped),
        container("zoo", ContainerState::Stopped),
    ]);

    assert_eq!(names(&view), ["mail", "web1", "zoo"]);
    assert_eq!(gone.len(), 2, "db and a-new-one are gone: {gone:?}");
    assert_eq!(
        selection(&view).selected_item(),
        Some(row),
        "the same object is still selected"
    );
    assert_eq!(
        list.get("/c/mail").map(|it| it.state),
        Some(ContainerState::Frozen)
    );
}

fn the_search_keeps_the_selection_for_later() {
    let (view, list) = list_of(&["web1", "web2", "db"]);
    let seen = Rc::new(RefCell::new(Vec::new()));
    list.connect_selected(&view, {
        let seen = Rc::clone(&seen);
        move |path| seen.borrow_mut().push(path)
    });
    list.select(Some("/c/db"));
    list.search("WEB");
    assert_eq!(
        names(&view),
        ["web1", "web2"],
        "the case of letters does not matter"
    );
    assert_eq!(list.shown(), 2);
    list.search("");
    list.select(Some("/c/db"));
    assert_eq!(seen.borrow().last().map(String::as_str), Some("/c/db"));
    assert!(!list.is_empty());
    list.select(None);
    let count = seen.borrow().len();
    list.select(Some("/c/db"));
    assert_eq!(seen.borrow().len(), count + 1, "nothing was selected");
}

fn the_list_follows_its_group() {
    let (view, mut list) = list_of(&["web1", "db"]);
    let in_group = |name: &str, group: &str| {
        let mut container = container(name, ContainerState::Stopped);
        container.groups = vec![group.to_owned()];
        container
    };
    list.put(in_group("web1", "web"));
    assert_eq!(
        list.groups().into_iter().collect::<Vec<_>>(),
        ["", "web"],
        "those without a group are one, too"
    );
    list.show_group(Some("web".into()));
    assert_eq!(names(&view), ["web1"]);
    list.put(in_group("db", "web"));
    list.put(in_group("web1", "other"));
    assert_eq!(names(&view), ["db"], "who comes and goes is seen at once");
    list.show_group(Some(String::new()));
    assert_eq!(list.shown(), 0);
    list.show_group(None);
    assert_eq!(names(&view), ["db", "web1"]);
}

fn a_view_says_which_of_its_states_it_is_in() {
    let states = States::default();
    let content = gtk::Label::new(Some("what was read"));
    states.set_content(Some(content.clone()));
    let window = gtk::Window::builder().child(&states).build();
    window.present();
    states.show_content();
    assert!(wait_until(|| content.is_mapped()));
    states.show_problem("Not Read", "No file <x> & no way.");
    assert!(wait_until(|| !content.is_mapped()));
    let said: Vec<String> = labels(states.upcast_ref());
    for words in ["Not Read", "No file <x> & no way."] {
        assert!(said.iter().any(|label| label == words), "{said:?}");
    }
    window.destroy();
}

/// The text of every label in sight at or below a widget.
fn labels(widget: &gtk::Widget) -> Vec<String> {
    below(widget)
        .into_iter()
        .filter_map(|one| one.downcast::<gtk::Label>().ok())
        .map(|label| label.text().into())
        .collect()
}

fn a_state_is_told_by_a_word_and_an_icon() {
    let mut running = container("web1", ContainerState::Running);
    running.addresses = vec!["fd00::2".into(), "10.0.3.2".into()];
    let item = ContainerItem::new(running);
    assert_eq!(item.summary(), "Running · 10.0.3.2");
    assert_eq!(item.label(), "web1, Running");
    assert_eq!(
        (item.can_switch(), item.switch_action().as_str()),
        (true, "win.stop")
    );
    let running_icon = item.icon();

    item.update(container("web1", ContainerState::Stopped));
    assert_eq!(item.switch_action(), "win.start");
    assert_ne!(item.icon(), running_icon);

    let mut broken = container("web1", ContainerState::Stopped);
    broken.config_error = "config, line 3: no such key".into();
    item.update(broken);
    assert_eq!(item.summary(), "Configuration error");

    item.update(container("web1", ContainerState::Starting));
    assert!(
        !item.can_switch(),
        "there is nothing to press while it starts"
    );
}

fn a_job_shows_how_far_it_is_and_how_it_ended() {
    let mut job = Job::new("/job/1");
    job.operation = "CreateContainer".into();
    job.objects = vec!["web1".into()];
    job.progress = 0.25;
    job.can_cancel = true;
    let item = JobItem::new(&job);
    assert_eq!(item.title(), "Creating “web1”");
    assert!(item.running() && item.can_cancel() && (item.fraction() - 0.25).abs() < 1e-9);

    let button = JobsButton::default();
    button.put(&job);
    assert!(button.is_visible());
    job.state = JobState::Failed;
    job.error_message = "The disk is full.\nmore".into();
    item.update(&job);
    assert_eq!(item.stage(), "Failed: The disk is full.");
    assert!(!item.running() && !item.can_cancel());
    button.replace(&[]);
    assert!(
        !button.is_visible(),
        "a button for nothing would be in the way"
    );
}

fn a_terminal_shows_what_its_pty_says_and_follows_its_size() {
    let pty = nix::pty::openpty(None, None).expect("a PTY");
    let terminal = Terminal::new("Console, web1");
    let sizes = Rc::new(RefCell::new(Vec::new()));
    terminal.connect_resized({
        let sizes = Rc::clone(&sizes);
        move |columns, rows| sizes.borrow_mut().push((columns, rows))
    });
    let hung_up = Rc::new(RefCell::new(false));
    terminal.connect_hung_up({
        let hung_up = Rc::clone(&hung_up);
        move || *hung_up.borrow_mut() = true
    });
    let window = gtk::Window::builder()
        .child(&terminal)
        .default_width(700)
        .default_height(400)
        .build();
    window.present();
    terminal.attach(pty.master).expect("a master is taken");
    nix::unistd::write(&pty.slave, b"hello from inside\r\n").expect("written");
    assert!(
        wait_until(|| terminal.text().contains("hello from inside")),
        "{:?}",
        terminal.text()
    );
    assert!(wait_until(|| !sizes.borrow().is_empty()));
    let before = *sizes.borrow().last().expect("a size");
    window.set_default_size(400, 300);
    assert!(
        wait_until(|| sizes.borrow().last().is_some_and(|now| now.0 < before.0)),
        "{:?}",
        sizes.borrow()
    );

    drop(pty.slave);
    assert!(
        wait_until(|| *hung_up.borrow()),
        "the end of the PTY is noticed"
    );
    terminal.end("The session has ended.", "_Reconnect");
    assert!(
        terminal.text().contains("hello from inside"),
        "what was said stays"
    );
    window.destroy();

    let (no_pty, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    assert!(Terminal::new("x").attach(no_pty.into()).is_err());
}

fn of_a_remedy_the_command_is_copied() {
    let row = FindingRow::new(&Finding {
        topic: "tools".into(),
        item: "xz".into(),
        text: "Missing: some <archives>. Run “apt install xz-utils”.".into(),
        ok: false,
    });
    assert_eq!(
        row.subtitle().as_deref(),
        Some("Missing: some <archives>. Run “apt install xz-utils”.")
    );
    let window = gtk::Window::builder().child(&row).build();
    window.present();
    let button = buttons(row.upcast_ref()).pop().expect("a button to copy");
    button.emit_clicked();
    let copied = Rc::new(RefCell::new(String::new()));
    row.clipboard()
        .read_text_async(gtk::gio::Cancellable::NONE, {
            let copied = Rc::clone(&copied);
            move |text| *copied.borrow_mut() = text.ok().flatten().unwrap_or_default().into()
        });
    assert!(
        wait_until(|| *copied.borrow() == "apt install xz-utils"),
        "{copied:?}"
    );
    window.destroy();
}

/// Every button in sight at or below a widget.
fn buttons(widget: &gtk::Widget) -> Vec<gtk::Button> {
    let found = below(widget).into_iter();
    found.filter_map(|one| one.downcast().ok()).collect()
}

/// Every widget in sight at or below another.
fn below(widget: &gtk::Widget) -> Vec<gtk::Widget> {
    let mut found = vec![widget.clone()];
    let mut child = widget.first_child();
    while let Some(one) = child {
        if one.is_visible() && one.is_child_visible() {
            found.extend(below(&one));
        }
        child = one.next_sibling();
    }
    found
}

fn a_request_without_a_bus_is_an_error_at_once() {
    let backend = Backend::new();
    let new = NewContainer {
        name: "web1".into(),
        ..NewContainer::default()
    };
    let answer = gtk::glib::MainContext::default().block_on(backend.create(new));
    assert!(answer.is_err());
    let absence = Absence::NotInstalled;
    assert!(
        absence.remedy().contains("gantry-helper"),
        "it says what to install"
    );
}
